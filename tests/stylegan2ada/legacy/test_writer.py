"""Official snapshots that we write: exact round trips, and code of another program that builds its own networks."""

import dataclasses
import io
import json
import pickletools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylegan2ada import load
from stylegan2ada.checkpoint import Snapshot, read_snapshot, save_snapshot
from stylegan2ada.legacy.writer import save_official

from .files import COND, UNCOND, snapshot


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


def tensors_of(found: Snapshot) -> dict[str, torch.Tensor]:
    parts = {part: module.state_dict() for part, module in found.modules().items()}
    return {f"{part}/{name}": tensor for part, state in parts.items() for name, tensor in state.items()}


@pytest.mark.parametrize("config", [COND, UNCOND], ids=["cond", "uncond"])
class TestRoundTrip:
    def test_ours_to_official_to_ours(self, tmp_path, config):
        original = snapshot(config)
        save_official(tmp_path / "a.pkl", original)
        first = load(tmp_path / "a.pkl")
        assert differing(tensors_of(original), tensors_of(first)) == []
        assert (first.config, first.kimg) == (config, 200.5)
        save_snapshot(tmp_path / "a.safetensors", first.modules(), first.config, first.kimg)
        second = load(tmp_path / "a.safetensors")
        assert differing(tensors_of(original), tensors_of(second)) == []
        assert (second.config, second.kimg) == (config, 200.5)
        save_official(tmp_path / "b.pkl", second)
        assert (tmp_path / "b.pkl").read_bytes() == (tmp_path / "a.pkl").read_bytes()

    def test_parts_that_are_missing_stay_so(self, tmp_path, config):
        original = dataclasses.replace(snapshot(config), discriminator=None, generator_raw=None, augment_pipe=None)
        save_official(tmp_path / "a.pkl", original)
        loaded = load(tmp_path / "a.pkl")
        assert list(loaded.modules()) == ["G_ema"]
        save_snapshot(tmp_path / "a.safetensors", loaded.modules(), loaded.config, loaded.kimg)
        assert differing(tensors_of(original), tensors_of(load(tmp_path / "a.safetensors"))) == []


@pytest.mark.parametrize("case", ["cond32", "uncond64"])
def test_the_official_codes_own_files_keep_every_tensor(golden_dir, tmp_path, case):
    _, _, expected = read_snapshot(golden_dir / f"{case}.pkl")
    save_official(tmp_path / "again.pkl", load(golden_dir / f"{case}.pkl"))
    assert differing(expected, read_snapshot(tmp_path / "again.pkl")[2]) == []


PERSISTENCE = '''
import sys
import types

def _reconstruct_persistent_obj(meta):
    """As the official code documents its format: run the source, make the class' object, give it the state."""
    assert meta["type"] == "class" and meta["version"] == 6
    module = types.ModuleType("source" + str(len(sys.modules)))
    sys.modules[module.__name__] = module
    exec(compile(meta["module_src"], "module_src", "exec"), module.__dict__)
    found = module.__dict__[meta["class_name"]]
    network = found.__new__(found)
    network.__setstate__(meta["state"])
    return network
'''
NETWORKS = """
import sys
import torch
sys.path.insert(0, {repository!r})
from stylegan2ada import Discriminator as OurD, Generator as OurG
made = []

class Generator(OurG):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        made.append("G")

class Discriminator(OurD):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        made.append("D")
"""
AUGMENT = """
from training.networks import made
from stylegan2ada import AugmentPipe as Ours

class AugmentPipe(Ours):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        made.append("A")
"""
READ = '''
import copy, json, pickle, sys
import torch
import training.augment, training.networks
with open(sys.argv[1], "rb") as file:
    content = pickle.load(file)
parts = {part: content[part] for part in ("G", "D", "G_ema", "augment_pipe")}
torch.save({part: copy.deepcopy(network).state_dict() for part, network in parts.items()}, sys.argv[2])
print(json.dumps({
    "made": training.networks.made,
    "classes": [f"{type(network).__module__}.{type(network).__name__}" for network in parts.values()],
    "trains": [network.training for network in parts.values()],
    "gradients": [parameter.requires_grad for parameter in content["G_ema"].parameters()],
    "data": content["training_set_kwargs"],
    "ours": [name for name in sys.modules if name.startswith("stylegan2ada.legacy.writer")],
}))
'''  # fmt: skip


def test_another_program_builds_its_own_networks(tmp_path, repository_dir):
    """A stand-in for the official code: its modules have the official names, and its networks count themselves."""
    original = snapshot()
    save_official(tmp_path / "network.pkl", original)
    for name, source in {
        "torch_utils/persistence.py": PERSISTENCE, "training/augment.py": AUGMENT,
        "training/networks.py": NETWORKS.format(repository=str(repository_dir)),
    }.items():  # fmt: skip
        path = tmp_path / "program" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(source)
    command = [sys.executable, "-c", READ, str(tmp_path / "network.pkl"), str(tmp_path / "found.pt")]
    done = subprocess.run(command, cwd=tmp_path / "program", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found["made"]) == ["A", "D", "G", "G"]
    assert found["classes"] == [
        "training.networks.Generator", "training.networks.Discriminator", "training.networks.Generator",
        "training.augment.AugmentPipe",
    ]  # fmt: skip
    assert not any(found["trains"]) and not any(found["gradients"])
    assert found["data"] == {
        "class_name": "training.dataset.ImageFolderDataset", "path": "set.zip", "use_labels": True, "max_size": 100,
        "xflip": True, "resolution": 8,
    }  # fmt: skip
    theirs = torch.load(tmp_path / "found.pt", weights_only=True)
    flat = {f"{part}/{name}": tensor for part, state in theirs.items() for name, tensor in state.items()}
    assert differing(tensors_of(original), flat) == []


class TestFile:
    def test_equal_networks_make_equal_files(self, tmp_path):
        for name in ("a", "b"):
            save_official(tmp_path / f"{name}.pkl", snapshot())
        assert (tmp_path / "a.pkl").read_bytes() == (tmp_path / "b.pkl").read_bytes()

    def test_an_error_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "network.pkl"
        path.write_bytes(b"old")

        def fail(file, value):
            file.write(b"half")
            raise OSError("disk full")

        monkeypatch.setattr("stylegan2ada.legacy.writer.write_pickle", fail)
        with pytest.raises(OSError, match="disk full"):
            save_official(path, snapshot())
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_nothing_of_the_official_code_is_imported_or_pretended(self, tmp_path):
        save_official(tmp_path / "network.pkl", snapshot())
        load(tmp_path / "network.pkl")
        assert not {"training", "torch_utils", "dnnlib", "legacy"} & {name.split(".")[0] for name in sys.modules}

    def test_networks_in_training_on_other_layouts(self, tmp_path):
        """Training keeps convolution weights channels-last; a file has them in the usual order."""
        original = snapshot()
        original.generator.train()
        original.generator.synthesis.b8.conv1.weight.data = original.generator.synthesis.b8.conv1.weight.data.to(
            memory_format=torch.channels_last
        )
        save_official(tmp_path / "network.pkl", original)
        loaded = load(tmp_path / "network.pkl")
        assert differing(tensors_of(original), tensors_of(loaded)) == []


def test_what_python_says_of_the_file(tmp_path: Path):
    """The instructions are Python's: its own tools read them."""
    save_official(tmp_path / "network.pkl", snapshot())
    data = (tmp_path / "network.pkl").read_bytes()
    named = {argument for opcode, argument, _ in pickletools.genops(data) if opcode.name == "BINUNICODE"}
    assert {"torch_utils.persistence", "_reconstruct_persistent_obj", "G_ema", "Generator"} <= named
    pickletools.dis(data, out=io.StringIO())
