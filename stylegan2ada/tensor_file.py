"""Files of tensors with a JSON header: safetensors, written atomically, with a checksum over all of it.

Nothing in such a file is ever executed.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch

from .errors import UserError
from .files import atomic_path

HEADER_KEY = "spinegan"  # one key, since safetensors writes several in random order
CHECKSUM = "sha256"


class DamagedFile(UserError):
    """The file is not what was written: cut off, changed, or of another program."""


def write_tensors(path: str | os.PathLike, tensors: dict[str, torch.Tensor], header: dict) -> None:
    """Writes tensors of the CPU and a JSON header, atomically; raises OSError where that fails.

    By NumPy: work of torch in a second thread would start a second pool of OpenMP threads, and from then on none of the
    first would wait actively for the next piece of work, which makes training up to twice as slow.
    """
    arrays = {name: np.asarray(tensor.numpy(), order="C") for name, tensor in tensors.items()}
    header = header | {CHECKSUM: _checksum(arrays, header)}
    with atomic_path(path) as temporary:
        try:
            safetensors.numpy.save_file(arrays, temporary, metadata={HEADER_KEY: json.dumps(header)})
        except safetensors.SafetensorError as error:  # a full disk is no kind of its own there
            raise OSError(f"{path} cannot be written: {error}") from error


def read_tensors(path: str | os.PathLike) -> tuple[dict, dict[str, torch.Tensor]]:
    """The header and all tensors. A file of an older version, without a checksum, is not checked.

    Raises:
        DamagedFile: the file cannot be read, or its checksum is wrong.
    """
    with _explained(path), safetensors.safe_open(path, framework="np") as file:
        header = _header(file)
        arrays = {name: file.get_tensor(name) for name in file.keys()}
        expected = header.pop(CHECKSUM, None)
        if expected is not None and expected != _checksum(arrays, header):
            raise ValueError("its checksum is wrong")
        return header, {name: torch.from_numpy(array) for name, array in arrays.items()}


class _explained:
    """Says of whatever the readers raise which file it was."""

    def __init__(self, path: str | os.PathLike):
        self._path = Path(path)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, _traceback: object) -> None:
        if isinstance(
            error,  # AttributeError: a type of numbers that NumPy does not have
            OSError | safetensors.SafetensorError | AttributeError | KeyError | TypeError | ValueError | RecursionError,
        ):
            raise DamagedFile(f"{self._path} is damaged or no snapshot: {error}") from error


def _header(file: safetensors.safe_open) -> dict:
    header = json.loads((file.metadata() or {}).get(HEADER_KEY, "{}"))
    if not isinstance(header, dict):
        raise TypeError("its header is no JSON object")
    return header


def _checksum(arrays: dict[str, np.ndarray], header: dict) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8))  # an empty one too
    return digest.hexdigest()
