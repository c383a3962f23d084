"""The GPU report, put together from small parts; its own parts need a GPU."""

import sys

import pytest
from click.testing import CliRunner

import train
from benchmarks import gpu, kernel_bandwidth, step_time
from benchmarks.gpu import Part


def python(source: str) -> list[str]:
    return [sys.executable, "-c", source]


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(*parts: Part, options=()):
        monkeypatch.setattr(gpu, "_parts", lambda device, peer, folder: list(parts))
        arguments = ["--device=cpu", f"--out={tmp_path / 'report.md'}", *options]
        result = CliRunner().invoke(gpu.main, arguments, catch_exceptions=False)
        report = tmp_path / "report.md"
        return result, report.read_text() if report.exists() else ""

    return run


def test_a_table_stays_one_and_text_is_fenced(run):
    result, report = run(Part("speed", python("print('| a | b |')"), 1), Part("tests", python("print('5 passed')"), 1))
    assert result.exit_code == 0, result.output
    assert "2 of 2 parts succeeded" in result.output
    assert report.startswith("# GPU report\n\n")
    assert "torch" in report.splitlines()[2], "the machine and the versions"
    assert "## Speed\n" in report
    assert "\n\n| a | b |\n" in report
    assert "```\n5 passed\n```" in report


def test_a_part_that_fails_is_told_and_the_others_go_on(run):
    result, report = run(
        Part("bad", python("import sys; print('before'); sys.exit('what went wrong')"), 1),
        Part("good", python("print('fine')"), 1),
    )
    assert result.exit_code == 1
    assert "1 of 2 parts succeeded" in result.output
    assert "**FAILED** (1)\n\n```\nbefore\nwhat went wrong\n```" in report
    assert "fine" in report


def test_a_part_that_takes_too_long_is_stopped(run):
    _, report = run(Part("slow", python("import time; print('begun', flush=True); time.sleep(60)"), 0.02))
    assert "**FAILED** (stopped after 0.02 minutes)" in report
    assert "begun" in report


def test_only_the_telling_lines(run):
    _, report = run(Part("run", python("print('tick 1'); print('noise')"), 1, ("tick",)))
    assert "tick 1" in report
    assert "\nnoise" not in report


def test_some_parts_only(run):
    parts = Part("first", python("print('one')"), 1), Part("second", python("print('two')"), 1)
    _, report = run(*parts, options=["--only=second"])
    assert "two" in report
    assert "one" not in report.split("## ", 1)[1]
    result, _ = run(*parts, options=["--only=third"])
    assert result.exit_code == 2


def test_without_a_gpu_it_is_one_line(monkeypatch):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(gpu.main, [])
    assert result.exit_code == 2
    assert "no CUDA device" in result.output


def test_the_commands_of_its_parts_are_understood():
    """Options of other commands change; here that shows without a GPU."""
    parts = {part.title: part.command for part in gpu._parts("cpu", None, "somewhere")}
    for command in parts.values():
        if "pytest" in command or "benchmarks.golden_errors" in command:
            continue
        name, rest = (command[2], command[3:]) if command[1] == "-m" else (command[1], command[2:])
        click_command = {
            "benchmarks.step_time": step_time.main, "benchmarks.kernel_bandwidth": kernel_bandwidth.main,
            "train.py": train.main,
        }[name]  # fmt: skip
        click_command.make_context(name, rest)
