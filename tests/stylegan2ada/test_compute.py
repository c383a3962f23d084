"""Precision and kernels of whole networks."""

import pytest
import torch

from stylegan2ada import compute
from stylegan2ada.discriminator import Discriminator
from stylegan2ada.generator import Generator
from stylegan2ada.layers import KernelUser


def networks(num_fp16_res=4, resolution=64):
    torch.manual_seed(0)
    sizes = {"channel_base": 512, "channel_max": 32, "num_fp16_res": num_fp16_res, "conv_clamp": 256}
    G = Generator(16, 2, 16, resolution, 1, {"num_layers": 2}, sizes)
    return G, Discriminator(2, resolution, 1, **sizes)


def dtypes(network):
    blocks = network.synthesis.blocks() if isinstance(network, Generator) else network.blocks()
    return {block.resolution: block.dtype for block in blocks}


class TestSetPrecision:
    def test_fp32_is_the_default(self):
        for network in networks():
            assert set(dtypes(network).values()) == {None}

    def test_bf16_is_for_all_resolutions(self):
        for network in networks():
            compute.set_precision(network, "bf16")
            assert set(dtypes(network).values()) == {torch.bfloat16}
            compute.set_precision(network, "fp32")
            assert set(dtypes(network).values()) == {None}

    @pytest.mark.parametrize(("num_fp16_res", "expected"), [(0, []), (2, [32, 64]), (4, [8, 16, 32, 64])])
    def test_fp16_is_for_the_highest_resolutions(self, num_fp16_res, expected):
        for network in networks(num_fp16_res):
            compute.set_precision(network, "fp16")
            assert sorted(r for r, dtype in dtypes(network).items() if dtype == torch.float16) == expected

    def test_fp16_never_reaches_4x4(self):
        for network in networks(num_fp16_res=9, resolution=16):
            compute.set_precision(network, "fp16")
            assert sorted(r for r, dtype in dtypes(network).items() if dtype == torch.float16) == [8, 16]

    def test_an_unknown_one(self):
        with pytest.raises(ValueError, match="precision is one of fp32, bf16, fp16, got 'int8'"):
            compute.set_precision(networks()[0], "int8")

    def test_parameters_images_and_logits_stay_float32(self):
        G, D = networks()
        before = {name: p.clone() for name, p in G.named_parameters()}
        for network in (G, D):
            compute.set_precision(network, "bf16")
        z, c = torch.randn(4, 16), torch.eye(2).repeat(2, 1)
        images = G(z, c)
        logits = D(images, c)
        logits.sum().backward()
        assert images.dtype == logits.dtype == torch.float32
        for name, p in [*G.named_parameters(), *D.named_parameters()]:
            assert p.dtype == torch.float32 and p.grad.dtype == torch.float32, name
        assert all(torch.equal(p, before[name]) for name, p in G.named_parameters())


@pytest.mark.parametrize("choice", ["auto", "reference"])
def test_bf16_gradients_point_where_float32_ones_do(choice):
    """Of both phases with second derivatives, R1 and path length: the angle between the gradients of all parameters."""
    G, D = networks(resolution=16)
    for network in (G, D):
        compute.set_kernels(network, choice)
    z, c = torch.randn(8, 16), torch.eye(2).repeat(4, 1)
    found = {}
    for precision in ("fp32", "bf16"):
        for network in (G, D):
            compute.set_precision(network, precision)
        images = torch.linspace(-1, 1, 8 * 256).reshape(8, 1, 16, 16).sin().requires_grad_()
        (by_image,) = torch.autograd.grad(D(images, c).sum(), images, create_graph=True)
        ws = G.mapping(z, c)
        (by_w,) = torch.autograd.grad((G.synthesis(ws, "const") * images.detach()).sum(), ws, create_graph=True)
        loss = by_image.square().sum() + by_w.square().sum([1, 2]).sqrt().mean() * 1e-2
        parameters = [*D.parameters(), *G.parameters()]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        found[precision] = [torch.zeros(1) if g is None else g.flatten() for g in gradients]
    whole = {precision: torch.cat(gradients) for precision, gradients in found.items()}
    assert torch.cosine_similarity(whole["fp32"], whole["bf16"], 0) > 0.99


def test_set_kernels_reaches_every_user():
    G, D = networks()
    for network in (G, D):
        compute.set_kernels(network, "reference")
        users = [part for part in network.modules() if isinstance(part, KernelUser)]
        assert len(users) > 10 and {part.kernels for part in users} == {"reference"}


def test_kernels_and_precision_are_not_in_the_state():
    G, _ = networks()
    names = set(G.state_dict())
    compute.set_precision(G, "bf16")
    compute.set_kernels(G, "reference")
    assert set(G.state_dict()) == names
