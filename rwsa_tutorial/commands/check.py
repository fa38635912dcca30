"""`rwsa check`."""

from argparse import ArgumentParser, Namespace

HELP = "say in plain words whether the course can run here"
EXAMPLES = """examples:
  rwsa check                  look at this machine and this folder
"""


def options(parser: ArgumentParser) -> None:
    """Give the parser of this command its options."""
    del parser  # it has none


def run(options: Namespace) -> int:
    """Look, say what was found; returns the exit status."""
    from ..checks import environment

    return 1 if environment() else 0
