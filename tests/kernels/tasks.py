"""How a test runs what compiled code calls by its address."""

import ctypes

import numpy as np


def run_task(task, dtype, *arguments):
    """Call a task; arrays stand for their addresses."""
    integers = [one.ctypes.data if isinstance(one, np.ndarray) else one for one in arguments]
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * len(integers))
    kind(task.address(dtype))(None, *integers)


def update_with_task(rule, hyper, w, g, buffers, learning_rate, step):
    """Take one step of a rule by its task: w, buffers and g are overwritten."""
    state = np.concatenate([*buffers, np.zeros(1, w.dtype)])
    record, pace = rule.record(hyper), np.array([learning_rate, step], np.float64)
    run_task(rule.task, w.dtype, record, w, g, state, w.nbytes, w.size, pace)
    for k, buffer in enumerate(buffers):
        buffer[:] = state[k * w.size : (k + 1) * w.size]
