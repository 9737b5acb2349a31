import numpy as np
import pytest

from fastnn import Dense, Sequential, cli
from fastnn.datasets import Table, TableBatches, load_table

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import feather, parquet  # noqa: E402

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 2)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64)
COLUMNS = {"a": X[:, 0], "kind": np.where(LABELS, "yes", "no"), "b": X[:, 1].astype(np.float64), "label": LABELS}


@pytest.fixture(params=["table.parquet", "table.arrow", "table.FEATHER"])
def path(request, tmp_path):
    return write(tmp_path / request.param, COLUMNS)


def write(path, columns):
    table = pyarrow.table(columns)
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=7)
    else:
        feather.write_feather(table, path, chunksize=7, compression="uncompressed")
    return path


def test_columns_are_read_by_name_and_number(path):
    table = load_table(path, target="label", ignore=["kind"])
    assert table.columns == ("a", "b")
    np.testing.assert_array_equal(table.X, X)
    np.testing.assert_array_equal(table.y, LABELS)
    assert (table.X.dtype, table.y.dtype) == (np.float64, np.int64)
    text = load_table(path, target=1, columns=["b", "a"])
    np.testing.assert_array_equal(text.X, X[:, ::-1])
    assert text.y.tolist() == COLUMNS["kind"].tolist()
    assert load_table(path, target=None, columns=["a"]).y is None


@pytest.mark.parametrize("name", ["table.parquet", "table.arrow"])
def test_nested_columns_count_as_one_and_can_be_left_out(tmp_path, name):
    nested = {"vector": [[1.0, 2.0]] * len(X), "a": X[:, 0], "pair": [{"a": 5.0, "c": 6.0}] * len(X), "label": LABELS}
    path = write(tmp_path / name, nested)
    for ignore in (["vector", "pair"], [0, 2]):
        table = load_table(path, ignore=ignore)
        assert table.columns == ("a",)
        np.testing.assert_array_equal(table.X, X[:, :1])
        np.testing.assert_array_equal(table.y, LABELS)
    assert [len(one) for one, _ in TableBatches(path, 3, batch_size=40, columns=["a"])] == [40, 20]
    with pytest.raises(ValueError, match="column 'vector' must hold numbers; got list"):
        load_table(path)


def test_batches_of_a_file_train_like_its_arrays(path):
    batches = TableBatches(path, "label", batch_size=16, ignore=["kind"])
    assert [len(one) for one, _ in batches] == [16, 16, 16, 12]
    assert len(batches) == 4
    streamed, whole = (Sequential([Dense(4, "tanh"), Dense(2, "softmax")], n_features=2) for _ in range(2))
    streamed.fit(batches, epochs=2, verbose=0)
    whole.fit(X.astype(np.float64), LABELS, epochs=2, batch_size=16, shuffle=False, verbose=0)
    np.testing.assert_array_equal(streamed.parameters, whole.parameters)


def test_arrow_tables_are_frames_with_names():
    table = pyarrow.table({"a": X[:, 0], "b": X[:, 1]})
    net = Sequential([Dense(2, "softmax")], n_features=2)
    net.fit(table, LABELS, verbose=0)
    assert net.feature_names == ("a", "b")
    with pytest.raises(ValueError, match="X must have the columns that the network was trained on"):
        net.predict(table.select(["b", "a"]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, None, 2.0], "y": [1, 0, 1]}, r"row 1, column 'a' must have a value; got a missing one \(1 of them in this column\)"),
        ({"a": [1.0, 2.0, np.inf], "y": [1, 0, 1]}, "row 2, column 'a' must hold a finite number; got inf"),
        ({"a": ["x", "z", "x"], "y": [1, 0, 1]}, "column 'a' must hold numbers; got string"),
        ({"a": [1.0, 2.0, 3.0], "y": [1, None, 1]}, "row 1, column 'y' must have a value"),
        ({"y": [1, 0, 1]}, "must hold columns of features"),
        ({"a": pyarrow.array([], pyarrow.float64()), "y": pyarrow.array([], pyarrow.int64())}, "must hold at least one row"),
    ],
)
def test_tables_that_are_no_numbers_are_refused(tmp_path, columns, message):
    for name in ("table.parquet", "table.arrow"):
        with pytest.raises(ValueError, match=message):
            load_table(write(tmp_path / name, columns))


def test_other_files_and_arguments_are_refused(path, tmp_path):
    for name in ("bad.parquet", "bad.arrow"):
        (tmp_path / name).write_text("a,b\n1,2\n")
        with pytest.raises(ValueError, match="must be a whole Parquet or Arrow file"):
            load_table(tmp_path / name)
    with pytest.raises(ValueError, match="header must be left out"):
        load_table(path, header=True)
    with pytest.raises(ValueError, match="target must be a column of .*; got 'nothing'"):
        TableBatches(path, "nothing")
    with pytest.raises(FileNotFoundError):
        load_table(tmp_path / "nowhere.parquet")


def test_without_pyarrow_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"need pyarrow: pip install 'fastnn\[table\]'"):
        load_table(path)


def test_the_command_line_trains_and_predicts(path, tmp_path, capsys):
    model = tmp_path / "model"
    options = ["--target", "kind", "--ignore", "label", "--layers", "8", "--epochs", "2", "--quiet", "--save", str(model)]
    assert cli.main(["train", str(path), *options]) == 0
    capsys.readouterr()
    assert cli.main(["predict", str(model), str(path)]) == 0
    assert set(capsys.readouterr().out.split()) <= {"yes", "no"}
    assert Sequential.load(model).metadata["columns"] == ["a", "b"]


def test_csv_files_are_tables_too(tmp_path):
    (tmp_path / "table.csv").write_text("a,y\n1.5,0\n2.5,1\n")
    actual = load_table(tmp_path / "table.csv", header=True)
    assert isinstance(actual, Table)
    assert (actual.X.tolist(), actual.y.tolist(), actual.columns) == ([[1.5], [2.5]], [0, 1], ("a",))
