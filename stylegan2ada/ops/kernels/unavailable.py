"""The error of kernels that cannot be had."""


class KernelsUnavailable(Exception):
    """The fused kernels cannot be had here: one line that says why and what to do."""
