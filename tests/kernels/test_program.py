"""Programs: what a step is, line by line, what its phases take, and where its matrices lie."""

import numba
import numpy as np
import pytest

import kernels
from kernels import program
from tests.kernels.networks import CLASSES, SQUARES, data, network, share_all

ONE_THREAD = """
place:
   0 place                  1 x  the next minibatch
forward:
   1 list_columns           1 x  columns of X that are not zero, for two rows each
   2 dense_forward          1 x  A1 = f(X W1 + b1)
   3 dense_forward          1 x  A2 = f(A1 W2 + b2)
loss:
   4 loss_rows              4 x  loss of A2, dA2
   5 loss_sum               1 x  loss, looked at
backward:
   6 dense_backward         1 x  dA1, dW2, db2 from dA2, updated
   7 list_rows              1 x  rows of X that are not zero, for two columns each
   8 dense_backward         1 x  dW1, db1 from dA1, updated
close:
   9 close                  1 x  the loss written down
"""

TWO_THREADS = """
place:
   0 place                  1 x  the next minibatch
forward:
   1 list_columns           2 x  columns of X that are not zero, for two rows each
   2 dense_forward          8 x  A1 = f(X W1 + b1)
   3 dense_forward          2 x  A2 = f(A1 W2 + b2)
loss:
   4 loss_rows              4 x  loss of A2, dA2
   5 loss_sum               1 x  loss, looked at
backward:
   6 dense_backward         2 x  dA1, dW2, db2 from dA2, updated
   7 list_rows              2 x  rows of X that are not zero, for two columns each
   8 dense_backward         8 x  dW1, db1 from dA1, updated
close:
   9 close                  1 x  the loss written down
"""


def trainer(widths, rule=kernels.ADAM, hyper=(0.9, 0.999, 1e-8, 0.0), batch=100, n_threads=1, dtype=np.float32, **options):
    plan, parameters = network(widths, [kernels.RELU] * (len(widths) - 2) + [kernels.SOFTMAX], dtype, **options)
    return kernels.Trainer(plan, parameters, batch, CLASSES, rule, hyper, n_threads=n_threads)


@pytest.mark.parametrize("n_threads, expected", [(1, ONE_THREAD), (2, TWO_THREADS)])
def test_listing_of_a_step(n_threads, expected):
    assert str(trainer([784, 500, 10], n_threads=n_threads).program) == expected.strip()


def test_marks_name_places_between_phases():
    step = trainer([20, 30, 10], dropouts=[0.1, 0.2]).program
    first = {name: step.phases[at].name for name, at in step.marks.items() if at < len(step.phases)}
    assert first == {
        "place": "place",
        "forward": "operate",
        "loss": "loss_rows",
        "backward": "dense_backward",
        "update": "update",
        "close": "close",
    }
    assert step.marks["end"] == len(step.phases)
    assert list(step.marks.values()) == sorted(step.marks.values())


def test_a_program_runs_from_mark_to_mark():
    """Gradients and updates in parts are those of a step."""
    whole, parts = (trainer([20, 30, 10]) for _ in range(2))
    X, y = data(100, whole.plan)
    start = whole.parameters.copy()
    losses = whole.train(X, y, np.arange(100), 0, np.full(1, 0.01))
    parts.train(X, y, np.arange(100), 0, np.zeros(1))  # fills in the minibatch; a rate of 0 changes nothing
    np.testing.assert_array_equal(parts.parameters, start)
    parts.program.run("forward", "backward")
    assert parts.program.now["loss"][0] == losses[0]
    loss, gradient = kernels.loss_and_gradient(parts.plan, start, X, y, CLASSES)
    parts.program.run("backward", "update")
    np.testing.assert_array_equal(parts.gradient, gradient)


RULES = [  # that have a learning rate: rprop has none to be set to 0
    (kernels.SGD, (0.01,)),
    (kernels.ADAM, (0.9, 0.999, 1e-8, 0.0)),
    (kernels.ADAMW, (0.9, 0.999, 1e-8, 0.01)),
]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("rule, hyper", RULES)
def test_profile_gives_a_time_for_each_phase_and_changes_no_parameter(rule, hyper, n_threads):
    one = trainer([40, 70, 10], rule, hyper, 50, n_threads)
    before = one.parameters.copy()
    profile = one.program.profile(0.01)
    assert len(profile.microseconds) == len(one.program.phases)
    assert all(0 <= spent < 1e6 for spent in profile.microseconds) and sum(profile.microseconds) > 0
    np.testing.assert_array_equal(one.parameters, before)
    lines = str(profile).splitlines()
    assert len(lines) == len(one.program.phases) + 2 and lines[-1].endswith("all")
    for phase, line in zip(one.program.phases, lines[1:]):
        assert phase.name in line and phase.note in line and (("%" in line) <= phase.products)


def test_released_matrices_are_used_again():
    made = kernels.Program("float32", 30)
    first, second = made.matrix(40), made.matrix(40)
    size = made.panels(40) * made.jump * 4
    assert abs(first - second) >= size
    made.release(first)
    assert made.matrix(65) not in (first, second)  # too small for it
    assert made.matrix(33) == first
    assert made.matrix(40) not in (first, second)
    made.release(second)
    made.release(0)  # the inputs, which are not the program's
    assert made.matrix(40) == second


def test_the_smallest_released_matrix_that_fits_is_taken():
    made = kernels.Program("float64", 8)
    large, small = made.matrix(100), made.matrix(20)
    made.release(large)
    made.release(small)
    assert made.matrix(10) == small
    assert made.matrix(10) == large


def test_memory_is_zero_at_cache_lines_and_does_not_overlap():
    made, rng = kernels.Program("float32", 5), np.random.default_rng(0)
    sizes = rng.integers(1, 3000, 50)
    ranges = sorted((made.zeros(size), size) for size in sizes)
    for (where, size), (following, _) in zip(ranges, ranges[1:]):
        assert where % 64 == 0
        assert where + 4 * size <= following
    assert not any(array.any() for array in made._kept)


def test_each_thread_has_scratch_of_its_own(monkeypatch):
    monkeypatch.setattr(program, "max_threads", lambda: 5)
    made = kernels.Program("float32", 5, n_threads=2)
    scratch = made.scratch(100)
    where, size = scratch["scratch"], scratch["scratch_bytes"]
    assert size == 400
    end = made.zeros(1)
    assert end < where or end >= where + 5 * size
    assert made.scratch(50) == scratch  # what is large enough serves the next layer too


def test_a_program_keeps_what_its_records_point_to():
    made = kernels.Program("float32", 5)
    array = np.arange(3.0)
    assert made.keep(array) == array.ctypes.data
    assert any(kept is array for kept in made._kept)


def keeps_denormals():
    """Whether this thread calculates with denormal numbers."""
    return (np.full(1, 1e-30, np.float32) * np.float32(1e-10))[0] > 0


def test_a_thread_says_how_it_takes_denormal_numbers():
    @numba.njit
    def products(x, out):
        for mode in (1, 0):
            before = kernels.set_flush_denormal(mode)
            for i in range(x.size):
                out[mode, i] = x[i] * np.float32(1e-10)
            kernels.set_flush_denormal(before)

    out = np.ones((2, 100), np.float32)
    products(np.full(100, 1e-30, np.float32), out)
    assert out[0].all() and not out[1].any() and keeps_denormals()
    assert kernels.set_flush_denormal(True) is False
    assert not keeps_denormals() and kernels.set_flush_denormal(False) is True
    assert keeps_denormals() and kernels.set_flush_denormal(False) is False


@pytest.mark.parametrize("n_threads", [1, 2])
def test_denormal_numbers_are_zero_while_a_program_runs_and_only_then(monkeypatch, n_threads):
    """Products of 1e-40 come to nothing, where multiplied with 1e30 they would be seen."""
    share_all(monkeypatch)
    plan = kernels.Plan([20, 70, 40], [kernels.IDENTITY, kernels.IDENTITY], [0.0, 0.0])
    X, Y, parameters = np.full((100, 20), 1e-10, np.float32), np.zeros((100, 40), np.float32), np.zeros(plan.parameters_size, np.float32)
    plan.set_weight(parameters, 0, np.full((20, 70), 1e-30), np.zeros(70))
    plan.set_weight(parameters, 1, np.full((70, 40), 1e30), np.zeros(40))
    out = np.empty_like(Y)
    kernels.CompiledNetwork(plan, parameters).predict(X, out)
    for found in (out, kernels.predict(plan, parameters, X, n_threads=n_threads), *kernels.evaluate(plan, parameters, X, Y, SQUARES, n_threads=n_threads)):
        assert not np.any(found)
    assert not kernels.FullBatch(plan, X, Y, SQUARES, n_threads=n_threads)(parameters)[1].any()
    trainer = kernels.Trainer(plan, parameters, 100, SQUARES, kernels.SGD, [0.0], n_threads=n_threads)
    before = parameters.copy()
    trainer.train(X, Y, np.arange(100), 0, np.ones(1))
    np.testing.assert_array_equal(parameters, before)
    assert keeps_denormals()


@pytest.mark.parametrize(
    "last, loss", [("SOFTMAX", "CROSS_ENTROPY"), ("LOG_SOFTMAX", "CROSS_ENTROPY"), ("SIGMOID", "BINARY_CROSS_ENTROPY"), ("EXPONENTIAL", "POISSON")]
)
def test_outputs_do_not_depend_on_how_the_caller_takes_denormal_numbers(last, loss):
    """Probabilities of e**-94 are denormal."""
    plan = kernels.Plan([4, 20], [getattr(kernels, last)], [0.0])
    parameters, X, Y = np.zeros(plan.parameters_size, np.float32), np.ones((3, 4), np.float32), np.full((3, 20), 0.05, np.float32)
    plan.set_weight(parameters, 0, np.zeros((4, 20)), np.r_[0, np.full(19, -94)])
    model, found = kernels.CompiledNetwork(plan, parameters), []
    for mode in (False, True):
        before, out = kernels.set_flush_denormal(mode), np.empty_like(Y)
        model.predict(X, out)
        outputs = kernels.evaluate(plan, parameters, X, Y, kernels.Objective(getattr(kernels, loss)))[1]
        found += [out, kernels.predict(plan, parameters, X), outputs]
        kernels.set_flush_denormal(before)
    smallest = np.finfo(np.float32).tiny
    for one in found:
        assert one.tobytes() == found[0].tobytes() and np.all((one == 0) | (np.abs(one) >= smallest))
