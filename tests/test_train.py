"""train.py as a user types it: a mistake is one line and leaves nothing behind; its settings; real runs."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner, Result

import generate
import train
from spine_ext.classifier import SpineClassifier, load_classifier, save_classifier
from spine_ext.default_run import NOTICE, PHANTOM_CLASSIFIER_EPOCHS, PHANTOM_SCALE
from stylegan2ada import load
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.ops import kernels
from stylegan2ada.ops.kernels.unavailable import KernelsUnavailable
from tests.toy_images import write_toy_zip

FLAGS = {
    "--outdir", "--gpus", "--snap", "--keep", "--tick", "--metrics", "--detector", "--metrics-process",
    "--seed", "--dry-run", "-n", "--device",
    "--data", "--test", "--cond", "--subset", "--mirror", "--phantom-train", "--phantom-test", "--cache-dir",
    "--cfg", "--gamma", "--kimg", "--batch", "--batch-gpu", "--channel-base", "--channel-max", "--latent",
    "--ema-kimg", "--lr", "--pl-weight", "--style-mixing",
    "--gamma-clinical", "--clinical-reduction", "--classifier", "--classifier-epochs",
    "--aug", "--p", "--target", "--augpipe", "--resume", "--freezed",
    "--precision", "--kernels", "--cuda-graphs", "--fp32", "--nhwc", "--nobench", "--allow-tf32", "--workers",
}  # fmt: skip

# A network of a few thousand weights, for a few steps.
TINY = "--channel-base=64 --channel-max=4 --latent=4 --kimg=0.016 --tick=0.008 --batch=4 --workers=0".split()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Small data sets: toy.zip and test.zip (two classes, 32 px), lesions.zip (three), plain.zip (no labels)."""
    folder = tmp_path_factory.mktemp("files")
    write_toy_zip(folder / "toy.zip", [0, 1] * 10)
    write_toy_zip(folder / "test.zip", [0, 1] * 5, seed=1)
    write_toy_zip(folder / "lesions.zip", [0, 1, 2] * 4, ["none", "osteophyte", "implant"])
    write_toy_zip(folder / "normal-only.zip", [0] * 6)
    with DatasetWriter(folder / "plain.zip") as writer:
        for _ in range(4):
            writer.add(np.zeros((32, 32), np.uint8), None)
    (folder / "garbage.zip").write_bytes(b"PK\x03\x04 but no zip")
    (folder / "empty").mkdir()
    for name, size in {"oblong": (32, 16), "odd": (48, 48)}.items():
        (folder / name).mkdir()
        PIL.Image.new("L", size).save(folder / name / "image.png")
    (folder / "broken").mkdir()
    for index in range(8):
        PIL.Image.effect_noise((32, 32), 50).save(folder / "broken" / f"{index}.png")
    whole = (folder / "broken" / "5.png").read_bytes()
    (folder / "broken" / "5.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def classifier(files) -> Path:
    torch.manual_seed(0)
    save_classifier(SpineClassifier(["normal", "abnormal"], 32), files / "classifier.safetensors")
    return files / "classifier.safetensors"


def run(*arguments: object, outdir: Path) -> Result:
    places = ["--outdir", outdir, "--cache-dir", outdir.parent / "cache", "--device", "cpu"]
    return CliRunner().invoke(train.main, [str(argument) for argument in (*places, *arguments)])


def assert_mistake(result: Result, outdir: Path, *parts: str) -> None:
    """Exit code 2, one line that names what is wrong, and no run folder."""
    assert result.exit_code == 2, result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.output
    assert result.output.endswith(errors[0] + "\n")
    for part in parts:
        assert part in errors[0]
    assert not outdir.exists() or not list(outdir.iterdir())


def test_the_list_of_flags_is_frozen():
    """A new flag is a decision: write it down here, in the guide and in the changelog."""
    found = {name for option in train.main.params for name in (*option.opts, *option.secondary_opts)}
    assert found == FLAGS


def test_help_is_readable():
    result = CliRunner().invoke(train.main, ["--help"])
    assert result.exit_code == 0
    assert all(len(line) <= 110 for line in result.output.splitlines())
    assert all(flag in result.output for flag in FLAGS)


def test_help_tells_the_phantoms_scale():
    """Every "[...; phantom X]" of the help is what a run on the phantom takes."""
    told = {option.name: re.search(r"phantom (\S+)\]", option.help) for option in train.main.params}
    told = {name: found[1] for name, found in told.items() if found}
    scale = dataclasses.asdict(PHANTOM_SCALE) | {"classifier_epochs": PHANTOM_CLASSIFIER_EPOCHS}
    assert len(told) >= 8
    for name, text in told.items():
        assert text == (scale[name] if isinstance(scale[name], str) else f"{scale[name]:g}"), name


class TestDryRun:
    def plan(self, *arguments: object, outdir: Path) -> dict:
        result = run(*arguments, "--dry-run", outdir=outdir)
        assert result.exit_code == 0, result.output
        assert not outdir.exists()
        assert not (outdir.parent / "cache").exists()
        return json.loads(result.output)

    @pytest.mark.parametrize("cfg", ["auto", "stylegan2", "paper256", "paper512", "paper1024", "cifar"])
    def test_official_configurations(self, files, tmp_path, cfg):
        plan = self.plan("--cfg", cfg, "--data", files / "toy.zip", outdir=tmp_path / "runs")
        training = plan["training"]
        assert plan["clinical_term"]["gamma"] == 0
        assert training["data"]["num_classes"] == 0, "unconditional unless --cond=1 is given"
        assert training["data"]["num_images"] == 20
        assert training["total_kimg"] == (100000 if cfg == "cifar" else 25000)
        assert training["augment"]["pipe"] == "bgc"

    @pytest.mark.parametrize(
        ("cfg", "data", "gamma", "classes", "kimg"),
        [
            ("spinegan", "toy.zip", 0.01, ["normal", "abnormal"], 4200),
            ("stylegan2-ada", "toy.zip", 0, ["normal", "abnormal"], 4200),
            ("multiconditional", "lesions.zip", 0, ["none", "osteophyte", "implant"], 1200),
        ],
    )
    def test_the_papers_configurations(self, files, tmp_path, cfg, data, gamma, classes, kimg):
        plan = self.plan("--cfg", cfg, "--data", files / data, outdir=tmp_path / "runs")
        training = plan["training"]
        assert plan["clinical_term"] == {"gamma": gamma, "reduction": "mean"}
        assert training["data"]["class_names"] == classes
        assert training["total_kimg"] == kimg
        assert (training["augment"]["mode"], training["augment"]["pipe"]) == ("ada", "bgcfnc")
        assert training["augment"]["target"] == 0.6
        assert training["kimg_per_tick"] * training["snapshot_ticks"] == 200
        assert training["batch_size"] == 32  # the automatic configuration at 32 px on one GPU

    @pytest.mark.parametrize(("cfg", "classes"), [("spinegan", 2), ("stylegan2-ada", 2), ("multiconditional", 8)])
    def test_without_data_it_is_the_phantom_at_its_small_scale(self, tmp_path, cfg, classes):
        plan = self.plan("--cfg", cfg, outdir=tmp_path / "runs")
        assert "not clinical data" in plan["data"]
        assert plan["training"]["data"]["num_classes"] == classes
        assert plan["training"]["data"]["resolution_px"] == 64
        assert plan["training"]["network"]["channel_base"] <= 4096
        assert plan["training"]["total_kimg"] < 100

    def test_options_given_win_over_the_phantoms_scale(self, tmp_path):
        plan = self.plan(
            "--cfg=spinegan", "--gamma-clinical=0.05", "--clinical-reduction=sum", "--kimg=3", "--batch=8", "--seed=5",
            "--aug=fixed", "--p=0.2", "--augpipe=radiograph", "--gamma=2", outdir=tmp_path / "runs",
        )  # fmt: skip
        training = plan["training"]
        assert plan["clinical_term"] == {"gamma": 0.05, "reduction": "sum"}
        assert (training["total_kimg"], training["batch_size"], training["seed"]) == (3, 8, 5)
        assert training["augment"]["mode"] == "fixed"
        assert (training["augment"]["p"], training["augment"]["pipe"]) == (0.2, "radiograph")
        assert training["loss"]["r1_gamma"] == 2

    def test_subset_and_mirror(self, files, tmp_path):
        plan = self.plan("--data", files / "toy.zip", "--subset=6", "--mirror=1", outdir=tmp_path / "runs")
        assert plan["training"]["data"]["num_images"] == 12
        assert (plan["training"]["data"]["subset"], plan["training"]["data"]["mirror"]) == (6, True)


MISTAKES = {
    "missing data": (["--data=nowhere.zip"], ["nowhere.zip"]),
    "unreadable zip": (["--data={files}/garbage.zip"], ["garbage.zip"]),
    "no images": (["--data={files}/empty"], ["empty", "no images"]),
    "not square": (["--data={files}/oblong"], ["32x16", "square"]),
    "not a power of two": (["--data={files}/odd"], ["48x48", "power of two"]),
    "no labels": (["--data={files}/plain.zip", "--cond=1"], ["plain.zip", "label"]),
    "no labels for the paper": (["--data={files}/plain.zip", "--cfg=spinegan"], ["plain.zip", "label"]),
    "too large a subset": (["--data={files}/toy.zip", "--subset=21"], ["21", "20"]),
    "no process": (["--gpus=0"], ["--gpus", "0"]),
    "an unknown metric": (["--metrics=fid50k_full,fud50k"], ["'fud50k'", "fid50k_full"]),
    "no metric": (["--metrics="], ["--metrics="]),
    "batch and groups": (["--data={files}/toy.zip", "--batch=6"], ["--batch 6", "multiple"]),
    "micro-batches": (["--data={files}/toy.zip", "--batch=8", "--batch-gpu=3"], ["--batch-gpu 3", "8 images"]),
    "micro-batches and groups": (["--data={files}/toy.zip", "--batch=8", "--batch-gpu=2"], ["--batch 8", "of 4"]),
    "batch of one": (["--data={files}/toy.zip", "--batch=1"], ["--batch 1"]),
    "the private variant": (["--cfg=dp"], ["--cfg=dp", "spinegan"]),
    "an unknown configuration": (["--cfg=stylegan3"], ["stylegan3", "spinegan"]),
    "no learning rate": (["--lr=0"], ["--lr", "0"]),
    "a style mixing above 1": (["--style-mixing=2"], ["--style-mixing", "2"]),
    "negative gamma": (["--gamma=-1"], ["--gamma", "-1"]),
    "gamma is no number": (["--gamma=nan"], ["--gamma", "nan"]),
    "negative clinical gamma": (["--cfg=spinegan", "--gamma-clinical=-0.1"], ["--gamma-clinical", "-0.1"]),
    "clinical gamma is no number": (["--cfg=spinegan", "--gamma-clinical=nan"], ["--gamma-clinical", "nan"]),
    "clinical gamma without labels": (["--cfg=auto", "--gamma-clinical=0.01"], ["--gamma-clinical=0.01", "--cond=1"]),
    "a test set without labels": (["--data={files}/toy.zip", "--test={files}/test.zip"], ["--test", "--cond=1"]),
    "a classifier without labels": (["--cfg=spinegan", "--cond=0", "--classifier=c.safetensors"], ["c.safetensors"]),
    "p without fixed": (["--p=0.5", "--aug=ada"], ["--p 0.5", "--aug=fixed"]),
    "fixed without p": (["--aug=fixed"], ["--aug=fixed", "--p"]),
    "p above one": (["--aug=fixed", "--p=1.5"], ["--p", "1.5"]),
    "a target without ADA": (["--aug=noaug", "--target=0.5"], ["--target 0.5", "--aug=ada"]),
    "a pipe that the phantom does not use": (["--cfg=spinegan", "--augpipe=bgc"], ["--augpipe=bgc", "--aug=ada"]),
    "an unknown pipe": (["--augpipe=bgcx"], ["bgcx", "bgcfnc"]),
    "no kimg": (["--kimg=0"], ["--kimg", "0"]),
    "endless": (["--kimg=inf"], ["--kimg", "inf"]),
    "no tick": (["--tick=0"], ["--tick", "0"]),
    "no snapshots": (["--snap=0"], ["--snap", "0"]),
    "negative seed": (["--seed=-1"], ["--seed", "-1"]),
    "negative workers": (["--data={files}/toy.zip", "--workers=-1"], ["--workers", "-1"]),
    "no feature map": (["--data={files}/toy.zip", "--channel-base=16"], ["--channel-base 16", "32"]),
    "negative freeze": (["--freezed=-2"], ["--freezed", "-2"]),
    "missing network": (["--data={files}/toy.zip", "--resume=gone.safetensors"], ["gone.safetensors"]),
    "a network that is none": (["--data={files}/toy.zip", "--resume={files}/garbage.zip"], ["garbage.zip"]),
    "a network that cannot be fetched": (
        ["--data={files}/toy.zip", "--resume=http://127.0.0.1:9/network.pkl"],
        ["http://127.0.0.1:9/network.pkl", "put that file"],
    ),
    "an unknown flag": (["--gama=1"], ["--gama"]),
    "no boolean": (["--cond=perhaps"], ["perhaps"]),
    "a word for a number": (["--batch=many"], ["many"]),
}


@pytest.mark.parametrize(("arguments", "parts"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_a_mistake_is_one_line(files, tmp_path, arguments, parts, dry_run):
    arguments = [argument.format(files=files) for argument in arguments]
    result = run(*arguments, *(["--dry-run"] if dry_run else []), outdir=tmp_path / "runs")
    assert_mistake(result, tmp_path / "runs", *parts)
    assert not (tmp_path / "cache").exists(), "refused before any phantom is drawn"


def _no_kernels(device):
    raise KernelsUnavailable("not built")


class TestMistakesSeenWhenDataIsRead:
    def test_a_broken_image(self, files, tmp_path):
        result = run("--data", files / "broken", *TINY, outdir=tmp_path / "runs")
        assert_mistake(result, tmp_path / "runs", "5.png")

    def test_a_classifier_of_other_classes(self, files, classifier, tmp_path):
        result = run("--cfg=spinegan", "--data", files / "lesions.zip", "--classifier", classifier, *TINY,
                     outdir=tmp_path / "runs")  # fmt: skip
        assert_mistake(result, tmp_path / "runs", "2 classes (normal, abnormal)", "3 classes", "lesions.zip")

    @pytest.mark.parametrize("name", ["nothing.safetensors", "garbage.zip"])
    def test_a_classifier_that_is_none(self, files, tmp_path, name):
        result = run("--cfg=spinegan", "--data", files / "toy.zip", "--classifier", files / name, *TINY,
                     outdir=tmp_path / "runs")  # fmt: skip
        assert_mistake(result, tmp_path / "runs", name)

    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("lesions.zip", "classes"),
            ("plain.zip", "label"),
            ("normal-only.zip", "no image of abnormal"),
            ("nothing.zip", "nothing.zip"),
        ],
    )
    def test_a_test_set_that_does_not_fit(self, files, classifier, tmp_path, name, part):
        result = run("--cfg=spinegan", "--data", files / "toy.zip", "--classifier", classifier, "--test", files / name,
                     *TINY, outdir=tmp_path / "runs")  # fmt: skip
        assert_mistake(result, tmp_path / "runs", part)

    def test_a_cache_dir_that_cannot_be_is_refused_before_any_work(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        result = run("--cfg=spinegan", "--cache-dir", tmp_path / "file" / "below", outdir=tmp_path / "runs")
        assert_mistake(result, tmp_path / "runs", f"--cache-dir {tmp_path}/file/below", "choose another")

    def test_fused_kernels_that_are_not_there_are_missed_before_any_work(self, tmp_path, monkeypatch):
        monkeypatch.setitem(kernels.LOADERS, "cpu", _no_kernels)
        kernels._load.cache_clear()
        try:
            result = run("--cfg=spinegan", "--kernels=fused", outdir=tmp_path / "runs")
        finally:
            kernels._load.cache_clear()
        assert_mistake(result, tmp_path / "runs", "--kernels fused: not built")
        assert not (tmp_path / "cache").exists()

    def test_an_outdir_that_is_a_file(self, files, tmp_path):
        (tmp_path / "runs").write_text("")
        result = run("--data", files / "toy.zip", *TINY, outdir=tmp_path / "runs")
        assert result.exit_code == 2
        assert "--outdir" in result.output.splitlines()[-1]


def test_a_mistake_in_a_process_of_its_own(tmp_path, repository_dir):
    """Exactly one line on stderr, nothing on stdout."""
    command = [sys.executable, "train.py", "--data", "nowhere.zip", "--outdir", str(tmp_path / "runs")]
    result = subprocess.run(command, cwd=repository_dir, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "nowhere.zip" in result.stderr
    assert not (tmp_path / "runs").exists()


def only_run(outdir: Path) -> Path:
    (folder,) = outdir.iterdir()
    return folder


def snapshot_tensors(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("network-snapshot-*.safetensors")
    snapshot = load(path)
    modules = {"G": snapshot.generator_raw, "D": snapshot.discriminator, "G_ema": snapshot.generator}
    return {f"{part}/{name}": value for part, module in modules.items() for name, value in module.state_dict().items()}


class TestRuns:
    def test_a_network_file_does_not_say_where_things_lie(self, files, classifier, tmp_path):
        """It is for sharing; folders tell of people and machines."""
        first = run("--data", files / "toy.zip", *TINY, outdir=tmp_path / "first")
        assert first.exit_code == 0, first.output
        source = only_run(tmp_path / "first") / "network-snapshot-000000.safetensors"
        options = ["--cfg=spinegan", "--data", files / "toy.zip", "--classifier", classifier, "--resume", source, *TINY]
        assert run(*options, outdir=tmp_path / "second").exit_code == 0
        folder = only_run(tmp_path / "second")
        for path in (*folder.glob("network-snapshot-*"), folder / "classifier.safetensors"):
            for place in (files, tmp_path):
                assert str(place).encode() not in path.read_bytes(), path

    def test_plain_training_on_a_zip(self, files, tmp_path):
        result = run("--data", files / "toy.zip", *TINY, outdir=tmp_path / "runs")
        assert result.exit_code == 0, result.output
        folder = only_run(tmp_path / "runs")
        assert folder.name == "00000-toy-auto-batch4"
        assert load(folder / "network-snapshot-000000.safetensors").config.data.path == "toy.zip"
        assert not (folder / "classifier.safetensors").exists()

    def test_what_a_dataset_says_of_itself_stays_with_the_networks_and_their_images(self, files, tmp_path):
        write_toy_zip(tmp_path / "phantom.zip", [0, 1] * 4, notice=NOTICE)
        assert run("--data", tmp_path / "phantom.zip", *TINY, outdir=tmp_path / "runs").exit_code == 0
        network = only_run(tmp_path / "runs") / "network-snapshot-000000.safetensors"
        assert load(network).config.notes == (NOTICE,)
        arguments = ["--network", network, "--seeds", "0-1", "--outdir", tmp_path / "fakes.zip"]
        result = CliRunner().invoke(generate.main, [str(argument) for argument in arguments])
        assert NOTICE in result.output
        assert ImageDataset(tmp_path / "fakes.zip").notice == NOTICE

    def test_gamma_zero_is_plain_stylegan2_ada_bit_for_bit(self, files, classifier, tmp_path):
        """Even with a classifier at hand that judges the snapshots."""
        zero = ["--cfg=spinegan", "--gamma-clinical=0"]
        runs = {
            "plain": ["--cfg=stylegan2-ada"],
            "zero": zero,
            "judged": [*zero, "--classifier", classifier, "--test", files / "test.zip"],
            "clinical": ["--cfg=spinegan", "--gamma-clinical=1", "--classifier", classifier],
        }
        tensors = {}
        for name, arguments in runs.items():
            result = run("--data", files / "toy.zip", *arguments, *TINY, "--snap=1", outdir=tmp_path / name)
            assert result.exit_code == 0, result.output
            tensors[name] = snapshot_tensors(only_run(tmp_path / name))

        def same(first: str, second: str) -> bool:
            assert tensors[first].keys() == tensors[second].keys()
            return all(torch.equal(value, tensors[second][key]) for key, value in tensors[first].items())

        assert same("plain", "zero")
        assert same("plain", "judged")
        assert not same("plain", "clinical")
        folder = only_run(tmp_path / "judged")
        lines = (folder / "metric-frechet_classifier.jsonl").read_text().splitlines()
        assert len(lines) == 2, "one per snapshot"
        assert np.isfinite(json.loads(lines[-1])["results"]["frechet_classifier"])
        assert (folder / json.loads(lines[-1])["snapshot_pkl"]).is_file()
        results = json.loads((folder / "results.json").read_text())
        assert {"trained", "untrained", "real_training_images"} <= results.keys()
        assert results["trained"] == json.loads(lines[-1])["results"], "both are of the last snapshot"
        statistics = (only_run(tmp_path / "clinical") / "stats.jsonl").read_text().splitlines()
        assert all("Loss/G/clinical" in json.loads(line) for line in statistics)

    def test_a_test_set_is_used_without_a_clinical_term_too(self, files, classifier, tmp_path, monkeypatch):
        """The closing numbers of the baseline; its first training images, sorted by class, are all of one."""
        write_toy_zip(tmp_path / "sorted.zip", [0] * 16 + [1] * 4)
        trained = (load_classifier(classifier), [])
        monkeypatch.setattr("spine_ext.training_run.train_classifier", lambda *_, **__: trained)
        result = run("--cfg=stylegan2-ada", "--data", tmp_path / "sorted.zip", "--test", files / "test.zip", *TINY,
                     outdir=tmp_path / "runs")  # fmt: skip
        assert result.exit_code == 0, result.output
        results = json.loads((only_run(tmp_path / "runs") / "results.json").read_text())
        assert 0 <= results["real_training_images"]["auc"] <= 1
        assert 0 <= results["trained"]["auc"] <= 1

    def test_a_second_run_gets_the_next_number_and_may_start_from_the_first(self, files, tmp_path):
        run("--data", files / "toy.zip", *TINY, outdir=tmp_path / "runs")
        first = only_run(tmp_path / "runs") / "network-snapshot-000000.safetensors"
        result = run("--data", files / "toy.zip", *TINY, "--resume", first, "--freezed=2", outdir=tmp_path / "runs")
        assert result.exit_code == 0, result.output
        (second,) = (tmp_path / "runs").glob("00001-*")
        ours = load(second / "network-snapshot-000000.safetensors")
        assert ours.config.augment.ada_kimg == 100
        frozen, before = ours.discriminator.b32.fromrgb, load(first).discriminator.b32.fromrgb
        assert torch.equal(frozen.weight, before.weight)
        assert not torch.equal(ours.discriminator.b32.conv1.weight, load(first).discriminator.b32.conv1.weight)

    def test_a_nan_ends_the_run_with_one_line(self, files, tmp_path):
        """The gradient penalty blows up."""
        result = run("--data", files / "toy.zip", *TINY, "--gamma=1e38", outdir=tmp_path / "runs")
        assert result.exit_code == 1
        last = result.output.splitlines()[-1]
        assert last.startswith("Error: training stopped at step ")
        assert "R1 regularisation" in last
        assert "is not finite" in last


@pytest.mark.slow
def test_the_main_job_at_the_smallest_scale(tmp_path, repository_dir):
    """Phantom, conversion, classifier, GAN, closing numbers; the second run reuses what the first has made."""
    command = [
        sys.executable, "train.py", "--cfg=spinegan", "--gamma-clinical=0.01", "--phantom-train=60",
        "--phantom-test=40", "--classifier-epochs=1", "--kimg=0.064", "--tick=0.032", "--device=cpu",
        "--cache-dir", str(tmp_path / "cache"), "--outdir", str(tmp_path / "runs"),
    ]  # fmt: skip
    results = [subprocess.run(command, cwd=repository_dir, capture_output=True, text=True) for _ in range(2)]
    for result in results:
        assert result.returncode == 0, result.stderr
        assert "not clinical data" in result.stdout
    assert "60 training and 40 test phantoms" in results[0].stdout
    assert "from an earlier run" in results[1].stdout
    first, second = sorted((tmp_path / "runs").iterdir())
    for name in ("training_options.json", "log.txt", "stats.jsonl", "reals.png", "fakes_init.png", "fakes000000.png",
                 "network-snapshot-000000.safetensors", "classifier.safetensors", "metric-frechet_classifier.jsonl",
                 "results.json"):  # fmt: skip
        assert (first / name).is_file(), name
    ours, again = snapshot_tensors(first), snapshot_tensors(second)
    assert all(torch.equal(value, again[name]) for name, value in ours.items())
    with PIL.Image.open(first / "reals.png") as image:
        assert image.mode == "L"
