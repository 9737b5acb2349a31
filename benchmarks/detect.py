"""Show what the suite finds: a slowdown of 15 % that is really there, and none where nothing changed.

    python benchmarks/detect.py                         all four parts: about 50 minutes
    python benchmarks/detect.py --parts slower,same --tries 2
    python benchmarks/detect.py --kernel adam_update

A scratch clone gets a commit that repeats a share of the work of one kernel, whatever the kernel looks like: lines at the end of its
file put a compiled function around it. `asv continuous` compares the commits on the ratios to NumPy while another process
multiplies matrices on the last CPU.

    slower   the commit with the slowdown: the kernel's ratio must be flagged
    same     the same sources twice, in two commits: nothing may be flagged
    find     `asv find` over 16 commits, the slowdown in one of them
    callee   a commit that changes only a function in another file, which the kernel calls: its own machine code must be measured
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
    parameter: str

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


{kernel}.compiled = {kernel}._face = _slow_{kernel}
"""


KERNELS = {
    "tanh_forward": Injection("activations", "Z, out", "Z[:n], out[:n]", "relative.Activation.track_forward", "tanh"),
    "gelu_tanh_forward": Injection("activations", "Z, out", "Z[:n], out[:n]", "relative.Activation.track_forward", "gelu_tanh"),
    "softmax_cross_entropy": Injection(
        "losses", "logits, labels, scale, dlogits", "logits[:n], labels[:n], scale, dlogits[:n]", "relative.Others.track_softmax_cross_entropy", ""
    ),
    "adam_update": Injection(  # a learning rate of 0 moves no weight
        "optimizers",
        "w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step",
        "w[:n], g[:n], m[:n], v[:n], 0.0, beta1, beta2, eps, 0.0, step",
        "relative.Optimizer.track_update",
        "adam",
    ),
}
CALLEE = '''

_once = map_elements


@inline
def map_elements(function, X, out):
    """Compute out = function(X) twice."""
    _once(function, X, out)
    _once(function, X, out)
'''


class Scratch:
    """A clone of the repository in which anything may be committed and measured."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.folder, self.clone = folder, folder / "clone"
        run("git", "clone", "--quiet", str(ROOT), str(self.clone))
        self.git("checkout", "--quiet", "-B", "main", commit)
        self.git("config", "user.name", "detect")
        self.git("config", "user.email", "detect@localhost")
        # asv keeps the name of the machine in the home folder, the suite its compiled kernels in the user's cache
        self.environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        self.asv("machine", "--yes")

    def git(self, *arguments: str) -> str:
        return run("git", *arguments, cwd=self.clone).strip()

    def asv(self, command: str, *arguments: str) -> str:
        program = [sys.executable, "-m", "asv", command, "--config", CONFIG, *arguments]
        done = subprocess.run(program, cwd=self.clone, env=self.environment, capture_output=True, text=True)
        with open(self.folder / "asv.log", "a") as log:
            log.write(" ".join(program) + "\n" + done.stdout + done.stderr)
        if "Traceback" in done.stdout + done.stderr or " failed" in done.stdout:
            sys.exit(f"asv {command} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    def commit(self, message: str, file: str | None = None, code: str = "") -> str:
        """Append code to a file, if any, and commit it; return the new commit."""
        if file:
            with open(self.clone / file, "a") as out:
                out.write(code)
        self.git("commit", "--quiet", "--all", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def continuous(self, base: str, commit: str, factor: float, bench: str = "^relative") -> list[tuple[float, str]]:
        """Return what `asv continuous` says has become slower: the change, and the benchmark with its parameter."""
        for result in (self.clone / ".asv" / "results").glob("*/*.json"):
            if result.name[:8] in (base[:8], commit[:8]):
                result.unlink()  # asv would not measure again
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


def show(part: str, attempt: int, outcome: bool, flagged: list[tuple[float, str]], seconds: float) -> bool:
    names = ", ".join(f"{name} x {change:.2f}" for change, name in flagged) or "nothing"
    print(f"| {part} | {attempt} | {'yes' if outcome else 'NO'} | {names} | {seconds:.0f} |", flush=True)
    return outcome


def part_slower(scratch: Scratch, args: argparse.Namespace) -> bool:
    base, injection = scratch.git("rev-parse", "HEAD"), KERNELS[args.kernel]
    commit = scratch.commit(f"Make {args.kernel} slower", f"kernels/{injection.file}.py", injection.code(args.kernel, args.slowdown))
    outcomes = []
    for attempt in range(1, args.tries + 1):
        start = time.time()
        flagged = scratch.continuous(base, commit, args.factor, args.bench)
        hit = any(name.startswith(injection.benchmark) and injection.parameter in name for _, name in flagged)
        outcomes.append(show("slower: flagged", attempt, hit, flagged, time.time() - start))
    return all(outcomes)


def part_same(scratch: Scratch, args: argparse.Namespace) -> bool:
    base = scratch.git("rev-parse", "HEAD")
    commit = scratch.commit("Change nothing")
    outcomes = []
    for attempt in range(1, args.tries + 1):
        start = time.time()
        flagged = scratch.continuous(base, commit, args.factor, args.bench)
        outcomes.append(show("same: nothing flagged", attempt, not flagged, flagged, time.time() - start))
    return all(outcomes)


def part_find(scratch: Scratch, args: argparse.Namespace) -> bool:
    injection, start = KERNELS[args.kernel], time.time()
    first = scratch.git("rev-parse", "HEAD")
    guilty, position = "", 11
    for i in range(1, 17):
        if i == position:
            guilty = scratch.commit(f"Commit {i}, slower", f"kernels/{injection.file}.py", injection.code(args.kernel, args.slowdown))
        else:
            scratch.commit(f"Commit {i}")
    report = scratch.asv("find", f"{first}..HEAD", injection.benchmark)
    found = re.findall(r"Greatest regression found: ([0-9a-f]+)", report)
    named = bool(found) and guilty.startswith(found[0])
    return show(
        f"find: commit {position} of 16 named",
        1,
        named,
        [(1 + args.slowdown, f"{found[0]} by asv, {guilty[:8]} in truth")] if found else [],
        time.time() - start,
    )


def part_callee(scratch: Scratch, args: argparse.Namespace) -> bool:
    base, start = scratch.git("rev-parse", "HEAD"), time.time()
    commit = scratch.commit("Change a callee in another file", "kernels/_elements.py", CALLEE)
    flagged = scratch.continuous(base, commit, args.factor, "relative.Activation")
    elementwise = [name for _, name in flagged if "tanh" in name]
    return show("callee: its own machine code", 1, bool(elementwise), flagged, time.time() - start)


PARTS = {"callee": part_callee, "slower": part_slower, "same": part_same, "find": part_find}


def main() -> None:
    parser = argparse.ArgumentParser(description="Show what the benchmarks find.")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--kernel", default="tanh_forward", choices=KERNELS)
    parser.add_argument("--slowdown", type=float, default=0.15)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--factor", type=float, default=1.10)
    parser.add_argument("--bench", default="^relative", help="the ratios that are compared")
    parser.add_argument("--commit", default="HEAD")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder), run("git", "rev-parse", args.commit, cwd=ROOT).strip())
        head, outcomes = scratch.git("rev-parse", "HEAD"), []
        print(f"{args.kernel} slower by {args.slowdown:.0%}, threshold {args.factor}, with another load on the last CPU\n")
        print("| part | try | as it should be | flagged | s |\n|---|---|---|---|---|", flush=True)
        with other_load():
            for part in args.parts.split(","):
                scratch.git("checkout", "--quiet", "-B", "main", head)
                outcomes.append(PARTS[part](scratch, args))
        sys.exit(0 if all(outcomes) else 1)


if __name__ == "__main__":
    main()
