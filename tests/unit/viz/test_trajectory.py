"""The JSON form: what is written can be read back, and what cannot be drawn is refused."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ibal.viz import Overlay, to_json
from ibal.viz.trajectory import pack, unpack
from unit.viz import skirmish


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=5),
        elements=st.one_of(st.just(0.0), st.floats(-300, 300)),
    )
)
def test_packed_arrays_come_back_within_half_a_unit(values):
    packed = json.loads(json.dumps(pack(values, 0.001)))
    assert np.abs(unpack(packed) - values).max(initial=0.0) <= 0.0005001


def test_mostly_zero_arrays_are_written_sparsely():
    values = np.zeros((4, 50))
    values[1, 3], values[3, 49] = 0.25, -1.0
    packed = pack(values, 0.001)
    assert packed["gaps"] == [54, 146]
    assert packed["data"] == [250, -1000]
    assert "gaps" not in pack(np.ones(5))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_json_does_not_have_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        pack(np.array([0.0, bad]))


def test_json_holds_the_episode(natural):
    data = json.loads(json.dumps(to_json(natural, skirmish.SPEC), allow_nan=False))
    assert data["schema"] == 1
    assert data["length"] == natural.length
    assert data["label"] == "natural"
    assert [kind["name"] for kind in data["scene"]["kinds"]] == list(skirmish.SCENE.kinds)
    assert data["scene"]["walkable"][3][6:10] == "1001"
    assert data["layout"]["blocks"][1] == ["enemy", 0, 4, list(skirmish.FEATURES)]
    assert data["outcome"] == {
        "return": round(natural.episode_return, 4),
        "win": natural.win,
        "word": "LOSS",
    }
    assert data["intended"] is None
    assert data["overlay"] == {}
    np.testing.assert_allclose(unpack(data["obs"]), natural.steps.obs, atol=0.00051)
    np.testing.assert_allclose(unpack(data["frames"]["position"]), natural.frames.position, atol=0.0051)
    np.testing.assert_allclose(unpack(data["frames"]["health"]), natural.frames.health, atol=0.051)
    np.testing.assert_array_equal(unpack(data["executed"]), natural.executed)
    assert unpack(data["reward"]).sum() == pytest.approx(natural.episode_return, abs=0.01)


def test_fields_that_never_change_are_written_once(natural):
    frames = to_json(natural, skirmish.SPEC)["frames"]
    assert frames["kind"]["shape"] == frames["radius"]["shape"] == [1, skirmish.U]
    assert frames["position"]["shape"] == [natural.length + 1, skirmish.U, 2]


def test_overlay_tells_what_the_attack_did(jammed):
    overlay = to_json(jammed, skirmish.SPEC)["overlay"]
    np.testing.assert_array_equal(unpack(overlay["groups"]), [[1, 1, 2]])  # one row: they never change
    masked = unpack(overlay["masked"]).astype(bool)
    np.testing.assert_array_equal(masked[3, 1], skirmish.LAYOUT.mask("ally"))
    assert not masked[:, [0, 2]].any()
    seen = unpack(overlay["change"]) + np.asarray(jammed.steps.obs)[: jammed.length]
    np.testing.assert_allclose(seen, jammed.overlay.seen, atol=0.00051)
    assert to_json(jammed, skirmish.SPEC)["intended"] is not None


def test_an_attack_that_never_struck_leaves_nothing(natural):
    seen = np.asarray(natural.steps.obs)[: natural.length]
    idle = Overlay(np.zeros((natural.length, skirmish.N), int), seen, np.zeros(seen.shape, bool))
    assert to_json(natural._replace(overlay=idle), skirmish.SPEC)["overlay"] == {}


def test_without_a_mask_the_changed_entries_are_the_masked_ones(jammed):
    bare = jammed._replace(overlay=Overlay(seen=jammed.overlay.seen))
    masked = unpack(to_json(bare, skirmish.SPEC)["overlay"]["masked"]).astype(bool)
    clean = np.asarray(jammed.steps.obs)[: jammed.length]
    np.testing.assert_array_equal(masked, jammed.overlay.seen != clean)


def test_a_missing_scene_is_said_in_a_sentence():
    import dataclasses

    spec = dataclasses.replace(skirmish.SPEC, scene=None)
    with pytest.raises(ValueError, match="has no scene"):
        to_json(skirmish.blank(), spec)
    assert to_json(skirmish.blank(), spec, skirmish.SCENE)["length"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"executed": np.ones((3, 7), int)}, "executed has shape"),
        ({"overlay": Overlay(groups=np.ones((2, 3), int))}, "overlay.groups has shape"),
        ({"overlay": Overlay(seen=np.ones((3, 3, 2)))}, "overlay.seen has shape"),
        ({"overlay": Overlay(notes=("one",))}, "notes has 1 lines"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        to_json(skirmish.blank()._replace(**change), skirmish.SPEC)


def test_what_a_world_draws_of_itself_is_kept_small_in_the_page():
    stroll = skirmish.stroll(length=2)
    shots = [np.full((300, 900, 3), (20 * t, 200, 50), np.uint8) for t in range(3)]
    shots[1][:, :450] = (255, 0, 0)
    data = to_json(stroll._replace(pictures=tuple(shots)), skirmish.PEACEFUL)["pictures"]
    assert data["size"] == [400, 133]
    head = "data:image/png;base64,"
    images = [Image.open(io.BytesIO(base64.b64decode(one.removeprefix(head)))).convert("RGB") for one in data["data"]]
    assert [image.size for image in images] == [(400, 133)] * 3
    assert [images[t].getpixel((300, 60)) for t in range(3)] == [(0, 200, 50), (20, 200, 50), (40, 200, 50)]
    assert images[1].getpixel((100, 60)) == (255, 0, 0)
    assert to_json(stroll, skirmish.PEACEFUL)["pictures"] is None
    for wrong in (shots[:2], [*shots[:2], shots[0][:9]], [shot[:, :, 0] for shot in shots]):
        with pytest.raises(ValueError, match=r"pictures has . of shapes .*; 3 of one shape \[h, w, 3\] were expected"):
            to_json(stroll._replace(pictures=tuple(wrong)), skirmish.PEACEFUL)
