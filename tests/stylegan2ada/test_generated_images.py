"""Generated images as a source for metrics: a chunk depends on the seed and its index alone."""

import math

import numpy as np
import pytest
import torch

from stylegan2ada.compute import set_precision
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.generated_images import CHUNK_SIZE, GeneratedImages, slerp
from stylegan2ada.generator import Generator
from stylegan2ada.images import to_byte_range, to_uint8

LABELS = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]


def make_generator(num_classes: int = 2, noise: float = 0.5) -> Generator:
    torch.manual_seed(0)
    G = Generator(8, num_classes, 16, 16, 1, mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_base": 256})
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(noise)
    G.mapping.w_avg.normal_()
    return G.eval()


@pytest.fixture(scope="module")
def G() -> Generator:
    return make_generator()


def difference(a: torch.Tensor, b: torch.Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


class TestChunks:
    def test_are_the_same_in_any_order_and_for_anybody(self, G):
        first, again = GeneratedImages(G, 3, LABELS), GeneratedImages(G, 3, LABELS)
        torch.manual_seed(7)
        pixels, classes = first.chunk(5)
        torch.manual_seed(8)
        for index in (0, 5, 1):
            again.chunk(index)
        assert torch.equal(again.chunk(5)[0], pixels)
        assert torch.equal(again.chunk(5)[1], classes)
        assert (pixels.shape, pixels.dtype, classes.dtype) == ((64, 1, 16, 16), torch.uint8, torch.int64)

    def test_differ_by_index_and_seed(self, G):
        pixels = GeneratedImages(G, 3, LABELS).chunk(0)[0]
        assert not torch.equal(pixels, GeneratedImages(G, 3, LABELS).chunk(1)[0])
        assert not torch.equal(pixels, GeneratedImages(G, 4, LABELS).chunk(0)[0])
        assert len(pixels.flatten(1).unique(dim=0)) == CHUNK_SIZE

    @pytest.mark.parametrize("batch", [1, 8, 32, 64])
    def test_do_not_depend_on_the_batch(self, G, batch):
        """Rounding may move a pixel by one; other noise would move most pixels by far more."""
        pixels, classes = GeneratedImages(G, 3, LABELS, batch=16).chunk(2)
        others, other_classes = GeneratedImages(G, 3, LABELS, batch=batch).chunk(2)
        assert difference(pixels, others) <= 1
        assert (pixels != others).float().mean() < 0.01
        assert torch.equal(classes, other_classes)

    def test_leave_random_state_and_network_as_they_were(self, G):
        network = make_generator()
        set_precision(network, "bf16")
        state, source = torch.get_rng_state(), GeneratedImages(network, 3, LABELS)
        pixels, _ = source.chunk(0)
        source.path_pairs(0)
        assert torch.equal(torch.get_rng_state(), state)
        assert network.synthesis.get_submodule("b16").dtype == torch.bfloat16
        assert network.synthesis.get_submodule("b16").conv1.dealer.parts == 1
        assert torch.equal(pixels, GeneratedImages(G, 3, LABELS).chunk(0)[0]), "float32, whatever it trains in"

    def test_follow_the_official_conventions(self):
        """Noise off: an image is to_uint8 of G of its latent, standard normal by RandomState, and of its label."""
        G, source = make_generator(noise=0), GeneratedImages(make_generator(noise=0), 3, LABELS, batch=64)
        pixels, classes = source.chunk(9)
        z = np.random.RandomState([3, 9]).randn(64, 8).astype(np.float32)
        with torch.no_grad():
            expected = to_uint8(G(torch.from_numpy(z), torch.eye(2)[classes], noise_mode="none"))
        assert torch.equal(pixels, expected)

    def test_labels_are_drawn_as_often_as_they_stand_in_the_training_set(self, G):
        source = GeneratedImages(G, 3, LABELS)
        classes = torch.cat([source._draw_labels(source._random(index)).argmax(dim=1) for index in range(400)])
        share, sigma = classes.float().mean().item(), math.sqrt(0.25 * 0.75 / len(classes))
        assert abs(share - 0.25) < 4 * sigma

    def test_noise_is_random_in_every_image_unless_told_otherwise(self, G):
        twice = GeneratedImages(G, 3, LABELS, truncation_psi=0, fixed_class=0).chunk(0)[0]
        assert len(twice.flatten(1).unique(dim=0)) == CHUNK_SIZE, "one latent, different noise"
        same = GeneratedImages(G, 3, LABELS, truncation_psi=0, fixed_class=0, noise_mode="const").chunk(0)[0]
        assert difference(same, same[:1].expand_as(same)) <= 1

    def test_of_one_class(self, G):
        """The same latents and the same noise, so that only the class differs."""
        pixels, classes = GeneratedImages(G, 3, LABELS).chunk(0)
        for index in range(2):
            own_pixels, own_classes = GeneratedImages(G, 3, LABELS, fixed_class=index).chunk(0)
            assert own_classes.tolist() == [index] * CHUNK_SIZE
            rows = classes == index
            assert difference(own_pixels[rows], pixels[rows]) <= 1

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_on_a_gpu(self, G):
        """Latents and labels as on a CPU; random noise of its own, the same every time."""
        on_gpu, state = make_generator().cuda(), torch.cuda.get_rng_state()
        pixels, classes = GeneratedImages(on_gpu, 3, LABELS).chunk(2)
        assert torch.equal(pixels, GeneratedImages(on_gpu, 3, LABELS).chunk(2)[0])
        assert difference(pixels, GeneratedImages(on_gpu, 3, LABELS, batch=4).chunk(2)[0]) <= 1
        assert torch.equal(torch.cuda.get_rng_state(), state)
        constant = {"noise_mode": "const"}
        expected, expected_classes = GeneratedImages(G, 3, LABELS, **constant).chunk(2)
        assert torch.equal(classes, expected_classes)
        assert difference(GeneratedImages(on_gpu, 3, LABELS, **constant).chunk(2)[0].cpu(), expected) <= 2

    def test_without_classes(self):
        source = GeneratedImages(make_generator(num_classes=0), 3)
        assert source.class_names == ()
        assert source.chunk(0)[1].tolist() == [-1] * CHUNK_SIZE

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_broken_network_is_an_error(self, value):
        broken = make_generator()
        broken.synthesis.get_submodule("b16").torgb.bias.data.fill_(value)
        with pytest.raises(NonFiniteError, match="generator, number 64 holds NaN or Inf"):
            GeneratedImages(broken, 3, LABELS).chunk(1)
        with pytest.raises(NonFiniteError, match="number 0"):
            GeneratedImages(broken, 3, LABELS).path_pairs(0)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"labels": np.eye(3)}, "2 classes, the labels have 3"),
            ({"labels": None}, "2 classes, the labels have 0"),
            ({"labels": LABELS[:0]}, "labels"),
            ({"labels": LABELS, "fixed_class": 2}, "no class 2"),
            ({"labels": LABELS, "fixed_class": -1}, "no class -1"),
            ({"labels": LABELS, "seed": -1}, "seed -1"),
        ],
    )
    def test_mistakes(self, G, options, message):
        with pytest.raises(UserError, match=message):
            GeneratedImages(G, **{"seed": 0, **options})


class TestPathPairs:
    def pairs(self, G: Generator, **options) -> tuple[torch.Tensor, torch.Tensor]:
        return GeneratedImages(G, 3, LABELS, batch=64).path_pairs(4, **options)

    @pytest.mark.parametrize("space", ["z", "w"])
    @pytest.mark.parametrize("sampling", ["end", "full"])
    def test_lie_as_close_as_epsilon_says(self, G, space, sampling):
        """Twice the step, twice the difference; and at no step none."""
        first, second = self.pairs(G, space=space, sampling=sampling, epsilon=1e-3)
        _, further = self.pairs(G, space=space, sampling=sampling, epsilon=2e-3)
        _, same = self.pairs(G, space=space, sampling=sampling, epsilon=0)
        assert (first.shape, first.dtype) == ((CHUNK_SIZE, 1, 16, 16), torch.float32)
        assert torch.equal(first, same)
        once, twice = (second - first).square().sum().sqrt(), (further - first).square().sum().sqrt()
        assert once > 0
        assert twice / once == pytest.approx(2, rel=0.02)

    def test_at_the_ends_they_are_images_of_their_latents(self, G):
        """t = 0 is the image of z0, and t + 1 that of z1: in either space."""
        random = np.random.RandomState([3, 4])
        z = torch.from_numpy(random.randn(2, CHUNK_SIZE, 8).astype(np.float32))
        source = GeneratedImages(G, 3, LABELS)
        random = source._random(4)
        source._latents(random), source._latents(random)
        c = source._draw_labels(random)
        for space in ("z", "w"):
            ends = self.pairs(G, space=space, epsilon=1.0)
            for latents, images in zip(z, ends, strict=True):
                with torch.no_grad():
                    expected = to_byte_range(G(latents, c, noise_mode="const"))
                assert (images - expected).abs().max() < 0.05

    def test_do_not_depend_on_the_batch(self, G):
        whole = self.pairs(G, sampling="full")
        pieces = GeneratedImages(G, 3, LABELS, batch=8).path_pairs(4, sampling="full")
        for ours, theirs in zip(pieces, whole, strict=True):
            assert (ours - theirs).abs().max() < 0.01

    @pytest.mark.parametrize("options", [{"space": "x"}, {"sampling": "middle"}])
    def test_unknown_paths(self, G, options):
        with pytest.raises(ValueError, match="a path is in z or w"):
            self.pairs(G, **options)


class TestSlerp:
    def test_turns_evenly_in_the_plane(self):
        a, b = torch.tensor([[2.0, 0, 0]]).double(), torch.tensor([[0, 5.0, 0]]).double()
        for t in (0, 0.25, 1 / 3, 1):
            angle = t * math.pi / 2
            expected = torch.tensor([[math.cos(angle), math.sin(angle), 0]]).double()
            torch.testing.assert_close(slerp(a, b, torch.full([1, 1], t).double()), expected)

    def test_of_one_direction(self):
        a = torch.randn(3, 8).double()
        torch.testing.assert_close(slerp(a, 2 * a, torch.rand(3, 1).double()), a / a.norm(dim=1, keepdim=True))
