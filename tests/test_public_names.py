"""What the packages offer to Python: every public name says what it is, and type checkers are told so."""

import inspect
from pathlib import Path

import pytest

import stylegan2ada
from stylegan2ada import ops

PACKAGES = ("stylegan2ada", "spine_ext", "metrics")
PUBLIC = [(package, name) for package in (stylegan2ada, ops) for name in package.__all__]


@pytest.mark.parametrize(("package", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_has_a_docstring_and_types(package, name):
    public = getattr(package, name)
    assert inspect.getdoc(public)
    call = inspect.signature(public.__init__ if inspect.isclass(public) else public)
    untyped = [p.name for p in call.parameters.values() if p.annotation is p.empty and p.name != "self"]
    assert untyped == []
    if not inspect.isclass(public):
        assert call.return_annotation is not call.empty


def test_the_contract():
    assert {"Generator", "Discriminator", "AugmentPipe", "load"} <= set(stylegan2ada.__all__)
    assert set(ops.__all__) == {"setup_filter", "upfirdn2d", "bias_act", "conv2d_resample", "modulated_conv2d"}


def test_type_checkers_are_told(repository_dir: Path):
    """By a marker in each package, which setup.cfg installs with it."""
    for package in PACKAGES:
        assert (repository_dir / package / "py.typed").is_file()
    assert "* = py.typed" in (repository_dir / "setup.cfg").read_text()
