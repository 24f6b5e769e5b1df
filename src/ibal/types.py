"""The records every part of the library shares, and the vocabulary of array axes.

Axes (the only letters used in annotations and docstrings): ``t`` time, ``b`` episodes in a batch, ``e`` parallel
environments, ``n`` agents, ``m`` enemies, ``u`` units (agents first, then enemies), ``o`` observation, ``s`` state,
``a`` actions, ``h`` hidden, ``k`` attacked agents.

Time convention: row ``t`` of an episode holds ``obs[t], state[t], avail[t], action[t], reward[t]`` (for
``action[t]``), ``terminated[t]`` (after ``action[t]``) and ``filled[t]``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import jax
    from jaxtyping import Array, Bool, Float, Int, Key

    PRNGKey = Key[Array, ""]
    Actions = Int[Array, "n"]


def __getattr__(name: str) -> Any:
    """Make the two array types when they are asked for: sizes and names of an environment need no jax."""
    if name not in ("PRNGKey", "Actions"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jaxtyping import Array, Int, Key

    return Key[Array, ""] if name == "PRNGKey" else Int[Array, "n"]


class TimeStep(NamedTuple):
    """What the world shows at one time.

    Shapes: obs [n, o] float32, state [s] float32, avail [n, a] bool, alive [n] bool, reward [] float32 (for the action
    that led here), terminated [] bool (the task ended), truncated [] bool (cut by a limit the task does not know),
    metrics: fixed keys listed in ``EnvSpec.metric_names``, each a scalar.
    """

    obs: Float[Array, "n o"]
    state: Float[Array, "s"]
    avail: Bool[Array, "n a"]
    alive: Bool[Array, "n"]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    metrics: dict[str, Array]


class Frame(NamedTuple):
    """Everything a picture of one moment needs, in world units; a pytree of arrays, agents first, then enemies.

    ``target[i]`` is the index of the unit that unit ``i`` attacks or heals at this moment, -1 if none.
    ``max_shield`` is 0 where a unit has none. ``kind`` indexes ``Scene.kinds``.
    """

    position: Float[Array, "u 2"]
    radius: Float[Array, "u"]
    kind: Int[Array, "u"]
    health: Float[Array, "u"]
    max_health: Float[Array, "u"]
    shield: Float[Array, "u"]
    max_shield: Float[Array, "u"]
    energy: Float[Array, "u"]
    alive: Bool[Array, "u"]
    target: Int[Array, "u"]


@dataclass(frozen=True)
class Scene:
    """The part of a picture that does not change: who is who, and where one can walk.

    ``teams[i]`` is 0 for agents and 1 for what ``others`` calls one and many of: enemies, or things that nobody fights,
    of which no health is shown. ``walkable`` is a row-major tuple of rows of 0/1, bottom row first,
    one cell per world unit; ``sight`` is in world units: the radius of a circle, or cells to each side where it is
    ``square``.
    """

    title: str
    width: float
    height: float
    kinds: tuple[str, ...]
    teams: tuple[int, ...]
    walkable: tuple[tuple[int, ...], ...]
    sight: float
    others: tuple[str, str] = ("enemy", "enemies")
    square: bool = False


@dataclass(frozen=True)
class Block:
    """Consecutive indices of a vector that describe one entity: ``start .. start + len(features)``.

    ``kind`` is ``"ally"``, ``"enemy"``, ``"own"``, ``"move"`` ...; ``slot`` counts the blocks of one kind from 0.
    """

    kind: str
    slot: int
    start: int
    features: tuple[str, ...]

    @property
    def stop(self) -> int:
        return self.start + len(self.features)

    @property
    def entity(self) -> str:
        return f"{self.kind}[{self.slot}]"


@dataclass(frozen=True)
class ObsLayout:
    """Says for every index of a vector which entity and which feature it is.

    ``allies`` tells what an ``ally`` slot means: ``"skip-self"`` = slot ``s`` of agent ``i`` is agent ``s`` if
    ``s < i`` else ``s + 1`` (SMAC); ``"all"`` = slot ``s`` is agent ``s`` (SMAC's state); ``"anonymous"`` = slots do
    not identify agents.
    """

    blocks: tuple[Block, ...]
    allies: str = "skip-self"

    @property
    def size(self) -> int:
        return self.blocks[-1].stop if self.blocks else 0

    @property
    def names(self) -> tuple[str, ...]:
        """``"ally[2].health"`` for every index."""
        return tuple(f"{b.entity}.{f}" for b in self.blocks for f in b.features)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(b.kind for b in self.blocks))

    def mask(self, *wanted: str) -> np.ndarray:
        """Return a bool[o] that is True where a kind ("ally"), an entity ("ally[2]"), a feature ("health") or a full
        name ("ally[2].health") in ``wanted`` matches. Raises ValueError for a word that matches nothing."""
        mask = np.zeros(self.size, bool)
        words: set[str] = set()
        for word in wanted:
            hit = np.zeros(self.size, bool)
            for block in self.blocks:
                for i, feature in enumerate(block.features):
                    names = (block.kind, block.entity, feature, f"{block.entity}.{feature}")
                    words.update(names)
                    hit[block.start + i] |= word in names
            if not hit.any():
                near = difflib.get_close_matches(word, sorted(words), 1)
                hint = f'; did you mean "{near[0]}"?' if near else ""
                raise ValueError(f'no feature is called "{word}"{hint} (kinds: {", ".join(self.kinds)})')
            mask |= hit
        return mask

    def agents(self, n_agents: int) -> np.ndarray:
        """Return int[n, o]: the agent that index ``d`` of agent ``i``'s vector describes, -1 where it is none."""
        owner = np.full((n_agents, self.size), -1)
        for block in self.blocks:
            for i in range(n_agents):
                agent = -1
                if block.kind == "own":
                    agent = i
                elif block.kind == "ally" and self.allies == "skip-self":
                    agent = block.slot + (block.slot >= i)
                elif block.kind == "ally" and self.allies == "all":
                    agent = block.slot
                owner[i, block.start : block.stop] = agent
        return owner


@dataclass(frozen=True)
class EnvSpec:
    """Sizes and names of an environment; static, hashable.

    ``noop_action`` is the action of an agent that is out of the game (None if there is none); ``idle_actions`` are the
    actions that do nothing, the only ones left to a disabled agent (empty: the environment has none). ``version`` names
    the rules of the world where they may change: figures of two versions do not compare ("": it has one set of rules).
    """

    name: str
    n_agents: int
    n_actions: int
    obs_size: int
    state_size: int
    horizon: int
    action_names: tuple[str, ...]
    metric_names: tuple[str, ...]
    obs_layout: ObsLayout
    state_layout: ObsLayout
    noop_action: int | None = None
    idle_actions: tuple[int, ...] = ()
    scene: Scene | None = None
    version: str = ""

    @property
    def has_win(self) -> bool:
        """Whether a game can be won: its metric ``win`` then says, at the end, whether it was (1 or 0), or which share
        of all there is. Where it cannot, there is no success to log, to draw or to wait for, only the return."""
        return "win" in self.metric_names


class Env(NamedTuple):
    """An environment: pure functions over explicit state, written for one environment; batch with ``jax.vmap``.

    ``reset(key, params) -> (state, TimeStep)``; ``step(key, state, actions[n], params) -> (state, TimeStep)``;
    ``frame(state, params) -> Frame`` for replays. ``params`` is a pytree of arrays, replaceable without recompiling.
    ``step`` never resets by itself.

    ``perturb(params, name) -> params`` makes the world harder by a name that tables give it, as "dis-2" (2 agents are
    idle) or "abs-1" (1 is missing); it raises ValueError for what this world cannot follow. None: its parameters know
    no perturbation.

    ``begin(key, params)`` is ``reset`` for a world in which more than the world draws, an attack say: it is given the
    key of the whole episode, not the world's part of it (``game.keys.opened``). None: only the world draws.

    ``host() -> World`` makes a world that is played in Python, step by step (``game.host``): it can be evaluated,
    attacked and watched, but not trained in; ``reset`` and ``step`` then refuse to be compiled. None: it is compiled.
    """

    spec: EnvSpec
    params: Any
    reset: Callable[[jax.Array, Any], tuple[Any, TimeStep]]
    step: Callable[[jax.Array, Any, jax.Array, Any], tuple[Any, TimeStep]]
    frame: Callable[[Any, Any], Frame] | None = None
    perturb: Callable[[Any, str], Any] | None = None
    begin: Callable[[jax.Array, Any], tuple[Any, TimeStep]] | None = None
    host: Callable[[], Any] | None = None


class Policy(NamedTuple):
    """A team of agents as seen from outside: the only thing an attacker may query. Written for one environment.

    ``start() -> carry``; ``scores(carry, obs[n, o], avail[n, a], last_action[n]) -> (carry, scores[n, a])`` (Q-values
    or logits; ``last_action`` is -1 before the first step); ``select(key, scores, avail) -> actions[n]``.

    ``kind`` says what the scores are: "value", what the actions are expected to bring; "logit", log-probabilities of
    the legal actions; "nothing", made up for a rule that chooses.

    ``reveals`` says what an attacker can do with it: "gradient", its scores rank the actions and have gradients;
    "scores", they rank the actions only; "nothing", they are made up. ``weights()`` and ``apply(weights, carry, obs,
    avail, last_action)``, the same as ``scores`` with the parameters as an argument, are for attackers that work on
    the parameters; None: they are not known.
    """

    start: Callable[[], Any]
    scores: Callable[[Any, jax.Array, jax.Array, jax.Array], tuple[Any, jax.Array]]
    select: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    reveals: str = "gradient"
    weights: Callable[[], Any] | None = None
    apply: Callable[[Any, Any, jax.Array, jax.Array, jax.Array], tuple[Any, jax.Array]] | None = None
    kind: str = "value"


class HostPolicy(NamedTuple):
    """A team in Python, NumPy in and out. ``start() -> carry``; ``scores(carry, obs[n, o], avail[n, a],
    last_action[n]) -> (carry, scores[n, a])``; ``select(generator, scores, avail) -> actions[n]``, whatever it draws
    from the generator given. ``kind`` and ``reveals`` ("nothing" or "scores") as of a ``Policy``."""

    start: Callable[[], Any]
    scores: Callable[[Any, np.ndarray, np.ndarray, np.ndarray], tuple[Any, Any]]
    select: Callable[[np.random.Generator, np.ndarray, np.ndarray], Any]
    reveals: str = "nothing"
    kind: str = "nothing"


class Episodes(NamedTuple):
    """Whole episodes, padded to one length: what a rollout records and a learner trains on.

    Row ``t`` holds what was seen before ``action[t]`` and what that action brought; ``obs``, ``state`` and ``avail``
    have one row more than ``t``, the one to bootstrap from. Rows beyond ``length`` are padding of no meaning.

    Shapes: obs [b, t+1, n, o] clean observations; seen: the attacked ones the team acted on, None where they can be
    rebuilt from ``obs`` and ``memory`` or equal ``obs``; state [b, t+1, s]; avail [b, t+1, n, a] bool; action [b, t, n]
    what the team intended (a^, the action that is trained on); executed [b, t, n] what was done (a~), None where
    nothing can replace an action; reward [b, t] and terminated [b, t] come from the executed action; length [b] steps;
    memory: what the adversary drew for the episode (groups, masks, probabilities), a pytree with leading axis b.
    """

    obs: Float[Array, "b t+1 n o"]
    seen: Float[Array, "b t+1 n o"] | None
    state: Float[Array, "b t+1 s"]
    avail: Bool[Array, "b t+1 n a"]
    action: Int[Array, "b t n"]
    executed: Int[Array, "b t n"] | None
    reward: Float[Array, "b t"]
    terminated: Bool[Array, "b t"]
    length: Int[Array, "b"]
    memory: Any = ()


KNOWLEDGE = ("scores", "values", "gradient", "weights", "state")


@dataclass(frozen=True)
class Threat:
    """What an adversary may see and change; reports print it and tests hold the adversary to it.

    ``knowledge``: any of "scores" (the victim's), "values" (that they are expected returns), "gradient" (of its
    scores), "weights" (the victim's own) and "state" (the true one). ``channels``: "obs", "act". ``agents``: how many
    agents it may touch at a step (None: all); ``eps``: largest change of one observation entry; ``dims``: largest
    number of changed entries per agent; ``p``: share of steps on which it acts. ``excess``: how many of ``dims`` are
    beyond the budget that the paper gives such an attack.
    """

    knowledge: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    agents: int | None = None
    eps: float | None = None
    dims: int | None = None
    p: float = 1.0
    excess: int = 0


class ObsView(NamedTuple):
    """What an adversary may look at before the team sees: the time-step, the team's hidden state and its policy."""

    step: TimeStep
    carry: Any
    last_action: Actions
    policy: Policy
    time: jax.Array


class ActView(NamedTuple):
    """The same after the team has chosen: the attacked observation, the scores and the intended actions a^."""

    step: TimeStep
    carry: Any
    last_action: Actions
    policy: Policy
    time: jax.Array
    obs: Float[Array, "n o"]
    scores: Float[Array, "n a"]
    actions: Actions


class Feedback(NamedTuple):
    """What an adversary learns about an iteration besides its episodes: how often and how highly the team won, and the
    environment steps played so far (scalars). ``iteration`` counts iterations from 0 and is the same for all seeds that
    train together, so that conditions on it skip work; None: nobody counts. ``part`` is the share of the whole training
    (or fitting) that is over, for schedules that shall be through at its end, whatever it lasts; None: nobody knows."""

    success: Float[Array, ""]
    returns: Float[Array, ""]
    env_steps: Float[Array, ""]
    iteration: jax.Array | None = None
    part: Float[Array, ""] | None = None

    @property
    def now(self) -> jax.Array:
        """The iteration; 0 where nobody counts."""
        import jax.numpy as jnp

        return jnp.int32(0) if self.iteration is None else self.iteration


class Tells(NamedTuple):
    """What may be told of an episode to a critic that exists in training only: ``of(memory) -> float[size]``."""

    size: int
    of: Callable[[Any], Float[Array, "p"]]


class Adversary(NamedTuple):
    """Seven functions and a declaration. ``state`` is learned and lasts; ``memory`` is drawn for one episode.

    ``init(key) -> state``; ``begin(key, state, step) -> memory`` once per episode, with its first time-step;
    ``observe(key, state, memory, ObsView) -> (obs~[n, o], memory)``; ``act(key, state, memory, ActView) -> (a~[n],
    memory)``; ``update(key, state, episodes, Feedback) -> (state, metrics)`` between rollouts, with a record that holds
    the episodes just played (``memory`` as it stood when they ended).
    ``reobserve(memory, obs[n, o]) -> obs~[n, o]`` rebuilds what the team saw from what is stored; None: cannot, so that
    the rollout stores attacked observations too.
    ``alone(iteration) -> bool[]``: whether this iteration of a training is played for the adversary alone: the team
    learns nothing in it and never sees its episodes again, and its steps do not count towards the budget. None: none
    is.
    ``world(state, env) -> params``: the parameters of the world in the episodes that are trained on next, where
    failures of the world itself are among what is trained against. None: those of ``env``.
    ``tells``: who is attacked in an episode and how, for a learner whose critic is told. None: it tells nothing.
    """

    threat: Threat
    init: Callable[[jax.Array], Any]
    begin: Callable[[jax.Array, Any, TimeStep], Any]
    observe: Callable[[jax.Array, Any, Any, ObsView], tuple[jax.Array, Any]]
    act: Callable[[jax.Array, Any, Any, ActView], tuple[jax.Array, Any]]
    update: Callable[[jax.Array, Any, Episodes, Feedback], tuple[Any, dict[str, jax.Array]]]
    reobserve: Callable[[Any, jax.Array], jax.Array] | None
    alone: Callable[[jax.Array], Bool[Array, ""]] | None = None
    world: Callable[[Any, Env], Any] | None = None
    tells: Tells | None = None
