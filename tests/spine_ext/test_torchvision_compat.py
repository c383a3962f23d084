"""The import of torchvision: the real one, and stand-ins that fail in the ways it can."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spine_ext.torchvision_compat import import_torchvision
from stylegan2ada.errors import UserError


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a package of the given source in the place of torchvision, for one test."""

    def install(source: str, **modules: str) -> None:
        package = tmp_path / "torchvision"
        package.mkdir()
        (package / "__init__.py").write_text(source)
        for name, text in modules.items():
            (package / f"{name}.py").write_text(text)

    real = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torchvision"}
    for name in real:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "attempts", [], raising=False)
    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


ATTEMPT = "import sys\nfrom . import extension\nsys.attempts.append('package')\n"
FAIL_ONCE = (
    "if sys.attempts.count('package') == 1:\n    raise RuntimeError('operator torchvision::{} does not exist')\n"
)


def test_the_installed_torchvision_has_the_network() -> None:
    torchvision = import_torchvision()
    assert callable(torchvision.models.densenet121)
    assert import_torchvision() is torchvision


def test_a_fresh_process_imports_it_without_a_warning(repository_dir: Path) -> None:
    code = "from spine_ext.torchvision_compat import import_torchvision as i; print(i().models.densenet121.__name__)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=repository_dir, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("densenet121", "", 0)


@pytest.mark.parametrize("operator", ["nms", "qnms"])
def test_missing_operators_are_declared_and_the_whole_package_is_imported_again(stand_in, operator: str) -> None:
    stand_in(ATTEMPT + FAIL_ONCE.format(operator), extension="import sys\nsys.attempts.append('extension')\n")
    assert import_torchvision().extension is sys.modules["torchvision.extension"]
    assert sys.attempts == ["extension", "package"] * 2
    assert hasattr(torch.ops.torchvision, operator)


def test_a_failure_that_stays_is_passed_on(stand_in) -> None:
    stand_in("raise RuntimeError('operator torchvision::nms does not exist')")
    with pytest.raises(RuntimeError, match="nms does not exist"):
        import_torchvision()


@pytest.mark.parametrize(
    "failure", ["operator torchvision::novel does not exist", "compiled with different CUDA major versions"]
)
def test_another_failure_is_passed_on_at_once(stand_in, failure: str) -> None:
    stand_in(f"import sys\nsys.attempts.append(1)\nraise RuntimeError({failure!r})")
    with pytest.raises(RuntimeError, match=failure):
        import_torchvision()
    assert len(sys.attempts) == 1


def test_a_missing_torchvision_is_a_plain_message(stand_in) -> None:
    stand_in("raise ModuleNotFoundError('no', name='torchvision')")
    with pytest.raises(UserError, match=r"not installed.*pip install torchvision"):
        import_torchvision()


def test_a_missing_dependency_of_it_is_passed_on(stand_in) -> None:
    stand_in("import a_module_that_is_not_there")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        import_torchvision()
