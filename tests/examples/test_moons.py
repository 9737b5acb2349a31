"""Two moons: the losses of the notebook, from its data and start weights."""

import numpy as np
import pytest

from examples import moons


@pytest.fixture(scope="module")
def stored(data_dir):
    with np.load(data_dir / "reference_runs" / "reference_runs.npz") as arrays:
        return dict(arrays)


def test_data_and_start_weights_are_those_of_the_notebook(stored):
    pytest.importorskip("sklearn")
    X, y = moons.moons()
    np.testing.assert_allclose(X, stored["britz_X"], rtol=1e-15)
    np.testing.assert_array_equal(y, stored["britz_y"])
    for (W, b), name in zip(moons.network().weights, ("britz_W1", "britz_W2")):
        np.testing.assert_array_equal(W, stored[name])
        assert not b.any()


@pytest.fixture(scope="module")
def trained(stored):
    return moons.run(stored["britz_X"], stored["britz_y"])


def test_losses_before_the_steps_overshoot(trained):
    first, second = trained[1][:2]
    assert first[0] == pytest.approx(moons.PUBLISHED[0], abs=1e-6)
    assert second[0] == pytest.approx(moons.PUBLISHED[1], abs=1e-6)


def test_losses_while_the_steps_overshoot(trained, stored):
    upper = np.max(trained[1][3:], axis=1)  # rounding decides which of two steps meets the upper loss
    np.testing.assert_allclose(upper[: len(moons.PUBLISHED) - 3], moons.PUBLISHED[3:], rtol=0, atol=1e-6)
    np.testing.assert_allclose(upper[:-1], stored["britz_loss_every1000"][3:], rtol=0, atol=1e-6)


def test_losses_at_the_end(trained, stored):
    end = [stored[f"britz_{name}_end"] for name in ("W1", "b1", "W2", "b2")]
    upper, lower = max(trained[1][20]), min(trained[1][20])
    assert upper == pytest.approx(0.071316, abs=1e-6)
    assert lower == pytest.approx(loss_of(end, stored), abs=1e-6)


def test_most_points_are_on_their_side_of_the_boundary(trained, stored):
    labels = trained[0].predict(stored["britz_X"]).argmax(axis=1)
    assert np.mean(labels == stored["britz_y"]) > 0.97


def loss_of(weights, stored):
    """Return the notebook's loss for some weights, in NumPy."""
    W1, b1, W2, b2 = weights
    scores = np.exp(np.tanh(stored["britz_X"] @ W1 + b1) @ W2 + b2)
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[range(200), stored["britz_y"]]).sum() + moons.REG_LAMBDA / 2 * ((W1**2).sum() + (W2**2).sum())
    return loss / 200


def test_the_boundary_is_drawn(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    moons.main(tmp_path / "moons.png")
    assert (tmp_path / "moons.png").read_bytes().startswith(b"\x89PNG")
