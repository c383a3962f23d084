"""The folder of one downstream run: its state between two epochs, and its result, each bound to what was asked for."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from stylegan2ada.errors import UserError
from stylegan2ada.files import write_json
from stylegan2ada.run_folder import locked
from stylegan2ada.tensor_file import DamagedFile, read_tensors, write_tensors
from stylegan2ada.training_state import pack, unpack

CLASSIFIER = "classifier.safetensors"
PREDICTIONS = "predictions.csv"
RESULTS = "results.json"
STATE = "training-state.safetensors"

SAVING_SHARE = 0.05  # of the time, at most: short epochs are not saved one by one

_FORMAT = "downstream-1"
_REQUEST = "request"


class DownstreamFolder:
    """Files of the run that `request` asks for: names of what decides the result, and a hash of each.

    Every method raises `UserError` where the folder holds another run.
    """

    def __init__(self, folder: Path, request: dict[str, str]) -> None:
        self.folder = folder
        self._request = request
        self._next_save_sec = 0.0

    def finished(self) -> dict | None:
        """The results, where the run is over."""
        path = self.folder / RESULTS
        if not path.exists():
            return None
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}): remove it, or give another folder") from error
        self._check(results.get(_REQUEST) if isinstance(results, dict) else None)
        return results

    def state(self) -> dict | None:
        """What was saved last; None: the run is at its start."""
        path = self.folder / STATE
        if not path.exists():
            return None
        try:
            header, tensors = read_tensors(path)
        except DamagedFile as error:
            raise UserError(f"{error}; remove it to start again, or give another folder") from error
        if header.get("format") != _FORMAT:
            raise UserError(f"{path} is not the state of a run of this version: remove it to start again")
        self._check(header.get(_REQUEST))
        return unpack(header["state"], tensors)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process works in the folder, and what a killed one had begun to write is gone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            for unfinished in self.folder.glob(".*.tmp"):
                unfinished.unlink(missing_ok=True)
            yield

    def is_due(self) -> bool:
        """Whether to save: the first time, and then so seldom that it takes `SAVING_SHARE` of the time."""
        return time.monotonic() >= self._next_save_sec

    def save(self, state: dict) -> None:
        """Replaces the state: dicts, lists, plain values and tensors."""
        started = time.monotonic()
        tree, tensors = pack(state)
        write_tensors(self.folder / STATE, tensors, {"format": _FORMAT, _REQUEST: self._request, "state": tree})
        ended = time.monotonic()
        self._next_save_sec = ended + (ended - started) / SAVING_SHARE

    def finish(self, results: dict) -> None:
        """Writes the results, the last file of a run, and removes the state."""
        write_json(self.folder / RESULTS, results | {_REQUEST: self._request})
        (self.folder / STATE).unlink(missing_ok=True)

    def _check(self, found: object) -> None:
        if found == self._request:
            return
        known = isinstance(found, dict) and found.keys() == self._request.keys()
        differing = [name for name in self._request if found[name] != self._request[name]] if known else []
        what = f"with other {', '.join(name.replace('_', ' ') for name in differing)}" if known else "of another kind"
        raise UserError(f"{self.folder} holds a run {what}: give another folder, or remove that one")

