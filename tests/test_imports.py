"""Imports run one way. The rooms below are the order; imports are read from the source, nothing is run."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Lowest room first. A module may import from its own room and from lower ones, never from a higher one.
# An entry is a module or a package with all that is in it; a package's own code is written ".__init__".
# A new module belongs in the lowest room whose imports suffice for it.
ROOMS = (
    (
        "stylegan2ada.errors",
        "stylegan2ada.files",
        "stylegan2ada.tensor_file",
        "stylegan2ada.background",
        "stylegan2ada.config",
        "stylegan2ada.presets",
        "stylegan2ada.options",
        "stylegan2ada.devices",
        "stylegan2ada.allocator",
        "stylegan2ada.cli",
        "stylegan2ada.cli_values",
        "stylegan2ada.dealing",
        "stylegan2ada.doctor",
        "stylegan2ada.download",
        "stylegan2ada.gather",
        "stylegan2ada.launch",
        "stylegan2ada.processes",
        "stylegan2ada.progress",
    ),
    (
        "stylegan2ada.images",
        "stylegan2ada.image_files",
        "stylegan2ada.sheets",
        "stylegan2ada.video",
        "stylegan2ada.ops.kernels",
        "stylegan2ada.ops",
        "stylegan2ada.dataset",
        "stylegan2ada.dataset_chunks",
        "stylegan2ada.dataset_labels",
        "stylegan2ada.dataset_writer",
        "stylegan2ada.data_loader",
        "stylegan2ada.diversity",
        "stylegan2ada.real_batches",
    ),
    ("stylegan2ada.layers",),
    (
        "stylegan2ada.generator",
        "stylegan2ada.discriminator",
        "stylegan2ada.grids",
        "stylegan2ada.sampling",
        "stylegan2ada.latent_walks",
        "stylegan2ada.perceptual",
        "stylegan2ada.projected_w",
        "stylegan2ada.projection",
        "stylegan2ada.style_mixing",
    ),
    ("stylegan2ada.compute", "stylegan2ada.augment", "stylegan2ada.generated_images", "stylegan2ada.losses"),
    (
        "stylegan2ada.legacy.__init__",
        "stylegan2ada.legacy.arguments",
        "stylegan2ada.legacy.emitter",
        "stylegan2ada.legacy.fetch",
        "stylegan2ada.legacy.machine",
        "stylegan2ada.legacy.reader",
        "stylegan2ada.legacy.tensors",
        "stylegan2ada.legacy.vocabulary",
    ),
    (
        "stylegan2ada.ada",
        "stylegan2ada.cuda_graphs",
        "stylegan2ada.division",
        "stylegan2ada.ema",
        "stylegan2ada.execution",
        "stylegan2ada.execution_choice",
        "stylegan2ada.optimizer_state",
        "stylegan2ada.optimizer_steps",
        "stylegan2ada.updates",
    ),
    (
        "stylegan2ada.checkpoint",
        "stylegan2ada.transfer",
        "stylegan2ada.networks",
        "stylegan2ada.training_state",
        "stylegan2ada.stats",
        "stylegan2ada.run_folder",
        "stylegan2ada.stop_request",
        "stylegan2ada.recorder",
        "stylegan2ada.run_parts",
        "stylegan2ada.follower",
    ),
    ("stylegan2ada.loop", "stylegan2ada.legacy.writer", "stylegan2ada.legacy.__main__", "stylegan2ada.__init__"),
    ("spine_ext",),
)
STANDALONE = ("metrics",)  # beside the rooms: imports no package of ours, and only scripts import it

# What stylegan2ada must know nothing of: DICOM, privacy, clinical classifiers.
FOREIGN_TO_THE_GAN = {"dp_accounting", "imagecodecs", "opacus", "pydicom", "sklearn", "torchvision"}

TABLE = "ROOMS in tests/test_imports.py"
PACKAGES = ("stylegan2ada", "spine_ext", "metrics")


def read_modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file, of every module in our packages; a package's own code is `package.__init__`."""
    files = (file for package in PACKAGES for file in sorted((root / package).rglob("*.py")))
    return {".".join(file.relative_to(root).with_suffix("").parts): file for file in files}


def read_scripts(root: Path) -> set[str]:
    """Names of the scripts at the top of the repository."""
    return {file.stem for file in root.glob("*.py")}


def imports_of(module: str, source: str, modules: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """(line, imported module) of every import in `source`, wherever it stands; relative ones resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, _own_name(alias.name, modules)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[: -node.level]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                member = _own_name(f"{origin}.{alias.name}", modules)
                yield node.lineno, member if member in modules else _own_name(origin, modules)


def _own_name(name: str, modules: dict[str, Path]) -> str:
    return f"{name}.__init__" if f"{name}.__init__" in modules else name


def room_of(module: str) -> int | None:
    """Index in ROOMS, None where no entry covers the module."""
    for index, room in enumerate(ROOMS):
        if any(module == entry or module.startswith(entry + ".") for entry in room):
            return index
    return None


def violations(root: Path) -> list[str]:
    """Every import under `root` that goes the wrong way, one line each."""
    modules, scripts = read_modules(root), read_scripts(root)
    found, graph = [], {}
    for module, file in modules.items():
        if not module.startswith(STANDALONE) and room_of(module) is None:
            found.append(f"{module} is in no room: add it to {TABLE} and to docs/design.md")
            continue
        imports = list(imports_of(module, file.read_text(encoding="utf-8"), modules))
        graph[module] = {imported for _, imported in imports if imported in modules} - {module}
        for line, imported in imports:
            reason = _why_forbidden(module, imported, scripts)
            if reason:
                found.append(f"{file.relative_to(root)}:{line} imports {imported}: {reason}")
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        found.append("modules import each other in a circle: " + " <- ".join(error.args[1]))
    return found


def _why_forbidden(module: str, imported: str, scripts: set[str]) -> str | None:
    package, origin = module.split(".")[0], imported.split(".")[0]
    if origin in scripts:
        return "nothing imports a script"
    if package == "stylegan2ada" and origin in FOREIGN_TO_THE_GAN:
        return "the GAN knows nothing of clinical data or privacy"
    if origin not in PACKAGES:
        return None
    if package in STANDALONE:
        return None if origin == package else "metrics stands alone"
    if origin in STANDALONE:
        return "only scripts see metrics"
    room = room_of(imported)
    if room is None:
        return "it is in no room, or does not exist"
    return "it is in a higher room" if room > room_of(module) else None


def test_every_import_goes_down(repository_dir: Path) -> None:
    assert violations(repository_dir) == []


def test_the_table_names_no_module_twice() -> None:
    entries = [entry for room in ROOMS for entry in room]
    assert len(entries) == len(set(entries))


def test_no_script_hides_a_library() -> None:
    """A script named as a module of the standard library would be imported instead of it."""
    assert not read_scripts(Path(__file__).parent.parent) & sys.stdlib_module_names


PLANTED = {
    "a higher room": ("stylegan2ada/ada.py", "from .loop import f", "ada.py:1 imports stylegan2ada.loop"),
    "a higher room, by name": ("stylegan2ada/ada.py", "from . import loop", "higher room"),
    "a higher room, two dots": ("stylegan2ada/ops/fir.py", "from ..layers import Dense", "higher room"),
    "a higher room, inside a function": (
        "stylegan2ada/ema.py",
        "def f():\n    import stylegan2ada.loop",
        "ema.py:2",
    ),
    "the facade": ("stylegan2ada/ema.py", "from stylegan2ada import load", "higher room"),
    "the spine": ("stylegan2ada/loop.py", "from spine_ext.clinical import Term", "higher room"),
    "DICOM": ("stylegan2ada/dataset.py", "from pydicom import dcmread", "knows nothing"),
    "privacy": ("stylegan2ada/updates.py", "import opacus.optimizers", "knows nothing"),
    "metrics from the GAN": ("stylegan2ada/loop.py", "import metrics", "only scripts see metrics"),
    "metrics from the spine": ("spine_ext/report.py", "from metrics.frechet import distance", "only scripts"),
    "the GAN from metrics": ("metrics/kernel.py", "from stylegan2ada.images import tile", "stands alone"),
    "a script": ("spine_ext/report.py", "import train", "nothing imports a script"),
    "a circle": ("spine_ext/clinical.py", "from .report import x", "in a circle"),
    "an unknown module": ("stylegan2ada/novel.py", "", "novel is in no room: add it to ROOMS"),
    "a missing module": ("spine_ext/report.py", "import stylegan2ada.gone", "does not exist"),
}


@pytest.fixture
def sound_tree(tmp_path: Path) -> Path:
    """A small tree that keeps the rules, with imports written in every way."""
    files = {
        "train.py": "import metrics\nfrom spine_ext import report\nfrom stylegan2ada import load\n",
        "stylegan2ada/__init__.py": "from .loop import train\nfrom . import ops\n",
        "stylegan2ada/errors.py": "import torch\n",
        "stylegan2ada/ops/__init__.py": "from .fir import fir\nfrom ..errors import UserError\n",
        "stylegan2ada/ops/fir.py": "from .. import errors\n",
        "stylegan2ada/layers.py": "import stylegan2ada.ops.fir\nfrom stylegan2ada.ops import fir, g\n",
        "stylegan2ada/loop.py": "from stylegan2ada import layers\nfrom .errors import UserError\n",
        "spine_ext/__init__.py": "",
        "spine_ext/clinical.py": "import pydicom\n",
        "spine_ext/report.py": "from stylegan2ada import load\nfrom .clinical import Term\n",
        "metrics/__init__.py": "",
        "metrics/kernel.py": "import numpy\n",
    }
    for name, source in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return tmp_path


def test_a_sound_tree_passes(sound_tree: Path) -> None:
    assert violations(sound_tree) == []


@pytest.mark.parametrize(("name", "line", "message"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_found(sound_tree: Path, name: str, line: str, message: str) -> None:
    with open(sound_tree / name, "a") as file:
        file.write(line + "\n")
    found = violations(sound_tree)
    assert found
    assert message in found[0]
