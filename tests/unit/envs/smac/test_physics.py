"""Bodies on the ground and in the air: who stops whom, and where nobody can go."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.engine import advance, draws
from ibal.envs.smac.physics import confine
from ibal.envs.smac.scenarios import Group, Scenario
from ibal.envs.smac.spawn import initial_units
from ibal.envs.smac.state import ATTACK, IDLE, MOVE, Units
from ibal.envs.smac.stats import stats
from ibal.envs.smac.terrain import terrain
from unit.envs.smac.lab import EAST, NORTH, RULES, STOP, WEST, Field, play

DISC = 235 / 256  # of the radius: half the spacing of marines in the real game
MARINE, ZEALOT, STALKER = 0.375 * DISC, 0.5 * DISC, 0.625 * DISC


def gap(film: Units, case: int, one: int, other: int) -> np.ndarray:
    """Distance of two centres over the loops."""
    return np.hypot(film.x[case, :, one] - film.x[case, :, other], film.y[case, :, one] - film.y[case, :, other])


def meeting(first: str, second: str, hostile: bool = False) -> tuple[Field, int, int]:
    """Two units walking into each other for 5 steps."""
    field = Field()
    one = field.ally(first, 14.0)
    other = (field.passive if hostile else field.ally)(second, 18.0, 16.02)
    for step in range(5):
        field.say(step, one, EAST)
        if not hostile:
            field.say(step, other, WEST)
    if hostile:
        field.move(other, 10.0, 16.02)
    return field, one, other


def test_ground_units_do_not_stand_inside_each_other():
    cases = [
        ("marine", "marine", 2 * MARINE),
        ("zealot", "stalker", ZEALOT + STALKER),
        ("marine", "zealot", MARINE + ZEALOT),
    ]
    fields = [meeting(a, b, hostile) for hostile in (False, True) for a, b, _ in cases]
    film = play([field for field, _, _ in fields], 7)
    for case, (_, one, other) in enumerate(fields):
        room = cases[case % 3][2]
        distance = gap(film, case, one, other)
        assert distance[0] > room  # they started apart
        if case >= 3:  # team mates squeeze past each other, opponents do not
            assert distance.min() > 0.85 * room
        assert distance[-1] > room - 0.05


def test_units_created_in_one_place_part():
    field = Field()
    crowd = [field.ally("marine", 16.0) for _ in range(4)] + [field.ally("zealot", 16.0, 16.1) for _ in range(4)]
    film = play([field], 5)
    for i, one in enumerate(crowd):
        for j, other in enumerate(crowd[:i]):
            room = (MARINE if i < 4 else ZEALOT) + (MARINE if j < 4 else ZEALOT)
            assert gap(film, 0, one, other)[-1] > room - 0.1
    assert (film.x[0, -1, crowd] != 16).any()


def test_an_idle_team_mate_is_pushed_aside():
    field = Field()
    walker, idler = field.ally("zealot", 14.0), field.ally("marine", 15.0, 16.05)
    for step in range(4):
        field.say(step, walker, EAST)
    film = play([field], 4)
    assert film.x[0, -1, walker] > 14 + 2  # it gets through, late perhaps
    assert gap(film, 0, walker, idler)[-1] > MARINE + ZEALOT - 0.1
    assert np.hypot(film.x[0, -1, idler] - 15, film.y[0, -1, idler] - 16.05) > 0.1


def test_nobody_walks_through_an_enemy():
    field = Field()
    walker = field.ally("marine", 14.0)
    wall = [field.passive("zealot", 16.0, 16 + 0.92 * k) for k in (-1, 0, 1)]
    for unit in wall:
        field.set(unit, target=-1, goal_x=16.0)
    for step in range(2):
        field.say(step, walker, EAST)
    film = play([field], 2)
    closest = min(gap(film, 0, walker, unit).min() for unit in wall)
    assert closest > MARINE + ZEALOT - 0.13


def crossing(walker: str, obstacle: str, hostile: bool) -> tuple[Field, int]:
    """Walk 4 steps East through a crowd."""
    field = Field()
    for x in (15.0, 16.0, 17.0, 18.0):
        (field.passive if hostile else field.ally)(obstacle, x)
    unit = field.ally(walker, 14.0)
    for step in range(4):
        field.say(step, unit, EAST)
    return field, unit


def test_flyers_and_colossi_pass_over_everybody():
    fields = [crossing(w, o, h) for w in ("medivac", "colossus") for o in ("marine", "zealot") for h in (False, True)]
    film = play([field for field, _ in fields], 4)
    for case, (_, unit) in enumerate(fields):
        np.testing.assert_allclose(film.y[case, :, unit], 16, atol=1e-4)
        if case >= 4:  # a colossus: 4 steps of 1.125; the medivac gathers speed
            np.testing.assert_allclose(film.x[case, ::8, unit], 14 + 1.125 * np.arange(5), atol=1e-3)
    # Nobody below is pushed by them either.
    assert (film.x[1:8:2, -1] == film.x[1:8:2, 0]).sum() >= 4 * 4
    open_field = Field()
    alone = open_field.ally("medivac", 14.0)
    for step in range(4):
        open_field.say(step, alone, EAST)
    free = play([open_field], 4)
    for case in range(4):
        np.testing.assert_allclose(film.x[case, :, fields[case][1]], free.x[0, :, alone], atol=1e-4)


def test_the_edge_of_the_map_stops_everybody():
    field = Field()
    runners = [field.ally("marine", 28.5), field.ally("stalker", 16.0, 28.5), field.ally("medivac", 28.0, 20.0)]
    for step in range(4):
        for unit, action in zip(runners, (EAST, NORTH, EAST), strict=True):
            field.say(step, unit, action)
    film = play([field], 4)
    marine, stalker, medivac = runners
    assert 30 - 0.375 <= film.x[0, -1, marine] <= 30 - 0.34  # about a body's radius from what it cannot enter
    assert 30 - 0.625 <= film.y[0, -1, stalker] <= 30 - 0.5
    assert film.x[0, -1, medivac] == pytest.approx(30)
    assert max(film.x.max(), film.y.max()) <= 30


def test_stopped_units_stay_where_they_are():
    field = Field()
    units = [field.ally(name, 6 + 3 * i) for i, name in enumerate(("marine", "stalker", "medivac", "colossus"))]
    for unit in units:
        field.say(0, unit, STOP)
    film = play([field], 3)
    assert (np.ptp(film.x[0, :, units], axis=-1) == 0).all()
    assert (np.ptp(film.y[0, :, units], axis=-1) == 0).all()


CLIFF = Scenario(
    "cliff", 100, (Group("colossus", 1, (16.0, 17.0)), Group("zealot", 1, (15.0, 17.0))),
    (Group("spine_crawler", 1, (16.0, 9.0)),), terrain="plateau", march="none",
)  # fmt: skip


@cache
def descent() -> tuple[np.ndarray, np.ndarray]:
    """On the plateau a colossus walks to a point below, a zealot attacks a crawler there: x and y [loop, unit]."""
    units = initial_units(CLIFF, RULES)
    units = units._replace(
        order=jnp.array([MOVE, ATTACK, IDLE]), target=jnp.array([-1, 2, -1]), goal_y=units.goal_y.at[0].set(10.0),
        cooldown=jnp.full_like(units.cooldown, 1e6),
    )  # fmt: skip

    @jax.jit
    def walk(units: Units, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def loop(units: Units, key: jax.Array) -> tuple[Units, tuple[jax.Array, jax.Array]]:
            units = advance(units, draws(key, CLIFF), CLIFF, RULES, 1)
            return units, (units.x, units.y)

        return jax.lax.scan(loop, units, jax.random.split(key, 400))[1]

    x, y = walk(units, jax.random.key(0))
    return np.asarray(x), np.asarray(y)


def test_a_colossus_steps_over_the_cliff():
    x, y = descent()
    np.testing.assert_allclose(x[:60, 0], 16, atol=1e-3)  # straight down: 7 are 50 loops of 0.140625
    np.testing.assert_allclose(y[:49, 0], 17 - 0.140625 * np.arange(1, 50), atol=1e-3)
    assert y[60, 0] == pytest.approx(10, abs=1e-3)


def test_a_zealot_takes_the_long_way_round():
    x, y = descent()
    ground = terrain("plateau").ground
    assert ground[y[:, 1].astype(int), x[:, 1].astype(int)].all()
    assert not ((y[:, 1] >= 12) & (y[:, 1] < 14) & (x[:, 1] >= 4) & (x[:, 1] < 28)).any()  # never on the cliff
    assert np.hypot(x[-1, 1] - 16, y[-1, 1] - 9) == pytest.approx(0.1 + 0.5 + 0.875, abs=0.1)  # but it gets there


@pytest.mark.parametrize("name", ["strip", "open", "octagon", "corridor", "pen_a", "pen_b", "diagonal", "plateau"])
def test_confine_keeps_any_step_on_the_ground(name: str):
    land, facts = terrain(name), stats(CLIFF)
    rng = np.random.default_rng(0)
    ys, xs = np.nonzero(land.walkable)
    for walker, ground in ((0, land.above_cliffs), (1, land.ground)):
        pick = rng.integers(len(xs), size=(3, 500))
        x, y = (
            (xs[pick] + rng.random((3, 500))).astype(np.float32),
            (ys[pick] + rng.random((3, 500))).astype(np.float32),
        )
        step = rng.uniform(-0.3, 0.3, (2, 3, 500)).astype(np.float32)
        new_x, new_y = jax.jit(partial(confine, stats=facts, terrain=land))(x, y, x + step[0], y + step[1])
        new_x, new_y = np.asarray(new_x)[walker], np.asarray(new_y)[walker]
        # A coordinate may equal the far border of the map's last cell.
        assert ground[np.minimum(new_y.astype(int), 29), np.minimum(new_x.astype(int), 29)].all()
