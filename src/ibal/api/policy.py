"""``ibal.load_policy``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, overload

from ibal.nets import bundle
from ibal.options import ConfigError
from ibal.zoo import is_name

if TYPE_CHECKING:
    from ibal.api.given import GivenEnv
    from ibal.game.acting import Player


@overload
def load_policy(path: str | Path) -> bundle.TeamPolicy: ...
@overload
def load_policy(path: str | Path, env: GivenEnv | None) -> bundle.TeamPolicy | Player: ...
def load_policy(path: str | Path, env: GivenEnv | None = None) -> bundle.TeamPolicy | Player:
    """Load a team that is ready to act; neither the environment nor the training is needed for one of this library.

    Args:
        path: a run folder (its lowest seed), a bundle (``.safetensors`` with its ``.json`` beside it, named by either
            or by what they have in common), a file or folder of PyMARL's (``agent.th``; reading it needs torch),
            ``zoo:NAME``; or a team by a name that says how it is asked: ``"torch:team.pt"``, ``"sb3:model.zip"``,
            ``"jaxmarl:actor.safetensors"``, ``"process:./my_team"``, ``"my_pkg.mod:make"``, "random".
        env: where it plays, as in ``ibal.evaluate``. A team by such a name needs it; of a file the sizes are compared.

    Returns:
        ``TeamPolicy``: ``.reset()`` begins an episode, ``.act(obs, avail) -> actions`` chooses greedily, once per step,
        with ``obs`` [n, o] float32 and ``avail`` [n, a] bool (or 0 and 1) in, ``actions`` [n] int32 out; hidden states
        and last actions stay inside. ``.params`` are the weights, ``.meta`` what its JSON says: "env", "n_agents",
        "n_actions", "obs_size", "method", "seed", "env_steps" (environment steps), "config". ``.checked`` is False
        where no JSON says whether the weights are as they were written. Of a team by a name ``Player``, with the same
        ``.reset`` and ``.act``: it draws as in the episodes of ``ibal.evaluate(seed=0)``, if it draws.

    Raises:
        FileNotFoundError: there is no policy; it says what was looked for. ValueError: a damaged file, weights that
        are not those that the JSON describes, or of another environment. ConfigError (a ValueError): a team by a name
        that cannot be made, or no ``env`` for it. ModuleNotFoundError: a file that needs torch.

    Example:
        >>> team = ibal.load_policy("runs/qmix-8m")
        >>> team.reset()
        >>> actions = team.act(obs, avail)

    Source: networks and names of PyMARL (Samvelyan et al. 2019), of MAPPO (Yu et al. 2022)
    for actors and for the agents of PQN.
    """
    if _is_asked(path):
        return _player(str(path), env)
    loaded = bundle.load_policy(path)
    if env is not None:
        from ibal.api.given import world
        from ibal.nets.pymarl import check_fits

        check_fits(Path(path), loaded.params, world(env).env.spec)
    return loaded


def _is_asked(path: str | Path) -> bool:
    """Say whether this names no file, but a team by how it is asked."""
    if not isinstance(path, str) or Path(path).exists() or is_name(path):
        return False
    if ":" in path:
        return True
    if not path.isidentifier():
        return False  # a path: no table is imported for it
    from ibal.evaluation.teams import SCRIPTED

    return path in SCRIPTED


def _player(name: str, env: GivenEnv | None) -> Player:
    from ibal.evaluation.teams import SCRIPTED, scripted
    from ibal.registry import Own

    SCRIPTED.load(Own(name))  # who has misspelled it needs no advice about environments
    if env is None:
        raise ConfigError(
            f'"{name}" does not say what it plays in, and its sizes are needed: load_policy("{name}", env="smac/3m")'
        )
    from ibal.api.given import world
    from ibal.game.acting import Player

    spec = world(env).env.spec
    return Player(scripted(Own(name), spec), spec)
