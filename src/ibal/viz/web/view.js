// The picture: one replay at one (fractional) time on a canvas.

const TAU = Math.PI * 2;
let ink = {}; // colours of the current scheme, read from the style sheet

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of COLOURS) ink[name] = style.getPropertyValue("--" + name).trim();
  ink.dark = matchMedia("(prefers-color-scheme: dark)").matches;
}

function shade(hex, tone) {
  const goal = tone > 0 ? 255 : 0, share = Math.abs(tone);
  const part = (i) => Math.round(parseInt(hex.slice(i, i + 2), 16) * (1 - share) + goal * share);
  return [part(1), part(3), part(5)];
}
const css = (rgb, alpha = 1) => `rgba(${rgb[0]},${rgb[1]},${rgb[2]},${alpha})`;
const readable = (rgb) => (rgb[0] * 0.3 + rgb[1] * 0.59 + rgb[2] * 0.11 < 150 ? "#fff" : "#0f141c");

// What a world draws of itself, one picture for every step, as tall as `height` and never wider than `room`.
class Shots {
  constructor({ size, data }, changed) {
    this.ratio = size[0] / size[1];
    this.canvas = element("canvas", { class: "shot", role: "img", "aria-label": "the world's own picture" });
    this.images = data.map((source) => Object.assign(new Image(), { onload: changed, src: source }));
  }

  resize(height, room) {
    const dense = Math.min(window.devicePixelRatio || 1, 3), width = Math.round(Math.min(height * this.ratio, room));
    const tall = Math.round(width / this.ratio);
    Object.assign(this.canvas, { width: width * dense, height: tall * dense });
    Object.assign(this.canvas.style, { width: width + "px", height: tall + "px" });
    return width;
  }

  draw(t) {
    const image = this.images[Math.min(t, this.images.length - 1)];
    if (image.complete) this.canvas.getContext("2d").drawImage(image, 0, 0, this.canvas.width, this.canvas.height);
  }
}

class View {
  constructor(replay, canvas, path) {
    Object.assign(this, { replay, canvas, path, pen: canvas.getContext("2d"), crowded: false, least: 8 });
    this.elbow = elbowRoom(replay);
    this.map = this.readMap();
    this.resize(1, 1);
  }

  resize(width, height) {
    const dense = Math.min(window.devicePixelRatio || 1, 3);
    Object.assign(this, { width, height, dense });
    this.canvas.width = Math.round(width * dense);
    this.canvas.height = Math.round(height * dense);
    this.canvas.style.width = width + "px";
    this.canvas.style.height = height + "px";
    this.hatch = null;
  }

  // Show `box`, or follow the units when it is null; the picture's shape decides what more is seen around it.
  aim(box, time) {
    if (!box) {
      const t = Math.floor(time), f = time - t, later = Math.min(t + 1, this.path.length - 1);
      box = this.path[t].map((v, k) => v * (1 - f) + this.path[later][k] * f);
    }
    this.scale = Math.min(this.width / (box[2] - box[0]), this.height / (box[3] - box[1]));
    this.left = (box[0] + box[2]) / 2 - this.width / this.scale / 2;
    this.top = (box[1] + box[3]) / 2 + this.height / this.scale / 2;
  }

  at(x, y) { return [(x - this.left) * this.scale, (this.top - y) * this.scale]; }

  place(time, unit) {
    const t = Math.floor(time), f = time - t, position = this.replay.frames.position;
    const x = position.at(t, 2 * unit) * (1 - f) + position.at(t + 1, 2 * unit) * f;
    const y = position.at(t, 2 * unit + 1) * (1 - f) + position.at(t + 1, 2 * unit + 1) * f;
    return this.at(x, y);
  }

  // Numbers, rings and bars have a size of their own; where units are small and stand close, they would cover them.
  // Then numbers stand inside the units, rings hug them, and only what is not full has a bar.
  squeeze(t) {
    const f = this.replay.frames, gap = this.elbow[t] * this.scale;
    let small = Infinity;
    for (let u = 0; u < this.replay.units; u++) if (this.replay.alive(t, u)) small = Math.min(small, f.radius.at(t, u) * this.scale);
    const least = this.width < 500 ? 6.5 : 8, r = Math.max(small, least);
    this.crowded = r < 24 && gap < 2 * this.ring(r, false) + 4;
    this.least = this.crowded ? Math.max(5, Math.min(least, gap / 2)) : least;
  }

  radius(t, unit) { return Math.max(this.replay.frames.radius.at(t, unit) * this.scale, this.least); }
  numbered(unit, r) { return this.crowded && (unit < this.replay.n || (this.roomy && this.replay.combat && r >= 10)); }
  ring(r, crowded = this.crowded) { return crowded ? r + 1.5 : r * 1.3 + 3; }

  // The living unit (else the fallen one) under a point of the canvas, -1 if none; fingers get some slack.
  hit(time, px, py, slack) {
    let best = -1, least = Infinity;
    for (let u = 0; u < this.replay.units; u++) {
      const [x, y] = this.place(time, u), t = Math.floor(time);
      const far = Math.hypot(px - x, py - y) - this.radius(t, u) + (this.replay.alive(t, u) ? 0 : slack);
      if (far <= slack && far < least) { best = u; least = far; }
    }
    return best;
  }

  draw(time, state) {
    this.aim(state.box, state.camera);
    this.squeeze(Math.floor(time));
    this.roomy = this.width >= 500 && this.replay.enemies <= 12; // for the ids of all enemies
    const pen = this.pen, replay = this.replay, t = Math.floor(time);
    pen.setTransform(this.dense, 0, 0, this.dense, 0, 0);
    this.drawGround();
    const agent = state.agent < replay.n ? state.agent : -1, watching = agent >= 0 && replay.alive(t, agent);
    const looks = watching ? replay.view(t, agent) : new Map(); // the dead see nothing: no need to hatch it all
    const order = [...Array(replay.units).keys()].sort((a, b) => replay.frames.radius.at(t, b) - replay.frames.radius.at(t, a));
    const living = order.filter((u) => replay.alive(t, u));
    order.forEach((u) => { if (!replay.alive(t, u)) this.drawCorpse(time, u); });
    if (watching) this.drawSight(time, agent);
    else if (agent >= 0) this.drawRings(...this.place(t, agent), this.radius(t, agent), t, agent, null, true, false);
    living.forEach((u) => this.drawTarget(time, u));
    for (let i = 0; i < replay.n; i++) if (replay.alive(t, i) && replay.swapped(t, i)) this.drawWish(time, i);
    const rings = (u) => this.drawRings(...this.place(time, u), this.radius(t, u), t, u, looks.get(u), u === agent, u === state.hover);
    if (this.crowded) living.forEach(rings); // below all bodies: a ring shall not cover who stands beside
    living.forEach((u) => { if (!this.crowded) rings(u); this.drawBody(time, u, looks.get(u)); });
    living.forEach((u) => this.drawBars(time, u));
    const aimed = watching ? replay.target(t, agent) : -1;
    // Where nobody fights, observations name none of the others: their ids would only be in the way.
    const named = (u) => u < replay.n || (this.roomy && replay.combat) || u === state.hover || u === aimed;
    living.forEach((u, k) => {
      if (!this.numbered(u, this.radius(t, u))) { if (named(u)) this.drawTag(time, u); return; }
      const over = living.slice(k + 1).find((other) => this.covers(time, other, u));
      if (over !== undefined) this.drawTag(time, u, over);
    });
  }

  // Walkable cells as runs along x, and the lines between cells: inner ones and borders with walls.
  readMap() {
    const rows = this.replay.scene.walkable, map = { runs: [], grid: [], edge: [] };
    const free = (x, y) => rows[y] !== undefined && rows[y][x] === "1";
    rows.forEach((row, y) => {
      for (const run of row.matchAll(/1+/g)) map.runs.push([run.index, y, run[0].length]);
      for (let x = 0; x < row.length; x++) {
        if (!free(x, y)) continue;
        const sides = [[x, y + 1, x + 1, y + 1, 0, 1], [x, y, x + 1, y, 0, -1], [x, y, x, y + 1, -1, 0], [x + 1, y, x + 1, y + 1, 1, 0]];
        for (const [x0, y0, x1, y1, dx, dy] of sides) map[free(x + dx, y + dy) ? "grid" : "edge"].push([x0, y0, x1, y1]);
      }
    });
    return map;
  }

  drawGround() {
    const pen = this.pen;
    this.hatch ||= hatching(pen, this.dense); // walls are hatched as well as darker: colour alone is not enough
    pen.fillStyle = ink.wall;
    pen.fillRect(0, 0, this.width, this.height);
    pen.fillStyle = this.hatch;
    pen.fillRect(0, 0, this.width, this.height);
    pen.fillStyle = ink.ground;
    for (const [x, y, long] of this.map.runs) {
      const [px, py] = this.at(x, y + 1);
      pen.fillRect(px - 0.3, py - 0.3, this.scale * long + 0.6, this.scale + 0.6);
    }
    for (const style of ["grid", "edge"]) {
      pen.strokeStyle = ink[style]; pen.lineWidth = style === "edge" ? 2 : 1; pen.lineCap = "round";
      pen.beginPath();
      for (const [x0, y0, x1, y1] of this.map[style]) { pen.moveTo(...this.at(x0, y0)); pen.lineTo(...this.at(x1, y1)); }
      pen.stroke();
    }
  }

  colour(unit) { return ink[this.replay.team(unit) === 0 ? "agent" : "enemy"]; }

  drawCorpse(time, unit) {
    const pen = this.pen, [x, y] = this.place(Math.floor(time), unit);
    const age = time - this.replay.deaths[unit], arm = Math.min(this.radius(Math.floor(time), unit), 0.45 * this.scale) * 0.75;
    pen.globalAlpha = Math.max(0.28, 0.95 - 0.13 * Math.max(age, 0));
    pen.strokeStyle = this.colour(unit); pen.lineWidth = Math.max(2, this.scale * 0.08); pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(x - arm, y - arm); pen.lineTo(x + arm, y + arm); pen.moveTo(x - arm, y + arm); pen.lineTo(x + arm, y - arm);
    pen.stroke();
    pen.globalAlpha = 1;
  }

  drawSight(time, agent) {
    const pen = this.pen, [x, y] = this.place(time, agent);
    if (!(this.replay.scene.sight > 0)) return;
    const { sight, square } = this.replay.scene, reach = (sight + (square ? 0.5 : 0)) * this.scale;
    pen.beginPath();
    if (square) pen.rect(x - reach, y - reach, 2 * reach, 2 * reach); // whole cells
    else pen.arc(x, y, reach, 0, TAU);
    pen.fillStyle = css(shade(ink.agent, 0), ink.dark ? 0.09 : 0.07); pen.fill();
    pen.setLineDash([7, 6]); pen.strokeStyle = css(shade(ink.agent, 0), 0.75); pen.lineWidth = 1.5; pen.stroke(); pen.setLineDash([]);
  }

  drawTarget(time, unit) {
    const t = Math.floor(time), target = this.replay.target(t, unit);
    if (target < 0 || target === unit) return;
    const same = this.replay.team(target) === this.replay.team(unit);
    const [x0, y0] = this.place(time, unit), [x1, y1] = this.place(time, target);
    const far = Math.hypot(x1 - x0, y1 - y0) || 1, ux = (x1 - x0) / far, uy = (y1 - y0) / far;
    const side = same ? 0 : 2.5; // two units that shoot each other get two lines
    const end = Math.max(far - this.radius(t, target) * 0.8, far * 0.3);
    const [ax, ay, bx, by] = [x0 - uy * side, y0 + ux * side, x0 + ux * end - uy * side, y0 + uy * end + ux * side];
    const pen = this.pen;
    pen.strokeStyle = pen.fillStyle = same ? ink.heal : this.colour(unit);
    pen.lineWidth = same ? 3 : 1.6; pen.globalAlpha = same ? 0.8 : 0.75;
    pen.beginPath(); pen.moveTo(ax, ay); pen.lineTo(bx, by); pen.stroke();
    pen.globalAlpha = 1;
    pen.beginPath(); pen.arc(bx, by, same ? 4 : 3, 0, TAU); pen.fill();
    const along = time - t; // a shot on its way, when time flows
    if (along > 0) { pen.beginPath(); pen.arc(ax + (bx - ax) * along, ay + (by - ay) * along, 2.6, 0, TAU); pen.fill(); }
  }

  // What the agent wanted to do before the attack replaced it: a dashed arrow to the target or along the move.
  drawWish(time, agent) {
    const t = Math.floor(time), wish = this.replay.meaning(agent, this.replay.wish(t, agent), t), pen = this.pen;
    const [x, y] = this.place(time, agent), r = this.radius(t, agent);
    pen.strokeStyle = pen.fillStyle = ink.swap; pen.lineWidth = 2.2;
    let goal = null;
    if (wish.unit >= 0) goal = this.place(time, wish.unit);
    if (wish.move) goal = [x + wish.move[0] * (r + 1.3 * this.scale), y - wish.move[1] * (r + 1.3 * this.scale)];
    if (!goal) return;
    const far = Math.hypot(goal[0] - x, goal[1] - y) || 1, ux = (goal[0] - x) / far, uy = (goal[1] - y) / far;
    const stop = far - (wish.unit >= 0 ? this.radius(t, wish.unit) + 3 : 0), tx = x + ux * stop, ty = y + uy * stop;
    pen.setLineDash([5, 4]); pen.beginPath(); pen.moveTo(x, y); pen.lineTo(tx, ty); pen.stroke(); pen.setLineDash([]);
    pen.beginPath(); pen.moveTo(tx, ty);
    pen.lineTo(tx - ux * 8 - uy * 5, ty - uy * 8 + ux * 5); pen.lineTo(tx - ux * 8 + uy * 5, ty - uy * 8 - ux * 5); pen.fill();
  }

  outline(x, y, radius, glyph) {
    const pen = this.pen;
    pen.beginPath();
    if (!glyph.outline.length) pen.arc(x, y, radius, 0, TAU);
    glyph.outline.forEach(([dx, dy], k) => (k ? pen.lineTo(x + dx * radius, y - dy * radius) : pen.moveTo(x + dx * radius, y - dy * radius)));
    pen.closePath();
  }

  drawBody(time, unit, look) {
    const t = Math.floor(time), pen = this.pen, replay = this.replay;
    const [x, y] = this.place(time, unit), r = this.radius(t, unit), glyph = replay.kindOf(t, unit);
    const fill = shade(this.colour(unit), glyph.tone);
    pen.lineJoin = "round";
    pen.globalAlpha = replay.alive(t + 1, unit) || t === replay.length ? 1 : 1 - 0.6 * (time - t); // about to fall
    this.outline(x, y, r, glyph);
    if (look && look.hidden) {
      pen.fillStyle = ink.ground; pen.fill();
      pen.save(); pen.clip();
      pen.strokeStyle = css(fill, 0.75); pen.lineWidth = 1.6; pen.lineCap = "butt"; pen.beginPath();
      for (let d = -3 * r; d < 3 * r; d += 4.5) { pen.moveTo(x + d - 2 * r, y + 2 * r); pen.lineTo(x + d + 2 * r, y - 2 * r); }
      pen.stroke(); pen.restore();
      this.outline(x, y, r, glyph);
      pen.strokeStyle = css(fill); pen.lineWidth = 1.5; pen.stroke();
    } else {
      pen.fillStyle = css(fill); pen.fill();
      pen.strokeStyle = ink.panel; pen.lineWidth = 1; pen.stroke();
    }
    const numbered = this.numbered(unit, r), swapped = numbered && unit < replay.n && replay.swapped(t, unit);
    const text = numbered ? replay.tag(unit) : glyph.letter;
    if (swapped) { pen.fillStyle = ink.swap; pen.beginPath(); pen.arc(x, y, r * 0.8, 0, TAU); pen.fill(); }
    pen.font = `700 ${Math.max(8, r * (text.length > 1 ? 0.9 : 1.05))}px system-ui, sans-serif`;
    pen.textAlign = "center"; pen.textBaseline = "middle";
    const low = glyph.outline.length === 3 ? r * 0.12 : 0; // the middle of a triangle lies lower
    if (swapped) pen.fillStyle = ink.page;
    else if (look && look.hidden) {
      pen.strokeStyle = ink.ground; pen.lineWidth = 4; pen.strokeText(text, x, y + low + r * 0.06);
      pen.fillStyle = ink.ink;
    } else pen.fillStyle = readable(fill);
    pen.fillText(text, x, y + low + r * 0.06);
    pen.globalAlpha = 1;
  }

  drawRings(x, y, r, t, unit, look, selected, hover) {
    const pen = this.pen, group = unit < this.replay.n ? this.replay.group(t, unit) : 0;
    const ring = (radius, colour, width, dash = []) => {
      pen.setLineDash(dash); pen.strokeStyle = colour; pen.lineWidth = width;
      pen.beginPath(); pen.arc(x, y, radius, 0, TAU); pen.stroke(); pen.setLineDash([]);
    };
    const near = this.ring(r), far = near + (this.crowded ? 3 : 4);
    if (group) ring(near, group === 1 ? ink.one : ink.two, this.crowded ? 2.2 : 2.6);
    if (look && look.masked) ring(group ? far : near, ink.one, 1.8, [3, 3]);
    if (selected) { ring(far, ink.page, 5); ring(far, ink.ink, 2.5); }
    if (hover && !selected) ring(far, ink.ink, 1.5);
  }

  drawBars(time, unit) {
    const t = Math.floor(time), f = time - t, frames = this.replay.frames, pen = this.pen;
    const [x, y] = this.place(time, unit), r = this.radius(t, unit);
    const value = (name) => frames[name].at(t, unit) * (1 - f) + frames[name].at(t + 1, unit) * f;
    const all = bar(this.replay, t, unit, value), bars = this.crowded ? all.filter(([share, name]) => share < 1 && name !== "energy") : all;
    const tight = this.crowded || this.width < 500;
    const half = Math.max(r, this.crowded ? 0 : this.width < 500 ? 8 : this.roomy ? 11 : 0), thick = tight ? 2.5 : 3.5;
    let top = this.crowded ? y - r - 3 : y - r * 1.28 - 5;
    for (const [share, name] of bars) {
      pen.fillStyle = ink.panel; pen.fillRect(x - half - 1, top - 1, 2 * half + 2, thick + 2);
      pen.fillStyle = ink.line; pen.fillRect(x - half, top, 2 * half, thick);
      pen.fillStyle = ink[name]; pen.fillRect(x - half, top, 2 * half * share, thick);
      top -= thick + 1;
    }
  }

  // Whether a unit that is drawn later hides the number inside another: who flies or wades stands on top of others.
  covers(time, other, unit) {
    const t = Math.floor(time), [x0, y0] = this.place(time, other), [x1, y1] = this.place(time, unit);
    return Math.hypot(x1 - x0, y1 - y0) < this.radius(t, other) + 0.25 * this.radius(t, unit);
  }

  // The number of a unit at its lower right, or on the side away from the unit `over` it.
  drawTag(time, unit, over = unit) {
    const agent = unit < this.replay.n;
    const t = Math.floor(time), [x, y] = this.place(time, unit), r = this.radius(t, unit), pen = this.pen;
    const text = this.replay.tag(unit), size = this.width < 500 ? 9 : 11;
    pen.font = `${agent ? 700 : 500} ${size}px system-ui, sans-serif`;
    const [x0, y0] = this.place(time, over), east = x < x0 ? -1 : 1, south = y < y0 ? -1 : 1;
    // Clear of the letter inside: of a small unit, that is a little further away.
    const down = over === unit ? Math.max(r * 0.95, r * 0.5 + size * 0.65 + 1) : r * 0.95;
    const half = pen.measureText(text).width / 2 + 3, cx = x + east * r * 0.85, cy = y + south * down;
    pen.beginPath(); pen.roundRect(cx - half, cy - size * 0.65, 2 * half, size * 1.3, 4);
    const swapped = agent && this.replay.swapped(t, unit);
    pen.fillStyle = swapped ? ink.swap : agent ? ink.ink : ink.panel; pen.fill();
    pen.strokeStyle = agent ? ink.page : this.colour(unit); pen.lineWidth = 1; pen.stroke();
    pen.fillStyle = agent ? ink.page : ink.ink; pen.textAlign = "center"; pen.textBaseline = "middle";
    pen.fillText(text, cx, cy + 0.5);
  }
}

function hatching(pen, dense) {
  const tile = document.createElement("canvas"), size = 9 * dense;
  tile.width = tile.height = Math.round(size);
  const brush = tile.getContext("2d");
  brush.strokeStyle = ink.edge; brush.globalAlpha = 0.4; brush.lineWidth = dense;
  brush.beginPath();
  for (const shift of [-size, 0, size]) { brush.moveTo(shift - 1, size + 1); brush.lineTo(shift + size + 1, -1); }
  brush.stroke();
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / dense));
  return pattern;
}

// The bars of a unit from the bottom up: [share, colour name]; none where nothing can be hurt.
function bar(replay, t, unit, value) {
  if (!replay.combat) return [];
  const full = replay.frames, share = (v, max) => Math.max(0, Math.min(1, v / max));
  const health = share(value("health"), full.max_health.at(t, unit) || 1);
  const bars = [[health, health > 1 / 3 ? "health" : "low"]];
  if (full.max_shield.at(t, unit) > 0) bars.push([share(value("shield"), full.max_shield.at(t, unit)), "shield"]);
  if (replay.energyMax[unit] > 0) bars.push([share(value("energy"), replay.energyMax[unit]), "energy"]);
  return bars;
}
