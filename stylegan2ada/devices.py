"""Choosing the device, and the precision it computes in, by name."""

import torch

from .errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")  # what scripts that only draw images take


def choose_device(name: str) -> torch.device:
    """'auto' is CUDA where there is one, else the CPU; 'mps', the GPU of an Apple processor, has to be named.

    Raises UserError for a device that is not there.
    """
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: no Apple GPU that torch can use is here; use --device cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device is available here; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """`auto` is bf16 where the device computes fast in it, fp16 on older CUDA devices, else fp32.

    Raises UserError for a precision that the device cannot compute in.
    """
    if name == "fp16" and device.type != "cuda":
        raise UserError(f"--precision fp16 needs a CUDA device, this is {device.type}: use bf16 or fp32")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_fast_bf16() else "fp32"


def cpu_has_fast_bf16() -> bool:
    """AMX tiles, or AVX-512 with its dot product of bfloat16 pairs: four and two times the arithmetic of float32."""
    if not torch.backends.mkldnn.is_available():
        return False
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
