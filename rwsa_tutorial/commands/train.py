"""The body of `rwsa train`."""

from ..training.config import Config
from ..training.folder import RunFolder
from ..training.trainer import train


def run(options):
    """Train as the command line says; returns the exit status."""
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
