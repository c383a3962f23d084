"""python -m spine_ext.phantom --dest DIR: writes a phantom data set."""

from pathlib import Path

import click

from stylegan2ada.cli import Command
from stylegan2ada.progress import ProgressLine

from .dataset import make_phantom_dataset


@click.command(cls=Command)
@click.option(
    "--dest", required=True, type=click.Path(path_type=Path), help="Folder to write; it must not exist yet."
)
@click.option("--train", default=1500, show_default=True, help="Number of training images.")
@click.option("--test", default=500, show_default=True, help="Number of test images.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same files.")
@click.option("--workers", type=int, help="Number of processes.  [default: one per CPU]")
def main(dest: Path, train: int, test: int, seed: int, workers: int | None) -> None:
    """Draw spine radiographs and write them as DICOM in the layout of VinDr-SpineXR. Not clinical data."""
    progress = ProgressLine("phantom", "img")
    folder = make_phantom_dataset(dest, train=train, test=test, seed=seed, workers=workers, progress=progress)
    click.echo(f"{folder}: {train} training and {test} test images. Synthetic shapes, not clinical data.")


if __name__ == "__main__":
    main()
