"""Who may import whom, held by reading the sources."""

import ast
import graphlib
import os
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
import kernels

ROOT = Path(__file__).parents[1]
KERNELS = sorted((ROOT / "kernels").glob("*.py"))
FASTNN = sorted((ROOT / "fastnn").glob("*.py"))
LLVM = {"_bits.py", "_jit.py", "_link.py", "_pairs.py", "_tile.py", "_wait.py"}
ALWAYS = {"kernels", "numpy", "tqdm"}
LATE = {"estimators.py"}  # modules that are imported when used: their classes need those of an optional package


def imports(path):
    """Yield (top-level package, whether inside a function) for every absolute import of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    deferred = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)) or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], id(node) in deferred
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0], id(node) in deferred


def foreign(path):
    return {(package, deferred) for package, deferred in imports(path) if package not in sys.stdlib_module_names}


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_kernels_import_numpy_and_numba_only(path):
    allowed = {"numpy", "numba"} | ({"llvmlite"} if path.name in LLVM else set())
    assert {package for package, _ in foreign(path)} <= allowed


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_one_file_decides_how_kernels_are_compiled(path):
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {node.attr if isinstance(node, ast.Attribute) else node.id for node in nodes if isinstance(node, (ast.Attribute, ast.Name))}
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0 for alias in node.names}
    if path.name != "_jit.py":
        assert not (names | imported) & {"njit", "vectorize", "guvectorize", "generated_jit", "cfunc", "jitclass", "set_num_threads"}


@pytest.mark.parametrize("path", KERNELS + FASTNN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_property_is_computed_under_a_lock(path):
    """`kernels._lazy` says why."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "functools" for alias in node.names}
    named = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    assert "cached_property" not in imported and "functools.cached_property" not in named


@pytest.mark.parametrize("path", FASTNN, ids=lambda path: path.name)
def test_fastnn_holds_no_compiled_code(path):
    assert not {package for package, _ in foreign(path)} & {"numba", "llvmlite"}


def test_the_modules_of_fastnn_import_in_one_direction():
    modules = {path.stem for path in FASTNN}
    imported = {}
    for path in FASTNN:
        nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom) and node.level == 1]
        names = {name for node in nodes for name in ([node.module] if node.module else [alias.name for alias in node.names])}
        imported[path.stem] = names & modules
    graphlib.TopologicalSorter(imported).prepare()  # raises for a circle, types included


@pytest.mark.parametrize("path", FASTNN, ids=lambda path: path.name)
def test_optional_packages_are_imported_when_used(path):
    assert path.name in LATE or {package for package, deferred in foreign(path) if not deferred} <= ALWAYS


def test_nobody_imports_what_is_imported_when_used():
    for path in FASTNN:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level == 1 and f"{node.module}.py" in LATE], path.name


def test_each_optional_package_enters_in_one_module():
    homes = {}
    for path in FASTNN:
        for package in {package for package, _ in foreign(path)} - ALWAYS if path.name not in LATE else ():
            homes.setdefault(package, []).append(path.name)
    assert {package: names for package, names in homes.items() if len(names) > 1} == {}


def test_the_optional_packages_are_extras():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=; ]", line)[0].replace("scikit-learn", "sklearn") for lines in project["optional-dependencies"].values() for line in lines}
    required = {re.split(r"[<>= ]", line)[0] for line in project["dependencies"]}
    used = {package for path in KERNELS + FASTNN for package, _ in foreign(path)} - {"kernels", "llvmlite"}
    assert required == ALWAYS - {"kernels"} | {"numba"}
    assert used - required <= declared


@pytest.mark.parametrize("package", [kernels, fastnn], ids=lambda package: package.__name__)
def test_every_public_name_exists_and_is_described(package):
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        value = getattr(package, name)
        assert not callable(value) or (value.__doc__ or "").strip(), name


def test_imports_without_docstrings():
    subprocess.run([sys.executable, "-OO", "-c", "import fastnn"], cwd=ROOT, check=True)


def test_help_shows_the_arguments_of_a_kernel():
    assert "adam_update(w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step)\n" in pydoc.render_doc(kernels.adam_update, renderer=pydoc.plaintext)


@pytest.mark.parametrize("package", ["kernels", "fastnn"])
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()


def test_import_brings_no_optional_package_and_starts_no_threads():
    code = (
        "import sys, threading, numba\n"
        "before = set(sys.modules)\n"
        "import fastnn\n"
        "print(sorted({'matplotlib', 'pooch', 'requests', 'sklearn', 'scipy', 'torch'} & (set(sys.modules) - before)), threading.active_count(), end=' ')\n"
        "try: numba.threading_layer()\n"
        "except ValueError: print('no pool')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 1 no pool"
