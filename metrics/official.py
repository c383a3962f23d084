"""The networks of the official numbers: Inception and VGG16, as TorchScript files.

TorchScript is a program: it runs in torch's interpreter, which has no access to Python but can write files. So a file
is opened only where its hash is the known one, or where a user names it himself.
"""

import dataclasses
import hashlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from .errors import MetricError
from .features import Detector

LPIPS_SIDE_PX = 256  # larger images are reduced to it
_TRIAL_PX = 64


@dataclasses.dataclass(frozen=True)
class OfficialFile:
    """Where a detector comes from, and what it must be."""

    name: str
    url: str
    sha256: str


_FOLDER = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics"
INCEPTION = OfficialFile(
    "inception",
    f"{_FOLDER}/inception-2015-12-05.pt",
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
)
VGG16 = OfficialFile("vgg16", f"{_FOLDER}/vgg16.pt", "b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3")


class ScriptDetector:
    """One result of a network, with the name and the hash of its file. Computes on its device, without TF32."""

    def __init__(self, name: str, sha256: str, device: torch.device, function: Callable[[torch.Tensor], torch.Tensor]):
        self.name, self.sha256 = name, sha256
        self._device, self._function = device, function

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        try:
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                return self._function(images.to(self._device))
        except torch.OutOfMemoryError as error:
            raise MetricError(f"{self.name}: no memory for {len(images)} images at a time; give less") from error
        except RuntimeError as error:
            raise MetricError(f"{self.name} fails on images {tuple(images.shape)}: {_last_line(error)}") from error


@dataclasses.dataclass(frozen=True)
class Inception:
    """features: uint8 (N,3,H,W) to (N,2048). probabilities: to (N,1008), without the last layer's biases."""

    features: Detector
    probabilities: Detector


@dataclasses.dataclass(frozen=True)
class Vgg16:
    """features: uint8 (N,3,H,W) to (N,4096). perceptual: float (N,3,H,W) in 0..255 to (N,D), those of LPIPS."""

    features: Detector
    perceptual: Detector


def open_inception(path: str | os.PathLike, device: torch.device, named_by_user: bool = False) -> Inception:
    """The official inception-2015-12-05.pt. MetricError for another file (unless the user named it) or none."""
    network, sha256 = _open(path, device, None if named_by_user else INCEPTION)
    found = Inception(
        ScriptDetector(INCEPTION.name, sha256, device, lambda x: network(x, return_features=True)),
        ScriptDetector(f"{INCEPTION.name} classes", sha256, device, lambda x: network(x, no_output_bias=True)),
    )
    _try([found.features, found.probabilities], torch.uint8, path)
    return found


def open_vgg16(path: str | os.PathLike, device: torch.device, named_by_user: bool = False) -> Vgg16:
    """The official vgg16.pt. MetricError as for `open_inception`."""
    network, sha256 = _open(path, device, None if named_by_user else VGG16)

    def perceptual(images: torch.Tensor) -> torch.Tensor:
        if max(images.shape[-2:]) > LPIPS_SIDE_PX:
            images = functional.interpolate(images, size=(LPIPS_SIDE_PX, LPIPS_SIDE_PX), mode="area")
        return network(images, resize_images=False, return_lpips=True)

    found = Vgg16(
        ScriptDetector(VGG16.name, sha256, device, lambda x: network(x, return_features=True)),
        ScriptDetector(f"{VGG16.name} lpips", sha256, device, perceptual),
    )
    _try([found.features], torch.uint8, path)
    _try([found.perceptual], torch.float32, path)
    return found


def open_script(path: str | os.PathLike, device: torch.device) -> Detector:
    """Another TorchScript network that a user names: uint8 (N,3,H,W) to (N,D), called with the images alone."""
    network, sha256 = _open(path, device, None)
    found = ScriptDetector(Path(path).stem, sha256, device, network)
    _try([found], torch.uint8, path)
    return found


def hash_of_named(path: str | os.PathLike) -> str:
    """SHA-256 of a file that a user names. MetricError where it cannot be read."""
    return hashlib.sha256(_read(path)).hexdigest()


def _open(
    path: str | os.PathLike, device: torch.device, expected: OfficialFile | None
) -> tuple[torch.jit.ScriptModule, str]:
    """What is opened is what was hashed."""
    data = _read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    if expected is not None and sha256 != expected.sha256:
        raise MetricError(
            f"{path} is not the official file: its SHA-256 is {sha256}, not {expected.sha256}; delete it and fetch "
            f"{expected.url}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer torch has other formats, these files have not
            return torch.jit.load(io.BytesIO(data), map_location=device).eval(), sha256
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise MetricError(f"{path} is damaged or no TorchScript file: {_last_line(error)}") from error


def _read(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise MetricError(f"the detector file {path} cannot be read: {error.strerror}") from error


def _try(detectors: list[ScriptDetector], dtype: torch.dtype, path: str | os.PathLike) -> None:
    """MetricError unless the network is of the kind it should be: before hours of work, not after."""
    images = torch.zeros(2, 3, _TRIAL_PX, _TRIAL_PX, dtype=dtype)
    for detector in detectors:
        try:
            found = detector(images)
        except MetricError as error:
            raise MetricError(f"{path} is no such detector: {error}") from error
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(images):
            given = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise MetricError(f"{path} is no such detector: {detector.name} should give (N,D), not {given}")


def _last_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[-1].strip() if text else type(error).__name__
