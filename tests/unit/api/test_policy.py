"""``ibal.load_policy`` of teams that are no files: the same two functions, and the same choices as in an evaluation."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import ibal
from ibal import rng
from ibal.adversaries.bundle import save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.game.acting import Player
from ibal.game.host import Hosted
from ibal.nets import agents
from ibal.nets.bundle import TeamPolicy, save_bundle

FIRST = """
import json, sys
for line in sys.stdin:
    said = json.loads(line)
    actions = [row.index(1) for row in said["mask"]]
    print(json.dumps({"actions": actions if said["step"] == 0 else actions[::-1]}), flush=True)
"""


def played(team: Player, episode: int) -> tuple[float, int]:
    """Return and length of an episode of ``ibal.evaluate(seed=0)`` that the team plays by ``act``."""
    world = Hosted(ibal.make("toy/leak"))
    step, total, length = world.reset(rng.episode(rng.root(0), episode)), 0.0, 0
    team.reset()
    while not (step.terminated or step.truncated):
        step = world.step(team.act(step.obs, step.avail.astype(int)))
        total, length = total + float(step.reward), length + 1
    return total, length


def test_a_team_that_draws_plays_the_episodes_of_an_evaluation() -> None:
    table = ibal.evaluate("random", env="toy/leak", episodes=3, quiet=True)
    team = ibal.load_policy("random", env="toy/leak")
    assert isinstance(team, Player)
    found = [played(team, episode) for episode in range(3)]
    assert [total for total, _ in found] == pytest.approx(table.rows["return"].to_list())
    assert [length for _, length in found] == table.rows["length"].to_list()


def test_a_program_is_asked_step_by_step_and_goes_where_a_policy_goes(tmp_path: Path) -> None:
    (tmp_path / "team.py").write_text(FIRST)
    team = ibal.load_policy(f"process:{sys.executable} {tmp_path}/team.py", env="toy/leak")
    assert isinstance(team, Player)
    spec = team.spec
    mask = np.zeros((spec.n_agents, spec.n_actions))
    mask[0, 2:] = mask[1:, 1:] = 1
    obs = np.zeros((spec.n_agents, spec.obs_size))
    first = [2] + [1] * (spec.n_agents - 1)
    for _ in range(2):
        np.testing.assert_array_equal(team.act(obs, mask), first)
        np.testing.assert_array_equal(team.act(obs, np.ones_like(mask)), [0] * spec.n_agents)
        team.reset()  # and its step is 0 again
    assert team.act(obs, mask).dtype == np.int32
    rows = ibal.evaluate(team, env="toy/leak", episodes=1, quiet=True).rows
    assert len(rows) == 1


def test_what_is_missing_is_said_in_one_sentence() -> None:
    for name in ("torch:team.pt", "sb3:model.zip", "jaxmarl:actor.safetensors", "process:./my_team", "random"):
        with pytest.raises(ibal.ConfigError, match=f'"{name}" does not say what it plays in') as caught:
            ibal.load_policy(name)
        assert f'load_policy("{name}", env="smac/3m")' in str(caught.value)
    with pytest.raises(ibal.UnknownName, match=r'"troch:team\.pt": there is no module "troch"'):
        ibal.load_policy("troch:team.pt", env="toy/leak")
    with pytest.raises(ibal.UnknownName, match=r'Closest: "torch"\. Of other libraries: process:…, torch:…'):
        ibal.load_policy("troch:team.pt")  # that it names no environment is not what is wrong
    team = ibal.load_policy("random", env="toy/leak")
    assert isinstance(team, Player)
    with pytest.raises(ValueError, match=r"act: obs \(1, 2\) and avail \(1, 3\) do not fit; in toy/leak they are"):
        team.act(np.zeros((1, 2)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="act: agent 0 has no available action"):
        team.act(np.zeros((team.spec.n_agents, team.spec.obs_size)),
                 np.zeros((team.spec.n_agents, team.spec.n_actions)))  # fmt: skip


@pytest.mark.parametrize("library", ["jaxmarl", "sb3", "torch"])
def test_a_file_that_is_not_there_is_named_with_the_closest(library: str, tmp_path: Path) -> None:
    (tmp_path / "actor.safetensors").touch()
    for wrong in ("acter.safetensors", "actor"):
        with pytest.raises(ibal.ConfigError) as caught:
            ibal.load_policy(f"{library}:{tmp_path}/{wrong}", env="toy/leak")
        assert str(caught.value).endswith(
            f'there is no file {tmp_path}/{wrong}. Closest: "{tmp_path}/actor.safetensors".'
        )
    with pytest.raises(ibal.ConfigError, match="is a folder; name a file in it"):
        ibal.load_policy(f"{library}:{tmp_path}", env="toy/leak")
    with pytest.raises(FileNotFoundError, match=r'wanted a run folder .*Closest: ".*actor\.safetensors"'):
        ibal.load_policy(f"{tmp_path}/acter")


def test_an_attacker_is_no_team(tmp_path: Path) -> None:
    spec, file = ibal.make("toy/leak").spec, tmp_path / "a.safetensors"
    config = InteractionConfig(masks="random", most=1)
    save_attacker(file, "interaction", config, spec, config.build(spec).init(rng.root(0)))
    with pytest.raises(
        ValueError, match=r"a\.safetensors is an attacker \(interaction, fitted in toy/leak\), and a team"
    ):
        ibal.load_policy(file)


def test_a_file_is_compared_with_the_environment_that_is_named(tmp_path: Path) -> None:
    spec, file = ibal.make("toy/leak").spec, tmp_path / "a.safetensors"
    save_bundle(file, agents.init(rng.root(0), spec.obs_size + spec.n_actions + spec.n_agents, spec.n_actions, 4), spec)
    held = ibal.load_policy(file, env="toy/leak")
    assert isinstance(held, TeamPolicy)
    assert held.meta["env"] == "toy/leak"
    with pytest.raises(ValueError, match=r"a\.safetensors.* toy/probe-memory"):
        ibal.load_policy(file, env="toy/probe-memory")
