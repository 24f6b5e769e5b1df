"""A saved team is loaded unchanged, plays the same without its environment, and says why when it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ibal
from ibal import rng
from ibal.envs import make
from ibal.nets import agents, pymarl
from ibal.nets.bundle import find_policies, load_bundle, save_bundle
from ibal.types import EnvSpec

SPEC = make("toy/probe-memory").spec
N, OBS, A = SPEC.n_agents, SPEC.obs_size, SPEC.n_actions


def weights(seed: int = 0, spec: EnvSpec = SPEC) -> agents.PyMarlAgent:
    size = spec.obs_size + spec.n_actions + spec.n_agents
    return agents.init(rng.root(seed), size, spec.n_actions, hidden=8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "policy" / "seed-0.safetensors"
    save_bundle(path, weights(), SPEC, {"seed": 0, "env_steps": 12, "config_hash": "abc"})
    return path


def test_what_is_saved_is_loaded(file: Path) -> None:
    bundle = load_bundle(file)
    jax.tree.map(np.testing.assert_array_equal, bundle.params, weights())
    assert bundle.meta == json.loads(file.with_suffix(".json").read_text())
    for name, value in {
        "env": "toy/probe-memory", "n_agents": N, "n_actions": A, "obs_size": OBS, "state_size": SPEC.state_size,
        "hidden": 8, "seed": 0, "env_steps": 12, "config_hash": "abc", "action_names": list(SPEC.action_names),
        "obs_features": list(SPEC.obs_layout.names),
    }.items():  # fmt: skip
        assert bundle.meta[name] == value
    assert bundle.meta["versions"]["ibal"] == ibal.__version__
    assert sorted(f.name for f in file.parent.iterdir()) == ["seed-0.json", "seed-0.safetensors"]


def test_the_loaded_team_plays_as_the_network_does(file: Path) -> None:
    """Five steps by hand: GRU state and last actions carried along, no unavailable action chosen."""
    params, draw = weights(), np.random.default_rng(0)
    team = ibal.load_policy(file)
    for _ in range(2):  # reset() makes the second episode like the first
        draw = np.random.default_rng(0)
        team.reset()
        hidden, last = agents.start(params, N), jnp.full(N, -1)
        for _ in range(5):
            obs = draw.normal(size=(N, OBS))
            avail = draw.random((N, A)) < 0.6
            avail[:, 0] |= ~avail.any(1)
            x = np.concatenate((obs, np.eye(A)[last] * (np.asarray(last) >= 0)[:, None], np.eye(N)), 1)
            hidden, q = agents.apply(params, hidden, jnp.asarray(x, jnp.float32))
            wanted = [max(np.flatnonzero(avail[i]), key=lambda a, i=i: q[i, a]) for i in range(N)]
            actions = team.act(obs, avail.astype(int))
            np.testing.assert_array_equal(actions, wanted)
            actions[:] = 99  # belongs to the caller
            last = jnp.asarray(wanted)


def test_run_folders_bundles_and_files_of_pymarl_are_understood(file: Path, tmp_path: Path) -> None:
    run = file.parents[1]
    for seed in (10, 2):
        save_bundle(file.with_name(f"seed-{seed}.safetensors"), weights(seed), SPEC)
    assert [path.stem for path in find_policies(run)] == ["seed-0", "seed-2", "seed-10"]
    assert ibal.load_policy(run).meta["seed"] == 0
    alone = tmp_path / "qmix.safetensors"
    shutil.copy(file, alone)
    team = ibal.load_policy(alone)
    assert team.meta == {}
    ones = np.ones((N, A), bool)
    np.testing.assert_array_equal(team.act(np.ones((N, OBS)), ones), ibal.load_policy(run).act(np.ones((N, OBS)), ones))
    shutil.copy(file, tmp_path / "agent.safetensors")
    assert find_policies(tmp_path) == [tmp_path / "agent.safetensors"]


def test_the_newest_of_a_pymarl_training_is_found(tmp_path: Path) -> None:
    """PyMARL saves results/models/<training>/<step>/agent.th."""
    one = tmp_path / "models" / "qmix_seed1"
    for step in ("200", "1000", "90", "5000"):
        (one / step).mkdir(parents=True)
    for step in ("200", "1000", "90"):  # 5000 was never finished
        (one / step / "agent.th").touch()
    for name in (tmp_path, tmp_path / "models", one):
        assert find_policies(name) == [one / "1000" / "agent.th"]
    (tmp_path / "models" / "vdn_seed1" / "7").mkdir(parents=True)
    (tmp_path / "models" / "vdn_seed1" / "7" / "agent.th").touch()
    assert find_policies(one) == [one / "1000" / "agent.th"]
    with pytest.raises(FileNotFoundError, match=rf"the agents of several trainings; name one: {one}, .*/vdn_seed1$"):
        find_policies(tmp_path)


@pytest.mark.parametrize("first", [True, False])
def test_a_writer_killed_between_two_names_leaves_a_policy(
    first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(self: Path, target: Path) -> Path:
        if Path(target).suffix == ".json":
            raise Killed
        return rename(self, target)

    rename, path = Path.replace, tmp_path / "seed-0.safetensors"
    if not first:
        save_bundle(path, weights(1), SPEC, {"env_steps": 10})
    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # nobody tidies up after kill -9
    with pytest.raises(Killed):
        save_bundle(path, weights(2), SPEC, {"env_steps": 20})
    monkeypatch.undo()
    found = ibal.load_policy(path)
    assert (found.meta["env_steps"], found.checked) == (20, True)
    jax.tree.map(np.testing.assert_array_equal, found.params, weights(2))
    save_bundle(path, weights(3), SPEC, {"env_steps": 30})
    assert ibal.load_policy(path).meta["env_steps"] == 30
    assert sorted(file.name for file in tmp_path.iterdir()) == ["seed-0.json", "seed-0.safetensors"]


def test_a_training_that_was_killed_at_once_says_what_makes_a_policy(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    with pytest.raises(
        FileNotFoundError, match=rf"no policy yet: .* Continue it: ibal train --out {tmp_path} --resume$"
    ):
        find_policies(tmp_path)


def test_shapes_that_do_not_fit_are_refused(file: Path) -> None:
    team, obs, avail = ibal.load_policy(file), np.ones((N, OBS)), np.ones((N, A), bool)
    with pytest.raises(
        ValueError, match=rf"act: obs \({N}, {OBS + 1}\) and avail \({N}, {A}\) do not fit; .* \({N}, {OBS}\)"
    ):
        team.act(np.ones((N, OBS + 1)), avail)
    with pytest.raises(ValueError, match="do not fit"):
        team.act(obs, avail[:, :-1])
    avail[-1] = False
    with pytest.raises(ValueError, match=f"act: agent {N - 1} has no available action"):
        team.act(obs, avail)


def test_what_is_wrong_with_a_bundle_is_said(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a policy bundle is a \.safetensors file"):
        save_bundle(tmp_path / "x.th", weights(), SPEC)
    with pytest.raises(ValueError, match="It fits no map of SMAC v1"):
        save_bundle(tmp_path / "x.safetensors", weights(spec=make("toy/two-step").spec), SPEC)
    with pytest.raises(FileNotFoundError, match=r"policy .*nowhere does not exist; wanted a run folder or a file"):
        ibal.load_policy(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no policy: no policy/seed-<k>"):
        ibal.load_policy(file.parent)
    beside = file.with_suffix(".json")
    text = beside.read_text()
    for wrong, message in [
        (text.replace('"hidden": 8', '"hidden": 9'), "describes another policy than seed-0.safetensors"),
        (text.replace('"format": 2', '"format": 3'), "has format 3; this version reads format 2"),
        (text[:50], "is not JSON: .*: it does not describe a policy bundle"),
        ("{}", r'lacks "format": it does not describe a policy bundle. Export the policy again'),
        ('{"format": 2}', 'lacks "env"'),
    ]:
        beside.write_text(wrong)
        with pytest.raises(ValueError, match=message):
            ibal.load_policy(file)
    beside.write_text(text)
    pymarl.save_agent(weights(1), file)
    with pytest.raises(ValueError, match="describes another policy"):
        load_bundle(file)
    beside.unlink()
    with pytest.raises(FileNotFoundError, match=r"a policy bundle is seed-0\.safetensors and seed-0\.json together"):
        load_bundle(file)


def test_a_file_of_the_first_format_is_read_and_one_of_another_kind_refused(file: Path) -> None:
    """The first format had no kind, and its sum went by another name."""
    beside = file.with_suffix(".json")
    about, before = json.loads(beside.read_text()), load_bundle(file)
    assert (about.pop("kind"), about.pop("format")) == ("policy", 2)
    beside.write_text(json.dumps({"format": 1, **about, "weights_crc32": about.pop("crc32")}))
    after = load_bundle(file)
    np.testing.assert_array_equal(after.params[0], before.params[0])
    assert {name: after.meta[name] for name in about if name != "format"} == {n: before.meta[n] for n in about}
    beside.write_text(json.dumps({"format": 2, "kind": "attacker", **about, "crc32": before.meta["crc32"]}))
    with pytest.raises(ValueError, match=r"describes a bundle of another kind \(attacker\), not a policy bundle"):
        load_bundle(file)


def test_neither_environments_nor_training_are_imported(file: Path) -> None:
    code = """
import sys, numpy as np, ibal
team = ibal.load_policy(sys.argv[1])
n = team.meta["n_agents"]
team.act(np.ones((n, team.meta["obs_size"])), np.ones((n, team.meta["n_actions"])))
heavy = ("ibal.envs", "ibal.training", "ibal.learners", "ibal.experiments", "optax", "flax", "orbax")
sys.exit(any(name in sys.modules for name in heavy))
"""
    assert subprocess.run([sys.executable, "-c", code, file], check=False).returncode == 0
