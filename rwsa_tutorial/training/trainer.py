"""The training loop, for one process or many (notebook 08).

Accelerate finds the device and joins the processes that `accelerate launch` started. Each works
on its own examples, then all take the mean of their gradients, in one message: these networks
have a few million parameters at most, so nothing would be won by sending them piece by piece.

Every random choice follows from the seed and the number of the step or example alone, so that a
run that was stopped goes on as if it had not been.
"""

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from .. import audio
from ..corpora.corpus import Corpus
from ..features import SAMPLE_RATE
from ..model import count_parameters
from ..paths import whole_file
from ..processes import shared_memory
from ..weights import weights_file
from .config import Config
from .data import batches_of, check_data, corpus_of, examples, validation_pairs
from .folder import LOGS, Damaged, NotFinite, RunFolder
from .learner import Learner, rate
from .scorer import Scorer
from .state import restore, state_of
from .stopping import Stopping
from .validation import Validation, check_pesq, in_words

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(
    config: Config | None,
    run: str | Path,
    resume: bool = False,
    progress: bool = True,
    callback: Callable | None = None,
    device: str | None = None,
) -> Path:
    """Train a network and fill a run folder (folder.py says with what).

    Args:
        config: `Config`, or None to resume a run with its own settings.
        run: the folder; new or empty, unless `resume`.
        resume: go on from the newest checkpoint, or begin where there is none yet. On a CPU the
            result is bit for bit that of a run that was never stopped. A damaged checkpoint is
            put aside, with a line that says so, and the one before is taken.
        progress: show a bar with the terms of the loss, and a line for each validation.
        callback: called as callback(step, row) in the main process with each row of the two logs,
            for a live figure; validation rows have "pesq", the others "loss".
        device: "cpu" or "cuda"; by default the GPU if there is one. Many processes get theirs
            from `accelerate launch`.

    Returns:
        Path: of the weights with the best validation score, for `load_weights`.

    Raises:
        ValueError: in words: data or settings that do not fit, a folder that holds another run.
        NotFinite: a ValueError that names the step and the term that became NaN or infinite.
        OSError: a file could not be written, for example since the disk is full.
        KeyboardInterrupt: after Ctrl-C; the step was ended and a checkpoint written before, as it
            is at a SIGTERM, which then does what it always does.
    """
    from accelerate import Accelerator

    folder = RunFolder(run)
    if config is None:
        if not resume:
            raise ValueError("there are no settings: give a config.")
        config = folder.config()
    # alone, a process may use another device the next time, which Accelerate would not allow
    accelerator = Accelerator(cpu=device == "cpu" and "LOCAL_RANK" in os.environ)
    if device is None or accelerator.num_processes > 1:
        device = accelerator.device if accelerator.device.type == "cuda" else "cpu"
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no GPU that torch can use here: choose device cpu.")
    main = accelerator.is_main_process
    folder.check(config, resume)
    words = check_pesq(config)
    if words and main:
        _say(words)
    corpus = corpus_of(config)
    check_data(corpus, config, progress and main)
    accelerator.wait_for_everyone()
    with contextlib.ExitStack() as stack:
        if main:
            stack.enter_context(folder.held())
        scorer = stack.enter_context(Scorer(config.pesq_workers))
        # the caller's own random numbers are not touched
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        trainer = Trainer(config, folder, corpus, accelerator, device, scorer, callback)
        trainer.resume()
        accelerator.wait_for_everyone()
        if main:
            facts = {"from_step": trainer.learner.done, "processes": accelerator.num_processes}
            facts |= {"device": str(device), "data": {"name": corpus.name}}
            facts["data"]["licence"] = corpus.licence
            folder.begin(config, facts)
            trainer.agree()
        trainer.run(progress and main)
    return folder.best


def _say(words):
    tqdm.write(words, file=sys.stderr)


class Trainer:
    """The loop around a `Learner`: what is logged, validated and kept, and when."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        corpus: Corpus,
        accelerator: "Accelerator",
        device: torch.device,
        scorer: Scorer,
        callback: Callable | None,
    ):
        self.config, self.folder, self.accelerator = config, folder, accelerator
        self.device, self.callback = device, callback
        self.processes, self.rank = accelerator.num_processes, accelerator.process_index
        in_a_step = config.batch * config.accumulate * self.processes
        self.data, epoch = examples(corpus, config, config.steps * in_a_step)
        pairs = validation_pairs(corpus, config)[self.rank :: self.processes]
        self.validation = Validation(pairs, config, scorer, self._between_pairs, self._sum)
        epoch_steps = config.epoch_steps or max(1, epoch // in_a_step)
        shared = (self.processes, self.rank, self._mean)
        self.learner = Learner(config, device, scorer, epoch_steps, *shared)
        self.validated, self.saved, self.seconds = 0, 0, 0.0
        self.best_file = None
        self.rows = {log: [] for log in LOGS}

    def _mean(self, tensor):
        """Its mean over all processes."""
        return self.accelerator.reduce(tensor, "mean") if self.processes > 1 else tensor

    def _sum(self, tensor):
        """Its sum over all processes."""
        if self.processes == 1:
            return tensor
        return self.accelerator.reduce(tensor.to(self.device), "sum").cpu()

    # -- the whole run ---------------------------------------------------------------------------

    def run(self, progress: bool) -> None:
        """All steps that are left, with what is due in between."""
        config, begun, before = self.config, time.monotonic(), self.seconds
        if self.learner.done >= config.steps and not self._to_validate():
            return
        bar = tqdm(
            initial=self.learner.done,
            total=config.steps,
            desc=f"training {config.variant}",
            unit="step",
            mininterval=0.2 if sys.stderr.isatty() else 10,
            disable=not progress,
        )
        if progress:
            parameters = count_parameters(self.learner.model)
            tqdm.write(f"{config.variant}, {parameters} parameters, on {self.device}")
        with Stopping(patient=self.processes > 1) as self.stopping, bar:
            if self._to_validate():  # the run was stopped between the step and its validation
                self.validate(progress)
            batches = self._batches()
            while self.learner.done < config.steps:
                self.learner.step(next(batches))
                self.seconds = before + time.monotonic() - begun
                bar.update()
                if self._due(config.log_every):
                    row = self.log()
                    used = [n for n in self.learner.terms_used if config.loss[n]]
                    bar.set_postfix({name: f"{row[name]:.3g}" for name in ["loss", *used]})
                if self._due(config.checkpoint_every) or self._to_validate():
                    self.checkpoint()  # first, so that nothing is lost if the validation fails
                if self._to_validate():
                    self.validate(progress)
                self._stop_if_asked()

    def _to_validate(self):
        return 0 < self.learner.done != self.validated and self._due(self.config.valid_every)

    def _due(self, every):
        return self.learner.done % every == 0 or self.learner.done == self.config.steps

    def _batches(self):
        """For each step that is left, its `accumulate` batches."""
        workers = self.config.workers
        loader = DataLoader(
            self.data,
            batch_sampler=batches_of(self.config, self.learner.done, self.processes, self.rank),
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,  # never a fork beside OpenMP
            worker_init_fn=_leave_interrupts_to_the_parent,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),
        )
        with shared_memory("processes for examples cannot be started; workers: 0 needs none"):
            loader = iter(loader)
        while True:
            try:
                batches = [next(loader) for _ in range(self.config.accumulate)]
            except StopIteration:
                return
            except (ValueError, OSError, RuntimeError) as error:
                # of a worker, the last line of its trace tells what was wrong
                words = (
                    str(error).strip().splitlines()[-1].removeprefix(f"{type(error).__name__}: ")
                )
                if self.processes == 1:
                    self._keep_state()
                raise ValueError(
                    f"no example for step {self.learner.done + 1}: {words} "
                    f"{self.folder.last_good()}."
                ) from None
            yield batches

    def _stop_if_asked(self):
        """After Ctrl-C or SIGTERM: keep the state and say how to go on."""
        number = self.stopping.noted
        if self.processes > 1:  # all of them, or some would wait for the others
            number = self.accelerator.reduce(torch.tensor(number, device=self.device)).item()
        if number:
            self._keep_state()
            if self.accelerator.is_main_process:
                _say(
                    f"stopped at step {self.learner.done}. {self.folder.last_good()}: go on by "
                    "--resume (resume=True)."
                )
            self.stopping.act()

    def _keep_state(self):
        if self.learner.done > self.saved:
            self.checkpoint()

    def log(self) -> dict:
        """Write and return a row of metrics.jsonl: the means since the last, over all processes."""
        values, critic = self._checked()
        row = {"step": self.learner.done}
        means = zip(self.learner.names, values.mean(0).tolist(), strict=True)
        row |= {name: mean if math.isfinite(mean) else None for name, mean in means}
        if self.learner.critic:
            row["discriminator"] = float(critic.mean()) if len(critic) else None
        row["lr"] = rate(self.config, self.learner.done - 1, self.learner.epoch_steps)
        row["seconds"] = round(self.seconds, 3)
        self.learner.recent, self.learner.critic_losses = [], []
        self._tell("metrics.jsonl", row)
        return row

    def _checked(self):
        """The terms of the steps since the last row, (steps, terms), and the discriminator's.

        Raises NotFinite for the first step and term that are not finite in any process.
        """
        learner = self.learner
        values = (
            torch.stack(learner.recent) if learner.recent else torch.zeros(0, len(learner.names))
        )
        critic = torch.stack(learner.critic_losses) if learner.critic_losses else torch.zeros(0)
        values, critic = (self._mean(x).cpu() if len(x) else x for x in (values, critic))
        for i, bad in enumerate((~values.isfinite() & learner.counted).tolist()):
            step = learner.done - len(values) + i + 1
            terms = [name for name, is_bad in zip(learner.terms_used, bad, strict=False) if is_bad]
            if terms:
                self._stop(step, f"the loss ({', '.join(terms)})")
            if any(bad):
                self._stop(step, "the gradient")
        if not critic.isfinite().all():
            self._stop(learner.done, "the loss (discriminator)")
        return values, critic

    def _sound(self):
        """Nothing that is not finite is ever scored or saved."""
        self._checked()
        for name, network in self.learner.networks.items():
            if not all(p.isfinite().all() for p in network.parameters()):
                self._stop(self.learner.done, f"a weight of the {name}")

    def _stop(self, step, what):
        raise NotFinite(
            f"{what} is not finite at step {step}. {self.folder.last_good()}. A smaller lr, a "
            "warm-up or clip may help."
        )

    def _tell(self, log, row):
        self.rows[log].append(row)
        if self.accelerator.is_main_process:
            self.folder.append(log, row)
            if self.callback:
                self.callback(self.learner.done, row)

    # -- looking at it, keeping it ---------------------------------------------------------------

    def validate(self, progress: bool) -> None:
        """Write a row of validation.jsonl; the best weights so far and the figure are kept."""
        self._sound()
        model = self.learner.mean or self.learner.model
        row, heard = self.validation.row(model, self.learner.done)
        row["seconds"] = round(self.seconds, 3)
        if row["best"]:
            self.best_file = self._newest_weights()
        if self.accelerator.is_main_process:
            self._keep(heard[0], row["best"])
        self._tell("validation.jsonl", row)
        if self.accelerator.is_main_process:
            self._draw()
        self.validated = self.learner.done
        self.checkpoint()
        if progress:
            tqdm.write(in_words(row))

    def _between_pairs(self):
        if self.processes == 1:  # of many, some would wait for the others
            self._stop_if_asked()

    def _keep(self, wave, best):
        if best:
            self.folder.write("best.safetensors", self.best_file)
        with self.folder.writing("the example"):
            example = self.folder.path / "example"
            clean, noisy, _ = self.validation.pairs[0].read()
            peak = 0.9 / max(np.abs(noisy).max(), np.abs(clean).max(), 1e-9)  # one for all of them
            for name, signal in (("clean", clean), ("noisy", noisy)):
                path = example / f"{name}.flac"
                if not path.is_file():
                    audio.write(path, peak * signal, SAMPLE_RATE)
            path = example / f"step-{self.learner.done:07d}.flac"
            audio.write(path, np.clip(peak * wave, -1, 1), SAMPLE_RATE)

    def _draw(self):
        from matplotlib import pyplot

        from ..plotting.results import training_curves

        rows = [row for some in self.rows.values() for row in some]
        fig, _ = training_curves(sorted(rows, key=lambda row: row["step"]))
        with self.folder.writing("curves.png"), whole_file(self.folder.path / "curves.png") as part:
            fig.savefig(part, dpi=120)
        pyplot.close(fig)

    def checkpoint(self) -> None:
        """Write the state from which the run can go on; nothing in the training changes by it."""
        self._sound()
        state = state_of(self)
        if self.accelerator.is_main_process:
            self.folder.save(state, self._newest_weights())
        self.saved = self.learner.done

    def resume(self) -> None:
        """Take over the newest checkpoint that is whole, if there is one."""
        damaged, found = [], self.folder.checkpoints()
        for path in reversed(found):
            try:
                restore(self, self.folder.load(path, self.device), path)
            except Damaged as error:
                damaged.append(str(error))
                continue
            self.saved = self.learner.done
            if damaged and self.accelerator.is_main_process:
                _say(f"{'; '.join(damaged)}: put aside. Going on from {path}.")
            return
        if damaged:
            raise ValueError(f"{'; '.join(damaged)}: there is no checkpoint to go on from.")
        if self.folder.last.exists():
            raise ValueError(
                f"{self.folder.path} holds weights but no checkpoint to go on from: choose another "
                "folder."
            )

    def agree(self) -> None:
        """Let all files of the run be what the state says, whatever was written after it."""
        weights = {"best.safetensors": self.best_file, "last.safetensors": None}
        if self.learner.done:
            weights["last.safetensors"] = self._newest_weights()
        self.folder.agree(self.learner.done, self.validated, self.rows, weights)
        if self.validated:
            self._draw()

    def _newest_weights(self):
        return weights_file(self.learner.mean or self.learner.model, step=str(self.learner.done))


def _leave_interrupts_to_the_parent(worker):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
