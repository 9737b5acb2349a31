"""Numba kernels for dense networks: fused linear layers, activations, losses, optimizer updates, whole networks.

Every kernel is callable from Python and from nopython code, where it is serial; `__all__` lists the public names.
"""

from . import activations, adaptive, elementary, losses, optimizers, random, scalar, scikit
from ._factory import Activation, Loss, Rule, custom_activation, custom_loss, custom_rule
from ._jit import compilations, default_threads, max_threads, on_compile
from .activations import *
from .adaptive import *
from .batchnorm import BatchNorm
from .compiled import CompiledNetwork
from .csr import CSR
from .dropout import Dropout
from .elementary import *
from .gather import gather
from .hardware import cpu_info, fma_peak, set_flush_denormal
from .linear import linear_backward, linear_forward, matmul
from .losses import *
from .noise import GaussianNoise
from .norm import LayerNorm
from .objective import Objective
from .optimizers import *
from .panels import pack, packed_shape, panel_width, unpack
from .plan import Plan
from .prediction import Predictor, evaluate, predict
from .prelu import PReLU
from .program import Program
from .random import *
from .residual import Fork, Join
from .training import FullBatch, Trainer, loss_and_gradient
from .updates import Pace

__all__ = [
    "Activation",
    "BatchNorm",
    "CSR",
    "CompiledNetwork",
    "Dropout",
    "Fork",
    "FullBatch",
    "GaussianNoise",
    "Join",
    "LayerNorm",
    "Loss",
    "Objective",
    "Pace",
    "PReLU",
    "Plan",
    "Predictor",
    "Program",
    "Rule",
    "Trainer",
    "compilations",
    "cpu_info",
    "custom_activation",
    "custom_loss",
    "custom_rule",
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
    "scalar",
    "scikit",
    "set_flush_denormal",
    "unpack",
    *(name for module in (activations, adaptive, elementary, losses, optimizers, random) for name in vars(module)["__all__"]),
]
