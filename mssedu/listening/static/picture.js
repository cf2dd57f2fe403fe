/* A spectrogram from Python as a lane of the timeline: bytes to colors, rows to octaves.

   Row 0 is the lowest frequency; frame m is centered on sample m · hop_length. A mask
   lets the page show through where it removes.
*/
import { h } from "./view.js";

const TICKS = [50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
export const GUTTER = 44; // pixels for the frequencies on the left

export class Picture {
  constructor(data, { frames, hop_length, lowest_hz, range_db }, sampleRate, height) {
    Object.assign(this, { data, frames, height });
    this.levels = data.bytes("picture");
    this.rows = this.levels.length / frames;
    this.colors = data.bytes("palette");
    this.lowest = lowest_hz;
    this.octaves = Math.log2(sampleRate / 2 / lowest_hz);
    this.step = hop_length / sampleRate; // seconds a frame
    this.range = range_db;
    this.image = h("canvas", { width: frames, height: this.rows });
    this.refresh();
  }

  /* Color the pixels anew; mask: a byte for each, or none. */
  refresh(mask = null) {
    const draw = this.image.getContext("2d");
    const pixels = draw.createImageData(this.frames, this.rows);
    for (let row = 0; row < this.rows; row++) {
      for (let frame = 0; frame < this.frames; frame++) {
        const from = row * this.frames + frame;
        const to = 4 * ((this.rows - 1 - row) * this.frames + frame);
        const color = 3 * this.levels[from];
        for (let i = 0; i < 3; i++) pixels.data[to + i] = this.colors[color + i];
        pixels.data[to + 3] = mask ? 25 + 0.9 * mask[from] : 255;
      }
    }
    draw.putImageData(pixels, 0, 0);
  }

  draw({ draw, width, height }, { from, to, gutter, color }) {
    const left = from / this.step + 0.5; // in frames of the image
    const wide = (to - from) / this.step;
    draw.imageSmoothingEnabled = false;
    draw.drawImage(this.image, left, 0, wide, this.rows, gutter, 0, width - gutter, height);
    Object.assign(draw, { fillStyle: color, font: "11px sans-serif", textAlign: "right" });
    draw.textBaseline = "middle";
    for (const hz of TICKS) {
      const y = this.yOf(hz);
      if (y < 16 || y > height) continue;
      draw.fillRect(gutter - 4, y, 4, 1);
      draw.fillText(hz < 1000 ? hz : `${hz / 1000} k`, gutter - 7, Math.min(y, height - 5));
    }
    draw.fillText("Hz", gutter - 7, 7);
  }

  yOf(hz) {
    return this.height * (1 - Math.log2(hz / this.lowest) / this.octaves);
  }

  hzAt(y) {
    return this.lowest * 2 ** (this.octaves * (1 - y / this.height));
  }

  /* What the colors mean: a strip of them between its two ends. */
  legend() {
    const strip = h("canvas", { width: 256, height: 1, className: "ms-legend" });
    const draw = strip.getContext("2d");
    for (let i = 0; i < 256; i++) {
      draw.fillStyle = `rgb(${this.colors.subarray(3 * i, 3 * i + 3).join()})`;
      draw.fillRect(i, 0, 1, 1);
    }
    return h("span", {}, `−${this.range} dB `, strip, " loudest");
  }
}
