"""Exercises on first steps: settings and their units, a safe gain."""

import math

import torch

from mssedu.course.exercises.kinds import Exercise, expect, expect_number


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
        text = "safe_gain should not change the audio that it gets."
        expect(audio.equal(before), text)
        gain, peak = float(gain), float(audio.abs().max())
        text = f"the gain for {label} is {gain:.3f}"
        possible = math.isfinite(gain) and gain > 0
        expect(possible, f"{text}: it should be finite and above 0.")
        quiet = peak <= loudest
        unchanged = not quiet or abs(gain - 1) < 1e-6
        peak_db = f"its peak becomes {20 * math.log10(gain * peak or 1):.2f} dBFS"
        expect(gain * peak <= loudest + 1e-4, f"{text}: {peak_db}, above -1 dBFS.")
        expect(unchanged, f"{text}: this sound is safe, so its gain should be 1.")
        exact = quiet or gain * peak > loudest - 1e-4
        expect(exact, f"{text}: {peak_db}, below -1 dBFS.")


_SOUNDS = {
    "a sound of peak 2.0": torch.tensor([[0.3, 2.0, -0.4], [0.1, 0.2, 0.3]]),
    "a sound of peak -1.6": torch.tensor([[0.3, 0.5, -1.6], [0.1, 0.2, 0.3]]),
    "a sound of peak 0.5": torch.tensor([[0.5, -0.5], [0.1, 0.0]]),
    "silence": torch.zeros(2, 4),
}

_WITHOUT_IF = """
    def safe_gain(audio):
        peak = audio.abs().max()
        return torch.minimum(10 ** (-1 / 20) / peak, peak / peak)
    """

EXERCISES = (
    Exercise(
        id="setup.settings",
        question="""
            In this dict, three settings of a model are wrong:
            `{"sample_rate": 44.1, "stems": "vocals, drums, bass, other",
            "segment": 352800}`. Write them as this package does: the sample rate in Hz,
            the stems as a tuple of names in the same order, the segment in seconds.
            """,
        solution_source="""
            settings = {
                "sample_rate": 44100,  # Hz
                "stems": ("vocals", "drums", "bass", "other"),
                "segment": 8.0,  # seconds: 352800 / 44100
            }
            """,
        verify=_verify_settings,
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
        starter_source="""
            settings = {
                "sample_rate": ...,  # Hz
                "stems": ...,  # a tuple of names
                "segment": ...,  # seconds
            }
            """,
    ),
    Exercise(
        id="setup.safe_gain",
        question="""
            Write `safe_gain(audio)`. It returns the factor that brings the peak of a
            sound to -1 dBFS, if the sound is louder than that. For any other sound, and
            for silence, it returns 1.
            """,
        solution_source="""
            def safe_gain(audio):
                loudest = 10 ** (-1 / 20)  # -1 dBFS as a factor
                peak = float(audio.abs().max())
                return min(1.0, loudest / peak) if peak > 0 else 1.0
            """,
        verify=_verify_safe_gain,
        hints=(
            "The peak is `audio.abs().max()`, because samples can be negative.",
            "-1 dBFS is the factor `10 ** (-1 / 20)`, about 0.891. Divide it by the "
            "peak.",
            "A gain above 1 would make a safe sound louder: use `min(1.0, …)`. Silence "
            "has the peak 0, and division by 0 is not possible.",
        ),
        noticed="The 1 dB below full scale is headroom: an mp3 encoder or a resampler "
        "can raise a peak a little.",
        wrong=(
            ("-1 / 20", "0", "above -1 dBFS"),
            (".abs()", "", "a sound of peak -1.6 is 1.000"),
            ("min(1.0, ", "max(0.0, ", "its gain should be 1"),
            ("-1 / 20", "-1 / 10", "below -1 dBFS"),
            (_WITHOUT_IF, "the gain for silence is nan"),
            ("return", "return audio *", "one number, not Tensor"),
            ("audio.abs()", "audio.abs_()", "not change the audio"),
        ),
    ),
)
