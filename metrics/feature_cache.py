"""Features of real images, kept between runs: they are the same for every network that is compared with them."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from .collect import FeatureSet
from .features import Detector, key_of, name_of
from .shards import Shards

_HEADER_KEY = "features"
_FORMAT = 1


class FeatureCache:
    """A folder with one file of features for each data set, detector and number of images.

    A file is numbers with a checksum: nothing in it is executed. One that is damaged or of other origin is made again.
    Features tell of the images they come from: keep the folder where the images may lie.
    """

    def __init__(self, folder: str | os.PathLike, log: Callable[[str], None]):
        """`log` gets a line when a file has to be made again, or cannot be written."""
        self.folder = Path(folder)
        self._log = log

    def features(
        self, source_key: str, detector: Detector, count: int, compute: Callable[[], FeatureSet], shards: Shards
    ) -> FeatureSet:
        """Of the first `count` images of a source, kept or computed; all processes call this."""
        origin = {"format": _FORMAT, "source": source_key, "detector": key_of(detector), "head": name_of(detector)}
        origin |= {"count": count}
        path = self.path(origin)
        kept = self._read(path, origin, shards.rank == 0)
        everywhere = all(bool(found[0]) for found in shards.gather(np.array([kept is not None])))
        if everywhere:
            return kept
        found = compute()
        if shards.rank == 0:
            self._write(path, origin, found)
        return found

    def path(self, origin: dict[str, object]) -> Path:
        name = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{name[:32]}.safetensors"

    def _read(self, path: Path, origin: dict[str, object], may_log: bool) -> FeatureSet | None:
        try:
            if not path.is_file():
                return None
            with safetensors.safe_open(path, "np") as file:
                header = json.loads((file.metadata() or {}).get(_HEADER_KEY, "{}"))
                found = FeatureSet(file.get_tensor("values"), file.get_tensor("classes"))
            _check(found, header, origin)
        except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
            if may_log:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                self._log(f"Features kept in {path} are unusable ({reason}): they are computed again")
            return None
        return found

    def _write(self, path: Path, origin: dict[str, object], found: FeatureSet) -> None:
        """The cache may be missing; the measurement goes on without."""
        header = {_HEADER_KEY: json.dumps({"origin": origin, "sha256": _digest(found)})}
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                safetensors.numpy.save_file({"values": found.values, "classes": found.classes}, temporary, header)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        except (OSError, safetensors.SafetensorError) as error:
            self._log(f"Features of real images are not kept, {path.parent} cannot be written: {error}")


def _check(found: FeatureSet, header: dict, origin: dict[str, object]) -> None:
    """ValueError unless these are the features, whole, that were once computed for `origin`."""
    if not isinstance(header, dict) or header.get("origin") != origin:
        raise ValueError("it is of other images or another detector")
    values, classes = found
    if values.dtype != np.float32 or values.ndim != 2 or classes.dtype != np.int64 or classes.shape != values.shape[:1]:
        raise ValueError("its features have another shape")
    if len(values) != origin["count"] or header.get("sha256") != _digest(found):
        raise ValueError("its checksum is wrong")


def _digest(found: FeatureSet) -> str:
    digest = hashlib.sha256(repr(found.values.shape).encode())
    digest.update(np.ascontiguousarray(found.values).data)
    digest.update(np.ascontiguousarray(found.classes).data)
    return digest.hexdigest()
