/* What the engine is built on: audio contexts, samples, instants, fades, a meter. */

export const FADE = 0.008; // of a switch: too short to hear, too long to click
export const LEAD = 0.05; // from a command to its sound: the audio thread works ahead

/* What all widgets of a page share: one context per sample rate, one engine that plays,
   the volume, −6 dB at first, as a first sound should never be too loud. Each widget is
   a module of its own, so this lies on the page itself. */
export function page() {
  const key = Symbol.for("mssedu.listening");
  return (globalThis[key] ??= { contexts: new Map(), playing: null, volume: 0.5 });
}

/* The context runs at the sounds' own rate, so that nothing is resampled before the
   sound card. Call it from a click or a key press, or the browser keeps it silent. */
export async function contextOf(sampleRate) {
  const { contexts } = page();
  if (!contexts.has(sampleRate)) {
    const settings = { sampleRate, latencyHint: "interactive" };
    contexts.set(sampleRate, new AudioContext(settings));
  }
  const context = contexts.get(sampleRate);
  if (context.state !== "running") await context.resume();
  return context;
}

/* 16-bit samples, channel after channel -> AudioBuffer. Mono becomes two equal
   channels, so that pan and meters meet stereo only. */
export function decode(bytes, channels, sampleRate, scale = 1) {
  const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const steps = new Int16Array(data);
  const length = steps.length / channels;
  const buffer = new AudioBuffer({ length, numberOfChannels: 2, sampleRate });
  for (const channel of [0, 1]) {
    const from = Math.min(channel, channels - 1) * length;
    const target = buffer.getChannelData(channel);
    for (let i = 0; i < length; i++) target[i] = (steps[from + i] * scale) / 32767;
  }
  return buffer;
}

/* The nearest instant at which a sample lies: sources that start between two samples
   would be interpolated. */
export const onGrid = (seconds, context) =>
  Math.round(seconds * context.sampleRate) / context.sampleRate;

/* Bring a parameter from one value to another on a straight line. */
export function ramp(parameter, from, to, when) {
  parameter.setValueAtTime(from, when);
  parameter.linearRampToValueAtTime(to, when + FADE);
}

/* The largest sample of the last 46 ms, over both channels. */
export class Meter {
  constructor(context) {
    this.input = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    this.analysers = [0, 1].map((channel) => {
      const analyser = new AnalyserNode(context, { fftSize: 2048 });
      this.input.connect(analyser, channel);
      return analyser;
    });
    this.samples = new Float32Array(2048);
  }

  peak() {
    let peak = 0;
    for (const analyser of this.analysers) {
      analyser.getFloatTimeDomainData(this.samples);
      for (const sample of this.samples) peak = Math.max(peak, Math.abs(sample));
    }
    return peak;
  }
}
