"""The test set of the 2020 Deep Noise Suppression Challenge: 150 pairs of 10 s, no reverberation.

The recordings lie in the challenge's git repository, on the branch interspeech2020/master, as
files of git's large-file storage: git itself keeps a pointer, a text with the SHA-256 and the
length of a recording, and the recording lies elsewhere. So for each recording the pointer is
fetched, checked against git's listing, and then the recording against its pointer.

A noisy file's name ends in fileid_N and says the SNR (snr) and the level (tl), both in dB; its
clean one is clean_fileid_N. Format of a pointer: the specification of git-lfs, version 1.
"""

import hashlib
import json
import re
import shutil
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from ...paths import whole_file
from ...rates import SAMPLE_RATE
from ..corpus import Corpus, Pair
from ..pairs import paired_files
from .fetching import OTHER_FORM, download, read_text
from .sources import DOWNLOADS, Piece, Sources, bring, forget
from .store import alone, check_space, mark, state
from .unpacking import KINDS, unpack
from .vb_demandex import check_complete

NAME = "dns2020"
PAIRS = 150
SIZE = "96 MB"
REPOSITORY = "microsoft/DNS-Challenge"
BRANCH = "interspeech2020/master"
INSIDE = "datasets/test_set/synthetic/no_reverb"
# The API's listing of a folder; files as git has them; files of the large-file storage.
ADDRESSES = {
    "api": "https://api.github.com",
    "raw": "https://raw.githubusercontent.com",
    "media": "https://media.githubusercontent.com/media",
}
BYTES = 320_044  # of each recording, as the pointers say
POINTER = 1024  # bytes; a pointer has fewer, a recording more
LICENCE_NAME = "CC BY 4.0"
LICENCE = """DNS Challenge 2020, synthetic test set without reverberation (Reddy et al.)
  https://github.com/microsoft/DNS-Challenge, branch interspeech2020/master
  CC BY 4.0, https://creativecommons.org/licenses/by/4.0/
  Cite C. K. A. Reddy et al., Interspeech 2020 (arXiv 2005.13981)."""


def get(
    folder: str | Path, sources: Sources | None = None, *, addresses: Mapping[str, str] = ADDRESSES
) -> None:
    """Fetch what is missing and mark the folder as complete.

    Args:
        folder: where the corpus is to lie.
        sources: `Sources`: an archive or a checkout of the repository, or any folder that holds
            the folders clean and noisy. Without one, GitHub is asked.
        addresses: of GitHub's services, see ADDRESSES.

    Raises ValueError and OSError, in words; what has come is kept for the next run.
    """
    folder, sources = Path(folder), sources or Sources()
    if state(folder)[0] == "complete":
        return
    with alone(folder):
        if len(sources.given) > 1:
            raise ValueError("Give one archive, folder or address: it holds the whole test set.")
        if sources.given:
            _take(sources.given[0], folder, sources)
        else:
            check_space(folder, 2 * PAIRS * BYTES, "The corpus")
            listed = [(kind, p) for kind in ("clean", "noisy") for p in _listing(addresses, kind)]
            for kind, piece in tqdm(listed, desc=NAME, unit="file"):
                _fetch(addresses, f"{kind}/{piece.name}", piece, folder)
        pairs = _pairs(folder)
        shutil.rmtree(folder / DOWNLOADS, ignore_errors=True)
        mark(folder, name=NAME, pairs={"test": len(pairs)})


def load(folder: str | Path | None = None) -> Corpus:
    """The corpus, with the split "test".

    Raises FileNotFoundError, saying how to get it, when it is not there or not complete.
    """
    return Corpus(NAME, SAMPLE_RATE, LICENCE, {"test": _pairs(check_complete(NAME, folder))})


def pointer(text: str) -> tuple[str, int] | None:
    """(checksum, length) that a pointer of git's large-file storage gives, or None if it is none.

    checksum: "sha256:...".
    """
    if not text.startswith("version https://git-lfs.github.com/spec/v1\n"):
        return None
    oid = re.search(r"^oid (sha256:[0-9a-f]{64})$", text, re.MULTILINE)
    size = re.search(r"^size ([0-9]{1,15})$", text, re.MULTILINE)
    return (oid[1], int(size[1])) if oid and size else None


def _listing(addresses, kind):
    url = f"{addresses['api']}/repos/{REPOSITORY}/contents/{INSIDE}/{kind}?ref={BRANCH}"
    try:
        entries = [e for e in json.loads(read_text(url)) if e["name"].endswith(".wav")]
        pieces = [Piece(e["name"], "", e["size"], f"git:{e['sha']}") for e in entries]
    except OTHER_FORM as error:
        raise OSError(f"{url} gives no listing that can be read ({error!r}).") from None
    for name in (piece.name for piece in pieces):
        if name.startswith(".") or re.search(r"[/\\:]", name) or not name.isprintable():
            raise ValueError(f"{url} lists {name!r}, which is no plain file name.")
    return pieces


def _fetch(addresses, name, piece, folder):
    """One recording, by way of its pointer if it has one."""
    target = folder / name
    if target.exists():
        return
    where = urllib.parse.quote(f"{REPOSITORY}/{BRANCH}/{INSIDE}/{name}")
    url, checksum, size = f"{addresses['raw']}/{where}", piece.checksum, piece.size
    if size < POINTER:
        text = read_text(url, most=POINTER)
        content = text.encode()
        found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        if f"git:{found.hexdigest()}" != checksum or not pointer(text):
            raise ValueError(f"{url} is not what git lists there; nothing of it was used.")
        url, (checksum, size) = f"{addresses['media']}/{where}", pointer(text)
    download(url, target, checksum=checksum, size=size)


def _take(source, folder, sources):
    """Copy the recordings out of an archive or a folder that was given."""
    if isinstance(source, str) or source.is_file():
        name = Path(urllib.parse.urlsplit(str(source)).path).name
        if not name.endswith(KINDS):
            raise ValueError(f"{source} is no archive: its name ends in none of {KINDS}.")
        archive = bring(Piece(name, str(source)), source, folder, sources)
        unpacked = folder / DOWNLOADS / f"{name}-{archive.stat().st_size}"
        unpacked.parent.mkdir(exist_ok=True)
        try:
            unpack(archive, unpacked, keep=_is_wanted)
            _copy(unpacked, folder)
        except ValueError:  # the next run is to ask for it again
            shutil.rmtree(unpacked, ignore_errors=True)
            forget(archive, folder)
            raise
    else:
        _copy(source, folder)


def _copy(source, folder):
    clean = _clean_folder(source)
    files = [p for kind in ("clean", "noisy") for p in (clean.parent / kind).glob("*.wav")]
    if stubs := [path for path in files if path.stat().st_size < POINTER]:
        raise ValueError(
            f"{len(stubs)} recordings in {clean.parent} are pointers of git's large-file storage, "
            f'such as {stubs[0].name}: run `git lfs pull -I "{INSIDE}/*"` in the checkout first.'
        )
    _pairs(clean.parent)  # nothing is copied of what is not the test set
    check_space(folder, sum(path.stat().st_size for path in files), "The corpus")
    for path in tqdm(files, desc=NAME, unit="file"):
        target = folder / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            with whole_file(target) as part:
                shutil.copyfile(path, part)


def _is_wanted(name):
    return "fileid_" in name and "with_reverb" not in name


def _clean_folder(source):
    found = [path for path in (source, *sorted(source.rglob("*"))) if path.name == "clean"]
    found = [path for path in found if path.with_name("noisy").is_dir()]
    found = [path for path in found if any(path.glob("clean_fileid_*.wav"))]
    if not (found := [path for path in found if path.parent.name != "with_reverb"]):
        raise ValueError(f"{source} has no folders clean and noisy with recordings fileid_N.wav.")
    return found[0]


def _pairs(folder):
    found = paired_files(folder / "clean", folder / "noisy", "fileid")
    if len(found) != PAIRS:
        raise ValueError(f"{folder} holds {len(found)} pairs, but the test set has {PAIRS}.")
    return tuple(
        Pair(clean.stem.removeprefix("clean_"), clean, noisy, _facts(noisy.stem))
        for clean, noisy in found
    )


def _facts(stem):
    found = re.search(r"_snr(-?\d+)_tl(-?\d+)_fileid", stem)
    return {"snr_db": float(found[1]), "level_db": float(found[2])} if found else {}
