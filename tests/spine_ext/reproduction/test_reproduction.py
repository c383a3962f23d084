"""The whole reproduction on toy images: every kind of step, killed and gone on with."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from spine_ext.reproduction.gan_steps import BASELINE, Bench, gan_step
from spine_ext.reproduction.materials import DataFiles
from spine_ext.reproduction.preset import PAPER, PHANTOM
from spine_ext.reproduction.run import Reproduction, check_same_reproduction
from spine_ext.reproduction.steps import Outcome, Step, StepPlace, StepStore
from stylegan2ada.errors import NonFiniteError, UserError
from tests.toy_images import write_toy_zip

from .tiny_reproduction import TINY, tiny_reproduction, write_data

KILLS = int(os.environ.get("KILLS", "3"))
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def results(outdir: Path) -> dict[str, dict]:
    """Of every step, without what depends on the clock."""
    found = {}
    for path in sorted((outdir / "steps").glob("*.json")):
        result = json.loads(path.read_text())["result"]
        result.pop("training_sec", None)
        for line in result.get("stats", ()):
            line.pop("Timing/sec_per_kimg")
        found[path.stem] = result
    return found


def test_a_part_needs_only_its_own_steps(data: Path, tmp_path: Path) -> None:
    reproduction = tiny_reproduction(data, tmp_path, ("table2",))
    names = [cost.name for cost in reproduction.costs()]
    assert "metrics-spinegan-seed1" in names
    assert "judge-classifier" in names
    assert not [name for name in names if name.startswith(("auc-only", "fakes", "agreement"))]


def test_everything_but_what_the_paper_has_not(data: Path, tmp_path: Path) -> None:
    reproduction = tiny_reproduction(data, tmp_path)
    kinds = {name.split("-")[0] for name in reproduction.wanted}
    assert kinds == {"metrics", "auc", "samples", "agreement"}
    assert not [name for name in reproduction.wanted if name.startswith("auc-pretrain")]
    assert tiny_reproduction(data, tmp_path, ("pretraining",)).wanted


def test_another_preset_in_the_same_folder_is_refused(data: Path, tmp_path: Path) -> None:
    reproduction = tiny_reproduction(data, tmp_path)
    (tmp_path / "reproduction.json").write_text(json.dumps(reproduction.settings()))
    check_same_reproduction(reproduction)
    with pytest.raises(UserError, match=r"with kimg 0\.064, not 1: give another --outdir"):
        gan = dataclasses.replace(reproduction.preset.gan, kimg=1)
        check_same_reproduction(with_preset(reproduction, gan=gan))


def test_seeds_may_be_added_but_not_taken_away(data: Path, tmp_path: Path) -> None:
    reproduction = tiny_reproduction(data, tmp_path)
    (tmp_path / "reproduction.json").write_text(json.dumps(reproduction.settings()))
    check_same_reproduction(with_preset(reproduction, seeds=3))
    with pytest.raises(UserError, match="with seeds 2, not 1"):
        check_same_reproduction(with_preset(reproduction, seeds=1))


def test_other_images_in_the_same_folder_are_refused(data: Path, tmp_path: Path) -> None:
    """Else their results would stand in one report, and what was trained on the first ones be removed."""
    reproduction = tiny_reproduction(data, tmp_path)
    reproduction.store.run("data", print)
    check_same_reproduction(tiny_reproduction(data, tmp_path))
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (other / "train.zip").unlink()
    write_toy_zip(other / "train.zip", [0, 1] * 16, seed=9)
    with pytest.raises(UserError, match=r"other images or options \(data\)"):
        check_same_reproduction(tiny_reproduction(other, tmp_path))


def test_a_network_draws_its_phantoms_where_only_results_came_along(data: Path, tmp_path: Path) -> None:
    """Results of another machine say that the images are there; its cache did not come with them."""

    class Drawn(Exception):
        pass

    class Phantoms(DataFiles):
        def prepare(self, log: object) -> None:
            raise Drawn

    phantoms = Phantoms(tmp_path / "train.zip", tmp_path / "test.zip")
    step = gan_step(BASELINE, 0, TINY, 1.0, phantoms, Bench(tmp_path, torch.device("cpu")))
    with pytest.raises(Drawn):
        step.work(StepPlace(tmp_path, {}, {}, print))


def with_preset(reproduction: Reproduction, **values: object) -> Reproduction:
    return dataclasses.replace(reproduction, preset=dataclasses.replace(reproduction.preset, **values))


class Bakery:
    """`flour`, `bread` of it, and `salad`; what is in `failing` fails."""

    def __init__(self, folder: Path, failing: tuple[str, ...]) -> None:
        self.failing = failing
        steps = [self.step("flour"), self.step("bread", ("flour",)), self.step("salad")]
        self.reproduction = Reproduction(TINY, StepStore(folder, steps), [step.name for step in steps])

    def step(self, name: str, needs: tuple[str, ...] = ()) -> Step:
        def work(place: StepPlace) -> Outcome:
            if name in self.failing:
                raise NonFiniteError(f"the loss of {name} is nan")
            return Outcome({})

        return Step(name, "kitchen", {}, work, needs)


def test_a_step_that_fails_stops_only_what_needs_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"flour failed, and 1 more steps .*: the loss of flour is nan"):
        Bakery(tmp_path, ("flour",)).reproduction.run(print)
    assert [path.stem for path in (tmp_path / "steps").glob("*.json")] == ["salad"]
    assert (tmp_path / "report.html").exists()
    Bakery(tmp_path, ()).reproduction.run(print)
    assert len(list((tmp_path / "steps").glob("*.json"))) == 3


def test_a_report_made_anew_elsewhere_does_not_claim_the_work(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    Bakery(tmp_path, ()).reproduction.run(print)
    first = {"python": "2.7", "machine": {"cores": 64}}
    path.write_text(json.dumps(first))
    Bakery(tmp_path, ()).reproduction.run(print)
    assert json.loads(path.read_text()) == first, "nothing was left to do"
    (tmp_path / "steps" / "salad.json").unlink()
    for _ in range(2):
        Bakery(tmp_path, ()).reproduction.run(print)
    now = json.loads(path.read_text())
    assert now["python"] != "2.7"
    assert now["earlier"] == [first]


@pytest.mark.parametrize("preset", [PAPER, PHANTOM])
def test_presets_agree_with_themselves(preset) -> None:
    tick_kimg = preset.gan.tick or 4
    ticks = preset.gan.kimg / tick_kimg
    assert ticks % preset.gan.snap == 0, "the last snapshot is the end of the run"
    snapshot_kimg = tick_kimg * preset.gan.snap
    assert preset.ablation_kimg % snapshot_kimg == 0, "the other networks have a snapshot to compare with"


def test_the_paper_preset_is_as_published() -> None:
    assert (PAPER.gan.kimg, PAPER.multi_kimg, PAPER.ablation_kimg) == (4200, 1200, 200)
    assert (PAPER.gan.target or 0.6, PAPER.gan.augpipe, PAPER.epochs, PAPER.term_epochs) == (0.6, "bgcfnc", 30, 19)
    assert PAPER.counts == {500: 500, 1600: 1600, 10_000: 10_000}


@pytest.mark.slow
def test_killed_at_random_it_ends_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    """Kill -9 at any moment, the same command again: the same results as without, but for times."""
    whole = tmp_path / "whole"
    program = [sys.executable, "-m", "tests.spine_ext.reproduction.tiny_reproduction", str(data)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    subprocess.run([*program, str(whole)], cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    duration_sec = time.monotonic() - started
    killed, moments = tmp_path / "killed", random.Random(0)
    for number in range(KILLS):
        process = subprocess.Popen([*program, str(killed)], cwd=REPOSITORY, env=environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(4 + moments.uniform(0, duration_sec / 2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if number == KILLS // 2:  # and what can be made again is lost
            shutil.rmtree(killed / "work" / "fakes-spinegan-seed0", ignore_errors=True)
    subprocess.run([*program, str(killed)], cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    assert results(killed) == results(whole)
    assert (killed / "report.html").exists()
