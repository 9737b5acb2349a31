"""Damage the files of other libraries as `tests.damage` damages ours, and count what loading them comes to.

    python -m tests.rivals --flips 1500

Two arrays of a small network in a file of each library that is installed: every truncation (at most 400 lengths), and random flips of
a bit. `wrong` files load other numbers than were saved, without a word. Each library has a process of its own, since some end it.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ARRAYS = {name: np.random.default_rng(0).standard_normal(shape).astype("f4") for name, shape in (("W", (12, 20)), ("b", (20,)))}


def fastnn() -> tuple[bytes, Callable[[bytes], dict[str, Any]]]:
    """Return a file, and what loads it."""
    from fastnn import Dense, Sequential

    path = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "net"
    net = Sequential([Dense(20)], n_features=12)
    net.set_weights([(ARRAYS["W"], ARRAYS["b"])])
    net.save(path)

    def read(data: bytes) -> dict[str, Any]:
        path.write_bytes(data)
        return dict(zip("Wb", Sequential.load(path).weights[0]))

    return path.read_bytes(), read


def safetensors() -> tuple[bytes, Callable[[bytes], dict[str, Any]]]:
    from safetensors.numpy import load, save

    return save(ARRAYS), load


def npz() -> tuple[bytes, Callable[[bytes], dict[str, Any]]]:
    file = io.BytesIO()
    np.savez(file, **ARRAYS)

    def read(data: bytes) -> dict[str, Any]:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    return file.getvalue(), read


def joblib() -> tuple[bytes, Callable[[bytes], dict[str, Any]]]:
    import joblib

    file = io.BytesIO()
    joblib.dump(ARRAYS, file)
    return file.getvalue(), lambda data: joblib.load(io.BytesIO(data))


def torch() -> tuple[bytes, Callable[[bytes], dict[str, Any]]]:
    import torch

    file = io.BytesIO()
    torch.save({name: torch.from_numpy(A) for name, A in ARRAYS.items()}, file)
    return file.getvalue(), lambda data: {name: A.numpy() for name, A in torch.load(io.BytesIO(data), weights_only=True).items()}


def keras() -> tuple[bytes, Callable[[bytes], dict[str, Any]]]:
    import keras

    folder = Path(tempfile.mkdtemp())
    net = keras.Sequential([keras.Input((12,)), keras.layers.Dense(20)])
    net.set_weights(list(ARRAYS.values()))
    net.save(folder / "net.keras")

    def read(data: bytes) -> dict[str, Any]:
        (folder / "damaged.keras").write_bytes(data)
        return dict(zip("Wb", keras.models.load_model(folder / "damaged.keras").get_weights()))

    return (folder / "net.keras").read_bytes(), read


COLUMNS = ("written by", "cut off", "refused", "bits flipped", "refused", "harmless", "silently wrong", "process ended", "kinds of errors")
LIBRARIES = {"fastnn": fastnn, "safetensors": safetensors, "np.savez": npz, "torch.save": torch, "Keras": keras, "joblib.dump": joblib}


def outcome(read: Callable[[bytes], dict[str, Any]], data: bytes) -> str:
    """Return what loading a file comes to: the name of an exception, or whether the arrays are those that were saved."""
    try:
        found = read(data)
        same = list(found) == list(ARRAYS) or sorted(found) == sorted(ARRAYS)
        return "harmless" if same and all(np.asarray(found[name]).tobytes() == A.tobytes() for name, A in ARRAYS.items()) else "wrong"
    except MemoryError:
        return "MemoryError"
    except Exception as error:
        return type(error).__name__


def work(library: str, flips: int, first: int, connection: Any) -> None:
    """Send what each damaged file comes to, from a number on."""
    import resource
    import warnings

    warnings.simplefilter("ignore")
    whole, read = LIBRARIES[library]()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    lengths = np.unique(np.linspace(0, len(whole) - 1, 400).astype(int))
    for i in range(first, len(lengths) + flips):
        if i < len(lengths):
            connection.send(("cut", outcome(read, whole[: lengths[i]])))
            continue
        rng, damaged = np.random.default_rng(i), bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        connection.send(("flip", outcome(read, bytes(damaged))))
    connection.send(None)


def count(library: str, flips: int) -> Counter:
    """Return how many files came to what; a process that ends or hangs is one of them, and another one goes on."""
    counts: Counter = Counter()
    while True:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=work, args=(library, flips, sum(counts.values()), theirs))
        process.start()
        theirs.close()
        kind = "cut"
        try:
            while ours.poll(120):
                if (got := ours.recv()) is None:
                    process.join()
                    return counts
                kind, _ = got
                counts[got] += 1
            counts[kind, "hang"] += 1
            process.kill()
        except EOFError:
            counts[kind, "process ended"] += 1
        process.join()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Damage the files of other libraries, and count what loading them comes to.")
    parser.add_argument("--flips", type=int, default=1500)
    parser.add_argument("--only", choices=LIBRARIES, action="append")
    args = parser.parse_args(arguments)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for library in args.only or LIBRARIES:
        try:
            LIBRARIES[library]()
        except ImportError:
            continue
        counts = count(library, args.flips)
        cuts, flips = ({outcome: n for (one, outcome), n in counts.items() if one == kind} for kind in ("cut", "flip"))
        other = ("harmless", "wrong", "process ended", "hang")
        kinds = sorted({outcome for _, outcome in counts} - set(other))
        refused = [sum(n for outcome, n in one.items() if outcome not in other) for one in (cuts, flips)]
        numbers = [sum(cuts.values()), refused[0], sum(flips.values()), refused[1], *(flips.get(one, 0) for one in other[:3])]
        print(f"| {library} | " + " | ".join(f"{n:,}" for n in numbers) + f" | {len(kinds)}: {', '.join(kinds)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
