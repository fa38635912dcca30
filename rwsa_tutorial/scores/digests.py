"""What a score was made from, as a digest: of what files hold, not of how they are called."""

import hashlib
import json
from collections.abc import Iterable

import torch
from torch import nn

from ..corpora.corpus import Pair, Recipe

LENGTH = 16  # hexadecimal digits; 2^32 things would have to be told apart before two are alike
ADDED = ", around='codec'"  # a setting that came later: digests from before it stay


def of_pairs(pairs: Iterable[Pair]) -> dict[str, str | None]:
    """Digests of these `corpora.corpus.Pair`s: what their files hold, and how they are mixed.

    Returns:
        dict: name of the pair -> digest; None where a file cannot be read.
    """
    files = {}

    def of_file(path):
        if path not in files:
            with open(path, "rb") as file:
                files[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return files[path]

    found = {}
    for pair in pairs:
        try:
            mixed = isinstance(pair.noisy, Recipe)
            noisy = of_file(pair.noisy.noise if mixed else pair.noisy)
            recipe = [pair.noisy.start, pair.noisy.snr_db, pair.noisy.ratio] if mixed else None
            found[pair.name] = of_value([of_file(pair.clean), noisy, recipe])
        except OSError:
            found[pair.name] = None
    return found


def of_network(model: nn.Module) -> str:
    """The digest of a network's weights, by name, and of its configuration."""
    config = repr(getattr(model, "config", None)).replace(ADDED, "")
    digest = hashlib.sha256(config.encode())
    for name, value in model.state_dict().items():
        value = value.detach().cpu().contiguous()
        digest.update(repr((name, value.dtype, tuple(value.shape))).encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return _text(digest)


def of_value(value: object) -> str:
    """The digest of what JSON can hold, such as settings; dicts whatever their order."""
    return _text(hashlib.sha256(json.dumps(value, sort_keys=True).encode()))


def _text(digest):
    # the word keeps a spreadsheet from taking digits for a number
    return "sha256:" + digest.hexdigest()[:LENGTH]
