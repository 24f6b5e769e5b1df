"""``ibal.black_box``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ibal.game import boxes
from ibal.options import ConfigError
from ibal.types import EnvSpec, HostPolicy


def black_box(
    team: Any, *, memory: bool = False, start: Callable[[], Any] | None = None, kind: str = "logit",
    seconds: float = 10.0, name: str = "",
) -> Callable[[EnvSpec], HostPolicy]:  # fmt: skip
    """Make a team for ``ibal.evaluate``, ``ibal.fit`` and ``ibal.watch`` of whatever acts.

    Args:
        team: a function ``(obs [n, o], mask [n, a]) -> actions [n]`` in NumPy; a torch module ``obs -> scores [n, a]``;
            or the command of a program (a list of words) that answers lines of JSON (``game.boxes.program``).
        memory: the function is ``(obs, mask, memory) -> (actions, memory)``, ``memory`` None at the start.
        start: of a torch module with a hidden state, ``(obs, hidden) -> (scores, hidden)``: makes the first one.
        kind: what a torch module's scores are: "logit", or "value" (expected returns).
        seconds: how long a program may take for one answer.
        name: what tables call it.

    Returns:
        A function of an ``EnvSpec`` that makes the team. Attacks that must know more of it than it shows are refused.

    Raises:
        ConfigError: what cannot act.

    Example:
        >>> team = ibal.black_box(lambda obs, mask: mask.argmax(axis=1))
        >>> ibal.evaluate(team, ["natural", "random"], env="smac/3m")
    """
    if kind not in ("logit", "value"):
        raise ConfigError(f'kind is "{kind}"; scores are of kind "logit" or "value"')
    if isinstance(team, Sequence) and not isinstance(team, str):
        command = [str(word) for word in team]
        made = lambda spec: boxes.program(command, spec, seconds)  # noqa: E731
    elif hasattr(team, "state_dict") and callable(team):
        made = lambda spec: boxes.torch_team(team, spec, start, kind)  # noqa: E731
    elif callable(team):
        act: Any = boxes.with_memory if memory else boxes.black_box
        made = lambda spec: act(team, spec)  # noqa: E731
    else:
        raise ConfigError(f"a {type(team).__name__} does not act; give a function, a torch module or a command's words")
    return _Maker(made, name or getattr(team, "__name__", type(team).__name__).replace("<lambda>", "a_function"))


class _Maker:
    """A function of an ``EnvSpec`` with a name for tables."""

    def __init__(self, made: Callable[[EnvSpec], HostPolicy], label: str) -> None:
        self._made, self.label = made, label

    def __call__(self, spec: EnvSpec) -> HostPolicy:
        return self._made(spec)
