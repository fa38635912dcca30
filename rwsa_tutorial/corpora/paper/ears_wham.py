"""EARS-WHAM at 16 kHz: expressive speech from an anechoic room in the noise of cafés and streets.

Nobody hands out the mixtures; everybody makes them, of two corpora at 48 kHz: EARS, an archive for
each speaker, and WHAM!'s unsegmented noise, one archive of 76 GB. `get` fetches what a split needs,
mixes it after the published procedure (see `ears_mixing`), and writes for each mixture

    test/clean/p102/00000.wav, test/noisy/p102/00000.wav     float WAV, 16 kHz

and a table test.csv. Speech and noise stay in .sources, for other splits; delete it at will.
"""

import contextlib
import csv
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from ... import audio, tables
from ...rates import SAMPLE_RATE
from ..corpus import Corpus, Pair
from . import ears_mixing
from .ears_mixing import COLUMNS, RATE, Noise
from .fetching import OTHER_FORM, digest, download, read_text, say
from .sources import Piece, Sources, bring, forget, obtain
from .store import MARKER, alone, check_space, mark, state
from .unpacking import unpack
from .vb_demandex import check_complete

NAME = "ears-wham"
SPLITS = ("train", "valid", "test")
SPEAKERS = {
    "train": tuple(f"p{n:03}" for n in range(1, 100)),
    "valid": ("p100", "p101"),
    "test": ("p102", "p103", "p104", "p105", "p106", "p107"),
}
MIXTURES = 886  # in the authors' test split
SIZE = "76 GB of noise and an archive for each speaker to download, 100 GB on the disk for a while"
NOISE_BYTES = 76e9  # about; the server's own figure counts
ADDRESSES = {
    "speech": "https://github.com/facebookresearch/ears_dataset/releases/download/dataset",
    "release": "https://api.github.com/repos/facebookresearch/ears_dataset/releases/tags/dataset",
    "noise": "https://my-bucket-a8b4b49c25c811ee9a7e8bba05fa24c7.s3.amazonaws.com",
    # a revision of version 1; the list has not changed in what could be seen of later ones
    "cuts": "https://raw.githubusercontent.com/sp-uhh/ears_benchmark/"
    "41d79e55b7e55b03dca54b2f9f8ed7a211ad52b7",
}
WHAM = "high_res_wham"
TABLE = "high_res_metadata.csv"
# EARS's licence as its README gives it; WHAM!'s as it is commonly cited, not read at its source.
LICENCE_NAME = "CC BY-NC 4.0"
LICENCE = """EARS-WHAM, mixed on this machine of
  speech: EARS (Richter et al.), https://github.com/facebookresearch/ears_dataset
          CC BY-NC 4.0, https://creativecommons.org/licenses/by-nc/4.0/: not for commercial use
  noise:  WHAM! (Wichern et al.), http://wham.whisper.ai
          CC BY-NC 4.0: not for commercial use
  Cite J. Richter et al., Interspeech 2024 (arXiv 2406.06185), and G. Wichern et al., Interspeech
  2019 (arXiv 1907.01160)."""


def get(
    folder: str | Path,
    sources: Sources | None = None,
    *,
    splits: Sequence[str] = ("test",),
    recipe: str | Path | None = None,
    addresses: Mapping[str, str] = ADDRESSES,
) -> None:
    """Fetch speech and noise, mix what is missing, and mark the folder as complete.

    Args:
        folder: where the corpus is to lie.
        sources: `Sources`: archives or folders p102 ... and high_res_wham, test_files.json.
        splits: which to mix.
        recipe: a test.csv, by the authors or by this function, whose mixtures are to be rebuilt.
        addresses: see ADDRESSES.

    Raises ValueError and OSError, in words; what is done is kept for the next run.
    """
    folder, sources = Path(folder), sources or Sources()
    if recipe is not None and tuple(splits) != ("test",):
        raise ValueError("A recipe is one of the test split: leave out the other splits.")
    if _is_done(folder, splits, recipe):
        return
    with alone(folder):
        store = folder / ".sources"
        store.mkdir(exist_ok=True)
        speech = _fetch_speech(store, sources, splits, addresses)
        noise = _fetch_noise(store, sources, splits, addresses)
        for split in splits:
            takes = _plan(split, store, sources, speech, noise[split], recipe, addresses)
            _mix(folder, split, takes, speech, noise[split])
        counts = {split: len(_pairs(folder, split)) for split in _made(folder)}
        mark(folder, name=NAME, pairs=counts, recipe=recipe and digest(recipe))
    if counts.get("test", MIXTURES) != MIXTURES:
        say(f"{counts['test']} test mixtures; the authors have {MIXTURES}.")
    if recipe is None:
        say("The procedure is the authors', but not surely each mixture; --recipe takes a list.")
    if not any(store.iterdir()):
        store.rmdir()
    else:
        say(f"Speech and noise at 48 kHz are in {store}; delete it unless you want other splits.")


def load(folder: str | Path | None = None) -> Corpus:
    """The corpus, with the splits that were mixed, "test" at least.

    Raises FileNotFoundError, saying how to get it, when it is not there or not complete.
    """
    folder = check_complete(NAME, folder)
    return Corpus(
        NAME, SAMPLE_RATE, LICENCE, {split: _pairs(folder, split) for split in _made(folder)}
    )


def _is_done(folder, splits, recipe):
    """Whether these splits are here, and of this recipe, so that nothing need be fetched."""
    if state(folder)[0] != "complete" or not set(splits) <= set(_made(folder)):
        return False
    return json.loads((folder / MARKER).read_text())["recipe"] == (recipe and digest(recipe))


def _fetch_speech(store, sources, splits, addresses):
    """Speaker -> folder of recordings."""
    folders, missing = {}, []
    for speaker in (speaker for split in splits for speaker in SPEAKERS[split]):
        place = sources.find(f"{speaker}.zip", speaker)
        given = isinstance(place, Path) and place.is_dir()
        folders[speaker] = place if given else store / speaker
        if not folders[speaker].exists():
            missing.append((speaker, place))
    known = {}
    if any(place is None for _, place in missing):
        known = _release(addresses)
        sizes = [known.get(f"{speaker}.zip", (0, None))[0] for speaker, _ in missing]
        check_space(store, int(2.2 * sum(sizes)), "EARS")
    for speaker, _ in missing:
        name = f"{speaker}.zip"
        piece = Piece(name, f"{addresses['speech']}/{name}", *known.get(name, (None, None)))
        obtain(piece, folders[speaker], sources)
    return folders


def _release(addresses):
    """Archive -> (length, checksum or None), as the release lists them; {} if it cannot be asked.

    GitHub gives a digest for files that were uploaded since June 2025.
    """
    try:
        assets = json.loads(read_text(addresses["release"]))["assets"]
        return {asset["name"]: (asset["size"], asset.get("digest")) for asset in assets}
    except (OSError, *OTHER_FORM) as error:
        say(f"The lengths of EARS's archives cannot be learnt ({error}); going on without.")
        return {}


def _fetch_noise(store, sources, splits, addresses):
    """Split -> {name: path}, in the order of WHAM!'s table."""
    place = sources.find(f"{WHAM}.zip", WHAM)
    if isinstance(place, Path) and place.is_dir():
        table = _table(place / TABLE)
        return {split: _paths(place / "audio", table[split]) for split in splits}
    folders = {split: store / f"noise-{split}" for split in splits}
    facts = store / "noise-table"
    if not (facts.exists() and all(path.exists() for path in folders.values())):
        piece = Piece(f"{WHAM}.zip", f"{addresses['noise']}/{WHAM}.zip")
        if place is None and not (store / ".downloads").exists():
            check_space(store, int(1.3 * NOISE_BYTES), "WHAM!")
        archive = bring(piece, place, store, sources)
        try:
            unpack(archive, facts, keep=lambda name: name.rpartition("/")[2] == TABLE)
            table = _table(facts / TABLE)
            for split, path in folders.items():
                wanted = set(table[split])
                unpack(archive, path, keep=lambda name, w=wanted: name.rpartition("/")[2] in w)
        except ValueError:
            forget(archive, store)
            raise
        forget(archive, store)
    table = _table(facts / TABLE)
    return {split: _paths(path, table[split]) for split, path in folders.items()}


def _table(path):
    """Split -> names of noise files, in the table's order."""
    names = {split: [] for split in SPLITS}
    with open(path, newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            if "Filename" not in row or "WHAM! Split" not in row:
                raise ValueError(f"{path} has no columns Filename and WHAM! Split.")
            split = row["WHAM! Split"].strip().lower()
            if split in names:
                names[split].append(row["Filename"].strip())
    return names


def _paths(folder, names):
    lacking = [name for name in names if not (folder / name).is_file()]
    if lacking or not names:
        raise ValueError(f"{folder} lacks {len(lacking) or 'all'} noise files {lacking[:3]}.")
    return {name.removesuffix(".wav"): folder / name for name in names}


def _plan(split, store, sources, speech, noise, recipe, addresses):
    if split == "test":
        cuts = {} if recipe is not None else _cuts(store, sources, addresses)
        files = [(s, name) for s in cuts for name in cuts[s]]
        if recipe is not None:
            files = [(s, path.stem) for s in SPEAKERS["test"] for path in _waves(speech[s])]
    else:
        files = [(s, path.stem) for s in SPEAKERS[split] for path in _waves(speech[s])]
    lengths = {(s, name): _header(speech[s] / f"{name}.wav")[0] for s, name in files}
    if recipe is not None:
        return ears_mixing.read_recipe(recipe, lengths)
    noises = [
        Noise(name, *_header(path)) for name, path in tqdm(noise.items(), "noise files", delay=1)
    ]
    if split == "test":
        return ears_mixing.plan_test(cuts, lengths, noises)
    return ears_mixing.plan_training(files, lengths, noises)


def _cuts(store, sources, addresses):
    """The authors' list of test files and of where they are cut."""
    place = sources.find("test_files.json")
    if isinstance(place, Path):
        return _read_cuts(place)
    url, kept = place or f"{addresses['cuts']}/test_files.json", store / "test_files.json"
    if kept.exists():
        with contextlib.suppress(ValueError):  # kept by an earlier run: then it is asked for again
            return _read_cuts(kept)
        kept.unlink()
    try:
        return _read_cuts(download(url, kept))
    except ValueError:
        kept.unlink(missing_ok=True)
        raise


def _read_cuts(path):
    try:
        cuts = json.loads(path.read_text(encoding="utf-8"))
        times = [pair for s in SPEAKERS["test"] for some in cuts[s].values() for pair in some]
    except OTHER_FORM:
        times = []
    fits = [isinstance(pair, list) and [type(n) for n in pair] == [int, int] for pair in times]
    if not fits or not all(fits):
        raise ValueError(f"{path} is not the authors' list of test files.")
    return {speaker: cuts[speaker] for speaker in SPEAKERS["test"]}


def _waves(folder):
    return sorted(folder.glob("*.wav"))


def _header(path):
    """(samples, channels) of a recording, which must be at 48 kHz."""
    with audio.open_to_read(path) as file:
        if file.samplerate != RATE:
            raise ValueError(f"{path} is at {file.samplerate} Hz, not at {RATE} Hz.")
        return file.frames, file.channels


def _mix(folder, split, takes, speech, noise):
    """Write the mixtures of all takes, going on after those that the journal says are done."""
    plan = hashlib.sha256(repr(takes).encode()).hexdigest()
    journal = folder / f".{split}.jsonl"
    table = folder / f"{split}.csv"
    lines = _read_journal(journal, plan)
    if lines is None:
        shutil.rmtree(folder / split, ignore_errors=True)
        table.unlink(missing_ok=True)
        journal.write_text(json.dumps({"plan": plan}) + "\n")
        lines = []
    elif table.exists():
        return
    rows = [row for line in lines for row in line]
    with open(journal, "a", buffering=1) as file:
        for take in tqdm(
            takes[len(lines) :], f"mixing {split}", len(takes), initial=len(lines), unit="take"
        ):
            path = speech[take.speaker] / f"{take.speech}.wav"
            if take.noise not in noise:
                raise ValueError(f"WHAM!'s {split} noise has no recording {take.noise!r}.")
            made = []
            for row, *waves in ears_mixing.mix_take(take, path, noise[take.noise]):
                row = {"id": f"{len(rows) + len(made):05}"} | row
                for kind, wave in zip(("clean", "noisy"), waves, strict=True):
                    target = _file(folder, split, kind, row)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    wave = audio.resample(wave, RATE, SAMPLE_RATE)
                    audio.write(target, wave, SAMPLE_RATE, "FLOAT")
                made.append(row)
            if not made:
                say(
                    f"{take.speaker}/{take.speech} with {take.noise}: silent or too loud; left out."
                )
            file.write(json.dumps(made) + "\n")
            rows += made
    tables.write(table, COLUMNS, rows)


def _read_journal(path, plan):
    """The rows of each take that is done, or None if there are none of this plan."""
    if not path.exists():
        return None
    text = path.read_text()
    try:
        first, *lines = text[: text.rfind("\n") + 1].splitlines()  # a torn last line is not done
        if json.loads(first) != {"plan": plan}:
            return None
        if not text.endswith("\n"):
            path.write_text("\n".join([first, *lines]) + "\n")
        return [json.loads(line) for line in lines]
    except ValueError:
        return None


def _file(folder, split, kind, row):
    return folder / split / kind / row["speaker"] / f"{row['id']}.wav"


def _made(folder):
    return [split for split in SPLITS if (folder / f"{split}.csv").is_file()]


def _pairs(folder, split):
    return tuple(
        Pair(
            row["id"],
            _file(folder, split, "clean", row),
            _file(folder, split, "noisy", row),
            {
                "voice": row["speaker"],
                "snr_db": float(row["snr_dB"]),
                "noise": row["noise_file"],
                "speech": row["speech_file"],
            },
        )
        for row in tables.read(folder / f"{split}.csv")
    )
