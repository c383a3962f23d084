"""The lateral view: the patient faces left, so bodies are left of their posterior elements."""

import numpy as np

from .anatomy import LEVELS, Anatomy
from .drawing import Drawing, Frame, blob, bowed, ellipse, rounded, spur
from .foci import draw_focus
from .lesions import COLLAPSE, DISC_NARROWING, FORAMINAL_STENOSIS, IMPLANT, OSTEOPHYTES, OTHER, SLIP, Lesion

# Posterior elements: mm in front of the body's back wall, and height as a fraction of that wall's.
_PEDICLE = np.array([[3, 0.42], [3, 0.95], [-8, 0.95], [-15, 1.0], [-15, 0.40], [-8, 0.42]])
_UPPER_FACET = np.array([[-9, 0.5], [-11, 1.12], [-13.5, 1.40], [-18, 1.2], [-20, 0.5]])
_LOWER_FACET = np.array([[-10, 0.8], [-19, 0.85], [-25, 0.1], [-24, -0.45], [-17, -0.45], [-13.5, 0.15]])
_OVERGROWN_FACET = np.array([[1, 0.5], [1, -0.36], [-9, -0.50], [-18, -0.1], [-15, 0.55]])
_SPINOUS = np.array(
    [
        [-18, 0.68],
        [-34, 0.44],
        [-50, 0.30],
        [-55, 0.0],
        [-52, -0.36],
        [-44, -0.44],
        [-32, -0.14],
        [-20, -0.05],
    ]
)


def draw_lateral(anatomy: Anatomy, lesions: tuple[Lesion, ...], rng: np.random.Generator) -> Drawing:
    """The spine from the side, S1's upper end plate at the origin, with the findings this view shows."""
    drawing = Drawing()
    frames = stack(anatomy)
    _surroundings(drawing, anatomy, frames, rng)
    _sacrum(drawing, anatomy)
    for level, frame in enumerate(frames):
        _vertebra(drawing, anatomy, frame, level, rng)
    for level, frame in enumerate(frames):
        _foramen(drawing, anatomy, frame, level)
    for lesion in lesions:
        _lesion(drawing, anatomy, frames, lesion, rng)
    return drawing


def _frame(origin: np.ndarray, angle_deg: float) -> Frame:
    """`out` is forward (left); a positive angle lowers the front."""
    angle = np.deg2rad(angle_deg)
    return Frame(
        origin, np.array([-np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), -np.cos(angle)])
    )


def stack(anatomy: Anatomy) -> list[Frame]:
    """Builds the column from the sacrum upwards; wedged discs and bodies make its curve."""
    frames = []
    top, angle_deg = np.zeros(2), anatomy.sacral_slope_deg
    for level in range(len(LEVELS)):
        wedge_deg = anatomy.disc_wedge_deg[level]
        across_disc = _frame(top, angle_deg - wedge_deg / 2)
        origin = across_disc.at((anatomy.slip_mm[level], anatomy.disc_mm[level]))[0]
        angle_deg -= wedge_deg
        frame = _frame(origin, angle_deg)
        frames.append(frame)
        front, back, depth = anatomy.front_mm[level], anatomy.back_mm[level], anatomy.depth_mm[level]
        top = frame.at((0.0, (front + back) / 2))[0]
        angle_deg -= np.rad2deg(np.arctan((front - back) / depth))
    return frames


def _corners(anatomy: Anatomy, frame: Frame, level: int) -> np.ndarray:
    """Lower back, lower front, upper front, upper back."""
    half = anatomy.depth_mm[level] / 2
    return frame.at(
        (-half, 0.0),
        (half, 0.0),
        (half * 0.97, anatomy.front_mm[level]),
        (-half * 0.97, anatomy.back_mm[level]),
    )


def _outline(anatomy: Anatomy, frame: Frame, level: int) -> np.ndarray:
    low_back, low_front, up_front, up_back = _corners(anatomy, frame, level)
    cave = anatomy.cave_mm[level]
    sides = [
        bowed(low_back, low_front, cave),
        bowed(low_front, up_front, 1.8),
        bowed(up_front, up_back, cave),
        bowed(up_back, low_back, 1.2),
    ]
    return np.concatenate(sides)


def _behind(anatomy: Anatomy, frame: Frame, level: int, outline: np.ndarray) -> np.ndarray:
    """(mm in front of the body's back wall, fraction of its height) pairs -> rounded outline in the image."""
    wall, back = -anatomy.depth_mm[level] / 2, anatomy.back_mm[level]
    return rounded(frame.at(*(outline * [1.0, back] + [wall, 0.0])))


def _vertebra(drawing: Drawing, anatomy: Anatomy, frame: Frame, level: int, rng: np.random.Generator) -> None:
    outline = _outline(anatomy, frame, level)
    drawing.area("body", outline, rng.uniform(0.92, 1.0))
    for plate in (outline[:9], outline[18:27]):
        drawing.line("cortex", plate, 1.1, 0.55)
    drawing.area(
        "process", _behind(anatomy, frame, level, _SPINOUS * ([1.0, 1.0] if level < 5 else [0.85, 1.0]))
    )
    for part in (_PEDICLE, _UPPER_FACET, _LOWER_FACET):
        drawing.area("arch", _behind(anatomy, frame, level, part))


def _foramen_outline(anatomy: Anatomy, frame: Frame, level: int, scale: float) -> np.ndarray:
    """The opening between two pedicles, behind the disc; what is left of a narrow one is its upper part."""
    wall, back = -anatomy.depth_mm[level] / 2, anatomy.back_mm[level]
    centre = frame.at((wall - 6.5, (0.06 + 0.10 * (1 - scale)) * back))[0]
    return ellipse(centre, 4.8 * scale**0.7 * frame.out, 0.31 * back * scale * frame.up)


def _foramen(drawing: Drawing, anatomy: Anatomy, frame: Frame, level: int) -> None:
    """A dark oval; when it narrows, overgrown facets and the bulging rim of the disc take its place."""
    size = anatomy.foramen[level]
    if size < 0.8:
        drawing.area("arch", _behind(anatomy, frame, level, _OVERGROWN_FACET))
    drawing.area("arch", _foramen_outline(anatomy, frame, level, min(size, 1.1)), 0.0)


def _sacrum(drawing: Drawing, anatomy: Anatomy) -> None:
    """Fused segments that shrink and curve backwards, with their spinous crest behind."""
    frame = _frame(np.zeros(2), anatomy.sacral_slope_deg)
    half = anatomy.depth_mm[0] / 2
    plate = frame.at((-half, 0), (0, -0.8), (half, 0))
    front, back, crest, seams = [plate[2]], [plate[0]], [frame.at((-half - 17, -4))[0]], []
    for segment in range(4):
        height, half_depth = 26.0 - 3.0 * segment, half * (0.76 - 0.17 * segment)
        frame = _frame(frame.at((-1.5, -height))[0], anatomy.sacral_slope_deg + 10.0 * (segment + 1))
        front.append(frame.at((half_depth, 0))[0])
        back.append(frame.at((-half_depth - 2, 0))[0])
        crest.append(frame.at((-half_depth - 18 + 3 * segment, 0))[0])
        seams.append(frame.at((-half_depth, 0), (0.8 * half_depth, 0)))
    drawing.area("process", rounded(np.array(crest + back[::-1])), 0.8)
    drawing.area("sacrum", np.array(front + back[::-1]))
    for seam in seams:
        drawing.line("sacrum", seam, 2.0, 0.7)
    drawing.line("cortex", plate, 1.3, 0.6)


def _surroundings(drawing: Drawing, anatomy: Anatomy, frames: list[Frame], rng: np.random.Generator) -> None:
    """Iliac crest and ribs across the spine, bowel gas in front of it, muscle behind it."""
    crest = rng.uniform(-26, -14)
    for shift in (0.0, rng.uniform(3, 9)):
        edge = np.array(
            [[-70, 110], [-60, 34], [-38, 3], [-8, -2], [24, 4], [46, 30], [60, 110]], dtype=float
        )
        drawing.area("pelvis", rounded(edge + np.array([shift + 4, crest + shift / 2]), 3), 0.42)
    for level in (5, 6, 7):
        back = anatomy.back_mm[level]
        for tilt in (0.0, rng.uniform(0.15, 0.4)):
            t = np.linspace(0.0, 1.0, 10)
            path = np.stack(
                [-30 + (65 if level == 5 else 110) * t, back * (0.9 - 0.2 * t - (1.7 + tilt) * t**1.5)],
                axis=1,
            )
            drawing.line("rib", frames[level].at(*path), 6.0, 0.7)
    drawing.area(
        "muscle",
        np.concatenate(
            [
                [frame.at((-anatomy.depth_mm[0] / 2 - 14, 0))[0] for frame in frames],
                [frame.at((-anatomy.depth_mm[0] / 2 - 48, 0))[0] for frame in frames[::-1]],
            ]
        ),
        0.6,
    )
    for _ in range(rng.integers(2, 7)):
        frame = frames[rng.integers(0, 5)]
        centre = frame.at((rng.uniform(30, 75), rng.uniform(-20, 30)))[0]
        drawing.area("gas", blob(centre, rng.uniform(5, 14), rng), rng.uniform(0.3, 0.9))


def _lesion(
    drawing: Drawing, anatomy: Anatomy, frames: list[Frame], lesion: Lesion, rng: np.random.Generator
) -> None:
    level, frame = lesion.level, frames[lesion.level]
    corners = _corners(anatomy, frame, level)
    below = _top_of_disc_floor(anatomy, frames, level)
    if lesion.type == OSTEOPHYTES:
        length = 3.6 + 4.6 * lesion.severity
        spurs = [spur(corners[1], frame.out, -frame.up, length)]
        if level > 0:
            spurs.append(spur(below[1], frame.out, frame.up, length * rng.uniform(0.75, 1.1)))
        if lesion.severity > 0.5:
            spurs.append(spur(corners[0], -frame.out, -frame.up, 0.4 * length))
        for points in spurs:
            drawing.area("spur", points)
        drawing.find(OSTEOPHYTES, np.concatenate(spurs[:2]))
    elif lesion.type == DISC_NARROWING:
        _sclerotic_plates(drawing, corners[:2], below, frame.up, 0.45 + 0.55 * lesion.severity)
        drawing.find(DISC_NARROWING, np.concatenate([corners[:2] + 2 * frame.up, below - 2 * frame.up]))
    elif lesion.type == FORAMINAL_STENOSIS:
        drawing.find(FORAMINAL_STENOSIS, _foramen_outline(anatomy, frame, level, 1.15))
    elif lesion.type == SLIP and lesion.variant == "forward":
        drawing.find(SLIP, np.concatenate([corners, below - 6 * frame.up]))
    elif lesion.type == COLLAPSE:
        drawing.line("sclerosis", corners[2:], 3.5, 0.5)
        drawing.find(COLLAPSE, corners)
    elif lesion.type == OTHER:
        _patch(drawing, anatomy, frame, lesion, rng)
    elif lesion.type == IMPLANT:
        _implant(drawing, anatomy, frames, lesion)


def _top_of_disc_floor(anatomy: Anatomy, frames: list[Frame], level: int) -> np.ndarray:
    """Back and front corner of the end plate under disc `level`."""
    if level > 0:
        return _corners(anatomy, frames[level - 1], level - 1)[[3, 2]]
    half = anatomy.depth_mm[0] / 2
    return _frame(np.zeros(2), anatomy.sacral_slope_deg).at((-half, 0), (half, 0))


def _sclerotic_plates(
    drawing: Drawing, above: np.ndarray, below: np.ndarray, up: np.ndarray, weight: float
) -> None:
    drawing.line("sclerosis", above + 2.0 * up, 4.0, weight)
    drawing.line("sclerosis", below - 2.0 * up, 4.0, weight)


def _patch(
    drawing: Drawing, anatomy: Anatomy, frame: Frame, lesion: Lesion, rng: np.random.Generator
) -> None:
    """A metastasis, bright or dark, within the body; or a Schmorl node: the disc sunk into an end plate."""
    height = (anatomy.front_mm[lesion.level] + anatomy.back_mm[lesion.level]) / 2
    if lesion.variant == "Schmorl node":
        centre = frame.at((rng.uniform(-5, 5), 1.5))[0]
    else:
        centre = frame.at((rng.uniform(-7, 7), height * rng.uniform(0.4, 0.6)))[0]
    draw_focus(drawing, lesion, centre, rng)


def _implant(drawing: Drawing, anatomy: Anatomy, frames: list[Frame], lesion: Lesion) -> None:
    """Pedicle screws joined by a rod behind, with or without a cage in the disc; or a plate in front."""
    held = range(lesion.level, lesion.level + 2 + int(2.2 * lesion.severity))
    covered = []
    heads = []
    for level in held:
        frame, half, back = frames[level], anatomy.depth_mm[level] / 2, anatomy.back_mm[level]
        if lesion.variant == "plate":
            screw = frame.at((half + 2.5, 0.5 * back), (-0.35 * half, 0.52 * back))
            heads.append(frame.at((half + 2.5, 0.12 * back), (half + 2.5, 0.85 * back)))
        else:
            screw = frame.at((-half - 24, 0.78 * back), (0.55 * half, 0.62 * back))
            heads.append(frame.at((-half - 25, 0.78 * back)))
            drawing.area("metal", ellipse(heads[-1][0], 5.0 * frame.out, 4.0 * frame.up))
        drawing.line("metal", screw, 4.2, 0.8)
        covered += [screw, heads[-1]]
        if lesion.variant == "cage and screws" and level > lesion.level:
            cage = frame.at(
                (-0.45 * half, -1),
                (0.5 * half, -1),
                (0.5 * half, -anatomy.disc_mm[level] + 1),
                (-0.45 * half, -anatomy.disc_mm[level] + 1),
            )
            drawing.area("metal", cage, 0.55)
    drawing.line("metal", np.concatenate(heads), 4.5)
    drawing.find(IMPLANT, np.concatenate(covered))
