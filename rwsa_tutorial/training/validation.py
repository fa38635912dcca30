"""How good the network is by now: PESQ and SI-SDR of pairs that it does not learn from."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..enhancement import enhance
from ..scores.metrics import pesq_is_installed, shown, si_sdr
from .config import Config
from .scorer import Scorer


def check_pesq(config: Config) -> str | None:
    """None, or what to say where PESQ is missing and these settings can do without it.

    Raises ValueError, in words, where they cannot.
    """
    if pesq_is_installed():
        return None
    if config.discriminator:
        raise ValueError(
            "the discriminator learns from PESQ, which is not installed here: pip install pesq, or "
            "discriminator: false."
        )
    if config.best == "pesq":
        return "PESQ is not installed here: SI-SDR decides which weights are the best."
    return None


class Validation:
    """The pairs to validate on, and the scores of what is made of them.

    best: the step with the best scores so far, and these; step 0 before the first.
    """

    def __init__(
        self,
        pairs: Sequence,
        config: Config,
        scorer: Scorer,
        between: Callable[[], object],
        sum_of: Callable[[Tensor], Tensor],
    ):
        """
        Args:
            pairs: each with a `read()`; of all that there are, this process's share.
            config: `Config`.
            scorer: `Scorer`.
            between: called before each pair; what it raises ends the validation.
            sum_of: gives for a tensor its sum over all processes.
        """
        self.pairs, self.config, self.scorer = pairs, config, scorer
        self.between, self.sum_of = between, sum_of
        self.best = {"step": 0, "scores": []}
        self._noisy = None

    def row(self, model: nn.Module, step: int) -> tuple[dict, list[np.ndarray]]:
        """A row for the log, and what the network made of these pairs: waves (n,)."""
        if self._noisy is None:
            self._noisy = self.scores(lambda noisy, sample_rate: noisy)
        heard = []

        def enhanced(noisy, sample_rate):
            heard.append(enhance(noisy, sample_rate, model, progress=False))
            return heard[-1]

        row = {"step": step} | self.scores(enhanced)
        row |= {f"noisy_{name}": value for name, value in self._noisy.items()}
        # where the one that decides is missing, the other does
        deciding = sorted(("pesq", "si_sdr"), key=lambda name: name != self.config.best)
        scores = [-math.inf if row[name] is None else row[name] for name in deciding]
        row["best"] = not self.best["step"] or scores > self.best["scores"]
        if row["best"]:
            self.best = {"step": step, "scores": scores}
        return row, heard

    def scores(self, system: Callable) -> dict[str, float | None]:
        """Mean PESQ and SI-SDR of system(noisy, sample_rate) over the validation pairs, or None."""
        futures, ratios = [], []
        for pair in self.pairs:
            self.between()
            clean, noisy, sample_rate = pair.read()
            wave = system(noisy, sample_rate)
            futures.append(self.scorer.submit(clean, wave))
            ratios.append(si_sdr(clean, wave))
        found = []
        for scores in (self.scorer.results(futures), ratios):
            known = [s for s in scores if s is not None and math.isfinite(s)]
            found += [math.fsum(known), len(known)]
        sums = self.sum_of(torch.tensor(found))
        pesq, pesqs, ratio, count = sums.tolist()
        return {
            "pesq": pesq / pesqs if pesqs else None,
            "si_sdr": ratio / count if count else None,
        }


def in_words(row: dict) -> str:
    """A row of the log in one line."""
    scores = []
    for name, words in (("pesq", "PESQ"), ("si_sdr", "SI-SDR")):
        found = (row[name], row[f"noisy_{name}"])
        now, noisy = map(shown, found)
        scores.append(f"{words} {now} (noisy {noisy})")
    return f"step {row['step']}: {', '.join(scores)}{'; the best so far' if row['best'] else ''}"
