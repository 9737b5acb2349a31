"""The compiled kernels on the disk: where they lie, whom they are believed from, and how they are read.

Numba watches only the file that a function is written in. A kernel is built of several files, so here the machine code
carries a fingerprint of all of them: an edited helper is never run in its old form.

Machine code that somebody else may have written is somebody else's program. So a folder, and each file in it, counts only
if it belongs to the user or to root and nobody else may write it. A kernel is one file that names what it is for and ends
with a SHA-256, and it comes by a rename: no index that two processes could update at once, and what is torn, damaged or
belongs to another kernel is compiled anew. No writable folder, a full disk: a compilation, never an error.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import pickle
import re
import shutil
import stat
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import bytecode, caching, compiler, serialize
from numba.core.runtime import rtsys

_FOLDER = Path(__file__).resolve().parent
DIGEST = 32  # bytes of a SHA-256


def _version() -> str:
    """Return a hash of all kernel sources."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


VERSION = _version()


def _fingerprint() -> str:
    """Return a hash of all kernel sources and of the settings that change the machine code made from them."""
    digest = hashlib.sha256(VERSION.encode())
    for name in ("NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_DEBUGINFO", "FASTNN_VECTOR_BYTES", "FASTNN_BFLOAT16"):
        digest.update(f"{name}={os.environ.get(name)}".encode())
    return digest.hexdigest()


FINGERPRINT = _fingerprint()


def _number_functions_apart() -> None:
    """Let this process number the functions that it compiles from a number of its own on.

    Numba tells functions of one name and one file, such as those made in a closure, apart by a number that each process counts from 1. Two processes can
    so give the symbol of one function to another; a third that loads what both left on the disk runs one of them in place of the other
    (https://github.com/numba/numba/issues/10486).
    """
    bytecode.FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(6), "big"))


_number_functions_apart()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_number_functions_apart)


@functools.cache
def cache_folder() -> str | None:
    """Return the folder of the compiled kernels, or None where there is none that can be written and trusted.

    Numba's own order: NUMBA_CACHE_DIR, beside the sources, the user's cache folder. In it each state of the sources has a folder of its own,
    so that two versions that run at the same time never read each other's machine code; those unused for a month are removed.
    """
    user = caching.AppDirs(appname="numba", appauthor=False).user_cache_dir
    for parent in (numba.config.CACHE_DIR, str(_FOLDER / "__pycache__"), user):
        if parent:
            folder = os.path.join(parent, f"fastnn-kernels-{FINGERPRINT[:16]}")
            try:
                os.makedirs(folder, mode=0o700, exist_ok=True)
                if not _trusted(folder, os.lstat(folder), stat.S_ISDIR):
                    continue
                with tempfile.TemporaryFile(dir=folder):
                    os.utime(folder)  # it is in use: such a file, which has no name, does not say so
            except OSError:
                continue
            for old in Path(parent).glob("fastnn-kernels-*"):
                with contextlib.suppress(OSError):
                    if time.time() - old.stat().st_mtime > 30 * 24 * 3600 and str(old) != folder:
                        shutil.rmtree(old)
            return folder
    return None


def _trusted(path: str, found: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    """Return whether only the user and root can have written what lies at a path; warn once where that is not so."""
    if not is_kind(found.st_mode):
        _warn(path, "a link or something else")
    elif not hasattr(os, "geteuid"):  # Windows: folders of a user are the user's
        return True
    elif found.st_uid not in (os.geteuid(), 0):
        _warn(path, f"the property of user {found.st_uid}")
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        _warn(path, f"permissions {stat.S_IMODE(found.st_mode):o}")
    else:
        return True
    return False


_warned: list[str] = []


def _warn(path: str, what: str) -> None:
    if not _warned:
        _warned.append(path)
        must = "belong to this user or root, and only they may write it"
        warnings.warn(f"{path}, compiled kernels, must {must}; got {what}. It is not used: remove it.", RuntimeWarning, stacklevel=2)


class Cache(caching.NullCache):
    """The machine code of one function on the disk, as Numba's dispatchers use it.

    Parameters
    ----------
    function : function
        Known by its module, name and line: what a closure holds has other bytes in every process.
    missed : function
        Called with `function` before it is compiled.
    """

    def __init__(self, function: Callable[..., Any], missed: Callable[[Any], None]) -> None:
        self.function, self._missed = function, missed

    @property
    def cache_path(self) -> str | None:
        """The folder."""
        return cache_folder()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled for a signature, None where it is to be compiled.

        Numba's own caches load all that it can compile first, and SciPy's BLAS where it is installed: machine code asks for the memory manager only.
        """
        rtsys.initialize(target_context)
        found = None
        with contextlib.suppress(Exception):  # no such file; or from another Numba, which can raise anything
            path, key = self._place(sig, target_context.codegen())
            found = compiler.CompileResult._rebuild(target_context, *pickle.loads(_read(path, key)))
        if found is None:
            self._missed(self.function)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature."""
        if any(not one.can_cache for one in data.lifted) or data.library.has_dynamic_globals:
            return
        with contextlib.suppress(Exception):  # a full or vanished folder, or another Numba: the kernel runs all the same
            path, key = self._place(sig, data.codegen)
            _write(path, key, serialize.dumps(data._reduce()))

    def _place(self, sig: Any, codegen: Any) -> tuple[str, bytes]:
        """Return where the machine code for a signature lies, and all that it depends on."""
        folder, name = cache_folder(), self.function.__qualname__
        code = self.function.__code__
        machine = (numba.__version__, sys.implementation.cache_tag, getattr(sys, "abiflags", ""), codegen.magic_tuple())
        key = repr((FINGERPRINT, self.function.__module__, name, code.co_firstlineno, str(sig), machine))
        if folder is None or " at 0x" in key:  # a type that is known by an address, which is another one in each process
            raise OSError
        readable = re.sub(r"[^\w.]", "", name)[:60]
        return os.path.join(folder, f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.nbc"), key.encode()


def _read(path: str, key: bytes) -> bytes:
    """Return what was written for a key; whatever is wrong with the file raises."""
    with open(path, "rb") as file:
        if not _trusted(path, os.fstat(file.fileno()), stat.S_ISREG):
            raise OSError
        content = file.read()
    data = memoryview(content)[:-DIGEST]
    if _digest(key, data) != content[-DIGEST:]:
        raise OSError
    return bytes(data)


def _write(path: str, key: bytes, data: bytes) -> None:
    """Write data for a key, whole or not at all."""
    temporary = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb") as file:
            file.write(data)
            file.write(_digest(key, data))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _digest(key: bytes, data: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(key)
    digest.update(data)
    return digest.digest()
