"""The two sizes of the reproduction: as published, and scaled to run on two CPU cores."""

from dataclasses import dataclass, field

from stylegan2ada.options import OFFICIAL_DEFAULTS, RunOptions

from ..default_run import PHANTOM_SCALE
from ..presets import PAPER_RUNS

OWN = "own"


@dataclass(frozen=True)
class Preset:
    """Everything that decides a reproduction but the data.

    seeds: of the two GANs and of every classifier; seed k of a classifier sees the fakes of seed k of the GAN.
    gan: options of train.py for all GANs; their kimg and snapshots too.
    multi_kimg, ablation_kimg: of MultiConditional, and of the gamma 0.05 ablation.
    counts: synthetic images by the paper's own count.
    epochs: of the downstream classifiers, and of the clinical term's.
    measured_images: fakes for the numbers at each snapshot.
    agreement_images: fakes of each class shown to the classifier of lesions.
    weights: that classifiers start from, as classify.py has it.
    detector: OWN (features of a classifier trained on other phantoms), or what calc_metrics.py --detector takes.
    images_per_sec: by kind of step, measured on two CPU cores, for estimates; empty: not measured.
    """

    name: str
    seeds: int
    gan: RunOptions
    multi_kimg: float
    ablation_kimg: float
    counts: dict[int, int]
    epochs: int
    term_epochs: int
    weights: str
    measured_images: int
    agreement_images: int
    detector: str
    images_per_sec: dict[str, float] = field(default_factory=dict)

    @property
    def num_snapshots(self) -> int:
        """Of a network of full length."""
        options = self.gan.over(OFFICIAL_DEFAULTS)
        return round(options.kimg / (options.tick * options.snap))


PAPER = Preset(
    name="paper",
    seeds=1,
    gan=PAPER_RUNS["stylegan2-ada"].options,
    multi_kimg=1200,
    ablation_kimg=200,
    counts={500: 500, 1600: 1600, 10_000: 10_000},
    epochs=30,
    term_epochs=19,
    weights="imagenet",
    measured_images=50_000,
    agreement_images=100,
    detector="auto",
)

# The counts have the paper's ratio to the real images, here 1,500; the largest is cut by half.
PHANTOM = Preset(
    name="phantom",
    seeds=2,
    gan=RunOptions(kimg=20, tick=0.5, snap=4).over(PHANTOM_SCALE),
    multi_kimg=20,
    ablation_kimg=4,
    counts={500: 200, 1600: 640, 10_000: 2000},
    epochs=8,
    term_epochs=12,
    weights="random",
    measured_images=1500,
    agreement_images=100,
    detector=OWN,
    images_per_sec={"data": 45, "gan": 70, "classifier": 140, "auc": 140, "metrics": 200, "fakes": 400},
)

PRESETS = {preset.name: preset for preset in (PAPER, PHANTOM)}
