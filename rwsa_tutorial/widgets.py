"""Sliders, players and the upload button of the lessons: thin wrappers over ipywidgets.

A slider calls a plain function that draws a figure; the lesson calls the same function once
without any widget, so that the figure also shows where no kernel runs (GitHub, print).
"""

from __future__ import annotations

import asyncio
import base64
import html
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML, Image, display
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

WIDE = {"style": {"description_width": "initial"}, "layout": {"width": "26em"}}
UNITS = {"db": "dB", "khz": "kHz", "hz": "Hz", "ms": "ms"}  # last parts of names


def _label(name):
    """A parameter's name in words, its unit in brackets: snr_db is "SNR (dB)"."""
    *words, last = name.split("_")
    if words and last in UNITS:
        last = f"({UNITS[last]})"
    return " ".join([*words, last]).replace("snr", "SNR")


def _control(name: str, value):
    """A widget from what `slider` takes for one."""
    if isinstance(value, widgets.Widget):
        return value
    label = _label(name)
    if isinstance(value, bool):
        return widgets.Checkbox(value=value, description=label)
    if isinstance(value, (list, dict)):
        return widgets.Dropdown(options=value, description=label)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], list):
        choices, start = value
        if start not in choices:
            raise ValueError(f"slider {name!r}: {start} is none of {choices}")
        return widgets.SelectionSlider(
            options=choices, value=start, description=label, continuous_update=False, **WIDE
        )
    if not (isinstance(value, tuple) and len(value) == 4):
        raise ValueError(
            f"slider {name!r}: give (low, high, step, start), ([choices in order], start), a "
            f"list of choices, True or False, or a widget, not {value!r}"
        )
    low, high, step, start = value
    if not (low <= start <= high and step > 0):
        raise ValueError(f"slider {name!r}: {start} must lie in {low} to {high} and {step} above 0")
    whole = all(isinstance(v, int) for v in value)
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    return kind(
        value=start,
        min=low,
        max=high,
        step=step,
        description=label,
        continuous_update=False,  # draw when the slider is let go, not at every pixel
        **WIDE,
    )


class _Leader(widgets.VBox):
    """A box that tells others when its reader has changed something."""

    def __init__(self, children):
        super().__init__(children)
        self._listeners = []

    def when_moved(self, listener):
        """Call `listener()` after each change."""
        self._listeners.append(listener)

    def _tell(self):
        for listener in self._listeners:
            listener()


class Panel(_Leader):
    """Sliders, a line that says "working ..." meanwhile, and what their function shows."""

    def __init__(self, function: Callable, controls: Mapping):
        self._status = widgets.Label("")
        # Pictures as values, not an Output widget: nothing flickers or piles up, and programs that
        # run notebooks unattended need not answer the kernel while they wait for it.
        self._shown = widgets.VBox([])
        self._function, self._controls = function, controls
        super().__init__([*controls.values(), self._status, self._shown])
        for control in controls.values():
            control.observe(self._moved, names="value")

    def say(self, words: str) -> None:
        """Write something between sliders and picture."""
        self._status.value = words

    def draw(self) -> None:
        """Show what the function returns for where the sliders stand; raises what it raises."""
        self.say("working ...")
        values = {name: control.value for name, control in self._controls.items()}
        self._shown.children = _draw(self._function, values)
        self.say("")

    def redraw(self) -> None:
        """`draw`, but an error is shown instead of raised."""
        try:
            self.draw()
        except Exception as error:
            self.say(f"{type(error).__name__}: {error}")

    def _moved(self, _):
        self.redraw()
        self._tell()


def slider(function: Callable, **sliders: object) -> Panel:
    """Sliders over a plotting function.

    `function` takes the sliders' names as keyword arguments and returns a figure, `(fig, ax)`,
    text or HTML, or a tuple of these, shown one below the other. Each slider is
    (low, high, step, start), or ([choices in order], start), or a list or dict of choices to pick
    from, a bool, or an ipywidgets widget.
    Returns the widget, a `Panel`; a notebook shows it as a cell's last value.
    Raises ValueError for a specification it cannot read, and whatever `function` raises at the
    start; an error after a move is shown below the sliders.
    """
    panel = Panel(function, {name: _control(name, value) for name, value in sliders.items()})
    panel.draw()
    return panel


def follow(leaders: Sequence, panels: Sequence[Panel], rest_seconds: float = 0.3) -> None:
    """When a slider of one of the leaders has been moved, draw these panels anew, one by one.

    leaders: what `slider` or `upload` returned. panels: what `slider` returned. The panels say
    "working ..." at once, and are drawn when nothing has moved for so many seconds: while somebody
    looks for the right place, only the leader is drawn.
    """
    waiting = None

    async def redraw_all():
        await asyncio.sleep(rest_seconds)
        for panel in panels:
            panel.redraw()
            await asyncio.sleep(0.01)  # here the kernel hears of the next move, which stops this

    def moved():
        nonlocal waiting
        for panel in panels:
            panel.say("working ...")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel, so nobody else to wait for
            for panel in panels:
                panel.redraw()
            return
        if waiting is not None:
            waiting.cancel()
        waiting = loop.create_task(redraw_all())

    for leader in leaders:
        leader.when_moved(moved)


def _draw(function, values):
    """What the function returns, as widgets; figures that it opened are closed again."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    before = set(plt.get_fignums())
    try:
        result = function(**values)
        parts = []
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, Figure):
                buffer = io.BytesIO()
                part.savefig(buffer, format="png", bbox_inches="tight")
                image = widgets.Image(value=buffer.getvalue(), format="png")
                image.layout.max_width = "100%"
                image.layout.align_self = "flex-start"
                parts.append(image)
            elif isinstance(part, (str, HTML)):
                parts.append(widgets.HTML(part if isinstance(part, str) else part.data))
        return parts
    finally:
        for number in set(plt.get_fignums()) - before:  # else they pile up in the cell's output
            plt.close(number)


def upload(
    callback: Callable[[str, bytes], object], accept: str = ".wav,.flac,.ogg,.mp3,audio/*"
) -> widgets.Widget:
    """A button for a file of the reader's own; calls `callback(name, content)`, content in bytes.

    What the callback prints or displays appears below the button; a ValueError, OSError or
    RuntimeError is shown as its sentence. The box that is returned can lead others (`follow`).
    """
    button = widgets.FileUpload(accept=accept, multiple=False, description="Choose a file")
    output = widgets.Output()

    def chosen(change):
        output.clear_output()
        for file in change["new"]:
            with output:
                try:
                    callback(file["name"], bytes(file["content"]))
                except (ValueError, OSError, RuntimeError) as error:
                    print(f"{file['name']}: {error}")
                else:
                    box._tell()

    box = _Leader([button, output])
    button.observe(chosen, names="value")
    return box


def mp3(wave: ArrayLike, sample_rate: int) -> bytes:
    """A mono waveform (n,) as an MP3 file in memory: about 4 kB a second at 16 kHz.

    Scaled down only where it would clip, so that levels can be compared.
    Raises ValueError for an empty, non-finite or many-channelled waveform.
    """
    import soundfile

    wave = wave.detach().cpu().numpy() if hasattr(wave, "detach") else wave
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or wave.size == 0:
        raise ValueError(f"a player needs a mono waveform (n,) with n > 0, got shape {wave.shape}")
    if not np.isfinite(wave).all():
        raise ValueError("the waveform holds NaN or infinity and cannot be played")
    wave = wave / max(1.0, float(np.abs(wave).max()))  # else resampling might overflow
    if sample_rate not in MP3_RATES:
        import soxr

        wave, sample_rate = soxr.resample(wave, sample_rate, 48_000), 48_000
    wave = wave / max(1.0, float(np.abs(wave).max()) / 0.9)  # coding overshoots a little
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, sample_rate, format="MP3")
    return buffer.getvalue()


def player(wave: ArrayLike, sample_rate: int, label: str = "") -> HTML:
    """An audio player with a label for a mono waveform (n,), stored small (MP3 plays anywhere)."""
    return players({label: wave}, sample_rate)


def players(waves: dict, sample_rate: int) -> HTML:
    """Players one below the other, `{label: waveform (n,)}`, as one HTML output."""
    rows = []
    for label, wave in waves.items():
        sound = base64.b64encode(mp3(wave, sample_rate)).decode("ascii")
        rows.append(
            '<div style="display:flex;align-items:center;gap:1em;margin:2px 0">'
            f'<span style="min-width:12em">{html.escape(label)}</span>'
            f'<audio controls src="data:audio/mpeg;base64,{sound}"></audio></div>'
        )
    return HTML("".join(rows))


class Live:
    """A figure that is drawn anew while something goes on, and stays as a plain picture.

    Call it with a figure, as often as you like: what comes sooner than `seconds` after the one
    before is not shown, unless `now` is true. The figure is closed.
    """

    def __init__(self, seconds: float = 5.0):
        self._seconds, self._shown, self._handle = seconds, -math.inf, None

    def due(self) -> bool:
        """Whether a figure would be shown; drawing it takes time, too."""
        return time.monotonic() - self._shown >= self._seconds

    def __call__(self, figure: Figure, now: bool = False) -> None:
        import matplotlib.pyplot as plt

        if now or self.due():
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=80)
            picture = Image(buffer.getvalue(), format="png")
            if self._handle is None:
                self._handle = display(picture, display_id=True)
            else:
                self._handle.update(picture)
            self._shown = time.monotonic()
        plt.close(figure)


def live_training(run: str | Path, seconds: float = 5.0) -> Callable:
    """A callback for `training.train`: how the run in this folder is doing, as a live figure.

    Above, the terms of the loss and the validation scores; below, one validation recording: noisy,
    as the network first left it, as it leaves it now, and clean. After a resume it shows all of
    the run.
    """
    from . import audio
    from .plotting.results import training_progress
    from .training.folder import RunFolder

    folder, live = RunFolder(run), Live(seconds)

    def example():
        steps = folder.examples()
        names = {"noisy": "noisy.flac", "clean": "clean.flac"}
        if steps:
            number = {path: int(path.stem.removeprefix("step-")) for path in steps}
            first, last = steps[0], steps[-1]
            shown = {f"step {number[path]}": path.name for path in dict.fromkeys((first, last))}
            names = {"noisy": "noisy.flac"} | shown | {"clean": "clean.flac"}
        paths = {name: folder.path / "example" / file for name, file in names.items()}
        return {name: audio.read(path)[0] for name, path in paths.items() if path.is_file()}

    def callback(step, row):
        if "pesq" in row or live.due():
            live(training_progress(folder.rows(), example())[0], now="pesq" in row)

    return callback
