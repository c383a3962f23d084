"""Random numbers dealt to several parts: together they are the whole batch's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.compute import set_dealer
from stylegan2ada.dealing import UNDIVIDED, Dealer
from stylegan2ada.layers import SynthesisLayer

DRAWS = {
    "randn": lambda dealer, count: dealer.randn(count, 3, 2),
    "rand": lambda dealer, count: dealer.rand(count),
    "randint": lambda dealer, count: dealer.randint(1000, count),
}
PLAIN = {
    "randn": lambda count: torch.randn([count, 3, 2]),
    "rand": lambda count: torch.rand([count]),
    "randint": lambda count: torch.randint(1000, [count]),
}


@pytest.mark.parametrize("name", DRAWS)
class TestDealer:
    def test_undivided_it_is_torchs_own_draw(self, name):
        torch.manual_seed(1)
        ours = DRAWS[name](UNDIVIDED, 5)
        torch.manual_seed(1)
        assert torch.equal(ours, PLAIN[name](5))

    @given(count=st.integers(1, 5), parts=st.integers(2, 5))
    def test_the_parts_are_the_whole_batch_and_leave_one_random_state(self, name, count, parts):
        torch.manual_seed(1)
        whole, state = PLAIN[name](count * parts), torch.get_rng_state()
        for index in range(parts):
            torch.manual_seed(1)
            rows = DRAWS[name](Dealer(index, parts), count)
            assert torch.equal(rows, whole[index::parts])
            assert rows.is_contiguous()
            assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("index", "parts"), [(-1, 2), (2, 2), (0, 0)])
def test_a_part_that_is_not_there_raises(index, parts):
    with pytest.raises(ValueError, match=f"no part {index} of {parts}"):
        Dealer(index, parts)


def parts_of(network, whole: torch.Tensor, call, parts: int = 2) -> list[torch.Tensor]:
    """What each part makes of its rows; the random states after it must agree."""
    results, states = [], []
    for index in range(parts):
        set_dealer(network, Dealer(index, parts))
        torch.manual_seed(5)
        results.append(call(whole[index::parts]))
        states.append(torch.get_rng_state())
    set_dealer(network, UNDIVIDED)
    assert all(torch.equal(state, states[0]) for state in states)
    torch.manual_seed(5)
    expected = call(whole)
    assert torch.equal(torch.get_rng_state(), states[0]), "drawing for all draws as much as one process would"
    for index, result in enumerate(results):
        torch.testing.assert_close(result, expected[index::parts], atol=1e-4, rtol=1e-4)
    return results


def test_noise_of_a_synthesis_layer():
    layer = SynthesisLayer(2, 3, w_dim=4, resolution=8)
    layer.noise_strength.data.fill_(1.0)
    x = torch.randn(6, 2, 8, 8)
    w = torch.randn(1, 4).expand(6, -1)
    first, second = parts_of(layer, x, lambda rows: layer(rows, w[: len(rows)]))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentations(channels, p):
    """At p = 0.1 a part may have no image that a transform changes, and a CPU does nothing for it."""
    pipe = make_augment_pipe("bgcfnc")
    pipe.p.fill_(p)
    parts_of(pipe, torch.rand(8, channels, 16, 16) * 2 - 1, pipe)
    parts_of(pipe, torch.rand(8, channels, 16, 16) * 2 - 1, pipe, parts=8)


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_does_not_depend_on_how_the_images_lie_in_memory(channels):
    pipe = make_augment_pipe("noise")
    images = torch.rand(4, channels, 8, 8)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(3)
        results.append(pipe(images.to(memory_format=layout)))
    assert torch.equal(*results)
