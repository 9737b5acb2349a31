"""Random arrays and networks, some of what `python -m tests.properties` tries."""

import pytest

import kernels
from tests import properties


def test_every_public_kernel_has_its_property():
    assert properties.public_kernels() == set(properties.PROPERTIES) - set(properties.NETWORKS)


@pytest.mark.parametrize("name", ["sgd_update", "network", "stack"])
def test_a_few_examples(name):
    assert properties.run(name, 20) == ""


def test_what_is_wrong_is_found_and_made_small(monkeypatch, capsys):
    sgd = kernels.sgd_update

    def beside(w, g, learning_rate, weight_decay):
        sgd(w, g, learning_rate, weight_decay)
        if w.base is not None and w.size > 8:
            w.base.flat[0] = 1.0

    monkeypatch.setattr(kernels, "sgd_update", beside)
    assert properties.main(["--only", "sgd_update", "--examples", "50"]) == 1
    assert "columns=9, inputs=0, layout='side by side'" in (shown := capsys.readouterr().out) and "something else was written" in shown
