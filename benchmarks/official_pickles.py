"""Exchanges network pickles with a checkout of the official StyleGAN2-ADA PyTorch repository, and prints differences.

python -m benchmarks.official_pickles --peer ../stylegan2-ada-pytorch

Each network, with random weights, goes three ways: ours -> the official loader -> images; what that loader read,
pickled again by the official code -> ours; one made and pickled by the official code -> ours -> images. That code
runs in a process of its own, on the CPU, through its published interface.
"""

import pickle
import subprocess
import sys
import tempfile
import types
import warnings
from pathlib import Path

import click
import numpy as np
import torch

from stylegan2ada.augment import AUGMENT_PIPES, make_augment_pipe
from stylegan2ada.checkpoint import Snapshot, load, make_discriminator, make_generator, read_snapshot
from stylegan2ada.cli import Command
from stylegan2ada.config import AugmentConfig, DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.images import to_uint8
from stylegan2ada.legacy.arguments import discriminator_arguments, generator_arguments
from stylegan2ada.legacy.writer import save_official

from .peer_step import check_checkout

BATCH = 4
HEADINGS = f"""\
Largest differences; of images of 8 bits, how many values differ; of tensors, how many differ after a round trip
{"":22}{"ours in theirs":^33}{"theirs in ours":^33}{"round trips":^39}
{"":22}{2 * f"{'images':>12}{'8 bits':>8}{'logits':>13}"}{"theirs":>13}{"both":>13}{"ours":>13}"""
SMALL = {"channel_base": 1024, "channel_max": 64, "z_dim": 32, "w_dim": 32}
CONFIGS = {
    "cond 32 px grey": TrainingConfig(
        DataConfig("set.zip", 32, 1, 100, 2, ("normal", "abnormal"), mirror=True),
        NetworkConfig(**SMALL, mapping_layers=2), augment=AugmentConfig("ada", "bgcfnc"),
    ),
    "uncond 64 px RGB": TrainingConfig(DataConfig("set.zip", 64, 3, 100), NetworkConfig(**SMALL, conv_clamp=256)),
    "cond 32 px RGB, orig": TrainingConfig(
        DataConfig("set.zip", 32, 3, 100, 10),
        NetworkConfig(**SMALL, mapping_layers=2, d_architecture="orig", mbstd_group_size=2, freeze_layers=3),
    ),
}  # fmt: skip


@click.command(cls=Command)
@click.option("--peer", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--worker", type=click.Path(path_type=Path), hidden=True)
def main(peer: Path, worker: Path | None) -> None:
    """Network pickles beside the official code in the folder PEER."""
    check_checkout(str(peer))
    if worker is not None:
        run_peer(peer, worker)
        return
    print(HEADINGS)
    for name, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name:22} {compare(config, peer, Path(folder))}", flush=True)


def compare(config: TrainingConfig, peer: Path, folder: Path) -> str:
    """One line of the table."""
    torch.manual_seed(0)
    ours = random_snapshot(config)
    save_official(folder / "ours.pkl", ours)
    z, c, images = torch.randn(BATCH, 32), labels(config), torch.randn(BATCH, *image_shape(config))
    np.savez(folder / "inputs.npz", z=z, c=c, images=images)
    arguments = {
        "G": generator_arguments(config), "D": discriminator_arguments(config),
        "augment_pipe": AUGMENT_PIPES[config.augment.pipe],
    }  # fmt: skip
    (folder / "arguments.pkl").write_bytes(pickle.dumps(arguments))
    command = [sys.executable, "-m", "benchmarks.official_pickles", "--peer", str(peer), "--worker", str(folder)]
    subprocess.run(command, check=True)
    peer_results = np.load(folder / "results.npz")
    cells = []
    for origin, snapshot in {"ours": ours, "theirs": load(folder / "theirs.pkl")}.items():
        found = snapshot.generator(z, c, noise_mode="const"), snapshot.discriminator(images, c)
        expected = (torch.from_numpy(peer_results[f"{origin}/{what}"]) for what in ("images", "logits"))
        (image, their_image), (logits, their_logits) = zip(found, expected, strict=True)
        pixels = (to_uint8(image) != to_uint8(their_image)).sum().item()
        cells += [f"{difference(image, their_image):12.1e}{pixels:8}{difference(logits, their_logits):13.1e}"]
    save_official(folder / "theirs-ours.pkl", load(folder / "theirs.pkl"))
    save_official(folder / "ours-ours.pkl", load(folder / "ours.pkl"))
    trips = [("ours", "ours-again"), ("theirs", "theirs-ours"), ("ours", "ours-ours")]
    counts = [count_different(folder / f"{before}.pkl", folder / f"{after}.pkl") for before, after in trips]
    return "".join(cells) + "".join(f"{count:>13}" for count in counts)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return (ours - theirs).abs().max().item()


def count_different(before: Path, after: Path) -> str:
    (_, _, first), (_, _, second) = read_snapshot(before), read_snapshot(after)
    differ = [n for n in first.keys() | second.keys() if n not in first or n not in second or
              not torch.equal(first[n], second[n])]  # fmt: skip
    return f"{len(differ)} of {len(first)}"


def random_snapshot(config: TrainingConfig) -> Snapshot:
    """Networks in which every tensor matters."""
    G, D, G_ema = make_generator(config), make_discriminator(config), make_generator(config)
    pipe = make_augment_pipe(config.augment.pipe)
    pipe.p.fill_(0.25)
    for network in (G, D, G_ema):
        randomize(network)
    return Snapshot(G_ema, G, D, pipe, config, kimg=200.0)


@torch.no_grad()
def randomize(network: torch.nn.Module) -> None:
    network.eval().requires_grad_(False)
    for name, tensor in network.state_dict().items():
        if name.endswith(("bias", "noise_strength", "w_avg")):
            tensor.copy_(tensor + 0.1 * torch.randn_like(tensor))


def labels(config: TrainingConfig) -> torch.Tensor:
    return torch.eye(max(config.data.num_classes, 1))[torch.arange(BATCH) % max(config.data.num_classes, 1)][
        :, : config.data.num_classes
    ]


def image_shape(config: TrainingConfig) -> tuple[int, int, int]:
    return config.data.num_channels, config.data.resolution_px, config.data.resolution_px


def run_peer(peer: Path, folder: Path) -> None:
    """The official side: reads ours.pkl; writes it again, a network of its own, and what both compute."""
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(peer.resolve()))
    sys.modules.setdefault("requests", types.ModuleType("requests"))  # its downloads need it; there are none here
    import dnnlib
    import legacy
    import training.augment
    import training.networks

    with open(folder / "ours.pkl", "rb") as file:
        ours = legacy.load_network_pkl(file)
    with open(folder / "ours-again.pkl", "wb") as file:
        pickle.dump(ours, file)
    arguments = pickle.loads((folder / "arguments.pkl").read_bytes())  # noqa: S301  our own
    torch.manual_seed(1)
    theirs = {
        "G": training.networks.Generator(**arguments["G"]),
        "D": training.networks.Discriminator(**arguments["D"]),
        "G_ema": training.networks.Generator(**arguments["G"]),
        "augment_pipe": training.augment.AugmentPipe(**arguments["augment_pipe"]),
        "training_set_kwargs": dnnlib.EasyDict(path="set.zip", use_labels=True, max_size=100, xflip=True),
    }
    for part in ("G", "D", "G_ema"):
        randomize(theirs[part])
    with open(folder / "theirs.pkl", "wb") as file:
        pickle.dump(theirs, file)
    inputs = {name: torch.from_numpy(array) for name, array in np.load(folder / "inputs.npz").items()}
    results = {}
    for origin, networks in {"ours": ours, "theirs": theirs}.items():
        results[f"{origin}/images"] = networks["G_ema"](inputs["z"], inputs["c"], noise_mode="const")
        results[f"{origin}/logits"] = networks["D"](inputs["images"], inputs["c"])
    np.savez(folder / "results.npz", **{name: value.detach().numpy() for name, value in results.items()})


if __name__ == "__main__":
    main()
