/* Parts of every widget's page: its data from Python, elements, transport, keys.

   Python ── binary messages ─────▶ Data ──▶ AudioBuffers ──▶ Engine
                                                               ▲
   keys, buttons, volume ──▶ transport ────────────────────────┘

   A widget is `export default widget(draw)`, where draw({ model, data, engine, root })
   fills `root` and returns { keys, tick, done }: key -> action, the update while it
   plays, and the clean-up at its end. All of them may be left out.
*/
import { Data } from "./data.js";
import { Engine } from "./engine.js";

/* An element with properties, listeners (on…), ARIA and data attributes, children. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const seconds = (value) => {
  const minutes = Math.floor(value / 60);
  return `${minutes}:${(value - 60 * minutes).toFixed(2).padStart(5, "0")}`;
};

/* Play, time, loop, and on the right the volume. */
function transport(engine) {
  const play = h("button", { className: "ms-play", onclick: () => engine.toggle() });
  const time = h("output", { className: "ms-time", role: "timer", "aria-live": "off" });
  const loop = h("button", {
    textContent: "Loop",
    title: "Repeat (L)",
    onclick: () => engine.setRegion(...engine.region, !engine.repeat),
  });
  const volume = h("input", {
    ...{ type: "range", min: 0, max: 1, step: 0.05, value: engine.volume },
    "aria-label": "Volume",
    oninput: () => engine.setVolume(Number(volume.value)),
  });
  const label = h("label", { className: "ms-volume" }, "Volume", volume);
  const bar = h("div", { className: "ms-bar" }, play, time, loop, label);
  const tick = () => {
    time.textContent = `${seconds(engine.position)} / ${seconds(engine.duration)}`;
  };
  const refresh = () => {
    play.textContent = engine.run ? "❚❚" : "►";
    play.title = engine.run ? "Pause (space)" : "Play (space)";
    play.setAttribute("aria-label", engine.run ? "Pause" : "Play");
    loop.setAttribute("aria-pressed", engine.repeat);
    tick();
  };
  return { bar, tick, refresh, loop };
}

/* A group of radio buttons: one stop for the Tab key, and arrow keys move inside. */
export function radios(label, buttons, onmove = () => {}) {
  const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  let checked = null; // place of the chosen button, -1 if there is none
  let stop = 0; // place of the button that the Tab key reaches
  const reach = (place) => {
    stop = place;
    buttons.forEach((button, i) => (button.tabIndex = i === stop ? 0 : -1));
  };
  const show = (place) => {
    if (place === checked) return;
    checked = place;
    buttons.forEach((button, i) => button.setAttribute("aria-checked", i === place));
    reach(Math.max(place, 0));
  };
  buttons.forEach((button) => button.setAttribute("role", "radio"));
  const element = h("div", { role: "radiogroup", className: "ms-choice", "aria-label": label }, ...buttons);
  element.addEventListener("keydown", (event) => {
    if (!(event.key in moves)) return;
    reach((stop + moves[event.key] + buttons.length) % buttons.length);
    buttons[stop].focus();
    onmove(stop);
    event.preventDefault();
    event.stopPropagation();
  });
  return { element, show };
}

/* Numbered buttons of which one is chosen: what the arrow keys reach is chosen at once. */
export function choice(label, names, chosen, onchoose) {
  const buttons = names.map((name, i) =>
    h("button", { onclick: () => choose(i) }, h("kbd", {}, String(i + 1)), name),
  );
  const choose = (place) => {
    show(place);
    onchoose(place);
  };
  const { element, show } = radios(label, buttons, choose);
  show(chosen);
  return { element, choose, show };
}

/* The keys, folded away: those of every widget, and those of this one. */
export const KEYS = (...more) => {
  const common = ["space: play, pause", "← →: move", "[ ]: loop from, to", "Esc: no loop"];
  const all = [...more, ...common, "+ −: zoom", "L: repeat"].join(" · ");
  return h("details", { className: "ms-keys" }, h("summary", {}, "Keys"), all);
};

/* Keys for the whole widget. A slider keeps its arrows, a button its space and Enter. */
function onKey(event, keys) {
  const { target, key } = event;
  event.stopPropagation(); // classic notebooks would run it as a command
  if (event.ctrlKey || event.metaKey) {
    // Save, undo and the like belong to the notebook: dispatch a copy outside the widget.
    const outside = event.currentTarget.parentElement;
    if (!outside.dispatchEvent(new KeyboardEvent("keydown", event))) event.preventDefault();
    return;
  }
  const pressing = target.tagName === "BUTTON" && (key === " " || key === "Enter");
  const sliding = /INPUT|SELECT/.test(target.tagName) && !/^[ \dlL]$/.test(key);
  const action = keys[key] ?? keys[key.toLowerCase()];
  if (pressing || sliding || !action) return;
  event.preventDefault();
  action(event);
}

/* The default export of a widget's module; see the top of this file. */
export const widget = (draw) => () => {
  const data = new Data();
  return {
    initialize: ({ model }) => data.listen(model),
    render({ model, el }) {
      // JupyterLab would run its own commands for keys that are pressed inside.
      const root = h("div", { className: "ms-widget", "data-lm-suppress-shortcuts": "true" });
      const wait = h("p", { className: "ms-note", role: "status" });
      root.append(wait);
      el.append(root);
      let done = () => {};
      let gone = false;
      const progress = (text = "Waiting for the sound …") => {
        const total = model.get("_parts")?.length;
        const count = total && data.parts.size ? ` ${data.parts.size} of ${total}` : "";
        wait.textContent = text + count;
      };
      progress();
      data.onpart = progress;
      const late = setTimeout(() => {
        if (!data.parts.size) progress("No sound has come yet. If no cell is running, run this cell.");
      }, 10_000);
      data.ask(model);
      const begin = async () => {
        await data.ready;
        if (gone) return;
        wait.textContent = "Decoding …";
        const buffers = await data.sounds(model);
        if (gone) return data.release();
        const close = open({ model, data, buffers, root, draw });
        wait.remove();
        done = () => {
          close();
          data.release();
        };
        el.dispatchEvent(new Event("drawn"));
      };
      begin().catch((error) => (wait.textContent = `The sound cannot be shown: ${error.message}`));
      return () => {
        gone = true;
        clearTimeout(late);
        done();
      };
    },
  };
};

/* Make the engine and the page after the sounds are decoded; returns the clean-up. */
function open({ model, data, buffers, root, draw }) {
  const shape = model.get("_shape");
  const levels = buffers.map((_, i) => Number(i === 0));
  const engine = new Engine(shape.sample_rate, buffers, levels);
  const { bar, tick, refresh, loop } = transport(engine);
  root.append(bar);
  const own = draw({ model, data, engine, root, bar }) ?? {};
  const keys = { " ": () => engine.toggle(), l: () => loop.click(), ...own.keys };
  const listener = (event) => onKey(event, keys);
  root.addEventListener("keydown", listener);
  let frame = 0;
  const move = () => {
    tick();
    own.tick?.();
    frame = engine.run ? requestAnimationFrame(move) : 0;
  };
  engine.onchange = () => {
    refresh();
    cancelAnimationFrame(frame);
    move();
  };
  engine.onchange();
  return () => {
    cancelAnimationFrame(frame);
    engine.close();
    own.done?.();
  };
}
