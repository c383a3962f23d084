"""Going through the steps: what is done is passed over, what is left is done, and the report is kept up to date."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.files import write_json
from stylegan2ada.progress import format_duration

from .kept_files import keep_shown_files
from .preset import Preset
from .report import write_all
from .steps import Cost, StepStore, costs

REPORT_INTERVAL_SEC = 300.0
SETTINGS = "reproduction.json"
ENVIRONMENT = "environment.json"
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pydicom", "spinegan")


@dataclass(frozen=True)
class Reproduction:
    """Everything that there is to do. `wanted`: the steps whose results are asked for."""

    preset: Preset
    store: StepStore
    wanted: Sequence[str]

    def costs(self) -> list[Cost]:
        return costs(self.store, self.wanted, self.preset.images_per_sec)

    def settings(self) -> dict:
        """What the report says of the settings."""
        preset = self.preset
        return {
            "preset": preset.name, "seeds": preset.seeds, "kimg": preset.gan.kimg, "paper_kimg": 4200,
            "multi_kimg": preset.multi_kimg, "ablation_kimg": preset.ablation_kimg,
            "counts": {str(paper): ours for paper, ours in preset.counts.items()},
            "classifier_epochs": preset.epochs, "epochs_paper": 30, "term_epochs": preset.term_epochs,
            "weights": preset.weights, "detector": preset.detector, "measured_images": preset.measured_images,
        }  # fmt: skip

    def run(self, log: Callable[[str], None]) -> list[Path]:
        """Does what is left and writes the report; returns its files. Stopped at any moment, it goes on from there.

        A step that fails stops those alone that need it. Raises UserError at the end for what has failed.
        """
        folder = self.store.folder
        todo = self.store.missing(self.wanted)
        write_json(folder / SETTINGS, self.settings())
        if todo:  # who makes the report anew on another machine has done none of the work there
            write_json(folder / ENVIRONMENT, with_earlier(environment(), folder / ENVIRONMENT))
        log(f"{len(self.wanted)} results are wanted, {len(todo)} steps are left to do: {folder}")
        reported = time.monotonic()
        failed: dict[str, str] = {}
        for number, name in enumerate(todo, start=1):
            if lost := [need for need in self.store.steps[name].needs if need in failed]:
                failed[name] = f"it needs {lost[0]}"
                continue
            left = _left([cost for cost in self.costs() if not cost.is_done])
            log(f"step {number} of {len(todo)}: {name}   ({left})")
            try:
                record = self.store.run(name, log)
            except (UserError, NonFiniteError) as error:
                failed[name] = str(error)
                log(f"  {name} failed, other steps go on: {error}")
                continue
            log(f"  {name}: {format_duration(record['seconds'])}")
            if time.monotonic() - reported > REPORT_INTERVAL_SEC:
                self._report()
                reported = time.monotonic()
        written = self._report()
        if failed:
            first, reason = next(iter(failed.items()))
            more = f", and {len(failed) - 1} more steps with or after it" if len(failed) > 1 else ""
            raise UserError(f"{first} failed{more}: {reason}. The same command tries again what is left: {folder}")
        return written

    def _report(self) -> list[Path]:
        keep_shown_files(self.store.folder)
        return write_all(self.store.folder)


def cost_lines(found: Sequence[Cost]) -> list[str]:
    """For --dry-run: each step, the images that pass through its network, and the time where it can be told."""
    lines = []
    for cost in found:
        time_text = "done" if cost.is_done else "?" if cost.seconds is None else format_duration(cost.seconds)
        lines.append(f"{cost.name:<42} {cost.kind:<11} {cost.images:>11,} images  {time_text:>8}")
    return [*lines, f"in all: {_left([cost for cost in found if not cost.is_done])}"]


def _left(left: Sequence[Cost]) -> str:
    known = sum(cost.seconds or 0 for cost in left)
    unknown = [cost for cost in left if cost.seconds is None]
    if not left:
        return "nothing left"
    rest = f"{len(unknown)} steps, {sum(cost.images for cost in unknown):,} images, of a time that is not known here"
    if not known:
        return f"{rest} are left" if unknown else "no time left"
    return f"about {format_duration(known)} left" + (f", and {rest}" if unknown else "")


def check_same_reproduction(reproduction: Reproduction) -> None:
    """Raises UserError where the folder holds another one. More seeds than it has are no other one."""
    folder, settings = reproduction.store.folder, json.loads(json.dumps(reproduction.settings()))
    path = folder / SETTINGS
    if path.exists():
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}): remove it, or give another --outdir") from error
        earlier = earlier if isinstance(earlier, dict) else {}
        for name, wanted in settings.items():
            found = earlier.get(name, "unknown")
            is_grown = name == "seeds" and isinstance(found, int) and found <= wanted
            if found != wanted and not is_grown:
                raise UserError(
                    f"--outdir {folder} holds a reproduction with {name} {found}, not {wanted}: give another --outdir"
                )
    if others := reproduction.store.of_others():
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UserError(
            f"--outdir {folder} holds results of other images or options ({others[0]}{more}), which must not stand in "
            f"one report with new ones: give the same data sets again, or another --outdir"
        )


def with_earlier(now: dict, path: Path) -> dict:
    """The environment, and under "earlier" the other ones that the file says steps were done in."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        earlier = before.pop("earlier", [])
        others = [each for each in (before, *earlier) if isinstance(each, dict) and each != now]
    except (OSError, ValueError, AttributeError, TypeError):
        return now  # there is none that could be read
    return now | {"earlier": others} if others else now


def environment() -> dict:
    """Versions, and the kind of machine; no names of machines, users or folders."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    machine = {"system": platform.system(), "processor": _processor(), "cores": _cores()}
    return {"python": platform.python_version(), **packages, "machine": machine, "command": _command()}


def _command() -> list[str]:
    return [Path(sys.argv[0]).name]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
