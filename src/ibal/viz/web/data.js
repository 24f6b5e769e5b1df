// Reading what trajectory.py wrote. A packed array is {shape, unit, data[, gaps]}: whole multiples of `unit`.

function unpack(packed) {
  const size = packed.shape.reduce((a, b) => a * b, 1);
  const values = new Float32Array(size);
  if (packed.gaps) {
    let at = -1;
    packed.gaps.forEach((gap, k) => { at += gap; values[at] = packed.data[k] * packed.unit; });
  } else {
    for (let k = 0; k < size; k++) values[k] = packed.data[k] * packed.unit;
  }
  return values;
}

// A feature that is a cell around the agent, so many rows south and columns east of it: "-1+2". Players stand in one plane.
const CELL = /^([+-]\d+)([+-]\d+)$/;
const isCell = (features) => features.length === 1 && CELL.test(features[0]);
const planeOf = (kind) => (kind === "own" || kind === "ally" ? "players" : kind);

// "is_marine" -> "marine": a feature's name for people.
const plain = (name) => name.replace(/^is_|^can_/, "").replaceAll("_", " ");

// A field over time: at(t, i) of an array [time, ...]; a time axis of length 1 means that it never changes.
class Series {
  constructor(packed) {
    this.values = unpack(packed);
    this.times = packed.shape[0];
    this.stride = this.times ? this.values.length / this.times : 0;
  }
  at(t, i = 0) { return this.values[Math.min(t, this.times - 1) * this.stride + i]; }
}

class Replay {
  constructor(json, index) {
    Object.assign(this, { json, index, env: json.env, scene: json.scene, length: json.length, outcome: json.outcome });
    this.n = json.env.n_agents;
    this.units = json.scene.teams.length;
    this.frames = Object.fromEntries(Object.entries(json.frames).map(([name, packed]) => [name, new Series(packed)]));
    this.obsSize = json.obs.shape[2];
    this.obs = new Series(json.obs);
    this.reward = new Series(json.reward);
    this.executed = new Series(json.executed);
    this.intended = json.intended ? new Series(json.intended) : this.executed;
    const overlay = json.overlay;
    this.groups = overlay.groups ? new Series(overlay.groups) : null;
    this.change = overlay.change ? new Series(overlay.change) : null;
    this.masked = overlay.masked ? new Series(overlay.masked) : null;
    this.notes = overlay.notes || null;
    this.pictures = json.pictures; // what a world that is not ours draws of itself
    this.attacked = Boolean(this.groups || this.change || this.masked || this.notes || json.intended);
    this.name = json.label || json.scene.title;
    this.slotOf = new Map(json.enemy_units.map((unit, slot) => [unit, slot]));
    this.returns = [0];
    for (let t = 0; t < this.length; t++) this.returns.push(this.returns[t] + this.reward.at(t));
    this.energyMax = this.fullEnergy();
    this.health = this.teamHealth();
    // Without enemies and without a loss there is no fight to tell of: no bars, no lines of health.
    [this.other, this.others] = json.scene.others || ["enemy", "enemies"]; // pages of before say nothing of others
    this.combat = this.other === "enemy" ? this.enemies > 0 || this.health[0].some((share) => share < 1) : false;
    this.deaths = Array.from({ length: this.units }, (_, u) => this.deathOf(u));
  }

  deathOf(unit) {
    for (let t = 0; t <= this.length; t++) if (!this.alive(t, unit)) return t;
    return Infinity;
  }

  fullEnergy() {
    const full = new Float32Array(this.units);
    for (let u = 0; u < this.units; u++) {
      const declared = this.kindOf(0, u).energy;
      for (let t = 0; t <= this.length; t++) full[u] = Math.max(full[u], this.frames.energy.at(t, u));
      if (full[u] > 0 || declared) full[u] = Math.max(full[u], declared);
    }
    return full;
  }

  // Share of a team's health and shields that is left, per time: [agents, enemies].
  teamHealth() {
    const f = this.frames;
    return [0, 1].map((team) => Array.from({ length: this.length + 1 }, (_, t) => {
      let left = 0, full = 0;
      for (let u = 0; u < this.units; u++) {
        if (this.team(u) !== team) continue;
        left += f.health.at(t, u) + f.shield.at(t, u);
        full += f.max_health.at(t, u) + f.max_shield.at(t, u);
      }
      return full ? left / full : 0;
    }));
  }

  get enemies() { return this.units - this.n; }
  team(unit) { return this.scene.teams[unit]; }
  alive(t, unit) { return this.frames.alive.at(t, unit) > 0; }
  kindOf(t, unit) { return this.scene.kinds[Math.round(this.frames.kind.at(t, unit))]; }
  tag(unit) { return unit < this.n ? String(unit) : this.other[0] + (this.slotOf.has(unit) ? this.slotOf.get(unit) : unit - this.n); }
  target(t, unit) { return Math.round(this.frames.target.at(t, unit)); }
  group(t, agent) { return this.groups && t < this.length ? Math.round(this.groups.at(t, agent)) : 0; }
  action(t, agent) { return Math.round(this.executed.at(t, agent)); }
  wish(t, agent) { return Math.round(this.intended.at(t, agent)); }
  swapped(t, agent) { return t < this.length && this.action(t, agent) !== this.wish(t, agent); }
  swappedAny(t) {
    for (let i = 0; i < this.n; i++) if (this.swapped(t, i)) return true;
    return false;
  }

  clean(t, agent, d) { return this.obs.at(t, agent * this.obsSize + d); }
  seen(t, agent, d) {
    const added = this.change && t < this.length ? this.change.at(t, agent * this.obsSize + d) : 0;
    const value = this.clean(t, agent, d) + added;
    return Math.abs(value) < 5e-4 ? 0 : value; // below the precision that was written
  }
  isMasked(t, agent, d) { return Boolean(this.masked) && t < this.length && this.masked.at(t, agent * this.obsSize + d) > 0; }

  // What the attack did to an agent's sight: [{who, what, how}], blocks that lost the same together.
  harm(t, agent) {
    const found = new Map();
    for (const [kind, slot, start, features] of this.json.layout.blocks) {
      const hit = features.map((_, k) => k).filter((k) => this.isMasked(t, agent, start + k));
      if (!hit.length) continue;
      const how = hit.every((k) => this.seen(t, agent, start + k) === 0) ? "hidden" : "changed";
      if (isCell(features)) {
        const plane = planeOf(kind), key = `${plane} cells ${how}`;
        if (!found.has(key)) found.set(key, { plane, how, names: [] });
        found.get(key).names.push(slot);
        continue;
      }
      const all = hit.length === features.length && features.length > 1;
      const what = all ? "everything" : hit.map((k) => plain(features[k])).join(", ");
      const unit = this.unitOf(agent, kind, slot), key = [kind, what, how].join("|");
      if (!found.has(key)) found.set(key, { kind, what, how, names: [] });
      if (kind !== "own") found.get(key).names.push(unit >= 0 ? this.tag(unit) : slot);
    }
    const plural = { ally: "allies", enemy: "enemies" };
    return [...found.values()].map(({ kind, what, how, names, plane }) => {
      if (plane) return { who: plane, what: `${names.length} cell${names.length > 1 ? "s" : ""}`, how };
      const all = names.length === this.json.layout.blocks.filter((block) => block[0] === kind).length;
      let who = `${(names.length > 1 && plural[kind]) || kind} ${names.join(", ")}`;
      if (kind === "own") who = "itself";
      else if (all && names.length > 1) who = `all ${plural[kind] || kind}`;
      else if (all && !plural[kind]) who = kind;
      return { who, what, how };
    });
  }

  // The unit that a block of `agent`'s observation describes, or -1.
  unitOf(agent, kind, slot) {
    if (kind === "own") return agent;
    if (kind === "enemy") return slot < this.json.enemy_units.length ? this.json.enemy_units[slot] : -1;
    if (kind !== "ally") return -1;
    if (this.json.layout.allies === "skip-self") return slot + (slot >= agent ? 1 : 0);
    return this.json.layout.allies === "all" ? slot : -1;
  }

  // For every unit that `agent` could observe: {hidden, cut, masked}. `cut` = it would be seen without the attack.
  view(t, agent) {
    const out = new Map();
    for (const [kind, slot, start, features] of this.json.layout.blocks) {
      const unit = this.unitOf(agent, kind, slot);
      if (unit < 0 || kind === "own") continue;
      let seen = false, clean = false, masked = 0;
      features.forEach((_, k) => {
        seen ||= this.seen(t, agent, start + k) !== 0;
        clean ||= this.clean(t, agent, start + k) !== 0;
        masked += this.isMasked(t, agent, start + k) ? 1 : 0;
      });
      out.set(unit, { hidden: !seen, cut: !seen && clean, masked });
    }
    return out;
  }

  // What an action means for this agent: {label, unit} or {label, move: [dx, dy]}.
  meaning(agent, action, t) {
    const name = this.env.action_names[action] ?? String(action);
    const aimed = /^(?:attack|heal|target)\D*(\d+)\D*$/i.exec(name);
    if (aimed) {
      const slot = Number(aimed[1]);
      const heals = this.kindOf(t, agent).heals || /^heal/i.test(name);
      const unit = heals ? slot : this.unitOf(agent, "enemy", slot);
      return { label: heals ? `heal ${slot}` : `attack e${slot}`, unit };
    }
    const way = /(north|south|east|west)/i.exec(name);
    if (way) return { label: name, move: { north: [0, 1], south: [0, -1], east: [1, 0], west: [-1, 0] }[way[1].toLowerCase()] };
    return { label: name };
  }
}
