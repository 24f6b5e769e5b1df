"""Which entries of its observation an agent loses for an episode.

Source: IBAL Definition 4.4.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ibal.adversaries import groups, masks
from ibal.adversaries.interaction.options import InteractionOptions
from ibal.types import EnvSpec, PRNGKey


def mask_rule(
    config: InteractionOptions, spec: EnvSpec, most: int
) -> Callable[[PRNGKey, Float[Array, "n n o"], Bool[Array, "n"]], Bool[Array, "n o"]]:
    """Return ``mask(key, scores, group) -> [n, o]``."""
    n, o = spec.n_agents, spec.obs_size
    both = config.sides == "both"
    if config.masks == "off" or most == 0:
        return lambda key, scores, group: jnp.zeros((n, o), bool)
    if config.masks in ("block", "truth"):
        members = masks.blocks(spec)
        widest = int(members.sum(1).max())
        if config.dims is not None and config.dims > widest:
            raise ValueError(
                f'dims is {config.dims}, but the blocks of other agents that masks="{config.masks}" hides have '
                f'{widest} entries on "{spec.name}"; use a smaller dims, or masks="dimension"'
            )
        dims = block_dims(config, spec)
        if config.masks == "block":
            return lambda key, scores, group: masks.by_block(scores, masks.others(group, both), members, dims)

        def exact(key: PRNGKey, scores: Array, group: Array) -> Array:
            apart = masks.others(group, both)
            mask = masks.truth(spec.obs_layout, apart)
            return mask if dims is None else mask & masks.highest(mask.astype(jnp.float32), members, dims)

        return exact

    dims = groups.sizes(spec).dims if config.dims is None else config.dims
    if config.dims is None and dims == 0:
        raise ValueError(
            f'"{spec.name}" names no block of another agent, so dims has no default for masks="{config.masks}"; give '
            "dims, the number of entries an agent loses per agent of the other group"
        )

    def ranked(key: PRNGKey, scores: Array, group: Array) -> Array:
        apart = masks.others(group, both)
        score = jax.random.uniform(key, (n, o)) if config.masks == "random" else masks.summed(scores, apart)
        return masks.by_dimension(score, apart, dims)

    return ranked


def block_dims(config: InteractionOptions, spec: EnvSpec) -> int | None:
    """Return how many entries of a block "block" and "truth" may hide; None: all of them."""
    if config.dims is not None or not config.cut:
        return config.dims
    return min(groups.sizes(spec).dims, int(masks.blocks(spec).sum(1).max()))
