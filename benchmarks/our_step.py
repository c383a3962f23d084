"""Our own phases for the step benchmark: the updates of a run, set up by the code of stylegan2ada.loop itself."""

import dataclasses
import itertools
import statistics

import torch

from stylegan2ada.cuda_graphs import run_eagerly
from stylegan2ada.execution_choice import choose_execution
from stylegan2ada.loop import _no_augmentation, _set_backend_flags
from stylegan2ada.networks import make_networks
from stylegan2ada.ops.kernels import describe
from stylegan2ada.updates import FakeSampler, GeneratorUpdate, PlainDiscriminatorUpdate

from .step_setup import Seconds, StepSetup, count_parameters, random_reals, timed

INTERVAL = 2  # so many steps from one regulariser to the next, here for both: each is timed every second step
PHASE_NAMES = {
    "generator loss": "Gmain",
    "path length regularisation": "Greg",
    "discriminator loss": "Dmain",
    "R1 regularisation": "Dreg",
}


class OurSteps:
    def __init__(self, setup: StepSetup):
        config = setup.training_config()
        device = self._device = torch.device(setup.device)
        _set_backend_flags(config, device)
        networks = make_networks(config, device)
        G, D = networks.G, networks.D
        self.num_parameters = count_parameters(G, D)
        self.facts = [describe(setup.kernels, device)]
        augment = networks.augment_pipe if config.augment.mode != "noaug" else _no_augmentation
        reals = random_reals(config, device)
        self._fakes = FakeSampler(G, reals[1], config.loss.style_mixing_prob, device)
        for_G, for_D, self._skips = choose_execution(config, device, (), print)
        if device.type == "cuda":
            self.facts.append("CUDA graphs" if setup.cuda_graphs else "no CUDA graphs")
        if not setup.cuda_graphs:
            for_G, for_D = for_G._replace(run_phase=run_eagerly), for_D._replace(run_phase=run_eagerly)
        self._seconds: dict[str, list[float]] = {}
        for_G, for_D = (execution._replace(run_phase=self._timing(execution.run_phase)) for execution in (for_G, for_D))
        loss = dataclasses.replace(config.loss, pl_interval=INTERVAL, r1_interval=INTERVAL)
        self._update_generator = GeneratorUpdate(
            G, D, augment, self._fakes, config.batch_size, loss, config.optimizer, execution=for_G
        )
        self._update_discriminator = PlainDiscriminatorUpdate(
            D, augment, itertools.repeat(reals), loss, config.optimizer, execution=for_D
        )

    def measure(self, repeats: int) -> Seconds:
        """A main phase has, besides its own time, that of all else in its step."""
        result: dict[str, list[float]] = {phase: [] for phase in PHASE_NAMES.values()}
        for _ in range(repeats * INTERVAL):
            for main, regulariser, step in (
                ("Gmain", "Greg", self._update_generator.step),
                ("Dmain", "Dreg", lambda: self._update_discriminator.step(self._fakes.draw_images)),
            ):
                self._seconds = {}
                whole = timed(step, self._device)[0]
                if regulariser in self._seconds:
                    result[regulariser].append(self._seconds[regulariser])
                result[main].append(whole - self._seconds.get(regulariser, 0.0))
        if self._skips is not None:
            self._skips.check()  # the device left out what was not finite; such a step is no measurement
        return {phase: statistics.median(values) for phase, values in result.items()}

    def _timing(self, run_phase):
        """`run_phase`, with its time noted."""

        def run(name, function, *inputs):
            sec, result = timed(lambda: run_phase(name, function, *inputs), self._device)
            self._seconds[PHASE_NAMES[name]] = sec
            return result

        return run
