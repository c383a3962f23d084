"""Several processes and micro-batches against one process with the whole batch."""

import sys

import pytest
import torch

from stylegan2ada.division import WHOLE, Division, check_division
from stylegan2ada.errors import UserError
from stylegan2ada.launch import launch
from stylegan2ada.layers import MinibatchStdLayer
from stylegan2ada.processes import Processes

from .divided_steps import BATCH, CASES, STEPS, DividedSteps, run_case

CLOSE = 1e-12  # of the largest value of a tensor, in float64
GRADIENTS = ("Gradients/Gmain", "Gradients/Gpl", "Gradients/Dmain", "Gradients/Dr1")


def largest_difference(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], skip=()) -> tuple[float, str]:
    """Of any tensor, relative to its largest value; the random state has to be the same."""
    assert ours.keys() == theirs.keys()
    assert torch.equal(ours["random"], theirs["random"])
    worst = (0.0, "none")
    for name in ours.keys() - {"random", *skip}:
        a, b = ours[name].double(), theirs[name].double()
        worst = max(worst, (((a - b).abs().max() / b.abs().max().clamp_min(1e-12)).item(), name))
    print(f"largest relative difference: {worst[0]:.1e} ({worst[1]})")
    return worst


@pytest.fixture(scope="module")
def whole() -> dict[str, dict[str, torch.Tensor]]:
    """By case: in one process, in one piece."""
    return {name: run_case(name, whole=True) for name in CASES}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> dict[str, list[dict]]:
    """By case: what each of two processes has."""
    folder = tmp_path_factory.mktemp("ranks")
    assert launch(2, [sys.executable, "-m", "tests.stylegan2ada.divided_steps", str(folder)]) == 0
    return {name: [torch.load(folder / f"{name} {rank}.pt") for rank in range(2)] for name in CASES}


class TestTwoProcesses:
    @pytest.mark.parametrize("name", CASES)
    def test_have_the_same_bits_and_random_state(self, ranks, name):
        first, second = ranks[name]
        assert [key for key in first if not torch.equal(first[key], second[key])] == []

    def test_equal_one_process_with_the_same_batch(self, ranks, whole):
        """Weights, averages, p, path lengths, statistics: augmentation, style mixing, noise and a term are on."""
        assert largest_difference(ranks["float64"][0], whole["float64"]) < (CLOSE, "")

    def test_in_float32(self, ranks, whole):
        assert largest_difference(ranks["float32"][0], whole["float32"]) < (1e-4, "")

    def test_with_micro_batches(self, ranks, whole):
        name = "2 micro-batches"
        assert largest_difference(ranks[name][0], whole[name]) < (CLOSE, "")


class TestMicroBatches:
    @pytest.mark.parametrize("parts", [2, 4])
    def test_equal_the_whole_batch(self, whole, parts):
        torch.set_default_dtype(torch.float64)
        try:
            ours = DividedSteps(micro_batches=parts, path_lengths=False).run()
        finally:
            torch.set_default_dtype(torch.float32)
        assert largest_difference(ours, whole["2 micro-batches"]) < (CLOSE, "")

    def test_path_lengths_differ_by_the_mean_they_are_compared_with(self):
        """The stored mean is the same; the penalty is not, since each micro-batch knows only its own lengths."""
        torch.set_default_dtype(torch.float64)
        try:
            ours, theirs = DividedSteps(micro_batches=2).run(1), DividedSteps().run(1)
        finally:
            torch.set_default_dtype(torch.float32)
        for name in ("pl_mean", "Loss/G/path_length"):
            torch.testing.assert_close(ours[name], theirs[name], rtol=CLOSE, atol=0)
        torch.testing.assert_close(ours["Gradients/Gpl"], theirs["Gradients/Gpl"], rtol=0.05, atol=0)
        assert abs(ours["Gradients/Gpl"] / theirs["Gradients/Gpl"] - 1) > 1e-6

    def test_a_batch_that_does_not_divide_raises(self):
        parameter = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.Adam([parameter])
        with pytest.raises(ValueError, match="a batch of 5 images does not divide into 2 micro-batches"):
            Division(micro_batches=2).gradient(optimizer, lambda rows: (parameter.sum(), {}), torch.ones(5))

    def test_after_an_error_the_dealer_deals_whole_batches_again(self):
        steps = DividedSteps(micro_batches=2)
        steps.update_G._terms = [steps.update_G._terms[0]._replace(function=lambda images, labels: 1 / 0)]
        with pytest.raises(ZeroDivisionError):
            steps.update_G.step()
        assert (steps.division.dealer.index, steps.division.dealer.parts) == (0, 1)
        assert steps.division.micro_batch == (0, 1)


def test_the_whole_batch_is_one_part():
    assert (WHOLE.parts, WHOLE.dealer.parts, WHOLE.micro_batch) == (1, 1, (0, 1))


def test_the_statistics_name_the_norm_of_every_phase(whole):
    assert all(whole["float64"][name] > 0 for name in GRADIENTS)
    assert whole["float64"]["images_seen"] == BATCH * STEPS


class Rank(Processes):
    """For questions that need no exchange."""

    def __init__(self, rank: int, world_size: int):
        super().__init__()
        self.rank, self.world_size = rank, world_size


@pytest.mark.parametrize(("batch", "group", "parts"), [(8, 4, 2), (12, 2, 3), (16, 4, 4), (8, 8, 1), (32, 4, 8)])
def test_minibatch_std_groups_coincide(batch, group, parts):
    """Where `check_division` has nothing against it."""
    check_division(batch, 0, group, parts)
    x = torch.randn(batch, 1, 4, 4)
    layer = MinibatchStdLayer(group)
    whole = layer(x)
    for part in range(parts):
        torch.testing.assert_close(layer(x[part::parts]), whole[part::parts])


class TestCheck:
    @pytest.mark.parametrize(
        ("batch", "pl_batch", "group", "parts", "message"),
        [
            (8, 4, 4, 3, "--batch 8 over 3 processes or micro-batches: not a multiple of 3; choose --batch 9"),
            (8, 4, 1, 8, "path lengths are computed on 4 images, not a multiple of 8"),
            (8, 4, 4, 4, "minibatch-std groups of 4 do not divide the 2 images of a part; choose --batch 16"),
            (12, 0, 4, 2, "minibatch-std groups of 4 do not divide the 6 images"),
        ],
    )
    def test_what_cannot_be_divided_raises(self, batch, pl_batch, group, parts, message):
        with pytest.raises(UserError, match=message):
            check_division(batch, pl_batch, group, parts)

    def test_one_part_is_always_possible(self):
        check_division(7, 3, 4, 1)

    def test_what_can_be(self):
        check_division(32, 16, 4, 8)
