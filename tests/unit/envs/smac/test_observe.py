"""Expectations are computed by hand from the reference, sections 1.3 to 1.6."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.layout import obs_layout, state_layout
from ibal.envs.smac.observe import available, observation, permitted, state_vector
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import Group, Scenario, scenario
from ibal.envs.smac.state import EnvState, Units
from ibal.envs.smac.terrain import terrain


class Board:
    """A game in which everyone waits far away at full life; units are then put where a test wants them."""

    def __init__(
        self,
        game: str | Scenario,
        order: list[int] | None = None,
        rules: Rules = Rules(),
        flat: bool = False,
        **options,
    ) -> None:
        self.game = scenario(game) if isinstance(game, str) else game
        self.rules, self.interface = rules, Interface(**options)
        self.n, self.m = self.game.n_agents, self.game.n_enemies
        types = (*self.game.ally_types, *self.game.enemy_types)
        self.arrays = {name: np.zeros(len(types), np.float32) for name in Units._fields}
        self.arrays["x"][: self.n], self.arrays["x"][self.n :] = 3.5, 28.5
        self.arrays["y"][:] = 16.5
        for name in ("health", "shield", "energy"):
            self.arrays[name][:] = [getattr(t, name) for t in types]
        self.flat = flat  # all cells walkable, whatever the map
        self.order = list(range(self.m)) if order is None else order
        self.last_action, self.clock = [-1] * self.n, 0

    def put(self, unit: int, x: float, y: float, **values: float) -> "Board":
        for name, value in {"x": x, "y": y, **values}.items():
            self.arrays[name][unit] = value
        return self

    @property
    def state(self) -> EnvState:
        units = Units(**{name: jnp.asarray(value) for name, value in self.arrays.items()})
        none, life = jnp.zeros(self.n, bool), jnp.zeros(self.m)
        return EnvState(
            units, jnp.int32(self.clock), jnp.array(self.order), life, jnp.zeros(self.n),
            jnp.array(self.last_action), none, ~none, jnp.bool_(False),
        )  # fmt: skip

    def look(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Action mask [n, a], observations [n, o] and state [s]."""
        look = compiled(self.game, self.interface, self.rules, self.flat)
        avail, obs, state = look(self.state)
        assert obs.dtype == state.dtype == jnp.float32
        assert obs.shape == (self.n, obs_layout(self.game, self.interface, self.rules).size)
        assert state.shape == (state_layout(self.game, self.interface, self.rules).size,)
        return np.asarray(avail), np.asarray(obs), np.asarray(state)

    def avail(self) -> np.ndarray:
        return self.look()[0]

    def obs(self) -> np.ndarray:
        return self.look()[1]

    def vector(self) -> np.ndarray:
        return self.look()[2]


@cache
def compiled(game: Scenario, interface: Interface, rules: Rules, flat: bool) -> Callable[[EnvState], tuple]:
    walkable = np.ones((32, 32), bool) if flat else terrain(game.terrain).walkable

    @jax.jit
    def look(state: EnvState) -> tuple:
        avail = available(state.units, state.enemy_order, game, interface, walkable)
        obs = observation(state, avail, game, interface, rules, walkable)
        return avail, obs, state_vector(state, obs, game, interface, rules)

    return look


def test_enemy_row_with_flipped_bits_and_shuffled_ids():
    # 2s3z enemies by creation: 0, 1 stalkers, 2, 3, 4 zealots. Agents call creation index 4 "enemy 0".
    board = Board("2s3z", order=[4, 0, 1, 2, 3])
    board.put(0, 10, 16).put(5 + 4, 13, 20, health=50, shield=20).put(5 + 0, 10, 9.5, health=60, shield=80)
    row = board.obs()[0, 4:44].reshape(5, 8)
    np.testing.assert_allclose(row[0], [1, 5 / 9, 3 / 9, 4 / 9, 0.5, 0.4, 1, 0], rtol=1e-6)  # zealot is bit 0
    np.testing.assert_allclose(row[1], [0, 6.5 / 9, 0, -6.5 / 9, 0.75, 1, 0, 1], rtol=1e-6)  # out of reach, in sight
    assert (row[2:] == 0).all()
    assert board.avail()[0].tolist() == [False, True, True, True, True, True, True, False, False, False, False]


def test_bits_without_the_flip():
    board = Board("2s3z", rules=Rules(flip_enemy_bits=False)).put(0, 10, 16).put(5, 13, 20)
    assert board.obs()[0, 4 + 6 : 4 + 8].tolist() == [1, 0]  # a stalker, like on the ally side


def test_ally_rows_skip_the_agent_and_use_ally_bits():
    board = Board("2s3z").put(0, 10, 16).put(1, 10, 20, health=40).put(4, 13, 16, shield=10)
    obs = board.obs()
    np.testing.assert_allclose(obs[0, 44:52], [1, 4 / 9, 0, 4 / 9, 0.5, 1, 1, 0], rtol=1e-6)  # slot 0 = agent 1
    np.testing.assert_allclose(obs[0, 68:76], [1, 3 / 9, 3 / 9, 0, 1, 0.2, 0, 1], rtol=1e-6)  # slot 3 = agent 4
    np.testing.assert_allclose(obs[4, 44:52], [1, 3 / 9, -3 / 9, 0, 1, 1, 1, 0], rtol=1e-6)  # slot 0 = agent 0
    np.testing.assert_allclose(obs[4, 52:60], [1, 5 / 9, -3 / 9, 4 / 9, 0.5, 1, 1, 0], rtol=1e-6)  # slot 1 = agent 1
    np.testing.assert_allclose(obs[4, 76:], [1, 0.2, 0, 1], rtol=1e-6)  # own
    np.testing.assert_allclose(obs[1, 76:], [0.5, 1, 1, 0], rtol=1e-6)


@pytest.mark.parametrize(("distance", "seen", "reached"), [(6.0, 1, 1), (6.01, 1, 0), (8.99, 1, 0), (9.0, 0, 0)])
def test_sight_is_strict_and_reach_is_not(distance, seen, reached):
    board = Board("3m").put(0, 10, 16).put(3, 10 + distance, 16)
    obs, avail = board.obs(), board.avail()
    assert (obs[0, 4:9] != 0).any() == seen
    assert obs[0, 4] == reached
    assert avail[0, 6] == reached


def test_the_dead_see_nothing_and_are_not_seen():
    board = Board("3m").put(0, 10, 16).put(1, 10, 17, health=0).put(3, 12, 16, health=0).put(4, 12, 17)
    obs, avail = board.obs(), board.avail()
    assert (obs[1] == 0).all()
    assert avail[1].tolist() == [True] + [False] * 8
    assert (obs[0, 19:24] == 0).all()  # agent 1
    assert (obs[0, 4:9] == 0).all()  # enemy 0
    assert not avail[0, 6]
    assert avail[0, 7]


def test_medivac_shows_heal_flags_in_its_enemy_rows():
    # MMM: agents 0, 1 marauders, 2 .. 8 marines, 9 medivac.
    board = Board("MMM").put(9, 16, 16).put(2, 16, 12).put(3, 16, 13, health=0).put(4, 16, 9.9)
    for enemy in (2, 3, 4, 9):
        board.put(10 + enemy, 22.5, 16)  # in sight of the medivac, out of reach
    board.put(10 + 5, 17, 16)  # an enemy next to it: not a target of a medivac
    avail, rows = board.avail(), board.obs()[9, 4:84].reshape(10, 8)
    assert np.flatnonzero(avail[9]).tolist() == [1, 2, 3, 4, 5, 6 + 2]  # agent 2 only: 3 is dead, 4 too far, 9 itself
    assert rows[2, 0] == 1  # "heal agent 2", shown because enemy 2 is in sight
    assert rows[2, 1] > 0
    assert rows[[3, 4, 5, 9], 0].tolist() == [0, 0, 0, 0]
    assert (rows[[3, 4, 5, 9], 1] > 0).all()
    # A marine at the same place may attack the neighbour and nothing else.
    board.put(8, 16, 16)
    assert np.flatnonzero(board.avail()[8]).tolist() == [1, 2, 3, 4, 5, 6 + 5]


def test_heal_flag_needs_the_enemy_of_that_number_in_sight():
    board = Board("MMM").put(9, 16, 16).put(2, 16, 12)
    assert board.avail()[9, 6 + 2]
    assert (board.obs()[9, 4:84] == 0).all()


def test_unhurt_allies_can_be_healed_and_there_are_no_heals_beyond_the_team():
    board = Board("MMM2")  # 10 agents, 12 enemies
    for agent in range(10):
        board.put(agent, 16, 16)
    for enemy in range(12):
        board.put(10 + enemy, 17, 16)
    assert np.flatnonzero(board.avail()[9]).tolist() == [1, 2, 3, 4, 5, *range(6, 15)]
    assert np.flatnonzero(board.avail()[0]).tolist() == [1, 2, 3, 4, 5, *range(6, 18)]


@pytest.mark.parametrize(
    ("x", "y", "moves"),
    [
        (16.0, 16.0, [1, 1, 1, 1]),
        (16.0, 22.99, [1, 1, 1, 1]),  # cell 23
        (16.0, 23.0, [0, 1, 1, 1]),  # cell 24
        (16.0, 8.99, [1, 0, 1, 1]),  # cell 7
        (28.99, 16.0, [1, 1, 1, 1]),  # cell 29
        (29.0, 16.0, [1, 1, 0, 1]),  # cell 30, outside of the playable rectangle
        (2.99, 16.0, [1, 1, 1, 0]),  # cell 1
        (3.0, 16.0, [1, 1, 1, 1]),  # cell 2
    ],
)
def test_moves_on_the_strip(x, y, moves):
    board = Board("3m").put(0, x, y)
    assert board.avail()[0, 2:6].tolist() == [bool(m) for m in moves]
    assert board.obs()[0, :4].tolist() == moves


@pytest.mark.parametrize(
    ("x", "y", "moves"),
    [
        (6.5, 16.5, [1, 1, 1, 0]),  # rows 10 .. 21 reach from x = 6
        (7.5, 10.5, [1, 0, 1, 1]),  # rows 8, 9 only from x = 8
        (8.5, 8.5, [1, 0, 1, 0]),
        (24.5, 21.5, [0, 1, 1, 1]),
    ],
)
def test_moves_on_the_octagon(x, y, moves):
    assert Board("bane_vs_bane").put(0, x, y).avail()[0, 2:6].tolist() == [bool(m) for m in moves]


def test_test_cell_lies_half_a_move_ahead():
    assert not Board("3m", move_amount=4.0).put(0, 16, 22.5).avail()[0, 2]  # cell 24
    assert Board("3m", move_amount=2.0).put(0, 16, 22.5).avail()[0, 2]  # cell 23


def test_a_neighbour_does_not_mask_a_move():
    assert Board("3m").put(0, 16, 16).put(1, 17, 16).put(3, 15, 16).avail()[0, 2:6].all()


def test_disabled_agents_may_only_stop_but_look_natural():
    board = Board("3m").put(0, 10, 16).put(1, 10, 17, health=0).put(3, 12, 16)
    natural = board.avail()
    mask = np.asarray(permitted(jnp.asarray(natural), jnp.array([True, True, False])))
    assert np.flatnonzero(mask[0]).tolist() == [1]
    assert np.flatnonzero(mask[1]).tolist() == [0]
    assert (mask[2] == natural[2]).all()
    assert board.obs()[0, 4] == 1  # still shows that it could attack


def test_state_of_3m():
    board = Board("3m", order=[2, 0, 1])
    board.put(0, 9, 15.3115, cooldown=7.5).put(1, 10.125, 16, health=15, cooldown=-0.25).put(2, 5, 5, health=0)
    board.put(3, 23, 16, health=30).put(4, 2, 2, health=0).put(5, 16, 20)
    board.last_action = [4, 1, 0]
    state = board.vector()
    np.testing.assert_allclose(state[0:4], [1, 0.5, -0.25, -0.6885 / 28], rtol=1e-5)
    np.testing.assert_allclose(state[4:8], [15 / 45, 0, -5.875 / 28, 0], rtol=1e-6)  # ready to fire is 0, not negative
    assert (state[8:12] == 0).all()
    np.testing.assert_allclose(state[12:15], [1, 0, 4 / 28], rtol=1e-6)  # enemy 0 is creation index 2
    np.testing.assert_allclose(state[15:18], [30 / 45, 0.25, 0], rtol=1e-6)
    assert (state[18:21] == 0).all()
    assert np.flatnonzero(state[21:]).tolist() == [4, 9 + 1, 18 + 0]


def test_state_before_the_first_action_and_other_extent():
    assert (Board("3m").vector()[21:] == 0).all()
    assert Board("3m", rules=Rules(state_extent=32.0)).put(0, 8, 16).vector()[2] == -0.25


def test_state_cooldowns_over_smacs_table():
    board = Board("1c3s5z").put(0, 9, 16, cooldown=36).put(1, 9, 16, cooldown=7).put(4, 9, 16, cooldown=11)
    rows = board.vector()[:72].reshape(9, 8)
    assert rows[[0, 1, 4], 1].tolist() == pytest.approx([1.5, 0.2, 0.5])  # 24, 35, 22; never clipped
    assert rows[0, 4:].tolist() == [1, 1, 0, 0]  # shield; colossus, stalker, zealot
    assert rows[4, 4:].tolist() == [1, 0, 0, 1]


def test_state_shows_the_energy_of_a_medivac():
    rows = Board("MMM").put(9, 9, 16, cooldown=3).put(0, 9, 16, cooldown=5).vector()[:70].reshape(10, 7)
    assert rows[9].tolist() == pytest.approx([1, 0.25, -0.25, 0, 0, 0, 1])  # 50 of 200
    assert rows[0].tolist() == pytest.approx([1, 0.2, -0.25, 0, 1, 0, 0])  # 5 of 25


def test_enemy_state_row_with_shield_and_flipped_bits():
    board = Board("2s3z", order=[4, 0, 1, 2, 3]).put(5 + 4, 16, 2, health=10, shield=5)
    rows = board.vector()[35:65].reshape(5, 6)
    np.testing.assert_allclose(rows[0], [0.1, 0, -0.5, 0.1, 1, 0], rtol=1e-6)  # zealot
    assert rows[1, 3:].tolist() == [1, 0, 1]  # stalker


def test_mixed_races_show_only_protoss_shields():
    marines, zealots = scenario("3m").allies, (Group("zealot", 3, (23.0, 16.0)),)
    board = Board(replace(scenario("3m"), enemies=zealots)).put(0, 16, 16).put(3, 16, 17, shield=25)
    obs = board.obs()[0]
    assert obs[4:10].tolist() == pytest.approx([1, 1 / 9, 0, 1 / 9, 1, 0.5])
    assert len(obs) == 4 + 3 * 6 + 2 * 5 + 1
    board = Board(replace(scenario("3m"), allies=zealots, enemies=marines)).put(0, 16, 16, shield=20).put(3, 17, 16)
    obs = board.obs()[0]
    assert obs[4:9].tolist() == pytest.approx([1, 1 / 9, 1 / 9, 0, 1])
    assert obs[31:].tolist() == pytest.approx([1, 0.4])
    assert len(obs) == 4 + 3 * 5 + 2 * 6 + 2


def test_last_actions_of_visible_allies():
    board = Board("3m", obs_last_action=True).put(0, 10, 16).put(1, 10, 17).put(2, 25, 16)
    board.last_action = [3, 4, 5]
    rows = board.obs()[0, 19 : 19 + 28].reshape(2, 14)
    assert np.flatnonzero(rows[0, 5:]).tolist() == [4]
    assert (rows[1] == 0).all()


def test_time_is_told_even_to_the_dead():
    board = Board("3m", obs_timestep_number=True, state_timestep_number=True).put(1, 5, 16, health=0)
    board.clock = 15
    assert board.obs()[:, -1].tolist() == [0.25, 0.25, 0.25]
    assert (board.obs()[1, :-1] == 0).all()
    assert board.vector()[-1] == 0.25


def test_health_can_be_hidden():
    board = Board("2s3z", obs_all_health=False).put(0, 10, 16, health=20).put(5, 13, 20).put(1, 10, 20)
    obs = board.obs()[0]
    np.testing.assert_allclose(obs[4:10], [1, 5 / 9, 3 / 9, 4 / 9, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(obs[34:40], [1, 4 / 9, 0, 4 / 9, 1, 0], rtol=1e-6)
    assert obs[58:].tolist() == [0.25, 1, 1, 0]
    blind = Board("2s3z", obs_all_health=False, obs_own_health=False)
    assert blind.obs()[0, 58:].tolist() == [1, 0]


def test_pathing_and_height_around_an_agent():
    board = Board("3m", obs_pathing_grid=True, obs_terrain_height=True).put(0, 4.5, 21.5)
    obs = board.obs()[0]
    # Cells (4, 25), (4, 17), (8, 21), (0, 21), (6, 23), (2, 19), (6, 19), (2, 23): no ground at the first and fourth.
    assert obs[4:12].tolist() == [0, 1, 1, 0, 1, 1, 1, 1]
    assert len(set(obs[12:21].tolist())) == 1  # flat
    board.put(0, 1.0, 29.0)
    assert board.obs()[0, 4 + 3] == 1  # cell (-3, 29) lies outside of the map, which counts as 1
    assert board.obs()[0, 12 + 3] == 1


def test_plateau_is_higher_than_the_ground_before_it():
    board = Board("2c_vs_64zg", flat=True, obs_terrain_height=True).put(0, 16.5, 10.5)
    heights = board.obs()[0, 4:13]
    assert heights[0] > heights[8]  # 4 cells north, here
    assert heights[1] == heights[8]


def test_obs_instead_of_state():
    board = Board("3m", obs_instead_of_state=True).put(0, 10, 16)
    assert (board.vector() == board.obs().reshape(-1)).all()


def test_layout_names_point_at_the_right_numbers():
    board = Board("2s3z", order=[4, 0, 1, 2, 3]).put(0, 10, 16).put(9, 13, 20, health=50).put(4, 13, 16, shield=10)
    obs, names = board.obs()[0], obs_layout(board.game, board.interface).names
    assert obs[names.index("enemy[0].health")] == 0.5
    assert obs[names.index("enemy[0].is_zealot")] == 1
    assert obs[names.index("ally[3].shield")] == pytest.approx(0.2)
    state, names = board.vector(), state_layout(board.game, board.interface).names
    assert state[names.index("enemy[0].x")] == pytest.approx(-3 / 28)
    assert state[names.index("ally[4].shield")] == pytest.approx(0.2)


def test_custom_scenario_with_more_patients_than_enemies():
    game = replace(scenario("MMM"), enemies=scenario("MMM").enemies[:1])  # 7 marines
    board = Board(game).put(8, 4, 16)
    assert board.avail().shape == (10, 13)
    assert np.flatnonzero(board.avail()[9]).tolist() == [1, 2, 3, 4, 5, *range(6, 13)]
