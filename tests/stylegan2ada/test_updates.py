"""One step of each network: what moves, by which numbers, and that nothing moves on a NaN."""

import copy
import itertools

import pytest
import torch
from torch import nn

from stylegan2ada import losses
from stylegan2ada.config import LossConfig, OptimizerConfig
from stylegan2ada.discriminator import Discriminator
from stylegan2ada.errors import NonFiniteError
from stylegan2ada.generator import Generator
from stylegan2ada.optimizer_steps import make_optimizer
from stylegan2ada.updates import (
    EAGER,
    Execution,
    FakeSampler,
    GeneratorTerm,
    GeneratorUpdate,
    PlainDiscriminatorUpdate,
    frozen,
)

BATCH, RESOLUTION = 4, 8
CPU = torch.device("cpu")
OPTIMIZER = OptimizerConfig(learning_rate=0.01)


class Setup:
    """Tiny networks and the updates on them; the same numbers for the same `seed`."""

    def __init__(self, terms=(), loss=None, seed=0, frozen_layers=0, execution=EAGER):
        torch.manual_seed(seed)
        sizes = {"channel_base": 64, "channel_max": 4}
        self.loss = loss or LossConfig(r1_gamma=2.0)
        self.G = Generator(6, 2, 6, RESOLUTION, 1, {"num_layers": 2}, sizes)
        self.D = Discriminator(
            2, RESOLUTION, 1, block_kwargs={"freeze_layers": frozen_layers}, mapping_kwargs={"num_layers": 1}, **sizes
        )
        self.labels = torch.eye(2)[torch.tensor([0, 0, 0, 1])]
        self.fakes = FakeSampler(self.G, self.labels, self.loss.style_mixing_prob, CPU)
        images = torch.randn(5, BATCH, 1, RESOLUTION, RESOLUTION)
        self.reals = itertools.cycle([(batch, self.labels) for batch in images])
        self.update_G = GeneratorUpdate(
            self.G, self.D, _same, self.fakes, BATCH, self.loss, OPTIMIZER, terms, execution
        )
        self.update_D = PlainDiscriminatorUpdate(self.D, _same, self.reals, self.loss, OPTIMIZER, execution)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.update_G.step()
            self.update_D.step(self.fakes.draw_images)


def _same(images: torch.Tensor) -> torch.Tensor:
    return images


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def changed(module: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def parameters(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_parameters()}


class TestMakeOptimizer:
    def test_lazy_regularisation_corrects_rate_and_betas(self):
        """StyleGAN2, appendix B: c = k / (k + 1); learning rate c * lr, betas beta^c."""
        optimizer = make_optimizer(nn.Linear(1, 1), OptimizerConfig(0.0025, 0.5, 0.99), 16)
        group = optimizer.param_groups[0]
        assert group["lr"] == pytest.approx(0.0025 * 16 / 17)
        assert group["betas"] == pytest.approx((0.5 ** (16 / 17), 0.99 ** (16 / 17)))
        assert group["eps"] == 1e-8

    def test_no_regulariser_no_correction(self):
        group = make_optimizer(nn.Linear(1, 1), OptimizerConfig(0.002), 0).param_groups[0]
        assert (group["lr"], group["betas"]) == (0.002, (0.0, 0.99))

    def test_the_two_networks_use_their_own_interval(self):
        networks = Setup(loss=LossConfig(r1_interval=16, pl_interval=4))
        assert networks.update_G._optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 4 / 5)
        assert networks.update_D._optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 16 / 17)

    def test_frozen_parameters_are_left_out(self):
        D = Setup(frozen_layers=2).D
        optimizer = make_optimizer(D, OPTIMIZER, 16)
        assert len(optimizer.param_groups[0]["params"]) == len(parameters(D)) - 4  # two weights, two biases


class TestFakeSampler:
    def test_images_have_no_graph_and_the_mean_of_w_moves(self):
        networks = Setup()
        images, c = networks.fakes.draw_images(3)
        assert images.shape == (3, 1, RESOLUTION, RESOLUTION)
        assert not images.requires_grad
        assert c.shape == (3, 2)
        assert networks.G.mapping.w_avg.any()

    def test_labels_come_with_the_frequencies_of_the_training_set(self):
        _, c = Setup().fakes.draw_ws(2000)
        assert c.mean(0)[1].item() == pytest.approx(0.25, abs=0.04)
        assert (c.sum(1) == 1).all()


class TestWhatMoves:
    def test_the_generators_step_moves_g_alone(self):
        networks = Setup()
        before_G, before_D = state(networks.G), state(networks.D)
        networks.update_G.step()
        moved = changed(networks.G, before_G)
        assert moved == parameters(networks.G) | {"mapping.w_avg"}
        assert changed(networks.D, before_D) == set()
        assert all(p.grad is None for p in networks.D.parameters())

    def test_the_discriminators_step_moves_d_alone(self):
        networks = Setup()
        before_G, before_D = state(networks.G), state(networks.D)
        networks.update_D.step(networks.fakes.draw_images)
        assert changed(networks.D, before_D) == parameters(networks.D)
        assert changed(networks.G, before_G) == {"mapping.w_avg"}
        assert all(p.grad is None for p in networks.G.parameters())

    def test_frozen_layers_never_move(self):
        networks = Setup(frozen_layers=2)
        before = state(networks.D)
        networks.run(3)
        moved = changed(networks.D, before)
        assert not any(name.startswith(("b8.fromrgb", "b8.conv0")) for name in moved)
        assert "b8.conv1.weight" in moved

    def test_g_gives_d_back_as_it_was(self):
        """Another discriminator update need not know that G's step froze D."""
        networks = Setup(frozen_layers=1)
        wanted = {name: p.requires_grad for name, p in networks.D.named_parameters()}
        networks.update_G.step()
        assert {name: p.requires_grad for name, p in networks.D.named_parameters()} == wanted
        with pytest.raises(RuntimeError, match="boom"), frozen(networks.D):
            assert not any(p.requires_grad for p in networks.D.parameters())
            raise RuntimeError("boom")
        assert {name: p.requires_grad for name, p in networks.D.named_parameters()} == wanted


class TestNumbers:
    def test_the_generators_first_step(self):
        """Adam's first step moves a weight by lr * g / (|g| + eps'): compare with the gradient by hand."""
        loss = LossConfig(pl_interval=0, style_mixing_prob=0)
        networks, twin = Setup(loss=loss), Setup(loss=loss)
        before = state(networks.G)
        torch.manual_seed(1)
        report = networks.update_G.step()
        torch.manual_seed(1)
        ws, c = twin.fakes.draw_ws(BATCH)
        logits = twin.D(twin.G.synthesis(ws), c)
        expected = losses.generator_loss(logits)
        assert torch.equal(report["Loss/G/loss"], expected)
        assert torch.equal(report["Loss/signs/fake"], logits.sign())
        name = "synthesis.b8.conv0.weight"
        (gradient,) = torch.autograd.grad(expected.mean(), dict(twin.G.named_parameters())[name])
        beta2 = OPTIMIZER.beta2
        step = gradient / ((gradient.square() * (1 - beta2)).sqrt() / (1 - beta2) ** 0.5 + OPTIMIZER.eps)
        moved = dict(networks.G.named_parameters())[name] - before[name]
        torch.testing.assert_close(moved, -OPTIMIZER.learning_rate * step, rtol=1e-3, atol=1e-6)

    def test_the_discriminators_losses(self):
        networks, twin = Setup(), Setup()
        torch.manual_seed(1)
        step = networks.update_D.step(networks.fakes.draw_images)
        torch.manual_seed(1)
        (images, c), (fake_images, fake_c) = next(twin.reals), twin.fakes.draw_images(BATCH)
        fake_logits, real_logits = twin.D(fake_images, fake_c), twin.D(images, c)
        assert step.num_images == BATCH
        torch.testing.assert_close(step.real_logits, real_logits.detach())
        assert not step.real_logits.requires_grad
        expected = losses.fake_loss(fake_logits).mean() + losses.real_loss(real_logits).mean()
        torch.testing.assert_close(step.report["Loss/D/loss"].mean(), expected.detach())

    def test_the_regularisers_gradients_are_weighted_by_gamma_and_interval(self):
        """Dr1 = gamma / 2 * penalty * interval; Gpl = weight * (length - mean)^2 * interval."""
        seen = {}

        def record(optimizer, loss, network, phase):
            seen[phase] = loss.item()
            return torch.zeros([])

        loss = LossConfig(r1_gamma=3.0, r1_interval=16, pl_interval=4, pl_weight=2.0)
        networks = Setup(loss=loss, execution=Execution(optimizer_step=record))
        report = networks.update_D.step(networks.fakes.draw_images).report
        assert seen["R1 regularisation"] == pytest.approx(report["Loss/D/r1_penalty"].mean().item() * 3 / 2 * 16)
        report = networks.update_G.step()
        lengths = report["Loss/G/path_length"]
        assert len(lengths) == BATCH // 2, "path length regularisation takes half a batch"
        penalty = (lengths - 0.01 * lengths.mean()).square().mean()
        assert seen["path length regularisation"] == pytest.approx(penalty.item() * 2 * 4, rel=1e-5)

    def test_the_mean_path_length_follows_with_its_decay(self):
        networks = Setup(loss=LossConfig(pl_interval=1, pl_decay=0.25))
        expected = 0.0
        for _ in range(3):
            lengths = networks.update_G.step()["Loss/G/path_length"]
            expected += 0.25 * (lengths.mean().item() - expected)
        assert networks.update_G.state_dict()["pl_mean"].item() == pytest.approx(expected, rel=1e-5)

    def test_regularisers_run_lazily(self):
        networks = Setup(loss=LossConfig(r1_interval=3, pl_interval=2))
        r1, pl = [], []
        for _ in range(6):
            pl.append("Loss/G/path_length" in networks.update_G.step())
            r1.append("Loss/D/r1_penalty" in networks.update_D.step(networks.fakes.draw_images).report)
        assert r1 == [True, False, False, True, False, False]
        assert pl == [True, False, True, False, True, False]

    def test_an_interval_of_zero_switches_a_regulariser_off(self):
        networks = Setup(loss=LossConfig(r1_interval=0, pl_interval=0))
        assert "Loss/G/path_length" not in networks.update_G.step()
        assert "Loss/D/r1_penalty" not in networks.update_D.step(networks.fakes.draw_images).report

    def test_a_weight_of_zero_takes_no_step(self):
        """Adam with zero gradients would still count a step and let its second moments decay."""
        networks = Setup(loss=LossConfig(r1_gamma=0.0, pl_weight=0.0))
        assert "Loss/G/path_length" not in networks.update_G.step()
        assert "Loss/D/r1_penalty" not in networks.update_D.step(networks.fakes.draw_images).report
        for update in (networks.update_G, networks.update_D):
            assert {state["step"].item() for state in update._optimizer.state.values()} == {1}

    def test_r1_sees_the_reals_of_the_same_step_and_goes_through_the_augmentation(self):
        """With an augmentation that halves the image, D's gradient by the image before it is halved."""
        networks, twin = Setup(), Setup()
        networks.update_D._augment = lambda images: images / 2
        networks.update_D._main = lambda fakes, images, c: {"Loss/scores/real": torch.zeros(len(images), 1)}  # D stays
        penalty = networks.update_D.step(networks.fakes.draw_images).report["Loss/D/r1_penalty"]
        images, c = next(twin.reals)
        images = images.requires_grad_()
        torch.testing.assert_close(penalty, losses.r1_penalty(images, twin.D(images / 2, c)))


def plain_training(steps: int) -> Setup:
    """StyleGAN2-ADA's step written out from the public pieces, without any extension point."""
    networks = Setup()
    G, D, loss = networks.G, networks.D, networks.loss
    adam_G = make_optimizer(G, OPTIMIZER, loss.pl_interval)
    adam_D = make_optimizer(D, OPTIMIZER, loss.r1_interval)
    pl_mean = torch.zeros([])

    def descend(adam, value):
        adam.zero_grad(set_to_none=False)  # a regulariser leaves zeros where it does not reach
        value.backward()
        adam.step()

    for step in range(steps):
        D.requires_grad_(False)
        ws, c = networks.fakes.draw_ws(BATCH)
        descend(adam_G, losses.generator_loss(D(G.synthesis(ws), c)).mean())
        if step % loss.pl_interval == 0:
            ws, _ = networks.fakes.draw_ws(BATCH // 2)
            images = G.synthesis(ws)
            lengths = losses.path_lengths(images, ws, torch.randn_like(images))
            mean = pl_mean.lerp(lengths.mean(), loss.pl_decay)
            pl_mean = mean.detach()
            descend(adam_G, (lengths - mean).square().mean() * loss.pl_weight * loss.pl_interval)
        D.requires_grad_(True)
        images, c = next(networks.reals)
        with torch.no_grad():
            ws, fake_c = networks.fakes.draw_ws(BATCH)
            fake = G.synthesis(ws)
        fake_logits, real_logits = D(torch.cat([fake, images]), torch.cat([fake_c, c]), num_batches=2).chunk(2)
        descend(adam_D, losses.fake_loss(fake_logits).mean() + losses.real_loss(real_logits).mean())
        if step % loss.r1_interval == 0:
            images = images.detach().requires_grad_()
            penalty = losses.r1_penalty(images, D(images, c)).mean()
            descend(adam_D, penalty * (loss.r1_gamma / 2 * loss.r1_interval))
    return networks


def never(images, labels):
    raise AssertionError("a term of weight 0 is not computed")


class TestTerms:
    @pytest.mark.parametrize("terms", [(), (GeneratorTerm("off", 0.0, never),)], ids=["none", "weight 0"])
    def test_switched_off_equals_a_plain_loop_bit_for_bit(self, terms):
        steps = 18  # past the second R1 step
        plain, ours = plain_training(steps), Setup(terms)
        ours.run(steps)
        assert changed(ours.G, state(plain.G)) == set()
        assert changed(ours.D, state(plain.D)) == set()

    def test_a_terms_gradient_arrives_in_g(self):
        """Gmain alone against Gmain plus a brightness term: the gradients differ by weight * the term's own."""
        loss = LossConfig(pl_interval=0, style_mixing_prob=0)

        def brightness(images, labels):
            assert images.shape == (BATCH, 1, RESOLUTION, RESOLUTION)
            assert images.requires_grad
            assert labels.shape == (BATCH, 2)
            return images.mean([1, 2, 3])

        gradients = []
        for terms in ((), (GeneratorTerm("brightness", 0.5, brightness),)):
            networks = Setup(terms, loss)
            torch.manual_seed(1)
            report = networks.update_G.step()
            gradients.append(networks.G.synthesis.b8.torgb.bias.grad.clone())
        assert (gradients[1] - gradients[0]).item() == pytest.approx(0.5, abs=1e-5)  # d mean / d bias = 1
        assert report["Loss/G/brightness"].shape == (BATCH,)

    def test_terms_add_up_and_see_images_before_augmentation(self):
        seen = []
        term = GeneratorTerm("a", 1.0, lambda images, labels: seen.append(images) or images.mean([1, 2, 3]))
        networks = Setup((term, term._replace(name="b")))
        networks.update_G._augment = torch.zeros_like
        networks.update_G.step()
        assert len(seen) == 2
        assert torch.equal(*seen)
        assert seen[0].any()

    @pytest.mark.parametrize("shape", [(BATCH, 1), ()], ids=["column", "scalar"])
    def test_a_term_of_another_shape_raises(self, shape):
        """Added to (N,) it would broadcast into another loss without a word."""
        networks = Setup((GeneratorTerm("odd", 1.0, lambda images, labels: torch.zeros(shape)),))
        with pytest.raises(ValueError, match=r"generator term 'odd' returned shape .* one loss per image"):
            networks.update_G.step()


class TestNonFinite:
    def test_a_poisoned_parameter_of_g(self):
        networks = Setup()
        networks.G.synthesis.b4.conv1.bias.data[1] = float("nan")
        before_G, before_D = state(networks.G), state(networks.D)
        with pytest.raises(NonFiniteError, match=r"generator loss: the gradient of .*synthesis\.b4"):
            networks.update_G.step()
        assert changed_beyond_nan(networks.G, before_G) <= {"mapping.w_avg"}
        assert changed(networks.D, before_D) == set()

    def test_a_poisoned_parameter_of_d(self):
        networks = Setup()
        networks.D.b8.conv1.bias.data[0] = float("inf")
        before = state(networks.D)
        with pytest.raises(NonFiniteError, match=r"discriminator loss: the gradient of b8\."):
            networks.update_D.step(networks.fakes.draw_images)
        assert changed_beyond_nan(networks.D, before) == set()

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_term(self, value):
        networks = Setup((GeneratorTerm("bad", 1.0, lambda images, labels: images.mean([1, 2, 3]) * value),))
        before = state(networks.G)
        with pytest.raises(NonFiniteError, match="generator loss: the gradient of synthesis"):
            networks.update_G.step()
        assert changed(networks.G, before) <= {"mapping.w_avg"}

    def test_a_loss_that_has_no_bad_gradient(self):
        """Infinite by a constant: the gradients are finite, the loss is not."""
        networks = Setup((GeneratorTerm("bad", 1.0, lambda images, labels: torch.full([BATCH], float("inf"))),))
        before = state(networks.G)
        with pytest.raises(NonFiniteError, match="generator loss: the loss is not finite"):
            networks.update_G.step()
        assert changed(networks.G, before) <= {"mapping.w_avg"}

    def test_a_poisoned_real_image(self):
        networks = Setup()
        images, labels = next(networks.reals)
        images[0, 0, 0, 0] = float("nan")
        networks.update_D._real_batches = iter([(images, labels)])
        before = state(networks.D)
        with pytest.raises(NonFiniteError, match="discriminator loss"):
            networks.update_D.step(networks.fakes.draw_images)
        assert changed(networks.D, before) == set()

    @pytest.mark.parametrize(
        ("phase", "poison"),
        [("R1 regularisation", "r1_penalty"), ("path length regularisation", "path_lengths")],
    )
    def test_the_phase_is_named(self, monkeypatch, phase, poison):
        networks, original = Setup(), getattr(losses, poison)
        monkeypatch.setattr(losses, poison, lambda *inputs: original(*inputs) * float("nan"))
        with pytest.raises(NonFiniteError, match=phase):
            networks.run(1)


def changed_beyond_nan(module: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """As `changed`, a NaN being equal to a NaN."""
    after = module.state_dict()
    return {name for name in after if not torch.equal(after[name].nan_to_num(7), before[name].nan_to_num(7))}


class TestState:
    def test_an_update_restored_from_its_state_goes_on_bit_for_bit(self):
        whole, first = Setup(), Setup()
        torch.manual_seed(3)
        whole.run(6)
        torch.manual_seed(3)
        first.run(3)
        random = torch.get_rng_state()
        second = Setup(seed=9)
        for name in ("G", "D"):
            getattr(second, name).load_state_dict(state(getattr(first, name)))
            update = copy.deepcopy(getattr(first, f"update_{name}").state_dict())
            getattr(second, f"update_{name}").load_state_dict(update)
        second.update_D._real_batches = first.reals
        torch.set_rng_state(random)
        second.run(3)
        assert changed(second.G, state(whole.G)) == set()
        assert changed(second.D, state(whole.D)) == set()

    def test_d_takes_batches_of_varying_size(self):
        networks = Setup()
        images, labels = next(networks.reals)
        networks.update_D._real_batches = iter([(images[:2], labels[:2]), (images, labels)])
        sizes = [networks.update_D.step(networks.fakes.draw_images).num_images for _ in range(2)]
        assert sizes == [2, 4]
