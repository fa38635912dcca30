"""Parity with the authors' network, and loading in all its ways to go wrong."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from parity.weights import official_weights
from safetensors import safe_open
from safetensors.torch import save_file

import rwsa_tutorial as rt
from rwsa_tutorial import weights
from rwsa_tutorial.model import set_scan_backend
from rwsa_tutorial.paths import data_path
from rwsa_tutorial.scan import ENGINES
from rwsa_tutorial.weights import read_tensors, weights_file

GOLDEN = np.load(Path(__file__).parent / "parity" / "xs_golden.npz")


@pytest.fixture(scope="module")
def official():
    return official_weights()


@pytest.fixture(scope="module")
def xs(official):
    return rt.load_official(rt.build_model("xs"), official).eval()


def errors(model, dtype, device="cpu"):
    """Largest relative error of the magnitude, median error of the phase modulo 2 pi."""
    mag, phase, expected_mag, expected_phase = (
        torch.from_numpy(GOLDEN[k]).to(dtype) for k in ("noisy_mag", "noisy_pha", "mag", "pha")
    )
    with torch.no_grad():
        results = model.to(device, dtype)(mag.to(device), phase.to(device))
    got_mag, got_phase, _ = (result.cpu() for result in results)
    turn = torch.remainder(got_phase - expected_phase + torch.pi, 2 * torch.pi) - torch.pi
    return (
        (got_mag - expected_mag).abs().max() / expected_mag.max()
    ).item(), turn.abs().median().item()


@pytest.mark.parametrize("backend", list(ENGINES))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-6)])
def test_parity_with_the_authors(xs, backend, dtype, tolerance):
    state = rt.scan_backends()[backend]
    if state is not True:
        pytest.skip(f"the scan engine {backend!r} cannot run here: {state}")
    if backend == "mamba_ssm" and dtype == torch.float64:
        pytest.skip("mamba-ssm's kernel knows no float64")
    device = "cuda" if backend in ("gpu", "mamba_ssm") else "cpu"
    try:
        magnitude, phase = errors(set_scan_backend(xs, backend), dtype, device)
    finally:  # the other tests share the network
        set_scan_backend(xs, "auto").to("cpu", torch.float32)
    assert magnitude < tolerance and phase < tolerance


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("up.0.blocks.0.freq_mamba.backwards.mixer.A_log", 0.1),
        ("middle.patch_embedding.offsets.1.weight", 0.1),
        ("mask_decoder.slope", 0.01),
    ],
)
def test_parity_would_catch_a_small_mistake(official, part, change):
    model = rt.load_official(rt.build_model("xs"), official).eval()
    with torch.no_grad():
        dict(model.named_parameters())[part].add_(change)
    magnitude, phase = errors(set_scan_backend(model, "cpu"), torch.float32)
    assert magnitude > 1e-4 or phase > 1e-4


def test_aliases_make_no_difference(official, xs):
    bare = rt.load_official(rt.build_model("xs"), official_weights(aliases=False))
    assert len(official) == 829 and len(official_weights(aliases=False)) == 781
    for (name, a), (_, b) in zip(xs.named_parameters(), bare.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_every_parameter_comes_from_the_file(official):
    """The same weights over two different starts give the same model."""
    torch.manual_seed(1)
    a = rt.load_official(rt.build_model("xs"), official)
    torch.manual_seed(2)
    b = rt.load_official(rt.build_model("xs"), official)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def broken(official, **changes):
    return {k: v for k, v in {**official, **changes}.items() if v is not None}


def test_official_errors_name_the_tensor(official):
    model = rt.build_model("xs")
    slope = "mask_decoder.lsigmoid.slope"
    with pytest.raises(ValueError, match="does not have: mask_decoder.extra"):
        rt.load_official(model, broken(official, **{"mask_decoder.extra": torch.ones(1)}))
    with pytest.raises(ValueError, match=r"no values for \(our names\): mask_decoder.slope"):
        rt.load_official(model, broken(official, **{slope: None}))
    with pytest.raises(ValueError, match=r"slope \(255,\) instead of \(256,\)"):
        rt.load_official(model, broken(official, **{slope: torch.ones(255, 1)}))
    alias = "TSMamba1_decoder.0.attention.attn.in_proj_bias"
    with pytest.raises(ValueError, match=f"one shared tensor: {alias}"):
        rt.load_official(model, broken(official, **{alias: torch.zeros(48)}))
    alias = "TSMamba1_encoder.0.attention.attn.in_proj_bias"
    with pytest.raises(ValueError, match="are one tensor in it but differ here"):
        rt.load_official(model, broken(official, **{alias: torch.zeros(48)}))
    with pytest.raises(ValueError, match='are for sharing="rwsa"'):
        rt.load_official(rt.build_model("xs", sharing="block"), official)


def test_official_weights_from_a_torch_file(tmp_path, official, xs):
    torch.save({"generator": official}, tmp_path / "g_best")
    model = rt.load_official(rt.build_model("xs"), tmp_path / "g_best")
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), xs.parameters(), strict=True))


def test_a_torch_file_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"generator": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match="no weights file that torch reads safely"):
        read_tensors(tmp_path / "trap.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("sharing", ["rwsa", "block", "none"])
def test_our_files_come_back_the_same(tmp_path, sharing):
    model = rt.build_model("nano", sharing=sharing).eval()
    rt.save_weights(model, tmp_path / "w" / "a.safetensors", note="a test")
    again = rt.load_weights(tmp_path / "w" / "a.safetensors")
    assert again.config == model.config and not again.training
    assert all(
        torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True)
    )
    assert read_tensors(tmp_path / "w" / "a.safetensors")[1]["note"] == "a test"
    assert [p.name for p in (tmp_path / "w").iterdir()] == ["a.safetensors"]


def test_a_weights_file_is_the_same_each_time_and_everybody_may_read_it(tmp_path):
    model, files = rt.build_model("nano"), [tmp_path / name for name in "ab"]
    words = {name: name for name in "stepwordsnote"}
    before = os.umask(0o022)
    try:
        for path, order in zip(files, (1, -1), strict=True):
            rt.save_weights(model, path, **dict(list(words.items())[::order]))
    finally:
        os.umask(before)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_mode & 0o777 == 0o644
    with safe_open(files[0], framework="pt") as file:  # by the library itself
        assert file.metadata().keys() == {"config", *words}
        for name, parameter in model.named_parameters():
            assert torch.equal(file.get_tensor(name), parameter)


def refused(path, words):
    with pytest.raises(ValueError, match=words) as caught:
        rt.load_weights(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 900


@pytest.mark.parametrize("size", [0, 7, 8, 100, -1])
def test_truncated_weights_are_named(tmp_path, size):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(weights_file(rt.build_model("nano"))[:size])
    refused(path, "is no readable safetensors file")


@pytest.mark.parametrize("header", [b"\xff" * 8, b"\0" * 8, (1 << 40).to_bytes(8, "little")])
def test_a_wrong_header_is_named(tmp_path, header):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(header + weights_file(rt.build_model("nano"))[8:])
    refused(path, "is no readable safetensors file")


NANO = {"channels": 8, "blocks": 1, "heads": 2, "middle_heads": 4, "expand": 2}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (NANO | {"width": 3}, "configuration of no network known here: .*'width'"),
        ([1, 2], "configuration of no network known here"),
        (None, "configuration of no network known here"),
        (NANO | {"channels": 10**9}, "channels must be a whole number up to 1024, not 1000000000"),
        (NANO | {"blocks": 10**9}, "blocks must be a whole number up to 64"),
        (NANO | {"channels": {"a": 8}}, r"channels must be a whole number .* not \{'a': 8\}"),
        (NANO | {"channels": "8"}, "channels must be a whole number"),
        (NANO | {"channels": 8.0}, "channels must be a whole number"),
        (NANO | {"d_state": True}, "d_state must be a whole number"),
        (NANO | {"attention": "yes"}, "attention must be true or false, not 'yes'"),
        (NANO | {"sharing": ["rwsa"]}, "sharing must be one of"),
        (
            NANO | {"channels": 1024, "blocks": 64, "expand": 64},
            r"merge.0.weight is \(8, 16, 1, 1\)",
        ),
        (NANO | {"expand": 64}, r"A_log is \(16, 16\) where"),
        (NANO | {"d_conv": 5}, r"conv1d.weight is \(16, 1, 4\) where"),
        (NANO | {"blocks": 64}, "blocks.63.time_mamba.forwards.mixer.A_log is missing"),
        (NANO | {"levels": 2}, "names that this network does not have: "),
    ],
)
def test_a_configuration_of_no_network_or_another_is_told_in_words(tmp_path, config, words):
    path = tmp_path / "other.safetensors"
    tensors = {n: p.detach() for n, p in rt.build_model("nano").named_parameters()}
    save_file(tensors, path, {"config": json.dumps(config)})
    refused(path, words)


def test_a_configuration_that_is_no_json_is_told_in_words(tmp_path):
    for text in ("no JSON", "[" * 100_000):
        save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors", {"config": text})
        refused(tmp_path / "other.safetensors", "configuration of no network known here")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": torch.ones(1)}, "names that this network does not have: extra"),
        ({"mask_decoder.slope": None}, r"no values for \(our names\): mask_decoder.slope"),
        ({"mask_decoder.slope": torch.ones(3)}, r"wrong shapes: mask_decoder.slope \(3,\)"),
        ({"mask_decoder.slope": torch.full((256,), torch.nan)}, "not finite numbers: mask_dec"),
        ({"mask_decoder.slope": torch.ones(256, dtype=torch.int64)}, "not finite numbers: mask"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, change, words):
    path, model = tmp_path / "other.safetensors", rt.build_model("nano")
    rt.save_weights(model, path)
    tensors, metadata = read_tensors(path)
    tensors = {n: t for n, t in {**tensors, **change}.items() if t is not None}
    save_file(tensors, path, metadata)
    refused(path, words)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights file"):
        rt.load_weights(tmp_path / "none.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "bare.safetensors")
    refused(tmp_path / "bare.safetensors", "has no configuration in it")


@pytest.mark.parametrize(
    "content", [torch.ones(3), {"generator": torch.ones(3)}, {0: torch.ones(3)}, {"a": 1}, {}]
)
def test_a_torch_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no table of named tensors"):
        read_tensors(tmp_path / "list.pt")


def test_shipped_weights_have_their_provenance():
    shipped = sorted(data_path("weights").glob("*.safetensors"))
    assert shipped
    for path in shipped:
        story = json.loads(path.with_suffix(".json").read_text())
        assert {"data", "steps", "seed", "command", "scores"} <= story.keys(), path.name
        assert all(source["licence"] for source in story["data"])
        model = rt.load_pretrained(path.stem)
        assert sum(p.numel() for p in model.parameters()) == story["parameters"]


def readme_sentence(scores):
    before, after = scores["noisy"], scores["enhanced"]
    return (
        f"On the {scores['files']} recordings of DNS 2020 that it was measured on, it raises "
        f"SI-SDR from {before['si_sdr']:.1f} to {after['si_sdr']:.1f} dB and PESQ from "
        f"{before['pesq']:.2f} to {after['pesq']:.2f}"
    )


def test_the_readme_cites_the_measured_scores():
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    story = json.loads(data_path("weights", "xs.json").read_text())
    enhanced = story["scores"]["dns2020"]["enhanced"]
    hours = story["hours"] + sum(run["hours"] for run in story["before"])
    words = (
        f"for under {'two three four five'.split()[math.ceil(hours) - 2]} hours: "
        f"SI-SDR {enhanced['si_sdr']:.1f} dB and PESQ {enhanced['pesq']:.2f} on"
    )
    assert words in readme
    scores = json.loads(data_path("weights", "nano.json").read_text())["scores"]["dns2020"]
    assert readme_sentence(scores) in readme
    scores["enhanced"]["pesq"] += 0.01
    assert readme_sentence(scores) not in readme


def test_unknown_shipped_weights_and_missing_data(monkeypatch, tmp_path):
    there = ", ".join(weights.shipped())
    assert "nano" in there
    with pytest.raises(FileNotFoundError, match=f"for 'xxl'; there are: {there}$"):
        rt.load_pretrained("xxl")
    monkeypatch.setenv("RWSA_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="set RWSA_DATA"):
        rt.load_pretrained("nano")
