"""Fused kernels: the FIR filter and what ends every layer, each in one pass over memory, on the CPU and on CUDA.

`find` gives the implementation for a device: an object with three functions on tensors, `fir`, `epilogue` and
`epilogue_backward` (see `CpuKernels`). They are not differentiable themselves: that is the task of `ops`.
"""

import functools

import torch

from stylegan2ada.errors import UserError

from . import cpu, cuda
from .tensors import DTYPES
from .unavailable import KernelsUnavailable

CHOICES = ("auto", "fused", "reference")
LOADERS = {"cpu": lambda device: cpu.load(), "cuda": cuda.load}  # by device type; they raise KernelsUnavailable


def find(choice: str, device: torch.device, dtype: torch.dtype):
    """The fused kernels for tensors of `dtype` on `device`, or None where torch's operators are to be used.

    choice: "reference" gives None; "auto" the kernels where they can be had; "fused" the kernels or a UserError.
    """
    _check(choice)
    if choice == "reference":
        return None
    kernels = _load(device)
    if isinstance(kernels, KernelsUnavailable):
        if choice == "fused":
            raise UserError(f"--kernels fused: {kernels}; or choose --kernels auto")
        return None
    if dtype not in DTYPES:
        if choice == "fused":
            raise UserError(f"--kernels fused: no kernels for {dtype}; choose --kernels auto")
        return None
    return kernels


def describe(choice: str, device: torch.device) -> str:
    """One line for the log of a run: which kernels `find` gives on `device`, and why if they are not the fused ones."""
    _check(choice)
    if choice == "reference":
        return "torch operators (--kernels reference)"
    kernels = _load(device)
    if isinstance(kernels, KernelsUnavailable):
        return f"no fused kernels on {device}, using torch operators: {kernels}"
    return str(kernels)


def _check(choice: str) -> None:
    if choice not in CHOICES:
        raise UserError(f"--kernels {choice!r} is unknown; choose one of: {', '.join(CHOICES)}")


@functools.cache
def _load(device: torch.device):
    """The kernels, or the KernelsUnavailable that says why there are none."""
    if device.type not in LOADERS:
        return KernelsUnavailable(f"they exist for {', '.join(LOADERS)} only")
    try:
        return LOADERS[device.type](device)
    except KernelsUnavailable as error:
        return error
