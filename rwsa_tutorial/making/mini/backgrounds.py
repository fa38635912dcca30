"""The noise recordings of the mini corpora: sounds of `scenes`, voices and rooms, put together.

`KINDS` maps a kind to a function of (length in samples, seeded generator, voices) that gives a
wave (n,) at 16 kHz with root mean square 1.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...corpora.rooms import in_room, response
from ...paths import whole_file
from .. import noises, scenes
from ..noises import ring, unit
from . import plan, speech


def at_home(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speech (n,) as a microphone in a furnished room at home picks it up, 0.3 to 0.6 m away."""
    size = rng.uniform((3.0, 3.0, 2.4), (4.5, 4.0, 2.8))
    return in_room(wave, response(size, rng.uniform(0.2, 0.32), rng.uniform(0.3, 0.6), rng))


class Voices:
    """The talkers of a split, who are heard in its babble and nowhere else."""

    def __init__(self, corpus: str, split: str, speakers: speech.Speakers, cache: Path):
        self._lines = plan.talk(corpus, split)
        self._speakers, self._cache = speakers, cache

    def talk(self) -> list[list[np.ndarray]]:
        """What each talker says: a list of waves (n,) for each; kept in the cache once said."""
        return [[self._line(name, text) for text in texts] for name, texts in self._lines.items()]

    def _line(self, name: str, text: str) -> np.ndarray:
        path = self._cache / f"{plan.seed_of(name, text):08x}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part:
                np.save(part, self._speakers.say(name, text).astype(np.float32))
        return np.load(path).astype(np.float64)


def hall(
    wave: np.ndarray,
    size: tuple[float, ...],
    time: float,
    distance: float,
    rng: np.random.Generator,
) -> np.ndarray:
    return unit(in_room(wave, response(size, time, distance, rng)))


def people(
    n: int,
    rng: np.random.Generator,
    voices: Sequence,
    size: tuple[float, ...] = (9.0, 7.0, 3.2),
    time: float = 0.6,
    distance: float = 4.0,
    layers: int = 1,
) -> np.ndarray:
    """Talk in a room, at a distance; every layer has all talkers once more, saying other things."""
    talk = voices.talk()
    groups = [noises.babble(n, talk, rng) for _ in range(layers)]
    return hall(sum(groups), size, time, distance, rng)


def crockery(n: int, rng: np.random.Generator, per_second: float) -> np.ndarray:
    """Cups, plates and spoons."""
    dishes = [ring(rng.uniform(1700, 5500), rng.uniform(0.008, 0.06), rng) for _ in range(14)]
    return noises.sequence(n, dishes, per_second, rng)


def babble(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """All talkers close by, as in a meeting that breaks up."""
    return people(n, rng, voices, (6.0, 5.0, 2.8), 0.35, 1.8)


def speech_shaped(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """Steady noise with the long-term spectrum of the talkers."""
    waves = [wave for waves in voices.talk() for wave in waves]
    return noises.speech_shaped(n, noises.long_term_spectrum(waves), rng)


def cafe(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """Talk from all tables, crockery, a coffee machine that steams."""
    steam = noises.modulated(n, 1500, 6000, 0.3, 9, rng)
    clatter = hall(crockery(n, rng, 2.0), (9, 7, 3.2), 0.5, 2.5, rng)
    return unit(people(n, rng, voices, layers=2) + 0.4 * clatter + 0.25 * steam)


def street(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """Traffic, and the steps of people passing."""
    return unit(noises.traffic(n, rng) + 0.15 * scenes.steps(n, rng))


def kitchen(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    return hall(scenes.kitchen(n, rng), (4.2, 3.4, 2.6), 0.45, 1.5, rng)


def office(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    return hall(scenes.office(n, rng), (7.0, 5.5, 2.8), 0.4, 1.8, rng)


def steps(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    return hall(scenes.steps(n, rng), (8.0, 3.2, 2.8), 0.7, 1.5, rng)


def song(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    return hall(scenes.song(n, rng), (6.0, 4.5, 2.7), 0.5, 2.0, rng)


def bar(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """Loud talk, a band out of loudspeakers, glasses."""
    talk = people(n, rng, voices, (12.0, 8.0, 3.0), 0.7, 3.0, layers=3)
    band = hall(scenes.music(n, rng), (12, 8, 3), 0.7, 5.0, rng)
    return unit(talk + 0.7 * band + 0.2 * crockery(n, rng, 1.0))


def restaurant(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """Talk at the next tables, much crockery, a kitchen behind a door."""
    talk = people(n, rng, voices, (15.0, 10.0, 3.5), 0.8, 2.5)
    dishes = hall(crockery(n, rng, 4.0), (15, 10, 3.5), 0.8, 3.0, rng)
    behind = noises.shaped(n, lambda f: 1 / (1 + (f / 400) ** 1.4), rng)
    return unit(talk + 0.6 * dishes + 0.2 * behind)


def applause(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """A theatre that claps and murmurs."""
    murmur = people(n, rng, voices, (20.0, 14.0, 7.0), 1.0, 8.0, layers=4)
    return unit(hall(scenes.applause(n, rng), (20, 14, 7), 1.0, 6.0, rng) + 0.3 * murmur)


def plaza(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """A fountain, pigeons that take off, people strolling by."""
    flock = noises.sequence(
        n, [noises.band(1200, 400, 2500, rng) * np.hanning(1200) for _ in range(5)], 3, rng
    )
    talk = people(n, rng, voices, (25.0, 20.0, 8.0), 0.6, 9.0)
    return unit(scenes.stream(n, rng) + 0.6 * talk + 0.35 * flock)


def platform(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """A station: a train rolls in, steps, a voice out of many loudspeakers."""
    rolls = scenes.metro(n, rng) * np.clip(0.4 + 0.6 * noises.slow(n, 0.2, rng), 0.05, None)
    call = noises.babble(n, voices.talk()[:1], rng)
    call = hall(scenes.resonant(call, [(1200, 700, 1.0)]), (30, 12, 6), 1.0, 9.0, rng)
    far = hall(rolls, (30, 12, 6), 1.0, 6.0, rng)
    return unit(far + 0.6 * call + 0.3 * scenes.steps(n, rng))


def park(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """Leaves, a few birds, a stroller's bell, a mower far away."""
    mower = scenes.engine(n, rng.uniform(45, 60), rng)
    bell = noises.sequence(n, [ring(2900, 0.25, rng), ring(3300, 0.2, rng)], 0.3, rng)
    leaves = noises.modulated(n, 500, 4500, 0.5, 4, rng)
    return unit(leaves + 0.4 * scenes.birds(n, rng) + 0.35 * mower + 0.25 * bell)


def market(n: int, rng: np.random.Generator, voices: Sequence) -> np.ndarray:
    """A crowd between stalls, crates put down, a motor that waits."""
    boxes = [ring(rng.uniform(120, 400), 0.03, rng) for _ in range(6)]
    crates = noises.sequence(n, boxes, 1.5, rng)
    crowd = people(n, rng, voices, (25.0, 15.0, 6.0), 0.5, 5.0, layers=4)
    return unit(crowd + 0.4 * crates + 0.3 * scenes.engine(n, rng.uniform(16, 24), rng))


def plain(make: Callable) -> Callable:
    """A kind that needs no voices."""
    return lambda n, rng, voices: make(n, rng)


KINDS = {
    "babble": babble,
    "speech_shaped": speech_shaped,
    "cafe": cafe,
    "kitchen": kitchen,
    "office": office,
    "street": street,
    "car": plain(scenes.car),
    "bus": plain(scenes.bus),
    "metro": plain(scenes.metro),
    "stream": plain(scenes.stream),
    "washing": plain(scenes.washing),
    "music": plain(scenes.music),
    "fan": plain(noises.fan),
    "vacuum": plain(scenes.vacuum),
    "barking": plain(scenes.barking),
    "siren": plain(scenes.siren),
    "birds": plain(scenes.birds),
    "steps": steps,
    "typing": plain(noises.keyboard),
    "hum": plain(noises.hum),
    "rain": plain(noises.rain),
    "song": song,
    "drill": plain(scenes.drill),
    "bar": bar,
    "restaurant": restaurant,
    "applause": applause,
    "plaza": plaza,
    "platform": platform,
    "park": park,
    "market": market,
    "wind": plain(scenes.wind),
}
WITH_VOICES = (
    *("babble", "speech_shaped", "cafe"),
    *("bar", "restaurant", "applause", "plaza", "platform", "market"),
)
