"""What one should know of a recording that is read or written all the same."""

import contextlib
import warnings
from collections.abc import Callable, Iterator


class RecordingWarning(UserWarning):
    """What a person should know about a recording that has been read or written all the same."""


def note(words: str) -> None:
    """Say it as a `RecordingWarning`; a notebook shows each once."""
    warnings.warn(words, RecordingWarning, stacklevel=2)


@contextlib.contextmanager
def notes_to(say: Callable[[str], None]) -> Iterator[None]:
    """Within the block, each note is given to `say`, once, and not shown as a warning."""
    said = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", RecordingWarning)
        others = warnings.showwarning

        def show(message, category, *where, **more):
            if not issubclass(category, RecordingWarning):
                others(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                say(str(message))

        warnings.showwarning = show
        yield
