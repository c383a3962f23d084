"""The clinical term of the generator's loss: a frozen classifier should see in a fake the class asked for."""

import copy
from typing import Literal

import torch
from torch import nn

from stylegan2ada.errors import UserError

from .classifier import SpineClassifier, classification_loss


class ClinicalTerm(nn.Module):
    """BCE(S(G(z, c)), c) of SpineGAN 2022: (N,) losses whose gradient reaches the images.

    classifier: copied, frozen, and kept in eval mode whatever happens to the modules around it.
    reduction: "mean" leaves each sample's loss as it is, since the loop averages over the batch; "sum"
        multiplies it by `batch_size`, the images of one step over all devices, which is the paper's sum over
        the batch.
    precision: that of the run. "bf16" computes the classifier's convolutions in bfloat16, a third faster on a CPU
        that is fast in it; anything else is float32: gradients of single images are too small for float16.
    """

    cuda_graph_safe = True  # the same work at every call, nothing read back from the device

    def __init__(
        self,
        classifier: SpineClassifier,
        reduction: Literal["mean", "sum"] = "mean",
        batch_size: int | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise UserError(f"the clinical term's reduction is {reduction!r}: give mean or sum")
        if reduction == "sum" and (batch_size is None or batch_size < 1):
            raise UserError(f"the clinical term's sum needs the batch size, an integer above 0, not {batch_size}")
        self.scale = batch_size if reduction == "sum" else 1
        self.precision = precision
        self.classifier = copy.deepcopy(classifier).requires_grad_(False)
        self.train(False)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """images float (N,C,H,W) in [-1, 1], labels (N,K) one-hot, to losses (N,)."""
        images = images.to(self.classifier.linear.weight.dtype)
        return self.scale * classification_loss(self.classifier.logits_in(self.precision, images), labels)

    def train(self, mode: bool = True) -> "ClinicalTerm":
        """Stays in eval mode: dropout and batch statistics would make the loss depend on the other images."""
        return super().train(False)
