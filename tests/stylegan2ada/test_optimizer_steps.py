"""Steps that leave out what is not finite, with Adam's own mechanism; the CPU's fused Adam has it too."""

import pytest
import torch
from torch import nn

from stylegan2ada.config import OptimizerConfig
from stylegan2ada.errors import NonFiniteError
from stylegan2ada.optimizer_steps import SkippingSteps, make_optimizer, optimizer_step
from stylegan2ada.updates import Execution

from .step_parts import StepParts, differing

NAN, INF = float("nan"), float("inf")


class Line:
    """One layer and its optimiser; `step(factor)` multiplies the loss."""

    def __init__(self, descend):
        torch.manual_seed(0)
        self.network = nn.Linear(3, 1)
        self.optimizer = make_optimizer(self.network, OptimizerConfig(0.01), 4)
        self.descend = descend

    def step(self, factor: float = 1.0, phase: str = "main") -> None:
        loss = self.network(torch.ones(2, 3)).square().mean() * factor
        self.down(loss, phase)

    def down(self, loss: torch.Tensor, phase: str = "main") -> torch.Tensor:
        self.optimizer.zero_grad()
        loss.backward()
        for parameter in self.network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return self.descend(self.optimizer, loss, self.network, phase)

    def state(self) -> dict[str, torch.Tensor]:
        moments = self.optimizer.state_dict()["state"]
        tensors = {f"{index}/{key}": value for index, values in moments.items() for key, value in values.items()}
        return {name: value.clone() for name, value in (tensors | self.network.state_dict()).items()}


def test_good_steps_equal_checked_ones_bit_for_bit():
    skipping, checked = Line(SkippingSteps()), Line(optimizer_step)
    for factor in (1, 5, 0.1, 3):
        skipping.step(factor)
        checked.step(factor)
    assert differing(skipping.state(), checked.state()) == []
    assert skipping.descend.check() == {"main": 0}


@pytest.mark.parametrize("make", [SkippingSteps, lambda: optimizer_step], ids=["skipping", "checked"])
def test_the_norm_of_all_gradients_is_returned(make):
    line = Line(make())
    norm = line.down(line.network(torch.tensor([[1.0, 2.0, 3.0]])).sum() * 2)
    assert norm.item() == pytest.approx((4 * (1 + 4 + 9 + 1)) ** 0.5)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_bad_step_changes_neither_weights_nor_adam(bad):
    line = Line(SkippingSteps(tolerated_skips=1))
    line.step()
    before = line.state()
    line.step(bad)
    assert differing(line.state(), before) == []
    line.step()
    assert line.state()["0/step"] == 2
    assert differing(line.state(), before)


def test_a_bad_first_step_changes_nothing():
    line = Line(SkippingSteps(tolerated_skips=1))
    line.step(NAN)
    assert line.state()["0/step"] == 0
    assert not line.state()["0/exp_avg"].any()


def test_gradients_that_are_bad_under_a_good_loss():
    """The loss is 0, its gradient 0 * inf."""
    line = Line(SkippingSteps())
    loss = (line.network.weight.sum() * 0).sqrt()
    line.down(loss)
    with pytest.raises(NonFiniteError, match=r"^main: the loss or a gradient was not finite in 1 steps"):
        line.descend.check()


class TestCheck:
    def test_without_tolerance_any_raises_even_long_after(self):
        line = Line(SkippingSteps())
        for factor in (1, NAN, 1, 1, INF, 1):
            line.step(factor)
        with pytest.raises(NonFiniteError, match="main: the loss or a gradient was not finite in 2 steps; they were"):
            line.descend.check()

    def test_tolerated_ones_are_counted_since_the_last_check(self):
        line = Line(SkippingSteps(tolerated_skips=2))
        for factor in (NAN, NAN, 1, NAN, 1):
            line.step(factor)
        assert line.descend.check() == {"main": 3}
        line.step(NAN)
        assert line.descend.check() == {"main": 1}
        assert line.descend.check() == {"main": 0}

    def test_too_many_in_a_row_raise_even_if_the_row_has_ended(self):
        line = Line(SkippingSteps(tolerated_skips=2))
        for factor in (NAN, NAN, NAN, 1):
            line.step(factor)
        with pytest.raises(NonFiniteError, match=r"main: .* not finite in 3 steps in a row"):
            line.descend.check()

    def test_a_row_goes_on_over_checks(self):
        line = Line(SkippingSteps(tolerated_skips=2))
        line.step(NAN)
        line.step(NAN)
        line.descend.check()
        line.step(NAN)
        with pytest.raises(NonFiniteError, match="3 steps in a row"):
            line.descend.check()

    def test_phases_are_counted_apart(self):
        line = Line(SkippingSteps(tolerated_skips=1))
        for phase in ("a", "b", "a"):
            line.step(NAN if phase == "a" else 1, phase)
        with pytest.raises(NonFiniteError, match=r"^a: .* 2 steps in a row"):
            line.descend.check()

    def test_before_any_step(self):
        assert SkippingSteps().check() == {}


def test_a_path_length_overflow_does_not_spoil_the_later_ones(monkeypatch):
    """Its mean enters every later penalty: once infinite, all of them would be left out."""
    from stylegan2ada import losses

    skips = SkippingSteps(tolerated_skips=3)
    parts = StepParts(Execution(optimizer_step=skips))
    original = losses.path_lengths
    monkeypatch.setattr(losses, "path_lengths", lambda *inputs: original(*inputs) * INF)
    parts.step()
    assert skips.check()["path length regularisation"] == 1
    monkeypatch.setattr(losses, "path_lengths", original)
    for _ in range(2):
        parts.step()
    assert skips.check()["path length regularisation"] == 0
    assert all(value.isfinite().all() for value in parts.state().values())


def test_no_part_of_a_step_reads_a_tensor_back(monkeypatch):
    """On the meta device tensors have no numbers: whoever asks for one, or for a size that depends on one, fails."""
    with pytest.raises(RuntimeError):
        torch.zeros([], device="meta").item()
    parts = StepParts(Execution(optimizer_step=SkippingSteps()), device="meta")
    for update in (parts.update_G, parts.update_D):
        monkeypatch.setattr(update._optimizer, "step", lambda: None)  # fused Adam is not for this device
    for _ in range(4):
        parts.step()
