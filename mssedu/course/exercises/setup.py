"""Exercises of the first steps: settings and their units, a safe gain, a quiz."""

import math

import torch

from mssedu.course.exercises.exercise import Exercise, expect, expect_number
from mssedu.course.exercises.quiz import Question, make_quiz


def _verify_settings(settings: dict[str, object]) -> None:
    wanted = {"sample_rate", "stems", "segment"}
    listed = isinstance(settings, dict) and set(settings) == wanted
    expect(listed, f"settings should be a dict with the keys {sorted(wanted)}.")
    for key in ("sample_rate", "segment"):
        expect_number(settings[key], key)
    rate = settings["sample_rate"]
    expect(rate == 44100, f"sample_rate is in Hz: 44.1 kHz is 44100, not {rate}.")
    stems = settings["stems"]
    several = isinstance(stems, tuple) and all(isinstance(stem, str) for stem in stems)
    expect(several, "stems should be a tuple of names: one string for each stem.")
    order = ("vocals", "drums", "bass", "other")
    expect(stems == order, f"stems should be {order}, in this order.")
    segment = settings["segment"]
    text = f"segment is in seconds: 352800 samples at 44100 Hz are not {segment}."
    expect(segment == 8, text)


def _verify_safe_gain(safe_gain) -> None:
    loudest = 10 ** (-1 / 20)
    for label, audio in _SOUNDS.items():
        before = audio.clone()
        gain = safe_gain(audio)
        expect_number(gain, "the gain")
        expect(
            audio.equal(before), "safe_gain should not change the audio it is given."
        )
        gain, peak = float(gain), float(audio.abs().max())
        got = f"the gain for {label} is {gain:.3f}"
        expect(
            math.isfinite(gain) and gain > 0, f"{got}: it should be finite, above 0."
        )
        reached = (
            f"{got}, which brings its peak to {20 * math.log10(gain * peak or 1):.2f}"
        )
        expect(gain * peak <= loudest + 1e-4, f"{reached} dBFS: above -1 dBFS.")
        quiet = peak <= loudest
        expect(
            not quiet or abs(gain - 1) < 1e-6, f"{got}: safe already, leave it at 1."
        )
        expect(quiet or gain * peak > loudest - 1e-4, f"{reached} dBFS: below -1 dBFS.")


_SOUNDS = {
    "a sound of peak 2.0": torch.tensor([[0.3, 2.0, -0.4], [0.1, 0.2, 0.3]]),
    "a sound of peak -1.6": torch.tensor([[0.3, 0.5, -1.6], [0.1, 0.2, 0.3]]),
    "a sound of peak 0.5": torch.tensor([[0.5, -0.5], [0.1, 0.0]]),
    "silence": torch.zeros(2, 4),
}

_SETTINGS = """
    settings = {
        "sample_rate": 44100,  # Hz
        "stems": ("vocals", "drums", "bass", "other"),
        "segment": 8.0,  # seconds: 352800 / 44100
    }
    """
_SAFE_GAIN = """
    def safe_gain(audio):
        loudest = 10 ** (-1 / 20)  # -1 dBFS as a factor
        peak = float(audio.abs().max())
        return min(1.0, loudest / peak) if peak > 0 else 1.0
    """
_NO_QUESTION_ASKED = """
    def safe_gain(audio):
        peak = audio.abs().max()
        return torch.minimum(10 ** (-1 / 20) / peak, peak / peak)
    """
_QUESTIONS = (
    Question(
        "A and B are two recordings of equal length. `A - B` is silent. Then",
        {
            "they sound alike, but may differ in details": "a detail that differs is "
            "left over in the difference.",
            "they are the same, sample by sample": None,
            "one of them is silent": "the difference would then be the other one.",
        },
    ),
    Question(
        "A sound is multiplied by 0.5. Its peak changes by",
        {
            "-3.0 dB": "that is the factor 0.71: half the power, not the amplitude.",
            "-50 dB": "decibels count factors of ten, not percent.",
            "-6.0 dB": None,
        },
    ),
    Question(
        "Why does `play` not bring every sound to the same level?",
        {
            "a player that changes levels would hide what is being compared": None,
            "it would take too long": "one division takes no time.",
            "a sound cannot be made louder": "any sample can be multiplied.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="setup.settings",
        notebook="00",
        question="""
            Three settings of a model went wrong on their way into this dict:
            `{"sample_rate": 44.1, "stems": "vocals, drums, bass, other",
            "segment": 352800}`. Write them as this package does: the sample rate in Hz,
            the stems as a tuple of names in the same order, the segment in seconds.
            """,
        answer="settings",
        starter_source="""
            settings = {
                "sample_rate": ...,  # Hz
                "stems": ...,  # a tuple of names
                "segment": ...,  # seconds
            }
            """,
        solution_source=_SETTINGS,
        verify=_verify_settings,
        hints=(
            "A kilohertz is a thousand hertz. Seconds are samples / sample_rate.",
            'A tuple of two names is `("dizi", "pipa")`. 352800 / 44100 = 8.',
        ),
        noticed="Names here carry their unit: `segment` is always in seconds, "
        "`hop_length` and its kin are always in samples.",
        wrong_answers=(
            (_SETTINGS.replace("44100,", "44.1,"), "44.1 kHz is 44100, not 44.1"),
            (
                _SETTINGS.replace("44100,", '"44100",'),
                "sample_rate should be one number",
            ),
            (_SETTINGS.replace('s", "', "s, "), "a tuple of names"),
            (_SETTINGS.replace('"drums", "bass"', '"bass", "drums"'), "in this order"),
            (_SETTINGS.replace("8.0", "352800"), "samples at 44100 Hz are not 352800"),
            (_SETTINGS.replace("segment", "length"), "a dict with the keys"),
        ),
    ),
    Exercise(
        id="setup.safe_gain",
        notebook="00",
        question="""
            Write `safe_gain(audio)`: the number to multiply a sound with so that its
            peak is at most -1 dBFS. A sound that is too loud comes down to exactly
            -1 dBFS. A sound that is safe already keeps the gain 1; so does silence.
            """,
        answer="safe_gain",
        starter_source="""
            def safe_gain(audio):
                return ...  # your code here
            """,
        solution_source=_SAFE_GAIN,
        verify=_verify_safe_gain,
        hints=(
            "The peak is `audio.abs().max()`: samples go below zero too.",
            "-1 dBFS is the factor `10 ** (-1 / 20)`, about 0.891. Divide it by the "
            "peak.",
            "A gain above 1 would make a safe sound louder: `min(1.0, …)`. Silence has "
            "the peak 0, by which nothing can be divided.",
        ),
        noticed="The decibel left below full scale is headroom: an mp3 encoder or a "
        "resampler can raise a peak a little.",
        wrong_answers=(
            (_SAFE_GAIN.replace("-1 / 20", "0"), "above -1 dBFS"),
            (_SAFE_GAIN.replace(".abs()", ""), "a sound of peak -1.6 is 1.000"),
            (_SAFE_GAIN.replace("min(1.0, ", "max(0.0, "), "leave it at 1"),
            (_SAFE_GAIN.replace("-1 / 20", "-1 / 10"), "below -1 dBFS"),
            (_NO_QUESTION_ASKED, "the gain for silence is nan"),
            (_SAFE_GAIN.replace("return", "return audio *"), "one number, not Tensor"),
            (_SAFE_GAIN.replace("audio.abs()", "audio.abs_()"), "not change the audio"),
        ),
    ),
    make_quiz("setup.quiz", "00", _QUESTIONS),
)
