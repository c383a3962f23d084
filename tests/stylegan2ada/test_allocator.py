"""What the C library's allocator does with freed memory, seen at the end of the process's heap."""

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, torch
from stylegan2ada.allocator import keep_freed_memory
assert keep_freed_memory()
sbrk = ctypes.CDLL(None).sbrk
sbrk.restype, sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
for size in 64 * 2**20, 3 * 2**30:  # the second is more than an int counts; nothing of it is touched
    start = sbrk(0)
    tensor = torch.empty(size, dtype=torch.uint8)
    end = sbrk(0)
    assert end - start > size // 2, "not on the heap"
    del tensor
    assert sbrk(0) == end, "given back"
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_freed_memory_is_kept_whatever_its_size():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
