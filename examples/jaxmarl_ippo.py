"""IPPO in JaxMARL's interface, on its own SMAX, on our SMAC, under our attacks; the team is then audited.

    python examples/jaxmarl_ippo.py SMAX/3m --out smax.safetensors           # needs: pip install "ibal[jaxmarl]"
    python examples/jaxmarl_ippo.py smac/3m --out smac.safetensors           # 1M steps: some minutes on two cores
    python examples/jaxmarl_ippo.py smac/3m --attack "random[p=0.3]"
    ibal audit jaxmarl:smax.safetensors --env jaxmarl:SMAX/3m

Any learner of JaxMARL's that takes a ``MultiAgentEnv`` trains like this. One network for all agents, a GRU between two
layers; its parameters are saved as JaxMARL saves them, which ``jaxmarl:FILE`` reads. Numbers that are not said here are
those of JaxMARL's ``ippo_rnn_smax`` (Rutherford et al. 2024), but for a smaller network and batch.
"""

import argparse
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.linen.initializers import orthogonal
from jaxmarl.environments.smax import HeuristicEnemySMAX, map_name_to_scenario
from jaxmarl.wrappers.baselines import save_params

from ibal.compat.jaxmarl import JaxMARLGame

GAMES, LENGTH, HIDDEN = 64, 64, 64
RATE, EPOCHS, PARTS, CLIP, ENTROPY, NORM = 2e-3, 4, 4, 0.2, 0.01, 0.5
GAMMA, TRACE = 0.99, 0.95


class Memory(nn.Module):
    """A GRU over time that forgets where a game begins."""

    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(self, hidden: Any, x: Any) -> Any:
        values, begins = x
        return nn.GRUCell(HIDDEN)(jnp.where(begins[:, None], 0.0, hidden), values)


class Network(nn.Module):
    """Logits and values of [time, actor]: observations, whether a game begins there, what is legal."""

    n_actions: int

    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(self, hidden: Any, obs: Any, begins: Any, legal: Any) -> Any:
        def dense(size: int, scale: float) -> nn.Dense:
            return nn.Dense(size, kernel_init=orthogonal(scale))

        over_time = nn.scan(Memory, variable_broadcast="params", split_rngs={"params": False})
        x = nn.relu(dense(HIDDEN, 2**0.5)(obs))
        hidden, x = over_time()(hidden, (x, begins))
        act = nn.relu(dense(HIDDEN, 2.0)(x))  # flax numbers layers in the order in which they are made
        logits = dense(self.n_actions, 0.01)(act)
        judge = nn.relu(dense(HIDDEN, 2.0)(x))
        value = dense(1, 1.0)(judge)
        return hidden, jnp.where(legal, logits, -1e9), value[..., 0]


class Moment(NamedTuple):
    """What is kept of a step, of every actor: [actor], in time [t, actor]."""

    obs: Any
    begins: Any
    legal: Any
    action: Any
    chance: Any
    value: Any
    reward: Any
    over: Any


def chances(logits: Any, action: Any) -> Any:
    """Return the logarithm of the chance of an action."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def game_of(name: str, attack: str) -> Any:
    """Make JaxMARL's own game (``SMAX/3m``), or one of this library in its interface."""
    if name.startswith("SMAX/"):
        return HeuristicEnemySMAX(scenario=map_name_to_scenario(name.removeprefix("SMAX/")))
    return JaxMARLGame(name, attack)


def learner(game: Any, updates: int) -> tuple[Any, Any]:
    """Return ``begin(key) -> state`` and ``iterate(state) -> (state, games won, games over)``."""
    agents, n = game.agents, game.num_agents
    actors, a = n * GAMES, game.action_space(game.agents[0]).n
    network = Network(a)
    rate = optax.linear_schedule(RATE, 0.0, updates * EPOCHS * PARTS)
    optimiser = optax.chain(optax.clip_by_global_norm(NORM), optax.adam(rate, eps=1e-5))

    def rows(by_agent: Any) -> Any:
        """Every agent's [game, ...] as one [actor, ...], agents one after the other."""
        return jnp.concatenate([by_agent[agent] for agent in agents])

    def begin(key: Any) -> Any:
        seen, worlds = jax.vmap(game.reset)(jax.random.split(key, GAMES))
        obs, hidden = rows(seen), jnp.zeros((actors, HIDDEN))
        params = network.init(key, hidden, obs[None], jnp.ones((1, actors), bool), jnp.ones((1, actors, a), bool))
        return params, optimiser.init(params), worlds, obs, jnp.ones(actors, bool), hidden, key

    def play(state: Any, _: Any) -> Any:
        params, learning, worlds, obs, begins, hidden, key = state
        key, draw, chance = jax.random.split(key, 3)
        legal = rows(jax.vmap(game.get_avail_actions)(worlds)) > 0
        hidden, logits, value = network.apply(params, hidden, obs[None], begins[None], legal[None])
        action = jax.random.categorical(draw, logits[0])
        chosen = dict(zip(agents, action.reshape(n, GAMES), strict=True))
        keys = jax.random.split(chance, GAMES)
        seen, worlds, rewards, dones, infos = jax.vmap(game.step)(keys, worlds, chosen)
        over = jnp.tile(dones["__all__"], n)
        held = Moment(obs, begins, legal, action, chances(logits[0], action), value[0], rows(rewards), over)
        won = infos["win"][:, 0] if "win" in infos else rewards[agents[0]] >= 1  # SMAX pays 1 for a win
        told = (won > 0) & dones["__all__"], dones["__all__"]
        return (params, learning, worlds, rows(seen), over, hidden, key), (held, told)

    def advantages(held: Moment, last: Any) -> Any:
        def back(carry: Any, now: Moment) -> Any:
            later, value = carry
            goes_on = 1.0 - now.over
            later = now.reward + GAMMA * value * goes_on - now.value + GAMMA * TRACE * goes_on * later
            return (later, now.value), later

        return jax.lax.scan(back, (jnp.zeros_like(last), last), held, reverse=True)[1]

    def loss(params: Any, hidden: Any, held: Moment, gain: Any) -> Any:
        _, logits, value = network.apply(params, hidden, held.obs, held.begins, held.legal)
        ratio = jnp.exp(chances(logits, held.action) - held.chance)
        target = gain + held.value
        gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        acting = -jnp.minimum(ratio * gain, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * gain).mean()
        shares = jax.nn.softmax(logits)
        entropy = -(shares * jnp.where(shares > 0, jax.nn.log_softmax(logits), 0.0)).sum(-1).mean()
        return acting + 0.25 * jnp.square(value - target).mean() - ENTROPY * entropy

    @jax.jit
    def iterate(state: Any) -> Any:
        first = state[5]  # the memory with which these steps begin
        state, (held, (won, ends)) = jax.lax.scan(play, state, None, LENGTH)
        params, learning, worlds, obs, begins, hidden, key = state
        legal = jnp.ones((1, actors, a), bool)
        last = network.apply(params, hidden, obs[None], begins[None], legal)[2][0]
        gain = advantages(held, last)

        def part(carry: Any, who: Any) -> Any:
            params, learning = carry
            mine = jax.tree.map(lambda x: x[:, who], (held, gain))
            slope = jax.grad(loss)(params, first[who], *mine)
            change, learning = optimiser.update(slope, learning, params)
            return (optax.apply_updates(params, change), learning), None

        key, *draws = jax.random.split(key, EPOCHS + 1)
        orders = jnp.concatenate([jax.random.permutation(draw, actors).reshape(PARTS, -1) for draw in draws])
        (params, learning), _ = jax.lax.scan(part, (params, learning), orders)
        return (params, learning, worlds, obs, begins, hidden, key), won.sum(), ends.sum()

    return jax.jit(begin), iterate


def main(
    name: str = "smac/3m", attack: str = "natural", steps: int = 1_000_000, seed: int = 0, out: str = "",
) -> tuple[Any, list[float]]:  # fmt: skip
    """Train, and return the parameters and the share of games won in every iteration."""
    updates = max(steps // (GAMES * LENGTH), 1)
    begin, iterate = learner(game_of(name, attack), updates)
    state, won = begin(jax.random.PRNGKey(seed)), []
    for i in range(updates):
        state, wins, ends = iterate(state)
        won.append(float(wins) / max(int(ends), 1))
        if (i + 1) % 20 == 0 or i + 1 == updates:
            print(f"{(i + 1) * GAMES * LENGTH:>9,} steps: {np.mean(won[-20:]):.2f} of the games won", flush=True)
    if out:
        save_params(state[0], out)
    return state[0], won


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="smac/3m")
    parser.add_argument("--attack", default="natural")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="")
    main(**vars(parser.parse_args()))
