"""The command line: rwsa check | enhance | evaluate | train | sweep | bench | data.

Exit status 0: done; 1: `check` found that the course cannot run; 2: bad input, told in one line.
"""

import argparse
import glob
import math
import os
import signal
import sys
from pathlib import Path

FIGURES = (".png", ".pdf", ".svg")
CORPUS = "a corpus by name, a folder that holds clean and noisy, or a CSV file that lists pairs"
EXAMPLES = {
    "check": """examples:
  rwsa check                  look at this machine and this folder
""",
    "enhance": """examples:
  rwsa enhance talk.wav -o talk_enhanced.wav
  rwsa enhance recordings/ -o enhanced/        a folder and its sub-folders
  rwsa enhance 'day1/*.flac' day2.mp3 -o enhanced/
  rwsa enhance talk.wav -o gentle.wav --amount 0.7

WAV, FLAC, OGG, MP3, AIFF, Opus and more, any sample rate, mono or more channels, any length. What
lies above 8 kHz is lost. In a folder, names and file types stay as they are, but a type that can
only be read becomes .wav; hidden files are left out. Results that are there already are left as
they are, so that the same command goes on where it was stopped. A file that cannot be done is
named, the others are done, and the exit status is 2.
""",
    "evaluate": """examples:
  rwsa evaluate --clean test/clean --noisy test/noisy --csv scores.csv
  rwsa evaluate --clean test/clean --noisy test/noisy --csv scores.csv --model xs
  rwsa evaluate --clean test/clean --noisy enhanced --csv scores.csv --model none
  rwsa evaluate --corpus mini-ears --csv scores.csv      of the box; or a CSV that lists pairs
  rwsa evaluate --corpus mini-vb mini-dns mini-ears --model nano xs --csv scores/ --jobs 2

Several corpora or models: DIR gets MODEL_CORPUS.csv for each model and corpus. The same command
again goes on where it was stopped; what files hold by then is looked at, not how they are called.

Scores (PESQ, SSNR in dB, ESTOI, SI-SDR in dB) need mono pairs of equal name, rate and length.
A score that is not defined for a pair is shown as – and left out of the means, and so is an
infinite one. Of more than 18.8 s of speech, PESQ is the mean over pieces of about 12 s. Each line
of the CSV ends with digests of what it was made from: the recordings and the network.
""",
    "train": """examples:
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
""",
    "sweep": """examples:
  rwsa sweep data/results/ablation.yaml --runs runs/ablation --csv ablation.csv
  rwsa sweep plan.yaml --runs runs/mine --csv mine.csv --jobs 8      side by side, on one GPU

A plan is YAML: base (settings as for rwsa train), kinds (a name, then its settings) or a grid
(a setting, then its values; every combination is trained), seeds, and test (a corpus by name).
Each run is a folder as of rwsa train. The same command again goes on where it was stopped. Scores
of other settings, weights or test recordings are never taken for those of the plan.
""",
    "bench": """examples:
  rwsa bench                  a minute: the scan engines, then the whole network
  rwsa bench --only scan --csv speed.csv --plot speed.png
  rwsa bench --only scan --engines cpu --batch 1 --length 8192
  rwsa bench --levels xs --batches 1 8 32     every scan of XS, with its bandwidth

Close other programs first. An engine that cannot run here is listed with the reason.
""",
    "data": """examples:
  rwsa data status
  rwsa data get dns2020
  rwsa data get vb-demandex --yes              in a script: you agree to the licence
  rwsa data get vb-demandex --from ~/Downloads      archives that are here already
  rwsa data get vb-demandex --from https://mirror.example/vb/ --to /big/disk
  rwsa data get ears-wham --from EARS WHAM48kHz --recipe test.csv
  rwsa data compare mini-vb mini-dns my/recordings --plot domains.png

A run that was cut short goes on with the same command. The corpora lie in the folder that
RWSA_CORPORA names, or in your own data folder; status shows it. A file SHA256SUMS beside the
archives of a mirror is checked against. What --from does not have is fetched from its own address.
""",
}


def main(argv=None):
    """Run one command; returns the exit status. `argv` is a list of words, by default the shell's.

    Raises SystemExit (status 0 or 2) for --help and for unknown options, as argparse does.
    """
    _ready_to_print()
    options = _parser().parse_args(argv)
    before = _end_on_sigterm()
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        return _complain(options.command, error)
    except ModuleNotFoundError as error:
        return _complain(options.command, f"{error}. `rwsa check` says what is missing.")
    except KeyboardInterrupt:
        return _complain(options.command, "stopped; finished files are kept.", status=130)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _ready_to_print():
    """No output is a reason to stop: a closed stream, or characters that the terminal lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by 2>&-
            setattr(sys, name, open(os.devnull, "w"))
        if hasattr(stream := getattr(sys, name), "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8, too


def _end_on_sigterm():
    """Let SIGTERM end the command as an exception does, unfinished files removed.

    Returns what handled it before, or None where that cannot be changed: outside the main thread.
    """

    def stop(number, frame):
        raise SystemExit(128 + number)

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:
        return None


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """Bad input is told in one line, without the usage."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help tells more.\n")


def _parser():
    parser = _Parser(
        prog="rwsa",
        description="Speech enhancement with RWSA-MambaUNet: the course's commands.",
        epilog="rwsa COMMAND --help tells more about one of them.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, run, words):
        command = commands.add_parser(
            name,
            help=words,
            description=words[0].upper() + words[1:] + ".",
            epilog=EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    add("check", _check, "say in plain words whether the course can run here")

    command = add("enhance", _enhance, "take the noise out of recordings")
    command.add_argument("inputs", nargs="+", metavar="IN", help="file, folder or glob pattern")
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="folder (made if need be), or a file name if IN is one file",
    )
    command.add_argument("--model", default="nano", help="name or weights file (default: nano)")
    command.add_argument(
        "--amount",
        type=_amount,
        default=1.0,
        help="how much of the enhancement to apply, 0 to 1 (default: 1)",
    )
    command.add_argument("--force", action="store_true", help="replace existing results")

    command = add("evaluate", _evaluate, "score noisy recordings and what the model makes of them")
    command.add_argument("--clean", metavar="DIR", help="folder of references")
    command.add_argument("--noisy", metavar="DIR", help="folder of recordings")
    command.add_argument(
        "--corpus", nargs="+", metavar="NAME", help=f"instead of folders: {CORPUS}; or several"
    )
    command.add_argument("--split", default="test", help="of the corpus (default: test)")
    command.add_argument(
        "--model",
        nargs="+",
        default=["nano"],
        help="name or weights file; none scores the recordings as they are (default: nano)",
    )
    command.add_argument(
        "--csv", required=True, metavar="FILE", help="where the scores go; of several: a folder"
    )
    command.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="recordings at a time (default: 1)"
    )
    command.add_argument("--force", action="store_true", help="replace an existing FILE")

    command = add("train", _train, "train a network; a run is a folder, and can be resumed")
    command.add_argument("--config", metavar="FILE", help="the settings, YAML")
    command.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change one of them; may be given again",
    )
    command.add_argument("--run", dest="run_folder", metavar="DIR", help="the folder of the run")
    command.add_argument("--resume", action="store_true", help="go on from its last checkpoint")
    command.add_argument(
        "--device", choices=("cpu", "cuda"), help="where (default: cuda if there is one)"
    )
    command.add_argument(
        "--defaults", action="store_true", help="print all settings, train nothing"
    )

    command = add(
        "sweep", _sweep, "train many runs that differ in a setting and the seed; score them"
    )
    command.add_argument("plan", metavar="PLAN", help="what differs, YAML")
    command.add_argument("--runs", required=True, metavar="DIR", help="where the run folders go")
    command.add_argument("--csv", required=True, metavar="FILE", help="a line for each run")
    command.add_argument(
        "--examples", metavar="DIR", help="keep there what each run made of one recording"
    )
    command.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="runs at a time (default: 1)"
    )
    command.add_argument(
        "--device", choices=("cpu", "cuda"), help="where (default: cuda if there is one)"
    )
    command.add_argument("--force", action="store_true", help="replace an existing FILE")

    command = add("bench", _bench, "measure how fast the scan engines and the network are here")
    command.add_argument(
        "--engines",
        nargs="+",
        metavar="NAME",
        help="scan engines (default: all of them for the scan, auto for the network)",
    )
    command.add_argument(
        "--device", choices=("cpu", "cuda"), help="where (default: cuda if there is one)"
    )
    command.add_argument("--threads", type=_count, metavar="N", help="CPU threads (default: all)")
    for name, words, default in (
        ("batch", "sequences, B", 128),
        ("channels", "channels of each, D", 64),
        ("length", "steps of each, L", 256),
        ("states", "states of each channel, N", 16),
        ("rounds", "measurements, of which the best counts", 5),
    ):
        command.add_argument(
            f"--{name}",
            type=_count,
            default=default,
            metavar="N",
            help=f"{words} (default: {default})",
        )
    command.add_argument(
        "--full", action="store_true", help="all rounds for the slow ones too; takes minutes"
    )
    command.add_argument("--only", choices=("scan", "network"), help="leave out the other table")
    command.add_argument(
        "--levels", metavar="VARIANT", help="all scans of a network (nano, xs, s, m), nothing else"
    )
    command.add_argument(
        "--batches",
        nargs="+",
        type=_count,
        default=[1],
        metavar="N",
        help="batch sizes for --levels (default: 1)",
    )
    command.add_argument("--csv", metavar="FILE", help="write the figures there as well")
    command.add_argument("--plot", metavar="FILE", help="draw the engines' times (png, pdf, svg)")
    command.add_argument("--force", action="store_true", help="replace an existing FILE")

    command = add("data", None, "fetch the paper's corpora, say which are here, compare them")
    what = command.add_subparsers(dest="what", required=True, metavar="get|compare|status")
    get = what.add_parser("get", help="fetch a corpus: vb-demandex, dns2020 or ears-wham")
    get.add_argument("name", metavar="NAME", help="vb-demandex, dns2020 or ears-wham")
    get.add_argument(
        "--from",
        dest="given",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="archives, folders, or addresses; one that ends in / is a mirror",
    )
    get.add_argument(
        "--sha256", nargs="+", default=[], metavar="FILE=SUM", help="checksums of archives"
    )
    get.add_argument("--yes", action="store_true", help="agree to the licence without being asked")
    get.add_argument(
        "--splits",
        nargs="+",
        choices=("train", "valid", "test"),
        help="of ears-wham, which to mix (default: test)",
    )
    get.add_argument("--recipe", metavar="CSV", help="of ears-wham, mixtures to rebuild: test.csv")
    compare = what.add_parser(
        "compare", help="measure how corpora differ, and how far apart they are"
    )
    compare.add_argument("names", nargs="+", metavar="NAME", help=CORPUS)
    compare.add_argument("--split", default="test", help="of each corpus (default: test)")
    compare.add_argument("--limit", type=_count, metavar="N", help="pairs of each (default: all)")
    compare.add_argument("--csv", metavar="FILE", help="write what was measured of each pair")
    compare.add_argument("--plot", metavar="FILE", help="draw it (png, pdf, svg)")
    compare.add_argument("--force", action="store_true", help="replace an existing FILE")
    compare.set_defaults(run=_data_compare)
    status = what.add_parser("status", help="say which corpora are here, whole or in part")
    for part, run in ((get, _data_get), (status, _data_status)):
        part.add_argument("--to", metavar="DIR", help="folder of the corpora (see above)")
        part.set_defaults(run=run)
    return parser


def _amount(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _complain(command, words, status=2):
    line = " ".join(str(words).split())
    print(f"rwsa {command}: {line}", file=sys.stderr)
    return status


def _check(options):
    from rwsa_tutorial.checks import environment

    return 1 if environment() else 0


def _enhance(options):
    from tqdm import tqdm

    from rwsa_tutorial.audio import notes_to
    from rwsa_tutorial.enhance import enhance_file
    from rwsa_tutorial.features import SAMPLE_RATE

    def complain(words):
        with tqdm.external_write_mode():
            _complain("enhance", words)

    jobs, problems, there = plan_enhancement(options.inputs, options.output, options.force)
    for words in problems:
        _complain("enhance", words)
    model = load_model(options.model) if jobs else None
    made, cut = set(), 0
    for source, target in tqdm(jobs, desc="files", unit="file", disable=len(jobs) < 2):
        try:
            if target.exists() and _identity(target) in made:
                raise ValueError(f"{target} is another's result on a disk that ignores case.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with notes_to(complain):
                rate = enhance_file(source, target, model, amount=options.amount)
            made.add(_identity(target))
            cut += rate > SAMPLE_RATE
        except Exception as error:  # whatever one file raises, the others are done
            words = _in_words(error)
            words = words if str(source) in words else f"{source}: {words}"
            problems.append(words)
            complain(words)
        except KeyboardInterrupt:
            words = f"stopped; {len(made)} enhanced and kept. The same command does the rest."
            return _complain("enhance", words, status=130)
    counts = [f"{len(made)} enhanced", f"{len(problems)} not" if problems else ""]
    counts += [f"{there} already there, left as they are (--force replaces)" if there else ""]
    print(", ".join(filter(None, counts)) + ".")
    if cut:
        print(f"Of {cut}, what lay above 8 kHz is lost: the network hears 16 kHz.")
    return 2 if problems else 0


def _in_words(error):
    """What any error means to the person who gave the file."""
    from rwsa_tutorial.evaluation import NO_MEMORY

    words = str(error)
    if isinstance(error, MemoryError) or NO_MEMORY.search(words):
        return f"needs more memory than there is: close other programs ({words})."
    if isinstance(error, (ValueError, OSError)):
        return words
    return f"{type(error).__name__}: {words}"


def _evaluate(options):
    from tqdm import tqdm

    from rwsa_tutorial.audio import notes_to
    from rwsa_tutorial.evaluation import table
    from rwsa_tutorial.scoreboard import score_all

    def complain(words):
        with tqdm.external_write_mode():
            _complain("evaluate", words)

    tasks = _tasks(options)
    with notes_to(complain):
        results, problems = score_all(tasks, options.jobs)
    for words in problems:
        _complain("evaluate", words)
    for task, rows in zip(tasks, results, strict=True):
        if rows and len(tasks) > 1:
            print(task.csv.stem)
        if rows:
            print(table(rows, files=len(tasks) == 1))
            print(f"Written to {task.csv}.")
    return 2 if problems else 0


def _tasks(options):
    """Each model on each corpus, and where the scores go."""
    from rwsa_tutorial import load_corpus
    from rwsa_tutorial.evaluation import as_pairs, pair_folders
    from rwsa_tutorial.paths import short_name
    from rwsa_tutorial.scoreboard import Task

    folders = [name for name in ("clean", "noisy") if getattr(options, name) is not None]
    if len(folders) != (0 if options.corpus else 2):
        raise ValueError("give either --clean and --noisy, or --corpus.")
    corpora = options.corpus or [options.noisy]
    names = [f"{short_name(m)}_{short_name(c)}" for m in options.model for c in corpora]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two of the results would be called {min(twice)}.csv.")
    target = Path(options.csv)
    if len(names) == 1:
        files = [_new_file(target, options.force)]
    elif target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file; several corpora or models need a folder.")
    else:
        _new_file(target, force=True).mkdir(exist_ok=True)
        files = [_new_file(target / f"{name}.csv", options.force) for name in names]
    if options.corpus:
        pairs = [load_corpus(corpus).pairs(options.split) for corpus in corpora]
    else:
        pairs = [as_pairs(pair_folders(options.clean, options.noisy))]
    models = [None if model == "none" else load_model(model) for model in options.model]
    each = [(m, model, p) for m, model in zip(options.model, models, strict=True) for p in pairs]
    return [
        Task(file, name, model, tuple(some))
        for file, (name, model, some) in zip(files, each, strict=True)
    ]


def _train(options):
    from rwsa_tutorial.training import command

    return command.run(options)


def _sweep(options):
    from rwsa_tutorial.training import sweep

    csv = _new_file(options.csv, options.force)
    plan = sweep.Plan.read(options.plan)
    rows = sweep.sweep(plan, options.runs, options.jobs, options.device)
    sweep.write_results(csv, rows)
    if options.examples:
        sweep.keep_examples(plan, options.runs, options.examples)
    print(sweep.table(rows))
    print(f"Written to {csv}.")
    return 0


def _bench(options):
    from rwsa_tutorial import bench, machine

    if options.plot and (options.levels or options.only == "network"):
        raise ValueError("--plot draws the engines on one shape: leave out --levels or --only.")
    csv = options.csv and _new_file(options.csv, options.force)
    plot = options.plot and _new_figure(options.plot, options.force)
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
        from rwsa_tutorial.paths import whole_file
        from rwsa_tutorial.plotting import scan_times

        fig, _ = scan_times([row for row in done if row["table"] == "scan"])
        with whole_file(plot) as part:
            fig.savefig(part, dpi=150)
        print(f"Drawn in {plot}.")
    return 0


def _data_get(options):
    from rwsa_tutorial.corpora import command

    more = {key: value for key in ("splits", "recipe") if (value := getattr(options, key))}
    if more and options.name != "ears-wham":
        raise ValueError(f"--{' and --'.join(more)} is for ears-wham alone.")
    command.get(
        options.name,
        to=options.to,
        given=options.given,
        sha256=options.sha256,
        yes=options.yes,
        **more,
    )
    return 0


def _data_compare(options):
    from rwsa_tutorial import load_corpus
    from rwsa_tutorial.corpora import comparing

    csv = options.csv and _new_file(options.csv, options.force)
    plot = options.plot and _new_figure(options.plot, options.force)
    corpora = [load_corpus(name) for name in options.names]
    comparing.run(corpora, csv, plot, options.split, options.limit)
    for words, path in (("Written to", csv), ("Drawn in", plot)):
        if path:
            print(f"{words} {path}.")
    return 0


def _data_status(options):
    from rwsa_tutorial.corpora import command

    print(command.status(options.to))
    return 0


def _new_file(name, force):
    """The path of a file to be written. Raises ValueError if it must not or cannot be."""
    path = Path(name)
    if path.exists() and not force:
        raise ValueError(f"{path} exists: give another name, or --force to replace it.")
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent} to write {path.name} into.")
    return path


def _new_figure(name, force):
    """As `_new_file`; the extension must be that of a figure."""
    path = _new_file(name, force)
    if path.suffix.lower() not in FIGURES:
        raise ValueError(f"{path} must end in one of {', '.join(FIGURES)}.")
    return path


def load_model(name):
    """The shipped network of that name, or the one in a weights file; on CUDA if there is one."""
    import torch

    from rwsa_tutorial.weights import find_weights

    return find_weights(name).to("cuda" if torch.cuda.is_available() else "cpu")


def plan_enhancement(inputs, output, force=False):
    """Which recording goes where, decided before anything is done.

    Args:
        inputs: files, folders (with their sub-folders) and glob patterns, as text.
        output: a folder, or, for one single file, a name with an audio extension.
        force: results may replace existing files, but never an input.

    Returns:
        (jobs, problems, there): list of (source, target) paths; a line for each input that cannot
        be done; how many results are there already.

    Raises:
        ValueError: in words: `output` does not fit the inputs, or two results would have one name.
    """
    from rwsa_tutorial.audio import UNREADABLE, WRITABLE, how_to_convert

    if "-" in (*inputs, str(output)):
        raise ValueError("- is no file: enhance needs files, because it reads each of them twice.")
    meant_as_folder = str(output).endswith(("/", os.sep))
    output = Path(output)
    found, problems = [], []
    for text in inputs:
        some, more = _find(text, output)
        found += some
        problems += more
    problems += [how_to_convert(path) for path, _ in found if path.suffix.lower() in UNREADABLE]
    found = [pair for pair in dict.fromkeys(found) if pair[0].suffix.lower() not in UNREADABLE]
    single = len(inputs) == 1 and [Path(inputs[0])] == [path for path, _ in found]
    if output.is_dir() or meant_as_folder or not (output.suffix or output.exists()):
        targets = [_result(output / name) for _, name in found]
    elif output.suffix.lower() in WRITABLE:
        if not single and found:
            raise ValueError(f"{output} is one file, but there may be more results: give a folder.")
        targets = [output for _ in found]
    elif single or output.exists():
        raise ValueError(f"{output} is neither a folder nor one of {', '.join(WRITABLE)}.")
    else:
        targets = [_result(output / name) for _, name in found]

    jobs, owners, there = [], {}, 0
    identities = {_identity(source) for source, _ in found}
    for (source, _), target in zip(found, targets, strict=True):
        if target in owners:
            raise ValueError(f"{owners[target]} and {source} would both become {target}.")
        owners[target] = source
        if target.exists() and _identity(target) in identities:
            problems.append(f"{source}: the result would overwrite an input, {target}.")
        elif target.is_file() and not force:
            there += 1
        else:
            jobs.append((source, target))
    return jobs, problems, there


def _result(path):
    """The path, or one that ends in .wav where the file type can be read but not written."""
    from rwsa_tutorial.audio import WRITABLE

    return path if path.suffix.lower() in WRITABLE else path.with_suffix(".wav")


def _find(text, output):
    """What one input means: list of (path, name below the output folder), and of problems."""
    from rwsa_tutorial.audio import EXTENSIONS, UNREADABLE
    from rwsa_tutorial.corpora.pairs import recordings

    path, problems = Path(text), []
    if path.is_file():
        return [(path, Path(path.name))], []
    if path.is_dir():
        for _ in os.walk(path, onerror=lambda error: problems.append(str(error))):
            pass  # to hear of folders that may not be read; `recordings` is silent about them
        files = recordings(path) + recordings(path, UNREADABLE)
        folder, out = path.resolve(), output.resolve()
        if folder in out.parents:  # earlier results are no input
            files = [file for file in files if out not in file.resolve().parents]
        if not files:
            problems.append(f"{text}: this folder holds no recordings ({' '.join(EXTENSIONS)}).")
        return [(file, file.relative_to(path)) for file in files], problems
    hits = [Path(hit) for hit in sorted(glob.glob(text, recursive=True))]
    found = [(hit, Path(hit.name)) for hit in hits if hit.is_file()]
    if not found and glob.has_magic(text):
        problems.append(f"{text}: no file matches this pattern.")
    elif not found:
        problems.append(f"{text}: there is no such file or folder.")
    return found, problems


def _identity(path):
    """The same for two names of one file, links included."""
    state = os.stat(path)
    return state.st_dev, state.st_ino


if __name__ == "__main__":
    sys.exit(main())
