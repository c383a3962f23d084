"""Protocols of a downstream run: what is trained on, what chooses the epoch, when the test is looked at; going on."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_ext.classifier import load_classifier
from spine_ext.classifier_training import Training
from spine_ext.default_run import NOTICE
from spine_ext.downstream import run
from spine_ext.downstream.folder import STATE
from spine_ext.downstream.predictions import read_predictions
from spine_ext.downstream.run import CLASSIFIER, PREDICTIONS, DownstreamSettings, TrainingSets, run_downstream
from stylegan2ada.errors import UserError
from stylegan2ada.run_folder import locked
from tests.toy_images import ToyImages

REAL = ToyImages([0, 1] * 8, studies=[index // 4 for index in range(16)])
FAKES = ToyImages([0, 1] * 6, seed=4, name="fakes")
TEST = ToyImages([0, 1] * 5, seed=9, name="test")
QUICK = DownstreamSettings(epochs=2, batch_size=4, weights="random", precision="fp32", validation_fraction=0.25)

PROTOCOLS = {
    "real": TrainingSets(REAL),
    "real and synthetic": TrainingSets(REAL, FAKES),
    "synthetic": TrainingSets(None, FAKES),
    "synthetic pre-training, then real": TrainingSets(REAL, FAKES, "pretrain"),
}


def images_of(dataset: ToyImages) -> set[bytes]:
    return {dataset[index][0].tobytes() for index in range(len(dataset))}


@dataclasses.dataclass
class Watched(ToyImages):
    """Raises when an image is asked for before `open` is set."""

    open: bool = False

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        assert self.open, "a test image was read before all training was over"
        return super().__getitem__(index)


@dataclasses.dataclass
class Seen:
    """Pixels per phase that trained, and that chose the epoch."""

    trained: list[set[bytes]]
    chose: list[set[bytes]]
    rates: list[float]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen = Seen([], [], [])
    start, step, validate = Training.__init__, Training.step, Training.validate

    def started(run: Training, classifier, fitted, held_out, settings, progress) -> None:
        start(run, classifier, fitted, held_out, settings, progress)
        seen.trained.append(set())
        seen.chose.append(set())
        seen.rates.append(settings.learning_rate)

    def stepped(run: Training, pixels: torch.Tensor, labels: torch.Tensor, place: str) -> float:
        seen.trained[-1].update(image.numpy().tobytes() for image in pixels)
        return step(run, pixels, labels, place)

    def validated(run: Training) -> tuple[float, float]:
        pixels, _ = run.held_out.batch(torch.arange(len(run.held_out)))
        seen.chose[-1].update(image.numpy().tobytes() for image in pixels)
        return validate(run)

    monkeypatch.setattr(Training, "__init__", started)
    monkeypatch.setattr(Training, "step", stepped)
    monkeypatch.setattr(Training, "validate", validated)
    return seen


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_uses_the_images_that_it_says(
    protocol: str, seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = Watched([0, 1] * 5, seed=9, name="test")
    trained = run._trained

    def over(*arguments: object) -> tuple:
        found = trained(*arguments)
        test.open = True
        return found

    monkeypatch.setattr(run, "_trained", over)
    result = run_downstream(PROTOCOLS[protocol], test, QUICK, tmp_path)

    real, fakes = images_of(REAL), images_of(FAKES)
    for trained_on, chose in zip(seen.trained, seen.chose, strict=True):
        assert chose and not trained_on & chose
        assert chose <= (fakes if protocol == "synthetic" else real)
    if protocol == "synthetic pre-training, then real":
        assert seen.trained[0] == fakes and seen.trained[1] <= real
        assert seen.chose[0] == seen.chose[1]
        assert seen.rates == pytest.approx([1e-3, 1e-4])
    else:
        (trained_on,) = seen.trained
        assert bool(trained_on & real) == ("real" in protocol)
        assert bool(trained_on & fakes) == ("synthetic" in protocol)
        assert fakes <= trained_on | seen.chose[0] or protocol == "real"
    assert result.results["protocol"] == protocol
    of = "synthetic" if protocol == "synthetic" else "real"
    by = "image" if protocol == "synthetic" else "study"
    assert result.results["validation"] == {"images": len(seen.chose[0]), "of": of, "by": by}
    assert result.results["test_images_in_training"] == 0


def test_the_result_is_that_of_its_files(tmp_path: Path) -> None:
    result = run_downstream(PROTOCOLS["real"], TEST, QUICK, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", CLASSIFIER, PREDICTIONS, "results.json"]
    predictions = read_predictions(tmp_path / PREDICTIONS)
    positives, negatives = (predictions.probabilities[predictions.classes == label, 1] for label in (1, 0))
    pairs = np.sign(positives[:, None] - negatives[None])
    assert result.auc == pytest.approx((pairs.mean() + 1) / 2)
    assert result.low <= result.auc <= result.high
    best = max(result.results["history"], key=lambda epoch: (epoch["validation_auc"], -epoch["validation_loss"]))
    assert (result.best_epoch, result.validation_auc) == (best["epoch"], best["validation_auc"])
    classifier = load_classifier(tmp_path / CLASSIFIER)
    assert classifier.provenance.test_auc == result.auc
    assert classifier.provenance.training["protocol"] == "real"
    assert not classifier.provenance.phantom


def test_notices_are_carried(tmp_path: Path) -> None:
    training = TrainingSets(dataclasses.replace(REAL, notice=NOTICE), FAKES)
    result = run_downstream(training, TEST, dataclasses.replace(QUICK, epochs=1), tmp_path)
    assert result.results["notes"] == [NOTICE]
    assert load_classifier(tmp_path / CLASSIFIER).provenance.phantom


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("protocol", "steps"), [("real", 4), ("synthetic pre-training, then real", 10)])
def test_a_stopped_run_ends_as_if_it_had_never_stopped(
    protocol: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spine_ext.downstream.folder.SAVING_SHARE", float("inf"))  # after every epoch
    calls = []

    def progress(done: int, total: int, note: str) -> None:
        calls.append(done)
        if len(calls) == steps:
            raise Killed

    with pytest.raises(Killed):
        run_downstream(PROTOCOLS[protocol], TEST, QUICK, tmp_path / "stopped", progress=progress)
    assert (tmp_path / "stopped" / STATE).exists()
    torch.manual_seed(77)  # another process
    lines = []
    run_downstream(PROTOCOLS[protocol], TEST, QUICK, tmp_path / "stopped", log=lines.append)
    assert "goes on after epoch 1 of 2" in lines[0]
    run_downstream(PROTOCOLS[protocol], TEST, QUICK, tmp_path / "whole")
    for name in (PREDICTIONS, CLASSIFIER):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "stopped" / STATE).exists()


def test_a_finished_folder_gives_its_result_and_trains_nothing(tmp_path: Path, seen: Seen) -> None:
    first = run_downstream(PROTOCOLS["real"], TEST, QUICK, tmp_path)
    trained = len(seen.trained)
    assert run_downstream(PROTOCOLS["real"], Watched(TEST.classes, seed=9, name="test"), QUICK, tmp_path) == first
    assert len(seen.trained) == trained


@pytest.mark.parametrize(
    ("training", "test", "settings", "named"),
    [
        (TrainingSets(REAL), TEST, dataclasses.replace(QUICK, seed=1), "seed"),
        (TrainingSets(REAL), TEST, dataclasses.replace(QUICK, learning_rate=0.01), "learning rate"),
        (TrainingSets(REAL, FAKES), TEST, QUICK, "synthetic images"),
        (TrainingSets(dataclasses.replace(REAL, seed=5)), TEST, QUICK, "real images"),
        (TrainingSets(dataclasses.replace(REAL, studies=None)), TEST, QUICK, "real images"),
        (TrainingSets(REAL), dataclasses.replace(TEST, seed=5), QUICK, "test images"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    training: TrainingSets, test: ToyImages, settings: DownstreamSettings, named: str, tmp_path_factory, done: Path
) -> None:
    with pytest.raises(UserError, match=f"holds a run with other {named}: give another folder"):
        run_downstream(training, test, settings, done)


def test_results_of_another_version_are_one_line(done: Path, tmp_path: Path) -> None:
    results = json.loads((done / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(results | {"per_class": [0.5]}))
    with pytest.raises(UserError, match=r"results.json is not of this version: remove it"):
        run_downstream(TrainingSets(REAL), TEST, QUICK, tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done")
    run_downstream(TrainingSets(REAL), TEST, QUICK, folder)
    return folder


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="another process is training in this folder"):
        run_downstream(TrainingSets(REAL), TEST, QUICK, tmp_path)


def test_what_a_killed_process_had_begun_to_write_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".{CLASSIFIER}.0a1b2c3d.tmp").write_bytes(b"half")
    run_downstream(TrainingSets(REAL), TEST, dataclasses.replace(QUICK, epochs=1), tmp_path)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_damaged_state_is_one_line(tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(b"\x08" + bytes(100))
    with pytest.raises(UserError, match=r"is damaged .*; remove it to start again"):
        run_downstream(TrainingSets(REAL), TEST, QUICK, tmp_path)


def test_what_does_not_fit_is_refused_before_anything() -> None:
    with pytest.raises(UserError, match="toy has images of 32 px, fakes of 64"):
        TrainingSets(REAL, dataclasses.replace(FAKES, resolution=64))
    with pytest.raises(UserError, match="no images to train on"):
        TrainingSets()
    with pytest.raises(UserError, match="give both"):
        TrainingSets(REAL, order="pretrain")
    with pytest.raises(UserError, match="the threshold is"):
        DownstreamSettings(threshold=1.5)
    with pytest.raises(UserError, match="epochs is 0"):
        DownstreamSettings(epochs=0)
