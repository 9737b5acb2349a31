"""Numba kernels for dense networks: fused linear layers, activations, losses, optimizer updates, whole networks.

Every kernel is callable from Python and from nopython code, where it is serial; `__all__` lists the public names.
"""

from ._jit import compilations, default_threads, max_threads, on_compile, threading_layer, threads
from .activations import *
from .activations import __all__ as _activations
from .bound import Objective
from .elementary import *
from .elementary import __all__ as _elementary
from .gather import gather
from .hardware import cpu_info, fma_peak
from .linear import linear_backward, linear_forward, matmul
from .losses import *
from .losses import __all__ as _losses
from .optimizers import *
from .optimizers import __all__ as _optimizers
from .panels import pack, packed_shape, panel_width, unpack
from .plan import Plan
from .prediction import evaluate, predict
from .random import *
from .random import __all__ as _random
from .training import FullBatch, Trainer, loss_and_gradient

__all__ = [
    "FullBatch",
    "Objective",
    "Plan",
    "Trainer",
    "compilations",
    "cpu_info",
    "default_threads",
    "evaluate",
    "fma_peak",
    "gather",
    "linear_backward",
    "linear_forward",
    "loss_and_gradient",
    "matmul",
    "max_threads",
    "on_compile",
    "pack",
    "packed_shape",
    "panel_width",
    "predict",
    "threading_layer",
    "threads",
    "unpack",
    *_activations,
    *_elementary,
    *_losses,
    *_optimizers,
    *_random,
]
