import gzip
import hashlib
import http.server
import sys
import threading

import numpy as np
import pytest

from fastnn import datasets

IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([5, 0, 9], np.uint8)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with a small MNIST of our own, and its checksums declared the published ones."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    checksums = {}
    for name in datasets.CHECKSUMS["mnist"]:
        content = gzip.compress(idx(IMAGES if "images" in name else LABELS), mtime=0)
        (folder / name).write_bytes(content)
        checksums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(datasets.CHECKSUMS, "mnist", checksums)
    monkeypatch.delenv("FASTNN_DATA_DIR", raising=False)
    return folder.parent


# digits


def test_digits_are_the_images_of_scikit_learn_each_once():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    expected = sklearn_datasets.load_digits()
    digits = datasets.load_digits()
    actual = np.vstack([np.c_[digits.X_train, digits.y_train], np.c_[digits.X_test, digits.y_test]])
    expected = np.c_[expected.data, expected.target].astype(np.uint8)
    np.testing.assert_array_equal(actual[np.lexsort(actual.T)], expected[np.lexsort(expected.T)])


def test_digits_are_split_in_equal_shares_of_every_class():
    digits = datasets.load_digits()
    share = np.bincount(digits.y_test) / (np.bincount(digits.y_train) + np.bincount(digits.y_test))
    assert (len(digits.X_train), len(digits.X_test)) == (1442, 355)
    assert share.min() > 0.19
    assert share.max() < 0.21


def test_digits_are_fresh_writable_arrays():
    first = datasets.load_digits()
    first.X_train[:] = 0
    assert datasets.load_digits().X_train.max() == 16


# MNIST


@pytest.mark.parametrize(("load", "mean"), [(datasets.load_mnist, 0.130660), (datasets.load_fashion_mnist, 0.286041)])
def test_published_sets_have_their_shapes_and_mean(load, mean, data_dir):
    data = load(data_dir)
    assert [array.shape for array in data] == [(60000, 784), (60000,), (10000, 784), (10000,)]
    assert {array.dtype for array in data} == {np.dtype(np.uint8)}
    assert data.X_train.mean() / 255 == pytest.approx(mean, abs=1e-6)
    np.testing.assert_array_equal(np.unique(data.y_test), np.arange(10))


@pytest.mark.parametrize("by_environment", [False, True])
def test_mnist_is_read_from_a_folder(published, monkeypatch, by_environment):
    if by_environment:
        monkeypatch.setenv("FASTNN_DATA_DIR", str(published))
    data = datasets.load_mnist(None if by_environment else published)
    np.testing.assert_array_equal(data.X_train, IMAGES.reshape(3, -1))
    np.testing.assert_array_equal(data.y_test, LABELS)


def test_mnist_with_a_wrong_checksum_is_refused(published):
    file = published / "mnist" / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte.gz must be the published file with SHA-256 \w+\.\.\.; got \w+\.\.\. \(\d+ bytes\)\.$"):
        datasets.load_mnist(published)


def test_mnist_names_the_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="data_dir must hold the file mnist/train-images-idx3-ubyte.gz; got"):
        datasets.load_mnist(tmp_path)


def test_mnist_is_downloaded_once_with_checksums(published, tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    requested = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(published))

        def log_message(self, *args):
            requested.append(self.path)

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setitem(datasets.MIRRORS, "mnist", ("http://127.0.0.1:9/mnist/", f"{address}/mnist/"))  # the first refuses connections
        first = datasets.load_mnist()
        n_requests = len(requested)
        second = datasets.load_mnist()
        server.shutdown()
    assert (tmp_path / "cache" / "fastnn" / "mnist" / "train-images-idx3-ubyte.gz").is_file()
    assert n_requests == len(requested)
    np.testing.assert_array_equal(first.X_train, IMAGES.reshape(3, -1))
    np.testing.assert_array_equal(second.X_train, first.X_train)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ConnectionError("no route"), OSError, r"could not be downloaded \(ConnectionError\)\. Put the four files into a folder mnist"),
        (ValueError("SHA256 hash of downloaded file does not match"), ValueError, "must be the published file with SHA-256"),
    ],
)
def test_failed_downloads_say_so_in_one_sentence(published, monkeypatch, error, kind, message):
    pooch = pytest.importorskip("pooch")

    def retrieve(*args, **kwargs):
        raise error

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(kind, match=message):
        datasets.load_mnist()


def test_downloads_name_the_extra_when_pooch_is_missing(published, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn\[data\]'"):
        datasets.load_mnist()


# idx files


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("array", [LABELS, IMAGES, np.empty((0, 28, 28), np.uint8)])
def test_read_idx_returns_the_array(tmp_path, array, compress):
    file = tmp_path / "array.idx"
    file.write_bytes(compress(idx(array)))
    actual = datasets.read_idx(file)
    np.testing.assert_array_equal(actual, array)
    assert actual.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x00\x00\x0d\x01" + bytes(8), "must be an idx file of unsigned bytes; got one that begins with 00 00 0d 01"),
        (b"\x89PNG....", "begins with 89 50 4e 47"),
        (b"\x00\x00\x08\x03" + bytes(5), "must be an idx file"),
        (idx(IMAGES)[:-1], r"must hold 2352 bytes for the shape \(3, 28, 28\) in its header; got 2351"),
        (idx(IMAGES) + b"\x00", "got more"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, r"must hold 79228162458924105385300197375 bytes"),
        (b"\x00\x00\x08\x03" + b"\xff" * 8 + bytes(4), "of a size that an array can have"),
        (b"\x00\x00\x08\x21" + b"\0\0\0\1" * 33 + b"a", "of at most 32 dimensions; got 33"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], "must be a whole gzip file; got a truncated or damaged one"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-8] + bytes(8), "must be a whole gzip file"),
        (b"\x1f\x8b" + bytes(20), "must be a whole gzip file"),
        (gzip.compress(idx(IMAGES), mtime=0)[:20] + b"\xff" * 40, "must be a whole gzip file"),
    ],
)
def test_read_idx_refuses_damaged_files(tmp_path, content, message):
    file = tmp_path / "array.idx"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        datasets.read_idx(file)


# npz files


@pytest.mark.parametrize("names", [("X", "y", "X_test", "y_test"), ("x_train", "y_train", "x_test", "y_test")])
def test_load_npz_knows_the_usual_names(tmp_path, names):
    arrays = [np.arange(6.0).reshape(3, 2), np.arange(3), np.ones((1, 2)), np.array([7])]
    np.savez(tmp_path / "data.npz", **dict(zip(names, arrays)), other=np.zeros(2))
    actual = datasets.load_npz(tmp_path / "data.npz")
    assert list(actual) == ["X", "y", "X_test", "y_test"]
    for name, expected in zip(actual, arrays):
        np.testing.assert_array_equal(actual[name], expected)


def test_load_npz_refuses_other_names_pickles_and_damage(tmp_path):
    file = tmp_path / "data.npz"
    np.savez(file, data=np.zeros(2))
    with pytest.raises(ValueError, match="must hold an array X or X_train; got data"):
        datasets.load_npz(file)
    np.savez(file, X=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="must be a whole npz file of plain arrays"):
        datasets.load_npz(file)
    np.savez(file, X=np.zeros((100, 3)))
    whole = file.read_bytes()
    for n_bytes in (0, 3, 40, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:n_bytes])
        with pytest.raises(ValueError, match="must be a whole npz file of plain arrays"):
            datasets.load_npz(file)
    with pytest.raises(FileNotFoundError):
        datasets.load_npz(tmp_path / "nowhere.npz")
