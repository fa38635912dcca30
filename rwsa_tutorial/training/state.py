"""What a checkpoint holds: all that a run needs to go on as if it had never stopped.

It is the one truth of a run. The logs, the newest and the best weights are in it too, so that the
files beside it can be written anew from it (trainer.py), whenever the process was killed.
"""

import contextlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from .config import Config, differences
from .folder import LOGS, Damaged, check_row, free_settings

WRONG = (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError)
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # what AdamW remembers of a parameter


def state_of(trainer: Any) -> dict:
    """The trainer's state, for `torch.save`; all processes have to ask for it together."""
    from accelerate.utils import gather_object

    learner = trainer.learner
    own = {
        "recent": learner.recent,
        "critic_losses": learner.critic_losses,
        "unscored": [
            (clean, enhanced, learner.scorer.results(futures))
            for clean, enhanced, futures in learner.unscored
        ],
    }
    return {
        "settings": trainer.config.as_dict(),
        "step": learner.done,
        "validated": trainer.validated,
        "seconds": trainer.seconds,
        "networks": {name: net.state_dict() for name, net in learner.networks.items()},
        "optimisers": {n: opt.state_dict()["state"] for n, opt in learner.optimisers.items()},
        "best": trainer.validation.best,
        "best_file": torch.frombuffer(bytearray(trainer.best_file or b"-"), dtype=torch.uint8),
        "rows": trainer.rows,
        "processes": gather_object([own]),
    }


def restore(trainer: Any, state: object, path: str | Path) -> None:
    """Let a trainer be in this state, which was read from `path`.

    Raises Damaged, in words, when something is missing in it or of another kind; the trainer is of
    use again when another state is restored. Raises ValueError when it is a state of other
    settings, or of another number of processes.
    """
    with _damage(path):
        settings, processes = Config.of(state["settings"]), len(state["processes"])
    other = differences(settings, trainer.config, free_settings(trainer.config))
    if other:
        raise ValueError(
            f"{path} is of a run with other settings ({', '.join(other)}) than those given or in "
            "config.yaml: write back what was there."
        )
    if processes != trainer.processes:
        raise ValueError(
            f"{trainer.folder.path} was trained by {processes} processes; go on with as many, "
            f"not {trainer.processes}, or the examples of a step would be others."
        )
    with _damage(path):
        _take(trainer, state)


@contextlib.contextmanager
def _damage(path):
    try:
        yield
    except WRONG as error:
        words = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise Damaged(f"{path} is damaged ({' '.join(words.split())[:200]})") from None


def _take(trainer, state):
    learner = trainer.learner
    learner.done = _number(state["step"], int, "step")
    trainer.validated = _number(state["validated"], int, "validated")
    trainer.seconds = _number(state["seconds"], float, "seconds")
    for name, network in learner.networks.items():
        network.load_state_dict(state["networks"][name])
    for name, optimiser in learner.optimisers.items():
        moments = state["optimisers"][name]
        _check_moments(learner, name, moments)
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
    best = state["best"]
    scores = [_number(score, float, "best score") for score in best["scores"]]
    trainer.validation.best = {"step": _number(best["step"], int, "best step"), "scores": scores}
    trainer.best_file = None
    if trainer.validation.best["step"]:
        trainer.best_file = state["best_file"].cpu().numpy().tobytes()
    trainer.rows = {log: [check_row(log, row) for row in state["rows"][log]] for log in LOGS}
    own = state["processes"][trainer.rank]
    learner.recent = [_tensor(x, (len(learner.names),), "recent") for x in own["recent"]]
    learner.critic_losses = [_tensor(x, (), "critic_losses") for x in own["critic_losses"]]
    learner.unscored = [
        (clean, _tensor(enhanced, clean.shape, "unscored"), [_done(score) for score in scores])
        for clean, enhanced, scores in own["unscored"]
    ]


def _check_moments(learner, name, moments):
    parameters = list(learner.networks[name].parameters())
    whole = learner.done > learner.config.outer_steps or name != "model"
    if moments and whole and len(moments) != len(parameters):
        raise ValueError(f"the optimiser knows {len(moments)} of {len(parameters)} parameters")
    if name == "model" and not moments:
        raise ValueError("the optimiser knows no parameter")
    for i, moment in moments.items():
        if moment.keys() != MOMENTS:
            raise ValueError(f"the optimiser's parameter {i} has {', '.join(map(str, moment))}")
        for part, tensor in moment.items():
            shape = () if part == "step" else parameters[i].shape
            _tensor(tensor, shape, f"{part} of the optimiser's parameter {i}")


def _number(value, kind, name):
    if type(value) is not kind:
        raise ValueError(f"{name} is {value!r:.40}")
    return value


def _tensor(value, shape, name):
    if not torch.is_tensor(value) or value.shape != shape:
        found = tuple(value.shape) if torch.is_tensor(value) else repr(value)[:40]
        raise ValueError(f"{name} is {found}")
    return value


def _done(score):
    """The future of a score that is known, as `Scorer.submit` gives one."""
    future = Future()
    future.set_result(score)
    return future
