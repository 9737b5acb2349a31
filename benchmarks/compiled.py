"""A network inside compiled code: one row in a user's loop, beside what reads the weights and what else there is.

    python benchmarks/compiled.py

Seconds are those of the fastest of many turns, on one thread. "reading" adds up the words of all parameters in vectors, again and again, so
they come from the cache level that holds them. PyTorch and ONNX Runtime are measured where they are installed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np
from numba import njit

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import fastnn  # noqa: E402
from benchmarks.common import Call, best_seconds, close, random, spent  # noqa: E402

NETWORKS = ([2, 16, 2], [64, 128, 64, 10], [784, 500, 500, 10])
ROWS = 64  # another one in each turn of the loop

START = """
import time, sys
import numpy, numba, fastnn
start = time.perf_counter()
net = fastnn.Sequential([fastnn.Dense(128, "relu"), fastnn.Dense(64, "relu"), fastnn.Dense(10, "softmax")], n_features=64)
begun = time.perf_counter()
model = net.compiled()
made = time.perf_counter()
model.predict(numpy.ones(64, "f4"), numpy.empty(10, "f4"))
print(begun - start, made - begun, time.perf_counter() - made)
"""


@njit(nogil=True)
def one_by_one(model: Any, X: Any, out: Any) -> None:
    for i in range(X.shape[0]):
        model.predict(X[i], out)


@njit(nogil=True)
def together(model: Any, X: Any, out: Any) -> None:
    model.predict(X, out)


@njit(nogil=True)
def read(words: Any) -> int:
    total = 0
    for i in range(words.size):
        total += words[i]
    return total


def network(widths: list[int]) -> fastnn.Sequential:
    layers = [*(fastnn.Dense(n, "relu") for n in widths[1:-1]), fastnn.Dense(widths[-1], "softmax")]
    return fastnn.Sequential(layers, n_features=widths[0])


def peers(net: fastnn.Sequential, X: Any) -> dict[str, Call]:
    """Return what else predicts one row, called from Python."""
    found: dict[str, Call] = {"net.predict": lambda: net.predict(X[:1], n_threads=1)}
    expected = net.predict(X[:1])
    try:
        import torch
    except ImportError:
        return found
    torch.set_num_threads(1)
    modules: list[Any] = []
    for (W, b), layer in zip(net.weights, net.dense):
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data, linear.bias.data = torch.from_numpy(W.T.copy()), torch.from_numpy(b)  # type: ignore[arg-type]
        modules += [linear, torch.nn.ReLU() if layer.activation == "relu" else torch.nn.Softmax(1)]
    model, x = torch.nn.Sequential(*modules).eval(), torch.from_numpy(X[:1].copy())

    def infer() -> Any:
        with torch.inference_mode():
            return model(x)

    close(infer().numpy(), expected)
    found["PyTorch"] = infer
    try:
        import onnxruntime
    except ImportError:
        return found
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"fastnn-compiled-{os.getpid()}.onnx"
    path.write_bytes(onnx_file(net))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    path.unlink()
    feed = {"X": X[:1].copy()}
    close(session.run(None, feed)[0], expected)
    found["ONNX Runtime"] = lambda: session.run(None, feed)
    return found


def onnx_file(net: fastnn.Sequential) -> bytes:
    """Return the network as ONNX: Gemm, Relu, Softmax."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, name = [], [], "X"
    for i, ((W, b), layer) in enumerate(zip(net.weights, net.dense)):
        weights += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"Z{i}"]))
        nodes.append(helper.make_node("Relu" if layer.activation == "relu" else "Softmax", [f"Z{i}"], [f"A{i}"]))
        name = f"A{i}"
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", n]) for end, n in (("X", net.n_features), (name, net.n_outputs))]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return data


def training() -> None:
    """Print the steps a second of the loop in kernels/README.md beside those of `fit`, in turns."""
    page = (Path(__file__).parents[1] / "kernels" / "README.md").read_text(encoding="utf-8")
    loop = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def train(" in block)
    names: dict[str, Any] = {}
    exec(loop, names)
    X, net = random(20_000, 64), network([64, 128, 64, 10])
    y, model = X[:, :10].argmax(axis=1), net.compiled(batch_size=32)
    sides = {
        "@njit loop": lambda: names["train"](model, X, y, 1, 32, 1e-3),
        "fit": lambda: net.fit(X, y, verbose=0, n_threads=1),
    }
    times = [[spent(call) for call in sides.values()] for _ in range(25)]
    seconds = np.min(times, axis=0) / (20_000 // 32)
    for name, taken in zip(sides, seconds):
        print(f"a step of 64-128-64-10, batch 32, Adam: {name:11}{taken * 1e6:7.2f} us")
    print(f"the loop has {seconds[1] / seconds[0]:.2f} of the speed of fit")


def main() -> None:
    for widths in NETWORKS:
        net, X = network(widths), random(ROWS, widths[0])
        model, out, whole = net.compiled(), np.empty(widths[-1], np.float32), np.empty((ROWS, widths[-1]), np.float32)
        one_by_one(model, X, out)
        close(out, net.predict(X)[-1])
        together(model, X, whole)
        close(whole, net.predict(X))
        alone = best_seconds(lambda: one_by_one(model, X, out), seconds=0.01) / ROWS  # noqa: B023
        some = best_seconds(lambda: together(model, X, whole), seconds=0.01) / ROWS  # noqa: B023
        words, size = net.parameters.view(np.int64), net.parameters.nbytes
        reading = best_seconds(lambda: read(words), seconds=0.01)  # noqa: B023
        print(f"{'-'.join(map(str, widths))}: {size / 1024:.0f} KiB of parameters")
        print(f"  one row in an @njit loop   {alone * 1e6:8.3f} us")
        print(f"  reading its parameters     {reading * 1e6:8.3f} us, {size / reading / 1e9:.0f} GB/s: {alone / reading:.2f} times as long")
        print(f"  a row of {ROWS}                {some * 1e6:8.3f} us")
        for name, call in peers(net, X).items():
            taken = best_seconds(call, seconds=0.01)
            print(f"  {name:<27}{taken * 1e6:8.3f} us: {taken / alone:.1f} times as long")
    training()
    command, root = [sys.executable, "-c", START], Path(__file__).parents[1]
    runs = [subprocess.run(command, cwd=root, capture_output=True, text=True, check=True) for _ in range(3)]
    times = [list(map(float, run.stdout.split())) for run in runs]
    made, called = min(times, key=lambda one: one[1])[1:]
    print(f"a fresh process, cache filled: compiled() takes {made:.3f} s, the first call {called:.3f} s")


if __name__ == "__main__":
    main()
