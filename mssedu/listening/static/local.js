/* A desk in the browser: a test without Python. The rules are those of session.py, and a
   test compares the two. The browser saves every answer at once; at the end the listener
   saves them as a file for `mssedu listen export --merge`.
*/
import { samplesOf } from "./alone.js";
import { h } from "./view.js";

const now = () => new Date().toISOString();
const LONGEST_AWAY = 600; // seconds; a longer time between two actions is a break
const HEX = 16;
const FORGETFUL =
  "This browser does not let the page save your answers. Finish the test in one go, do not reload or " +
  "close the page, and save the file with your answers at the end.";

/* The browser's storage; where it is forbidden, one that lasts as long as the page. */
export function openStorage() {
  try {
    localStorage.getItem(""); // throws if it is forbidden or missing
    return localStorage;
  } catch {
    const kept = new Map();
    const getItem = (key) => kept.get(key) ?? null;
    return { getItem, setItem: (key, value) => kept.set(key, value), warning: FORGETFUL };
  }
}

export class LocalDesk {
  constructor(test, storage) {
    Object.assign(this, { test, storage, unsaved: false, warning: storage.warning });
    this.since = performance.now();
  }

  begin(code) {
    const { sha256, plans } = this.test;
    if (code && !this.read(code)) throw new Error(`There is no listener ${code} in this browser.`);
    if (!code) {
      const draw = crypto.getRandomValues(new Uint8Array(4));
      const listener = [...draw].map((byte) => byte.toString(HEX).padStart(2, "0")).join("");
      const number = Math.floor(Math.random() * plans.length);
      this.result = { sha256, listener, number, started: now(), answers: {}, pages: [] };
    }
    return this.view();
  }

  // ---- what is shown, as in pages.py ----------------------------------------------------

  get plan() {
    return this.test.plans[this.result.number];
  }

  get place() {
    const done = this.result.pages.filter((page) => page.finished).length;
    return this.result.answers.consent === "no" ? this.plan.length : done;
  }

  /* The answers on this page: {seconds, comment, finished, heard, ratings}. */
  get said() {
    const blank = { seconds: 0, comment: "", finished: null, heard: {}, ratings: [] };
    return (this.result.pages[this.place] ??= blank);
  }

  view() {
    const { test, place, plan } = this;
    const { listener, answers } = this.result;
    const found = { listener, place };
    const page = plan[place];
    if (!page) return { ...found, kind: answers.consent === "no" ? "refused" : "end" };
    const state = this.state();
    if (!page.sounds) return { ...found, state, kind: page.kind, asked: test.asked[page.kind] };
    const questions = Object.fromEntries(page.questions.map((name) => [name, test.questions[name]]));
    const progress = `Page ${place + 1} of ${plan.length}`;
    const settings = { progress, training: page.kind === "training", labels: page.labels };
    const shown = { ...test.page, ...settings, questions };
    return { ...found, state, kind: "rating", page: shown, sounds: Object.keys(page.sounds) };
  }

  state(error = "") {
    const { page } = this.test;
    const { ratings } = this.said;
    const scores = Object.create(null); // a question may be called "constructor"
    const choice = page.kind === "choice" ? (ratings[0]?.label ?? "") : "";
    if (page.kind !== "choice")
      for (const { question, label, score } of ratings) (scores[question] ??= {})[label] = score;
    return { missing: this.missing(), unheard: this.unheard(), scores, choice, error };
  }

  unheard() {
    const { sounds } = this.plan[this.place];
    const seconds = (label) => this.said.heard[label]?.seconds ?? 0;
    return Object.keys(sounds ?? {}).filter((label) => seconds(label) < this.test.least_heard_seconds);
  }

  missing() {
    const { kind, labels, questions } = this.plan[this.place];
    const { answers } = this.result;
    if (kind === "consent") return Object.hasOwn(answers, "consent") ? [] : ["Agree or decline."];
    if (kind === "questionnaire") {
      const open = Object.keys(this.test.asked.questionnaire).filter((name) => !Object.hasOwn(answers, name));
      return open.map((name) => `Answer '${name}'.`);
    }
    const listen = this.unheard().map((label) => `Listen to ${label}.`);
    const { ratings } = this.said;
    if (this.test.page.kind === "choice")
      return listen.length || ratings.length ? listen : ["Choose one."];
    const rated = (question, label) => ratings.some((r) => r.question === question && r.label === label);
    const which = (question) => (questions.length > 1 ? ` (${question}).` : ".");
    const open = labels.flatMap((label) =>
      questions.filter((question) => !rated(question, label)).map((question) => `Rate ${label}${which(question)}`),
    );
    return [...listen, ...open];
  }

  // ---- what the listener does -----------------------------------------------------------

  async tell(view, words, note) {
    const { place } = view;
    if (!this.unsaved) this.read(view.listener); // another tab may have changed it
    if (this.place !== place) return { view: this.view() };
    const error = this[words.kind](words) ?? "";
    try {
      this.storage.setItem(this.key(view.listener), JSON.stringify(this.result));
      this.unsaved = false;
      note("");
    } catch (fault) {
      this.unsaved = true;
      note(`Not saved in this browser: ${fault.message}. Keep this page open until you have saved your answers.`);
    }
    return this.place === place ? { state: this.state(error) } : { view: this.view() };
  }

  key(listener) {
    return `${this.test.sha256} ${listener}`;
  }

  /* Load the saved answers of a listener; returns whether there are any. */
  read(listener) {
    const kept = this.storage.getItem(this.key(listener));
    if (kept) this.result = JSON.parse(kept);
    return kept !== null;
  }

  /* Add the time since the last action; a long break counts as 0. */
  spend() {
    const time = performance.now();
    const seconds = (time - this.since) / 1000;
    this.since = time;
    if (seconds <= LONGEST_AWAY) this.said.seconds += seconds;
  }

  heard({ label, seconds, begun = true }) {
    this.spend();
    const played = (this.said.heard[label] ??= { seconds: 0, plays: 0 });
    played.seconds += seconds;
    played.plays += Number(begun);
  }

  rate({ label, score, question }) {
    if (this.unheard().includes(label)) return `Listen to ${label}.`;
    this.keep((rating) => rating.question === question && rating.label === label, { question, label, score });
  }

  choose({ label }) {
    const unheard = this.unheard();
    if (unheard.length) return `Listen to ${unheard.join(", ")}.`;
    this.keep(() => true, { label });
  }

  /* Save a rating; it replaces an earlier one. */
  keep(same, rating) {
    this.spend();
    const { ratings } = this.said;
    const earlier = ratings.find(same);
    if (earlier) Object.assign(earlier, rating, { rated: now(), changes: earlier.changes + 1 });
    else ratings.push({ ...rating, rated: now(), changes: 0 });
  }

  comment({ text }) {
    this.spend();
    this.said.comment = text;
  }

  answer({ answers }) {
    this.spend();
    this.result.answers = { ...this.result.answers, ...answers };
  }

  next() {
    const missing = this.missing();
    if (missing.length) return missing.join(" ");
    this.spend();
    this.said.finished = now();
  }

  // ---- sounds and results ---------------------------------------------------------------

  async sounds(view) {
    const places = Object.values(this.plan[view.place].sounds);
    const shape = this.test.shapes[places[0]];
    const bytes = (place) => Uint8Array.from(atob(this.test.sounds[place]), (c) => c.charCodeAt(0)).buffer;
    return { shape, samples: await samplesOf(places.map(bytes), shape) };
  }

  ending({ listener }) {
    const file = new Blob([JSON.stringify(this.result)], { type: "application/json" });
    const settings = { href: URL.createObjectURL(file), download: `results_${listener}.json` };
    const link = h("a", { ...settings, className: "ms-save" }, "Save your answers");
    return [h("p", {}, link, " and send the file to the person who gave you this page.")];
  }
}
