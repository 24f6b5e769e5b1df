"""``ibal analyse`` as a user types it: numbers and pictures of an attacker, and refusals in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import pytest

from ibal import make, rng
from ibal.adversaries.bundle import save_attacker
from ibal.adversaries.config import InteractionConfig, OccludeRetreatConfig
from ibal.adversaries.interaction import State, init, replace_scores
from ibal.cli.analyse import as_text
from ibal.cli.main import main
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.nets import agents
from ibal.nets.bundle import save_bundle

LEAK = make("toy/leak")
SMALL = InteractionConfig(
    club=ClubConfig(hidden=(16,), batch=128), action=ActionConfig(hidden=(16,), batch=64), rows=128
)


def attackers(folder: Path) -> Path:
    """Two attackers with scores of chance: what they are worth is none of a command's business."""
    spec = LEAK.spec

    @jax.jit
    def drawn(key: jax.Array) -> State:
        state = init(key, SMALL, spec)
        return replace_scores(state, jax.random.normal(key, state.scores.shape), state.mean)

    for seed in (0, 1):
        save_attacker(folder / f"a{seed}.safetensors", "interaction", SMALL, spec, drawn(rng.root(seed)))
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run folder of an untrained team, and a folder of two attackers."""
    folder, s = tmp_path_factory.mktemp("analyse"), LEAK.spec
    weights = agents.init(rng.root(0), s.obs_size + s.n_actions + s.n_agents, s.n_actions, hidden=8)
    save_bundle(folder / "run" / "policy" / "seed-0.safetensors", weights, s, {"env": "toy/leak"})
    return folder / "run", attackers(folder / "attackers")


def test_numbers_and_pictures(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, bank = files
    asked = ["--episodes", "40", "--steps", "5", "--epsilon", "1", "--out", str(tmp_path / "x")]
    assert main(["analyse", str(run), "--attacker", str(bank), *asked, "--json"]) == 0
    streams = capsys.readouterr()
    numbers = json.loads(streams.out)
    assert numbers == json.loads((tmp_path / "x" / "numbers.json").read_text())
    names = {f"{stem}.{end}" for stem in ("dimensions", "actions", "redundancy") for end in ("svg", "png")}
    assert {file.name for file in (tmp_path / "x").iterdir()} == names | {"numbers.json"}
    assert numbers["attackers"] == [str(bank / f"a{seed}.safetensors") for seed in (0, 1)]
    assert (numbers["env"], numbers["most"], numbers["episodes"]) == ("toy/leak", 1, 40)
    # Three agents, K = 1: for G1 both blocks are of the other group, for the others one of two.
    block = numbers["dimensions"]["rules"]["block"]
    assert numbers["dimensions"]["groups"] == 3
    assert block["first"]["chance_blocks"] == 1.0
    assert 0.5 < block["all"]["chance_blocks"] < 1.0
    assert len(numbers["actions"]["attackers"]) == 2
    assert numbers["actions"]["agreement"]["chance"] == pytest.approx(1 / 4)
    assert len(numbers["redundancy"]["per_step"]["time"]) == LEAK.spec.horizon
    assert "playing 40 episodes of toy/leak" in streams.err
    text = as_text(numbers)
    assert "combat" not in text  # nobody fights there
    assert "redundancy below 0: " in text
    least = min(value for role in numbers["dimensions"]["roles"].values() for value in role.values())
    assert ("information below 0: " in text) == (min(least, *numbers["redundancy"]["mean"].values()) < 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attacker", "nowhere.safetensors"], "there is no attacker nowhere.safetensors; fit one with ibal attack"),
        (["--attacker", "BANK", "--env", "3m"], "smac/3m needs 42 inputs"),
        (["--attacker", "EMPTY"], "has no interaction attacker fitted on toy/leak (it has: none at all)"),
        (["--attacker", "OTHER"], 'was fitted in "smac/3m"'),
        (["--attacker", "CONTROL"], "has not learned both what entries and what actions tell"),
        (["--attacker", "BANK", "--episodes", "1"], "--episodes must be at least 2, not 1"),
        (["--attacker", "BANK", "--agent", "7"], "--agent is 7; toy/leak has agents 0..2"),
        (["--attacker", "BANK", "--out", __file__], "this is a file; name a folder"),
        ([], "the following arguments are required: --attacker"),
    ],
)
def test_wrong_use(
    arguments: list[str], message: str, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, bank = files
    (tmp_path / "empty").mkdir()
    places = {"BANK": bank, "EMPTY": tmp_path / "empty", "OTHER": tmp_path / "3m.safetensors",
              "CONTROL": tmp_path / "control.safetensors"}  # fmt: skip
    control = OccludeRetreatConfig().interaction()
    for place, env in (("OTHER", make("3m")), ("CONTROL", LEAK)):
        if place in arguments:
            config = control if env is not LEAK else InteractionConfig(masks="truth", actions="random")
            state = config.build(env.spec).init(rng.root(0))
            save_attacker(places[place], "interaction", config, env.spec, state)
    words = [str(places.get(word, word)) for word in arguments]
    assert main(["analyse", str(run), "--out", str(tmp_path / "out"), *words]) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.out == ""
    assert "Traceback" not in streams.err
