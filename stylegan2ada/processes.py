"""The processes that train one network together: who they are, and the few ways in which they exchange numbers.

`torchrun`, or `--gpus` (launch.py), starts them and tells each in its environment which one it is. Tensors travel by
NCCL between GPUs and by gloo between CPUs; what the hosts tell each other (requests to stop, names, waiting) always by
gloo, so that a process which waits keeps no GPU busy.
"""

import contextlib
import datetime
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist

from .devices import choose_device
from .errors import ProcessLostError, UserError

STORE_VARIABLE = "SPINEGAN_STORE"  # a file in which processes of one machine meet; set by launch.py
MEETING_POLL_SEC = 0.05
MEETING_TIMEOUT = datetime.timedelta(minutes=15)
TIMEOUT = datetime.timedelta(hours=24)  # others wait while one process evaluates a snapshot; death shows at once
LOOPBACKS = ("lo", "lo0")
LOST_STATUS = 76  # exit status of scripts after a ProcessLostError: the reason is with another process


class Processes:
    """One process by itself: there is nobody to exchange with. `ProcessGroup` is the same for several.

    rank: number of this process, 0 to world_size - 1; local_rank: among those of its machine.
    """

    rank = local_rank = 0
    world_size = 1

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)

    @property
    def is_main(self) -> bool:
        """The one that writes files and speaks to the user."""
        return self.rank == 0

    def average_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor, on the processes' devices, by its mean over all processes; the same bits everywhere."""

    def sum_(self, tensor: torch.Tensor) -> None:
        """Replaces the tensor by its sum over all processes."""

    def mean_with_gradient(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of `value` over all processes, as part of a loss of which each process has its part."""
        return value

    def barrier(self) -> None:
        """Waits until all processes are here."""

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process."""
        return flag

    def totals(self, numbers: Sequence[float]) -> list[float]:
        """The sum of each number over all processes, in float64."""
        return list(numbers)

    def broadcast_text(self, text: str | None) -> str | None:
        """The main process' text, in all of them; what others give does not matter."""
        return text

    def agree(self, facts: object) -> bool:
        """Whether `facts`, as JSON, are the same in all processes."""
        text = json.dumps(facts, sort_keys=True)
        return not self.any(self.broadcast_text(text) != text)


ALONE = Processes()


class ProcessGroup(Processes):
    """Several processes. Every method is called by all of them, in the same order.

    Each raises ProcessLostError where another process is gone.
    """

    def __init__(self, rank: int, local_rank: int, world_size: int, device: torch.device):
        """The default group of torch.distributed must be there."""
        super().__init__(device)
        self.rank, self.local_rank, self.world_size = rank, local_rank, world_size
        self._hosts = dist.new_group(backend="gloo", timeout=TIMEOUT)

    @torch.no_grad()
    def average_(self, tensors: Sequence[torch.Tensor]) -> None:
        """All in one message, which is far faster than one for each."""
        if not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self.sum_(flat)
        flat /= self.world_size
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(list(tensors), [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])

    def sum_(self, tensor: torch.Tensor) -> None:
        with naming_the_loss():
            dist.all_reduce(tensor)

    def mean_with_gradient(self, value: torch.Tensor) -> torch.Tensor:
        return _Mean.apply(value, self)

    def barrier(self) -> None:
        self.any(False)

    def any(self, flag: bool) -> bool:
        return self.totals([flag])[0] > 0

    def totals(self, numbers: Sequence[float]) -> list[float]:
        tensor = torch.tensor(numbers, dtype=torch.float64)
        with naming_the_loss():
            dist.all_reduce(tensor, group=self._hosts)
        return tensor.tolist()

    def broadcast_text(self, text: str | None) -> str | None:
        """Its length first, -1 for None."""
        data = None if text is None else torch.tensor(list(text.encode()), dtype=torch.uint8)
        size = torch.tensor(-1 if data is None else len(data))
        with naming_the_loss():
            dist.broadcast(size, src=0, group=self._hosts)
            if size < 0:
                return None
            if not self.is_main:
                data = torch.empty(int(size), dtype=torch.uint8)
            dist.broadcast(data, src=0, group=self._hosts)
        return bytes(data.tolist()).decode()


class _Mean(torch.autograd.Function):
    """m = (1/R) sum_s v_s over R processes; process r has the part L_r(m, ...) of the loss L = (1/R) sum_r L_r.

    By the chain rule dL/dv_r = (1/R) sum_s dL_s/dm * dm/dv_r = (1/R) * [(1/R) sum_s dL_s/dm]. The outer 1/R is the
    average of all gradients over the processes, which follows the backward pass; the bracket, the average of the
    incoming gradients, is what has to be handed on here.
    """

    @staticmethod
    def forward(ctx, value: torch.Tensor, processes: Processes) -> torch.Tensor:
        ctx.processes = processes
        mean = value.clone()
        processes.average_([mean])
        return mean

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        mean = gradient.clone()
        ctx.processes.average_([mean])
        return mean, None


@contextlib.contextmanager
def join_processes(device_choice: str = "auto") -> Iterator[Processes]:
    """The processes of this run, as torchrun's environment names them; without one, this process alone.

    `device_choice` as for `choose_device`; with CUDA, process i of a machine takes its GPU i.

    Raises:
        UserError: the environment is incomplete or contradicts itself, or there are fewer GPUs than processes.
    """
    if "RANK" not in os.environ:
        yield Processes(choose_device(device_choice))
        return
    rank, world_size = _number("RANK"), _number("WORLD_SIZE")
    local_rank, local_world_size = _number("LOCAL_RANK"), _number("LOCAL_WORLD_SIZE", default=world_size)
    if not (rank < world_size and local_rank < local_world_size <= world_size):
        raise UserError(
            f"the environment says RANK={rank} of WORLD_SIZE={world_size}, LOCAL_RANK={local_rank} of "
            f"LOCAL_WORLD_SIZE={local_world_size}: each rank is below its number of processes; start with torchrun"
        )
    device = _device_of(choose_device(device_choice), local_rank, local_world_size)
    if world_size == 1:
        yield Processes(device)
        return
    if STORE_VARIABLE in os.environ:
        _end_with_the_launcher()
    if local_world_size == world_size:
        _stay_on_this_machine()
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max((os.cpu_count() or 1) // local_world_size, 1))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=_meet(rank, world_size), rank=rank, world_size=world_size, timeout=TIMEOUT)
    try:
        yield ProcessGroup(rank, local_rank, world_size, device)
    finally:
        dist.destroy_process_group()


def _number(variable: str, default: int | None = None) -> int:
    text = os.environ.get(variable)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        given = "is not set" if text is None else f"is {text!r}, not a number"
        raise UserError(f"RANK is set, but {variable} {given}: start several processes with torchrun or --gpus")
    return int(text)


def _device_of(device: torch.device, local_rank: int, local_world_size: int) -> torch.device:
    if device.type != "cuda":
        return device
    found = torch.cuda.device_count()
    if local_world_size > found:
        raise UserError(
            f"{local_world_size} processes on this machine need as many GPUs, it has {found}: start {found}, or give "
            "--device=cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _meet(rank: int, world_size: int) -> dist.Store:
    """The store in which the processes find each other."""
    if STORE_VARIABLE in os.environ:
        return dist.FileStore(os.environ[STORE_VARIABLE], world_size)
    for variable in ("MASTER_ADDR", "MASTER_PORT"):
        if variable not in os.environ:
            raise UserError(f"RANK is set, but {variable} is not: start several processes with torchrun or --gpus")
    try:
        store, _, _ = next(dist.rendezvous("env://", rank, world_size, timeout=MEETING_TIMEOUT))
    except (RuntimeError, ValueError) as error:
        place = f"MASTER_ADDR={os.environ['MASTER_ADDR']}, MASTER_PORT={os.environ['MASTER_PORT']}"
        first_line = str(error).splitlines()[0]
        raise UserError(f"the processes of this run do not meet at {place}: {first_line}") from error
    return dist.PrefixStore(_agree_on_name(store, rank, world_size), store)


def _agree_on_name(store: dist.Store, rank: int, world_size: int) -> str:
    """A name for this meeting that all processes know and no earlier one had.

    When torchrun starts a run again, its store still holds the addresses of the processes before, and a process that
    reads those waits for the dead. So each says hello by a name nobody had before, process 0 answers to every hello
    it finds, also to old ones, and goes on when each of its answers was confirmed, which only the living do.
    """
    if rank > 0:
        own = secrets.token_hex(8)
        store.set(f"hello/{rank}", own)
        name = store.get(f"answer/{own}").decode()
        store.set(f"confirmed/{own}/{name}", "")
        return name
    name, deadline = secrets.token_hex(8), time.monotonic() + MEETING_TIMEOUT.total_seconds()
    missing = set(range(1, world_size))
    while missing:
        if time.monotonic() > deadline:
            raise UserError(f"only {world_size - len(missing)} of {world_size} processes of this run have started")
        for other in [other for other in missing if store.check([f"hello/{other}"])]:
            theirs = store.get(f"hello/{other}").decode()
            store.set(f"answer/{theirs}", name)
            if store.check([f"confirmed/{theirs}/{name}"]):
                missing.remove(other)
        time.sleep(MEETING_POLL_SEC)
    return name


def _end_with_the_launcher() -> None:
    """Its end closes our standard input, however it came about."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="launcher watch", daemon=True).start()


def _stay_on_this_machine() -> None:
    """gloo looks up the machine's own name otherwise, which need not resolve."""
    names = {name for _, name in socket.if_nameindex()}
    for loopback in LOOPBACKS:
        if loopback in names:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)


@contextlib.contextmanager
def naming_the_loss() -> Iterator[None]:
    """gloo and NCCL say in many words that a connection broke."""
    try:
        yield
    except RuntimeError as error:
        first_line = str(error).splitlines()[0]
        raise ProcessLostError(f"lost the other processes of this run ({first_line})") from error
