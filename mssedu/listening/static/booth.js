/* One page of a listening test: listen to all versions in sync, then rate them.

   buttons, keys 1–9 ──▶ audible sound ──every half second──▶ "heard" ──▶ Python
   sliders, numbers, choice ────────────at once────────────▶ "rate", "choose"
   Python ──▶ _state: what is missing, the answers so far ──▶ what is enabled

   The page has letters and no names. It stores nothing: after a reload it shows the
   answers that Python sends. The sound of the slider with the focus is audible.
*/
import { Timeline } from "./timeline.js";
import { choice, h, KEYS, radios, widget } from "./view.js";

const REPORT = 0.5; // seconds of listening between two messages
const HIDDEN = 5000; // milliseconds between two reports while the page is in the background
export const LONGEST_TEXT = 2000; // characters of a remark or an answer, as in session.py

/* 0 … 100 for each label; a value counts after the listener has set it. */
function sliders(page, question, hear, rate) {
  const rows = page.labels.map((label) => {
    const value = h("output", { className: "ms-db" });
    let held = false; // while the listener moves it, older answers must not move it
    const slider = h("input", {
      ...{ type: "range", min: 0, max: 100, step: 1, value: page.start, className: "ms-rate" },
      "aria-label": `${label}, ${question}`,
      onfocus: () => hear(label),
      oninput: () => {
        held = true;
        value.textContent = slider.value;
      },
      onblur: () => (held = false),
    });
    // The start value may be the rating, so a click or a key without a move counts too
    let last = null;
    const say = () => {
      if (slider.disabled || slider.value === last) return;
      last = slider.value;
      rate(label, Number(slider.value), question);
    };
    slider.addEventListener("change", say);
    slider.addEventListener("pointerup", say);
    slider.addEventListener("keyup", ({ key }) => /^(Arrow|Home|End|Page|Enter)/.test(key) && say());
    const show = (scores, unheard) => {
      slider.disabled = unheard.includes(label);
      const said = scores[question]?.[label];
      if (held) return;
      if (said !== undefined && document.activeElement !== slider) {
        slider.value = said;
        last = slider.value;
      }
      value.textContent = said === undefined ? "–" : said;
    };
    const words = h("label", { className: "ms-slider" }, h("b", {}, label), slider, value);
    return { element: words, show };
  });
  const scale = h("div", { className: "ms-scale ms-note" }, ...page.words.map((w) => h("span", {}, w)));
  const element = h("div", { className: "ms-ratings" }, scale, ...rows.map((row) => row.element));
  return { element, show: (...state) => rows.forEach((row) => row.show(...state)) };
}

/* Buttons of which one can be chosen; `values` are sent, `names` are shown. The arrow
   keys only move, so that a listener who passes a button does not answer with it. */
function buttons(name, names, values, say) {
  const all = names.map((text, i) => h("button", { textContent: text, onclick: () => say(values[i]) }));
  const group = radios(name, all);
  const show = (said, locked) => {
    group.show(values.indexOf(said));
    for (const button of all) button.disabled = locked;
  };
  return { element: group.element, show };
}

/* 1 … 5 for one sound. */
function numbers(page, question, rate) {
  const [label] = page.labels;
  const names = page.words.map((word, i) => `${i + 1} ${word}`);
  const text = page.questions[question];
  const group = buttons(text, names, [1, 2, 3, 4, 5], (score) => rate(label, score, question));
  const show = (scores, unheard) => group.show(scores[question]?.[label], unheard.includes(label));
  return { element: group.element, show };
}

const booth = widget(({ model, engine, root, bar }) => {
  const page = model.get("_page");
  const names = model.get("_names");
  let now = 0;
  const unsent = { seconds: 0, begun: true, last: null };
  const flush = () => {
    const { seconds, begun } = unsent;
    if (seconds > 0) model.send({ kind: "heard", label: names[now], seconds, begun });
    Object.assign(unsent, { seconds: 0, begun: false });
  };
  /* Why a sound that plays cannot be heard: listening to it does not count. */
  const silence = () => {
    if (!engine.run) return "";
    if (engine.context.state !== "running") return "The browser has stopped the sound: press Pause, then Play.";
    return engine.volume > 0 ? "" : "The volume is 0.";
  };
  let silent = "";
  const listen = () => {
    const reason = silence();
    const audible = engine.run && !reason;
    const time = audible ? engine.context.currentTime : null; // of the audio that was played
    if (audible && unsent.last !== null) unsent.seconds += time - unsent.last;
    unsent.last = time;
    if (unsent.seconds >= REPORT || !engine.run) flush();
    if (!engine.run) unsent.begun = true;
    if (reason === silent) return;
    silent = reason;
    state();
  };
  const select = choice("What is heard", names, 0, (place) => {
    flush();
    if (place !== now) unsent.begun = true;
    now = place;
    engine.choose(place);
  });
  const hear = (label) => names[now] === label || select.choose(names.indexOf(label));
  const rate = (label, score, question) => model.send({ kind: "rate", label, score, question });

  const asked = Object.entries(page.questions).map(([question, text]) => {
    const part =
      page.kind === "mushra"
        ? sliders(page, question, hear, rate)
        : page.kind === "acr"
          ? numbers(page, question, rate)
          : buttons(text, page.labels, page.labels, (label) => model.send({ kind: "choose", label }));
    root.append(h("p", { className: "ms-title" }, h("b", {}, text)), part.element);
    return part;
  });

  const line = ({ draw, width, height }, { color }) => {
    draw.fillStyle = color;
    draw.fillRect(0, height / 2, width, 1); // a waveform would show which system it is
  };
  const timeline = new Timeline(engine, [{ height: 24, draw: line }], "Position");
  const note = h("span", { className: "ms-note", role: "status" });
  const comment = h("textarea", {
    ...{ rows: 1, placeholder: "Remarks (optional)", "aria-label": "Remarks" },
    maxLength: LONGEST_TEXT,
    onchange: () => model.send({ kind: "comment", text: comment.value }),
    onkeydown: (event) => event.stopPropagation(), // letters are text here, not commands
  });
  const next = h("button", {
    textContent: "Next",
    onclick: () => {
      flush();
      next.disabled = true;
      model.send({ kind: "next" });
    },
  });
  const state = () => {
    const { missing, unheard, scores, choice: chosen, error } = model.get("_state");
    for (const part of asked) {
      if (page.kind === "choice") part.show(chosen, unheard.length > 0);
      else part.show(scores, unheard);
    }
    next.disabled = missing.length > 0;
    note.textContent = error || silent || missing.slice(0, 3).join(" ") + (missing.length > 3 ? " …" : "");
  };
  const training = page.training ? " (to practice; this does not count)" : "";
  const title = h("p", { className: "ms-title" }, `${page.title} · ${page.progress}${training}`);
  root.prepend(title);
  bar.after(select.element, timeline.element);
  const end = h("div", { className: "ms-bar" }, next, note);
  root.append(comment, end, h("p", { className: "ms-note" }, KEYS("1–9: switch", "Tab: next slider")));
  model.on("change:_state", state);
  state();
  const keys = { ...timeline.keys };
  names.forEach((_, i) => i < 9 && (keys[i + 1] = () => select.choose(i)));
  const tick = () => {
    timeline.tick();
    listen();
  };
  const hidden = setInterval(listen, HIDDEN); // no frames are drawn then
  const done = () => {
    clearInterval(hidden);
    model.off("change:_state", state);
    timeline.close();
  };
  return { keys, tick, done };
});
export default booth;
