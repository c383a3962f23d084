"""Official snapshots: what was written comes back, the official code's own files too, and damage is told."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada import load
from stylegan2ada.checkpoint import read_snapshot
from stylegan2ada.errors import UserError
from stylegan2ada.legacy.emitter import Call, Name
from stylegan2ada.legacy.reader import NOTE, OTHER_PIPE_NOTE, read_pickle
from stylegan2ada.legacy.writer import save_official
from tests.golden import assert_golden

from .files import COND, UNCOND, as_pickle, meta, nested_state, snapshot, write_changed

CASES = ("cond32", "uncond64")


@pytest.mark.parametrize("case", CASES)
class TestGoldenFiles:
    """In the layout of the official code: nested modules, NumPy numbers, EasyDict."""

    def test_every_tensor(self, golden_dir, case):
        _, kimg, tensors = read_snapshot(golden_dir / f"{case}.pkl")
        expected = np.load(golden_dir / f"{case}_weights.npz")
        assert kimg == 0
        assert len(expected.files) > 100
        for name in expected.files:  # G's are those of G_ema
            part, _, rest = name.partition("/")
            for own in ("G", "G_ema") if part == "G" else ("D",):
                assert torch.equal(tensors[f"{own}/{rest}"], torch.from_numpy(expected[name])), name

    def test_what_the_networks_compute(self, golden_dir, case):
        loaded, golden = load(golden_dir / f"{case}.pkl"), np.load(golden_dir / f"{case}.npz")
        z, c = torch.from_numpy(golden["z"]), torch.from_numpy(golden["c"]) if "c" in golden.files else None
        for name, options in {"const": {}, "none": {}}.items():
            assert_golden(loaded.generator(z, c, noise_mode=name, **options), torch.from_numpy(golden[f"image_{name}"]))
        real = torch.from_numpy(golden["real"])
        assert_golden(loaded.discriminator(real, c), torch.from_numpy(golden["logits_real"]))

    def test_settings(self, golden_dir, case):
        config = load(golden_dir / f"{case}.pkl").config
        size = (32, 1, 2, 2) if case == "cond32" else (64, 3, 0, 8)
        data, network = config.data, config.network
        assert (data.resolution_px, data.num_channels, data.num_classes, network.mapping_layers) == size
        assert data.path == "dataset.zip"
        assert config.augment.pipe == "blit"
        assert config.notes == (NOTE,)

    def test_cut_off_anywhere(self, golden_dir, case, tmp_path):
        data = (golden_dir / f"{case}.pkl").read_bytes()
        for size in [*range(0, 200, 7), *range(200, len(data) - 1, len(data) // 40), len(data) - 1]:
            (tmp_path / "cut.pkl").write_bytes(data[:size])
            with pytest.raises(UserError, match=r"damaged|truncated|no official"):
                read_pickle(tmp_path / "cut.pkl")


@pytest.fixture(params=[COND, UNCOND], ids=["cond", "uncond"])
def written(request, tmp_path) -> Path:
    save_official(tmp_path / "network.pkl", snapshot(request.param))
    return tmp_path / "network.pkl"


class TestDamage:
    @pytest.mark.parametrize("step_bytes", [499, pytest.param(7, marks=pytest.mark.slow)])
    def test_cut_off(self, written, step_bytes):
        """200 files; the slow one, 15,000."""
        data = written.read_bytes()
        for size in range(0, len(data) - 1, step_bytes):
            written.write_bytes(data[:size])
            with pytest.raises(UserError) as error:
                read_pickle(written)
            assert str(written) in str(error.value)

    def test_more_behind_the_end_is_nothing(self, written):
        """As for Python's own unpickler."""
        _, _, expected = read_pickle(written)
        written.write_bytes(written.read_bytes() + b"cos\nsystem\n(S'true'\ntR.")
        _, _, found = read_pickle(written)
        assert all(torch.equal(found[name], expected[name]) for name in expected)

    @pytest.mark.parametrize("how", ["a bit", "a byte", "three bytes", "a piece gone", "a piece twice", "two swapped"])
    def test_random_changes_are_read_or_refused(self, written, how):
        """1,200 files: no other error, and what is read has the shape of the networks."""
        data, dice = written.read_bytes(), random.Random(how)
        refused = 0
        for _ in range(100):
            written.write_bytes(changed(data, how, dice))
            refused += not is_readable(written)
        assert refused > 10

    def test_random_instructions(self, tmp_path):
        """2,000 streams of instructions that the reader knows, and some that it does not."""
        dice, path = random.Random(0), tmp_path / "random.pkl"
        for _ in range(2000):
            path.write_bytes(b"\x80\x04" + random_instructions(dice) + b".")
            assert not is_readable(path)


def is_readable(path: Path) -> bool:
    """Whether `load` reads it; any error but UserError is a failure of the test."""
    try:
        load(path)
    except UserError as error:
        assert "\n" not in str(error)
        return False
    return True


def changed(data: bytes, how: str, dice: random.Random) -> bytes:
    data, at = bytearray(data), dice.randrange(len(data))
    if how == "a bit":
        data[at] ^= 1 << dice.randrange(8)
    elif how in ("a byte", "three bytes"):
        for _ in range(3 if how == "three bytes" else 1):
            data[dice.randrange(len(data))] = dice.randrange(256)
    elif how == "a piece gone":
        del data[at : at + dice.randrange(1, 100)]
    elif how == "a piece twice":
        data[at:at] = data[at : at + dice.randrange(1, 100)]
    else:
        other = dice.randrange(len(data))
        size = min(dice.randrange(1, 50), abs(at - other) or 1)
        data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]
    return bytes(data)


def random_instructions(dice: random.Random) -> bytes:
    pieces = [
        b"}", b"]", b")", b"(", b"\x8f", b"N", b"\x88", b"K\x01", b"G" + bytes(8), b"\x8c\x01a", b"\x8c\x05state",
        b"C\x02ab", b"\x85", b"\x86", b"\x87", b"t", b"u", b"s", b"e", b"a", b"\x90", b"\x94", b"h\x00", b"h\x01",
        b"q\x00", b"R", b"\x81", b"b", b"\x93", b"Q", b"0", b"2", b"cos\nsystem\n", b"cnumpy\ndtype\n",
        b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch.storage\n_load_from_bytes\n",
        b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n", b"\x8a\x01\x05", b"\x8e" + b"\xff" * 8,
        b"\x95" + bytes(8),
    ]  # fmt: skip
    return b"".join(dice.choice(pieces) for _ in range(dice.randrange(1, 40)))


@pytest.mark.parametrize("config", [COND, UNCOND], ids=["cond", "uncond"])
def test_the_layout_of_the_official_code(tmp_path, config):
    """Every module an object of its own, with attributes and NumPy numbers, as the golden files have it."""

    def change(content: dict) -> None:
        del content["spinegan"]
        for part, module in snapshot(config).modules().items():
            meta(content, part)["state"].update(nested_state(module))

    loaded = load(write_changed(tmp_path / "network.pkl", change, config))
    for part, module in snapshot(config).modules().items():
        found = loaded.modules()[part].state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in module.state_dict().items())
    assert loaded.config.network == config.network
    assert loaded.config.augment == config.augment
    assert loaded.config.data == dataclasses.replace(config.data, class_names=())


class TestParts:
    def test_a_file_of_the_generator_alone(self, tmp_path):
        def change(content: dict) -> None:
            generator = content["G_ema"]
            content.clear()
            content["G_ema"] = generator

        loaded = load(write_changed(tmp_path / "network.pkl", change))
        assert loaded.generator(torch.randn(2, 4), torch.eye(2)).shape == (2, 1, 8, 8)
        assert (loaded.generator_raw, loaded.discriminator, loaded.augment_pipe) == (None, None, None)
        assert list(loaded.modules()) == ["G_ema"]
        assert loaded.config.augment.mode == "noaug"
        assert loaded.config.data.path == "unknown"

    def test_parts_that_are_none(self, tmp_path):
        def change(content: dict) -> None:
            content.update(D=None, augment_pipe=None, training_set_kwargs=None)

        loaded = load(write_changed(tmp_path / "network.pkl", change))
        assert list(loaded.modules()) == ["G", "G_ema"]

    def test_a_pipe_that_is_none_of_ours_is_left_out_and_that_is_noted(self, tmp_path):
        def change(content: dict) -> None:
            del content["spinegan"]
            meta(content, "augment_pipe")["state"]["_init_kwargs"] = {"xflip": 0.5}

        loaded = load(write_changed(tmp_path / "network.pkl", change))
        assert loaded.augment_pipe is None
        assert loaded.config.notes == (NOTE, OTHER_PIPE_NOTE)

    def test_our_settings_do_not_hide_what_the_networks_are(self, tmp_path):
        def change(content: dict) -> None:
            content["spinegan"] = content["spinegan"].replace('"conv_clamp": 256', '"conv_clamp": 1')

        config = load(write_changed(tmp_path / "network.pkl", change)).config
        assert config.network == COND.network
        assert config.notes == (NOTE,)

    def test_positional_arguments_and_other_precision(self, tmp_path):
        def change(content: dict) -> None:
            del content["D"], content["spinegan"]
            for part in ("G", "G_ema"):
                state = meta(content, part)["state"]
                values = state["_init_kwargs"]
                names = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
                state["_init_args"] = tuple(values[name] for name in names)
                state["_init_kwargs"] = {name: value for name, value in values.items() if name not in names}
            state["_parameters"] = {name: halved(value) for name, value in state["_parameters"].items()}

        expected = snapshot().generator.state_dict()
        loaded = load(write_changed(tmp_path / "network.pkl", change))
        for name, tensor in loaded.generator.named_parameters():
            assert torch.equal(tensor, expected[name].half().float())

    @pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
    def test_numbers_of_numpy(self, tmp_path, module):
        def change(content: dict) -> None:
            del content["spinegan"]
            dtype = Call(Name("numpy", "dtype"), ("i8", False, True))
            size = Call(Name(module, "scalar"), (dtype, (4).to_bytes(8, "little")))
            meta(content)["state"]["_init_kwargs"]["z_dim"] = size

        assert load(write_changed(tmp_path / "network.pkl", change)).config.network.z_dim == 4


def halved(value: Call) -> Call:
    """The tensor's call, with elements in float16."""
    storage, *rest = value.arguments
    (data,) = storage.arguments
    count = int(np.prod(rest[1], dtype=int))
    half = np.frombuffer(data[-4 * count :], "<f4").astype("<f2").tobytes()
    data = data[: -4 * count].replace(as_pickle("FloatStorage")[2:-1], as_pickle("HalfStorage")[2:-1]) + half
    return Call(value.name, (Call(storage.name, (data,)), *rest))


@pytest.mark.parametrize("name", ["a.PKL", "a.pickle"])
def test_other_suffixes_of_pickles(tmp_path, name):
    save_official(tmp_path / name, snapshot())
    assert load(tmp_path / name).kimg == 200.5


@pytest.mark.parametrize("kimg", ["NaN", "Infinity", "-1"])
def test_a_kimg_that_is_none(tmp_path, kimg):
    def change(content: dict) -> None:
        content["spinegan"] = content["spinegan"].replace('"kimg": 200.5', f'"kimg": {kimg}')

    with pytest.raises(UserError, match="is damaged, or written by another version"):
        load(write_changed(tmp_path / "network.pkl", change))


def test_an_unknown_name_of_a_file(tmp_path):
    with pytest.raises(UserError, match=r"there is no network file .*gone\.pkl"):
        load(tmp_path / "gone.pkl")
