"""Generates images with a trained network, into a folder of PNG files or a dataset zip."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np

from stylegan2ada.checkpoint import load
from stylegan2ada.cli import Command
from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.devices import choose_device
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.files import write_bytes
from stylegan2ada.images import png_bytes
from stylegan2ada.progress import ProgressLine
from stylegan2ada.sampling import GeneratedImage, images_of_seeds

MAX_SEED = 2**32 - 1
MAX_IMAGES = 10_000_000


@click.command(cls=Command)
@click.option(
    "--network", required=True, metavar="FILE", help="Snapshot of a training run; its moving average is used."
)
@click.option("--seeds", required=True, metavar="LIST", help="One image per seed, e.g. 0-999 or 0,3,5-9.")
@click.option(
    "--class", "wanted_class", metavar="NUMBER|NAME", help="Class of all images.  [classes take turns by seed]"
)
@click.option("--trunc", default=1.0, show_default=True, help="Truncation psi: 1 is none, 0 the mean image.")
@click.option("--outdir", required=True, metavar="DIR|ZIP", help="Folder for seed0000.png ..., or a dataset to write.")
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "random", "none"]),
    default="const",
    show_default=True,
    help="Noise inputs: the network's own, drawn with the seed, or none.",
)
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images at a time.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an existing zip.")
def main(
    network: str,
    seeds: str,
    wanted_class: str | None,
    trunc: float,
    outdir: str,
    noise_mode: str,
    batch: int,
    device: str,
    overwrite: bool,
) -> None:
    """Generate images with a trained network.

    A seed gives the same image whatever else is generated with it. An --outdir that ends in .zip becomes a dataset
    with labels, for classify.py or train.py; files of the same name in a folder are replaced.

    \b
    Examples:
      python generate.py --network network-snapshot-004200.safetensors --seeds 0-15 --outdir out
      python generate.py --network network-snapshot-004200.safetensors --seeds 0-999 --class 1 --outdir abnormal.zip
    """
    seed_list = parse_seeds(seeds)
    if not math.isfinite(trunc):
        raise UserError(f"--trunc {trunc} is not a finite number: choose one around 0 to 1")
    check_outdir(outdir)
    snapshot = load(network, choose_device(device))
    G = snapshot.generator
    classes = choose_classes(wanted_class, seed_list, G.c_dim, snapshot.class_names)

    for note in snapshot.config.notes:
        click.echo(f"This network was trained on: {note}.")
    origin = {"network": Path(network).name, "seeds": seeds, "trunc": trunc, "noise_mode": noise_mode}
    metadata = {"synthetic": origin} | ({"notice": "; ".join(snapshot.config.notes)} if snapshot.config.notes else {})
    progress = ProgressLine("generating", "image")
    with open_output(outdir, snapshot.class_names, metadata, overwrite) as write:
        if classes is not None and wanted_class is None:
            click.echo(f"No --class given: the {G.c_dim} classes take turns, seed modulo {G.c_dim}.")
        try:
            for done, image in enumerate(images_of_seeds(G, seed_list, classes, trunc, noise_mode, batch), start=1):
                write(image)
                progress(done, len(seed_list))
        except NonFiniteError as error:
            raise UserError(f"--network {network}: {error}; take another snapshot of the run") from error
    size = f"{G.img_resolution}x{G.img_resolution}"
    click.echo(f"{len(seed_list)} {'grey' if G.img_channels == 1 else 'color'} images of {size} pixels: {outdir}")


def parse_seeds(text: str) -> list[int]:
    """`0,3,5-9` to a list without repeats, in the order given."""
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part)
        if not match:
            raise UserError(f"--seeds {text}: {part!r} is neither a number nor a range; write for example 0,3,5-9")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"--seeds {text}: the range {part} runs backwards; write {last}-{first}")
        if last > MAX_SEED:
            raise UserError(f"--seeds {text}: {last} is too large; seeds go up to {MAX_SEED}")
        if len(seeds) + last - first >= MAX_IMAGES:
            raise UserError(f"--seeds {text}: more than {MAX_IMAGES:,} images at once; split the range")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return list(seeds)


def choose_classes(
    wanted: str | None, seeds: Sequence[int], num_classes: int, class_names: Sequence[str] | None
) -> list[int] | None:
    """A class for each seed; None for an unconditional model. Not asked for one class, the classes take turns."""
    if num_classes == 0:
        if wanted is not None:
            raise UserError(f"--class {wanted}: this network is unconditional, it has no classes; leave --class out")
        return None
    if wanted is None:
        return [seed % num_classes for seed in seeds]
    return [class_index(wanted, num_classes, class_names)] * len(seeds)


def class_index(wanted: str, num_classes: int, class_names: Sequence[str] | None) -> int:
    """The class that a name or number means."""
    if class_names and wanted in class_names:
        return class_names.index(wanted)
    if re.fullmatch(r"\d{1,9}", wanted) and int(wanted) < num_classes:
        return int(wanted)
    named = "" if not class_names else " or a name: " + ", ".join(class_names)
    numbers = f"a number from 0 to {num_classes - 1}"
    raise UserError(f"--class {wanted}: this network has no such class; choose {numbers}{named}")


def check_outdir(outdir: str) -> None:
    """Before any work; whether a zip may be replaced is the dataset writer's affair."""
    if not is_zip(outdir) and Path(outdir).exists() and not Path(outdir).is_dir():
        raise UserError(f"--outdir {outdir} is a file: choose a folder, or a name that ends in .zip")


def is_zip(outdir: str) -> bool:
    return outdir.lower().endswith(".zip")


@contextlib.contextmanager
def open_output(
    outdir: str, class_names: Sequence[str] | None, metadata: dict[str, object], overwrite: bool
) -> Iterator[Callable[[GeneratedImage], None]]:
    """Yields what writes one image. A zip appears when all are in; in a folder, each file appears whole."""
    if not is_zip(outdir):
        yield lambda image: write_png(Path(outdir) / f"seed{image.seed:04d}.png", image)
        return
    with DatasetWriter(outdir, class_names, metadata, overwrite) as writer:
        yield lambda image: writer.add(height_width_channels(image.pixels), image.class_index)


def write_png(path: Path, image: GeneratedImage) -> None:
    try:
        write_bytes(path, png_bytes(image.pixels))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another --outdir") from error


def height_width_channels(pixels: np.ndarray) -> np.ndarray:
    """(1,H,W) to (H,W), (3,H,W) to (H,W,3)."""
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


if __name__ == "__main__":
    main()
