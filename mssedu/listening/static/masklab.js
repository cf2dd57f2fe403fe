/* MaskLab: a mask over the mixture's spectrogram. Python computes the mask and its
   results; this page sets the rule and the strokes and plays the results. */
import { Brush } from "./brush.js";
import { GUTTER, Picture } from "./picture.js";
import { Timeline } from "./timeline.js";
import { choice, h, KEYS, widget } from "./view.js";

export default widget(({ model, data, engine, root }) => {
  const shape = model.get("_shape");
  const picture = new Picture(data, model.get("_picture"), shape.sample_rate, 240);
  const timeline = new Timeline(engine, [picture], "Position in the mixture", GUTTER);
  const change = (setting, value) => {
    model.set(setting, value);
    model.save_changes();
  };
  const heard = choice("What is heard", model.get("_names"), 0, (i) => engine.choose(i));

  const slider = (setting, label, range, describe) => {
    const value = h("output", { className: "ms-db" });
    const input = h("input", { type: "range", ...range, "aria-label": label });
    const show = () => {
      value.textContent = describe(Number(input.value));
      input.setAttribute("aria-valuetext", value.textContent);
    };
    const refresh = () => {
      input.value = model.get(setting);
      show();
    };
    input.addEventListener("input", show);
    input.addEventListener("change", () => change(setting, Number(input.value)));
    model.on(`change:${setting}`, refresh);
    refresh();
    const element = h("label", { className: "ms-slider" }, label, input, value);
    return { element, done: () => model.off(`change:${setting}`, refresh) };
  };
  const floor = { min: -120, max: 0, step: 1 };
  const sliders = [
    slider("threshold_db", "Threshold", floor, (db) => `${db} dB`.replace("-", "−")),
    slider("exponent", "Exponent", { min: 0.25, max: 20, step: 0.25 }, (p) => `${p}`),
  ];
  const targets = model.get("_targets");
  const target = h("select", {
    "aria-label": "Target",
    onchange: () => change("target", target.value),
  });
  target.append(...targets.map((name) => h("option", { value: name }, name)));
  const aim = h("label", { className: "ms-slider", hidden: !targets.length }, "Target", target);

  const strokes = () => model.get("strokes");
  const brush = new Brush(timeline, picture, (stroke) => change("strokes", [...strokes(), stroke]));
  const button = (textContent, title, onclick) => h("button", { textContent, title, onclick });
  const undo = button("Undo", "Take back the last stroke (Z)", () =>
    change("strokes", strokes().slice(0, -1)),
  );
  const clear = button("Clear", "Take back all strokes", () => change("strokes", []));
  const caption = h("p", { className: "ms-title", role: "status" });

  const renew = () => {
    caption.textContent = model.get("_caption");
    target.value = model.get("target");
    undo.disabled = clear.disabled = !strokes().length;
  };
  const receive = (names) => {
    for (const name of names) {
      if (name === "mask") picture.refresh(data.bytes("mask"));
      else engine.setBuffer(Number(name), data.sound(name, shape));
    }
    timeline.draw();
  };
  data.listeners.add(receive);
  const watched = ["_caption", "strokes", "target"].map((name) => `change:${name}`);
  for (const name of watched) model.on(name, renew);
  picture.refresh(data.bytes("mask"));
  renew();

  const bar = (...parts) => h("div", { className: "ms-bar" }, ...parts);
  root.append(
    heard.element,
    bar(...sliders.map((each) => each.element), aim),
    bar(brush.tools.element, undo, clear),
    timeline.element,
    caption,
    h("p", { className: "ms-note" }, picture.legend(), KEYS(
      "1–4: what is heard", "A listen, K keep, R remove", ", . brush size",
      "Shift + arrows: move the brush", "Enter: paint a dot", "Z: undo",
    )),
  );
  const keys = { ...timeline.keys, ...brush.keys, z: () => undo.click() };
  model.get("_names").forEach((_, i) => (keys[i + 1] = () => heard.choose(i)));
  for (const [key, [right, up]] of Object.entries({
    ...{ ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] },
  })) {
    const seek = keys[key];
    keys[key] = (event) => (event.shiftKey ? brush.move(right, up) : seek?.());
  }
  const done = () => {
    data.listeners.delete(receive);
    for (const name of watched) model.off(name, renew);
    sliders.forEach((each) => each.done());
    timeline.close();
  };
  return { keys, tick: () => timeline.tick(), done };
});
