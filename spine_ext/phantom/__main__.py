"""python -m spine_ext.phantom --dest DIR: writes a phantom data set."""

import time
from pathlib import Path

import click

from stylegan2ada.cli import Command

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
    """Write a procedural phantom of VinDr-SpineXR: spine radiographs as DICOM, with annotations. Not clinical data."""
    start = shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < 1.0 and done < total:
            return
        shown, rate = now, done / max(now - start, 1e-9)
        end = "\n" if done == total else ""
        click.echo(
            f"\rphantom  {done}/{total} images  {rate:.1f} img/s  ETA {(total - done) / rate:.0f} s  {end}",
            nl=False,
            err=True,
        )

    folder = make_phantom_dataset(dest, train=train, test=test, seed=seed, workers=workers, progress=show)
    click.echo(f"{folder}: {train} training and {test} test images. Synthetic shapes, not clinical data.")


if __name__ == "__main__":
    main()
