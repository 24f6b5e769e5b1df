"""The replay page in a real browser: every control answers, and what is shown is what was recorded."""

from __future__ import annotations

import numpy as np
import pytest

from ibal.viz.theme import THEMES, rgb
from unit.viz import skirmish


def shown(page, name: str):
    """One of the facts that the page writes about itself on <html data-...>."""
    return page.eval(f"document.documentElement.dataset.{name}")


def step(page) -> int:
    return int(shown(page, "step"))


def text(page, selector: str) -> str:
    return page.eval(f"document.querySelector({selector!r}).textContent")


def texts(page, selector: str) -> list[str]:
    return page.eval(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")


def ring(page, unit: int, stage: int = 0) -> list[list[int]]:
    """The colours of the picture on a circle around a unit where the ring of its group is drawn."""
    return page.eval(
        f"(() => {{ const view = window.replay.view({stage}), t = +document.documentElement.dataset.step;"
        f" const [x, y] = view.place(t, {unit}), r = view.radius(t, {unit}) * 1.3 + 3;"
        " const at = (a) => view.pen.getImageData((x + r * Math.cos(a)) * view.dense, (y + r * Math.sin(a)) *"
        " view.dense, 1, 1).data; return [...Array(24).keys()].map(k => [...at(k * Math.PI / 12)].slice(0, 3)); })()"
    )


def picture(page) -> str:
    """The first stage's picture, as a comparable string."""
    return page.eval("document.querySelector('.picture canvas').toDataURL()")


def unit_place(page, unit: int, stage: int = 0) -> list[float]:
    """Where a unit is drawn, in window coordinates."""
    return page.eval(f"window.replay.where({unit}, {stage})")


@pytest.fixture
def page(show):
    return show()


def test_space_plays_and_pauses(page):
    assert shown(page, "playing") == "false"
    assert page.eval("document.querySelector('#play').ariaLabel") == "Play"
    page.press(" ")
    assert shown(page, "playing") == "true"
    assert page.eval("document.querySelector('#play').ariaLabel") == "Pause"
    page.wait("+document.documentElement.dataset.step >= 2")
    page.press(" ")
    assert shown(page, "playing") == "false"
    now, seen = step(page), picture(page)
    page.eval("new Promise(done => setTimeout(done, 400))")
    assert step(page) == now
    page.press("ArrowRight")
    page.press("ArrowLeft")
    assert picture(page) == seen  # it rests on a whole step


def test_playing_ends_at_the_last_step_and_starts_over(page, natural_length):
    for _ in range(10):
        page.press("+")
    page.press(" ")
    page.wait("document.documentElement.dataset.playing === 'false'")
    assert step(page) == natural_length
    page.press(" ")
    page.settle()
    assert step(page) < natural_length


@pytest.fixture(scope="session")
def natural_length() -> int:
    return skirmish.play().length


def test_arrows_home_and_end(page, natural_length):
    for key, shift, expected in (
        ("ArrowRight", False, 1), ("ArrowRight", False, 2), ("ArrowLeft", False, 1), ("ArrowRight", True, 11),
        ("End", False, natural_length), ("ArrowRight", False, natural_length), ("Home", False, 0),
        ("ArrowLeft", False, 0),
    ):  # fmt: skip
        page.press(key, shift)
        assert step(page) == expected
        assert int(page.eval("document.querySelector('#scrub').value")) == expected
    assert text(page, "#clock") == f"step 0 / {natural_length}"


def test_plus_and_minus_change_the_speed(page):
    assert shown(page, "rate") == "4"
    page.press("+")
    assert shown(page, "rate") == "6"
    assert text(page, "#speed-text") == "6 steps/s"
    page.press("-")
    page.press("-")
    assert shown(page, "rate") == "3"


def test_sliders(page, natural_length):
    page.click_on("#scrub", across=0.5)
    assert abs(step(page) - natural_length / 2) <= 1
    page.click_on("#scrub", across=0.999)
    assert step(page) == natural_length
    page.click_on("#speed", across=0.99)
    assert shown(page, "rate") == "32"
    page.press("Home")  # the speed slider has the focus and takes the key
    assert shown(page, "rate") == "0.5"
    assert step(page) == natural_length


def test_buttons(page, natural_length):
    for button, expected in (
        ("#forward", 1), ("#forward", 2), ("#back", 1), ("#last", natural_length), ("#first", 0),
    ):  # fmt: skip
        page.click_on(button)
        assert step(page) == expected
    page.click_on("#play")
    assert shown(page, "playing") == "true"
    page.press(" ")  # the play button has the focus: one toggle, not two
    assert shown(page, "playing") == "false"


def test_strip_chart_is_a_slider_too(page, natural_length):
    page.click_on("canvas.strip", across=0.5)
    assert abs(step(page) - natural_length / 2) <= 1


def test_clicking_an_agent_shows_what_it_observes(page):
    trajectory = skirmish.play()
    page.press("ArrowRight")
    page.click(*unit_place(page, 1))
    assert shown(page, "agent") == "1"
    assert text(page, "#panel-title") == "What agent 1 observes"
    cells = page.eval(
        "[...document.querySelectorAll('#panel td[data-feature]')].map(c => [c.dataset.feature, c.textContent])"
    )
    assert sorted(name for name, _ in cells) == sorted(skirmish.LAYOUT.names)
    values = dict(cells)
    truth = dict(zip(skirmish.LAYOUT.names, np.asarray(trajectory.steps.obs)[1, 1].tolist(), strict=True))
    for name, value in truth.items():
        assert float(values[name].replace("−", "-")) == pytest.approx(value, abs=0.0056), name
    page.click(*unit_place(page, 1))  # again: deselected
    assert shown(page, "agent") == "-1"


def test_entities_out_of_sight_are_marked(page):
    page.press("0")  # at the start everybody is farther apart than one can see
    unseen = page.eval("[...document.querySelectorAll('#panel tr.unseen')].map(r => r.dataset.entity)")
    obs = np.asarray(skirmish.play().steps.obs)[0, 0]
    hidden = [
        block.entity
        for block in skirmish.LAYOUT.blocks
        if block.kind in ("enemy", "ally") and not obs[block.start : block.stop].any()
    ]
    assert sorted(unseen) == sorted(hidden) != []


def test_enemies_are_named_as_the_agents_number_them(show):
    page = show("shuffled")
    page.press("1")
    rows = page.eval("[...document.querySelectorAll('#panel tr[data-entity^=enemy] th')].map(e => e.title)")
    kinds = [skirmish.SCENE.kinds[int(skirmish.KIND[unit])] for unit in (5, 3, 4)]
    assert rows == [f"enemy[{slot}]: {kind} e{slot}" for slot, kind in enumerate(kinds)]


def test_digits_escape_and_the_list_select(page):
    page.press("2")
    assert shown(page, "agent") == "2"
    assert page.eval("document.querySelector('#roster [data-agent=\"2\"]').ariaPressed") == "true"
    page.press("7")  # nobody has this number
    assert shown(page, "agent") == "2"
    page.press("Escape")
    assert shown(page, "agent") == "-1"
    page.click_on("#roster [data-agent='0']")
    assert shown(page, "agent") == "0"


def test_actions_are_named(page):
    trajectory = skirmish.play()
    names = page.eval("[...document.querySelectorAll('#roster .what')].map(e => e.textContent)")
    wanted = [skirmish.SPEC.action_names[a] for a in trajectory.executed[0]]
    # "target 2" reads as an attack on e2, or for the medivac as healing agent 2.
    wanted = [w.replace("target ", "heal " if i == 2 else "attack e") for i, w in enumerate(wanted)]
    assert names == wanted


def test_help_opens_and_closes(page):
    page.press("?")
    assert page.eval("document.querySelector('#help').open")
    page.press("ArrowRight")  # keys do nothing behind it
    assert step(page) == 0
    page.press("Escape")
    assert not page.eval("document.querySelector('#help').open")
    page.click_on("#help-open")
    assert page.eval("document.querySelector('#help').open")
    page.press("?")
    assert not page.eval("document.querySelector('#help').open")


def test_views_and_smoothness(page):
    for view in ("fight", "map", "follow"):
        page.press("m")
        assert shown(page, "view") == view
        assert page.eval("document.querySelector('#view').value") == view
    assert page.eval("document.querySelector('#smooth').checked")
    page.press("s")
    assert not page.eval("document.querySelector('#smooth').checked")


def test_banner_at_the_end(page, natural_length):
    assert page.eval("document.querySelector('.banner').hidden")
    page.press("End")
    assert not page.eval("document.querySelector('.banner').hidden")
    assert text(page, ".banner").startswith("LOSS")
    assert f"in {natural_length} steps" in text(page, ".banner")
    numbers = text(page, ".numbers")
    assert f"return {skirmish.play().episode_return:.2f}" in numbers


def test_the_picture_changes_with_the_step_and_is_described(page):
    first = picture(page)
    page.press("ArrowRight")
    assert picture(page) != first
    page.press("ArrowLeft")
    assert picture(page) == first
    label = page.eval("document.querySelector('.picture canvas').ariaLabel")
    assert label == "natural, step 0: 3 of 3 agents and 3 of 3 enemies alive"


def test_a_link_opens_at_its_moment(page, pages):
    page.goto(pages["natural"], "?again#t=5&agent=2")
    assert (shown(page, "step"), shown(page, "agent")) == ("5", "2")


def test_attack_overlays(show):
    page = show("jammed")
    trajectory = skirmish.play(attacked=True)
    page.press("1")
    masked = page.eval("[...document.querySelectorAll('#panel td.masked')].map(c => c.dataset.feature)")
    expected = [n for n, m in zip(skirmish.LAYOUT.names, skirmish.LAYOUT.mask("ally"), strict=True) if m]
    assert sorted(masked) == sorted(expected)
    assert "10 of 30 features replaced by the attack" in text(page, "#panel")
    assert texts(page, "#panel .harm li") == ["all allies: everything hidden"]
    assert page.eval("document.querySelectorAll('#panel tr.unseen').length") >= 2  # both allies are cut off
    groups = page.eval("[...document.querySelectorAll('#roster .group')].map(e => e.textContent)")
    assert groups == ["G1", "G1", "G2"]
    assert text(page, ".note-line") == "note 0"
    when = int(np.argmax((trajectory.intended != trajectory.executed)[:, 0]))
    for _ in range(when):
        page.press("ArrowRight")
    assert text(page, "#roster [data-agent='0'] .forced") == "stop"
    assert text(page, "#roster [data-agent='0'] s") != "stop"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_rings_tell_the_groups_and_the_legend_explains_them(show, scheme):
    page = show("hidden", scheme=scheme)
    one, two = (np.array(rgb(THEMES[scheme][name])) for name in ("one", "two"))
    for unit, own, other in ((0, one, two), (1, one, two), (2, two, one)):
        around = np.array(ring(page, unit))
        near, far = ((np.abs(around - colour).max(axis=1) < 16).mean() for colour in (own, other))
        assert near > 0.5  # bars and the number cover some of it
        assert far == 0
    for unit in (3, 4, 5):
        around = np.array(ring(page, unit))
        assert not any((np.abs(around - colour).max(axis=1) < 16).any() for colour in (one, two))
    legend = texts(page, "#legend em")
    assert legend[3:] == [  # after health, health and reward
        "G1, attacked", "G2, the others", "hidden from or changed for the selected agent",
        "what a replaced action was meant to be", "a step with replaced actions",
    ]  # fmt: skip
    for agent, group in ((0, "In G1, the attacked group."), (2, "In G2, the other group.")):
        page.press(str(agent))
        assert text(page, "#panel .facts + p") == group
        assert page.eval("document.querySelector('#panel .harm').hidden")  # its sight was left alone


def test_what_is_changed_is_named_block_by_block(show):
    page = show("noisy")
    page.press("0")
    assert texts(page, "#panel .harm li") == [
        "move: north changed", "enemies e0, e2: distance, rel x changed", "ally 2: health changed",
        "itself: health hidden",
    ]  # fmt: skip
    assert "7 of 30 features" in text(page, "#panel")
    assert texts(page, "#legend em")[3:] == ["hidden from or changed for the selected agent"]  # neither groups nor acts
    page.press("ArrowRight")
    assert texts(page, "#panel .harm li") == []
    assert page.eval("document.querySelector('#panel .harm').hidden")


def test_without_an_attack_nothing_is_marked(page):
    page.press("1")
    assert page.eval("document.querySelectorAll('.masked, .forced, #roster .group, .harm li').length") == 0
    assert not page.eval("document.body.classList.contains('attacked')")


def test_two_replays_side_by_side_share_the_controls(show):
    page = show("both", width=1400)
    boxes = page.eval("[...document.querySelectorAll('.stage')].map(s => s.getBoundingClientRect().toJSON())")
    assert boxes[0]["right"] <= boxes[1]["left"]
    assert boxes[0]["top"] == boxes[1]["top"]
    page.press("ArrowRight")
    captions = page.eval("[...document.querySelectorAll('.numbers')].map(s => s.textContent.slice(0, 7))")
    assert captions == ["step 1/", "step 1/"]
    page.press("1")
    assert page.eval("document.querySelectorAll('#panel td.masked').length") == 0
    page.click_on("#tabs button:nth-child(2)")
    assert page.eval("document.querySelectorAll('#panel td.masked').length") == 10
    page.press("Escape")
    page.click(*unit_place(page, 0, 0))
    assert (shown(page, "stage"), shown(page, "agent")) == ("0", "0")


def test_a_comparison_stays_in_step_and_says_how_each_ends(show):
    page = show("both", width=1280)
    ends = skirmish.play(), skirmish.play(attacked=True)
    assert texts(page, ".stage figcaption b") == ["natural", "jammed"]
    longest = max(end.length for end in ends)
    assert int(page.eval("document.querySelector('#scrub').max")) == longest

    def clocks() -> list[int]:
        return [int(words.split("step ")[1].split("/")[0]) for words in texts(page, ".numbers")]

    page.press(" ")
    page.wait("+document.documentElement.dataset.step >= 3")
    page.press(" ")
    assert clocks() == [step(page)] * 2
    page.click_on(".stage:nth-child(2) canvas.strip", across=0.5)
    assert clocks() == [step(page)] * 2
    page.press("End")
    assert clocks() == [end.length for end in ends]  # the shorter one waits at its end
    assert texts(page, ".stage .outcome") == [
        f"{end.outcome} return {end.episode_return:.2f} in {end.length} steps" for end in ends
    ]
    assert page.eval("[...document.querySelectorAll('.banner')].map(e => e.hidden)") == [False, False]
    page.press("Home")
    tops = page.eval("[...document.querySelectorAll('.picture')].map(e => e.getBoundingClientRect().top)")
    assert tops[0] == tops[1]


def test_a_comparison_fits_a_narrow_window(show):
    page = show("both", width=400, height=800)
    page.press("1")
    assert page.eval("document.documentElement.scrollWidth") == 400
    boxes = page.eval("[...document.querySelectorAll('.picture')].map(s => s.getBoundingClientRect().toJSON())")
    controls = page.eval("document.querySelector('.controls').getBoundingClientRect().toJSON()")
    assert boxes[0]["bottom"] < boxes[1]["top"]
    assert boxes[1]["bottom"] < controls["top"]  # both pictures are in sight at once
    assert controls["bottom"] <= 800


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["jammed", "both"])
def test_a_phone_shows_all_of_it_without_sideways_scrolling(show, scheme, name):
    page = show(name, width=360, height=740, phone=True, scheme=scheme)
    page.press("1")
    assert page.eval("document.documentElement.scrollWidth") == 360
    small = page.eval(
        "[...document.querySelectorAll('button')].filter(b => b.offsetWidth && b.offsetHeight < 30)"
        ".map(b => b.textContent)"
    )
    assert small == []  # fingers need room
    assert page.eval("document.querySelector('.picture canvas').getBoundingClientRect().width") > 300


def test_colours_follow_the_reader(show):
    page = show(scheme="light")
    light = page.eval("getComputedStyle(document.body).backgroundColor")
    before = picture(page)
    page.look(scheme="dark")
    page.settle()
    assert page.eval("getComputedStyle(document.body).backgroundColor") != light
    assert picture(page) != before


def test_reduced_motion_starts_without_sliding(show):
    assert not show(motion=False).eval("document.querySelector('#smooth').checked")


def test_every_control_has_a_name(page):
    nameless = page.eval(
        "[...document.querySelectorAll('button, input, select, canvas')].filter(e => !(e.getAttribute('aria-label')"
        " || e.textContent.trim() || e.closest('label'))).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_the_outcome_was_shown_before_play(show):
    page = show("both", width=1400)

    def seen() -> list[bool]:
        return page.eval("[...document.querySelectorAll('.outcome, .banner')].map(e => e.checkVisibility())")

    def drawn_beyond_the_start(share: float) -> bool:
        """Whether the chart below the first picture has a line of the agents' health at a share of its time."""
        blue = list(rgb(THEMES["light"]["agent"]))
        return page.eval(
            "(() => { const strip = document.querySelector('canvas.strip'), pen = strip.getContext('2d');"
            f" const x = Math.round(40 + {share} * (strip.width - 52));"
            " const {data} = pen.getImageData(x - 1, 0, 3, strip.height); const blue = " + str(blue) + ";"
            " for (let i = 0; i < data.length; i += 4) if (blue.every((c, k) => Math.abs(data[i + k] - c) < 30)"
            " && data[i + 3] > 200) return true; return false; })()"
        )

    assert seen() == [False] * 4
    assert not drawn_beyond_the_start(0.5)
    page.press("End")
    assert seen() == [False, True] * 2  # the banners
    assert drawn_beyond_the_start(0.5)
    page.press("Home")  # what has been watched stays
    assert seen() == [True, False] * 2
    assert drawn_beyond_the_start(0.5)


def test_side_by_side_teams_were_zoomed_differently(show):
    page = show("both", width=1400)
    for key in ("Home", "ArrowRight", "End"):
        page.press(key)
        for _ in range(4):
            one, other = page.eval("[0, 1].map(i => window.replay.view(i).scale)")
            assert one == pytest.approx(other, rel=1e-9)
            page.press("ArrowRight" if key != "End" else "ArrowLeft")


def test_marks_covered_units_that_stand_shoulder_to_shoulder(show):
    page = show("huddle", width=390, height=844, phone=True)
    body = np.array(rgb(THEMES["light"]["agent"]))
    filled = page.eval(
        "[0, 1, 2].map(unit => { const view = window.replay.view(), [x, y] = view.place(0, unit),"
        " r = view.radius(0, unit); const at = (a) => [...view.pen.getImageData((x + 0.85 * r * Math.cos(a)) *"
        " view.dense, (y + 0.85 * r * Math.sin(a)) * view.dense, 1, 1).data].slice(0, 3);"
        " return [...Array(24).keys()].map(k => at(k * Math.PI / 12)); })"
    )
    for around in filled[:2]:  # agent 2 was made to act: its number stands on another colour
        assert (np.abs(np.array(around) - body).max(axis=1) < 40).mean() > 0.7
    assert page.eval("window.replay.view().crowded")
    # Only who has lost health has a bar, above its head.
    bars = page.eval(
        "[0, 1].map(unit => { const view = window.replay.view(), [x, y] = view.place(0, unit),"
        " r = view.radius(0, unit), side = Math.ceil(2 * r * view.dense);"
        " const {data} = view.pen.getImageData((x - r) * view.dense, (y - r - 4) * view.dense, side, 3 * view.dense);"
        " return [...Array(data.length / 4).keys()].some(i => Math.abs(data[4 * i] - 0x2c) < 12 &&"
        " Math.abs(data[4 * i + 1] - 0x9c) < 12 && Math.abs(data[4 * i + 2] - 0x4b) < 12); })"
    )
    assert bars == [False, True]


def test_ticks_lines_and_axes_of_the_chart_were_not_explained(show):
    page = show("jammed")
    plot = page.eval(
        "[...document.querySelectorAll('#legend span')].filter(e => e.querySelector('.swatch')).map(e =>"
        " [e.querySelector('.swatch').className.replace('swatch ', ''), getComputedStyle(e).color])"
    )
    named = dict(plot)
    for kind, colour in (("plot", "agent"), ("plot broken", "enemy"), ("bars", "muted"), ("bars tick", "swap")):
        assert named[kind] == f"rgb{rgb(THEMES['light'][colour])}", kind
    words = page.eval(
        "(() => { const said = [], pen = CanvasRenderingContext2D.prototype, old = pen.fillText;"
        " pen.fillText = function (text, ...rest) { if (this.canvas.className === 'strip') said.push(text);"
        " old.call(this, text, ...rest); };"
        " dispatchEvent(new Event('resize'));"
        " return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {"
        " pen.fillText = old; done(said); }))); })()"
    )
    length = skirmish.play(attacked=True).length
    assert words[:5] == ["100 %", "health", "0", "step 0", str(length)]


def test_without_combat_two_agents_stood_against_0_and_a_flat_line(show):
    page = show("stroll")
    assert text(page, "#summary") == "2 agents, at most 5 steps"
    assert texts(page, "#legend em") == ["reward of a step"]
    assert page.eval("document.querySelectorAll('.meter i').length") == 0
    assert page.eval("document.querySelector('.picture canvas').ariaLabel") == "stroll, step 0: 2 of 2 agents alive"
    page.press("0")
    assert "health" not in text(page, "#panel .facts")
    assert page.eval("document.querySelector('canvas.strip').ariaLabel").startswith("Reward over time")


def test_food_was_called_an_enemy_and_players_had_health(show):
    page = show("harvest")
    assert text(page, "#summary").startswith("3 agents and 3 pieces of food, at most")
    legend = texts(page, "#legend em")
    assert "pieces of food left" in legend
    assert not any("enem" in words or "health" in words for words in legend)
    assert page.eval("document.querySelectorAll('.meter i').length") == 0
    label = page.eval("document.querySelector('.picture canvas').ariaLabel")
    assert label.endswith("step 0: 3 of 3 agents and 3 of 3 pieces of food there")


def test_ids_of_food_covered_its_levels_and_the_lowest_rows_were_cut_off(show):
    page = show("harvest")
    page.eval(
        "(() => { const pen = CanvasRenderingContext2D.prototype, old = pen.fillText; window.said = [];"
        " pen.fillText = function (text, ...rest) { window.said.push(text); old.call(this, text, ...rest); };"
        " dispatchEvent(new Event('resize')); })()"
    )
    page.settle()
    said = page.eval("window.said")
    assert {"0", "1", "2"} <= set(said)
    assert not {"f0", "f1", "f2"} & set(said)
    seen = page.eval("(v => [v.left, v.top - v.height / v.scale])(window.replay.view())")
    assert seen[0] <= -1  # one cell beyond the field, which begins at 0 and, above walls, at 2
    assert seen[1] <= 1


def test_cells_around_an_agent_were_a_table_each(show):
    page = show("cells")
    page.press("0")
    assert texts(page, "#panel caption") == ["players", "food"]
    names = page.eval(
        "[...document.querySelectorAll('#panel table')].map(table => [...table.rows].map(row =>"
        " [...row.cells].map(cell => cell.title)))"
    )
    assert names == [[skirmish.AROUND[k : k + 3] for k in (0, 3, 6)]] * 2
    assert page.eval("[...document.querySelectorAll('#panel [data-middle]')].map(c => c.textContent)") == ["4", "13"]
    assert texts(page, "#panel .harm li") == ["players: 2 cells hidden", "food: 1 cell hidden"]


def test_itself_stood_far_right(page):
    page.press("0")
    assert texts(page, "#panel caption")[0] == "Itself"


@pytest.mark.parametrize(("name", "screens"), [("jammed", 1.0), ("both", 1.4)])
def test_on_a_phone_the_observation_was_screens_below_the_picture(show, name, screens):
    page = show(name, width=390, height=844, phone=True)
    page.press("1")
    top = "document.querySelector('{}').getBoundingClientRect().top"
    assert page.eval(top.format("#panel-title")) < screens * 844
    assert page.eval(top.format("#panel")) < page.eval(top.format("#legend"))
    # The controls stay in reach while one reads it.
    page.eval("document.querySelector('#panel').scrollIntoView({block: 'start'})")
    page.settle()
    box = page.eval("document.querySelector('.controls').getBoundingClientRect().toJSON()")
    assert 0 < box["top"] < box["bottom"] <= 844.5


@pytest.mark.parametrize("width", [1400, 390])
def test_a_world_that_draws_itself_is_shown_as_it_does_beside_its_agents(show, width):
    page = show("shots", width=width, height=800)
    pixel = "[...document.querySelector('.shot').getContext('2d').getImageData(5, 5, 1, 1).data].slice(0, 3)"
    for t in range(3):
        page.wait(f"String({pixel}) === '0,{50 * t},90'")
        page.press("ArrowRight")
    boxes = page.eval("[...document.querySelectorAll('.picture canvas')].map(c => c.getBoundingClientRect().toJSON())")
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(1.5, abs=0.03)
    assert boxes[0]["right"] <= boxes[1]["left"] + 1
    assert boxes[1]["width"] >= 0.3 * (boxes[1]["right"] - boxes[0]["left"])
    assert boxes[1]["right"] <= width
