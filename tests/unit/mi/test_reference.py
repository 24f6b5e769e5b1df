"""The exact values are those worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ibal.envs.leak import channel_information
from ibal.mi import reference


def test_tables_by_hand() -> None:
    assert reference.entropy(np.array([0.5, 0.25, 0.25])) == pytest.approx(1.5 * math.log(2))
    assert reference.information(np.eye(3) / 3) == pytest.approx(math.log(3))
    assert reference.information(np.outer([0.2, 0.8], [0.5, 0.3, 0.2])) == pytest.approx(0.0, abs=1e-12)
    # KL((1/2, 1/2) || (1/4, 3/4)) = 1/2 log 2 + 1/2 log 2/3
    assert reference.divergence(np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(0.5 * math.log(4 / 3))
    assert reference.divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == math.inf


def test_the_symmetric_channel_of_the_leak_game() -> None:
    joint = (0.5 * np.eye(4) + 0.5 / 4) / 4
    assert reference.information(joint) == pytest.approx(channel_information(4, 0.5))


def test_conditioning_can_make_and_remove_information() -> None:
    xor = np.zeros((2, 2, 2))
    for x in range(2):
        for y in range(2):
            xor[x, y, x ^ y] = 0.25
    assert reference.information(xor.sum(2)) == pytest.approx(0.0, abs=1e-12)
    assert reference.conditional_information(xor) == pytest.approx(math.log(2))
    common = np.zeros((2, 2, 3))  # x = y = z, and z never 2
    common[0, 0, 0] = common[1, 1, 1] = 0.5
    assert reference.information(common.sum(2)) == pytest.approx(math.log(2))
    assert reference.conditional_information(common) == pytest.approx(0.0, abs=1e-12)


def test_gaussians() -> None:
    r = 0.6
    pair = np.array([[1.0, r], [r, 1.0]])
    assert reference.gaussian_information(pair, [0]) == pytest.approx(-0.5 * math.log(1 - r**2))
    # x = z + e, y = z + f: nothing is left once z is known
    chain = np.array([[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    assert reference.gaussian_information(chain, [0], given=[2]) == pytest.approx(0.0, abs=1e-12)
    # the correlation of x and y is 1/2; what z tells of x beyond y is I(x; yz) - I(x; y) = 1/2 log 2 - 1/2 log 4/3
    assert reference.gaussian_information(chain, [0], given=[1]) == pytest.approx(0.5 * math.log(1.5))


def test_a_mixture_lies_between_its_limits_and_below_club() -> None:
    even = np.full(4, 0.25)
    means = np.array([-3.0, -1.0, 1.0, 3.0])
    assert reference.mixture_information(even, 100 * means, 1.0) == pytest.approx(math.log(4), abs=1e-3)
    assert reference.mixture_information(even, 0 * means, 1.0) == pytest.approx(0.0, abs=1e-6)
    small = reference.mixture_information(even, 0.02 * means, 1.0)
    assert small == pytest.approx(0.5 * math.log(1 + 0.02**2 * 5), rel=1e-2)  # nearly Gaussian
    for scale in (0.1, 0.3, 1.0):
        assert reference.mixture_information(even, scale * means, 1.0) <= reference.mixture_club(
            even, scale * means, 1.0
        )
    assert reference.mixture_club(even, means, 2.0) == pytest.approx(5 / 4)


def test_counts() -> None:
    x = np.array([0, 0, 1, 1])
    assert reference.counts_information(x, x) == pytest.approx(math.log(2))
    assert reference.counts_information(x, np.array([0, 1, 0, 1])) == pytest.approx(0.0, abs=1e-12)


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="sums to 2"):
        reference.information(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"2 axes was expected, got shape \(2,\)"):
        reference.information(np.array([0.5, 0.5]))
