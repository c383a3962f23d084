"""The frontal (AP) view, as hung for reading: the patient's right is on the image's left."""

import numpy as np

from .anatomy import LEVELS, Anatomy
from .drawing import Drawing, Frame, blob, bowed, ellipse, rounded, spur
from .foci import draw_focus
from .lesions import COLLAPSE, DISC_NARROWING, IMPLANT, OSTEOPHYTES, OTHER, SLIP, Lesion

# One wing of the butterfly that laminae and facets make over the lower half of the body and the disc:
# fractions of the body's half width and height. The spinous process, end on: mm, fraction of the height.
_LAMINA = np.array([[0.1, 0.62], [0.62, 0.48], [0.74, -0.30], [0.45, -0.46], [0.30, 0.05], [0.1, 0.1]])
_SPINOUS = np.array([[0, 0.46], [3.4, 0.1], [5.2, -0.24], [0, -0.40], [-5.2, -0.24], [-3.4, 0.1]])


def draw_frontal(anatomy: Anatomy, lesions: tuple[Lesion, ...], rng: np.random.Generator) -> Drawing:
    """The spine from the front, S1's upper end plate at the origin, with the findings this view shows.

    Neural foramina and forward slips are not seen from the front, so they are not boxed here.
    """
    drawing = Drawing()
    frames = stack(anatomy)
    _surroundings(drawing, anatomy, frames, rng)
    _sacrum(drawing)
    lost = {
        (lesion.level, lesion.side)
        for lesion in lesions
        if lesion.type == OTHER and lesion.variant == "lytic"
    }
    for level, frame in enumerate(frames):
        _vertebra(drawing, anatomy, frame, level, lost, rng)
    for lesion in lesions:
        _lesion(drawing, anatomy, frames, lesion, rng)
    return drawing


def _height(anatomy: Anatomy, level: int) -> float:
    return float(0.55 * anatomy.front_mm[level] + 0.45 * anatomy.back_mm[level])


def stack(anatomy: Anatomy) -> list[Frame]:
    """Builds the column from the sacrum upwards; the leaning of the vertebrae makes its sideways curve."""
    frames = []
    top = np.array([0.0, 2.0])
    for level in range(len(LEVELS)):
        angle = np.deg2rad(anatomy.lean_deg[level])
        out, up = np.array([np.cos(angle), np.sin(angle)]), np.array([np.sin(angle), -np.cos(angle)])
        seen = 0.7 if level == 0 else 0.95  # the lumbosacral disc is seen at a slant
        origin = top + anatomy.disc_mm[level] * seen * up + anatomy.shift_mm[level] * out
        frames.append(Frame(origin, out, up))
        top = frames[-1].at((0.0, _height(anatomy, level)))[0]
    return frames


def _corners(anatomy: Anatomy, frame: Frame, level: int) -> np.ndarray:
    """Lower left, lower right, upper right, upper left (of the image)."""
    half, height = anatomy.width_mm[level] / 2, _height(anatomy, level)
    return frame.at((-half, 0), (half, 0), (0.97 * half, height), (-0.97 * half, height))


def _outline(anatomy: Anatomy, frame: Frame, level: int) -> np.ndarray:
    low_left, low_right, up_right, up_left = _corners(anatomy, frame, level)
    cave = 0.7 * anatomy.cave_mm[level]
    sides = [
        bowed(low_left, low_right, -cave),
        bowed(low_right, up_right, -2.6),
        bowed(up_right, up_left, -cave),
        bowed(up_left, low_left, -2.6),
    ]
    return np.concatenate(sides)


def _vertebra(
    drawing: Drawing,
    anatomy: Anatomy,
    frame: Frame,
    level: int,
    lost: set[tuple[int, int]],
    rng: np.random.Generator,
) -> None:
    half, height = anatomy.width_mm[level] / 2, _height(anatomy, level)
    outline = _outline(anatomy, frame, level)
    drawing.area("body", outline, rng.uniform(0.82, 0.92))
    for plate in (outline[:9], outline[18:27]):
        drawing.line("cortex", plate, 1.0, 0.5)
    for side in (-1, 1):
        reach = (20 if level < 5 else 7) * rng.uniform(0.85, 1.1)
        process = np.array(
            [
                [half - 6, 0.84],
                [half + 0.5 * reach, 0.80],
                [half + reach, 0.78],
                [half + reach, 0.54],
                [half - 6, 0.42],
            ]
        )
        drawing.area("process", rounded(frame.at(*(process * [side, height]))), 0.75)
        drawing.area("arch", rounded(frame.at(*(_LAMINA * [side * half, height]))), 0.42)
        if (level, side) not in lost:
            pedicle = ellipse(
                frame.at((side * 0.62 * half, 0.66 * height))[0], 4.0 * frame.out, 0.24 * height * frame.up
            )
            drawing.area("cortex", pedicle, 0.25)
            drawing.line("cortex", np.concatenate([pedicle, pedicle[:1]]), 1.8, 1.0)
    spine = rounded(frame.at(*(_SPINOUS * [1.0, height])))
    drawing.line("cortex", np.concatenate([spine, spine[:1]]), 1.6, 0.9)


def _sacrum(drawing: Drawing) -> None:
    sacrum = np.array([[-25, 0], [-40, -4], [-56, 8], [-50, 40], [-34, 72], [-14, 98]], dtype=float)
    drawing.area("sacrum", rounded(np.concatenate([sacrum, (sacrum * [-1, 1])[::-1]])), 0.8)
    for side in (-1, 1):
        for x, y in ((17, 24), (15.5, 43), (14, 60)):
            drawing.area(
                "sacrum",
                ellipse(np.array([side * x, y]), np.array([4.5, side * 1.0]), np.array([0.0, 3.4])),
                0.45,
            )
    for y in (10, 32, 50, 66):
        drawing.line("cortex", np.array([[0, y], [0, y + 9]], dtype=float), 4.0, 0.4)


def _surroundings(drawing: Drawing, anatomy: Anatomy, frames: list[Frame], rng: np.random.Generator) -> None:
    """Iliac wings, the last ribs, the psoas muscles and bowel gas."""
    crest = rng.uniform(-6, 5)
    for side in (-1, 1):
        wing = np.array(
            [[50, 60], [57, 14], [60, -10], [76, -28], [104, -34], [130, -20], [138, 40], [90, 90]],
            dtype=float,
        )
        drawing.area("pelvis", rounded((wing + np.array([0, crest])) * [side, 1], 3), 0.85)
        for level in (5, 6, 7):
            half, height = anatomy.width_mm[level] / 2, _height(anatomy, level)
            droop = rng.uniform(0.9, 1.2) * (1.0 if level == 5 else 0.6)
            reach = rng.uniform(45, 75) if level == 5 else 95
            t = np.linspace(0, 1, 8)
            path = np.stack(
                [
                    side * (half + 1 + reach * t),
                    height * 0.9 - reach * droop * t**1.6 + 8 * np.sin(np.pi * t),
                ],
                axis=1,
            )
            drawing.line("rib", frames[level].at(*path), 7.0, 0.9)
        upper = frames[4].at((side * 0.9 * anatomy.width_mm[4] / 2, 20))[0]
        hip = np.array([[side * 78, 25], [side * 20, 30]], dtype=float)
        drawing.area("muscle", np.concatenate([upper[None], hip]), rng.uniform(0.5, 0.9))
    for _ in range(rng.integers(2, 8)):
        centre = np.array([rng.uniform(-75, 75), rng.uniform(-120, 30)])
        faint = 0.5 if abs(centre[0]) < 28 else 1.0  # over the spine it is the harder to see
        drawing.area("gas", blob(centre, rng.uniform(5, 13), rng), faint * rng.uniform(0.3, 0.9))


def _lesion(
    drawing: Drawing, anatomy: Anatomy, frames: list[Frame], lesion: Lesion, rng: np.random.Generator
) -> None:
    level, frame = lesion.level, frames[lesion.level]
    corners = _corners(anatomy, frame, level)
    below = (
        _corners(anatomy, frames[level - 1], level - 1)[[3, 2]]
        if level > 0
        else np.array([[-25.0, 2.0], [25.0, 2.0]])
    )
    if lesion.type == OSTEOPHYTES:
        length = 3.6 + 4.6 * lesion.severity
        for side in (-1, 1) if lesion.severity > 0.55 else (lesion.side,):
            corner = 0 if side < 0 else 1
            spurs = [spur(corners[corner], side * frame.out, -frame.up, length)]
            if level > 0:
                spurs.append(spur(below[corner], side * frame.out, frame.up, length * rng.uniform(0.75, 1.1)))
            for points in spurs:
                drawing.area("spur", points)
            drawing.find(OSTEOPHYTES, np.concatenate(spurs))
    elif lesion.type == DISC_NARROWING and level > 0:
        for plate in (corners[:2] + 2.0 * frame.up, below - 2.0 * frame.up):
            drawing.line("sclerosis", plate, 4.0, 0.45 + 0.55 * lesion.severity)
        drawing.find(DISC_NARROWING, np.concatenate([corners[:2] + 2 * frame.up, below - 2 * frame.up]))
    elif lesion.type == SLIP and lesion.variant == "sideways":
        drawing.find(SLIP, np.concatenate([corners, below - 6 * frame.up]))
    elif lesion.type == COLLAPSE:
        drawing.line("sclerosis", corners[2:], 3.5, 0.5)
        drawing.find(COLLAPSE, corners)
    elif lesion.type == OTHER:
        _patch(drawing, anatomy, frame, lesion, rng)
    elif lesion.type == IMPLANT:
        _implant(drawing, anatomy, frames, lesion)


def _patch(
    drawing: Drawing, anatomy: Anatomy, frame: Frame, lesion: Lesion, rng: np.random.Generator
) -> None:
    """A bright metastasis; a dark one that took the pedicle along (the "winking owl"); or a Schmorl node."""
    half, height = anatomy.width_mm[lesion.level] / 2, _height(anatomy, lesion.level)
    if lesion.variant == "Schmorl node":
        centre = frame.at((lesion.side * 6.0, 1.5))[0]
    else:
        centre = frame.at((lesion.side * 0.5 * half, rng.uniform(0.5, 0.65) * height))[0]
    draw_focus(drawing, lesion, centre, rng)


def _implant(drawing: Drawing, anatomy: Anatomy, frames: list[Frame], lesion: Lesion) -> None:
    """Two rows of screws, each joined by a rod; or a plate on the side of the bodies."""
    held = range(lesion.level, lesion.level + 2 + int(2.2 * lesion.severity))
    covered = []
    for side in (-1, 1) if lesion.variant != "plate" else (lesion.side,):
        heads = []
        for level in held:
            frame, half, height = frames[level], anatomy.width_mm[level] / 2, _height(anatomy, level)
            head = frame.at((side * 0.64 * half, 0.66 * height))[0]
            screw = frame.at((side * 0.66 * half, 0.68 * height), (side * 0.22 * half, 0.52 * height))
            drawing.area("metal", ellipse(head, 5.0 * frame.out, 5.0 * frame.up))
            drawing.line("metal", screw, 4.2, 0.8)
            heads.append(head)
        drawing.line("metal", np.array(heads), 4.5)
        covered += [np.array(heads) - 5.0, np.array(heads) + 5.0]
    if lesion.variant == "cage and screws":
        for level in held[1:]:
            frame, disc = frames[level], anatomy.disc_mm[level]
            drawing.area("metal", frame.at((-11, -1), (11, -1), (11, 1 - disc), (-11, 1 - disc)), 0.5)
    drawing.find(IMPLANT, np.concatenate(covered))
