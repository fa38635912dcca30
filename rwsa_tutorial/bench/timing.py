"""How to time fairly: in turns, the best of several rounds, the slow ones less often."""

import math
import time
from collections.abc import Callable, Hashable, Mapping

from .. import machine

PATIENCE = 2.0  # seconds of measuring after which a slow engine leaves the rounds


def best_of(
    tasks: Mapping[Hashable, Callable[[], object]],
    rounds: int,
    device: str = "cpu",
    patience: Mapping[Hashable, float] | None = None,
    tick: Callable[[], object] = lambda: None,
    least: int = 1,
) -> dict[Hashable, tuple[float, int]]:
    """Time functions in turn: name -> (best seconds of a call, rounds taken).

    tasks: name -> function without arguments. A call of under 10 ms is repeated within a round; a
    task that has taken more than its `patience` (name -> seconds) takes no further round, once it
    has had `least`. tick: called after each round.
    """
    best, taken = dict.fromkeys(tasks, math.inf), dict.fromkeys(tasks, 0)
    calls, spent = dict.fromkeys(tasks, 1), dict.fromkeys(tasks, 0.0)
    for _ in range(rounds):
        for name, run in tasks.items():
            if patience and spent[name] > patience[name] and taken[name] >= least:
                continue
            machine.wait_for(device)
            start = time.perf_counter()
            for _ in range(calls[name]):
                run()
            machine.wait_for(device)
            seconds = time.perf_counter() - start
            spent[name] += seconds
            taken[name] += 1
            best[name] = min(best[name], seconds / calls[name])
            calls[name] = min(1000, math.ceil(0.01 * calls[name] / seconds))
        tick()
    return {name: (best[name], taken[name]) for name in tasks}
