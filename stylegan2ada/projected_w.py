"""Files of projected latents: an .npz with `w` (N, L, W), as the official projector writes it.

Where noise maps were fitted too, they stand beside it under the names of the generator's buffers.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from .errors import UserError
from .files import atomic_path
from .generator import Generator

KEY = "w"
_MAX_BYTES = 2**30


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
    arrays = _read_arrays(Path(path))
    ws = arrays.pop(KEY, None)
    layers, width = G.num_ws, G.w_dim
    if ws is None or ws.ndim != 3 or not len(ws) or ws.shape[1:] != (layers, width):
        found = "no such array" if ws is None else f"shape {ws.shape}"
        raise UserError(
            f"--projected-w {path}: array {KEY!r} must have shape (N, {layers}, {width}) for this network, but there "
            f"is {found}; give the network that the image was projected with"
        )
    buffers = dict(G.named_buffers())
    for name, array in arrays.items():
        if name.endswith("noise_const") and name in buffers:
            if array.shape != buffers[name].shape:
                raise UserError(f"--projected-w {path}: {name} has shape {array.shape}, it is of another network")
            buffers[name].copy_(_finite(array, path))
    return _finite(ws, path)


def _finite(array: np.ndarray, path: str | os.PathLike) -> torch.Tensor:
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise UserError(f"--projected-w {path} holds values that are no finite numbers: project the image again")
    return torch.from_numpy(array.astype(np.float32))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Nothing is unpickled, and no array is read that is larger than any network's."""
    if not path.is_file():
        raise UserError(f"--projected-w {path}: there is no such file; projector.py writes projected_w.npz")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > _MAX_BYTES:
                    raise UserError(f"--projected-w {path}: {member.filename} is too large to be of a network")
                data = io.BytesIO(archive.read(member))
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(data, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"--projected-w {path} is damaged or no .npz file: {error}") from error
    return arrays
