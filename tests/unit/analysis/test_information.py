"""Masks, actions and redundancy of cases where the right answer is known by hand or in closed form."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.analysis import information
from ibal.analysis.information import Candidates
from ibal.analysis.redundancy import Redundancy, redundancy
from ibal.mi import action, descent, reference
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.types import Block, EnvSpec, ObsLayout
from unit.mi import toys

LEAK = make("toy/leak", n_agents=4, noise=1).spec
OWNER = LEAK.obs_layout.agents(4)
NAMES = np.array(LEAK.obs_layout.names)


def layout_spec() -> EnvSpec:
    """Three agents; an enemy of two features, two allies of two, one own."""
    layout = ObsLayout((
        Block("enemy", 0, 0, ("x", "health")), Block("ally", 0, 2, ("x", "y")), Block("ally", 1, 4, ("x", "y")),
        Block("own", 0, 6, ("health",)),
    ))  # fmt: skip
    return replace(toys.spec(obs_size=7), obs_layout=layout)


def perfect(spec: EnvSpec) -> np.ndarray:
    """Scores that are 1 exactly where an entry of i describes j."""
    n = spec.n_agents
    owner = spec.obs_layout.agents(n)
    return (owner[:, None, :] == np.arange(n)[None, :, None]) * ~np.eye(n, dtype=bool)[..., None] * 1.0


def test_all_groups_or_a_sample_of_them() -> None:
    assert information.groups_of(3, 1).tolist() == np.eye(3, dtype=bool).tolist()
    assert len(np.unique(information.groups_of(8, 4), axis=0)) == 70
    drawn = information.groups_of(10, 5, most=20)
    assert drawn.shape == (20, 10)
    assert set(drawn.sum(1)) == {5}


def test_scores_that_know_everything_hit_everything() -> None:
    groups = information.groups_of(4, 2)
    scores = perfect(LEAK)
    for rule in ("block", "dimension"):
        hidden = information.masks(scores, LEAK, groups, rule)
        for row in information.aim(scores, LEAK, groups, hidden).values():
            assert row["precision"] == row["recall"] == row["removed"] == 1.0
            # 2 blocks of 3 entries among 11 entries, all but the last two of which are of allies.
            assert row["chance"] == pytest.approx(6 / 11)
            assert row["chance_blocks"] == pytest.approx(6 / 9)
            assert row["chance_removed"] == pytest.approx(6 / 11)
    pairs = information.found(scores, LEAK, groups)
    assert pairs["first"] == pairs["all"] == {"precision": 1.0, "chance": 1 / 3}


def test_a_case_counted_by_hand() -> None:
    spec = layout_spec()
    groups = np.array([[True, False, False]])
    scores = np.zeros((3, 3, 7))
    # Agent 0 is told most by the enemy (0), then by the block of agent 1; of agent 2 it knows nothing but that.
    scores[0, 1] = [5, 0, 3, 0, 0, 0, 0]
    scores[0, 2] = [5, 0, 1, 0, 0, 0, -9]
    # Agents 1 and 2 find agent 0 in its block (their slot 0).
    scores[1, 0] = scores[2, 0] = [0, 0, 2, 1, 0, 0, 0]
    literal = information.masks(scores, spec, groups, "dimension", dims=2)
    assert np.flatnonzero(literal[0, 0]).tolist() == [0, 1, 2, 3]  # 10, 4, then ties by index
    assert np.flatnonzero(literal[0, 1]).tolist() == [2, 3]
    rows = information.aim(scores, spec, groups, literal)
    assert rows["first"]["precision"] == 2 / 4
    assert rows["first"]["recall"] == 2 / 4
    assert rows["first"]["chance"] == 4 / 7
    assert rows["first"]["removed"] == 1.0  # what is negative counts as nothing
    assert rows["all"]["precision"] == (2 + 2 + 2) / (4 + 2 + 2)
    assert rows["all"]["chance"] == pytest.approx((4 * 4 / 7 + 2 * 2 / 7 + 2 * 2 / 7) / 8)
    blocks = information.masks(scores, spec, groups, "block")
    assert np.flatnonzero(blocks[0, 0]).tolist() == [2, 3]  # both partners in one block
    pairs = information.found(scores, spec, groups)
    assert pairs["first"] == {"precision": 1 / 2, "chance": 1 / 2}
    assert pairs["all"]["precision"] == 3 / 4


def test_what_the_roles_tell() -> None:
    spec = layout_spec()
    roles = information.by_role(np.broadcast_to(np.arange(7.0), (3, 3, 7)), spec)
    assert list(roles) == ["partner", "other ally", "enemy", "own"]
    assert roles["enemy"] == {"x": 0.0, "health": 1.0}
    assert roles["own"] == {"health": 6.0}
    # Each of the six pairs has one block of the partner and one of the third; slots 0 and 1 take turns.
    assert roles["partner"] == {"x": 3.0, "y": 4.0}
    assert roles["other ally"] == {"x": 3.0, "y": 4.0}


def by_hand() -> Candidates:
    told = np.zeros((2, 2, 4))
    told[0, 0], told[1, 0] = [0.5, 0.1, 0.3, -1.0], [0.2, 0.2, 0.6, 0.4]
    legal = np.ones((2, 2, 4), bool)
    legal[0, 0, 3] = False
    attacked = np.array([[True, False], [True, False]])
    return Candidates(told, legal, np.array([[0, 0], [0, 0]]), attacked, attacked)


def test_what_the_actions_tell_by_hand() -> None:
    spec = replace(toys.spec(n_agents=2), action_names=("stop", "east", "west", "attack"))
    row = information.told(by_hand(), spec)
    assert row["combat"]  # an action is called attack
    np.testing.assert_allclose(row["information"], [0.35, 0.15, 0.45, 0.4])
    np.testing.assert_allclose(row["legal"], [1, 1, 1, 0.5])
    np.testing.assert_allclose(row["executed"], [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(row["intended"], [1, 0, 0, 0])
    assert row["spread"] == pytest.approx(0.4)
    assert row["replaced"] == row["replaced_everywhere"] == 0.5
    assert row["rank_of_intended"] == pytest.approx((2 / 2 + 0.5 / 3) / 2)
    assert row["moments"] == 2


def test_agreement_is_spearmans_and_sees_a_reversal() -> None:
    one = by_hand()
    assert information.agreement(one, one)["rank_correlation"] == pytest.approx(1.0)
    turned = information.agreement(one, one._replace(information=-one.information))
    assert turned["rank_correlation"] == pytest.approx(-1.0)
    assert turned["same"] == 0.0
    assert turned["chance"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    with pytest.raises(ValueError, match="different moments"):
        information.agreement(one, one._replace(intended=one.intended + 1))


def test_the_action_that_is_copied_most_tells_most() -> None:
    record = toys.follow()
    spec, config = toys.spec(n_actions=3), ActionConfig(hidden=(32,), batch=512, lr=3e-3)
    params = action.init(rng.root(0), config, spec)
    opt = descent.optimiser(config).init(params)
    params, _, _ = jax.jit(lambda e: action.fit(rng.root(1), config, spec, params, opt, e, 1, 500))(record)
    found = information.candidates(rng.root(2), config, spec, params, record, 1, 600)
    assert found.attacked.sum() == 600
    np.testing.assert_array_equal(found.attacked, found.combat)  # no action is called attack
    leads = found.attacked[:, 0]
    given = toys.follower_given()
    # The marginal M3 is the mean over the legal actions; agent 2 follows nobody.
    exact = [reference.divergence(given[x], given.mean(0)) for x in range(3)]
    np.testing.assert_allclose(found.information[leads, 0].mean(0), exact, atol=0.05)
    assert set(found.executed[leads, 0]) == {int(np.argmin(exact))}
    with pytest.raises(ValueError, match="marginal=M2, tau=T4 needs the policy's values"):
        information.candidates(rng.root(2), ActionConfig(marginal="M2"), spec, params, record, 1)


@cache
def on_channels() -> Redundancy:
    train, test = toys.channels(0), toys.channels(1)
    config = ClubConfig(hidden=(32,), lr=5e-3, batch=768)
    return redundancy(rng.root(0), config, toys.spec(), train, test, 1, 400, count=1500)


def test_two_channels_of_one_action_are_redundant() -> None:
    """Dimensions 0 and 1 of agent i show the action of agent i + 1 with gains 1 and 1/2 in equal noise, so together
    they are one channel of gain sqrt(1.25). G1 is one agent, G2 the two others."""
    even, found = np.full(toys.ACTIONS, 1 / toys.ACTIONS), on_channels()
    single = [reference.mixture_information(even, g * toys.LEVELS, toys.NOISE) for g in toys.GAINS[:2]]
    both = reference.mixture_information(even, np.sqrt(1.25) * toys.LEVELS, toys.NOISE)
    bound = [reference.mixture_club(even, g * toys.LEVELS, toys.NOISE) for g in toys.GAINS[:2]]
    assert sum(single) - both > 0.05
    assert found.mixture_parts.mean() == pytest.approx(sum(single), abs=0.08)
    assert found.mixture_group.mean() == pytest.approx(both, abs=0.08)
    # The bound adds up over dimensions, so it cannot see what they tell twice.
    assert found.club_parts.mean() == pytest.approx(sum(bound), rel=0.15)
    assert found.club_group.mean() == pytest.approx(sum(bound), rel=0.15)


def test_the_redundancy_per_step() -> None:
    steps = on_channels().per_step(fewest=50)
    assert set(steps["time"]) <= set(range(6))
    assert steps["count"].min() >= 50
    np.testing.assert_allclose(steps["mixture_redundancy"], steps["mixture_group"] - steps["mixture_parts"])
    time = np.array([0, 0, 1])
    one = np.array([1.0, 3.0, 5.0])
    exact = Redundancy(time, np.arange(3), one, np.zeros(3), one, one).per_step(fewest=2)
    assert exact["time"].tolist() == [0]
    assert exact["club_redundancy"].tolist() == [2.0]
    # 1 and 3, of two episodes: 2 ± 12.706 (t of one degree of freedom) times sqrt(2 / 2).
    assert (exact["club_low"][0], exact["club_high"][0]) == pytest.approx((2 - 12.706, 2 + 12.706), abs=1e-3)
    none = Redundancy(time, np.arange(3), one, one, one, one).per_step(fewest=5)
    assert none["club_low"].shape == none["time"].shape == (0,)
    assert exact["mixture_redundancy"].tolist() == [0.0]


def test_what_is_hidden_tells_nothing_when_measured_again() -> None:
    record, spec = toys.channels(), toys.spec()
    config = ClubConfig(hidden=(32,), lr=5e-3, batch=512)
    mask = np.zeros((3, 5), bool)
    mask[:, 0] = True
    before = information.measured(rng.root(0), config, spec, record, 200)
    after = information.measured(rng.root(0), config, spec, record, 200, mask=mask)
    assert before[0, 1, 0] > 0.5
    assert abs(after[0, 1, 0]) < 1e-2
    assert after[0, 1, 1] == pytest.approx(before[0, 1, 1], abs=0.05)


def test_a_layout_without_other_agents_is_refused() -> None:
    with pytest.raises(ValueError, match="names no block of kind"):
        information.masks(np.zeros((3, 3, 5)), toys.spec(), information.groups_of(3, 1), "block")


def test_shapes_of_the_truth() -> None:
    right = information.truth(LEAK, np.array([[True, True, False, False]]))
    np.testing.assert_array_equal(right[0, 0], (OWNER[0] == 2) | (OWNER[0] == 3))
    assert all(name.startswith("ally") for name in NAMES[right[0, 0]])
    assert jnp.asarray(right).shape == (1, 4, LEAK.obs_size)
