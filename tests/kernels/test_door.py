"""The door of whole networks: what it lets in, normalized, and what it refuses. The sentences are in `tests.kernels.misuses`."""

import numpy as np
import pytest

import kernels
from kernels import _door, prediction
from tests.numerics import assert_same_bits

LOSSES = [kernels.CROSS_ENTROPY, kernels.BINARY_CROSS_ENTROPY, kernels.SQUARED_ERROR, kernels.POISSON, kernels.FOCAL]
PROBABILITIES = (kernels.SOFTMAX, kernels.LOG_SOFTMAX)
SGD = (kernels.SGD, [0.0])


def network(last, widths=(5, 7, 3), dtype="float64"):
    plan = kernels.Plan(widths, [kernels.TANH] * (len(widths) - 2) + [last], [0.0] * (len(widths) - 1), dtype)
    parameters = np.zeros(plan.parameters_size, dtype)
    rng = np.random.default_rng(0)
    for i, (n_in, n_out) in enumerate(zip(widths[:-1], widths[1:])):
        plan.set_weight(parameters, i, rng.standard_normal((n_in, n_out)), rng.standard_normal(n_out))
    return plan, parameters


def data(n=11, n_in=5, n_out=3):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, n_in)), np.eye(n_out)[rng.integers(0, n_out, n)]


def fits(loss, last):
    if loss in (kernels.CROSS_ENTROPY, kernels.FOCAL):
        return last in (*PROBABILITIES, kernels.IDENTITY)
    if loss in (kernels.BINARY_CROSS_ENTROPY, kernels.BINARY_FOCAL):
        return last in (kernels.SIGMOID, kernels.IDENTITY)
    if loss == kernels.POISSON:
        return last in (kernels.EXPONENTIAL, kernels.IDENTITY)
    return last not in PROBABILITIES


@pytest.mark.parametrize("loss", LOSSES)
def test_every_function_takes_the_losses_that_fit_and_no_others(loss):
    X, y = data()
    objective = kernels.Objective(loss)
    for last in range(kernels.IDENTITY, kernels.LOG_SOFTMAX + 1):
        plan, parameters = network(last)
        for call in (
            lambda: kernels.evaluate(plan, parameters, X, y, objective),
            lambda: kernels.loss_and_gradient(plan, parameters, X, y, objective),
            lambda: kernels.FullBatch(plan, X, y, objective),
            lambda: kernels.Trainer(plan, parameters, 4, objective, *SGD),
        ):
            if fits(loss, last):
                call()
            else:
                with pytest.raises(ValueError, match=r"^loss must fit the last activation, [a-z_]+; got [a-z_]+\.$"):
                    call()


def test_what_fastnn_pairs_fits():
    from fastnn.layers import ACTIVATIONS
    from fastnn.losses import LOSSES as SETTINGS

    for loss in SETTINGS.values():
        for name, code in ACTIVATIONS.items():
            try:
                loss.check_activation(name)
            except ValueError:
                continue
            assert fits(loss.code, code)


@pytest.mark.parametrize(
    ("loss", "last"), [(kernels.CROSS_ENTROPY, kernels.SOFTMAX), (kernels.BINARY_CROSS_ENTROPY, kernels.SIGMOID), (kernels.POISSON, kernels.EXPONENTIAL)]
)
def test_logits_are_judged_like_probabilities(loss, last):
    X, y = data()
    (plan, parameters), (logits, same) = network(last), network(kernels.IDENTITY)
    expected, gradient = kernels.loss_and_gradient(plan, parameters, X, y, kernels.Objective(loss))
    value, of_logits = kernels.loss_and_gradient(logits, same, X, y, kernels.Objective(loss))
    assert value == expected
    assert_same_bits(of_logits, gradient)
    assert_same_bits(kernels.predict(logits, same, X), kernels.predict(plan, parameters, X, logits=True))


def test_settings_become_numbers_of_python():
    plan = kernels.Plan(
        np.array([200, 250, 3], np.uint8),
        np.array([kernels.RELU, kernels.IDENTITY], np.int8),
        (np.float32(0.25), 0),
        np.dtype("float32"),
        np.uint16(7),
        [(np.True_, 0), (1, False)],
        np.zeros((2, 4), np.float32),
    )
    assert plan == kernels.Plan((200, 250, 3), (1, 0), (0.25, 0.0), "float32", 7, ((True, False), (True, False)), ((0.0,) * 4,) * 2)
    for field in (plan.widths, plan.activations):
        assert all(type(number) is int for number in field)
    assert all(type(number) is float for number in (*plan.dropouts, *plan.penalties[0])) and type(plan.trained[0][0]) is bool
    assert plan.parameters_size == 16 * 200 * 16 + 256 + 250 * 16 + 16  # 16 panels of 200 inputs, one of 250, and the biases
    objective = kernels.Objective(np.int8(2), np.float32(0.5), np.False_, 1, 0)
    assert objective == kernels.Objective(2, 0.5, False, 1.0, 0.0) and type(objective.loss) is int and type(objective.mean_rows) is bool


@pytest.mark.parametrize("kind", [np.bool_, np.float32])
def test_rows_and_targets_may_be_any_real_numbers_in_any_layout(kind):
    plan, parameters = network(kernels.IDENTITY, (4, 3, 2))
    X, y = (np.random.default_rng(2).random(shape) > 0.5 for shape in [(9, 4), (9, 2)])
    squares = kernels.Objective(kernels.SQUARED_ERROR)
    expected, gradient = kernels.loss_and_gradient(plan, parameters, X.astype("f8"), y.astype("f8"), squares)
    for layout in (np.ascontiguousarray, lambda A: np.repeat(A, 2, axis=1)[:, ::2]):
        x, t = layout(X.astype(kind)), layout(y.astype(kind))
        x.flags.writeable = t.flags.writeable = False
        value, actual = kernels.loss_and_gradient(plan, parameters, x, t, squares)
        assert value == expected
        assert_same_bits(actual, gradient)
        assert kernels.evaluate(plan, parameters, x, t, squares)[0] == pytest.approx(expected, rel=1e-13)
        assert len(kernels.Trainer(plan, parameters.copy(), 5, squares, *SGD).train(x, t, np.arange(9), 0, np.zeros(2))) == 2


def test_a_prediction_leaves_read_only_parameters_of_other_networks_alone():
    plan, parameters = network(kernels.SOFTMAX)
    X, _ = data(2)
    expected = kernels.predict(plan, parameters, X)
    other = parameters.copy()
    other.flags.writeable = False
    for wrong in (parameters[:-1], parameters.astype("f4"), np.repeat(parameters, 2)[::2], parameters[None]):
        with pytest.raises((TypeError, ValueError), match="^parameters must be"):
            kernels.predict(plan, wrong, X)
    assert_same_bits(kernels.predict(plan, other, X), expected)


def test_a_refused_chunk_changes_nothing():
    plan, parameters = network(kernels.SOFTMAX)
    X, y = data(30)
    labels, before = y.argmax(1), parameters.copy()
    trainer = kernels.Trainer(plan, parameters, 10, kernels.Objective(kernels.CROSS_ENTROPY), kernels.ADAM, [0.9, 0.999, 1e-8, 0.0])
    labels[17] = 3
    with pytest.raises(ValueError, match=r"^y must hold labels from 0 to 2; got 3 at position 2\.$"):
        trainer.train(X, labels, np.array([0, 5, 17, 4]), 0, np.full(1, 0.1))
    with pytest.raises(IndexError, match=r"^order must name rows of X, 0 to 29; got -30 at position 1\.$"):
        trainer.train(X, labels, np.array([0, -30]), 0, np.full(1, 0.1))
    assert_same_bits(parameters, before)
    assert len(trainer.train(X, labels, np.array([16, 18]), 0, np.full(1, 0.1))) == 1  # the wrong label is not among them
    assert (parameters != before).any()


def test_the_point_of_a_full_batch_may_be_of_another_dtype():
    plan, parameters = network(kernels.SOFTMAX, dtype="float32")
    X, y = data()
    function = kernels.FullBatch(plan, X, y, kernels.Objective(kernels.CROSS_ENTROPY))
    value, gradient = function(parameters)
    gradient = gradient.copy()
    assert function(parameters.astype("f8"))[0] == value  # SciPy's vectors are float64
    for wrong in (parameters[:1], np.float32(0.5), parameters[:, None]):
        with pytest.raises((TypeError, ValueError), match="^parameters must"):
            function(wrong)


@pytest.mark.parametrize("rule", kernels.OPTIMIZERS)
def test_a_rule_gets_the_numbers_that_it_reads(rule):
    plan, parameters = network(kernels.SOFTMAX)
    names = kernels.OPTIMIZERS[rule].hyper
    for count in range(len(names) + 2):
        wrong = {f"{name}_": 0.5 for name in names}
        for hyper in ([0.5] * count, wrong):
            if len(hyper) == len(names) and hyper is not wrong:
                kernels.Trainer(plan, parameters, 3, kernels.Objective(kernels.CROSS_ENTROPY), rule, hyper)
            else:
                with pytest.raises(ValueError, match=r"^hyper must have the numbers .* of [a-z_]+; got "):
                    kernels.Trainer(plan, parameters, 3, kernels.Objective(kernels.CROSS_ENTROPY), rule, hyper)


def test_tables_of_addresses_are_not_public():
    assert not [name for name in kernels.__all__ if name == "bind" or name.startswith("network")]
    assert not hasattr(kernels, "bind") and not hasattr(kernels, "network_train")


@pytest.mark.parametrize("values", [[0, 5], [5], [], [4, 3, 2]])
def test_numbers_below_an_end_are_found_in_one_pass(values):
    numbers = np.array(values, np.int64)
    for layout in (numbers, np.repeat(numbers, 2)[::2], numbers[::-1]):
        assert _door._beyond(layout, 6) is False
    for wrong in (6, -1, 2**63 - 1, -(2**63)):
        assert _door._beyond(np.append(numbers, wrong), 6)


def test_a_predictor_looks_at_what_it_is_given():
    plan, parameters = network(kernels.IDENTITY)
    X, _ = data()
    predictor = kernels.Predictor(plan, parameters)
    assert_same_bits(predictor(X), kernels.predict(plan, parameters, X))
    for wrong, error in ((X[:, :4], ValueError), (X[0], ValueError), (X.tolist(), TypeError), (X.astype(">f8"), TypeError)):
        with pytest.raises(error, match="^X must "):
            predictor(wrong)
    with pytest.raises(ValueError, match=r"^scale and shift must have the shape \(5,\)"):
        predictor(X, scale=np.ones(3), shift=np.zeros(3))
    with pytest.raises(ValueError, match="^parameters must be "):
        kernels.Predictor(plan, parameters[1:])


def test_predictions_keep_the_programs_of_the_networks_used_last():
    networks = [network(kernels.IDENTITY, (5, 3 + i, 3)) for i in range(prediction.KEPT + 2)]
    X, _ = data()
    for plan, parameters in networks:
        kernels.predict(plan, parameters, X)
    assert [plan for plan, _ in prediction._predictors] == [plan for plan, _ in networks[2:]]
