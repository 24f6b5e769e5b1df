"""How good the estimators of IBAL are in training, against how often they learn; and what the learning costs.

python benchmarks/estimators.py team.safetensors --map 8m --every 1,4,16
python benchmarks/estimators.py team.safetensors --map 3m --every 1 --learn-from all,natural

A team plays on as it is, as in iterations of training under the attack; between two rollouts the attacker learns every
``every``-th time. After ``--iterations`` the action model's loss is measured on fresh natural episodes (beside the loss
of the frequencies of actions alone), the precision of the blocks it would hide, and the time its updates took beside
that of the rollouts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import log, table, versions

from ibal import make, rng
from ibal.adversaries.base import Feedback
from ibal.adversaries.config import InteractionConfig
from ibal.adversaries.groups import largest
from ibal.adversaries.interaction import interaction
from ibal.analysis.information import found, groups_of
from ibal.experiments.fitting import exploring, natural_episodes
from ibal.mi import action, samples
from ibal.nets.pymarl import load_policy
from ibal.training.rollout import collect
from ibal.types import Env, Episodes, Policy

EPSILON = 0.05  # as a team explores when it trains on
ENVS = 32  # episodes per iteration, as in training
TESTED = 4096  # transitions of the loss


def measure(env: Env, team: Policy, config: InteractionConfig, iterations: int, test: Episodes) -> dict[str, Any]:
    """Let the attacker learn beside ``iterations`` rollouts; return losses, precision and seconds."""
    attack, most = interaction(config, env.spec), largest(config, env.spec)

    @jax.jit
    def played(key: jax.Array, state: Any) -> Any:
        return collect(env, team, attack, state, rng.episodes(key, ENVS))

    @jax.jit
    def learned(key: jax.Array, state: Any, rollout: Any, steps: jax.Array, index: jax.Array) -> Any:
        win = rollout.metrics["win"].mean(dtype=jnp.float32)
        return attack.update(key, state, rollout.episodes, Feedback(win, rollout.returns.mean(), steps, index))[0]

    state, steps = attack.init(rng.root(7)), jnp.float32(0)
    spent = np.zeros((iterations, 2))
    for i in range(iterations):
        key, started = rng.at(rng.root(8), i), time.perf_counter()
        rollout = jax.block_until_ready(played(rng.stream(key, "play"), state))
        steps, between = steps + rollout.episodes.length.sum(dtype=jnp.float32), time.perf_counter()
        state = jax.block_until_ready(learned(rng.stream(key, "learn"), state, rollout, steps, jnp.int32(i)))
        spent[i] = between - started, time.perf_counter() - between
    assert state.phi is not None
    batch = samples.joint_actions(rng.root(9), config.action, env.spec, test, most, count=TESTED)
    hits = found(np.asarray(state.scores), env.spec, groups_of(env.spec.n_agents, most))["all"]
    later = spent[config.warmup + 2 :]  # the first iterations compile and warm up
    return {
        "learn_from": config.learn_from, "every": config.every,
        "refresh": config.refresh, "iterations": iterations, "env_steps": int(steps),
        "phi_loss": float(action.loss(state.phi.params, batch)), "precision": hits["precision"],
        "chance": hits["chance"], "update_ms": 1e3 * float(later[:, 1].mean()),
        "rollout_ms": 1e3 * float(later[:, 0].mean()),
    }  # fmt: skip


def frequencies_alone(env: Env, config: InteractionConfig, test: Episodes) -> float:
    """Return the loss of a model that knows nothing but how often an agent does what, among its legal actions."""
    batch = samples.joint_actions(rng.root(9), config.action, env.spec, test, largest(config, env.spec), count=TESTED)
    counted = jax.nn.one_hot(batch.target, env.spec.n_actions).sum(0) + 1e-3  # [n, a]
    logits = jnp.where(batch.legal, jnp.log(counted)[None], -jnp.inf)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), batch.target[..., None], axis=-1)[..., 0]
    return float(-jnp.where(batch.counts, log_p, 0.0).sum() / batch.counts.sum())


def main(argv: list[str] | None = None) -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", help="a PyMARL file or bundle of the team")
    parser.add_argument("--map", default="8m")
    parser.add_argument("--every", default="1,4,16", help="iterations from one lesson to the next, several")
    parser.add_argument("--learn-from", default=InteractionConfig().learn_from, help="all, natural, or both")
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    args = parser.parse_args(argv)
    env = make(f"smac/{args.map}")
    team = exploring(load_policy(args.policy, env.spec), EPSILON)
    test = natural_episodes(rng.root(10), env, team, 256, 0.0)
    rows = []
    for source in args.learn_from.split(","):
        for every in map(int, args.every.split(",")):
            config = InteractionConfig(every=every, learn_from=source)
            rows.append(measure(env, team, config, args.iterations, test))
            log(rows[-1])
    alone = frequencies_alone(env, InteractionConfig(), test)
    head = ("learn_from", "every", "env_steps", "phi_loss", "precision", "chance", "update_ms", "rollout_ms")
    table(head, [[row[name] for name in head] for row in rows])
    log(f"loss of the frequencies alone: {alone:.3f}")
    if args.json:
        print(json.dumps({"map": args.map, "policy": args.policy, "rows": rows, "alone": alone, **versions()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
