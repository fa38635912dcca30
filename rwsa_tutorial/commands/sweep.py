"""`rwsa sweep`."""

from argparse import ArgumentParser, Namespace

from .common import count, device_option, new_file

HELP = "train many runs that differ in a setting and the seed; score them"
EXAMPLES = """examples:
  rwsa sweep data/results/ablation.yaml --runs runs/ablation --csv ablation.csv
  rwsa sweep plan.yaml --runs runs/mine --csv mine.csv --jobs 8      side by side, on one GPU

A plan is YAML: base (settings as for rwsa train), kinds (a name, then its settings) or a grid
(a setting, then its values; every combination is trained), seeds, and test (a corpus by name).
compare (pairs of kinds) asks for differences with intervals over seeds and voices, which a second
file, FILE_voices.csv, is for.
Each run is a folder as of rwsa train. The same command again goes on where it was stopped. Scores
of other settings, weights or test recordings are never taken for those of the plan.
"""


def options(parser: ArgumentParser) -> None:
    """Give the parser of this command its options."""
    parser.add_argument("plan", metavar="PLAN", help="what differs, YAML")
    parser.add_argument("--runs", required=True, metavar="DIR", help="where the run folders go")
    parser.add_argument("--csv", required=True, metavar="FILE", help="a line for each run")
    parser.add_argument(
        "--examples", metavar="DIR", help="keep there what each run made of one recording"
    )
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="runs at a time (default: 1)"
    )
    device_option(parser)
    parser.add_argument("--force", action="store_true", help="replace an existing FILE")


def run(options: Namespace) -> int:
    """Train and score all runs of a plan; returns the exit status."""
    from ..training import comparison, sweep
    from ..training.plan import Plan

    csv = new_file(options.csv, options.force)
    plan = Plan.read(options.plan)
    if plan.compare:
        voices = new_file(csv.with_stem(f"{csv.stem}_voices"), options.force)
    rows = sweep.sweep(plan, options.runs, options.jobs, options.device)
    sweep.write_results(csv, rows)
    if options.examples:
        sweep.keep_examples(plan, options.runs, options.examples)
    print(sweep.table(rows))
    print(f"Written to {csv}.")
    if plan.compare:
        rows = comparison.by_voice(plan, options.runs)
        sweep.write_results(voices, rows)
        found = comparison.compare(plan, rows)
        print(f"\nDifferences in SI-SDR gained:\n{comparison.comparison_table(found)}")
        print(f"Each voice's scores are written to {voices}.")
    return 0
