"""Whole games on the real maps: how they end, what they pay, and that they can be repeated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.perturb import disable, remove, weaken
from ibal.envs.smac.state import EnvState
from unit.envs.smac.arena import ADVANCE, FIGHT, GAMES, Arena, Film, arena, step_keys

STOP, NORTH, SOUTH, EAST, FIRST_TARGET = 1, 2, 3, 4, 6
# The other maps of the paper as well with --all. When MMM is lost is below, unit by unit.
OTHERS = ("8m", "1c3s5z", "MMM")
PAPER_STRIPS = ("3m", "2s3z", *(pytest.param(name, marks=pytest.mark.thorough) for name in OTHERS))


def length(film: Film) -> np.ndarray:
    """Steps of each game up to its end (the film's length if it goes on)."""
    over = film.show.terminated | film.show.truncated
    return np.where(over.any(1), over.argmax(1) + 1, over.shape[1])


def metric(film: Film, name: str) -> np.ndarray:
    """Value after the last step of each game."""
    return np.asarray(film.show.metrics[name][:, -1])


def same(one: object, other: object) -> bool:
    """Whether all arrays are equal, bit for bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def put(state: EnvState, alive: dict[int, dict[str, float]]) -> EnvState:
    """All games with only these units alive, with these values; what they had is what rewards are counted from."""
    units = {k: np.array(v) for k, v in state.units._asdict().items()}
    units["health"][:] = 0
    for unit, values in alive.items():
        for name, value in values.items():
            units[name][:, unit] = value
    n = state.last_action.shape[1]
    life = np.where(units["health"] > 0, units["health"] + units["shield"], 0).astype(np.float32)
    units = state.units._replace(**{k: jnp.asarray(v) for k, v in units.items()})
    return state._replace(units=units, before=jnp.asarray(life[:, n:]), ally_before=jnp.asarray(life[:, :n]))


@pytest.mark.parametrize("name", PAPER_STRIPS)
def test_a_team_that_waits_is_defeated_and_earns_nothing(name: str):
    games = arena(name)
    _, film = games.play(games.reset(seed=2)[0], games.game.limit)
    assert (film.show.reward == 0).all()
    assert (metric(film, "win") == 0).all()
    assert (metric(film, "dead_enemies") == 0).all()
    assert (metric(film, "timeout") == 0).all()
    survivors = 1 if name == "MMM" else 0  # the game is lost when only the medivac is left
    assert (metric(film, "dead_allies") >= games.n - survivors).all()
    assert (length(film) < games.game.limit).all()
    assert (film.show.terminated[:, -1] & ~film.show.truncated[:, -1]).all()
    assert (film.units.health[:, -1, games.n :] == film.units.health[:, 0, games.n :]).all()


def marched(name: str) -> tuple[Arena, Film]:
    games = arena(name)
    return games, games.play(games.reset(seed=1)[0], 10)[1]


def test_enemies_march_west_at_their_speed():
    games, film = marched("3m")
    x, y = film.units.x[:, :5, games.n :], film.units.y[:, :5, games.n :]
    np.testing.assert_allclose(np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)), 1.125, atol=1e-4)
    np.testing.assert_allclose(np.diff(x, axis=1), -1.125, atol=0.01)  # almost straight West
    # 14 to go in steps of 1.125; no head start
    spawn = np.array([23, 23, 23.6885])
    start = x[:, 0] + 1.125
    np.testing.assert_allclose(start, np.broadcast_to(spawn, start.shape), atol=1e-3)


def test_contact_on_3m():
    """Section 4.6: 13.31 between the front rows, sight 9, fire at 5.75."""
    games, film = marched("3m")
    front = 2  # the agent at (9.6885, 16)
    seen = (film.show.obs[:, :, front, 5:19:5] > 0).any(2)  # the distance in any enemy row
    # (13.31 - 9) / 1.125 = 3.8 steps
    assert (seen.argmax(1) + 1 == 4).all()
    # (13.31 - 5.75) / 1.125 = 6.7 steps; a scan range measured from the centre is 0.375 shorter, 0.33 steps.
    hurt = (film.units.health[:, :, : games.n] < 45).any(2)
    first = hurt.argmax(1) + 1
    assert hurt.any(1).all()
    assert (first >= 7).all()
    assert (first <= 8).all()
    # The mask opens at 6: (13.31 - 6) / 1.125 = 6.5 steps.
    open_mask = film.show.avail[:, :, front, FIRST_TARGET:].any(2)
    assert (open_mask.argmax(1) + 1 == 7).all()


def test_stalkers_run_ahead_of_zealots_or_wait_for_them():
    games, film = marched("2s3z")
    pace = -np.diff(film.units.x[:, :3, games.n :], axis=1)
    zealots, stalkers = pace[..., 2:], pace[..., :2]
    np.testing.assert_allclose(zealots, 1.125, atol=0.1)  # crowding may cost or add a little
    assert (stalkers <= 1.4766 + 0.13).all()
    assert (stalkers >= 1.125 - 0.1).all()


def test_a_won_game_pays_exactly_twenty():
    games = arena("3m", version="2026-11")  # later rules let nobody win who only waits
    _, film = games.play(games.reset(seed=0)[0], 60, FIGHT)
    won = metric(film, "win") == 1
    assert won.sum() >= 2  # this way of playing wins most games
    np.testing.assert_allclose(film.show.reward.sum(1)[won], 20, atol=1e-4)
    assert (metric(film, "dead_enemies")[won] == 3).all()
    # Rewards are multiples of a marine's 6 of 365, as long as nobody falls.
    early = film.show.reward[:, :10][~(film.show.metrics["dead_enemies"][:, :10] > 0)]
    hits = early / (6 * 20 / 365)
    np.testing.assert_allclose(hits, hits.round(), atol=1e-3)
    lost = metric(film, "win") == 0
    assert (film.show.reward.sum(1)[lost] < 20 * (3 * 45 + 30) / 365).all()


def test_the_last_hit_wins():
    games = arena("3m")
    state = put(games.reset()[0], {0: {"x": 14, "y": 16, "health": 45}, 3: {"x": 18, "y": 16, "health": 3}})
    state = state._replace(enemy_order=jnp.broadcast_to(jnp.arange(3), (GAMES, 3)))
    _, film = games.play(state, 3, script=np.array([[FIRST_TARGET, 0, 0]] * 3))
    end = length(film) - 1
    assert (end <= 1).all()
    rewards = film.show.reward[np.arange(GAMES), end]
    np.testing.assert_allclose(rewards, (3 + 10 + 200) * 20 / 365, rtol=1e-5)  # 11.671
    assert (film.show.reward.sum(1) == rewards).all()  # nothing before, nothing after
    assert (metric(film, "win") == 1).all()
    assert film.show.terminated[:, -1].all()


def test_a_game_ends_at_the_time_limit():
    games = arena("3m")
    state = put(games.reset()[0], {0: {"x": 4, "y": 9, "health": 45}, 3: {"x": 28, "y": 23, "health": 45}})
    state = state._replace(step=jnp.full(GAMES, 57, jnp.int32))
    _, film = games.play(state, 4, script=np.array([[STOP, 0, 0]] * 4))
    assert film.show.terminated.tolist() == [[False, False, True, True]] * GAMES  # 58, 59, 60
    assert not film.show.truncated.any()
    assert film.show.metrics["timeout"].tolist() == [[0, 0, 1, 1]] * GAMES
    assert (metric(film, "win") == 0).all()
    assert (film.show.reward == 0).all()


def test_two_missiles_make_a_draw():
    games = arena("2s3z", version="2026-11")  # later rules let the enemy see first
    weak = {"health": 1, "shield": 0, "calm": 0, "y": 16, "face_y": 0}
    state = put(games.reset()[0], {0: {"x": 13, "face_x": 1} | weak, 5: {"x": 18, "face_x": -1} | weak})
    state = state._replace(enemy_order=jnp.broadcast_to(jnp.arange(5), (GAMES, 5)))
    _, film = games.play(state, 3, script=np.array([[FIRST_TARGET, 0, 0, 0, 0]] * 3))
    dead = film.units.health[:, -1, [0, 5]] == 0
    assert dead.all()
    assert film.show.terminated[:, -1].all()
    for name in ("win", "timeout"):
        assert (metric(film, name) == 0).all()
    # The stalker's last point and its death pay, the draw does not.
    np.testing.assert_allclose(film.show.reward.sum(1), (1 + 10) * 20 / 1020, rtol=1e-5)


# MMM: agents 0, 1 marauders, 2 .. 8 marines, 9 medivac; enemies 10 .. 16 marines, 17, 18 marauders, 19 medivac
MARINE, MEDIVAC, THEIR_MARINE, THEIR_MEDIVAC = 2, 9, 10, 19
FULL = {MARINE: 45, MEDIVAC: 150, THEIR_MARINE: 45, THEIR_MEDIVAC: 150}
HERE, THERE = {"x": 4, "y": 12}, {"x": 28, "y": 20}


@pytest.mark.parametrize(
    ("ours", "theirs", "result"),
    [
        ([MARINE], [THEIR_MEDIVAC], "win"),  # exactly one enemy is left, a medivac
        ([MARINE], [THEIR_MARINE, THEIR_MEDIVAC], "on"),
        ([MARINE, MEDIVAC], [THEIR_MARINE], "on"),
        ([MEDIVAC], [THEIR_MARINE], "loss"),
        ([MEDIVAC], [THEIR_MEDIVAC], "loss"),  # the defeat is tested first
        ([MEDIVAC], [], "loss"),
        ([], [THEIR_MEDIVAC], "loss"),
        ([MARINE], [], "win"),
    ],
)
def test_medivacs_do_not_decide_mmm(ours: list[int], theirs: list[int], result: str):
    games = arena("MMM")
    alive = {unit: {**at, "health": FULL[unit]} for units, at in ((ours, HERE), (theirs, THERE)) for unit in units}
    state = put(games.reset()[0], alive)
    _, film = games.play(state, 1, script=np.array([[int(unit in ours) for unit in range(10)]]))
    assert (film.show.terminated[:, 0] == (result != "on")).all()
    assert (metric(film, "win") == (result == "win")).all()
    expected = 200 * 20 / 1015 if result == "win" else 0
    np.testing.assert_allclose(film.show.reward[:, 0], expected, rtol=1e-5)


def test_killing_the_last_fighter_wins_mmm():
    games = arena("MMM")
    alive = {
        MARINE: {"x": 14, "y": 16, "health": 45}, THEIR_MEDIVAC: {"x": 26, "y": 20, "health": 150},
        THEIR_MARINE: {"x": 18, "y": 16, "health": 2},
    }  # fmt: skip
    state = put(games.reset()[0], alive)._replace(enemy_order=jnp.broadcast_to(jnp.arange(10), (GAMES, 10)))
    script = np.zeros((2, 10), int)
    script[:, MARINE] = FIRST_TARGET
    _, film = games.play(state, 2, script=script)
    assert (metric(film, "win") == 1).all()
    np.testing.assert_allclose(film.show.reward.sum(1), (2 + 10 + 200) * 20 / 1015, rtol=1e-5)


def test_illegal_actions_are_counted_and_become_stop():
    games = arena("3m")
    # Nobody is in reach, no-op is for the dead, 77 and -5 mean nothing. There is room East of 2, South of 0.
    script = np.array([[FIRST_TARGET, 0, 77], [-5, STOP, EAST], [SOUTH, STOP, EAST]])
    state, _ = games.reset()
    _, film = games.play(state, 3, script=script)
    assert film.show.metrics["illegal_actions"].tolist() == [[3, 1, 0]] * GAMES
    x = np.concatenate([np.asarray(state.units.x)[:, None], film.units.x], axis=1)[:, :, :3]
    y = np.concatenate([np.asarray(state.units.y)[:, None], film.units.y], axis=1)[:, :, :3]
    np.testing.assert_allclose(np.diff(x, axis=1), [[[0, 0, 0], [0, 0, 1.125], [0, 0, 1.125]]] * GAMES, atol=1e-5)
    np.testing.assert_allclose(np.diff(y, axis=1), [[[0, 0, 0], [0, 0, 0], [-1.125, 0, 0]]] * GAMES, atol=1e-5)


def test_disabled_agents_never_act_and_can_be_killed():
    games = arena("3m")
    params = games.many(disable(games.env.params, [1]))
    state, _ = games.reset(params=params)
    start = np.asarray(state.units.x)[:, 1]
    _, film = games.play(state, 60, script=np.array([[STOP, EAST, STOP]] * 60), params=params)
    assert (film.units.x[:, :, 1] == start[:, None]).all()
    assert (film.units.order[:, :, 1] == 0).all()
    assert (film.units.target[:, :, 1] == -1).all()
    assert (metric(film, "dead_allies") == 3).all()
    alive = film.show.alive[:, :, 1]
    illegal = film.show.metrics["illegal_actions"][:, 1:]
    assert (illegal[alive[:, :-1]] >= 1).all()  # it tries in every step
    # Even with an enemy in its face and an attack sent it does not fight.
    state = put(
        games.reset(params=params)[0], {1: {"x": 14, "y": 16, "health": 45}, 3: {"x": 17, "y": 16, "health": 45}}
    )
    _, film = games.play(state, 30, FIGHT, params=params)
    assert (film.units.health[:, :, 3] == 45).all()
    assert (film.units.health[:, -1, 1] == 0).all()
    assert (film.show.avail[:, :, 1, 2:] == 0).all()


def test_absent_agents_are_no_part_of_the_game():
    games = arena("3m")
    params = games.many(remove(games.env.params, [0]))
    state, show = games.reset(params=params)
    assert not show.alive[:, 0].any()
    assert (show.obs[:, 0] == 0).all()
    assert (show.state[:, :4] == 0).all()
    _, film = games.play(state, 60, params=params)
    assert (metric(film, "dead_allies") == 2).all()
    assert (film.units.health[:, :, 0] == 0).all()
    assert (film.units.target[:, :, 3:] != 0).all()  # nobody shoots at it
    assert (film.show.metrics["illegal_actions"] == 0).all()


def test_weakened_teams_fall_sooner():
    games = arena("3m")
    ends = []
    for percent in (0, 20):
        params = games.many(weaken(games.env.params, percent))
        state, _ = games.reset(seed=4, params=params)
        np.testing.assert_allclose(state.units.health[:, :3], 45 * (1 - percent / 100), rtol=1e-6)
        np.testing.assert_allclose(state.units.health[:, 3:], 45)
        ends.append(length(games.play(state, 60, params=params)[1]).mean())
    assert ends[1] < ends[0]


@pytest.mark.parametrize("name", ["3m", "MMM"])
def test_the_same_key_gives_the_same_game(name: str):
    games = arena(name)
    first, again = (games.play(games.reset(seed=11)[0], 40, ADVANCE, seed=3) for _ in range(2))
    assert same(first, again)
    other = games.play(games.reset(seed=11)[0], 40, ADVANCE, seed=4)
    assert not same(first, other)
    assert len({tuple(row) for row in first[1].show.reward.tolist()}) > 1  # eight different games


@pytest.mark.parametrize("name", ["3m", "MMM"])
def test_a_game_does_not_depend_on_the_games_beside_it(name: str):
    games = arena(name)
    ids = [5, 0, 7, 2, 1, 6, 3, 4]
    _, film = games.play(games.reset(seed=1)[0], 40, ADVANCE)
    _, shuffled = games.play(games.reset(seed=1, ids=ids)[0], 40, ADVANCE, ids=ids)
    assert same(jax.tree.map(lambda a: a[np.array(ids)], film), shuffled)


def test_a_batch_of_perturbations_equals_one_after_the_other():
    games = arena("3m")
    plain = games.env.params
    ways = [plain, disable(plain, [0]), disable(plain, 2), remove(plain, [2]), remove(plain, 1), weaken(plain, 10),
            weaken(disable(plain, [1]), 20), plain]  # fmt: skip
    mixed = jax.tree.map(lambda *leaves: jnp.stack(leaves), *ways)
    _, together = games.play(games.reset(seed=6, params=mixed)[0], 40, ADVANCE, params=mixed)
    for i, params in enumerate(ways):
        many = games.many(params)
        _, alone = games.play(games.reset(seed=6, params=many)[0], 40, ADVANCE, params=many)
        assert same(jax.tree.map(lambda a, i=i: a[i], together), jax.tree.map(lambda a, i=i: a[i], alone))


def test_batches_play_the_same_games_as_single_environments():
    """Side by side the arithmetic may be rounded differently in the last bit, so positions have a tolerance."""
    games = arena("3m")
    script = np.array([[STOP, STOP, EAST]] * 3 + [[STOP] * 3] * 3 + [[FIRST_TARGET] * 3] * 12)
    _, film = games.play(games.reset(seed=8)[0], len(script), script=script)
    reset, step = jax.jit(games.env.reset), jax.jit(games.env.step)  # compiled already by test_env
    for i in range(3):
        state, _ = reset(jax.random.fold_in(jax.random.key(8), i), games.env.params)
        for t, (key, actions) in enumerate(zip(step_keys(i), script, strict=False)):
            state, show = step(key, state, jnp.array(actions, jnp.int32), games.env.params)
            seen = jax.tree.map(lambda a, i=i, t=t: a[i, t], film.show)
            np.testing.assert_allclose(show.obs, seen.obs, atol=1e-5)
            np.testing.assert_allclose(show.state, seen.state, atol=1e-5)
            assert (show.avail == seen.avail).all()
            assert float(show.reward) == float(seen.reward)
            assert (state.units.health == film.units.health[i, t]).all()
    assert (film.show.reward > 0).any()
