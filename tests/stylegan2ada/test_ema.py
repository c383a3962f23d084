"""The moving average: half-life, ramp, buffers."""

import copy

import pytest
import torch
from torch import nn

from stylegan2ada.ema import ema_decay, update_ema


class TestDecay:
    @pytest.mark.parametrize(("batch", "ema_kimg"), [(32, 10.0), (16, 0.5), (64, 500.0)])
    def test_half_life(self, batch, ema_kimg):
        """After ema_kimg thousand images half of the old value is left."""
        steps = ema_kimg * 1000 / batch
        assert ema_decay(batch, 10**9, ema_kimg, None) ** steps == pytest.approx(0.5)

    def test_the_ramp_shortens_the_half_life_at_first(self):
        assert ema_decay(32, 1000, 10, 0.05) == pytest.approx(0.5 ** (32 / 50))
        assert ema_decay(32, 10**6, 10, 0.05) == ema_decay(32, 10**6, 10, None)

    def test_ends(self):
        assert ema_decay(32, 0, 10, 0.05) == 0  # nothing seen: the average is the network itself
        assert ema_decay(32, 10**6, 0, None) == 0
        assert ema_decay(0, 500, 10, 0.05) == 1  # an empty batch moves nothing


def normed(value: float) -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data.fill_(value)
    return module


def test_parameters_are_averaged_and_buffers_copied():
    average, network = normed(1), normed(5)
    update_ema(average, network, decay=0.75)
    assert {p.unique().item() for p in average.parameters()} == {0.75 * 1 + 0.25 * 5}
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(average.buffers(), network.buffers(), strict=True))


def test_the_network_stays_and_no_graph_is_kept():
    average, network = normed(1), normed(5)
    before = copy.deepcopy(network.state_dict())
    update_ema(average, network, decay=0.5)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.grad_fn is None for p in average.parameters())
    network[0].weight.data.fill_(100)
    assert average[0].weight.max() == 3


def test_networks_of_different_shape_raise():
    with pytest.raises(ValueError, match="shorter"):
        update_ema(normed(1), nn.Linear(2, 2), 0.5)


def test_equals_one_lerp_per_parameter_bit_for_bit():
    average = nn.Sequential(nn.Linear(7, 9), nn.BatchNorm1d(9))
    network, expected = copy.deepcopy(average), copy.deepcopy(average)
    for tensor in network.parameters():
        tensor.data.normal_()
    for ours, theirs in zip(expected.parameters(), network.parameters(), strict=True):
        ours.data.lerp_(theirs.data, 1 - 0.9977)
    update_ema(average, network, 0.9977)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), expected.parameters(), strict=True))
