"""Networks of bfloat16: from the constructor to the file, the estimators and the command line, and what warns."""

import numpy as np
import pytest

import fastnn
import kernels
from fastnn import Adam, Dense, Dropout, LayerNorm, Residual, Sequential, compatibility

pytestmark = pytest.mark.filterwarnings("ignore:bfloat16 is not faster")
LAYERS = [Dense(40, "relu"), Dropout(0.2), Residual([LayerNorm(), Dense(40, "gelu")]), Dense(10, "softmax")]


def trained(dtype="bfloat16", n_threads=1, **settings):
    X, y, X_test, y_test = fastnn.load_digits()
    net = Sequential(LAYERS, n_features=64, dtype=dtype, seed=1)
    net.fit(X / 16.0, y, optimizer=Adam(0.005), epochs=3, batch_size=32, n_threads=n_threads, verbose=0, **settings)
    return net, (X_test / 16.0, y_test)


def test_trains_as_float32_does_and_everything_but_products_is_float32():
    net, (X, y) = trained()
    assert net.precision == "bfloat16" and net.dtype == net.parameters.dtype == net.predict(X).dtype == np.float32
    other, _ = trained("float32")
    assert not np.array_equal(net.parameters, other.parameters)
    assert net.evaluate(X, y)["accuracy"] > other.evaluate(X, y)["accuracy"] - 0.03
    assert "dtype='bfloat16'" in repr(net) and "parameters in float32, products in bfloat16; a row" in net.summary()


def test_file_copy_part_and_compiled_network_calculate_alike(tmp_path):
    net, (X, _) = trained()
    net.save(tmp_path / "net.safetensors")
    loaded = Sequential.load(tmp_path / "net.safetensors")
    assert loaded.precision == "bfloat16"
    assert loaded.predict(X).tobytes() == net.predict(X).tobytes()
    out = np.zeros((len(X), 10), np.float32)
    net.compiled().predict(X, out)
    assert out.tobytes() == net.predict(X).tobytes()
    plain = Sequential(LAYERS, n_features=64)
    plain.set_weights(net.weights)
    assert out.tobytes() != plain.predict(X).tobytes()
    assert net.predict(X, layer=0).tobytes() != plain.predict(X, layer=0).tobytes()


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    whole, _ = trained(n_threads=2)
    net = Sequential(LAYERS, n_features=64, dtype="bfloat16", seed=1)
    X, y, _, _ = fastnn.load_digits()
    settings = {"optimizer": Adam(0.005), "batch_size": 32, "verbose": 0, "checkpoint": tmp_path / "run"}
    net.fit(X / 16.0, y, epochs=2, **settings)
    again = Sequential(LAYERS, n_features=64, dtype="bfloat16", seed=1)
    again.fit(X / 16.0, y, epochs=3, resume=True, **settings)
    assert again.parameters.tobytes() == whole.parameters.tobytes()


def test_gradients_are_checked_in_float64():
    net = Sequential([Dense(5, "tanh"), Dense(2, "softmax")], n_features=3, dtype="bfloat16")
    assert fastnn.check_gradient(net, np.eye(3), [0, 1, 0]) < 1e-6


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators_take_it():
    pytest.importorskip("sklearn")
    X, y, X_test, y_test = fastnn.load_digits()
    model = fastnn.MLPClassifier((40,), dtype="bfloat16", learning_rate_init=0.01, max_iter=8, random_state=0, tol=0.0).fit(X, y)
    assert model.network_.precision == "bfloat16" and model.coefs_[0].dtype == np.float32
    assert model.score(X_test, y_test) > 0.9


def test_warns_once_where_the_instruction_is_missing(monkeypatch):
    for found, count in (("emulated", 1), ("AVX512_BF16", 0)):
        compatibility.warn_of_emulation.cache_clear()
        monkeypatch.setattr(kernels, "cpu_info", lambda found=found: {"bfloat16": found})
        with pytest.warns(RuntimeWarning) if count else np.errstate() as caught:
            for _ in range(2):
                Sequential([Dense(1)], n_features=1, dtype="bfloat16")
        if count:
            assert [str(one.message) for one in caught] == [
                "bfloat16 is not faster than float32 on this CPU, which lacks AVX512_BF16: the same bits are calculated in float32."
            ]


def test_a_type_of_another_package_is_taken():
    one = type("bfloat16", (), {})
    assert Sequential([Dense(1)], n_features=1, dtype=one).precision == "bfloat16"
    assert kernels.packed_shape(3, 17, one) == (2, 2, 32)


@pytest.mark.parametrize("made", [lambda kind: kind, np.dtype])
def test_type_and_dtype_of_ml_dtypes_are_taken(made):
    one = made(pytest.importorskip("ml_dtypes").bfloat16)
    assert Sequential([Dense(1)], n_features=1, dtype=one).precision == "bfloat16"
    assert kernels.packed_shape(3, 17, one) == (2, 2, 32)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="dtype must be 'float32', 'float64' or 'bfloat16'; got 'float16'"):
        Sequential([Dense(1)], n_features=1, dtype="float16")
