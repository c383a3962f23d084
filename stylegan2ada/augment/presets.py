"""Augmentation pipelines by name."""

from stylegan2ada.errors import UserError

from .pipe import AugmentPipe

_BLIT = {"xflip": 1, "rotate90": 1, "xint": 1}
_GEOM = {"scale": 1, "rotate": 1, "aniso": 1, "xfrac": 1}
_COLOR = {"brightness": 1, "contrast": 1, "lumaflip": 1, "hue": 1, "saturation": 1}
_FILTER = {"imgfilter": 1}
_NOISE = {"noise": 1}
_CUTOUT = {"cutout": 1}

# For radiographs: only what another exposure of the same patient could show, so that what leaks into the generated
# images (ADA paper, section 2.2) would still be a radiograph.
#   No xflip, no rotate90: they break laterality (heart, liver, side markers) and the upright reading position.
#   No lumaflip: an inverted film is another photometric interpretation, and bone would turn black. Hue and saturation
#   do nothing to gray images; cutout and filter bands imitate no imaging process.
#   Positioning: rotations of up to 5.4 degrees, drawn twice (together a standard deviation of 4.4 degrees at p = 1);
#   magnification by 7 %, aspect by 3.5 %, shift by 5 % of the image size (one standard deviation each).
#   Exposure and window: brightness, and contrast by 19 %, at half the official strength. Noise: likewise half.
# Weaker transforms regularize less at the same p: expect the ADA controller to go higher than with bgc.
_RADIOGRAPH = {
    "scale": 1,
    "scale_std": 0.1,
    "rotate": 1,
    "rotate_max": 0.03,
    "aniso": 1,
    "aniso_std": 0.05,
    "xfrac": 1,
    "xfrac_std": 0.05,
    "brightness": 1,
    "brightness_std": 0.1,
    "contrast": 1,
    "contrast_std": 0.25,
    "noise": 1,
    "noise_std": 0.05,
}

# Arguments of AugmentPipe. bgc is the official default, bgcfnc the choice of the SpineGAN paper.
AUGMENT_PIPES: dict[str, dict[str, float]] = {
    "blit": _BLIT,
    "geom": _GEOM,
    "color": _COLOR,
    "filter": _FILTER,
    "noise": _NOISE,
    "cutout": _CUTOUT,
    "bg": _BLIT | _GEOM,
    "bgc": _BLIT | _GEOM | _COLOR,
    "bgcf": _BLIT | _GEOM | _COLOR | _FILTER,
    "bgcfn": _BLIT | _GEOM | _COLOR | _FILTER | _NOISE,
    "bgcfnc": _BLIT | _GEOM | _COLOR | _FILTER | _NOISE | _CUTOUT,
    "radiograph": _RADIOGRAPH,
}


def make_augment_pipe(name: str) -> AugmentPipe:
    """The pipeline `name` of AUGMENT_PIPES."""
    if name not in AUGMENT_PIPES:
        raise UserError(f"unknown augmentation pipeline {name!r}; choose one of {', '.join(AUGMENT_PIPES)}")
    return AugmentPipe(**AUGMENT_PIPES[name])
