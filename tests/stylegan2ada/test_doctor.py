"""The training doctor: silent on healthy runs, and each finding where it belongs and nowhere else.

`recorded_runs.json` has the statistics of real runs of `train.py --cfg=stylegan2-ada` on the phantom, by column, with
the diversity in every line: the default; with --phantom-train=300; that and --lr 0.05; that, --subset 20, --gamma 0.05.
"""

import dataclasses
import json
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylegan2ada.config import AugmentConfig, DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.doctor import HISTORY_TICKS, QUIET_TICKS, WINDOW_TICKS, Tick, diagnose, new_findings
from stylegan2ada.loop import train
from tests.test_project import OPTIONS, options_in
from tests.toy_images import write_toy_zip

CONFIG = TrainingConfig(DataConfig("data.zip", 64, 1, 1500, 2, ("normal", "abnormal")), augment=AugmentConfig("noaug"))
HEALTHY = {
    "Loss/scores/real": 0.3,
    "Loss/scores/fake": -0.6,
    "Loss/signs/real": 0.4,
    "Loss/signs/fake": -0.65,
    "Loss/G/loss": 1.1,
    "Loss/D/loss": 1.2,
    "Gradients/Gmain": 3.0,
    "Gradients/Dmain": 1.3,
    "Progress/augment": 0.2,
}
OVERFIT = {"Loss/signs/real": 0.97, "Loss/signs/fake": -0.95, "Loss/scores/real": 4.0, "Loss/scores/fake": -4.0}
STARVING = {"Loss/D/loss": 0.01, "Loss/G/loss": 8.0}
DIVERGING = {"Loss/D/loss": 40.0}
COLLAPSED = {"Diversity/0": 0.7, "Diversity/1": 0.1}


def run_of(*phases: tuple[int, dict], kimg_per_tick: float = 0.5) -> list[Tick]:
    """Ticks of phases (count, what differs from HEALTHY; a value of None: not in the line)."""
    lines = [HEALTHY | changes for count, changes in phases for _ in range(count)]
    return [
        {key: value for key, value in line.items() if value is not None}
        | {"Progress/tick": index + 1, "Progress/kimg": (index + 1) * kimg_per_tick}
        for index, line in enumerate(lines)
    ]


def with_augmentation(mode: str, **changes) -> TrainingConfig:
    return dataclasses.replace(CONFIG, augment=AugmentConfig(mode, **changes))


def with_images(count: int, classes: int = 2, mode: str = "ada") -> TrainingConfig:
    data = dataclasses.replace(CONFIG.data, num_images=count, num_classes=classes, class_names=())
    return dataclasses.replace(with_augmentation(mode), data=data)


def names(ticks: list[Tick], config: TrainingConfig = CONFIG) -> list[str]:
    return [finding.name for finding in diagnose(ticks, config)]


def told(ticks: list[Tick], config: TrainingConfig = CONFIG) -> list[tuple[int, str]]:
    """(tick, name) of everything that a run with these statistics would have said."""
    return [
        (count, finding.name) for count in range(1, len(ticks) + 1) for finding in new_findings(ticks[:count], config)
    ]


class TestRecordedRuns:
    @pytest.fixture
    def runs(self, data_dir: Path) -> dict[str, tuple[list[Tick], TrainingConfig]]:
        runs = json.loads((data_dir / "recorded_runs.json").read_text())
        return {
            name: (
                [dict(zip(run["columns"], row, strict=True)) for row in run["rows"]],
                with_images(run["images"], mode="noaug"),
            )
            for name, run in runs.items()
        }

    def test_healthy_runs_give_no_finding(self, runs):
        for name in ("default run", "300 phantoms"):
            assert told(*runs[name]) == [], name
            assert len(runs[name][0]) >= 24

    def test_a_learning_rate_of_0_05_explodes_and_collapses(self, runs):
        findings = told(*runs["learning rate 0.05"])
        assert {name for _, name in findings} == {
            "discriminator diverges",
            "gradients explode: Dmain",
            "gradients explode: Dr1",
            "gradients explode: Gmain",
            "collapse: 0",
            "collapse: 1",
        }
        assert min(tick for tick, _ in findings) == 18  # of 24, 4.5 kimg: the tick in which it broke

    def test_twenty_images_are_learned_by_heart(self, runs):
        findings = told(*runs["20 images, weak R1"])
        assert findings == [(1, "few images"), (8, "no augmentation"), (39, "discriminator overfits")]


def test_a_run_that_has_not_begun_has_no_findings():
    assert diagnose([], CONFIG) == []


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 80),
    st.fixed_dictionaries(
        {
            "Loss/signs/real": st.floats(-1, 0.79),
            "Loss/signs/fake": st.floats(-1, 1),
            "Loss/D/loss": st.floats(0.11, 2.7),
            "Loss/G/loss": st.floats(0, 50),
            "Progress/augment": st.floats(0, 0.99),
            "Diversity/0": st.floats(0.26, 3),
            "Gradients/Dmain": st.floats(0.1, 2.9),
        }
    ),
    st.sampled_from(["noaug", "ada", "fixed"]),
)
def test_within_the_thresholds_there_is_never_a_finding(count, values, mode):
    assert diagnose(run_of((count, {}), (WINDOW_TICKS + 1, values)), with_augmentation(mode)) == []


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.sampled_from(sorted(HEALTHY.keys() - {"Progress/augment"})), min_size=1),
    st.sampled_from(["missing", None, float("nan"), float("inf")]),
)
def test_values_that_are_missing_or_no_numbers_are_not_judged(keys, instead):
    """A discriminator update of another kind reports other numbers; a NaN that is tolerated stands as null."""
    ticks = run_of((12, OVERFIT | STARVING | COLLAPSED))
    kept = set(names(ticks))
    for tick in ticks:
        for key in keys:
            if instead == "missing":
                del tick[key]
            else:
                tick[key] = instead
    assert set(names(ticks)) <= kept


class TestOverfitting:
    @pytest.mark.parametrize(("mode", "remedy"), [("noaug", "--aug=ada"), ("fixed", "--p"), ("ada", "--target")])
    def test_is_found_with_a_remedy_for_the_augmentation(self, mode, remedy):
        (finding,) = diagnose(run_of((20, OVERFIT)), with_augmentation(mode))
        assert finding.name == "discriminator overfits"
        assert "0.97" in finding.text
        assert remedy in finding.remedy

    def test_is_measured_against_the_target_of_ada(self):
        ticks = run_of((20, OVERFIT | {"Loss/signs/real": 0.85}))
        assert names(ticks, with_augmentation("ada", target=0.6)) == ["discriminator overfits"]
        assert names(ticks, with_augmentation("ada", target=0.7)) == []

    def test_a_growing_gap_is_said(self):
        ticks = run_of((20, {}), (WINDOW_TICKS // 2, OVERFIT), (WINDOW_TICKS // 2, OVERFIT | {"Loss/scores/real": 9.0}))
        assert "scores 8.0 apart and then 13.0" in diagnose(ticks, CONFIG)[0].text
        assert "apart" not in diagnose(run_of((20, OVERFIT)), CONFIG)[0].text

    @pytest.mark.parametrize("one_side", ["Loss/signs/real", "Loss/signs/fake"])
    def test_needs_reals_and_fakes(self, one_side):
        """Fakes that are told apart from reals that are not: G is bad, D is fine. So it is at the start of a run."""
        assert names(run_of((20, OVERFIT | {one_side: HEALTHY[one_side]}))) == []

    def test_a_bad_tick_or_two_do_not_count(self):
        assert names(run_of((20, {}), (2, OVERFIT))) == []

    def test_not_before_there_are_enough_images(self):
        """Ticks of one step at the very start, where D tells everything apart."""
        assert names(run_of((60, OVERFIT), kimg_per_tick=0.016)) == []
        assert names(run_of((200, OVERFIT), kimg_per_tick=0.016)) == ["discriminator overfits"]


class TestStarvation:
    def test_is_found(self):
        assert names(run_of((20, STARVING))) == ["generator starves"]

    @pytest.mark.parametrize("change", [{"Loss/D/loss": 0.3}, {"Loss/G/loss": 2.0}])
    def test_needs_both(self, change):
        assert names(run_of((20, STARVING | change))) == []


def test_a_discriminator_worse_than_guessing_diverges():
    assert names(run_of((20, DIVERGING))) == ["discriminator diverges"]
    assert names(run_of((20, {"Loss/D/loss": 1.39}))) == []


class TestAugmentationAtItsEnd:
    @pytest.mark.parametrize("p", [1.0, 1.4])
    def test_is_found_under_ada_alone(self, p):
        ticks = run_of((3, {"Progress/augment": p}))
        assert names(ticks, with_augmentation("ada")) == ["augmentation at its end"]
        assert names(ticks, with_augmentation("fixed", p=1.0)) == []

    def test_is_told_once_while_p_wavers_about_1(self):
        ticks = run_of((20, {}), *[(1, {"Progress/augment": p}) for _ in range(40) for p in (1.002, 0.998)])
        assert told(ticks, with_augmentation("ada")) == [(21, "augmentation at its end")]


class TestGradients:
    @pytest.mark.parametrize("phase", ["Gmain", "Dmain", "Dr1", "Gpl"])
    def test_a_norm_far_above_the_median_is_found(self, phase):
        key = f"Gradients/{phase}"
        (finding,) = diagnose(run_of((30, {key: 2.0}), (1, {key: 500.0})), CONFIG)
        assert finding.name == f"gradients explode: {phase}"
        assert "250 times" in finding.text

    def test_what_grows_slowly_is_not(self):
        growing = [(1, {"Gradients/Dmain": 1.1**i}) for i in range(100)]
        assert names(run_of(*growing)) == []

    def test_the_first_ticks_have_nothing_to_compare_with(self):
        assert names(run_of((WINDOW_TICKS - 1, {}), (1, {"Gradients/Gmain": 500.0}))) == []

    def test_lazy_phases_may_miss_in_some_ticks(self):
        sparse = [(1, {"Gradients/Dr1": 1.0 if i % 3 == 0 else None}) for i in range(60)]
        assert names(run_of(*sparse, (1, {"Gradients/Dr1": 90.0}))) == ["gradients explode: Dr1"]
        assert names(run_of(*sparse, (1, {"Gradients/Dr1": None}))) == []

    def test_a_norm_that_was_zero_has_no_factor(self):
        assert names(run_of((30, {"Gradients/Dmain": 0.0}), (1, {"Gradients/Dmain": 1.0}))) == []


class TestCollapse:
    def test_names_the_class(self):
        (finding,) = diagnose(run_of((20, {}), (1, COLLAPSED)), CONFIG)
        assert finding.name == "collapse: 1"
        assert "class abnormal" in finding.text
        assert "0.10 times" in finding.text

    def test_without_class_names_or_classes(self):
        ticks = run_of((1, {"Diversity/0": 0.1}))
        assert "class 0" in diagnose(ticks, with_images(5000, classes=2))[0].text
        assert "class" not in diagnose(ticks, with_images(5000, classes=0))[0].text

    def test_stays_until_a_snapshot_shows_otherwise(self):
        ticks = run_of((20, {}), (1, COLLAPSED), (60, {}), (1, {"Diversity/1": 0.6}), (60, {}), (1, COLLAPSED))
        assert names(ticks[:81]) == ["collapse: 1"]
        assert names(ticks[:82]) == []
        assert told(ticks) == [(21, "collapse: 1"), (143, "collapse: 1")]


class TestData:
    @pytest.mark.parametrize(
        ("count", "classes", "few"), [(20, 0, True), (150, 0, False), (150, 2, True), (250, 2, False)]
    )
    def test_few_images_are_told_at_the_first_tick(self, count, classes, few):
        assert told(run_of((30, {})), with_images(count, classes)) == ([(1, "few images")] if few else [])

    def test_many_passes_without_augmentation(self):
        ticks = run_of((60, {}), kimg_per_tick=4)  # 240,000 images
        assert told(ticks, with_images(2000, mode="noaug")) == [(50, "no augmentation")]
        assert told(ticks, with_images(2000, mode="ada")) == []
        assert told(ticks, with_images(12_000, mode="noaug")) == []


class TestNews:
    def test_is_told_once_and_again_after_it_was_gone(self):
        """One healthy tick in the window and G does not starve: it is found at the last of WINDOW_TICKS sick ones."""
        sick, well = (30, STARVING), (WINDOW_TICKS + QUIET_TICKS, {})
        again = 30 + 30 + WINDOW_TICKS + QUIET_TICKS + WINDOW_TICKS
        expected = [(30 + WINDOW_TICKS, "generator starves"), (again, "generator starves")]
        assert told(run_of((30, {}), sick, well, sick, sick)) == expected

    def test_is_not_told_again_after_a_short_pause(self):
        sick, pause = (30, STARVING), (QUIET_TICKS - WINDOW_TICKS, {})
        assert len(told(run_of((30, {}), sick, pause, sick))) == 1

    def test_follows_from_the_statistics_alone(self):
        """A run that is continued says what it would have said."""
        ticks = run_of((30, {}), (20, OVERFIT), (30, {}), (20, STARVING), (1, COLLAPSED))
        as_read_again = [json.loads(json.dumps(tick)) for tick in ticks]
        for count in range(1, len(ticks) + 1):
            assert new_findings(ticks[:count], CONFIG) == new_findings(as_read_again[:count], CONFIG)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.tuples(st.integers(1, 25), st.sampled_from([{}, OVERFIT, STARVING, COLLAPSED])), max_size=6))
    def test_news_is_among_what_is_found_and_nothing_is_new_twice_in_a_row(self, phases):
        ticks = run_of(*phases)
        last: dict[str, int] = {}
        for count, name in told(ticks):
            assert name in names(ticks[:count])
            assert name not in last or count - last[name] > QUIET_TICKS
            last[name] = count

    def test_old_statistics_do_not_matter_and_a_long_run_costs_no_more(self):
        ticks = run_of((20_000, {}), (30, STARVING))
        start = time.perf_counter()
        assert names(ticks) == names(ticks[-HISTORY_TICKS:])
        assert new_findings(ticks, CONFIG) == []
        assert new_findings(ticks[: 20_000 + WINDOW_TICKS], CONFIG) != []
        assert time.perf_counter() - start < 0.5


SICK = run_of((30, {"Gradients/Gmain": 1e-3}), (20, OVERFIT | STARVING | COLLAPSED | {"Progress/augment": 1.2}))


@pytest.mark.parametrize("mode", ["noaug", "ada", "fixed"])
def test_every_remedy_names_options_that_train_py_has(mode):
    findings = [
        *diagnose(SICK[:31], with_images(20, mode=mode)),
        *diagnose(SICK, with_images(20, mode=mode)),
        *diagnose(run_of((20, DIVERGING)), with_images(20, mode=mode)),
    ]
    assert len({finding.name for finding in findings}) >= 6
    for finding in findings:
        known = set(OPTIONS["train.py"].split()) | {"--lr", "--precision"}
        assert options_in(finding.remedy), finding
        assert options_in(finding.remedy) <= known, finding
        assert str(finding) == f"{finding.text}. {finding.remedy}"


def test_a_run_says_it_once_and_has_the_diversity_of_its_last_snapshot(tmp_path):
    dataset = ImageDataset(write_toy_zip(tmp_path / "toy.zip", [0, 1] * 6), use_labels=True)
    data = DataConfig(str(dataset.path), 32, 1, len(dataset), 2, ("normal", "abnormal"))
    network = NetworkConfig(channel_base=64, channel_max=4, z_dim=4, w_dim=4, mapping_layers=1)
    config = TrainingConfig(data, network, total_kimg=0.024, batch_size=4, kimg_per_tick=0.008, num_workers=0)
    train(config, dataset, tmp_path, torch.device("cpu"))
    log = (tmp_path / "log.txt").read_text()
    assert log.count("there are 12 training images for 2 classes") == 1
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [sorted(key for key in line if key.startswith("Diversity/")) for line in lines] == [
        [],
        [],
        ["Diversity/0", "Diversity/1"],
    ]
    assert {"Gradients/Gmain", "Gradients/Dmain"} <= set(lines[-1])
