"""Converts networks between official snapshots (.pkl) and ours (.safetensors)."""

from pathlib import Path

import click

from stylegan2ada.checkpoint import load, save_snapshot
from stylegan2ada.cli import Command
from stylegan2ada.errors import UserError

from .writer import save_official


@click.command(cls=Command)
@click.argument("source", metavar="IN")
@click.argument("destination", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
def main(source: str, destination: Path, overwrite: bool) -> None:
    """Convert the network file IN to OUT.

    IN: a .pkl or .safetensors file, a URL, or one of the official names (ffhq256, ffhq512, ffhq1024, celebahq256,
    lsundog256). OUT: .pkl for official code, .safetensors for ours. Nothing in IN is executed.
    """
    if destination.suffix not in (".pkl", ".safetensors"):
        raise UserError(f"{destination} must end in .pkl (for official code) or .safetensors (for ours)")
    if destination.is_dir() or (destination.exists() and not overwrite):
        raise UserError(f"{destination} is there already: choose another name, or add --overwrite")
    if destination.exists() and Path(source).exists() and destination.samefile(source):
        raise UserError(f"{source} would overwrite itself: choose another name")
    snapshot = load(source)
    try:
        if destination.suffix == ".pkl":
            save_official(destination, snapshot)
        else:
            save_snapshot(destination, snapshot.modules(), snapshot.config, snapshot.kimg)
    except OSError as error:
        raise UserError(f"{destination} cannot be written: {error}") from error
    parts = ", ".join(snapshot.modules())
    click.echo(f"{destination}: {parts}; {snapshot.config.data.resolution_px} px, {snapshot.kimg:g} kimg")


if __name__ == "__main__":
    main()
