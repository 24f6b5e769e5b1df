// Cameras: which rectangle [x0, y0, x1, y1] of the world is shown at a time.

const ROOM = 1.9; // world units kept free around the units
const LEAD = 8; // steps that the following camera looks ahead and back
const SLIVER = 3; // world units: a strip of the map narrower than this is not left out

const union = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];

// Where the living units are, at every time.
function bounds(replay) {
  const out = [];
  for (let t = 0; t <= replay.length; t++) {
    let box = [Infinity, Infinity, -Infinity, -Infinity];
    for (let u = 0; u < replay.units; u++) {
      if (!replay.alive(t, u)) continue;
      const x = replay.frames.position.at(t, 2 * u), y = replay.frames.position.at(t, 2 * u + 1);
      box = union(box, [x, y, x, y]);
    }
    out.push(box[0] < Infinity ? box : out[t - 1] || [0, 0, replay.scene.width, replay.scene.height]);
  }
  return out;
}

const padded = (box) => {
  const x = (box[0] + box[2]) / 2, y = (box[1] + box[3]) / 2;
  const w = Math.max((box[2] - box[0]) / 2 + ROOM, 5), h = Math.max((box[3] - box[1]) / 2 + ROOM, 3.2);
  return [x - w, y - h, x + w, y + h];
};

// Where one can walk, with a little of the walls around it.
function mapBox(scene) {
  let box = [Infinity, Infinity, -Infinity, -Infinity];
  scene.walkable.forEach((row, y) => { for (const run of row.matchAll(/1+/g)) box = union(box, [run.index, y, run.index + run[0].length, y + 1]); });
  return box[0] < Infinity ? [box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1] : [0, 0, scene.width, scene.height];
}

// A box of a world in which nobody fights, with its sides moved out to those of the whole map where they are near: an
// empty corner of the field means something there.
function toEdge(box, replay) {
  if (replay.combat) return box;
  const whole = mapBox(replay.scene);
  const out = (k, far) => (far > 0 && far < SLIVER + 1 ? whole[k] : box[k]); // the map has a border of 1
  return [out(0, box[0] - whole[0]), out(1, box[1] - whole[1]), out(2, whole[2] - box[2]), out(3, whole[3] - box[3])];
}

// A camera that glides: the mean of boxes that each hold the units LEAD steps around, so nobody ever leaves the picture.
// A replay that ends before `steps` is seen as at its end.
function followPath(replay, steps) {
  const raw = bounds(replay), near = (t) => [Math.max(0, t - LEAD), Math.min(steps, t + LEAD)];
  while (raw.length <= steps) raw.push(raw.at(-1));
  const wide = raw.map((_, t) => { const [a, b] = near(t); return toEdge(padded(raw.slice(a, b + 1).reduce(union)), replay); });
  return wide.map((_, t) => {
    const [a, b] = near(t), part = wide.slice(a, b + 1);
    return [0, 1, 2, 3].map((k) => part.reduce((sum, box) => sum + box[k], 0) / part.length);
  });
}

// One camera for each replay, all of one size at a time: side by side, a unit is as large here as there.
function followPaths(replays, steps) {
  const paths = replays.map((replay) => followPath(replay, steps));
  const most = (t, side) => Math.max(...paths.map((path) => path[t][side + 2] - path[t][side])) / 2;
  return paths.map((path) => path.map((box, t) => {
    const x = (box[0] + box[2]) / 2, y = (box[1] + box[3]) / 2, w = most(t, 0), h = most(t, 1);
    return [x - w, y - h, x + w, y + h];
  }));
}

// The smallest distance between two living units within LEAD steps of every time: how much room there is for marks.
function elbowRoom(replay) {
  const { position } = replay.frames, least = [];
  for (let t = 0; t <= replay.length; t++) {
    let near = Infinity;
    for (let u = 0; u < replay.units; u++) {
      if (!replay.alive(t, u)) continue;
      for (let v = 0; v < u; v++) {
        if (!replay.alive(t, v)) continue;
        near = Math.min(near, Math.hypot(position.at(t, 2 * u) - position.at(t, 2 * v), position.at(t, 2 * u + 1) - position.at(t, 2 * v + 1)));
      }
    }
    least.push(near);
  }
  return least.map((_, t) => Math.min(...least.slice(Math.max(0, t - LEAD), t + LEAD + 1)));
}
