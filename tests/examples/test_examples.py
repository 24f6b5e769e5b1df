"""The files of ``examples/`` run: in this process and on toys, so that what they compile is compiled once."""

from __future__ import annotations

import importlib.util
import inspect
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import ibal
from ibal.experiments.presets import PRESETS
from ibal.game.perturb import checked

HOME = Path(__file__).parents[2] / "examples"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a file under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", HOME / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def scores(table: ibal.Evaluation) -> dict[tuple[str, str], Any]:
    return {(entry["policy"], entry["attack"]): entry for entry in table.entries}


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What ``train_and_attack`` made, by the function that made it: the snippets go on with it, and compile nothing."""
    made: dict[str, Any] = {}

    def kept(name: str) -> Any:
        real = getattr(ibal, name)
        return lambda *args, **given: made.setdefault(name, real(*args, **given))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("train", "fit", "evaluate"):
            patch.setattr(ibal, name, kept(name), raising=False)
        load("train_and_attack", patch).main(tiny=True)
    return made


def test_train_and_attack(told: dict[str, Any]) -> None:
    assert {attack for _, attack in scores(told["evaluate"])} >= {"natural", "random", "interaction"}


def snippets() -> dict[str, str]:
    """The pages that have Python in them, all of it in one text per page, and the cells of the notebook."""
    pages = [*HOME.parent.glob("*.md"), *(HOME.parent / "docs").rglob("*.md")]
    found = {page.name: re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S) for page in pages}
    found["notebook.py"] = [(HOME / "notebook.py").read_text("utf-8")]  # as it stands: with --all, minutes
    return {name: "\n".join(parts) for name, parts in found.items() if parts}


@pytest.mark.parametrize("page", snippets())
def test_the_snippets_of_a_page_run_one_after_the_other(
    page: str, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the team and the attacker of a toy in place of those that take minutes, and few episodes; what they are
    asked for is held to the functions and tables there are."""
    watched: list[Any] = []
    real = {name: getattr(ibal, name) for name in ("train", "fit", "evaluate", "watch", "audit")}

    def given(name: str, *args: Any, **named: Any) -> dict[str, Any]:
        return inspect.signature(real[name]).bind(*args, **named).arguments

    def train(*args: Any, **named: Any) -> ibal.Run:
        asked = given("train", *args, **named)
        assert asked["env"] in ibal.environments()
        assert asked.get("preset", "paper") in PRESETS
        return told["train"]

    def fit(*args: Any, **named: Any) -> ibal.Attacker:
        asked = given("fit", *args, **named)
        assert (asked["attack"], asked["team"]) == (told["fit"].attack, told["train"].teams[0])
        return told["fit"]

    def evaluate(*args: Any, **named: Any) -> ibal.Evaluation:
        asked = given("evaluate", *args, **named)
        for name in asked["perturbations"]:
            checked(name)
        return real["evaluate"](asked["teams"], asked["attacks"], episodes=16, quiet=True)

    def audit(*args: Any, **named: Any) -> Any:
        assert Path(given("audit", *args, **named)["out"]).suffix == ".html"
        return SimpleNamespace(passed=True, data={"lowest": {}, "verdict": []})

    for name, stand_in in (("train", train), ("fit", fit), ("evaluate", evaluate), ("audit", audit)):
        monkeypatch.setattr(ibal, name, stand_in, raising=False)
    monkeypatch.setattr(
        ibal, "watch", lambda *args, **named: watched.append(given("watch", *args, **named)), raising=False
    )
    exec(compile(snippets()[page], page, "exec"), {})
    assert bool(watched) == ("ibal.watch" in snippets()[page])


def test_write_an_attack(told: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The team that was trained alone is that of ``train_and_attack``, to the letter of what is asked for."""
    real = ibal.train

    def train(*args: Any, **given: Any) -> ibal.Run:
        asked = (args, given) == (("toy/leak",), {"preset": "smoke", "steps": 200})
        return told["train"] if asked else real(*args, **given)

    monkeypatch.setattr(ibal, "train", train, raising=False)
    table = load("write_an_attack", monkeypatch).main(tiny=True)
    found = scores(table)
    assert found["alone", "natural"]["attacked"] == 0
    assert 0 < found["alone", "half"]["attacked"] < found["alone", "always"]["attacked"] <= 1 / 2  # one agent of some


def test_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    table = load("own_environment", monkeypatch).main(tiny=True)
    assert set(table.rows["env"]) == {"meet"}
    assert set(table.rows["length"]) == {10}


def test_own_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    table = load("own_policy", monkeypatch).main(tiny=True)
    found = scores(table)
    assert {policy for policy, _ in found} == {"function", "with memory", "program"}
    assert found["function", "random"]["return"] == found["program", "random"]["return"]  # they act alike


def test_compare_methods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = load("compare_methods", monkeypatch).main(tiny=True, out=tmp_path)
    assert {policy for policy, _ in scores(table)} == {"vanilla", "rand-act"}
    assert {file.name for file in tmp_path.iterdir()} == {"scores.png", "vanilla.png", "rand-act.png"}


def test_jaxmarl_ippo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It trains in our world under an attack, and its file is read: the same logits as those of its own network."""
    pytest.importorskip("jaxmarl", reason="jaxmarl is optional: pip install jaxmarl")
    jnp = pytest.importorskip("jax.numpy")
    example = load("jaxmarl_ippo", monkeypatch)
    for name, few in (("GAMES", 4), ("LENGTH", 8), ("HIDDEN", 8), ("EPOCHS", 1)):
        monkeypatch.setattr(example, name, few)
    file = tmp_path / "actor.safetensors"
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as its users' programs are
        params, won = example.main("toy/leak", "random-act[p=0.2]", steps=2 * 4 * 8, out=str(file))
        spec = ibal.make("toy/leak").spec
        obs = np.random.default_rng(0).normal(size=(spec.n_agents, spec.obs_size)).astype(np.float32)
        hidden, wanted, _ = example.Network(spec.n_actions).apply(
            params, jnp.zeros((spec.n_agents, 8)), obs[None], jnp.ones((1, spec.n_agents), bool), True
        )  # fmt: skip
    assert len(won) == 2
    team: Any = ibal.load_policy(f"jaxmarl:{file}", env="toy/leak")
    team = team.policy
    carry, logits = team.scores(team.start(), jnp.asarray(obs), None, None)
    np.testing.assert_allclose(logits, wanted[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(carry, hidden, rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
def test_sweep_without_recompiling(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load("sweep_without_recompiling", monkeypatch).main(tiny=True)
    assert len(found) == 6
    assert found[0][2] <= found[-1][2]  # twice the health is no disadvantage


def test_play_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    file = HOME.parent / "docs" / "results" / "archive-2026-11" / "ibal" / "policies" / "3m-vanilla-0.safetensors"
    team, held = load("play_with_numpy", monkeypatch).main(file), ibal.load_policy(file)
    rng = np.random.default_rng(0)
    team.reset()
    for _ in range(20):  # float32 in another order of additions: ties are not to be expected
        obs = rng.normal(size=(team.n, team.o)).astype(np.float32)
        avail = rng.random((team.n, team.a)) < 0.7
        avail[:, 0] = True
        assert team.act(obs, avail).tolist() == held.act(obs, avail).tolist()


@pytest.mark.thorough
def test_the_notebook_runs_from_top_to_bottom() -> None:
    names = runpy.run_path(str(HOME / "notebook.py"))
    assert names["run"].finished
    assert names["table"].rows.height == 6 * 256
