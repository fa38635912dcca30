"""VB-DemandEx, on which the paper's networks are trained: VoiceBank speech in DEMAND's noise.

Six archives lie on the Hugging Face hub: clean and noisy recordings for training, validation and
test, at 16 kHz; a clean and a noisy recording of one name belong together. The hub's listing gives
each archive's length and SHA-256, which are checked before anything is unpacked.
"""

import json
from pathlib import Path

from ...rates import SAMPLE_RATE
from ..corpus import Corpus, Pair
from ..pairs import paired_files
from .fetching import OTHER_FORM, read_text
from .sources import Piece, Sources, obtain, room
from .store import alone, home, mark, state

NAME = "vb-demandex"
SPLITS = ("train", "valid", "test")
PARTS = tuple(f"{kind}_{split}" for split in SPLITS for kind in ("clean", "noisy"))
SIZE = "1.9 GB to download, 5 GB on the disk for a while"
HUB = "https://huggingface.co"
DATASET = "datasets/NikolaiKyhne/VB-DemandEx"
GROWTH = 1.6  # 16-bit recordings seldom shrink to less than two thirds in a zip
# The card's MIT is as others cite it (the hub could not be asked from here); VoiceBank:
# doi.org/10.7488/ds/2117; DEMAND: doi.org/10.5281/zenodo.1227121.
LICENCE_NAME = "MIT, as said; CC BY 4.0, CC BY-SA 3.0"
LICENCE = """VB-DemandEx (Kühne et al.), https://huggingface.co/datasets/NikolaiKyhne/VB-DemandEx
  The card of the dataset is said to name the MIT licence; read it there. What it is made of:
  speech: VoiceBank/VCTK, CC BY 4.0, https://creativecommons.org/licenses/by/4.0/
  noise:  DEMAND, CC BY-SA 3.0, https://creativecommons.org/licenses/by-sa/3.0/
  Cite N. L. Kühne et al. (arXiv 2507.00966) and both sources."""


def get(folder: str | Path, sources: Sources | None = None, *, hub: str = HUB) -> None:
    """Fetch what is missing and mark the folder as complete.

    Args:
        folder: where the corpus is to lie, for example home() / NAME.
        sources: `Sources` that are asked before the hub.
        hub: its address.

    Raises ValueError and OSError, in words; what has come is kept for the next run.
    """
    folder, sources = Path(folder), sources or Sources()
    if state(folder)[0] == "complete":
        return
    with alone(folder):
        missing = [part for part in PARTS if not (folder / part).exists()]
        listed = None
        for part in missing:
            if sources.find(f"{part}.zip", part) is None and listed is None:
                listed = _listing(hub)
                room(folder, [listed[part] for part in missing], GROWTH)
        for part in missing:
            obtain((listed or {}).get(part) or _piece(hub, part), folder / part, sources)
        try:
            pairs = {split: _pairs(folder, split) for split in SPLITS}
        except ValueError as error:
            raise ValueError(f"{error} Delete {folder} before the next attempt.") from None
        mark(folder, name=NAME, pairs={split: len(some) for split, some in pairs.items()})


def load(folder: str | Path | None = None) -> Corpus:
    """The corpus, with splits "train", "valid" and "test".

    Raises FileNotFoundError, saying how to get it, when it is not there or not complete.
    """
    folder = check_complete(NAME, folder)
    return Corpus(NAME, SAMPLE_RATE, LICENCE, {split: _pairs(folder, split) for split in SPLITS})


def check_complete(name: str, folder: str | Path | None = None) -> Path:
    """The folder of a corpus (by default in `home`); FileNotFoundError unless it is complete."""
    folder = Path(folder or home() / name)
    if (found := state(folder)[0]) != "complete":
        raise FileNotFoundError(
            f"{name} is {found} in {folder}: `rwsa data get {name}` fetches it. If it lies "
            "elsewhere, set RWSA_CORPORA to the folder that holds it."
        )
    return folder


def _piece(hub, part, size=None, checksum=None):
    name = f"{part}.zip"
    return Piece(name, f"{hub}/{DATASET}/resolve/main/{name}", size, checksum)


def _listing(hub):
    """Part -> Piece with length and checksum, from the hub's listing of the dataset."""
    url = f"{hub}/api/{DATASET}/tree/main"
    found = {}
    try:
        for entry in json.loads(read_text(url)):
            part = entry["path"].removesuffix(".zip")
            if part in PARTS:  # large files are named by their SHA-256, small ones as git does
                lfs = entry.get("lfs")
                checksum = f"sha256:{lfs['oid']}" if lfs else f"git:{entry['oid']}"
                found[part] = _piece(hub, part, entry["size"], checksum)
    except OTHER_FORM as error:
        raise OSError(f"{url} gives no listing that can be read ({error!r}).") from None
    if lacking := [part for part in PARTS if part not in found]:
        raise OSError(f"{url} does not list {', '.join(lacking)}: the dataset has changed.")
    return found


def _pairs(folder, split):
    found = paired_files(folder / f"clean_{split}", folder / f"noisy_{split}", "name")
    return tuple(
        # VoiceBank's names begin with the voice: p226_001
        Pair(clean.stem, clean, noisy, {"voice": clean.stem.partition("_")[0]})
        for clean, noisy in found
    )
