import numba
import numpy as np
import pytest

from fastnn import Activation, CustomLoss, Dense, Dropout, Scale, Sequential, check_gradient
from kernels import scalar
from tests.fastnn.test_custom import BEND, LABELS, SWISH, VALUES, X, network
from tests.functions import bend, bend_slope, swish, swish_slope

swish_slope_, bend_slope_ = numba.njit(swish_slope), numba.njit(bend_slope)


def test_a_right_gradient_is_found_right():
    softmax = Sequential([Scale(0.5), Dense(8, "relu"), Dropout(0.3), Dense(3, "softmax", l1=0.01, l2=0.01)], n_features=4)
    before = softmax.parameters.copy()
    assert check_gradient(softmax, X, LABELS) < 1e-6
    np.testing.assert_array_equal(softmax.parameters, before)
    assert check_gradient(network(SWISH), X, VALUES, BEND) < 1e-6
    assert check_gradient(network("mish"), X, VALUES, "log_cosh") < 1e-6
    frozen = Sequential([Dense(3, "tanh", trainable=False), Dense(2, bias=False)], n_features=4)
    assert check_gradient(frozen, X, VALUES, "absolute_error") < 1e-6


def test_rounding_of_the_loss_is_no_wrong_derivative():
    far = Sequential([Dense(8, "tanh"), Dense(2)], n_features=4)
    assert check_gradient(far, X, 1e8 + VALUES) < 1e-6
    with pytest.raises(ValueError, match=r"^loss must not be so large that its rounding hides its slopes; got 1e\+20\. Standardize X and y"):
        check_gradient(far, X, 1e10 + VALUES)


def test_a_wrong_derivative_of_a_small_loss_is_found():
    half = CustomLoss(lambda a, t: (a - t) ** 2, lambda a, t: a - t, name="half", scale=1e-15)
    with pytest.raises(ValueError, match=r"relative error 0\.5"):
        check_gradient(network("tanh"), X, VALUES, half)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wrong_derivative_is_named(dtype):
    nearly = Activation(swish, lambda z, b: scalar.like(z, 1.01) * swish_slope_(z, b), [1.0])
    with pytest.raises(ValueError, match=r"^gradient must be that of the loss; got .* in dense layer 0, swish \(relative error 0\.0.*derivatives"):
        check_gradient(Sequential([Dense(9, nearly), Dense(2)], 4, dtype=dtype), X, VALUES)
    with pytest.raises(ValueError, match=r"^gradient must be that of the loss; got .* \(relative error 0\.5\)"):
        check_gradient(network("tanh", dtype), X, VALUES, CustomLoss(bend, lambda a, t, delta: 0.5 * bend_slope_(a, t, delta), [0.7]))
    with pytest.raises(ValueError, match="relative error nan"):
        check_gradient(network("tanh", dtype), X, VALUES, CustomLoss(bend, lambda a, t, delta: np.nan, [0.7]))


def test_a_loss_that_nothing_changes_has_a_gradient_of_zeros():
    net = Sequential([Dense(3, "relu"), Dense(1, "relu")], n_features=2, seed=0)
    net.set_weights([(np.zeros((2, 3)), np.zeros(3)), (np.zeros((3, 1)), [-1])])
    assert check_gradient(net, np.ones((4, 2)), np.ones((4, 1))) == 0
