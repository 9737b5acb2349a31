"""The tasks of losses that need whole rows of outputs: cross-entropy and focal loss over classes, Gaussian negative log-likelihood.

They are called by their address for a panel's width of rows, transposed: so what is done for one row is done for all of them in one
vector. Their arguments are (tag, parameters, a, d, targets, labels, jump, n, first, last, lanes, losses), for rows `first` to `last`, at
most a panel's width. Outputs lie at a as they are, and at d transposed, where their derivatives times the scale replace them; targets
transposed; labels at their address or 0. losses is the address of the losses of all rows, lanes that of LINES lines.
"""

from __future__ import annotations

import numpy as np

from ._bits import like
from ._elements import fill
from ._jit import Task, helper, inline, task
from ._math import exp, expm1, log
from ._tile import PANEL_BYTES, add_line, array_at, line_buffer, multiply_line, raise_line, subtract_line, width_of, zero_of
from .losses import CROSS_ENTROPY, FOCAL, GAUSSIAN_NLL
from .panels import panels

__all__ = ["LINES", "ROW_TASKS", "output_lanes", "output_line"]

LINES = 4  # that a task may write to; in the last one stands the scale


@helper
def output_line(zero, base, jump, j):
    """The address of one output of a panel's width of rows, in transposed blocks."""
    width = width_of(zero)
    return base + j // width * jump + j % width * PANEL_BYTES


@helper
def output_lanes(zero, base, jump, j):
    """One output of a panel's width of rows, in transposed blocks."""
    return array_at(zero, output_line(zero, base, jump, j), width_of(zero))


@helper
def _scale_of(lanes):
    return array_at(0.0, lanes + (LINES - 1) * PANEL_BYTES, 1)[0]


@helper
def _fill(zero, line, value):
    fill(array_at(zero, line, width_of(zero)), like(zero, value))


@helper
def _subtract_top(zero, d, jump, n, top):
    """z -= the largest z of its row, which is left in the line `top`."""
    _fill(zero, top, -np.inf)
    for j in range(n):
        raise_line(zero, output_line(zero, d, jump, j), top)
    for j in range(n):
        subtract_line(zero, top, output_line(zero, d, jump, j))


@task
def cross_entropy_rows(tag, parameters, a, d, targets, labels, jump, n, first, last, lanes, losses):
    """sum(p * (log sum exp z - z)) and (softmax(z) * sum(p) - p) * scale, p = (1 - smoothing) * target + smoothing / n.

    With labels at address 0, targets are probabilities.
    """
    zero, scale = zero_of(tag), _scale_of(lanes)
    width, row_losses = width_of(zero), array_at(0.0, losses, last)
    itemsize = PANEL_BYTES // width
    smoothing = array_at(0.0, parameters, 1)[0]
    keep, share = 1.0 - smoothing, smoothing / n
    top, total = array_at(zero, lanes, width), array_at(zero, lanes + PANEL_BYTES, width)
    _subtract_top(zero, d, jump, n, lanes)
    _fill(zero, lanes + PANEL_BYTES, 0.0)
    for p in range(panels(n, width)):  # one array, and a loop of unknown length: so it becomes a loop over vectors
        z = array_at(zero, d + p * jump, min(width, n - p * width) * width)
        for i in range(z.size):
            z[i] = exp(z[i])
    for j in range(n):
        add_line(zero, output_line(zero, d, jump, j), lanes + PANEL_BYTES)
    log_total = array_at(zero, lanes + 2 * PANEL_BYTES, last - first)
    for l in range(log_total.size):
        log_total[l] = total[l]
    for l in range(log_total.size):
        log_total[l] = log(log_total[l])
    if labels != 0:
        label = array_at(np.int64(0), labels + first * 8, width)
        for l in range(last - first):
            at = label[l] // width * jump + label[l] % width * itemsize + l * PANEL_BYTES
            shift = np.float64(log_total[l]) + np.float64(top[l])
            loss = (shift - np.float64(array_at(zero, a + at, 1)[0])) * keep
            if smoothing > 0.0:
                for j in range(n):
                    at = j // width * jump + j % width * itemsize + l * PANEL_BYTES
                    loss += (shift - np.float64(array_at(zero, a + at, 1)[0])) * share
            row_losses[first + l] = loss * scale
        for l in range(last - first):
            total[l] = like(zero, scale) / total[l]
        _fill(zero, lanes, share * scale)
        for j in range(n):
            multiply_line(zero, lanes + PANEL_BYTES, output_line(zero, d, jump, j))
            subtract_line(zero, lanes, output_line(zero, d, jump, j))
        for l in range(last - first):
            output_lanes(zero, d, jump, label[l])[l] -= like(zero, keep * scale)
    else:
        for l in range(last - first):
            row_losses[first + l] = 0.0
            weight, shift = zero, log_total[l] + top[l]
            for j in range(n):
                p = output_lanes(zero, targets, jump, j)[l] * like(zero, keep) + like(zero, share)
                at = j // width * jump + j % width * itemsize + l * PANEL_BYTES
                weight += p
                row_losses[first + l] += np.float64(p * (shift - array_at(zero, a + at, 1)[0])) * scale if p != zero else 0.0
            total[l] = weight / total[l]
        for j in range(n):
            e, p = output_lanes(zero, d, jump, j), output_lanes(zero, targets, jump, j)
            for l in range(last - first):
                e[l] = (e[l] * total[l] - (p[l] * like(zero, keep) + like(zero, share))) * like(zero, scale)


@inline
def _focal(zero, log_p, gamma):
    """Return p and -(1 - p)**gamma * log(p), and p times the derivative of the latter with respect to p."""
    one = like(zero, 1.0)
    rest = -expm1(log_p)
    ratio = log_p / rest if rest > zero else -one  # where p is 1
    power = exp(gamma * log(rest if rest > like(zero, 1e-37) else like(zero, 1e-37)))
    p = exp(log_p)
    return p, -(power * log_p), power * (gamma * (p * ratio) - one)


@task
def focal_rows(tag, parameters, a, d, targets, labels, jump, n, first, last, lanes, losses):
    """sum(-target * (1 - p)**gamma * log(p)), p = softmax(z), and its derivative; g - p * sum(g) with g = target * p * d/dp of a term."""
    zero, scale = zero_of(tag), _scale_of(lanes)
    width, row_losses = width_of(zero), array_at(0.0, losses, last)
    gamma = like(zero, array_at(0.0, parameters, 1)[0])
    t, room, count = array_at(zero, lanes + 2 * PANEL_BYTES, width), line_buffer(zero), last - first
    top, total = array_at(zero, lanes, count), array_at(zero, lanes + PANEL_BYTES, count)
    p, value, slope = array_at(zero, room, count), array_at(zero, room + PANEL_BYTES, count), array_at(zero, room + 2 * PANEL_BYTES, count)
    _subtract_top(zero, d, jump, n, lanes)
    _fill(zero, lanes + PANEL_BYTES, 0.0)
    for j in range(n):
        z = output_lanes(zero, d, jump, j)
        for l in range(count):
            p[l] = exp(z[l])
        add_line(zero, room, lanes + PANEL_BYTES)
    for l in range(count):
        total[l] = log(total[l])
    _fill(zero, lanes, 0.0)  # from here on the sum of g
    fill(row_losses[first:last], 0.0)
    for turn in range(2):  # the sums, then the derivatives
        for j in range(n):
            z = output_lanes(zero, d, jump, j)
            _target_lanes(zero, targets, labels, jump, j, first, last, t)
            for l in range(count):
                p[l], value[l], slope[l] = _focal(zero, z[l] - total[l], gamma)
            multiply_line(zero, lanes + 2 * PANEL_BYTES, room + 2 * PANEL_BYTES)
            if turn == 0:
                add_line(zero, room + 2 * PANEL_BYTES, lanes)
                for l in range(count):
                    row_losses[first + l] += np.float64(t[l] * value[l]) * scale if t[l] != zero else 0.0
            else:
                for l in range(count):
                    z[l] = (slope[l] - p[l] * top[l]) * like(zero, scale)


@helper
def _target_lanes(zero, targets, labels, jump, j, first, last, t):
    """t = the targets of one output, 1 or 0 where there are labels."""
    if labels != 0:
        label = array_at(np.int64(0), labels, last)
        for l in range(last - first):
            t[l] = like(zero, 1.0) if label[first + l] == j else zero
    else:
        p = output_lanes(zero, targets, jump, j)
        for l in range(t.size):
            t[l] = p[l]


@task
def gaussian_nll_rows(tag, parameters, a, d, targets, labels, jump, n, first, last, lanes, losses):
    """sum((s + (mean - target)**2 / e**s) / 2) with means in the first half of the outputs and s, at least log(eps), in the second.

    Where s is below, its derivative is that at log(eps), so that it comes back.
    """
    zero, scale = zero_of(tag), _scale_of(lanes)
    width, row_losses, m = width_of(zero), array_at(0.0, losses, last), n // 2
    least = like(zero, log(array_at(0.0, parameters, 1)[0]))
    half, one, factor, total = like(zero, 0.5), like(zero, 1.0), like(zero, scale), array_at(zero, lanes, width)
    fill(total, zero)
    for j in range(m):
        mean, s, t = output_lanes(zero, d, jump, j), output_lanes(zero, d, jump, j + m), output_lanes(zero, targets, jump, j)
        for l in range(width):
            bounded = least if s[l] < least else s[l]
            away, precision = mean[l] - t[l], exp(-bounded)
            squares = away * away * precision
            total[l] += half * (bounded + squares)
            mean[l] = away * precision * factor
            s[l] = half * (one - squares) * factor
    for j in range(2 * m, n):
        fill(output_lanes(zero, d, jump, j), zero)
    for l in range(last - first):
        row_losses[first + l] = np.float64(total[l]) * scale


ROW_TASKS: dict[int, Task] = {
    CROSS_ENTROPY: Task(cross_entropy_rows),
    FOCAL: Task(focal_rows),
    GAUSSIAN_NLL: Task(gaussian_nll_rows),
}
