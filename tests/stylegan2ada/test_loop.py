"""The training loop on tiny networks: its files, its reproducibility, its extension points, and how it stops."""

import dataclasses
import itertools
import json
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import safetensors.numpy
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stylegan2ada import execution_choice, load, loop
from stylegan2ada.checkpoint import without_folders
from stylegan2ada.config import (
    AugmentConfig,
    OptimizerConfig,
    config_from_dict,
)
from stylegan2ada.cuda_graphs import CudaGraphs, run_eagerly
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.loop import SnapshotEvent, plain_update
from stylegan2ada.optimizer_steps import SkippingSteps
from stylegan2ada.run_folder import create_run_folder, run_folder
from stylegan2ada.updates import EAGER, DiscriminatorStep, Execution, GeneratorTerm, PlainDiscriminatorUpdate
from tests.stylegan2ada.tiny_runs import SIDE, run, tiny_settings, write_squares


@pytest.fixture(scope="module")
def data_zip(tmp_path_factory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares.zip")


@pytest.fixture(scope="module")
def dataset(data_zip) -> ImageDataset:
    return ImageDataset(data_zip, use_labels=True)


def stats(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def tensors(path: Path) -> dict[str, torch.Tensor]:
    snapshot = load(path)
    parts = {
        "G": snapshot.generator_raw, "D": snapshot.discriminator, "G_ema": snapshot.generator,
        "augment_pipe": snapshot.augment_pipe,
    }  # fmt: skip
    return {f"{part}/{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def same(first: Path, second: Path) -> bool:
    ours, theirs = tensors(first), tensors(second)
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory) -> Path:
    """The snapshot of one run with the settings as they are."""
    return run(tiny_settings(dataset), dataset, tmp_path_factory.mktemp("runs") / "run")


class TestRunFolder:
    def test_files(self, finished):
        names = {path.name for path in finished.parent.iterdir()}
        events = {name for name in names if name.startswith("events.out.tfevents.")}
        assert len(events) == 1
        assert names - events == {
            "training_options.json", "log.txt", "stats.jsonl", "reals.png", "fakes_init.png", "fakes000000.png",
            "network-snapshot-000000.safetensors",
            "training-state-000000032.safetensors", "training-state-000000040.safetensors",
        }  # fmt: skip

    def test_options_rebuild_the_settings(self, finished, dataset):
        stored = json.loads((finished.parent / "training_options.json").read_text())
        assert config_from_dict(stored) == tiny_settings(dataset)
        assert load(finished).config == without_folders(tiny_settings(dataset))

    def test_stats(self, finished):
        """A line per tick: 40 images in batches of 4, a tick every 16."""
        lines = stats(finished.parent)
        assert [line["Progress/tick"] for line in lines] == [1, 2, 3]
        assert [line["Progress/kimg"] for line in lines] == [0.016, 0.032, 0.04]
        for line in lines:
            for name in ("Loss/G/loss", "Loss/D/loss", "Loss/scores/real", "Loss/scores/fake", "Progress/augment",
                         "Timing/sec_per_kimg", "Timing/total_sec", "timestamp"):  # fmt: skip
                assert np.isfinite(line[name]), name
            assert -1 <= line["Loss/signs/real"] <= 1
        assert "Loss/D/r1_penalty" in lines[0]
        assert "Loss/G/path_length" in lines[0]

    def test_tensorboard_has_the_same_numbers(self, finished):
        events = EventAccumulator(str(finished.parent)).Reload()
        scalars = events.Scalars("Loss/D/loss")
        assert [scalar.step for scalar in scalars] == [16, 32, 40]
        expected = [line["Loss/D/loss"] for line in stats(finished.parent)]
        assert [scalar.value for scalar in scalars] == pytest.approx(expected)

    def test_grids_are_grey_with_rows_by_class(self, finished, dataset):
        for name in ("reals.png", "fakes_init.png", "fakes000000.png"):
            with PIL.Image.open(finished.parent / name) as image:
                assert image.mode == "L"
                assert image.size == (12 * SIDE, 6 * SIDE)
        with PIL.Image.open(finished.parent / "reals.png") as image:
            rows = np.array(image).reshape(6, SIDE, 12, SIDE).mean(axis=(1, 2, 3))
        assert rows[0] < rows[3] - 50, "dark images stand in the upper rows, bright ones below"

    def test_log(self, finished):
        lines = (finished.parent / "log.txt").read_text().splitlines()
        assert [line.split()[1] for line in lines if line.startswith("tick")] == ["1", "2", "3"]

    def test_ada_follows_the_real_logits_and_is_saved(self, dataset, tmp_path):
        """All logits positive: every 4 steps p grows by 16 images over 0.1 kimg. Ticks end after steps 4, 8 and 10."""
        path = run(tiny_settings(dataset), dataset, tmp_path / "run", make_update=SureUpdate)
        assert [line["Progress/augment"] for line in stats(path.parent)] == pytest.approx([0.16, 0.32, 0.32])
        assert load(path).augment_pipe.p.item() == pytest.approx(0.32)

    def test_the_average_lags_behind(self, finished):
        snapshot = load(finished)
        average, network = snapshot.generator, snapshot.generator_raw
        assert not torch.equal(average.synthesis.b4.conv1.weight, network.synthesis.b4.conv1.weight)
        assert torch.equal(average.mapping.w_avg, network.mapping.w_avg)

    def test_with_a_ramp_the_average_starts_at_the_network_after_its_first_step(self, dataset, tmp_path):
        """The ramp counts the images of earlier steps, of which there are none: the initial weights are forgotten."""
        path = run(tiny_settings(dataset, ema_rampup=0.05, total_kimg=0.004), dataset, tmp_path / "run")
        ours = tensors(path)
        names = [name.removeprefix("G/") for name in ours if name.startswith("G/")]
        assert all(torch.equal(ours[f"G/{name}"], ours[f"G_ema/{name}"]) for name in names)


class TestReproducibility:
    def test_the_same_seed_gives_the_same_run_bit_for_bit(self, finished, dataset, tmp_path):
        torch.manual_seed(99)  # whatever happened before in this process
        again = run(tiny_settings(dataset), dataset, tmp_path / "again")
        assert same(again, finished)
        timeless = [
            {name: value for name, value in line.items() if not name.startswith(("Timing", "timestamp"))}
            for folder in (again.parent, finished.parent)
            for line in stats(folder)
        ]
        assert timeless[:3] == timeless[3:]
        for name in ("reals.png", "fakes_init.png", "fakes000000.png"):
            assert (again.parent / name).read_bytes() == (finished.parent / name).read_bytes()

    def test_another_seed_gives_another_run(self, finished, dataset, tmp_path):
        other = run(tiny_settings(dataset, seed=4), dataset, tmp_path / "other")
        ours, theirs = tensors(other), tensors(finished)
        weights = [name for name in ours if name.endswith("weight")]
        assert not any(torch.equal(ours[name], theirs[name]) for name in weights)
        assert (other.parent / "reals.png").read_bytes() != (finished.parent / "reals.png").read_bytes()

    def test_snapshots_and_watchers_do_not_disturb_the_run(self, finished, dataset, tmp_path):
        """Fewer snapshots, and a watcher that draws images: the networks end up the same."""

        def watch(event):
            event.generator(torch.zeros(2, 4), torch.eye(2), noise_mode="const")

        quiet = run(tiny_settings(dataset, snapshot_ticks=50), dataset, tmp_path / "quiet", on_snapshot=[watch])
        assert same(quiet, finished)


class TestTerms:
    def test_weight_zero_is_the_plain_run_bit_for_bit(self, finished, dataset, tmp_path):
        def never(images, labels):
            raise AssertionError("a term of weight 0 is not computed")

        path = run(tiny_settings(dataset), dataset, tmp_path / "zero", terms=[GeneratorTerm("off", 0.0, never)])
        assert same(path, finished)

    def test_a_term_changes_the_generator_and_is_reported(self, finished, dataset, tmp_path):
        term = GeneratorTerm("brightness", 1.0, lambda images, labels: images.mean([1, 2, 3]))
        path = run(tiny_settings(dataset), dataset, tmp_path / "term", terms=[term])
        assert not same(path, finished)
        assert all("Loss/G/brightness" in line for line in stats(path.parent))


class TestOnSnapshot:
    def test_what_a_callable_gets(self, dataset, tmp_path):
        events = []

        def watch(event: SnapshotEvent) -> None:
            assert event.path.is_file(), "the snapshot is on disk before anyone is told"
            assert not event.generator.training
            assert not any(p.requires_grad for p in event.generator.parameters())
            events.append((event.kimg, event.path.name, event.run_dir))
            event.log(f"seen {event.kimg}")

        config = tiny_settings(dataset, kimg_per_tick=1, total_kimg=2.5, batch_size=500, snapshot_ticks=2)
        config = dataclasses.replace(
            config, network=dataclasses.replace(config.network, channel_max=1), augment=AugmentConfig("noaug")
        )
        run(config, dataset, tmp_path / "run", on_snapshot=[watch])
        assert events == [
            (2.0, "network-snapshot-000002.safetensors", tmp_path / "run"),
            (2.5, "network-snapshot-000002.safetensors", tmp_path / "run"),
        ]
        assert "seen 2.0" in (tmp_path / "run" / "log.txt").read_text()


class SureUpdate:
    """A discriminator update that only claims that all real images look real."""

    def __init__(self, D, augment, real_batches, config):
        self.real_batches = real_batches

    def step(self, draw_fakes) -> DiscriminatorStep:
        images, _ = next(self.real_batches)
        return DiscriminatorStep(len(images), torch.ones(len(images), 1), {})

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


class VaryingUpdate:
    """A discriminator update of another kind: draws its own batches, of 1, 2, 3 and no images; reports nothing."""

    def __init__(self, D, augment, real_batches, config):
        self.D, self.sizes = D, itertools.cycle([1, 2, 3, 0])
        self.images, self.labels = next(real_batches)
        self.optimizer = torch.optim.SGD(D.parameters(), lr=1e-3)

    def step(self, draw_fakes) -> DiscriminatorStep:
        size = next(self.sizes)
        images, c = self.images[:size], self.labels[:size]
        logits = torch.zeros(0, 1)
        if size:
            fakes, fake_c = draw_fakes(size)
            logits = self.D(images, c)
            self.optimizer.zero_grad()
            (self.D(fakes, fake_c) - logits).mean().backward()
            self.optimizer.step()
        return DiscriminatorStep(size, logits.detach(), {"Loss/D/gap": logits.detach().flatten()})

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


class TestDiscriminatorUpdate:
    def test_the_plain_update_is_the_default(self, finished, dataset, tmp_path):
        assert same(run(tiny_settings(dataset), dataset, tmp_path / "run", make_update=plain_update), finished)

    def test_batches_of_varying_size_and_other_reports(self, dataset, tmp_path):
        path = run(tiny_settings(dataset), dataset, tmp_path / "run", make_update=VaryingUpdate)
        lines = stats(path.parent)
        assert lines[-1]["Progress/kimg"] == pytest.approx(0.04, abs=0.003)
        assert [line["Progress/kimg"] for line in lines[:2]] == pytest.approx([0.016, 0.032], abs=0.003)
        assert "Loss/D/gap" in lines[0]
        initial = run(tiny_settings(dataset, total_kimg=0.001), dataset, tmp_path / "short", make_update=VaryingUpdate)
        assert not torch.equal(tensors(path)["D/b4.out.weight"], tensors(initial)["D/b4.out.weight"])


class PoisonAfter:
    """A term that is NaN from the given call on."""

    def __init__(self, calls: int):
        self.left = calls

    def __call__(self, images, labels):
        self.left -= 1
        return images.mean([1, 2, 3]) * (float("nan") if self.left < 0 else 0.0)


class TestNonFinite:
    def test_a_nan_stops_the_run_and_keeps_the_last_snapshot(self, dataset, tmp_path):
        term = GeneratorTerm("bad", 1.0, PoisonAfter(5))
        with pytest.raises(NonFiniteError) as error:
            run(tiny_settings(dataset), dataset, tmp_path / "run", terms=[term])
        message = str(error.value)
        assert message.startswith("training stopped at step 5 (0.0 kimg): generator loss: the gradient of synthesis.b4")
        assert message.endswith("is not finite")
        (path,) = (tmp_path / "run").glob("network-snapshot-*.safetensors")
        assert load(path).kimg == 0.016
        assert all(value.isfinite().all() for value in tensors(path).values())
        assert len(stats(tmp_path / "run")) == 1

    def test_in_the_discriminator(self, dataset, tmp_path):
        def make_update(D, augment, real_batches, config):
            poisoned = ((images * float("nan"), labels) for images, labels in real_batches)
            return PlainDiscriminatorUpdate(D, augment, poisoned, config.loss, config.optimizer)

        with pytest.raises(NonFiniteError, match=r"step 0 .*: discriminator loss: the gradient of b16\."):
            run(tiny_settings(dataset), dataset, tmp_path / "run", make_update=make_update)
        assert not list((tmp_path / "run").glob("network-snapshot-*"))


class TestSnapshotsInTheBackground:
    def test_a_full_disk_stops_the_run_at_the_next_tick(self, dataset, tmp_path, monkeypatch):
        def fail(tensors, path, metadata):
            raise OSError("disk full")

        monkeypatch.setattr(safetensors.numpy, "save_file", fail)
        with pytest.raises(OSError, match="disk full"):
            run(tiny_settings(dataset), dataset, tmp_path / "run")
        assert len(stats(tmp_path / "run")) < 3
        assert not list((tmp_path / "run").glob("*network-snapshot*"))

    def test_a_full_disk_at_the_end_is_no_success(self, dataset, tmp_path, monkeypatch):
        def fail_late(tensors, path, metadata):
            time.sleep(0.3)
            raise OSError("disk full")

        monkeypatch.setattr(safetensors.numpy, "save_file", fail_late)
        with pytest.raises(OSError, match="disk full"):
            run(tiny_settings(dataset, snapshot_ticks=50), dataset, tmp_path / "run")

    def test_the_last_one_is_on_disk_when_the_run_returns(self, dataset, tmp_path, monkeypatch):
        write = safetensors.numpy.save_file

        def write_late(tensors, path, metadata):
            time.sleep(0.3)
            write(tensors, path, metadata)

        monkeypatch.setattr(safetensors.numpy, "save_file", write_late)
        assert run(tiny_settings(dataset, snapshot_ticks=50), dataset, tmp_path / "run").is_file()


class TestExecution:
    """Which way the phases run; the backend of CUDA graphs is replaced, since it needs a GPU."""

    @pytest.fixture
    def choose(self, dataset, monkeypatch):
        monkeypatch.setattr(execution_choice, "CudaBackend", lambda device: None)
        self.lines = []

        def choose(device="cuda", terms=(), **changes):
            config = tiny_settings(dataset, **changes)
            return execution_choice.choose_execution(config, torch.device(device), terms, self.lines.append)

        return choose

    def test_a_cpu_looks_before_every_step(self, choose):
        assert choose("cpu") == (EAGER, EAGER, None)

    def test_cuda_records_all_phases_and_shares_the_counters(self, choose):
        for_G, for_D, skips = choose()
        assert for_G is for_D
        assert isinstance(for_G.run_phase, CudaGraphs)
        assert for_G.optimizer_step is skips

    def test_without_graphs_the_device_still_counts_what_it_leaves_out(self, choose):
        for_G, for_D, skips = choose(cuda_graphs=False)
        assert (for_G.run_phase, for_D.run_phase) == (run_eagerly, run_eagerly)
        assert for_G.optimizer_step is for_D.optimizer_step is skips

    @pytest.mark.parametrize(("precision", "tolerated"), [("fp32", 0), ("bf16", 0), ("fp16", 9)])
    def test_only_float16_may_leave_steps_out(self, choose, precision, tolerated):
        assert choose(precision=precision)[2]._tolerated == tolerated

    def test_a_term_that_does_not_say_it_is_safe_keeps_the_generator_from_being_recorded(self, choose):
        for_G, for_D, _ = choose(terms=[GeneratorTerm("mine", 1.0, lambda images, labels: images.mean([1, 2, 3]))])
        assert for_G.run_phase is run_eagerly
        assert isinstance(for_D.run_phase, CudaGraphs)
        (line,) = self.lines
        assert "the term mine is not marked cuda_graph_safe" in line

    def test_a_term_that_says_so_or_weighs_nothing_does_not(self, choose):
        def safe(images, labels):
            return images.mean([1, 2, 3])

        safe.cuda_graph_safe = True
        terms = [GeneratorTerm("safe", 1.0, safe), GeneratorTerm("off", 0.0, lambda images, labels: 0)]
        assert isinstance(choose(terms=terms)[0].run_phase, CudaGraphs)
        assert self.lines == []


class TestSkippedSteps:
    """The way of CUDA on a CPU: bad steps are left out and counted until the tick."""

    def run(self, dataset, folder, monkeypatch, bad_calls, tolerated) -> Path:
        skips = SkippingSteps(tolerated)
        execution = Execution(optimizer_step=skips)
        monkeypatch.setattr(loop, "choose_execution", lambda *inputs: (execution, execution, skips))
        calls = itertools.count()

        def now_and_then(images, labels):
            return images.mean([1, 2, 3]) * (float("nan") if next(calls) in bad_calls else 1.0)

        return run(tiny_settings(dataset), dataset, folder, terms=[GeneratorTerm("bad", 1.0, now_and_then)])

    def test_without_tolerance_the_tick_stops_the_run(self, dataset, tmp_path, monkeypatch):
        with pytest.raises(NonFiniteError, match=r"training stopped at step 3 .*: generator loss: .* in 1 steps"):
            self.run(dataset, tmp_path / "run", monkeypatch, {1}, tolerated=0)
        assert not list((tmp_path / "run").glob("network-snapshot*"))

    def test_with_tolerance_they_are_reported_and_the_networks_stay_good(self, dataset, tmp_path, monkeypatch):
        path = self.run(dataset, tmp_path / "run", monkeypatch, {1, 2, 9}, tolerated=2)
        lines = stats(path.parent)
        assert [line["Skipped/generator_loss"] for line in lines] == [2, 0, 1]
        assert [line["Loss/G/bad"] is None for line in lines] == [True, False, True]
        assert [line["Skipped/R1_regularisation"] for line in lines] == [0, 0, 0]
        assert all(value.isfinite().all() for value in tensors(path).values())


class TestResume:
    def test_transfer_starts_from_the_other_runs_networks(self, finished, dataset, tmp_path):
        config = tiny_settings(dataset, resume=str(finished), seed=8, total_kimg=0.004, ema_kimg=1e9)
        config = dataclasses.replace(config, optimizer=OptimizerConfig(1e-12))  # too little to move anything
        path = run(config, dataset, tmp_path / "run")
        ours, theirs = tensors(path), tensors(finished)
        for name in ("G/synthesis.b16.conv0.weight", "D/b16.conv0.weight", "G_ema/synthesis.b16.conv0.weight"):
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-5)
        assert "0 left at their initial values" in (path.parent / "log.txt").read_text()
        assert load(path).augment_pipe.p.item() == 0

    def test_a_file_that_is_none_raises(self, dataset, tmp_path):
        with pytest.raises(UserError, match="there is no network file nothing"):
            run(tiny_settings(dataset, resume="nothing"), dataset, tmp_path / "run")


@pytest.mark.parametrize("mode", ["noaug", "fixed"])
@pytest.mark.parametrize("labels", [False, True], ids=["unconditional", "conditional"])
def test_other_settings_train(data_zip, tmp_path, labels, mode):
    dataset = ImageDataset(data_zip, use_labels=labels)
    augment = AugmentConfig(mode, "bgcfnc", 0.5 if mode == "fixed" else 0.0)
    path = run(tiny_settings(dataset, augment=augment, total_kimg=0.012), dataset, tmp_path / "run")
    assert load(path).generator.c_dim == (2 if labels else 0)
    assert stats(path.parent)[-1]["Progress/augment"] == augment.p


class TestFolders:
    def test_numbers_go_on(self, tmp_path):
        names = [create_run_folder(tmp_path, name).name for name in ("a", "b")]
        (tmp_path / "00007-old").mkdir()
        (tmp_path / "notes").mkdir()
        assert [*names, create_run_folder(tmp_path, "c").name] == ["00000-a", "00001-b", "00008-c"]

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "taken").write_text("")
        with pytest.raises(UserError, match=r"--outdir .*taken cannot be written"):
            create_run_folder(tmp_path / "taken", "a")

    def test_a_mistake_leaves_no_folder_unless_there_are_statistics(self, tmp_path):
        for ticks in (0, 1):
            with pytest.raises(UserError, match="oops"), run_folder(tmp_path, "a") as folder:
                (folder / "log.txt").write_text("")
                (folder / "stats.jsonl").write_text("{}\n" * ticks)
                raise UserError("oops")
            assert len(list(tmp_path.iterdir())) == ticks
