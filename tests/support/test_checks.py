"""Argument checks: what passes, and what the message says."""

import numpy as np
import pytest

from tfjc.support import checks


def test_good_values_pass_as_python_numbers():
    assert checks.integer("n", np.int64(3), minimum=3) == 3
    assert checks.real("x", np.float32(0.5), minimum=0, above=0.25) == 0.5
    assert checks.real("x", 2) == 2.0
    assert checks.one_of("loss", "hinge", ["hinge"]) == "hinge"
    assert checks.boolean("b", False) is False


@pytest.mark.parametrize(
    "check, message",
    [
        (lambda: checks.integer("n", 1.5), r"n must be a whole number, found 1.5 \(float\)"),
        (lambda: checks.integer("n", True), r"n must be a whole number, found True \(bool\)"),
        (lambda: checks.integer("n", 0, minimum=1), "n must be at least 1, found 0"),
        (lambda: checks.real("x", "1"), r"x must be a finite number, found '1' \(str\)"),
        (lambda: checks.integer("n", 5, maximum=4), "n must be at most 4, found 5"),
        (lambda: checks.seed("seed", 2**31), "seed must be at most 2147483647, found 2147483648"),
        (lambda: checks.fits("n = 7", 2**80), "n = 7 needs at least 1.13e.15 GiB of memory, this machine has "),
        (lambda: checks.real("x", -1e39), "x must be at most 3.4e.38 in size, float32's range, found -1e.39"),
        (lambda: checks.real("x", float("inf")), "x must be a finite number, found inf"),
        (lambda: checks.real("x", 0.0, above=0), "x must be greater than 0, found 0.0"),
        (lambda: checks.boolean("b", 1), "b must be True or False, found 1"),
        (lambda: checks.one_of("dataset", "mnits", ["mnist", "digits"]), "unknown dataset 'mnits'; nearest: mnist"),
        (lambda: checks.one_of("dataset", "zzz", ["b", "a"]), "unknown dataset 'zzz'; valid: a, b"),
        (lambda: checks.rank("z", np.zeros(3), 2, "[B, n_z]"), r"z must have shape \[B, n_z\], found \[3\]"),
    ],
)
def test_bad_values_are_named(check, message):
    with pytest.raises(ValueError, match=message):
        check()
