"""Projects an image into the latent space of a network: which latent gives the image that looks most like it?"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch

from spine_ext.classifier import load_classifier
from spine_ext.classifier_features import perceptual_features
from spine_ext.projection_target import read_target
from stylegan2ada.checkpoint import load
from stylegan2ada.cli import Command
from stylegan2ada.cli_values import class_label, parse_classes
from stylegan2ada.devices import DEVICES, choose_device
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.files import check_writable, write_bytes, write_json
from stylegan2ada.generator import Generator
from stylegan2ada.images import png_bytes, to_model_range, to_uint8
from stylegan2ada.perceptual import Features, load_vgg16, pixel_pyramid
from stylegan2ada.progress import ProgressLine
from stylegan2ada.projected_w import save_projected_w
from stylegan2ada.projection import SPACES, Projection, ProjectionSettings, distances_of_classes, project
from stylegan2ada.sampling import images_of_ws
from stylegan2ada.sheets import save_sheet
from stylegan2ada.video import mp4_is_available, write_video

STRIP_SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)  # of all steps, shown between the target and the result
VIDEO_FPS, VIDEO_FRAMES = 25, 200


@dataclasses.dataclass(frozen=True)
class Start:
    """Which class the search starts in, and how far the mean image of each is from the target."""

    class_index: int | None
    class_distances: list[float]


@click.command(cls=Command)
@click.option("--network", required=True, metavar="FILE", help="Network to use; of a snapshot, its moving average.")
@click.option("--target", required=True, metavar="FILE", help="Image (PNG and others) or DICOM file to project.")
@click.option("--outdir", required=True, metavar="DIR", type=click.Path(path_type=Path), help="For the results.")
@click.option("--num-steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Optimisation steps.")
@click.option("--class", "wanted_class", metavar="NUMBER|NAME",
              help="Class whose mean the search starts from.  [the one whose mean image is nearest]")
@click.option("--space", type=click.Choice(SPACES), default="w", show_default=True,
              help="w: one latent for all layers; w+: one for each, which fits more but means less.")
@click.option("--classifier", metavar="FILE", help="Compare by the features of this SpineClassifier.")
@click.option("--vgg", metavar="FILE", help="Compare by the features of the official vgg16.pt, a TorchScript program.")
@click.option("--fit-noise", is_flag=True, help="Fit the noise inputs too, as the StyleGAN2 paper does.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of all that is drawn.")
@click.option("--save-video", type=bool, metavar="BOOL", default=False, help="A video of the search.  [false]")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
def main(
    network: str,
    target: str,
    outdir: Path,
    num_steps: int,
    wanted_class: str | None,
    space: str,
    classifier: str | None,
    vgg: str | None,
    fit_noise: bool,
    seed: int,
    save_video: bool,
    device: str,
) -> None:
    """Find the latent of an image.

    Writes projected_w.npz, proj.png, target.png, strip.png (the search from left to right) and projection.json with
    the distance. generate.py --projected-w makes the image again. Without --classifier or --vgg, images are compared
    pixel by pixel at several scales. target.png and the result show what the target shows: treat them like it.

    \b
    Example:
      python projector.py --network network-snapshot-004200.safetensors --classifier classifier.safetensors
          --target radiograph.dcm --outdir projected
    """
    check_writable(outdir, "--outdir")
    place = choose_device(device)
    snapshot = load(network, place)
    G = snapshot.generator
    pixels, remarks = read_target(target, G.img_resolution, G.img_channels)
    features, compared_by = choose_features(classifier, vgg, G.img_resolution, place)
    for line in (*(f"This network was trained on: {note}." for note in snapshot.config.notes), *remarks):
        click.echo(line)
    click.echo(f"Images are compared by {compared_by}.")
    settings = ProjectionSettings(num_steps, space, fit_noise, seed)
    wanted = to_model_range(torch.from_numpy(pixels)[None].to(place))
    try:
        start = choose_start(G, wanted, features, wanted_class, snapshot.class_names, settings)
        search = Search(num_steps)
        found = project(G, wanted, features, start.class_index, settings, search.see)
        image = to_uint8(found.image)[0].cpu().numpy()
        save_strip(outdir, G, pixels, image, search)
        if save_video:
            save_progress_video(outdir, G, pixels, search)
    except NonFiniteError as error:
        raise UserError(f"--network {network}: {error}; take another snapshot of the run") from error
    report = {
        "distance": found.distance,
        "start_distance": found.start_distance,
        "rms_difference": rms_difference(image, pixels),
        "compared_by": compared_by,
        **dataclasses.asdict(start),
        **dataclasses.asdict(settings),
        "network": Path(network).name,
    }
    save_results(outdir, found, image, pixels, report)
    off = f"grey values off by {report['rms_difference']:.1f} of 255 (root mean square)"
    click.echo(f"distance {found.start_distance:.4g} -> {found.distance:.4g}, {off}: {outdir}")


class Search:
    """Remembers the latents on the way: all are seen, those of the strip and of a video are kept."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.strip = {1 + int(share * (num_steps - 1)): None for share in STRIP_SHARES}
        self.video: list[torch.Tensor] = []
        self._progress = ProgressLine("projecting", "step")

    def see(self, step: int, distance: float, ws: torch.Tensor) -> None:
        """Called after each step, counted from 1; ws (1, L, W)."""
        self._progress(step, self.num_steps, f"distance {distance:.4g}")
        if step in self.strip:
            self.strip[step] = ws.cpu()
        if step * VIDEO_FRAMES // self.num_steps > (step - 1) * VIDEO_FRAMES // self.num_steps:
            self.video.append(ws.cpu())


def choose_features(
    classifier: str | None, vgg: str | None, side_px: int, device: torch.device
) -> tuple[Features, str]:
    """What images are compared by, and its name."""
    if classifier and vgg:
        raise UserError("give either --classifier or --vgg, not both")
    if classifier:
        features = perceptual_features(load_classifier(classifier, device))
        return features, "the features of a SpineClassifier and by pixels"
    if vgg:
        return load_vgg16(vgg, device, side_px), "the features of VGG16 (LPIPS)"
    return pixel_pyramid, "their pixels at several scales (no --classifier given)"


def choose_start(
    G: Generator,
    wanted: torch.Tensor,
    features: Features,
    wanted_class: str | None,
    class_names: Sequence[str] | None,
    settings: ProjectionSettings,
) -> Start:
    """The class that is asked for, or the one whose mean image is nearest to the target; says which."""
    classes = parse_classes([wanted_class] if wanted_class is not None else [], G.c_dim, class_names)
    if len(classes) > 1:
        raise UserError(f"--class {wanted_class}: the search starts in one class; name one, or leave --class out")
    if not G.c_dim:
        return Start(None, [])
    if classes:
        return Start(classes[0], [])
    distances = distances_of_classes(G, wanted, features, settings)
    nearest = min(range(G.c_dim), key=distances.__getitem__)
    listed = ", ".join(f"{class_label(one, class_names)} {far:.4g}" for one, far in enumerate(distances))
    click.echo(f"Nearest mean image: {class_label(nearest, class_names)} (distances: {listed}).")
    return Start(nearest, distances)


def save_strip(outdir: Path, G: Generator, target: np.ndarray, image: np.ndarray, search: Search) -> None:
    """target | the search from the mean image on | result."""
    steps = list(images_of_ws(G, torch.cat(list(search.strip.values()))))
    labels = ["target", *(f"step {step}" for step in search.strip), "result"]
    save_sheet(outdir / "strip.png", [target, *steps, image], len(labels), column_labels=labels)


def save_progress_video(outdir: Path, G: Generator, target: np.ndarray, search: Search) -> None:
    """The target on the left, the search on the right."""
    path = outdir / ("proj.mp4" if mp4_is_available() else "proj.gif")
    images = images_of_ws(G, torch.cat(search.video))
    write_video(path, (np.concatenate([target, pixels], axis=2) for pixels in images), VIDEO_FPS)
    hint = "" if mp4_is_available() else ' (pip install "spinegan[video]" for MP4)'
    click.echo(f"video: {path}{hint}")


def save_results(outdir: Path, found: Projection, image: np.ndarray, target: np.ndarray, report: dict) -> None:
    """The official files, and the distance as JSON."""
    try:
        save_projected_w(outdir / "projected_w.npz", found.ws, found.noise_maps)
        write_bytes(outdir / "proj.png", png_bytes(image))
        write_bytes(outdir / "target.png", png_bytes(target))
        write_json(outdir / "projection.json", report)
    except OSError as error:
        raise UserError(f"cannot write into {outdir}: {error.strerror}; choose another --outdir") from error


def rms_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Of uint8 images, in grey values."""
    return float(np.sqrt(np.mean((a.astype(float) - b.astype(float)) ** 2)))


if __name__ == "__main__":
    main()
