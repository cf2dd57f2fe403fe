/* A desk on a server: `mssedu listen serve`. A message is sent again until it arrives,
   so no answer is lost while the server or the network is down.
*/

const AGAIN = 2000; // milliseconds until the next attempt

async function asked(address, settings) {
  const answer = await fetch(address, settings);
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

async function post(address, content) {
  const headers = { "Content-Type": "application/json" };
  const answer = await asked(address, { method: "POST", headers, body: JSON.stringify(content) });
  return answer.json();
}

/* Call ask() until it succeeds, and return its result; note(text) shows the listener
   what is wrong until then. */
async function insist(ask, note) {
  for (;;) {
    try {
      const answer = await ask();
      note("");
      return answer;
    } catch (error) {
      note(`Not sent yet: ${error.message}. Keep this page open.`);
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

export const remoteDesk = {
  begin: (listener) => post("begin", { listener }),

  tell: ({ listener, place }, words, note) =>
    insist(() => post("tell", { listener, place, words }), note),

  /* One answer contains all sounds of the page, one after the other. */
  async sounds({ listener, place, sounds }, note) {
    const answer = await insist(() => asked(`sounds/${listener}/${place}`), note);
    const shape = JSON.parse(answer.headers.get("X-Shape"));
    const bytes = await answer.arrayBuffer();
    const size = bytes.byteLength / sounds.length;
    return { shape, samples: sounds.map((_, i) => new DataView(bytes, i * size, size)) };
  },

  ending: () => [],
};
