"""The settings of a run: one dataclass, read from YAML and written back."""

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..losses import WEIGHTS
from ..model import NETWORKS, build_model
from ..unet import ModelConfig, UNet

CHOICES = {
    "variant": tuple(NETWORKS),
    "schedule": ("epochs", "cosine"),
    "precision": ("float32", "bfloat16"),
    "best": ("pesq", "si_sdr"),
}
ABOVE_ZERO = (
    "steps batch accumulate samples lr epoch_steps valid_every valid_pairs checkpoint_every"
)
ABOVE_ZERO = (*ABOVE_ZERO.split(), "log_every", "pesq_workers")
SHORTEST_FOR_PESQ = 4000  # samples; PESQ fails on less than 1/4 s


@dataclass
class Config:
    """Everything that decides what a run learns. The defaults are the paper's recipe, for nano.

    Raises ValueError, in words, for unknown names (with the nearest known one), values of another
    type, and values that make no sense.
    """

    # the network
    variant: str = "nano"  # nano, xs, s, m, lab
    sharing: str = "rwsa"  # rwsa, block, none
    attention: bool = True
    network: dict[str, int] = field(default_factory=dict)  # more of ModelConfig, such as levels: 2
    start: str = ""  # weights to begin with: a file, or a name in data/weights; empty: from chance

    # what it hears: a corpus by name, a folder packed by `rwsa_tutorial.making.recorded`,
    # {speech: DIR, noise: DIR} to be mixed, or {clean: DIR, noisy: DIR} of ready pairs
    data: str | dict[str, str] = "mini-vb"
    mix_anew: bool = True  # false: only the ready pairs of a corpus that could be mixed anew
    snr_db: tuple[float, float] = (-5.0, 15.0)  # of new mixtures, as are the next four
    speech_tilt_db: float = 0.0  # random changes of the spectrum, as by other microphones
    noise_tilt_db: float = 0.0
    second_noise: float = 0.0  # share of the examples with two noises
    rooms: float = 0.0  # share with speech in a simulated room, and with noise in one
    keep_noise: float = 0.0  # share of the noise left in what the losses but "metric" compare with
    samples: int = 30_600  # of an example; 30 600 are 1.91 s, 256 frames

    # how long, and from which chance
    steps: int = 4000  # updates of the weights
    batch: int = 8  # examples in each process at a time
    accumulate: int = 1  # such batches for each update
    seed: int = 0

    # how it learns: AdamW
    lr: float = 5e-4
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    schedule: str = "epochs"  # lr * lr_decay ** epoch; or cosine, down to 0 at the last step
    lr_decay: float = 0.99
    epoch_steps: int | None = None  # steps of an epoch; null: until all pairs or clips had a turn
    warmup: int = 0  # steps over which lr rises, at the start and when the U-Net joins
    clip: float = 0.0  # longest gradient; 0: any
    ema: float = 0.0  # decay of a running average of the weights, the one that is kept; 0: none
    outer_steps: int = 0  # so long encoder and decoders learn alone, which a laptop can afford
    precision: str = "float32"  # or bfloat16 inside the network; the losses stay in float32

    # what it minimises
    loss: dict[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    discriminator: bool = True  # PESQ as a goal; false leaves out the term "metric"

    # what is looked at and kept, every so many steps
    log_every: int = 10
    valid_every: int = 250
    valid_pairs: int = 12
    best: str = "pesq"  # or si_sdr: decides about best.safetensors; the other where it is missing
    checkpoint_every: int = 250

    # processes beside each that trains; they change nothing but the speed
    workers: int = 0  # that prepare examples; 0: it prepares them itself
    pesq_workers: int = 2

    def __post_init__(self):
        for name, kind in typing.get_type_hints(type(self)).items():
            setattr(self, name, _as(kind, getattr(self, name), name))
        _known(self.loss, WEIGHTS, "weight of the loss")
        self.loss = {**WEIGHTS, **self.loss}
        self._check()

    def _check(self):
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                near = _nearest(value, known)
                raise ValueError(f"{name} is {value!r}; choose from {', '.join(known)}{near}.")
        for name in ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be above 0.")
        for name in ("seed", "warmup", "clip", "outer_steps", "workers", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it cannot be negative.")
        for name, value in self.loss.items():
            if value < 0:
                raise ValueError(f"loss.{name} is {value}; a weight cannot be negative.")
        for name in ("ema", "second_noise", "rooms", "keep_noise", "betas", "lr_decay"):
            values, top = getattr(self, name), name in ("lr_decay", "second_noise", "rooms")
            for value in values if isinstance(values, tuple) else (values,):
                if not 0 <= value <= 1 or (value == 1 and not top):
                    end = "up to 1" if top else "below 1"
                    raise ValueError(f"{name} is {value}; it must be from 0 {end}.")
        if self.discriminator and self.samples < SHORTEST_FOR_PESQ:
            raise ValueError(
                f"samples is {self.samples}, but PESQ, which the discriminator learns from, needs "
                f"{SHORTEST_FOR_PESQ}: take longer examples, or discriminator: false."
            )
        if isinstance(self.data, dict) and set(self.data) not in (
            {"speech", "noise"},
            {"clean", "noisy"},
        ):
            raise ValueError(
                f"data has the folders {', '.join(self.data) or 'none'}; give speech and noise, or "
                "clean and noisy."
            )
        if self.outer_steps and NETWORKS[self.variant].around != "codec":
            raise ValueError(
                f"outer_steps is {self.outer_steps}, but {self.variant} has no encoder and no "
                "decoders that could learn alone: leave it at 0."
            )
        try:
            self.model_config()
        except TypeError:
            fields = [f.name for f in dataclasses.fields(NETWORKS["nano"])]
            _known(self.network, fields, "part of the network")
            raise

    def model_config(self) -> ModelConfig:
        """The network's `ModelConfig`. Raises ValueError for impossible values."""
        options = {"sharing": self.sharing, "attention": self.attention, **self.network}
        return dataclasses.replace(NETWORKS[self.variant], **options)

    def build_model(self) -> UNet:
        """A network with fresh weights."""
        return build_model(self.model_config())

    @classmethod
    def of(cls, settings: Mapping, whole: bool = False) -> "Config":
        """From a dict: nested as in YAML. What is missing takes its default, unless `whole`."""
        if not isinstance(settings, dict):
            raise ValueError("settings are lines of `name: value`.")
        names = [f.name for f in dataclasses.fields(cls)]
        _known(settings, names, "setting")
        missing = [name for name in names if name not in settings]
        if isinstance(loss := settings.get("loss"), dict):
            missing += [f"loss.{name}" for name in WEIGHTS if name not in loss]
        if whole and missing:
            raise ValueError(
                f"a run's own settings are all there, but {', '.join(missing)} are missing: give "
                "the settings anew (--config FILE); they are compared with the checkpoint's."
            )
        return cls(**settings)

    @classmethod
    def read(cls, path: str | Path, changes: Iterable[str] = (), whole: bool = False) -> "Config":
        """From a YAML file, with `changed(changes)` on top. whole: it must have all settings.

        Raises FileNotFoundError, or ValueError with the file's name.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no settings file {path}.")
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls.of({} if settings is None else settings, whole).changed(changes)
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from None

    def changed(self, changes: Iterable[str]) -> "Config":
        """A copy with changes on top: texts "name=value", such as "lr=1e-3" or "loss.metric=0".

        Raises ValueError in words.
        """
        settings = self.as_dict()
        for change in changes:
            _set(settings, change)
        return type(self).of(settings)

    def as_dict(self) -> dict:
        """Plain lists, dicts, numbers and words, as YAML holds them."""
        settings = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}

    def to_yaml(self) -> str:
        """The text of a settings file."""
        return yaml.dump(self.as_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Lists in brackets, on one line."""


_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True)
)


def differences(one: Config, other: Config, leave_out: Sequence[str] = ()) -> list[str]:
    """The names of the settings in which two configs differ, "loss.metric" style."""
    pairs = [(_flat(config.as_dict())) for config in (one, other)]
    names = {**pairs[0], **pairs[1]}
    return [n for n in names if n not in leave_out and pairs[0].get(n) != pairs[1].get(n)]


def _flat(settings, before=""):
    flat = {}
    for name, value in settings.items():
        inner = _flat(value, f"{before}{name}.") if isinstance(value, dict) else {}
        flat |= inner or {before + name: value}
    return flat


def _set(settings, change):
    name, equals, text = change.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"{change!r} is no name=value.")
    *outer, last = name.strip().split(".")
    for step in outer:
        settings = settings.setdefault(step, {})
        if not isinstance(settings, dict):
            raise ValueError(f"{change!r}: {step} holds no further settings.")
    try:
        settings[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"{change!r}: what follows = cannot be read as YAML.") from None


def _nearest(name, known):
    near = difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _known(given, known, what):
    for name in given:
        if name not in known:
            near = _nearest(name, known) or f"; there are {', '.join(known)}."
            raise ValueError(f"there is no {what} {name!r}{near}")


WORDS = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}


def _as(kind, value, name):
    """The value as this type, or a ValueError in words."""
    if isinstance(kind, types.UnionType):
        kinds = typing.get_args(kind)
        if value is None and types.NoneType in kinds:
            return None
        kind = next((k for k in kinds if typing.get_origin(k) is type(value)), kinds[0])
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or len(value) != len(inside):
            raise ValueError(f"{name} is {value!r}; it must be {len(inside)} numbers in brackets.")
        return tuple(_as(k, v, name) for k, v in zip(inside, value, strict=True))
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{name} is {value!r}; it must be lines of `name: value`.")
        return {str(k): _as(inside[1], v, f"{name}.{k}") for k, v in value.items()}
    if isinstance(value, str) and kind in (int, float):
        with contextlib.suppress(ValueError):
            value = float(value)  # YAML takes 5e-4, without a point, for a word
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind is float and type(value) is int:
        value = float(value)
    # True is a whole number to Python, not to us
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name} is {value!r}; it must be {WORDS[kind]}.")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; it must be a finite number.")
    return value
