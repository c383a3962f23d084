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

from stylegan2ada.errors import UserError
from stylegan2ada.files import write_json
from stylegan2ada.progress import format_duration

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
        """Does what is left and writes the report; returns its files. Stopped at any moment, it goes on from there."""
        write_json(self.store.folder / SETTINGS, self.settings())
        write_json(self.store.folder / ENVIRONMENT, environment())
        todo = self.store.missing(self.wanted)
        log(f"{len(self.wanted)} results are wanted, {len(todo)} steps are left to do: {self.store.folder}")
        reported = time.monotonic()
        for number, name in enumerate(todo, start=1):
            left = _left([cost for cost in self.costs() if not cost.is_done])
            log(f"step {number} of {len(todo)}: {name}   ({left})")
            record = self.store.run(name, log)
            log(f"  {name}: {format_duration(record['seconds'])}")
            if time.monotonic() - reported > REPORT_INTERVAL_SEC:
                write_all(self.store.folder)
                reported = time.monotonic()
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


def check_same_reproduction(folder: Path, settings: dict) -> None:
    """Raises UserError where the folder holds another one."""
    path = folder / SETTINGS
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove it, or give another --outdir") from error
    wanted = json.loads(json.dumps(settings))
    differing = [name for name in wanted if not isinstance(earlier, dict) or earlier.get(name) != wanted[name]]
    if differing:
        name = differing[0]
        found = earlier.get(name) if isinstance(earlier, dict) else "something else"
        raise UserError(
            f"--outdir {folder} holds a reproduction with {name} {found}, not {wanted[name]}: give another --outdir"
        )


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
