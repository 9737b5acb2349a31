"""The step-by-step example: every number of the post that backpropagation gives."""

import numpy as np
import pytest

from examples import mazur


def test_forward_pass():
    hidden_input, hidden, output_input, outputs, error = mazur.forward()
    assert hidden_input[0] == pytest.approx(0.3775, abs=1e-9)
    np.testing.assert_allclose(hidden, [0.593269992, 0.596884378], rtol=0, atol=1e-9)
    assert output_input[0] == pytest.approx(1.105905967, abs=1e-9)
    np.testing.assert_allclose(outputs, [0.75136507, 0.772928465], rtol=0, atol=1e-8)
    assert error == pytest.approx(0.298371109, abs=1e-9)


def test_the_network_calculates_what_the_functions_do():
    *_, outputs, error = mazur.forward()
    np.testing.assert_allclose(mazur.network().predict(mazur.X)[0], outputs, rtol=1e-14)
    assert mazur.network().evaluate(mazur.X, mazur.TARGETS, loss=mazur.LOSS)["loss"] == pytest.approx(error, rel=1e-14)


def test_weights_after_one_step():
    net = mazur.network()
    mazur.train(net, 1)
    published = [0.149780716, 0.19956143, 0.24975114, 0.29950229, 0.35891648, 0.408666186, 0.511301270, 0.561370121]
    np.testing.assert_allclose(mazur.named_weights(net), published, rtol=0, atol=1e-8)


def test_errors_with_fixed_biases():
    net = mazur.network()
    assert mazur.train(net, 1) == pytest.approx(0.2910277737, abs=1e-10)
    assert mazur.train(net, 9_998) == pytest.approx(0.0000351085, abs=1e-10)
    assert mazur.train(net, 1) == pytest.approx(0.0000351019, abs=1e-10)
    assert [b.tolist() for W, b in net.weights] == [[0.35, 0.35], [0.60, 0.60]]


def test_errors_with_trained_biases():
    net = mazur.network(trainable=True)
    assert mazur.train(net, 1) == pytest.approx(0.2804714468, abs=1e-10)
    assert mazur.train(net, 9_999) == pytest.approx(0.0000024476, abs=1e-10)
