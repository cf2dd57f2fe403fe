"""Exercises on listening tests: an anchor in time, a fair order, one loudness."""

import math
from collections import Counter

import torch
from torch import Tensor

from mssedu.audio.tensors import loudness_lufs, peak_db
from mssedu.course.exercises.exercise import (
    Exercise,
    expect,
    expect_close,
    expect_tensor,
)
from mssedu.course.exercises.quiz import Question, make_quiz


def _verify_anchor(anchor) -> None:
    for rate, cutoff_hz in ((44100, 3500), (48000, 3500), (44100, 7000)):
        case = f"({cutoff_hz} Hz at {rate} Hz)"
        result = anchor(torch.eye(1, 8000).roll(4000).repeat(2, 1), rate, cutoff_hz)
        expect_tensor(result, (2, 8000), f"the anchor {case}")
        click = result[0].double()
        late = int(click.abs().argmax()) - 4000
        text = f"a click comes {abs(late)} samples {'late' if late > 0 else 'early'}"
        expect(abs(late) <= 1, f"{text} {case}: cut off half of the filter's length.")
        text = f"take an odd number of taps, alike before a click and after it {case}."
        expect_close(click[3000:4000].flip(0), click[4001:5001], text)
        levels = 20 * torch.fft.rfft(click).abs().clamp_min(1e-9).log10()
        hz = torch.fft.rfftfreq(8000, 1 / rate)
        worst = float(levels[hz <= cutoff_hz].abs().max())
        text = f"up to {cutoff_hz} Hz all should pass within 0.1 dB, not {worst:.2f} dB"
        expect(worst <= 0.1, f"{text} {case}.")
        for above, most in ((500, -25), (1000, -50)):
            left = float(levels[hz >= cutoff_hz + above].max())
            text = f"at most {most} dB should be left {above} Hz above, not {left:.0f}"
            expect(left <= most, f"{text} dB {case}.")


def _verify_order(my_trials) -> None:
    names, count = list("abcdefg"), Counter("abcdefg")
    for listener in range(21):
        row = my_trials(list(names), 3, 0, listener)
        text = f"listener {listener} should hear 3 different trials, not {row}."
        expect(len({*row} & {*names}) == len(row) == 3, text)
        count.update(row)
        apart = max(count.values()) - min(count.values())
        text = f"after {listener + 1} listeners one trial was given out {apart} times "
        expect(apart <= 1, text + "more often than another.")
        again = my_trials(list(names), 3, 0, listener)
        expect(again == row, "the same seed and listener should give the same trials.")
    rows = [[my_trials(names, 6, seed, n) for n in (0, 1)] for seed in range(40)]
    expect(names == list("abcdefg"), "the list of names was changed: shuffle a copy.")
    expect(len({str(row) for row in rows}) > 30, "other seeds should give other lists.")
    rested = sum({*then} - {*before} == {then[0]} for before, then in rows)
    text = "the trial that the listener before did not get always comes first: shuffle "
    expect(rested < 30, text + "once more at the end.")


def _verify_match(match) -> None:
    noise = 0.05 * torch.randn(2, 88200, generator=torch.Generator().manual_seed(0))
    clicks = 0.01 * noise + 0.9 * (torch.arange(88200) % 8000 == 4000)
    sounds = {"loud": 2 * noise, "soft": 0.3 * noise, "silent": 0 * noise}
    _expect_matched(match, sounds, -30.0, clips=False)
    _expect_matched(match, sounds | {"clicks": clicks}, -16.0, clips=True)


def _expect_matched(match, sounds: dict[str, Tensor], target: float, clips: bool):
    pair = match(dict(sounds), target, 44100)
    expect(len(pair) == 2, "return two things, the sounds and the gains.")
    matched, gains = pair
    for name, sound in sounds.items():
        text = f"the gain of {name!r} should be finite, not {gains[name]} dB."
        expect(math.isfinite(gains[name]), text)
        text = f"{name!r} was not changed by the {gains[name]:+.1f} dB of the report."
        expect_close(matched[name], sound * 10 ** (gains[name] / 20), text)
    heard = [sound for name, sound in matched.items() if name != "silent"]
    levels = torch.tensor([loudness_lufs(sound, 44100) for sound in heard])
    listed = ", ".join(f"{level:.1f}" for level in levels)
    expect(levels.std() < 0.1, f"all should be equally loud, not {listed} LUFS.")
    text = f"nothing clips, so all should come to {target:g} LUFS, not {listed}."
    expect_close(levels, levels if clips else target, text, tolerance=0.1)
    peak = max(map(peak_db, heard))
    text = f"one gain for all should bring the highest peak to -1 dBFS, not {peak:.1f}."
    expect_close(peak, -1.0 if clips else peak, text, tolerance=0.05)


_STUB = "    return ...  # your code here"
_ANCHOR = """
    def anchor(sound, sample_rate, cutoff_hz):
        taps = firwin(401, cutoff_hz + 250, window=("kaiser", 6.5), fs=sample_rate)
        full = oaconvolve(sound.double().numpy(), taps[None], axes=-1)
        delay = len(taps) // 2
        return torch.from_numpy(full[:, delay : delay + sound.shape[-1]]).float()
    """
_ORDER = """
    def my_trials(names, n, seed, listener):
        names, count = list(names), Counter()
        for number in range(listener + 1):
            draw = random.Random(f"{seed} {number}")
            draw.shuffle(names)
            chosen = sorted(names, key=count.__getitem__)[:n]
            count.update(chosen)
        draw.shuffle(chosen)
        return chosen
    """
_MATCH = """
    def match(sounds, target_lufs, sample_rate):
        gains = {}
        for name, sound in sounds.items():
            loudness = loudness_lufs(sound, sample_rate)
            gains[name] = target_lufs - loudness if loudness > -torch.inf else 0.0
        matched = {k: s * 10 ** (gains[k] / 20) for k, s in sounds.items()}
        peak = max(peak_db(sound) for sound in matched.values())
        if peak > 0:
            gains = {k: gain - 1 - peak for k, gain in gains.items()}
            matched = {k: s * 10 ** (gains[k] / 20) for k, s in sounds.items()}
        return matched, gains
    """
_QUIZ = (
    Question(
        "You changed a window and want to know whether anybody hears it. Which test?",
        {
            "MUSHRA, against the reference.": "it hardly tells what is barely heard.",
            "ABX.": None,
            "2AFC.": "who hears no difference still has to prefer one.",
        },
    ),
    Question(
        "All listeners give the 3.5 kHz anchor of a bass stem 100. Why?",
        {
            "They do not listen.": "there is nothing for them to hear.",
            "The bass has next to nothing above 3.5 kHz.": None,
            "The anchor was not matched in loudness.": "low-passed, it is as loud.",
        },
    ),
    Question(
        "A is 6 dB too soft and otherwise perfect. What do matched levels show?",
        {
            "A is rated low.": "after matching it is the reference itself.",
            "Nothing of it: only the log of the gains does.": None,
            "A's usdr rises to that of the reference.": "usdr is measured before.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="listening.anchor",
        notebook="13",
        question="""
            Write `anchor(sound, sample_rate, cutoff_hz)` for a `sound` (channels,
            samples): a tensor of the same shape, low-passed, in time. Up to the cutoff
            (3500 or 7000 Hz) all passes within ±0.1 dB. From 500 Hz above it on, -25 dB
            are left at most; from 1000 Hz above it on, -50 dB. A click must come out at
            the sample where it went in. `firwin` and `oaconvolve` of scipy are there.
            """,
        answer="anchor",
        starter_source="def anchor(sound, sample_rate, cutoff_hz):\n" + _STUB,
        solution_source=_ANCHOR,
        verify=_verify_anchor,
        hints=(
            "`firwin(n_taps, middle, window=('kaiser', 6.5), fs=sample_rate)` is 6 dB "
            "down at `middle`: put that between what passes and what does not.",
            "The full convolution is `n_taps - 1` samples longer, half of them before.",
        ),
        noticed="Odd and symmetrical: then the delay is a whole number of samples.",
        wrong_answers=(
            (_ANCHOR.replace("cutoff_hz + 250", "cutoff_hz"), "within 0.1 dB, not 5.6"),
            (_ANCHOR.replace("(401,", "(101,"), "within 0.1 dB"),
            (_ANCHOR.replace("+ 250", "+ 1200"), "at most -25 dB should be left"),
            (_ANCHOR.replace("len(taps) // 2", "0"), "200 samples late"),
            (_ANCHOR.replace("// 2", "- 1"), "200 samples early"),
            (_ANCHOR.replace("(401,", "(400,"), "take an odd number"),
            (_ANCHOR.replace("oaconvolve(sound", "oaconvolve(sound[:1]"), "(2, 8000)"),
        ),
        imports="import torch\nfrom scipy.signal import firwin, oaconvolve",
    ),
    Exercise(
        id="listening.order",
        notebook="13",
        question="""
            Write `my_trials(names, n, seed, listener)`: a list of the `n` trials of
            listener 0, 1, 2, …, in the order of playing. After any number of listeners,
            no trial may have been given out two times more than another. The same seed
            and listener give the same list, other seeds another; the order is drawn for
            each listener; `names` stays as it is. `random` and `Counter` are there.
            """,
        answer="my_trials",
        starter_source="def my_trials(names, n, seed, listener):\n" + _STUB,
        solution_source=_ORDER,
        verify=_verify_order,
        hints=(
            'Replay all listeners from 0 on; `random.Random(f"{seed} {number}")` draws '
            "the same in every run.",
            "Shuffle, sort by count (equals stay shuffled), take n, and shuffle these.",
        ),
        noticed="Nothing is stored: who was given what follows from seed and number.",
        wrong_answers=(
            (_ORDER.replace("count.__getitem__", "len"), "more often than another"),
            (_ORDER.replace('f"{seed} {number}"', "number"), "other seeds should give"),
            (_ORDER.replace("draw.shuffle(chosen)", "pass"), "always comes first"),
            (_ORDER.replace("list(names)", "names"), "shuffle a copy"),
            (_ORDER.replace("[:n]", "[:2]"), "should hear 3 different"),
        ),
        imports="import random\nfrom collections import Counter",
    ),
    Exercise(
        id="listening.match",
        notebook="13",
        question="""
            Write `match(sounds, target_lufs, sample_rate)` for name -> sound. It
            returns two dicts: the sounds at that loudness, and all that was done to
            each, in dB. A silent sound, -inf LUFS, gets 0 dB. Should a peak then exceed
            0 dBFS, turn *all* down by one gain, so that the highest peak is at -1 dBFS.
            `loudness_lufs(sound, sample_rate)` and `peak_db(sound)` measure.
            """,
        answer="match",
        starter_source="def match(sounds, target_lufs, sample_rate):\n" + _STUB,
        solution_source=_MATCH,
        verify=_verify_match,
        hints=(
            "First the gain of each; look for the highest peak of all after that.",
            "The gain for all is `-1 - peak` dB: add it to each gain.",
        ),
        noticed="The log tells what was hidden: put it into the report.",
        wrong_answers=(
            (_MATCH.replace(" if loudness > -torch.inf else 0.0", ""), "be finite"),
            (_MATCH.replace("if peak > 0:", "if False:"), "highest peak to -1 dBFS"),
            (_MATCH.replace("if peak > 0:", "if True:"), "nothing clips, so all"),
            (_MATCH.replace("s * 10 ** (gains[k] / 20)", "s"), "of the report"),
            (_MATCH.replace("matched, gains\n", "matched\n"), "two things"),
            (_MATCH.replace("target_lufs - loud", "loud"), "equally loud"),
            (_MATCH.replace("gain - 1 - peak for", "min(gain, 9) for"), "equally loud"),
        ),
        imports="import torch\n\nfrom mssedu.audio.tensors import loudness_lufs, peak_db",
    ),
    make_quiz("listening.quiz", "13", _QUIZ),
)
