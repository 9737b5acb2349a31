import json
import os
import pickle
import stat
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from fastnn import SGD, CrossEntropy, Dense, DivergedError, Dropout, Huber, Scale, Sequential, files
from tests.numerics import assert_same_bits

rng = np.random.default_rng(5)
X = rng.normal(size=(30, 4))
LABELS = rng.integers(0, 3, 30)


def network(dtype="float64"):
    net = Sequential([Scale(0.5, 0.1), Dense(6, "gelu"), Dropout(0.25), Dense(3, "softmax")], n_features=4, dtype=dtype, seed=9)
    net.metadata = {"classes": ["ä", "b", "c"], "nested": {"n": 1}}
    return net


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.safetensors"
    net = network()
    net.fit(X, LABELS, verbose=0)
    net.save(path)
    return net, path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_network_is_the_saved_one(dtype, tmp_path):
    net = network(dtype)
    net.fit(X, LABELS, verbose=0)
    net.save(tmp_path / "mit Umlaut ä.safetensors")
    loaded = Sequential.load(str(tmp_path / "mit Umlaut ä.safetensors"))
    assert (repr(loaded), loaded.metadata, loaded.loss) == (repr(net), net.metadata, net.loss)
    np.testing.assert_array_equal(loaded.parameters, net.parameters)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    for one in (net, loaded):
        one.fit(X, LABELS, verbose=0)
    np.testing.assert_array_equal(loaded.parameters, net.parameters)


def test_settings_of_the_loss_are_saved(tmp_path):
    net = Sequential([Dense(1)], n_features=4)
    net.fit(X, X[:, 0], loss=Huber(0.3, reduction="sum"), verbose=0)
    net.save(tmp_path / "net")
    assert Sequential.load(tmp_path / "net").loss == Huber(0.3, reduction="sum")


def test_settings_of_numpy_numbers_are_saved(tmp_path):
    labels = LABELS.astype(np.uint8)
    layers = [
        Scale(np.float32(0.5), np.int8(1)),
        Dropout(np.float16(0.25)),
        Dense(np.uint8(250), bias=np.False_, l1=np.float32(1e-4)),
        Dense(labels.max() + 1, "softmax"),
    ]
    net = Sequential(layers, n_features=np.int16(4), seed=np.uint64(7))
    net.set_trainable(np.int64(0), np.True_)
    net.fit(X, labels, loss=CrossEntropy(scale=np.float32(2)), epochs=np.uint8(2), batch_size=np.int32(8), n_threads=np.int64(1), verbose=np.False_)
    net.save(tmp_path / "net")
    loaded = Sequential.load(tmp_path / "net")
    assert (repr(loaded), loaded.loss) == (repr(net), net.loss)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))


def test_the_file_has_plain_arrays(saved):
    net, path = saved
    arrays = load_file(path)
    assert sorted(arrays) == ["dense.0.W", "dense.0.b", "dense.1.W", "dense.1.b"]
    for i, (W, b) in enumerate(net.weights):
        np.testing.assert_array_equal(arrays[f"dense.{i}.W"], W)
        np.testing.assert_array_equal(arrays[f"dense.{i}.b"], b)


def test_the_bytes_are_those_of_safetensors(tmp_path):
    arrays = {f"a {dtype}": np.arange(3).astype(dtype) for dtype in files.CODES}
    arrays |= {'ä\x7f\x01\t"\\': np.zeros((0, 3)), "one": np.array(1.5, "f4"), "b": np.ones((2, 1), "f4")}
    for text in ("{}", '{"ä": "\\n/\u2028"}', "[1]       "):
        files.write(tmp_path / "file", text, arrays | {"z": np.arange(6).reshape(2, 3).T})
        given = arrays | {"z": np.arange(6).reshape(2, 3).T.copy()}
        metadata = {"fastnn": text, "sha256": files.checksum(text, given)}
        expected = {save(given, metadata=metadata) for _ in range(50)}  # its order of the metadata is chance
        assert (tmp_path / "file").read_bytes() in expected


def test_arrays_are_not_copied(tmp_path):
    arrays = {"a": np.ones(1 << 20), "b": np.ones((1 << 10, 1 << 10), "f4")}
    tracemalloc.start()
    try:
        files.write(tmp_path / "file", "{}", arrays)
        assert tracemalloc.get_traced_memory()[1] < 1 << 18
    finally:
        tracemalloc.stop()


def check_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match="must be an intact network saved by fastnn; got a file with|format 2 or older") as caught:
        Sequential.load(path)
    assert type(caught.value) is ValueError
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(saved):
    _, path = saved
    data = path.read_bytes()
    for length in [*range(0, len(data), 7), len(data) - 1]:
        check_refused(path, data[:length])
    check_refused(path, data + b"\0")


def test_flipped_bits_are_refused(saved):
    _, path = saved
    data = path.read_bytes()
    for i in range(0, len(data), 3):
        check_refused(path, data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :])


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def header(text, data=b""):
    return len(text).to_bytes(8, "little") + text + data


def test_hostile_files_are_refused(saved, tmp_path):
    _, path = saved
    check_refused(path, pickle.dumps(Canary(str(tmp_path / "canary"))))
    assert not (tmp_path / "canary").exists()
    check_refused(path, save({"dense.0.W": np.zeros((2, 2))}))
    check_refused(path, b"\xff" * 8 + b"{}")
    check_refused(path, header(b"{" * 100_000))
    check_refused(path, header(b'{"__metadata__":{"fastnn":"' + b"[" * 50_000 + b'"}}'))
    check_refused(path, header(b"[]"))


def rewritten(path, change, arrays=None):
    """Return a file with other settings and a checksum that fits them."""
    data = path.read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    settings = json.loads(metadata["fastnn"])
    change(settings)
    text, arrays = json.dumps(settings), load_file(path) if arrays is None else arrays
    return save(arrays, metadata={"fastnn": text, "sha256": files.checksum(text, arrays)})


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.pop("layers"),
        lambda s: s.update(dtype="float32"),
        lambda s: s.update(dtype="object"),
        lambda s: s.update(n_features=5),
        lambda s: s.update(seed=-1),
        lambda s: s.update(n_fits=2**62),
        lambda s: s.update(feature_names=5),
        lambda s: s.update(loss={"name": "squared_error"}),
        lambda s: s["layers"][1].update(units=10**15),
        lambda s: s["layers"][1].update(units=-6),
        lambda s: s["layers"][1].update(activation="relo"),
        lambda s: s["layers"][1].update(kind="conv"),
        lambda s: s["layers"][1].update(surprise=1),
        lambda s: s["layers"][2].update(rate=float("nan")),
        lambda s: s["layers"].append({"kind": "dense", "units": 3, "activation": "relu"}),
        lambda s: s.update(format=3),
        lambda s: s.update(format=0),
        lambda s: s.update(format="1"),
    ],
)
def test_settings_that_make_no_network_are_refused(saved, change):
    _, path = saved
    check_refused(path, rewritten(path, change))


def test_a_newer_format_says_so(saved):
    _, path = saved
    path.write_bytes(rewritten(path, lambda s: s.update(format=3)))
    with pytest.raises(ValueError, match="must be a network of format 2 or older; got format 3. Update fastnn."):
        Sequential.load(path)


def test_a_file_without_names_of_columns_is_read(saved):
    _, path = saved
    path.write_bytes(rewritten(path, lambda s: s.pop("feature_names")))
    assert Sequential.load(path).feature_names is None


def test_a_file_of_format_1_loads():
    path = Path(__file__).parents[1] / "fixtures" / "format_1.safetensors"
    assert b'\\"format\\": 1' in path.read_bytes()[:2000]
    net = Sequential.load(path)
    assert repr(net.layers[0]) == "Scale(scale=0.0078125, shift=-1.0)"
    assert net.loss == Huber(0.5)
    actual, expected = net.predict(np.array(net.metadata["X"], np.uint8)), np.array(net.metadata["outputs"], np.float32)
    assert_same_bits(actual, expected)


def test_a_file_of_format_2_loads():
    path = Path(__file__).parents[1] / "fixtures" / "format_2.safetensors"
    assert b'\\"format\\": 2' in path.read_bytes()[:2000]
    net = Sequential.load(path)
    assert [type(layer).__name__ for layer in net.layers] == ["Standardize", "Dense", "Dropout", "Dense", "LayerNorm", "Dense", "Standardize"]
    assert (net.loss, net.feature_names) == (Huber(0.5), tuple("abcdé"))
    actual, expected = net.predict(np.array(net.metadata["X"], np.uint8)), np.array(net.metadata["outputs"])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)  # of float32: mish was calculated from another formula when the file was written


def test_weights_of_a_file_for_a_network_of_another_shape_are_refused_by_name(saved):
    _, path = saved
    weights, other = Sequential.load(path).weights, Sequential([Dense(6), Dense(4)], n_features=4)
    before = other.parameters.copy()
    with pytest.raises(ValueError, match=r"^weights\[1\]\[0\] must have shape \(6, 4\); got \(6, 3\)\.$"):
        other.set_weights(weights)
    assert_same_bits(other.parameters, before)


def test_weights_that_are_not_finite_are_refused(saved):
    _, path = saved
    arrays = load_file(path)
    arrays["dense.1.b"][0] = np.nan
    check_refused(path, rewritten(path, lambda s: None, arrays))


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Sequential.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError) as caught:
        network().save(tmp_path / "no" / "folder")
    assert caught.value.filename == str(tmp_path / "no" / "folder")
    with pytest.raises(OSError) as of_folder:
        network().save(tmp_path)
    assert (of_folder.value.filename, of_folder.value.filename2) == (str(tmp_path), None)


def test_an_old_file_survives_a_failed_write(saved, monkeypatch):
    net, path = saved
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        network("float32").save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_devices_and_pipes_are_not_replaced(saved, tmp_path):
    net, _ = saved
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(OSError, match=r"^path must be a regular file where it exists; got '.*', a pipe or a device\.$"):
            net.save(path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_permissions_and_links_stay(saved, tmp_path):
    net, path = saved
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    net.save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    Sequential.load(link)


def nested(depth):
    return [nested(depth - 1)] if depth else 0


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"array": np.zeros(3)}, "Object of type ndarray is not JSON serializable"),
        ({1: "a", "1": "b"}, "a name that is no string, 1"),
        ({"a": [{None: 1}]}, "a name that is no string, None"),
        ({"a": nested(files.MAX_DEPTH)}, "lists and dicts that lie more than 200 deep in each other"),
        ({"a": 10**5000}, "Exceeds the limit"),
    ],
)
def test_metadata_that_json_cannot_hold_is_refused(tmp_path, metadata, message):
    net = network()
    net.metadata = metadata
    with pytest.raises(TypeError, match=f"^metadata must hold what JSON can; got a dict: {message}"):
        net.save(tmp_path / "net")
    assert not os.listdir(tmp_path)


def test_deep_metadata_loads(tmp_path):
    net = network()
    net.metadata = {"a": nested(files.MAX_DEPTH - 2)}
    net.save(tmp_path / "net")
    assert Sequential.load(tmp_path / "net").metadata == net.metadata


def test_what_is_not_finite_is_not_saved(saved, tmp_path):
    net, path = saved
    before = path.read_bytes()
    net.parameters[np.flatnonzero(net.plan.mask())[7]] = np.inf  # in place, which nobody sees
    with pytest.raises(ValueError, match="^parameters must be finite; got inf in row "):
        net.save(path)
    assert path.read_bytes() == before


def test_what_is_left_after_a_step_that_is_too_long_is_saved_and_loads(tmp_path):
    net = Sequential([Dense(1)], n_features=4)
    for rate in (1e38, 1e39, 1e300):
        with pytest.raises(DivergedError):
            net.train_on_batch(X[:3] * 1e3, X[:3, 0], SGD(rate))
    net.save(tmp_path / "net")
    np.testing.assert_array_equal(Sequential.load(tmp_path / "net").parameters, net.parameters)
