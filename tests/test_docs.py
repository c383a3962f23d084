"""The Python in the documents runs, block after block, as a reader would paste it."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_ext.classifier import SpineClassifier, save_classifier
from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.checkpoint import PARTS, load, make_discriminator, make_generator, save_snapshot
from stylegan2ada.config import DataConfig, LossConfig, NetworkConfig, TrainingConfig
from tests.toy_images import write_toy_zip

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = Path("training-runs/RUN/network-snapshot-004200.safetensors")  # as the documents name it
CLASSES = ("normal", "abnormal")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documents name, tiny."""
    monkeypatch.chdir(tmp_path)
    write_toy_zip(Path("train.zip"), [0, 1] * 8)
    save_classifier(SpineClassifier(CLASSES, 32).eval(), "classifier.safetensors")
    config = TrainingConfig(
        DataConfig("train.zip", 32, 1, 16, 2, CLASSES),
        NetworkConfig(channel_base=256, channel_max=8, z_dim=8, w_dim=8, mapping_layers=1),
        LossConfig(),
    )
    networks = (make_generator(config), make_discriminator(config), make_generator(config), make_augment_pipe("bgc"))
    SNAPSHOT.parent.mkdir(parents=True)
    save_snapshot(SNAPSHOT, dict(zip(PARTS, networks, strict=True)), config, 4200.0)
    return tmp_path


def python_blocks(document: str) -> list[tuple[int, str]]:
    """(line, source) of each block."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        (text[: match.start(1)].count("\n"), match[1])
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


def run_blocks(document: str) -> dict:
    """Runs all blocks in one namespace, which is returned; errors name the document and its line."""
    namespace: dict = {"__name__": "__docs__"}
    for line, source in python_blocks(document):
        exec(compile("\n" * line + source, str(ROOT / document), "exec"), namespace)
    return namespace


def test_the_readme_runs(workplace):
    assert run_blocks("README.md")["images"].shape == (4, 1, 32, 32)


def test_the_api_page_runs_and_does_what_it_says(workplace):
    names = run_blocks("docs/api.md")
    G = names["G"]
    assert names["images"].shape == (2, 1, 32, 32)
    assert names["ws"].shape == (4, G.num_ws, G.w_dim)
    assert names["gradient"].shape == (1, G.num_ws, G.w_dim)
    assert names["gradient"].abs().max() > 0
    assert names["logits"].shape == (4, 1)
    assert torch.allclose(names["probabilities"].sum(dim=1), torch.ones(4))
    assert names["twice_as_large"].shape == (2, 1, 64, 64)
    assert names["again"].dtype == torch.float32
    assert names["again"].abs().max() <= 1
    assert Path("grid.png").is_file()
    changed = load("changed.safetensors")
    np.testing.assert_array_equal(changed.generator.mapping.w_avg, G.mapping.w_avg)
    assert names["last"].parent == Path("my-run")
    assert load(names["last"]).config.total_kimg == 0.032
    assert "Loss/G/darkness" in Path("my-run/stats.jsonl").read_text()


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))])
def test_python_in_any_other_document_is_at_least_python(document):
    for line, source in python_blocks(document):
        compile("\n" * line + source, document, "exec")
