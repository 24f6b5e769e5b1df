"""What every fault does, step by step in a hand-made game of three agents."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.adversaries import built, configured
from ibal.adversaries.base import ActView, Adversary, ObsView
from ibal.adversaries.fault_names import FAULTS, is_faulty, split
from ibal.adversaries.faults import burst_rates
from ibal.registry import UnknownName
from ibal.types import Block, EnvSpec, ObsLayout, TimeStep

N, A = 3, 5  # actions: none (for the dead), idle, and three others
LAYOUT = ObsLayout((Block("ally", 0, 0, ("distance", "word")), Block("ally", 1, 2, ("distance", "word")),
                    Block("own", 0, 4, ("x",))))  # fmt: skip
SPEC = EnvSpec(
    "test/faults", N, A, LAYOUT.size, 1, 100, ("none", "idle", "a", "b", "c"), (), LAYOUT,
    ObsLayout((Block("world", 0, 0, ("t",)),)), 0, (1,),
)  # fmt: skip
BARE = EnvSpec(
    "test/bare", N, A, 5, 1, 100, ("v", "w", "a", "b", "c"), (), ObsLayout((Block("game", 0, 0, tuple("vwxyz")),)),
    ObsLayout((Block("world", 0, 0, ("t",)),)),
)  # fmt: skip
ALL = np.ones((N, A), bool)
ALL[:, 0] = False


def moment(t: int, obs: Any = None, alive: Any = (True,) * N, avail: Any = ALL) -> TimeStep:
    """Agent i sees 100 t + 10 i + d in entry d, unless it is said otherwise."""
    plain = 100 * t + 10 * np.arange(N)[:, None] + np.arange(SPEC.obs_size)[None] + 1
    obs = jnp.asarray(plain if obs is None else obs, jnp.float32)
    no = jnp.array(False)
    return TimeStep(obs, jnp.zeros(1), jnp.asarray(avail), jnp.asarray(alive), jnp.float32(0), no, no, {})


class Game:
    """One episode under an attack: what is seen and done of given moments and intentions."""

    def __init__(self, name: str, first: TimeStep | None = None, seed: int = 0, spec: EnvSpec = SPEC) -> None:
        self.attack: Adversary = built(configured(name), spec)
        self.key = rng.root(seed)
        self.state = self.attack.init(self.key)
        self.memory = self.attack.begin(rng.stream(self.key, "b"), self.state, moment(0) if first is None else first)

    def sees(self, t: int, step: TimeStep | None = None) -> np.ndarray:
        step = moment(t) if step is None else step
        view = ObsView(step, (), jnp.zeros(N, jnp.int32), None, jnp.int32(t))
        seen, self.memory = self.attack.observe(rng.at(self.key, t), self.state, self.memory, view)
        return np.asarray(seen)

    def does(self, t: int, meant: list[int], step: TimeStep | None = None) -> list[int]:
        step = moment(t) if step is None else step
        nobody = jnp.zeros(N, jnp.int32)
        view = ActView(step, (), nobody, None, jnp.int32(t), step.obs, jnp.zeros((N, A)), jnp.array(meant))
        done, self.memory = self.attack.act(rng.at(self.key, 1000 + t), self.state, self.memory, view)
        return np.asarray(done).tolist()


def clean(t: int) -> np.ndarray:
    return np.array(moment(t).obs)


def test_what_is_delayed_is_so_many_steps_old_and_the_first_moment_before_that() -> None:
    game = Game("delay-2")
    for t, old in enumerate((0, 0, 0, 1, 2)):
        np.testing.assert_array_equal(game.sees(t), clean(old))


def test_a_delay_that_begins_later_knows_the_past_and_ends_at_its_end() -> None:
    game = Game("delay-2@3-4")
    for t, old in enumerate((0, 1, 2, 1, 2, 5)):
        np.testing.assert_array_equal(game.sees(t), clean(old))


def test_a_random_delay_takes_every_age_up_to_the_longest_for_each_agent_by_itself() -> None:
    game, ages = Game("jitter-2"), []
    for t in range(60):
        seen = game.sees(t)
        ages.append([next(age for age in range(3) if np.array_equal(seen[i], clean(max(t - age, 0))[i]))
                     for i in range(N)])  # fmt: skip
    late = np.array(ages[2:])
    assert set(late.ravel()) == {0, 1, 2}
    assert any(len(set(row)) > 1 for row in late)


def test_lost_messages_are_whole_blocks_about_others_at_the_rate_asked_for() -> None:
    game, lost = Game("lost-30"), []
    for t in range(300):
        seen, plain = game.sees(t), clean(t)
        np.testing.assert_array_equal(seen[:, 4], plain[:, 4])  # what is its own arrives
        gone = seen[:, :4].reshape(N, 2, 2) == 0
        assert (gone.all(2) == gone.any(2)).all()
        np.testing.assert_array_equal(np.where(gone, 0, plain[:, :4].reshape(N, 2, 2)), seen[:, :4].reshape(N, 2, 2))
        lost.append(gone.all(2))
    assert np.mean(lost) == pytest.approx(0.3, abs=0.04)  # 1800 draws: deviation .011


def test_bursts_lose_the_same_share_for_as_long_as_they_shall_last() -> None:
    game = Game("burst-20[length=4]")
    down = np.array([game.sees(t)[:, [0, 2]] == 0 for t in range(2000)]).reshape(2000, -1)
    assert down.mean() == pytest.approx(0.2, abs=0.05)
    begins = (down[1:] & ~down[:-1]).sum()
    assert down[1:].sum() / begins == pytest.approx(4.0, abs=0.6)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_the_rates_of_bursts_give_the_share(share: float) -> None:
    fails, mends = map(float, burst_rates(jnp.float32(share), 5.0))
    assert 0 <= fails <= 1
    assert 0 <= mends <= 1
    assert fails / (fails + mends) == pytest.approx(share, abs=1e-5)  # of a chain of two states


def test_who_is_beyond_a_shortened_range_is_not_heard() -> None:
    obs = np.array([[0.4, 7, 0.6, 7, 9], [0.5, 7, 0.51, 7, 9], [0.0, 0, 1.0, 7, 9]], float)
    wanted = [[0.4, 7, 0, 0, 9], [0.5, 7, 0, 0, 9], [0, 0, 0, 0, 9]]
    np.testing.assert_allclose(Game("range-50").sees(0, moment(0, obs)), wanted, rtol=1e-6)


def test_noise_has_the_deviation_asked_for_in_every_entry() -> None:
    game = Game("noise-20")
    noise = np.array([game.sees(t) - clean(t) for t in range(200)])
    assert noise.std(0) == pytest.approx(np.full((N, 5), 0.2), abs=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.02)


def test_sensors_that_are_broken_stay_so_for_an_episode_and_others_are_in_the_next() -> None:
    game = Game("drop-40")
    first = game.sees(0) == 0
    assert 0 < first.sum() < first.size
    np.testing.assert_array_equal(game.sees(7) == 0, first)
    np.testing.assert_array_equal(np.where(first, clean(7), game.sees(7)), clean(7))
    assert (Game("drop-40", seed=1).sees(0) == 0).tolist() != first.tolist()


def test_only_the_features_named_can_break() -> None:
    seen = Game("drop-100[features=word own]").sees(0)
    assert (seen == 0).tolist() == [[False, True, False, True, True]] * N


def test_frozen_sensors_show_the_last_moment_before_and_thaw() -> None:
    game = Game("frozen[who=1,first=2,last=3]")
    for t, age in enumerate((0, 1, 1, 1, 4)):
        seen = game.sees(t)
        np.testing.assert_array_equal(seen[1], clean(age)[1])
        np.testing.assert_array_equal(seen[[0, 2]], clean(t)[[0, 2]])


def test_who_stops_idles_and_comes_back() -> None:
    game = Game("stop[who=0,first=1,last=2]")
    assert [game.does(t, [2, 3, 4]) for t in range(4)] == [[2, 3, 4], [1, 3, 4], [1, 3, 4], [2, 3, 4]]
    assert not game.attack.threat.channels.count("obs")


def test_as_many_stop_as_asked_for_others_in_other_episodes_and_never_the_dead() -> None:
    who = set()
    for seed in range(20):
        done = Game("stop-2", seed=seed).does(0, [2, 2, 2])
        assert done.count(1) == 2
        who.add(tuple(done))
    assert len(who) == 3
    dead = moment(0, alive=(False, True, True))
    assert Game("stop[who=0]").does(0, [2, 3, 4], dead) == [2, 3, 4]


def test_who_cannot_idle_does_what_it_meant() -> None:
    avail = ALL.copy()
    avail[0, 1] = False
    assert Game("stop-3").does(0, [2, 3, 4], moment(0, avail=avail)) == [2, 1, 1]


def test_who_vanishes_is_seen_by_nobody_and_sees_on() -> None:
    game = Game("vanish[who=2,first=1]")
    np.testing.assert_array_equal(game.sees(0), clean(0))
    seen, plain = game.sees(1), clean(1)
    plain[0, 2:4] = plain[1, 2:4] = 0  # slot 1 of agents 0 and 1 is agent 2
    np.testing.assert_array_equal(seen, plain)
    assert game.does(1, [2, 3, 4]) == [2, 3, 1]


def test_who_is_stuck_repeats_the_last_action_or_idles() -> None:
    game = Game("stuck[who=0,first=2,last=4]")
    no_more = ALL.copy()
    no_more[0, 3] = False
    assert game.does(0, [2, 2, 2]) == [2, 2, 2]
    assert game.does(1, [3, 3, 3]) == [3, 3, 3]
    assert game.does(2, [4, 4, 4]) == [3, 4, 4]
    assert game.does(3, [4, 4, 4], moment(3, avail=no_more)) == [1, 4, 4]
    assert game.does(4, [2, 2, 2]) == [3, 2, 2]
    assert game.does(5, [4, 2, 2]) == [4, 2, 2]


def test_who_is_stuck_from_the_beginning_repeats_its_first_action() -> None:
    game = Game("stuck[who=1]")
    assert [game.does(t, [2, 3 - t % 2, 4])[1] for t in range(3)] == [3, 3, 3]


def test_sticky_actions_repeat_what_was_done_at_their_rate() -> None:
    game, again, before = Game("sticky-30"), [], [0, 0, 0]
    for t in range(400):
        meant = [2 + t % 2, 3 + t % 2, 2 + t % 3]
        done = game.does(t, meant)
        if t:
            assert all(d in (m, b) for d, m, b in zip(done, meant, before, strict=True))
            again += [d == b for d, m, b in zip(done, meant, before, strict=True) if m != b]
        before = done
    assert np.mean(again) == pytest.approx(0.3, abs=0.05)


def test_late_actions_come_as_many_steps_later_and_idle_where_they_are_impossible_by_then() -> None:
    game = Game("late-2")
    no_more = ALL.copy()
    no_more[0, 2] = False
    assert game.does(0, [2, 2, 2]) == [1, 1, 1]
    assert game.does(1, [3, 3, 3]) == [1, 1, 1]
    assert game.does(2, [4, 4, 4], moment(2, avail=no_more)) == [1, 2, 2]
    assert game.does(3, [2, 2, 2]) == [3, 3, 3]


def test_together_they_all_happen() -> None:
    game = Game("delay-1+stop[who=0]+drop-100[features=own]")
    game.sees(0)
    wanted = clean(0)
    wanted[:, 4] = 0
    np.testing.assert_array_equal(game.sees(1), wanted)
    assert game.does(1, [2, 3, 4]) == [1, 3, 4]


NOTHING = ("delay-0", "jitter-0", "lost-0", "burst-0", "range-0", "noise-0", "drop-0", "frozen-0", "stop-0",
           "vanish-0", "stuck-0", "sticky-0", "late-0")  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_none_of_it_is_nothing(name: str) -> None:
    game = Game(name)
    for t in range(3):
        shares = np.where(np.arange(5) % 2, clean(t), 0.5)  # within any range
        np.testing.assert_array_equal(game.sees(t, moment(t, shares)), np.float32(shares))
        assert game.does(t, [2 + t, 3, 4]) == [2 + t, 3, 4]
    assert {name.partition("-")[0] for name in NOTHING} == set(FAULTS) - {"subset"}  # that looks for one of them


def test_numbers_compile_nothing_anew() -> None:
    some, more = (built(configured(name), SPEC) for name in ("lost-30@5", "lost-80"))
    assert some._replace(init=None) == more._replace(init=None)
    assert jax.tree.structure(some.init(rng.root(0))) == jax.tree.structure(more.init(rng.root(0)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lst-30", 'unknown fault "lst-30". Closest: "lost"'),
        ("lost-300", "LostConfig.percent is 300.0; a number from 0 to 100 was expected"),
        ("stop-1@9-3", "StopConfig.last is 3; at least 9 was expected"),
        ("delay-2[steps=3]", '"steps" is given twice'),
        ("stop[who=1 1]", "names an agent twice"),
        ("interaction+lost-30", '"interaction" learns'),
        ("hp-15+lost-30", '"hp-15" changes the world itself'),
    ],
)
def test_a_wrong_name_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises((ValueError, UnknownName)) as caught:
        configured(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stop-4", 'StopConfig.agents is 4, but "test/faults" has 3 agents'),
        ("stop[who=3]", 'StopConfig.who is 3, but the agents of "test/faults" are 0 to 2'),
        ("drop[features=helth]", 'no feature is called "helth"'),
    ],
)
def test_what_an_environment_cannot_have_is_said(name: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (what it says is compared below)
        built(configured(name), SPEC)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["lost-30", "burst-30", "range-50", "vanish-1", "stop-1"])
def test_a_world_that_declares_nothing_cannot_have_faults_that_need_it(name: str) -> None:
    with pytest.raises(ValueError, match='"test/bare"'):
        built(configured(name), BARE)


def test_names_are_split_into_what_the_world_follows_and_the_rest() -> None:
    assert split("dis-1+lost-30+hp-15") == ("dis-1+hp-15", "lost-30")
    assert split("hp-15") == ("hp-15", "natural")
    assert split("random[sigma=0.2]") == ("none", "random[sigma=0.2]")
    assert [is_faulty(name) for name in ("lost", "lost-30", "random-obs", "fgsm", "a+b")] == [
        True, True, False, False, True,
    ]  # fmt: skip
