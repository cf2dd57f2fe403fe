/* What Python sends for one widget: name -> bytes, and the sounds in it.

     messages ──▶ parts ──▶ ready, when none is missing ──▶ sounds ──▶ AudioBuffers

   The page asks for what does not come, as after a reload. A song is decoded once for all
   views of its widget; when the last view is closed, the samples are dropped (85 MB for
   4 minutes of a stem, in float32 and stereo) and the files are kept.
*/
import { decode, decodePieces } from "./audio.js";

export class Data {
  constructor() {
    this.parts = new Map();
    this.listeners = new Set();
    this.last = 0; // time of the last message
    this.views = 0;
    this.decoded = null; // promise of the AudioBuffers of a song
    this.onpart = () => {};
    this.ready = new Promise((resolve) => (this.arrived = resolve));
  }

  listen(model) {
    model.on("msg:custom", ({ kind, names, scales }, buffers) => {
      if (kind !== "data") return;
      names.forEach((name, i) => {
        this.parts.set(name, { bytes: buffers[i], scale: scales[i] });
      });
      this.last = performance.now();
      if (!this.missing(model).length) this.arrived();
      this.onpart();
      for (const listener of this.listeners) listener(names);
    });
  }

  missing(model) {
    return (model.get("_parts") ?? []).filter((name) => !this.parts.has(name));
  }

  /* Ask once, when nothing has come for a while: the first message comes within a second,
     the next ones as fast as Python encodes them. */
  ask(model) {
    const send = () => {
      const names = this.missing(model);
      if (this.parts.size && !names.length) return;
      const wait = this.parts.size ? 3000 : 0;
      if (performance.now() - this.last < wait) setTimeout(send, 1000);
      else model.send({ kind: "send", names });
    };
    setTimeout(send, 1000);
  }

  bytes(name) {
    const { bytes } = this.parts.get(name);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  sound(i, { channels, sample_rate }) {
    const { bytes, scale } = this.parts.get(String(i));
    return decode(bytes, channels, sample_rate, scale);
  }

  /* The AudioBuffers of all sounds; call release() once for each call of this. */
  async sounds(model) {
    const shape = model.get("_shape");
    const places = model.get("_names").keys();
    this.views += 1;
    if (!shape.piece) return [...places].map((i) => this.sound(i, shape));
    const count = Math.ceil(shape.samples / shape.piece);
    const files = (i) => Array.from({ length: count }, (_, k) => this.parts.get(`${i}.${k}`));
    this.decoded ??= Promise.all([...places].map((i) => decodePieces(files(i), shape)));
    return [...(await this.decoded)];
  }

  release() {
    this.views -= 1;
    if (!this.views) this.decoded = null;
  }
}
