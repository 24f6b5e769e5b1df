"""Level-Based Foraging as an ``Env``: players on a grid collect food that is too heavy for some of them alone.

Source: Christianos, Schäfer and Albrecht 2020 ("Shared Experience Actor-Critic"), Papoudakis et al. 2021; the rules are
those of lb-foraging 2.0.0 and of MASIA's version, as ``Rules`` says. For one environment; batch with vmap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal import tree
from ibal.envs.lbf import moves, perturb, picture, spawn
from ibal.envs.lbf.layout import METRICS, env_spec
from ibal.envs.lbf.observe import views
from ibal.envs.lbf.rules import Rules, rules, with_options
from ibal.envs.lbf.state import NONE, Params, State
from ibal.types import Actions, Env, Frame, PRNGKey, TimeStep


def make(game: str | Rules, **options: Any) -> Env:
    """Make a game, by an id like ``Foraging-20x20-5p-6f-s3`` or as ``Rules`` of your own.

    ``options`` are fields of ``Rules`` by name: ``make("Foraging-20x20-5p-6f-s3", limit=25)``.

    An action that cannot be done does nothing. Metrics: ``win``, the share of the food's levels that was collected, is
    what is reported as success (it equals the return, where rewards are normalized); ``all``, whether everything was;
    ``foods_left``; ``timeout``. After the end, further steps change nothing, pay nothing and repeat the last flags and
    metrics.
    """
    chosen = with_options(rules(game) if isinstance(game, str) else game, options)
    name = f"lbf/{game}" if isinstance(game, str) else "lbf/own"
    played = _game(chosen)
    spec = replace(env_spec(name, chosen), scene=picture.scene(name, chosen))
    return Env(spec, perturb.default_params(chosen), played.reset, played.step, played.frame, perturb.perturbed)


@dataclass(frozen=True)
class _Game:
    """The functions of an ``Env`` under fixed options."""

    rules: Rules

    def reset(self, key: PRNGKey, params: Params) -> tuple[State, TimeStep]:
        state = spawn.spawn(key, self.rules, params)
        return state, self._show(state, jnp.float32(0.0), params)

    def step(self, key: PRNGKey, state: State, actions: Actions, params: Params) -> tuple[State, TimeStep]:
        can = jnp.take_along_axis(moves.possible(state, self.rules), actions[:, None], axis=1)[:, 0]
        action = jnp.where(can, actions.astype(jnp.int32), NONE)
        place = moves.moved(state, action)
        loads = moves.load(state, action, place, params)
        weight = jnp.where(loads.taken, state.food_level, 0).sum(dtype=jnp.int32)
        after = state._replace(
            place=place, left=state.left & ~loads.taken, collected=state.collected + weight, step=state.step + 1,
            action=action,
        )  # fmt: skip
        after = tree.where(state.done, state, after)
        earned = loads.reward.sum() if self.rules.reward == "sum" else loads.reward.mean()
        step = self._show(after, jnp.where(state.done, 0.0, earned), params)
        return after._replace(done=step.terminated | step.truncated), step

    def frame(self, state: State, params: Params) -> Frame:
        return picture.frame(state, self.rules)

    def _show(self, state: State, earned: Float[Array, ""], params: Params) -> TimeStep:
        obs, view = views(state, self.rules)
        everything = ~state.left.any()
        timeout = (state.step >= jnp.minimum(params.limit, self.rules.limit)) & ~everything
        share = state.collected.astype(jnp.float32) / jnp.maximum(state.total, 1).astype(jnp.float32)
        values = (share, everything, state.left.sum(), timeout)
        can = moves.possible(state, self.rules)
        return TimeStep(
            obs=obs,
            state=view,
            avail=can if self.rules.mask_invalid else moves.permitted(jnp.ones_like(can), state),
            alive=state.present,
            reward=earned,
            terminated=everything if self.rules.truncate else everything | timeout,
            truncated=timeout if self.rules.truncate else jnp.array(False),
            metrics={name: value.astype(jnp.float32) for name, value in zip(METRICS, values, strict=True)},
        )


_game = cache(_Game)  # one object per set of options: compiling its functions again finds them compiled
