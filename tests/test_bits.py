"""Networks of every kind have the bits that were stored, for any number of threads."""

import json

import numpy as np
import pytest

import kernels
from tests.fixtures.make_bits import FILE, GROUPS, HIDDEN, OPTIMIZERS, PARTS, hashes, numbers

STORED = json.loads(FILE.read_text())
CASES = [pytest.param(group, name, id=f"{group}: {name}") for group, cases in GROUPS.items() for name in cases]


@pytest.mark.parametrize("group, name", CASES)
def test_bits(group, name):
    case = GROUPS[group][name]
    for n_threads in sorted({1, min(2, kernels.max_threads())}):
        pairs = zip(PARTS, hashes(case, n_threads).split(), STORED[group][name].split())
        wrong = [part for part, actual, expected in pairs if actual != expected]
        assert not wrong, f"{', '.join(wrong)} changed with n_threads={n_threads} of {case}"


def test_every_stored_network_is_there():
    assert {group: list(cases) for group, cases in STORED.items()} == {group: list(cases) for group, cases in GROUPS.items()}


def test_the_covering_networks_cover():
    """Every hidden activation meets every optimizer, every last activation its losses in both dtypes."""
    cases = GROUPS["covering"].values()
    dense = [[layer.activation for layer in case.layers if hasattr(layer, "activation")] for case in cases]
    assert {(hidden[0], case.optimizer) for hidden, case in zip(dense, cases)} == {(hidden, rule) for hidden in HIDDEN for rule in OPTIMIZERS}
    ends = {(hidden[-1], case.loss) for hidden, case in zip(dense, cases)}
    assert {(*end, dtype) for end in ends for dtype in ("float32", "float64")} == {(h[-1], c.loss, c.dtype) for h, c in zip(dense, cases)}


def test_the_data_is_what_it_was():
    """So that a change of the generator is not taken for one of the training."""
    expected = [float.fromhex(text) for text in ("0x1.ea834d51a5b80p-5", "-0x1.f70b924438684p-2", "0x1.49c942da49c10p-1", "0x1.274381663b9d0p-1")]
    np.testing.assert_array_equal(numbers(1, (4,)), expected)
