"""fastnn: multilayer perceptrons trained on the CPU, at the speed of its SIMD units."""

from typing import TYPE_CHECKING, Any

from .compatibility import check_kernels

check_kernels()

from . import initializers, losses, optimizers, schedules  # noqa: E402
from .averages import EMA, SWA  # noqa: E402
from .callbacks import CSVLogger, EarlyStopping, ModelCheckpoint, ReduceOnPlateau, StopWhen, TimeLimit  # noqa: E402
from .custom import Activation  # noqa: E402
from .datasets import load_digits, load_fashion_mnist, load_mnist  # noqa: E402
from .gradients import check_gradient  # noqa: E402
from .history import History  # noqa: E402
from .initializers import *  # noqa: E402
from .layers import BatchNorm, Dense, Dropout, GaussianNoise, LayerNorm, PReLU, Residual, Scale, Standardize  # noqa: E402
from .losses import *  # noqa: E402
from .network import Sequential  # noqa: E402
from .optimizers import *  # noqa: E402
from .rate_finder import LearningRateFinder  # noqa: E402
from .schedules import *  # noqa: E402
from .training import DivergedError  # noqa: E402

if TYPE_CHECKING:
    from .estimators import MLPClassifier as MLPClassifier
    from .estimators import MLPRegressor as MLPRegressor

__version__ = "0.1.0"

__all__ = [
    "EMA",
    "SWA",
    "Activation",
    "BatchNorm",
    "CSVLogger",
    "Dense",
    "DivergedError",
    "Dropout",
    "EarlyStopping",
    "GaussianNoise",
    "History",
    "LayerNorm",
    "LearningRateFinder",
    "ModelCheckpoint",
    "PReLU",
    "ReduceOnPlateau",
    "Residual",
    "Scale",
    "Sequential",
    "Standardize",
    "StopWhen",
    "TimeLimit",
    "check_gradient",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    *(name for module in (initializers, losses, optimizers, schedules) for name in vars(module)["__all__"]),
]


def __getattr__(name: str) -> Any:
    """Return an estimator: scikit-learn is imported with the first one."""
    if name in ("MLPClassifier", "MLPRegressor"):
        from . import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
