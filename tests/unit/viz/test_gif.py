"""GIFs: readable by Pillow, one picture per time-step, true colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ibal import rng
from ibal.viz import record, write_gif
from ibal.viz.draw import FOOTER, Painter, elbow_room
from ibal.viz.gif import GAP
from ibal.viz.glyphs import KNOWN, glyphs
from ibal.viz.theme import THEMES, rgb
from unit.viz import skirmish


@pytest.fixture(scope="module")
def gif(jammed, tmp_path_factory):
    path = write_gif(jammed, None, skirmish.SPEC, tmp_path_factory.mktemp("gif") / "a.gif", fps=10.0, width=400)
    with Image.open(path) as picture:
        yield picture


def test_one_picture_per_time_step_that_plays_forever(gif, jammed):
    assert gif.format == "GIF"
    assert gif.n_frames == jammed.length + 1
    assert gif.width == 400
    assert gif.info["loop"] == 0
    assert gif.info["duration"] == 100
    gif.seek(gif.n_frames - 1)
    assert gif.info["duration"] == 2500


def test_colours_survive_quantisation(gif, jammed):
    painter = Painter(jammed, skirmish.SPEC, skirmish.SCENE, 400)
    truth = np.asarray(painter.frame(5), int)
    gif.seek(5)
    error = np.abs(np.asarray(gif.convert("RGB"), int) - truth).max(axis=2)
    assert (error > 24).mean() < 0.01
    for name in ("agent", "enemy", "one", "two", "health"):
        assert (np.abs(np.asarray(gif.convert("RGB"), int) - rgb(THEMES["light"][name])).max(axis=2) < 16).any(), name


def test_units_are_drawn_where_they_stand_in_their_teams_colour(natural):
    painter = Painter(natural, skirmish.SPEC, skirmish.SCENE, 640)
    picture = np.asarray(painter.frame(0), int)
    for unit, name in ((0, "agent"), (3, "enemy")):
        x, y = (v / 2 for v in painter.camera.at(*natural.frames.position[0, unit].tolist()))
        radius = float(natural.frames.radius[0, unit]) * painter.camera.scale / 2
        left = picture[round(y), round(x - radius * 0.75)]  # beside the letter
        assert np.abs(left - rgb(THEMES["light"][name])).max() < 20


def test_marks_covered_units_that_stand_shoulder_to_shoulder():
    still = skirmish.huddle()
    painter = Painter(still, skirmish.SPEC, skirmish.SCENE, 240)
    picture = np.asarray(painter.frame(0), int)
    assert painter.crowded.all()
    for unit, name in ((0, "agent"), (1, "agent"), (3, "enemy"), (4, "enemy")):
        x, y = (v / 2 for v in painter.camera.at(*still.frames.position[0, unit].tolist()))
        radius = painter.least[0] / 2 * 0.75
        around = [picture[round(y + radius * np.sin(a)), round(x + radius * np.cos(a))] for a in np.arange(0, 6.2, 0.3)]
        assert (np.abs(np.array(around) - rgb(THEMES["light"][name])).max(1) < 40).mean() > 0.7, unit


def test_elbow_room_is_the_least_distance_of_two_living_units_in_the_steps_around():
    position = np.zeros((30, 3, 2))
    position[:, 1, 0], position[:, 2, 0] = 5.0, 2.0
    position[20, 1, 0] = 1.0
    alive = np.ones((30, 3), bool)
    alive[:, 2] = False
    assert elbow_room(position, alive).tolist() == [5.0] * 12 + [1.0] * 17 + [5.0]
    assert elbow_room(position, np.zeros_like(alive)).tolist() == [np.inf] * 30


def test_without_combat_no_bar_of_an_absent_team_is_drawn():
    painter = Painter(skirmish.stroll(), skirmish.PEACEFUL, skirmish.PEACE, 320)
    picture = np.asarray(painter.frame(0))
    assert (picture[-FOOTER + 1 :] == rgb(THEMES["light"]["panel"])).all()
    fight = np.asarray(Painter(skirmish.blank(), skirmish.SPEC, skirmish.SCENE, 320).frame(0))
    assert (fight[-FOOTER // 2] == rgb(THEMES["light"]["enemy"])).all(-1).any()


def test_of_what_is_no_enemy_no_bars_are_drawn_and_its_ids_begin_with_its_name():
    field = replace(skirmish.SCENE, others=("food", "pieces of food"))
    painter = Painter(skirmish.blank(), skirmish.SPEC, field, 320)
    assert painter.names[3] == "f0"
    assert (np.asarray(painter.frame(0))[-FOOTER // 2] != rgb(THEMES["light"]["enemy"])).any(-1).all()


def _written(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> dict[int, np.ndarray]:
    """The units whose ids are written beside them at the start, and where."""
    out: dict[int, np.ndarray] = {}
    monkeypatch.setattr(painter, "_tag", lambda draw, unit, t, place: out.update({unit: place}))
    painter.frame(0)
    return out


def test_the_number_of_a_unit_below_another_was_hidden(monkeypatch):
    still = skirmish.huddle()
    places, radius = np.array(still.frames.position), np.array(still.frames.radius)
    places[:, 1], radius[:, 0] = (3.2, 6.1), 0.9  # a small unit stands on the large unit 0, to its north-east
    above = still._replace(frames=still.frames._replace(position=places, radius=radius))
    painter = Painter(above, skirmish.SPEC, skirmish.SCENE, 240)
    written = _written(painter, monkeypatch)
    assert list(written) == [0]
    x, y = painter.camera.at(3.0, 6.0)
    assert written[0][0] < x
    assert written[0][1] > y
    assert _written(Painter(still, skirmish.SPEC, skirmish.SCENE, 240), monkeypatch) == {}


def test_the_id_of_food_covered_its_level(natural, monkeypatch):
    field = replace(skirmish.SCENE, others=("food", "pieces of food"))
    assert sorted(_written(Painter(natural, skirmish.SPEC, skirmish.SCENE, 640), monkeypatch)) == [0, 1, 2, 3, 4, 5]
    assert sorted(_written(Painter(natural, skirmish.SPEC, field, 640), monkeypatch)) == [0, 1, 2]


def test_the_dead_become_a_cross_that_fades(natural):
    painter = Painter(natural, skirmish.SPEC, skirmish.SCENE, 640)
    unit = int(np.argmin(painter.death))
    death = int(painter.death[unit])
    x, y = (round(v / 2) for v in painter.camera.at(*natural.frames.position[death, unit].tolist()))
    ground = np.array(rgb(THEMES["light"]["ground"]))
    strength = [
        np.abs(np.asarray(painter.frame(t), int)[y - 2 : y + 3, x - 2 : x + 3] - ground).max()
        for t in (death, natural.length)
    ]
    assert strength[0] > strength[1] > 20


def test_walls_are_darker_than_the_ground(natural):
    painter = Painter(natural, skirmish.SPEC, skirmish.SCENE, 640)
    picture = np.asarray(painter.frame(0), int)
    x, y = (round(v / 2) for v in painter.camera.at(8.0, 3.0))
    assert picture[y, x].tolist() == list(rgb(THEMES["light"]["wall"]))


def test_several_stand_side_by_side_and_the_shorter_waits(natural, jammed, tmp_path):
    short = record(skirmish.make(), skirmish.brawler(), rng.root(0), max_steps=3, label="short")
    path = write_gif([short, jammed], None, skirmish.SPEC, tmp_path / "two.gif", width=200)
    with Image.open(path) as film:
        assert getattr(film, "n_frames", 0) == jammed.length + 1
        assert film.width == 2 * 200 + GAP
        left = []
        for t in (2, 3, 4, jammed.length):
            film.seek(t)
            left.append(np.asarray(film.convert("RGB"))[:, :200])
    assert (left[0] != left[1]).any()
    np.testing.assert_array_equal(left[1], left[2])
    np.testing.assert_array_equal(left[1], left[3])
    with pytest.raises(ValueError, match="at least one"):
        write_gif([], None, skirmish.SPEC, tmp_path / "none.gif")


@pytest.mark.parametrize("bad", [{"fps": 0.0}, {"fps": 100.0}, {"width": 20}])
def test_impossible_options_are_refused(bad, tmp_path):
    with pytest.raises(ValueError, match="must"):
        write_gif(skirmish.blank(), None, skirmish.SPEC, tmp_path / "a.gif", **bad)
    assert not list(tmp_path.iterdir())


def test_every_kind_has_its_own_letter():
    letters = [glyph.letter for glyph in glyphs([*KNOWN, "mothership", "stalwart", "zz", "zz2"])]
    assert len(set(letters)) == len(letters)
    outlines = [(glyph.outline, glyph.tone) for glyph in KNOWN.values()]
    assert len(set(outlines)) == len(outlines)
