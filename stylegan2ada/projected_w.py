"""Files of projected latents: an .npz with `w` (N, L, W), as the official projector writes it.

Where noise maps were fitted too, they stand beside it under the names of the generator's buffers.
"""

import io
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch

from .errors import UserError
from .files import atomic_path
from .generator import Generator

KEY = "w"
_MAX_BYTES = 2**30  # of all arrays together
_READING_ERRORS = (
    OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, struct.error,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError,  # NumPy tokenizes headers that it cannot parse
)  # fmt: skip


def save_projected_w(path: str | os.PathLike, ws: torch.Tensor, noise_maps: Mapping[str, torch.Tensor]) -> None:
    """Writes ws (N, L, W) and noise maps by the names of G's buffers, atomically."""
    arrays = {name: value.detach().cpu().numpy() for name, value in ({KEY: ws} | dict(noise_maps)).items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_projected_w(path: str | os.PathLike, G: Generator) -> torch.Tensor:
    """float32 (N, L, W) for G; noise maps of the file become G's own.

    Raises:
        UserError: the file is missing, damaged, or of another network.
    """
    buffers = {name: buffer for name, buffer in G.named_buffers() if name.endswith("noise_const")}
    arrays = _read_arrays(Path(path), {KEY, *buffers})
    ws = arrays.pop(KEY, None)
    layers, width = G.num_ws, G.w_dim
    if ws is None or ws.ndim != 3 or not len(ws) or ws.shape[1:] != (layers, width):
        found = "no such array" if ws is None else f"shape {ws.shape}"
        raise UserError(
            f"--projected-w {path}: array {KEY!r} must have shape (N, {layers}, {width}) for this network, but there "
            f"is {found}; give the network that the image was projected with"
        )
    for name, array in arrays.items():
        if array.shape != buffers[name].shape:
            raise UserError(f"--projected-w {path}: {name} has shape {array.shape}, it is of another network")
        buffers[name].copy_(_finite(array, path))
    return _finite(ws, path)


def _finite(array: np.ndarray, path: str | os.PathLike) -> torch.Tensor:
    with np.errstate(over="ignore"):  # becomes Inf
        values = array.astype(np.float32) if array.dtype.kind == "f" else None
    if values is None or not np.isfinite(values).all():
        raise UserError(f"--projected-w {path} holds values that are no finite numbers: project the image again")
    return torch.from_numpy(values)


def _read_arrays(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the wanted names that there are. Nothing is unpickled, nor read that is larger than any network's."""
    if not path.is_file():
        raise UserError(f"--projected-w {path}: there is no such file; projector.py writes projected_w.npz")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            members = {name: member for name, member in members.items() if name in wanted}
            if sum(member.file_size for member in members.values()) > _MAX_BYTES:
                raise UserError(f"--projected-w {path}: its arrays are too large to be of a network")
            for name, member in members.items():
                data = io.BytesIO(archive.read(member))
                arrays[name] = np.lib.format.read_array(data, allow_pickle=False)
    except _READING_ERRORS as error:
        raise UserError(f"--projected-w {path} is damaged or no .npz file: {error}") from error
    return arrays
