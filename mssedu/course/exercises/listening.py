"""Exercises on listening tests: an anchor without delay, a fair order, one loudness."""

import math
import random
from collections import Counter

import torch
from scipy.signal import firwin, oaconvolve

from mssedu.audio.tensors import loudness_lufs, peak_db
from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks


def low_anchor(sound, sample_rate, cutoff_hz):
    """Write `low_anchor(sound, sample_rate, cutoff_hz)`, a low-pass filter for a
    `sound` (channels, samples). `firwin` and `oaconvolve` of scipy are imported.

    - It keeps the shape and adds no delay: a click stays at its sample.
    - Up to the cutoff (3500 or 7000 Hz) the gain is within ±0.1 dB.
    - From 500 Hz above the cutoff on, the gain is at most -25 dB; from 1000 Hz above it
      on, at most -50 dB.
    """
    middle, window = cutoff_hz + 250, ("kaiser", 6.5)
    taps = firwin(401, middle, window=window, fs=sample_rate)
    full = oaconvolve(sound.double().numpy(), taps[None], axes=-1)
    delay = len(taps) // 2
    inside = full[:, delay : delay + sound.shape[-1]]
    return torch.from_numpy(inside).float()


@checks(
    low_anchor,
    hints=(
        "`firwin(n_taps, middle, window=('kaiser', 6.5), fs=sample_rate)` has a "
        "gain of -6 dB at `middle`: put it between the cutoff and 500 Hz above.",
        "The full convolution is `n_taps - 1` samples longer; half are in front.",
    ),
    noticed="A listener cannot recognize this anchor by a delay.",
    wrong=(
        ("cutoff_hz + 250", "cutoff_hz", "within 0.1 dB, not 5.6"),
        ("(401,", "(101,", "within 0.1 dB"),
        ("+ 250", "+ 1200", "should be at most -25 dB"),
        ("len(taps) // 2", "0", "200 samples late"),
        ("// 2", "- 1", "200 samples early"),
        ("(401,", "(400,", "use an odd number"),
        ("oaconvolve(sound", "oaconvolve(sound[:1]", "(2, 8000)"),
    ),
)
def _verify_anchor(answer) -> None:
    place = 4000 + expect.variant() % 300  # of the click
    for rate, cutoff_hz in ((44100, 3500), (48000, 3500), (44100, 7000)):
        case = f"({cutoff_hz} Hz at {rate} Hz)"
        result = answer(torch.eye(1, 8000).roll(place).repeat(2, 1), rate, cutoff_hz)
        click = expect.tensor(result, (2, 8000), f"the anchor {case}")[0].double()
        late = int(click.abs().argmax()) - place
        text = f"a click comes {abs(late)} samples {'late' if late > 0 else 'early'}"
        expect.that(abs(late) <= 1, f"{text} {case}: drop half of the filter's length.")
        text = f"use an odd number of taps, so that the filter is symmetrical {case}."
        before, after = click[place - 1000 : place], click[place + 1 : place + 1001]
        expect.close(before.flip(0), after, text)
        levels = 20 * torch.fft.rfft(click).abs().clamp_min(1e-9).log10()
        hz = torch.fft.rfftfreq(8000, 1 / rate)
        worst = float(levels[hz <= cutoff_hz].abs().max())
        text = f"up to {cutoff_hz} Hz the gain should be within 0.1 dB, not {worst:.2f}"
        expect.that(worst <= 0.1, f"{text} dB {case}.")
        for above, most in ((500, -25), (1000, -50)):
            level = float(levels[hz >= cutoff_hz + above].max())
            text = f"{above} Hz above the cutoff the level should be at most {most} dB"
            expect.that(level <= most, f"{text}, not {level:.0f} dB {case}.")


def my_trials(names, n, seed, listener):
    """Write `my_trials(names, n, seed, listener)`. It returns the list of the `n`
    trials of listener 0, 1, 2, …, in the order of playing. `random` is imported.

    - After any number of listeners, no trial has been used two times more than another.
    - The same seed and listener give the same list; other seeds give other lists.
    - The order is random for each listener.
    - The list `names` does not change.
    """
    names, count = list(names), dict.fromkeys(names, 0)
    for number in range(listener + 1):
        draw = random.Random(f"{seed} {number}")
        draw.shuffle(names)
        chosen = sorted(names, key=count.__getitem__)[:n]
        count.update({name: count[name] + 1 for name in chosen})
    draw.shuffle(chosen)
    return chosen


_SAME_ORDER = """
    def my_trials(names, n, seed, listener):
        ring = random.Random(seed).sample(names, len(names))
        order = random.Random(seed + 1).sample(names, len(names))
        chosen = [ring[(listener * n + i) % len(ring)] for i in range(n)]
        return sorted(chosen, key=order.index)
    """


@checks(
    my_trials,
    hints=(
        "Go through all listeners from 0 on. For each, make a generator: "
        '`random.Random(f"{seed} {number}")`.',
        "Shuffle, sort by count (equal counts stay shuffled), take n, shuffle.",
    ),
    noticed="Nothing is stored: seed and number alone determine the trials.",
    wrong=(
        ("count.__getitem__", "len", "often than another"),
        ('f"{seed} {number}"', "number", "other seeds should give"),
        ("draw.shuffle(chosen)", "pass", "always comes first"),
        ("list(names)", "names", "shuffle a copy"),
        ("[:n]", "[:2]", "should get 3 different"),
        (_SAME_ORDER, "in an order of its own"),
    ),
)
def _verify_order(answer) -> None:
    names, count = list("abcdefg"), Counter("abcdefg")
    first = 100 * expect.variant()  # the first seed
    for listener in range(21):
        row = answer(list(names), 3, first, listener)
        text = f"listener {listener} should get 3 different trials, not {row}."
        expect.that(len({*row} & {*names}) == len(row) == 3, text)
        count.update(row)
        apart = max(count.values()) - min(count.values())
        text = f"after {listener + 1} listeners one trial was used {apart} times more "
        expect.that(apart <= 1, text + "often than another.")
        text = "the same seed and listener should give the same trials."
        expect.that(answer(list(names), 3, first, listener) == row, text)
    rows = [
        [answer(names, 6, seed, n) for n in (0, 1)] for seed in range(first, first + 40)
    ]
    orders = {str(answer(list(names), 7, first, number)) for number in range(6)}
    text = "each listener should hear all 7 trials in an order of its own."
    expect.that(len(orders) > 3, text)
    text = "my_trials should not change `names`: shuffle a copy."
    expect.that(names == list("abcdefg"), text)
    text = "other seeds should give other lists."
    expect.that(len({str(row) for row in rows}) > 30, text)
    new_first = sum({*then} - {*before} == {then[0]} for before, then in rows)
    text = "the trial that the listener before did not get always comes first: shuffle "
    expect.that(new_first < 30, text + "once more at the end.")


def match(sounds, target_lufs, sample_rate):
    """Write `match(sounds, target_lufs, sample_rate)` for a dict name -> sound. It
    returns two dicts: the sounds with that loudness, and the whole gain of each in dB.
    A silent sound, -inf LUFS, gets 0 dB. If a peak is then above 0 dBFS, turn *all*
    sounds down by one gain, so that the highest peak is -1 dBFS. Measure with
    `loudness_lufs(sound, sample_rate)` and `peak_db(sound)`.
    """
    gains = {}
    for name, sound in sounds.items():
        loudness = loudness_lufs(sound, sample_rate)
        silent = loudness == -torch.inf
        gains[name] = 0.0 if silent else target_lufs - loudness
    matched = {k: s * 10 ** (gains[k] / 20) for k, s in sounds.items()}
    peak = max(peak_db(sound) for sound in matched.values())
    if peak > 0:
        gains = {k: gain - 1 - peak for k, gain in gains.items()}
        matched = {k: s * 10 ** (gains[k] / 20) for k, s in sounds.items()}
    return matched, gains


@checks(
    match,
    hints=(
        "First find the gain of each sound, then the highest peak of all.",
        "The gain for all is `-1 - peak` dB: add it to each gain.",
    ),
    noticed="Report the gains: after matching, they cannot be heard.",
    wrong=(
        ("0.0 if silent else ", "", "be finite"),
        ("if peak > 0:", "if False:", "highest peak to -1 dBFS"),
        ("if peak > 0:", "if True:", "nothing clips, so all"),
        ("s * 10 ** (gains[k] / 20)", "s", "by its gain"),
        ("matched, gains", "matched", "two dicts"),
        ("target_lufs - loud", "loud", "equally loud"),
        ("gain - 1 - peak for", "min(gain, 9) for", "equally loud"),
    ),
)
def _verify_match(answer) -> None:
    noise = 0.05 * expect.noise(2, 88200)
    clicks = 0.01 * noise + 0.9 * (torch.arange(88200) % 8000 == 4000)
    sounds = {"loud": 2 * noise, "soft": 0.3 * noise, "silent": 0 * noise}
    for target, clips in ((-30.0, False), (-16.0, True)):
        sounds |= {"clicks": clicks} if clips else {}
        text = "return two dicts, the sounds and the gains."
        matched, gains = expect.items(answer(dict(sounds), target, 44100), 2, text)
        for name, sound in sounds.items():
            text = f"the gain of {name!r} should be finite, not {gains[name]} dB."
            expect.that(math.isfinite(gains[name]), text)
            text = f"{name!r} was not changed by its gain, {gains[name]:+.1f} dB."
            expect.close(matched[name], sound * 10 ** (gains[name] / 20), text)
        audible = [sound for name, sound in matched.items() if name != "silent"]
        levels = torch.tensor([loudness_lufs(sound, 44100) for sound in audible])
        listed = ", ".join(f"{level:.1f}" for level in levels)
        text = f"all should be equally loud, not {listed} LUFS."
        expect.that(levels.std() < 0.1, text)
        peak = max(map(peak_db, audible))
        if clips:
            text = "one gain for all should bring the highest peak to -1 dBFS, not "
            expect.close(peak, -1.0, f"{text}{peak:.1f}.", tolerance=0.05)
        else:
            text = f"nothing clips, so all should have {target:g} LUFS, not {listed}."
            expect.that(bool(((levels - target).abs() <= 0.1).all()), text)
