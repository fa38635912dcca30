"""The command line: rwsa check | enhance | evaluate | train | sweep | bench | data.

Exit status 0: done; 1: `check` found that the course cannot run; 2: bad input, told in one line.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from .commands import bench, check, data, enhance, evaluate, sweep, train
from .commands.common import Parser, complain

COMMANDS = {
    "check": check,
    "enhance": enhance,
    "evaluate": evaluate,
    "train": train,
    "sweep": sweep,
    "bench": bench,
    "data": data,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. `argv` is a list of words, by default the shell's.

    Raises SystemExit (status 0 or 2) for --help and for unknown options, as argparse does.
    """
    _ready_to_print()
    options = parser().parse_args(argv)
    before = _end_on_sigterm()
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        return complain(options.command, error)
    except ModuleNotFoundError as error:
        return complain(options.command, f"{error}. `rwsa check` says what is missing.")
    except KeyboardInterrupt:
        return complain(options.command, "stopped; finished files are kept.", status=130)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _ready_to_print():
    """No output is a reason to stop: a closed stream, or characters that the terminal lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by 2>&-
            setattr(sys, name, open(os.devnull, "w"))
        if hasattr(stream := getattr(sys, name), "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8, too


def _end_on_sigterm():
    """Let SIGTERM end the command as an exception does, unfinished files removed.

    Returns what handled it before, or None where that cannot be changed: outside the main thread.
    """

    def stop(number, frame):
        raise SystemExit(128 + number)

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:
        return None


def parser() -> Parser:
    """The parser of all commands; what it gives has `run`, the function that does it."""
    whole = Parser(
        prog="rwsa",
        description="Speech enhancement with RWSA-MambaUNet: the course's commands.",
        epilog="rwsa COMMAND --help tells more about one of them.",
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(
            name,
            help=command.HELP,
            description=command.HELP[0].upper() + command.HELP[1:] + ".",
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(run=getattr(command, "run", None))
        command.options(one)
    return whole


if __name__ == "__main__":
    sys.exit(main())
