import gzip
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import cli, problems

ROOT = Path(__file__).parents[2]
QUICK = ["--layers", "16", "--epochs", "2", "--quiet"]


@pytest.fixture(scope="module", autouse=True)
def _warm():
    """Compile beforehand, so that stderr says nothing of it."""
    cli.main(["warmup"])


def run(capsys, *arguments):
    """Return status, stdout and stderr of a command."""
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as error:
        status = error.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def flowers(tmp_path):
    """A table with two numbers, an identifier, and three text classes that the numbers tell apart."""
    kinds = ["iris", "rose", "tulip"] * 40
    lines = [f"{i},{10 * (i % 3) + i % 7 / 7},{1e6 - 2000 * (i % 3) + i % 5},{kind}" for i, kind in enumerate(kinds)]
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(["number,length,weight,kind", *lines]))
    return path


@pytest.fixture
def houses(tmp_path):
    """A table whose last column is a linear function of the others, on scales far from 1."""
    rooms, age = np.meshgrid(np.arange(1, 16), np.linspace(1900, 2020, 25))
    price = 250000 + 30000 * rooms - 1000 * (2020 - age)
    path = tmp_path / "houses.csv"
    np.savetxt(path, np.c_[rooms.ravel(), age.ravel(), price.ravel()], delimiter=",", header="rooms,year,price", comments="", fmt="%.2f")
    return path


# train


def test_train_digits_prints_lines_for_epochs_the_throughput_and_the_accuracy(capsys):
    status, out, err = run(capsys, "train", "digits", "--epochs", 3, "--validation-split", 0.1)
    lines = out.splitlines()
    assert (status, lines[0]) == (0, "digits: 1,442 training and 355 test rows of 64 features, 10 classes")
    assert [bool(re.search(rf"{epoch}/3 .*loss.* val_accuracy", lines[epoch + 1])) for epoch in (1, 2, 3)] == [True] * 3
    assert re.fullmatch(r"trained \d+\.\d\d s: [\d,]+ samples/s, [\d.]+ GFLOP/s", lines[5])
    assert re.fullmatch(r"test accuracy 0\.\d{4}", lines[-1])
    assert float(lines[-1].split()[-1]) > 0.9


def test_train_reports_the_classes(capsys, flowers):
    status, out, err = run(capsys, "train", flowers, "--ignore", "number", "--epochs", 20)
    *_, matrix, table, accuracy = out.strip().replace("\ntest", "\n\ntest").split("\n\n")[-4:]
    assert [line.split() for line in matrix.splitlines()[1:]] == [["iris", "8", "0", "0"], ["rose", "0", "8", "0"], ["tulip", "0", "0", "8"]]
    assert [line.split()[1:] for line in table.splitlines()[1:4]] == [["1.000", "1.000", "1.000", "8"]] * 3
    assert table.splitlines()[4].split() == ["mean", "1.000", "1.000", "1.000"]


def test_train_reports_two_classes_with_one_output(capsys, tmp_path):
    X = np.linspace(-3, 5, 200).reshape(200, 1)
    np.savez(tmp_path / "data.npz", X=X, y=X[:, 0] > 1)
    options = ["--epochs", 3, "--loss", "binary_cross_entropy", "--metrics", "roc_auc,log_loss", "--validation-split", 0.2]
    status, out, err = run(capsys, "train", tmp_path / "data.npz", *options)
    assert status == 0
    assert re.search(r"3/3 .* val_roc_auc [\d.]+  val_log_loss [\d.]+ ", out)
    assert re.search(r"\nFalse +\d+ +\d+\nTrue +\d+ +\d+\n", out)
    assert re.search(r"\ntest roc_auc [\d.]+\ntest log_loss [\d.]+\n$", out)
    for metrics, message in (("rmse", "metrics must fit the loss"), ("roc_acu", "metrics must be one of .* Did you mean 'roc_auc'")):
        status, out, err = run(capsys, "train", tmp_path / "data.npz", "--metrics", metrics)
        assert (status, out) == (1, "")
        assert re.search(message, err)


def test_train_stops_early_and_keeps_the_best_epoch(capsys, flowers):
    options = ["--ignore", "number", "--validation-split", 0.2, "--patience", 2, "--epochs", 500, "--learning-rate", 0.05]
    status, out, err = run(capsys, "train", flowers, *options)
    assert status == 0
    assert 3 <= out.count("val_loss") < 500
    losses = [float(value) for value in re.findall(r"val_loss ([-\d.e+]+)", out)]
    best = losses.index(min(losses)) + 1
    assert f"\nkept epoch {best} of {len(losses)}, with the smallest loss of 19 held-out rows, {min(losses):.4g}\n" in out
    status, out, err = run(capsys, "train", flowers, "--patience", 2, "--validation-split", 0)
    assert (status, err) == (1, "fastnn: patience must be left out without rows to judge on; got it without --validation-split.\n")


def test_train_goes_on_from_a_checkpoint(capsys, flowers, tmp_path):
    options = ["--ignore", "number", "--schedule", "constant", "--validation-split", 0.2, "--patience", 50]
    run(capsys, "train", flowers, *options, "--epochs", 6, "--save", tmp_path / "whole")
    folder = tmp_path / "run"
    run(capsys, "train", flowers, *options, "--epochs", 4, "--checkpoint", folder)
    status, out, err = run(capsys, "train", flowers, *options, "--epochs", 6, "--checkpoint", folder, "--resume", "--save", tmp_path / "parts")
    assert (status, err) == (0, "") and "epoch 5/6" in out and "epoch 4/6" not in out
    parts, whole = (fastnn.Sequential.load(tmp_path / name) for name in ("parts", "whole"))
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    status, out, err = run(capsys, "train", flowers, *options, "--checkpoint", folder)
    assert status == 1 and err.startswith("fastnn: checkpoint must be a folder without checkpoints unless resume=True; got ")
    assert run(capsys, "train", flowers, "--resume")[2] == "fastnn: resume must be False without checkpoint; got True.\n"


def test_weight_decay_and_initializer_reach_the_network(capsys, flowers, tmp_path):
    def trained(*options):
        status, out, err = run(capsys, "train", flowers, "--ignore", "number", *QUICK, "--save", tmp_path / "model", *options)
        assert (status, err) == (0, "")
        return fastnn.Sequential.load(tmp_path / "model")

    plain, decayed, other = trained(), trained("--weight-decay", 0.5), trained("--initializer", "glorot_normal")
    assert np.linalg.norm(decayed.parameters) < np.linalg.norm(plain.parameters)
    assert not np.array_equal(other.parameters, plain.parameters)
    status, out, err = run(capsys, "train", flowers, "--initializer", "he")
    assert (status, out) == (1, "")
    assert "initializer must be one of" in err


def test_test_rows_may_come_from_a_file(capsys, flowers, tmp_path):
    test, other = tmp_path / "test.csv", tmp_path / "rows.data"
    names, *lines = flowers.read_text().splitlines()
    test.write_text("\n".join([names, *lines[:30]]))
    other.write_text("\n".join([names, *lines[30:]]))
    options = ["--ignore", "number", "--epochs", 20, "--format", "csv", "--save", tmp_path / "model"]
    status, out, err = run(capsys, "train", other, "--test", test, *options)
    assert (status, out.splitlines()[0]) == (0, f"{other}: 90 training and 30 test rows of 2 features, 3 classes")
    assert out.endswith("test accuracy 1.0000\n")
    status, out, err = run(capsys, "predict", tmp_path / "model", other, "--format", "csv")
    assert (status, out.split()) == (0, ["iris", "rose", "tulip"] * 30)
    status, out, err = run(capsys, "predict", tmp_path / "model", other)
    assert (status, out, err[-19:]) == (1, "", "Or say --format csv.\n"[-19:])
    for options, message in ((["--test-split", 0.5], "test_split must be left out for --test"), (["--target", "size"], "target must be a column of")):
        status, out, err = run(capsys, "train", other, "--test", test, "--format", "csv", *options)
        assert (status, out) == (1, "")
        assert message in err


def test_test_rows_that_do_not_fit_are_refused_by_the_name_of_their_file(capsys, flowers, tmp_path):
    test = tmp_path / "test.csv"
    names, *lines = flowers.read_text().splitlines()
    for row, message in (
        ("1,2,3,daisy", "the targets of .*test.csv must be of classes that rows to train on have; got 'daisy', which none of them has"),
        ("1,2,3,4", "test.csv must hold columns and targets such as those of .*flowers.csv; got .* y of dtype <U5 and y_test of int64"),
    ):
        test.write_text("\n".join([names, *[row] * 3]))
        status, out, err = run(capsys, "train", flowers, "--test", test, "--ignore", "number")
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert re.search(message, err)
    arrays = {"X": TABLE, "y": LABELS, "X_test": TABLE, "y_test": LABELS}
    np.savez(tmp_path / "data.npz", **arrays)
    for wrong, message in (
        ({"X": TABLE}, r"test.npz must hold X of shape \(n_samples, n_features\) with as many targets y; got X \(60, 3\)\."),
        ({"X": TABLE, "y": LABELS * np.nan}, "the targets of .*test.npz must be finite; got nan in row 0"),
        ({"X": TABLE * 1e50, "y": LABELS}, "X of .*test.npz must fit into float32 as it is scaled"),
        ({"X": TABLE, "y": LABELS + 1}, "the targets of .*test.npz must be of classes that rows to train on have; got '2', which none"),
    ):
        np.savez(tmp_path / "test.npz", **wrong)
        status, out, err = run(capsys, "train", tmp_path / "data.npz", "--test", tmp_path / "test.npz")
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert re.search(message, err)


def test_test_arrays_may_come_from_a_file(capsys, tmp_path):
    X = np.linspace(-3, 5, 200).reshape(200, 1)
    np.savez(tmp_path / "rows.npz", X=X, y=X[:, 0] > 1)
    np.savez(tmp_path / "test.npz", X=X[::7], y=X[::7, 0] > 1)
    status, out, err = run(capsys, "train", tmp_path / "rows.npz", "--test", tmp_path / "test.npz", "--epochs", 1)
    assert (status, out.splitlines()[0]) == (0, f"{tmp_path / 'rows.npz'}: 200 training and 29 test rows of 1 features, 2 classes")


def test_train_is_repeatable_and_quiet(capsys):
    first, second = (run(capsys, "train", *QUICK, "--seed", 5, "--threads", threads) for threads in (1, 2))
    assert first == second
    assert re.fullmatch(r"test accuracy 0\.\d{4}\n", first[1])


@pytest.mark.parametrize(
    "options",
    [
        ["--optimizer", "sgd", "--schedule", "constant"],
        ["--optimizer", "momentum", "--schedule", "linear"],
        ["--activation", "gelu", "--dropout", "0.5", "--schedule", "cosine", "--dtype", "float64"],
        ["--layers", "none", "--batch-size", "100000", "--learning-rate", "0.1"],
    ],
    ids=" ".join,
)
def test_train_takes_its_options(capsys, options):
    status, out, err = run(capsys, "train", *QUICK, *options)
    assert (status, out[:14]) == (0, "test accuracy ")


def test_train_and_predict_text_classes_of_a_table(capsys, flowers, tmp_path):
    model = tmp_path / "flowers.safetensors"
    status, out, err = run(capsys, "train", flowers, "--ignore", "number", "--epochs", 20, "--save", model)
    assert (status, out.splitlines()[-1]) == (0, "test accuracy 1.0000")
    status, out, err = run(capsys, "predict", model, flowers)
    assert (status, out.split()) == (0, ["iris", "rose", "tulip"] * 40)


def test_train_and_predict_numbers_on_any_scale(capsys, houses, tmp_path):
    model, answers = tmp_path / "houses.safetensors", tmp_path / "answers.txt"
    status, out, err = run(capsys, "train", houses, "--target", "price", "--epochs", 60, "--batch-size", 16, "--save", model)
    *_, root, error, score = out.splitlines()
    assert (status, root[:10], error[:9], score[:8]) == (0, "test RMSE ", "test MAE ", "test R2 ")
    assert 0 < float(error.split()[-1]) <= float(root.split()[-1]) < 50_000
    assert float(score.split()[-1]) > 0.99
    status, out, err = run(capsys, "predict", model, houses, "--out", answers)
    assert (status, out) == (0, "")
    table = fastnn.datasets.load_csv(houses)
    np.testing.assert_allclose(np.loadtxt(answers), table.y, atol=20000)
    np.testing.assert_allclose(fastnn.Sequential.load(model).predict(table.X)[:, 0], np.loadtxt(answers), rtol=1e-6)


def test_predict_picks_the_columns_by_name(capsys, houses, tmp_path):
    model, reordered = tmp_path / "houses.safetensors", tmp_path / "reordered.csv"
    run(capsys, "train", houses, *QUICK, "--save", model)
    X = fastnn.datasets.load_csv(houses).X
    np.savetxt(reordered, X[:, ::-1], delimiter=";", header="year;rooms", comments="", fmt="%.2f")
    assert run(capsys, "predict", model, reordered) == run(capsys, "predict", model, houses)


def test_names_that_are_numbers_are_names_to_train_and_to_predict(capsys, tmp_path):
    file, reordered, model = tmp_path / "frame.tsv.gz", tmp_path / "reordered.txt", tmp_path / "model.safetensors"
    X = np.random.default_rng(3).normal(size=(60, 3))
    rows = [[*(f"{value:.3f}".replace(".", ",") for value in row), "ab"[int(row[0] > 0)]] for row in X]
    file.write_bytes(gzip.compress("\n".join("\t".join(row) for row in [["0", "1", "2", "kind"], *rows]).encode()))
    reordered.write_text("\n".join(";".join(row[2::-1]) for row in [["0", "1", "2"], *rows]))
    status, out, err = run(capsys, "train", file, "--epochs", 20, "--save", model)
    assert out.startswith(f"{file}: 48 training and 12 test rows of 3 features, 2 classes\n")
    status, out, err = run(capsys, "predict", model, file)
    assert np.mean([line == row[3] for line, row in zip(out.split(), rows, strict=True)]) > 0.9
    assert run(capsys, "predict", model, reordered) == (0, out, "")
    reordered.write_text("\n".join(";".join(row[:3]) for row in rows))  # without names: no guess by position
    status, out, err = run(capsys, "predict", model, reordered)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert re.search(r"columns must be a column of .*; got '0'", err)


def test_columns_without_names_are_told_by_position(capsys, tmp_path):
    file, model = tmp_path / "bare.csv", tmp_path / "model.safetensors"
    file.write_text("".join(f"{i},{i % 7},{i % 2}\n" for i in range(40)))
    run(capsys, "train", file, *QUICK, "--ignore", "0", "--save", model)
    file.write_text("0,1,2\n5,6,7\n")  # would be names to somebody who knows no better
    status, out, err = run(capsys, "predict", model, file)
    assert (status, len(out.split())) == (0, 2)


def test_train_and_predict_refuse_a_name_that_two_columns_have(capsys, houses, tmp_path):
    model = tmp_path / "model.safetensors"
    run(capsys, "train", houses, *QUICK, "--save", model)
    houses.write_text("rooms,year,rooms\n1,2,3\n4,5,6\n")
    for command in (["train", houses], ["predict", model, houses]):
        status, out, err = run(capsys, *command)
        assert (status, out) == (1, "")
        assert err == f"fastnn: columns of {houses} must have different names; got 'rooms' more than once.\n"


@pytest.mark.parametrize(("loss", "kind"), [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")])
def test_train_and_predict_two_classes_of_an_npz_file(capsys, tmp_path, loss, kind):
    data, model = tmp_path / "data.npz", tmp_path / "model.safetensors"
    X = np.linspace(-3, 5, 200).reshape(200, 1)
    np.savez(data, X_train=X, y_train=X[:, 0] > 1, X_test=X[::7], y_test=X[::7, 0] > 1)
    status, out, err = run(capsys, "train", data, "--epochs", 20, "--loss", loss, "--save", model)
    assert (status, out.splitlines()[0]) == (0, f"{data}: 200 training and 29 test rows of 1 features, 2 classes")
    assert float(out.split()[-1]) > 0.9
    assert fastnn.Sequential.load(model).last_activation == kind
    status, out, err = run(capsys, "predict", model, data)
    assert [line == "True" for line in out.split()].count(True) == pytest.approx(100, abs=10)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "binary_cross_entropy", "binary_focal", "focal"])
def test_two_classes_are_told_apart_by_every_loss_of_them(capsys, tmp_path, loss):
    names = np.where(LABELS, "yes", "no")
    np.savez(tmp_path / "data.npz", X=TABLE, y=names)
    options = ["--layers", 16, "--epochs", 60, "--metrics", "accuracy,roc_auc", "--save", tmp_path / "model", "--validation-split", 0.1, "--balanced"]
    status, out, err = run(capsys, "train", tmp_path / "data.npz", "--loss", loss, *options)
    assert status == 0
    right = sum(int(line.split()[1 + k]) for k, line in enumerate(out.split("right / decided")[1].splitlines()[1:3]))
    assert right == round(12 * float(re.search(r"\ntest accuracy ([\d.]+)\n", out)[1])) > 9
    status, out, err = run(capsys, "predict", tmp_path / "model", tmp_path / "data.npz")
    assert np.mean(np.array(out.split()) == names) > 0.9


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "log_cosh", "poisson", "quantile", "gaussian_nll"])
def test_numbers_are_predicted_by_every_loss_of_them(capsys, tmp_path, loss):
    y = np.round(1000 * np.exp(TABLE[:, 0])) if loss == "poisson" else 1e6 + 1000 * TABLE[:, 0]
    np.savez(tmp_path / "data.npz", X=TABLE, y=y)
    options = ["--layers", 16, "--epochs", 100, "--task", "regression", "--save", tmp_path / "model"]
    status, out, err = run(capsys, "train", tmp_path / "data.npz", "--loss", loss, *options)
    assert status == 0
    assert ("; the loss is that of standardized targets" in out) == (loss != "poisson")
    assert float(out.split()[-1]) > 0.6
    status, out, err = run(capsys, "predict", tmp_path / "model", tmp_path / "data.npz")
    outputs = np.array([line.split(",") for line in out.split()], float)
    assert outputs.shape == (60, 1 + (loss == "gaussian_nll"))
    assert np.corrcoef(outputs[:, 0], y)[0, 1] > 0.9


def test_a_loss_that_does_not_fit_the_targets_is_refused_with_those_that_do(capsys, tmp_path):
    np.savez(tmp_path / "three.npz", X=TABLE, y=np.arange(60) % 3)
    np.savez(tmp_path / "numbers.npz", X=TABLE, y=TABLE[:, 0])
    for loss in ("hinge", "binary_cross_entropy", "poisson"):
        help_ = " Numbers need --task regression." if loss == "poisson" else ""
        expected = f"fastnn: loss must be one of 'cross_entropy', 'focal' for 3 classes; got '{loss}'.{help_}\n"
        assert run(capsys, "train", tmp_path / "three.npz", "--loss", loss) == (1, "", expected)
    status, out, err = run(capsys, "train", tmp_path / "numbers.npz", "--loss", "hinge")
    assert (status, out) == (1, "")
    assert re.fullmatch(r"fastnn: loss must be one of 'squared_error', .* for numbers; got 'hinge'\. Classes need --task classification\.\n", err)


def test_train_images_of_an_npz_file(capsys, tmp_path):
    digits = fastnn.load_digits()
    np.savez(tmp_path / "images.npz", X=digits.X_train.reshape(-1, 8, 8), y=digits.y_train, X_test=digits.X_test.reshape(-1, 8, 8), y_test=digits.y_test)
    status, out, err = run(capsys, "train", tmp_path / "images.npz", "--layers", 32, "--quiet")
    assert status == 0
    assert float(out.split()[-1]) > 0.9


def test_train_draws_curves(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, err = run(capsys, "train", *QUICK, "--plot", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], r"nowhere\.csv: No such file or directory"),
        (["nowhere.npz"], r"nowhere\.npz: No such file or directory"),
        (["irises"], "source must be one of digits, mnist, fashion-mnist, or a file that ends in .npz, .csv, .tsv or .txt .*; got 'irises'"),
        (["mnist", "--data-dir", "nowhere"], "data_dir must hold the file mnist/train-images-idx3-ubyte.gz; got 'nowhere'"),
        (["--layers", "0"], r"argument --layers: must be sizes such as 500,500, or none; got '0'"),
        (["--layers", "5,x"], r"argument --layers: must be sizes"),
        (["--activation", "rleu"], "activation must be one of .*; got 'rleu'. Did you mean 'relu'"),
        (["--activation", "softmax"], "softmax"),
        (["--optimizer", "adma"], "optimizer must be one of .*; got 'adma'. Did you mean 'adam'"),
        (["--loss", "cross_entropi"], "loss must be .*Did you mean 'cross_entropy'"),
        (["--loss", "squared_error"], r"loss must be one of 'cross_entropy', 'focal' for 10 classes; got 'squared_error'\.$"),
        (["--schedule", "cosin"], "schedule must be one of .*Did you mean 'cosine'"),
        (["--learning-rate", "-1"], "learning_rate must be a finite number of at least 0; got -1"),
        (["--learning-rate", "fast"], "argument --learning-rate: invalid float value: 'fast'"),
        (["--epochs", "0"], "epochs must be an integer of at least 1; got 0"),
        (["--batch-size", "0"], "batch_size must be an integer of at least 1; got 0"),
        (["--seed", "-1"], "seed must be"),
        (["--threads", "0"], "n_threads must be an integer of at least 1; got 0"),
        (["--dtype", "float16"], "dtype must be 'float32', 'float64' or 'bfloat16'; got 'float16'"),
        (["--dropout", "1"], "dropout must be a finite number of at least 0 and below 1; got 1"),
        (["--dropout", "-0.1"], "dropout must be"),
        (["--validation-split", "1"], "validation_split must be a share from 0 to below 1; got 1"),
        (["--validation-split", "0.9999"], "validation_split must leave rows to train on; got 0.9999 of 1442 rows"),
        (["--save", "nowhere/model"], "save must name a file in a folder that exists and can be written; got 'nowhere/model'"),
        (["--plot", "curves.xyz"], "plot must end in one of .*; got 'curves.xyz'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--tes", "0.5"], "unrecognized arguments: --tes$"),
        (["--epoch", "1"], "unrecognized arguments: --epoch$"),
        (["--target", "y"], "target must be left out for digits, it is for .csv; got 'y'"),
        (["--test-split", "0.5"], "test_split must be left out for digits, it is for .csv and .npz; got 0.5"),
        (["--task", "regression"], "task must be left out for digits"),
        (["--no-header"], "header must be left out for digits"),
        (["--ignore", "a"], "ignore must be left out for digits"),
        (["--data-dir", "."], "data_dir must be left out for digits, it is for mnist and fashion-mnist; got '.'"),
        (["table.npz", "--target", "y"], "target must be left out for table.npz"),
        (["table.csv", "--data-dir", "."], "data_dir must be left out for table.csv"),
        (["--optimizer", "lbfgs", "--schedule", "cosine"], "schedule must be left out for lbfgs, which takes all rows at once; got 'cosine'"),
        (["--optimizer", "conjugate_gradient", "--batch-size", "9"], "batch_size must be left out for conjugate_gradient"),
        (["--optimizer", "lbfgs", "--learning-rate", "0.1"], "learning_rate must be left out"),
        (["--optimizer", "lbfgs", "--dropout", "0.1"], "dropout must be left out"),
        (["--layers", "1000000000000"], r"layers and .* must fit into .* of memory; got an estimate of .*iB\. Take smaller --layers or fewer rows\.$"),
        (["--learning-rate", "1e30", "--optimizer", "sgd"], "loss must be finite; got NaN or infinity at epoch"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_train_refuses_bad_input_in_one_sentence(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, "train", "--quiet", *arguments)
    assert status in (1, 2)
    assert out == ""
    assert err.startswith("fastnn")
    assert len(err.splitlines()) == 1
    assert re.search(message, err)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "price"], "target must be a column of .*: one of 'number', 'length', 'weight', 'kind'"),
        (["--ignore", "numbr"], "ignore must be a column of"),
        (["--task", "regression"], "the targets of .* must be numbers for a regression"),
        (["--no-header"], "line 1, column 'column 0' must hold a finite number; got 'number'. Leave out columns of text"),
        (["--target", "number"], "column 'kind' must hold a finite number; got 'iris'. .* name the target if this is it"),
        (["--ignore", "number,kind"], "ignore must leave the target in; got 'kind'"),
        (["--target", "2", "--ignore", "weight"], "ignore must leave the target in; got 'weight'"),
        (["--test-split", "1"], "test_split must be a share from 0 to below 1; got 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_train_refuses_tables_it_cannot_use(capsys, flowers, options, message):
    status, out, err = run(capsys, "train", flowers, "--quiet", *options)
    assert (status, len(err.splitlines())) == (1, 1)
    assert re.search(message, err)


def test_train_names_the_row_of_a_missing_value(capsys, flowers):
    flowers.write_text(flowers.read_text().replace("\n3,", "\n,"))
    status, out, err = run(capsys, "train", flowers)
    assert (status, out) == (1, "")
    assert err == f"fastnn: {flowers}, line 5, column 'number' must hold a number; got a missing value (1 of them in this column).\n"


def test_train_refuses_arrays_that_do_not_fit(capsys, tmp_path):
    for arrays in ({"X": np.zeros((3, 2))}, {"X": np.zeros((3, 2)), "y": np.zeros(4)}, {"X": np.zeros(3), "y": np.zeros(3)}):
        np.savez(tmp_path / "data.npz", **arrays)
        status, out, err = run(capsys, "train", tmp_path / "data.npz")
        assert (status, len(err.splitlines())) == (1, 1)
        assert "must hold X of shape (n_samples, n_features) with as many targets y; got X (3" in err


TABLE = np.random.default_rng(0).normal(size=(60, 3))
LABELS = (TABLE[:, 0] > 0).astype(int)


def changed(A, at, value):
    """Return a copy with another number somewhere."""
    A = np.array(A, float)
    A[at] = value
    return A


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": changed(TABLE, (37, 2), np.nan)}, r"X of data.npz must be finite; got nan in row 37, column 2\.$"),
        ({"X": changed(TABLE, (5, 0), -np.inf)}, r"X of data.npz must be finite; got -inf in row 5, column 0\.$"),
        ({"X": TABLE.astype(str)}, "X of data.npz must hold real numbers; got dtype <U"),
        ({"X": TABLE.astype(int).astype("datetime64[D]")}, "X of data.npz must hold real numbers; got dtype datetime64"),
        ({"X": TABLE.astype(object)}, r"data.npz must be a whole npz file of plain arrays; got an array of Python objects\."),
        ({"X": np.zeros((60, 0))}, "X of data.npz must have at least one row and one column; got shape"),
        ({"y": changed(LABELS, 11, np.nan)}, "the targets of data.npz must be finite; got nan in row 11"),
        ({"y": TABLE[:, 0] * np.inf}, "the targets of data.npz must be finite; got"),
        ({"X_test": TABLE[:, :2], "y_test": LABELS}, r"X_test and y_test with columns as those of X and y; got X \(60, 3\), .*X_test \(60, 2\)"),
        ({"X_test": changed(TABLE, (9, 1), np.nan), "y_test": LABELS}, "X_test of data.npz must be finite; got nan in row 9, column 1"),
        ({"X_test": TABLE, "y_test": np.eye(2)[LABELS]}, r"columns as those of X and y; .* y_test \(60, 2\)"),
        ({"X_test": TABLE, "y_test": LABELS.astype(str)}, "columns as those of X and y; .* y of dtype int64 and y_test of <U"),
        ({"X_test": changed(TABLE, (3, 1), 1e50), "y_test": LABELS}, "X_test of data.npz must fit into float32 as it is scaled; got numbers from .* to 1e"),
    ],
)
def test_train_refuses_arrays_before_the_training(capsys, tmp_path, monkeypatch, arrays, message):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", **{"X": TABLE, "y": LABELS, **arrays})
    status, out, err = run(capsys, "train", "data.npz")
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert re.search(message, err)


def test_huge_numbers_are_standardized_or_refused(capsys, tmp_path):
    np.savez(tmp_path / "data.npz", X=TABLE * 1e200, y=LABELS)
    status, out, err = run(capsys, "train", tmp_path / "data.npz", "--layers", 8, "--quiet", "--epochs", 60)
    assert (status, err) == (0, "")
    assert float(out.split()[-1]) > 0.8
    status, out, err = run(capsys, "train", tmp_path / "data.npz", "--no-standardize")
    assert (status, out) == (1, "")
    assert "data.npz must fit into float32 as it is scaled" in err
    np.savez(tmp_path / "data.npz", X=TABLE, y=TABLE[:, 0], X_test=TABLE[:2], y_test=np.array([0.5, 1e39]))
    status, out, err = run(capsys, "train", tmp_path / "data.npz", "--no-standardize")
    assert (status, out) == (1, "")
    assert "data.npz must fit into float32; got 1e+39 in row 1" in err


def test_one_hot_targets_of_an_npz_file_are_classes(capsys, tmp_path):
    np.savez(tmp_path / "data.npz", X=TABLE, y=np.eye(2)[LABELS], X_test=TABLE[:9], y_test=np.eye(2)[LABELS[:9]])
    status, out, err = run(capsys, "train", tmp_path / "data.npz", "--layers", 8, "--epochs", 1)
    assert status == 0
    assert out.splitlines()[0].endswith("rows of 3 features, 2 classes")


def test_few_rows_of_whole_numbers_are_a_regression(capsys, tmp_path):
    prices = (1000 * (TABLE[:40, 0] + TABLE[:40, 1]) + 5000).astype(int)
    np.savetxt(tmp_path / "prices.csv", np.c_[TABLE[:40], prices], delimiter=",", header="a,b,c,price", comments="", fmt="%.9g")
    status, out, err = run(capsys, "train", tmp_path / "prices.csv", "--epochs", 1)
    assert status == 0
    assert out.splitlines()[0].endswith("3 features, regression; the loss is that of standardized targets")


def test_validation_lines_of_a_regression_are_in_its_units(capsys, houses):
    status, out, err = run(capsys, "train", houses, "--epochs", 3, "--validation-split", 0.2)
    found = [dict(re.findall(r"(\w+) ([-\d.e+]+)", line)) for line in out.splitlines() if line.startswith("epoch")]
    assert all(float(one["val_mae"]) > 1000 for one in found)
    assert all(float(one["val_rmse"]) > 1000 for one in found)
    assert all(float(one["val_loss"]) < 10 for one in found)
    assert all(-5 < float(one["val_r2"]) < 1 for one in found)


def test_numbers_far_from_zero_are_predicted_with_their_digits(capsys, tmp_path):
    y = TABLE[:, 0] + 1e8
    np.savez(tmp_path / "data.npz", X=np.c_[TABLE, np.full(60, 1.7e9)], y=y)
    status, out, err = run(capsys, "train", tmp_path / "data.npz", "--layers", 8, "--batch-size", 4, "--quiet", "--save", tmp_path / "model")
    assert 0.5 < float(out.split()[-1]) < 1
    status, out, err = run(capsys, "predict", tmp_path / "model", tmp_path / "data.npz")
    assert np.std(np.array(out.split(), float) - y) < 0.6


@pytest.mark.parametrize("optimizer", ["lbfgs", "conjugate_gradient"])
def test_optimizers_over_all_rows_show_no_steps(capsys, optimizer):
    pytest.importorskip("scipy")
    status, out, err = run(capsys, "train", "--layers", "8", "--epochs", 2, "--optimizer", optimizer)
    assert status == 0
    assert re.search(rf"dropout 0, .*; {optimizer}, all rows at once, \d+ threads", out.splitlines()[1])


def test_the_score_is_printed_before_the_file_is_written(capsys, tmp_path, monkeypatch):
    def full(network, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(fastnn.Sequential, "save", full)
    status, out, err = run(capsys, "train", *QUICK, "--save", tmp_path / "model")
    assert (status, out[:14]) == (1, "test accuracy ")
    assert err == f"fastnn: {tmp_path / 'model'}: No space left on device\n"


def test_scorers_of_scikit_learn_judge_and_the_network_is_saved(capsys, flowers, tmp_path):
    pytest.importorskip("sklearn")
    options = ["--metrics", "neg_log_loss,f1_weighted,accuracy", "--save", tmp_path / "model"]
    status, out, err = run(capsys, "train", flowers, "--ignore", "number", *QUICK, *options)
    assert status == 0
    assert re.fullmatch(r"test neg_log_loss -[\d.]+\ntest f1_weighted [\d.]+\ntest accuracy 0\.\d{4}\n", out)
    assert fastnn.Sequential.load(tmp_path / "model").metadata["classes"] == ["iris", "rose", "tulip"]


@pytest.mark.parametrize("function", ["_test", "_report"])
def test_the_network_is_saved_whatever_becomes_of_the_report(capsys, tmp_path, monkeypatch, function):
    def fail(*arguments):
        raise ValueError("no report.")

    monkeypatch.setattr(cli, function, fail)
    assert run(capsys, "train", *QUICK, "--save", tmp_path / "model") == (1, "", "fastnn: no report.\n")
    assert fastnn.Sequential.load(tmp_path / "model").n_features == 64


@pytest.fixture
def content(tmp_path, monkeypatch):
    """A folder with a table by three names, another one, and a model; its function tells what the files hold."""
    monkeypatch.chdir(tmp_path)
    lines = "".join(f"{a:.4f},{b:.4f},{label}\n" for (a, b, _), label in zip(TABLE, LABELS))
    Path("ok.csv").write_text(lines)
    Path("test.csv").write_text(lines)
    os.symlink("ok.csv", "link.csv")
    os.link("ok.csv", "hard.csv")
    assert cli.main(["train", "ok.csv", *QUICK, "--save", "model"]) == 0
    return lambda: {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "ok.csv", "--save", "ok.csv"], "save must be another file than the source; got 'ok.csv'"),
        (["train", "ok.csv", "--save", "../{}/ok.csv"], "save must be another file than the source; got '../.*'"),
        (["train", "ok.csv", "--save", "link.csv"], "save must be another file than the source; got 'link.csv'"),
        (["train", "link.csv", "--save", "hard.csv"], "save must be another file than the source; got 'hard.csv'"),
        (["train", "ok.csv", "--plot", "ok.csv"], "plot must be another file than the source; got 'ok.csv'"),
        (["train", "ok.csv", "--checkpoint", "ok.csv"], "checkpoint must be another file than the source; got 'ok.csv'"),
        (["train", "ok.csv", "--test", "test.csv", "--save", "test.csv"], "save must be another file than that of test; got 'test.csv'"),
        (["train", "ok.csv", "--save", "a.png", "--plot", "a.png"], "plot must be another file than that of save; got 'a.png'"),
        (["train", "ok.csv", "--save", "new", "--checkpoint", "new"], "checkpoint must be another file than that of save; got 'new'"),
        (["predict", "model", "ok.csv", "--out", "model"], "out must be another file than the model; got 'model'"),
        (["predict", "model", "ok.csv", "--out", "hard.csv"], "out must be another file than the data; got 'hard.csv'"),
        (["predict", "model", "ok.csv", "--out", "nowhere/a"], "out must name a file in a folder that exists and can be written; got 'nowhere/a'"),
        (["export", "model", "--format", "c", "-o", "model"], "out must be another file than the model; got 'model'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_read_is_not_overwritten(capsys, content, arguments, message):
    capsys.readouterr()
    before, folder = content(), Path.cwd().name
    status, out, err = run(capsys, *[argument.format(folder) for argument in arguments])
    assert (status, out) == (1, "")
    assert re.fullmatch(rf"fastnn: {message}\.\n", err)
    assert content() == before


def test_a_data_set_is_no_file(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(capsys, "train", "digits", *QUICK, "--save", "digits")[0] == 0


def test_predictions_are_written_whole_or_not_at_all(capsys, houses, tmp_path, monkeypatch):
    model, out = tmp_path / "model", tmp_path / "out.txt"
    run(capsys, "train", houses, *QUICK, "--save", model)
    out.write_text("before")

    def full(file):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run(capsys, "predict", model, houses, "--out", out) == (1, "", "fastnn: [Errno 28] No space left on device\n")
    assert out.read_text() == "before" and len(list(tmp_path.iterdir())) == 3
    assert run(capsys, "predict", model, houses, "--out", out) == (0, "", "")
    assert len(out.read_text().splitlines()) == 375


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="needs /dev/stdout")
def test_predictions_go_to_a_pipe_or_a_device(houses, tmp_path):
    assert cli.main(["train", str(houses), *QUICK, "--save", str(tmp_path / "model")]) == 0
    process = start("predict", str(tmp_path / "model"), str(houses), "--out", "/dev/stdout")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, len(out.splitlines())) == (0, "", 375)


def test_help_says_what_files_hold(capsys):
    status, out, err = run(capsys, "train", "--help")
    text = " ".join(out.split())
    assert f"--loss LOSS {', '.join(fastnn.losses.LOSSES)} (default: " in text
    assert "quantile_loss, r2, mae, mse, rmse, mape, or scikit- learn's scorers such as neg_log_loss" in text
    assert "X_test and y_test to test on rows of their own" in text
    assert "at most 50 with five rows each on average" in text


# problems


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([3, 5, 3]), ("3", "5")),
        (np.array([True, False, True]), ("False", "True")),
        (np.array(["b", "a", "b"]), ("a", "b")),
        (np.array([0.0, 1.0, 0.0]), ("0.0", "1.0")),
        (np.repeat([1.0, 2.0, 3.0], 5), ("1.0", "2.0", "3.0")),
        (np.repeat(np.arange(50), 5), tuple(map(str, range(50)))),
        (np.arange(100), None),
        (np.repeat(np.arange(51), 5), None),
        (np.repeat([4, 5, 6], [5, 5, 4]), None),  # fewer than five rows each
        (np.repeat([0.0, 0.5], 9), None),
        (np.zeros((3, 2), np.int64), None),
        (np.array([[0.5, 0.5], [1.0, 0.0]]), None),
    ],
)
def test_few_whole_numbers_and_text_are_classes(y, classes):
    labels, actual = problems.encode_targets("file", y, None)
    assert actual == classes
    if classes:
        np.testing.assert_array_equal(np.array(classes)[labels], y.astype(str))
    else:
        np.testing.assert_array_equal(labels, y.reshape(len(y), -1))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_rows_with_a_single_one_are_classes(dtype):
    labels, one_hot = np.array([2, 0, 1, 2]), np.eye(4, dtype=dtype)[[2, 0, 1, 2]]
    actual, classes = problems.encode_targets("file", one_hot, None)
    np.testing.assert_array_equal(actual, labels)
    assert classes == ("0", "1", "2", "3")
    assert problems.encode_targets("file", one_hot, "classification")[1] == classes
    assert problems.encode_targets("file", one_hot, "regression")[1] is None
    with pytest.raises(ValueError, match="must be one column of at least 2 classes"):
        problems.encode_targets("file", one_hot + one_hot.astype(int), "classification")


def test_split_is_stratified_disjoint_and_complete():
    y = np.repeat([0, 1, 2], [500, 100, 10])
    rows, held_out = problems.split(y, 0.1, "test_split")
    np.testing.assert_array_equal(np.sort(np.r_[rows, held_out]), np.arange(len(y)))
    np.testing.assert_array_equal(np.bincount(y[held_out]), [50, 10, 1])
    np.testing.assert_array_equal(held_out, problems.split(y, 0.1, "test_split")[1])


# predict, info, warmup


@pytest.mark.parametrize(
    ("content", "message"),
    [("rooms,age\n1,2\n", "columns must be a column of .* got 'year'"), ("rooms,year\n1,\n", "missing value"), ("", "empty file")],
)
def test_predict_refuses_tables_it_cannot_use(capsys, houses, tmp_path, content, message):
    model, table = tmp_path / "model.safetensors", tmp_path / "new.csv"
    run(capsys, "train", houses, *QUICK, "--save", model)
    table.write_text(content)
    status, out, err = run(capsys, "predict", model, table)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert re.search(message, err)


def test_predict_prints_a_line_a_row_for_names_with_line_breaks(capsys, tmp_path):
    np.savez(tmp_path / "data.npz", X=TABLE, y=np.where(LABELS, "up\nwards", "down\r"))
    run(capsys, "train", tmp_path / "data.npz", *QUICK, "--save", tmp_path / "model")
    status, out, err = run(capsys, "predict", tmp_path / "model", tmp_path / "data.npz")
    assert (len(out.splitlines()), set(out.splitlines())) == (60, {"up\\nwards", "down\\r"})


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        *[({"classes": some}, "012") for some in (["a"], ["a", None, "c"], {"a": 1}, 5, [], ["a", "b", ["c"]])],
        *[(some, "012") for some in (["a"], None, "text", {"columns": 5}, {"columns": ["a"]})],
        ({"classes": ["a", "b", "c"]}, "abc"),
        ({"classes": [1, 2, 3]}, "123"),
    ],
)
@pytest.mark.parametrize("name", ["data.npz", "data.csv"])
def test_predict_ignores_metadata_of_others(capsys, tmp_path, metadata, names, name):
    net = fastnn.Sequential([fastnn.Dense(3, "softmax")], 3)
    net.metadata = metadata
    net.save(tmp_path / "model")
    np.savez(tmp_path / "data.npz", X=TABLE)
    np.savetxt(tmp_path / "data.csv", TABLE, delimiter=",")
    status, out, err = run(capsys, "predict", tmp_path / "model", tmp_path / name)
    assert (status, err) == (0, "")
    assert out.split() == [names[label] for label in net.predict(TABLE).argmax(axis=1)]


@pytest.mark.parametrize(("last", "metadata"), [("sigmoid", ["a", "b", "c"]), ("identity", ["a", "b"])])
def test_predict_prints_numbers_where_names_do_not_belong_to_them(capsys, tmp_path, last, metadata):
    net = fastnn.Sequential([fastnn.Dense(1, last)], 3)
    net.metadata = {"classes": metadata}
    net.save(tmp_path / "model")
    np.savez(tmp_path / "data.npz", X=TABLE)
    status, out, err = run(capsys, "predict", tmp_path / "model", tmp_path / "data.npz")
    np.testing.assert_allclose(np.array(out.split(), float), net.predict(TABLE)[:, 0], rtol=1e-7)


def test_a_closed_output_is_no_error_where_nothing_is_lost(capsys, flowers, tmp_path, monkeypatch):
    model, out = tmp_path / "model", tmp_path / "out.txt"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert cli.main(["train", str(flowers), *QUICK[:-1], "--save", str(model)]) == 0
        assert cli.main(["predict", str(model), str(flowers), "--out", str(out)]) == 0
        assert cli.main(["predict", str(model), str(flowers)]) == 1
    assert len(out.read_text().split()) == 120
    assert capsys.readouterr().err == "fastnn: out must be given where standard output is closed; got neither.\n"


def test_a_saved_network_knows_whether_its_file_had_names(capsys, tmp_path):
    lines = "".join(f"{a:.4f},{b:.4f},{label}\n" for (a, b, _), label in zip(TABLE, LABELS))
    (tmp_path / "years.csv").write_text("2019,2020,2021\n" + lines)
    (tmp_path / "bare.csv").write_text(lines)
    for table, option, columns in (("years", "--header", ("2019", "2020")), ("bare", "--no-header", (0, 1))):
        model, path = tmp_path / f"{table}.model", tmp_path / f"{table}.csv"
        run(capsys, "train", path, option, *QUICK, "--save", model)
        metadata = fastnn.Sequential.load(model).metadata
        assert tuple(metadata["columns"]) == columns
        status, out, err = run(capsys, "predict", model, path)
        assert (status, len(out.splitlines())) == (0, 60)


def test_export_writes_for_c_onnx_and_numpy(capsys, houses, tmp_path):
    path = tmp_path / "net.safetensors"
    assert run(capsys, "train", houses, *QUICK, "--save", path)[0] == 0
    network = fastnn.Sequential.load(path)
    assert run(capsys, "export", path, "--format", "npz") == (0, f"{tmp_path / 'net.npz'}\n", "")
    arrays = np.load(tmp_path / "net.npz")
    A = np.maximum(([3.0, 2000.0] * arrays["scale"] + arrays["shift"]) @ arrays["dense.0.W"] + arrays["dense.0.b"], 0)
    outputs = (A @ arrays["dense.1.W"] + arrays["dense.1.b"]) * arrays["std"] + arrays["mean"]
    np.testing.assert_allclose(outputs, network.predict([[3.0, 2000.0]])[0], rtol=1e-6)
    assert run(capsys, "export", path, "--format", "c", "-o", tmp_path / "price.c")[0] == 0
    assert "void price_predict(const double *X, long n_rows, double *outputs);" in (tmp_path / "price.c").read_text()
    pytest.importorskip("onnx")
    assert run(capsys, "export", path, "--format", "onnx")[0] == 0
    np.testing.assert_allclose(fastnn.Sequential.from_onnx(tmp_path / "net.onnx").predict([[3.0, 2000.0]])[0], outputs, rtol=1e-6)
    assert run(capsys, "export", path, "--format", "c", "-o", path) == (1, "", f"fastnn: out must be another file than the model; got {str(path)!r}.\n")
    assert run(capsys, "export", path)[0] == 2


def test_predict_takes_no_abbreviations(capsys):
    status, out, err = run(capsys, "predict", "model", "file.csv", "--thread", "1")
    assert (status, err) == (2, "fastnn: unrecognized arguments: --thread 1\n")


def test_predict_refuses_files_that_are_no_model(capsys, houses):
    status, out, err = run(capsys, "predict", houses, houses)
    assert (status, out, len(err.splitlines())) == (1, "", 1)


def test_info_describes_the_machine(capsys):
    status, out, err = run(capsys, "info")
    found = dict(line.split(maxsplit=1) if line.startswith(("fastnn", "threads")) else (line[:17].strip(), line[17:]) for line in out.splitlines())
    assert status == 0
    assert list(found) == ["fastnn", "CPU", "CPU features", "vector width", "bfloat16", "threads", "FMA peak", "cache folder"]
    assert float(found["FMA peak"].split()[0]) > 0.1


def test_a_warning_is_a_line_of_the_command(capsys, monkeypatch):
    def warned(options):
        return print(warnings.formatwarning(RuntimeWarning("It is slow."), RuntimeWarning, "cli.py", 426), end="", file=sys.stderr) or 0

    before = warnings.formatwarning
    monkeypatch.setattr(cli, "_info", warned)
    assert run(capsys, "info") == (0, "", "fastnn: It is slow.\n")
    assert warnings.formatwarning is before


USUAL = """
import numpy as np
from fastnn import Dense, Sequential, cli
from kernels import _cache

cli.main(["warmup"])
asked, load = set(), _cache.Cache.load_overload
_cache.Cache.load_overload = lambda cache, sig, target: asked.add(cache.function.__qualname__) or load(cache, sig, target)
for dtype in ("float32", "float64"):
    for data, order, writeable in ((data, order, writeable) for data in "Bfd" for order in "CF" for writeable in (True, False)):
        X, y = np.arange(100).reshape(50, 2).astype(data, order), np.arange(50) % 3
        X.flags.writeable = writeable
        for last, targets in ((Dense(3, "softmax"), y.astype(np.uint8)), (Dense(1), y / 2), (Dense(1, "sigmoid"), y > 1)):
            net = Sequential([Dense(4, "relu"), last], n_features=2, dtype=dtype)
            net.fit(X, targets, validation_data=(X, targets), verbose=0)
            net.predict(X)
            net.evaluate(X, targets)
    for rows, units in ((40, 100), (300, 500)):  # threads share a small product, and a large one, which both may leave out zeros
        Sequential([Dense(units, "relu"), Dense(1)], n_features=150, dtype=dtype).fit(np.ones((rows, 150)), np.ones(rows), epochs=1, batch_size=rows, verbose=0)
print(*sorted(asked))
"""


def test_what_is_usual_needs_nothing_that_the_warmup_left_out():
    """Whatever is not compiled or loaded yet is asked for at the cache: so nothing is, whatever the cache on the disk holds."""
    done = subprocess.run([sys.executable, "-c", USUAL], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[1:] == [""], done.stdout + done.stderr


def test_warmup_leaves_nothing_to_compile():
    process = start("warmup")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("compiled 0 functions")


def start(*arguments):
    """Start the command in a process of its own."""
    command = [sys.executable, "-m", "fastnn", *arguments]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_command_is_required(capsys):
    status, out, err = run(capsys)
    assert (status, err) == (2, "fastnn: the following arguments are required: COMMAND\n")


def test_a_closed_pipe_is_no_error_to_report():
    process = start("train", *QUICK)
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=60) == (None, "")
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_ends_the_training_tidily(tmp_path):
    model = tmp_path / "model.safetensors"
    process = start("train", "--epochs", "100000", "--save", str(model))
    while not process.stdout.readline().startswith("epoch"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED
    assert re.search(r"interrupted after \d+ of 100000 epochs\n$", err)
    assert "Traceback" not in err
    assert re.search(r"test accuracy 0\.\d{4}\n$", out)
    assert fastnn.Sequential.load(model).n_features == 64


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_network_is_not_written_to_a_pipe_which_is_said_before_the_training(capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    expected = f"fastnn: save must be a file, which takes the place of what is there; got '{tmp_path / 'pipe'}', a pipe or a device.\n"
    assert run(capsys, "train", "digits", "--save", tmp_path / "pipe") == (1, "", expected)
