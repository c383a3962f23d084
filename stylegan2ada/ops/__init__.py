"""Operators: pure functions, each with a slow reference beside the fast path."""

from .bias_act import bias_act
from .conv2d_resample import conv2d_resample
from .modulated_conv2d import modulated_conv2d
from .upfirdn2d import setup_filter, upfirdn2d

__all__ = ["bias_act", "conv2d_resample", "modulated_conv2d", "setup_filter", "upfirdn2d"]
