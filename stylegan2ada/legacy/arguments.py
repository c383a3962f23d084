"""Constructor arguments of the official networks <-> our settings.

The official constructors take more than our settings say. What differs from the value every official configuration
has is refused by name: a network with it would compute something else.
"""

import inspect
from collections.abc import Mapping

from stylegan2ada.augment import AUGMENT_PIPES, AugmentPipe
from stylegan2ada.config import TrainingConfig
from stylegan2ada.errors import UserError
from stylegan2ada.generator import channels_at

from .machine import quoted

LARGEST_NUMBER = 2**40
OPTIONAL_NUMBER = (int, float, type(None))


class Arguments:
    """The arguments of one constructor: each is taken once, and none may be left."""

    def __init__(self, where: str, values: Mapping[str, object]):
        self._where, self._values = where, dict(values)

    def take(self, name: str, kinds: type | tuple[type, ...], default: object = None) -> object:
        """The value of argument `name`, which must be exactly of one of `kinds`; `default` where it is not given."""
        value = self._values.pop(name, default)
        if type(value) not in (kinds if isinstance(kinds, tuple) else (kinds,)):
            raise UserError(f"is damaged: {self._where}.{name} is {quoted(value)}")
        if isinstance(value, int | float) and not abs(value) < LARGEST_NUMBER:  # a NaN neither
            raise UserError(f"is damaged: {self._where}.{name} is no usual number")
        return value

    def nested(self, name: str) -> "Arguments":
        return Arguments(f"{self._where}.{name}", self.take(name, dict, {}))

    def expect(self, **accepted: object) -> None:
        """Each argument must be absent or have the value given here."""
        for name, value in accepted.items():
            if name in self._values:
                found = self._values.pop(name)
                if not _is_plain(found) or found != value:
                    raise self._unsupported(name)

    def close(self) -> None:
        for name in self._values:
            raise self._unsupported(name)

    def _unsupported(self, name: str) -> UserError:
        return UserError(
            f"has an architecture that is not supported: {self._where} was made with {quoted(name)} other than "
            "StyleGAN2-ADA's configurations have it"
        )


def read_generator(where: str, values: Mapping[str, object]) -> tuple[dict, dict]:
    """(facts of the images, facts of the network) by the names of DataConfig and NetworkConfig."""
    arguments = Arguments(where, values)
    network = {name: arguments.take(name, int) for name in ("z_dim", "w_dim")}
    data = _read_images(arguments)
    mapping, synthesis = arguments.nested("mapping_kwargs"), arguments.nested("synthesis_kwargs")
    network["mapping_layers"] = mapping.take("num_layers", int, 8)
    _expect_plain_mapping(mapping, network["w_dim"])
    network |= _read_sizes(synthesis)
    network["g_architecture"] = synthesis.take("architecture", str, "skip")
    synthesis.expect(resample_filter=[1, 3, 3, 1], kernel_size=3, activation="lrelu", use_noise=True)
    synthesis.take("fp16_channels_last", bool, False)  # the order in memory
    for part in (arguments, mapping, synthesis):
        part.close()
    return data, network


def read_discriminator(where: str, values: Mapping[str, object]) -> tuple[dict, dict]:
    """(facts of the images, facts of the network) by the names of DataConfig and NetworkConfig."""
    arguments = Arguments(where, values)
    data, network = _read_images(arguments), _read_sizes(arguments)
    network["d_architecture"] = arguments.take("architecture", str, "resnet")
    blocks, epilogue = arguments.nested("block_kwargs"), arguments.nested("epilogue_kwargs")
    network["freeze_layers"] = blocks.take("freeze_layers", int, 0)
    blocks.expect(resample_filter=[1, 3, 3, 1], activation="lrelu")
    blocks.take("fp16_channels_last", bool, False)
    network["mbstd_group_size"] = epilogue.take("mbstd_group_size", int, 4)
    epilogue.expect(mbstd_num_channels=1, activation="lrelu")
    cmap_dim = channels_at(4, network["channel_base"], network["channel_max"])
    if arguments.take("cmap_dim", (int, type(None))) not in (None, cmap_dim):
        raise UserError(f"has an architecture that is not supported: {where}.cmap_dim is not {cmap_dim}")
    mapping = arguments.nested("mapping_kwargs")
    mapping.expect(num_layers=8)
    _expect_plain_mapping(mapping, cmap_dim)
    for part in (arguments, blocks, epilogue, mapping):
        part.close()
    return data, network


def read_augment_pipe(values: Mapping[str, object]) -> str | None:
    """The name of the pipe with these arguments, None where none of ours has them."""
    if not all(_is_plain(value) for value in values.values()):
        return None
    given = {name: tuple(value) if type(value) is list else value for name, value in values.items()}
    defaults = {name: parameter.default for name, parameter in inspect.signature(AugmentPipe).parameters.items()}
    same = (name for name, pipe in AUGMENT_PIPES.items() if defaults | given == defaults | pipe)
    return next(same, None)


def generator_arguments(config: TrainingConfig) -> dict:
    """What the official Generator is made with. Nothing is left to its defaults, which differ between versions."""
    data, network = config.data, config.network
    return {
        "z_dim": network.z_dim,
        "c_dim": data.num_classes,
        "w_dim": network.w_dim,
        "img_resolution": data.resolution_px,
        "img_channels": data.num_channels,
        "mapping_kwargs": {"num_layers": network.mapping_layers},
        "synthesis_kwargs": {**_sizes(config), "architecture": network.g_architecture},
    }


def discriminator_arguments(config: TrainingConfig) -> dict:
    """What the official Discriminator is made with."""
    data, network = config.data, config.network
    return {
        "c_dim": data.num_classes,
        "img_resolution": data.resolution_px,
        "img_channels": data.num_channels,
        "architecture": network.d_architecture,
        **_sizes(config),
        "block_kwargs": {"freeze_layers": network.freeze_layers},
        "mapping_kwargs": {},
        "epilogue_kwargs": {"mbstd_group_size": network.mbstd_group_size},
    }


def _is_plain(value: object) -> bool:
    """A number, text, None, or a list of such: what can be compared without surprise."""
    items = value if type(value) in (list, tuple) else [value]
    return all(type(item) in (int, float, bool, str, type(None)) for item in items)


def _sizes(config: TrainingConfig) -> dict:
    network = config.network
    return {
        "channel_base": network.channel_base,
        "channel_max": network.channel_max,
        "num_fp16_res": network.num_fp16_res,
        "conv_clamp": network.conv_clamp,
    }


def _read_sizes(arguments: Arguments) -> dict:
    return {
        "channel_base": arguments.take("channel_base", int, 32768),
        "channel_max": arguments.take("channel_max", int, 512),
        "num_fp16_res": arguments.take("num_fp16_res", int, 0),
        "conv_clamp": arguments.take("conv_clamp", OPTIONAL_NUMBER),
    }


def _read_images(arguments: Arguments) -> dict:
    return {
        "num_classes": arguments.take("c_dim", int),
        "resolution_px": arguments.take("img_resolution", int),
        "num_channels": arguments.take("img_channels", int),
    }


def _expect_plain_mapping(mapping: Arguments, width: int) -> None:
    mapping.expect(activation="lrelu", lr_multiplier=0.01, w_avg_beta=0.995)
    for name in ("embed_features", "layer_features"):
        if mapping.take(name, (int, type(None))) not in (None, width):
            raise UserError(f"has an architecture that is not supported: {name} of a mapping network is not {width}")
