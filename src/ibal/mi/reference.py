"""Exact mutual information of small cases, in nats: what the estimators are tested against. NumPy, float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def entropy(p: np.ndarray) -> float:
    """Return -sum p log p of a table of any shape that sums to 1."""
    p = _table(p)
    positive = p[p > 0]
    return float(-(positive * np.log(positive)).sum())


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Return KL(p || q) = sum p log(p / q); infinite where q is 0 and p is not."""
    p, q = _table(p), _table(q)
    used = p > 0
    if (q[used] == 0).any():
        return float("inf")
    return float((p[used] * np.log(p[used] / q[used])).sum())


def information(joint: np.ndarray) -> float:
    """Return I(X; Y) of a joint table p[x, y]."""
    joint = _table(joint, 2)
    return divergence(joint, joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True))


def conditional_information(joint: np.ndarray) -> float:
    """Return I(X; Y | Z) of a joint table p[x, y, z]: the mean over z of the information given z."""
    joint = _table(joint, 3)
    share = joint.sum((0, 1))
    return float(sum(share[z] * information(joint[:, :, z] / share[z]) for z in np.flatnonzero(share)))


def counts_information(x: np.ndarray, y: np.ndarray) -> float:
    """Return the plug-in estimate of I(X; Y) from two samples of small integers (too high by about
    (values of x - 1)(values of y - 1) / (2 samples))."""
    table = np.zeros((int(x.max()) + 1, int(y.max()) + 1))
    np.add.at(table, (x, y), 1.0)
    return information(table / table.sum())


def gaussian_information(covariance: np.ndarray, x: Sequence[int], given: Sequence[int] = ()) -> float:
    """Return I(X; Y | Z) of a joint Gaussian: X are the indices ``x``, Z those ``given``, Y all others.

    I = 1/2 log(det S_xz det S_yz / (det S_z det S_xyz)). Source: Cover and Thomas, 8.4 and 8.5.
    """
    y = [i for i in range(len(covariance)) if i not in (*x, *given)]

    def volume(*indices: int) -> float:
        return float(np.linalg.slogdet(covariance[np.ix_(indices, indices)])[1]) if indices else 0.0

    return 0.5 * (volume(*x, *given) + volume(*y, *given) - volume(*given) - volume(*x, *y, *given))


def mixture_information(p: np.ndarray, means: np.ndarray, deviation: float) -> float:
    """Return I(A; X) where A has probabilities p[a] and X given A is N(means[a], deviation^2), by quadrature."""
    p = _table(p, 1)
    low, high = means.min() - 10 * deviation, means.max() + 10 * deviation
    x = np.linspace(low, high, 20_001)
    given = np.exp(-0.5 * ((x[None] - means[:, None]) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    mixed = p @ given
    density = np.where(mixed > 0, mixed * np.log(np.maximum(mixed, 1e-300)), 0.0)
    total = -float(np.sum(density)) * (x[1] - x[0])
    return total - 0.5 * float(np.log(2 * np.pi * np.e * deviation**2))


def mixture_club(p: np.ndarray, means: np.ndarray, deviation: float) -> float:
    """Return the value of CLUB in the same case, with the true model: Var(means[A]) / deviation^2.

    E log q(x | a) - E E log q(x | a') = E (m_a - m_a')^2 / (2 deviation^2), for independent a and a'.
    """
    p = _table(p, 1)
    mean = float(p @ means)
    return float(p @ (means - mean) ** 2) / deviation**2


def _table(p: np.ndarray, rank: int | None = None) -> np.ndarray:
    p = np.asarray(p, np.float64)
    if rank is not None and p.ndim != rank:
        raise ValueError(f"a table with {rank} axes was expected, got shape {p.shape}")
    if (p < 0).any() or abs(p.sum() - 1) > 1e-6:
        raise ValueError(f"a table of probabilities was expected (none negative, sum 1); this one sums to {p.sum():g}")
    return p
