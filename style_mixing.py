"""Style mixing: a picture whose images have the shapes of their row's seed and the details of their column's."""

from pathlib import Path

import click
import numpy as np

from stylegan2ada.checkpoint import load
from stylegan2ada.cli import Command
from stylegan2ada.cli_values import check_psi, class_label, parse_classes, parse_layers, parse_seeds
from stylegan2ada.devices import DEVICES, choose_device
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.files import check_writable, write_bytes
from stylegan2ada.images import png_bytes
from stylegan2ada.progress import ProgressLine
from stylegan2ada.sampling import images_of_ws, ws_of_seeds
from stylegan2ada.sheets import check_sheet, save_sheet
from stylegan2ada.style_mixing import mixing_table


@click.command(cls=Command)
@click.option("--network", required=True, metavar="FILE", help="Network to use; of a snapshot, its moving average.")
@click.option("--rows", required=True, metavar="LIST", help="Seeds of the rows, e.g. 85,100,75.")
@click.option("--cols", required=True, metavar="LIST", help="Seeds of the columns, e.g. 55,821,1789.")
@click.option("--styles", metavar="LIST",
              help="Layers that images take from their column, from 4x4 on.  [0-6; the lower half of small networks]")
@click.option("--class", "wanted_classes", multiple=True, metavar="NUMBER|NAME|all",
              help="A picture for each class that is given.  [all]")
@click.option("--trunc", default=1.0, show_default=True, help="Truncation psi: 1 is none, 0 the mean image.")
@click.option("--noise-mode", type=click.Choice(["const", "random", "none"]), default="const", show_default=True)
@click.option("--outdir", required=True, metavar="DIR", type=click.Path(path_type=Path),
              help="For grid.png and its images; grid-class0.png ... of several classes.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
def main(
    network: str,
    rows: str,
    cols: str,
    styles: str | None,
    wanted_classes: tuple[str, ...],
    trunc: float,
    noise_mode: str,
    outdir: Path,
    device: str,
) -> None:
    """Mix the styles of pairs of seeds.

    The first row and the first column show the seeds themselves, the others their mixtures. Low layers decide shape
    and pose, high ones grey values and texture.

    \b
    Example:
      python style_mixing.py --network network-snapshot-004200.safetensors --rows 85,100,75 --cols 55,821 --outdir out
    """
    row_seeds, column_seeds = parse_seeds(rows, "--rows"), parse_seeds(cols, "--cols")
    check_psi(trunc)
    check_writable(outdir, "--outdir")
    snapshot = load(network, choose_device(device))
    G = snapshot.generator
    layers = parse_layers(styles or default_layers(G.num_ws), G.num_ws)
    classes = parse_classes(wanted_classes, G.c_dim, snapshot.class_names) or list(range(G.c_dim)) or [None]
    count = (len(row_seeds) + 1) * (len(column_seeds) + 1)
    check_sheet(count, G.img_resolution, "--rows and --cols")
    for note in snapshot.config.notes:
        click.echo(f"This network was trained on: {note}.")

    progress = ProgressLine("mixing", "image")
    total = len(classes) * (count - 1)
    for number, one in enumerate(classes):
        row_ws, column_ws = (ws_of_seeds(G, seeds, [one] * len(seeds), trunc) for seeds in (row_seeds, column_seeds))
        images = []
        try:
            for image in images_of_ws(G, mixing_table(row_ws, column_ws, layers), noise_mode):
                images.append(image)
                progress(number * (count - 1) + len(images), total)
        except NonFiniteError as error:
            raise UserError(f"--network {network}: {error}; take another snapshot of the run") from error
        suffix = f"-class{one}" if len(classes) > 1 else ""
        save_images(outdir, suffix, images, row_seeds, column_seeds)
        corner = class_label(one, snapshot.class_names)
        save_table(outdir / f"grid{suffix}.png", images, row_seeds, column_seeds, corner)
    grids = "grid.png" if len(classes) == 1 else f"grid-class{classes[0]}.png ..."
    click.echo(f"layers {', '.join(map(str, layers))} are the columns', the others the rows': {outdir / grids}")


def default_layers(num_ws: int) -> str:
    """The official 0-6, which would be all layers of a network of up to 16 px."""
    return "0-6" if num_ws > 7 else f"0-{num_ws // 2 - 1}"


def save_table(
    path: Path, images: list[np.ndarray], row_seeds: list[int], column_seeds: list[int], corner: str
) -> None:
    """All images in one picture; the first row and the first column are the seeds' own."""
    rows, columns = ([f"seed {seed}" for seed in seeds] for seeds in (row_seeds, column_seeds))
    cells = [np.zeros_like(images[0]), *images]
    save_sheet(path, cells, len(columns) + 1, [corner, *rows], ["", *columns])


def save_images(
    outdir: Path, suffix: str, images: list[np.ndarray], row_seeds: list[int], column_seeds: list[int]
) -> None:
    """Each image in a file of its own: 85.png is a seed, 85-55.png row 85 with the styles of column 55."""
    names = [str(seed) for seed in column_seeds]
    for row in row_seeds:
        names += [str(row), *(f"{row}-{column}" for column in column_seeds)]
    try:
        for name, pixels in zip(names, images, strict=True):
            write_bytes(outdir / f"{name}{suffix}.png", png_bytes(pixels))
    except OSError as error:
        raise UserError(f"cannot write into {outdir}: {error.strerror}; choose another --outdir") from error


if __name__ == "__main__":
    main()
