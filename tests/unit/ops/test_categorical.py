"""Choices among legal actions: probabilities, entropies and their gradients where almost nothing is legal."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ibal.ops.categorical import entropy, log_policy, of_action

LOGITS = jnp.array([[0.0, 1.0, 2.0], [5.0, 0.0, 0.0], [0.0, 0.0, 700.0]])
LEGAL = jnp.array([[True, True, False], [False, True, False], [True, True, False]])


def test_what_is_illegal_has_no_probability() -> None:
    p = np.exp(np.asarray(log_policy(LOGITS, LEGAL)))
    np.testing.assert_allclose(p, [[0.268941, 0.731059, 0], [0, 1, 0], [0.5, 0.5, 0]], atol=1e-6)
    assert (p[~np.asarray(LEGAL)] == 0).all()
    np.testing.assert_allclose(
        of_action(log_policy(LOGITS, LEGAL), jnp.array([0, 1, 1])), [-1.313262, 0, -0.693147], 1e-5
    )


def test_entropy() -> None:
    # -(.268941 ln .268941 + .731059 ln .731059) = 0.582203; who has no choice has none; two alike: ln 2
    np.testing.assert_allclose(entropy(log_policy(LOGITS, LEGAL), LEGAL), [0.582203, 0, 0.693147], atol=1e-6)


def test_gradients_are_finite_where_nothing_can_be_chosen() -> None:
    def total(logits: jax.Array) -> jax.Array:
        log_p = log_policy(logits, LEGAL)
        return entropy(log_p, LEGAL).sum() + of_action(log_p, jnp.array([0, 1, 1])).sum()

    gradient = np.asarray(jax.grad(total)(LOGITS))
    assert np.isfinite(gradient).all()
    assert (gradient[1] == 0).all()
    assert gradient[0, 0] != 0
