"""The numbers that the SpineGAN paper (2022) publishes, by the names this project gives to its rows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperAuc:
    """A row of Table 1: test AUC of a classifier.

    Attributes:
        variant: the GAN of the synthetic images; None: no synthetic images.
        synthetic: how many of them, half abnormal.
        real: whether the real training images were used as well.
    """

    title: str
    variant: str | None
    synthetic: int
    real: bool
    auc: float


@dataclass(frozen=True)
class PaperImageMetrics:
    """FID, precision and recall at `kimg`, of the Inception network and VGG16."""

    title: str
    variant: str
    gamma_clinical: float
    kimg: float
    fid: float
    precision: float
    recall: float


STYLEGAN2_ADA, SPINEGAN, SPINEGAN_STRONG, MULTICONDITIONAL = (
    "stylegan2-ada",
    "spinegan",
    "spinegan-gamma0.05",
    "multiconditional",
)
PAPER_REAL_IMAGES = 3773
TITLES = {
    STYLEGAN2_ADA: "StyleGAN2-ADA",
    SPINEGAN: "SpineGAN",
    SPINEGAN_STRONG: "SpineGAN, γ 0.05",
    MULTICONDITIONAL: "MultiConditional",
}

STATE_OF_THE_ART = PaperAuc("State of the art (VinDr-SpineXR)", None, 0, True, 0.886)
TRUE = PaperAuc("True images", None, 0, True, 0.856)
TABLE_1 = (
    STATE_OF_THE_ART,
    TRUE,
    PaperAuc("True + StyleGAN2-ADA", STYLEGAN2_ADA, 500, True, 0.843),
    PaperAuc("True + StyleGAN2-ADA", STYLEGAN2_ADA, 1600, True, 0.847),
    PaperAuc("True + StyleGAN2-ADA", STYLEGAN2_ADA, 10000, True, 0.839),
    PaperAuc("True + SpineGAN", SPINEGAN, 500, True, 0.850),
    PaperAuc("True + SpineGAN", SPINEGAN, 1600, True, 0.856),
    PaperAuc("True + SpineGAN", SPINEGAN, 10000, True, 0.850),
    PaperAuc("Only StyleGAN2-ADA", STYLEGAN2_ADA, 10000, False, 0.814),
    PaperAuc("Only SpineGAN", SPINEGAN, 10000, False, 0.830),
)

TABLE_2 = (
    PaperImageMetrics("StyleGAN2-ADA", STYLEGAN2_ADA, 0.0, 4200, 32.7, 0.460, 0.0159),
    PaperImageMetrics("SpineGAN", SPINEGAN, 0.01, 4200, 33.9, 0.418, 0.0194),
)
ABLATION_KIMG = 200
STRONG_TERM = PaperImageMetrics("SpineGAN, γ 0.05", SPINEGAN_STRONG, 0.05, ABLATION_KIMG, 147.08, 0.0292, 0.0007951)

# Figure 1: standard deviations of the noise; Figure 3: settings of the private ablation. Neither runs here yet.
FIGURE_1_NOISE_STDS = (0.03, 0.06, 0.1, *(tenth / 10 for tenth in range(2, 16)))
FIGURE_3_SETTINGS = ("noise 0.2, batch 1", "noise 0.02, batch 1", "noise 0.2, batch 4", "no clipping")
