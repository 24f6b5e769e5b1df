"""What holds in every game on every kind of ground, whoever plays: random legal play and random nonsense."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ibal.envs.smac.terrain import terrain
from unit.envs.smac.arena import ADVANCE, FIGHT, GAMES, WANDER, Arena, Film, Style, arena

# Every terrain, every race, medivacs, banelings, colossi
MAPS = (
    "3m",
    "MMM",
    "2s3z",
    "3s_vs_3z",
    "2m_vs_1z",
    "corridor",
    "2s_vs_1sc",
    "6h_vs_8z",
    "so_many_baneling",
    "2c_vs_64zg",
)
# Of these no two are alike in terrain, races and what units can do; the others as well with --all.
DIFFERENT = ("3m", "MMM", "2s3z", "corridor", "2s_vs_1sc")
RUN = Style(stop=-1e2, move=0.0, target=-1e2)  # into walls and corners, never fighting
STYLES = (WANDER, ADVANCE, FIGHT, RUN)
STEPS = 40

few = settings(max_examples=4, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])


def play(name: str, seed: int, style: Style, script: np.ndarray | None = None) -> tuple[Arena, Film]:
    games = arena(name)
    return games, games.play(games.reset(seed=seed)[0], STEPS, style, script, seed=seed)[1]


@pytest.mark.parametrize(
    "name", [name if name in DIFFERENT else pytest.param(name, marks=pytest.mark.thorough) for name in MAPS]
)
@given(seed=st.integers(0, 10_000), style=st.sampled_from(STYLES))
@few
def test_legal_games(name: str, seed: int, style: Style):
    games, film = play(name, seed, style)
    assert (film.show.metrics["illegal_actions"] == 0).all()
    check_life(games, film)
    check_places(games, film)
    check_masks(games, film)
    check_vectors(games, film)
    check_ends(games, film)


@pytest.mark.parametrize("name", ["3m", "MMM"])
@given(seed=st.integers(0, 10_000), low=st.sampled_from([0, -3]))
@few
def test_nonsense_is_survived(name: str, seed: int, low: int):
    rng = np.random.default_rng(seed)
    actions = rng.integers(low, arena(name).game.n_actions + 3, (GAMES, STEPS, arena(name).n))
    actions = np.where(actions == -1, -2, actions)  # -1 would mean: by chance
    games, film = play(name, seed, WANDER, actions)
    check_life(games, film)
    check_places(games, film)
    check_masks(games, film)
    check_ends(games, film)
    assert (film.show.metrics["illegal_actions"] <= games.n).all()
    assert (film.show.metrics["illegal_actions"] > 0).any()


def before(values: np.ndarray) -> np.ndarray:
    return values[:, :-1]


def after(values: np.ndarray) -> np.ndarray:
    return values[:, 1:]


def check_life(games: Arena, film: Film) -> None:
    """Life, shields and energy stay within their bounds, nobody comes back, Terran and Protoss life never grows."""
    types, units = (*games.game.ally_types, *games.game.enemy_types), film.units
    for name, most in (("health", "health"), ("shield", "shield"), ("energy", "max_energy")):
        value = getattr(units, name)
        assert np.isfinite(value).all()
        assert (value >= -1e-4).all()
        assert (value <= np.array([getattr(t, most) for t in types]) + 1e-3).all()
    alive = units.health > 0
    assert not (~before(alive) & after(alive)).any()
    assert (film.show.alive == alive[:, :, : games.n]).all()
    if not games.game.heals:
        grows = np.array([t.health_regeneration > 0 for t in types])
        assert (after(units.health) - before(units.health))[..., ~grows].max(initial=0) <= 0
    # The dead stay where they fell, and the score counts them.
    for value in (units.x, units.y):
        assert (after(value) == before(value))[~before(alive)].all()
    assert (film.show.metrics["dead_allies"] == (~alive[:, :, : games.n]).sum(2)).all()
    assert (film.show.metrics["dead_enemies"] == (~alive[:, :, games.n :]).sum(2)).all()


def check_places(games: Arena, film: Film) -> None:
    """Nobody leaves the ground, nobody moves faster than it can, few squeeze into each other and for a moment."""
    types, units = (*games.game.ally_types, *games.game.enemy_types), film.units
    x, y, land = units.x, units.y, terrain(games.game.terrain)
    flies, towers = np.array([t.flies for t in types]), np.array([t.towers for t in types])
    assert np.isfinite(x + y).all()
    assert min(x.min(), y.min()) >= 2
    assert max(x.max(), y.max()) <= 30
    cell_x, cell_y = np.minimum(x.astype(int), 29), np.minimum(y.astype(int), 29)
    assert land.ground[cell_y, cell_x][..., ~flies & ~towers].all()
    assert land.above_cliffs[cell_y, cell_x][..., ~flies].all()
    moved = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1))
    assert (moved <= np.array([t.speed / 2 for t in types]) + 8 * 0.2).all()  # crowding pushes as well
    assert (moved[..., np.array([t.structure for t in types])] == 0).all()

    disc = np.array([t.radius for t in types]) * 235 / 256
    gap = np.hypot(x[..., :, None] - x[..., None, :], y[..., :, None] - y[..., None, :]) / (disc[:, None] + disc)
    there = (units.health > 0) & ~flies
    pairs = np.triu(np.ones(gap.shape[-2:], bool), 1) & (towers[:, None] == towers)
    both = there[..., :, None] & there[..., None, :] & pairs
    ours = np.arange(len(types)) < games.n
    same_team = ours[:, None] == ours
    inside = np.maximum(disc[:, None], disc) / (disc[:, None] + disc)
    assert (gap > inside)[both].all()  # no centre inside another body
    assert (gap[both & same_team] < 0.8).sum() <= 0.06 * (both & same_team).sum()
    assert (gap[both & ~same_team] < 0.85).sum() <= 0.04 * (both & ~same_team).sum()


def check_masks(games: Arena, film: Film) -> None:
    """The mask is exactly what section 1.3 of the reference says about the positions."""
    n, units, avail = games.n, film.units, film.show.avail
    walkable = terrain(games.game.terrain).walkable
    alive, x, y = units.health > 0, units.x, units.y
    ours = alive[:, :, :n]
    assert (avail[..., 0] == ~ours).all()
    assert (avail[..., 1] == ours).all()
    assert (avail.sum(-1) >= 1).all()
    for action, (east, north) in enumerate([(0, 1), (0, -1), (1, 0), (-1, 0)], 2):
        free = walkable[(y[:, :, :n] + np.float32(north)).astype(int), (x[:, :, :n] + np.float32(east)).astype(int)]
        assert (avail[..., action] == (free & ours)).all()
    order = film.enemy_order[:, 0]
    assert (film.enemy_order == order[:, None]).all()
    heals = np.array([games.game.heals and t.name == "medivac" for t in games.game.ally_types])
    for slot in range(games.game.n_enemies):
        foe = n + order[:, slot]
        pick = np.arange(GAMES)
        square = (x[pick, :, foe][:, :, None] - x[:, :, :n]) ** 2 + (y[pick, :, foe][:, :, None] - y[:, :, :n]) ** 2
        legal = ours & alive[pick, :, foe][:, :, None] & (square <= 36)
        clear = np.abs(square - 36) > 1e-3  # the last bit of a float decides nothing here
        assert (avail[..., 6 + slot] == legal)[clear & ~heals].all()
        if heals.any() and slot < n:
            square = (x[:, :, slot : slot + 1] - x[:, :, :n]) ** 2 + (y[:, :, slot : slot + 1] - y[:, :, :n]) ** 2
            legal = ours & alive[:, :, slot : slot + 1] & (square <= 36) & (not heals[slot])
            assert (avail[..., 6 + slot] == legal)[(np.abs(square - 36) > 1e-3) & heals].all()


def check_vectors(games: Arena, film: Film) -> None:
    """Finite numbers; the dead see nothing and are not seen; rewards are never negative."""
    show = film.show
    for value in (show.obs, show.state, show.reward):
        assert np.isfinite(value).all()
    assert (show.obs[~show.alive] == 0).all()
    assert (show.obs[show.alive][:, :4] == show.avail[show.alive][:, 2:6]).all()
    assert (np.abs(show.obs) <= 1 + 1e-6).all()
    assert (show.reward >= 0).all()
    for block in games.env.spec.state_layout.blocks:
        if block.kind == "ally":
            dead = ~show.alive[:, :, block.slot]
            assert (show.state[dead][:, block.start : block.start + len(block.features)] == 0).all()
    # No game pays more than a victory, but for what regenerates in between.
    regenerates = any(t.shield or t.health_regeneration for t in games.game.enemy_types) or games.game.heals
    if not regenerates:
        assert (show.reward.sum(1) <= 20 + 1e-3).all()


def check_ends(games: Arena, film: Film) -> None:
    """A game that has ended stands still and pays nothing."""
    show = film.show
    over = show.terminated | show.truncated
    assert not (show.terminated & show.truncated).any()
    assert not (before(over) & ~after(over)).any()
    frozen = before(over)
    assert (after(show.reward)[frozen] == 0).all()
    assert (after(show.metrics["illegal_actions"])[frozen] == 0).all()
    for value in (show.obs, show.state, show.avail, film.units.x, film.units.health, film.units.cooldown):
        assert (after(value)[frozen] == before(value)[frozen]).all()
    won = show.metrics["win"] == 1
    assert over[won].all()
    if not games.game.heals:
        assert not show.alive[over & ~won & (show.metrics["timeout"] == 0)].any()
        assert (film.units.health[won][:, games.n :] == 0).all()
