"""The step benchmark on tiny networks; a peer is a small checkout written here, so that the protocol is exercised."""

import contextlib
import json
import math
import textwrap

import pytest
import torch
from click.testing import CliRunner

from benchmarks import step_time
from benchmarks.machine import load_warnings, peak_memory_bytes
from benchmarks.step_setup import PHASES, StepSetup, step_seconds
from benchmarks.step_table import Result, footnotes, table_head, table_rows
from benchmarks.step_worker import Measured, Ready

TINY = [
    "--resolution=32", "--batch=4", "--rounds=1", "--repeats=1", "--channel-base=512", "--threads=1", "--device=cpu",
]  # fmt: skip

NETWORKS = """
    import torch

    class Synthesis(torch.nn.Module):
        def __init__(self, resolution, channels):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(channels, resolution, resolution))

        def forward(self, w):
            return w.mean(dim=1)[:, None, None, None] + self.weight

    class Generator(torch.nn.Module):
        def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs, synthesis_kwargs):
            super().__init__()
            assert set(synthesis_kwargs) == {"channel_base", "channel_max", "num_fp16_res", "conv_clamp"}
            assert set(mapping_kwargs) == {"num_layers"}
            self.z_dim = z_dim
            self.mapping = torch.nn.Linear(z_dim, w_dim)
            self.synthesis = Synthesis(img_resolution, img_channels)

    class Discriminator(torch.nn.Module):
        def __init__(self, c_dim, img_resolution, img_channels, channel_base, channel_max, num_fp16_res, conv_clamp,
                     epilogue_kwargs):
            super().__init__()
            assert epilogue_kwargs == {"mbstd_group_size": 4}
            self.out = torch.nn.Linear(img_channels * img_resolution**2, 1)

        def forward(self, images):
            return self.out(images.flatten(1))
"""

AUGMENT = """
    import torch
    from torch_utils.ops import grid_sample_gradfix

    class AugmentPipe(torch.nn.Module):
        def __init__(self, xflip, rotate90, xint, scale, rotate, aniso, xfrac, brightness, contrast, lumaflip, hue,
                     saturation):
            super().__init__()
            self.register_buffer("p", torch.ones([]))

        def forward(self, images):
            assert self.p == 0.5 and grid_sample_gradfix.enabled
            grid = torch.zeros(len(images), *images.shape[2:], 2)
            return images + self.p * grid_sample_gradfix.grid_sample(images, grid)
"""

LOSS = """
    import json
    from pathlib import Path

    import torch
    from torch_utils.ops import conv2d_gradfix

    print('Setting up PyTorch plugin "bias_act_plugin"... Failed!')

    class StyleGAN2Loss:
        def __init__(self, device, G_mapping, G_synthesis, D, augment_pipe, style_mixing_prob, r1_gamma,
                     pl_batch_shrink, pl_decay, pl_weight):
            assert conv2d_gradfix.enabled
            self.mapping, self.synthesis, self.D, self.augment = G_mapping, G_synthesis, D, augment_pipe

        def accumulate_gradients(self, phase, real_img, real_c, gen_z, gen_c, sync, gain):
            trains_G = self.synthesis.weight.requires_grad
            assert trains_G != self.D.out.weight.requires_grad
            with open(Path(__file__).parent / "calls.jsonl", "a") as file:
                file.write(json.dumps([phase, gain, trains_G, list(real_img.shape)]) + "\\n")
            images = self.augment(self.synthesis(self.mapping(gen_z)) if trains_G else real_img.requires_grad_())
            loss = self.D(images).square().mean()
            if phase == "Dreg":
                (gradient,) = torch.autograd.grad(loss, images, create_graph=True)
                loss = gradient.square().sum()
            (loss * gain).backward()
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like the official repository from outside."""
    files = {
        "training/__init__.py": "",
        "training/networks.py": NETWORKS,
        "training/augment.py": AUGMENT,
        "training/loss.py": LOSS,
        "torch_utils/__init__.py": "",
        "torch_utils/ops/__init__.py": "",
        "torch_utils/ops/conv2d_gradfix.py": "enabled = False",
        "torch_utils/ops/grid_sample_gradfix.py": "raise RuntimeError('does not work on this torch')",
    }
    for name, source in files.items():
        file = tmp_path / "checkout" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
    return tmp_path / "checkout"


def run(*options):
    return CliRunner().invoke(step_time.main, options, catch_exceptions=False)


def rows_of(output):
    """The table's rows as {column: cell}."""
    table = [line.strip("|").split("|") for line in output.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line] for line in table]
    return [dict(zip(head, row, strict=True)) for row in rows]


def setup_of(**changes):
    values = {
        "resolution_px": 32, "batch": 4, "device": "cpu", "precision": "fp32", "kernels": "auto", "aug": "bgc",
        "threads": 1, "channel_base": 512, "keep_freed_memory": False,
    }  # fmt: skip
    return StepSetup(**(values | changes))


def result_of(name, *step_ms, sizes=(10, 20), remarks=(), **changes):
    """A worker whose turns took so long, all of it in Gmain."""
    silent = dict.fromkeys(PHASES, 0.0)
    rounds = [Measured(silent | {"Gmain": ms / 1000}, [7_000_000], 0.0) for ms in step_ms]
    return Result(name, setup_of(**changes), Ready(["fact"], list(sizes), 1), rounds, list(remarks))


class TestOurs:
    def test_a_tiny_step_gives_finite_positive_numbers(self):
        result = run(*TINY, "--precision=fp32", "--precision=bf16")
        assert result.exit_code == 0, result.output
        rows = rows_of(result.stdout)
        assert [row["who"].split(",")[0] for row in rows] == ["ours in fp32", "ours in bf16"]
        for row in rows:
            for column in ("img/s", *(f"{phase} ms" for phase in PHASES), "step ms", "peak memory MB"):
                assert 0 < float(row[column]) < math.inf, column
            speed = 4000 / float(row["step ms"])
            assert float(row["img/s"]) == pytest.approx(speed, rel=0.02)
        for fact in ("machine: ", f"torch {torch.__version__}", "rounds: 1", "load average: ", "of 1 threads"):
            assert fact in result.stdout

    def test_a_size_that_cannot_be_is_one_line(self):
        for options, said in {
            ("--batch=6",): "--batch 6 is not a multiple",
            ("--resolution=48",): "a power of two is needed",
            ("--resolution=64,32", "--batch=4,4,4"): "--batch 4,4,4: give one number, or one for each of 2",
            ("--resolution=big",): "--resolution big: give numbers",
            ("--peer-allocator",): "--peer-allocator needs --peer",
        }.items():
            result = run("--device=cpu", *options)
            assert result.exit_code == 2
            assert said in result.stderr
            assert result.stderr.count("\n") == 1


class TestPeer:
    def test_runs_beside_ours(self, checkout):
        result = run(*TINY, "--precision=fp32", f"--peer={checkout}", "--peer-allocator")
        assert result.exit_code == 0, result.output
        ours, peer, tuned = rows_of(result.stdout)
        assert peer["who"] == "peer, fp32"
        assert tuned["who"] == "peer with our allocator setting, fp32"
        assert peer["times the peer"] == tuned["times the peer with our allocator setting"] == "1"
        for column, other in {"times the peer": peer, "times the peer with our allocator setting": tuned}.items():
            expected = float(ours["img/s"]) / float(other["img/s"])
            assert float(ours[column].split()[0]) == pytest.approx(expected, rel=0.05, abs=0.02)
        assert 'peer printed: Setting up PyTorch plugin "bias_act_plugin"... Failed!' in result.stdout
        assert "WARNING: the networks of peer differ" in result.stdout

        calls = [json.loads(line) for line in (checkout / "training/calls.jsonl").read_text().splitlines()]
        phases = [["Gmain", 1, True], ["Greg", 4, True], ["Dmain", 1, False], ["Dreg", 16, False]]
        once = [[*phase, [4, 1, 32, 32]] for phase in phases]
        assert calls == once * 4  # warm-up and one turn of two peers

    def test_another_folder_is_one_line(self, tmp_path):
        result = run(*TINY, f"--peer={tmp_path}")
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert f"--peer {tmp_path}: no training/networks.py there" in result.stderr

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("raise ValueError('a shape')", "peer: ValueError: a shape (line 1 of loss.py)"),
            ("import os; os._exit(3)", "peer: its process ended (status 3; below 0: signal); it said nothing"),
            ("import module_that_is_gone", "peer: ModuleNotFoundError: No module named 'module_that_is_gone'"),
        ],
    )
    def test_one_that_fails_is_one_line(self, checkout, monkeypatch, line, said):
        (checkout / "training/loss.py").write_text(line)
        monkeypatch.setattr(step_time, "_setups", lambda base, *_: {"peer": setup_of(peer=str(checkout))})
        result = run(*TINY, f"--peer={checkout}")
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Traceback" not in result.output

    def test_one_without_gradients_is_refused(self, checkout, monkeypatch):
        loss = checkout / "training/loss.py"
        loss.write_text(loss.read_text().replace("(loss * gain).backward()", "pass"))
        monkeypatch.setattr(step_time, "_setups", lambda base, *_: {"peer": setup_of(peer=str(checkout))})
        result = run(*TINY, f"--peer={checkout}")
        assert result.exit_code == 2
        assert "Gmain of this checkout left no gradient" in result.stderr


class TestTurns:
    def test_every_other_round_is_reversed_and_warm_up_is_not_counted(self, monkeypatch):
        turns = []

        class Recorder:
            def __init__(self, name):
                self.name, self.ready = name, Ready([], [1, 1], 1)

            def measure(self, repeats):
                turns.append((self.name, repeats))
                return Measured(dict.fromkeys(PHASES, float(len(turns))), [1], None)

            def remarks(self):
                return []

        monkeypatch.setattr(step_time, "start_worker", lambda name, _: contextlib.nullcontext(Recorder(name)))
        monkeypatch.setattr(step_time, "PAUSE_SEC", 0)
        results = step_time._take_turns({"a": setup_of(), "b": setup_of()}, rounds=3, repeats=7)
        assert turns[:2] == [("a", step_time.WARM_UP_REPEATS["cpu"]), ("b", step_time.WARM_UP_REPEATS["cpu"])]
        assert turns[2:] == [(name, 7) for name in "abbaab"]
        assert [turn.seconds["Gmain"] for turn in results[0].rounds] == [3, 6, 7]

    def test_the_mixture(self):
        assert step_seconds({"Gmain": 1, "Greg": 4, "Dmain": 10, "Dreg": 16}) == 13

    def test_with_and_without_graphs(self):
        setups = step_time._setups(setup_of(device="cuda"), ("bf16", "fp16"), (True, False), None, False)
        assert {name: (setup.precision, setup.cuda_graphs) for name, setup in setups.items()} == {
            "ours in bf16": ("bf16", True), "ours in bf16 without graphs": ("bf16", False),
            "ours in fp16": ("fp16", True), "ours in fp16 without graphs": ("fp16", False),
        }  # fmt: skip

    def test_cpu_peer_is_fp32_and_follows_on_cuda_only_if_all_is_fp32(self):
        for device, precisions, expected in [
            ("cpu", ("bf16",), "fp32"),
            ("cuda", ("fp32",), "fp32"),
            ("cuda", ("fp32", "bf16"), "fp16"),
        ]:
            setups = step_time._setups(setup_of(device=device), precisions, (True,), "path", True)
            assert [setup.precision for setup in setups.values()] == [*precisions, expected, expected]
            assert [setup.keep_freed_memory for setup in setups.values()][-2:] == [False, True]


class TestTable:
    def test_ratio_is_of_medians_with_the_least_and_most_of_a_round(self):
        results = [result_of("ours", 100, 200, 400), result_of("peer", 400, 600, 400, peer="path")]
        ours, peer = rows_of("\n".join([table_head(["peer"]), *table_rows(results, ["peer"])]))
        assert ours["times the peer"] == "2.00 (1.00 to 4.00)"
        assert peer["times the peer"] == "1"
        assert (ours["img/s"], ours["step ms"], ours["peak memory MB"]) == ("20.0", "200", "7")

    def test_footnotes_tell_what_is_unfair(self):
        same = [result_of("ours", 1), result_of("peer", 1, peer="path")]
        assert not any("WARNING" in line for line in footnotes(same))
        other = [result_of("ours", 1), result_of("peer", 1, sizes=(10, 21), peer="path", remarks=["plugin... Done."])]
        assert "WARNING: the networks of peer differ, no fair comparison: G 10, D 21" in footnotes(other)
        assert "peer printed: plugin... Done." in footnotes(other)
        silent = [result_of("ours", 1, device="cuda"), result_of("peer", 1, device="cuda", peer="path")]
        assert "the peer printed nothing of its CUDA kernels: whether they ran is not known" in footnotes(silent)


class TestMachine:
    def test_warnings(self):
        assert load_warnings(0.2, 0.05) == load_warnings(0.2, None) == []
        assert "load average 1.50" in load_warnings(1.5, 0.0)[0]
        assert "0.70 cores busy" in load_warnings(0.0, 0.7)[0]

    def test_peak_memory_keeps_what_was_freed(self):
        before = peak_memory_bytes()
        torch.ones(64 * 2**20 // 4).add_(1)
        after = peak_memory_bytes()
        assert 2**20 < after  # bytes, not kilobytes
        assert after >= before
