"""Worlds without a picture of their own are drawn as a ring of agents, and play as before."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ibal
from ibal import envs, rng
from ibal.envs.check import check_frame
from ibal.viz.plain import pictured


@pytest.fixture(scope="module")
def world():
    return envs.made("toy/climbing")


def test_the_ring_stands_clockwise_from_the_top_and_inside(world):
    drawn = pictured(world)
    assert drawn.frame is not None
    assert drawn.spec.scene is not None
    state, _ = drawn.reset(rng.root(0), drawn.params)
    places, scene = np.asarray(drawn.frame(state, drawn.params).position), drawn.spec.scene
    middle = np.array([scene.width, scene.height]) / 2
    assert places[0][1] > middle[1]
    assert places[0][0] == pytest.approx(middle[0])
    assert np.linalg.norm(places - middle, axis=1) == pytest.approx(np.linalg.norm(places[0] - middle))
    assert (places > 1).all()
    assert (places < scene.width - 1).all()


def test_the_game_is_the_same(world):
    drawn, key = pictured(world), rng.root(3)
    assert drawn.spec.scene is not None
    assert world.spec.scene is None
    state, first = world.reset(key, world.params)
    shown, begun = drawn.reset(key, drawn.params)
    actions = jnp.argmax(first.avail, axis=1).astype(jnp.int32)
    state, step = world.step(key, state, actions, world.params)
    shown, after = drawn.step(key, shown, actions, drawn.params)
    check_frame(drawn, shown, after)
    for one, other in ((first, begun), (step, after), (state, shown.env)):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_world_with_a_picture_keeps_it():
    world = envs.made("lbf/5p")
    assert pictured(world) is world


def test_a_toy_can_be_watched(tmp_path):
    replay = ibal.watch("random", env="toy/climbing", out=tmp_path / "x.html", quiet=True)
    assert "climbing" in (tmp_path / "x.html").read_text(encoding="utf-8")
    assert replay.trajectories[0].frames.position.shape[1] == envs.made("toy/climbing").spec.n_agents
