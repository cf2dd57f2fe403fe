/* A listening test without a notebook: begin, one page after the other, the end.

   desk ──view──▶ consent │ questions │ rating page (booth.js) │ end
        ◀─words── what the listener says, one after the other

   A desk saves the answers: remote.js on a server, local.js in this browser. It has
   begin(code), tell(view, words), sounds(view), ending(view), and a warning if the answers
   do not survive a reload. The address contains the listener's code behind #, so a
   reloaded page continues where it was.
*/
import { stepsOf } from "./audio.js";
import booth, { LONGEST_TEXT } from "./booth.js";
import { h } from "./view.js";

const button = (text, onclick) => h("button", { textContent: text, onclick });
const heading = (text) => h("h1", {}, text);
const status = () => h("p", { className: "ms-note", role: "status" });

/* FLAC files -> 16-bit samples, channel after channel. FLAC is decoded at its own sample
   rate, so no sample changes. */
export function samplesOf(files, { channels, samples, sample_rate }) {
  const context = new OfflineAudioContext(channels, 1, sample_rate);
  const decode = async (file) => {
    const audio = await context.decodeAudioData(file);
    const steps = new Int16Array(channels * samples);
    for (let c = 0; c < channels; c++) steps.set(stepsOf(audio.getChannelData(c)), c * samples);
    return new DataView(steps.buffer);
  };
  return Promise.all(files.map(decode));
}

/* The start page, for a new listener or for one who comes back. */
function welcome(title, begin) {
  const note = status();
  const code = h("input", { type: "text", size: 12, id: "code", autocomplete: "off" });
  const start = async (given) => {
    note.textContent = "One moment …";
    note.textContent = (await begin(given)) ?? "";
  };
  const form = h("form", {}, h("label", { for: "code" }, "Were you here before? Your code: "), code, button("Go on"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (code.value.trim()) start(code.value.trim());
  });
  return [heading(title), button("Begin", () => start(null)), form, note];
}

function consent(view, tell) {
  const answer = async (given) => {
    await tell({ kind: "answer", answers: { consent: given } });
    if (given === "yes") await tell({ kind: "next" });
  };
  const text = h("p", { className: "ms-text" }, view.asked);
  return [text, h("div", { className: "ms-bar" }, button("I agree", () => answer("yes")), button("I decline", () => answer("no")))];
}

/* Radio buttons for a question with choices, a line of text for one without. */
function questionnaire(view, tell) {
  const note = status();
  const fields = Object.entries(view.asked).map(([name, choices]) => {
    const parts = choices.length
      ? choices.map((value) => h("label", {}, h("input", { type: "radio", name, value }), value))
      : [h("input", { type: "text", name, "aria-label": name, maxLength: LONGEST_TEXT })];
    return h("fieldset", {}, h("legend", {}, name), ...parts);
  });
  const form = h("form", {}, ...fields, button("Next"), note);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const filled = [...new FormData(form)].filter(([, value]) => value.trim());
    const first = await tell({ kind: "answer", answers: Object.fromEntries(filled) });
    const last = first.view || first.state.error ? first : await tell({ kind: "next" });
    note.textContent = last.state?.missing.join(" ") || last.state?.error || "";
  });
  return [form];
}

/* The rating page of the notebook, with a desk instead of Python. */
function rating(view, tell, sounds) {
  const traits = { _names: view.sounds, _page: view.page, _state: view.state };
  const listeners = {};
  const model = {
    get: (name) => traits[name],
    on: (name, f) => (listeners[name] ??= new Set()).add(f),
    off: (name, f) => listeners[name]?.delete(f),
    send: (words) => words.kind !== "send" && tell(words), // sounds are sent without a request
  };
  const emit = (name, ...values) => listeners[name]?.forEach((f) => f(...values));
  const el = h("div");
  const widget = booth();
  widget.initialize({ model });
  const close = widget.render({ model, el });
  const names = view.sounds.map((_, i) => String(i));
  const arrive = async () => {
    const { shape, samples } = await sounds();
    traits._shape = shape;
    el.addEventListener("drawn", () => el.querySelector("button").focus());
    emit("msg:custom", { kind: "data", names, scales: names.map(() => 1) }, samples);
  };
  const show = (state) => {
    traits._state = state;
    emit("change:_state");
  };
  return { parts: [el], show, close, arrive };
}

export function openTest(desk, title, root) {
  let shown = { close() {} };
  let queue = Promise.resolve(); // keeps the order of the messages

  const warning = () => (desk.warning ? [h("p", { className: "ms-text ms-fault" }, desk.warning)] : []);
  /* Show what is wrong, with a button if the listener has to do something first. */
  const note = (fault, again) => {
    const text = fault || shown.refused || "";
    const action = again ? [" ", button("Try again", again)] : [];
    if (again || shown.fault.textContent !== text) shown.fault.replaceChildren(text, ...action);
  };
  const turn = (view) => {
    shown.close?.();
    // Messages of a page that is over are dropped: they would change the next page
    const tell = (words) =>
      (queue = queue.then(async () => {
        if (shown.view !== view) return { view: shown.view };
        const answer = await desk.tell(view, words, note).catch((error) => {
          shown.refused = `Not saved: ${error.message}`;
          note("");
          return { state: { ...shown.state, error: error.message } };
        });
        if (answer.view) turn(answer.view);
        else {
          shown.state = answer.state;
          shown.show?.(answer.state);
        }
        return answer;
      }));
    const over = (text, ...parts) => ({ parts: [heading(text), ...parts, button("Next listener", fresh)] });
    const pages = {
      consent: () => ({ parts: consent(view, tell) }),
      questionnaire: () => ({ parts: questionnaire(view, tell) }),
      rating: () => rating(view, tell, () => desk.sounds(view, note)),
      end: () => over("Done. Thank you!", ...desk.ending(view)),
      refused: () => over("You did not take part."),
    };
    const fault = h("p", { role: "alert", className: "ms-fault" });
    const code = h("p", { className: "ms-note" }, "Your code: ", h("b", {}, view.listener));
    shown = { ...pages[view.kind](), view, fault, state: view.state };
    root.replaceChildren(...shown.parts, fault, code, ...warning());
    root.querySelector("button, input")?.focus();
    shown.arrive?.().catch((error) => {
      shown.refused = `The sounds cannot be played: ${error.message} Try another browser.`;
      note("");
    });
  };
  const fresh = () => {
    history.replaceState(null, "", location.pathname + location.search);
    shown.close?.();
    root.replaceChildren(...warning(), ...welcome(title, begin));
    root.querySelector("button").focus();
  };
  const begin = async (code) => {
    try {
      const view = await desk.begin(code);
      history.replaceState(null, "", `#${view.listener}`);
      turn(view);
      if (desk.warning) window.onbeforeunload = (event) => event.preventDefault();
    } catch (error) {
      return error.message;
    }
  };
  const code = location.hash.slice(1);
  fresh();
  if (code) begin(code).then((error) => error && (root.lastChild.textContent = error));
}
