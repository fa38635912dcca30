"""A run is a folder. Whatever happens to the process, every file in it is whole or missing.

config.yaml          the settings
run.json             when, where, by which command and which versions, for each start
metrics.jsonl        a line every so many steps: each term of the loss, the rate, seconds
validation.jsonl     a line for each validation: PESQ and SI-SDR, and those of the noisy speech
curves.png           both as a picture
example/             one validation pair, and what the network made of it at each validation
checkpoints/         the last two states from which a run goes on
best.safetensors     the weights with the best validation score
last.safetensors     the newest weights; both files hold the average if there is one (ema)
"""

import contextlib
import errno
import io
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError

from .. import machine
from ..paths import whole_file
from .config import Config, differences

# settings that change the speed alone
HARMLESS = ("workers", "pesq_workers")
KEPT = 2  # checkpoints
LOGS = ("metrics.jsonl", "validation.jsonl")
VERSIONS = ("torch", "numpy", "numba", "accelerate", "pesq")


class NotFinite(ValueError):
    """The loss or the weights became NaN or infinite."""


class RunFolder:
    """The files of one run, and the rules by which they are begun, gone on with and kept."""

    def __init__(self, path):
        self.path = Path(path)
        self.best = self.path / "best.safetensors"
        self.last = self.path / "last.safetensors"

    def config(self):
        """The settings that the folder was made with. Raises FileNotFoundError without them."""
        return Config.read(self.path / "config.yaml")

    def begun(self):
        """Whether there is a run here."""
        return (self.path / "config.yaml").is_file()

    def check(self, config, resume):
        """Whether a run with these settings may write here; nothing is changed.

        Raises ValueError in words: there is something else, or a run that nobody asked to resume,
        or one with other settings.
        """
        if not self.path.exists() or all(p.name.startswith(".") for p in self.path.iterdir()):
            return
        if not self.begun():
            raise ValueError(f"{self.path} is not empty and holds no run: choose another folder.")
        if not resume:
            raise ValueError(
                f"{self.path} already holds a run ({self._how_far()}): go on with it by --resume "
                "(resume=True), or choose another folder."
            )
        # a longer run begins like a shorter one, unless the rate falls towards the last step
        free = HARMLESS if config.schedule == "cosine" else (*HARMLESS, "steps")
        differ = differences(self.config(), config, free)
        if differ:
            raise ValueError(
                f"{self.path} was begun with other settings ({', '.join(differ)}): leave out "
                "--config and --set to go on with its own, or choose another folder."
            )

    @contextlib.contextmanager
    def held(self):
        """Nobody else trains in this folder meanwhile. Raises ValueError when somebody does."""
        from filelock import FileLock, Timeout

        with self.writing("the folder"):
            self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / ".lock", timeout=0):  # the system lets go of it at a kill
                yield
        except Timeout:
            raise ValueError(f"another process is training in {self.path} right now.") from None

    def begin(self, config, facts):
        """Write the settings, and one more start into run.json. facts: what else to note there."""
        with self.writing("the settings"):
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
            (self.path / "example").mkdir(exist_ok=True)
            for left in [*self.path.glob(".*.part*"), *self.path.glob("*/.*.part*")]:
                left.unlink()  # of a process that was killed while it wrote
            with whole_file(self.path / "config.yaml") as part:
                part.write_text(config.to_yaml(), encoding="utf-8")
            starts = [*self.starts(), provenance() | facts]
            with whole_file(self.path / "run.json") as part:
                part.write_text(json.dumps(starts, indent=1) + "\n", encoding="utf-8")

    def starts(self):
        """What run.json tells of each start: a list of dict."""
        path = self.path / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def rows(self, *names):
        """The rows of these logs (by default both), by step. A line cut short is left out."""
        rows = []
        for name in names or LOGS:
            path = self.path / name
            for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
                with contextlib.suppress(json.JSONDecodeError):
                    rows.append(json.loads(line))
        return sorted(rows, key=lambda row: row["step"])

    def append(self, name, row):
        """Add a row to a log."""
        with self.writing(name), open(self.path / name, "a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def cut(self, step):
        """Drop what the logs tell of later steps than this, since they will be done again."""
        with self.writing("the logs"):
            for name in LOGS:
                lines = [json.dumps(row) + "\n" for row in self.rows(name) if row["step"] <= step]
                with whole_file(self.path / name) as part:
                    part.write_text("".join(lines), encoding="utf-8")
            for sound in (self.path / "example").glob("step-*.flac"):
                if _step(sound) > step:
                    sound.unlink()

    def checkpoints(self):
        """The checkpoints, oldest first."""
        return sorted((self.path / "checkpoints").glob("step-*.pt"), key=_step)

    def load(self, device):
        """The newest checkpoint's state, or None. best.safetensors becomes what it was then."""
        found = self.checkpoints()
        if not found:
            return None
        try:
            return torch.load(found[-1], map_location=device, weights_only=True)
        except Exception as error:  # torch raises many kinds; all mean the same here
            raise ValueError(
                f"{found[-1]} cannot be read ({' '.join(str(error).split())[:100]}): delete it to "
                "go on from the one before."
            ) from None

    def save(self, state):
        """Write a checkpoint, then let go of all but the last two."""
        buffer = io.BytesIO()  # torch.save tells of a full disk in other words than the system
        torch.save(state, buffer)
        path = self.path / "checkpoints" / f"step-{state['step']:07d}.pt"
        with self.writing(path.name), whole_file(path) as part:
            part.write_bytes(buffer.getbuffer())
        for old in self.checkpoints()[:-KEPT]:
            old.unlink()

    @contextlib.contextmanager
    def writing(self, what):
        """Words for a disk that takes no more."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            advice = "make room and go on by --resume" if full else "go on by --resume afterwards"
            reason = getattr(error, "strerror", None) or error
            raise OSError(
                f"{what} could not be written to {self.path}: {reason}. {self.last_good()}: "
                f"{advice}."
            ) from None

    def last_good(self):
        """A clause for error messages."""
        found = self.checkpoints()
        return f"The last good checkpoint is {found[-1]}" if found else "There is no checkpoint yet"

    def _how_far(self):
        found = self.checkpoints()
        return f"at step {_step(found[-1])}" if found else "without a checkpoint yet"


def _step(path):
    return int(path.stem.removeprefix("step-"))


def provenance():
    """Where and how this process runs: a dict for run.json."""
    return {
        "begun": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": machine.describe(),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in VERSIONS},
        "revision": revision(),
    }


def revision():
    """The git revision of this code ("-dirty" if changed since), or None outside of git."""
    with contextlib.suppress(OSError):
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
        return done.stdout.strip() or None
    return None
