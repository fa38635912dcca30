"""mamba-ssm's readable reference, loaded on a machine where its compiled parts do not exist."""

import importlib.util
import os
import sys
import types
from unittest import mock

import pytest

WHY = "mamba-ssm's source is not installed; `make test` installs it without its dependencies"


def load():
    """The module mamba_ssm.ops.selective_scan_interface, or skip (in CI: fail) in words."""
    spec = importlib.util.find_spec("mamba_ssm")
    if spec is None or importlib.util.find_spec("einops") is None:
        if os.environ.get("CI"):
            pytest.fail(WHY)
        pytest.skip(WHY)
    package = types.ModuleType("mamba_ssm")
    package.__path__ = list(spec.submodule_search_locations)
    compiled = [
        "selective_scan_cuda",
        "causal_conv1d",
        "causal_conv1d_cuda",
        "causal_conv1d.cpp_functions",
        "mamba_ssm.ops.triton.layer_norm",
        "mamba_ssm.ops.triton.ssd_combined",
        "mamba_ssm.ops.triton.selective_state_update",
    ]
    absent = {name: mock.MagicMock() for name in compiled}
    with mock.patch.dict(sys.modules, {"mamba_ssm": package, **absent}):
        return importlib.import_module("mamba_ssm.ops.selective_scan_interface")
