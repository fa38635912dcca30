"""Load and save weights: our own files, the authors' checkpoints, and the shipped models."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor

from .model import RWSAMambaUNet, build_model
from .paths import data_path, write_whole
from .unet import ModelConfig, UNet

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

# the authors' names -> ours, applied in this order; levels count from 1 there and from 0 here
_RENAME = [
    (r"^dense_encoder\.dense_conv_1\.", r"encoder.project."),
    (r"^dense_encoder\.dense_conv_2\.", r"encoder.halve."),
    (r"^dense_encoder\.", r"encoder."),
    (r"dense_block\.dense_block\.", r"dense.layers."),
    (r"^patch_embed_encoder_level(\d)\.", r"down.<\1>.patch_embedding."),
    (r"^patch_embed_decoder_level(\d)\.", r"up.<\1>.patch_embedding."),
    (r"^patch_embed_middle\.", r"middle.patch_embedding."),
    (r"^mag_patch_embed_refinement\.", r"refine_mag.patch_embedding."),
    (r"^pha_patch_embed_refinement\.", r"refine_phase.patch_embedding."),
    (r"\.patch_embeds\.patch_conv\.offset_generator\.", r".offsets."),
    (r"\.patch_embeds\.patch_conv\.dcn\.", r".deformable."),
    (r"\.patch_embeds\.patch_conv\.pwconv\.", r".pointwise."),
    (r"^shared_attention_lvl(\d)\.(\d+)\.", r"down.<\1>.blocks.\2.attention."),
    (r"^TSMamba(\d)_encoder\.", r"down.<\1>.blocks."),
    (r"^TSMamba(\d)_decoder\.", r"up.<\1>.blocks."),
    (r"^TSMamba_middle\.", r"middle.blocks."),
    (r"^mag_refinement\.", r"refine_mag.blocks."),
    (r"^pha_refinement\.", r"refine_phase.blocks."),
    (r"\.attention\.attn\.in_proj_", r".time_attention.in_proj."),
    (r"\.attention\.attn\.", r".time_attention."),
    (r"\.attention\.layernorm\.", r".time_attention.norm."),
    (r"_mamba\.(for|back)ward_blocks\.0\.", r"_mamba.\1wards."),
    (r"\.tlinear\.", r".time_mamba.proj."),
    (r"\.flinear\.", r".freq_mamba.proj."),
    (r"^down(\d)_\d\.body\.", r"downsample.<\1>."),
    (r"^up\d_(\d)\.body\.", r"upsample.<\1>."),
    (r"^concat_level(\d)\.0\.", r"merge.<\1>."),
    (r"^mag_output\.0\.", r"after_mag."),
    (r"^pha_output\.0\.", r"after_phase."),
    (r"^mask_decoder\.mask_conv\.([02])\.", r"mask_decoder.widen.\1."),
    (r"^mask_decoder\.mask_conv\.([3-6])\.", lambda m: f"mask_decoder.head.{int(m[1]) - 3}."),
    (r"^mask_decoder\.lsigmoid\.", r"mask_decoder."),
    (r"^phase_decoder\.phase_conv\.", r"phase_decoder.widen."),
    (r"^phase_decoder\.phase_conv_r\.", r"phase_decoder.real."),
    (r"^phase_decoder\.phase_conv_i\.", r"phase_decoder.imaginary."),
    (r"<(\d)>", lambda m: str(int(m[1]) - 1)),
]


def _own_name(official):
    name = official
    for pattern, replacement in _RENAME:
        name = re.sub(pattern, replacement, name)
    return name


def _own_shape(name, tensor):
    """The authors keep two matrices and one vector in other shapes; the numbers are the same."""
    if re.search(r"_mamba\.proj\.weight$", name) and tensor.ndim == 3:
        return tensor.squeeze(-1).T  # kernel-1 transposed convolution (in, out, 1) -> linear
    if name == "mask_decoder.slope":
        return tensor.flatten()
    return tensor


def _listing(names, most=5):
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _canonical(model):
    """Every name of a parameter -> its first name; they differ where modules are shared."""
    first = {}
    return {
        name: first.setdefault(id(p), name)
        for name, p in model.named_parameters(remove_duplicate=False)
    }


@torch.no_grad()
def _fill(model, tensors, origin):
    """Copy tensors, given by our names, into the model; ValueError names all that do not fit.

    origin: our name -> the name to use in an error.
    """
    canonical, own = _canonical(model), dict(model.named_parameters())
    unknown = [origin[n] for n in tensors if n not in canonical]
    given = {}
    clash = []
    for name, tensor in tensors.items():
        if name in canonical:
            earlier = given.setdefault(canonical[name], tensor)
            if earlier.shape != tensor.shape or not torch.equal(earlier, tensor):
                clash.append(origin[name])
    missing = [n for n in own if n not in given]
    wrong = [
        f"{origin.get(n, n)} {tuple(given[n].shape)} instead of {tuple(p.shape)}"
        for n, p in own.items()
        if n in given and given[n].shape != p.shape
    ]
    no_numbers = [
        origin.get(n, n)
        for n, tensor in given.items()
        if not (tensor.dtype in FLOATS and tensor.isfinite().all())
    ]
    problems = [
        f"{words}: {_listing(names)}"
        for words, names in (
            ("names that this network does not have", unknown),
            ("no values for (our names)", missing),
            ("wrong shapes", wrong),
            ("different values for one shared tensor", clash),
            ("values that are not finite numbers", no_numbers),
        )
        if names
    ]
    if problems:
        raise ValueError("these weights do not fit the network: " + "; ".join(problems))
    for name, parameter in own.items():
        parameter.copy_(given[name])
    return model


def load_official(
    model: RWSAMambaUNet, state_dict: Mapping[str, Tensor] | str | Path
) -> RWSAMambaUNet:
    """Fill a model from the authors' parameter names, with or without their duplicate aliases.

    state_dict: name -> tensor (what `torch.load(...)["generator"]` holds), or the path of a
    .safetensors or torch file. Returns the model. Raises ValueError, naming them, for unknown,
    missing or misshapen tensors and for aliases that disagree, and for a model that is not
    RWSA-shared with three levels, since the authors released no other.
    """
    config = model.config
    if config.sharing != "rwsa" or not config.attention or config.levels != 3:
        raise ValueError(
            'the authors\' weights are for sharing="rwsa" with attention and three levels, '
            f"not for {config}"
        )
    if isinstance(state_dict, (str, os.PathLike)):
        state_dict = read_tensors(state_dict)[0]
    tensors, origin = {}, {}
    for official, tensor in state_dict.items():
        name = _own_name(official)
        # an alias and the tensor it stands for get the same name only inside one block
        if name in tensors and not torch.equal(tensors[name], _own_shape(name, tensor)):
            raise ValueError(
                f"these weights do not fit the network: {official} and {origin[name]} are one "
                "tensor in it but differ here"
            )
        tensors[name], origin[name] = _own_shape(name, tensor), official
    return _fill(model, tensors, origin)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(name -> tensor, metadata) of a .safetensors or a torch file, which is read as data only.

    Raises FileNotFoundError, or ValueError when the file holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
        except SafetensorError as error:
            raise ValueError(f"{path} is no readable safetensors file: {error}") from None
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; all mean the same to the reader
        raise ValueError(f"{path} is no weights file that torch reads safely: {error}") from None
    if isinstance(tensors, dict):
        tensors = tensors.get("generator", tensors)
    named = isinstance(tensors, dict) and all(
        isinstance(name, str) and torch.is_tensor(t) for name, t in tensors.items()
    )
    if not named or not tensors:
        raise ValueError(f"{path} holds no table of named tensors")
    return tensors, {}


def weights_file(model: UNet, **metadata: object) -> bytes:
    """The content of a weights file (bytes): the same for the same weights and words.

    A shared tensor is stored once. metadata: further words to keep with it.
    """
    tensors = {n: p.detach().cpu().contiguous() for n, p in model.named_parameters()}
    metadata = {"config": json.dumps(asdict(model.config)), **metadata}
    content = safetensors.save(tensors, metadata)
    # the words come in another order each time; their order is the only thing that is changed here
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def save_weights(model: UNet, path: str | Path, **metadata: object) -> None:
    """Write a model's weights and configuration as .safetensors, whole or not at all.

    Raises OSError when the file cannot be written. See `weights_file`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, weights_file(model, **metadata))


def load_weights(path: str | Path) -> UNet:
    """The network of a file written by `save_weights`, in eval mode.

    Raises FileNotFoundError, or ValueError when the file does not hold such a network.
    """
    tensors, metadata = read_tensors(path)
    if "config" not in metadata:
        raise ValueError(
            f"{path} has no configuration in it; for the authors' files: load_official"
        )
    try:
        config = ModelConfig(**json.loads(metadata["config"]))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} holds a configuration of no network known here: {error}"
        ) from None
    try:
        _check_size(config, tensors)
        return _fill(build_model(config), tensors, {name: name for name in tensors}).eval()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_size(config, tensors):
    """Raise ValueError unless the file is as large as the network that it says it holds.

    Looked at before the network is made: a few words could ask for more memory than there is.
    """
    inner = config.channels * config.expand
    mixer = f"down.0.blocks.{config.blocks - 1}.time_mamba.forwards.mixer"
    for name, shape in (
        ("merge.0.weight", (config.channels, 2 * config.channels, 1, 1)),
        (f"{mixer}.A_log", (inner, config.d_state)),
        (f"{mixer}.conv1d.weight", (inner, 1, config.d_conv)),
    ):
        if name not in tensors or tensors[name].shape != shape:
            found = f"{tuple(tensors[name].shape)}" if name in tensors else "missing"
            raise ValueError(
                f"these weights do not fit the network: {name} is {found} where {config} has "
                f"{shape}"
            )


def shipped() -> list[str]:
    """The names of the shipped weights, sorted."""
    return sorted(p.stem for p in data_path("weights").glob("[!.]*.safetensors"))


def load_pretrained(name: str = "nano") -> UNet:
    """A network with the shipped weights `data/weights/<name>.safetensors`, in eval mode.

    Raises FileNotFoundError that lists what is shipped when there are none of that name.
    """
    if name not in (names := shipped()):
        raise FileNotFoundError(
            f"no weights are shipped for {name!r}; there are: {', '.join(names) or 'none'}"
        )
    return load_weights(data_path("weights", f"{name}.safetensors"))


def find_weights(name: str | Path) -> UNet:
    """The network in a weights file, or the shipped one of that name, in eval mode.

    Raises as `load_weights` and `load_pretrained` do.
    """
    return load_weights(name) if Path(name).suffix else load_pretrained(name)
