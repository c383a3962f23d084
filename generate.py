"""Generates images with a trained network: a folder of PNG or DICOM files, a dataset zip, or one picture of all."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np

from spine_ext.burn_in import burn_in
from spine_ext.dicom_export import SyntheticSeries, dicom_bytes
from stylegan2ada.checkpoint import Snapshot, load
from stylegan2ada.cli import Command
from stylegan2ada.cli_values import check_psi, class_label, parse_classes, parse_numbers, parse_seeds
from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.devices import DEVICES, choose_device
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.files import check_writable, write_bytes
from stylegan2ada.images import png_bytes
from stylegan2ada.progress import ProgressLine
from stylegan2ada.projected_w import load_projected_w
from stylegan2ada.sampling import GeneratedImage, images_of_seeds, images_of_ws
from stylegan2ada.sheets import check_sheet, save_sheet

GRID_COLUMNS = 16

Write = Callable[[GeneratedImage], None]


@dataclasses.dataclass(frozen=True)
class Request:
    """The options of the command line, by their names."""

    network: str
    seeds: str | None
    wanted_classes: tuple[str, ...]
    trunc: float
    trunc_sweep: str | None
    projected_w: str | None
    outdir: str | None
    grid: str | None
    file_format: str
    burn_in: bool
    noise_mode: str
    batch: int
    device: str
    overwrite: bool


@dataclasses.dataclass(frozen=True)
class Job:
    """The images that were asked for: how many, how to make them, and what a file of each is called."""

    count: int
    images: Iterator[GeneratedImage]
    name: Callable[[GeneratedImage], str]
    origin: dict[str, object]
    remark: str = ""


@click.command(cls=Command)
@click.option("--network", required=True, metavar="FILE", help="Network to use; of a snapshot, its moving average.")
@click.option("--seeds", metavar="LIST", help="One image per seed, e.g. 0-999 or 0,3,5-9.")
@click.option("--class", "wanted_classes", multiple=True, metavar="NUMBER|NAME|all",
              help="Class of the images; given several times, or all: every seed for each.  [classes take turns]")
@click.option("--trunc", default=1.0, show_default=True, help="Truncation psi: 1 is none, 0 the mean image.")
@click.option("--outdir", metavar="DIR|ZIP", help="Folder for seed0000.png ..., or a dataset to write.")
@click.option("--grid", metavar="FILE.png", help="One picture of all images, rows by class.")
@click.option("--trunc-sweep", metavar="LIST",
              help="Of --grid: a row per image and a column per truncation, e.g. 0,0.3,0.5,0.7,1.")
@click.option("--projected-w", metavar="FILE.npz", help="Latents of projector.py instead of seeds.")
@click.option("--format", "file_format", type=click.Choice(["png", "dicom"]), default="png", show_default=True,
              help="Of the files in a folder; dicom: Secondary Capture, marked as synthetic.")
@click.option("--burn-in", is_flag=True, help="Write the word SYNTHETIC into a corner of DICOM images.")
@click.option("--noise-mode", type=click.Choice(["const", "random", "none"]), default="const", show_default=True,
              help="Noise inputs: the network's own, drawn with the seed, or none.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images at a time.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an existing zip.")
def main(**options: object) -> None:
    """Generate images with a trained network.

    A seed gives the same image whatever else is generated with it. An --outdir that ends in .zip becomes a dataset
    with labels, for classify.py or train.py; files of the same name in a folder are replaced.

    \b
    Examples:
      python generate.py --network network-snapshot-004200.safetensors --seeds 0-15 --outdir out
      python generate.py --network network-snapshot-004200.safetensors --seeds 0-999 --class 1 --outdir abnormal.zip
      python generate.py --network network-snapshot-004200.safetensors --seeds 0-7 --class all --grid classes.png
      python generate.py --network network-snapshot-004200.safetensors --seeds 0-7 --format dicom --outdir dicom
    """
    request = Request(**options)
    check(request)
    snapshot = load(request.network, choose_device(request.device))
    job = make_job(request, snapshot)
    if request.grid:
        check_sheet(job.count, snapshot.generator.img_resolution, f"--grid {request.grid}")
    for note in snapshot.config.notes:
        click.echo(f"This network was trained on: {note}.")
    progress = ProgressLine("generating", "image")
    shown = []
    with open_output(request, job, snapshot) as write:
        if job.remark:
            click.echo(job.remark)
        try:
            for done, image in enumerate(job.images, start=1):
                write(image)
                if request.grid:
                    shown.append(image)
                progress(done, job.count)
        except NonFiniteError as error:
            raise UserError(f"--network {request.network}: {error}; take another snapshot of the run") from error
    if request.grid:
        save_grid(request, shown, snapshot)
    G = snapshot.generator
    size, kind = f"{G.img_resolution}x{G.img_resolution}", "grey" if G.img_channels == 1 else "color"
    click.echo(f"{job.count} {kind} images of {size} pixels: {', '.join(filter(None, (request.outdir, request.grid)))}")


def check(request: Request) -> None:
    """Before any work; whether a zip may be replaced is the dataset writer's affair."""
    outdir = request.outdir
    check_psi(request.trunc)
    for psi in parse_numbers(request.trunc_sweep, "--trunc-sweep") if request.trunc_sweep else ():
        check_psi(psi, "--trunc-sweep")
    if (request.seeds is None) == (request.projected_w is None):
        raise UserError("give either --seeds, e.g. --seeds 0-15, or --projected-w FILE.npz")
    if request.projected_w and (request.wanted_classes or request.trunc != 1 or request.trunc_sweep):
        raise UserError("--projected-w has latents of its own: leave out --class, --trunc and --trunc-sweep")
    if outdir is None and request.grid is None:
        raise UserError("nothing to write: give --outdir DIR, --outdir FILE.zip or --grid FILE.png")
    if request.trunc_sweep and (request.grid is None or outdir is not None or request.trunc != 1):
        raise UserError("--trunc-sweep makes one picture: give --grid FILE.png, and neither --outdir nor --trunc")
    if request.grid and not request.grid.lower().endswith(".png"):
        raise UserError(f"--grid {request.grid}: the picture is a PNG file, choose a name that ends in .png")
    if request.grid and Path(request.grid).is_dir():
        raise UserError(f"--grid {request.grid} is a folder: choose the name of a file")
    if request.grid:
        check_writable(Path(request.grid).parent, "--grid")
    if outdir and not is_zip(outdir) and Path(outdir).exists() and not Path(outdir).is_dir():
        raise UserError(f"--outdir {outdir} is a file: choose a folder, or a name that ends in .zip")
    if request.file_format == "dicom" and (outdir is None or is_zip(outdir)):
        raise UserError("--format dicom writes a file per image: give an --outdir that is a folder")
    if request.burn_in and request.file_format != "dicom":
        raise UserError("--burn-in is for DICOM files: add --format dicom")


def make_job(request: Request, snapshot: Snapshot) -> Job:
    """What to generate; lists are checked here, images are made as they are taken."""
    G, noise_mode, batch = snapshot.generator, request.noise_mode, request.batch
    origin = {"network": Path(request.network).name}
    if request.projected_w:
        ws = load_projected_w(request.projected_w, G)
        images = (GeneratedImage(i, None, pixels) for i, pixels in enumerate(images_of_ws(G, ws, noise_mode, batch)))
        origin |= {"projected_w": Path(request.projected_w).name, "noise_mode": noise_mode}
        return Job(len(ws), images, lambda image: f"proj{image.seed:02d}", origin)
    seeds = parse_seeds(request.seeds)
    chosen = parse_classes(request.wanted_classes, G.c_dim, snapshot.class_names)
    origin |= {"seeds": request.seeds, "trunc": request.trunc, "noise_mode": noise_mode}
    several = len(chosen) > 1

    def name(image: GeneratedImage) -> str:
        return f"seed{image.seed:04d}" + (f"-class{image.class_index}" if several else "")

    remark, classes = "", None
    if chosen:
        seeds, classes = seeds * len(chosen), [one for one in chosen for _ in seeds]
    elif G.c_dim:
        classes = [seed % G.c_dim for seed in seeds]
        remark = f"No --class given: the {G.c_dim} classes take turns, seed modulo {G.c_dim}."
    if not request.trunc_sweep:
        images = images_of_seeds(G, seeds, classes, request.trunc, noise_mode, batch)
        return Job(len(seeds), images, name, origin, remark)
    psis = parse_numbers(request.trunc_sweep, "--trunc-sweep")
    every_psi = zip(*(images_of_seeds(G, seeds, classes, psi, noise_mode, batch) for psi in psis), strict=True)
    return Job(len(seeds) * len(psis), (image for row in every_psi for image in row), name, origin, remark)


def save_grid(request: Request, images: list[GeneratedImage], snapshot: Snapshot) -> None:
    """A truncation sweep has a row per image; else each class begins a row, or there is but one class."""

    def label(image: GeneratedImage) -> str:
        return class_label(image.class_index, snapshot.class_names)

    if request.trunc_sweep:
        psis = parse_numbers(request.trunc_sweep, "--trunc-sweep")
        first = images[:: len(psis)]
        rows = [", ".join(filter(None, (label(image), f"seed {image.seed}"))) for image in first]
        save_sheet(request.grid, [image.pixels for image in images], len(psis), rows, [f"psi {psi:g}" for psi in psis])
        return
    by_class: dict[int | None, list[GeneratedImage]] = {}
    for image in images:
        by_class.setdefault(image.class_index, []).append(image)
    columns = min(max(map(len, by_class.values())), GRID_COLUMNS)
    cells, rows = [], []
    blank = np.zeros_like(images[0].pixels)
    for group in by_class.values():
        rows += [label(group[0])] + [""] * (-(-len(group) // columns) - 1)
        cells += [image.pixels for image in group] + [blank] * (-len(group) % columns)
    seeds = {tuple(image.seed for image in group) for group in by_class.values()}
    same = len(seeds) == 1 and len(images) == columns * len(by_class) and request.projected_w is None
    save_sheet(request.grid, cells, columns, rows, [str(seed) for seed in next(iter(seeds))] if same else ())


def is_zip(outdir: str) -> bool:
    return outdir.lower().endswith(".zip")


@contextlib.contextmanager
def open_output(request: Request, job: Job, snapshot: Snapshot) -> Iterator[Write]:
    """Yields what writes one image. A zip appears when all are in; in a folder, each file appears whole."""
    if request.outdir is None:
        yield lambda image: None
    elif is_zip(request.outdir):
        notices = snapshot.config.notes
        metadata = {"synthetic": job.origin} | ({"notice": "; ".join(notices)} if notices else {})
        class_names = None if request.projected_w else snapshot.class_names
        with DatasetWriter(request.outdir, class_names, metadata, request.overwrite) as writer:
            yield lambda image: writer.add(height_width_channels(image.pixels), image.class_index)
    else:
        suffix, encode = (".png", lambda image: png_bytes(image.pixels)) if request.file_format == "png" else (
            ".dcm", dicom_encoder(request, job, snapshot)
        )  # fmt: skip
        yield lambda image: write_file(Path(request.outdir) / (job.name(image) + suffix), encode(image))


def dicom_encoder(request: Request, job: Job, snapshot: Snapshot) -> Callable[[GeneratedImage], bytes]:
    """One series of images, numbered as they come."""
    origin = ", ".join(f"{name} {value}" for name, value in job.origin.items())
    series = SyntheticSeries(f"Made with {origin}.", [f"Trained on: {note}." for note in snapshot.config.notes])
    numbers = iter(range(1, job.count + 1))

    def encode(image: GeneratedImage) -> bytes:
        about = f"{'Latent' if request.projected_w else 'Seed'} {image.seed}."
        if image.class_index is not None:
            name = f" ({snapshot.class_names[image.class_index]})" if snapshot.class_names else ""
            about = f"Class {image.class_index}{name}. {about}"
        pixels = burn_in(image.pixels) if request.burn_in else image.pixels
        return dicom_bytes(series, pixels, next(numbers), about)

    return encode


def write_file(path: Path, data: bytes) -> None:
    try:
        write_bytes(path, data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another --outdir") from error


def height_width_channels(pixels: np.ndarray) -> np.ndarray:
    """(1,H,W) to (H,W), (3,H,W) to (H,W,3)."""
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


if __name__ == "__main__":
    main()
