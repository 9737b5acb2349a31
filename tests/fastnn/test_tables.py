import gzip
import sys

import numpy as np
import pytest

from fastnn import tables
from fastnn.tables import load_csv


def table(tmp_path, text, **options):
    file = tmp_path / "table.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_csv(file, **options)


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


@pytest.mark.parametrize("target", ["a", 0, "0", -3, "-3", np.int64(0)])
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
    assert actual.columns == (0, 1, 3)


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
        ("a,b,c,t\n1,2,2,0\nred,,2,1\n", {}, r"column 'a' must hold .* if this is it\. Such cells are also in 'b'\.$"),
        ("a,b,c,t\n1,2,2,0\n,,?,1\n", {"ignore": ["b"]}, r"'a' must hold .* in this column\)\. Such cells are also in 'c'\.$"),
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
        load_csv(housing, target="median_house_value", ignore=["ocean_proximity"])
    X, y, columns = load_csv(housing, target="median_house_value", ignore=["ocean_proximity", "total_bedrooms"])
    assert (X.shape, y[0], columns[-1]) == ((20640, 7), 452600.0, "median_income")
    adult = load_csv(data_dir / "adult" / "adult-test.csv", ignore=[1, 3, 5, 6, 7, 8, 9, 13])
    assert (adult.X.shape, np.count_nonzero(adult.y == ">50K.")) == ((16281, 6), 3846)


# what the first lines say


@pytest.fixture(params=["pyarrow", "numpy"])
def parser(request, monkeypatch):
    """Both parsers of the bulk, with blocks of two lines or so."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
    else:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(tables, "BLOCK", 8)
    monkeypatch.setattr(tables, "LITTLE", 0)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0,1,2,label\n0.5,3,4,a\n1.5,6,7,b\n", ("0", "1", "2")),
        ("0,1,2,3\n5,3,4,1\n6,6,7,0\n", ("0", "1", "2")),
        (",0,1\n0,5,1\n1,7,0\n", ("", "0")),
        ("0,1\n2.5,1\n3.5,0\n", ("0",)),
        ("0,kind\n2.5,a\n3.5,b\n", ("0",)),
        ("house;1990;2000;2010\n1;2,5;3;4\n5;6;7;8\n", ("house", "1990", "2000")),
        ("1990,y\n?,3\n4,5\n", None),
        ("7,3\n1,2\n", (0,)),
        ("0,1\n1,0\n1,1\n", (0,)),
        ("0,2,1\n1,0,5\n", (0, 1)),
        ("?,1.5,x\n2,2.5,y\n", None),
        ("1.5,x\n2.5,y\n", (0,)),
    ],
)
def test_load_csv_finds_names_where_there_are_some(tmp_path, text, names):
    if names is None:  # a missing value is no name, and no column of numbers either
        with pytest.raises(ValueError, match="missing value"):
            table(tmp_path, text)
        return
    actual = table(tmp_path, text)
    assert actual.columns == names
    assert len(actual.X) == text.count("\n") - isinstance(names[0], str)


def test_load_csv_reads_the_same_columns_from_another_file(tmp_path):
    named = table(tmp_path, "0,1,2\n3,4.5,0\n5,6.5,1\n").columns
    np.testing.assert_array_equal(table(tmp_path, "1,x,0\n40,7,30\n", target=None, columns=named).X, [[30, 40]])
    with pytest.raises(ValueError, match=r"columns must be a column of .*: one of '40', '30' or a number below 2; got '0'\."):
        table(tmp_path, "40,30\n60,50\n", target=None, columns=named)
    numbered = table(tmp_path, "3,4,0\n5,6,1\n", ignore=[0]).columns
    np.testing.assert_array_equal(table(tmp_path, "0,1,2\n5,6,7\n", target=None, columns=numbered).X, [[1], [6]])
    np.testing.assert_array_equal(table(tmp_path, "1,2\n3,4\n", target=None, columns=["column 1"]).X, [[2], [4]])  # as once saved


@pytest.mark.parametrize(
    ("options", "name"),
    [({}, "b"), ({"ignore": ["y"], "target": "a"}, "b"), ({"ignore": [1]}, "b"), ({"target": "b"}, "b"), ({"columns": ["b"], "target": None}, "b")],
)
def test_load_csv_refuses_a_name_that_two_columns_have(tmp_path, options, name):
    with pytest.raises(ValueError, match=rf"columns of .* must have different names; got '{name}' more than once\.$"):
        table(tmp_path, "a,b,b,y\n1,2,3,0\n4,5,6,1\n", **options)


def test_load_csv_minds_no_names_of_columns_that_it_leaves_out(tmp_path):
    assert table(tmp_path, "a,note,note,y\n1,2,3,0\n", ignore=[1, 2]).columns == ("a",)
    assert table(tmp_path, "note,a,note\n1,2,3\n", target=None, columns=["a"]).X == [[2]]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a|b|y\n1.5|2|0\n3|4|1\n", ("a", "b")),
        ('"a, b";"c";"y"\n1.5;2;0\n3;4;1\n', ("a, b", "c")),
        ("a, b;c;y\n1.5;2;0\n3;4;1\n", ("a, b", "c")),
        ("1,5;2;0\n3;4;1\n", (0, 1)),
        ("a\tb\ty\n1,5\t2\t0\n3,0\t4\t1\n", ("a", "b")),
        ("\n\na;b;y\n1,5;2,;0\n\n+3;,4e1;1", ("a", "b")),
        ("a;b;y\r1,5;2;0\r3;4;1\r", ("a", "b")),
    ],
)
def test_load_csv_finds_separator_and_decimal_sign(tmp_path, parser, text, columns):
    actual = table(tmp_path, text)
    np.testing.assert_array_equal(actual.X, [[1.5, 2], [3, 4]])
    np.testing.assert_array_equal(actual.y, [0, 1])
    assert actual.columns == columns


def test_load_csv_meets_the_first_decimal_comma_late(tmp_path, parser):
    text = "a;b\n" + "1;2\n" * 2000 + "3,25;4\n"
    assert table(tmp_path, text).X[-1] == 3.25
    with pytest.raises(ValueError, match=r"line 2002, column 'a' must hold a finite number; got '3,25'. Decimal commas are read where"):
        table(tmp_path, text + "3.25;4\n")


def test_load_csv_keeps_text_with_commas_and_decimal_targets(tmp_path, parser):
    np.testing.assert_array_equal(table(tmp_path, "a;y\n1,5;x,y.z\n2,5;w\n").y, ["x,y.z", "w"])
    np.testing.assert_array_equal(table(tmp_path, "a;y\n1;0,25\n2;1\n").y, [0.25, 1])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a b y\n1 2 0\n", {}, r"must hold columns of features, separated by commas, semicolons, tabs or \|; got one column, 'a b y'\."),
        ("a b\n1 2\n", {"target": None, "columns": ["a", "b"]}, r"got 'a'. Cells must be separated by commas, semicolons, tabs or \|\.$"),
        ("a,b,y\n1,2,0\n", {"ignore": ["a", "b"]}, "got none besides the target and those to ignore"),
        ("a,b,y\n1,2,0\n", {"ignore": ["y"]}, "ignore must leave the target in; got 'y'"),
        ("a;y\n1,5;0\n2.5;1\n", {}, r"line 2, column 'a' must hold a finite number; got '1,5'. Decimal commas are read where"),
        ('a,y\n"1,5",0\n', {}, "line 2, column 'a' must hold a finite number; got '1,5'. Decimal commas are read where"),
        ("5,x,1\n6,y,0\n", {"header": False}, "line 1, column 'column 1' must hold a finite number; got 'x'. .* A line of names needs"),
        ("a,y\n1,2\n3,inf\n", {}, r"line 3, column 'y' must hold a finite number; got 'inf'\.$"),
        ("a;y\n1,5;2\n-inf;3\n", {}, r"line 3, column 'a' must hold a finite number; got '-inf'\.$"),
        ("a,y\n1\x00,2\n", {}, "must be a CSV file in UTF-8; got something else .NUL"),
        ("a,b,y\n1,2,3\n4,5,6\n7,8\n", {}, "line 4 must have 3 values like the first line; got 2"),
        ("a,b,y\n1,2,3\n4,5,6,6\n7,8\n", {}, "line 3 must have 3 values like the first line; got 4"),
        ('a,b,y\n1,2,3\n\n4,"x\ny",6\n7,z,8\n', {"target": "b", "columns": ["b"]}, "got none besides the target"),
        ('a,b,y\n1,2,3\n\n4,"x\ny",6\n7,z,8\nnan,2,3\n', {"ignore": ["b"]}, "line 7, column 'a' must hold a number; got a missing value .1 of"),
    ],
)
def test_load_csv_says_what_is_in_the_way(tmp_path, parser, text, options, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text, **options)


# the bulk


@pytest.mark.parametrize("ending", ["csv", "tsv", "txt"])
def test_load_csv_reads_gzipped_tables(tmp_path, ending):
    file = tmp_path / f"table.{ending}.GZ"
    assert tables.is_table(file)
    data = gzip.compress(b"a\tb\n1\t2\n3\t4\n")
    file.write_bytes(data)
    np.testing.assert_array_equal(load_csv(file).X, [[1], [3]])
    for damaged in (data[:-5], data[:-8] + bytes(8)):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="must be a whole gzip file; got a truncated or damaged one"):
            load_csv(file)
    assert not tables.is_table("table.gz")


@pytest.mark.parametrize("separator", [",", ";"])
def test_load_csv_reads_many_forms_of_a_number_to_the_bit(tmp_path, parser, separator):
    numbers = ["1", "+2", " -3.5 ", ".5", "5.", "1e-320", "1.7976931348623157e308", "0.1", "123456789.12345678901234567890", "007", "1E5", '"6.25"', "1_000"]
    text = f"a{separator}skip{separator}kind\n" + "".join(f'{number}{separator}"é{separator}\n{i}"{separator} k{i} \n\n' for i, number in enumerate(numbers))
    actual = table(tmp_path, text if separator == "," else text.replace(".", ","), ignore=["skip"])
    np.testing.assert_array_equal(actual.X[:, 0], [float(number.strip('"')) for number in numbers])
    np.testing.assert_array_equal(actual.y, [f"k{i}" for i in range(len(numbers))])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("1 2 3", np.array([1, 2, 3])),
        ("1 9007199254740993 3", np.array([1, 9007199254740993, 3])),
        ("1 2 3.0", np.array([1.0, 2.0, 3.0])),
        ("1 0x10 3", np.array(["1", "0x10", "3"])),
        ("true false true", np.array(["true", "false", "true"])),
        ("2020-01-01 inf x", np.array(["2020-01-01", "inf", "x"])),
    ],
)
def test_load_csv_takes_the_kind_of_the_target_from_all_its_cells(tmp_path, parser, cells, expected):
    actual = table(tmp_path, "a,y\n" + "".join(f"1,{cell}\n" for cell in cells.split())).y
    assert actual.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(actual, expected)


def test_load_csv_reads_features_in_the_order_asked_for(tmp_path, parser):
    actual = table(tmp_path, "a,b,c\n1,2,3\n4,5,6\n7,8,9\n", target="b", columns=["c", "a", "c"])
    np.testing.assert_array_equal(actual.X, [[3, 1, 3], [6, 4, 6], [9, 7, 9]])
    np.testing.assert_array_equal(actual.y, [2, 5, 8])
    np.testing.assert_array_equal(table(tmp_path, "a\n1\n\n2\n", target=None).X, [[1], [2]])


def test_load_csv_finds_many_columns_by_name_at_once(tmp_path):
    names = [f"g{j}" for j in range(20_000)]
    actual = table(tmp_path, ",".join(names) + "\n" + ",".join(map(str, range(20_000))) + "\n", target=None, columns=names[::-1])
    np.testing.assert_array_equal(actual.X, [range(20_000)[::-1]])
