"""SpineClassifier: DenseNet121 that tells normal from abnormal radiographs, or lesion types apart.

Shapes: N images, C channels (1 or 3), H x W pixels, K classes. Labels are float (N,K) one-hot, as everywhere.

Where SpineGAN (2022) has a linear layer on the 1000 ImageNet outputs, dropout behind it and a sigmoid, this
one has dropout before a single linear layer on the 1024 features and puts out logits.
"""

import dataclasses
import json
import os
from collections.abc import Sequence

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from stylegan2ada.errors import UserError
from stylegan2ada.files import atomic_path

from .labelled_images import same_classes
from .torchvision_compat import import_torchvision

NUM_FEATURES = 1024
SMALLEST_INPUT_PX = 32  # DenseNet121 halves the image five times
LARGEST_INPUT_PX = 224  # what its ImageNet weights were trained at

# ImageNet statistics of images in 0..1, red, green, blue.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

_HEADER_KEY = "spine_classifier"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a classifier comes from; stands in the header of its file.

    weights_origin: what the training started from, "imagenet", "random" or "file".
    training: settings and outcome of the training, plain JSON values.
    test_auc: area under the ROC curve on test images, None where unknown.
    phantom: trained on synthetic shapes, so it says nothing about patients.
    """

    weights_origin: str = "random"
    training: dict = dataclasses.field(default_factory=dict)
    test_auc: float | None = None
    phantom: bool = False

    def __post_init__(self) -> None:
        if self.weights_origin not in ("imagenet", "random", "file"):
            raise UserError(f"weights_origin is {self.weights_origin!r}, not one of imagenet, random, file")
        if not isinstance(self.training, dict) or not isinstance(self.phantom, bool):
            raise UserError("training must be a JSON object and phantom true or false")
        auc = self.test_auc
        if auc is not None and not (isinstance(auc, float | int) and 0 <= auc <= 1):
            raise UserError(f"test_auc is {auc!r}, not a number in 0..1")


class SpineClassifier(nn.Module):
    """DenseNet121 features, dropout, one linear layer. One logit for two classes, K logits for K > 2.

    class_names: at least two different names, in the order of the labels.
    input_size_px: side to which images are resized, 32..224.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        input_size_px: int,
        dropout: float = 0.1,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        self.class_names = _checked_class_names(class_names)
        self.input_size_px = _checked_input_size(input_size_px)
        self.provenance = provenance or Provenance()
        self.backbone = import_torchvision().models.densenet121(weights=None).features
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(NUM_FEATURES, 1 if len(self.class_names) == 2 else len(self.class_names))
        # Of images in [-1, 1] instead of 0..1, so that normalising also brings the range.
        self.register_buffer("mean", 2 * torch.tensor(_IMAGENET_MEAN).view(3, 1, 1) - 1, persistent=False)
        self.register_buffer("std", 2 * torch.tensor(_IMAGENET_STD).view(3, 1, 1), persistent=False)

        self.to(memory_format=torch.channels_last)  # a third faster on CPU

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float (N,C,H,W) in [-1, 1] to logits, (N,1) for two classes, (N,K) for more; differentiable."""
        return self.logits_from(self.features(images))

    def logits_in(self, precision: str, images: torch.Tensor) -> torch.Tensor:
        """`forward` with convolutions in bfloat16 where `precision` is "bf16"; the logits have the images' type."""
        return self.logits_from(self._features_in(precision, images))

    def probabilities_in(self, precision: str, images: torch.Tensor) -> torch.Tensor:
        """`probabilities`, in `precision` as `logits_in`."""
        return self.probabilities_from(self._features_in(precision, images))

    def _features_in(self, precision: str, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            features = self.features(images)
        return features.to(images.dtype)

    def logits_from(self, features: torch.Tensor) -> torch.Tensor:
        """`features` (N,1024) of images to logits, as `forward` gives them."""
        return self.linear(self.dropout(features))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """float (N,C,H,W) in [-1, 1] to the (N,1024) inputs of the linear layer, before dropout."""
        maps = functional.relu(self.backbone(self.preprocess(images)))  # (N,1024,h,w)
        return maps.mean(dim=(2, 3))

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        """float (N,C,H,W) in [-1, 1] to what ImageNet networks expect: normalised (N,3,size,size)."""
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
            raise ValueError(f"images must be float (N,1,H,W) or (N,3,H,W), not {images.dtype} {tuple(images.shape)}")
        size = (self.input_size_px, self.input_size_px)
        if images.shape[2:] != size:
            images = functional.interpolate(images, size, mode="bilinear", antialias=True)
        images = (images.expand(-1, 3, -1, -1) - self.mean) / self.std
        return images.contiguous(memory_format=torch.channels_last)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """float (N,C,H,W) in [-1, 1] to the probability of each class, (N,K)."""
        return self.probabilities_from(self.features(images))

    def probabilities_from(self, features: torch.Tensor) -> torch.Tensor:
        """`features` (N,1024) of images to the probability of each class, (N,K)."""
        logits = self.logits_from(features)
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)  # softmax of (0, x) is (1 - S, S)
        return logits.softmax(dim=1)

    def check_classes(self, class_names: Sequence[str], place: str) -> None:
        """Raises `UserError` unless `class_names`, those of `place`, are this classifier's, in its order."""
        if not same_classes(self.class_names, tuple(class_names)):
            raise UserError(
                f"the classifier tells apart {_listed(self.class_names)}, but {place} has "
                f"{_listed(class_names)}: train one on a dataset with the same classes in the same order"
            )


def classification_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(N,) losses: -[c log S + (1 - c) log(1 - S)] for two classes, with c = labels[:, 1]; cross-entropy for
    more.

    logits (N,1) or (N,K), labels (N,K). SpineGAN prints the two-class formula with other signs, a typo.
    """
    num_classes = max(2, logits.shape[1])
    if labels.shape != (len(logits), num_classes):
        raise UserError(
            f"the classifier tells {num_classes} classes apart, but the labels are "
            f"{tuple(labels.shape)}: use a classifier trained on a dataset with the same classes"
        )
    if num_classes == 2:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], labels[:, 1], reduction="none")
    return functional.cross_entropy(logits, labels, reduction="none")


def input_size_for(resolution_px: int) -> int:
    """The side at which a dataset of this resolution is classified: min(224, resolution)."""
    if resolution_px < SMALLEST_INPUT_PX:
        raise UserError(
            f"images of {resolution_px} px are too small for the classifier: "
            f"DenseNet121 needs at least {SMALLEST_INPUT_PX} px, so convert the dataset at more"
        )
    return min(LARGEST_INPUT_PX, resolution_px)


def save_classifier(classifier: SpineClassifier, path: str | os.PathLike) -> None:
    """Writes one safetensors file, atomically; its header says what the classifier is and where it is from.

    Raises `OSError` where that fails.
    """
    header = {
        "format": _FORMAT,
        "class_names": list(classifier.class_names),
        "input_size_px": classifier.input_size_px,
        **dataclasses.asdict(classifier.provenance),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    with atomic_path(path) as temporary:
        try:
            safetensors.torch.save_file(tensors, temporary, {_HEADER_KEY: json.dumps(header, allow_nan=False)})
        except safetensors.SafetensorError as error:  # a full disk is no kind of its own there
            raise OSError(f"{path} cannot be written: {error}") from error


def load_classifier(path: str | os.PathLike, device: str | torch.device = "cpu") -> SpineClassifier:
    """The classifier in `path`, in eval mode on `device`. Raises `UserError` for any file that is none of ours."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = _read_header(file.metadata() or {})
            classifier = SpineClassifier(
                header["class_names"], header["input_size_px"], provenance=header["provenance"]
            )
            classifier.load_state_dict(_read_tensors(file, classifier.state_dict()))
    except UserError as error:
        raise UserError(f"{path} is not a classifier of this program: {error}") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"cannot read the classifier {path}: {error}") from error
    return classifier.eval().to(device)


def _read_header(metadata: dict[str, str]) -> dict:
    if _HEADER_KEY not in metadata:
        raise UserError(f"its header has no {_HEADER_KEY!r}; classify.py writes such files")
    try:
        header = json.loads(metadata[_HEADER_KEY])
    except (ValueError, RecursionError) as error:
        raise UserError(f"its header is not JSON ({error})") from error
    of_provenance = [field.name for field in dataclasses.fields(Provenance)]
    expected = ["format", "class_names", "input_size_px", *of_provenance]
    if not isinstance(header, dict) or set(header) != set(expected):
        raise UserError(f"its header must have exactly {', '.join(expected)}")
    if header["format"] != _FORMAT:
        raise UserError(f"its format is {header['format']!r}, this program reads {_FORMAT}")
    provenance = Provenance(**{name: header[name] for name in of_provenance})
    return {**header, "provenance": provenance}


def _read_tensors(file: safetensors.safe_open, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All tensors of `file`, which must have the names, shapes and types of `expected` and be finite."""
    differing = sorted(set(file.keys()) ^ set(expected))
    if differing:
        raise UserError(f"{len(differing)} tensors are missing or unknown, such as {differing[0]!r}")
    tensors = {}
    for name, like in expected.items():
        shape = tuple(file.get_slice(name).get_shape())  # before reading: a header may claim anything
        if shape != like.shape:
            raise UserError(f"tensor {name!r} is {shape}, not {tuple(like.shape)}")
        tensors[name] = file.get_tensor(name)
        if tensors[name].dtype != like.dtype:
            raise UserError(f"tensor {name!r} is {tensors[name].dtype}, not {like.dtype}")
        if not tensors[name].isfinite().all():
            raise UserError(f"tensor {name!r} has NaN or Inf values")
    return tensors


def _checked_class_names(names: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"class names must be a list of texts, not {names!r}")
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"a classifier needs at least two different classes, not {_listed(names)}")
    return tuple(names)


def _checked_input_size(size_px: int) -> int:
    if type(size_px) is not int or not SMALLEST_INPUT_PX <= size_px <= LARGEST_INPUT_PX:
        raise UserError(f"input_size_px is {size_px!r}, not an integer in {SMALLEST_INPUT_PX}..{LARGEST_INPUT_PX}")
    return size_px


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} classes ({', '.join(names)})"
