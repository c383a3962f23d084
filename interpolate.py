"""A video that walks through seeds and classes, and returns to where it began."""

import math
from pathlib import Path

import click

from stylegan2ada.checkpoint import load
from stylegan2ada.cli import Command
from stylegan2ada.cli_values import check_psi, class_label, parse_classes, parse_seeds
from stylegan2ada.devices import DEVICES, choose_device
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.files import check_writable
from stylegan2ada.latent_walks import plan_stations, walk_in_w, walk_in_z
from stylegan2ada.progress import ProgressLine
from stylegan2ada.sampling import images_of_ws
from stylegan2ada.video import check_video, write_video

MAX_FRAMES = 20_000
WALKS = {"w": walk_in_w, "z": walk_in_z}


@click.command(cls=Command)
@click.option("--network", required=True, metavar="FILE", help="Network to use; of a snapshot, its moving average.")
@click.option("--seeds", required=True, metavar="LIST", help="Seeds that the walk passes, in this order.")
@click.option("--class", "wanted_classes", multiple=True, metavar="NUMBER|NAME|all",
              help="Classes that the walk passes at each seed.  [class 0]")
@click.option("--output", required=True, metavar="FILE.gif|FILE.mp4", type=click.Path(path_type=Path),
              help='MP4 needs pip install "spinegan[video]".')
@click.option("--frames", type=click.IntRange(min=1), default=60, show_default=True,
              help="Frames from one seed or class to the next.")
@click.option("--fps", type=float, default=30.0, show_default=True, help="Frames per second; a GIF has at most 50.")
@click.option("--space", type=click.Choice(list(WALKS)), default="w", show_default=True,
              help="Where the path is smooth; in z, labels are mixed too.")
@click.option("--trunc", default=1.0, show_default=True, help="Truncation psi: 1 is none, 0 the mean image.")
@click.option("--noise-mode", type=click.Choice(["const", "none"]), default="const", show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images at a time.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
def main(
    network: str,
    seeds: str,
    wanted_classes: tuple[str, ...],
    output: Path,
    frames: int,
    fps: float,
    space: str,
    trunc: float,
    noise_mode: str,
    batch: int,
    device: str,
) -> None:
    """Make a video that interpolates between seeds, between classes, or both.

    The path is a closed, smooth curve. With one seed and several classes, the same z changes its class; with several
    seeds, each is seen in every class before the next.

    \b
    Examples:
      python interpolate.py --network network-snapshot-004200.safetensors --seeds 0-5 --class 1 --output walk.gif
      python interpolate.py --network network-snapshot-004200.safetensors --seeds 3 --class all --output classes.mp4
    """
    seed_list = parse_seeds(seeds)
    check_psi(trunc)
    if not (math.isfinite(fps) and 1 <= fps <= 240):
        raise UserError(f"--fps {fps:g}: choose 1 to 240 frames per second")
    check_video(output, fps, "--output")
    check_writable(output.parent, "--output")
    snapshot = load(network, choose_device(device))
    G = snapshot.generator
    classes = parse_classes(wanted_classes, G.c_dim, snapshot.class_names) or list(range(min(G.c_dim, 1)))
    stations = plan_stations(seed_list, classes)
    if len(stations) < 2:
        raise UserError(f"--seeds {seeds}: one seed of one class is no walk; give more seeds, or --class all")
    count = len(stations) * frames
    if count > MAX_FRAMES:
        raise UserError(f"--frames {frames} times {len(stations)} stations are {count:,}: at most {MAX_FRAMES:,}")

    for note in snapshot.config.notes:
        click.echo(f"This network was trained on: {note}.")
    if classes and not wanted_classes:
        click.echo(f"No --class given: the walk stays in class 0 ({class_label(0, snapshot.class_names)}).")
    progress = ProgressLine("rendering", "frame")

    def render():
        for done, pixels in enumerate(images_of_ws(G, ws, noise_mode, batch), start=1):
            yield pixels
            progress(done, count)

    try:
        ws = WALKS[space](G, stations, frames, trunc)
        write_video(output, render(), fps)
    except NonFiniteError as error:
        raise UserError(f"--network {network}: {error}; take another snapshot of the run") from error
    click.echo(f"{count} frames, {count / fps:.1f} s, through {len(stations)} stations in {space.upper()}: {output}")


if __name__ == "__main__":
    main()
