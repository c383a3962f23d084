"""Files of latents: what was written comes back; what others made is looked at first."""

import io
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.generator import Generator
from stylegan2ada.projected_w import load_projected_w, save_projected_w


@pytest.fixture
def G() -> Generator:
    return Generator(8, 0, 16, 8, 1, mapping_kwargs={"num_layers": 1}, synthesis_kwargs={"channel_base": 64})


def write_members(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_round_trip(G, tmp_path):
    ws = torch.randn(1, G.num_ws, 16)
    save_projected_w(tmp_path / "w.npz", ws, {})
    assert torch.equal(load_projected_w(tmp_path / "w.npz", G), ws)
    with np.load(tmp_path / "w.npz") as file:  # as the official scripts read it
        assert file["w"].shape == (1, G.num_ws, 16)


def test_noise_maps_become_the_generators(G, tmp_path):
    noise = torch.randn(8, 8)
    save_projected_w(tmp_path / "w.npz", torch.randn(1, G.num_ws, 16), {"synthesis.b8.conv0.noise_const": noise})
    load_projected_w(tmp_path / "w.npz", G)
    assert torch.equal(G.synthesis.b8.conv0.noise_const, noise)


def test_no_other_buffer_can_be_set(G, tmp_path):
    before = G.mapping.w_avg.clone()
    np.savez(tmp_path / "w.npz", **{"w": np.zeros((1, G.num_ws, 16)), "mapping.w_avg": np.ones(16)})
    load_projected_w(tmp_path / "w.npz", G)
    assert torch.equal(G.mapping.w_avg, before)


class Evil:
    def __reduce__(self):
        return print, ("code of a stranger ran",)


class TestMistakes:
    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({}, "there is no such array"),
            ({"w": np.zeros((1, 99, 16))}, r"shape \(1, 99, 16\)"),
            ({"w": np.zeros((0, 4, 16))}, r"shape \(0, 4, 16\)"),
            ({"w": np.zeros((4, 16))}, r"shape \(4, 16\)"),
            ({"w": np.full((1, 4, 16), np.nan)}, "no finite numbers"),
            ({"w": np.full((1, 4, 16), "x")}, "no finite numbers"),
            ({"w": np.full((1, 4, 16), 1e300)}, "no finite numbers"),  # in float32
            ({"w": np.zeros((1, 4, 16)), "synthesis.b8.conv0.noise_const": np.zeros((9, 9))}, "of another network"),
        ],
    )
    def test_arrays_of_another_network(self, G, tmp_path, arrays, message):
        assert G.num_ws == 4
        np.savez(tmp_path / "w.npz", other=np.zeros(1), **arrays)
        with pytest.raises(UserError, match=message):
            load_projected_w(tmp_path / "w.npz", G)

    def test_nothing_is_unpickled(self, G, tmp_path, capsys):
        np.savez(tmp_path / "w.npz", w=np.array([Evil()], dtype=object))
        with pytest.raises(UserError, match="damaged"):
            load_projected_w(tmp_path / "w.npz", G)
        write_members(tmp_path / "v.npz", {"w.npy": pickle.dumps(Evil())})
        with pytest.raises(UserError, match="damaged"):
            load_projected_w(tmp_path / "v.npz", G)
        assert "stranger" not in capsys.readouterr().out

    @pytest.mark.parametrize(
        "data",
        [b"", b"PK", npy(np.zeros((1, 4, 16)))[:-1], npy(np.zeros(1)).replace(b"(1,)", b"(9999999999999,)"),
         npy(np.zeros((1, 4, 16))).replace(b"(1, 4, 16), }", b"(1, 4, 16)   "),
         npy(np.zeros((1, 4, 16))).replace(b"(1, 4, 16)", b"(True,4,16)")],
    )
    def test_damaged_members(self, G, tmp_path, data):
        with pytest.raises(UserError, match="damaged"):
            load_projected_w(write_members(tmp_path / "w.npz", {"w.npy": data}), G)

    @pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_changed_bytes(self, G, tmp_path, compression):
        """800 files: read or refused, no other error."""
        dice, path, refused = random.Random(0), tmp_path / "w.npz", 0
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("w.npy", npy(np.random.RandomState(0).randn(1, 4, 16)))
        data = path.read_bytes()
        for _ in range(800):
            changed = bytearray(data)
            changed[dice.randrange(len(data))] = dice.randrange(256)
            path.write_bytes(changed)
            try:
                load_projected_w(path, G)
            except UserError as error:
                refused += "w.npz" in str(error)
        assert refused > 400

    def test_no_zip(self, G, tmp_path):
        (tmp_path / "w.npz").write_bytes(b"rubbish")
        with pytest.raises(UserError, match=r"damaged or no .npz file"):
            load_projected_w(tmp_path / "w.npz", G)
        with pytest.raises(UserError, match="no such file"):
            load_projected_w(tmp_path / "none.npz", G)

    def test_members_that_unpack_to_gigabytes(self, G, tmp_path, monkeypatch):
        monkeypatch.setattr("stylegan2ada.projected_w._MAX_BYTES", 1000)
        noise = "synthesis.b8.conv0.noise_const.npy"
        for sizes in ({"w.npy": 100_000}, {"w.npy": 600, noise: 600}):
            with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
                for name, size in sizes.items():
                    archive.writestr(name, bytes(size))
            with pytest.raises(UserError, match="too large to be of a network"):
                load_projected_w(tmp_path / "w.npz", G)

    def test_members_of_other_names_are_not_unpacked(self, G, tmp_path, monkeypatch):
        monkeypatch.setattr("stylegan2ada.projected_w._MAX_BYTES", 1000)
        ws = np.ones((1, 4, 16), np.float32)
        write_members(tmp_path / "w.npz", {"w.npy": npy(ws), **{f"{i}.npy": bytes(2000) for i in range(5)}})
        assert load_projected_w(tmp_path / "w.npz", G).tolist() == ws.tolist()
