"""The training loop, for one process or many (notebook 08).

Accelerate finds the device and joins the processes that `accelerate launch` started. Each works
on its own examples, then all take the mean of their gradients, in one message: these networks
have a few million parameters at most, so nothing would be won by sending them piece by piece.

Every random choice follows from the seed and the number of the step or example alone, so that a
run that was stopped goes on as if it had not been.
"""

import contextlib
import copy
import math
import os
import signal
import sys
import time
from importlib.util import find_spec

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from .. import audio
from ..discriminator import MetricDiscriminator, discriminator_loss, quality
from ..enhance import enhance
from ..features import SAMPLE_RATE, analyse, synthesise
from ..losses import WEIGHTS, enhancement_losses, metric_loss, total
from ..metrics import shown, si_sdr
from ..model import count_parameters
from ..paths import whole_file
from ..processes import shared_memory
from ..scoring import Scorer
from ..weights import find_weights, weights_file
from .data import check_data, corpus_of, examples, validation_pairs
from .folder import LOGS, Damaged, NotFinite, RunFolder
from .state import restore, state_of
from .stopping import Stopping


def train(config, run, resume=False, progress=True, callback=None, device=None):
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
    _check_pesq(config, main)
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
            facts = {"from_step": trainer.done, "processes": accelerator.num_processes}
            facts |= {"device": str(device), "data": {"name": corpus.name}}
            facts["data"]["licence"] = corpus.licence
            folder.begin(config, facts)
            trainer.agree()
        trainer.run(progress and main)
    return folder.best


def _check_pesq(config, main):
    if find_spec("pesq"):
        return
    if config.discriminator:
        raise ValueError(
            "the discriminator learns from PESQ, which is not installed here: pip install pesq, or "
            "discriminator: false."
        )
    if main and config.best == "pesq":
        _say("PESQ is not installed here: SI-SDR decides which weights are the best.")


def _say(words):
    tqdm.write(words, file=sys.stderr)


def rate(config, step, epoch_steps=None):
    """The learning rate of a step, counted from 0.

    It falls by epochs or along a half cosine, after a linear warm-up, which is repeated when the
    U-Net joins the encoder and the decoders. epoch_steps: steps in an epoch; a cosine needs none.
    """
    since = step if step < config.outer_steps else step - config.outer_steps
    warm = min((since + 1) / config.warmup, 1) if config.warmup else 1
    if config.schedule == "cosine":
        return config.lr * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.lr * warm * config.lr_decay ** (step // epoch_steps)


def batches_of(config, first, processes, rank):
    """Which examples a process gets, from step `first` on: ranges of numbers, one by one.

    All examples are dealt out in order, batch by batch, so that two processes learn in a step
    from what one process with a batch twice as large learns from.
    """
    begin, end = first * config.accumulate, config.steps * config.accumulate
    starts = ((turn * processes + rank) * config.batch for turn in range(begin, end))
    return (range(start, start + config.batch) for start in starts)


def begin_with(config):
    """The network that config.start names. Raises ValueError when the settings ask for another."""
    model, wanted = find_weights(config.start), config.model_config()
    if model.config != wanted:
        raise ValueError(
            f"{config.start} holds another network than the settings ask for: {model.config}, not "
            f"{wanted}."
        )
    return model


def outer_output(model, mag, phase):
    """The network without its U-Net: encoder and decoders alone."""
    features = model.encode(mag, phase)
    return model.decode(mag, features, features)


class Trainer:
    """All that changes during a run, and how."""

    def __init__(self, config, folder, corpus, accelerator, device, scorer, callback):
        self.config, self.folder, self.accelerator = config, folder, accelerator
        self.device, self.scorer, self.callback = device, scorer, callback
        self.processes, self.rank = accelerator.num_processes, accelerator.process_index
        in_a_step = config.batch * config.accumulate * self.processes
        self.data, epoch = examples(corpus, config, config.steps * in_a_step)
        self.epoch_steps = config.epoch_steps or max(1, epoch // in_a_step)
        self.valid = validation_pairs(corpus, config)[self.rank :: self.processes]

        torch.manual_seed(config.seed)  # every process begins with the same weights
        self.model = config.build_model().to(device)
        if config.start:
            self.model.load_state_dict(begin_with(config).state_dict())
        elif config.outer_steps:
            for conv in (self.model.after_mag, self.model.after_phase):
                torch.nn.init.zeros_(conv.weight)  # the U-Net joins without a jolt
        self.mean = copy.deepcopy(self.model) if config.ema else None
        self.critic = MetricDiscriminator().to(device) if config.discriminator else None
        self.networks = {"model": self.model, "critic": self.critic, "mean": self.mean}
        self.networks = {name: net for name, net in self.networks.items() if net is not None}
        self.optimisers = {
            name: torch.optim.AdamW(
                self.networks[name].parameters(),
                config.lr,
                betas=config.betas,
                weight_decay=config.weight_decay,
            )
            for name in ("model", "critic")
            if name in self.networks
        }
        self.terms_used = [n for n in WEIGHTS if n != "metric" or self.critic]
        self.names = [*self.terms_used, "loss", "gradient"]  # the last is the gradient's length
        # what has no weight may be infinite without harm
        self.counted = torch.tensor(
            [name not in WEIGHTS or config.loss[name] > 0 for name in self.names]
        )
        self.done, self.validated, self.saved, self.seconds = 0, 0, 0, 0.0
        self.best, self.best_file = {"step": 0, "scores": []}, None
        self.rows = {log: [] for log in LOGS}
        self.recent, self.critic_losses = [], []  # of the steps since the last row of the log
        self.unscored = []  # what the discriminator is to learn from: (clean, enhanced, futures)
        self.noisy_scores = None

    # -- one step --------------------------------------------------------------------------------

    def step(self, batches):
        """One update of the weights, from `accumulate` batches of (clean, noisy), (B, n) each."""
        number = self.done
        self._draw_from(number)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate(self.config, number, self.epoch_steps)
        self.teach_critic()
        sums = 0
        for clean, noisy in batches:
            terms = self.terms(clean.to(self.device), noisy.to(self.device), number)
            loss = total(terms, self.config.loss) / len(batches)
            loss.backward()
            values = torch.stack([terms[name] for name in self.terms_used]).detach()
            sums = sums + torch.cat([values / len(batches), loss.detach()[None]])
        self.recent.append(torch.cat([sums, self._update("model")[None]]))
        if self.mean:
            decay = min(self.config.ema, (number + 1) / (number + 10))  # short memory at first
            with torch.no_grad():
                for mean, now in zip(self.mean.parameters(), self.model.parameters(), strict=True):
                    mean.lerp_(now, 1 - decay)
        self.done += 1

    def terms(self, clean, noisy, number):
        """The unweighted terms of the loss; with a discriminator, PESQ is begun for the batch."""
        outer = number < self.config.outer_steps
        short = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        )
        features = analyse(noisy)
        with short:
            output = outer_output(self.model, *features) if outer else self.model(*features)
        mag, phase, spec = (x.float() for x in output)
        goal = torch.lerp(clean, noisy, self.config.keep_noise)
        terms = enhancement_losses((mag, phase, spec), *analyse(goal), goal)
        if self.critic:
            clean_mag, _ = analyse(clean)
            self.critic.requires_grad_(False)
            terms["metric"] = metric_loss(self.critic(clean_mag, mag))
            with torch.no_grad():
                waves = synthesise(mag, phase, length=clean.shape[1]).cpu().numpy()
            futures = [self.scorer.submit(*pair) for pair in zip(clean.cpu(), waves, strict=True)]
            self.unscored.append((clean_mag, mag.detach(), futures))
        return terms

    def teach_critic(self):
        """Update the discriminator from the step before, whose PESQ was computed meanwhile.

        One step late, always: the network need not wait, and nothing depends on how fast PESQ is.
        """
        if not self.unscored:
            return
        self.critic.requires_grad_(True)
        for clean, enhanced, futures in self.unscored:
            goal = quality(self.scorer.results(futures)).to(self.device)
            loss = discriminator_loss(
                self.critic(clean, clean), self.critic(clean, enhanced), goal
            ) / len(self.unscored)
            loss.backward()
            self.critic_losses.append(loss.detach() * len(self.unscored))
        self.unscored = []
        self._update("critic")

    def _update(self, name):
        """Let all processes take the mean of their gradients, and the optimiser its step.

        Returns the length of the mean gradient, before it was clipped.
        """
        network, optimiser = self.networks[name], self.optimisers[name]
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        if self.processes > 1:
            flat = torch.cat([g.flatten() for g in grads])
            flat = self.accelerator.reduce(flat, reduction="mean")
            for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad))
        longest = self.config.clip or math.inf
        length = torch.nn.utils.clip_grad_norm_(network.parameters(), longest)
        optimiser.step()
        optimiser.zero_grad()
        return length

    def _draw_from(self, number):
        """Dropout's random numbers, from the seed, the step and the process alone."""
        seeds = np.random.SeedSequence([self.config.seed, number, self.rank])
        torch.manual_seed(int(seeds.generate_state(1)[0]))

    # -- the whole run ---------------------------------------------------------------------------

    def run(self, progress):
        """All steps that are left, with what is due in between."""
        config, begun, before = self.config, time.monotonic(), self.seconds
        if self.done >= config.steps and not self._to_validate():
            return
        bar = tqdm(
            initial=self.done,
            total=config.steps,
            desc=f"training {config.variant}",
            unit="step",
            mininterval=0.2 if sys.stderr.isatty() else 10,
            disable=not progress,
        )
        if progress:
            parameters = count_parameters(self.model)
            tqdm.write(f"{config.variant}, {parameters} parameters, on {self.device}")
        with Stopping(patient=self.processes > 1) as self.stopping, bar:
            if self._to_validate():  # the run was stopped between the step and its validation
                self.validate(progress)
            batches = self._batches()
            while self.done < config.steps:
                self.step(next(batches))
                self.seconds = before + time.monotonic() - begun
                bar.update()
                if self._due(config.log_every):
                    row = self.log()
                    shown = ["loss", *(name for name in self.terms_used if config.loss[name])]
                    bar.set_postfix({name: f"{row[name]:.3g}" for name in shown})
                if self._due(config.checkpoint_every) or self._to_validate():
                    self.checkpoint()  # first, so that nothing is lost if the validation fails
                if self._to_validate():
                    self.validate(progress)
                self._stop_if_asked()

    def _to_validate(self):
        return 0 < self.done != self.validated and self._due(self.config.valid_every)

    def _due(self, every):
        return self.done % every == 0 or self.done == self.config.steps

    def _batches(self):
        """For each step that is left, its `accumulate` batches."""
        workers = self.config.workers
        loader = DataLoader(
            self.data,
            batch_sampler=batches_of(self.config, self.done, self.processes, self.rank),
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
                    f"no example for step {self.done + 1}: {words} {self.folder.last_good()}."
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
                    f"stopped at step {self.done}. {self.folder.last_good()}: go on by --resume "
                    "(resume=True)."
                )
            self.stopping.act()

    def _keep_state(self):
        if self.done > self.saved:
            self.checkpoint()

    def log(self):
        """A row of metrics.jsonl: the means since the last one, over all processes."""
        values, critic = self._checked()
        row = {"step": self.done}
        means = values.mean(0).tolist()
        row |= {n: v if math.isfinite(v) else None for n, v in zip(self.names, means, strict=True)}
        if self.critic:
            row["discriminator"] = float(critic.mean()) if len(critic) else None
        row["lr"] = rate(self.config, self.done - 1, self.epoch_steps)
        row["seconds"] = round(self.seconds, 3)
        self.recent, self.critic_losses = [], []
        self._tell("metrics.jsonl", row)
        return row

    def _checked(self):
        """The terms of the steps since the last row, (steps, terms), and the discriminator's.

        Raises NotFinite for the first step and term that are not finite in any process.
        """
        values = torch.stack(self.recent) if self.recent else torch.zeros(0, len(self.names))
        critic = torch.stack(self.critic_losses) if self.critic_losses else torch.zeros(0)
        if self.processes > 1 and len(values):
            values = self.accelerator.reduce(values, reduction="mean")
        if self.processes > 1 and len(critic):
            critic = self.accelerator.reduce(critic, reduction="mean")
        values, critic = values.cpu(), critic.cpu()
        for i, bad in enumerate((~values.isfinite() & self.counted).tolist()):
            step = self.done - len(values) + i + 1
            terms = [name for name, is_bad in zip(self.terms_used, bad, strict=False) if is_bad]
            if terms:
                self._stop(step, f"the loss ({', '.join(terms)})")
            if any(bad):
                self._stop(step, "the gradient")
        if not critic.isfinite().all():
            self._stop(self.done, "the loss (discriminator)")
        return values, critic

    def _sound(self):
        """Nothing that is not finite is ever scored or saved."""
        self._checked()
        for name, network in self.networks.items():
            if not all(p.isfinite().all() for p in network.parameters()):
                self._stop(self.done, f"a weight of the {name}")

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
                self.callback(self.done, row)

    # -- looking at it, keeping it ---------------------------------------------------------------

    def validate(self, progress):
        """A row of validation.jsonl; the best weights so far and the figure are kept."""
        self._sound()
        model = self.mean or self.model
        if self.noisy_scores is None:
            self.noisy_scores = self._scores(lambda noisy, sample_rate: noisy)
        heard = []

        def enhanced(noisy, sample_rate):
            heard.append(enhance(noisy, sample_rate, model, progress=False))
            return heard[-1]

        row = {"step": self.done} | self._scores(enhanced)
        row |= {f"noisy_{name}": value for name, value in self.noisy_scores.items()}
        # where the one that decides is missing, the other does
        deciding = sorted(("pesq", "si_sdr"), key=lambda name: name != self.config.best)
        scores = [-math.inf if row[name] is None else row[name] for name in deciding]
        row["best"] = not self.best["step"] or scores > self.best["scores"]
        row["seconds"] = round(self.seconds, 3)
        if row["best"]:
            self.best = {"step": self.done, "scores": scores}
            self.best_file = weights_file(model, step=str(self.done))
        if self.accelerator.is_main_process:
            self._keep(heard[0], row["best"])
        self._tell("validation.jsonl", row)
        if self.accelerator.is_main_process:
            self._draw()
        self.validated = self.done
        self.checkpoint()
        if progress:
            tqdm.write(_in_words(row))

    def _scores(self, system):
        """Mean PESQ and SI-SDR of system(noisy, sample_rate) over the validation pairs, or None."""
        futures, ratios = [], []
        for pair in self.valid:
            if self.processes == 1:
                self._stop_if_asked()
            clean, noisy, sample_rate = pair.read()
            wave = system(noisy, sample_rate)
            futures.append(self.scorer.submit(clean, wave))
            ratios.append(si_sdr(clean, wave))
        found = []
        for scores in (self.scorer.results(futures), ratios):
            known = [s for s in scores if s is not None and math.isfinite(s)]
            found += [math.fsum(known), len(known)]
        sums = torch.tensor(found, device=self.device)
        if self.processes > 1:
            sums = self.accelerator.reduce(sums, reduction="sum")
        pesq, pesqs, ratio, count = sums.tolist()
        return {
            "pesq": pesq / pesqs if pesqs else None,
            "si_sdr": ratio / count if count else None,
        }

    def _keep(self, wave, best):
        if best:
            self.folder.write("best.safetensors", self.best_file)
        with self.folder.writing("the example"):
            example = self.folder.path / "example"
            clean, noisy, _ = self.valid[0].read()
            peak = 0.9 / max(np.abs(noisy).max(), np.abs(clean).max(), 1e-9)  # one for all of them
            for name, signal in (("clean", clean), ("noisy", noisy)):
                path = example / f"{name}.flac"
                if not path.is_file():
                    audio.write(path, peak * signal, SAMPLE_RATE)
            path = example / f"step-{self.done:07d}.flac"
            audio.write(path, np.clip(peak * wave, -1, 1), SAMPLE_RATE)

    def _draw(self):
        from matplotlib import pyplot

        from ..plotting import training_curves

        rows = [row for some in self.rows.values() for row in some]
        fig, _ = training_curves(sorted(rows, key=lambda row: row["step"]))
        with self.folder.writing("curves.png"), whole_file(self.folder.path / "curves.png") as part:
            fig.savefig(part, dpi=120)
        pyplot.close(fig)

    def checkpoint(self):
        """Write the state from which the run can go on; nothing in the training changes by it."""
        self._sound()
        state = state_of(self)
        if self.accelerator.is_main_process:
            self.folder.save(state, self._newest_weights())
        self.saved = self.done

    def resume(self):
        """Take over the newest checkpoint that is whole, if there is one."""
        damaged, found = [], self.folder.checkpoints()
        for path in reversed(found):
            try:
                restore(self, self.folder.load(path, self.device), path)
            except Damaged as error:
                damaged.append(str(error))
                continue
            self.saved = self.done
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

    def agree(self):
        """Let all files of the run be what the state says, whatever was written after it."""
        weights = {"best.safetensors": self.best_file, "last.safetensors": None}
        if self.done:
            weights["last.safetensors"] = self._newest_weights()
        self.folder.agree(self.done, self.validated, self.rows, weights)
        if self.validated:
            self._draw()

    def _newest_weights(self):
        return weights_file(self.mean or self.model, step=str(self.done))


def _leave_interrupts_to_the_parent(worker):
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _in_words(row):
    scores = []
    for name, words in (("pesq", "PESQ"), ("si_sdr", "SI-SDR")):
        found = (row[name], row[f"noisy_{name}"])
        now, noisy = map(shown, found)
        scores.append(f"{words} {now} (noisy {noisy})")
    return f"step {row['step']}: {', '.join(scores)}{'; the best so far' if row['best'] else ''}"
