"""Official detectors, by small TorchScript files that are called as these are."""

from pathlib import Path

import pytest
import torch

from metrics import official
from metrics.errors import MetricError
from metrics.official import INCEPTION, VGG16, open_inception, open_script, open_vgg16
from tests.metrics.toy_sources import ToyInception, ToyVgg16, save_script

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory) -> Path:
    return save_script(ToyInception(), tmp_path_factory.mktemp("scripts") / "toy-inception.pt")


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory) -> Path:
    return save_script(ToyVgg16(), tmp_path_factory.mktemp("scripts") / "toy-vgg16.pt")


def test_inception_is_called_as_the_official_numbers_want_it(inception_file):
    found = open_inception(inception_file, CPU, named_by_user=True)
    pixels = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(found.features(pixels), ToyInception()(pixels, return_features=True))
    probabilities = found.probabilities(pixels)
    torch.testing.assert_close(probabilities, ToyInception()(pixels, no_output_bias=True))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
    assert (found.features.name, found.probabilities.name) == ("inception", "inception classes")
    assert found.features.sha256 == official.hash_of_named(inception_file)


def test_vgg16_is_called_as_the_official_numbers_want_it(vgg16_file):
    found = open_vgg16(vgg16_file, CPU, named_by_user=True)
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(found.features(pixels), pixels.float().mean(dim=3).flatten(1))
    torch.testing.assert_close(found.perceptual(pixels.float()), pixels.float().flatten(1) / 8)


def test_perceptual_features_are_of_images_of_256_px_at_most(vgg16_file):
    found = open_vgg16(vgg16_file, CPU, named_by_user=True)
    images = torch.rand(1, 3, 512, 512) * 255
    by_area = images.view(1, 3, 256, 2, 256, 2).mean(dim=(3, 5))
    torch.testing.assert_close(found.perceptual(images), by_area.flatten(1) / 256)
    assert found.perceptual(images[..., :256, :256]).shape == (1, 3 * 256 * 256)


def test_known_hashes():
    assert INCEPTION.sha256 == "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
    assert VGG16.sha256 == "b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3"
    assert all(file.url.startswith("https://") for file in (INCEPTION, VGG16))


def test_a_file_of_another_hash_is_not_opened_unless_the_user_names_it(inception_file, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(MetricError, match=r"is not the official file: its SHA-256 is .* delete it and fetch https://"):
        open_inception(inception_file, CPU)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "damaged or no TorchScript file"), (b"PK\x03\x04 half a zip", "damaged or no TorchScript file")],
)
def test_damaged_files_raise(tmp_path, data, message):
    path = tmp_path / "inception.pt"
    path.write_bytes(data)
    with pytest.raises(MetricError, match=message):
        open_inception(path, CPU, named_by_user=True)


def test_a_file_cut_short_raises(inception_file, tmp_path):
    path = tmp_path / "cut.pt"
    path.write_bytes(inception_file.read_bytes()[:-200])
    with pytest.raises(MetricError, match="damaged or no TorchScript file"):
        open_script(path, CPU)


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(MetricError, match=r"no-such\.pt cannot be read: No such file"):
        open_script(tmp_path / "no-such.pt", CPU)


def test_another_network_in_the_place_of_an_official_one_raises(inception_file, vgg16_file):
    with pytest.raises(MetricError, match="is no such detector: "):
        open_vgg16(inception_file, CPU, named_by_user=True)
    with pytest.raises(MetricError, match="is no such detector: "):
        open_inception(vgg16_file, CPU, named_by_user=True)


class Flat(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(dim=(2, 3))


class Wrong(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float()


def test_any_script_of_features(tmp_path):
    found = open_script(save_script(Flat(), tmp_path / "flat.pt"), CPU)
    assert found.name == "flat"
    assert found(torch.full([2, 3, 4, 4], 7, dtype=torch.uint8)).tolist() == [[7.0] * 3] * 2


def test_a_script_of_something_else_raises_at_once(tmp_path):
    with pytest.raises(MetricError, match=r"wrong should give \(N,D\), not \(2, 3, 64, 64\)"):
        open_script(save_script(Wrong(), tmp_path / "wrong.pt"), CPU)
