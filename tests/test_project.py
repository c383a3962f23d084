"""What the project promises as a whole: its metadata, its size, and that the documented commands exist."""

import configparser
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 300  # a longer file holds more than one idea; tests go by module and may be longer

OPTIONS = {
    "dataset_tool_dicom.py": "--source --annotations --dest --labels --resolution --resample",
    "train.py": (
        "--cfg --gamma-clinical --clinical-reduction --classifier --outdir --gpus --snap --metrics --detector"
        " --metrics-process --seed"
        " -n --dry-run"
        " --data --cond --subset --mirror --gamma --kimg --batch --aug --p --target --augpipe --resume"
        " --freezed --fp32 --nhwc --nobench --allow-tf32 --workers"
    ),
    "classify.py": "--train --synthetic --count --synthetic-only --test --outdir",
    "generate.py": (
        "--network --seeds --class --trunc --trunc-sweep --outdir --grid --projected-w --format --burn-in --noise-mode"
        " --device"
    ),
    "style_mixing.py": "--network --rows --cols --styles --class --trunc --noise-mode --outdir --device",
    "interpolate.py": "--network --seeds --class --output --frames --fps --space --trunc --device",
    "projector.py": (
        "--network --target --num-steps --seed --save-video --outdir --class --space --classifier --vgg --device"
    ),
    "calc_metrics.py": "--network --data --metrics --detector",
    "reproduce.py": "--train --test --outdir",
}


@functools.cache
def run_help(script: str) -> subprocess.CompletedProcess:
    command = [sys.executable, script, "--help"]
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])(--?[a-z][a-z0-9-]*)", text))


@pytest.fixture(scope="module")
def requirements() -> dict[str, Requirement]:
    """Name -> requirement, of what setup.cfg installs."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options"]["install_requires"].split("\n")
    return {requirement.name: requirement for requirement in map(Requirement, filter(None, lines))}


class TestMetadata:
    @pytest.mark.parametrize(
        ("version", "allowed"), [("2.8.0", False), ("2.9.0", True), ("2.13.0+cpu", True), ("2.14.0", False)]
    )
    def test_torch_range(self, requirements, version, allowed):
        assert requirements["torch"].specifier.contains(version) == allowed

    def test_torchvision_pairs_with_torch(self, requirements):
        """torchvision 0.(k + 15) is built for torch 2.k."""
        for minor in range(5, 20):
            torch_allowed = requirements["torch"].specifier.contains(f"2.{minor}.0")
            assert requirements["torchvision"].specifier.contains(f"0.{minor + 15}.0") == torch_allowed

    def test_every_package_folder_is_installed(self):
        """`packages = find:` skips a folder without __init__.py silently."""
        for package in ("stylegan2ada", "spine_ext", "metrics"):
            folders = {file.parent for file in (ROOT / package).rglob("*.py")}
            assert all((folder / "__init__.py").is_file() for folder in folders), package


def test_no_file_is_too_long():
    folders = ("stylegan2ada", "spine_ext", "metrics", "benchmarks")
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in (ROOT / folder).rglob("*.py"))]
    lines = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8").count("\n") for file in files}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


class TestCommandLines:
    def test_every_script_is_listed_here(self):
        assert {file.name for file in ROOT.glob("*.py")} - {"setup.py"} <= set(OPTIONS)

    @pytest.mark.parametrize("script", OPTIONS)
    def test_help_explains_every_documented_option(self, script):
        if not (ROOT / script).is_file():
            pytest.skip(f"{script} is not written yet")
        result = run_help(script)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        assert set(OPTIONS[script].split()) - options_in(result.stdout) == set()


def documented_commands() -> list:
    """Test parameters (document, command): every `python script.py ...` in the code blocks."""
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = []
    for document in documents:
        text = document.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            for command in re.findall(r"python \w+\.py[^#&|]*", line):
                name = f"{document.name}: {command.split()[1]}"
                found.append(pytest.param(document.name, command, id=name))
    return found


@pytest.mark.parametrize(("document", "command"), documented_commands())
def test_documented_commands_exist(document, command):
    script = command.split()[1]
    assert (ROOT / script).is_file(), f"{document} names {script}, which does not exist"
    assert options_in(command) - options_in(run_help(script).stdout) == set()
