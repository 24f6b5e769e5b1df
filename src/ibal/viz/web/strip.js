// Health of both teams and rewards over the episode, as far as it has been watched: a chart that ran ahead of the
// picture would tell how it ends.
class Strip {
  constructor(replay, canvas, steps) {
    Object.assign(this, { replay, canvas, steps, pen: canvas.getContext("2d"), left: 40, right: 12, top: 9, foot: 15 });
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

  get room() { return this.width - this.left - this.right; }
  x(t) { return this.left + (t / Math.max(this.steps, 1)) * this.room; }
  y(share) { return this.top + (1 - share) * (this.height - this.top - this.foot); }
  time(px) { return Math.round(((px - this.left) / this.room) * this.steps); }

  draw(time, watched) {
    const { pen, replay } = this;
    pen.clearRect(0, 0, this.width, this.height);
    this.drawAxes();
    this.drawRewards(watched);
    if (replay.combat) this.drawHealth(0, "agent", [], watched);
    if (replay.enemies) this.drawHealth(1, "enemy", [6, 3], watched);
    pen.strokeStyle = ink.ink; pen.lineWidth = 1.5; pen.beginPath();
    pen.moveTo(this.x(time), 0); pen.lineTo(this.x(time), this.height - this.foot); pen.stroke();
  }

  drawAxes() {
    const { pen } = this, low = this.y(0), text = (words, x, y, align) => { pen.textAlign = align; pen.fillText(words, x, y); };
    pen.strokeStyle = ink.line; pen.lineWidth = 1; pen.beginPath();
    const shares = this.replay.combat || this.replay.enemies;
    for (const share of shares ? [0, 1] : [0]) { pen.moveTo(this.left, this.y(share)); pen.lineTo(this.width - this.right, this.y(share)); }
    pen.stroke();
    pen.font = "11px system-ui, sans-serif"; pen.fillStyle = ink.muted; pen.textBaseline = "middle";
    if (shares) { text("100 %", this.left - 4, this.y(1) + 2, "right"); text(this.replay.combat ? "health" : "left", this.left - 4, this.y(0.5) + 1, "right"); text("0", this.left - 4, low, "right"); }
    pen.textBaseline = "bottom";
    text("step 0", this.left, this.height - 1, "left");
    text(String(this.steps), this.x(this.steps), this.height - 1, "right");
    if (this.steps >= 8 && this.room > 200) text(String(Math.round(this.steps / 2)), this.x(Math.round(this.steps / 2)), this.height - 1, "center");
  }

  drawRewards(watched) {
    const { pen, replay } = this, high = this.y(0) - this.y(1);
    const base = this.signed ? this.y(0.3) : this.y(0), wide = Math.max(1, Math.min(9, (this.x(1) - this.x(0)) * 0.6));
    for (let t = 0; t < replay.length && t <= watched; t++) {
      if (replay.swappedAny(t)) { pen.fillStyle = ink.swap; pen.fillRect(this.x(t) - 1.5, 0, 3, 6); }
      if (t + 1 > watched) continue; // a reward comes at the end of its step
      const share = replay.reward.at(t) / this.most, tall = Math.max(-1, Math.min(1, share)) * high * (this.signed ? 0.28 : 0.55);
      pen.fillStyle = ink.muted; pen.globalAlpha = 0.5;
      pen.fillRect(this.x(t + 1) - wide / 2, base - Math.max(tall, 0), wide, Math.abs(tall));
      pen.globalAlpha = 1;
      if (Math.abs(share) > 1.001) { pen.fillStyle = ink.panel; pen.fillRect(this.x(t + 1) - wide, base - tall * 0.8, wide * 2, 3); }
    }
  }

  drawHealth(team, colour, dash, watched) {
    const { pen } = this, shares = this.replay.health[team], last = Math.min(watched, shares.length - 1), whole = Math.floor(last);
    pen.strokeStyle = ink[colour]; pen.lineWidth = 2; pen.lineJoin = "round"; pen.setLineDash(dash);
    pen.beginPath();
    for (let t = 0; t <= whole; t++) pen.lineTo(this.x(t), this.y(shares[t]));
    if (last > whole) pen.lineTo(this.x(last), this.y(shares[whole] + (shares[whole + 1] - shares[whole]) * (last - whole)));
    pen.stroke(); pen.setLineDash([]);
  }
}
