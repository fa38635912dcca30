"""How many cases a property test draws: the same ones everywhere, or with `make fuzz` new ones.

A case that fails is printed after "Falsifying explicit example" or "Falsifying example"; pasted
into an @example above the test, it is tried every time from then on.
"""

import os

from hypothesis import settings

# how many times as many cases as otherwise, and new ones; 0: the usual ones
TIMES = int(os.environ.get("FUZZ") or 0)


def some(count):
    """Settings of a property test that draws so many cases. No other settings are used."""
    return settings(
        max_examples=count * max(1, TIMES), derandomize=not TIMES, database=None, deadline=None
    )
