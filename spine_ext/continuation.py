"""Going on with a stopped run: its own settings, and only such new options as do not make it another run."""

import dataclasses
import json
import os
from pathlib import Path

from stylegan2ada.config import TrainingConfig, config_from_dict
from stylegan2ada.devices import resolve_precision
from stylegan2ada.errors import UserError
from stylegan2ada.processes import ALONE, Processes
from stylegan2ada.training_state import PATTERN

from .run_plan import RunPlan, phantom_of, plan_run
from .run_request import CHANGEABLE, RunRequest, Workplace, newest_run, read_request

# Judged by other means: the images by their fingerprint, when they are opened; notes follow from them. The run has a
# copy of its classifier.
NOT_COMPARED = ("data.path", "data.num_images", "notes", "resume", "extensions.clinical_term.classifier")
OPTION_OF = {
    "batch_size": "--batch", "loss.r1_gamma": "--gamma", "loss.pl_weight": "--pl-weight", "seed": "--seed",
    "loss.style_mixing_prob": "--style-mixing", "optimizer.learning_rate": "--lr", "augment.mode": "--aug",
    "augment.pipe": "--augpipe", "augment.p": "--p", "augment.target": "--target", "precision": "--precision",
    "network.channel_base": "--channel-base", "network.channel_max": "--channel-max", "network.z_dim": "--latent",
    "network.freeze_layers": "--freezed", "ema_kimg": "--ema-kimg", "data.subset": "--subset",
    "data.mirror": "--mirror", "data.num_classes": "--cond",
    "extensions.clinical_term.gamma": "--gamma-clinical",
    "extensions.clinical_term.reduction": "--clinical-reduction",
}  # fmt: skip


def choose_plan(request: RunRequest, place: Workplace, processes: Processes = ALONE) -> RunPlan:
    """A new run, or one to go on with: --resume=RUN_DIR, or --resume=auto where there is a run of the same options
    (but for those that a run may change).

    A process that a launcher has started anew after a failure goes on with what the one before it began.
    """
    resume = request.options.resume
    if resume is not None and Path(resume).is_dir():
        return plan_continuation(Path(resume), request, place)
    if resume is not None and Path(resume).match(PATTERN):
        raise UserError(
            f"--resume={resume} is the state of a run: give its folder to go on with it, or one of its "
            "network-snapshot-*.safetensors to start a new run"
        )
    is_restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    if resume == "auto":
        request = request.without_resume()
    if resume == "auto" or is_restarted:
        of_this_launch = is_restarted and resume != "auto"
        found = newest_run(place.outdir, request, of_this_launch) if processes.is_main else None
        run_dir = processes.broadcast_text(None if found is None else str(found))  # before the main one makes a folder
        if run_dir is not None:
            return plan_continuation(Path(run_dir), request, place)
    return plan_run(request, place)


def plan_continuation(run_dir: Path, given: RunRequest, place: Workplace) -> RunPlan:
    """The plan of the run in `run_dir`, to be gone on with; `given`: the options that were repeated or changed.

    Raises:
        UserError: it is no run folder, or an option would make it another run; nothing has been touched.
    """
    earlier, config = read_request(run_dir), _read_options(run_dir)
    if given.classifier is not None and given.with_absolute_paths().classifier != earlier.classifier:
        raise UserError(f"--resume={run_dir} goes on with the run's own classifier: leave --classifier out")
    options = dataclasses.replace(given.options, resume=None, gpus=None)  # a run is the same on any number of processes
    request = dataclasses.replace(given, options=options).over(earlier)
    plan = plan_run(request, place, reads_source=False)
    ignored = NOT_COMPARED if given.options.precision or given.options.fp32 else (*NOT_COMPARED, "precision")
    changes = _changes(config, plan.config, ignored)
    if plan.phantom != phantom_of(earlier):
        changes.append("the number of phantoms would be another")
    if changes:
        more = f" (and {len(changes) - 3} more)" if len(changes) > 3 else ""
        raise UserError(
            f"--resume={run_dir} goes on with the run as it was: {'; '.join(changes[:3])}{more}. Leave such options "
            "out, or start a new run from its last network-snapshot-*.safetensors"
        )
    resolve_precision(config.precision, place.device)  # raises where this device has it not
    # What is not said now stays as it was last: command_line.json does not know what was said when going on before
    said = [name for name, option in CHANGEABLE.items() if getattr(given.options, option) is not None]
    changed = {name: getattr(plan.config, name) for name in said}
    return dataclasses.replace(plan, config=dataclasses.replace(config, **changed), run_dir=run_dir)


def _read_options(run_dir: Path) -> TrainingConfig:
    path = run_dir / "training_options.json"
    try:
        return config_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"--resume={run_dir}: {path.name} cannot be read ({error}); start a new run") from error


def _changes(was: TrainingConfig, would_be: TrainingConfig, ignored: tuple[str, ...]) -> list[str]:
    before, after = _flat(was.to_dict()), _flat(would_be.to_dict())
    names = [name for name in before | after if name not in (*CHANGEABLE, *ignored)]
    return [
        f"{OPTION_OF.get(name, name)} was {before.get(name, 'not set')} and would be {after.get(name, 'not set')}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _flat(values: dict, prefix: str = "") -> dict[str, object]:
    """`loss.r1_gamma` and so on; a tuple as the list that it becomes in a file."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat
