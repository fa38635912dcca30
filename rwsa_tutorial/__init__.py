"""RWSA Tutorial: RWSA-MambaUNet (arXiv 2510.01958) built step by step.

The public names are listed in `_PUBLIC` and imported on first use, so that
`import rwsa_tutorial` stays quick and needs torch, numpy and safetensors alone.
"""

from importlib import import_module

__version__ = "0.1.0"

# public name -> the module that holds it
_PUBLIC = {
    "VARIANTS": "model",
    "ModelConfig": "unet",
    "RWSAMambaUNet": "model",
    "build_model": "model",
    "load_official": "weights",
    "load_pretrained": "weights",
    "save_weights": "weights",
    "load_weights": "weights",
    "analyse": "features",
    "synthesise": "features",
    "plain_pytorch": "compiled",
    "selective_scan": "scan",
    "scan_backends": "scan",
    "enhance": "enhancement",
    "score": "scores.metrics",
    "load_corpus": "corpora",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(
            f"rwsa_tutorial has no public name {name!r}; it has {', '.join(__all__)}"
        )
    value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__():
    return sorted([*globals(), *__all__])
