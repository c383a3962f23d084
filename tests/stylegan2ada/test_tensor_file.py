"""Files of tensors on a disk that is full."""

import subprocess
import sys

import pytest

WRITE = """
import resource, signal, sys, torch
from stylegan2ada.tensor_file import write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_tensors(sys.argv[1], {"a": torch.zeros(1_000_000)}, {})
except OSError as error:
    print(error)
"""


def test_a_file_that_does_not_fit_is_an_os_error(tmp_path, repository_dir):
    """Which train.py says in one line, as that of any other file."""
    pytest.importorskip("resource")
    path = tmp_path / "network.safetensors"
    found = subprocess.run(
        [sys.executable, "-c", WRITE, str(path)], cwd=repository_dir, capture_output=True, text=True, check=True
    )
    assert f"{path} cannot be written" in found.stdout
    assert list(tmp_path.iterdir()) == []
