"""Sliders, the upload button and players."""

import asyncio
import base64
import io
import json
import re
from datetime import datetime

import matplotlib

matplotlib.use("Agg")

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from IPython.display import HTML

from rwsa_tutorial import audio, widgets


def draw_point(level=0.5, count=3):
    fig, ax = plt.subplots()
    ax.plot([level], [count])
    return fig, ax


def test_slider_draws_at_both_ends_and_leaves_no_figure_behind():
    calls = []

    def draw(level, count):
        calls.append((level, count))
        return draw_point(level, count)

    box = widgets.slider(draw, level=(0.0, 1.0, 0.1, 0.5), count=(1, 9, 2, 3))
    level, count = box.children[:2]
    assert isinstance(level, ipywidgets.FloatSlider) and isinstance(count, ipywidgets.IntSlider)
    assert not level.continuous_update and not count.continuous_update
    level.value, count.value = 0.0, 9
    level.value = 1.0
    assert calls == [(0.5, 3), (0.0, 3), (0.0, 9), (1.0, 9)]
    assert plt.get_fignums() == []


def test_slider_shows_a_new_picture_after_a_move():
    box = widgets.slider(draw_point, level=(0.0, 1.0, 0.1, 0.5))
    first = box.children[-1].children[0].value
    assert bytes(first[:4]) == b"\x89PNG"
    box.children[0].value = 0.9
    assert len(box.children[-1].children) == 1
    assert box.children[-1].children[0].value != first


def test_slider_shows_text_and_players_below_the_figure():
    box = widgets.slider(
        lambda level: (*draw_point(level), f"level {level}", HTML("<b>bold</b>")),
        level=(0.0, 1.0, 0.1, 0.5),
    )
    _, text, page = box.children[-1].children
    assert (text.value, page.value) == ("level 0.5", "<b>bold</b>")


def test_slider_raises_at_the_start_and_tells_after_a_move():
    def fragile(level):
        if level > 0.8:
            raise RuntimeError("too high")
        return draw_point(level)

    with pytest.raises(RuntimeError, match="too high"):
        widgets.slider(fragile, level=(0.0, 1.0, 0.1, 0.9))
    box = widgets.slider(fragile, level=(0.0, 1.0, 0.1, 0.5))
    box.children[0].value = 0.9
    assert box.children[1].value == "RuntimeError: too high"
    box.children[0].value = 0.5
    assert box.children[1].value == ""
    assert plt.get_fignums() == []


def test_slider_keeps_the_readers_own_figures():
    own = plt.figure()
    widgets.slider(draw_point, level=(0.0, 1.0, 0.1, 0.5))
    assert plt.get_fignums() == [own.number]
    plt.close(own)


def test_slider_takes_choices_flags_and_widgets():
    seen = []
    box = widgets.slider(
        lambda **values: seen.append(values),
        window=["Hann", "rectangular"],
        centred=True,
        own=ipywidgets.IntText(4),
        weight=([0, 0.05, 0.3], 0.3),
    )
    box.children[0].value = "rectangular"
    box.children[1].value = False
    assert box.children[3].options == (0, 0.05, 0.3) and not box.children[3].continuous_update
    box.children[3].value = 0.05
    assert seen[0] == {"window": "Hann", "centred": True, "own": 4, "weight": 0.3}
    assert seen[-1] == {"window": "rectangular", "centred": False, "own": 4, "weight": 0.05}


@pytest.mark.parametrize("bad", [3, (0, 1), (0, 1, 0.1, 2), (0, 1, 0, 0.5), "high", ([1, 2], 3)])
def test_a_slider_that_cannot_be_made_is_named(bad):
    with pytest.raises(ValueError, match="'level'"):
        widgets.slider(draw_point, level=bad)


def follower(seen, name="follower"):
    """A panel that writes down when it is drawn."""
    return widgets.slider(lambda level: seen.append(name), level=(0.0, 1.0, 0.1, 0.5))


def test_panels_follow_their_leaders_and_nobody_else():
    seen = []
    leader, other = follower([]), follower([])
    panels = [follower(seen, "first"), follower(seen, "second")]
    widgets.follow([leader], panels)
    seen.clear()
    other.children[0].value = 0.9
    assert seen == []
    leader.children[0].value = 0.9
    assert seen == ["first", "second"]


def test_in_a_kernel_panels_wait_until_their_leader_rests():
    seen, said = [], []
    leader = widgets.slider(lambda level: seen.append(level), level=(0.0, 1.0, 0.1, 0.5))
    panel = follower(seen)
    widgets.follow([leader], [panel], rest_seconds=0.05)
    panel.children[1].observe(lambda change: said.append(change["new"]), names="value")
    seen.clear()

    async def three_moves():
        for level in (0.6, 0.7, 0.8):
            leader.children[0].value = level
            await asyncio.sleep(0.001)
        assert said == ["working ..."]
        await asyncio.sleep(0.5)

    asyncio.run(three_moves())
    assert seen == [0.6, 0.7, 0.8, "follower"]
    assert said == ["working ...", ""]


def test_a_move_while_panels_are_drawn_starts_them_anew():
    seen = []
    leader = follower([])
    panels = [follower(seen, "first"), follower(seen, "second")]
    widgets.follow([leader], panels, rest_seconds=0.01)
    panels[0].redraw, whole = lambda: (whole(), move()), panels[0].redraw
    moves = iter([0.7])

    def move():
        for level in moves:
            leader.children[0].value = level

    async def one_move():
        leader.children[0].value = 0.6
        await asyncio.sleep(0.5)

    seen.clear()
    asyncio.run(one_move())
    assert seen == ["first", "first", "second"]


def test_an_error_in_a_follower_is_shown_there():
    def fragile(level):
        if broken:
            raise RuntimeError("too much")

    broken = []
    leader, panel = follower([]), widgets.slider(fragile, level=(0.0, 1.0, 0.1, 0.5))
    widgets.follow([leader], [panel])
    broken.append(True)
    leader.children[0].value = 0.6
    assert panel.children[1].value == "RuntimeError: too much"


def test_an_upload_leads_unless_it_is_refused():
    def take(name, content):
        if not content:
            raise ValueError("empty")

    seen = []
    box = widgets.upload(take)
    widgets.follow([box], [follower(seen)])
    seen.clear()
    _choose(box, "mine.wav", b"")
    assert seen == []
    _choose(box, "mine.wav", b"RIFF")
    assert seen == ["follower"]


def _choose(box, name, content):
    """What the browser sends when a file is chosen."""
    file = {"name": name, "type": "audio/wav", "size": len(content), "content": memoryview(content)}
    box.children[0].value = ({**file, "last_modified": datetime.now()},)


def test_upload_hands_over_name_and_bytes():
    got = []
    box = widgets.upload(lambda name, content: got.append((name, content)))
    _choose(box, "mine.wav", b"RIFF")
    assert got == [("mine.wav", b"RIFF")]


def test_upload_says_what_is_wrong_with_a_file(capsys):
    def refuse(name, content):
        raise ValueError("this is not audio")

    box = widgets.upload(refuse)
    _choose(box, "notes.txt", b"hello")
    shown = capsys.readouterr().out + "".join(o.get("text", "") for o in box.children[1].outputs)
    assert "notes.txt: this is not audio" in shown


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000, 96_000])
def test_player_stores_small_audio_that_decodes_to_the_same_sound(rate):
    wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    page = widgets.player(wave, rate, "a < b").data
    assert "a &lt; b" in page
    assert len(page) < 20_000
    sound = re.search(r"data:audio/mpeg;base64,([^\"]+)", page).group(1)
    decoded, decoded_rate = soundfile.read(io.BytesIO(base64.b64decode(sound)))
    assert abs(len(decoded) / decoded_rate - 2) < 0.1
    middle = decoded[len(decoded) // 4 : -len(decoded) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * decoded_rate / len(middle) == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(0.4, abs=0.03)


def test_player_scales_down_only_what_would_clip():
    loud, _ = soundfile.read(io.BytesIO(widgets.mp3(4 * np.sin(np.arange(16_000) / 10), 16_000)))
    assert np.abs(loud).max() == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize("rate", [16_000, 96_000])
@pytest.mark.parametrize(("kind", "loud"), [(">f4", 1), (">f8", 1), ("<f8", 3.3e38)])
def test_player_takes_waves_of_any_machine_and_loudness(kind, loud, rate):
    wave = 0.9 * np.sign(np.sin(2 * np.pi * 440 * np.arange(rate) / rate))
    sound, _ = soundfile.read(io.BytesIO(widgets.mp3((loud * wave).astype(kind), rate)))
    plain, _ = soundfile.read(io.BytesIO(widgets.mp3(wave, rate)))
    assert np.corrcoef(sound, plain)[0, 1] > 0.99


@pytest.mark.parametrize("bad", [np.zeros((10, 2)), np.zeros(0), np.array([0.0, np.nan])])
def test_player_refuses_what_cannot_be_played(bad):
    with pytest.raises(ValueError):
        widgets.player(bad, 16_000)


def test_a_live_figure_is_updated_in_place_and_closed(monkeypatch):
    shown, clock = [], [0.0]

    class Handle:
        def update(self, picture):
            shown.append(("update", picture.data))

    def display(picture, display_id):
        shown.append(("display", picture.data))
        return Handle()

    monkeypatch.setattr(widgets, "display", display)
    monkeypatch.setattr(widgets.time, "monotonic", lambda: clock[0])
    live = widgets.Live(seconds=5.0)
    for at, now in ((0.0, False), (3.0, False), (4.0, True), (9.5, False)):
        clock[0] = at
        fig, ax = plt.subplots()
        ax.set_title(str(at))
        live(fig, now=now)
        assert not plt.fignum_exists(fig.number)
    assert [how for how, _ in shown] == ["display", "update", "update"]  # not that of 3 s
    assert all(data.startswith(b"\x89PNG") for _, data in shown)
    assert len({data for _, data in shown}) == 3


def test_live_training_shows_the_run_and_its_example(tmp_path, monkeypatch):
    asked = []

    def drawn(rows, example):
        asked.append((rows, list(example)))
        return plt.subplots()

    monkeypatch.setattr("rwsa_tutorial.plotting.results.training_progress", drawn)
    monkeypatch.setattr(widgets.Live, "__call__", lambda self, figure, now: plt.close(figure))
    folder = tmp_path / "run"
    (folder / "example").mkdir(parents=True)
    row = {"step": 2, "loss": 1.0, "seconds": 0.5}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    callback = widgets.live_training(folder)
    callback(2, row)
    for name in ("noisy", "clean", "step-0000003", "step-0000010", "step-0000020"):
        audio.write(folder / "example" / f"{name}.flac", np.ones(99) / 2, 16_000)
    callback(2, row)
    assert asked == [([row], []), ([row], ["noisy", "step 3", "step 20", "clean"])]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("snr_db", "SNR (dB)"),
        ("up_to_khz", "up to (kHz)"),
        ("window_ms", "window (ms)"),
        ("khz", "khz"),
        ("second", "second"),
        ("si_sdr", "si sdr"),
    ],
)
def test_a_slider_is_labelled_in_words_with_its_unit(name, label):
    panel = widgets.slider(lambda **values: None, **{name: (0, 3, 1, 2)})
    assert panel.children[0].description == label
