/* Pictures over one time axis, with a cursor, a loop region and zoom.

   A lane is { height, draw(canvas, view), label? } and draws the span
   view.from … view.to (seconds) of itself; waveform() and heatmap() make lanes.

     drag: mark a loop      click: go there      Ctrl + wheel: zoom
     ← →: move              [ ]: loop from, to   + −: zoom        Esc: forget the loop
*/
import { h } from "./view.js";

export class Timeline {
  constructor(engine, lanes, label, gutter = 0) {
    Object.assign(this, { engine, lanes, gutter, from: 0, to: engine.duration });
    const style = `margin-left: ${gutter}px`;
    this.canvases = lanes.map(({ height }) => h("canvas", { style: `height: ${height}px` }));
    this.axis = h("canvas", { style: "height: 20px" });
    this.cursor = h("div", { className: "ms-cursor" });
    this.mark = h("div", { className: "ms-mark" });
    this.pane = h("div", { className: "ms-pane", style }, this.mark, this.cursor);
    this.element = h(
      "div",
      { className: "ms-timeline", role: "slider", tabIndex: 0, "aria-label": label },
      ...this.canvases,
      this.axis,
      this.pane,
    );
    this.element.setAttribute("aria-valuemin", 0);
    this.element.setAttribute("aria-valuemax", engine.duration.toFixed(2));
    this.listen();
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.element);
    this.themes = new MutationObserver(() => this.draw());
    this.themes.observe(document.body, { attributes: true });
  }

  get keys() {
    const { engine } = this;
    const step = () => (this.to - this.from) / 50;
    const seek = (position) => (engine.seek(position), this.tick());
    return {
      ArrowRight: () => seek(engine.position + step()),
      ArrowLeft: () => seek(engine.position - step()),
      Home: () => seek(0),
      End: () => seek(engine.duration),
      "[": () => this.setRegion(engine.position, engine.region[1]),
      "]": () => this.setRegion(engine.region[0], engine.position),
      "+": () => this.zoom(0.5, engine.position),
      "=": () => this.zoom(0.5, engine.position),
      "-": () => this.zoom(2, engine.position),
      Escape: () => this.setRegion(0, engine.duration),
    };
  }

  secondsAt(event) {
    const { left, width } = this.pane.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
    return this.from + share * (this.to - this.from);
  }

  listen() {
    let start = null;
    this.pane.addEventListener("pointerdown", (event) => {
      this.element.focus({ preventScroll: true }); // so that the keys work from here
      start = { x: event.clientX, at: this.secondsAt(event), region: this.engine.region };
      this.pane.setPointerCapture(event.pointerId);
    });
    this.pane.addEventListener("pointermove", (event) => {
      if (start && Math.abs(event.clientX - start.x) > 4) {
        this.show(...[start.at, this.secondsAt(event)].sort((a, b) => a - b));
      }
    });
    this.pane.addEventListener("pointerup", (event) => {
      const at = this.secondsAt(event);
      if (Math.abs(event.clientX - start.x) > 4) {
        this.setRegion(...[start.at, at].sort((a, b) => a - b));
      } else {
        const [begin, end] = start.region;
        if (at < begin || at >= end) this.setRegion(0, this.engine.duration);
        this.engine.seek(at);
      }
      start = null;
      this.tick();
    });
    this.pane.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey) return; // a plain wheel scrolls the notebook
        event.preventDefault();
        this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.secondsAt(event));
      },
      { passive: false },
    );
  }

  /* A region shorter than 50 ms is ignored, as it is a mistake. */
  setRegion(begin, end) {
    const part = begin > 0 || end < this.engine.duration; // a marked part is repeated
    if (end - begin >= 0.05) {
      this.engine.setRegion(begin, end, part || this.engine.repeat);
    }
    this.tick();
    this.show(...this.engine.region);
  }

  zoom(factor, around) {
    const { duration } = this.engine;
    const width = Math.min(duration, Math.max(0.05, (this.to - this.from) * factor));
    const share = (around - this.from) / (this.to - this.from);
    this.from = Math.min(Math.max(0, around - share * width), duration - width);
    this.to = this.from + width;
    this.draw();
  }

  place(position) {
    return `${(100 * (position - this.from)) / (this.to - this.from)}%`;
  }

  show(begin, end) {
    const whole = begin <= 0 && end >= this.engine.duration;
    this.mark.hidden = whole;
    this.mark.style.left = this.place(begin);
    this.mark.style.right = `calc(100% - ${this.place(end)})`;
  }

  tick() {
    const { position, run } = this.engine;
    const width = this.to - this.from;
    if (run && width < this.engine.duration && (position < this.from || position > this.to)) {
      this.from = Math.min(position, this.engine.duration - width); // show the next part
      this.to = this.from + width;
      this.draw();
    }
    this.cursor.style.left = this.place(position);
    this.element.setAttribute("aria-valuenow", position.toFixed(2));
    this.element.setAttribute("aria-valuetext", `${position.toFixed(1)} seconds`);
  }

  draw() {
    const view = { from: this.from, to: this.to, gutter: this.gutter };
    view.color = getComputedStyle(this.element).color;
    this.lanes.forEach((lane, i) => lane.draw(fit(this.canvases[i]), view));
    ruler(fit(this.axis), view);
    this.show(...this.engine.region);
    this.tick();
  }

  /* Replace a lane. */
  setLane(i, lane) {
    this.lanes[i] = lane;
    this.canvases[i].style.height = `${lane.height}px`;
    this.draw();
  }

  close() {
    this.sizes.disconnect();
    this.themes.disconnect();
  }
}

/* A drawing context in CSS pixels, sharp on every screen, and empty. */
function fit(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  const draw = canvas.getContext("2d");
  draw.scale(ratio, ratio);
  return { draw, width, height };
}

/* Seconds along the bottom, at round numbers about 80 pixels apart. */
function ruler({ draw, width }, { from, to, gutter, color }) {
  const pixels = (width - gutter) / (to - from);
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300];
  const step = steps.find((s) => s * pixels > 60) ?? 600;
  Object.assign(draw, { fillStyle: color, font: "11px sans-serif", textAlign: "center" });
  for (let i = Math.ceil(from / step); i * step <= to; i++) {
    const x = gutter + (i * step - from) * pixels;
    draw.fillRect(x, 0, 1, 4);
    const text = step < 1 ? (i * step).toFixed(step < 0.1 ? 2 : 1) : `${i * step}`;
    const half = draw.measureText(text).width / 2;
    draw.fillText(text, Math.min(width - half, Math.max(x, half)), 16);
  }
}

/* Smallest and largest of each 256 samples, over both channels: computed once for a
   sound, as a waveform of minutes has thousands of samples under each pixel. */
const BLOCK = 256;
const extremes = new WeakMap();
function blocksOf(buffer) {
  if (extremes.has(buffer)) return extremes.get(buffer);
  const channels = [0, 1].map((c) => buffer.getChannelData(c));
  const count = Math.ceil(buffer.length / BLOCK);
  const [lows, highs] = [new Float32Array(count), new Float32Array(count)];
  for (let block = 0; block < count; block++) {
    let [low, high] = [Infinity, -Infinity];
    const stop = Math.min(buffer.length, (block + 1) * BLOCK);
    for (const channel of channels) {
      for (let i = block * BLOCK; i < stop; i++) {
        const sample = channel[i];
        if (sample < low) low = sample;
        if (sample > high) high = sample;
      }
    }
    [lows[block], highs[block]] = [low, high];
  }
  extremes.set(buffer, [lows, highs]);
  return [lows, highs];
}

/* Smallest and largest sample under each pixel, over both channels; of whole blocks if a
   pixel is wider than four of them. */
export function waveform(buffer, height, color) {
  const lane = { height, buffer, color };
  lane.draw = ({ draw, width }, { from, to, gutter, color: text }) => {
    const { sampleRate } = lane.buffer;
    const wide = width - gutter;
    const coarse = ((to - from) / wide) * sampleRate > 4 * BLOCK;
    const channels = [0, 1].map((c) => lane.buffer.getChannelData(c));
    const [lows, highs] = coarse ? blocksOf(lane.buffer).map((b) => [b]) : [channels, channels];
    const rate = coarse ? sampleRate / BLOCK : sampleRate;
    const at = (x) => Math.floor((from + (x / wide) * (to - from)) * rate);
    draw.fillStyle = lane.color ?? text;
    for (let x = 0; x < wide; x++) {
      let [low, high] = [Infinity, -Infinity];
      const stop = Math.min(lows[0].length, Math.max(at(x + 1), at(x) + 1));
      for (let i = at(x); i < stop; i++) {
        for (const values of lows) low = Math.min(low, values[i]);
        for (const values of highs) high = Math.max(high, values[i]);
      }
      if (high < low) continue;
      const top = (height / 2) * (1 - Math.min(1, high));
      draw.fillRect(gutter + x, top, 1, Math.max(1, (height / 2) * (1 - Math.max(-1, low)) - top));
    }
  };
  return lane;
}
