"""Exercises on listening tests: an anchor without delay, a fair order, one loudness."""

import math
from collections import Counter

import torch
from torch import Tensor

from mssedu.audio.tensors import loudness_lufs, peak_db
from mssedu.course.exercises.kinds import (
    Exercise,
    expect,
    expect_close,
    expect_pair,
    expect_tensor,
)


def _verify_anchor(anchor) -> None:
    for rate, cutoff_hz in ((44100, 3500), (48000, 3500), (44100, 7000)):
        case = f"({cutoff_hz} Hz at {rate} Hz)"
        result = anchor(torch.eye(1, 8000).roll(4000).repeat(2, 1), rate, cutoff_hz)
        expect_tensor(result, (2, 8000), f"the anchor {case}")
        click = result[0].double()
        late = int(click.abs().argmax()) - 4000
        text = f"a click comes {abs(late)} samples {'late' if late > 0 else 'early'}"
        expect(abs(late) <= 1, f"{text} {case}: drop half of the filter's length.")
        text = f"use an odd number of taps, so that the filter is symmetrical {case}."
        expect_close(click[3000:4000].flip(0), click[4001:5001], text)
        levels = 20 * torch.fft.rfft(click).abs().clamp_min(1e-9).log10()
        hz = torch.fft.rfftfreq(8000, 1 / rate)
        worst = float(levels[hz <= cutoff_hz].abs().max())
        text = (
            f"up to {cutoff_hz} Hz the gain should be within 0.1 dB, not {worst:.2f} dB"
        )
        expect(worst <= 0.1, f"{text} {case}.")
        for above, most in ((500, -25), (1000, -50)):
            level = float(levels[hz >= cutoff_hz + above].max())
            text = (
                f"{above} Hz above the cutoff the level should be at most {most} dB, "
            )
            expect(level <= most, f"{text}not {level:.0f} dB {case}.")


def _verify_order(my_trials) -> None:
    names, count = list("abcdefg"), Counter("abcdefg")
    for listener in range(21):
        row = my_trials(list(names), 3, 0, listener)
        text = f"listener {listener} should get 3 different trials, not {row}."
        expect(len({*row} & {*names}) == len(row) == 3, text)
        count.update(row)
        apart = max(count.values()) - min(count.values())
        text = f"after {listener + 1} listeners one trial was used {apart} times more "
        expect(apart <= 1, text + "often than another.")
        again = my_trials(list(names), 3, 0, listener)
        expect(again == row, "the same seed and listener should give the same trials.")
    rows = [[my_trials(names, 6, seed, n) for n in (0, 1)] for seed in range(40)]
    expect(
        names == list("abcdefg"), "my_trials should not change `names`: shuffle a copy."
    )
    expect(len({str(row) for row in rows}) > 30, "other seeds should give other lists.")
    new_first = sum({*then} - {*before} == {then[0]} for before, then in rows)
    text = "the trial that the listener before did not get always comes first: shuffle "
    expect(new_first < 30, text + "once more at the end.")


def _verify_match(match) -> None:
    noise = 0.05 * torch.randn(2, 88200, generator=torch.Generator().manual_seed(0))
    clicks = 0.01 * noise + 0.9 * (torch.arange(88200) % 8000 == 4000)
    sounds = {"loud": 2 * noise, "soft": 0.3 * noise, "silent": 0 * noise}
    _expect_matched(match, sounds, -30.0, clips=False)
    _expect_matched(match, sounds | {"clicks": clicks}, -16.0, clips=True)


def _expect_matched(match, sounds: dict[str, Tensor], target: float, clips: bool):
    text = "return two dicts, the sounds and the gains."
    matched, gains = expect_pair(match(dict(sounds), target, 44100), text)
    for name, sound in sounds.items():
        text = f"the gain of {name!r} should be finite, not {gains[name]} dB."
        expect(math.isfinite(gains[name]), text)
        text = f"{name!r} was not changed by its gain, {gains[name]:+.1f} dB."
        expect_close(matched[name], sound * 10 ** (gains[name] / 20), text)
    audible = [sound for name, sound in matched.items() if name != "silent"]
    levels = torch.tensor([loudness_lufs(sound, 44100) for sound in audible])
    listed = ", ".join(f"{level:.1f}" for level in levels)
    expect(levels.std() < 0.1, f"all should be equally loud, not {listed} LUFS.")
    text = f"nothing clips, so all should have {target:g} LUFS, not {listed}."
    expect_close(levels, levels if clips else target, text, tolerance=0.1)
    peak = max(map(peak_db, audible))
    text = f"one gain for all should bring the highest peak to -1 dBFS, not {peak:.1f}."
    expect_close(peak, -1.0 if clips else peak, text, tolerance=0.05)


EXERCISES = (
    Exercise(
        id="listening.anchor",
        question="""
            Write `anchor(sound, sample_rate, cutoff_hz)`, a low-pass filter for a
            `sound` (channels, samples) that keeps the shape and adds no delay: a click
            stays at its sample. Up to the cutoff (3500 or 7000 Hz) the gain is within
            ±0.1 dB. From 500 Hz above the cutoff on, it is at most -25 dB; from 1000 Hz
            above it on, at most -50 dB. `firwin` and `oaconvolve` of scipy are
            imported.
            """,
        solution_source="""
            def anchor(sound, sample_rate, cutoff_hz):
                middle, window = cutoff_hz + 250, ("kaiser", 6.5)
                taps = firwin(401, middle, window=window, fs=sample_rate)
                full = oaconvolve(sound.double().numpy(), taps[None], axes=-1)
                delay = len(taps) // 2
                inside = full[:, delay : delay + sound.shape[-1]]
                return torch.from_numpy(inside).float()
            """,
        verify=_verify_anchor,
        hints=(
            "`firwin(n_taps, middle, window=('kaiser', 6.5), fs=sample_rate)` has a "
            "gain of -6 dB at `middle`: put it between the cutoff and 500 Hz above.",
            "The full convolution is `n_taps - 1` samples longer; half are in front.",
        ),
        noticed="Odd and symmetrical: so the delay is a whole number of samples.",
        wrong=(
            ("cutoff_hz + 250", "cutoff_hz", "within 0.1 dB, not 5.6"),
            ("(401,", "(101,", "within 0.1 dB"),
            ("+ 250", "+ 1200", "should be at most -25 dB"),
            ("len(taps) // 2", "0", "200 samples late"),
            ("// 2", "- 1", "200 samples early"),
            ("(401,", "(400,", "use an odd number"),
            ("oaconvolve(sound", "oaconvolve(sound[:1]", "(2, 8000)"),
        ),
        imports="import torch\nfrom scipy.signal import firwin, oaconvolve",
    ),
    Exercise(
        id="listening.order",
        question="""
            Write `my_trials(names, n, seed, listener)`. It returns the list of the `n`
            trials of listener 0, 1, 2, …, in the order of playing. After any number of
            listeners, no trial has been used two times more than another. The same seed
            and listener give the same list, and other seeds give other lists. The order
            is random for each listener, and `names` does not change. `random` and
            `Counter` are imported.
            """,
        solution_source="""
            def my_trials(names, n, seed, listener):
                names, count = list(names), Counter()
                for number in range(listener + 1):
                    draw = random.Random(f"{seed} {number}")
                    draw.shuffle(names)
                    chosen = sorted(names, key=count.__getitem__)[:n]
                    count.update(chosen)
                draw.shuffle(chosen)
                return chosen
            """,
        verify=_verify_order,
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
        ),
        imports="import random\nfrom collections import Counter",
    ),
    Exercise(
        id="listening.match",
        question="""
            Write `match(sounds, target_lufs, sample_rate)` for a dict name -> sound. It
            returns two dicts: the sounds with that loudness, and the whole gain of each
            in dB. A silent sound, -inf LUFS, gets 0 dB. If a peak is then above 0 dBFS,
            turn *all* sounds down by one gain, so that the highest peak is -1 dBFS.
            Measure with `loudness_lufs(sound, sample_rate)` and `peak_db(sound)`.
            """,
        solution_source="""
            def match(sounds, target_lufs, sample_rate):
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
            """,
        verify=_verify_match,
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
        imports="import torch\n\nfrom mssedu.audio import loudness_lufs, peak_db",
    ),
)
