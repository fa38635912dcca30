"""This machine: what it is, how much memory is held; sizes and times in words."""

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch


def describe(threads: int | None = None) -> str:
    """This machine in one line: processor, memory, GPU, system, versions, CPU threads in use."""
    try:
        import psutil

        memory = f", {psutil.virtual_memory().total / 1e9:.0f} GB"
    except ImportError:
        memory = ""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{_processor()}, {os.cpu_count()} logical cores{memory}, {gpu}; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{threads or torch.get_num_threads()} CPU thread(s)"
    )


def _processor():
    """The processor's name as its maker wrote it, as far as the system tells."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _process_memory():
    """Bytes that this process holds, and the most that it has held."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        # the peak of getrusage would include the parent's on Linux
        if "VmHWM" in lines:
            return tuple(1024 * int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    import psutil

    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):  # Windows
        return info.rss, info.peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return info.rss, unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def reset_peak(device: str | torch.device) -> int:
    """Begin a new peak, where the system can; returns the bytes that are held now."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with contextlib.suppress(OSError):  # Linux alone; elsewhere the peak is that since the start
        Path("/proc/self/clear_refs").write_text("5")
    return _process_memory()[0]


def peak(device: str | torch.device) -> int:
    """The most bytes held: on a GPU by torch's tensors, on the CPU by this process."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated()
    return _process_memory()[1]


def free_memory(device: str | torch.device) -> int | None:
    """Bytes that can still be had, or None where it cannot be told."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        import psutil
    except ImportError:
        return None
    return psutil.virtual_memory().available


def wait_for(device: str | torch.device) -> None:
    """Return when all work of a device is done; a GPU works on while Python goes ahead."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def size(count: float) -> str:
    """Bytes in words: 52 MB, 1.16 GB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Seconds in words: 1.14 s, 26.3 ms, 41 µs."""
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
