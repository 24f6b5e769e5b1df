// State, controls and the clock.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const replays = data.trajectories.map((json, index) => new Replay(json, index));
const steps = Math.max(...replays.map((r) => r.length));
const RATES = [0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const state = { time: 0, playing: false, rate: 4, smooth: !calm, view: "follow", agent: -1, current: 0, hover: -1 };
const stages = [];
const paths = followPaths(replays, steps);
let typed = { text: "", at: 0 };
let pending = 0; // the requested animation frame, 0 = none
let before = 0; // time stamp of the last animation frame
let shown = { step: -1, agent: -2, current: -1 }; // what the panels show now

const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
const selected = () => replays[state.current];
const step = () => Math.floor(state.time + 1e-6);

function buildStage(replay) {
  const canvas = element("canvas", { role: "img", "data-stage": replay.index });
  const banner = element("div", { class: "banner", hidden: true });
  const numbers = element("span", { class: "numbers" });
  const strip = element("canvas", { class: "strip", role: "img", "aria-label": `${plotted(replay)} over time, as far as watched; click to go there` });
  const note = replay.notes ? element("div", { class: "note-line" }) : null;
  const shots = replay.pictures ? new Shots(replay.pictures, paint) : null;
  const picture = element("div", { class: "picture" }, ...(shots ? [shots.canvas] : []), canvas, banner);
  const ended = outcome(replay);
  const caption = element("figcaption", {}, element("b", { text: replay.name }), ...(replays.length > 1 ? [ended] : []), numbers);
  const figure = element("figure", { class: "stage" }, caption, picture, strip, ...(note ? [note] : []));
  byId("stages").append(figure);
  const stage = { replay, canvas, shots, banner, numbers, ended, figure, picture, note, watched: 0, view: new View(replay, canvas, paths[replay.index]), strip: new Strip(replay, strip, steps) };
  canvas.addEventListener("click", (event) => { choose(replay.index); select(pick(stage, event, 10)); });
  canvas.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") point(stage, event); });
  canvas.addEventListener("pointerleave", () => point(null));
  const jump = (event) => { pause(); go(stage.strip.time(event.clientX - strip.getBoundingClientRect().left)); };
  strip.addEventListener("pointerdown", (event) => { strip.setPointerCapture(event.pointerId); jump(event); });
  strip.addEventListener("pointermove", (event) => { if (event.buttons) jump(event); });
  return stage;
}

const plotted = (replay) => (!replay.combat ? (replay.enemies ? `Reward, and ${replay.others} that are left` : "Reward") : replay.enemies ? "Health of both teams and reward" : "Health of the team and reward");

const MOODS = { WIN: "win", LOSS: "loss", "TIME UP": "loss" };
function outcome(replay) {
  const { word, return: total } = replay.outcome;
  return element("span", { class: "outcome " + (MOODS[word] || ""), hidden: true }, element("strong", { text: word }), ` return ${total.toFixed(2)} in ${replay.length} steps`);
}

const momentOf = (replay) => Math.min(state.smooth ? state.time : step(), replay.length);

function under(stage, event, slack) {
  const box = stage.canvas.getBoundingClientRect();
  return stage.view.hit(momentOf(stage.replay), event.clientX - box.left, event.clientY - box.top, slack);
}
function pick(stage, event, slack) {
  const unit = under(stage, event, slack);
  if (unit >= stage.replay.n) return state.agent; // an enemy has no observation to show
  return unit === state.agent ? -1 : unit;
}

function point(stage, event) {
  const tip = byId("tip"), unit = stage ? under(stage, event, 3) : -1;
  tip.hidden = unit < 0;
  if (stage) stage.canvas.style.cursor = unit >= 0 && unit < stage.replay.n ? "pointer" : "default";
  if (unit !== state.hover) { state.hover = unit; paint(); }
  if (unit < 0) return;
  const replay = stage.replay, t = Math.min(step(), replay.length), f = replay.frames, target = replay.target(t, unit);
  const parts = replay.combat ? [`health ${Math.round(f.health.at(t, unit))}/${Math.round(f.max_health.at(t, unit))}`] : [];
  if (f.max_shield.at(t, unit) > 0) parts.push(`shield ${Math.round(f.shield.at(t, unit))}/${Math.round(f.max_shield.at(t, unit))}`);
  if (replay.energyMax[unit] > 0) parts.push(`energy ${Math.round(f.energy.at(t, unit))}`);
  if (!replay.alive(t, unit)) parts.splice(0, 9, "dead");
  else if (target >= 0) parts.push(`target ${replay.tag(target)}`);
  tip.textContent = `${unit < replay.n ? "agent" : replay.other} ${replay.tag(unit)} · ${replay.kindOf(t, unit).name} · ${parts.join(" · ")}`;
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8) + "px";
}

function choose(index) {
  state.current = index;
  stages.forEach((stage, i) => stage.figure.classList.toggle("current", i === index));
  [...byId("tabs").children].forEach((tab, i) => tab.setAttribute("aria-pressed", String(i === index)));
  paint();
}

function select(agent) {
  state.agent = agent < selected().n ? agent : -1;
  say(state.agent < 0 ? "No agent selected" : `Agent ${state.agent} selected`);
  remember();
  paint();
}

function go(t) {
  state.time = clamp(t, 0, steps);
  if (!state.playing) remember();
  paint();
}

function play() {
  if (state.time >= steps) state.time = 0;
  state.playing = true;
  before = 0;
  paint();
}
function pause() {
  if (!state.playing) return;
  state.playing = false;
  state.time = step(); // rest on a step: panels describe whole steps
  remember();
  paint();
}
const toggle = () => (state.playing ? pause() : play());
const nudge = (by) => { pause(); go(step() + by); };
function setRate(index) {
  state.rate = clamp(index, 0, RATES.length - 1);
  paint();
}
const say = (text) => { byId("status").textContent = text; };

// The address keeps the moment, so that a link can point at it.
function remember() {
  const hash = `#t=${step()}` + (state.agent >= 0 ? `&agent=${state.agent}` : "");
  try { history.replaceState(null, "", hash); } catch { /* some viewers forbid it; nothing depends on it */ }
}
function recall() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  state.time = clamp(Math.round(Number(wanted.get("t"))) || 0, 0, steps);
  const agent = wanted.has("agent") ? Number(wanted.get("agent")) : -1;
  if (Number.isInteger(agent) && agent >= 0 && agent < selected().n) state.agent = agent;
}

function paint() { if (!pending) pending = requestAnimationFrame(tick); }

function tick(now) {
  pending = 0;
  if (state.playing) {
    if (before) state.time += Math.min((now - before) / 1000, 0.25) * RATES[state.rate];
    before = now;
    if (state.time >= steps) { state.time = steps; state.playing = false; remember(); }
  }
  render();
  if (state.playing) paint();
}

function render() {
  stages.forEach(drawStage);
  const t = step(), root = document.documentElement.dataset;
  Object.assign(root, { step: t, playing: state.playing, agent: state.agent, rate: RATES[state.rate], view: state.view, stage: state.current });
  byId("scrub").value = t;
  byId("scrub").setAttribute("aria-valuetext", `step ${t} of ${steps}`);
  byId("clock").textContent = `step ${t} / ${steps}`;
  byId("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
  byId("play-shape").setAttribute("d", state.playing ? "M4 3h4v14H4zM12 3h4v14h-4z" : "M5 3v14l12-7z");
  byId("speed").value = state.rate;
  byId("speed-text").replaceChildren(String(RATES[state.rate]), element("span", { class: "long", text: " steps" }), "/s");
  byId("speed").setAttribute("aria-valuetext", `${RATES[state.rate]} steps per second`);
  byId("smooth").checked = state.smooth;
  byId("view").value = state.view;
  const replay = selected(), at = Math.min(t, replay.length);
  if (shown.current !== state.current) roster.build(replay);
  if (shown.current !== state.current || shown.agent !== state.agent) panel.build(replay, state.agent);
  if (shown.current !== state.current || shown.agent !== state.agent || shown.step !== t) {
    roster.update(at, state.agent);
    panel.update(at);
  }
  shown = { step: t, agent: state.agent, current: state.current };
}

function drawStage(stage) {
  const { replay, view, strip, banner } = stage, moment = momentOf(replay), t = Math.min(step(), replay.length);
  stage.watched = Math.max(stage.watched, moment);
  view.draw(moment, { agent: state.agent, hover: state.hover, box: VIEWS[state.view], camera: state.smooth ? state.time : step() });
  if (stage.shots) stage.shots.draw(t);
  strip.draw(moment, stage.watched);
  stage.ended.hidden = stage.watched < replay.length || t === replay.length; // not before it was seen, nor beside the banner
  const part = (name, value) => [`${name} `, element("i", { text: value }), "  "];
  stage.numbers.replaceChildren(
    ...part("step", `${t}/${replay.length}`), ...part("reward", t ? signed(replay.reward.at(t - 1)) : "–"), ...part("return", replay.returns[t].toFixed(2)));
  if (stage.note) stage.note.textContent = t < replay.length ? replay.notes[t] : "";
  const over = t === replay.length;
  banner.hidden = !over;
  if (over && banner.dataset.done !== "1") {
    const { word } = replay.outcome;
    banner.className = "banner " + (MOODS[word] || "");
    banner.replaceChildren(element("strong", { text: word }), `return ${replay.outcome.return.toFixed(2)} in ${replay.length} steps`);
    banner.dataset.done = "1";
  }
  if (!state.playing) describe(stage, t);
}

function describe({ replay, canvas }, t) {
  const living = (from, to) => { let k = 0; for (let u = from; u < to; u++) k += replay.alive(t, u) ? 1 : 0; return k; };
  const against = replay.enemies ? ` and ${living(replay.n, replay.units)} of ${replay.enemies} ${replay.others}` : "";
  canvas.setAttribute("aria-label", `${replay.name}, step ${t}: ${living(0, replay.n)} of ${replay.n} agents${against} ${replay.other === "enemy" ? "alive" : "there"}`);
}

const signed = (v) => (v >= 0 ? "+" : "−") + Math.abs(v).toFixed(2);

function layout() {
  readColours();
  const several = replays.length > 1, wide = innerWidth > 640, columns = wide ? Math.min(replays.length, 2) : 1;
  byId("stages").style.setProperty("--columns", columns);
  const tallest = Math.max(several ? 180 : 220, innerHeight * (several && !wide ? 0.24 : wide ? 0.53 : 0.5));
  const box = VIEWS[state.view] || VIEWS.fight, aspect = clamp((box[2] - box[0]) / (box[3] - box[1]), several ? 1.1 : 1.35, several ? 1.5 : 2);
  for (const stage of stages) {
    const room = stage.picture.clientWidth;
    const height = Math.round(Math.min(room / aspect, tallest));
    stage.view.resize(room - (stage.shots ? stage.shots.resize(height, room * 0.6) : 0), height);
    stage.strip.resize();
  }
  paint();
}

function restyle() {
  readColours();
  shown = { step: -1, agent: -2, current: -1 };
  buildLegend();
  layout();
}

function buildLegend() {
  const legend = byId("legend"), kinds = new Map();
  for (const replay of replays) {
    for (let u = 0; u < replay.units; u++) {
      const kind = replay.kindOf(0, u), key = kind.name + replay.team(u);
      if (!kinds.has(key)) kinds.set(key, [kind, replay.team(u)]);
    }
  }
  const line = (colour, text, shape = "") => element("span", { style: `color:var(--${colour})` }, element("i", { class: "swatch " + shape }), element("em", { style: "font-style:normal;color:var(--muted)", text }));
  legend.replaceChildren(
    ...[...kinds.values()].sort((a, b) => a[1] - b[1]).map(([kind, team]) => element("span", {}, glyphIcon(kind, team), `${team ? replays[0].other : "agent"} ${/^\d+$/.test(kind.name) ? "of level " : ""}${kind.name.replaceAll("_", " ")}`)));
  const some = (has) => replays.some(has);
  if (some((r) => r.combat)) legend.append(line("agent", "agents’ health", "plot"));
  if (some((r) => r.enemies)) legend.append(line("enemy", replays[0].other === "enemy" ? "enemies’ health" : `${replays[0].others} left`, "plot broken"));
  legend.append(line("muted", "reward of a step", "bars"));
  if (some((r) => r.groups)) legend.append(line("one", "G1, attacked", "ring"), line("two", "G2, the others", "ring"));
  if (some((r) => r.masked)) legend.append(line("one", "hidden from or changed for the selected agent", "ring dots"));
  if (some((r) => r.json.intended)) legend.append(line("swap", "what a replaced action was meant to be", "dash"), line("swap", "a step with replaced actions", "bars tick"));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const help = byId("help"), key = event.key;
  if (help.open) {
    if (key === "?") { event.preventDefault(); help.close(); }
    return;
  }
  const typing = event.target.tagName === "BUTTON" && (key === " " || key === "Enter");
  if (typing && event.target.id !== "play") return; // the focused button wants this key
  if (["speed", "view"].includes(event.target.id) && /^(Arrow|Home|End| )/.test(key)) return;
  const jump = event.shiftKey ? 10 : 1;
  const actions = {
    " ": toggle, ArrowLeft: () => nudge(-jump), ArrowRight: () => nudge(jump), Home: () => nudge(-steps), End: () => nudge(steps),
    "+": () => setRate(state.rate + 1), "=": () => setRate(state.rate + 1), "-": () => setRate(state.rate - 1), "_": () => setRate(state.rate - 1),
    Escape: () => select(-1), "?": () => help.showModal(), s: () => flip("smooth"), m: () => show(nextView()),
  };
  const action = actions[key] || actions[key.toLowerCase()];
  if (action) { event.preventDefault(); action(); } else if (/^\d$/.test(key)) digit(key);
}

function digit(key) {
  const now = performance.now(), both = now - typed.at < 800 ? typed.text + key : key;
  const agent = Number(both) < selected().n ? Number(both) : Number(key);
  typed = { text: Number(both) < selected().n ? both : key, at: now };
  if (agent < selected().n) select(agent);
}

function flip(name) {
  state[name] = !state[name];
  paint();
}

const nextView = () => { const names = Object.keys(VIEWS); return names[(names.indexOf(state.view) + 1) % names.length]; };
function show(view) {
  state.view = view;
  layout();
}

function connect() {
  byId("scrub").max = steps;
  byId("scrub").addEventListener("input", (event) => { pause(); go(Number(event.target.value)); });
  byId("speed").max = RATES.length - 1;
  byId("speed").addEventListener("input", (event) => setRate(Number(event.target.value)));
  byId("smooth").addEventListener("change", () => flip("smooth"));
  byId("view").addEventListener("change", (event) => show(event.target.value));
  const clicks = { first: () => nudge(-steps), back: () => nudge(-1), play: toggle, forward: () => nudge(1), last: () => nudge(steps), "help-open": () => byId("help").showModal() };
  for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
  addEventListener("keydown", onKey);
  addEventListener("resize", layout);
  addEventListener("hashchange", () => { recall(); paint(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
}

function start() {
  readColours();
  document.body.classList.toggle("several", replays.length > 1);
  document.body.classList.toggle("attacked", replays.some((r) => r.attacked));
  replays.forEach((replay) => stages.push(buildStage(replay)));
  byId("tabs").hidden = replays.length < 2;
  replays.forEach((replay) => byId("tabs").append(element("button", { type: "button", "aria-pressed": "false", text: replay.name, onclick: () => choose(replay.index) })));
  const { env } = replays[0];
  const agents = `${env.n_agents} agent${env.n_agents === 1 ? "" : "s"}`, against = !replays[0].enemies ? "" : replays[0].other === "enemy" ? ` against ${replays[0].enemies}` : ` and ${replays[0].enemies} ${replays[0].others}`;
  byId("summary").textContent = data.summary || `${agents}${against}, at most ${env.horizon} steps${env.version ? `, rules ${env.version}` : ""}`;
  buildLegend();
  connect();
  recall();
  choose(0);
  layout();
}

const hover = (unit) => { state.hover = unit; paint(); };
const roster = new Roster(byId("roster"), (agent) => select(agent === state.agent ? -1 : agent), hover);
const panel = new Panel(byId("panel"), byId("panel-title"), hover);
// What the picture shows: null follows the units, the other two stand still.
const VIEWS = {
  follow: null,
  fight: toEdge(padded(replays.flatMap(bounds).reduce(union)), replays[0]),
  map: mapBox(replays[0].scene),
};
// For scripts that drive the page: what draws a stage, and where a unit is drawn, in window coordinates.
window.replay = {
  view: (stage = 0) => stages[stage].view,
  where: (unit, stage = 0) => {
    const view = stages[stage].view, frame = stages[stage].canvas.getBoundingClientRect();
    const [x, y] = view.place(momentOf(replays[stage]), unit);
    return [frame.left + x, frame.top + y];
  },
};
start();
