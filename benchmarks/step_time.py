"""Times one step of training: Gmain + Greg/4 + Dmain + Dreg/16, alone or beside a peer's checkout.

python -m benchmarks.step_time --resolution 64 --batch 8 --peer ../stylegan2-ada-pytorch

Prints a markdown table. Several processes take turns, one at work at a time, in the reverse order every other round, so
that all of them share what else the machine does; times are medians over the rounds. See benchmarks/README.md.
"""

import contextlib
import dataclasses
import time

import click

from stylegan2ada.augment import AUGMENT_PIPES
from stylegan2ada.cli import Command
from stylegan2ada.config import KERNEL_CHOICES, PRECISIONS
from stylegan2ada.devices import choose_device, resolve_precision
from stylegan2ada.errors import UserError
from stylegan2ada.progress import ProgressLine

from .machine import describe_machine, load_average, load_warnings
from .peer_step import check_checkout
from .step_setup import AUGMENT_P, StepSetup
from .step_table import Result, describe_step, footnotes, table_head, table_rows
from .step_worker import Measured, Worker, start_worker

REPEATS = {"cpu": 2, "cuda": 20}  # of each phase in one turn
WARM_UP_REPEATS = {"cpu": 1, "cuda": 10}
PAUSE_SEC = 0.3  # idle threads of the process before still spin a while
PEER, PEER_ALLOCATOR = "peer", "peer with our allocator setting"


@click.command(cls=Command, context_settings={"max_content_width": 110})
@click.option("--resolution", "--resolutions", "resolutions", default="64", metavar="PX[,PX...]",
              help="Sides of the images.  [64]")
@click.option("--batch", "batches", default="8", metavar="N[,N...]",
              help="Images per step: one number, or one for each resolution.  [8]")
@click.option("--precision", "precisions", type=click.Choice(["auto", *PRECISIONS]), multiple=True, default=["auto"],
              help="Of ours; several times for several rows.  [auto]")
@click.option("--kernels", type=click.Choice(KERNEL_CHOICES), default="auto", help="Of ours.  [auto]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto",
              help="[auto: CUDA where there is one]")
@click.option("--aug", type=click.Choice([*AUGMENT_PIPES, "noaug"]), default="bgc",
              help=f"Augmentation, at p = {AUGMENT_P}.  [bgc]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of each worker.  [as torch chooses]")
@click.option("--rounds", type=click.IntRange(min=1), default=5, help="Turns of each worker.  [5]")
@click.option("--repeats", type=click.IntRange(min=1), help="Of each phase in a turn.  [2; CUDA 20]")
@click.option("--graphs", type=click.Choice(["on", "off", "both"]), default="on",
              help="CUDA graphs, of ours.  [on]")
@click.option("--channel-base", type=int, help="Feature maps times resolution, of all.  [as --cfg=auto]")
@click.option("--peer", metavar="PATH", help="Checkout of the official repository, to be timed beside ours.")
@click.option("--peer-allocator", is_flag=True, help="The peer once more, with our memory allocator setting.")
def main(
    resolutions: str,
    batches: str,
    precisions: tuple[str, ...],
    kernels: str,
    device: str,
    aug: str,
    threads: int | None,
    rounds: int,
    repeats: int | None,
    graphs: str,
    channel_base: int | None,
    peer: str | None,
    peer_allocator: bool,
) -> None:
    """Time one step of training, alone or beside a peer's."""
    if peer is not None:
        check_checkout(peer)
    elif peer_allocator:
        raise UserError("--peer-allocator needs --peer PATH")
    chosen = choose_device(device)
    precisions = tuple(dict.fromkeys(resolve_precision(name, chosen) for name in precisions))
    with_graphs = {"on": (True,), "off": (False,), "both": (True, False)}[graphs if chosen.type == "cuda" else "on"]
    tables = []
    for resolution_px, batch in _sizes(resolutions, batches):
        base = StepSetup(
            resolution_px, batch, chosen.type, precisions[0], kernels, aug, threads, channel_base,
            keep_freed_memory=True,
        )  # fmt: skip
        base.training_config()  # a size that cannot be is refused now, not when its turn comes
        tables.append(_setups(base, precisions, with_graphs, peer, peer_allocator))
    _run(tables, rounds, repeats or REPEATS[chosen.type])


def _run(tables: list[dict[str, StepSetup]], rounds: int, repeats: int) -> None:
    """Measures and prints one table, size by size. Each entry of `tables`: the workers of one size by name."""
    first = next(iter(tables[0].values()))
    references = [name for name in tables[0] if name in (PEER, PEER_ALLOCATOR)]
    load_before, others, notes = load_average(), [], {}
    for line in [f"machine: {describe_machine(first.device)}", *describe_step(first.aug, rounds, repeats)]:
        click.echo(line)
    click.echo(f"\n{table_head(references)}")
    for setups in tables:
        results = _take_turns(setups, rounds, repeats)
        for row in table_rows(results, references):
            click.echo(row)
        others += [turn.others_cores for result in results for turn in result.rounds if turn.others_cores is not None]
        notes |= dict.fromkeys(footnotes(results))
        threads = results[0].ready.threads
    most = max(others, default=None)
    told = "not known" if most is None else f"up to {most:.2f} cores busy"
    click.echo(f"\nload average: {load_before:.2f} before, {load_average():.2f} after the run; "
               f"other processes during a turn: {told}; one worker at a time, of {threads} threads")  # fmt: skip
    for note in notes:
        click.echo(note)
    for warning in load_warnings(load_before, most):
        click.echo(f"WARNING: {warning}; do not trust these figures")


def _sizes(resolutions: str, batches: str) -> list[tuple[int, int]]:
    sides, counts = _numbers(resolutions, "--resolution"), _numbers(batches, "--batch")
    if len(counts) == 1:
        counts = counts * len(sides)
    if len(counts) != len(sides):
        raise UserError(f"--batch {batches}: give one number, or one for each of {len(sides)} resolutions")
    return list(zip(sides, counts, strict=True))


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: give numbers with commas between them") from None


def _setups(
    base: StepSetup, precisions: tuple[str, ...], with_graphs: tuple[bool, ...], peer: str | None, peer_allocator: bool
) -> dict[str, StepSetup]:
    """The workers of one size by name: ours, in every precision asked for, and the peer's.

    The peer runs at its own default, which on CUDA is mixed with fp16, unless all of ours is fp32.
    """
    setups = {
        f"ours in {precision}" + ("" if graphs else " without graphs"): dataclasses.replace(
            base, precision=precision, cuda_graphs=graphs
        )
        for precision in precisions
        for graphs in with_graphs
    }
    if peer is not None:
        theirs = "fp32" if base.device == "cpu" or precisions == ("fp32",) else "fp16"
        setups[PEER] = dataclasses.replace(base, precision=theirs, peer=peer, keep_freed_memory=False)
        if peer_allocator:
            setups[PEER_ALLOCATOR] = dataclasses.replace(setups[PEER], keep_freed_memory=True)
    return setups


def _take_turns(setups: dict[str, StepSetup], rounds: int, repeats: int) -> list[Result]:
    """Starts and warms up the workers, then lets each work once per round."""
    first = next(iter(setups.values()))
    progress = ProgressLine(f"step at {first.resolution_px} px, batch {first.batch}", "turn")
    total, done = len(setups) * (rounds + 1), 0
    workers: dict[str, Worker] = {}
    measured: dict[str, list[Measured]] = {name: [] for name in setups}
    with contextlib.ExitStack() as stack:
        for name, setup in setups.items():
            workers[name] = stack.enter_context(start_worker(name, setup))
            workers[name].measure(WARM_UP_REPEATS[setup.device])
            progress(done := done + 1, total)
        for index in range(rounds):
            for name in list(workers) if index % 2 == 0 else reversed(workers):
                time.sleep(PAUSE_SEC)
                measured[name].append(workers[name].measure(repeats))
                progress(done := done + 1, total)
        return [
            Result(name, setups[name], worker.ready, measured[name], worker.remarks())
            for name, worker in workers.items()
        ]


if __name__ == "__main__":
    main()
