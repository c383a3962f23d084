"""Everything a stopped run needs to go on as if it had never stopped: `training-state-<images>.safetensors`.

One file holds the networks as a snapshot does, and beside them a tree of dicts, lists, numbers, texts and tensors: the
tensors as `state/0`, `state/1`, ..., the rest as JSON in the header. A file is whole or refused (checksum), and the one
before is kept until the next is on disk.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from .checkpoint import STATE_FORMAT
from .config import TrainingConfig
from .errors import UserError
from .tensor_file import DamagedFile, read_tensors, write_tensors

KEPT_STATES = 2  # the newest, and the one before in case the newest is damaged
PATTERN = "training-state-*.safetensors"
_TENSOR = "tensor"  # {"tensor": 3} in the header stands for the tensor state/3


class TrainingState(NamedTuple):
    """networks: tensors `part/name` as in a snapshot; tree: whatever the parts of the run gave."""

    path: Path
    networks: dict[str, torch.Tensor]
    tree: dict


def state_path(run_dir: Path, images_seen: int) -> Path:
    return run_dir / f"training-state-{images_seen:09d}.safetensors"


def pack(tree: object) -> tuple[object, dict[str, torch.Tensor]]:
    """The tree as JSON, and its tensors, copied into the CPU's memory."""
    tensors: dict[str, torch.Tensor] = {}

    def packed(node: object) -> object:
        if isinstance(node, torch.Tensor):
            tensors[f"state/{len(tensors)}"] = node.detach().to("cpu", copy=True)
            return {_TENSOR: len(tensors) - 1}
        if isinstance(node, dict):
            return {name: packed(value) for name, value in node.items()}
        if isinstance(node, list | tuple):
            return [packed(value) for value in node]
        return node

    return packed(tree), tensors


def unpack(tree: object, tensors: dict[str, torch.Tensor]) -> object:
    """The reverse of `pack`; tuples have become lists."""
    if isinstance(tree, dict):
        if tree.keys() == {_TENSOR}:
            return tensors[f"state/{tree[_TENSOR]}"]
        return {name: unpack(value, tensors) for name, value in tree.items()}
    if isinstance(tree, list):
        return [unpack(value, tensors) for value in tree]
    return tree


def write_state(
    path: Path,
    networks: dict[str, torch.Tensor],
    packed: tuple[object, dict[str, torch.Tensor]],
    config: TrainingConfig,
    kimg: float,
) -> None:
    """Writes the file, and removes all but the newest KEPT_STATES of its folder."""
    tree, tensors = packed
    header = {"format": STATE_FORMAT, "kimg": kimg, "config": config.to_dict(), "state": tree}
    write_tensors(path, networks | tensors, header)
    for old in state_files(path.parent)[KEPT_STATES:]:
        old.unlink(missing_ok=True)


def state_files(run_dir: Path) -> list[Path]:
    """The newest first."""
    found = [path for path in run_dir.glob(PATTERN) if re.fullmatch(r"training-state-\d+\.safetensors", path.name)]
    return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]), reverse=True)


def latest_state(run_dir: Path, log: Callable[[str], None]) -> TrainingState | None:
    """The newest state that is whole; `log` is told of every one that is not. None: the run has saved none yet.

    Raises:
        UserError: there are some, and none is whole.
    """
    paths = state_files(run_dir)
    for path in paths:
        try:
            header, tensors = read_tensors(path)
            if header.get("format") != STATE_FORMAT:
                raise DamagedFile(f"{path} is not a training state of this version")
        except DamagedFile as error:
            log(f"{error}; trying the one before")
            continue
        networks = {name: tensor for name, tensor in tensors.items() if not name.startswith("state/")}
        return TrainingState(path, networks, unpack(header["state"], tensors))
    if paths:
        raise UserError(
            f"--resume={run_dir}: none of its {len(paths)} training states can be read; start a new run from one of "
            "its network-snapshot-*.safetensors instead"
        )
    return None
