"""A mixer that is told who is attacked: it sees that and the clean state, the agents see what the attack left, and the
gradient is that of the books; a start that was told nothing judges as before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.adversaries.base import adversary
from ibal.envs.toy import two_step
from ibal.experiments.config import RunConfig, config_hash, save_toml
from ibal.experiments.pretrained import learner_state
from ibal.learners.config import ValueConfig
from ibal.learners.packing import read, told_of
from ibal.learners.value import value_learner
from ibal.nets.mixers import mixer
from ibal.options import ConfigError
from ibal.training.checkpoint import save
from ibal.training.config import TrainConfig
from ibal.training.learner import learner_for
from ibal.training.runner import begun
from ibal.types import Episodes, Tells, Threat
from unit.learners.test_value import KEY, NOW, OBS, SPEC, STATE, N, made_up, plain_loss


class Memory(NamedTuple):
    group: jax.Array
    mask: jax.Array


TELLS = Tells(N, lambda memory: memory.group.astype(jnp.float32))


def reobserve(memory: Memory, obs: jax.Array) -> jax.Array:
    return jnp.where(memory.mask, 0.0, obs)


def attacked() -> Episodes:
    draw = np.random.default_rng(5)
    group, mask = draw.random((5, N)) < 0.5, draw.random((5, N, OBS)) < 0.4
    return made_up()._replace(memory=Memory(jnp.asarray(group), jnp.asarray(mask)))


def in_the_books(episodes: Episodes) -> Episodes:
    """The same for one who knows of no attack: what was seen stands in ``obs``, what is told behind the state."""
    told = jnp.broadcast_to(TELLS.of(episodes.memory)[:, None], (*episodes.state.shape[:2], N))
    seen = jax.vmap(jax.vmap(reobserve, (None, 0)))(episodes.memory, episodes.obs)
    return episodes._replace(obs=seen, state=jnp.concatenate((episodes.state, told), axis=-1))


def test_the_mixer_sees_the_clean_state_and_the_agents_the_attacked_observation() -> None:
    episodes = attacked()
    episode, time = jnp.array([[0, 1], [0, 1]]), jnp.array([[0, 2], [1, 3]])
    chosen = jnp.array([2, 4])
    rows = read(episodes, chosen, episode, time, reobserve, told_of(TELLS, episodes, chosen))
    for (t, r), which in np.ndenumerate(np.array([[2, 4], [2, 4]])):
        at = int(time[t, r])
        np.testing.assert_array_equal(rows.state[t, r, :STATE], episodes.state[which, at])
        np.testing.assert_array_equal(rows.state[t, r, STATE:], episodes.memory.group[which].astype(float))
        wanted = np.where(episodes.memory.mask[which], 0.0, episodes.obs[which, at])
        np.testing.assert_array_equal(rows.obs[t, r], wanted)


@pytest.mark.parametrize("name", ["qmix", "qplex"])
def test_the_gradient_is_that_of_plain_descent_with_all_of_it_written_out(name: str) -> None:
    config = ValueConfig(mixer=name, td_lambda=0.6, hidden=8, batch=5, privileged=True)
    learner = value_learner(SPEC, config, reobserve, tells=TELLS)
    state = jax.jit(learner.init)(rng.root(3))
    other = jax.jit(learner.init)(rng.root(4)).params
    state, chosen, episodes = state._replace(target=other), [4, 0, 2, 3, 1], attacked()
    after, metrics = jax.jit(learner.update)(KEY, state, episodes, jnp.array(chosen), NOW)
    plain = jax.jit(jax.value_and_grad(lambda p: plain_loss(p, other, in_the_books(episodes), chosen, config)))
    loss, gradient = plain(state.params)
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-4)
    norm = np.sqrt(sum((np.asarray(g) ** 2).sum() for g in jax.tree.leaves(gradient)))
    assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    clip = min(1.0, config.grad_clip / (float(norm) + 1e-6))
    for old, new, g in zip(*map(jax.tree.leaves, (state.params, after.params, gradient)), strict=True):
        g = np.asarray(g) * clip
        np.testing.assert_allclose(new, old - config.lr * g / (np.sqrt(0.01 * g**2) + 1e-5), atol=2e-5)


@pytest.mark.parametrize("name", ["qmix", "qplex"])
def test_a_start_that_was_told_nothing_judges_as_before(name: str) -> None:
    plain = value_learner(SPEC, ValueConfig(mixer=name, hidden=8))
    told = value_learner(SPEC, ValueConfig(mixer=name, hidden=8, privileged=True), tells=TELLS)
    given, own = plain.init(rng.root(0)), told.init(rng.root(1))
    lead = lambda state: jax.tree.map(lambda leaf: leaf[None], state)  # noqa: E731
    two = jax.tree.map(lambda leaf: jnp.stack((leaf, leaf)), own)
    start = jax.tree.map(lambda leaf: leaf[1], begun(lead(given), two, STATE))
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(jnp.shape, own)
    draw = np.random.default_rng(0)
    q, state, best = (jnp.asarray(draw.normal(size=size), jnp.float32) for size in (N, STATE, N))
    actions = jnp.eye(3)[jnp.array([2, 0])]
    for group in ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0]):
        seen = jnp.concatenate((state, jnp.array(group)))
        mine = mixer(name).apply(start.params.mixer, q, seen, best, actions)
        assert float(mine) == pytest.approx(
            float(mixer(name).apply(given.params.mixer, q, state, best, actions)), rel=1e-5
        )


def test_the_same_start_for_who_is_told_nothing_is_a_copy() -> None:
    plain = value_learner(SPEC, ValueConfig(hidden=8))
    given = jax.tree.map(lambda leaf: leaf[None], plain.init(rng.root(0)))
    jax.tree.map(np.testing.assert_array_equal, begun(given, given, STATE), given)


ENV = two_step()
LEARNER = ValueConfig(hidden=4, batch=4)
HERE = RunConfig(env="toy/two-step", method="varied", learner=replace(LEARNER, privileged=True))


def run_folder(folder: Path, config: RunConfig, tells: Tells | None) -> Path:
    folder.mkdir()
    save_toml(config, folder / "config.toml")
    learned = value_learner(ENV.spec, config.learner, tells=tells).init(rng.root(5))
    save(folder / "checkpoints", 10, {"learner": {"learned": jax.tree.map(lambda leaf: leaf[None], learned)}})
    return folder


def test_runs_that_were_told_something_begin_those_that_are_told_the_same(tmp_path: Path) -> None:
    attack = two_step_attack(HERE)
    told = run_folder(tmp_path / "told", HERE, attack.tells)
    plain = run_folder(tmp_path / "plain", RunConfig(env="toy/two-step", learner=LEARNER), None)
    sizes = {name: learner_state(run, ENV, HERE).params.mixer.b1.w.shape[1] for name, run in
             (("told", told), ("plain", plain))}  # fmt: skip
    assert sizes == {"told": ENV.spec.state_size + attack.tells.size, "plain": ENV.spec.state_size}
    with pytest.raises(ConfigError, match="told other things"):
        learner_state(told, ENV, replace(HERE, method="vanilla", learner=LEARNER))


def two_step_attack(config: RunConfig) -> Any:
    from ibal.experiments.methods import adversary_of

    return adversary_of(config.method, ENV.spec)


def test_who_has_nothing_to_tell_is_told_of() -> None:
    train = TrainConfig(envs=4, replay=8, learn_from=4)
    with pytest.raises(ConfigError, match="tells nothing"):
        learner_for(ENV, HERE.learner, train, adversary(threat=Threat()))
    for name in ("iql", "vdn"):
        with pytest.raises(ConfigError, match=f'"{name}" looks at no state; take qmix or qplex'):
            ValueConfig(mixer=name, privileged=True)


def test_who_is_told_nothing_is_the_configuration_that_it_was() -> None:
    """A field that is at its default changes no name of an older run."""
    assert config_hash(RunConfig()) == HASH
    assert config_hash(RunConfig(learner=ValueConfig(privileged=True))) != HASH


HASH = "39bb60df978a"  # of the defaults, before there was such a field
