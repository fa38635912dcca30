"""What a lesson defines for itself, and the package's own version of it.

A line here makes test_notebooks.py pull the definition out of the notebook and compare the two on
random inputs. Every name that a lesson defines and `rwsa_tutorial` also exports needs a line.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import torch
from IPython.core.inputtransformer2 import TransformerManager

from rwsa_tutorial import VARIANTS
from rwsa_tutorial.layers.attention import SelfAttention
from rwsa_tutorial.training import Config
from rwsa_tutorial.unet import SHARING

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


@dataclass(frozen=True)
class Definition:
    """`name` in `notebook` does what `package` ("module:name") does.

    `inputs` takes a seeded torch.Generator and returns the arguments of one call. For a class,
    `init` holds the arguments of its constructor; the notebook's module then takes over the
    package's parameters, by name, before the two are called. `view` turns either result into
    what has to agree, where the result itself need not (pi and -pi are the same angle).
    """

    notebook: str
    name: str
    package: str
    inputs: Any
    init: dict = field(default_factory=dict)
    tolerance: float = 1e-5
    view: Callable = lambda result: result  # what is compared, of each result


def wave(*shape):
    """Inputs of functions that take one waveform of this shape."""
    return lambda generator: (torch.randn(*shape, generator=generator),)


def two_arrays(n):
    """Inputs of functions that take two NumPy signals (n,)."""
    return lambda generator: tuple(torch.randn(2, n, generator=generator).double().numpy())


def one_array(n):
    """Inputs of functions that take one NumPy array (n,)."""
    return lambda generator: (torch.randn(n, generator=generator).double().numpy(),)


def scores_of_files(generator):
    """Rows as of `evaluate`, in no order, and the name of a score."""
    rows = [
        {"file": f"{file}", "signal": signal, "pesq": float(torch.rand((), generator=generator))}
        for file in range(5)
        for signal in ("noisy", "enhanced")
    ]
    return [rows[i] for i in torch.randperm(10, generator=generator)], "pesq"


def long_wave(generator):
    """A waveform (B, n) in double precision whose length is no multiple of the hop."""
    return (torch.randn(2, 3001, generator=generator).double(),)


def on_circle(features):
    """Magnitude and phase with each angle as a point on the circle."""
    mag, phase = features
    return mag, torch.polar(torch.ones_like(phase), phase)


def pictures(generator):
    """Any compressed magnitude and phase (B, F, T), and a length that they can give."""
    mag = torch.rand(2, 256, 20, generator=generator).double()
    return mag, 6.28 * torch.rand(mag.shape, generator=generator).double() - 3.14, 2345


def scan_inputs(generator):
    """u, delta (B, D, L), A (D, N), B, C (B, N, L): steps up to 2, a length that is no 2**k."""
    u, delta = torch.randn(2, 2, 6, 37, generator=generator)
    B, C = torch.randn(2, 2, 5, 37, generator=generator)
    return u, 2 * delta.sigmoid(), -8 * torch.rand(6, 5, generator=generator), B, C


def sequence(generator):
    """One batch of sequences (B, L, C) with C = 16."""
    return (torch.randn(3, 29, 16, generator=generator),)


def running_sum_of_image(generator):
    """A layer on (B, L, C) that knows its axes, and an image (B, C, T, F) of four sizes."""
    return lambda s: s.cumsum(1), torch.randn(2, 3, 6, 5, generator=generator)


def image(*shape):
    """Inputs of layers that take one image (B, C, T, F)."""
    return lambda generator: (torch.randn(*shape, generator=generator),)


def queries_keys_values(generator):
    """Three times (B, H, L, E): two sequences of a length that is no power of two."""
    return tuple(torch.randn(3, 2, 4, 37, 8, generator=generator))


def images(count, *shape):
    """Inputs of functions that take so many images of this shape, angles over several turns too."""
    return lambda generator: tuple(4 * torch.randn(count, *shape, generator=generator).double())


def spectrum_and_wave(generator):
    """A spectrum (B, F, T, 2) and a waveform (B, n) of as many frames."""
    spec = torch.randn(2, 256, 11, 2, generator=generator).double()
    return spec, torch.randn(2, 1234, generator=generator).double()


def fractions(count, *shape):
    """Inputs of functions that take so many tensors of numbers between 0 and 1."""
    return lambda generator: tuple(torch.rand(count, *shape, generator=generator))


def picture(*shape):
    """Inputs of layers that take one image (B, C, T, F)."""
    return lambda generator: (torch.randn(*shape, generator=generator),)


def picture_and_offsets(generator):
    """An image (B, C, T, F), offsets that also lead outside, and a kernel (C, 1, 3, 3)."""
    x = torch.randn(2, 3, 7, 9, generator=generator)
    weight = torch.randn(3, 1, 3, 3, generator=generator)
    return x, 6 * torch.rand(2, 18, 7, 9, generator=generator) - 3, weight


def mag_and_phase(generator):
    """Compressed magnitude and phase (B, F, T), with T no multiple of 4."""
    mag, turn = torch.rand(2, 2, 256, 9, generator=generator)
    return mag, 6.28 * turn - 3.14


def without_jumps(outputs):
    """What the network gives, with the phase as points on the circle."""
    mag, phase, spec = outputs
    return mag, torch.polar(torch.ones_like(phase), phase), spec


def settings_and_step(generator):
    """Settings of a run with a warm-up and a cosine, and a step of either part."""
    config = Config(steps=1000, lr=0.01, warmup=50, schedule="cosine")
    return config, int(torch.randint(1000, (), generator=generator))


PATHS, AXES = ("down", "middle", "up"), ("time", "frequency")


def place(generator):
    """A kind of sharing, and a place of attention: path, level, block, axis."""
    kind, path, level, block, axis = torch.randint(6, (5,), generator=generator).tolist()
    return SHARING[kind % 3], PATHS[path % 3], level % 3, block, AXES[axis % 2]


def name_in_numbers(name):
    """The name of a weight set, as a tensor."""
    words = [*PATHS, *AXES]
    return torch.tensor([10 + words.index(p) if isinstance(p, str) else p for p in name])


LESSON_01 = "01_stft_features.ipynb"
LESSON_02 = "02_mamba_scan.ipynb"
LESSON_03 = "03_attention.ipynb"
LESSON_04 = "04_mambattention_block.ipynb"
LESSON_05 = "05_resolution_wise_sharing.ipynb"
LESSON_06 = "06_unet.ipynb"
LESSON_07 = "07_losses_and_metrics.ipynb"
LESSON_08 = "08_train_xs.ipynb"
LESSON_09 = "09_cross_corpus.ipynb"
SCAN, MAMBA = "rwsa_tutorial.scan:selective_scan", "rwsa_tutorial.layers.mamba"
ATTENTION = "rwsa_tutorial.layers.attention"
BLOCK = "rwsa_tutorial.layers.mambattention"
CODEC, EMBEDDING = "rwsa_tutorial.layers.codec", "rwsa_tutorial.layers.patch_embedding"
RESAMPLE, MODEL = "rwsa_tutorial.layers.resample", "rwsa_tutorial.model"
UNET = "rwsa_tutorial.unet"
LOSSES, METRICS = "rwsa_tutorial.losses", "rwsa_tutorial.scores.metrics"
DISCRIMINATOR, BOOTSTRAP = "rwsa_tutorial.discriminator", "rwsa_tutorial.scores.bootstrap"

DEFINITIONS = (
    Definition(
        "_template.ipynb", "si_sdr", "rwsa_tutorial.scores.metrics:si_sdr", two_arrays(4000)
    ),
    Definition(LESSON_01, "gain", "rwsa_tutorial.features:gain", wave(3, 1000)),
    Definition(LESSON_01, "analyse", "rwsa_tutorial.features:analyse", long_wave, view=on_circle),
    Definition(LESSON_01, "synthesise", "rwsa_tutorial.features:synthesise", pictures),
    Definition(LESSON_02, "selective_scan", SCAN, scan_inputs),
    Definition(LESSON_02, "parallel_scan", SCAN, scan_inputs),
    Definition(LESSON_02, "compiled_scan", SCAN, scan_inputs),
    Definition(LESSON_02, "MambaMixer", f"{MAMBA}:MambaMixer", sequence, {"width": 16}),
    Definition(LESSON_02, "MambaLayer", f"{MAMBA}:MambaLayer", sequence, {"width": 16}),
    Definition(LESSON_02, "BiMamba", f"{MAMBA}:BiMamba", sequence, {"width": 16, "expand": 2}),
    Definition(LESSON_03, "attention", f"{ATTENTION}:attention", queries_keys_values),
    Definition(
        LESSON_03,
        "SelfAttention",
        f"{ATTENTION}:SelfAttention",
        sequence,
        {"width": 16, "heads": 4},
    ),
    Definition(LESSON_04, "along_time", f"{BLOCK}:along_time", running_sum_of_image),
    Definition(LESSON_04, "along_frequency", f"{BLOCK}:along_frequency", running_sum_of_image),
    Definition(
        LESSON_04,
        "MambAttentionBlock",
        f"{BLOCK}:MambAttentionBlock",
        image(2, 16, 7, 5),
        {
            "width": 16,
            "time_attention": SelfAttention(16, 4),  # two, or an exchange would go unnoticed
            "freq_attention": SelfAttention(16, 4),
            "expand": 2,
        },
    ),
    Definition(LESSON_05, "weight_set", f"{UNET}:weight_set", place, view=name_in_numbers),
    Definition(
        LESSON_06,
        "DenseBlock",
        f"{CODEC}:DenseBlock",
        picture(2, 8, 9, 7),
        {"width": 8, "depth": 5},
    ),
    Definition(LESSON_06, "Encoder", f"{CODEC}:Encoder", picture(2, 2, 9, 20), {"width": 8}),
    Definition(
        LESSON_06,
        "MaskDecoder",
        f"{CODEC}:MaskDecoder",
        picture(2, 8, 9, 16),
        {"width": 8, "bins": 32},
    ),
    Definition(
        LESSON_06,
        "PhaseDecoder",
        f"{CODEC}:PhaseDecoder",
        picture(2, 8, 9, 16),
        {"width": 8},
        view=torch.cos,
    ),
    Definition(LESSON_06, "deformable_conv", f"{EMBEDDING}:deformable_conv", picture_and_offsets),
    Definition(
        LESSON_06,
        "PatchEmbedding",
        f"{EMBEDDING}:PatchEmbedding",
        picture(2, 8, 9, 7),
        {"width": 8},
    ),
    Definition(
        LESSON_06, "Down", f"{RESAMPLE}:Down", picture(2, 8, 6, 10), {"width": 8, "out": 16}
    ),
    Definition(LESSON_06, "Up", f"{RESAMPLE}:Up", picture(2, 8, 3, 5), {"width": 8, "out": 4}),
    Definition(
        LESSON_06,
        "RWSAMambaUNet",
        f"{MODEL}:RWSAMambaUNet",
        mag_and_phase,
        {"config": VARIANTS["nano"]},
        tolerance=1e-3,
        view=without_jumps,
    ),
    Definition(LESSON_07, "magnitude_loss", f"{LOSSES}:magnitude_loss", images(2, 2, 9, 7)),
    Definition(LESSON_07, "wave_loss", f"{LOSSES}:wave_loss", images(2, 2, 500)),
    Definition(LESSON_07, "complex_loss", f"{LOSSES}:complex_loss", images(2, 2, 9, 7, 2)),
    Definition(LESSON_07, "anti_wrapped", f"{LOSSES}:anti_wrapped", images(1, 2, 9, 7)),
    Definition(LESSON_07, "phase_loss", f"{LOSSES}:phase_loss", images(2, 2, 9, 7)),
    Definition(LESSON_07, "consistency_loss", f"{LOSSES}:consistency_loss", spectrum_and_wave),
    Definition(LESSON_07, "metric_loss", f"{LOSSES}:metric_loss", fractions(1, 8)),
    Definition(LESSON_07, "si_sdr", f"{METRICS}:si_sdr", two_arrays(4000)),
    Definition(LESSON_07, "ssnr", f"{METRICS}:ssnr", two_arrays(4000)),
    Definition(
        LESSON_07, "discriminator_loss", f"{DISCRIMINATOR}:discriminator_loss", fractions(3, 8)
    ),
    Definition(
        LESSON_07,
        "MetricDiscriminator",
        f"{DISCRIMINATOR}:MetricDiscriminator",
        fractions(2, 2, 40, 33),
        {"dropout": 0.0},
    ),
    Definition(LESSON_08, "rate", "rwsa_tutorial.training.learner:rate", settings_and_step),
    Definition(LESSON_09, "gains", f"{BOOTSTRAP}:gains", scores_of_files),
    Definition(LESSON_09, "resampled_means", f"{BOOTSTRAP}:resampled_means", one_array(43)),
    Definition(LESSON_09, "interval", f"{BOOTSTRAP}:interval", one_array(43)),
)


def definitions(path):
    """Namespace with a notebook's imports, functions, classes and CONSTANTS; nothing else is run.

    A constant is an assignment to a name in capitals. A name defined twice has its last meaning.
    What needs a value that the lesson computes (as a default, say) is left out.
    """
    namespace = {"__name__": Path(path).stem}
    for node in _statements(path):
        if _is_definition(node):
            try:
                exec(compile(ast.Module([node], []), str(path), "exec"), namespace)
            except NameError:
                continue
    return namespace


def defined_names(path):
    """Names of the functions and classes that a notebook defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in _statements(path) if isinstance(node, kinds)}


def _statements(path):
    """The top-level statements of all code cells, in order; magics as the calls they stand for."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            yield from ast.parse(TransformerManager().transform_cell(cell.source)).body


def _is_definition(node):
    if isinstance(node, ast.Assign):
        names = [
            name.id for t in node.targets for name in ast.walk(t) if isinstance(name, ast.Name)
        ]
        return bool(names) and all(name.isupper() for name in names)
    return isinstance(
        node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    )
