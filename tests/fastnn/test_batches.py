import numpy as np
import pytest

from fastnn.batches import ArraySource, orders, permutation

X = np.arange(14.0).reshape(7, 2)
y = np.arange(7)


def rows_of(source, epoch, size=2):
    """Return the rows of every chunk of an epoch."""
    chunks = [source.chunk(epoch, batch, size) for batch in range(0, source.n_batches(epoch), size)]
    assert source.chunk(epoch, source.n_batches(epoch), size) is None
    return [chunk.order.tolist() for chunk in chunks]


def test_rows_come_as_they_lie_without_shuffling():
    source = ArraySource(X, y, 2, False, 0)
    assert rows_of(source, 0) == [[0, 1, 2, 3], [4, 5, 6]]
    assert source.n_batches(0) == 4


@pytest.mark.parametrize("size, expected", [(1, [2, 2, 2, 1]), (3, [6, 1]), (100, [7])])
def test_only_the_last_minibatch_is_short(size, expected):
    assert [len(rows) for rows in rows_of(ArraySource(X, y, 2, True, 0), 0, size)] == expected


def test_a_batch_larger_than_the_data_is_one_batch():
    source = ArraySource(X, y, 2**40, False, 0)
    assert source.batch_size == 7
    assert source.n_batches(0) == 1


def test_shuffling_is_a_function_of_seed_and_epoch():
    first, again = ArraySource(X, y, 2, True, 5), ArraySource(X, y, 2, True, 5)
    again.order(3)
    assert rows_of(first, 1) == rows_of(again, 1)
    assert sorted(sum(rows_of(first, 1), [])) == list(range(7))
    many = {tuple(permutation(seed, epoch, 20)) for seed in range(5) for epoch in range(5)}
    assert len(many) == 25


def test_an_order_is_used_for_every_epoch():
    order = [6, 0, 0, 3]
    source = ArraySource(X, y, 3, order, 0)
    assert rows_of(source, 0) == rows_of(source, 8) == [[6, 0, 0, 3]]


def test_two_dimensions_are_an_order_for_each_epoch():
    make = orders(np.array([[0, 1], [1, 0], [2, 2]]), 3, 0)
    assert [make(epoch).tolist() for epoch in range(4)] == [[0, 1], [1, 0], [2, 2], [0, 1]]


def test_a_function_is_asked_once_for_each_epoch():
    asked = []
    source = ArraySource(X, y, 2, lambda epoch: asked.append(epoch) or np.roll(np.arange(7), epoch), 0)
    for epoch in range(3):
        source.n_batches(epoch)
        assert rows_of(source, epoch)[0][0] == -epoch % 7
    assert asked == [0, 1, 2]


def test_arrays_are_handed_on_without_a_copy():
    chunk = ArraySource(X, y, 2, True, 0).chunk(0, 0, 1)
    assert chunk.X is X
    assert chunk.y is y
