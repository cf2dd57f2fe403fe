/* A brush over a picture: strokes in seconds and Hz, by pointer or by keys.

   With the tool "Listen" the pointer moves the cursor of the timeline, as everywhere; with
   "Keep" and "Remove" it paints. Arrow keys with Shift move the brush, Enter paints a dot.
*/
import { choice, h } from "./view.js";

const TOOLS = { Listen: null, Keep: 1, Remove: 0 };

export class Brush {
  /* onstroke({ value, points, seconds, octaves }) is called at the end of a stroke. */
  constructor(timeline, picture, onstroke) {
    Object.assign(this, { timeline, picture, onstroke, value: null, size: 1 });
    this.top = timeline.lanes.slice(0, timeline.lanes.indexOf(picture));
    this.top = this.top.reduce((sum, { height }) => sum + height, 0);
    this.at = [timeline.engine.duration / 2, 440]; // of the ring: seconds, Hz
    this.ring = h("div", { className: "ms-ring", hidden: true });
    timeline.pane.append(this.ring);
    const names = Object.keys(TOOLS);
    this.tools = choice("Tool", names, 0, (i) => this.take(TOOLS[names[i]]));
    this.tools.element.querySelectorAll("kbd").forEach((key) => key.remove());
    this.listen();
  }

  get seconds() {
    return (0.05 * this.size * (this.timeline.to - this.timeline.from)) / 4;
  }

  get octaves() {
    return 0.25 * this.size;
  }

  take(value) {
    this.value = value;
    this.ring.hidden = value === null;
    this.timeline.pane.style.cursor = value === null ? "" : "none";
    this.show();
  }

  resize(factor) {
    this.size = Math.min(8, Math.max(0.25, this.size * factor));
    this.show();
  }

  /* Draw the ring where the brush is. */
  show() {
    const { timeline, picture } = this;
    const [second, hz] = this.at;
    const height = (2 * picture.height * this.octaves) / picture.octaves;
    this.ring.style.left = timeline.place(second - this.seconds);
    this.ring.style.width = `${(200 * this.seconds) / (timeline.to - timeline.from)}%`;
    this.ring.style.top = `${this.top + picture.yOf(hz) - height / 2}px`;
    this.ring.style.height = `${height}px`;
  }

  pointAt(event) {
    const y = event.clientY - this.timeline.pane.getBoundingClientRect().top - this.top;
    const hz = this.picture.hzAt(Math.min(Math.max(y, 0), this.picture.height));
    return [this.timeline.secondsAt(event), hz];
  }

  listen() {
    const { pane } = this.timeline;
    let points = null;
    const on = (name, handler) =>
      pane.addEventListener(
        name,
        (event) => {
          if (this.value === null) return;
          event.stopImmediatePropagation(); // the timeline would seek
          this.at = this.pointAt(event);
          this.show();
          handler(event);
        },
        { capture: true },
      );
    on("pointerdown", (event) => {
      pane.setPointerCapture(event.pointerId);
      points = [this.at];
    });
    on("pointermove", () => points?.push(this.at));
    on("pointerup", () => {
      if (points) this.paint(points);
      points = null;
    });
  }

  paint(points) {
    const { value, seconds, octaves } = this;
    const round = ([second, hz]) => [Number(second.toFixed(3)), Number(hz.toFixed(1))];
    this.onstroke({ value, points: points.map(round), seconds, octaves });
  }

  /* Shift + arrow keys; steps of half a brush. */
  move(right, up) {
    const [second, hz] = this.at;
    const { duration } = this.timeline.engine;
    const next = Math.min(duration, Math.max(0, second + right * this.seconds));
    this.at = [next, Math.max(this.picture.lowest, hz * 2 ** (up * this.octaves))];
    this.show();
  }

  get keys() {
    return {
      a: () => this.tools.choose(0),
      k: () => this.tools.choose(1),
      r: () => this.tools.choose(2),
      ",": () => this.resize(0.8),
      ".": () => this.resize(1.25),
      Enter: () => this.value === null || this.paint([this.at]),
    };
  }
}
