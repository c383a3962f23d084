"""Snapshots: exact round trips, and one clear line for every file that is none of ours."""

import concurrent.futures
import errno
import functools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import safetensors.numpy
import safetensors.torch
import torch

from stylegan2ada import load
from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.background import BackgroundWriter
from stylegan2ada.checkpoint import (
    FORMAT,
    copies,
    make_discriminator,
    make_generator,
    read_snapshot,
    save_snapshot,
    write_snapshot,
)
from stylegan2ada.config import AugmentConfig, DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.errors import UserError
from stylegan2ada.tensor_file import CHECKSUM, HEADER_KEY

CONFIG = TrainingConfig(
    DataConfig("set.zip", 16, 1, 100, 2, ("normal", "abnormal")),
    NetworkConfig(channel_base=128, channel_max=8, z_dim=6, w_dim=8, mapping_layers=2, freeze_layers=1),
    augment=AugmentConfig("fixed", "bgcfnc", 0.3),
    total_kimg=5,
)


def modules(config: TrainingConfig = CONFIG, seed: int = 0) -> dict[str, torch.nn.Module]:
    """All four parts, each with numbers of its own, buffers too."""
    torch.manual_seed(seed)
    found = {
        "G": make_generator(config),
        "D": make_discriminator(config),
        "G_ema": make_generator(config),
        "augment_pipe": make_augment_pipe(config.augment.pipe),
    }
    found["G_ema"].mapping.w_avg.normal_()
    found["augment_pipe"].p.fill_(0.37)
    return found


def refuse(path: object, *_: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@pytest.fixture
def snapshot(tmp_path) -> Path:
    path = tmp_path / "network-snapshot-000005.safetensors"
    save_snapshot(path, modules(), CONFIG, 5.0)
    return path


def assert_one_line(error: pytest.ExceptionInfo, path: Path) -> None:
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 500


def save_later(writer: BackgroundWriter, path: Path, modules: dict, config: TrainingConfig, kimg: float) -> None:
    writer.submit(functools.partial(write_snapshot, path, copies(modules), config, kimg))


def rewrite(path: Path, change_header=lambda header: None, change_tensors=lambda tensors: None) -> None:
    """As a file of an older version: without a checksum, so that what is behind it is seen."""
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()[HEADER_KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    del header[CHECKSUM]
    change_header(header)
    change_tensors(tensors)
    safetensors.torch.save_file(tensors, path, metadata={HEADER_KEY: json.dumps(header)})


class TestRoundTrip:
    def test_every_tensor_and_setting(self, snapshot):
        loaded = load(snapshot)
        assert loaded.config == CONFIG
        assert loaded.kimg == 5.0
        assert loaded.class_names == ("normal", "abnormal")
        found = {
            "G": loaded.generator_raw, "D": loaded.discriminator, "G_ema": loaded.generator,
            "augment_pipe": loaded.augment_pipe,
        }  # fmt: skip
        for part, module in modules().items():
            theirs = found[part].state_dict()
            assert list(theirs) == list(module.state_dict())
            assert all(torch.equal(theirs[name], value) for name, value in module.state_dict().items()), part

    def test_the_generator_is_the_average_and_ready_for_use(self, snapshot):
        loaded = load(snapshot)
        assert not torch.equal(loaded.generator.synthesis.b4.const, loaded.generator_raw.synthesis.b4.const)
        for module in (loaded.generator, loaded.generator_raw, loaded.discriminator, loaded.augment_pipe):
            assert not module.training
            assert not any(p.requires_grad for p in module.parameters())

    def test_reading_leaves_the_random_state_alone(self, snapshot):
        """A run that starts from a snapshot draws what it would have drawn."""
        before = torch.get_rng_state()
        read_snapshot(snapshot)
        assert torch.equal(torch.get_rng_state(), before)

    def test_all_parts_are_in_one_file_without_code(self, snapshot):
        with safetensors.safe_open(snapshot, "pt") as file:
            assert {name.split("/")[0] for name in file.keys()} == {"G", "D", "G_ema", "augment_pipe"}
            header = json.loads(file.metadata()[HEADER_KEY])
        assert header["format"] == FORMAT
        assert header["config"]["batch_size"] == CONFIG.batch_size

    def test_equal_networks_make_equal_files(self, snapshot, tmp_path):
        save_snapshot(tmp_path / "again.safetensors", modules(), CONFIG, 5.0)
        assert (tmp_path / "again.safetensors").read_bytes() == snapshot.read_bytes()


class TestFailure:
    def test_missing(self, tmp_path):
        with pytest.raises(UserError, match="there is no network file") as error:
            load(tmp_path / "none.safetensors")
        assert_one_line(error, tmp_path / "none.safetensors")
        assert "an official .pkl, a URL or one of ffhq256, " in str(error.value)

    @pytest.mark.parametrize("suffix", [".safetensors", ".pkl"])
    def test_no_permission(self, snapshot, monkeypatch, suffix):
        """Of the file, or of the folder that it is in: then even to ask whether it exists fails."""
        path = snapshot.rename(snapshot.with_suffix(suffix))
        for name in ("builtins.open", "pathlib.Path.is_dir"):
            with monkeypatch.context() as patch:
                patch.setattr(name, refuse)
                with pytest.raises(UserError, match="cannot be read: Permission denied") as error:
                    load(path)
            assert_one_line(error, path)

    def test_a_name_that_no_file_can_have(self):
        with pytest.raises(UserError, match="cannot be read: File name too long"):
            load("n" * 5000)

    @pytest.mark.parametrize("kimg", [float("nan"), float("inf"), -1, "many"])
    def test_kimg(self, snapshot, kimg):
        rewrite(snapshot, lambda header: header.update(kimg=kimg))
        with pytest.raises(UserError, match="damaged or no snapshot") as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    def test_numbers_that_numpy_does_not_have(self, snapshot):
        header = b'{"G/x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
        snapshot.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
        with pytest.raises(UserError, match=r"damaged or no snapshot|not a snapshot") as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    def test_a_folder(self, tmp_path):
        with pytest.raises(UserError) as error:
            load(tmp_path)
        assert_one_line(error, tmp_path)

    @pytest.mark.parametrize("size", [0, 7, 200, -100])
    def test_truncated(self, snapshot, size):
        os.truncate(snapshot, size if size >= 0 else snapshot.stat().st_size + size)
        with pytest.raises(UserError, match="damaged or no snapshot") as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    def test_a_changed_bit(self, snapshot):
        """Anywhere behind the lengths: in the settings, or in a weight."""
        data = snapshot.read_bytes()
        for position in range(9, len(data), len(data) // 40):
            snapshot.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
            with pytest.raises(UserError) as error:
                load(snapshot)
            assert_one_line(error, snapshot)

    def test_not_safetensors(self, snapshot):
        snapshot.write_bytes(b"\x80\x04K\x01.not a snapshot, rather a pickle")
        with pytest.raises(UserError, match="damaged or no snapshot") as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    def test_safetensors_of_another_program(self, snapshot):
        safetensors.torch.save_file({"weight": torch.zeros(2)}, snapshot)
        with pytest.raises(UserError, match="not a snapshot of this project"):
            load(snapshot)

    def test_another_format(self, snapshot):
        rewrite(snapshot, lambda header: header.update(format="spinegan-snapshot-99"))
        with pytest.raises(UserError, match="not a snapshot of this project"):
            load(snapshot)

    @pytest.mark.parametrize(
        "config", ["text", [1], None, {}, {"data": 3}, {"data": {"path": []}}], ids=lambda value: str(value)[:12]
    )
    def test_settings_that_are_none(self, snapshot, config):
        rewrite(snapshot, lambda header: header.update(config=config))
        with pytest.raises(UserError) as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    def test_settings_of_an_older_version(self, snapshot):
        """Before precision and kernels could be chosen: such files load, and compute in float32."""

        def age(header):
            for name in ("precision", "kernels", "cuda_graphs"):
                del header["config"][name]

        expected = load(snapshot).generator.state_dict()
        rewrite(snapshot, age)
        found = load(snapshot)
        assert found.config.precision == "fp32"
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.generator.state_dict().items())

    @pytest.mark.parametrize(("key", "value"), [("resolution_px", 48), ("num_channels", 7)])
    def test_settings_that_are_impossible(self, snapshot, key, value):
        def spoil(header):
            header["config"]["data"][key] = value

        rewrite(snapshot, spoil)
        with pytest.raises(UserError) as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    @pytest.mark.parametrize(
        ("part", "key", "value"),
        [
            ("network", "z_dim", 6.5),
            ("network", "mapping_layers", True),
            ("network", "conv_clamp", "much"),
            ("network", "num_fp16_res", None),
            ("data", "num_classes", -1),
            ("data", "class_names", [1, 2]),
            ("data", "path", 3),
            ("augment", "pipe", ["bgc"]),
            ("loss", "pl_batch_shrink", 0),
            (None, "batch_size", "4"),
            (None, "notes", [["nested"]]),
            (None, "extensions", []),
        ],
    )
    def test_settings_of_another_type(self, snapshot, part, key, value):
        def spoil(header):
            (header["config"] if part is None else header["config"][part])[key] = value

        rewrite(snapshot, spoil)
        with pytest.raises(UserError) as error:
            load(snapshot)
        assert_one_line(error, snapshot)
        assert key in str(error.value) or "classes" in str(error.value)

    @pytest.mark.parametrize(
        "settings",
        [
            {"network": {"z_dim": 10**12}},
            {"network": {"mapping_layers": 10**9}},
            {"network": {"channel_base": 2**40, "channel_max": 2**30}},
            {"data": {"num_classes": 10**12, "class_names": []}},
            {"data": {"resolution_px": 2**30}, "network": {"channel_base": 2**30}},
        ],
        ids=lambda settings: str(settings)[:40],
    )
    def test_a_header_that_claims_huge_networks_takes_no_memory(self, snapshot, settings, monkeypatch):
        def spoil(header):
            for part, values in settings.items():
                header["config"][part].update(values)

        rewrite(snapshot, spoil)
        monkeypatch.setattr("stylegan2ada.checkpoint.make_generator", None)
        with pytest.raises(UserError, match="settings are those of a larger network") as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    @pytest.mark.parametrize("text", ["{", "[1]", "null", "[" * 100_000], ids=lambda text: text[:12])
    def test_a_header_that_is_no_header(self, snapshot, text):
        safetensors.torch.save_file({"weight": torch.zeros(2)}, snapshot, metadata={HEADER_KEY: text})
        with pytest.raises(UserError) as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    def test_a_header_without_kimg(self, snapshot):
        rewrite(snapshot, lambda header: header.pop("kimg"))
        with pytest.raises(UserError, match="kimg") as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    def test_a_missing_tensor(self, snapshot):
        rewrite(snapshot, change_tensors=lambda tensors: tensors.pop("D/b4.out.weight"))
        with pytest.raises(UserError, match=r"tensor b4\.out\.weight of D is missing there") as error:
            load(snapshot)
        assert_one_line(error, snapshot)

    def test_an_unknown_tensor(self, snapshot):
        rewrite(snapshot, change_tensors=lambda tensors: tensors.update({"G/novel": torch.zeros(2)}))
        with pytest.raises(UserError, match=r"tensor novel of G is .* missing by its own settings"):
            load(snapshot)

    def test_a_tensor_of_another_shape(self, snapshot):
        rewrite(snapshot, change_tensors=lambda tensors: tensors.update({"G_ema/mapping.w_avg": torch.zeros(3)}))
        with pytest.raises(UserError, match=r"tensor mapping\.w_avg of G_ema is \(3,\) there, \(8,\) by its own"):
            load(snapshot)


class TestSaving:
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, snapshot, monkeypatch):
        before = snapshot.read_bytes()

        def fail(tensors, path, metadata):
            Path(path).write_bytes(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(safetensors.numpy, "save_file", fail)
        with pytest.raises(OSError, match="disk full"):
            save_snapshot(snapshot, modules(seed=1), CONFIG, 6.0)
        assert [path.name for path in snapshot.parent.iterdir()] == [snapshot.name]
        assert snapshot.read_bytes() == before


class TestWritingInTheBackground:
    @pytest.fixture
    def gate(self, monkeypatch) -> threading.Event:
        """Files are written once this is set."""
        gate, write = threading.Event(), safetensors.numpy.save_file

        def wait_and_write(tensors, path, metadata):
            assert gate.wait(20)
            write(tensors, path, metadata)

        monkeypatch.setattr(safetensors.numpy, "save_file", wait_and_write)
        return gate

    def test_writes_what_the_networks_were_while_training_goes_on(self, tmp_path, snapshot, gate):
        writer, path, changing = BackgroundWriter(), tmp_path / "later.safetensors", modules()
        save_later(writer, path, changing, CONFIG, 5.0)
        with torch.no_grad():
            for module in changing.values():
                for tensor in (*module.parameters(), *module.buffers()):
                    tensor.fill_(7)
        assert not path.exists()
        gate.set()
        writer.wait()
        assert path.read_bytes() == snapshot.read_bytes()
        writer.close()

    def test_one_file_after_the_other(self, tmp_path, gate):
        writer, paths = BackgroundWriter(), [tmp_path / f"{index}.safetensors" for index in range(2)]
        save_later(writer, paths[0], modules(), CONFIG, 1.0)
        gate.set()
        save_later(writer, paths[1], modules(), CONFIG, 2.0)
        assert paths[0].exists()
        writer.close()
        assert load(paths[1]).kimg == 2

    def test_close_waits(self, tmp_path, gate):
        writer, path = BackgroundWriter(), tmp_path / "last.safetensors"
        save_later(writer, path, modules(), CONFIG, 1.0)
        threading.Timer(0.2, gate.set).start()
        writer.close()
        assert load(path).kimg == 1

    @pytest.mark.parametrize("how", ["wait", "check", "close", "submit"])
    def test_a_full_disk_is_told_once_and_leaves_nothing(self, tmp_path, monkeypatch, how):
        def fail(tensors, path, metadata):
            Path(path).write_bytes(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(safetensors.numpy, "save_file", fail)
        writer = BackgroundWriter()
        save_later(writer, tmp_path / "file.safetensors", modules(), CONFIG, 1.0)
        concurrent.futures.wait([writer._writing])
        arguments = (lambda: None,) if how == "submit" else ()
        with pytest.raises(OSError, match="disk full"):
            getattr(writer, how)(*arguments)
        assert list(tmp_path.iterdir()) == []
        writer.close()

    def test_check_does_not_wait(self, tmp_path, gate):
        writer = BackgroundWriter()
        writer.check()
        save_later(writer, tmp_path / "file.safetensors", modules(), CONFIG, 1.0)
        writer.check()
        gate.set()
        writer.close()


SECOND_POOL = """
import os
import pathlib
import sys
import torch
from stylegan2ada.background import BackgroundWriter
from stylegan2ada.checkpoint import copies
from stylegan2ada.tensor_file import write_tensors
torch.set_num_threads(2)
torch.ones(2**20).mul_(2)  # the pool of this thread is there from now on
convolution = torch.nn.Conv2d(256, 256, 3).to(memory_format=torch.channels_last)  # not in the order of the file
modules = dict.fromkeys(("G", "D", "G_ema", "augment_pipe"), convolution)
threads = lambda: len(os.listdir("/proc/self/task"))
before, writer = threads(), BackgroundWriter()
tensors = copies(modules)
writer.submit(lambda: write_tensors(pathlib.Path(sys.argv[1]), tensors, {}))
writer.wait()
print(threads() - before)
writer.close()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
def test_writing_in_the_background_starts_no_second_thread_pool(tmp_path, repository_dir):
    """With one, OpenMP's threads stop waiting actively for work: training went on at 60% of its speed."""
    command = [sys.executable, "-c", SECOND_POOL, str(tmp_path / "net.safetensors")]
    found = subprocess.run(command, cwd=repository_dir, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"  # the writer alone
