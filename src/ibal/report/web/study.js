"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const STEP = 200; // rows that are drawn at a time
const LARGE = 40; // rows of a table that waits until it is seen

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const shown = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(1);
const where = (env) => env.replace(/^smac\//, "");
const who = (cell) => (cell.team.startsWith(`${cell.env}/`) ? cell.team.slice(cell.env.length + 1) : cell.team);
const unique = (values) => [...new Set(values)];

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = node("textarea");
    area.value = text;
    (button.closest("dialog") || document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  button.dataset.copied = text.length;
  setTimeout(() => { button.textContent = before; }, 1200);
}

/* ---- head ---- */

function head() {
  $("title").textContent = data.title;
  const facts = Object.entries(data.about).map(([name, value]) => `${name}: ${value}`);
  $("facts").textContent = [`${data.cells.length} cells`, ...facts].join(" · ");
  for (const section of document.querySelectorAll("section:not([hidden])"))
    $("sections").append(node("a", { href: `#${section.id}` }, section.querySelector("h2").textContent));
}

/* ---- the ranking of a board ---- */

function board() {
  const places = data.board || [];
  $("board").hidden = !places.length;
  for (const env of unique(places.map((one) => one.env))) {
    const here = places.filter((one) => one.env === env), rates = here.every((one) => one.score === "win");
    const table = node("table", { class: "ranking" });
    const heads = ["team", rates ? "worst, %" : "worst", rates ? "natural, %" : "natural", "steps"];
    const body = node("tbody", {}, ...here.map((one) => node("tr", {},
      node("th", { scope: "row" }, who(one), node("small", {}, one.method || "")),
      node("td", { "data-value": one.worst }, node("b", {}, shown(one.worst)), node("small", {}, one.under)),
      node("td", { "data-value": one.natural ?? "" }, shown(one.natural)),
      node("td", { "data-value": one.steps ?? "" }, one.steps ? one.steps.toLocaleString("en") : "–"),
      node("td", { class: "word" }, claimed(one)),
      node("td", { class: "word" }, one.checked || "–", node("small", {}, [one.engine, one.version].filter(Boolean).join(", rules "))))));
    table.append(node("caption", {}, node("b", {}, where(env))), node("thead", {}, node("tr", {},
      ...heads.map((name, i) => sortable(name, () => sortRows(table, i))),
      ...["claims", "checked"].map((name) => node("th", { scope: "col", class: "word" }, name)))), body);
    $("board-list").append(node("div", { class: "scroll" }, table));
  }
}

function claimed(one) {
  if (!one.claims) return "none";
  if (one.wrong) return node("span", { class: "below" }, `${one.wrong} of ${one.claims} WRONG`);
  return node("span", { class: one.held === one.claims ? "above" : "" }, `${one.held} of ${one.claims} hold`);
}

/* ---- the paper's tables ---- */

function difference(apart) {
  if (!apart) return null;
  const [value, low, high] = apart;
  const sure = low > 0 ? "above" : high < 0 ? "below" : "";
  return node("small", { class: sure, title: "ours − paper, 95 % interval" },
    `${signed(value)} [${signed(low)}, ${signed(high)}]`);
}

function tableCell(cell) {
  if (cell.mean === undefined && cell.paper === undefined) return node("td", {}, "–");
  const number = shown(cell.mean);
  const marked = cell.mark === "best" ? node("b", {}, number) : cell.mark === "second" ? node("u", {}, number) : number;
  const sd = cell.sd === null || cell.sd === undefined ? "" : ` ±${shown(cell.sd)}`;
  const interval = cell.low === null || cell.low === undefined ? null
    : node("small", {}, `[${shown(cell.low)}, ${shown(cell.high)}]`);
  const paper = cell.paper === undefined ? null
    : node("small", { title: "the paper's" }, `paper ${shown(cell.paper)}${cell.paper_sd ? ` ±${shown(cell.paper_sd)}` : ""}`);
  const of = cell.of ? node("small", {}, cell.of) : null;
  return node("td", { "data-value": cell.mean ?? "" }, marked, sd, interval, of, paper, difference(cell.apart));
}

function paperTables() {
  if (!data.tables.length) return;
  $("tables").hidden = false;
  for (const table of data.tables) {
    const part = node("div", { class: "paper", "data-table": table.number });
    const version = table.version ? ` (rules: ${table.version})` : "";
    part.append(node("h3", {}, `Table ${table.number}. ${table.title}${version}`));
    const buttons = node("div", { class: "controls" });
    for (const [name, text] of [["LaTeX", table.latex], ["CSV", table.csv]].filter(([, text]) => text))
      buttons.append(node("button", { type: "button", "data-copy": name, on: { click: (e) => copy(text, e.target) } }, `Copy ${name}`));
    part.append(buttons);
    for (const block of table.blocks) {
      const place = node("div", { class: "scroll" });
      part.append(place);
      const fill = () => {
        if (place.firstChild) return;
        const made = node("table", { class: "sortable" });
        made.append(node("caption", {}, node("b", {}, block.scenario)));
        const body = node("tbody");
        for (const row of block.rows)
          body.append(node("tr", {}, node("th", { scope: "row" }, row.name), ...row.cells.map(tableCell)));
        made.append(node("thead", {}, node("tr", {}, ...["method", ...table.columns].map((name, i) => sortable(name, () => sortRows(made, i))))), body);
        place.append(made);
      };
      later(place, block.rows.length, fill);
    }
    $("table-list").append(part);
  }
  for (const sentence of data.absent) $("table-list").append(node("p", { class: "hint" }, sentence));
}

/* Draw a large table when it comes near the window, or is printed; a small one at once. */
const waiting = new Map();
const near = "IntersectionObserver" in window ? new IntersectionObserver((seen) => {
  for (const one of seen) if (one.isIntersecting) { waiting.get(one.target)(); near.unobserve(one.target); }
}, { rootMargin: "800px" }) : null;

function later(place, rows, fill) {
  if (rows <= LARGE || !near) { fill(); return; }
  place.style.minHeight = `${rows * 4}em`;
  waiting.set(place, () => { place.style.minHeight = ""; fill(); });
  near.observe(place);
}
addEventListener("beforeprint", () => waiting.forEach((fill) => fill()));

function sortable(name, run) {
  const made = node("th", { scope: "col" }, node("button", { type: "button" }, name));
  made.firstChild.addEventListener("click", run);
  return made;
}

/* Sort the rows of a table by one column: numbers downwards first, words upwards first. */
function sortRows(table, column) {
  const heads = table.tHead.rows[0].cells;
  const before = heads[column].getAttribute("aria-sort");
  for (const one of heads) one.removeAttribute("aria-sort");
  const up = column === 0 ? before !== "ascending" : before === "descending";
  heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = (row) => (column === 0 ? row.cells[0].textContent : row.cells[column].dataset.value);
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(value(a), value(b), up, column > 0));
  table.tBodies[0].append(...rows);
}

/* What is missing comes last, whichever way. */
function compare(a, b, up, numbers) {
  const no = (value) => value === "" || value === null || value === undefined;
  if (no(a) || no(b)) return no(a) - no(b);
  const order = numbers ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return up ? order : -order;
}

/* ---- heat map ---- */

function heatMap() {
  const envs = unique(data.cells.map((cell) => cell.env));
  for (const env of envs) $("heat-env").append(node("option", { value: env }, where(env)));
  for (const id of ["heat-env", "heat-what"]) $(id).addEventListener("change", drawHeat);
  if (!data.cells.some((cell) => cell.apart)) $("heat-what").closest("label").hidden = true;
  drawHeat();
}

/* Say whether attackers that were fitted leave the teams as they are when nobody attacks (fewer than two points less), or
   do no harm to those that they were fitted to. */
function hardlyFelt(cells, here) {
  if (cells.some((cell) => here(cell) && (data.cards[cell.card] || {})["badly fitted"])) return true;
  const attacked = cells.filter((cell) => here(cell) && cell.score === "win" && (data.cards[cell.card] || {})["fitted to"]);
  const calm = new Map(cells.filter((cell) => cell.attack === "natural").map((cell) => [`${cell.team}\n${cell.perturbation}`, cell.mean]));
  const lost = attacked.map((cell) => calm.get(`${cell.team}\n${cell.perturbation}`) - cell.mean).filter((one) => !Number.isNaN(one));
  return lost.length > 0 && lost.reduce((sum, one) => sum + one, 0) / lost.length < 2;
}

function drawHeat() {
  const env = $("heat-env").value, what = $("heat-what").value;
  const here = data.cells.map((cell, i) => [cell, i]).filter(([cell]) => cell.env === env);
  const name = (cell) => (cell.perturbation === "none" ? cell.attack : cell.attack === "natural" ? cell.perturbation : `${cell.attack}, ${cell.perturbation}`);
  const columns = unique(here.map(([cell]) => name(cell))), teams = unique(here.map(([cell]) => cell.team));
  const at = new Map(here.map(([cell, i]) => [`${cell.team}\n${name(cell)}`, i]));
  const value = (cell) => (what === "mean" ? cell.mean : cell.apart ? cell.apart[0] : null);
  const all = here.map(([cell]) => value(cell)).filter((one) => one !== null);
  const rates = here.every(([cell]) => cell.score === "win");
  const low = what === "mean" && rates ? 0 : Math.min(...all), high = what === "mean" && rates ? 100 : Math.max(...all);
  const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
  const weak = (column) => hardlyFelt(here.map(([cell]) => cell), (cell) => name(cell) === column);
  const table = $("heat-table");
  table.replaceChildren(node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "team"), ...columns.map((one) => node("th", { scope: "col" }, one,
    weak(one) ? node("small", { class: "below", title: "its attackers were fitted, and teams win as often as alone, or those that they were fitted to do" }, "hardly felt: badly fitted?") : null)))));
  const body = node("tbody");
  for (const team of teams) {
    const row = node("tr", {}, node("th", { scope: "row" }, who({ team, env })));
    for (const column of columns) {
      const i = at.get(`${team}\n${column}`), found = i === undefined ? null : value(data.cells[i]);
      if (found === null) { row.append(node("td", { class: "none" }, "–")); continue; }
      const share = what === "mean" ? (high > low ? (found - low) / (high - low) : 0.5) : Math.abs(found) / most;
      const colour = what !== "mean" && found < 0 ? "--worse" : "--heat";
      const button = node("button", { type: "button", title: `${team}: ${column}`, on: { click: () => detail(i) } }, what === "mean" ? shown(found) : signed(found));
      row.append(node("td", { style: `background: rgba(var(${colour}), ${(0.04 + 0.56 * share).toFixed(3)})` }, button));
    }
    body.append(row);
  }
  table.append(body);
}

/* ---- all cells ---- */

const COLUMNS = [
  ["team", "team", (c) => c.team], ["env", "environment", (c) => c.env], ["attack", "attack", (c) => c.attack],
  ["perturbation", "perturbation", (c) => c.perturbation], ["mean", "ours", (c) => c.mean], ["sd", "±", (c) => c.sd],
  ["low", "95 % interval", (c) => c.low], ["paper", "paper", (c) => c.paper],
  ["apart", "difference", (c) => (c.apart ? c.apart[0] : null)], ["seeds", "seeds", (c) => c.seeds.length],
  ["episodes", "episodes", (c) => c.episodes], ["attacked", "touched", (c) => c.attacked],
];
const state = { sort: null, up: true, found: [], drawn: 0 };
const words = data.cells.map((c) => [c.team, c.method, c.env, c.attack, c.perturbation].join(" ").toLowerCase());

function cellTable() {
  const row = node("tr");
  COLUMNS.forEach(([key, title], i) => row.append(sortable(title, () => {
    const numbers = i > 3;
    state.up = state.sort === i ? !state.up : !numbers;
    state.sort = i;
    [...row.cells].forEach((one, k) => (k === i ? one.setAttribute("aria-sort", state.up ? "ascending" : "descending") : one.removeAttribute("aria-sort")));
    find();
  })));
  $("cell-table").tHead.append(row);
  for (const key of ["sd", "paper", "apart"]) // columns that nothing stands in
    if (data.cells.every((c) => c[key] === null || c[key] === undefined)) $("cell-table").classList.add(`no-${key}`);
  for (const select of document.querySelectorAll("[data-filter]")) {
    select.append(node("option", { value: "" }, "all"));
    for (const value of unique(data.cells.map((c) => c[select.dataset.filter]))) select.append(node("option", { value }, value));
    select.addEventListener("change", find);
  }
  $("search").addEventListener("input", find);
  $("more").addEventListener("click", draw);
  $("copy-cells").addEventListener("click", (event) => copy(asCsv(), event.target));
  if ("IntersectionObserver" in window)
    new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && !$("more").hidden && draw()).observe($("more"));
  addEventListener("beforeprint", () => { while (state.drawn < state.found.length) draw(); });
  find();
}

function find() {
  const wanted = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const filters = [...document.querySelectorAll("[data-filter]")].map((one) => [one.dataset.filter, one.value]).filter(([, value]) => value);
  state.found = [];
  data.cells.forEach((cell, i) => {
    if (filters.every(([key, value]) => cell[key] === value) && wanted.every((word) => words[i].includes(word))) state.found.push(i);
  });
  if (state.sort !== null) {
    const value = COLUMNS[state.sort][2];
    state.found.sort((a, b) => compare(value(data.cells[a]), value(data.cells[b]), state.up, state.sort > 3));
  }
  $("count").textContent = `${state.found.length} of ${data.cells.length} cells; win rates in percent`;
  $("cell-table").tBodies[0].replaceChildren();
  state.drawn = 0;
  draw();
}

function draw() {
  const part = document.createDocumentFragment();
  for (const i of state.found.slice(state.drawn, state.drawn + STEP)) {
    const c = data.cells[i];
    const apart = node("td", {}, c.apart ? signed(c.apart[0]) : "–");
    if (c.apart) apart.className = c.apart[1] > 0 ? "above" : c.apart[2] < 0 ? "below" : "";
    const row = node("tr", { tabindex: 0, "data-cell": i, on: { click: () => detail(i), keydown: (e) => e.key === "Enter" && detail(i) } },
      node("th", { scope: "row" }, who(c)), ...[where(c.env), c.attack, c.perturbation].map((text) => node("td", { class: "word" }, text)),
      node("td", {}, shown(c.mean)), node("td", {}, shown(c.sd)), node("td", {}, `${shown(c.low)} – ${shown(c.high)}`),
      node("td", {}, shown(c.paper)), apart, node("td", {}, String(c.seeds.length)), node("td", {}, String(c.episodes)),
      node("td", {}, c.attacked === null ? "–" : `${(100 * c.attacked).toFixed(0)} %`));
    part.append(row);
  }
  $("cell-table").tBodies[0].append(part);
  state.drawn = Math.min(state.drawn + STEP, state.found.length);
  $("more").hidden = state.drawn >= state.found.length;
}

function asCsv() {
  const quote = (value) => (value === null || value === undefined ? "" : /[",\n]/.test(value) ? `"${String(value).replace(/"/g, '""')}"` : value);
  const names = ["team", "method", "env", "version", "attack", "perturbation", "score", "mean", "sd", "low", "high", "paper", "paper_sd", "difference", "seeds", "episodes"];
  const rows = state.found.map((i) => {
    const c = data.cells[i];
    return [...names.slice(0, 13).map((name) => c[name]), c.apart ? c.apart[0] : null, c.seeds.length, c.episodes].map(quote).join(",");
  });
  return [names.join(","), ...rows].join("\n");
}

/* ---- one cell ---- */

function detail(i) {
  const cell = data.cells[i], body = $("detail-body");
  $("detail-title").textContent = `${who(cell)} on ${where(cell.env)}: ${cell.attack}${cell.perturbation === "none" ? "" : `, ${cell.perturbation}`}`;
  const unit = cell.score === "win" ? " %" : "";
  const facts = [
    [cell.score === "win" ? "games won" : "return", `${shown(cell.mean)}${unit} [${shown(cell.low)}, ${shown(cell.high)}] (95 %)`],
    ["per seed", cell.seeds.map((seed, k) => `${seed === null ? "" : `${seed}: `}${shown(cell.each[k])}${unit}`).join(", ")],
    ["paper", cell.paper === undefined ? null : `${shown(cell.paper)} %${cell.paper_sd ? ` ±${shown(cell.paper_sd)}` : ""}`],
    ["difference", cell.apart ? `${signed(cell.apart[0])} [${signed(cell.apart[1])}, ${signed(cell.apart[2])}]` : null],
    ["episodes", String(cell.episodes)], ["rules", cell.version || null],
    ["steps of an episode", shown(cell.length)],
  ];
  body.replaceChildren(list(facts));
  replays(i, body);
  const card = data.cards[cell.card];
  if (card) {
    body.append(node("h3", {}, "Card"), list(Object.entries(card).filter(([, value]) => typeof value !== "object" || value === null).map(([name, value]) => [name, String(value)])));
    const rest = Object.fromEntries(Object.entries(card).filter(([, value]) => typeof value === "object" && value !== null));
    if (Object.keys(rest).length) body.append(node("pre", {}, JSON.stringify(rest, null, 1)));
  }
  $("detail").showModal();
}

function list(facts) {
  const made = node("dl");
  for (const [name, value] of facts) if (value !== null && value !== "") made.append(node("dt", {}, name), node("dd", {}, value));
  return made;
}

function replays(i, body) {
  const here = data.replays.filter((one) => one.cell === i);
  for (const one of here) {
    const button = node("button", { type: "button", class: "play" }, `▶ Play an episode (${one.label})`);
    button.addEventListener("click", async () => {
      const frame = node("iframe", { title: `Episode: ${one.label}`, sandbox: "allow-scripts" });
      frame.srcdoc = await unpacked(one.page);
      button.replaceWith(frame);
    });
    body.append(button);
  }
  const cell = data.cells[i];
  if (!here.length && cell.command) {
    const button = node("button", { type: "button" }, "Copy the command that plays an episode");
    button.addEventListener("click", () => copy(cell.command, button));
    body.append(button);
  }
}
$("detail").addEventListener("close", () => $("detail-body").replaceChildren());

/* ---- all of it ---- */

board();
paperTables();
heatMap();
if (document.querySelector(".figure").firstElementChild) $("curves").hidden = false;
cellTable();
head();
document.documentElement.dataset.step = "ready";
