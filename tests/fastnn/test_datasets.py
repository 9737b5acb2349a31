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
        (idx(IMAGES) + b"\x00", "got 2353"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, r"must hold 79228162458924105385300197375 bytes"),
        (gzip.compress(idx(IMAGES))[:-9], "must be a whole gzip file; got a truncated or damaged one"),
        (gzip.compress(idx(IMAGES))[:-8] + bytes(8), "must be a whole gzip file"),
        (b"\x1f\x8b" + bytes(20), "must be a whole gzip file"),
        (gzip.compress(idx(IMAGES))[:20] + b"\xff" * 40, "must be a whole gzip file"),
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


# CSV files


def table(tmp_path, text, **options):
    file = tmp_path / "table.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return datasets.load_csv(file, **options)


@pytest.mark.parametrize(
    "text",
    [
        "a,b,kind\n1,2.5,x\n-3,4e1,y\n",
        "a;b;kind\r\n1;2.5;x\r\n-3;4e1;y\r\n\r\n",
        "\ufeffa\tb\tkind\n1\t2.5\tx\n-3\t4e1\ty",
        'a, "b", kind\n1, 2.5, "x"\n\n-3, 4e1, y\n\n',
    ],
)
def test_load_csv_reads_the_usual_dialects(tmp_path, text):
    actual = table(tmp_path, text)
    np.testing.assert_array_equal(actual.X, [[1, 2.5], [-3, 40]])
    np.testing.assert_array_equal(actual.y, ["x", "y"])
    assert actual.columns == ("a", "b")


@pytest.mark.parametrize("target", ["a", 0, "0", -3, "-3"])
def test_load_csv_takes_the_target_by_name_or_number(tmp_path, target):
    actual = table(tmp_path, "a,b,c\n1,2,3\n4,5,6\n", target=target)
    np.testing.assert_array_equal(actual.y, [1, 4])
    assert actual.columns == ("b", "c")


def test_load_csv_prefers_a_name_over_a_number(tmp_path):
    assert table(tmp_path, "1,0\n5,6\n", target="0", header=True).columns == ("1",)


def test_load_csv_without_header_target_or_some_columns(tmp_path):
    actual = table(tmp_path, "1,2,x,3\n4,5,y,6\n", target=None, ignore=["2"])
    np.testing.assert_array_equal(actual.X, [[1, 2, 3], [4, 5, 6]])
    assert actual.y is None
    assert actual.columns == ("column 0", "column 1", "column 3")


@pytest.mark.parametrize(("cells", "dtype"), [("3 4", np.int64), ("3 4.0", np.float64), ("3 x", np.str_), ("3 99999999999999999999", np.float64)])
def test_load_csv_keeps_the_kind_of_the_target(tmp_path, cells, dtype):
    first, second = cells.split()
    assert np.issubdtype(table(tmp_path, f"1,{first}\n2,{second}\n").y.dtype, dtype)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "must hold at least one line; got an empty file"),
        ("\n\n", {}, "must hold at least one line"),
        ("a,b\n", {}, "must hold at least one line of values; got only a header"),
        ("a,b\n1,2\n3,4,5\n", {}, "line 3 must have 2 values like the first line; got 3"),
        ("a,b\n1,2\n\n,4\n", {}, r"line 4, column 'a' must hold a number; got a missing value \(1 of them in this column\)\.$"),
        ("a,b\n1,2\n?,4\nNaN,4\n", {}, r"line 3, column 'a' must hold a number; got a missing value \(2 of them"),
        ("a,b\n1,2\n3,\n", {}, "line 3, target column 'b' must have a value; got a missing one"),
        ("a,b\n1,2\n,2\nred,4\n", {}, "line 4, column 'a' must hold a finite number; got 'red'. Leave out columns of text"),
        ("a,b\n1,2\ninf,4\n", {}, r"line 3, column 'a' must hold a finite number; got 'inf'\.$"),
        ("a,b\n1,2\n", {"target": "c"}, "target must be a column of .*: one of 'a', 'b' or a number below 2; got 'c'"),
        ("a,b\n1,2\n", {"target": 2}, "got 2"),
        ("a,b\n1,2\n", {"ignore": ["x"]}, "ignore must be a column"),
        (b"a,b\n1,\xff\n", {}, "must be a CSV file in UTF-8"),
        (b"a,b\n1," + b"9" * 140000 + b"\n", {}, "must be a CSV file in UTF-8; got something else .field larger"),
    ],
)
def test_load_csv_refuses_what_it_cannot_use(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text, **options)


def test_load_csv_reads_real_tables(data_dir):
    housing = data_dir / "california_housing" / "housing.csv"
    with pytest.raises(ValueError, match="line 292, column 'total_bedrooms' must hold a number; got a missing value .207 of them"):
        datasets.load_csv(housing, target="median_house_value", ignore=["ocean_proximity"])
    X, y, columns = datasets.load_csv(housing, target="median_house_value", ignore=["ocean_proximity", "total_bedrooms"])
    assert (X.shape, y[0], columns[-1]) == ((20640, 7), 452600.0, "median_income")
    adult = datasets.load_csv(data_dir / "adult" / "adult-test.csv", ignore=[1, 3, 5, 6, 7, 8, 9, 13])
    assert (adult.X.shape, np.count_nonzero(adult.y == ">50K.")) == ((16281, 6), 3846)
