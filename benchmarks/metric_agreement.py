"""How far each metric is from independent implementations of it on the same features.

python -m benchmarks.metric_agreement

Prints two markdown tables: implementations of the same definition, and what other conventions in use change. Where
torch-fidelity or prdc is not installed (`pip install torch-fidelity prdc`), its rows say so.
"""

import importlib.metadata
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import click
import numpy as np

from stylegan2ada.cli import Command

from . import fidelity
from .metric_comparisons import Comparison, of_classes, of_conventions, of_features, of_paths, of_predictions

NOTHING = 1e-9  # a value that is zero but for rounding has no relative error


class Row(NamedTuple):
    """The largest differences over the cases; None where the package is not installed."""

    metric: str
    other: str
    cases: int
    absolute: float | None = None
    relative: float | None = None
    worst: str = ""


@click.command(cls=Command)
def main() -> None:
    """Compare each metric with independent implementations of it."""
    start = time.monotonic()
    click.echo("Implementations of the same definition:\n")
    for line in table(
        "independent implementation", measured([*of_features(), *of_classes(), *of_paths(), *of_predictions()])
    ):
        click.echo(line)
    click.echo("\nWhat other conventions change:\n")
    for line in table("other convention", measured(of_conventions())):
        click.echo(line)
    click.echo(f"\nRelative: to the largest value of the case; cases whose values are all below {NOTHING:g} have none.")
    versions = ", ".join(map(_version, ("numpy", "scipy", "scikit-learn", "mpmath", "torch-fidelity", "prdc")))
    click.echo(f"{versions}; {time.monotonic() - start:.0f} seconds")


def measured(comparisons: Iterable[Comparison]) -> Iterator[Row]:
    for comparison in comparisons:
        if comparison.package is not None and not fidelity.is_installed(comparison.package):
            yield Row(comparison.metric, comparison.other, len(comparison.cases))
        else:
            yield _measured(comparison)


def _measured(comparison: Comparison) -> Row:
    absolute, relative = [], [0.0]
    for case in comparison.cases:
        ours, theirs = np.asarray(comparison.ours(case), np.float64), np.asarray(comparison.theirs(case), np.float64)
        if ours.shape != theirs.shape:
            raise ValueError(f"{comparison.metric}, {case.name}: {ours.shape} numbers against {theirs.shape}")
        absolute.append(float(np.abs(ours - theirs).max()))
        size = float(np.abs(theirs).max())
        if not size <= NOTHING:  # NaN is not
            relative.append(absolute[-1] / size)
    worst = int(np.argmax(absolute))  # the first NaN, if there is one, as np.max
    name = comparison.cases[worst].name if absolute[worst] != 0 else ""
    return Row(comparison.metric, comparison.other, len(absolute), absolute[worst], float(np.max(relative)), name)


def table(other: str, rows: Iterable[Row]) -> Iterator[str]:
    yield f"| metric | {other} | cases | largest difference | relative | in the case |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        differences = "not installed | " if row.absolute is None else f"{row.absolute:.1e} | {row.relative:.1e}"
        yield f"| {row.metric} | {row.other} | {row.cases} | {differences} | {row.worst} |"


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name}: not installed"


if __name__ == "__main__":
    main()
