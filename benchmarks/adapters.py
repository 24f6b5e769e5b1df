"""Hold other libraries' games to the contract, those that are installed: sizes, how long, which rule is broken.

python benchmarks/adapters.py                                  # ten of JaxMARL, five of Jumanji
python benchmarks/adapters.py jaxmarl:SMAX/8m --episodes 8
python benchmarks/adapters.py --truth 1000                     # and 1,000 games each beside the library's own, by hand

By hand: the library's game is stepped as its own documentation says, with the same keys and the same random legal
actions, and every moment is compared up to the end: what the agents see (the last observation included), what is legal,
the reward, when it ends, and whether it was decided or cut off. What decides a game is said here game by game
(``DECIDED``), not taken from the adapter.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import ibal
from ibal.types import Env

GAMES = (
    "jaxmarl:SMAX/3m", "jaxmarl:SMAX/2s3z", "jaxmarl:SMAX/smacv2_5_units", "jaxmarl:MPE_simple_spread_v3",
    "jaxmarl:MPE_simple_reference_v3", "jaxmarl:MPE_simple_speaker_listener_v4", "jaxmarl:switch_riddle",
    "jaxmarl:overcooked", "jaxmarl:overcooked_v2/cramped_room", "jaxmarl:hanabi", "jumanji:LevelBasedForaging-v0",
    "jumanji:RobotWarehouse-v0", "jumanji:Connector-v3", "jumanji:Cleaner-v0", "jumanji:MMST-v0",
)  # fmt: skip
CHUNK = 250  # games at once


class Moment(NamedTuple):
    """A moment of a library's own game: what each agent sees, and may do; its reward; whether and how it ended."""

    seen: list[Any]
    legal: list[Any]
    reward: Any
    over: Any
    cut: Any  # None: nobody can say
    state: Any


Reset = Callable[[Any], Moment]
Step = Callable[[Any, Any, Any, Any], Moment]


def sides(state: Any, allies: int) -> Any:
    """SMAX: one side has nobody left."""
    alive = state.state.unit_alive
    return ~alive[:allies].any() | ~alive[allies:].any()


# Whether the game is decided, of JaxMARL's state after a step; None: nobody can say (a riddle that is told at its last
# step). MPE and overcooked go on until their time is over; hanabi has no time.
DECIDED: dict[str, Callable[[Any, int], Any] | None] = {
    "SMAX": sides, "MPE": lambda state, n: False, "overcooked": lambda state, n: False,
    "hanabi": lambda state, n: True, "switch": None,
}  # fmt: skip


def by_hand(name: str) -> tuple[Reset, Step]:
    """Return the library's own game as ``reset(key)`` and ``step(key, state, actions [n], clock)``."""
    library, _, game = name.partition(":")
    return of_jaxmarl(game) if library == "jaxmarl" else of_jumanji(game)


def of_jaxmarl(name: str) -> tuple[Reset, Step]:
    """As JaxMARL's documentation says: dictionaries by agent, ``step_env``, masks by a function of the state."""
    import jaxmarl
    from jaxmarl.environments import overcooked_v2_layouts
    from jaxmarl.environments.smax import HeuristicEnemySMAX, map_name_to_scenario

    head, _, rest = name.partition("/")
    if head == "SMAX":
        game: Any = HeuristicEnemySMAX(scenario=map_name_to_scenario(rest))
    elif head == "overcooked_v2":
        game = jaxmarl.make(head, layout=overcooked_v2_layouts[rest])
    else:
        game = jaxmarl.make(head)
    agents, n = game.agents, game.num_agents
    masks = {"hanabi": "get_legal_moves"}.get(head, "get_avail_actions" if head == "SMAX" else "")
    decided = next(function for begin, function in DECIDED.items() if head.startswith(begin))

    def moment(seen: Any, state: Any, reward: Any, over: Any) -> Moment:
        legal = getattr(game, masks)(state) if masks else {a: jnp.ones(game.action_space(a).n) for a in agents}
        cut = None if decided is None else over & ~jnp.asarray(decided(state, n))
        return Moment([seen[a] for a in agents], [legal[a] for a in agents], reward, over, cut, state)

    def reset(key: Any) -> Moment:
        seen, state = game.reset(key)
        return moment(seen, state, jnp.float32(0), jnp.array(False))

    def step(key: Any, state: Any, actions: Any, clock: Any) -> Moment:
        chosen = {a: jnp.minimum(actions[i], game.action_space(a).n - 1) for i, a in enumerate(agents)}
        seen, state, rewards, dones, _ = game.step_env(key, state, chosen)
        paid = jnp.stack([jnp.asarray(rewards[a], jnp.float32).reshape(()) for a in agents]).mean()
        return moment(seen, state, paid, jnp.asarray(dones["__all__"]).reshape(()))

    return reset, step


def of_jumanji(name: str) -> tuple[Reset, Step]:
    """As Jumanji's documentation says: the mask is in the observation, ``last()`` with a discount is a time-out."""
    import jumanji

    game = jumanji.make(name)

    def moment(state: Any, shown: Any) -> Moment:
        fields = shown.observation._asdict()
        mask = jnp.asarray(fields.pop("action_mask"))
        seen = [[leaf[i] if own(name, leaf) else leaf for name, leaf in fields.items()] for i in range(len(mask))]
        over, goes_on = shown.last(), jnp.asarray(shown.discount).max() > 0
        legal = [row | ~row.any() for row in mask.astype(bool)]  # whom it leaves no action may do any
        paid = jnp.asarray(shown.reward, jnp.float32).sum()
        return Moment(seen, legal, paid, over, over & goes_on, state)

    def own(field: str, leaf: Any) -> bool:  # who has a row of it, read in the game's own types.py
        return field in ("agents_view", "agents_locations", "positions") or (field == "grid" and leaf.ndim == 3)

    return lambda key: moment(*game.reset(key)), lambda key, state, actions, clock: moment(*game.step(state, actions))


class Counts(NamedTuple):
    """Of one game: its moments, how many of them differ in what, how it ended, and its length."""

    moments: Any
    seen: Any
    legal: Any
    reward: Any
    ended: Any
    cut: Any
    ends_differ: Any
    at_limit: Any  # it was decided, but at the very limit of steps
    over: Any


def beside(env: Env, reset: Reset, step: Step) -> Callable[[Any], Counts]:
    """Return a function that plays the game of a key twice, by hand and adapted, and counts what differs."""
    spec = env.spec

    def differs(now: Any, hand: Moment) -> tuple[Any, Any]:
        rows = [jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(one)])
                for one in hand.seen]  # fmt: skip
        seen = jnp.stack([jnp.pad(row, (0, spec.obs_size - row.size)) for row in rows])
        legal = jnp.stack([jnp.pad(jnp.ravel(one) > 0, (0, spec.n_actions - one.size)) for one in hand.legal])
        near = jnp.isclose(seen, now.obs, rtol=1e-5, atol=1e-6)  # compiled twice, the last bit may differ
        return ~near.all(), (legal != now.avail).any()

    def advance(carry: Any, key: Any) -> Any:
        state, now, theirs, clock, count = carry
        draw = jax.random.uniform(jax.random.fold_in(key, 1), now.avail.shape)
        actions = jnp.argmax(jnp.where(now.avail, draw, -1.0), axis=1).astype(jnp.int32)
        clock = clock + 1
        state, now = env.step(key, state, actions, env.params)
        hand = step(key, theirs, actions, clock)
        seen, legal = differs(now, hand)
        over = now.terminated | now.truncated
        wrong = (over != hand.over) | (now.terminated & now.truncated)
        wrong |= (now.truncated != hand.cut) if hand.cut is not None else jnp.array(False)
        after = Counts(
            count.moments + 1, count.seen + seen, count.legal + legal, count.reward + (now.reward != hand.reward),
            over, now.truncated, count.ends_differ + wrong, now.terminated & (clock >= spec.horizon - 1), over,
        )  # fmt: skip
        count = jax.tree.map(lambda a, b: jnp.where(count.over, a, jnp.asarray(b, a.dtype)), count, after)
        return (state, now, hand.state, clock, count), None

    def play(key: Any) -> Counts:
        begin, *keys = jax.random.split(key, spec.horizon + 1)
        state, now = env.reset(begin, env.params)
        hand = reset(begin)
        seen, legal = differs(now, hand)
        zero, no = jnp.int32(0), jnp.array(False)
        count = Counts(zero + 1, zero + seen, zero + legal, zero, no, no, zero, no, no)
        return jax.lax.scan(advance, (state, now, hand.state, zero, count), jnp.stack(keys))[0][-1]

    return jax.jit(jax.vmap(play))


def truth(name: str, env: Env, episodes: int) -> tuple[str, bool]:
    """Play games by hand and adapted. Returns a line about them, and whether anything differs."""
    play = beside(env, *by_hand(name))
    keys = jax.random.split(jax.random.key(0), episodes)
    rows = [jax.tree.map(np.asarray, play(keys[at : at + CHUNK])) for at in range(0, episodes, CHUNK)]
    all_ = jax.tree.map(lambda *parts: np.concatenate(parts), *rows)
    wrong = {"seen": all_.seen.sum(), "legal": all_.legal.sum(), "reward": all_.reward.sum(),
             "end": all_.ends_differ.sum(), "no end": (~all_.over).sum()}  # fmt: skip
    told = ", ".join(f"{word} {int(count)}" for word, count in wrong.items())
    cut, decided = int(all_.cut.sum()), int((all_.ended & ~all_.cut).sum())
    late = int((all_.at_limit & ~all_.cut).sum())
    return (
        f"  {episodes:,} games, {int(all_.moments.sum()):,} moments: {cut} cut off, {decided} decided"
        f"{f' ({late} of them at the limit of steps)' if late else ''}; differences: {told}"
    ), any(wrong.values())


def main() -> int:
    """Check every game and return the number of those that broke a rule or could not be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("games", nargs="*", default=GAMES)
    parser.add_argument("--episodes", type=int, default=2, help="of the contract check")
    parser.add_argument("--truth", type=int, default=0, metavar="N", help="games beside the library's own, by hand")
    options = parser.parse_args()
    broken = 0
    for name in options.games:
        begin = time.monotonic()
        beside_it = ""
        try:
            env = ibal.make(name)
            ibal.check_env(env, episodes=options.episodes)
            spec = env.spec
            sizes = f"sees {spec.obs_size}, state {spec.state_size}"
            said = f"ok      {spec.n_agents} agents, {spec.n_actions} actions, {sizes}"
            if options.truth:
                beside_it, differs = truth(name, env, options.truth)
                broken += differs
        except (ibal.ConfigError, ibal.ContractError) as error:
            broken += 1
            said = f"BROKEN  {error}"
        print(f"{name:<40}{said} ({time.monotonic() - begin:.0f} s)", flush=True)
        if beside_it:
            print(beside_it, flush=True)
    return broken


if __name__ == "__main__":
    raise SystemExit(main())
