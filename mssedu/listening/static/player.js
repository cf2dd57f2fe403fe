/* Player: one sound, its waveform and its spectrogram under one cursor. */
import { GUTTER, Picture } from "./picture.js";
import { Timeline, waveform } from "./timeline.js";
import { h, KEYS, widget } from "./view.js";

export default widget(({ model, data, engine, root }) => {
  const { sample_rate } = model.get("_shape");
  const [name] = model.get("_names");
  const picture = new Picture(data, model.get("_picture"), sample_rate, 180);
  const lanes = [waveform(engine.buffers[0], 56), picture];
  const timeline = new Timeline(engine, lanes, `Position in ${name || "the sound"}`, GUTTER);
  const title = h("strong", {}, name);
  root.prepend(h("p", { className: "ms-title" }, title, ` ${model.get("_caption")}`));
  root.append(timeline.element);
  root.append(h("p", { className: "ms-note" }, picture.legend(), KEYS()));
  engine.repeat = false;
  return { keys: timeline.keys, tick: () => timeline.tick(), done: () => timeline.close() };
});
