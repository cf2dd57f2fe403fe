"""The sound engine's graph, rendered by Chromium and compared sample by sample.

An OfflineAudioContext renders the very graph that plays: the class Run of engine.js.
"""

import base64

import numpy as np
import pytest
import torch

from mssedu.listening import StemMixer
from mssedu.listening.widgets.base import joined
from mssedu.listening.widgets.sounds import encode, flac_pieces

RATE = 44100

# In the page: buffer(f) makes a sound from a function of the sample number, noise() one
# that never repeats, render(length, play) what a graph puts out, as two channels.
HELPERS = """
const RATE = 44100;
function buffer(f, length = RATE) {
  const made = new AudioBuffer({ length, numberOfChannels: 2, sampleRate: RATE });
  for (const c of [0, 1]) {
    const data = made.getChannelData(c);
    for (let i = 0; i < length; i++) data[i] = f(i, c);
  }
  return made;
}
function noise(length = RATE) {
  let state = 1;
  const next = () => (state = (state * 48271) % 2147483647);
  return buffer(() => next() / 2147483647 - 0.5, length);
}
async function render(length, play) {
  const context = new OfflineAudioContext(2, length, RATE);
  play(context);
  const rendered = await context.startRendering();
  return [0, 1].map((c) => rendered.getChannelData(c));
}
const whole = { begin: 0, end: 1, repeat: true };
// Largest difference, dB against full scale
const apart = (a, b) => {
  let worst = 1e-10;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i] - b(i)));
  return 20 * Math.log10(worst);
};
"""


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.goto("about:blank")
    yield page
    page.close()


@pytest.fixture
def js(page):
    """Run the body of an async function beside the engine; its value comes back."""

    def run(body, argument=None):
        module = joined()
        code = f"""async ([module, argument]) => {{
            const blob = new Blob([module], {{ type: "text/javascript" }});
            const engine = await import(URL.createObjectURL(blob));
            const {{ Run, Engine, decode, decodePieces, page, FADE, LEAD }} = engine;
            {HELPERS}
            {body}
        }}"""
        return page.evaluate(code, [module, argument])

    return run


def test_switching_between_equal_sounds_is_uninterrupted(js):
    level = js("""
        const sound = noise();
        const [left] = await render(RATE, (context) => {
            const run = new Run(context, [sound, sound, sound], { levels: [1, 0, 0] });
            run.start(0, 0, whole);
            // The third comes in the middle of the second's fade.
            const order = [[0.2, 1], [0.4, 0], [0.404, 2], [0.5001, 1], [0.77, 0]];
            for (const [when, place] of order) {
                run.fade([0, 1, 2].map((i) => Number(i === place)), when);
            }
        });
        const data = sound.getChannelData(0);
        return apart(left, (i) => data[i]);
    """)
    assert level < -90


def test_a_switch_is_a_straight_line_of_eight_milliseconds(js):
    left, fade = js("""
        const sounds = [1, -1].map((value) => buffer(() => value));
        const [left] = await render(4410, (context) => {
            const run = new Run(context, sounds, { levels: [1, 0] });
            run.start(0, 0, whole);
            run.fade([0, 1], 0.05);
        });
        return [[...left], FADE];
    """)
    assert 0.005 <= fade <= 0.010
    seconds = np.arange(4410) / RATE
    line = np.interp(seconds, [0.05, 0.05 + fade], [1.0, -1.0])
    np.testing.assert_allclose(left, line, atol=1e-4)


def test_a_switch_between_two_estimates_of_one_sound_has_no_dip(js):
    # Where both share the sound, the level stays; an equal-power fade would rise 3 dB.
    left = js("""
        const sounds = [0.25, 0.75].map((rest) => buffer((i) => 1 + rest * (i % 2)));
        const [left] = await render(4410, (context) => {
            const run = new Run(context, sounds, { levels: [1, 0] });
            run.start(0, 0, whole);
            run.fade([0, 1], 0.05);
        });
        return [...left];
    """)
    np.testing.assert_allclose(left[0::2], 1.0, atol=1e-5)


def test_all_sounds_start_at_one_sample(js):
    left = js("""
        const click = buffer((i) => Number(i === 0));
        const [left] = await render(8820, (context) => {
            const levels = Array(9).fill(1);
            const run = new Run(context, levels.map(() => click), { levels });
            run.start(0.0500003, 0, whole); // between two samples
        });
        return [...left];
    """)
    assert left[2205] == 9
    assert np.count_nonzero(left) == 1


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.3])
def test_a_loop_joins_sample_to_sample(js, offset):
    level = js(
        """
        const sound = noise();
        const data = sound.getChannelData(0);
        const [left] = await render(2 * RATE, (context) => {
            const run = new Run(context, [sound], { levels: [1] });
            run.start(0, argument, { begin: 0.25, end: 0.4, repeat: true });
        });
        const [from, to] = [0.25 * RATE, 0.4 * RATE];
        const wrapped = (i) => (i < to ? i : from + ((i - from) % (to - from)));
        const first = Math.round(argument * RATE);
        const after = Math.ceil(FADE * RATE); // it fades in, if it starts in mid-sound
        return apart(left.slice(after), (i) => data[wrapped(i + after + first)]);
        """,
        offset,
    )
    assert level < -90


def test_a_region_ends_where_it_should(js):
    left = js("""
        const [left] = await render(8820, (context) => {
            const run = new Run(context, [buffer(() => 1)], { levels: [1] });
            run.start(0, 0, { begin: 0, end: 0.1, repeat: false });
        });
        return [...left];
    """)
    np.testing.assert_array_equal(left, (np.arange(8820) < 4410).astype(float))


def test_a_new_run_goes_on_without_a_joint(js):
    # What a change of the loop does: the old graph fades out, the new one in.
    level = js("""
        const sound = noise();
        const data = sound.getChannelData(0);
        const [left] = await render(RATE, (context) => {
            const old = new Run(context, [sound], { levels: [1] });
            old.start(0, 0, whole);
            old.stop(0.3);
            const run = new Run(context, [sound], { levels: [1] });
            run.start(0.3, old.positionAt(0.3), whole);
        });
        return apart(left, (i) => data[i]);
    """)
    assert level < -90


def test_position_is_read_from_the_clock(js):
    positions = js("""
        const context = new OfflineAudioContext(2, 1, RATE);
        const run = new Run(context, [buffer(() => 0)], { levels: [1] });
        run.start(2, 0.1, { begin: 0.2, end: 0.5, repeat: true });
        const ended = new Run(context, [buffer(() => 0)], { levels: [1] });
        ended.start(0, 0, { begin: 0, end: 0.5, repeat: false });
        return [1, 2, 2.2, 2.5, 2.8].map((t) => run.positionAt(t)).concat(
            ended.positionAt(9));
    """)
    np.testing.assert_allclose(positions, [0.1, 0.1, 0.3, 0.3, 0.3, 0.5], atol=1e-4)


def test_samples_arrive_as_python_encoded_them(js):
    sound = torch.tensor([[0.0, 1.0, -1.0, 0.3], [0.1, -2.0, 0.5, 0.0]])
    samples, scale = encode(sound)
    left, right, mono = js(
        """
        const bytes = new Uint8Array([0, ...argument.samples]).subarray(1); // odd
        const stereo = decode(bytes, 2, RATE, argument.scale);
        const mono = decode(bytes, 1, RATE, argument.scale);
        return [0, 1].map((c) => [...stereo.getChannelData(c)])
            .concat([[...mono.getChannelData(1)]]);
        """,
        {"samples": list(samples), "scale": scale},
    )
    step = scale / 32767
    np.testing.assert_allclose([left, right], sound, atol=step / 2)
    assert mono == left + right


@pytest.mark.parametrize("channels", [1, 2])
def test_the_browser_mixes_as_python_does(js, channels):
    stems = {name: 0.1 * torch.randn(channels, 2000) for name in "abcd"}
    mixer = StemMixer(stems, RATE)
    mixer.gains_db = {"a": -6.0, "b": 3.0, "c": -60.0, "d": 0.0}
    mixer.pans = {"a": -0.7, "b": 1.0, "c": 0.0, "d": 0.4}
    coded = [encode(stem) for stem in stems.values()]
    heard = js(
        """
        const { coded, channels, levels, pans } = argument;
        const sounds = coded.map(([samples, scale]) =>
            decode(new Uint8Array(samples), channels, RATE, scale));
        const both = await render(2000, (context) => {
            new Run(context, sounds, { levels, pans }).start(
                0, 0, { begin: 0, end: 2000 / RATE, repeat: true });
        });
        return both.map((channel) => [...channel]);
        """,
        {
            "coded": [[list(samples), scale] for samples, scale in coded],
            "channels": channels,
            "levels": [10 ** (-6 / 20), 10 ** (3 / 20), 0, 1],
            "pans": list(mixer.pans.values()),
        },
    )
    np.testing.assert_allclose(heard, mixer.mix(), atol=3e-4)


def test_a_run_that_has_not_begun_is_replaced_without_a_trace(js):
    # Three sounds exchanged in one go, as the mask lab does.
    begun, level = js("""
        const sound = noise();
        const data = sound.getChannelData(0);
        let begun = 0;
        const [left] = await render(RATE, (context) => {
            const engine = new Engine(RATE, [sound, sound, sound], [1, 0, 0]);
            engine.wire(context);
            engine.setVolume(1);
            engine.output.gain.value = 1;
            engine.begin(0, 0.1); // the clock of an offline context stands at zero
            engine.seek(0.2);
            for (const i of [0, 1, 2]) engine.setBuffer(i, sound);
            begun = engine.run.when;
        });
        const first = 0.1 * RATE + Math.ceil(FADE * RATE);
        return [begun, apart(left.slice(first), (i) => {
            const place = i + first - 0.1 * RATE + 0.2 * RATE;
            return data[place % RATE];
        })];
    """)
    assert begun == pytest.approx(0.1)
    assert level < -90


@pytest.mark.parametrize(("channels", "peak"), [(1, 1.0), (2, 1.0), (2, 1.7), (2, 0.0)])
def test_pieces_of_flac_become_the_samples_of_the_raw_steps(js, channels, peak):
    # Every step of 16 bits at least once in each channel, and a piece of another length
    sound = torch.linspace(-peak, peak, 200_000).repeat(channels, 1)
    sound[-1] *= -1
    raw, scale = encode(sound)
    pieces, _ = flac_pieces(sound, 8000)
    sent = [base64.b64encode(content).decode() for content in [raw, *pieces]]
    apart, length = js(
        """
        const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        const { sent: [raw, ...pieces], channels, scale } = argument;
        const wanted = decode(bytes(raw), channels, 8000, scale);
        const files = pieces.map((text) => ({ bytes: bytes(text), scale }));
        const shape = { channels, samples: 200000, sample_rate: 8000, piece: 160000 };
        const got = await decodePieces(files, shape);
        let count = 0;
        for (const c of [0, 1]) {
            const other = wanted.getChannelData(c);
            got.getChannelData(c).forEach((x, i) => (count += x !== other[i]));
        }
        return [count, got.length];
        """,
        {"sent": sent, "channels": channels, "scale": scale},
    )
    assert (apart, length) == (0, 200_000)


def test_one_engine_plays_at_a_time(js, page):
    page.mouse.click(10, 10)  # browsers let a page sound after a click only
    answer = js("""
        const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        const until = async (fact) => {
            for (let i = 0; i < 200 && !fact(); i++) await pause(50);
            return fact();
        };
        const [a, b] = [0, 0].map(() => new Engine(RATE, [noise(), noise()], [1, 0]));
        await a.play();
        const heard = () => a.peak() > 0.1 && a.position > 0;
        const first = [a.run !== null, await until(heard), a.paused === 0];
        await b.play();
        const second = [a.run === null, page().playing === b, b.context === a.context];
        b.seek(0.5);
        b.setRegion(0.4, 0.9);
        b.choose(1);
        const third = [await until(() => b.peak(0) < b.peak(1)), b.position >= 0.4,
            b.position < 0.9];
        const state = b.context.state;
        b.close();
        await b.play(); // after its end it stays silent
        return [...first, ...second, ...third, b.run === null, page().playing === null,
            state];
    """)
    assert answer == [True] * 11 + ["running"]


def test_a_volume_once_set_holds_for_the_next_sound(js, page):
    page.goto("about:blank")
    answer = js("""
        const first = new Engine(RATE, [noise()], [1]);
        const volumes = [first.volume];
        first.setVolume(0.3);
        return [...volumes, new Engine(RATE, [noise()], [1]).volume];
    """)
    assert answer == [0.5, 0.3]
