"""Damage files of networks and load them: each is refused with a ValueError of one sentence, or it is the network that was saved.

    python -m tests.damage --flips 100000 --seed 1

Every truncation, random flips of bits, random mutations of header and body, settings that are changed under a checksum that fits
them, and hostile files: sizes beyond any memory, arrays that overlap, JSON that is deep, wide or ambiguous, pickles, devices. What takes
more memory than twice the file and 16 MB, or more than a second, is a fault too.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import pickle
import signal
import struct
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from fastnn import Dense, Dropout, LayerNorm, Sequential, Standardize, files

SECONDS, ROOM = 1.0, 16 << 20
MEMORY = "/dev/shm"  # where files are quick
SENTENCES = ("must be an intact network saved by fastnn; got a file with ", "must be a network of format ", "custom must have ")


def saved(folder: Path) -> bytes:
    """Return the bytes of a small network with every kind of layer."""
    layers = [Standardize([1, 2, 3], [1, 0, 2]), Dense(5, "gelu", l2=0.1), Dropout(0.25), Dense(4, "tanh", bias=False), LayerNorm(), Dense(2, "softmax")]
    net = Sequential(layers, n_features=3, seed=9)
    net.metadata, net.feature_names = {"classes": ["ä", "b"], "nested": {"n": [1, 2.5, None]}}, ("a", "b", "c")
    net.save(folder / "saved")
    return (folder / "saved").read_bytes()


def content(net: Sequential) -> tuple:
    """Return what tells a network from another one."""
    return repr(net), net.parameters.tobytes(), repr(net.loss), net.metadata, net.feature_names, net.n_fits


class Judge:
    """Loads damaged files, counts what they come to, and prints what is wrong."""

    def __init__(self, folder: Path, original: bytes) -> None:
        self.path, self.counts, self.wrong = folder / "damaged", Counter(), 0
        self.slowest, self.most = 0.0, 0
        self.path.write_bytes(original)
        self.expected = content(Sequential.load(self.path))

    def __call__(self, what: str, data: bytes, same: bool = True, measure: bool = False) -> None:
        """Load a file; it must be refused, or where it loads have the `same` content as the undamaged one."""
        self.path.write_bytes(data)
        self.judge(what, self.path, len(data), same, measure)

    def judge(self, what: str, path: Path, length: int, same: bool = True, measure: bool = False) -> None:
        if measure:
            tracemalloc.start()
        outcome, took = self._outcome(path, same)
        if measure:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            self.most = max(self.most, peak - 2 * length)
            if peak > 2 * length + ROOM:
                outcome = f"takes {peak >> 20} MB for {length >> 20} MB"
        else:
            self.slowest = max(self.slowest, took)
        self.counts[what, outcome if outcome in ("refused", "harmless") else "WRONG"] += 1
        if outcome not in ("refused", "harmless"):
            self.wrong += 1
            kept = path.with_name(f"wrong-{self.wrong}")
            if path.is_file() and self.wrong <= 20:
                kept.write_bytes(path.read_bytes())
            print(f"WRONG {what}: {outcome} ({kept})", flush=True)

    def _outcome(self, path: Path, same: bool) -> tuple[str, float]:
        """Return what loading a file comes to, and the seconds that it took."""
        start = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
        try:
            net, said = Sequential.load(path), ""
        except ValueError as error:
            net, said = None, f"{type(error).__name__}: {error}"
        except _Hangs:
            return "hangs", 10 * SECONDS
        except Exception as error:
            return f"{type(error).__name__}: {error}", 0.0
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        took = time.perf_counter() - start
        if net is None:
            right = said.startswith("ValueError: ") and any(one in said for one in SENTENCES) and "\n" not in said and len(said) <= 800
            return ("refused" if right else said[:1000]), took
        if same:
            return ("harmless" if content(net) == self.expected else "loads another network"), took
        try:
            net.predict(np.ones((2, net.n_features)))
        except ValueError:  # one that the settings cannot scale
            return "harmless", took
        except Exception as error:
            return f"loads, but predicts with {type(error).__name__}: {error}", took
        return "harmless", took


class _Hangs(BaseException):
    pass


def _alarm(*_: object) -> None:
    raise _Hangs


# Random damage.


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    """Return the file with a bit flipped."""
    damaged = bytearray(data)
    damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(damaged)


INTERESTING = [b"0", b"-1", b"1e400", b"NaN", b"null", b"true", b'""', b"[]", b"{}", b"18446744073709551616", b"9" * 30, b'"F16"', b",", b"\\", b"\0", b"\xff"]


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Return the file with some bytes overwritten, inserted, removed, repeated or swapped, in the header half of the time."""
    size = 8 + int.from_bytes(data[:8], "little")
    damaged = bytearray(data)
    in_header = rng.random() < 0.5
    for _ in range(rng.integers(1, 5)):
        end = min(size, len(damaged)) if in_header else len(damaged)
        at = int(rng.integers(8 if in_header and rng.random() < 0.9 else 0, max(9, end)))
        n = int(rng.integers(1, 17))
        kind = rng.integers(6)
        if kind == 0:
            damaged[at : at + n] = rng.bytes(n)
        elif kind == 1:
            damaged[at:at] = rng.bytes(n)
        elif kind == 2:
            del damaged[at : at + n]
        elif kind == 3:
            damaged[at:at] = damaged[at : at + n]
        elif kind == 4:
            other = int(rng.integers(0, len(damaged)))
            damaged[at : at + n], damaged[other : other + n] = damaged[other : other + n], damaged[at : at + n]
        else:
            word = INTERESTING[rng.integers(len(INTERESTING))]
            damaged[at : at + len(word) * int(rng.integers(0, 2))] = word
    if in_header and rng.random() < 0.7:  # a length that fits, so that what lies behind it is looked at
        damaged[:8] = max(0, size - 8 + len(damaged) - len(data)).to_bytes(8, "little")
    return bytes(damaged)


VALUES = [None, True, 0, -1, 1, 2.5, 1e308, float("nan"), 2**31, 2**63, 10**30, "", "relu", "float64", "softmax", "dense", "huber", [], [1], {}, {"a": 1}]


def resettle(rng: np.random.Generator, data: bytes) -> bytes:
    """Return the file with some of its settings changed, and the checksum that fits them."""
    settings = json.loads(metadata_of(data)["fastnn"])
    for _ in range(rng.integers(1, 4)):
        place, key = settings, None
        while isinstance(place, (dict, list)) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            parent, key = place, keys[rng.integers(len(keys))]
            place = parent[key]
            if rng.random() < 0.3:
                break
        if key is None:
            break
        kind = rng.integers(4)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(place))
        elif kind == 2 and isinstance(parent, dict):
            parent[f"{key}s"] = place
        else:
            parent[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])  # a list of theirs may be changed next
    return signed(json.dumps(settings), load(data))


def metadata_of(data: bytes) -> dict[str, str]:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def signed(text: str, arrays: dict[str, np.ndarray]) -> bytes:
    """Return a file with a checksum that fits."""
    return save(arrays, metadata={"fastnn": text, "sha256": files.checksum(text, arrays)})


# Hostile files.


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def with_header(header: object, body: bytes = b"", size: int | None = None) -> bytes:
    """Return a file with a header of text, of bytes or of what JSON makes of it."""
    text = header if isinstance(header, bytes) else header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def hostile(original: bytes) -> dict[str, bytes]:
    """Return hostile files by what they are."""
    size = int.from_bytes(original[:8], "little")
    header, body = json.loads(original[8 : 8 + size]), original[8 + size :]
    metadata, arrays = header["__metadata__"], load(original)
    settings = json.loads(metadata["fastnn"])
    first = next(name for name in header if name != "__metadata__")

    def entry(shape: object = (1,), offsets: object = (0, 4), dtype: object = "F32") -> dict:
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    def with_entry(body: bytes = bytes(4), **settings: object) -> bytes:
        return with_header({"__metadata__": metadata, "a": entry(**settings)}, body)

    def with_settings(text: str) -> bytes:
        return with_header({"__metadata__": {"fastnn": text, "sha256": "0"}})

    def resigned(change: object) -> bytes:
        changed = copy.deepcopy(settings)
        change(changed)  # type: ignore[operator]
        return signed(json.dumps(changed), arrays)

    nothing = json.dumps(entry([0], [0, 0]))
    shifted = {
        name: entry_ if name == "__metadata__" else {**entry_, "data_offsets": [n + 8 for n in entry_["data_offsets"]]} for name, entry_ in header.items()
    }
    return {
        "nothing": b"",
        "seven bytes": b"\1" * 7,
        "a header of no bytes": with_header(b""),
        "a header of 2**63 bytes": with_header(b"{}", size=2**63),
        "a header of 2**64 - 1 bytes": with_header(b"{}", size=2**64 - 1),
        "a header of 100,000,001 bytes": with_header(b"{}", size=100_000_001),
        "a header one byte longer than the file": with_header(b"{}", size=3),
        "a header that is not UTF-8": with_header(b'{"\xff\xfe": 1}'),
        "a header with half a surrogate": with_header(b'{"__metadata__": {"fastnn": "\\ud800", "sha256": "\\udfff"}}'),
        "a header that is not JSON": with_header(b"{" * 100_000),
        "a header that is a list": with_header(b"[]"),
        "a header that is a number of 4,000 digits": with_header(b"9" * 4000),
        "a header that is a number of a million digits": with_header(b"9" * 1_000_000),
        "a header with something behind it": with_header(b"{} {}"),
        "an empty header": with_header({}),
        "lists in lists, a million": with_header(b'{"__metadata__":' + b"[" * 1_000_000),
        "objects in objects, 100,000": with_header(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        "lists beside lists, 30 MB of them": with_header(b'{"a":[' + b"[]," * 10_000_000 + b"[]]}"),
        "objects beside objects, 3 MB of them": with_header(b'{"a":[' + b"{}," * 1_000_000 + b"{}]}"),
        "100,000 names": with_header("{" + ",".join(f'"{i}":{i}' for i in range(100_000)) + "}"),
        "100,000 arrays of no size": with_header("{" + ",".join(f'"{i}":{nothing}' for i in range(100_000)) + "}"),
        "numbers, 20 MB of them": with_header(b'{"a":[' + b"9e9," * 5_000_000 + b"1]}"),
        "one wide character beside 20 MB": with_header('{"a":"\U0001f600' + "x" * 20_000_000 + '"}'),
        "an escaped wide character beside 20 MB": with_header(b'{"a":"\\ud83d\\ude00' + b"x" * 20_000_000 + b'"}'),
        "settings that are deep": with_settings("[" * 100_000),
        "settings that are wide": with_settings("[" + "[]," * 1_000_000 + "[]]"),
        "settings that are no JSON": with_settings("import os"),
        "settings that are a number": with_header({"__metadata__": {"fastnn": 5, "sha256": 5}}),
        "metadata that is a list": with_header({"__metadata__": [1]}),
        "metadata of another program": with_header({"__metadata__": {"format": "pt"}}),
        "a name that is given twice": with_header('{"a":%s,"a":%s}' % ((json.dumps(entry()),) * 2), bytes(4)),
        "metadata given twice": with_header(original[8 : 8 + size].rstrip()[:-1] + b',"__metadata__":{}}', body),
        "an array of 2**62 numbers": with_entry(shape=[2**62], offsets=[0, 2**64]),
        "a shape whose product overflows": with_entry(shape=[2**32, 2**32, 2**32], offsets=[0, 0]),
        "a shape whose product overflows to the right size": with_entry(shape=[2**62 + 1], offsets=[0, 4]),
        "a negative size": with_entry(shape=[-1], offsets=[0, 4]),
        "two negative sizes": with_entry(shape=[-1, -1], offsets=[0, 4]),
        "a size of 1.0": with_entry(shape=[1.0]),
        "a size of true": with_entry(shape=[True]),
        "a size of NaN": with_entry(shape=[float("nan")]),
        "a size as text": with_entry(shape=["1"]),
        "a shape that is a number": with_entry(shape=1),
        "a shape of 100,000 dimensions": with_entry(shape=[2**62] * 100_000),
        "a shape of 65 dimensions": with_entry(shape=[1] * 65),
        "a place before the file": with_entry(offsets=[-4, 0]),
        "a place that ends before it begins": with_entry(offsets=[4, 0]),
        "a place behind the file": with_entry(offsets=[4, 8]),
        "a place of one number": with_entry(offsets=[0]),
        "an unknown dtype": with_entry(dtype="F31"),
        "a dtype of objects": with_entry(dtype="O"),
        "a dtype of NumPy's": with_entry(dtype="<f4"),
        "a dtype that is a list": with_entry(dtype=["F32"]),
        "an array that is a number": with_header({"__metadata__": metadata, "a": 5}),
        "an array with another entry": with_header({"__metadata__": metadata, "a": {**entry(), "b": 1}}, bytes(4)),
        "arrays that overlap": with_header({"a": entry(), "b": entry()}, bytes(4)),
        "arrays that overlap in part": with_header({"a": entry([2], [0, 8]), "b": entry([2], [4, 12])}, bytes(12)),
        "a hole before the first array": with_header({"__metadata__": metadata, **shifted}, bytes(8) + body),
        "a hole between arrays": with_header({"a": entry(), "b": entry(offsets=[8, 12])}, bytes(12)),
        "something behind the last array": original + b"\0",
        "a second file behind the first": original + original,
        "no array of its own": with_header({"__metadata__": metadata}),
        "an array more": with_header({**header, "b": entry([0], [len(body)] * 2)}, body),
        "an array less": save({name: A for name, A in arrays.items() if name != first}, metadata=metadata),
        "an array of another name": with_header({("../../x" if name == first else name): value for name, value in header.items()}, body),
        "float64 arrays": signed(metadata["fastnn"], {name: A.astype("f8") for name, A in arrays.items()}),
        "integers": signed(metadata["fastnn"], {name: A.astype("i4") for name, A in arrays.items()}),
        "transposed arrays": signed(metadata["fastnn"], {name: np.ascontiguousarray(A.T) for name, A in arrays.items()}),
        "NaN among the weights": signed(metadata["fastnn"], {name: A * np.float32("nan") for name, A in arrays.items()}),
        "infinity among the weights": signed(metadata["fastnn"], {name: A + np.float32("inf") for name, A in arrays.items()}),
        "a wrong checksum": save(arrays, metadata={**metadata, "sha256": "0" * 64}),
        "no checksum": save(arrays, metadata={"fastnn": metadata["fastnn"]}),
        "layers that do not chain": resigned(lambda s: s["layers"].insert(2, s["layers"][1])),
        "an unknown activation": resigned(lambda s: s["layers"][1].update(activation="system")),
        "an activation of a dotted name": resigned(lambda s: s["layers"][1].update(activation="os.system")),
        "a function of the user's": resigned(lambda s: s["layers"][1].update(activation={"custom": "x" * 100_000, "parameters": []})),
        "an unknown kind of layer": resigned(lambda s: s["layers"][1].update(kind="__class__")),
        "10**15 units": resigned(lambda s: s["layers"][1].update(units=10**15)),
        "a number of features of 2**62": resigned(lambda s: s.update(n_features=2**62)),
        "no features": resigned(lambda s: s.update(n_features=0)),
        "a dtype of 10**9 bytes": resigned(lambda s: s.update(dtype="V1000000000")),
        "NaN among the settings": resigned(lambda s: s["layers"][2].update(rate=float("nan"))),
        "a format of the future": resigned(lambda s: s.update(format=10**4000)),
        "format 0": resigned(lambda s: s.update(format=0)),
        "2**62 fits": resigned(lambda s: s.update(n_fits=2**62)),
        "metadata 300 deep, under a checksum that fits": resigned(lambda s: s.update(metadata=json.loads("[" * 300 + "]" * 300))),
        "names for other features": resigned(lambda s: s.update(feature_names=["a"])),
        "settings that are a list": signed("[]", arrays),
        "a pickle": pickle.dumps({"W": np.zeros(3)}),
        "a zip": b"PK\3\4" + bytes(60),
        "an npz header": b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2199023255552,), }",
        "text": b"fastnn\n" * 50,
    }


def try_hostile(judge: Judge, original: bytes) -> None:
    folder = judge.path.parent
    for name, data in hostile(original).items():
        judge(f"hostile: {name}", data, measure=True)
    canary = folder / "canary"
    judge("hostile: a pickle that runs code", pickle.dumps(Canary(canary)), measure=True)
    if canary.exists():
        judge.wrong += 1
        print("WRONG a pickle ran code", flush=True)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "fifo")
        judge.judge("hostile: a pipe", folder / "fifo", 0, measure=True)
        judge.judge("hostile: a device", Path("/dev/zero"), 0, measure=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Damage files of networks and load them.")
    parser.add_argument("--flips", type=int, default=100_000, help="random flips of bits, and as many mutations and changed settings together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    rng, start = np.random.default_rng(args.seed), time.perf_counter()
    before = signal.signal(signal.SIGALRM, _alarm)
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as name, warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("error")
        stack.callback(signal.signal, signal.SIGALRM, before)
        original = saved(Path(name))
        judge = Judge(Path(name), original)
        try_hostile(judge, original)
        for length in range(len(original)):
            judge("truncations", original[:length])
        for _ in range(args.flips):
            judge("flipped bits", flip(rng, original))
        for _ in range(args.flips // 2):
            judge("mutations", mutate(rng, original))
        for _ in range(args.flips // 2):
            judge("changed settings, right checksum", resettle(rng, original), same=False)
        n_hostile = {outcome: sum(n for (what, one), n in judge.counts.items() if what[:7] == "hostile" and one == outcome) for outcome in ("refused", "WRONG")}
        print(f"hostile files: {n_hostile['refused']} refused, {n_hostile['WRONG']} WRONG")
        for what in ("truncations", "flipped bits", "mutations", "changed settings, right checksum"):
            print(f"{what}: " + ", ".join(f"{judge.counts[what, outcome]:,} {outcome}" for outcome in ("refused", "harmless", "WRONG")))
        print(f"at most {judge.most / 2**20:.1f} MB beyond twice the file, {judge.slowest:.2f} s; {judge.wrong} faults in {time.perf_counter() - start:.0f} s")
        if judge.slowest > SECONDS:
            print(f"slow: one took {judge.slowest:.2f} s")
    return int(judge.wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
