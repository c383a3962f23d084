"""All that can only be seen on a GPU, in one command and one report: tests, errors, bandwidth, step times, a short run.

python -m benchmarks.gpu [--peer PATH] [--out FILE]

Each part is a process of its own; one that fails is told with the end of what it said, and the others go on. The report
is written anew after every part.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from stylegan2ada.cli import Command
from stylegan2ada.errors import UserError
from stylegan2ada.files import check_writable, write_text
from stylegan2ada.progress import format_duration

from .machine import describe_machine
from .peer_step import check_checkout

ROOT = Path(__file__).resolve().parent.parent
LAST_LINES = 40  # of a part that failed
TEST_FOLDERS = ("tests/test_cuda.py", "tests/test_cuda_step.py", "tests/stylegan2ada/ops")
RUN_LINES = ("tick", "fused", "kernels", "precision", "without", "Frechet", "frechet", "untrained", "trained", "real_")


@dataclass(frozen=True)
class Part:
    """A chapter of the report: what runs, for how long at most, and which of its lines are told (None: all)."""

    title: str
    command: list[str]
    limit_min: float
    told: tuple[str, ...] | None = None


@click.command(cls=Command, context_settings={"max_content_width": 110})
@click.option("--peer", metavar="PATH", help="Checkout of the official repository, to be timed beside ours.")
@click.option("--out", type=click.Path(path_type=Path), default="gpu-report.md", help="The report.  [gpu-report.md]")
@click.option("--only", metavar="WORD", help="The parts with this word in their title.  [all]")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", help="cpu: to try the command.  [cuda]")
def main(peer: str | None, out: Path, only: str | None, device: str) -> None:
    """Run everything that needs a GPU and write one report."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device is available here: this is for a machine with one")
    if peer is not None:
        check_checkout(peer)
    check_writable(out.resolve().parent, "--out")
    with tempfile.TemporaryDirectory() as folder:
        parts = [part for part in _parts(device, peer, folder) if only is None or only in part.title]
        if not parts:
            raise UserError(f"--only {only}: no part has this word in its title")
        chapters = [f"# GPU report\n\n{describe_machine(device)}\n"]
        for number, part in enumerate(parts, 1):
            click.echo(f"[{number}/{len(parts)}] {part.title}", err=True)
            chapters.append(_chapter(part))
            write_text(out, "\n".join(chapters))
    failed = sum("**FAILED**" in chapter for chapter in chapters)
    click.echo(f"{out}: {len(parts) - failed} of {len(parts)} parts succeeded")
    if failed:
        sys.exit(1)


def _parts(device: str, peer: str | None, folder: str) -> list[Part]:
    python = [sys.executable, "-m"]
    against = ["--peer", peer] if peer else []
    step = [*python, "benchmarks.step_time", "--device", device, "--resolution", "256,256", "--batch", "16,64"]
    tests = [path for path in TEST_FOLDERS if (ROOT / path).exists()]
    golden = str(ROOT / "tests" / "data")
    default_run = [sys.executable, "train.py", "--cfg", "spinegan", "--device", device, "--kimg", "1", "--tick", "0.2",
                   "--phantom-train", "200", "--phantom-test", "64", "--classifier-epochs", "1",
                   "--outdir", folder, "--cache-dir", f"{folder}/cache"]  # fmt: skip
    return [
        Part("tests on the device", [*python, "pytest", "-q", "-m", "slow or not slow", *tests], 20),
        Part("errors against the golden numbers", [*python, "benchmarks.golden_errors", golden, device], 5),
        Part("bandwidth of the operators", [*python, "benchmarks.kernel_bandwidth", "--device", device], 10),
        Part(
            "step time in bf16 and fp16, with and without CUDA graphs",
            [*step, "--precision", "bf16", "--precision", "fp16", "--graphs", "both", *against],
            30,
        ),
        Part("step time in fp32", [*step, "--precision", "fp32", *against], 30),
        Part("a short default run", default_run, 15, RUN_LINES),
    ]


def _chapter(part: Part) -> str:
    """Runs a part and tells of it in markdown."""
    start = time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        done = subprocess.run(
            part.command, cwd=ROOT, env=environment, text=True, errors="replace", timeout=part.limit_min * 60,
            capture_output=True,
        )  # fmt: skip
        status, said, complained = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        status = f"stopped after {part.limit_min:g} minutes"
        said, complained = _text(error.stdout), _text(error.stderr)
    took = format_duration(time.monotonic() - start)
    shown = ["python" if word == sys.executable else word for word in part.command]
    head = f"## {part.title[0].upper()}{part.title[1:]}\n\n`{' '.join(shown)}`: {took}\n"
    if status != 0:
        lines = (said + complained).splitlines()[-LAST_LINES:]
        return "\n".join([head, f"**FAILED** ({status})\n", "```", *lines, "```", ""])
    lines = said.splitlines()
    if part.told is not None:
        lines = [line for line in lines if any(word in line for word in part.told)]
    is_table = any(line.startswith("|") for line in lines)
    return "\n".join([head, *lines, ""] if is_table else [head, "```", *lines, "```", ""])


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


if __name__ == "__main__":
    main()
