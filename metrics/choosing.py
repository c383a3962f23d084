"""Detectors by the text of a command line's option, opened only where a metric takes them."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch

from .detectors import Detectors, one_detector
from .errors import MetricError
from .features import NamedDetector
from .names import Request, roles_of
from .official import INCEPTION, VGG16, OfficialFile, hash_of_named, open_inception, open_script, open_vgg16

AUTO = "auto"
CLASSIFIER = "classifier"
CHOICES = "auto, inception, classifier:FILE, FILE.pt, or local copies: inception=FILE,vgg16=FILE"

Fetch = Callable[[OfficialFile], Path]
"""Gives the path of an official file, fetched if need be."""


class Classifier(Protocol):
    """A network that knows classes: the detector itself gives features."""

    name: str
    sha256: str

    def __call__(self, images: torch.Tensor) -> torch.Tensor: ...

    def probabilities(self, images: torch.Tensor) -> torch.Tensor: ...


def choose_detectors(
    requests: Sequence[Request],
    text: str,
    device: torch.device,
    fetch: Fetch,
    classifier: Callable[[str | None], Classifier],
) -> Detectors:
    """What the metrics need of the detectors that `text` names.

    auto: the official ones. inception: Inception for all metrics of features. classifier:FILE: the features and
    probabilities of `classifier(FILE)`; without :FILE, of classifier(None). FILE.pt: a copy of an official file, known
    by its hash, or another TorchScript network of features, for all metrics of features. inception=FILE,vgg16=FILE:
    local copies; the one that is not named is fetched.

    Raises:
        MetricError: the text is none of these, or a file is unusable. What `fetch` and `classifier` raise.
    """
    if text == CLASSIFIER or text.startswith(f"{CLASSIFIER}:"):
        return _of_classifier(classifier(text.partition(":")[2] or None))
    if text == INCEPTION.name:
        inception = open_inception(fetch(INCEPTION), device)
        return Detectors(inception.features, inception.features, inception.probabilities)
    named = _named_files(text)
    if named is None and text.endswith(".pt"):
        official = {INCEPTION.sha256: INCEPTION, VGG16.sha256: VGG16}.get(hash_of_named(text))
        if official is None:
            return one_detector(open_script(text, device))
        named = {official.name: text}
    if named is None:
        raise MetricError(f"--detector {text}: choose {CHOICES}")
    return _official(requests, named, device, fetch)


def _official(requests: Sequence[Request], named: dict[str, str], device: torch.device, fetch: Fetch) -> Detectors:
    roles, inception, vgg16 = roles_of(requests), None, None
    if {"distribution", "probabilities"} & set(roles):
        inception = open_inception(named.get(INCEPTION.name) or fetch(INCEPTION), device, INCEPTION.name in named)
    if {"manifold", "perceptual"} & set(roles):
        vgg16 = open_vgg16(named.get(VGG16.name) or fetch(VGG16), device, VGG16.name in named)
    return Detectors(
        distribution=inception and inception.features,
        manifold=vgg16 and vgg16.features,
        probabilities=inception and inception.probabilities,
        perceptual=vgg16 and vgg16.perceptual,
    )


def _of_classifier(classifier: Classifier) -> Detectors:
    probabilities = NamedDetector(f"{classifier.name} classes", classifier.sha256, classifier.probabilities)
    perceptual = getattr(classifier, "perceptual", None)
    if perceptual is not None:
        perceptual = NamedDetector(f"{classifier.name} perceptual", classifier.sha256, perceptual)
    return Detectors(classifier, classifier, probabilities, perceptual)


def _named_files(text: str) -> dict[str, str] | None:
    """`inception=FILE,vgg16=FILE` to the files by name; auto to none; None where the text is something else."""
    if text == AUTO:
        return {}
    names = "|".join((INCEPTION.name, VGG16.name))
    parts = re.split(rf",(?=(?:{names})=)", text)  # a file's name may have a comma
    found = [re.fullmatch(rf"({names})=(.+)", part) for part in parts]
    if not all(found):
        return None
    for match in found:
        if not os.path.isfile(match[2]):
            raise MetricError(f"--detector {text}: there is no file {match[2]}")
    return {match[1]: match[2] for match in found}
