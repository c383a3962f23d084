"""The C library's allocator, told to keep what a step frees for the next one."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Makes large freed tensors stay with the process (glibc; elsewhere nothing happens and False is returned).

    By default every tensor above 32 MB is new memory from the kernel, whose pages are cleared on first use: writing it
    is several times slower than writing memory used before. The process never gives memory back afterwards; its peak
    stays what the largest step needs. For a process that trains, not for a library inside another program.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    never = -1  # any other threshold, an int, is below what a step of large images frees at once
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, never))
