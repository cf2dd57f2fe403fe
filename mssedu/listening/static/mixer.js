/* StemMixer: a strip for each stem, and a meter and a clip light for their sum. */
import { Timeline, waveform } from "./timeline.js";
import { h, KEYS, widget } from "./view.js";

const LANE = 44; // pixels of a strip
const OFF = -60; // dB at the lower end of a fader

/* The factor of each stem in the sum: 10^(dB/20), 0 if it is off, muted or not soloed. */
export function gains(names, { gains_db, muted, soloed }) {
  return names.map((name) => {
    const heard = soloed.length ? soloed.includes(name) : !muted.includes(name);
    return heard && gains_db[name] > OFF ? 10 ** (gains_db[name] / 20) : 0;
  });
}

/* A bar from −60 to 0 dB. */
function meter(name) {
  const bar = h("meter", { min: -60, max: 0, high: -6, optimum: -60, value: -60 });
  bar.setAttribute("aria-label", name);
  const show = (peak) => (bar.value = 20 * Math.log10(Math.max(peak, 0.001)));
  return { bar, show };
}

export default widget(({ model, engine, root, bar }) => {
  const names = model.get("_names");
  const settings = ["gains_db", "pans", "muted", "soloed"];
  const state = () => Object.fromEntries(settings.map((name) => [name, model.get(name)]));
  const change = (setting, value) => {
    model.set(setting, value);
    model.save_changes();
  };

  const strip = (name) => {
    const toggle = (setting, letter, what) =>
      h("button", {
        ...{ textContent: letter, title: what, "aria-label": `${what} ${name}` },
        onclick: () => {
          const on = model.get(setting);
          const rest = on.filter((other) => other !== name);
          change(setting, on.includes(name) ? rest : [...rest, name]);
        },
      });
    const slider = (setting, what, range) => {
      const input = h("input", { type: "range", ...range, "aria-label": `${what} ${name}` });
      input.addEventListener("input", () =>
        change(setting, { ...model.get(setting), [name]: Number(input.value) }),
      );
      input.addEventListener("dblclick", () =>
        change(setting, { ...model.get(setting), [name]: 0 }),
      );
      return input;
    };
    const mute = toggle("muted", "M", "Mute");
    const solo = toggle("soloed", "S", "Solo");
    const fader = slider("gains_db", "Fader", { min: OFF, max: 6, step: 0.5 });
    const pan = slider("pans", "Pan", { min: -1, max: 1, step: 0.1 });
    const decibels = h("output", { className: "ms-db" });
    const level = meter(`Level of ${name}`);
    const label = h("span", { className: "ms-stem" }, name);
    label.style.borderColor = model.get("_colors")[name] ?? "currentColor";
    const refresh = ({ gains_db, pans, muted, soloed }) => {
      mute.setAttribute("aria-pressed", muted.includes(name));
      solo.setAttribute("aria-pressed", soloed.includes(name));
      fader.value = gains_db[name];
      pan.value = pans[name];
      const text = gains_db[name] > OFF ? `${gains_db[name].toFixed(1)} dB` : "off";
      decibels.textContent = text;
      fader.setAttribute("aria-valuetext", text);
      pan.setAttribute("aria-valuetext", side(pans[name]));
      pan.title = `Pan: ${side(pans[name])}`;
    };
    const sides = h("span", { className: "ms-pan" }, "L", pan, "R");
    const parts = [label, mute, solo, fader, decibels, sides, level.bar];
    return { element: h("div", { className: "ms-strip" }, ...parts), refresh, level };
  };

  const strips = names.map(strip);
  const sum = meter("Level of the sum");
  const clip = h("button", {
    ...{ className: "ms-clip", textContent: "clip", title: "The sum exceeded full scale" },
    onclick: () => clip.classList.remove("ms-on"),
  });
  const refresh = () => {
    const now = state();
    strips.forEach((each) => each.refresh(now));
    names.forEach((name, i) => engine.pans[i] === now.pans[name] || engine.setPan(i, now.pans[name]));
    engine.setLevels(gains(names, now));
  };
  const lanes = engine.buffers.map((buffer, i) =>
    waveform(buffer, LANE, model.get("_colors")[names[i]]),
  );
  const timeline = new Timeline(engine, lanes, "Position");
  const desk = h("div", { className: "ms-desk" });
  desk.append(h("div", {}, ...strips.map((each) => each.element)), timeline.element);
  bar.lastChild.before(h("span", { className: "ms-sum" }, "Sum ", sum.bar), clip);
  root.append(desk);
  const note = h("span", {}, model.get("_caption"));
  root.append(h("p", { className: "ms-note" }, note, KEYS("1–9: solo", "double click: 0")));
  for (const name of settings) model.on(`change:${name}`, refresh);
  refresh();

  const keys = { ...timeline.keys };
  names.forEach((name, i) => {
    keys[i + 1] = () => change("soloed", model.get("soloed").join() === name ? [] : [name]);
  });
  const tick = () => {
    timeline.tick();
    strips.forEach((each, i) => each.level.show(engine.peak(i)));
    sum.show(engine.peak());
    if (engine.peak() > 1) clip.classList.add("ms-on");
  };
  const done = () => {
    for (const name of settings) model.off(`change:${name}`, refresh);
    timeline.close();
  };
  return { keys, tick, done };
});

const side = (pan) =>
  pan ? `${Math.round(100 * Math.abs(pan))} % ${pan < 0 ? "left" : "right"}` : "center";
