"""PQN's targets and gradient against the same formulas written down episode by episode, and its trainings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng, tree
from ibal.adversaries.base import Adversary, Threat, adversary, natural
from ibal.experiments.config import RunConfig, to_toml
from ibal.experiments.presets import PRESETS, apply_preset
from ibal.experiments.pretrained import learner_state
from ibal.learners import pqn
from ibal.learners.config import PqnConfig, named
from ibal.learners.pqn import PqnParams, layout, look_back, pqn_learner
from ibal.nets import valued
from ibal.nets.bundle import agent_of, load_bundle, load_policy
from ibal.nets.mixers import Mixer, mixer
from ibal.training import bench, memory, runner
from ibal.training.config import TrainConfig
from ibal.training.learner import learner_for
from ibal.training.log import open_log
from ibal.training.loop import LEARNING, PART, SEED, trainer
from ibal.types import Block, EnvSpec, Episodes, ObsLayout

N, A, OBS, STATE, TIME = 2, 3, 4, 3, 5
LENGTHS = (3, TIME, 2, TIME)
SPEC = EnvSpec(
    name="made-up", n_agents=N, n_actions=A, obs_size=OBS, state_size=STATE, horizon=TIME,
    action_names=("a", "b", "c"), metric_names=(), obs_layout=ObsLayout((Block("own", 0, 0, ("x",) * OBS),)),
    state_layout=ObsLayout((Block("own", 0, 0, ("x",) * STATE),)),
)  # fmt: skip
CONFIG = PqnConfig(hidden=4, td_lambda=0.5, gamma=0.9, epochs=1, minibatches=1)
ENV = make("toy/two-step")
PQN = PqnConfig(hidden=4, epochs=2, minibatches=2, lr=1e-2)
# A chunk is 2 x 4 episodes of 2 steps: 16 steps.
TRAIN = TrainConfig(steps=64, envs=4, chunk=2, eval_every=64, eval_episodes=4, checkpoint_every=0.0)


def episodes() -> Episodes:
    """Two that terminate, two that run out of time; rubbish behind every end."""
    draw = np.random.default_rng(0)
    length = np.array(LENGTHS)
    avail = draw.random((4, TIME + 1, N, A)) < 0.7
    avail[..., 0] = True
    terminated = np.zeros((4, TIME), bool)
    terminated[0, 2] = terminated[1, TIME - 1] = True
    action = np.where(draw.random((4, TIME, N)) < 0.5, np.argmax(avail[:, :-1], -1), 0)
    return Episodes(
        obs=jnp.asarray(draw.normal(size=(4, TIME + 1, N, OBS)), jnp.float16),
        state=jnp.asarray(draw.normal(size=(4, TIME + 1, STATE)), jnp.float16), avail=jnp.asarray(avail),
        action=jnp.asarray(action), reward=jnp.asarray(draw.normal(size=(4, TIME)), jnp.float32),
        terminated=jnp.asarray(terminated), length=jnp.asarray(length), seen=None, executed=None,
    )  # fmt: skip


def weights(name: Any) -> PqnParams:
    learner = pqn_learner(SPEC, replace(CONFIG, name=name))
    params = learner.init(rng.root(1)).params
    head = params.agent.q.head
    louder = params.agent.q._replace(head=head._replace(w=100 * head.w))
    return params._replace(agent=valued.ValueNet(louder))


def team_value(mix: Mixer, params: PqnParams, q: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
    return mix.apply(params.mixer, q[jnp.arange(N), action], state, q.max(-1), jax.nn.one_hot(action, A))


def by_hand(params: PqnParams, name: str, which: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the team's greedy value at every slot of an episode and that of what was done at every step, playing it
    as the team plays; of no meaning behind its end."""
    all_, mix = tree.at(episodes()._replace(seen=None, memory=()), which), mixer(name.removeprefix("pqn-"))
    carry, last, best, taken = jnp.zeros((N, 4)), jnp.full(N, -1), [], []
    for t in range(TIME + 1):
        avail, state = all_.avail[t], all_.state[t].astype(jnp.float32)
        carry, q = valued.scores(params.agent, carry, all_.obs[t].astype(jnp.float32), avail, last)
        q = jnp.where(avail, q, -1e7)

        value = partial(team_value, mix, params, q, state)
        best.append(value(jnp.argmax(q, -1)))
        if t < TIME:
            last = all_.action[t]
            taken.append(value(last))
    return jnp.stack(best), jnp.stack(taken)


def targets(best: np.ndarray, which: int) -> list[float]:
    """y_t = r_t + gamma ((1 - lambda) max Q_{t+1} + lambda y_{t+1}), which begins at what the episode ends with."""
    all_, out = episodes(), []
    for t in reversed(range(LENGTHS[which])):
        last = t == LENGTHS[which] - 1
        following = float(best[t + 1]) if last else 0.5 * float(best[t + 1]) + 0.5 * out[0]
        ends = bool(all_.terminated[which, t])
        out.insert(0, float(all_.reward[which, t]) + (0.0 if ends else 0.9 * following))
    return out


@pytest.mark.parametrize("name", ["pqn-vdn", "pqn-qmix"])
def test_targets_and_gradient_are_those_of_every_episode_alone(name: Any) -> None:
    config, params = replace(CONFIG, name=name), weights(name)
    packing, of = layout(SPEC, config, episodes())
    whole = jax.jit(jax.vmap(lambda p, which: by_hand(p, name, which), (None, 0)))
    best = np.asarray(whole(params, jnp.arange(4))[0])
    before = jax.jit(lambda p: look_back(p, packing, of))(params)
    goal = np.zeros((4, TIME), np.float32)
    for which, length in enumerate(LENGTHS):
        goal[which, :length] = targets(best[which], which)
        at = np.asarray((packing.episode == which) & (packing.time < length))
        np.testing.assert_allclose(np.asarray(before.goal)[at], goal[which, :length], rtol=1e-5, atol=1e-5)
        assert np.asarray(before.valid)[at].all()
    assert int(before.valid.sum()) == sum(LENGTHS)

    def squared(params: PqnParams) -> jax.Array:
        error = whole(params, jnp.arange(4))[1] - goal
        return jnp.where(np.arange(TIME)[None] < np.array(LENGTHS)[:, None], error**2, 0.0).sum()

    found, sums = jax.jit(lambda p: pqn.gradient(p, packing, before, of))(params)
    loss, wanted = jax.jit(jax.value_and_grad(squared))(params)
    assert float(sums["loss"]) == pytest.approx(float(loss), rel=1e-4)
    assert float(sums["steps"]) == sum(LENGTHS)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def after(attack: Adversary) -> Any:
    """State and metrics of a training of one seed (number 1)."""
    made = trainer(ENV, learner_for(ENV, PQN, TRAIN, attack), attack, TRAIN)
    return jax.jit(lambda: made.chunk(made.init(rng.root(1))))()


def idle(**given: Any) -> Adversary:
    """Changes nothing, although it could: what is seen and what is done are stored of their own."""
    return adversary(
        observe=lambda key, state, memory, view: (view.step.obs, memory),
        threat=Threat(channels=("obs", "act")),
        **given,
    )


def test_an_attack_that_changes_nothing_changes_nothing() -> None:
    plain, metrics = after(natural())
    assert metrics[LEARNING]["updates"].tolist() == [4, 4]
    jax.tree.map(np.testing.assert_array_equal, plain.learner, after(idle())[0].learner)


def test_seeds_side_by_side_learn_what_each_learns_alone_and_take_the_same_turns() -> None:
    attack = idle(alone=lambda iteration: iteration % 2 == 1)
    one, metrics = after(attack)
    assert metrics[LEARNING]["updates"].tolist() == [4, 0]
    assert np.isnan(metrics[LEARNING]["loss"]).tolist() == [False, True]
    made = trainer(ENV, learner_for(ENV, PQN, TRAIN, attack, SEED), attack, TRAIN, SEED)
    keys = jnp.stack([rng.root(0), rng.root(1)])
    both, _ = jax.jit(lambda k: jax.vmap(made.chunk, axis_name=SEED)(jax.vmap(made.init, axis_name=SEED)(k)))(keys)
    mine = jax.jit(tree.at)(both.learner, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), mine, one.learner)


def test_the_gradient_of_two_devices_is_that_of_all_episodes() -> None:
    from ibal.learners.base import Progress

    now, all_ = Progress(jnp.int32(0), jnp.float32(1)), episodes()
    whole, part = pqn_learner(SPEC, CONFIG), pqn_learner(SPEC, CONFIG, part=PART)
    state = whole.init(rng.root(1))
    plain, told = jax.jit(lambda e: whole.update(rng.root(0), state, e, now))(all_)
    halves = jax.tree.map(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), all_)
    shared, said = jax.jit(jax.vmap(lambda e: part.update(rng.root(0), state, e, now), axis_name=PART))(halves)
    assert said["loss"].tolist() == pytest.approx([float(told["loss"])] * 2, rel=1e-5)
    assert said["grad_norm"].tolist() == pytest.approx([float(told["grad_norm"])] * 2, rel=1e-4)
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(shared.params), strict=True):
        np.testing.assert_allclose(np.asarray(b), np.stack([np.asarray(a)] * 2), atol=1e-5)


def test_a_stopped_training_goes_on_bit_for_bit_and_what_it_leaves_plays(tmp_path: Path) -> None:
    learner = replace(PQN, lr_anneal=False)  # which would follow the budget
    made = runner.build(ENV, learner, TRAIN, 1, natural())

    def run(steps: int, name: str, **given: Any) -> bytes:
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch, open_log(out, {}, console="off") as log:
            patch.setattr(runner, "build", lambda *args: made)
            patch.setattr(runner, "FINAL_EPISODES", 4)
            budget = replace(TRAIN, steps=steps)
            assert runner.run(ENV, learner, budget, seeds=(0,), out=out, log=log, **given)["finished"]
        return (out / "policy" / "seed-0.safetensors").read_bytes()

    short = run(32, "cut")
    assert run(64, "cut", resume=True) == run(64, "whole") != short

    out = tmp_path / "whole"
    held, policy = load_bundle(out / "policy" / "seed-0.safetensors"), load_policy(out)
    assert isinstance(held.params, valued.ValueNet)
    avail = np.array([[True, False], [True, True]])
    agent = agent_of(held.params, ENV.spec)
    given = (jnp.zeros((2, 4)), jnp.ones((2, 3)), jnp.asarray(avail), jnp.full(2, -1))
    scores = agent.scores(held.params, *given)[1]
    assert agent.kind == "value"
    np.testing.assert_array_equal(policy.act(np.ones((2, 3)), avail), np.argmax(np.where(avail, scores, -9e9), 1))

    config = RunConfig(env="toy/two-step", learner=learner, train=TRAIN)
    (out / "config.toml").write_text(to_toml(config))
    start = learner_state(out, ENV, config)
    jax.tree.map(lambda kept, own: np.testing.assert_array_equal(kept[0], own), start.params.agent, held.params)


def test_memory_is_foretold_and_operations_are_counted_by_hand() -> None:
    made = runner.build(ENV, PQN, TRAIN, 1, natural())
    _, parts, _ = memory.forecast(made, ENV.spec, PQN, TRAIN, 1)
    assert "replay" not in parts
    assert parts["learner"] > 0
    # 3 + 2 + 2 inputs, two layers, 3 gates twice, 2 actions; forward, and backward for twice the price
    agent = (3 + 2 + 2) * 4 + 4 * 4 + 2 * 4 * 12 + 4 * 2
    assert bench.step_flops(ENV.spec, PQN) == 3 * 2 * 2 * agent


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_a_column_for_it(preset: str) -> None:
    made = apply_preset(preset, RunConfig(learner=named("pqn-qmix", PqnConfig())))
    assert made.learner == replace(PRESETS[preset].pqn, name="pqn-qmix")
    assert made.train == PRESETS[preset].pqn_train
