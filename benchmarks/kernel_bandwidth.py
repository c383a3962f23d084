"""How near each operator comes to the speed of memory: its bytes per second beside those of a plain copy.

python -m benchmarks.kernel_bandwidth [--device cpu|cuda]

Prints a markdown table. Counted is what an operator must at least read and write; the copy moves as many bytes. The
fused kernels, torch's operators and the copy take turns, so that all of them share what else the machine does.
"""

import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable

import click
import torch

from stylegan2ada.allocator import keep_freed_memory
from stylegan2ada.cli import Command
from stylegan2ada.config import KERNEL_CHOICES
from stylegan2ada.devices import choose_device
from stylegan2ada.errors import UserError
from stylegan2ada.ops import kernels as available
from stylegan2ada.ops import setup_filter
from stylegan2ada.ops.kernels import plain
from stylegan2ada.progress import ProgressLine

from .machine import OthersClock, describe_machine, load_average, load_warnings

SHAPES = {  # (N, C, H, W)
    "cpu": ((8, 64, 64, 64), (4, 64, 256, 256)),
    "cuda": ((16, 512, 32, 32), (16, 256, 128, 128), (16, 64, 256, 256), (64, 64, 256, 256)),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYOUTS = {"NHWC": torch.channels_last, "NCHW": torch.contiguous_format}
CLAMP = 256.0
TURN_SEC = 0.02  # of work in one turn, about

Call = Callable[[], object]


@click.command(cls=Command, context_settings={"max_content_width": 110})
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto",
              help="[auto: CUDA where there is one]")
@click.option("--kernels", type=click.Choice(KERNEL_CHOICES), default="auto",
              help="Beside torch's operators; reference: those alone.  [auto]")
@click.option("--dtype", "dtypes", type=click.Choice(list(DTYPES)), multiple=True, help="[fp32 and bf16]")
@click.option("--layout", "layouts", type=click.Choice(list(LAYOUTS)), multiple=True, help="[both]")
@click.option("--shape", "shapes", metavar="N,C,H,W", multiple=True, help="[two for a CPU, four for CUDA]")
@click.option("--rounds", type=click.IntRange(min=1), default=15, help="Turns of each.  [15]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [as torch chooses]")
def main(
    device: str,
    kernels: str,
    dtypes: tuple[str, ...],
    layouts: tuple[str, ...],
    shapes: tuple[str, ...],
    rounds: int,
    threads: int | None,
) -> None:
    """Compare the bandwidth of each operator with that of a plain copy."""
    chosen = choose_device(device)
    sizes = [_parse_shape(text) for text in shapes] or SHAPES[chosen.type]
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()  # as training does
    load_before, clock = load_average(), OthersClock()
    click.echo(f"machine: {describe_machine(chosen.type)}")
    click.echo(f"kernels: {available.describe(kernels, chosen)}; {torch.get_num_threads()} CPU threads; "
               f"medians over {rounds} turns, of bytes that must be moved over time, in GB/s\n")  # fmt: skip
    cases = list(itertools.product(sizes, dtypes or ("fp32", "bf16"), layouts or LAYOUTS))
    progress = ProgressLine("kernel_bandwidth", "cases")
    click.echo("| operator | shape | type | layout | fused | of copy | torch | of copy | copy |")
    click.echo("|---|---|---|---|---:|---:|---:|---:|---:|")
    for done, (shape, dtype, layout) in enumerate(cases, 1):
        fused = available.find(kernels, chosen, DTYPES[dtype])
        for row in _rows(fused, shape, dtype, layout, chosen, rounds):
            click.echo(row)
        progress(done, len(cases))
    click.echo(f"\nload average: {load_before:.2f} before, {load_average():.2f} after the run")
    for warning in load_warnings(load_before, clock.cores()):
        click.echo(f"WARNING: {warning}; do not trust these figures")


def _parse_shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 4 or min(shape) < 1:
        raise UserError(f"--shape {text}: give four numbers of at least 1, such as 8,64,64,64")
    return shape


def _rows(
    fused: object | None, shape: tuple[int, ...], dtype: str, layout: str, device: torch.device, rounds: int
) -> Iterable[str]:
    """The rows of the table for one shape, type and layout."""
    with torch.inference_mode():
        x = torch.randn(shape, device=device).to(DTYPES[dtype]).contiguous(memory_format=LAYOUTS[layout])
        for name, operator in _operators(x).items():
            implementations = [*([fused] if fused else []), plain]
            calls = [functools.partial(operator, kernels) for kernels in implementations]
            moved_bytes = _bytes_of(operator)
            source = torch.zeros(moved_bytes // 2, dtype=torch.uint8, device=device)
            calls.append(functools.partial(torch.empty_like(source).copy_, source))
            *speeds, copy = (moved_bytes / sec / 1e9 for sec in _take_turns(calls, device, rounds))
            speeds = speeds if fused else [None, *speeds]
            cells = [f"{s:,.1f} | {s / copy:.0%}" if s else "- | -" for s in speeds]
            size = "×".join(map(str, shape))
            yield f"| {name} | {size} | {dtype} | {layout} | {' | '.join(cells)} | {copy:,.1f} |"


def _operators(x: torch.Tensor) -> dict[str, Callable[[object], tuple[torch.Tensor, ...]]]:
    """Name -> a function of an implementation that computes from x; it returns all that it read and wrote."""
    images, channels, height, width = x.shape
    f = setup_filter([1, 3, 3, 1], device=x.device)
    scale = torch.rand(images, channels, device=x.device) + 0.5
    bias = torch.randn(channels, device=x.device)
    noise = torch.randn(images, 1, height, width, device=x.device)
    lrelu = (0.2, math.sqrt(2), CLAMP)
    y = plain.epilogue(x, scale, noise, bias, *lrelu)
    other = torch.randn_like(x)  # the gradients read dy, y and x

    def fir(kernels, up, down, padding):
        return x, kernels.fir(x, f, (up, up), (down, down), padding, False, 1.0)

    def epilogue(kernels, *operands):
        return x, *operands, kernels.epilogue(x, *operands, *lrelu)

    def backward(kernels, x_or_none, scale, *wanted):
        return x, y, x_or_none, scale, *kernels.epilogue_backward(x, y, x_or_none, scale, *lrelu, *wanted)

    def modulate(kernels):
        return x, scale, kernels.epilogue(x, scale, None, None, 1.0, 1.0, None)

    return {
        "FIR 4×4": functools.partial(fir, up=1, down=1, padding=(1, 2, 1, 2)),
        "FIR 4×4, up 2": functools.partial(fir, up=2, down=1, padding=(2, 1, 2, 1)),
        "FIR 4×4, down 2": functools.partial(fir, up=1, down=2, padding=(1, 1, 1, 1)),
        "modulation": modulate,
        "bias, lrelu, clamp": lambda kernels: epilogue(kernels, None, None, bias),
        "its gradients": lambda kernels: backward(kernels, None, None, False, True, False),
        "demodulation, noise, bias, lrelu, clamp": lambda kernels: epilogue(kernels, scale, noise, bias),
        "its gradients, all four": lambda kernels: backward(kernels, other, scale, True, True, True),
    }


def _bytes_of(operator: Callable[[object], tuple[torch.Tensor | None, ...]]) -> int:
    return sum(t.numel() * t.element_size() for t in operator(plain) if t is not None)


def _take_turns(calls: list[Call], device: torch.device, rounds: int) -> list[float]:
    """Median seconds of one call of each; they are called in turns, in the reverse order every other round."""
    timers = [(_cuda_timer if device.type == "cuda" else _cpu_timer)(call) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds):
        order = range(len(calls)) if turn % 2 == 0 else reversed(range(len(calls)))
        for i in order:
            times[i].append(timers[i]())
    return [statistics.median(measured) for measured in times]


def _cpu_timer(call: Call) -> Callable[[], float]:
    """A function that measures the seconds of one call."""
    call()
    started = time.perf_counter()
    call()
    repeats = max(1, round(TURN_SEC / max(time.perf_counter() - started, 1e-6)))

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - started) / repeats

    return measure


def _cuda_timer(call: Call, repeats: int = 20) -> Callable[[], float]:
    """A function that measures the seconds of one call on the GPU; as a graph, so launches cost no time."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            call()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def measure() -> float:
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000 / repeats

    return measure


if __name__ == "__main__":
    main()
