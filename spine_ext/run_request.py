"""What the user asked of train.py: as given, kept in the run folder, and found there again."""

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch

from stylegan2ada.config import checked_dataclass
from stylegan2ada.errors import UserError
from stylegan2ada.files import write_json
from stylegan2ada.options import RunOptions

FILE_NAME = "command_line.json"
LAUNCH_ID = "launch_id"

# What a run may change when it goes on, as settings and by which option: how far, how often, how fast. Nothing of it
# decides what the network sees or learns at a step.
CHANGEABLE = {
    "total_kimg": "kimg", "kimg_per_tick": "tick", "snapshot_ticks": "snap", "keep_snapshots": "keep",
    "micro_batch_size": "batch_gpu", "num_workers": "workers", "kernels": "kernels", "cuda_graphs": "cuda_graphs",
    "cudnn_benchmark": "nobench",
}  # fmt: skip
MEASURING = ("metrics", "detector", "metrics_process")  # the run is the same, whatever is measured of it


@dataclass(frozen=True)
class RunRequest:
    """The options of train.py as given; None: not said. `data` None: the built-in phantom."""

    options: RunOptions = field(default_factory=RunOptions)
    data: str | None = None
    test_data: str | None = None
    cond: bool | None = None
    subset: int | None = None
    mirror: bool | None = None
    gamma_clinical: float | None = None
    clinical_reduction: str | None = None
    classifier: str | None = None
    classifier_epochs: int | None = None
    phantom_train: int | None = None
    phantom_test: int | None = None
    metrics: str | None = None
    detector: str | None = None
    metrics_process: str | None = None

    def over(self, earlier: "RunRequest") -> "RunRequest":
        """This request, and what an earlier one said where this one says nothing."""
        given = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        given = {name: value for name, value in given.items() if value is not None}
        return dataclasses.replace(earlier, **given | {"options": self.options.over(earlier.options)})

    def without_resume(self) -> "RunRequest":
        return dataclasses.replace(self, options=dataclasses.replace(self.options, resume=None))

    def for_processes(self, world_size: int) -> "RunRequest":
        """Under torchrun, --gpus is the number of processes, whether said or not."""
        gpus = self.options.gpus
        if world_size > 1 and gpus not in (None, world_size):
            raise UserError(f"--gpus={gpus}, but {world_size} processes were started: leave --gpus out")
        given = world_size if world_size > 1 else gpus
        return dataclasses.replace(self, options=dataclasses.replace(self.options, gpus=given))

    def with_absolute_paths(self) -> "RunRequest":
        """Means the same from whatever folder it is repeated."""
        paths = {name: getattr(self, name) for name in ("data", "test_data", "classifier")}
        resume = self.options.resume
        if resume is not None and Path(resume).is_file():  # neither a URL nor a preset
            resume = str(Path(resume).resolve())
        return dataclasses.replace(
            self,
            options=dataclasses.replace(self.options, resume=resume),
            **{name: str(Path(path).resolve()) for name, path in paths.items() if path is not None},
        )


@dataclass(frozen=True)
class Workplace:
    """Where a run happens; not part of what it is."""

    outdir: Path = Path("training-runs")
    cache_dir: Path = Path("cache")
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def write_request(run_dir: Path, request: RunRequest) -> None:
    """Beside the request, under which id a launcher started the run, for `newest_run`."""
    values = dataclasses.asdict(request.with_absolute_paths())
    write_json(run_dir / FILE_NAME, values | {LAUNCH_ID: os.environ.get("TORCHELASTIC_RUN_ID")})


def read_request(run_dir: Path) -> RunRequest:
    """Raises UserError where the folder has none, or one that this version does not understand."""
    path = run_dir / FILE_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop(LAUNCH_ID, None)
        values["options"] = checked_dataclass(RunOptions, values["options"])
        return checked_dataclass(RunRequest, values)
    except FileNotFoundError as error:
        raise UserError(
            f"--resume={run_dir} is no run folder of train.py (it has no {FILE_NAME}): give one, or a network file"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--resume={run_dir}: {path.name} cannot be read ({error}); start a new run") from error


def newest_run(outdir: Path, request: RunRequest, of_this_launch: bool = False) -> Path | None:
    """The newest run folder in `outdir` that was started with the same options, but for those that a run may change.

    of_this_launch: only one that the launcher of this process started, in an attempt before. Folders whose options
    cannot be read belong to other versions, and are passed over.
    """
    wanted = _anywhere(request)
    for folder in sorted(outdir.glob("[0-9][0-9][0-9][0-9][0-9]*-*"), reverse=True):
        if of_this_launch and _launch_id(folder) != os.environ.get("TORCHELASTIC_RUN_ID"):
            continue
        with contextlib.suppress(UserError):
            if _anywhere(read_request(folder)) == wanted:
                return folder
    return None


def _launch_id(folder: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return json.loads((folder / FILE_NAME).read_text(encoding="utf-8")).get(LAUNCH_ID)
    return None


def _anywhere(request: RunRequest) -> RunRequest:
    """Of the same run, whatever the folder, the number of processes, and how far and how often."""
    request = request.with_absolute_paths()
    unsaid = dict.fromkeys(("gpus", *CHANGEABLE.values()))
    options = dataclasses.replace(request.options, **unsaid)
    return dataclasses.replace(request, options=options, **dict.fromkeys(MEASURING))
