"""Starting weights: the cache, the download and its failures, old names, hostile files. Nothing leaves the machine."""

import collections
import dataclasses
import hashlib
import pickle
import socket
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from spine_ext import weights
from spine_ext.torchvision_compat import import_torchvision
from spine_ext.weights import WeightsUnavailable, cache_dir, fetch_imagenet_weights, load_starting_weights
from stylegan2ada.errors import UserError

OLD_NAMES = {"norm1": "norm.1", "conv1": "conv.1", "norm2": "norm.2", "conv2": "conv.2"}


def tiny_backbone() -> nn.Sequential:
    """The names of DenseNet121's features, in small."""
    layer = nn.Sequential(collections.OrderedDict(norm1=nn.BatchNorm2d(2), conv1=nn.Conv2d(2, 3, 1)))
    return nn.Sequential(collections.OrderedDict(conv0=nn.Conv2d(1, 2, 1), denselayer1=layer))


def checkpoint_of(backbone: nn.Module) -> dict[str, torch.Tensor]:
    """As the published file has them: old names, no batch counters, an ImageNet head."""
    state = {"classifier.weight": torch.zeros(1000, 2)}
    for name, tensor in backbone.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            parts = ["features", *(OLD_NAMES.get(part, part) for part in name.split("."))]
            state[".".join(parts)] = tensor
    return state


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "published" / "net-12345678.pth"
    path.parent.mkdir()
    torch.save(checkpoint_of(tiny_backbone()), path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPINEGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mirror(published: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes `published` the address that the program knows."""
    _know(monkeypatch, published.as_uri(), published)
    return published


def _know(monkeypatch: pytest.MonkeyPatch, url: str, path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "IMAGENET_SHA256_PREFIX", digest[:8])
    monkeypatch.setattr(weights, "IMAGENET_URL", url)


def test_old_names_fill_the_whole_network(tmp_path: Path) -> None:
    """The published file is from 2017: not a zip, dots in the names, no batch counters."""
    torch.manual_seed(3)
    source, target = (import_torchvision().models.densenet121(weights=None) for _ in range(2))
    checkpoint = checkpoint_of(source.features)
    assert "features.denseblock4.denselayer16.norm.2.running_var" in checkpoint
    torch.save(checkpoint, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_starting_weights(target.features, str(tmp_path / "old.pth"), print) == "file"
    for name, tensor in source.features.state_dict().items():
        assert torch.equal(tensor, target.features.state_dict()[name]), name


class TestFetch:
    def test_once_and_then_from_the_cache(self, mirror: Path, cache: Path) -> None:
        lines = []
        path = fetch_imagenet_weights(lines.append)
        assert path == cache / "net-12345678.pth"
        assert path.read_bytes() == mirror.read_bytes()
        assert lines == [f"Fetching {mirror.as_uri()}"]
        mirror.unlink()
        assert fetch_imagenet_weights(lines.append) == path
        assert len(lines) == 1

    def test_a_damaged_copy_is_fetched_again(self, mirror: Path, cache: Path) -> None:
        cache.mkdir()
        (cache / mirror.name).write_bytes(b"half of it")
        assert fetch_imagenet_weights(print).read_bytes() == mirror.read_bytes()

    def test_another_file_is_refused_and_not_kept(self, mirror: Path, cache: Path, monkeypatch) -> None:
        monkeypatch.setattr(weights, "IMAGENET_SHA256_PREFIX", "00000000")
        with pytest.raises(WeightsUnavailable, match=r"another file: its SHA-256 begins [0-9a-f]{8}, not 00000000"):
            fetch_imagenet_weights(print)
        assert list(cache.iterdir()) == []

    def test_a_missing_file_says_what_to_put_where(self, mirror: Path, cache: Path) -> None:
        mirror.unlink()
        with pytest.raises(WeightsUnavailable) as raised:
            fetch_imagenet_weights(print)
        for part in (mirror.as_uri(), str(cache / mirror.name), "--weights"):
            assert part in str(raised.value)

    def test_a_silent_server_is_given_up_soon(self, published: Path, monkeypatch) -> None:
        monkeypatch.setattr(weights, "LIMITS", dataclasses.replace(weights.LIMITS, silence_sec=0.2))
        with socket.create_server(("127.0.0.1", 0)) as server:
            _know(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}/net.pth", published)
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            started = time.monotonic()
            with pytest.raises(WeightsUnavailable, match="timed out"):
                fetch_imagenet_weights(print)
        assert time.monotonic() - started < 60  # and does not hang; the pause itself is 0.2 seconds

    @pytest.mark.parametrize(
        ("limit", "message"), [("total_sec", "within -1 s"), ("max_bytes", "more than any")]
    )
    def test_endless_answers_are_cut(self, mirror: Path, cache: Path, monkeypatch, limit: str, message: str) -> None:
        monkeypatch.setattr(weights, "LIMITS", dataclasses.replace(weights.LIMITS, **{limit: -1}))
        with pytest.raises(WeightsUnavailable, match=message):
            fetch_imagenet_weights(print)
        assert not cache.exists() or list(cache.iterdir()) == []

    def test_the_cache_of_pytorch_is_used_unless_told_otherwise(self, cache: Path, monkeypatch, tmp_path) -> None:
        assert cache_dir() == cache
        monkeypatch.delenv("SPINEGAN_CACHE")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        assert cache_dir() == tmp_path / "hub" / "checkpoints"


class TestChoice:
    def test_imagenet(self, mirror: Path) -> None:
        backbone = tiny_backbone()
        assert load_starting_weights(backbone, "imagenet", print) == "imagenet"
        assert torch.equal(backbone.conv0.weight, torch.load(mirror, weights_only=True)["features.conv0.weight"])

    def test_auto_takes_imagenet_where_it_can(self, mirror: Path) -> None:
        assert load_starting_weights(tiny_backbone(), "auto", print) == "imagenet"

    def test_a_file_is_told_apart_by_its_hash(self, mirror: Path, monkeypatch) -> None:
        assert load_starting_weights(tiny_backbone(), str(mirror), print) == "imagenet"
        monkeypatch.setattr(weights, "IMAGENET_SHA256_PREFIX", "00000000")
        assert load_starting_weights(tiny_backbone(), str(mirror), print) == "file"

    def test_imagenet_offline_raises(self, mirror: Path) -> None:
        mirror.unlink()
        with pytest.raises(WeightsUnavailable):
            load_starting_weights(tiny_backbone(), "imagenet", print)

    def test_auto_offline_says_that_weights_are_random(self, mirror: Path) -> None:
        mirror.unlink()
        backbone, lines = tiny_backbone(), []
        before = backbone.conv0.weight.clone()
        assert load_starting_weights(backbone, "auto", lines.append) == "random"
        assert torch.equal(backbone.conv0.weight, before)
        assert [line for line in lines if "random weights" in line] == lines[1:]
        assert "\n" not in lines[1]

    def test_random_touches_nothing(self, cache: Path) -> None:
        assert load_starting_weights(tiny_backbone(), "random", print) == "random"
        assert not cache.exists()


class _Touch:
    """Unpickling one of these creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


class TestBadFiles:
    def test_code_in_a_file_is_refused_not_run(self, tmp_path: Path) -> None:
        (tmp_path / "evil.pth").write_bytes(pickle.dumps({"features.conv0.weight": _Touch(tmp_path / "ran")}))
        torch.save({"features.conv0.weight": _Touch(tmp_path / "ran")}, tmp_path / "evil.zip")
        for name in ("evil.pth", "evil.zip"):
            with pytest.raises(UserError, match="not a checkpoint of tensors"):
                load_starting_weights(tiny_backbone(), str(tmp_path / name), print)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([torch.zeros(1)], "holds a list"),
            ({"features.conv0.weight": torch.zeros(2, 1, 1, 1)}, "not hold the weights of a DenseNet121: Missing"),
            ({**checkpoint_of(tiny_backbone()), "features.conv0.bias": torch.zeros(9)}, "size mismatch"),
            ({**checkpoint_of(tiny_backbone()), "features.conv0.bias": torch.full((2,), torch.inf)}, "NaN or Inf"),
            ({**checkpoint_of(tiny_backbone()), "features.conv0.bias": 7}, "DenseNet121"),
        ],
    )
    def test_other_contents_raise(self, tmp_path: Path, content: object, message: str) -> None:
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(UserError, match=message):
            load_starting_weights(tiny_backbone(), str(tmp_path / "w.pth"), print)

    def test_a_missing_file_raises(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no file of weights .*imagnet: give --weights auto"):
            load_starting_weights(tiny_backbone(), str(tmp_path / "imagnet"), print)

    def test_a_huge_file_raises_unread(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(weights, "_LARGEST_FILE_BYTES", 3)
        (tmp_path / "big").write_bytes(b"1234")
        with pytest.raises(UserError, match="too large"):
            load_starting_weights(tiny_backbone(), str(tmp_path / "big"), print)
