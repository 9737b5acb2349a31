"""Machine code that knows nothing of the vector width, shared by processes with different ones: so only the products are compiled for each."""

import os
import types

SETTINGS = {"FASTNN_VECTOR_BYTES": "VECTOR_BYTES", "FASTNN_BFLOAT16": "BFLOAT16"}  # variables of the environment, and what the sources call them


def depends(function, seen=None):
    """Return whether a setting stands in a function, or in what becomes part of its machine code."""
    seen = set() if seen is None else seen
    function = getattr(function, "py_func", getattr(function, "_defn", function))
    if not isinstance(function, types.FunctionType) or function in seen:
        return False
    seen.add(function)
    codes, names = [function.__code__], set()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [value for value in code.co_consts if isinstance(value, types.CodeType)]
    inside = [cell.cell_contents for cell in function.__closure__ or ()] + [function.__globals__.get(name) for name in names]
    return not names.isdisjoint(SETTINGS.values()) or any(depends(value, seen) for value in inside)


def share(cache):
    """Let `kernels._cache` keep and find what does not depend on the settings where a process without them does."""
    own, place = cache.FINGERPRINT, cache.Cache._place
    given = {name: os.environ.pop(name) for name in SETTINGS if name in os.environ}
    common = cache._fingerprint()
    os.environ.update(given)

    def shared(self, sig, codegen):
        cache.FINGERPRINT = own if depends(self.function) else common
        cache.cache_folder.cache_clear()
        return place(self, sig, codegen)

    cache.Cache._place = shared
