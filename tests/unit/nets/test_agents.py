"""The recurrent agent equals PyTorch's, files load or say why not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ibal.nets import agents, pymarl

FIXTURES = Path(__file__).parents[2] / "parity" / "fixtures"
SMALL = FIXTURES / "pymarl_small.npz"
STEPS, N, INPUTS, ACTIONS = 6, 3, 14, 5


def wave(*shape: int, phase: float = 0.0) -> np.ndarray:
    """The inputs that ``tests/parity/make_pymarl_vectors.py`` used."""
    count = int(np.prod(shape))
    return np.sin(0.7 * np.arange(count, dtype=np.float64) ** 1.1 + phase).reshape(shape).astype(np.float32)


def spec(obs: int = 6, actions: int = ACTIONS, n: int = N, state: int = 6) -> SimpleNamespace:
    return SimpleNamespace(name="toy", n_agents=n, n_actions=actions, obs_size=obs, state_size=state)


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    return {k: v for k, v in np.load(SMALL).items() if not k.startswith("out_")}


@pytest.fixture
def file(tmp_path: Path, tensors: dict[str, np.ndarray]) -> Path:
    save_file(tensors, tmp_path / "agent.safetensors")
    return tmp_path / "agent.safetensors"


def episode(params: agents.PyMarlAgent, xs: np.ndarray) -> np.ndarray:
    hidden, out = agents.start(params, xs.shape[1]), []
    for x in xs:
        hidden, q = agents.apply(params, hidden, jnp.asarray(x))
        out.append(q)
    return np.stack(out)


def test_one_step_at_a_time_equals_pytorch(file: Path) -> None:
    q = episode(pymarl.load_agent(file), wave(STEPS, N, INPUTS))
    np.testing.assert_allclose(q, np.load(SMALL)["out_q"], atol=1e-5)


def test_unroll_equals_apply_repeated(file: Path) -> None:
    params, xs = pymarl.load_agent(file), wave(STEPS, N, INPUTS)
    _, q = agents.unroll(params, agents.start(params, N), jnp.asarray(xs))
    np.testing.assert_allclose(q, episode(params, xs), atol=1e-6)


def test_vmapped_equals_single(file: Path) -> None:
    params, xs = pymarl.load_agent(file), jnp.asarray(wave(4, N, INPUTS))
    hidden = jnp.asarray(wave(4, N, 8, phase=2.0))
    both = jax.vmap(agents.apply, (None, 0, 0))(params, hidden, xs)
    for i in range(4):
        for batched, single in zip(both, agents.apply(params, hidden[i], xs[i]), strict=True):
            np.testing.assert_allclose(batched[i], single, atol=1e-6)


def test_published_policies_equal_pytorch() -> None:
    folder = os.environ.get("IBAL_POLICIES")
    if not folder:
        pytest.skip("set IBAL_POLICIES to the folder of published policy files")
    for name, row in json.loads((FIXTURES / "pymarl_real.json").read_text()).items():
        params = pymarl.load_agent(Path(folder) / name)
        q = episode(params, wave(STEPS, row["n"], params.input_size))
        np.testing.assert_allclose(q[-1, -1], row["q"], atol=1e-5, rtol=1e-5, err_msg=name)


def test_init_is_pytorchs_uniform() -> None:
    params = jax.jit(agents.init, static_argnums=(1, 2))(jax.random.key(0), 100, 7)
    bounds = [0.1, 0.1] + 6 * [1 / 8]
    assert [p.shape for p in params] == [(100, 64), (64,), (64, 192), (192,), (64, 192), (192,), (64, 7), (7,)]
    for p, bound in zip(params, bounds, strict=True):
        assert 0.8 * bound < float(jnp.abs(p).max()) <= bound
    assert abs(float(params.gru_x_w.std()) - 0.125 / np.sqrt(3)) < 2e-3


def test_inputs_are_observation_then_last_action_then_id() -> None:
    obs = jnp.full((2, 3), 7.0)
    x = pymarl.inputs(obs, jnp.array([-1, 2]), 4)
    np.testing.assert_array_equal(x, [[7, 7, 7, 0, 0, 0, 0, 1, 0], [7, 7, 7, 0, 0, 1, 0, 0, 1]])


def test_greedy_never_picks_an_unavailable_action() -> None:
    q = jnp.array([[5.0, -1.0, -2.0], [-9.0, -9.0, -1.0]])
    avail = jnp.array([[False, True, True], [True, True, False]])
    np.testing.assert_array_equal(pymarl.greedy(jax.random.key(0), q, avail), [1, 0])


def test_policy_and_agent_agree(file: Path) -> None:
    policy, agent = pymarl.load_policy(file, spec()), pymarl.pymarl_agent(spec(), hidden=8)
    obs, avail = jnp.asarray(wave(N, 6)), jnp.ones((N, ACTIONS), bool)
    last = jnp.full(N, -1)
    carry = agent.start()
    _, bound = policy.scores(carry, obs, avail, last)
    _, free = agent.scores(pymarl.load_agent(file), carry, obs, avail, last)
    np.testing.assert_array_equal(bound, free)
    assert policy.start().shape == (N, 8)


def test_save_and_load_is_exact(tmp_path: Path, file: Path, tensors: dict[str, np.ndarray]) -> None:
    params, mixer = pymarl.load_agent(file), pymarl.load_mixer(file)
    pymarl.save_agent(params, tmp_path / "again.safetensors", mixer)
    jax.tree.map(np.testing.assert_array_equal, params, pymarl.load_agent(tmp_path / "again.safetensors"))
    jax.tree.map(np.testing.assert_array_equal, mixer, pymarl.load_mixer(tmp_path / "again.safetensors"))
    from safetensors.numpy import load_file

    written = load_file(tmp_path / "again.safetensors")
    assert written.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(written[name], value, err_msg=name)


def test_th_files_load_and_save(tmp_path: Path, file: Path, tensors: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    own = {k: torch.from_numpy(v) for k, v in tensors.items() if not k.startswith("mixer.")}
    mixer = {k.removeprefix("mixer."): torch.from_numpy(v) for k, v in tensors.items() if k.startswith("mixer.")}
    torch.save(own, tmp_path / "agent.th")
    torch.save(mixer, tmp_path / "mixer.th")
    params = pymarl.load_agent(tmp_path / "agent.th")
    jax.tree.map(np.testing.assert_array_equal, params, pymarl.load_agent(file))
    jax.tree.map(np.testing.assert_array_equal, pymarl.load_mixer(tmp_path / "mixer.th"), pymarl.load_mixer(file))
    pymarl.save_agent(params, tmp_path / "again.th")
    for name, value in torch.load(tmp_path / "again.th", weights_only=True).items():
        assert torch.equal(value, own[name])
    (tmp_path / "cut.th").write_bytes((tmp_path / "agent.th").read_bytes()[:500])
    with pytest.raises(ValueError, match="not a complete PyTorch file"):
        pymarl.load_agent(tmp_path / "cut.th")


def test_th_file_without_torch_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "agent.th").write_bytes(b"anything")
    with pytest.raises(ModuleNotFoundError, match=r"need PyTorch.*pip install torch"):
        pymarl.load_agent(tmp_path / "agent.th")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors does not exist"):
        pymarl.load_agent(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        pymarl.load_agent(tmp_path)


@pytest.mark.parametrize("size", [0, 4, 300, -1])
def test_truncated_file(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        pymarl.load_agent(file)


def test_missing_tensor_is_named(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    del tensors["rnn.bias_hh"]
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"lacks rnn\.bias_hh: not a PyMARL recurrent agent"):
        pymarl.load_agent(tmp_path / "a.safetensors")


def test_broken_shapes_and_values(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    path = tmp_path / "a.safetensors"
    save_file(tensors | {"rnn.weight_hh": np.zeros((24, 9), np.float32)}, path)
    with pytest.raises(ValueError, match="a GRU of the width of fc1"):
        pymarl.load_agent(path)
    save_file(tensors | {"fc2.bias": np.zeros(9, np.float32)}, path)
    with pytest.raises(ValueError, match=r"fc2\.weight has shape \(5, 8\) and fc2\.bias \(9,\)"):
        pymarl.load_agent(path)
    save_file(tensors | {"fc2.bias": np.full(5, np.nan, np.float32)}, path)
    with pytest.raises(ValueError, match="holds NaN"):
        pymarl.load_agent(path)


def test_wrong_size_names_the_map_that_fits(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ValueError, match=r"takes 14 inputs and gives 5 actions; toy needs 15 inputs .* no map of SMAC"):
        pymarl.load_policy(file, spec(obs=7))
    shapes = jax.eval_shape(lambda k: agents.init(k, 96, 11), jax.random.key(0))
    pymarl.save_agent(jax.tree.map(lambda s: jnp.zeros(s.shape), shapes), tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="It fits the SMAC map 2s3z"):
        pymarl.load_policy(tmp_path / "b.safetensors", spec())


def test_every_published_size_is_in_the_table() -> None:
    assert len(pymarl.SMAC_WIDTHS) == 23  # widths identify maps, so a hint names exactly one
    from ibal.envs.smac import env
    from ibal.envs.smac.scenarios import SCENARIOS

    assert set(pymarl.SMAC_WIDTHS.values()) == set(SCENARIOS)
    for (width, actions), name in pymarl.SMAC_WIDTHS.items():
        s = env.make(name).spec
        assert (s.obs_size + s.n_actions + s.n_agents, s.n_actions) == (width, actions), name
