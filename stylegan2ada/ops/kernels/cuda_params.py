"""The structures that the CUDA kernels take, mirrored from cuda_fir.cu and cuda_epilogue.cu field by field."""

import ctypes


def _structure(name: str, **fields: type) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


def _fields(kind: type, names: str) -> dict[str, type]:
    return dict.fromkeys(names.split(), kind)


_POINTER, _DOUBLE, _INT = ctypes.c_void_p, ctypes.c_double, ctypes.c_int

# As in the sources, field by field.
FirParams = _structure(
    "FirParams",
    **_fields(_POINTER, "x f y"),
    **_fields(_DOUBLE, "gain"),
    **_fields(_INT, "images channels height width out_height out_width filter_height filter_width flip_filter"),
    **_fields(_INT, "up_x up_y down_x down_y pad_x pad_y channel_blocks"),
)
EpilogueParams = _structure(
    "EpilogueParams",
    **_fields(_POINTER, "x scale noise bias y"),
    **_fields(_DOUBLE, "slope gain clamp"),
    **_fields(_INT, "images pixels channels noise_images pixels_per_block"),
)
EpilogueBackwardParams = _structure(
    "EpilogueBackwardParams",
    **_fields(_POINTER, "dy y x scale dx dscale dbias dnoise"),
    **_fields(_DOUBLE, "slope gain clamp"),
    **_fields(_INT, "images pixels channels pixels_per_block"),
)
