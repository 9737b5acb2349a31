"""Show what the suite finds: a slowdown of 15 % that is really there, and none where nothing changed.

    python benchmarks/detect.py                         everything: 40 minutes
    python benchmarks/detect.py --parts slower,same --tries 2
    python benchmarks/detect.py --kernels adam_update

A scratch clone gets a commit that repeats a share of the work of one kernel, whatever the kernel looks like: lines at the end of its
file put a compiled function around it. `asv continuous` compares the commits on the ratios to NumPy while another process
multiplies matrices on the last CPU.

    callee   commits that change only what a kernel takes from another file, a function, an intrinsic or a constant: their own machine
             code must be measured, and so be slower
    slower   for each kernel a commit with the slowdown: its ratio must be flagged
    same     the same sources twice, in two commits: of all ratios none may be flagged
    find     `asv find` over 16 commits, the slowdown in one of them: it must be named
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "benchmarks/asv.conf.json"
BURN = """
import os, numpy as np
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
A = np.random.default_rng(0).standard_normal((1000, 1000)).astype(np.float32)
while True:
    A @ A
"""


@dataclass(frozen=True)
class Injection:
    """How the work of a kernel is repeated in part: its file, its arguments, the arguments of the second call for `share` of the work."""

    file: str
    arguments: str
    again: str
    benchmark: str

    def code(self, kernel: str, share: float) -> str:
        """Return the lines that make the kernel slower; what it computes stays the same."""
        first = self.arguments.split(",")[0]
        return f"""
from ._jit import jit as _jit

_quick_{kernel} = {kernel}.compiled


@_jit
def _slow_{kernel}({self.arguments}):
    n = int({first}.shape[0] * {share})
    _quick_{kernel}({self.again})
    return _quick_{kernel}({self.arguments})


{kernel}.compiled = _slow_{kernel}
if {kernel}._face is _quick_{kernel}:
    {kernel}._face = _slow_{kernel}
"""


KERNELS = {
    "tanh_forward": Injection("activations", "Z, out", "Z[:n], out[:n]", "relative.Activation.track_forward('tanh')"),
    "gelu_tanh_forward": Injection("activations", "Z, out", "Z[:n], out[:n]", "relative.Activation.track_forward('gelu_tanh')"),
    "linear_forward": Injection(
        "linear", "X, W, b, activation, out", "X[:n], W, b, activation, out[:n]", "relative.Linear.track_forward_packed('64 x 128 x 128')"
    ),
    "softmax_cross_entropy": Injection(
        "losses", "logits, labels, scale, dlogits", "logits[:n], labels[:n], scale, dlogits[:n]", "relative.Others.track_softmax_cross_entropy"
    ),
    "adam_update": Injection(  # a learning rate of 0 moves no weight; the averages of the share move twice
        "adaptive",
        "w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step",
        "w[:n], g[:n], m[:n], v[:n], 0.0, beta1, beta2, eps, 0.0, step",
        "relative.Optimizer.track_update('adam')",
    ),
}
AGAIN = '''

_once = map_elements


@inline
def map_elements(function, X, out):
    """Compute out = function(X) twice."""
    _once(function, X, out)
    _once(function, X, out)
'''


@dataclass(frozen=True)
class Elsewhere:
    """A change to what the kernels of a benchmark take from another file: the file, the text that is replaced (none: appended)."""

    file: str
    old: str
    new: str
    benchmark: str


ELSEWHERE = {
    "a function that activations.py calls": Elsewhere("_elements", "", AGAIN, "relative.Activation.track_forward('tanh')"),
    "an intrinsic of its polynomials": Elsewhere(
        "_bits",
        'value = _call(builder, "fma", _FORMATS[x][3], value, point, term)',
        "value = builder.fadd(builder.fmul(value, point), term)",
        "relative.Activation.track_forward('tanh')",
    ),
    "a constant that linear.py's loops are made from": Elsewhere(
        "_tile",
        "VECTOR_BYTES = _wished_vector_bytes() or _vector_bytes()",
        "VECTOR_BYTES = 16",
        "relative.Linear.track_forward('64 x 128 x 128')",
    ),
}


class Scratch:
    """A clone of the repository in which anything may be committed and measured."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.clone = folder / "clone"
        run("git", "clone", "--quiet", str(ROOT), str(self.clone))
        self.start = commit
        self.restart()
        self.git("config", "user.name", "detect")
        self.git("config", "user.email", "detect@localhost")
        # asv keeps the name of the machine in the home folder, the suite its compiled kernels in the user's cache
        self.environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        self.asv("machine", "--yes")

    def restart(self) -> str:
        """Let the branch end at the commit it began with."""
        self.git("checkout", "--quiet", "-B", "main", self.start)
        return self.start

    def git(self, *arguments: str) -> str:
        return run("git", *arguments, cwd=self.clone).strip()

    def asv(self, command: str, *arguments: str) -> str:
        program = [sys.executable, "-m", "asv", command, "--config", CONFIG, *arguments]
        done = subprocess.run(program, cwd=self.clone, env=self.environment, capture_output=True, text=True)
        if "Traceback" in done.stdout + done.stderr or " failed" in done.stdout:
            sys.exit(f"asv {command} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    def commit(self, message: str, file: str | None = None, new: str = "", old: str = "") -> str:
        """Put new text in the place of the old one, or at the end of a file, and commit it; return the new commit."""
        if file:
            path = self.clone / file
            text = path.read_text()
            if old not in text:
                sys.exit(f"{file} has no line {old!r} any more")
            path.write_text(text.replace(old, new) if old else text + new)
        self.git("commit", "--quiet", "--all", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def continuous(self, base: str, commit: str, factor: float, bench: str) -> list[tuple[float, str]]:
        """Return what `asv continuous` says has become slower: the change, and the benchmark with its parameter."""
        return slower(self.asv("continuous", "--factor", str(factor), "--bench", bench, base, commit))


def run(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def slower(report: str) -> list[tuple[float, str]]:
    """Return the rows of asv's table that are marked as slower.

    >>> slower("| +        | 1.08       | 1.24       |    1.15 | relative.Activation.track_forward('tanh') |")
    [(1.15, "relative.Activation.track_forward('tanh')")]
    """
    rows = re.findall(r"^\|\s*\+\s*\|[^|]*\|[^|]*\|\s*~?([\d.]+)\s*\|\s*(.*?)\s*\|$", report, re.MULTILINE)
    return [(float(change), name.split(" [")[0]) for change, name in rows]


@contextmanager
def other_load() -> Iterator[None]:
    """Keep the last CPU busy."""
    process = subprocess.Popen([sys.executable, "-c", BURN], env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Report:
    """Prints a row for each try, and at the end how many were as they should be."""

    def __init__(self) -> None:
        self.tries: dict[tuple[str, str], list[tuple[bool, float]]] = {}
        print("| part | subject | try | as it should be | flagged | s |\n|---|---|---|---|---|---|", flush=True)

    def add(self, part: str, subject: str, right: bool, flagged: list[tuple[float, str]], start: float, of: str = "") -> None:
        """Count a try; `of`: the benchmark whose change the summary shows."""
        tries = self.tries.setdefault((part, subject), [])
        tries.append((right, {name: change for change, name in flagged}.get(of, float("nan"))))
        names = ", ".join(name + (f" x {change:.2f}" if change == change else "") for change, name in flagged) or "nothing"
        print(f"| {part} | {subject} | {len(tries)} | {'yes' if right else 'NO'} | {names} | {time.time() - start:.0f} |", flush=True)

    def end(self) -> bool:
        print("\n| part | subject | as it should be | flagged as slower by a factor of |\n|---|---|---|---|")
        for (part, subject), tries in self.tries.items():
            changes = sorted(change for _, change in tries if change == change)
            span = " to ".join(dict.fromkeys(f"{change:.2f}" for change in (changes[0], changes[-1]))) if changes else ""
            print(f"| {part} | {subject} | {sum(right for right, _ in tries)} of {len(tries)} | {span} |")
        return all(right for tries in self.tries.values() for right, _ in tries)


def only(benchmark: str) -> str:
    return "^" + re.escape(benchmark) + "$"


def part_callee(scratch: Scratch, report: Report, args: argparse.Namespace) -> None:
    for name, change in ELSEWHERE.items():
        start = time.time()
        base = scratch.restart()
        commit = scratch.commit(f"Change {name}", f"kernels/{change.file}.py", change.new, change.old)
        flagged = scratch.continuous(base, commit, args.factor, only(change.benchmark))
        report.add("callee", name, bool(flagged), flagged, start, change.benchmark)


def part_slower(scratch: Scratch, report: Report, args: argparse.Namespace) -> None:
    for kernel in args.kernels.split(","):
        injection, base = KERNELS[kernel], scratch.restart()
        commit = scratch.commit(f"Make {kernel} slower", f"kernels/{injection.file}.py", injection.code(kernel, args.slowdown))
        for _ in range(args.tries):
            start = time.time()
            flagged = scratch.continuous(base, commit, args.factor, only(injection.benchmark))
            report.add("slower", kernel, bool(flagged), flagged, start, injection.benchmark)


def part_same(scratch: Scratch, report: Report, args: argparse.Namespace) -> None:
    base = scratch.restart()
    commit = scratch.commit("Change nothing")
    for _ in range(args.tries):
        start = time.time()
        flagged = scratch.continuous(base, commit, args.factor, "^relative")
        report.add("same", "all ratios", not flagged, flagged, start)


def part_find(scratch: Scratch, report: Report, args: argparse.Namespace) -> None:
    kernel = args.kernels.split(",")[0]
    injection = KERNELS[kernel]
    for attempt in range(args.tries):
        first, start, guilty, position = scratch.restart(), time.time(), "", 2 + (9 + 4 * attempt) % 15
        for i in range(1, 17):
            if i == position:
                guilty = scratch.commit(f"Commit {i}, slower", f"kernels/{injection.file}.py", injection.code(kernel, args.slowdown))
            else:
                scratch.commit(f"Commit {i}")
        search = scratch.asv("find", f"{first}..HEAD", only(injection.benchmark))
        found = re.search(r"Greatest regression found: ([0-9a-f]+)", search)
        said = found[1] if found else "nothing"
        named = guilty.startswith(said)
        report.add("find", f"{kernel}, 16 commits", named, [(float("nan"), f"commit {position}, {guilty[:8]}: asv says {said}")], start)
        if not named:
            print(search, file=sys.stderr)


PARTS = {"callee": part_callee, "slower": part_slower, "same": part_same, "find": part_find}


def main() -> None:
    parser = argparse.ArgumentParser(description="Show what the benchmarks find.")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--kernels", default=",".join(KERNELS), help=f"any of {', '.join(KERNELS)}; find takes the first")
    parser.add_argument("--slowdown", type=float, default=0.15)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--factor", type=float, default=1.10)
    parser.add_argument("--commit", default="HEAD")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder), run("git", "rev-parse", args.commit, cwd=ROOT).strip())
        print(f"Slower by {args.slowdown:.0%}, threshold {args.factor}, with another load on the last CPU\n")
        report = Report()
        with other_load():
            for part in args.parts.split(","):
                PARTS[part](scratch, report, args)
        sys.exit(0 if report.end() else 1)


if __name__ == "__main__":
    main()
