"""fastnn: multilayer perceptrons trained on the CPU, at the speed of its SIMD units."""

from .compatibility import check_kernels

check_kernels()

from .callbacks import EarlyStopping, StopWhen, TimeLimit  # noqa: E402
from .datasets import load_digits, load_fashion_mnist, load_mnist  # noqa: E402
from .initializers import Initializer  # noqa: E402
from .layers import Dense, Dropout, Scale, Standardize  # noqa: E402
from .losses import AbsoluteError, BinaryCrossEntropy, CrossEntropy, Huber, SquaredError  # noqa: E402
from .network import Sequential  # noqa: E402
from .optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, ConjugateGradient, Momentum, Nesterov, RMSprop, Rprop  # noqa: E402
from .schedules import Constant, Cosine, Exponential, InverseTime, Linear, OneCycle, Step  # noqa: E402
from .training import DivergedError, History  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "LBFGS",
    "SGD",
    "AbsoluteError",
    "Adagrad",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "ConjugateGradient",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "Dense",
    "DivergedError",
    "Dropout",
    "EarlyStopping",
    "Exponential",
    "History",
    "Huber",
    "Initializer",
    "InverseTime",
    "Linear",
    "Momentum",
    "Nesterov",
    "OneCycle",
    "RMSprop",
    "Rprop",
    "Scale",
    "Sequential",
    "SquaredError",
    "Standardize",
    "Step",
    "StopWhen",
    "TimeLimit",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
]
