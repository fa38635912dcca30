"""`rwsa bench`."""

import math
from argparse import ArgumentParser, Namespace

from .common import count, device_option, new_figure, new_file

HELP = "measure how fast the scan engines and the network are here"
EXAMPLES = """examples:
  rwsa bench                  a minute: the scan engines, then the whole network
  rwsa bench --only scan --csv speed.csv --plot speed.png
  rwsa bench --only scan --engines cpu --batch 1 --length 8192
  rwsa bench --levels xs --batches 1 8 32     every scan of XS, with its bandwidth

Close other programs first. An engine that cannot run here is listed with the reason.
"""


def options(parser: ArgumentParser) -> None:
    """Give the parser of this command its options."""
    parser.add_argument(
        "--engines",
        nargs="+",
        metavar="NAME",
        help="scan engines (default: all of them for the scan, auto for the network)",
    )
    device_option(parser)
    parser.add_argument("--threads", type=count, metavar="N", help="CPU threads (default: all)")
    for name, words, default in (
        ("batch", "sequences, B", 128),
        ("channels", "channels of each, D", 64),
        ("length", "steps of each, L", 256),
        ("states", "states of each channel, N", 16),
        ("rounds", "measurements, of which the best counts", 5),
    ):
        parser.add_argument(
            f"--{name}",
            type=count,
            default=default,
            metavar="N",
            help=f"{words} (default: {default})",
        )
    parser.add_argument(
        "--full", action="store_true", help="all rounds for the slow ones too; takes minutes"
    )
    parser.add_argument("--only", choices=("scan", "network"), help="leave out the other table")
    parser.add_argument(
        "--levels",
        metavar="VARIANT",
        help="all scans of a network (nano, xs, s, m, lab), nothing else",
    )
    parser.add_argument(
        "--batches",
        nargs="+",
        type=count,
        default=[1],
        metavar="N",
        help="batch sizes for --levels (default: 1)",
    )
    parser.add_argument("--csv", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--plot", metavar="FILE", help="draw the engines' times (png, pdf, svg)")
    parser.add_argument("--force", action="store_true", help="replace an existing FILE")


def run(options: Namespace) -> int:
    """Measure, print and write it; returns the exit status."""
    from .. import bench, machine

    if options.plot and (options.levels or options.only == "network"):
        raise ValueError("--plot draws the engines on one shape: leave out --levels or --only.")
    csv = options.csv and new_file(options.csv, options.force)
    plot = options.plot and new_figure(options.plot, options.force)
    done = []
    tables = bench.measure(
        (options.batch, options.channels, options.length, options.states),
        engines=options.engines,
        device=options.device,
        threads=options.threads,
        rounds=options.rounds,
        patience=math.inf if options.full else bench.PATIENCE,
        only=options.only,
        levels=options.levels,
        batches=options.batches,
    )
    for rows in tables:
        if not done:
            print(f"{machine.describe(options.threads)}.")
        print(f"\n{bench.table(rows)}", flush=True)
        done += rows
    if csv:
        bench.write_csv(csv, done, machine.describe(options.threads))
        print(f"\nWritten to {csv}.")
    if plot:
        from ..paths import whole_file
        from ..plotting.results import scan_times

        fig, _ = scan_times([row for row in done if row["table"] == "scan"])
        with whole_file(plot) as part:
            fig.savefig(part, dpi=150)
        print(f"Drawn in {plot}.")
    return 0
