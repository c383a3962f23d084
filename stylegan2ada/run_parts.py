"""The parts of a run that change while it trains, and all of that as one tree, to go on from."""

from dataclasses import dataclass

import torch

from .ada import AdaController
from .errors import UserError
from .follower import Follower
from .networks import Networks
from .optimizer_steps import SkippingSteps
from .real_batches import RealBatches
from .recorder import Recorder
from .training_state import TrainingState
from .updates import DiscriminatorUpdate, FakeSampler, GeneratorUpdate


@dataclass
class RunParts:
    """The parts of a run that have a state, and where it stands. images_seen: reals shown to D. steps: of each network.
    next_tick: images at which statistics are due."""

    networks: Networks
    reals: RealBatches
    fakes: FakeSampler
    update_generator: GeneratorUpdate
    update_discriminator: DiscriminatorUpdate
    ada: AdaController | None
    skips: SkippingSteps | None
    device: torch.device
    fingerprint: str
    next_tick: float
    images_seen: int = 0
    steps: int = 0

    @property
    def kimg(self) -> float:
        return self.images_seen / 1000

    def state_dict(self, recorder: Recorder | Follower, at_snapshot: bool) -> dict:
        """All of it but the networks, the same in all processes but for the recorder's. at_snapshot: its grid and
        callbacks are due when the run goes on."""
        return {
            "at_snapshot": at_snapshot,
            "fingerprint": self.fingerprint,
            "images_seen": self.images_seen,
            "steps": self.steps,
            "next_tick": self.next_tick,
            "reals": self.reals.position,
            "generator_update": self.update_generator.state_dict(),
            "discriminator_update": self.update_discriminator.state_dict(),
            "ada": None if self.ada is None else self.ada.state_dict(),
            "skips": None if self.skips is None else self.skips.state_dict(),
            "recorder": recorder.state_dict(self.kimg),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def restore(self, saved: TrainingState) -> None:
        """Puts all of it back to where it was.

        Raises:
            UserError: the state is not one of such a run, though the file is whole.
        """
        try:
            self._restore(saved)
        except (KeyError, TypeError, ValueError, RuntimeError, UserError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{saved.path} is not a training state of this run or version ({reason}); start a new run from a "
                "network-snapshot-*.safetensors"
            ) from error

    def _restore(self, saved: TrainingState) -> None:
        tree = saved.tree
        self.networks.restore(saved.networks)
        self.images_seen, self.steps, self.next_tick = tree["images_seen"], tree["steps"], tree["next_tick"]
        self.update_generator.load_state_dict(tree["generator_update"])
        self.update_discriminator.load_state_dict(tree["discriminator_update"])
        for part, state in ((self.ada, tree["ada"]), (self.skips, tree["skips"])):
            if part is not None and state is not None:
                part.load_state_dict(state)
        torch.set_rng_state(tree["random"])
        if self.device.type == "cuda" and tree["random_cuda"] is not None:
            torch.cuda.set_rng_state(tree["random_cuda"], self.device)
