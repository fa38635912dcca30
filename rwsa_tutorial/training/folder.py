"""A run is a folder. Whatever happens to the process, every file in it is whole or missing.

config.yaml          the settings
run.json             when, where, by which command and which versions, for each start
metrics.jsonl        a line every so many steps: each term of the loss, the rate, seconds
validation.jsonl     a line for each validation: PESQ and SI-SDR, and those of the noisy speech
curves.png           both as a picture
example/             one validation pair, and what the network made of it at each validation
checkpoints/         the last two states from which a run goes on (state.py)
best.safetensors     the weights with the best validation score
last.safetensors     the newest weights; both files hold the average if there is one (ema)

The newest checkpoint is the truth: logs, weights and pictures are made to agree with it whenever a
run goes on.
"""

import contextlib
import errno
import io
import json
import os
import platform
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from .. import machine
from ..paths import write_whole
from .config import Config, differences

# settings that change the speed alone
HARMLESS = ("workers", "pesq_workers")
KEPT = 2  # checkpoints
SCORES = ("pesq", "si_sdr", "noisy_pesq", "noisy_si_sdr")
LOGS = {  # what a row has at least
    "metrics.jsonl": {"step": int, "loss": float, "seconds": float},
    "validation.jsonl": {"step": int, "best": bool, "seconds": float}
    | dict.fromkeys(SCORES, float | None),
}
VERSIONS = ("torch", "numpy", "numba", "accelerate", "pesq")


class NotFinite(ValueError):
    """The loss or the weights became NaN or infinite."""


class Damaged(ValueError):
    """A checkpoint is not what it was when it was written."""


class RunFolder:
    """The files of one run, and the rules by which they are begun, gone on with and kept."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.best = self.path / "best.safetensors"
        self.last = self.path / "last.safetensors"

    def config(self) -> Config:
        """The settings that the folder was made with, all of them.

        Raises FileNotFoundError without them, and ValueError, in words, when some are missing: to
        go on with defaults for these would be another run.
        """
        return Config.read(self.path / "config.yaml", whole=True)

    def begun(self) -> bool:
        """Whether there is a run here."""
        return (self.path / "config.yaml").is_file()

    def check(self, config: Config, resume: bool) -> None:
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
        try:
            own = self.config()
        except ValueError:
            return  # they are given anew; the checkpoint, if there is one, knows whether they fit
        differ = differences(own, config, free_settings(config))
        if differ:
            raise ValueError(
                f"{self.path} was begun with other settings ({', '.join(differ)}): leave out "
                "--config and --set to go on with its own, or choose another folder."
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else trains in this folder meanwhile. Raises ValueError when somebody does."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock", timeout=0)  # the system lets go of it at a kill
        with self.writing("the folder"):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                raise ValueError(f"another process is training in {self.path} right now.") from None
        try:
            yield
        finally:
            lock.release()

    def begin(self, config: Config, facts: Mapping) -> None:
        """Write the settings, and one more start into run.json. facts: what else to note there.

        The settings come first: whenever this is cut short, there is nothing here, or a run.
        """
        with self.writing("the settings"):
            self.path.mkdir(parents=True, exist_ok=True)
            for left in [*self.path.glob(".*.part*"), *self.path.glob("*/.*.part*")]:
                left.unlink()  # of a process that was killed while it wrote
            write_whole(self.path / "config.yaml", config.to_yaml().encode())
            starts = [*self.starts(), provenance() | facts]
            write_whole(self.path / "run.json", (json.dumps(starts, indent=1) + "\n").encode())
            for name in ("checkpoints", "example"):
                (self.path / name).mkdir(exist_ok=True)

    def starts(self) -> list[dict]:
        """What run.json tells of each start: a list of dict. Raises ValueError, in words."""
        path = self.path / "run.json"
        if not path.is_file():
            return []
        try:
            starts = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            starts = None
        if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
            raise ValueError(f"{path} is damaged: mend it, or delete it and what it tells is lost.")
        return starts

    def rows(self, *names: str) -> list[dict]:
        """The rows of these logs (by default both), by step. A last line cut short is left out.

        Raises ValueError that names the file and the line which holds something else.
        """
        rows = []
        for name in names or LOGS:
            path = self.path / name
            *lines, _ = path.read_bytes().split(b"\n") if path.is_file() else [b""]
            for number, line in enumerate(lines, 1):
                try:
                    rows.append(check_row(name, json.loads(line)))
                except ValueError as error:
                    raise ValueError(
                        f"{path}, line {number}, is damaged ({error}): delete it, or go on with "
                        "the run by --resume, which writes the log anew."
                    ) from None
        return sorted(rows, key=lambda row: row["step"])

    def append(self, name: str, row: dict) -> None:
        """Add a row to a log."""
        with self.writing(name), open(self.path / name, "a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return _numbered(self.path / "checkpoints", "pt")

    def examples(self) -> list[Path]:
        """What the network made of one recording at each validation: paths, oldest first."""
        return _numbered(self.path / "example", "flac")

    def load(self, path: Path, device: str | torch.device = "cpu") -> dict:
        """The state in a checkpoint. Raises Damaged when it is not what was written."""
        try:
            with zipfile.ZipFile(path) as parts:  # torch does not look at the checksums
                broken = parts.testzip()
            if broken:
                raise ValueError(f"the checksum of {broken} is wrong")
            state = torch.load(path, map_location=device, weights_only=True)
            if not isinstance(state, dict) or state.get("step") != _step(path):
                raise ValueError(f"it does not hold the state at step {_step(path)}")
            return state
        except OSError:
            raise
        except Exception as error:  # torch raises many kinds; all mean the same here
            words = " ".join(str(error).split())[:200]
            raise Damaged(f"{path} is damaged ({words})") from None

    def agree(
        self,
        step: int,
        validated: int,
        rows: Mapping[str, list[dict]],
        weights: Mapping[str, bytes | None],
    ) -> None:
        """Let all files be what the state after this step says, whatever was written since.

        validated: the step of the last validation that counts. rows: the name of each log -> its
        rows. weights: the name of each weights file -> its content, or None where there is none.
        """
        with self.writing("what the checkpoint holds"):
            for log, some in rows.items():
                lines = "".join(json.dumps(row) + "\n" for row in some)
                write_whole(self.path / log, lines.encode())
            for name, content in weights.items():
                if content is None:
                    (self.path / name).unlink(missing_ok=True)
                else:
                    write_whole(self.path / name, content)
            for sound in self.examples():
                if _step(sound) > validated:
                    sound.unlink()
            for path in self.checkpoints():
                if _step(path) > step:  # a good one would have been taken
                    path.rename(path.with_suffix(".damaged"))

    def save(self, state: dict, last: bytes) -> None:
        """Write a checkpoint and let go of all but two. last: the content of last.safetensors."""
        buffer = io.BytesIO()  # torch.save tells of a full disk in other words than the system
        torch.save(state, buffer)
        name = f"step-{state['step']:07d}.pt"
        with self.writing(name):
            write_whole(self.path / f"checkpoints/{name}", buffer.getbuffer())
            for old in self.checkpoints()[:-KEPT]:
                old.unlink()
        self.write("last.safetensors", last)

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the run (bytes), whole or not at all."""
        with self.writing(name):
            write_whole(self.path / name, content)

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Words for a disk that takes no more."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            advice = "make room and go on by --resume" if full else "go on by --resume afterwards"
            reason = error.strerror or error
            raise OSError(
                f"{what} could not be written to {self.path}: {reason}. {self.last_good()}: "
                f"{advice}."
            ) from None

    def last_good(self) -> str:
        """A clause for error messages."""
        found = self.checkpoints()
        return f"The last good checkpoint is {found[-1]}" if found else "There is no checkpoint yet"

    def _how_far(self):
        found = self.checkpoints()
        return f"at step {_step(found[-1])}" if found else "without a checkpoint yet"


def free_settings(config: Config) -> tuple[str, ...]:
    """The settings in which a run that goes on may differ from how it was begun."""
    # a longer run begins like a shorter one, unless the rate falls towards the last step
    return HARMLESS if config.schedule == "cosine" else (*HARMLESS, "steps")


def check_row(log: str, row: object) -> dict:
    """The row of a log as it is. Raises ValueError, in words, when it is none."""
    if not isinstance(row, dict):
        raise ValueError(f"it is {row!r:.40}")
    for name, kind in {**dict.fromkeys(row, float | bool | None), **LOGS[log]}.items():
        value = row.get(name)
        if not isinstance(value, kind if kind in (int, bool) else kind | int):
            raise ValueError(f"its {name} is {value!r:.40}")
    return row


def _numbered(folder, suffix):
    """The files step-NUMBER.suffix by their numbers; what else lies in the folder is not ours."""
    named = re.compile(rf"step-\d+\.{suffix}")
    return sorted((p for p in folder.glob("step-*") if named.fullmatch(p.name)), key=_step)


def _step(path):
    return int(path.stem.removeprefix("step-"))


def provenance() -> dict:
    """Where and how this process runs: a dict for run.json."""
    return {
        "begun": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": machine.describe(),
        "versions": {"python": platform.python_version()} | {n: _version(n) for n in VERSIONS},
        "revision": revision(),
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def revision() -> str | None:
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
