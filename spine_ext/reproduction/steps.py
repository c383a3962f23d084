"""Work in steps, each of which leaves one JSON file. What is there, of the same settings, is not done again."""

import datetime
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stylegan2ada.files import write_json, write_text

STEPS_FOLDER = "steps"
WORK_FOLDER = "work"
KEY = "step-key.txt"  # which settings and attempt a step's folder belongs to


@dataclass(frozen=True)
class StepPlace:
    """What the work of a step gets: a folder of its own, which a killed attempt may have left half full, and the
    results and folders of the steps it needs, by their names."""

    folder: Path
    results: dict[str, dict]
    folders: dict[str, Path]
    log: Callable[[str], None]


class Outcome(NamedTuple):
    """A result as JSON values, and the files in the step's folder that steps which need this one read."""

    result: dict
    artifacts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One piece of work.

    settings: whatever decides the result besides the steps in `needs`; JSON values.
    images: how much work it is, in images that pass through a network, for estimates.
    """

    name: str
    kind: str
    settings: dict
    work: Callable[[StepPlace], Outcome]
    needs: tuple[str, ...] = ()
    images: int = 0


class StepStore:
    """The folder with the results. `steps`: all there are, each after those it needs."""

    def __init__(self, folder: Path, steps: Sequence[Step]) -> None:
        self.folder = folder
        self.steps = {step.name: step for step in steps}
        self._keys: dict[str, str] = {}
        for step in steps:
            content = [step.kind, step.settings, [self._keys[name] for name in step.needs]]
            self._keys[step.name] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def path(self, name: str) -> Path:
        return self.folder / STEPS_FOLDER / f"{name}.json"

    def work_folder(self, name: str) -> Path:
        return self.folder / WORK_FOLDER / name

    def record(self, name: str) -> dict | None:
        """The finished step as its file has it; None where there is none, or it is broken, or of other settings."""
        record = _read(self.path(name))
        return record if record is not None and record["key"] == self._keys[name] else None

    def of_others(self) -> list[str]:
        """Steps that have a result here, but of other images or settings."""
        records = {name: _read(self.path(name)) for name in self.steps}
        return [name for name, record in records.items() if record is not None and record["key"] != self._keys[name]]

    def is_done(self, name: str) -> bool:
        return self.record(name) is not None

    def has_artifacts(self, name: str) -> bool:
        """Of a finished step."""
        return all((self.work_folder(name) / artifact).exists() for artifact in self.record(name)["artifacts"])

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """What there is to do for `wanted`, in order: unfinished steps, and those whose lost artifacts these read."""
        todo: set[str] = set()

        def require(name: str, for_artifacts: bool) -> None:
            if name in todo or (self.is_done(name) and not (for_artifacts and not self.has_artifacts(name))):
                return
            todo.add(name)
            for need in self.steps[name].needs:
                require(need, for_artifacts=True)

        for name in wanted:
            require(name, for_artifacts=False)
        return [name for name in self.steps if name in todo]

    def run(self, name: str, log: Callable[[str], None]) -> dict:
        """Does the work and writes its result; returns the record."""
        step = self.steps[name]
        folder = self._folder_for(name)
        is_resumed = any(path.name != KEY for path in folder.iterdir())
        started, clock = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
        results = {need: self.record(need)["result"] for need in step.needs}
        folders = {need: self.work_folder(need) for need in step.needs}
        outcome = step.work(StepPlace(folder, results, folders, log))
        record = {
            "step": name,
            "kind": step.kind,
            "key": self._keys[name],
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 1),
            "resumed": is_resumed,  # then the seconds are those of the last attempt alone
            "images": step.images,
            "settings": step.settings,
            "needs": list(step.needs),
            "artifacts": list(outcome.artifacts),
            "result": outcome.result,
        }
        write_json(self.path(name), record)
        return record

    def _folder_for(self, name: str) -> Path:
        """The step's folder, with what a killed attempt left; emptied if that was of other settings, or of a finished
        attempt, to go on from whose end would not bring back the artifacts it has lost."""
        folder = self.work_folder(name)
        key, attempt = folder / KEY, self._keys[name]
        if (finished := self.record(name)) is not None:
            attempt += f" after {finished.get('started')}"
        is_same = key.is_file() and key.read_text(encoding="utf-8", errors="replace") == attempt
        if folder.exists() and not is_same:
            shutil.rmtree(folder)
        write_text(key, attempt)
        return folder


def _read(path: Path) -> dict | None:
    """A step's record; None where there is none, or a broken one."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kinds = {"key": str, "seconds": (int, float), "result": dict, "artifacts": list}
    is_whole = isinstance(record, dict) and all(isinstance(record.get(name), kind) for name, kind in kinds.items())
    return record if is_whole and all(isinstance(name, str) for name in record["artifacts"]) else None


@dataclass(frozen=True)
class Cost:
    """What a step costs: its images and, where a rate of its kind is known, the seconds."""

    name: str
    kind: str
    images: int
    seconds: float | None
    is_done: bool


def costs(store: StepStore, wanted: Collection[str], images_per_sec: dict[str, float]) -> list[Cost]:
    """Of the wanted steps and those that must be done for them. Rates are those of the steps already done here, else
    `images_per_sec` by kind."""
    todo = set(store.missing(wanted))
    done_images: dict[str, float] = {}
    done_sec: dict[str, float] = {}
    for name, step in store.steps.items():
        record = store.record(name)
        if record is not None and step.images and not record.get("resumed"):
            done_images[step.kind] = done_images.get(step.kind, 0) + step.images
            done_sec[step.kind] = done_sec.get(step.kind, 0) + record["seconds"]
    rates = images_per_sec | {kind: done_images[kind] / sec for kind, sec in done_sec.items() if sec > 0}
    found = []
    for name, step in store.steps.items():
        if name not in todo and name not in wanted:
            continue
        rate = rates.get(step.kind)
        seconds = 0.0 if not step.images else None if rate is None else step.images / rate
        found.append(Cost(name, step.kind, step.images, seconds, name not in todo))
    return found
