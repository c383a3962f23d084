"""Walks pass their stations, are smooth and end where they begin."""

import pytest
import torch

from stylegan2ada.generator import Generator
from stylegan2ada.latent_walks import Station, closed_loop, plan_stations, walk_in_w, walk_in_z
from stylegan2ada.sampling import ws_of_seeds


@pytest.fixture(scope="module")
def conditional() -> Generator:
    torch.manual_seed(0)
    G = Generator(8, 2, 16, 8, 1, mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_base": 64})
    G.mapping.w_avg.normal_()
    return G.eval()


class TestStations:
    def test_one_thing_changes_at_a_time(self):
        expected = [Station(*pair) for pair in [(7, 0), (7, 1), (7, 2), (4, 2), (4, 1), (4, 0), (9, 0), (9, 1), (9, 2)]]
        assert plan_stations([7, 4, 9], [0, 1, 2]) == expected

    def test_unconditional(self):
        assert plan_stations([7, 4], []) == [Station(7, None), Station(4, None)]


class TestClosedLoop:
    @pytest.mark.parametrize("count", [2, 3, 7])
    def test_passes_the_points(self, count):
        points = torch.randn(count, 2, 3)
        loop = closed_loop(points, 10)
        assert (loop.shape, loop.dtype) == ((10 * count, 2, 3), torch.float32)
        torch.testing.assert_close(loop[::10], points)

    def test_is_as_smooth_at_the_seam_as_elsewhere(self):
        loop = closed_loop(torch.randn(5, 4).double(), 50)
        again = torch.cat([loop, loop[:3]])
        second_differences = again.diff(n=2, dim=0).abs().amax(dim=1)
        assert second_differences[-3:].max() <= second_differences[:-3].max() * 1.01
        speeds = again.diff(dim=0).norm(dim=1)
        assert speeds.max() < 0.2  # a jump would be of the size of a point, about 2

    def test_a_circle_from_four_points(self):
        """A closed curve that is known: the spline through a square's corners stays near the circle."""
        loop = closed_loop(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]), 25)
        assert (loop.norm(dim=1) - 1).abs().max() < 0.03


@pytest.mark.parametrize("walk", [walk_in_w, walk_in_z])
class TestWalks:
    @pytest.mark.parametrize("psi", [1.0, 0.6])
    def test_stations_are_the_latents_of_seeds(self, conditional, walk, psi):
        stations = plan_stations([3, 5], [0, 1])
        ws = walk(conditional, stations, 4, psi)
        assert ws.shape == (16, conditional.num_ws, 16)
        expected = ws_of_seeds(conditional, [3, 3, 5, 5], [0, 1, 1, 0], psi)
        torch.testing.assert_close(ws[::4], expected, rtol=1e-4, atol=1e-5)

    def test_classes_of_one_seed(self, conditional, walk):
        ws = walk(conditional, plan_stations([3], [0, 1]), 8, 1.0)
        between = ws[4] - ws[0]
        assert 0.05 < between.norm() / (ws[8] - ws[0]).norm() < 0.95
