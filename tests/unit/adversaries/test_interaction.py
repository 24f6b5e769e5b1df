"""The attack on a game whose information is known: it finds what leaks, and updates when it should."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import masks
from ibal.adversaries.base import Feedback
from ibal.adversaries.bundle import load_attacker, save_attacker
from ibal.adversaries.config import InteractionConfig, OccludeRetreatConfig
from ibal.adversaries.interaction import State, fit, fixed
from ibal.adversaries.interaction.options import Masks
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.registry import one_of
from ibal.types import Episodes
from unit.mi.toys import random_play

LEAK = make("toy/leak", n_agents=4, noise=1)
SPEC = LEAK.spec
SMALL = InteractionConfig(
    most=2, club=ClubConfig(hidden=(32,), batch=512), action=ActionConfig(hidden=(32,), batch=128), rows=256,
    warmup=2, warmup_steps=2, every=3, refresh=2,
)  # fmt: skip


@cache
def played() -> Episodes:
    """300 games of random actions, and what the adversary drew for them: nothing."""
    return random_play(LEAK, 0, 300)


@cache
def fresh() -> State:
    return jax.jit(SMALL.build(SPEC).init)(rng.root(0))


@cache
def fitted() -> State:
    return jax.jit(lambda episodes: fit(rng.root(1), SMALL, SPEC, episodes, 300))(played())


def begun(config: InteractionConfig, state: State, index: int = 0) -> Any:
    return beginning(config)(state, jnp.int32(index))


@cache
def beginning(config: InteractionConfig) -> Any:
    """Compiled as a whole: operation by operation, most of the time would go into compiling."""
    begin = config.build(SPEC).begin
    return jax.jit(lambda state, index: begin(rng.at(rng.root(2), index), state, LEAK.reset(rng.root(0), ())[1]))


@cache
def updater() -> Any:
    return jax.jit(SMALL.build(SPEC).update)


def updated(state: State, iteration: int | None, **feedback: float) -> tuple[State, dict[str, Any]]:
    memory = jax.vmap(beginning(SMALL), (None, 0))(state, jnp.arange(300))
    values = {"success": 1.0, "returns": 1.0, "env_steps": 3000.0} | feedback
    told = Feedback(*(jnp.float32(values[k]) for k in ("success", "returns", "env_steps")))
    told = told._replace(iteration=None if iteration is None else jnp.int32(iteration))
    return updater()(rng.root(3), state, played()._replace(memory=memory), told)


def moved(before: Any, after: Any) -> bool:
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return any((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)


def test_the_fitted_masks_are_the_blocks_of_the_other_group() -> None:
    attack = fixed(SMALL, SPEC, fitted())
    begin = jax.jit(lambda index: attack.begin(rng.at(rng.root(5), index), fitted(), LEAK.reset(rng.root(0), ())[1]))
    for index in range(4):
        memory = begin(jnp.int32(index))
        assert int(memory.group.sum()) == 2
        assert float(memory.p) == 0.5
        truth = masks.truth(SPEC.obs_layout, masks.others(memory.group))
        np.testing.assert_array_equal(memory.mask, truth)


def test_the_largest_scores_are_those_of_what_leaks() -> None:
    state = fitted()
    mask = np.asarray(begun(replace(SMALL, masks="dimension", dims=1, evaluation=True), state).mask)
    names = np.array(SPEC.obs_layout.names)
    for row in mask:
        assert all(name.endswith("leak_0") for name in names[row])
        assert row.sum() == 2


def test_before_it_has_learned_nobody_is_attacked() -> None:
    state = fresh()
    groups = [np.asarray(begun(SMALL, state, i).group) for i in range(8)]
    assert not np.any(groups)
    late = replace(SMALL, quiet=500)
    waiting, ready = state._replace(updates=jnp.int32(2)), fitted()
    assert not np.any([begun(late, waiting, i).group for i in range(8)])
    assert np.any([begun(SMALL, ready, i).group for i in range(8)])


def test_lessons_and_scores_come_when_they_are_due() -> None:
    state = fresh()
    # Warm-up in iterations 0 and 1, whose end is the first estimate; later lessons in 3, 6, ..., estimates in 3, 5, ...
    for iteration, learns, estimates in ((0, True, False), (1, True, True), (2, False, False), (3, True, True)):
        after, metrics = updated(state, iteration)
        assert moved(state.theta, after.theta) == moved(state.phi, after.phi) == learns, iteration
        assert moved(state.scores, after.scores) == estimates, iteration
        assert np.isfinite(metrics["theta_loss"]) == np.isfinite(metrics["phi_loss"]) == learns
        state = after
    assert int(state.updates) == 4
    assert int(state.refreshes) == 2


def test_models_that_learn_from_natural_episodes_never_see_an_attacked_one() -> None:
    """Whatever is seen and done in the attacked ones, the models become the same; those that learn from all do not."""
    natural = jax.jit(replace(SMALL, learn_from="natural").build(SPEC).update)
    memory = jax.jit(jax.vmap(lambda i: begun(SMALL, fitted(), i)))(jnp.arange(300))
    attacked = memory.group.any(1)
    assert 100 < int(attacked.sum()) < 280  # k is 0, 1 or 2
    true = played()._replace(memory=memory)
    other = true._replace(
        obs=jnp.where(attacked[:, None, None, None], 1 - true.obs, true.obs),
        action=jnp.where(attacked[:, None, None], (true.action + 1) % SPEC.n_actions, true.action),
    )
    told = Feedback(jnp.float32(1), jnp.float32(1), jnp.float32(3000), jnp.int32(3))  # a lesson and an estimate are due
    for update, differs in ((natural, False), (updater(), True)):
        one, two = (update(rng.root(3), fitted(), record, told)[0] for record in (true, other))
        for name in ("theta", "phi", "scores", "mean"):
            assert moved(getattr(fitted(), name), getattr(one, name)), name
            assert moved(getattr(one, name), getattr(two, name)) == differs, name
    # Where nobody was spared there is no lesson.
    everybody = memory._replace(group=jnp.ones_like(memory.group))
    after, metrics = natural(rng.root(3), fitted(), true._replace(memory=everybody), told)
    for name in ("theta", "phi", "scores", "mean", "refreshes"):
        assert not moved(getattr(fitted(), name), getattr(after, name)), name
    assert np.isnan(metrics["theta_loss"])


def test_without_a_count_of_the_loop_it_counts_itself() -> None:
    state = fresh()
    counted, alone = updated(state, 0)[0], updated(state, None)[0]
    assert not moved(counted, alone)


def test_p_max_grows_only_from_attacked_episodes() -> None:
    new = fresh()
    assert float(updated(new, 0, env_steps=50_000.0)[1]["p_max"]) == 0.5  # still warming up
    after, metrics = updated(fitted(), 8, env_steps=50_000.0)
    assert float(metrics["p_max"]) == pytest.approx(0.55)
    assert 0.5 < float(metrics["attacked"]) < 0.8  # k = 0 in a third
    assert float(updated(after, 9, env_steps=99_000.0, success=0.5)[1]["p_max"]) == pytest.approx(0.55)


def test_the_control_without_estimators_has_nothing_to_learn() -> None:
    config = OccludeRetreatConfig().interaction()
    state = jax.eval_shape(config.build(make("3m").spec).init, rng.root(0))
    assert state.theta is None
    assert state.phi is None
    assert config.build(make("3m").spec).threat.dims == 10


def test_an_attacker_comes_back_from_its_files(tmp_path: Any) -> None:
    file = tmp_path / "bank" / "a.safetensors"
    save_attacker(file, "interaction", SMALL, SPEC, fitted(), {"victim": "random", "seed": 1})
    attack, config, state, meta = load_attacker(file, SPEC)
    assert (attack, config, meta) == ("interaction", SMALL, {"victim": "random", "seed": 1})
    assert not moved(fitted(), state)
    assert jax.tree.structure(fitted()) == jax.tree.structure(state)


def test_an_attacker_of_another_environment_is_refused(tmp_path: Any) -> None:
    file = tmp_path / "a.safetensors"
    save_attacker(file, "interaction", SMALL, SPEC, fitted())
    with pytest.raises(ValueError, match=r'was fitted in "toy/leak" \(n_agents 4.* but this is "smac/3m"'):
        load_attacker(file, make("3m").spec)
    with pytest.raises(FileNotFoundError, match=r"b.safetensors and b.json together"):
        load_attacker(tmp_path / "b.safetensors", SPEC)
    file.with_suffix(".json").write_text(file.with_suffix(".json").read_text().replace('"crc32": ', '"crc32": 1'))
    with pytest.raises(ValueError, match="describes another attacker"):
        load_attacker(file, SPEC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, "from 0 to 1"),
        ({"action": ActionConfig(tau="T1")}, "hidden states are not recorded"),
        ({"dims": -1}, "at least 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InteractionConfig(**options)


def test_unknown_words_are_refused_with_the_nearest() -> None:
    # Called directly: in the tests the type checker is faster.
    with pytest.raises(ValueError, match='is "blocks"; did you mean "block"'):
        one_of("InteractionConfig.masks", "blocks", Masks)


@pytest.mark.parametrize(
    ("name", "whole", "paper"),
    # Blocks of (n - 1) others: entries of a block, and the paper's c of Table 4.
    [("3m", 2 * 5, 2 * 5), ("3s_vs_3z", 2 * 6, 2 * 5), ("2s3z", 4 * 8, 4 * 8), ("1c3s5z", 8 * 9, 8 * 8)],
)
def test_blocks_beyond_the_papers_budget_are_declared_and_can_be_cut(name: str, whole: int, paper: int) -> None:
    spec = make(name).spec
    for hidden in ("block", "truth"):
        threat = InteractionConfig(masks=hidden).build(spec).threat
        assert (threat.dims, threat.excess) == (whole, whole - paper)
        threat = InteractionConfig(masks=hidden, cut=True).build(spec).threat
        assert (threat.dims, threat.excess) == (paper, 0)
    assert InteractionConfig(masks="dimension").build(spec).threat.excess == 0


def test_a_cut_mask_hides_as_much_as_the_paper_allows() -> None:
    env = make("3s_vs_3z")
    _, step = jax.jit(env.reset)(rng.root(0), env.params)
    for hidden in ("truth", "block"):
        config = InteractionConfig(masks=hidden, cut=True, evaluation=True)
        attack = config.build(env.spec)
        state = jax.jit(attack.init)(rng.root(0))
        # What tells most of agent j is the block of j: the scores are those of the truth, and none is like another.
        owner = env.spec.obs_layout.agents(3)
        known = (owner[:, None] == np.arange(3)[None, :, None]) * np.linspace(1, 2, env.spec.obs_size)
        state = state._replace(scores=jnp.asarray(known, jnp.float32))
        memory = jax.jit(attack.begin)(rng.root(1), state, step)
        mask, group = np.asarray(memory.mask), np.asarray(memory.group)
        assert mask.sum(1).tolist() == [5 * (2 if own else 1) for own in group]
        assert (np.take_along_axis(group, np.maximum(owner, 0)[mask], 0) != np.repeat(group, mask.sum(1))).all()


def test_more_dims_than_a_block_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r'dims is 8, but the blocks .* have 5 entries on "smac/8m"'):
        InteractionConfig(dims=8).build(make("8m").spec)
