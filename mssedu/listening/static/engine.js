/* The one sound engine of the listening widgets: Web Audio, nothing else.

   All sounds start at one time of the audio clock, and each has a gain. A switch
   cross-fades two gains that sum to 1, so the level of what both sounds share is
   constant.

     sound 0 ─▶ source ─▶ level ─┬─▶ pan ─┐
                                 └─▶ meter│              ┌─▶ meter of the sum
     sound 1 ─▶ source ─▶ level ──▶ pan ──┼─▶ envelope ──┴─▶ volume ─▶ loudspeaker
     sound 2 ─▶ …                         │
                └──────────────── a Run ─────────────┘
                └────────────────────── an Engine ────────────────────────────┘

   A Run plays from one jump to the next: sources cannot start twice, so a seek begins a
   new Run and fades the old one out. It works in an OfflineAudioContext as well.
   Times are seconds of the audio clock; positions are seconds of the sound.
*/

import { contextOf, FADE, LEAD, Meter, onGrid, page, ramp } from "./audio.js";

export class Run {
  /* buffers: AudioBuffers of one length; levels: a gain for each; pans: -1 … 1 each;
     meters: a node for each level, or none. */
  constructor(context, buffers, { levels, pans, output, meters }) {
    this.context = context;
    this.levels = [...levels];
    this.free = 0; // time at which the last fade ends
    this.onended = () => {}; // called when it ends or is stopped
    this.envelope = context.createGain();
    this.envelope.connect(output ?? context.destination);
    this.tracks = buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(context, { buffer });
      const level = new GainNode(context, { gain: levels[i] });
      const pan = new StereoPannerNode(context, { pan: pans?.[i] ?? 0 });
      source.connect(level).connect(pan).connect(this.envelope);
      if (meters) level.connect(meters[i]);
      return { source, level, pan };
    });
  }

  /* All sources start at `when`, at `offset` into the sound; from `end` they go back
     to `begin` if `repeat`, else they end there. */
  start(when, offset, { begin, end, repeat }) {
    const { context } = this;
    this.begin = onGrid(begin, context);
    this.end = onGrid(end, context);
    this.repeat = repeat;
    this.when = onGrid(when, context);
    this.offset = onGrid(offset, context);
    // A start in the middle of a sound would click; its own start needs no fade.
    if (this.offset > 0) ramp(this.envelope.gain, 0, 1, this.when);
    this.tracks[0].source.onended = () => this.onended();
    for (const { source } of this.tracks) {
      source.loop = repeat;
      source.loopStart = this.begin;
      source.loopEnd = this.end;
      if (repeat) source.start(this.when, this.offset);
      else source.start(this.when, this.offset, this.end - this.offset);
    }
  }

  /* Cross-fade to other levels. A fade waits for the previous one, so the gains are known
     at all times and their sum is always right. */
  fade(levels, when) {
    const begin = Math.max(when, this.free);
    this.tracks.forEach(({ level }, i) => {
      if (levels[i] !== this.levels[i]) ramp(level.gain, this.levels[i], levels[i], begin);
    });
    this.levels = [...levels];
    this.free = begin + FADE;
  }

  stop(when) {
    const begin = Math.max(when, this.when + FADE);
    ramp(this.envelope.gain, 1, 0, begin);
    for (const { source } of this.tracks) source.stop(begin + FADE);
    this.onended = () => this.disconnect();
  }

  cancel() {
    for (const { source } of this.tracks) source.stop();
    this.onended = () => {};
    this.disconnect();
  }

  disconnect() {
    this.envelope.disconnect();
    for (const { level } of this.tracks) level.disconnect();
  }

  /* The position in the sound at a time of the audio clock. */
  positionAt(time) {
    const gone = this.offset + Math.max(0, time - this.when);
    if (gone < this.end) return gone;
    if (!this.repeat) return this.end;
    return this.begin + ((gone - this.begin) % (this.end - this.begin));
  }
}

export class Engine {
  /* onchange() is called when it starts, pauses, ends, or gets another region. */
  constructor(sampleRate, buffers, levels, onchange = () => {}) {
    Object.assign(this, { sampleRate, buffers, levels, onchange });
    this.pans = buffers.map(() => 0);
    this.duration = buffers[0].length / sampleRate;
    this.region = [0, this.duration]; // what is played, and repeated if `repeat`
    this.repeat = true;
    this.volume = page().volume; // the last setting, so that no page is louder
    this.paused = 0; // position while nothing plays
    this.run = null;
    this.closed = false;
  }

  get position() {
    if (!this.run) return this.paused;
    const late = this.context.outputLatency || 0; // the audible sound left the clock earlier
    return this.run.positionAt(this.context.currentTime - late);
  }

  async play() {
    if (this.run || this.closed) return;
    const context = await contextOf(this.sampleRate);
    if (this.run || this.closed) return; // another click was faster
    page().playing?.pause();
    page().playing = this;
    if (!this.context) this.wire(context);
    if (this.paused >= this.region[1]) this.paused = this.region[0];
    this.begin(this.paused, context.currentTime + LEAD);
    this.onchange();
  }

  pause() {
    if (!this.run) return;
    this.paused = this.position;
    this.end(this.context.currentTime + LEAD);
    this.onchange();
  }

  toggle() {
    return this.run ? this.pause() : this.play();
  }

  seek(position) {
    this.paused = Math.min(Math.max(position, 0), this.duration);
    this.again(this.paused);
  }

  /* Play from begin to end, over and over if `repeat`. */
  setRegion(begin, end, repeat = this.repeat) {
    this.region = [begin, end];
    this.repeat = repeat;
    this.again(null);
    this.onchange();
  }

  /* Replace the samples of one sound; the position does not change. */
  setBuffer(i, buffer) {
    this.buffers[i] = buffer;
    this.again(null);
  }

  setLevels(levels) {
    this.levels = [...levels];
    this.run?.fade(levels, this.context.currentTime + LEAD / 2);
  }

  choose(place) {
    this.setLevels(this.buffers.map((_, i) => Number(i === place)));
  }

  setPan(i, pan) {
    this.pans[i] = pan;
    this.run?.tracks[i].pan.pan.setTargetAtTime(pan, this.context.currentTime, FADE);
  }

  setVolume(volume) {
    page().volume = this.volume = volume;
    this.output?.gain.setTargetAtTime(volume, this.context.currentTime, FADE);
  }

  /* Peak of one sound after its level, or of the sum before the volume. */
  peak(i = null) {
    if (!this.run) return 0;
    return (i === null ? this.meter : this.meters[i]).peak();
  }

  close() {
    this.pause();
    this.closed = true;
    if (page().playing === this) page().playing = null;
    setTimeout(() => this.output?.disconnect(), 200);
  }

  // ---- inside ------------------------------------------------------------------

  wire(context) {
    this.context = context;
    this.sum = new GainNode(context);
    this.output = new GainNode(context, { gain: this.volume });
    this.meter = new Meter(context);
    this.meters = this.buffers.map(() => new Meter(context));
    this.sum.connect(this.meter.input);
    this.sum.connect(this.output).connect(context.destination);
  }

  begin(position, when) {
    const [begin, end] = this.region;
    const { levels, pans, repeat, sum: output } = this;
    const meters = this.meters.map((meter) => meter.input);
    const run = new Run(this.context, this.buffers, { levels, pans, output, meters });
    const inside = position >= begin && position < end;
    run.start(when, inside ? position : begin, { begin, end, repeat });
    run.onended = () => this.finish();
    this.run = run;
  }

  end(when) {
    const { run } = this;
    this.run = null;
    run.stop(when);
  }

  /* Continue in a new Run, at a position, or without a jump if it is null. A Run that has
     not begun yet is replaced at its planned time. */
  again(position) {
    const { run, context } = this;
    if (!run) return;
    const planned = run.when > context.currentTime + LEAD / 2;
    const when = planned ? run.when : onGrid(context.currentTime + LEAD, context);
    if (planned) run.cancel();
    else this.end(when);
    this.begin(position ?? run.positionAt(when), when);
  }

  finish() {
    this.run.disconnect();
    this.run = null;
    this.paused = this.region[0];
    this.onchange();
  }
}
