"""Print what products of bfloat16 bring: the speed of a training step, the error of a gradient, the accuracy of trained networks.

    python benchmarks/bfloat16.py                             all of it; accuracy takes an hour on two cores without AVX512_BF16
    python benchmarks/bfloat16.py --only speed --threads 1
    python benchmarks/bfloat16.py --only speed --rounds 1 --seconds 0.02 --networks 2        does it run at all?

speed: a step of `fit` in bfloat16, in float32, and of PyTorch in both (autocast), in turns. A ratio is the median over the rounds of the
other's time / bfloat16's, so above 1 bfloat16 is faster. A CPU without the instruction calculates the same bits in float32.
gradient: of 1,024 images of MNIST, before training and after an epoch; |bfloat16 - float64| / |float64| by layer, and of PyTorch's
autocast where it is installed. With ReLU most of it is units whose sum is within a rounding of zero and falls on its other side.
accuracy: the same recipe in both, on held-out rows: MNIST and Fashion-MNIST, of all in per cent, California housing, error in units of
a deviation.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import fastnn  # noqa: E402
import kernels  # noqa: E402
from benchmarks import peers, tables  # noqa: E402
from benchmarks.compare import Report, interleave  # noqa: E402
from fastnn import Adam, Dense, Dropout, OneCycle, Scale, Sequential, Standardize  # noqa: E402

NETWORKS = [([2, 16, 2], 16), ([64, 128, 64, 10], 32), ([784, 500, 500, 10], 100), ([784, 500, 500, 10], 256), ([784, 1024, 1024, 1024, 10], 256),
            ([128, 1024, 1024, 1024, 1024, 10], 512), ([54, 1000, 1000, 7], 1000)]  # fmt: skip
DTYPES = ("float32", "bfloat16")


def speed(args: argparse.Namespace, report: Report) -> None:
    report.title("A training step with Adam: others' time / bfloat16's")
    with_torch = bool(peers.available(["torch"]))
    for widths, batch_size in NETWORKS[: args.networks]:
        problem = peers.make_problem(widths, batch_size, args.seconds, least_steps=30)  # a fit makes its arrays once
        for threads in args.threads:
            sides: dict[str, Any] = {dtype: peers.Fastnn(problem, threads, dtype).run for dtype in DTYPES}
            if with_torch:
                sides |= {"torch float32": peers.torch_side(problem, threads).run, "autocast": peers.torch_side(problem, threads, bfloat16=True).run}
            times = interleave(sides, args)
            ratios = {name: float(np.median(each / times["bfloat16"])) for name, each in times.items() if name != "bfloat16"}
            report.row(network=problem.name, batch=batch_size, threads=threads, us=float(np.median(times["bfloat16"])) * 1e6, **ratios)


def network(layers: list[Any], n_features: int, dtype: str, seed: int) -> Sequential:
    """Return a network, without the warning that the instruction is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Sequential(layers, n_features, dtype, seed)


def images(sizes: tuple[int, ...], dropout: float, activation: str = "relu") -> list[Any]:
    layers: list[Any] = [Scale(1 / 255)]
    for units in sizes:
        layers += [Dense(units, activation), Dropout(dropout)]
    return [*layers, Dense(10, "softmax")]


def gradient(args: argparse.Namespace, report: Report) -> None:
    report.title("Error of a gradient, of its size")
    data = fastnn.load_mnist(args.data_dir)
    X, y = data.X_train[:1024], data.y_train[:1024]
    for activation, epochs in (("relu", 0), ("relu", 1), ("gelu", 0), ("gelu", 1)):
        net = network(images((500, 500), 0.0, activation), 784, "bfloat16", 0)
        if epochs:
            net.fit(data.X_train, data.y_train, optimizer=Adam(), epochs=epochs, batch_size=100, verbose=0)
        found = {}
        for dtype in (*DTYPES, "float64"):
            twin = network(list(net.layers), 784, dtype, 0)
            twin.set_weights(net.weights)
            flat = twin.loss_and_gradient(X, y)[1]
            holder = network(list(net.layers), 784, dtype, 0)
            holder.parameters = flat
            found[dtype] = [W.astype(np.float64) for W, _ in holder.weights]
        if peers.available(["torch"]):
            found["autocast"] = autocast_gradient(net.weights, X / np.float32(255), y, activation)
        for dtype in [name for name in found if name != "float64"]:
            pairs = list(zip(found[dtype], found["float64"]))
            errors = [float(np.linalg.norm(A - B) / np.linalg.norm(B)) for A, B in pairs]
            whole = float(np.sqrt(sum(np.sum((A - B) ** 2) for A, B in pairs) / sum(np.sum(B**2) for _, B in pairs)))
            report.row(
                activation=activation, epochs=epochs, dtype=dtype, whole=f"{whole:.1e}", **{f"layer_{i}": f"{error:.1e}" for i, error in enumerate(errors)}
            )


def autocast_gradient(weights: Any, X: Any, y: Any, activation: str) -> list[Any]:
    """Return the gradients of the weights, in float64, that PyTorch calculates under autocast."""
    import torch

    function, layers = torch.nn.ReLU if activation == "relu" else torch.nn.GELU, list[Any]()
    for W, b in weights:
        layer = torch.nn.Linear(*W.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(W.T.copy()), torch.from_numpy(b.copy())
        layers += [layer, function()]
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(torch.nn.Sequential(*layers[:-1])(torch.from_numpy(X)), torch.from_numpy(y).long())
    loss.backward()
    return [layer.weight.grad.numpy().T.astype(np.float64) for layer in layers[::2]]


def accuracy(args: argparse.Namespace, report: Report) -> None:
    report.title("Trained networks, on rows held out, the same recipe")

    def image_score(load: Any, sizes: tuple[int, ...], dtype: str, seed: int) -> float:
        data = load(args.data_dir)
        net, optimizer = network(images(sizes, 0.2), 784, dtype, seed), Adam(OneCycle(2e-3))
        net.fit(data.X_train, data.y_train, optimizer=optimizer, epochs=args.epochs, batch_size=256, verbose=0)
        return 100 * float(net.evaluate(data.X_test, data.y_test)["accuracy"])

    def housing_score(dtype: str, seed: int) -> float:
        X, y, X_test, y_test = tables.load("california", Path(args.data_dir or os.environ["FASTNN_DATA_DIR"]), 0)
        y, y_test = (y - y.mean()) / y.std(), (y_test - y.mean()) / y.std()
        net = network([Standardize(), Dense(256, "relu"), Dense(256, "relu"), Dense(1)], X.shape[1], dtype, seed)
        net.fit(X, y, optimizer=Adam(OneCycle(5e-3)), epochs=4 * args.epochs, batch_size=128, verbose=0)
        return float(np.sqrt(np.mean((net.predict(X_test)[:, 0] - y_test) ** 2)))

    scores = {
        "MNIST 784-500-500-10": partial(image_score, fastnn.load_mnist, (500, 500)),
        "Fashion-MNIST 784-1024-1024-10": partial(image_score, fastnn.load_fashion_mnist, (1024, 1024)),
        "California housing, RMSE": housing_score,
    }
    for name, score in scores.items():
        for dtype in DTYPES:
            found = [score(dtype, seed) for seed in range(args.seeds)]
            report.row(task=name, dtype=dtype, mean=f"{np.mean(found):.4g}", seeds=", ".join(f"{one:.4g}" for one in found))


def main() -> None:
    kinds = {"speed": speed, "gradient": gradient, "accuracy": accuracy}
    parser = argparse.ArgumentParser(description="What products of bfloat16 bring.")
    parser.add_argument("--only", choices=kinds, nargs="+", default=list(kinds))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="the least time of a side in a round")
    parser.add_argument("--pause", type=float, default=0.1, help="between sides, in seconds")
    parser.add_argument("--networks", type=int, default=len(NETWORKS), help="only the first so many")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, default=6, help="of an accuracy")
    parser.add_argument("--seeds", type=int, default=3, help="of an accuracy")
    parser.add_argument("--data-dir")
    args, report = parser.parse_args(), Report()
    print(f"{kernels.cpu_info()['model']}, bfloat16: {kernels.cpu_info()['bfloat16']}")
    for kind in args.only:
        kinds[kind](args, report)


if __name__ == "__main__":
    main()
