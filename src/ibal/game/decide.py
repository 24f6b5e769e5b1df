"""One decision of a team under an adversary. No environment, no key and no array library is known here: a compiled game
and one that is played in Python decide alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


class Turn(NamedTuple):
    """What was seen, meant and done."""

    seen: Float[Array, "n o"]
    intended: Int[Array, "n"]
    executed: Int[Array, "n"]


class Decision(NamedTuple):
    """A turn, and what the team (``carry``) and the adversary (``memory``) remember after it."""

    turn: Turn
    carry: Any
    memory: Any


def decide(
    look: Callable[[], tuple[Any, Any]],
    scores: Callable[[Any], tuple[Any, Any]],
    select: Callable[[Any], Any],
    act: Callable[[Any, Any, Any, Any], tuple[Any, Any]],
) -> Decision:
    """Let the adversary show, the team choose, the adversary replace.

    ``look() -> (seen[n, o], memory)`` is what the team is shown; ``scores(seen) -> (carry, scores[n, a])``;
    ``select(scores) -> intended[n]``; ``act(memory, seen, scores, intended) -> (executed[n], memory)``. Each draws from
    a key of its own (``game.keys``), which it has been given.
    """
    seen, memory = look()
    carry, values = scores(seen)
    intended = select(values)
    executed, memory = act(memory, seen, values, intended)
    return Decision(Turn(seen, intended, executed), carry, memory)
