"""The augmentation pipeline: golden numbers at p = 1, frequencies and strengths at p < 1, derivatives."""

import math
from pathlib import Path

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.augment import AUGMENT_PIPES, AugmentPipe, make_augment_pipe
from stylegan2ada.augment.batch import where_changed
from stylegan2ada.augment.color import recolor
from stylegan2ada.augment.draws import Draws
from stylegan2ada.augment.filtering import reflect
from stylegan2ada.augment.matrices import around_gray, compose
from stylegan2ada.augment.warp import padding_px, warp, warp_padded
from stylegan2ada.augment.wavelets import SYM6
from stylegan2ada.compute import set_kernels
from stylegan2ada.errors import UserError
from stylegan2ada.ops import kernels
from tests.golden import Golden, assert_golden

GOLDEN = Golden(Path(__file__).resolve().parent.parent / "data", "augment")
BLIT_AND_GEOM = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac")
COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
ALL = (*BLIT_AND_GEOM, *COLOR, "imgfilter", "noise", "cutout")


def pipe_of(*transforms: str, p: float = 1, **settings) -> AugmentPipe:
    pipe = AugmentPipe(**dict.fromkeys(transforms, 1), **settings)
    pipe.p.fill_(p)
    return pipe


class TestGolden:
    @pytest.mark.parametrize("case", GOLDEN.cases, ids=lambda case: f"{case['id']}-{'+'.join(case['transforms'])}")
    def test_images(self, case):
        pipe = pipe_of(*case["transforms"])
        ours = pipe(GOLDEN[case["images"]], debug_percentile=case["debug_percentile"])
        assert_golden(ours, GOLDEN[case["id"]], 1e-5)

    def test_filters(self):
        pipe = AugmentPipe()
        assert_golden(pipe.Hz_geom, GOLDEN["Hz_geom"], 1e-7)
        assert_golden(pipe.Hz_fbank, GOLDEN["Hz_fbank"], 1e-7)

    def test_state_names(self):
        assert list(AugmentPipe().state_dict()) == ["p", "Hz_geom", "Hz_fbank"]


class TestWavelets:
    def test_sym6_is_an_orthonormal_wavelet_with_six_vanishing_moments(self):
        taps = torch.tensor(SYM6, dtype=torch.float64)
        for shift in range(6):
            expected = 1.0 if shift == 0 else 0.0
            assert (taps[2 * shift :] * taps[: 12 - 2 * shift]).sum().item() == pytest.approx(expected, abs=1e-11)
        k = torch.arange(12, dtype=torch.float64)
        for moment in range(6):
            assert (taps * (-1) ** k * (k - 5.5) ** moment).sum().abs() < 1e-7

    def test_bands_sum_to_the_identity_and_only_the_lowest_has_a_mean(self):
        bands = AugmentPipe().Hz_fbank
        one = torch.zeros(43)
        one[21] = 1
        torch.testing.assert_close(bands.sum(0), one)
        torch.testing.assert_close(bands.sum(1), torch.tensor([1.0, 0, 0, 0]))


class TestIdentity:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_p_0_changes_no_bit(self, channels):
        images = torch.randn(8, channels, 16, 16)
        assert torch.equal(pipe_of(*ALL, p=0)(images), images)

    def test_a_pipe_without_transforms_changes_no_bit(self):
        images = torch.randn(2, 5, 8, 8)
        assert torch.equal(AugmentPipe()(images, debug_percentile=0.3), images)

    def test_untouched_images_pass_bit_for_bit_beside_changed_ones(self):
        images = torch.randn(64, 1, 8, 8)
        changed = (pipe_of("rotate", "brightness", p=0.2)(images) != images).flatten(1).any(1)
        assert 5 < changed.sum() < 40

    def test_where_changed_equals_computing_all(self):
        images = torch.randn(4, 1, 2, 2, requires_grad=True)
        changed = torch.tensor([True, False, False, True])
        factor = torch.arange(4.0)[:, None, None, None]
        y = where_changed(changed, lambda x, f: x * f, images, factor)
        assert torch.equal(y, torch.where(changed[:, None, None, None], images * factor, images))
        (gradient,) = torch.autograd.grad(y.sum(), images)
        assert torch.equal(gradient.amax((1, 2, 3)), torch.tensor([0.0, 1, 1, 3]))


class TestFrequencies:
    """How often a transform is visible, against binomial bounds of 4.5 standard deviations."""

    N = 8000

    # With 8 px, xint shifts by round(U(-1, 1)): nothing in half of the draws of each axis. Half of the flips, a quarter
    # of the quarter turns are the identity too. The filter's four bands are drawn independently.
    def expected(self, name: str, p: float) -> float:
        if name == "imgfilter":
            return 1 - (1 - p) ** 4
        return p * {"xflip": 1 / 2, "rotate90": 3 / 4, "xint": 3 / 4, "lumaflip": 1 / 2}.get(name, 1)

    def count_changed(self, pipe: AugmentPipe) -> int:
        images = torch.randn(self.N, 3 if pipe.color.hue or pipe.color.saturation else 1, 8, 8)
        return (pipe(images) != images).flatten(1).any(1).sum().item()

    def assert_frequency(self, count: int, expected: float) -> None:
        assert abs(count / self.N - expected) < 4.5 * math.sqrt(expected * (1 - expected) / self.N)

    @pytest.mark.parametrize("name", ALL)
    def test_each_transform_acts_with_its_probability(self, name):
        self.assert_frequency(self.count_changed(pipe_of(name, p=0.3)), self.expected(name, 0.3))

    @pytest.mark.parametrize("name", ALL)
    def test_multipliers_scale_p(self, name):
        pipe = AugmentPipe(**{name: 0.25})
        pipe.p.fill_(0.6)
        self.assert_frequency(self.count_changed(pipe), self.expected(name, 0.15))

    def test_two_rotations_each_with_the_root_probability(self):
        """Only two rotations together turn by more than rotate_max, which they do in a quarter of the cases."""
        pipe = pipe_of("rotate", p=0.5, rotate_max=0.1)
        inverse = pipe.geometry.inverse(Draws(self.N, pipe.p), 8, 8)
        half_turns = torch.atan2(inverse[:, 1, 0], inverse[:, 0, 0]) / math.pi
        once = 1 - math.sqrt(1 - 0.5)
        self.assert_frequency((half_turns != 0).sum().item(), 0.5)
        self.assert_frequency((half_turns.abs() > 0.1).sum().item(), once**2 / 4)

    def test_transforms_are_drawn_independently(self):
        pipe = pipe_of("scale", "rotate", p=0.5)
        inverse = pipe.geometry.inverse(Draws(self.N, pipe.p), 8, 8)
        scaled = (torch.linalg.det(inverse) - 1).abs() > 1e-5
        turned = inverse[:, 0, 1] != 0
        self.assert_frequency((scaled & turned).sum().item(), 0.25)

    def test_p_above_1_means_always(self):
        images = torch.randn(50, 3, 8, 8)
        augmented = pipe_of("rotate", "hue", p=1.5)(images)
        assert augmented.isfinite().all()
        assert (augmented != images).flatten(1).any(1).all()

    def test_filter_bands_have_their_own_multipliers(self):
        pipe = pipe_of("imgfilter", p=0.3, imgfilter_bands=(0, 0, 1, 0))
        gains = pipe.filtering.gains(Draws(self.N, pipe.p))
        self.assert_frequency((gains != 1).any(1).sum().item(), 0.3)
        assert torch.equal(gains[:, 0], gains[:, 1])


class TestStrengths:
    """Spread of the drawn parameters: the goldens pin quantiles only."""

    N = 20_000

    def draws(self) -> Draws:
        return Draws(self.N, torch.tensor(1.0))

    def inverse(self, *names: str) -> torch.Tensor:
        return pipe_of(*names).geometry.inverse(self.draws(), 40, 80)

    def matrix(self, *names: str) -> torch.Tensor:
        return pipe_of(*names).color.matrix(self.draws(), chroma=True)

    def assert_normal(self, values: torch.Tensor, std: float) -> None:
        assert values.mean().abs() < 5 * std / math.sqrt(self.N)
        assert values.std().item() == pytest.approx(std, rel=0.03)
        assert (values.abs() < std).float().mean().item() == pytest.approx(0.6827, abs=0.02)

    def assert_uniform(self, values: torch.Tensor, largest: float) -> None:
        assert values.abs().max() <= largest
        assert values.std().item() == pytest.approx(largest / math.sqrt(3), rel=0.03)

    def test_scale(self):
        self.assert_normal(self.inverse("scale")[:, 0, 0].log2(), 0.2)

    def test_aniso_keeps_the_area(self):
        inverse = self.inverse("aniso")
        self.assert_normal(inverse[:, 0, 0].log2(), 0.2)
        torch.testing.assert_close(inverse[:, 0, 0] * inverse[:, 1, 1], torch.ones(self.N))

    def test_fractional_translation_is_relative_to_each_side(self):
        shift = self.inverse("xfrac")[:, :2, 2]
        self.assert_normal(shift[:, 0], 0.125 * 80)
        self.assert_normal(shift[:, 1], 0.125 * 40)

    def test_integer_translation_is_whole_pixels(self):
        shift = self.inverse("xint")[:, :2, 2]
        assert torch.equal(shift, shift.round())
        self.assert_uniform(shift[:, 0], 0.125 * 80)
        self.assert_uniform(shift[:, 1], 0.125 * 40)

    def test_quarter_turns_are_equally_likely(self):
        inverse = self.inverse("rotate90")
        quarters = (torch.atan2(inverse[:, 1, 0], inverse[:, 0, 0]) / (math.pi / 2)).round().long() % 4
        shares = torch.bincount(quarters, minlength=4) / self.N
        torch.testing.assert_close(shares, torch.full([4], 0.25), atol=0.015, rtol=0)

    def test_color(self):
        self.assert_normal(self.matrix("brightness")[:, 0, 3], 0.2)
        self.assert_normal(self.matrix("contrast")[:, 0, 0].log2(), 0.5)
        saturation = self.matrix("saturation")
        self.assert_normal((saturation[:, 0, 0] - saturation[:, 0, 1]).log2(), 1)
        hue = self.matrix("hue")
        cross = (hue[:, 1, 0] - hue[:, 0, 1]) * math.sqrt(3) / 2
        self.assert_uniform(torch.atan2(cross, (hue[:, 0, 0] * 3 - 1) / 2) / math.pi, 1)

    def test_filter_gains_keep_the_expected_power(self):
        pipe = pipe_of("imgfilter", imgfilter_bands=(0, 1, 0, 0))
        gains = pipe.filtering.gains(self.draws())
        self.assert_normal((gains[:, 1] / gains[:, 0]).log2(), 1)
        power = gains.square() @ (torch.tensor([10.0, 1, 1, 1]) / 13)
        torch.testing.assert_close(power, torch.ones(self.N))

    def test_noise_is_half_normal_in_strength_and_white(self):
        noise = pipe_of("noise")(torch.zeros(4000, 1, 16, 16))
        strength = noise.flatten(1).std(1)
        assert strength.mean().item() == pytest.approx(0.1 * math.sqrt(2 / math.pi), rel=0.05)
        assert strength.square().mean().item() == pytest.approx(0.01, rel=0.08)
        neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
        assert neighbours.abs() < 0.01

    def test_cutout_hides_at_most_a_quarter_anywhere(self):
        hidden = pipe_of("cutout")(torch.ones(4000, 1, 16, 16)) == 0
        per_image = hidden.flatten(1).sum(1)
        assert per_image.max() == 64
        assert per_image.min() >= 16
        share = hidden.float().mean(0)[0]
        assert share[8, 8].item() == pytest.approx(0.25, abs=0.035)
        assert share[0, 0].item() == pytest.approx((0.25 + 1 / 32) ** 2, abs=0.02)


class TestGeometry:
    def test_padding_is_enough(self):
        """A wider border changes nothing: the view never leaves the padded image while one reflection suffices."""
        pipe = pipe_of("scale", "rotate", "aniso", "xfrac")
        images = torch.randn(1, 1, 40, 48)
        compared = 0
        for _ in range(20):
            inverse = pipe.geometry.inverse(Draws(1, pipe.p), 40, 48)
            # A wider border of the whole image, cut from an image that is reflected beforehand.
            if max(padding_px(inverse, 40, 48, 6)) >= 39:
                continue
            wide = reflect(images, 39)
            torch.testing.assert_close(
                warp(images, inverse, pipe.Hz_geom),
                warp(wide, inverse, pipe.Hz_geom)[:, :, 39:-39, 39:-39],
                atol=5e-4,
                rtol=0,
            )
            compared += 1
        assert compared >= 10

    def test_the_largest_padding_of_other_devices_gives_the_same_samples(self):
        """To the same accuracy as above; also where the view reaches beyond one reflection, and in the gradients."""
        pipe = pipe_of(*BLIT_AND_GEOM, scale_std=0.6)
        beyond = 0
        for _ in range(10):
            images = torch.randn(3, 1, 12, 16, dtype=torch.float64, requires_grad=True)
            inverse = pipe.geometry.inverse(Draws(3, pipe.p), 12, 16).double()
            beyond += padding_px(inverse, 12, 16, 6) == (15, 15, 11, 11)
            results = []
            for moved in (
                warp(images, inverse, pipe.Hz_geom),
                warp_padded(images, inverse, pipe.Hz_geom, (15, 15, 11, 11)),
            ):
                (gradient,) = torch.autograd.grad(moved.square().sum() / 2, images, create_graph=True)
                (second,) = torch.autograd.grad(gradient.square().sum() / 2, images)
                results.append((moved, gradient, second))
            for small, large in zip(*results, strict=True):
                torch.testing.assert_close(small, large, rtol=0, atol=5e-4 * large.abs().max().item())
        assert beyond < 10, "in some cases the two paddings differ"

    def test_the_kernels_are_those_that_were_chosen(self, monkeypatch):
        seen = set()
        monkeypatch.setattr(kernels, "find", lambda choice, *where: seen.add(choice))
        pipe = pipe_of("scale")
        set_kernels(pipe, "reference")
        pipe(torch.randn(1, 1, 8, 8))
        assert seen == {"reference"}

    def test_direction_and_center(self):
        """A smooth blob lands where the affine map says, to a fraction of a pixel."""
        y, x = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
        blob = torch.exp(-((x - 30) ** 2 + (y - 12) ** 2) / 18)[None, None]
        pipe = pipe_of("scale", "rotate", "xfrac", rotate_max=0.3)
        inverse = pipe.geometry.inverse(Draws(1, pipe.p, percentile=0.6), 32, 48)
        moved = warp(blob, inverse, pipe.Hz_geom)[0, 0].clamp(min=0)
        center = torch.tensor([(moved * x).sum(), (moved * y).sum()]) / moved.sum()
        start = torch.tensor([30 - 23.5, 12 - 15.5, 1])
        expected = torch.linalg.inv(inverse[0]) @ start
        torch.testing.assert_close(center - torch.tensor([23.5, 15.5]), expected[:2], atol=0.1, rtol=0)

    def test_every_image_has_its_own_transform(self):
        images = torch.randn(1, 1, 16, 16).expand(6, -1, -1, -1)
        augmented = pipe_of("rotate")(images).flatten(1)
        assert torch.pdist(augmented).min() > 0.1

    @pytest.mark.parametrize("size", [(4, 4), (4, 8), (16, 12)])
    def test_small_and_oblong_images(self, size):
        images = torch.randn(3, 3, *size)
        augmented = pipe_of(*ALL)(images)
        assert augmented.shape == images.shape
        assert augmented.isfinite().all()


class TestColor:
    def test_gray_is_the_average_of_the_color_that_gray_becomes(self):
        gray = torch.rand(4, 1, 8, 8)
        matrix = pipe_of(*COLOR).color.matrix(Draws(4, torch.tensor(1.0)), chroma=True)
        colored = recolor(gray.expand(-1, 3, -1, -1), matrix)
        torch.testing.assert_close(recolor(gray, matrix), colored.mean(1, keepdim=True))

    def test_hue_and_saturation_leave_gray_alone(self):
        gray = torch.rand(4, 1, 8, 8)
        assert torch.equal(pipe_of("hue", "saturation")(gray), gray)

    def test_a_full_hue_turn_in_thirds_permutes_the_channels(self):
        third = torch.tensor([2 * math.pi / 3])
        matrix = around_gray(third.cos(), 1 - third.cos(), third.sin())
        images = torch.rand(1, 3, 4, 4)
        torch.testing.assert_close(recolor(images, matrix), images[:, [2, 0, 1]])

    @pytest.mark.parametrize("channels", [2, 4])
    def test_other_channel_counts_raise(self, channels):
        with pytest.raises(UserError, match=f"1 or 3 channels, these have {channels}"):
            pipe_of("brightness")(torch.zeros(1, channels, 8, 8))


class TestFiltering:
    def test_reflect_beyond_the_image_is_periodic(self):
        row = torch.arange(4.0).expand(1, 1, 4, 4)
        expected = torch.tensor([1.0, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2])
        assert torch.equal(reflect(row, 7)[0, 0, 0], expected)

    def test_unit_gains_are_the_identity(self):
        """With std 0 no band is amplified; with the smallest of gains nearly nothing happens."""
        images = torch.randn(2, 3, 16, 16)
        assert torch.equal(pipe_of("imgfilter", imgfilter_std=0)(images), images)
        torch.testing.assert_close(pipe_of("imgfilter", imgfilter_std=1e-6)(images), images, atol=1e-4, rtol=0)


class TestDerivatives:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("quantile", [0.3, 0.8])
    def test_whole_pipe(self, channels, quantile):
        pipe = pipe_of(*ALL)
        images = torch.randn(2, channels, 6, 6, dtype=torch.float64, requires_grad=True)

        def augment(x):
            torch.manual_seed(1)  # the noise
            return pipe(x, debug_percentile=quantile)

        assert gradcheck(augment, images, fast_mode=True)
        assert gradgradcheck(augment, images, fast_mode=True)

    def test_random_draws_with_some_images_untouched(self):
        pipe = pipe_of(*ALL, p=0.05)
        images = torch.randn(8, 1, 6, 6, dtype=torch.float64, requires_grad=True)

        def augment(x):
            torch.manual_seed(3)
            return pipe(x)

        untouched = (augment(images) == images).flatten(1).all(1)
        assert 0 < untouched.sum() < 8
        assert gradcheck(augment, images, fast_mode=True)
        assert gradgradcheck(augment, images, fast_mode=True)

    def test_gradient_penalty_reaches_the_weights(self):
        """R1 through the augmentation: the second derivative is that of a difference quotient."""
        pipe = pipe_of("scale", "rotate", "contrast", "imgfilter")
        images = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)

        def penalty(weight):
            logits = (pipe(images, debug_percentile=0.7) * weight).tanh().sum()
            (gradient,) = torch.autograd.grad(logits, images, create_graph=True)
            return gradient.square().sum()

        weight = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
        (ours,) = torch.autograd.grad(penalty(weight), weight)
        step = 1e-5
        quotient = (penalty(weight + step) - penalty(weight - step)) / (2 * step)
        torch.testing.assert_close(ours, quotient.detach(), rtol=1e-6, atol=0)


class TestSettings:
    def test_compose_is_the_matrix_product(self):
        a, b = torch.randn(2, 5, 3, 3)
        torch.testing.assert_close(compose(a, b), a @ b)

    def test_names(self):
        official = ["blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"]
        assert list(AUGMENT_PIPES) == [*official, "radiograph"]
        assert AUGMENT_PIPES["bgcfnc"] == dict.fromkeys(ALL, 1)
        assert AUGMENT_PIPES["bgc"] == dict.fromkeys((*BLIT_AND_GEOM, *COLOR), 1)

    @pytest.mark.parametrize("name", AUGMENT_PIPES)
    def test_every_pipe_augments_radiographs(self, name):
        images = torch.rand(4, 1, 16, 16) * 2 - 1
        augmented = make_augment_pipe(name)(images)
        assert augmented.shape == images.shape
        assert augmented.isfinite().all()
        assert not torch.equal(augmented, images)

    def test_the_radiograph_pipe_keeps_sides_upright_and_polarity(self):
        pipe = make_augment_pipe("radiograph")
        draws = Draws(5000, torch.tensor(1.0))
        inverse = pipe.geometry.inverse(draws, 64, 64)
        assert (torch.linalg.det(inverse) > 0).all()  # no mirror image
        assert torch.atan2(inverse[:, 1, 0], inverse[:, 0, 0]).rad2deg().abs().max() < 15
        assert (pipe.color.matrix(draws, chroma=False)[:, 0, 0] > 0).all()  # no inversion

    def test_an_unknown_name_raises(self):
        with pytest.raises(UserError, match=r"'bgx'; choose one of blit, .*, radiograph"):
            make_augment_pipe("bgx")

    @pytest.mark.parametrize("settings", [{"scale": -1}, {"noise_std": math.inf}, {"imgfilter_bands": (1, 1)}])
    def test_impossible_settings_raise(self, settings):
        with pytest.raises(UserError, match=next(iter(settings))):
            AugmentPipe(**settings)

    @pytest.mark.parametrize("images", [torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8)])
    def test_other_than_float_batches_raise(self, images):
        with pytest.raises(ValueError, match="images are floats"):
            pipe_of("scale")(images)

    def test_double_precision(self):
        images = torch.randn(4, 3, 8, 8)
        single = pipe_of(*ALL[:-2])(images, debug_percentile=0.3)
        double = pipe_of(*ALL[:-2]).double()(images.double(), debug_percentile=0.3)
        assert double.dtype == torch.float64
        assert_golden(single, double, 1e-5)

    @pytest.mark.parametrize("quantile", [0, 1, 1.5])
    def test_an_impossible_percentile_raises(self, quantile):
        with pytest.raises(ValueError, match="between 0 and 1"):
            pipe_of("scale")(torch.zeros(1, 1, 8, 8), debug_percentile=quantile)
