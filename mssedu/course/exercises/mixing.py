"""Exercises on mixing: gains in dB, mid and side, equal loudness."""

import math

import torch

from mssedu.audio.tensors import loudness_lufs
from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks


def mix(sources, gains_db):
    """Write `mix(sources, gains_db)`. It returns the mixture (channels, samples) of
    `sources` (stems, channels, samples) with one gain in dB for each stem.
    """
    factors = 10 ** (torch.tensor(gains_db) / 20)
    return (factors[:, None, None] * sources).sum(0)


@checks(
    mix,
    hints=(
        "A gain in dB is a factor for the amplitude: `10 ** (gain_db / 20)`.",
        "To multiply `sources`, the factors need the shape (stems, 1, 1): "
        "`factors[:, None, None]`.",
        "The mixture is the sum over the stem axis: `.sum(0)`.",
    ),
    noticed="A gain of -inf dB is the factor 0: the stem is muted.",
    wrong=(
        ("/ 20", "/ 10", "a tenth of its amplitude, not 0.01"),
        ("sum(0)", "mean(0)", "the plain sum of the stems"),
        ("sum(0)", "sum(1)", "the shape (2, 500), not (3, 500)"),
        ("10 **", "", "the plain sum of the stems"),
        ("factors[:, None, None] * ", "", "not 1"),
        ("(gains_db)", "(sorted(gains_db)[::-1])", "its own stem"),
        ("* sources", "* sources.neg_()", "changes its argument 1"),
    ),
)
def _verify_mix(answer) -> None:
    sources = 0.1 * expect.noise(3, 2, 500)
    text = "with all gains at 0 dB the mixture should be the plain sum of the stems."
    mixture = answer(sources, [0.0, 0.0, 0.0])
    expect.close(mixture, sources.sum(0), text, what="the mixture")
    one = answer(sources, [-20.0, -math.inf, -math.inf])
    expect.tensor(one, (2, 500), "the mixture of one stem")
    ratio = float(one.norm() / sources[0].norm())
    text = f"a stem at -20 dB should keep a tenth of its amplitude, not {ratio:.3g}."
    expect.close(one, 0.1 * sources[0], text)
    gains_db = [20.0, -20.0, 0.0]
    wanted = mix(sources, gains_db)
    text = "each gain should belong to its own stem: the first gain to the first stem."
    expect.close(answer(sources, gains_db), wanted, text, tolerance=1e-4)


def to_mid_side(audio):
    """Write `to_mid_side(audio)`. It takes a stereo sound (2, samples) and returns the
    pair `mid, side`, each (samples,), such that `left = mid + side` and
    `right = mid - side`.
    """
    left, right = audio
    mid = (left + right) / 2
    side = (left - right) / 2
    return mid, side


@checks(
    to_mid_side,
    hints=(
        "`left, right = audio`. Add the two equations: left + right = 2 · mid.",
        "Subtract them: left - right = 2 · side.",
    ),
    noticed="Mid is the mono mixdown. A mono loudspeaker does not play side.",
    wrong=(
        (" / 2", "", "mid should be the mean of left and right"),
        ("left - right", "right - left", "the sign of side"),
        ("(left - right) / 2", "left - right", "the sign of side"),
        ("return mid, side", "return mid", "a pair: mid, side"),
        ("= audio", "= audio.T[:2]", "mid should have the shape"),
    ),
    starter="""
            def to_mid_side(audio):
                mid = ...
                side = ...
                return mid, side
            """,
)
def _verify_mid_side(answer) -> None:
    audio = expect.noise(2, 500)
    left, right = audio
    result = answer(audio)
    mid, side = expect.items(result, 2, "the result should be a pair: mid, side.")
    text = "mid should be the mean of left and right."
    expect.close(mid, (left + right) / 2, text, what="mid")
    expect.tensor(side, (500,), "side")
    text = "mid + side should be left: what is the sign of side?"
    expect.close(mid + side, left, text)
    expect.close(mid - side, right, "mid - side should be right.")


_BY_RMS = """
    def match_loudness(audio, sample_rate, target_lufs):
        rms = audio.square().mean().sqrt().clamp_min(1e-9)
        return audio / rms * 10 ** (target_lufs / 20)
    """

_BY_CHANNEL = """
    def match_loudness(audio, sample_rate, target_lufs):
        target_lufs -= 10 * math.log10(2)
        loudness = [loudness_lufs(part[None], sample_rate) for part in audio]
        gains_db = target_lufs - torch.tensor(loudness)
        return audio * 10 ** (gains_db[:, None] / 20)
    """


def match_loudness(audio, sample_rate, target_lufs):
    """Write `match_loudness(audio, sample_rate, target_lufs)`. It returns the sound
    (channels, samples) with the loudness `target_lufs`. Measure with
    `loudness_lufs(audio, sample_rate)`. A silent stem, whose loudness is -inf, stays
    silent.
    """
    loudness = loudness_lufs(audio, sample_rate)
    if loudness == -math.inf:
        return audio
    gain_db = target_lufs - loudness
    return audio * 10 ** (gain_db / 20)


@checks(
    match_loudness,
    hints=(
        "6 dB more gain is 6 LU more: the gain is the target minus the loudness.",
        "For silence that gain is infinite, and 0 · inf is NaN. Test for it first: "
        "`if loudness == -math.inf: return audio`.",
    ),
    noticed="Silence has no loudness to match; a fair comparison has to allow for it.",
    wrong=(
        ("-math.inf", "None", "a silent stem should have finite"),
        ("loudness == -math.inf", "not audio.any()", "a stem of faint noise"),
        ("target_lufs - loudness", "loudness - target_lufs", "-23.0"),
        ("/ 20", "/ 10", "for noise should have -23.0 LUFS"),
        (_BY_RMS, "the result for noise should have -23.0 LUFS"),
        (_BY_CHANNEL, "both channels and all samples"),
    ),
)
def _verify_match_loudness(answer) -> None:
    noise = 0.1 * expect.noise(2, 8000)  # a second
    for label, audio in {"noise": noise, "louder noise": 5 * noise}.items():
        result = answer(audio, 8000, -23.0)
        expect.tensor(result, (2, 8000), f"the result for {label}")
        got = loudness_lufs(result, 8000)
        text = f"the result for {label} should have -23.0 LUFS, not {got:.1f}."
        expect.close(got, -23.0, text, tolerance=0.05)
        factor = (result * audio).sum() / audio.square().sum()
        text = "both channels and all samples should have the same gain."
        expect.close(result, factor * audio, text, tolerance=1e-4)
    silence = torch.zeros(2, 8000)
    result = expect.tensor(answer(silence, 8000, -23.0), (2, 8000), "a silent stem")
    expect.that(result.equal(silence), "a silent stem should stay silent.")
    faint = 1e-4 * noise  # at -100 dBFS, all of it below the gate
    what = "a stem of faint noise, whose loudness is -inf,"
    result = expect.tensor(answer(faint, 8000, -23.0), (2, 8000), what)
    expect.that(result.abs().max() <= faint.abs().max(), f"{what} should stay silent.")
