"""The SpineGAN paper's runs as options of train.py (paper, sections 3 and 4)."""

import dataclasses
from dataclasses import dataclass

from stylegan2ada.options import RunOptions


@dataclass(frozen=True)
class PaperRun:
    """A published run: its options, its labels, and the weight of the clinical term (0: none)."""

    options: RunOptions
    labels: str
    gamma_clinical: float = 0.0


# One GPU, the automatic configuration, ADA (target 0.6, as by default) with augmentation,
# and a snapshot every 50 ticks of 4 kimg = 200 kimg.
_BASE = RunOptions(cfg="auto", gpus=1, aug="ada", augpipe="bgcfnc", snap=50, kimg=4200)

PAPER_RUNS = {
    "spinegan": PaperRun(_BASE, "binary", gamma_clinical=0.01),
    "stylegan2-ada": PaperRun(_BASE, "binary"),
    "multiconditional": PaperRun(dataclasses.replace(_BASE, kimg=1200), "lesion"),
}

# What the private variant will be called; refused until it exists.
PRIVATE_RUN = "dp"
