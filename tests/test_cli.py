"""The command line: what it writes, what it refuses, its exit status."""

import csv
import io
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rwsa_tutorial import audio, checks, cli
from rwsa_tutorial.commands import common
from rwsa_tutorial.scores.evaluation import read_csv


def halving(mag, phase):
    return mag * 0.5**0.3, phase, None


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """A network that halves the level; the real one is tested elsewhere."""
    asked = []
    monkeypatch.setattr(common, "load_model", lambda name: asked.append(name) or halving)
    return asked


def tone(seconds=0.3, rate=16_000):
    t = np.arange(round(seconds * rate)) / rate
    return 0.4 * np.sin(2 * np.pi * 440 * t)


def rwsa(*words):
    return cli.main([str(word) for word in words])


def peak(path):
    return np.abs(audio.read(path)[0]).max()


@pytest.fixture
def folder(tmp_path):
    """in/{a.wav, b.flac, deep/a.ogg, deep/d.mp3, bad.wav, notes.txt}"""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.wav", "b.flac", "deep/a.ogg", "deep/d.mp3"):
        audio.write(tmp_path / "in" / name, tone(), 16_000)
    (tmp_path / "in" / "bad.wav").write_text("this is not audio")
    (tmp_path / "in" / "notes.txt").write_text("not meant")
    return tmp_path


def files(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


def test_a_file_into_a_file(folder, capsys, stand_in):
    assert rwsa("enhance", folder / "in/a.wav", "-o", folder / "new/out.flac") == 0
    assert peak(folder / "new/out.flac") == pytest.approx(0.2, abs=0.01)
    assert capsys.readouterr().out == "1 enhanced.\n"
    assert stand_in == ["nano"]


def test_a_folder_keeps_its_sub_folders_and_names_what_is_bad(folder, capsys):
    for name in ("._a.wav", "._", "deep/._d.mp3"):  # beside each file, where a Mac has written
        (folder / "in" / name).write_bytes(b"\0\5\x16\7" + bytes(4092))
    before = {name: (folder / "in" / name).read_bytes() for name in files(folder / "in")}
    assert rwsa("enhance", folder / "in", "-o", folder / "out") == 2
    assert files(folder / "out") == ["a.wav", "b.flac", "deep/a.ogg", "deep/d.mp3"]
    assert peak(folder / "out/deep/a.ogg") == pytest.approx(0.2, abs=0.03)
    printed = capsys.readouterr()
    assert printed.out == "4 enhanced, 1 not.\n"
    (line,) = [line for line in printed.err.splitlines() if "rwsa enhance:" in line]
    assert "bad.wav cannot be read as audio" in line
    assert {name: (folder / "in" / name).read_bytes() for name in files(folder / "in")} == before


def test_globs_are_expanded(folder):
    assert rwsa("enhance", folder / "in/**/a.*", "-o", folder / "out") == 0
    assert files(folder / "out") == ["a.ogg", "a.wav"]


def test_brackets_in_a_file_name_are_no_pattern(folder):
    (folder / "in/a.wav").rename(folder / "in/take [1].wav")
    assert rwsa("enhance", folder / "in/take [1].wav", "-o", folder / "out") == 0
    assert files(folder / "out") == ["take [1].wav"]


def test_options_reach_the_work(folder, stand_in):
    out = folder / "out.wav"
    assert rwsa("enhance", folder / "in/a.wav", "-o", out, "--model", "xs", "--amount", 0) == 0
    assert stand_in == ["xs"]
    assert peak(out) == pytest.approx(0.4, abs=0.01)


def test_existing_results_are_kept_unless_forced(folder, capsys):
    (folder / "out").mkdir()
    (folder / "out/a.wav").write_text("precious")
    (folder / "in/bad.wav").unlink()
    assert rwsa("enhance", folder / "in", "-o", folder / "out") == 0
    assert (folder / "out/a.wav").read_text() == "precious"
    told = "3 enhanced, 1 already there, left as they are (--force replaces).\n"
    assert capsys.readouterr().out == told
    assert files(folder / "out") == ["a.wav", "b.flac", "deep/a.ogg", "deep/d.mp3"]
    assert rwsa("enhance", folder / "in", "-o", folder / "out", "--force") == 0
    assert peak(folder / "out/a.wav") == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_inputs_are_never_overwritten(folder, capsys, force):
    before = {name: (folder / "in" / name).read_bytes() for name in files(folder / "in")}
    (folder / "link").symlink_to(folder / "in")
    (folder / "hard.wav").hardlink_to(folder / "in/a.wav")
    assert rwsa("enhance", folder / "in", "-o", folder / "in", *force) == 2
    assert rwsa("enhance", folder / "in", "-o", folder / "link", *force) == 2
    assert rwsa("enhance", folder / "in/a.wav", "-o", folder / "in/a.wav", *force) == 2
    assert rwsa("enhance", folder / "in/a.wav", "-o", folder / "hard.wav", *force) == 2
    deep, top = folder / "in/deep/a.ogg", folder / "in/a.ogg"
    top.write_bytes(before["deep/a.ogg"])
    assert rwsa("enhance", deep, folder / "in/a.wav", top, "-o", folder / "x", *force) == 2
    top.unlink()
    assert "would overwrite an input" in capsys.readouterr().err
    assert {name: (folder / "in" / name).read_bytes() for name in files(folder / "in")} == before


def test_results_inside_the_input_folder_are_not_enhanced_again(folder):
    (folder / "in/bad.wav").unlink()
    for _ in range(2):
        assert rwsa("enhance", folder / "in", "-o", folder / "in/out", "--force") == 0
    assert files(folder / "in/out") == ["a.wav", "b.flac", "deep/a.ogg", "deep/d.mp3"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["in/none.wav", "-o", "out"], "none.wav: there is no such file or folder"),
        (["-", "-o", "out.wav"], "- is no file"),
        (["in/a.wav", "-o", "-"], "- is no file"),
        (["in/*.aiff", "-o", "out"], "no file matches this pattern"),
        (["bare", "-o", "out"], "this folder holds no recordings (.wav"),
        (["in/bad.wav", "-o", "out.wav"], "bad.wav cannot be read as audio"),
        (["in", "-o", "out.wav"], "give a folder"),
        (["in/a.wav", "in/b.flac", "-o", "out.wav"], "give a folder"),
        (["in/a.wav", "-o", "out.m4a"], "out.m4a is neither a folder nor one of .wav"),
        (["in/a.wav", "-o", "in/notes.txt"], "neither a folder"),
        (["in/a.wav", "in/deep/../a.wav", "-o", "out"], "would both become"),
        (["in/a.wav", "-o", "in/notes.txt/"], "notes.txt"),
    ],
)
def test_bad_input_is_told_in_one_line(folder, monkeypatch, capsys, words, told):
    monkeypatch.chdir(folder)
    (folder / "bare").mkdir()
    before = files(folder)
    assert rwsa("enhance", *words) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert printed.count("\n") == 1
    assert printed.startswith("rwsa enhance: ")
    assert files(folder) == before


def test_all_that_sounds_is_enhanced_or_named(folder, capsys):
    """Of a kind that can only be read a WAV comes out; what cannot be read counts as not done."""
    (folder / "in/bad.wav").unlink()
    soundfile.write(folder / "in/c.aiff", tone(), 16_000)
    soundfile.write(folder / "in/d.opus", tone(rate=48_000), 48_000, format="OGG", subtype="OPUS")
    assert rwsa("enhance", folder / "in", "-o", folder / "out") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("6 enhanced.\nOf 1, what lay above 8 kHz is lost")
    made = {Path(name).stem for name in files(folder / "out") if "deep" not in name}
    assert made == {"a", "b", "c", "d"}
    assert peak(next((folder / "out").glob("d.*"))) == pytest.approx(0.2, abs=0.03)
    (folder / "in/e.m4a").write_bytes(b"0")
    assert rwsa("enhance", folder / "in", "-o", folder / "out", "--force") == 2
    printed = capsys.readouterr()
    assert "e.m4a" in printed.err and "ffmpeg" in printed.err
    assert printed.out.startswith("6 enhanced, 1 not.\n")
    assert rwsa("enhance", folder / "in/e.m4a", "-o", folder / "e.wav") == 2
    assert "ffmpeg" in capsys.readouterr().err
    for copy in ("x/one.mp1", "y/one.mp1"):
        (folder / copy).parent.mkdir()
        (folder / copy).write_bytes((folder / "in/deep/d.mp3").read_bytes())
    assert rwsa("enhance", folder / "x/one.mp1", folder / "y/one.mp1", "-o", folder / "z") == 2
    assert "would both become" in capsys.readouterr().err


def test_what_a_person_should_know_of_a_file_is_a_line(folder, capsys):
    audio.write(folder / "in/deep/d.mp3", np.tile(tone(), 20), 16_000)
    content = (folder / "in/deep/d.mp3").read_bytes()
    (folder / "in/deep/d.mp3").write_bytes(content[: len(content) // 2])
    audio.write(folder / "in/loud.wav", 8 * tone(), 16_000, "FLOAT")
    files = ("in/deep/d.mp3", "in/loud.wav")
    assert rwsa("enhance", *(folder / file for file in files), "-o", folder / "out") == 0
    assert capsys.readouterr().err.count("d.mp3 ends early") == 1
    assert rwsa("enhance", folder / "in/loud.wav", "-o", folder / "out.flac") == 0
    told = capsys.readouterr().err
    assert told.startswith("rwsa enhance: ") and told.count("\n") == 1
    assert "out.flac" in told and "beyond full scale were clipped" in told


def test_a_folder_that_may_not_be_read_is_told(folder, monkeypatch, capsys):
    scandir = os.scandir

    def forbid(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbid)
    assert rwsa("enhance", folder / "in", "-o", folder / "out") == 2
    assert "Permission denied" in capsys.readouterr().err
    assert "a.wav" in files(folder / "out")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError("Unable to allocate 9 TiB"), "needs more memory than there is"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "needs more memory than"),
        (RuntimeError("shapes do not fit"), "RuntimeError: shapes do not fit"),
        (KeyError("odd"), "KeyError: 'odd'"),
    ],
)
def test_whatever_one_file_raises_the_others_are_done(folder, monkeypatch, capsys, error, told):
    (folder / "in/bad.wav").unlink()

    def once(mag, phase, raised=[]):  # noqa: B006  (it is the memory)
        if not raised:
            raised.append(True)
            raise error
        return halving(mag, phase)

    monkeypatch.setattr(common, "load_model", lambda name: once)
    assert rwsa("enhance", folder / "in", "-o", folder / "out") == 2
    printed = capsys.readouterr()
    assert printed.out == "3 enhanced, 1 not.\n"
    assert f"a.wav: {told}" in printed.err
    assert files(folder / "out") == ["b.flac", "deep/a.ogg", "deep/d.mp3"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, "SIGTERM"])
def test_a_batch_that_is_stopped_leaves_no_part_files(folder, monkeypatch, capsys, stop):
    (folder / "in/bad.wav").unlink()
    before = signal.getsignal(signal.SIGTERM)

    def second(mag, phase, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 2 and stop == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        elif len(calls) == 2:
            raise stop
        return halving(mag, phase)

    monkeypatch.setattr(common, "load_model", lambda name: second)
    words = ("enhance", folder / "in", "-o", folder / "out")
    if stop == "SIGTERM":
        with pytest.raises(SystemExit) as ended:
            rwsa(*words)
        assert ended.value.code == 143
    else:
        assert rwsa(*words) == 130
        assert "stopped; 1 enhanced and kept. The same command" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    assert files(folder / "out") == ["a.wav"]
    assert rwsa(*words) == 0
    assert capsys.readouterr().out.startswith("3 enhanced, 1 already there")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all names are Unicode")
def test_no_terminal_and_no_encoding_ends_a_command(folder):
    """Standard error closed, output in cp1252, a name that is no UTF-8."""
    (folder / "in/bad.wav").rename(folder / "in/caf\udce9.wav")
    code = (
        "import sys\nfrom rwsa_tutorial import cli\nfrom rwsa_tutorial.commands import common\n"
        "common.load_model = lambda name: lambda mag, phase: (mag, phase, None)\n"
        "status = cli.main(sys.argv[1:])\nprint('\u2713', status)"
    )
    words = [sys.executable, "-c", code, "enhance", "in", "-o", "out"]
    env = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True)
    assert b"rwsa enhance: in/caf\\udce9.wav" in done.stderr
    assert done.stdout.split(b"\n")[0].strip() == b"4 enhanced, 1 not."
    assert b"\\u2713 2" in done.stdout
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", *words, "--force"]
    done = subprocess.run(closed, cwd=folder, env=env, capture_output=True)
    assert done.stdout.split(b"\n")[0].strip() == b"4 enhanced, 1 not."


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "COMMAND"),
        (["improve"], "invalid choice: 'improve'"),
        (["enhance", "a.wav"], "-o/--output"),
        (["enhance", "a.wav", "-o", "b.wav", "--amount", "2"], "2 is not between 0 and 1"),
        (["enhance", "a.wav", "-o", "b.wav", "--amount=-0.1"], "-0.1 is not between 0 and 1"),
        (["enhance", "a.wav", "-o", "b.wav", "--amount", "much"], "much is not between 0 and 1"),
        (["enhance", "a.wav", "-o", "b.wav", "--amount", "nan"], "nan is not between 0 and 1"),
        (["evaluate", "--clean", "c", "--noisy", "n"], "--csv"),
    ],
)
def test_wrong_words_are_told_in_one_line(capsys, words, told):
    with pytest.raises(SystemExit) as stop:
        rwsa(*words)
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert printed.count("\n") == 1


def test_a_missing_network_is_told(folder, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setenv("RWSA_DATA", str(folder))
    (folder / "weights").mkdir()
    assert rwsa("enhance", folder / "in/a.wav", "-o", folder / "o.wav") == 2
    assert "nano" in capsys.readouterr().err
    assert rwsa("enhance", folder / "in/a.wav", "-o", folder / "o.wav", "--model", "my.pt") == 2
    assert "my.pt" in capsys.readouterr().err
    assert rwsa("enhance", folder / "in/a.wav", "-o", folder / "o.wav", "--model", "huge") == 2
    assert "huge" in capsys.readouterr().err
    assert not (folder / "o.wav").exists()


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    for role in ("clean", "noisy"):
        (tmp_path / role).mkdir()
    for name in "ab":
        audio.write(tmp_path / "clean" / f"{name}.wav", tone(1.0), 16_000)
        noisy = tone(1.0) + 0.05 * rng.normal(size=16_000)
        audio.write(tmp_path / "noisy" / f"{name}.wav", noisy, 16_000)
    return tmp_path


def evaluate(pairs, *more):
    return rwsa(
        *("evaluate", "--clean", pairs / "clean", "--noisy", pairs / "noisy"),
        *("--csv", pairs / "scores.csv", *more),
    )


def test_evaluate_prints_and_writes_the_scores(pairs, capsys, stand_in):
    assert evaluate(pairs) == 0
    printed = capsys.readouterr().out
    assert "mean of 2  noisy" in printed
    assert "mean of 2  enhanced" in printed
    with open(pairs / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["signal"]) for row in rows] == [
        *(("a", "noisy"), ("a", "enhanced"), ("b", "noisy"), ("b", "enhanced"))
    ]
    # halving the level changes SSNR, not SI-SDR
    assert float(rows[1]["si_sdr"]) == pytest.approx(float(rows[0]["si_sdr"]), abs=0.05)
    assert abs(float(rows[1]["ssnr"]) - float(rows[0]["ssnr"])) > 1
    assert evaluate(pairs, "--force", "--model", "none") == 0
    assert "enhanced" not in capsys.readouterr().out
    assert stand_in == ["nano"]


def test_evaluate_takes_any_name_and_does_without_pesq(pairs, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    for kind in ("clean", "noisy"):
        (pairs / kind / "a.wav").rename(pairs / kind / "=é.wav")
    (pairs / "noisy" / "b.wav").write_bytes((pairs / "clean" / "b.wav").read_bytes())
    assert evaluate(pairs, "--model", "none") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:4]] == ["–"] * 2 + ["2"]
    assert "si_sdr is infinite for 1 of 2 noisy files" in lines[5]
    assert "PESQ is not installed" in lines[6] and "Written to" in lines[7]
    rows = {row["file"]: row["si_sdr"] for row in read_csv(pairs / "scores.csv")}
    assert rows.pop("b") == math.inf and list(rows) == ["=é"]
    assert lines[3].split()[:5] == ["mean", "of", "2", "noisy", "–"]
    assert float(lines[3].split()[-1]) == pytest.approx(rows["=é"], abs=1e-3)
    narrow = io.TextIOWrapper(io.BytesIO(), "ascii")  # a terminal that cannot write the name
    monkeypatch.setattr(sys, "stdout", narrow)
    assert evaluate(pairs, "--model", "none", "--force") == 0
    narrow.flush()
    assert rb"=\xe9" in narrow.buffer.getvalue()


def test_evaluate_scores_a_corpus_by_name_by_folder_and_by_list(pairs, capsys):
    def scores(corpus, *more):
        out = pairs / "of_corpus.csv"
        words = ("--corpus", corpus, "--model", "none", "--csv", out, "--force", *more)
        assert rwsa("evaluate", *words) == 0
        with open(out, newline="") as file:
            return {row["file"]: float(row["si_sdr"]) for row in csv.DictReader(file)}

    by_folder = scores(pairs)
    assert list(by_folder) == ["a", "b"]
    (pairs / "list.csv").write_text("clean,noisy\nclean/b.wav,noisy/b.wav\n")
    assert scores(pairs / "list.csv") == {"noisy/b": pytest.approx(by_folder["b"], abs=1e-5)}
    assert len(scores("mini-vb", "--split", "valid")) == 20
    capsys.readouterr()
    for words, told in (
        (("--corpus", "mini-vb", "--split", "dev"), "no split 'dev'; it has train, valid, test"),
        (("--corpus", "mini"), "no corpus 'mini'; there are mini-vb"),
        (("--corpus", pairs, "--clean", pairs), "either --clean and --noisy, or --corpus"),
        (("--clean", pairs), "either --clean and --noisy, or --corpus"),
    ):
        assert rwsa("evaluate", *words, "--csv", pairs / "new.csv") == 2
        assert told in capsys.readouterr().err


def test_evaluate_scores_several_models_on_several_corpora(pairs, capsys, stand_in):
    (pairs / "b.csv").write_text("clean,noisy\nclean/b.wav,noisy/b.wav\n")
    out = pairs / "out"
    words = ("--corpus", pairs, pairs / "b.csv", "--model", "nano", "none", "--csv", out)
    assert rwsa("evaluate", *words) == 0
    printed = capsys.readouterr().out
    names = [f"{model}_{corpus}" for model in ("nano", "none") for corpus in (pairs.name, "b")]
    assert sorted(path.stem for path in out.iterdir()) == sorted(names)
    assert [line for line in printed.splitlines() if line in names] == names
    assert len((out / f"nano_{pairs.name}.csv").read_text().splitlines()) == 5
    assert len((out / "none_b.csv").read_text().splitlines()) == 2
    assert stand_in == ["nano"]
    for changed, told in (
        (words, "exists"),
        ((*words[:-1], pairs / "b.csv"), "is a file"),
        ((*words[:-1], pairs / "no" / "where"), "There is no folder"),
        (("--corpus", pairs, pairs, "--csv", out), "two of the results would be called"),
    ):
        assert rwsa("evaluate", *changed) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1


def test_evaluate_names_a_bad_pair_and_does_the_rest(pairs, capsys):
    audio.write(pairs / "noisy/b.wav", tone(0.5), 16_000)
    assert evaluate(pairs) == 2
    printed = capsys.readouterr()
    assert "b.wav" in printed.err
    assert "mean of 1" in printed.out
    assert (pairs / "scores.csv").exists()


def test_evaluate_tells_of_cut_files_in_a_line_each(pairs, capsys):
    for name in "ab":
        for role in ("clean", "noisy"):
            path = pairs / role / f"{name}.wav"
            path.write_bytes(path.read_bytes()[:-8000])
    assert evaluate(pairs, "--model", "none") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "ends early" in line]
    assert len(told) == 4 and all("rwsa evaluate: " in line for line in told)


def test_evaluate_tells_bad_input_in_one_line(pairs, capsys):
    (pairs / "scores.csv").write_text("precious")
    assert evaluate(pairs) == 2
    assert (pairs / "scores.csv").read_text() == "precious"
    assert "--force" in capsys.readouterr().err
    assert evaluate(pairs, "--csv", pairs / "none/scores.csv") == 2
    assert "no folder" in capsys.readouterr().err
    (pairs / "noisy/a.wav").unlink()
    assert evaluate(pairs, "--force") == 2
    printed = capsys.readouterr().err
    assert "1 file(s) without a partner" in printed
    assert printed.count("\n") == 1


def test_data_compare_measures_and_draws(pairs, capsys):
    table, figure = pairs / "rows.csv", pairs / "figure.png"
    words = ("data", "compare", pairs, "mini-dns", "--limit", "2", "--csv", table)
    assert rwsa(*words, "--plot", figure) == 0
    printed = capsys.readouterr().out
    assert "SNR (dB)" in printed and f"Drawn in {figure}" in printed
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(table.read_text().splitlines()) == 1 + 2 + 2
    assert rwsa(*words) == 2
    assert "--force" in capsys.readouterr().err
    assert rwsa("data", "compare", "nowhere") == 2
    assert "no corpus 'nowhere'" in capsys.readouterr().err


def test_check_ends_with_one_when_the_course_cannot_run(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("RWSA_DATA", str(tmp_path))
    assert rwsa("check") == 1
    assert "The course cannot run yet" in capsys.readouterr().out
    monkeypatch.setattr(checks, "survey", lambda folder: [checks.Finding("all", "ok", "well")])
    assert rwsa("check") == 0
    assert "The course can run here." in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "enhance", "evaluate", "bench"])
def test_every_command_has_help_with_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        rwsa(command, "--help")
    assert stop.value.code == 0
    assert f"examples:\n  rwsa {command}" in capsys.readouterr().out


def test_help_is_there_without_the_heavy_packages():
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'numpy', 'soundfile', 'soxr']))\n"
        "from rwsa_tutorial.cli import main\n"
        "sys.exit(main(['enhance', 'a.wav', '-o', 'b.wav']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("rwsa enhance: ")
    assert "`rwsa check` says what is missing" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_module_is_the_command(folder):
    command = [sys.executable, "-m", "rwsa_tutorial.cli", "enhance"]
    done = subprocess.run([*command, "none.wav", "-o", "out"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "rwsa enhance: none.wav: there is no such file or folder.\n"
    assert soundfile.info(folder / "in/a.wav").frames == 4_800
