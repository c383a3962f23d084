"""Steps that leave results: what is done is not done again, and what a later step reads is made again."""

import json
from pathlib import Path

import pytest

from spine_ext.reproduction.steps import Outcome, Step, StepPlace, StepStore, costs


class Kitchen:
    """Steps `flour` -> `dough` -> `bread`, which count how often they are done."""

    def __init__(self, folder: Path, sugar: int = 0) -> None:
        self.done: list[str] = []
        self.store = StepStore(folder, [
            self.step("flour", {}, (), 10),
            self.step("dough", {"sugar": sugar}, ("flour",), 100),
            self.step("bread", {}, ("dough",), 1000),
            self.step("salad", {}, (), 5),
        ])  # fmt: skip

    def step(self, name: str, settings: dict, needs: tuple[str, ...], images: int) -> Step:
        def work(place: StepPlace) -> Outcome:
            for need in needs:
                assert (place.folders[need] / "file").read_text() == need
            (place.folder / "file").write_text(name)
            self.done.append(name)
            return Outcome({"made of": [place.results[need]["name"] for need in needs], "name": name}, ("file",))

        return Step(name, "kind of " + name, settings, work, needs, images)

    def run(self, *wanted: str) -> list[str]:
        self.done = []
        for name in self.store.missing(wanted):
            self.store.run(name, lambda line: None)
        return self.done


def test_does_what_is_needed_in_order(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path)
    assert kitchen.run("bread") == ["flour", "dough", "bread"]
    assert kitchen.store.record("bread")["result"] == {"made of": ["dough"], "name": "bread"}


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    Kitchen(tmp_path).run("dough")
    assert Kitchen(tmp_path).run("dough", "bread") == ["bread"]
    assert Kitchen(tmp_path).run("bread") == []


def test_other_settings_are_another_step_and_so_is_what_comes_of_it(tmp_path: Path) -> None:
    Kitchen(tmp_path).run("bread", "salad")
    assert Kitchen(tmp_path, sugar=1).run("bread", "salad") == ["dough", "bread"]


def test_lost_artifacts_are_made_again_only_for_a_step_that_reads_them(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path)
    kitchen.run("dough")
    for name in ("flour", "dough"):
        (kitchen.store.work_folder(name) / "file").unlink()
    assert Kitchen(tmp_path).run("dough") == []  # its result is there
    assert Kitchen(tmp_path).run("bread") == ["flour", "dough", "bread"]


def test_lost_artifacts_are_made_again_from_the_start_but_a_killed_attempt_at_it_goes_on(tmp_path: Path) -> None:
    """What is left of a finished attempt would say that all is done."""
    found = []

    def work(place: StepPlace) -> Outcome:
        found.append(sorted(path.name for path in place.folder.glob("*.part")))
        (place.folder / f"{len(found)}.part").touch()
        if len(found) == 2:
            raise KeyboardInterrupt
        (place.folder / "file").touch()
        return Outcome({}, ("file",))

    store = StepStore(tmp_path, [Step("cake", "cake", {}, work)])
    store.run("cake", print)
    (store.work_folder("cake") / "file").unlink()
    with pytest.raises(KeyboardInterrupt):
        store.run("cake", print)
    assert store.run("cake", print)["resumed"]
    assert found == [[], [], ["2.part"]]


def test_results_of_other_settings_are_known(tmp_path: Path) -> None:
    Kitchen(tmp_path).run("dough", "salad")
    assert Kitchen(tmp_path).store.of_others() == []
    assert Kitchen(tmp_path, sugar=1).store.of_others() == ["dough"]


def test_a_step_that_was_gone_on_with_tells_nothing_of_its_speed(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path)
    kitchen.run("dough")
    path = kitchen.store.path("dough")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 0.001, "resumed": True}))
    (found,) = [cost for cost in costs(kitchen.store, ["dough"], {"kind of dough": 10.0}) if cost.name == "dough"]
    assert found.seconds == 10.0


BROKEN = ["", "{", "[]", "[" * 100_000, '{"key": "other"}', '{"result": {}}', '{"result": {}, "artifacts": 3}']


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_result_is_made_again(tmp_path: Path, content: str) -> None:
    kitchen = Kitchen(tmp_path)
    kitchen.run("flour")
    kitchen.store.path("flour").write_text(content)
    assert Kitchen(tmp_path).run("flour") == ["flour"]


def test_a_record_says_what_it_was(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path, sugar=3)
    kitchen.run("dough")
    record = json.loads((tmp_path / "steps" / "dough.json").read_text())
    assert record["settings"] == {"sugar": 3}
    assert record["needs"] == ["flour"]
    assert record["seconds"] >= 0
    assert (tmp_path / "work" / "dough" / "file").exists()


def test_costs_by_measured_rates_where_there_are_any(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path)
    rates = {"kind of dough": 10.0, "kind of flour": 1.0}
    by_name = {cost.name: cost for cost in costs(kitchen.store, ["bread"], rates)}
    assert list(by_name) == ["flour", "dough", "bread"]
    assert (by_name["dough"].seconds, by_name["bread"].seconds) == (10.0, None)
    kitchen.run("flour", "dough")
    path = kitchen.store.path("dough")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 50.0}))
    (kitchen.store.work_folder("dough") / "file").unlink()
    by_name = {cost.name: cost for cost in costs(kitchen.store, ["bread"], rates)}
    assert list(by_name) == ["dough", "bread"]
    assert by_name["dough"].seconds == pytest.approx(50.0)
    assert not by_name["dough"].is_done


def test_a_killed_attempt_is_found_again_but_not_one_of_other_settings(tmp_path: Path) -> None:
    found = []

    def work(place: StepPlace) -> Outcome:
        found.append(sorted(path.name for path in place.folder.glob("*.part")))
        (place.folder / "half.part").touch()
        raise KeyboardInterrupt

    for size in (1, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            StepStore(tmp_path, [Step("cake", "cake", {"size": size}, work)]).run("cake", print)
    assert found == [[], ["half.part"], []]
