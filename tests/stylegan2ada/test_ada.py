"""The ADA controller in closed form."""

import pytest
import torch

from stylegan2ada.ada import AdaController
from stylegan2ada.config import AugmentConfig


def logits(positive: int, negative: int) -> torch.Tensor:
    return torch.tensor([[2.5]] * positive + [[-0.1]] * negative)


def run(steps: list[torch.Tensor], p: float = 0.5, **config) -> float:
    buffer = torch.tensor(p, dtype=torch.float64)
    controller = AdaController(buffer, AugmentConfig(**config))
    for step in steps:
        controller.observe(step)
    return buffer.item()


class TestDirection:
    def test_up_where_the_mean_sign_is_above_the_target(self):
        assert run([logits(8, 0)] * 4, p=0.5, target=0.6, ada_kimg=1) == pytest.approx(0.5 + 32 / 1000)

    def test_down_where_it_is_below(self):
        assert run([logits(6, 2)] * 4, p=0.5, target=0.6, ada_kimg=1) == pytest.approx(0.5 - 32 / 1000)

    def test_not_at_all_on_the_target(self):
        assert run([logits(6, 2)] * 4, p=0.5, target=0.5, ada_kimg=1) == 0.5

    def test_only_the_sign_of_a_logit_counts(self):
        """Mean logit far above, mean sign (0.5) below the target."""
        assert run([torch.tensor([[100.0]] * 6 + [[-0.01]] * 2)] * 4, p=0.5, target=0.6, ada_kimg=1) < 0.5

    def test_signs_are_averaged_over_the_interval(self):
        """Three steps at 1 and one at -0.5: mean 0.625, above the target of 0.6."""
        assert run([logits(4, 0)] * 3 + [logits(1, 3)], p=0.5, target=0.6, ada_kimg=1) == pytest.approx(0.516)


class TestSpeed:
    def test_from_zero_to_one_in_ada_kimg(self):
        """Always above the target: p grows by 1 over ada_kimg thousand images."""
        assert run([logits(10, 0)] * 100, p=0.0, ada_kimg=1, interval=4) == pytest.approx(1)

    def test_nothing_happens_before_the_interval_ends(self):
        assert run([logits(8, 0)] * 3, p=0.25, ada_kimg=1) == 0.25

    def test_batches_of_varying_size_count_by_their_images(self):
        assert run([logits(n, 0) for n in (1, 5, 0, 10)], p=0.0, ada_kimg=1) == pytest.approx(16 / 1000)


class TestBounds:
    def test_never_below_zero(self):
        assert run([logits(0, 8)] * 40, p=0.01, ada_kimg=0.1) == 0

    def test_no_cap_above(self):
        buffer = torch.tensor(0.99)
        controller = AdaController(buffer, AugmentConfig(ada_kimg=0.1))
        for _ in range(4):
            controller.observe(logits(8, 0))
        assert buffer.item() > 1

    def test_an_interval_without_any_image(self):
        assert run([logits(0, 0).reshape(0, 1)] * 4, p=0.5) == 0.5


def test_the_logits_are_detached():
    buffer = torch.tensor(0.5)
    controller = AdaController(buffer, AugmentConfig(interval=1))
    controller.observe(torch.ones(2, 1, requires_grad=True))
    assert not buffer.requires_grad


def test_a_saved_controller_goes_on_where_it_was():
    steps = [logits(8, 0), logits(2, 6), logits(7, 1), logits(8, 0), logits(0, 8)]
    expected = run(steps, p=0.3, ada_kimg=1, interval=2)
    p = torch.tensor(0.3, dtype=torch.float64)
    config = AugmentConfig(ada_kimg=1, interval=2)
    first = AdaController(p, config)
    for step in steps[:3]:
        first.observe(step)
    second = AdaController(p, config)
    second.load_state_dict(first.state_dict())
    for step in steps[3:]:
        second.observe(step)
    assert p.item() == expected
