"""Adam's moments out of an optimiser and back, for a run that is continued.

torch's own `load_state_dict` keeps the memory layout of what it is given; a saved tensor is contiguous, weights are
channels-last, and Adam's fused kernel takes for granted that a weight and its moments lie alike in memory.
"""

import torch

from .errors import UserError


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, torch.Tensor]]:
    """By position of the parameter: its step counter and moments. The settings are those of the run, not the file's."""
    return {str(index): dict(optimizer.state[parameter]) for index, parameter in enumerate(_parameters(optimizer))}


@torch.no_grad()
def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, dict[str, torch.Tensor]]) -> None:
    """Puts the result of `optimizer_state` into an optimiser of the same parameters.

    Raises:
        UserError: it is of other parameters.
    """
    parameters = _parameters(optimizer)
    if set(state) != {str(index) for index in range(len(parameters))}:
        raise UserError(f"the saved optimiser has {len(state)} parameters, this run's has {len(parameters)}")
    for index, parameter in enumerate(parameters):
        optimizer.state[parameter] = {
            name: _like(parameter, tensor, f"{name} of parameter {index}")
            for name, tensor in state[str(index)].items()
        }


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _like(parameter: torch.Tensor, tensor: torch.Tensor, what: str) -> torch.Tensor:
    """A moment in the layout and on the device of its parameter; the step counter is a scalar."""
    if tensor.ndim == 0:
        return tensor.to(parameter.device, copy=True)
    if tensor.shape != parameter.shape:
        raise UserError(f"the saved optimiser's {what} is {tuple(tensor.shape)}, not {tuple(parameter.shape)}")
    return torch.zeros_like(parameter, memory_format=torch.preserve_format).copy_(tensor)
