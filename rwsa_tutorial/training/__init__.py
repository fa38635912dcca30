"""Training: from a cell of a notebook to many GPUs (notebook 08).

    from rwsa_tutorial.training import Config, train
    best = train(Config(data="mini-vb", steps=500), "runs/first")

A run is a folder (folder.py) made from settings (config.py): what they name as data (data.py) is
learnt from, step by step (trainer.py). `overfit` is the check to make before anything long.
"""

from .config import Config
from .folder import NotFinite, RunFolder
from .overfitting import overfit
from .trainer import train

__all__ = ["Config", "NotFinite", "RunFolder", "overfit", "train"]
