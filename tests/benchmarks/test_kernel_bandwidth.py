"""The table of bandwidths has every operator, and says what it measured."""

import re

import pytest
from click.testing import CliRunner

from benchmarks.kernel_bandwidth import main

OPERATORS = 8


@pytest.mark.parametrize("kernels", ["auto", "reference"])
def test_table(kernels):
    options = ["--device=cpu", f"--kernels={kernels}", "--shape=2,16,16,16", "--rounds=1", "--dtype=bf16"]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    rows = [line.split(" | ") for line in result.stdout.splitlines() if "2×16×16×16" in line]
    assert len(rows) == 2 * OPERATORS
    for row in rows:
        assert re.fullmatch(r"[\d,]+\.\d \|", row[-1])
        assert re.fullmatch(r"\d+%", row[-2])
        if kernels == "reference":
            assert row[4:6] == ["-", "-"]
    assert "torch 2." in result.stdout


def test_a_shape_that_is_none():
    result = CliRunner().invoke(main, ["--device=cpu", "--shape=8,64"])
    assert result.exit_code == 2
    assert "--shape 8,64" in result.output
