"""`rwsa train`."""

from argparse import ArgumentParser, Namespace

from .common import device_option

HELP = "train a network; a run is a folder, and can be resumed"
EXAMPLES = """examples:
  rwsa train --defaults > first.yaml           all settings, the paper's recipe; edit what you like
  rwsa train --config first.yaml --run runs/first
  rwsa train --config first.yaml --set steps=500 --set loss.metric=0 --run runs/second
  rwsa train --run runs/first --resume         goes on after an interruption, with its own settings
  rwsa train --run runs/first --resume --set steps=9000           and for longer
  accelerate launch --num_processes 4 -m rwsa_tutorial.cli train --config first.yaml --run runs/big

On two processes of a machine without GPU: accelerate launch --multi_gpu --num_processes 2 and so
on, with --device cpu at the end. In each step all processes together learn from batch x accumulate
x processes examples.

A run is a folder: settings, logs, curves.png, checkpoints, best.safetensors (which the other
commands take as --model). Whatever stops it, at most the work since the last checkpoint is lost;
Ctrl-C and SIGTERM write one first. Bad files are named before it begins.
`data` in the settings is a corpus by name, a packed folder, {speech: DIR, noise: DIR}, or
{clean: DIR, noisy: DIR}.
"""


def options(parser: ArgumentParser) -> None:
    """Give the parser of this command its options."""
    parser.add_argument("--config", metavar="FILE", help="the settings, YAML")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change one of them; may be given again",
    )
    parser.add_argument("--run", dest="run_folder", metavar="DIR", help="the folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from its last checkpoint")
    device_option(parser)
    parser.add_argument("--defaults", action="store_true", help="print all settings, train nothing")


def run(options: Namespace) -> int:
    """Train as the command line says; returns the exit status."""
    from ..training.config import Config
    from ..training.folder import RunFolder
    from ..training.trainer import train

    if options.defaults:
        print(Config().changed(options.changes).to_yaml(), end="")
        return 0
    if not options.run_folder:
        raise ValueError("give the folder of the run: --run DIR.")
    folder = RunFolder(options.run_folder)
    if options.config:
        config = Config.read(options.config, options.changes)
    elif options.resume and folder.begun():
        config = folder.config().changed(options.changes)
    elif options.changes:
        config = Config().changed(options.changes)
    else:
        raise ValueError(
            "give the settings: --config FILE (rwsa train --defaults prints one to begin with), or "
            "--set name=value."
        )
    best = train(config, folder.path, resume=options.resume, device=options.device)
    print(f"The best weights are in {best}.")
    return 0
