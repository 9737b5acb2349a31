"""A whole network in one compiled call: prediction, loss and gradient, update, and training over a chunk of minibatches.

A network is described by a plan: int64, a row for the whole and then one a layer, which holds sizes, codes and addresses.
So another shape, depth, activation or batch size compiles nothing. `kernels.bound` makes the table and owns the memory it names.

    forward    Z = X W + b     A = rows of X,                  B = a panel of W
    backward   dX = dZ W^T     A = rows of dZ,                 B = 16 rows of W, transposed into scratch
               dW = X^T dZ     A = a panel of X, transposed,   B = a panel of dZ

The work of each line is a list of equal tasks, given to threads or done in order; an output element is written by one task, in
one order, so its bits do not depend on the number of threads.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import carray

from ._bits import absolute, like
from ._jit import helper, kernel, parallel_task, task
from ._math import exp, log
from ._product import column_product, panel_product
from ._tile import FLOOR, MASK, NO_FINISH, PANEL_BYTES, address_of, call, pointer, transpose_block, width_of, zero_of
from .activations import RELU
from .losses import CROSS_ENTROPY
from .panels import panels
from .random import PURPOSE_DROPOUT, philox

__all__ = ["network_forward", "network_gradient", "network_loss", "network_output", "network_train", "network_update"]

N_FIELDS = 53

# The first row of a plan: the network.
(N_LAYERS, ROWS, JUMP, FORWARD, BACKWARD, LOSS, UPDATE, PARAMETERS, GRADIENT, STATE, SIZE, LOSS_CODE, FUSED, LABELS, TARGETS, INPUT_BYTES, TARGET_BYTES,
 RULE, HYPER, SEED, STEP, THREADS, REGION, NUMBERS, ROW_LOSSES, SCRATCH, SCRATCH_BYTES, LANES, CONSTANTS, UPDATED, PARTS, MEAN_ROWS, CAPACITY, PANEL,
 BATCH, ROWS_PRODUCT, COLUMNS_PRODUCT, ELEMENT_LOSS, LOSS_VALUES, DROP, RUN, PENALIZE, BY_LAYER, UPDATE_FIRST, UPDATE_COUNT,
 LOWEST, WEIGHTS, SEEN, PENALTY_SUMS, PENALTY_LANES) = range(50)  # fmt: skip
# The other rows: a layer. Addresses of its matrices, and what its neighbours need to know of each other.
(K, N, W, B, DW, DB, X, Z, A, X_NEXT, D, D_PREVIOUS, ACTIVATION, THRESHOLD, NEXT_THRESHOLD, PREVIOUS_ACTIVATION, PREVIOUS_SAVED, INDEX,
 PANEL_PARTS, ROW_PARTS, WIDTH_PARTS, SAVED, PENALTIES, ACTIVATE, DERIVE, VALUES, PREVIOUS_DERIVE, PREVIOUS_VALUES) = range(28)  # fmt: skip
# The float64 numbers that go with a plan.
RATE, STEP_COUNT, LOSS_SCALE = range(3)
N_NUMBERS = 3

LOSS_ROWS, TOGETHER = 32, 4  # rows in a task of the loss; panels of W transposed at once: they lie side by side
PENALTY_LINES, PENALTY_BLOCK = 4, 1024  # lines added up side by side, and lines in a task


@helper
def _fields(address):
    return carray(pointer(np.int64(0), address), N_FIELDS)


@helper
def _floats(zero, address, count):
    return carray(pointer(zero, address), count)


@task
def _dropout(tag, source, out, first_row, last_row, column, threshold, layer, plan):
    """out = source * keep / (1 - rate) for rows of one panel; whole groups of four rows, as the generator gives them."""
    zero, H = zero_of(tag), _fields(plan)
    width, seed = width_of(zero), H[SEED]
    low, high = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    stream, time, limit = np.uint32(PURPOSE_DROPOUT | layer), np.uint32(H[STEP] & 0xFFFFFFFF), np.uint32(threshold)
    scale = like(zero, (1 << 32) / ((1 << 32) - threshold))
    for i in range(first_row, last_row, 4):
        s, o = _floats(zero, source + i * PANEL_BYTES, 4 * width), _floats(zero, out + i * PANEL_BYTES, 4 * width)
        for j in range(width):
            a, b, c, d = philox(np.uint32(column + j), np.uint32(i >> 2), time, stream, low, high)
            o[j] = s[j] * scale if a >= limit else zero
            o[width + j] = s[width + j] * scale if b >= limit else zero
            o[2 * width + j] = s[2 * width + j] * scale if c >= limit else zero
            o[3 * width + j] = s[3 * width + j] * scale if d >= limit else zero


@task
def _forward_task(tag, t, layer, plan):
    """A = activation(X W + b) for some rows and panels; then the dropout on what the next layer reads."""
    zero = zero_of(tag)
    L, H, width = _fields(layer), _fields(plan), width_of(zero)
    itemsize, jump, rows = PANEL_BYTES // width, H[JUMP], H[ROWS]
    P, activation = panels(L[N], width), L[ACTIVATION]
    part, block = t // L[ROW_PARTS], t % L[ROW_PARTS]
    height = ((rows + L[ROW_PARTS] - 1) // L[ROW_PARTS] + 3) // 4 * 4
    first = min(rows, block * height)
    last = min(rows, first + height)
    if first == last:
        return
    mode = FLOOR if activation == RELU else NO_FINISH
    for p in range(part * P // L[PANEL_PARTS], (part + 1) * P // L[PANEL_PARTS]):
        offset = p * jump * itemsize + first * PANEL_BYTES
        weights, bias = L[W] + p * L[K] * PANEL_BYTES, L[B] + p * PANEL_BYTES
        call(
            H[ROWS_PRODUCT],
            (0, L[X] + first * PANEL_BYTES, jump, weights, bias, 0, L[Z] + offset, width, mode, bias, 0, L[K], last - first, weights + L[K] * PANEL_BYTES),
        )
        if mode == NO_FINISH and L[ACTIVATE] != 0:
            call(L[ACTIVATE], (0, L[VALUES], L[Z] + offset, L[A] + offset, (last - first) * width))
        if L[NEXT_THRESHOLD] > 0:
            at = p * jump * itemsize
            call(H[DROP], (0, L[A] + at, L[X_NEXT] + at, first, last, p * width, L[NEXT_THRESHOLD], L[INDEX] + 1, plan))


@helper
def _transpose_part(zero, source, out, rows):
    """Transpose the first rows of a block, the others taken as zeros."""
    width = width_of(zero)
    a, c = _floats(zero, source, rows * width), _floats(zero, out, width * width)
    for j in range(width):
        for i in range(width):
            c[j * width + i] = a[i * width + j] if i < rows else zero


@task
def _backward_task(tag, t, layer, plan):
    """dX = (dZ W^T) * activation'(previous layer) and dW = X^T dZ for some inputs of a layer, db = sum of dZ for some outputs.

    What has no address is not asked for.
    """
    zero = zero_of(tag)
    L, H, width = _fields(layer), _fields(plan), width_of(zero)
    itemsize, jump, rows, n_in, n_out = PANEL_BYTES // width, H[JUMP], H[ROWS], L[K], L[N]
    P, Q, parts = panels(n_out, width), panels(n_in, width), L[PANEL_PARTS]
    scratch, no_bias, ones = H[SCRATCH] + t * H[SCRATCH_BYTES], H[CONSTANTS], H[CONSTANTS] + PANEL_BYTES
    block = PANEL_BYTES * width
    activation = L[PREVIOUS_ACTIVATION]
    part, outer = t // L[WIDTH_PARTS], t % L[WIDTH_PARTS]
    first_panel, last_panel = outer * P // L[WIDTH_PARTS], (outer + 1) * P // L[WIDTH_PARTS]
    end = (part + 1) * Q // parts
    for q0 in range(part * Q // parts, end, TOGETHER):
        q1 = min(end, q0 + TOGETHER)
        if L[D_PREVIOUS] != 0:
            for p in range(P):
                for q in range(q0, q1):
                    W_block, Wt = L[W] + (p * n_in + q * width) * PANEL_BYTES, scratch + ((q - q0) * P + p) * block
                    if n_in - q * width >= width:
                        transpose_block(zero, W_block, width, Wt, width)
                    else:  # what lies behind the last input is not a weight
                        _transpose_part(zero, W_block, Wt, n_in - q * width)
            for q in range(q0, q1):
                Wt = scratch + (q - q0) * P * block
                at = q * jump * itemsize
                mode = MASK if activation == RELU else NO_FINISH
                call(
                    H[ROWS_PRODUCT],
                    (0, L[D], jump, Wt, no_bias, 0, L[D_PREVIOUS] + at, width, mode, L[PREVIOUS_SAVED] + at, width, n_out, rows, Wt + P * block),
                )
                if L[THRESHOLD] > 0:
                    call(H[DROP], (0, L[D_PREVIOUS] + at, L[D_PREVIOUS] + at, 0, rows, q * width, L[THRESHOLD], L[INDEX], plan))
                if mode == NO_FINISH and L[PREVIOUS_DERIVE] != 0:
                    call(L[PREVIOUS_DERIVE], (0, L[PREVIOUS_VALUES], L[PREVIOUS_SAVED] + at, L[D_PREVIOUS] + at, rows * width))
        for q in range(q0, q1 if L[DW] != 0 else q0):
            x, height = L[X] + q * jump * itemsize, min(width, n_in - q * width)
            dW = L[DW] + (first_panel * n_in + q * width) * PANEL_BYTES
            dZ = L[D] + first_panel * jump * itemsize
            call(H[COLUMNS_PRODUCT], (0, x, dZ, jump * itemsize, no_bias, dW, n_in * PANEL_BYTES, last_panel - first_panel, rows, height))
    for p in range(t, P if L[DB] != 0 else 0, parts * L[WIDTH_PARTS]):  # a row of ones times dZ
        call(H[ROWS_PRODUCT], (0, ones, 0, L[D] + p * jump * itemsize, no_bias, 0, L[DB] + p * PANEL_BYTES, width, NO_FINISH, ones, 0, rows, 1, ones))


@task
def _loss_task(tag, t, layer, plan):
    """The loss of some rows and its gradient with regard to the last layer's product.

    A panel's width of rows is transposed at a time, so that what is done for a row is done for all of them in one vector, and sums
    run over the outputs in ascending order.
    """
    zero = zero_of(tag)
    L, H, width = _fields(layer), _fields(plan), width_of(zero)
    itemsize, n = PANEL_BYTES // width, L[N]
    P, jump = panels(n, width), H[JUMP] * itemsize
    numbers = carray(pointer(0.0, H[NUMBERS]), N_NUMBERS)
    scale = numbers[LOSS_SCALE] / H[ROWS] if H[MEAN_ROWS] else numbers[LOSS_SCALE]
    losses = carray(pointer(0.0, H[ROW_LOSSES]), H[CAPACITY])
    lanes = H[LANES] + t * 3 * PANEL_BYTES
    for first in range(t * LOSS_ROWS, min(H[ROWS], (t + 1) * LOSS_ROWS), width):
        last = min(H[ROWS], first + width)
        a, d, targets = L[A] + first * PANEL_BYTES, L[D] + first * PANEL_BYTES, H[TARGETS] + first * PANEL_BYTES
        for p in range(P):
            transpose_block(zero, a + p * jump, width, d + p * jump, width)
            if H[LABELS] == 0 and H[SEEN] == 0:
                transpose_block(zero, targets + p * jump, width, targets + p * jump, width)
        if H[LOSS_CODE] == CROSS_ENTROPY:
            _cross_entropy(zero, a, d, H[LABELS], targets, jump, n, first, last, scale, lanes, losses)
        else:
            _elementwise(zero, H[ELEMENT_LOSS], H[LOSS_VALUES], d, targets, jump, n, first, last, scale, lanes, losses)
        if H[WEIGHTS] != 0:
            _weigh(zero, d, jump, n, first, last, carray(pointer(0.0, H[WEIGHTS]), last), lanes, losses)
        for j in range(n, P * width):
            beyond = _output(zero, d, jump, j)
            for l in range(width):
                beyond[l] = zero
        for p in range(P):
            transpose_block(zero, d + p * jump, width, d + p * jump, width)
            if not H[FUSED] and L[DERIVE] != 0:
                call(L[DERIVE], (0, L[VALUES], L[SAVED] + first * PANEL_BYTES + p * jump, d + p * jump, width * width))


@helper
def _output(zero, base, jump, j):
    """One output of a panel's width of rows, in transposed blocks."""
    width = width_of(zero)
    return _floats(zero, base + j // width * jump + j % width * PANEL_BYTES, width)


@helper
def _cross_entropy(zero, a, d, labels, targets, jump, n, first, last, scale, lanes, losses):
    """log sum exp z - z[label] and (softmax(z) - one-hot) * scale; with labels at address 0, targets are probabilities."""
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    top, total = _floats(zero, lanes, width), _floats(zero, lanes + PANEL_BYTES, width)
    for l in range(width):
        top[l] = like(zero, -np.inf)
        total[l] = zero
    for j in range(n):
        z = _output(zero, d, jump, j)
        for l in range(width):
            top[l] = z[l] if z[l] > top[l] else top[l]
    for j in range(n):
        z = _output(zero, d, jump, j)
        for l in range(width):
            z[l] -= top[l]
    for p in range(panels(n, width)):  # one array, and a loop of unknown length: so it becomes a loop over vectors
        z = _floats(zero, d + p * jump, min(width, n - p * width) * width)
        for i in range(z.size):
            z[i] = exp(z[i])
    for j in range(n):
        z = _output(zero, d, jump, j)
        for l in range(width):
            total[l] += z[l]
    log_total = _floats(zero, lanes + 2 * PANEL_BYTES, last - first)
    for l in range(log_total.size):
        log_total[l] = total[l]
    for l in range(log_total.size):
        log_total[l] = log(log_total[l])
    if labels != 0:
        label = carray(pointer(np.int64(0), labels + first * 8), width)
        for l in range(last - first):
            at = label[l] // width * jump + label[l] % width * itemsize + l * PANEL_BYTES
            losses[first + l] = (np.float64(log_total[l]) + np.float64(top[l]) - np.float64(_floats(zero, a + at, 1)[0])) * scale
        for l in range(width):
            total[l] = like(zero, scale) / total[l]
        for j in range(n):
            e = _output(zero, d, jump, j)
            for l in range(width):
                e[l] *= total[l]
        for l in range(last - first):
            _output(zero, d, jump, label[l])[l] -= like(zero, scale)
    else:
        for l in range(last - first):
            losses[first + l] = 0.0
            weight, shift = zero, log_total[l] + top[l]
            for j in range(n):
                p = _output(zero, targets, jump, j)[l]
                at = j // width * jump + j % width * itemsize + l * PANEL_BYTES
                weight += p
                losses[first + l] += np.float64(p * (shift - _floats(zero, a + at, 1)[0])) * scale if p != zero else 0.0
            total[l] = weight / total[l]
        for j in range(n):
            e, p = _output(zero, d, jump, j), _output(zero, targets, jump, j)
            for l in range(width):
                e[l] = (e[l] * total[l] - p[l]) * like(zero, scale)


@helper
def _elementwise(zero, loss, values, d, targets, jump, n, first, last, scale, lanes, losses):
    """The loss summed over the outputs of each row, and its derivative times scale in the place of the outputs."""
    width = width_of(zero)
    total, factor = _floats(zero, lanes, width), carray(pointer(0.0, lanes + PANEL_BYTES), 1)
    factor[0] = scale
    for l in range(width):
        total[l] = zero
    for p in range(panels(n, width)):
        count = min(width, n - p * width) * width
        call(loss, (0, values, d + p * jump, targets + p * jump, lanes, count, lanes + PANEL_BYTES))
    for l in range(last - first):
        losses[first + l] = np.float64(total[l]) * scale


@helper
def _weigh(zero, d, jump, n, first, last, weights, lanes, losses):
    """Multiply the loss of each row and its derivatives by the weight of the row."""
    width = width_of(zero)
    factors = _floats(zero, lanes, width)
    for l in range(last - first):
        factors[l] = like(zero, weights[first + l])
        losses[first + l] *= weights[first + l]
    for j in range(n):
        z = _output(zero, d, jump, j)
        for l in range(width):
            z[l] *= factors[l]


@helper
def penalty_blocks(n_in, n_out, width):
    """The number of tasks that penalize a layer: blocks of the weights, then of the bias."""
    P = panels(n_out, width)
    return (P * n_in + PENALTY_BLOCK - 1) // PENALTY_BLOCK + (P + PENALTY_BLOCK - 1) // PENALTY_BLOCK


@task
def _penalty_task(tag, t, layer, plan):
    """l1 * sum(abs(w)) + l2 * sum(w**2) over a block of a layer's parameters, its gradient added to theirs."""
    zero = zero_of(tag)
    L, H, width = _fields(layer), _fields(plan), width_of(zero)
    P, factors = panels(L[N], width), carray(pointer(0.0, L[PENALTIES]), 4)
    weight_blocks = (P * L[K] + PENALTY_BLOCK - 1) // PENALTY_BLOCK
    if t < weight_blocks:
        first, w, g, lines, kind = t, L[W], L[DW], P * L[K], 0
    else:
        first, w, g, lines, kind = t - weight_blocks, L[B], L[DB], P, 2
    count = min(PENALTY_BLOCK, lines - first * PENALTY_BLOCK) * width
    at = first * PENALTY_BLOCK * PANEL_BYTES
    group = PENALTY_LINES * width
    l1, l2 = like(zero, factors[kind]), like(zero, factors[kind + 1])
    x, total = _floats(zero, w + at, count), _floats(zero, H[PENALTY_LANES] + t * PENALTY_LINES * PANEL_BYTES, group)
    for l in range(group):
        total[l] = zero
    for i in range(0, count // group * group, group):
        part = x[i : i + group]
        for l in range(group):
            total[l] += l1 * absolute(part[l]) + l2 * (part[l] * part[l])
    part = x[count // group * group :]
    for l in range(part.size):
        total[l] += l1 * absolute(part[l]) + l2 * (part[l] * part[l])
    if g != 0:
        slope, twice = _floats(zero, g + at, count), l2 + l2
        for i in range(count):
            sign = l1 if x[i] > zero else (-l1 if x[i] < zero else zero)
            slope[i] += sign + twice * x[i]
    penalty = 0.0
    for l in range(group):
        penalty += np.float64(total[l])
    carray(pointer(0.0, H[PENALTY_SUMS]), t + 1)[t] = penalty


@task
def _update_task(tag, t, layer, plan):
    """One step of the optimizer over a part of the flat parameters; the old ones are left in the gradient."""
    zero = zero_of(tag)
    H, line = _fields(plan), width_of(zero)
    itemsize = PANEL_BYTES // line
    lines = H[UPDATE_COUNT] // line
    first = H[UPDATE_FIRST] + t * lines // H[PARTS] * line
    count = H[UPDATE_FIRST] + (t + 1) * lines // H[PARTS] * line - first
    at = first * itemsize
    pace = H[NUMBERS] + RATE * 8  # the rate and then the step
    call(H[RULE], (0, H[HYPER], H[PARAMETERS] + at, H[GRADIENT] + at, H[STATE] + at, H[SIZE] * itemsize, count, pace))


@parallel_task
def _run_tasks(tag, function, count, layer, plan, parallel):
    """Do the tasks 0 ... count - 1 of a layer, in threads or in order."""
    if parallel:
        for t in numba.prange(count):
            call(function, (0, np.int64(t), layer, plan))
    else:
        for t in range(count):
            call(function, (0, t, layer, plan))


# The functions that a plan names by their address, in the order of its fields.
TASKS = (_forward_task, _backward_task, _loss_task, _update_task, panel_product, column_product, _dropout, _run_tasks, _penalty_task)


@helper
def _run(plan, task, count, layer, parallel):
    """Do the tasks 0 ... count - 1 of a layer."""
    if parallel:
        call(plan[0, RUN], (0, plan[0, task], count, layer, address_of(plan), 1))
    else:
        for t in range(count):
            call(plan[0, task], (0, t, layer, address_of(plan)))


@helper
def _layer(plan, i):
    return address_of(plan) + (1 + i) * N_FIELDS * 8


@helper
def _forward(plan):
    H, first = plan[0], plan[1]
    if first[THRESHOLD] > 0:
        itemsize = PANEL_BYTES // H[PANEL]
        for q in range(panels(first[K], H[PANEL])):
            at = first[X] + q * H[JUMP] * itemsize
            call(H[DROP], (0, at, at, 0, H[ROWS], q * H[PANEL], first[THRESHOLD], 0, address_of(plan)))
    for i in range(H[N_LAYERS]):
        L = plan[1 + i]
        threads = H[THREADS] if H[ROWS] * L[K] * L[N] > H[REGION] else 1
        P = panels(L[N], H[PANEL])
        L[PANEL_PARTS] = threads if P % threads == 0 or P >= 8 * threads else 1
        L[ROW_PARTS] = 1 if L[PANEL_PARTS] > 1 else min(threads, (H[ROWS] + 15) // 16)
        _run(plan, FORWARD, L[PANEL_PARTS] * L[ROW_PARTS], _layer(plan, i), threads > 1)


@helper
def _loss(plan):
    """Return the loss of the rows that went forward, summed in the order of the rows."""
    H = plan[0]
    last, blocks = _layer(plan, H[N_LAYERS] - 1), (H[ROWS] + LOSS_ROWS - 1) // LOSS_ROWS
    _run(plan, LOSS, blocks, last, H[THREADS] > 1 and 32 * H[ROWS] * plan[H[N_LAYERS], N] > H[REGION])
    losses = carray(pointer(0.0, H[ROW_LOSSES]), H[CAPACITY])
    total = 0.0
    for i in range(H[ROWS]):
        total += losses[i]
    return total


@helper
def _backward(plan, update):
    """Write the gradient, last layer first, and return the penalties.

    With `update`, each layer takes its step as soon as its gradient is there, still in the cache.
    """
    H = plan[0]
    penalty = 0.0
    for i in range(H[N_LAYERS] - 1, -1, -1):
        L = plan[1 + i]
        if i >= H[LOWEST]:
            threads = H[THREADS] if 2 * H[ROWS] * L[K] * L[N] > H[REGION] else 1
            Q = panels(L[K], H[PANEL])
            L[WIDTH_PARTS] = threads if i == 0 and Q < 4 * threads else 1
            L[PANEL_PARTS] = 1 if L[WIDTH_PARTS] > 1 else min(Q, threads)
            _run(plan, BACKWARD, L[PANEL_PARTS] * L[WIDTH_PARTS], _layer(plan, i), threads > 1)
        if L[PENALTIES] != 0:
            penalty += _penalize(plan, i)
        if update:
            first, count = _trained(plan, i)
            _update(plan, first, count)
    return penalty


@helper
def _penalize(plan, i):
    """Return the penalty of a layer and add its gradient."""
    H, L = plan[0], plan[1 + i]
    blocks = penalty_blocks(L[K], L[N], H[PANEL])
    _run(plan, PENALIZE, blocks, _layer(plan, i), H[THREADS] > 1 and 4 * L[K] * L[N] > H[REGION])
    sums = carray(pointer(0.0, H[PENALTY_SUMS]), blocks)
    penalty = 0.0
    for t in range(blocks):
        penalty += sums[t]
    return penalty


@helper
def _trained(plan, i):
    """Return the first of the parameters of a layer that training changes, and how many they are."""
    H, L = plan[0], plan[1 + i]
    P, width = panels(L[N], H[PANEL]), H[PANEL]
    first, weights = (L[W] - H[PARAMETERS]) * width // PANEL_BYTES, P * width * L[K]
    start = first if L[DW] != 0 else first + weights
    end = first + weights + P * width if L[DB] != 0 else first + weights
    return start, end - start


@helper
def _update(plan, first, count):
    """Take a step with some of the parameters, `count` from the `first` on."""
    H = plan[0]
    H[UPDATE_FIRST], H[UPDATE_COUNT] = first, count
    H[PARTS] = H[THREADS] if 20 * count > H[REGION] else 1
    _run(plan, UPDATE, H[PARTS], 0, H[PARTS] > 1)
    H[UPDATED] = 1


@helper
def _update_all(plan):
    """Take a step with all parameters that training changes."""
    H = plan[0]
    if H[BY_LAYER] == 0:
        _update(plan, 0, H[SIZE])
    else:
        for i in range(H[N_LAYERS]):
            first, count = _trained(plan, i)
            _update(plan, first, count)


@helper
def _place(plan, inputs, labels, targets, weights, minibatch, n_rows):
    """Point the plan to a minibatch of the gathered rows."""
    H = plan[0]
    H[WEIGHTS] = address_of(weights) + minibatch * H[BATCH] * 8 if weights.size > 0 else 0
    H[ROWS] = min(H[BATCH], n_rows - minibatch * H[BATCH])
    plan[1, X] = address_of(inputs) + minibatch * H[INPUT_BYTES]
    H[LABELS] = address_of(labels) + minibatch * H[BATCH] * 8 if labels.size > 0 else 0
    H[TARGETS] = address_of(targets) + minibatch * H[TARGET_BYTES]


@helper
def _restore(plan, zero):
    """Put back the parameters from before the last update, which it left in the gradient."""
    H = plan[0]
    w, g = _floats(zero, H[PARAMETERS], H[SIZE]), _floats(zero, H[GRADIENT], H[SIZE])
    for layer in range(H[N_LAYERS]):
        first, count = _trained(plan, layer)
        for i in range(first, first + count):
            w[i] = g[i]


@kernel
def network_forward(plan, inputs, n_rows):
    """Send the first minibatch of `inputs` forward, up to the last layer's activation.

    Parameters
    ----------
    plan : int64 ndarray of shape (1 + n_layers, N_FIELDS)
        Made by `bind`.
    inputs : ndarray, rows in panels as `gather` leaves them
    n_rows : int, at most the minibatch of the plan
    """
    _place(plan, inputs, np.empty(0, np.int64), inputs, np.empty(0), 0, n_rows)
    _forward(plan)


@kernel
def network_output(plan, out):
    """Copy the outputs of the last layer to plain rows: out[i, j] = A[i, j].

    Parameters
    ----------
    plan : int64 ndarray of shape (1 + n_layers, N_FIELDS)
    out : ndarray of shape (rows of the last forward, outputs), overwritten
    """
    H, width = plan[0], plan[0, PANEL]
    L = plan[H[N_LAYERS]]
    if out.shape[0] != H[ROWS] or out.shape[1] != L[N]:
        raise ValueError("network_output: out must have the shape (rows sent forward, outputs)")
    for p in range(panels(L[N], width)):
        rows = _floats(out.dtype.type(0), L[A] + p * H[JUMP] * out.itemsize, H[ROWS] * width)
        for i in range(H[ROWS]):
            for j in range(min(width, L[N] - p * width)):
                out[i, p * width + j] = rows[i * width + j]


@kernel
def network_loss(plan, numbers, inputs, labels, targets, weights, n_rows):
    """Return the loss of the first minibatch of `inputs`, without penalties; arguments as for `network_gradient`."""
    plan[0, NUMBERS] = address_of(numbers)
    _place(plan, inputs, labels, targets, weights, 0, n_rows)
    _forward(plan)
    return _loss(plan)


@kernel
def network_gradient(plan, numbers, inputs, labels, targets, weights, n_rows):
    """Return the loss of the first minibatch of `inputs` and write its gradient into the plan's flat gradient.

    Parameters
    ----------
    plan : int64 ndarray of shape (1 + n_layers, N_FIELDS)
    numbers : float64 ndarray of shape (N_NUMBERS,)
    inputs : ndarray, rows in panels
    labels : int64 ndarray of shape (n_rows,), or empty where the loss takes targets
    targets : ndarray, rows in panels, or empty where the loss takes labels
        Left transposed in blocks; with plan[0, SEEN] they are so already.
    weights : float64 ndarray of shape (n_rows,), or empty
        What the loss of each row is multiplied by.
    n_rows : int, at most the minibatch of the plan
    """
    plan[0, NUMBERS] = address_of(numbers)
    _place(plan, inputs, labels, targets, weights, 0, n_rows)
    _forward(plan)
    loss = _loss(plan)
    return loss + _backward(plan, False)


@kernel
def network_update(plan, numbers):
    """Take one step of the plan's optimizer; the gradient then holds the parameters from before it.

    Parameters
    ----------
    plan : int64 ndarray of shape (1 + n_layers, N_FIELDS)
    numbers : float64 ndarray of shape (N_NUMBERS,)
        The learning rate, the step (from 1), the scale of the loss.
    """
    plan[0, NUMBERS] = address_of(numbers)
    _update_all(plan)


@kernel
def network_train(plan, numbers, inputs, labels, targets, weights, rates, losses, n_rows, n_steps):
    """Train on minibatch after minibatch of the gathered rows, from the first one again after the last; return how many had a finite loss.

    Each: forward, loss, gradient, update. Before an update with a loss that is not finite it stops, with the parameters of
    the last finite loss.

    Parameters
    ----------
    plan : int64 ndarray of shape (1 + n_layers, N_FIELDS)
    numbers : float64 ndarray of shape (N_NUMBERS,)
        The step that was done last in numbers[STEP_COUNT] is counted on.
    inputs, labels, targets, weights : ndarray
        As for `network_gradient`, minibatch after minibatch.
    rates : float64 ndarray
        The learning rate of each step.
    losses : float64 ndarray, overwritten
    n_rows, n_steps : int
    """
    H = plan[0]
    H[NUMBERS] = address_of(numbers)
    minibatches = (n_rows + H[BATCH] - 1) // H[BATCH]
    for step in range(n_steps):
        numbers[RATE] = rates[step]
        H[STEP], H[SEEN] = np.int64(numbers[STEP_COUNT]), step >= minibatches
        _place(plan, inputs, labels, targets, weights, step % minibatches, n_rows)
        _forward(plan)
        losses[step] = _loss(plan)
        if not math.isfinite(losses[step]):
            if H[UPDATED]:
                _restore(plan, inputs.dtype.type(0))
            return step
        numbers[STEP_COUNT] += 1
        losses[step] += _backward(plan, H[BY_LAYER] != 0)
        if H[BY_LAYER] == 0:
            _update_all(plan)
    return n_steps
