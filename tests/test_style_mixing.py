"""style_mixing.py as a user types it, on tiny untrained networks."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

import style_mixing
from stylegan2ada.checkpoint import load
from stylegan2ada.images import to_uint8
from stylegan2ada.sampling import ws_of_seeds
from tests.tiny_networks import CLASSES, assert_one_line, save_network


@pytest.fixture
def conditional(tmp_path) -> Path:
    return save_network(tmp_path / "conditional.safetensors", class_names=CLASSES)


def run(network: Path, outdir: Path, *options: object, rows: str = "3,5", cols: str = "7-9") -> Result:
    arguments = ["--network", network, "--rows", rows, "--cols", cols, "--outdir", outdir, "--device", "cpu", *options]
    return CliRunner().invoke(style_mixing.main, [str(argument) for argument in arguments])


def read(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        return np.array(image).astype(int)


def test_files_by_seed(tmp_path):
    network = save_network(tmp_path / "n.safetensors", num_channels=3)
    result = run(network, tmp_path / "out")
    assert result.exit_code == 0, result.output
    pairs = [f"{row}-{column}" for row in (3, 5) for column in (7, 8, 9)]
    expected = {f"{name}.png" for name in ("grid", *"35789", *pairs)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    assert read(tmp_path / "out" / "3-7.png").shape == (16, 16, 3)


def test_layers_and_classes(conditional, tmp_path):
    assert run(conditional, tmp_path / "out", "--styles", "0,2", "--class", "Osteophytes").exit_code == 0
    G = load(conditional).generator
    ws, column = ws_of_seeds(G, [5], [1]).clone(), ws_of_seeds(G, [8], [1])
    ws[:, [0, 2]] = column[:, [0, 2]]
    expected = to_uint8(G.synthesis(ws, "const"))[0, 0].numpy()
    assert np.abs(read(tmp_path / "out" / "5-8.png") - expected).max() <= 1
    own = to_uint8(G.synthesis(column, "const"))[0, 0].numpy()
    assert np.abs(read(tmp_path / "out" / "8.png") - own).max() <= 1
    assert np.abs(read(tmp_path / "out" / "5-8.png") - own).max() > 1


def test_a_picture_for_each_class(conditional, tmp_path):
    result = run(conditional, tmp_path / "out", "--trunc", "0.7")
    assert result.exit_code == 0, result.output
    names = [path.name for path in (tmp_path / "out").iterdir()]
    assert {name for name in names if name.startswith("grid")} == {f"grid-class{one}.png" for one in range(3)}
    assert len(names) == 3 * 12
    images = [read(tmp_path / "out" / f"3-7-class{one}.png") for one in range(3)]
    assert (images[0] != images[1]).any() and (images[1] != images[2]).any()
    assert "mixing 33/33" in result.stderr


def test_default_layers_leave_some_to_the_rows():
    assert [style_mixing.default_layers(num_ws) for num_ws in (2, 6, 8, 18)] == ["0-0", "0-2", "0-6", "0-6"]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--styles", "0-6"], ["--styles 0-6", "6 is too large", "6 layers, they go up to 5"]),
        (["--styles", "x"], ["--styles x", "'x' is neither"]),
        (["--class", "9"], ["--class 9", "Vertebral collapse"]),
        (["--rows", ""], ["--rows", "'' is neither"]),
        (["--cols", "3-1"], ["--cols 3-1", "write 1-3"]),
        (["--trunc", "nan"], ["--trunc nan"]),
        (["--network", "none.safetensors"], ["none.safetensors"]),
        (["--rows", "0-999", "--cols", "0-999"], ["--rows and --cols", "1,002,001 images of 16 px are too many"]),
    ],
)
def test_mistakes(conditional, tmp_path, options, parts):
    assert_one_line(run(conditional, tmp_path / "out", *options), *parts)
    assert not (tmp_path / "out").exists()


def test_outdir_is_a_file_or_the_network_broken(conditional, tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_line(run(conditional, tmp_path / "file"), "--outdir", "cannot be written")
    network = save_network(tmp_path / "nan.safetensors", broken=True)
    assert_one_line(run(network, tmp_path / "out"), "nan.safetensors", "NaN")
