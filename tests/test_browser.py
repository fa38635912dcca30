"""What a learner does: open a lesson in JupyterLab, run all cells, move a slider, see a change."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
BAD = Path(__file__).resolve().parent / "bad_notebooks"
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PICTURES = "() => [...document.querySelectorAll('.jupyter-widgets img')].map(x => x.src).join()"
# of cells whose code is folded away, there is no prompt
WAITING = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].filter(
    prompt => prompt.textContent.includes('*')).length"""
SHOWN = "kind => document.querySelectorAll(`[data-mime-type$='jupyter.${kind}']`).length"
SECONDS = 180  # more than any step takes on a busy machine


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own, on copies of the lessons; its address."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    pytest.importorskip("playwright", reason="playwright is not installed (make test brings it)")
    folder = tmp_path_factory.mktemp("lab")
    for source in (NOTEBOOKS, BAD):
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns(".*"))
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)  # all cells are in the page, not those in sight alone
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"),
    ]
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    log = open(folder / "log.txt", "w")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(f"{address}/api/status"), "JupyterLab answers")
        yield address
    finally:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.mark.parametrize("name", ["00_start_here.ipynb", "10_playground.ipynb"])
def test_a_lesson_runs_and_its_slider_changes_the_picture(lab, name):
    run_and_move_a_slider(lab, f"notebooks/{name}")


def test_a_lesson_whose_callback_raises_is_caught(lab):
    with pytest.raises(AssertionError, match="shows (error|stderr) output"):
        run_and_move_a_slider(lab, "bad_notebooks/runs_slider_raises.ipynb")


def run_and_move_a_slider(lab, path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1366, "height": 900})
        page.goto(f"{lab}/lab/tree/{path}?reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook", timeout=1000 * SECONDS)
        wait_until(lambda: state(lab, path) == "idle", "the kernel is ready")
        page.click("text=Run >> nth=0")
        page.click("text=Run All Cells")
        wait_until(lambda: page.evaluate(WAITING), "cells wait for the kernel")
        wait_until(lambda: not page.evaluate(WAITING), "all cells have run")
        wait_until(lambda: state(lab, path) == "idle", "the kernel has nothing left to do")
        for kind in ("error", "stderr"):
            assert not page.evaluate(SHOWN, kind), f"{path} shows {kind} output"
        handle = page.wait_for_selector(".noUi-handle", timeout=1000 * SECONDS)
        handle.scroll_into_view_if_needed()
        before = page.evaluate(PICTURES)
        assert before, f"{path} shows no picture under its sliders"
        handle.focus()
        page.keyboard.press("ArrowLeft")
        wait_until(lambda: page.evaluate(PICTURES) != before, "the picture changes")
        browser.close()


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


def state(address, path):
    sessions = answers(f"{address}/api/sessions") or []
    return next((s["kernel"]["execution_state"] for s in sessions if s["path"] == path), None)


def wait_until(condition, words):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"{SECONDS} s have passed, and it is still not so: {words}"
        time.sleep(0.3)
