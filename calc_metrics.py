"""Measures generated images: FID, KID, precision and recall, density and coverage, Inception score, path lengths."""

import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from metrics.choosing import AUTO, choose_detectors
from metrics.errors import MetricError
from metrics.feature_cache import FeatureCache
from metrics.measure import Measurement, check_counts, measure
from metrics.names import ComparedRequest, Request, parse_metrics, real_limit
from metrics.records import jsonl_record, result_table
from metrics.sources import ImageSource
from spine_ext.labelled_images import LabelledImages
from spine_ext.measuring.best_snapshot import append_line
from spine_ext.measuring.compared_images import (
    check_comparable,
    fakes_of,
    halves,
    open_images,
    reals_of,
    shuffled,
)
from spine_ext.measuring.detector_files import fetch_detector, open_classifier
from spine_ext.measuring.watched_run import attempt, new_snapshots
from stylegan2ada.checkpoint import Snapshot, load
from stylegan2ada.cli import Command
from stylegan2ada.cli_values import check_psi
from stylegan2ada.dataset_chunks import CHUNK_SIZE, DatasetImages
from stylegan2ada.devices import DEVICES
from stylegan2ada.errors import NonFiniteError, ProcessLostError, UserError
from stylegan2ada.files import check_writable, default_cache_dir
from stylegan2ada.gather import ArrayGroup
from stylegan2ada.launch import is_launched, launch
from stylegan2ada.processes import LOST_STATUS, Processes, join_processes
from stylegan2ada.progress import ProgressLine


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of the command line, by their names."""

    network: str | None
    images: str | None
    real_baseline: bool
    watch: Path | None
    data: str | None
    baseline_data: str | None
    metrics: str
    detector: str
    wanted_classes: str | None
    per_class: bool
    mirror: bool
    seed: int
    trunc: float
    batch: int
    gpus: int | None
    outdir: Path | None
    device: str
    no_cache: bool

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(one.strip() for one in (self.wanted_classes or "").split(",") if one.strip())


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is measured, against what, and what a line of results says of both."""

    fake: ImageSource
    real: LabelledImages | None
    record: dict[str, object]
    notes: tuple[str, ...]
    outdir: Path | None


@click.command(cls=Command)
@click.option("--network", metavar="FILE", help="Network to measure: a snapshot, an official .pkl, a URL.")
@click.option("--images", metavar="ZIP", help="Measure a generated dataset instead of a network.")
@click.option("--real-baseline", is_flag=True,
              help="Measure real images: one half of --data against the other, or --baseline-data.")
@click.option("--watch", metavar="RUN", type=click.Path(path_type=Path),
              help="Measure every snapshot of a run folder, as they appear, until Ctrl-C.")
@click.option("--data", metavar="ZIP", help="Real images.")
@click.option("--baseline-data", metavar="ZIP", help="Of --real-baseline: other real images, such as a test set.")
@click.option("--metrics", default="fid50k_full", show_default=True, metavar="LIST",
              help="Such as fid50k_full,kid50k_full,pr50k3_full,dc50k5_full,is50k,ppl2_wend; any number: fid5k_full.")
@click.option("--detector", default=AUTO, show_default=True,
              metavar="auto|inception|classifier:FILE|FILE.pt|inception=FILE,vgg16=FILE",
              help="auto: the official networks; a SpineClassifier needs none; FILE: a TorchScript network.")
@click.option("--classes", "wanted_classes", metavar="LIST", help="Only these classes, by name or number.")
@click.option("--per-class", is_flag=True, help="Values of each class beside those of all.")
@click.option("--mirror", is_flag=True, help="Real images and their mirror images.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of all that is drawn.")
@click.option("--trunc", default=1.0, show_default=True, help="Truncation psi of the network: 1 is none.")
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1, CHUNK_SIZE),
              help="Images at a time, a divisor of 64.")
@click.option("--gpus", type=click.IntRange(min=1), help="Processes on this machine, one for each GPU.  [1]")
@click.option("--outdir", metavar="DIR", type=click.Path(path_type=Path),
              help="Where metric-<name>.jsonl goes.  [the network's folder; of images: nowhere]")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--no-cache", is_flag=True, help="Neither use nor keep features of real images.")
def main(**given: object) -> None:
    """Measure generated images against real ones.

    Prints one line of JSON per metric, appends it to metric-<name>.jsonl, and shows a table on the terminal.

    \b
    Examples:
      python calc_metrics.py --network network-snapshot-004200.safetensors --data spine-256.zip
      python calc_metrics.py --network network-snapshot-004200.safetensors --data spine-256.zip
          --metrics fid5k_full,pr5k3_full,dc5k5_full --detector classifier:classifier.safetensors --per-class
      python calc_metrics.py --images fakes.zip --data spine-256.zip --metrics kid1k_full
      python calc_metrics.py --real-baseline --data spine-256.zip --baseline-data test-256.zip --metrics fid2077_full
      python calc_metrics.py --watch training-runs/00000-spine-256 --data spine-256.zip --metrics fid10k_full
    """
    options = Options(**given)
    try:
        requests = parse_metrics(options.metrics)
        check(options, requests)
        if options.gpus is not None and options.gpus > 1 and not is_launched():
            sys.exit(launch(options.gpus))
        with join_processes(options.device) as processes:
            run(options, requests, processes)
    except MetricError as error:
        raise UserError(str(error)) from error
    except NonFiniteError as error:
        raise UserError(f"{error}; take another snapshot of the run") from error
    except ProcessLostError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(LOST_STATUS)
    except KeyboardInterrupt:
        click.echo("Stopped. Lines that were written are whole.", err=True)
        sys.exit(130)


def check(options: Options, requests: tuple[Request, ...]) -> None:
    """Before any work."""
    subjects = {
        "--network": options.network, "--images": options.images,
        "--real-baseline": options.real_baseline, "--watch": options.watch,
    }  # fmt: skip
    given = [name for name, value in subjects.items() if value]
    if len(given) != 1:
        found = f"{' and '.join(given)} exclude each other" if given else "nothing to measure"
        raise UserError(f"{found}: give one of {', '.join(subjects)}")
    check_psi(options.trunc)
    if CHUNK_SIZE % options.batch:
        raise UserError(f"--batch {options.batch} does not divide {CHUNK_SIZE}: choose 1, 2, 4, 8, 16, 32 or 64")
    if options.baseline_data and not options.real_baseline:
        raise UserError("--baseline-data is for --real-baseline: add that, or leave it out")
    compared = [request.name for request in requests if isinstance(request, ComparedRequest)]
    if options.data is None and (compared or options.real_baseline):
        what = f"--metrics {compared[0]} compares" if compared else "--real-baseline compares"
        raise UserError(f"{what} with real images: give them with --data ZIP")
    if options.watch is not None and not options.watch.is_dir():
        raise UserError(f"--watch {options.watch}: there is no such folder; give that of a training run")
    if options.outdir is not None:
        check_writable(options.outdir, "--outdir")


def run(options: Options, requests: tuple[Request, ...], processes: Processes) -> None:
    """Measures one thing, or a run's snapshots one after the other."""
    shards = ArrayGroup(processes)
    cache = None if options.no_cache else FeatureCache(default_cache_dir() / "features", say)
    detectors = None
    for subject in subjects(options, requests, processes):
        real = None if subject.real is None else reals_of(subject.real, real_limit(requests), options.seed)
        check_counts(requests, real, subject.fake)
        if detectors is None:  # after the networks and images, which are quick to look at and may be at fault
            with main_first(processes):
                classifier = functools.partial(open_classifier, device=processes.device)
                detectors = choose_detectors(requests, options.detector, processes.device, fetch_detector, classifier)
        work = functools.partial(
            measure, [request.name for request in requests], real, subject.fake, detectors, seed=options.seed,
            cache=cache, per_class=options.per_class, batch=options.batch, shards=shards,
            device=processes.device if processes.device.type == "cuda" else "cpu",
            progress=ProgressLine if processes.is_main else None,
        )  # fmt: skip
        if options.watch is None:
            found = work()
        else:  # a NaN is that in the process which finds it, and a MetricError in the others
            found = attempt(work, (NonFiniteError, MetricError), subject.fake.name, processes, say)
        if found is not None and processes.is_main:
            report(found, subject, processes.world_size, options.classes)


def subjects(options: Options, requests: tuple[Request, ...], processes: Processes) -> Iterator[Subject]:
    """One, or endlessly those of a run."""
    if options.network:
        with main_first(processes):
            snapshot = load(options.network, processes.device)
        yield open_network(options, options.network, snapshot)
    elif options.watch is None:
        yield open_sets(options)
    else:
        names = [request.name for request in requests]
        for path in new_snapshots(options.watch, options.outdir or options.watch, names, processes):
            work = functools.partial(load, path, processes.device)
            snapshot = attempt(work, (UserError, OSError), path.name, processes, say)
            if snapshot is not None:
                yield open_network(options, str(path), snapshot)


def open_network(options: Options, path: str, snapshot: Snapshot) -> Subject:
    name, num_classes = Path(path).name, snapshot.generator.c_dim
    if num_classes == 0 and (options.classes or options.per_class):
        option = "--per-class" if options.per_class else "--classes"
        raise UserError(f"{option}: {name} is unconditional, it has no classes; leave {option} out")
    if options.classes and not options.data:
        raise UserError("--classes: whose labels? Give the real images with --data ZIP")
    real = open_images(options.data, num_classes > 0, options.classes, options.mirror) if options.data else None
    fakes = fakes_of(snapshot, real, options.seed, options.trunc, options.batch, name)
    record = {"snapshot": name, "kimg": snapshot.kimg or None, "trunc": options.trunc}
    outdir = options.outdir or (Path(path).parent if Path(path).is_file() else None)
    return Subject(fakes, real, record, (*snapshot.config.notes, *notices(real)), outdir)


def open_sets(options: Options) -> Subject:
    labelled = options.per_class or bool(options.classes)
    real = open_images(options.data, labelled, options.classes, options.mirror) if options.data else None
    if options.images:
        other = open_images(options.images, labelled, options.classes)
    elif options.baseline_data:
        other = open_images(options.baseline_data, labelled, options.classes, options.mirror)
    else:
        real, other = halves(real, options.seed)
    if real is not None:
        check_comparable(real, other)
    record = {"snapshot": None, "images": other.name, "images_key": other.fingerprint()}
    fakes = DatasetImages(shuffled(other, options.seed))
    return Subject(fakes, real, record, (*notices(other), *notices(real)), options.outdir)


def report(found: list[Measurement], subject: Subject, num_gpus: int, classes: tuple[str, ...]) -> None:
    """JSON to standard output and to files, a table to standard error."""
    more = {key: value for key, value in subject.record.items() if key != "snapshot"}
    more |= {"classes": list(classes)} if classes else {}
    real = subject.real
    more |= {"data": None, "data_key": None} if real is None else {"data": real.name, "data_key": real.fingerprint()}
    notes = tuple(dict.fromkeys(subject.notes))
    for one in found:
        record = jsonl_record(
            one, snapshot=subject.record["snapshot"], num_gpus=num_gpus, **more, notes=list(notes)
        )  # fmt: skip
        line = json.dumps(record, allow_nan=False)
        click.echo(line)
        if subject.outdir is not None:
            subject.outdir.mkdir(parents=True, exist_ok=True)
            append_line(subject.outdir, one.metric, line)
    for note in notes:
        say(f"Note: {note}.")
    say(result_table(found))


def notices(dataset: LabelledImages | None) -> tuple[str, ...]:
    return (dataset.notice,) if dataset is not None and dataset.notice else ()


def say(line: str) -> None:
    click.echo(line, err=True)


@contextlib.contextmanager
def main_first(processes: Processes) -> Iterator[None]:
    """What may fetch a file into the cache: the others come when it is there."""
    if not processes.is_main:
        processes.barrier()
    yield
    if processes.is_main:
        processes.barrier()


if __name__ == "__main__":
    main()
