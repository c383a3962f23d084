"""The table of golden errors runs, and none of its lines is above what the tests allow."""

import re

from benchmarks.golden_errors import main


def test_every_group_is_small(data_dir, capsys):
    main(data_dir)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 15
    for line in lines:
        assert float(re.search(r"\d\.\de[-+]\d\d", line)[0]) < 1e-4, line
