// Everything beside the picture: the list of agents and what the selected one observes.

const NS = "http://www.w3.org/2000/svg";

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

// The same outline as on the canvas, for lists and the legend.
function glyphIcon(kind, team) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "-1.3 -1.3 2.6 2.6");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(NS, kind.outline.length ? "polygon" : "circle");
  if (kind.outline.length) shape.setAttribute("points", kind.outline.map(([x, y]) => `${x},${-y}`).join(" "));
  else shape.setAttribute("r", "1");
  const base = team === 2 ? ink.muted : ink[team === 0 ? "agent" : "enemy"], fill = shade(base, kind.tone);
  shape.setAttribute("fill", css(fill));
  const text = document.createElementNS(NS, "text");
  text.setAttribute("text-anchor", "middle");
  text.setAttribute("y", kind.outline.length === 3 ? "0.5" : "0.4");
  text.setAttribute("font-size", "1.1");
  text.setAttribute("font-weight", "700");
  text.setAttribute("fill", readable(fill));
  text.textContent = kind.letter;
  svg.append(shape, text);
  return svg;
}

const number = (value) => {
  if (value === 0) return "0";
  if (Number.isInteger(value)) return String(value);
  const text = value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
  return /[1-9]/.test(text) ? text.replace("-", "−") : text.replace("-", "");
};

function meter(bars) {
  const box = element("span", { class: "meter" });
  for (const [share, name] of bars) {
    const line = element("i");
    line.style.setProperty("--part", share);
    line.style.setProperty("--tint", `var(--${name})`);
    box.append(line);
  }
  return box;
}

// "attack e3", or "attack e3 -> stop" struck through and coloured where the attack replaced it.
function actionNodes(replay, t, agent) {
  if (t >= replay.length) return [element("span", { text: "–" })];
  const done = replay.meaning(agent, replay.action(t, agent), t).label;
  if (!replay.swapped(t, agent)) return [element("span", { text: done })];
  const wished = replay.meaning(agent, replay.wish(t, agent), t).label;
  return [element("s", { text: wished, title: "intended" }), element("span", { class: "forced", text: done, title: "executed" })];
}

class Roster {
  constructor(box, onSelect, onHover) { Object.assign(this, { box, onSelect, onHover }); }

  build(replay) {
    this.replay = replay;
    this.rows = [];
    this.box.replaceChildren();
    for (let i = 0; i < replay.n; i++) {
      const kind = replay.kindOf(0, i);
      const parts = { group: element("span", { class: "group" }), what: element("span", { class: "what" }), bars: element("span") };
      const row = element("button", {
        type: "button", "aria-pressed": "false", "data-agent": i,
        onclick: () => this.onSelect(i), onmouseenter: () => this.onHover(i), onmouseleave: () => this.onHover(-1),
      }, element("span", { class: "id", text: i }), glyphIcon(kind, 0), parts.bars, parts.what);
      this.box.append(row);
      this.rows.push({ row, kind, ...parts });
    }
  }

  update(t, agent) {
    const replay = this.replay;
    this.rows.forEach(({ row, kind, bars, what, group }, i) => {
      const alive = replay.alive(t, i), member = replay.group(t, i);
      row.classList.toggle("dead", !alive);
      row.setAttribute("aria-pressed", String(i === agent));
      bars.replaceChildren(meter(bar(replay, t, i, (name) => replay.frames[name].at(t, i))));
      group.className = "group g" + member;
      group.textContent = "G" + member;
      what.replaceChildren(...(alive ? actionNodes(replay, t, i) : [element("span", { text: "dead" })]), ...(member ? [group] : []));
      if (i === agent && agent !== this.shown) this.reveal(row);
      row.setAttribute("aria-label", `Agent ${i}, ${kind.name}, ${!alive ? "dead" : replay.combat ? "health " + Math.round(replay.frames.health.at(t, i)) : "alive"}, ${what.textContent}`);
    });
    this.shown = agent;
  }

  // Scroll the list, and never the page, to the selected agent.
  reveal(row) {
    const low = row.offsetTop - this.box.offsetTop, high = low + row.offsetHeight;
    if (low < this.box.scrollTop) this.box.scrollTop = low;
    else if (high > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = high - this.box.clientHeight;
  }
}

class Panel {
  constructor(box, title, onHover) { Object.assign(this, { box, title, onHover }); }

  build(replay, agent) {
    Object.assign(this, { replay, agent, cells: [], entities: [] });
    this.box.replaceChildren();
    this.title.textContent = agent < 0 ? "Observation" : `What agent ${agent} observes`;
    if (agent < 0) {
      this.box.append(element("p", { text: "Select an agent (click it, or type its number) to see its sight range and every feature it observes at this step." }));
      return;
    }
    this.facts = element("p", { class: "facts" });
    this.state = element("p");
    this.harm = element("ul", { class: "harm" });
    this.box.append(this.facts, this.state, this.harm);
    this.box.append(element("div", { class: "tables" }, ...this.sections().map((group) => element("div", { class: `scroller of-${isCell(group[0][3]) ? "plane" : group[0][0]}` }, this.table(group)))));
  }

  // Blocks of one kind with the same features make one table: entities down, features across.
  sections() {
    const groups = new Map();
    for (const block of this.replay.json.layout.blocks) {
      const key = isCell(block[3]) ? planeOf(block[0]) : block[0] + "|" + block[3].join();
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(block);
    }
    const rank = { own: 0, move: 1, enemy: 2, ally: 3 };
    return [...groups.values()].sort((a, b) => (rank[a[0][0]] ?? 4) - (rank[b[0][0]] ?? 4));
  }

  table(blocks) {
    if (isCell(blocks[0][3])) return this.plane(blocks);
    const [kind, , , features] = blocks[0], titles = { enemy: "Enemies", ally: "Allies", own: "Itself", move: "Can move" };
    const head = element("tr", {}, element("td", { style: "border:0;background:none" }));
    for (const name of features) head.append(element("th", { scope: "col", title: name }, element("span", { text: plain(name) })));
    const body = element("tbody");
    for (const block of blocks) body.append(this.tableRow(block));
    return element("table", {}, element("caption", { text: titles[kind] || kind }), element("thead", {}, head), body);
  }

  // Cells of one plane, as they lie around the agent, which is in the middle.
  plane(blocks) {
    const rows = new Map();
    for (const [kind, slot, start, [name]] of blocks) {
      const south = CELL.exec(name)[1];
      if (!rows.has(south)) rows.set(south, element("tr"));
      const cell = element("td", { "data-feature": `${kind}[${slot}].${name}`, "data-middle": name === "+0+0", title: name });
      this.cells.push({ cell, d: start });
      rows.get(south).append(cell);
    }
    return element("table", {}, element("caption", { text: planeOf(blocks[0][0]) }), element("tbody", {}, ...rows.values()));
  }

  tableRow([kind, slot, start, features]) {
    const { replay, agent } = this, unit = replay.unitOf(agent, kind, slot);
    const label = element("th", { scope: "row" }), state = element("small");
    if (unit >= 0) {
      const type = replay.kindOf(0, unit);
      label.append(glyphIcon(type, replay.team(unit)), ` ${replay.tag(unit)} `, state);
      label.title = `${kind}[${slot}]: ${type.name} ${replay.tag(unit)}`;
    } else label.append(`${kind}${slot ? "[" + slot + "]" : ""} `, state);
    const row = element("tr", { "data-entity": `${kind}[${slot}]`, onmouseenter: () => this.onHover(unit), onmouseleave: () => this.onHover(-1) }, label);
    features.forEach((name, k) => {
      const cell = element("td", { "data-feature": `${kind}[${slot}].${name}` });
      this.cells.push({ cell, d: start + k });
      row.append(cell);
    });
    this.entities.push({ row, state, unit, kind, start, count: features.length });
    return row;
  }

  update(t) {
    if (this.agent < 0 || !this.replay) return;
    const { replay, agent } = this;
    let masked = 0;
    for (const { cell, d } of this.cells) {
      const seen = replay.seen(t, agent, d), hit = replay.isMasked(t, agent, d), clean = replay.clean(t, agent, d);
      masked += hit ? 1 : 0;
      const key = `${seen}|${hit}|${clean}`;
      if (cell.dataset.key === key) continue;
      cell.dataset.key = key;
      cell.className = hit ? "masked" : seen === 0 ? "none" : "";
      cell.style.setProperty("--heat", Math.min(1, Math.abs(seen)));
      cell.replaceChildren(...(hit && Math.abs(clean - seen) > 5e-4 ? [element("s", { text: number(round(clean)) })] : []), number(round(seen)));
    }
    for (const { row, state, unit, kind, start, count } of this.entities) {
      let seen = false, clean = false;
      for (let d = start; d < start + count; d++) {
        seen ||= replay.seen(t, agent, d) !== 0;
        clean ||= replay.clean(t, agent, d) !== 0;
      }
      const other = kind === "enemy" || kind === "ally";
      row.classList.toggle("unseen", other && !seen);
      state.textContent = !other || unit < 0 ? "" : !replay.alive(t, unit) ? "dead" : seen ? "" : clean ? "cut off" : "unseen";
    }
    this.updateFacts(t, masked);
  }

  updateFacts(t, masked) {
    const { replay, agent } = this, f = replay.frames, round1 = (v) => Math.round(v * 10) / 10;
    const kind = replay.kindOf(t, agent), facts = [kind.name];
    if (replay.combat) facts.push(`health ${round1(f.health.at(t, agent))}/${f.max_health.at(t, agent)}`);
    if (f.max_shield.at(t, agent) > 0) facts.push(`shield ${round1(f.shield.at(t, agent))}/${f.max_shield.at(t, agent)}`);
    if (replay.energyMax[agent] > 0) facts.push(`energy ${Math.round(f.energy.at(t, agent))}`);
    const act = element("span", {}, "action: ", ...actionNodes(replay, t, agent).flatMap((node) => [node, " "]));
    this.facts.replaceChildren(...facts.map((text) => element("span", { text })), act);
    const group = replay.group(t, agent), lines = [];
    if (!replay.alive(t, agent)) lines.push("This agent is dead: it observes zeros.");
    if (group) lines.push(group === 1 ? "In G1, the attacked group." : "In G2, the other group.");
    if (masked) lines.push(`${masked} of ${replay.obsSize} features replaced by the attack:`);
    this.state.textContent = lines.join(" ");
    this.state.hidden = !lines.length;
    this.harm.replaceChildren(...replay.harm(t, agent).map(({ who, what, how }) => element("li", {}, element("b", { text: who }), `: ${what} ${how}`)));
    this.harm.hidden = !masked;
  }
}

const round = (v) => Math.round(v * 1000) / 1000;
