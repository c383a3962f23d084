"""Features: their distances are what they say, they carry gradients, and a foreign program is only opened by name."""

import warnings
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from stylegan2ada.errors import UserError
from stylegan2ada.perceptual import distance, load_vgg16, normalised_maps, pixel_pyramid

CPU = torch.device("cpu")


class TestPixelPyramid:
    def test_distance_is_the_mean_over_scales_of_the_mean_squared_difference(self):
        a, b = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
        expected = torch.zeros(2)
        for factor in (1, 2, 4):
            difference = functional.avg_pool2d(a, factor) - functional.avg_pool2d(b, factor)
            expected += difference.square().mean(dim=(1, 2, 3)) / 3
        torch.testing.assert_close(distance(pixel_pyramid(a), pixel_pyramid(b)), expected)

    @pytest.mark.parametrize("side", [4, 8, 64])
    def test_largest_distance_is_four(self, side):
        black, white = -torch.ones(1, 1, side, side), torch.ones(1, 1, side, side)
        assert distance(pixel_pyramid(black), pixel_pyramid(white)).item() == pytest.approx(4)

    def test_a_shift_of_noise_costs_more_than_a_shift_of_shapes(self):
        """What the coarse scales are for: fine detail in the wrong place is no reason to lose the shape."""
        noise = torch.randn(1, 1, 64, 64)
        shape = functional.interpolate(torch.randn(1, 1, 4, 4), size=64, mode="bicubic")
        ratio = [distance(pixel_pyramid(x), pixel_pyramid(x.roll(1, -1))) / x.var() for x in (noise, shape)]
        assert ratio[0] > 10 * ratio[1]


def test_normalised_maps_compare_directions():
    """By hand: one position, channels (3, 4) against (4, 3); lengths and the number of positions do not matter."""
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([40.0, 30.0])
    maps = [x.view(1, 2, 1, 1).expand(1, 2, size, size) for size in (1, 5) for x in (a, b)]
    found = distance(normalised_maps([maps[0], maps[2]]), normalised_maps([maps[1], maps[3]]))
    assert found.item() == pytest.approx(2 * (2 * 0.2**2))


class StandIn(torch.nn.Module):
    """Takes what the official vgg16.pt takes: RGB in 0..255."""

    def forward(self, images: torch.Tensor, resize_images: bool = True, return_lpips: bool = False) -> torch.Tensor:
        if resize_images or not return_lpips or images.shape[1] != 3:
            return images
        return images.mean(dim=[2, 3])


class Other(torch.nn.Module):
    """Takes other images than those of the search, and tells no gradient."""

    def forward(self, images: torch.Tensor, resize_images: bool = True, return_lpips: bool = False) -> torch.Tensor:
        if images.shape[3] < 64:
            raise RuntimeError("64 pixels are needed")
        return images.mean(dim=[2, 3]).detach()


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(StandIn()).save(str(tmp_path / "vgg16.pt"))
    return tmp_path / "vgg16.pt"


class TestVgg16:
    def test_sees_bytes_in_color(self, stand_in):
        features = load_vgg16(stand_in, CPU)
        greys = torch.tensor([-1.0, 0.0, 127 / 127.5]).view(3, 1, 1, 1)
        images = greys.expand(-1, 1, 512, 512).clone().requires_grad_()
        found = features(images)
        torch.testing.assert_close(found, torch.tensor([[0.5], [128.0], [255.0]]).expand(-1, 3))
        found.sum().backward()
        assert images.grad.abs().sum() > 0

    @pytest.mark.parametrize("name", ["none.pt", "https://example.com/vgg16.pt"])
    def test_is_never_fetched(self, name):
        with pytest.raises(UserError, match=r"no such file; fetch https://nvlabs.*vgg16\.pt and give the path"):
            load_vgg16(name, CPU)

    @pytest.mark.parametrize(("side_px", "message"), [(32, "64 pixels are needed"), (64, "with gradients")])
    def test_other_programs(self, tmp_path, side_px, message):
        """Found when they are opened, not in the middle of the search."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.script(Other()).save(str(tmp_path / "other.pt"))
        with pytest.raises(UserError, match=rf"other.pt is not the official vgg16.pt: .*{message}") as raised:
            load_vgg16(tmp_path / "other.pt", CPU, side_px)
        assert "\n" not in str(raised.value)

    def test_other_files(self, tmp_path):
        (tmp_path / "a.pt").write_bytes(b"rubbish")
        torch.save({"a": 1}, tmp_path / "b.pt")
        for name in ("a.pt", "b.pt"):
            with pytest.raises(UserError, match=rf"{name} is not the official vgg16.pt") as raised:
                load_vgg16(tmp_path / name, CPU)
            assert "\n" not in str(raised.value)
