"""The running scale of values against numbers worked out by hand (beta 0.99999, variance at least 0.01)."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from ibal.ops import scale
from ibal.ops.scale import Scale


def after(*batches: list[float], beta: float = scale.BETA) -> Scale:
    found = scale.fresh()
    for batch in batches:
        x = jnp.array(batch, jnp.float32)
        found = scale.updated(found, *scale.moments(x, jnp.ones(x.shape, bool)), beta)
    return found


def test_before_any_batch_values_are_tenths() -> None:
    assert float(scale.restored(scale.fresh(), jnp.float32(1))) == pytest.approx(0.1)


def test_one_batch_is_believed_at_once() -> None:
    found = after([1, 2, 3])
    assert float(found.mean) == pytest.approx(2)
    assert float(found.variance) == pytest.approx(2 / 3)
    assert float(scale.normalised(found, jnp.float32(3))) == pytest.approx(1.224745)


def test_two_batches() -> None:
    # The newer one weighs a little more: 1 / (1 + 0.99999).
    found = after([1, 2, 3], [5])
    assert float(found.mean) == pytest.approx(3.5000075, rel=1e-6)
    assert float(found.variance) == pytest.approx(2.5833317, rel=1e-6)
    assert float(scale.normalised(found, jnp.float32(5))) == pytest.approx(0.9332523, rel=1e-5)


def test_as_with_first_and_second_moments() -> None:
    m1 = m2 = w = 0.0
    for batch in ([1.0, 4.0], [2.0, 2.5], [-3.0, 0.5]):
        m1 = 0.9 * m1 + 0.1 * sum(batch) / 2
        m2 = 0.9 * m2 + 0.1 * sum(x * x for x in batch) / 2
        w = 0.9 * w + 0.1
    found = after([1, 4], [2, 2.5], [-3, 0.5], beta=0.9)
    assert float(found.mean) == pytest.approx(m1 / w)
    assert float(found.variance) == pytest.approx(m2 / w - (m1 / w) ** 2)


def test_constant_returns_and_what_does_not_count() -> None:
    x, counts = jnp.array([1000.0, 1000.0, 5.0]), jnp.array([True, True, False])
    found = scale.updated(scale.fresh(), *scale.moments(x, counts))
    assert float(scale.deviation(found)) == pytest.approx(0.1)
    assert float(scale.restored(found, scale.normalised(found, jnp.float32(1000.5)))) == pytest.approx(1000.5)
