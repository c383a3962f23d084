"""Fixtures of the GAN's tests."""

from collections.abc import Iterator

import pytest
import torch

from stylegan2ada.ops import kernels
from stylegan2ada.ops.kernels.unavailable import KernelsUnavailable


@pytest.fixture(scope="module", params=["fused kernels", "torch operators"])
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """What `kernels="auto"` means on the CPU while the tests of a module run: they all run under either."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch operators":
            patch.setattr(kernels, "_load", lambda device: KernelsUnavailable("the tests want torch's operators"))
        found = kernels.find("auto", torch.device("cpu"), torch.float64)
        if request.param == "fused kernels" and found is None:
            pytest.skip("the CPU kernels were not built")
        assert (found is None) == (request.param == "torch operators")
        yield request.param
