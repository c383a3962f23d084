"""Detectors by the text of an option: what is opened, and what is not."""

from pathlib import Path

import pytest
import torch

from metrics import choosing, official
from metrics.choosing import choose_detectors
from metrics.errors import MetricError
from metrics.names import parse_metrics
from tests.metrics.toy_sources import ToyInception, ToyVgg16, save_script

PIXELS = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)


class ToyClassifier:
    name, sha256 = "toy-classifier", "c" * 64

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().flatten(1)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 2), 0.5)


class Place:
    """Where detectors come from; notes what was wanted."""

    def __init__(self, folder: Path):
        self.inception = save_script(ToyInception(), folder / "inception-2015-12-05.pt")
        self.vgg16 = save_script(ToyVgg16(), folder / "vgg16.pt")
        self.fetched: list[str] = []
        self.classifiers: list[str | None] = []

    def fetch(self, file: official.OfficialFile) -> Path:
        self.fetched.append(file.name)
        return getattr(self, file.name)

    def classifier(self, path: str | None) -> ToyClassifier:
        self.classifiers.append(path)
        return ToyClassifier()

    def choose(self, metrics: str, text: str):
        return choose_detectors(parse_metrics(metrics), text, torch.device("cpu"), self.fetch, self.classifier)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    """Here the toy files are the official ones."""
    place = Place(tmp_path)
    for name in ("INCEPTION", "VGG16"):
        file = getattr(official, name)
        known = official.OfficialFile(file.name, file.url, official.hash_of_named(getattr(place, file.name)))
        monkeypatch.setattr(official, name, known)
        monkeypatch.setattr(choosing, name, known)
    return place


@pytest.mark.parametrize(
    ("metrics", "fetched"),
    [
        ("fid5k_full,kid5k_full", ["inception"]),
        ("is5k", ["inception"]),
        ("pr5k3_full", ["vgg16"]),
        ("dc5k5_full,ppl2_wend", ["vgg16"]),
        ("pr5k3_full,fid5k", ["inception", "vgg16"]),
    ],
)
def test_auto_fetches_what_the_metrics_need(place, metrics, fetched):
    detectors = place.choose(metrics, "auto")
    assert place.fetched == fetched
    for request in parse_metrics(metrics):
        assert detectors.of(request).name.startswith(fetched[0] if len(fetched) == 1 else ("inception", "vgg16"))


def test_auto_gives_each_metric_the_official_detector(place):
    found = place.choose("fid5k,pr5k3,is5k,ppl2_wend", "auto")
    assert found.distribution.name == "inception"
    assert found.manifold.name == "vgg16"
    assert found.probabilities.name == "inception classes"
    assert found.perceptual.name == "vgg16 lpips"


def test_inception_for_all_features(place):
    found = place.choose("fid5k,pr5k3", "inception")
    assert place.fetched == ["inception"]
    assert found.manifold is found.distribution


def test_local_copies_are_not_fetched(place, tmp_path):
    odd = tmp_path / "a,b=c.pt"
    odd.write_bytes(place.vgg16.read_bytes())
    found = place.choose("fid5k,pr5k3", f"inception={place.inception},vgg16={odd}")
    assert place.fetched == []
    assert (found.distribution.name, found.manifold.name) == ("inception", "vgg16")
    place.choose("fid5k,pr5k3", f"inception={place.inception}")
    assert place.fetched == ["vgg16"]


def test_a_copy_of_an_official_file_is_known_by_its_hash(place, tmp_path):
    copy = tmp_path / "renamed.pt"
    copy.write_bytes(place.inception.read_bytes())
    found = place.choose("fid5k,is5k", str(copy))
    assert (found.distribution.name, found.probabilities.name) == ("inception", "inception classes")
    assert place.fetched == []


def test_another_script_serves_all_metrics_of_features(place, tmp_path):
    class Flat(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.float().mean(dim=(2, 3))

    found = place.choose("fid5k,pr5k3", str(save_script(Flat(), tmp_path / "own.pt")))
    assert found.distribution is found.manifold
    assert found.distribution.name == "own"
    with pytest.raises(MetricError, match="is5k: its detector has to give probabilities of classes"):
        found.of(parse_metrics("is5k")[0])


@pytest.mark.parametrize(
    ("text", "path"), [("classifier:my file.safetensors", "my file.safetensors"), ("classifier", None)]
)
def test_classifiers(place, text, path):
    found = place.choose("fid5k,pr5k3,is5k", text)
    assert place.classifiers == [path]
    assert place.fetched == []
    assert found.distribution is found.manifold
    assert found.probabilities(PIXELS).tolist() == [[0.5, 0.5]] * 2
    assert found.probabilities.sha256 == "c" * 64
    assert found.perceptual is None


@pytest.mark.parametrize("text", ["", "clip", "vgg16", "inception=", "inception=a.pt,clip=b.pt"])
def test_other_texts_raise(place, text):
    with pytest.raises(MetricError, match=r"choose auto, inception, classifier:FILE|there is no file"):
        place.choose("fid5k", text)


def test_a_missing_file_raises(place):
    with pytest.raises(MetricError, match=r"there is no file gone\.pt"):
        place.choose("fid5k", "inception=gone.pt")
    with pytest.raises(MetricError, match=r"gone\.pt cannot be read"):
        place.choose("fid5k", "gone.pt")
