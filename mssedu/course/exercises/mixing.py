"""Exercises on mixing: gains in dB, mid and side, equal loudness."""

import math

import torch
from torch import Tensor

from mssedu.audio.tensors import loudness_lufs
from mssedu.course.exercises.kinds import (
    Exercise,
    expect,
    expect_close,
    expect_pair,
    expect_tensor,
)

_RATE = 8000  # Hz; enough for a second of noise


def _noise(*shape: int) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _verify_mix(mix) -> None:
    sources = _noise(3, 2, 500)
    before = sources.clone()
    whole = mix(sources, [0.0, 0.0, 0.0])
    expect_tensor(whole, (2, 500), "the mixture")
    text = "with all gains at 0 dB the mixture should be the plain sum of the stems."
    expect_close(whole, before.sum(0), text)
    expect(sources.equal(before), "mix should not change the sources that it gets.")
    one = mix(sources, [-20.0, -math.inf, -math.inf])
    expect_tensor(one, (2, 500), "the mixture of one stem")
    ratio = float(one.norm() / before[0].norm())
    text = f"a stem at -20 dB should keep a tenth of its amplitude, not {ratio:.3g}."
    expect_close(one, 0.1 * before[0], text)
    weights = torch.tensor([10.0, 0.1, 1.0])
    both = mix(sources, [20.0, -20.0, 0.0])
    text = "each gain should belong to its own stem: the first gain to the first stem."
    wanted = torch.einsum("s,sct->ct", weights, before)
    expect_close(both, wanted, text, tolerance=1e-4)


def _verify_mid_side(to_mid_side) -> None:
    audio = _noise(2, 500)
    result = to_mid_side(audio)
    stacked = isinstance(result, Tensor) and result.shape == (2, 500)
    result = list(result) if stacked else result
    mid, side = expect_pair(result, "the result should be a pair: mid, side.")
    for name, part in (("mid", mid), ("side", side)):
        expect_tensor(part, (500,), name)
    left, right = audio
    expect_close(mid, (left + right) / 2, "mid should be the mean of left and right.")
    text = "mid + side should be left: what is the sign of side?"
    expect_close(mid + side, left, text)
    expect_close(mid - side, right, "mid - side should be right.")


def _verify_match_loudness(match_loudness) -> None:
    noise = _noise(2, _RATE)
    for label, audio in {"noise": noise, "louder noise": 5 * noise}.items():
        result = match_loudness(audio, _RATE, -23.0)
        expect_tensor(result, (2, _RATE), f"the result for {label}")
        got = loudness_lufs(result, _RATE)
        text = f"the result for {label} should have -23.0 LUFS, not {got:.1f}."
        expect_close(got, -23.0, text, tolerance=0.05)
        factor = float((result * audio).sum() / audio.square().sum())
        text = "both channels and all samples should have the same gain."
        expect_close(result, factor * audio, text, tolerance=1e-4)
    silence = torch.zeros(2, _RATE)
    result = match_loudness(silence, _RATE, -23.0)
    expect_tensor(result, (2, _RATE), "the result for a silent stem")
    expect(result.equal(silence), "a silent stem should stay silent.")


_IN_PLACE = """
    def mix(sources, gains_db):
        mixture = sources[0]
        mixture += sources[1:].sum(0)
        return mixture
    """

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

EXERCISES = (
    Exercise(
        id="mixing.mix",
        question="""
            Write `mix(sources, gains_db)`. It returns the mixture (channels, samples)
            of `sources` (stems, channels, samples) with one gain in dB for each stem.
            """,
        solution_source="""
            def mix(sources, gains_db):
                factors = 10 ** (torch.tensor(gains_db) / 20)
                return (factors[:, None, None] * sources).sum(0)
            """,
        verify=_verify_mix,
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
            (_IN_PLACE, "should not change the sources"),
        ),
    ),
    Exercise(
        id="mixing.mid_side",
        question="""
            Write `to_mid_side(audio)`. It takes a stereo sound (2, samples) and returns
            the pair `mid, side`, each (samples,), such that `left = mid + side` and
            `right = mid - side`.
            """,
        solution_source="""
            def to_mid_side(audio):
                left, right = audio
                mid = (left + right) / 2
                side = (left - right) / 2
                return mid, side
            """,
        verify=_verify_mid_side,
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
        starter_source="""
            def to_mid_side(audio):
                mid = ...
                side = ...
                return mid, side
            """,
    ),
    Exercise(
        id="mixing.match_loudness",
        question="""
            Write `match_loudness(audio, sample_rate, target_lufs)`. It returns the
            sound (channels, samples) with the loudness `target_lufs`. Measure with
            `loudness_lufs(audio, sample_rate)`. A silent stem, whose loudness is -inf,
            stays silent.
            """,
        solution_source="""
            def match_loudness(audio, sample_rate, target_lufs):
                loudness = loudness_lufs(audio, sample_rate)
                if loudness == -math.inf:
                    return audio
                gain_db = target_lufs - loudness
                return audio * 10 ** (gain_db / 20)
            """,
        verify=_verify_match_loudness,
        hints=(
            "6 dB more gain is 6 LU more loudness. So the gain in dB is the target "
            "minus the measured loudness.",
            "For silence that gain is infinite, and 0 · inf is NaN. Test for it first: "
            "`if loudness == -math.inf: return audio`.",
        ),
        noticed="Silence has no loudness to match, and a fair comparison of stems has "
        "to allow for it.",
        wrong=(
            ("-math.inf", "None", "a silent stem should have finite"),
            ("target_lufs - loudness", "loudness - target_lufs", "-23.0"),
            ("/ 20", "/ 10", "for noise should have -23.0 LUFS"),
            (_BY_RMS, "the result for noise should have -23.0 LUFS"),
            (_BY_CHANNEL, "both channels and all samples"),
        ),
        imports="import math\n\nimport torch\n\nfrom mssedu.audio import loudness_lufs",
    ),
)
