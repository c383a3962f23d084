"""Arrays of all processes in all of them."""

import sys

import numpy as np

from stylegan2ada.gather import ArrayGroup
from stylegan2ada.launch import launch
from stylegan2ada.processes import ALONE

GATHERS = """
import numpy as np
from stylegan2ada.gather import ArrayGroup
from stylegan2ada.processes import join_processes
with join_processes("cpu") as processes:
    group = ArrayGroup(processes)
    assert (group.rank, group.world_size) == (processes.rank, 2)
    for dtype in (np.float32, np.float64, np.int64, bool):
        own = (np.arange(3 * (group.rank + 1) * 2).reshape(-1, 2) % 5).astype(dtype)
        first, second = group.gather(own)
        assert (first.shape, second.shape) == ((3, 2), (6, 2)) and first.dtype == second.dtype == dtype
        np.testing.assert_array_equal(second[:3], first)
        np.testing.assert_array_equal((first, second)[group.rank], own)
    none, some = group.gather(np.zeros([group.rank, 4, 3]))
    assert (none.shape, some.shape) == ((0, 4, 3), (1, 4, 3))
    assert [len(one) for one in group.gather(np.zeros(0))] == [0, 0]
    a, b = group.gather(np.asfortranarray(np.full([2, 2], float(group.rank))))
    assert (a == 0).all() and (b == 1).all()
"""


def test_alone_it_is_the_own_array():
    array = np.arange(3)
    (found,) = ArrayGroup(ALONE).gather(array)
    assert found is array
    assert (ArrayGroup(ALONE).rank, ArrayGroup(ALONE).world_size) == (0, 1)


def test_two_get_the_arrays_of_both(monkeypatch, repository_dir):
    monkeypatch.setenv("PYTHONPATH", str(repository_dir))
    assert launch(2, [sys.executable, "-c", GATHERS]) == 0
