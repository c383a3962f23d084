"""Hostile pickles are refused in one line, in bounded time and memory, and nothing in them is run."""

import contextlib
import pickle
import resource
import sys
import time
from pathlib import Path

import pytest
import torch

from stylegan2ada import load
from stylegan2ada.errors import UserError
from stylegan2ada.legacy.emitter import Call, Name
from stylegan2ada.legacy.reader import read_pickle

from .attacks import NETWORK, misuse, names, streams
from .files import as_pickle, fragment, meta, write_changed
from .tensor_attacks import FROM_BYTES, OFFICIAL, TENSOR, storage, tensor

HERE = Path("canary")  # names of the attacks do not depend on it
LIMIT_SEC, LIMIT_BYTES = 20, 400_000_000
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "canary"


def assert_refused(path: Path, canary: Path, match: str | None = None) -> None:
    """In one line that names the file; the canary's file is not made, and nothing is imported."""
    modules, started, peak = set(sys.modules), time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=match) as error:
        load(path)
    assert time.monotonic() - started < LIMIT_SEC
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * RSS_UNIT < LIMIT_BYTES
    assert not canary.exists()
    assert set(sys.modules) == modules
    message = str(error.value)
    assert message.startswith(str(path)) and message.removeprefix(str(path)).isprintable()
    assert len(message) - len(str(path)) < 400


@pytest.mark.parametrize("attack", sorted(names(HERE)))
class TestForeignNames:
    def test_alone(self, attack, tmp_path, canary):
        (tmp_path / "evil.pkl").write_bytes(as_pickle(names(canary)[attack]))
        assert_refused(tmp_path / "evil.pkl", canary)

    def test_inside_a_good_file(self, attack, tmp_path, canary):
        evil = names(canary)[attack]

        def change(content: dict) -> None:
            meta(content)["state"]["_buffers"] = {"x": evil} | meta(content)["state"]["_buffers"]

        assert_refused(write_changed(tmp_path / "evil.pkl", change), canary)


@pytest.mark.parametrize("attack", sorted(misuse(HERE)))
def test_allowed_names_with_other_arguments(attack, tmp_path, canary):
    def change(content: dict) -> None:
        meta(content)["state"]["act_gain"] = misuse(canary)[attack]  # where a NumPy number may stand

    assert_refused(write_changed(tmp_path / "evil.pkl", change), canary)


@pytest.mark.parametrize("attack", sorted(streams(HERE)))
def test_instructions_and_bombs(attack, tmp_path, canary):
    (tmp_path / "evil.pkl").write_bytes(streams(canary)[attack])
    assert_refused(tmp_path / "evil.pkl", canary)


def test_a_foreign_name_is_told(tmp_path, canary):
    (tmp_path / "evil.pkl").write_bytes(as_pickle(names(canary)["os.system"]))
    assert_refused(tmp_path / "evil.pkl", canary, r"refers to os\.system, which official .* nothing of it was run")


def test_the_tensorflow_era_is_told_what_to_do(tmp_path, canary):
    (tmp_path / "old.pkl").write_bytes(as_pickle(names(canary)["TensorFlow era"]))
    assert_refused(tmp_path / "old.pkl", canary, r"TensorFlow era: convert it first with legacy\.py of the official")


def test_source_code_in_the_file_is_not_run(tmp_path, canary):
    def change(content: dict) -> None:
        for part in ("G", "D", "G_ema", "augment_pipe"):
            meta(content, part)["module_src"] = f"open({str(canary)!r}, 'w')"

    snapshot = load(write_changed(tmp_path / "network.pkl", change))
    assert snapshot.generator.img_resolution == 8
    assert not canary.exists()


def kwargs(content: dict, **changes: object) -> None:
    meta(content)["state"]["_init_kwargs"] = meta(content)["state"]["_init_kwargs"] | changes


def state(content: dict, **changes: object) -> None:
    meta(content)["state"].update(changes)


# What it is: how a good file is spoiled, and what the line says.
SPOILED = {
    "no networks": (lambda c: c.clear(), "without the networks"),
    "no moving average": (lambda c: c.pop("G_ema"), "holds no G_ema"),
    "a network that is a number": (lambda c: c.update(G_ema=3), "architecture .* G_ema is a int"),
    "a network that is a dictionary": (lambda c: c.update(D={}), "architecture .* D is a dict"),
    "a network that is a tensor": (lambda c: c.update(D=TENSOR), "architecture .* D is a Tensor"),
    "a network of another class": (lambda c: meta(c, "D").update(class_name="Critic"), "D is Critic"),
    "generator and discriminator swapped": (lambda c: c.update(G=c["D"]), "G is Discriminator"),
    "no state": (lambda c: meta(c).pop("state"), "without its class or state"),
    "a state that is a list": (lambda c: meta(c).update(state=[]), "without its class or state"),
    "no arguments": (lambda c: state(c, _init_kwargs=None), "arguments that G_ema was made with"),
    "arguments that are tensors": (lambda c: state(c, _init_args=TENSOR), "arguments that G_ema"),
    "too many arguments": (lambda c: state(c, _init_args=(4,) * 9), "arguments that G_ema"),
    "a missing argument": (lambda c: state(c, _init_kwargs={}), r"G_ema\.z_dim is a NoneType"),
    "an argument of StyleGAN3": (
        lambda c: kwargs(c, synthesis_kwargs={"channel_base": 32, "magnitude_ema_beta": 0.99}),
        r"architecture that is not supported: G_ema\.synthesis_kwargs was made with magnitude_ema_beta",
    ),
    "another mapping": (lambda c: kwargs(c, mapping_kwargs={"lr_multiplier": 1.0}), "mapping_kwargs .* lr_multiplier"),
    "a mapping of tensors": (lambda c: kwargs(c, mapping_kwargs={"lr_multiplier": TENSOR}), "lr_multiplier"),
    "filters of tensors": (lambda c: kwargs(c, synthesis_kwargs={"resample_filter": [TENSOR]}), "resample_filter"),
    "another filter": (lambda c: kwargs(c, synthesis_kwargs={"resample_filter": [1, 2, 1]}), "resample_filter"),
    "a size that is a text": (lambda c: kwargs(c, z_dim="4"), r"G_ema\.z_dim is 4"),
    "a size that is true": (lambda c: kwargs(c, z_dim=True), r"G_ema\.z_dim is a bool"),
    "a size that is a tensor": (lambda c: kwargs(c, z_dim=TENSOR), r"G_ema\.z_dim is a Tensor"),
    "a negative size": (lambda c: kwargs(c, z_dim=-4), "z_dim"),
    "a size of 600 digits": (lambda c: kwargs(c, z_dim=2**2000), "no usual number"),
    "a size that is not the others'": (lambda c: kwargs(c, z_dim=5), "z_dim of G is not that of G_ema"),
    "a resolution that is none": (lambda c: c.pop("G") and c.pop("D") and kwargs(c, img_resolution=48), "48 pixels"),
    "channels that are none": (lambda c: c.pop("G") and c.pop("D") and kwargs(c, img_channels=4), "4 channels"),
    "a clamp that is no number": (
        lambda c: kwargs(c, synthesis_kwargs={"conv_clamp": float("nan")}), "no usual number",
    ),
    "a huge network": (
        lambda c: c.pop("G") and c.pop("D") and c.pop("spinegan") and kwargs(c, z_dim=2**39), "of a larger network",
    ),
    "a huge resolution": (
        lambda c: c.pop("G") and c.pop("D") and c.pop("spinegan") and kwargs(
            c, img_resolution=2**30, synthesis_kwargs={"channel_base": 2**30, "channel_max": 4}
        ), "of a larger network",
    ),
    "a tensor that is a text": (lambda c: state(c, _buffers={"x": "text"}), "x is no tensor"),
    "a tensor too many": (lambda c: meta(c)["state"]["_buffers"].update(x=TENSOR), "tensor x of G_ema"),
    "no tensors": (lambda c: state(c, _parameters={}, _buffers={}), "of a larger network|missing there"),
    "parameters that are a list": (lambda c: state(c, _parameters=[1]), "_parameters of Generator is a list"),
    "modules that are tensors": (lambda c: state(c, _modules={"x": TENSOR}), "is a Tensor, not a module"),
    "modules of other names": (
        lambda c: state(c, _modules={"synthesis": Call(OFFICIAL, ({"type": "class", "class_name": "S", "state": {
            "_modules": {"L0_36_512": NETWORK}}},))}), r"made of other blocks \(L0_36_512",
    ),
    "our settings of another type": (lambda c: c.update(spinegan=TENSOR), "spinegan settings"),
    "our settings as bytes": (lambda c: c.update(spinegan=b"{}"), "spinegan settings"),
    "our settings cut off": (lambda c: c.update(spinegan='{"config": '), "spinegan settings"),
    "our settings nested": (lambda c: c.update(spinegan="[" * 100_000), "spinegan settings"),
    "our settings of 2 MB": (lambda c: c.update(spinegan=" " * 2**21), "spinegan settings"),
    "our settings with a huge number": (
        lambda c: c.update(spinegan=c["spinegan"].replace("200.5", "1" + "0" * 400)), "spinegan settings",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_content(what, tmp_path, canary):
    spoil, says = SPOILED[what]
    assert_refused(write_changed(tmp_path / "bad.pkl", spoil), canary, says)


class TestUnfolding:
    """Small files that name the same things again and again."""

    def modules(self, tmp_path: Path, width: int, depth: int) -> Path:
        """Modules of `width` children that are one and the same module, `depth` levels: width^depth of them."""
        data, module = b"", fragment(NETWORK)
        data += module + b"\x94"
        for level in range(depth):
            children = b"}(" + b"".join(
                fragment(str(i)) + b"j" + level.to_bytes(4, "little") for i in range(width)
            ) + b"u"  # fmt: skip
            data += (
                fragment(OFFICIAL) + b"}(" + fragment("type") + fragment("class")
                + fragment("class_name") + fragment("Generator") + fragment("state")
                + b"}" + fragment("_modules") + children + b"su\x85R\x94"
            )  # fmt: skip
        top = b"}" + fragment("G_ema") + b"j" + depth.to_bytes(4, "little") + b"s."
        (tmp_path / "laugh.pkl").write_bytes(b"\x80\x04" + data + top)
        return tmp_path / "laugh.pkl"

    @pytest.mark.parametrize(("width", "depth"), [(2, 40), (100, 8), (10_000, 3), (1, 2000)])
    def test_modules(self, tmp_path, canary, width, depth):
        assert_refused(self.modules(tmp_path, width, depth), canary, "too many or too deeply nested")

    def repeated(self, tmp_path: Path, first: bytes, again: bytes, times: int) -> Path:
        """A good file with `first`, memoized as 0, and `times` uses of it as buffers x0, x1, ..."""
        items = b"".join(fragment(f"x{i}") + again for i in range(times))
        state = b"}" + fragment("_buffers") + b"}(" + items + b"us"
        network = (
            fragment(OFFICIAL) + b"}(" + fragment("type") + fragment("class")
            + fragment("class_name") + fragment("Generator") + fragment("state") + state + b"u\x85R"
        )  # fmt: skip
        data = b"\x80\x04" + b"}(" + fragment("first") + first + b"\x94" + fragment("G_ema") + network + b"u."
        (tmp_path / "laugh.pkl").write_bytes(data)
        return tmp_path / "laugh.pkl"

    def test_storages(self, tmp_path, canary):
        """The same 4 MB decoded 5,000 times would be 20 GB."""
        big = fragment(storage(2**20, bytes(2**22)))
        again = fragment(FROM_BYTES) + b"h\x00\x85R"
        assert_refused(self.repeated(tmp_path, big, again, 5000), canary, "more bytes than the file")

    def test_tensors(self, tmp_path, canary):
        """The same elements as 5,000 tensors would let a small file claim a large network."""
        big = fragment(tensor(storage(2**20, bytes(2**22)), 2**20))
        assert_refused(self.repeated(tmp_path, big, b"h\x00", 5000), canary, "fewer bytes than its tensors")

    def test_halves(self, tmp_path, canary):
        """Each would be converted to a float32 tensor of its own."""
        data = storage(2**20, bytes(2**21), kind=Name("torch", "HalfStorage"))
        big = fragment(tensor(data, 2**20))
        assert_refused(self.repeated(tmp_path, big, b"h\x00", 5000), canary, "fewer bytes than its tensors")

    def test_names(self, tmp_path, canary):
        big = fragment(TENSOR)
        assert_refused(self.repeated(tmp_path, big, b"h\x00", 30_000), canary, "too many or too deeply nested")


def test_a_file_that_is_too_large_is_not_read(tmp_path, canary):
    with open(tmp_path / "large.pkl", "wb") as file:
        file.truncate(5 << 30)  # sparse
    assert_refused(tmp_path / "large.pkl", canary, "more than any official snapshot")


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_what_is_no_file(path, tmp_path):
    (tmp_path / "network.pkl").symlink_to(path)
    with pytest.raises(UserError):
        load(tmp_path / "network.pkl")


def test_tensors_of_other_programs_are_not_touched(tmp_path):
    """Only what the networks name is used: a good file's tensors are float32 and own their memory."""
    _, _, tensors = read_pickle(write_changed(tmp_path / "good.pkl", lambda content: None))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


REDUCE = [f"__reduce__, protocol {protocol}" for protocol in range(6)]


@pytest.mark.parametrize("attack", ["INST", "OBJ", "protocol 0", "protocol 2", *REDUCE])
def test_python_itself_would_run_them(attack, tmp_path, canary):
    """So that the tests above are not about files that do nothing."""
    with contextlib.suppress(Exception):
        pickle.loads(streams(canary)[attack]).close()  # noqa: S301
    assert canary.exists()
