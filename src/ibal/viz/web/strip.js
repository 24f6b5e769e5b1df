// Health of both teams and rewards over the episode.
class Strip {
  constructor(replay, canvas, steps) {
    Object.assign(this, { replay, canvas, steps, pen: canvas.getContext("2d"), pad: 8 });
    const sizes = [...replay.reward.values].map(Math.abs).filter((r) => r > 0).sort((a, b) => a - b);
    // The reward of a win dwarfs all others: bars beyond three times the 90th percentile are cut (and drawn broken).
    this.most = Math.min(sizes.at(-1) ?? 1, 3 * (sizes[Math.floor(sizes.length * 0.9)] ?? 1));
    this.signed = replay.reward.values.some((r) => r < 0);
  }

  resize() {
    const dense = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth; this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * dense); this.canvas.height = Math.round(this.height * dense);
    this.pen.setTransform(dense, 0, 0, dense, 0, 0);
  }

  x(t) { return this.pad + (t / Math.max(this.steps, 1)) * (this.width - 2 * this.pad); }
  time(px) { return Math.round(((px - this.pad) / (this.width - 2 * this.pad)) * this.steps); }

  draw(time) {
    const { pen, replay, height } = this, base = this.signed ? height * 0.7 : height - 4;
    pen.clearRect(0, 0, this.width, height);
    const wide = Math.max(1, Math.min(9, (this.x(1) - this.x(0)) * 0.6));
    for (let t = 0; t < replay.length; t++) {
      const share = replay.reward.at(t) / this.most, room = height * (this.signed ? 0.28 : 0.5);
      const tall = Math.max(-1, Math.min(1, share)) * room;
      pen.fillStyle = ink.muted; pen.globalAlpha = 0.5;
      pen.fillRect(this.x(t + 1) - wide / 2, base - Math.max(tall, 0), wide, Math.abs(tall));
      pen.globalAlpha = 1;
      if (Math.abs(share) > 1.001) { pen.fillStyle = ink.panel; pen.fillRect(this.x(t + 1) - wide, base - tall * 0.8, wide * 2, 3); }
      if (replay.swappedAny(t)) { pen.fillStyle = ink.swap; pen.fillRect(this.x(t) - 1.5, 0, 3, 6); }
    }
    ["agent", "enemy"].forEach((name, team) => {
      pen.strokeStyle = ink[name]; pen.lineWidth = 2; pen.lineJoin = "round"; pen.setLineDash(team ? [6, 3] : []);
      pen.beginPath();
      replay.health[team].forEach((share, t) => { pen.lineTo(this.x(t), 9 + (1 - share) * (height - 16)); });
      pen.stroke();
    });
    pen.setLineDash([]);
    pen.strokeStyle = ink.ink; pen.lineWidth = 1.5; pen.beginPath();
    pen.moveTo(this.x(time), 0); pen.lineTo(this.x(time), height); pen.stroke();
  }
}
