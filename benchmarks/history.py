"""Run a part of the suite over the commits of the main line and print how each number moved.

    python benchmarks/history.py                        measure what is missing, and print the table: 2 to 4 minutes a commit
    python benchmarks/history.py --write                also put it into benchmarks/README.md
    python benchmarks/history.py --every 25 --write     of the newest commit and each 25th before it, into a table of its own
    python benchmarks/history.py --since 3280d12 --no-run

A number moves when it differs by more than a tenth, a time by more than a quarter, from where it moved last. What moved it is the commit's
subject, unless `history.json` has a text for the first letters of its hash.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "benchmarks/asv.conf.json"
BEGIN, END = "<!-- {}: begin, made by: python benchmarks/history.py {}--write -->", "<!-- {}: end -->"
# title of the column: benchmark, its parameters, digits, factor from which on it has moved
COLUMNS: dict[str, tuple[str, tuple[str, ...], int, float]] = {
    "forward": ("relative.Linear.track_forward", ("'64 x 128 x 128'",), 2, 1.10),
    "backward": ("relative.Linear.track_backward", ("'64 x 128 x 128'",), 2, 1.10),
    "tanh": ("relative.Activation.track_forward", ("'tanh'",), 2, 1.10),
    "cross-entropy": ("relative.Others.track_softmax_cross_entropy", (), 2, 1.10),
    "Adam": ("relative.Optimizer.track_update", ("'adam'",), 2, 1.10),
    "gather": ("relative.Others.track_gather", (), 2, 1.10),
    "one row": ("relative.Others.track_predict", (), 2, 1.10),
    "2-16-2": ("relative.Training.track_steps", ("'2-16-2, batch 16'",), 3, 1.10),
    "64-128-64-10": ("relative.Training.track_steps", ("'64-128-64-10, batch 32'",), 2, 1.10),
    "784-500-500-10": ("parallel.Training.track_steps", ("'784-500-500-10, batch 100'", "1"), 2, 1.10),
    "on two threads": ("parallel.Training.track_steps", ("'784-500-500-10, batch 100'", "2"), 2, 1.10),
    "cold start, s": ("startup.FirstStep.track_cold", (), 1, 1.25),
    "warm start, s": ("startup.FirstStep.track_warm", (), 2, 1.25),
}


@dataclass
class Commit:
    hash: str
    subject: str
    values: dict[str, float]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def commits(since: str, until: str) -> list[Commit]:
    """Return the commits of the main line that changed what is measured, oldest first."""
    lines = git("log", "--first-parent", "--reverse", "--format=%H %s", until, "--", "kernels", "fastnn").splitlines()
    wanted = {since, *git("rev-list", f"{since}..{until}").splitlines()}
    return [Commit(*line.split(" ", 1), {}) for line in lines if line.split(" ")[0] in wanted]  # type: ignore[call-arg]


def core() -> str:
    """Return the first commit that has kernels."""
    return git("log", "--diff-filter=A", "--format=%H", "--reverse", "--", "kernels/__init__.py").splitlines()[0]


def measure(hashes: list[str]) -> None:
    """Run what the table shows on commits; what has a result stays."""
    names = sorted({name for name, *_ in COLUMNS.values()})
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(hashes))
        file.flush()
        pattern = "^(" + "|".join(name.replace(".", r"\.") for name in names) + r")($|\()"
        command = [sys.executable, "-m", "asv", "run", "--config", CONFIG, "--skip-existing", "--bench", pattern, f"HASHFILE:{file.name}"]
        if subprocess.run(command, cwd=ROOT).returncode not in (0, 2):  # 2: one of them failed on an old commit
            sys.exit("asv run failed")


def results(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the hash of a commit and its values, by the title of the column."""
    for path in sorted(folder.glob("*/*.json")):
        if path.name in ("machine.json", "benchmarks.json"):
            continue
        stored = json.loads(path.read_text())
        values = {}
        for title, (name, chosen, *_) in COLUMNS.items():
            if name in stored["results"]:
                value = pick(dict(zip(stored["result_columns"], stored["results"][name])), chosen)
                if value is not None:
                    values[title] = value
        yield stored["commit_hash"], values


def pick(result: dict[str, Any], chosen: tuple[str, ...]) -> float | None:
    """Return the value for some parameters from a result as asv stores it: one value for each combination, the last parameter fastest."""
    position = 0
    for values, value in zip(result["params"], chosen):
        if value not in values:
            return None
        position = position * len(values) + values.index(value)
    found = result["result"][position] if result.get("result") else None
    return None if found is None or (isinstance(found, float) and math.isnan(found)) else float(found)


def table(rows: list[Commit], reasons: dict[str, str]) -> str:
    """Return the table in Markdown: a number that moved is bold, with what moved it in the last column."""
    titles = list(COLUMNS)
    lines = ["| commit | " + " | ".join(titles) + " | what moved the bold ones |", "|---" * (len(titles) + 2) + "|"]
    last: dict[str, float] = {}
    for commit in rows:
        cells, moved = [], False
        for title in titles:
            value = commit.values.get(title)
            if value is None:
                cells.append("-")
                continue
            digits, factor = COLUMNS[title][2:]
            text = f"{value:.{digits}f}"
            before = last.setdefault(title, value)
            if max(value / before, before / value) > factor:
                text, moved = f"**{text}**", True
                last[title] = value
            cells.append(text)
        reason = next((text for start, text in reasons.items() if commit.hash.startswith(start)), commit.subject)
        lines.append(f"| {commit.hash[:8]} | " + " | ".join(cells) + f" | {reason if moved else ''} |")
    return "\n".join(lines)


def write(text: str, path: Path, every: int) -> None:
    """Put the table between its two marks."""
    name, option = ("history", "") if every == 1 else ("long history", f"--every {every} ")
    begin, end = BEGIN.format(name, option), END.format(name)
    before, rest = path.read_text().split(begin)
    path.write_text(before + begin + "\n\n" + text + "\n\n" + end + rest.split(end)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how the benchmarks moved from commit to commit.")
    parser.add_argument("--since", help="first commit (default: the first that has kernels)")
    parser.add_argument("--until", default="HEAD")
    parser.add_argument("--every", type=int, default=1, help="only one commit in so many, counted from the newest")
    parser.add_argument("--no-run", action="store_true", help="print what has been measured")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    args = parser.parse_args()
    rows = commits(git("rev-parse", args.since) if args.since else core(), args.until)[:: -args.every][::-1]
    if not args.no_run:
        measure([commit.hash for commit in rows])
    for found, values in results(ROOT / ".asv" / "results"):
        for commit in rows:
            if commit.hash == found:
                commit.values.update(values)
    path = Path(__file__).with_name("history.json")
    text = table([commit for commit in rows if commit.values], json.loads(path.read_text()) if path.exists() else {})
    print(text)
    if args.write:
        write(text, Path(__file__).with_name("README.md"), args.every)


if __name__ == "__main__":
    main()
