"""A checkpoint comes back bit for bit, or is passed over with one sentence; nothing is lost on the way."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from ibal.training import checkpoint
from ibal.training.checkpoint import CheckpointError, restore, save


class Part(NamedTuple):
    w: jax.Array
    nothing: jax.Array | None


class State(NamedTuple):
    part: Part
    optimiser: Any
    keys: jax.Array
    other: jax.Array
    ring: tuple[jax.Array, ...]
    table: dict[str, jax.Array]
    empty: tuple[()]
    counter: jax.Array


def make(seed: int = 0, width: int = 3) -> State:
    key = jax.random.key(seed)
    part = Part(jax.random.normal(key, (2, width)), None)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    with jax.numpy_dtype_promotion("standard"):  # optax relies on it
        _, moments = optimiser.update(part, optimiser.init(part), part)
    ring = (
        jnp.array([1.5, -0.0, jnp.inf, jnp.nan], jnp.float16),
        jnp.arange(5, dtype=jnp.uint8),
        jnp.array([[True, False]]),
        jnp.zeros((0, 4)),
        jnp.array([1.0, 3.0], jnp.bfloat16),
        jnp.array([1, -2], jnp.float8_e4m3fn),
    )
    keys = jax.random.split(key, 4)
    return State(
        part,
        moments,
        keys,
        jax.random.key(7, impl="rbg"),
        ring,
        {"a/b": jnp.int32(-3), "c": keys[0]},
        (),
        jnp.uint32(9),
    )


def bits(leaf: Any) -> tuple[Any, ...]:
    """Everything of a leaf that can differ, NaN payloads included."""
    dtype = leaf.dtype
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return type(leaf), dtype, leaf.shape, np.asarray(leaf).tobytes()


def assert_same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert [bits(x) for x in jax.tree.leaves(a)] == [bits(x) for x in jax.tree.leaves(b)]


def steps(folder: Path) -> list[int]:
    return [int(path.stem) for path in checkpoint.checkpoints(folder)]


@pytest.mark.parametrize("abstract", [True, False])
def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path: Path, abstract: bool) -> None:
    state = make()
    save(tmp_path, 5, state, extra={"config_hash": "abc", "list": [1, None]})
    template = jax.eval_shape(make) if abstract else make(1)
    found = restore(tmp_path, template, expect={"config_hash": "abc"})
    assert found is not None
    assert_same(found.state, state)
    assert isinstance(found.state.part, Part)
    assert (found.step, found.extra, found.skipped) == (5, {"config_hash": "abc", "list": [1, None]}, [])
    assert (jax.random.bits(found.state.keys[2]) == jax.random.bits(state.keys[2])).all()


def test_numpy_arrays_and_python_numbers_stay_what_they_are(tmp_path: Path) -> None:
    state = {
        "a": np.arange(3.0),
        "b": 3,
        "c": 0.1,
        "d": True,
        "e": np.float64(2.5),
        "f": np.asfortranarray(np.eye(3)[:2]),
    }
    save(tmp_path, 0, state)
    found = restore(tmp_path, state)
    assert found is not None
    for name, value in state.items():
        assert type(found.state[name]) is type(value)
        np.testing.assert_array_equal(found.state[name], value)
    found.state["a"][0] = 1.0  # writable, as an array of one's own is


def test_a_single_array_is_a_state_too(tmp_path: Path) -> None:
    save(tmp_path, 0, jnp.arange(3))
    found = restore(tmp_path, jnp.zeros(3, int))
    assert found is not None
    np.testing.assert_array_equal(found.state, [0, 1, 2])


def test_sharded_leaves_return_to_their_devices(tmp_path: Path) -> None:
    mesh = jax.make_mesh((2,), ("seed",), devices=jax.devices()[:2], axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seed"))
    state = {
        "w": jax.device_put(jnp.arange(8.0), sharding),
        "key": jax.device_put(jax.random.split(jax.random.key(0), 2), sharding),
    }
    save(tmp_path, 1, state)
    found = restore(tmp_path, state)
    assert found is not None
    assert_same(found.state, state)
    assert found.state["w"].sharding == sharding
    assert found.state["key"].sharding.is_equivalent_to(sharding, 1)


def test_the_file_is_a_safetensors_file(tmp_path: Path) -> None:
    path = save(tmp_path, 5, {"agent": {"w": jnp.arange(4.0).reshape(2, 2)}, "flag": jnp.array(True)})
    tensors = load_file(path)
    np.testing.assert_array_equal(tensors["agent/w"], [[0, 1], [2, 3]])
    assert tensors["flag"]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (10, 20, 30, 100):
        save(tmp_path, step, jnp.arange(3), keep=2)
    assert steps(tmp_path) == [30, 100]
    save(tmp_path, 100, jnp.arange(3) + 1, keep=2)
    found = restore(tmp_path, jnp.arange(3))
    assert found is not None
    np.testing.assert_array_equal(found.state, [1, 2, 3])
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_written_yet_is_none(tmp_path: Path) -> None:
    assert restore(tmp_path / "none", jnp.arange(3)) is None
    (tmp_path / "notes.safetensors").write_bytes(b"not one of ours")
    assert restore(tmp_path, jnp.arange(3)) is None


def test_a_file_cut_anywhere_is_passed_over(tmp_path: Path) -> None:
    state = make()
    save(tmp_path, 1, state)
    path = save(tmp_path, 2, state)
    whole = path.read_bytes()
    cuts = {0, 1, 7, 8, 9, 200, len(whole) // 2, len(whole) - 1}
    for cut in sorted(cuts):
        path.write_bytes(whole[:cut])
        found = restore(tmp_path, state)
        assert found is not None
        assert found.step == 1
        assert found.skipped == [f"{path} is cut off ({cut} bytes{found.skipped[0].partition(' bytes')[2]}"]
        assert_same(found.state, state)
    path.write_bytes(whole + b"\0")
    found = restore(tmp_path, state)
    assert found is not None
    assert found.step == 1


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    state = {"w": jnp.arange(4.0), "key": jax.random.key(0)}
    save(tmp_path, 1, state)
    path = save(tmp_path, 2, state)
    whole = path.read_bytes()
    noticed = 0
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        found = restore(tmp_path, state)
        assert found is not None
        assert_same(found.state, state)
        assert (found.step, len(found.skipped)) in ((1, 1), (2, 0)), at
        noticed += found.step == 1
    # What is not read (safetensors' own table repeats what the metadata say) need not be noticed.
    assert noticed > len(whole) / 2


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"w": jnp.zeros(5), "n": jnp.int32(0)}, r'another training: "w" is float32\[5\], float32\[4\] is wanted'),
        ({"w": jnp.zeros(4, jnp.float16), "n": jnp.int32(0)}, r'"w" is float16\[4\], float32\[4\] is wanted'),
        ({"w": jnp.zeros(4)}, r'another training: it lacks "n" \(1 arrays, 2 wanted\)'),
        ({"w": jnp.zeros(4), "n": jnp.int32(0), "z": jnp.zeros(1)}, r'holds "z", which is not wanted \(3 arrays, 2'),
        ({"w": jnp.zeros(4), "n": jax.random.key(0)}, r'"n" is random keys\[2\], int32\[\] is wanted'),
    ],
)
def test_a_foreign_checkpoint_is_passed_over(tmp_path: Path, other: Any, why: str) -> None:
    own = {"w": jnp.arange(4.0), "n": jnp.int32(1)}
    save(tmp_path, 1, own)
    save(tmp_path, 2, other)
    found = restore(tmp_path, jax.eval_shape(lambda: own))
    assert found is not None
    assert found.step == 1
    assert re.search(why, found.skipped[0]), found.skipped[0]
    (tmp_path / "000000000001.safetensors").unlink()
    with pytest.raises(CheckpointError, match=rf"no checkpoint in .* can be used: .*{why}.*Start anew"):
        restore(tmp_path, own)


def test_keys_of_another_kind_do_not_fit(tmp_path: Path) -> None:
    save(tmp_path, 1, {"k": jax.random.key(0, impl="rbg")})
    with pytest.raises(CheckpointError, match=r"holds random keys of rbg; key<fry> is wanted"):
        restore(tmp_path, {"k": jax.random.key(0)})
    with pytest.raises(CheckpointError, match=r'"k" is random keys\[4\], uint32\[2\] is wanted'):
        restore(tmp_path, {"k": jnp.zeros(2, jnp.uint32)})


def test_another_configuration_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, 1, jnp.arange(3), extra={"config_hash": "a1"})
    with pytest.raises(CheckpointError, match=r"was written with another config_hash \(a1; wanted b2\)"):
        restore(tmp_path, jnp.arange(3), expect={"config_hash": "b2"})


def test_a_damaged_newest_is_not_counted_after_resuming(tmp_path: Path) -> None:
    """With keep=1 the good checkpoint written next must not be the one that is removed."""
    save(tmp_path, 100, jnp.arange(3), keep=2)
    save(tmp_path, 200, jnp.arange(3), keep=2).write_bytes(b"cut")
    save(tmp_path, 150, jnp.arange(3) + 5, keep=1)
    assert steps(tmp_path) == [150]
    assert (tmp_path / "000000000200.safetensors.unusable").read_bytes() == b"cut"


def test_two_leaves_of_one_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='two leaves of the state have the path "a/b"'):
        save(tmp_path, 1, {"a": {"b": jnp.zeros(1)}, "a/b": jnp.zeros(1)})


def test_a_full_disk_leaves_the_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1, jnp.arange(3))

    def full(path: Path, parts: Any) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(
        CheckpointError, match=r"checkpoint of step 2 \(.* MB\) to .*: the disk is full\. Earlier .* intact"
    ):
        save(tmp_path, 2, jnp.arange(3), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001.safetensors"]
    assert restore(tmp_path, jnp.arange(3)) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_write_that_really_fails_is_one_sentence(tmp_path: Path) -> None:
    """The system refuses to write more than 1 MB to one file: the error comes from deep inside the write."""
    code = """
import resource, signal, sys, jax.numpy as jnp
from ibal.training.checkpoint import CheckpointError, save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
save(sys.argv[1], 1, jnp.zeros(1000))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    save(sys.argv[1], 2, [jnp.zeros(200_000), jnp.zeros(200_000)], keep=1)
except CheckpointError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith(f"cannot write the checkpoint of step 2 (1.6 MB) to {tmp_path}: File too large.")
    assert steps(tmp_path) == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write the checkpoint of step 0"):
        save(tmp_path / "file" / "checkpoints", 0, jnp.arange(3))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killing_the_writer_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    code = """
import sys, jax.numpy as jnp
from ibal.training.checkpoint import restore, save
template = {"big": jnp.zeros(500_000), "step": jnp.int32(0)}
found = restore(sys.argv[1], template)
step = 0 if found is None else found.step
while True:
    step += 1
    save(sys.argv[1], step, {"big": jnp.full(500_000, step, jnp.float32), "step": jnp.int32(step)})
    print(step, flush=True)
"""
    template = {"big": jnp.zeros(500_000), "step": jnp.int32(0)}
    last = 0
    for attempt in range(4):
        with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            done = 0
            for _ in range(3 + attempt):
                done = int(writer.stdout.readline())
            time.sleep(0.0031 * attempt)  # somewhere inside the next write
            os.kill(writer.pid, signal.SIGKILL)
        found = restore(tmp_path, template)
        assert found is not None
        assert found.skipped == []
        assert found.step >= done > last
        assert int(found.state["step"]) == found.step
        assert (found.state["big"] == found.step).all()
        last = found.step
    save(tmp_path, last + 1, template)
    assert steps(tmp_path) == [last, last + 1]
    assert len(list(tmp_path.iterdir())) == 2  # nothing half-written stays


def test_a_file_whose_name_is_a_digit_of_another_kind_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "²³.safetensors").write_bytes(b"")
    assert checkpoint.checkpoints(tmp_path) == []


def test_a_training_begun_when_the_replay_lay_beside_the_learner_goes_on(tmp_path: Path) -> None:
    before = {
        "key": jnp.arange(2), "learner": {"params": jnp.ones(3)}, "replay": {"position": jnp.int32(4)},
        "progress": {"owed": jnp.float32(0.5), "env_steps": jnp.int32(7)},
    }  # fmt: skip
    now = {
        "key": before["key"], "progress": {"env_steps": jnp.int32(7)},
        "learner": {
            "learned": {"params": jnp.ones(3)}, "replay": {"position": jnp.int32(4)}, "owed": jnp.float32(0.5)
        },
    }  # fmt: skip
    checkpoint.save(tmp_path / "c", 7, before)
    found = checkpoint.restore(tmp_path / "c", jax.eval_shape(lambda: now))
    assert found is not None
    jax.tree.map(np.testing.assert_array_equal, found.state, now)
    part = checkpoint.restore(tmp_path / "c", jax.eval_shape(lambda: now["learner"]["learned"]), part="learner/learned")
    assert part is not None
    np.testing.assert_array_equal(part.state["params"], np.ones(3))
