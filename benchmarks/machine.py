"""What a measurement has to say of the machine: processor, versions, load, peak memory."""

import os
import platform
import resource
import sys
import time
from pathlib import Path

import torch

TELLING_FLAGS = (
    "avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx_vnni", "amx_tile", "amx_bf16", "amx_fp16",
    "asimd", "bf16", "sve",
)  # fmt: skip
QUIET_LOAD = 0.5  # before a run nothing should want to run
QUIET_CORES = 0.1  # that others keep busy during it


def describe_machine(device: str) -> str:
    """One line: processor, cores, the instruction sets that matter here, GPU, versions."""
    model, flags = _cpu()
    told = " ".join(flag for flag in TELLING_FLAGS if flag in flags) or "unknown"
    parts = [f"{model}, {_usable_cores()} usable cores, flags {told}"]
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        parts.append(
            f"{torch.cuda.get_device_name()} (sm_{major}{minor}), CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}"
        )
    parts.append(f"{platform.system()} {platform.machine()}, Python {platform.python_version()}")
    parts.append(f"torch {torch.__version__}")
    return "; ".join(parts)


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


class OthersClock:
    """How many cores everybody else kept busy since it was made, in the mean; None where the system does not tell."""

    def __init__(self) -> None:
        self._wall_sec, self._own_sec, self._all_sec = time.monotonic(), _own_cpu_sec(), _all_cpu_sec()

    def cores(self) -> float | None:
        if self._all_sec is None:
            return None
        others_sec = (_all_cpu_sec() - self._all_sec) - (_own_cpu_sec() - self._own_sec)
        return max(others_sec, 0.0) / (time.monotonic() - self._wall_sec)


def load_warnings(load_before: float, others_cores: float | None) -> list[str]:
    """What speaks against a measurement taken under this load; empty on a quiet machine."""
    found = []
    if load_before > QUIET_LOAD:
        found.append(f"the machine was not quiet before the run: load average {load_before:.2f}")
    if others_cores is not None and others_cores > QUIET_CORES:
        found.append(f"others kept up to {others_cores:.2f} cores busy while a worker was timed")
    return found


def peak_memory_bytes() -> int:
    """Most physical memory this process ever held.

    Linux: VmHWM. Its ru_maxrss would not do: a process started from a larger one begins with the larger one's peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _own_cpu_sec() -> float:
    return time.process_time()


def _all_cpu_sec() -> float | None:
    """Time that the processors of this machine worked, or were taken from it by the host."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> tuple[str, set[str]]:
    """Name and flags, as far as the system tells them."""
    cpuinfo = Path("/proc/cpuinfo")
    facts: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
    model = facts.get("model name") or platform.processor() or platform.machine()
    return model, set((facts.get("flags") or facts.get("Features") or "").split())
