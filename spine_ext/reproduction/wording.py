"""How numbers with intervals are put into words: no effect is claimed where an interval holds zero."""

from ..statistics.seeded_auc import Estimate

NO_EFFECT = "no effect seen"


def verdict(delta: Estimate, digits: int = 3, words: tuple[str, str] = ("higher", "lower")) -> str:
    said = interval(delta, digits)
    return f"{said}, {NO_EFFECT}" if delta.includes_zero else f"{said}, {words[delta.mean < 0]}"


def interval(delta: Estimate, digits: int = 3) -> str:
    limits = f"{signed(delta.low, digits)}, {signed(delta.high, digits)}"
    return f"{signed(round(delta.mean, digits) + 0.0, digits)} [{limits}]"


def signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")
