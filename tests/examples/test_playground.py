"""The four tasks of the TensorFlow Playground, and the film."""

import numpy as np
import pytest

from examples import playground


@pytest.mark.parametrize("name", playground.TASKS)
def test_loss_of_the_test_half(name):
    net, _, loss = playground.train(name)
    X, y, X_test, y_test = playground.split(name)
    assert len(X) == len(X_test) == 250
    assert loss == pytest.approx(np.mean((net.predict(X_test)[:, 0] - y_test) ** 2) / 2, rel=1e-5)
    assert loss < 0.05


def test_circle_has_a_gap_between_disc_and_ring():
    X, y = playground.circle(np.random.default_rng(0))
    radius = np.hypot(*X.T)
    assert radius[y == 1].max() < 2.5
    assert 3.5 <= radius[y == -1].min() < radius.max() < 5


def test_xor_has_a_gap_along_the_axes():
    X, y = playground.xor(np.random.default_rng(0))
    assert 0.3 <= np.abs(X).min() < np.abs(X).max() < 5.3
    np.testing.assert_array_equal(y, np.sign(X[:, 0] * X[:, 1]))


def test_gauss_has_a_variance_of_one_half():
    X, y = playground.gauss(np.random.default_rng(0))
    np.testing.assert_allclose(X - 2 * y[:, None], 0, atol=4)
    assert np.var(X - 2 * y[:, None]) == pytest.approx(0.5, rel=0.1)


def test_spiral_has_two_arms_half_a_turn_apart():
    X, y = playground.spiral(None)
    np.testing.assert_allclose(X[y == 1], -X[y == -1], atol=1e-12)
    np.testing.assert_allclose(np.hypot(*X[y == 1].T), 5 * np.arange(250) / 250)
    np.testing.assert_allclose(X[1], [0.02 * np.sin(0.014 * np.pi), 0.02 * np.cos(0.014 * np.pi)])


def test_the_command_line_films_the_boundary(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    playground.main("xor", str(tmp_path / "xor.gif"))
    with image.open(tmp_path / "xor.gif") as film:
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB"), dtype=int))
    assert (len(frames), frames[0].shape) == (6, (320, 320, 3))
    assert all((one != other).any(axis=-1).mean() > 0.005 for one, other in zip(frames, frames[1:]))
    assert capsys.readouterr().out.split()[:5] == ["training", "loss", "test", "loss", "xor"]
