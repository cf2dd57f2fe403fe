/* A desk on a server: `mssedu listen serve`. A message is sent again until it arrives, so
   no answer is lost while the server or the network is down. It has a number, so the
   server counts it once.
*/
import { samplesOf } from "./alone.js";

const FIRST_WAIT = 500; // milliseconds until the next attempt; each wait is twice the last
const LONGEST_WAIT = 8000;
const MALFORMED = [400, 413, 415]; // the same message would be refused again
const visit = [...crypto.getRandomValues(new Uint32Array(2))].join("-");
let number = 0; // of the last message of this visit

async function asked(address, settings) {
  const answer = await fetch(address, settings).catch(() => {
    throw new Error("The server cannot be reached. Keep this page open.");
  });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const error = new Error(said.error ?? `The server answers with the status ${answer.status}.`);
  throw Object.assign(error, { status: answer.status });
}

async function post(address, content) {
  const headers = { "Content-Type": "application/json" };
  const answer = await asked(address, { method: "POST", headers, body: JSON.stringify(content) });
  return answer.json();
}

/* Call ask() until it succeeds, and return its result. note(text) shows the listener what
   is wrong until then. Where waiting does not help, as with an old link, it asks the
   listener to act; a message that the server does not understand is an error. */
async function insist(ask, note) {
  for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
    try {
      const answer = await ask();
      note("");
      return answer;
    } catch (error) {
      const { status = 0, message } = error;
      if (MALFORMED.includes(status)) throw error;
      if (status >= 400 && status < 500) {
        const help = "If that does not help, tell the person who gave you the link.";
        await new Promise((again) => note(`Not sent: ${message} ${help}`, again));
      } else {
        note(`Not sent yet: ${message}`);
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }
}

export const remoteDesk = {
  begin: (listener) => post("begin", { listener }),

  tell({ listener, place }, words, note) {
    number += 1;
    const message = { listener, place, words, visit, number };
    return insist(() => post("tell", message), note);
  },

  /* One answer contains the files of all sounds, one after the other. */
  async sounds({ listener, place }, note) {
    const ask = async () => {
      const answer = await asked(`sounds/${listener}/${place}`);
      return { headers: answer.headers, bytes: await answer.arrayBuffer() };
    };
    const { headers, bytes } = await insist(ask, note);
    const shape = JSON.parse(headers.get("X-Shape"));
    let end = 0;
    const files = JSON.parse(headers.get("X-Sizes")).map((size) => bytes.slice(end, (end += size)));
    return { shape, samples: await samplesOf(files, shape) };
  },

  ending: () => [],
};
