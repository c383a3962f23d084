"""Processes that work together: what they exchange, what their environment must say, and the loss of one."""

import os
import signal
import sys
import time

import pytest
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.launch import launch
from stylegan2ada.processes import ALONE, Processes, join_processes

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SPINEGAN_STORE")

EXCHANGES = """
import sys, torch
from stylegan2ada.processes import join_processes
with join_processes("cpu") as group:
    r = float(group.rank)
    a, b = torch.full([2, 1, 3, 1], r).to(memory_format=torch.channels_last), torch.full([2], 10 * r)
    group.average_([a, b])
    assert a.eq(0.5).all() and a.shape == (2, 1, 3, 1) and b.eq(5).all()
    group.average_([])
    total = torch.ones([]); group.sum_(total); assert total == 2
    assert group.any(group.rank == 1) and not group.any(False)
    assert group.totals([1, r]) == [2.0, 1.0]
    assert group.broadcast_text("räsult" if group.is_main else "other") == "räsult"
    assert group.broadcast_text(None if group.is_main else "other") is None
    assert group.broadcast_text("") == ""
    assert group.agree({"a": [1]}) and not group.agree(r)
    nan = torch.tensor([float("nan") if r else 1.0]); group.average_([nan]); assert nan.isnan()
    group.barrier()
    # L = (1/R) sum_r L_r with L_r = (r + 1) * (v_r - m)^2, m the mean of all v: its gradient by v_r, by hand below
    v = torch.tensor([1.0, 4.0], dtype=torch.float64)
    own = v[group.rank].clone().requires_grad_()
    ((r + 1) * (own - group.mean_with_gradient(own)).square()).backward()
    grads = torch.zeros(2, dtype=torch.float64); grads[group.rank] = own.grad; group.average_([grads])
    whole = v.clone().requires_grad_()
    (torch.tensor([1.0, 2.0]) * (whole - whole.mean()).square()).mean().backward()
    torch.testing.assert_close(grads, whole.grad)
"""


class TestAlone:
    def test_nothing_is_exchanged(self):
        tensor = torch.tensor([3.0])
        ALONE.average_([tensor])
        ALONE.sum_(tensor)
        ALONE.barrier()
        assert tensor == 3
        assert ALONE.mean_with_gradient(tensor) is tensor
        assert (ALONE.any(True), ALONE.any(False)) == (True, False)
        assert ALONE.totals([1, 2.5]) == [1, 2.5]
        assert ALONE.broadcast_text("a") == "a"
        assert ALONE.agree([1])
        assert (ALONE.rank, ALONE.world_size, ALONE.is_main) == (0, 1, True)


def test_two_exchange_what_they_should(monkeypatch, repository_dir):
    monkeypatch.setenv("PYTHONPATH", str(repository_dir))
    assert launch(2, [sys.executable, "-c", EXCHANGES]) == 0


def test_the_loss_of_one_is_an_error_in_the_other(monkeypatch, repository_dir, tmp_path, capfd):
    """Not a hang: it is raised within seconds, in whatever they wait for."""
    script = (
        "import os, signal, sys, time, torch\nfrom stylegan2ada.errors import ProcessLostError\n"
        "from stylegan2ada.processes import LOST_STATUS, join_processes\n"
        "with join_processes('cpu') as group:\n"
        "    group.barrier()\n"
        "    if group.rank == 1:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    try:\n        group.average_([torch.ones(3)])\n"
        f"    except ProcessLostError as error:\n        open(r'{tmp_path}/said', 'w').write(str(error))\n"
        "        sys.exit(LOST_STATUS)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(repository_dir))
    started = time.monotonic()
    assert launch(2, [sys.executable, "-c", script]) == 128 + signal.SIGKILL
    assert time.monotonic() - started < 40
    assert "process 1 of 2 was ended by SIGKILL" in capfd.readouterr().err
    assert (tmp_path / "said").read_text().startswith("lost the other processes of this run (")


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def _clean(self, monkeypatch):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)

    def test_without_one_it_is_one_process(self):
        with join_processes("cpu") as processes:
            assert type(processes) is Processes
            assert processes.device == torch.device("cpu")

    def test_a_world_of_one_needs_no_group(self, monkeypatch):
        for name, value in {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}.items():
            monkeypatch.setenv(name, str(value))
        with join_processes("cpu") as processes:
            assert (processes.world_size, processes.is_main) == (1, True)
        assert not torch.distributed.is_initialized()

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"RANK": "0"}, "RANK is set, but WORLD_SIZE is not set: start several processes with torchrun"),
            ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK is 'one', not a number"),
            ({"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "RANK=2 of WORLD_SIZE=2"),
            ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "RANK is set, but MASTER_ADDR is not"),
        ],
    )
    def test_a_wrong_one_is_one_clear_line(self, monkeypatch, values, message):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=message), join_processes("cpu"):
            pass

    def test_more_processes_than_gpus(self, monkeypatch):
        for name, value in {"RANK": 0, "WORLD_SIZE": 4, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 4}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        with pytest.raises(UserError, match="4 processes on this machine need as many GPUs, it has 2"):
            with join_processes("cuda"):
                pass

    def test_a_machine_that_is_not_there(self, monkeypatch):
        values = {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))
        from stylegan2ada import processes

        monkeypatch.setattr(processes, "MEETING_TIMEOUT", processes.datetime.timedelta(seconds=1))
        monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
        with pytest.raises(UserError, match=r"do not meet at MASTER_ADDR=127\.0\.0\.1, MASTER_PORT=1"):
            with join_processes("cpu"):
                pass


@pytest.mark.slow
def test_the_threads_are_shared_out(monkeypatch, repository_dir, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(repository_dir))
    script = (
        "import torch\nfrom stylegan2ada.processes import join_processes\n"
        "with join_processes('cpu') as group:\n"
        f"    open(r'{tmp_path}/' + str(group.rank), 'w').write(str(torch.get_num_threads()))\n"
    )
    assert launch(2, [sys.executable, "-c", script]) == 0
    assert int((tmp_path / "1").read_text()) == max((os.cpu_count() or 1) // 2, 1)
