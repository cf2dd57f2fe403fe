"""Exercises on first steps: settings and their units, a safe gain."""

import math

import torch

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks


@checks(
    """
    settings = {
        "sample_rate": 44100,  # Hz
        "stems": ("vocals", "drums", "bass", "other"),
        "segment": 8.0,  # seconds: 352800 / 44100
    }
    """,
    hints=(
        "A kilohertz is a thousand hertz. Seconds are samples / sample_rate.",
        'A tuple of two names is `("dizi", "pipa")`. 352800 / 44100 = 8.',
    ),
    noticed="Each name has one unit: `segment` is always in seconds, `hop_length` "
    "and every other `*_length` in samples.",
    wrong=(
        ("44100,", "44.1,", "44.1 kHz is 44100, not 44.1"),
        ("44100,", '"44100",', "sample_rate should be one number"),
        ('s", "', "s, ", "a tuple of names"),
        ('"drums", "bass"', '"bass", "drums"', "in this order"),
        ("8.0", "352800", "samples at 44100 Hz are not 352800"),
        ("segment", "length", "a dict with the keys"),
    ),
    question="""
    In this dict, three settings of a model are wrong: `{"sample_rate": 44.1,
    "stems": "vocals, drums, bass, other", "segment": 352800}`. Write them as this
    package does: the sample rate in Hz, the stems as a tuple of names in the same
    order, the segment in seconds.
    """,
    starter="""
    settings = {
        "sample_rate": ...,  # Hz
        "stems": ...,  # a tuple of names
        "segment": ...,  # seconds
    }
    """,
)
def _verify_settings(answer) -> None:
    wanted = {"sample_rate", "stems", "segment"}
    listed = isinstance(answer, dict) and set(answer) == wanted
    expect.that(listed, f"settings should be a dict with the keys {sorted(wanted)}.")
    rate = expect.number(answer["sample_rate"], "sample_rate")
    segment = expect.number(answer["segment"], "segment")
    expect.that(rate == 44100, f"sample_rate is in Hz: 44.1 kHz is 44100, not {rate}.")
    stems = answer["stems"]
    several = isinstance(stems, tuple) and all(isinstance(stem, str) for stem in stems)
    expect.that(several, "stems should be a tuple of names: one string for each stem.")
    order = ("vocals", "drums", "bass", "other")
    expect.that(stems == order, f"stems should be {order}, in this order.")
    text = f"segment is in seconds: 352800 samples at 44100 Hz are not {segment}."
    expect.that(segment == 8, text)


_SOUNDS = {
    "a sound of peak 2.0": torch.tensor([[0.3, 2.0, -0.4], [0.1, 0.2, 0.3]]),
    "a sound of peak 0.95": torch.tensor([[0.95, -0.5], [0.1, 0.0]]),
    "a sound of peak -1.6": torch.tensor([[0.3, 0.5, -1.6], [0.1, 0.2, 0.3]]),
    "a sound of peak 0.5": torch.tensor([[0.5, -0.5], [0.1, 0.0]]),
    "silence": torch.zeros(2, 4),
}


def safe_gain(audio):
    """Write `safe_gain(audio)`. It returns the factor that brings the peak of a sound
    to -1 dBFS, if the sound is louder than that. For any other sound, and for silence,
    it returns 1.
    """
    loudest = 10 ** (-1 / 20)  # -1 dBFS as a factor
    peak = float(audio.abs().max())
    return min(1.0, loudest / peak) if peak > 0 else 1.0


@checks(
    safe_gain,
    hints=(
        "The peak is `audio.abs().max()`, because samples can be negative.",
        "-1 dBFS is the factor `10 ** (-1 / 20)`, about 0.891. Divide it by the peak.",
        "A gain above 1 would make a safe sound louder: use `min(1.0, …)`. Silence "
        "has the peak 0, and division by 0 is not possible.",
    ),
    noticed="The 1 dB is headroom: mp3 encoders and resamplers can raise a peak.",
    wrong=(
        ("-1 / 20", "0", "above -1 dBFS"),
        (".abs()", "", "a sound of peak -1.6 is 1.000"),
        ("if peak > 0", "if peak > 1", "a sound of peak 0.95 is 1.000"),
        ("min(1.0, ", "max(0.0, ", "its gain should be 1"),
        ("-1 / 20", "-1 / 10", "below -1 dBFS"),
        ("else 1.0", "else math.nan", "the gain for silence is nan"),
        ("return", "return audio *", "one number, not"),
        ("audio.abs()", "audio.abs_()", "changes its argument 1"),
    ),
    varied=lambda draw: (
        draw.choice([0.3, 2.5]) * expect.noise(2, draw.randint(9, 99)),
    ),
)
def _verify_safe_gain(answer) -> None:
    loudest = 10 ** (-1 / 20)
    for label, audio in _SOUNDS.items():
        gain, peak = expect.number(answer(audio), "the gain"), float(audio.abs().max())
        quiet = peak <= loudest
        text = f"the gain for {label} is {gain:.3f}"
        possible = math.isfinite(gain) and gain > 0
        expect.that(possible, f"{text}: it should be finite and above 0.")
        peak *= gain
        after = f"{text}: its peak becomes {20 * math.log10(peak or 1):.2f} dBFS"
        expect.that(peak <= loudest + 1e-4, f"{after}, above -1 dBFS.")
        if quiet:
            text += ": this sound is safe, so its gain should be 1."
            expect.close(gain, 1, text)
        else:
            expect.close(peak, loudest, f"{after}, below -1 dBFS.", tolerance=1e-4)
