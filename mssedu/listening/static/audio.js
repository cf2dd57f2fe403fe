/* Parts of the engine: audio contexts, samples, times, fades, a meter. */

export const FADE = 0.008; // seconds of a switch: not audible as a fade, and no click
export const LEAD = 0.05; // seconds from a command to its sound; the audio thread works ahead

/* What all widgets of a page share: one context per sample rate, one engine that plays,
   the volume, which starts at −6 dB, as the first sound should never be too loud. Each
   widget is a module of its own, so they share an object of the page. */
export function page() {
  const key = Symbol.for("mssedu.listening");
  return (globalThis[key] ??= { contexts: new Map(), playing: null, volume: 0.5 });
}

/* The context runs at the sounds' own rate, so that nothing is resampled before the
   sound card. Call it from a click or a key press, or the browser blocks the sound. */
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
   channels, so that pan and meters get stereo only. */
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

/* Decoded FLAC -> its 16-bit steps. Chromium divides positive steps by 32767 and negative
   ones by 32768, other browsers divide all by 32768, which gives exact fractions. */
export function stepsOf(samples) {
  const inexact = (x) => x > 0 && x < 0.99 && !Number.isInteger(x * 32768);
  const above = samples.some(inexact) ? 32767 : 32768;
  const steps = new Int16Array(samples.length);
  for (let i = 0; i < steps.length; i++) {
    const x = samples[i];
    steps[i] = Math.min(32767, Math.round(x * (x > 0 ? above : 32768)));
  }
  return steps;
}

/* FLAC files, each but the last of `piece` samples -> one AudioBuffer, as `decode` makes
   it of the same 16-bit steps. A file is decoded at its own sample rate, so no sample is
   moved or changed. */
export async function decodePieces(files, { channels, samples, sample_rate, piece }) {
  const context = new OfflineAudioContext(channels, 1, sample_rate);
  const settings = { length: samples, numberOfChannels: 2, sampleRate: sample_rate };
  const buffer = new AudioBuffer(settings);
  for (const [k, { bytes, scale }] of files.entries()) {
    const from = bytes.byteOffset;
    const file = bytes.buffer.slice(from, from + bytes.byteLength); // decoding empties it
    const decoded = await context.decodeAudioData(file);
    for (const channel of [0, 1]) {
      const steps = stepsOf(decoded.getChannelData(Math.min(channel, channels - 1)));
      const target = buffer.getChannelData(channel).subarray(k * piece);
      for (let i = 0; i < steps.length; i++) target[i] = (steps[i] * scale) / 32767;
    }
  }
  return buffer;
}

/* The nearest time that falls on a sample: sources that start between two samples would
   be interpolated. */
export const onGrid = (seconds, context) =>
  Math.round(seconds * context.sampleRate) / context.sampleRate;

/* Change a parameter linearly from one value to another. */
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
