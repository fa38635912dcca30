"""Recordings in and out: reading, writing, resampling, level.

A wave is an array (n,) for mono or (n, channels); floats have full scale 1.
"""

from .kinds import EXTENSIONS, UNREADABLE, WRITABLE, how_to_convert, kept_subtype
from .notes import RecordingWarning, note, notes_to
from .reading import Recording, open_to_read, read
from .resampling import resample, resample_blocks
from .waves import (
    BLOCK,
    INTEGER_TYPES,
    as_wave,
    blocks_of,
    check_finite,
    check_rate,
    from_float,
    level_gain,
    to_float,
)
from .writing import write, write_blocks

__all__ = [
    "EXTENSIONS",
    "UNREADABLE",
    "WRITABLE",
    "how_to_convert",
    "kept_subtype",
    "RecordingWarning",
    "note",
    "notes_to",
    "Recording",
    "open_to_read",
    "read",
    "resample",
    "resample_blocks",
    "BLOCK",
    "INTEGER_TYPES",
    "as_wave",
    "blocks_of",
    "check_finite",
    "check_rate",
    "from_float",
    "level_gain",
    "to_float",
    "write",
    "write_blocks",
]
