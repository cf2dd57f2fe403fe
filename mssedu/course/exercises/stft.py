"""Exercises on the STFT: counting frames, overlap-add, the hop that breaks it."""

import torch

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.spectral import stft


def frame_count(n_samples, n_fft, hop_length, centered):
    """Write `frame_count(n_samples, n_fft, hop_length, centered)`, the number of frames
    of an STFT.

    - If `centered`, frames have their middle on the samples 0, hop_length, 2 ·
      hop_length, …, up to `n_samples`. How many are there?
    - Otherwise the first frame begins at sample 0, the next one at hop_length, and so
      on; every frame must lie inside the sound. How many are there?
    """
    if centered:
        return n_samples // hop_length + 1
    if n_samples < n_fft:
        return 0
    return (n_samples - n_fft) // hop_length + 1


@checks(
    frame_count,
    hints=(
        "Count the hops that fit, then add the frame at the start.",
        "Without centering, no frame begins after `n_samples - n_fft`.",
    ),
    noticed="A centered STFT has at least one frame, however short the sound is.",
    wrong=(
        ("+ 1", "", "hop 1024 should be 44, not 43"),
        ("n_samples //", "-1 - -n_samples //", "5, not 4"),
        ("(n_samples - n_fft)", "n_samples", "inside 44100"),
        ("return 0", "return 1", "should be 0, not 1"),
        ("//", "/", "should be 44, not 44.06"),
    ),
    varied=lambda draw: (
        draw.randint(1, 50_000),
        1024 * draw.randint(1, 4),
        draw.randint(100, 256),
        draw.random() < 0.5,
    ),
)
def _verify_frame_count(answer) -> None:
    for n_samples, n_fft, hop_length, *wanted in (
        (44100, 4096, 1024, 44, 40),  # centered, inside
        (4096, 4096, 1024, 5, 1),
        (1000, 1000, 250, 5, 1),
        (44099, 2048, 441, 100, 96),
        (99, 2048, 512, 1, 0),
    ):
        case = f"{n_samples} samples, n_fft {n_fft}, hop {hop_length}"
        for centered, right in zip((True, False), wanted, strict=True):
            got = answer(n_samples, n_fft, hop_length, centered)
            kind = "centered frames of" if centered else "frames inside"
            text = f"{kind} {case} should be {right}, not {got}."
            expect.close(expect.number(got, "the number of frames"), right, text)


def overlap_add(frames, window, hop_length, length):
    """Write `overlap_add(frames, window, hop_length, length)`, the last step of the
    inverse. `frames` (frames, n_fft) were windowed once, by any `window`, and then
    perhaps changed by a mask. Frame m begins n_fft // 2 samples before sample m ·
    hop_length. Window each frame a second time, add all frames, divide by the sum of
    the squared windows, and return the `length` samples of the sound.
    """
    n_fft = len(window)
    n_samples = (len(frames) - 1) * hop_length + n_fft
    total, weight = torch.zeros(n_samples), torch.zeros(n_samples)
    for index, frame in enumerate(frames):
        here = slice(index * hop_length, index * hop_length + n_fft)
        total[here] += window * frame
        weight[here] += window * window
    first = n_fft // 2
    result = total / weight.clamp_min(1e-8)
    return result[first : first + length]


_ONE_WINDOW = """
    def overlap_add(frames, window, hop_length, length):
        n_fft = len(window)
        n_samples = (len(frames) - 1) * hop_length + n_fft
        total, weight = torch.zeros(n_samples), torch.zeros(n_samples)
        for index, frame in enumerate(frames):
            here = slice(index * hop_length, index * hop_length + n_fft)
            total[here] += frame
            weight[here] += window
        return (total / weight.clamp_min(1e-8))[n_fft // 2 :][:length]
    """


@checks(
    overlap_add,
    hints=(
        "`total` and `weight` need `(len(frames) - 1) * hop_length + n_fft` zeros.",
        "Add `window * frame` to `total`, and `window * window` to `weight`.",
        "Divide (`clamp_min` avoids 0 / 0), and drop n_fft // 2 samples in front.",
    ),
    noticed="It works with every hop at which each sample has a weight above zero.",
    wrong=(
        ("+= window * frame", "+= frame", "squared windows"),
        ("total / weight.clamp_min(1e-8)", "total", "divide each"),
        ("window * window", "window", "squared windows"),
        ("first = n_fft // 2", "first = 0", "drop the first"),
        ("[first : first + length]", "", "the shape (1000,)"),
        (
            "len(window)",
            "len(window)\n    window = torch.hann_window(n_fft)",
            "argument",
        ),
        (_ONE_WINDOW, "a second time"),
    ),
)
def _verify_overlap_add(answer) -> None:
    cases = ((1000, 64, 16), (1000, 64, 32), (999, 128, 24))
    for n_samples, n_fft, hop_length in cases:
        audio = expect.noise(n_samples)
        spectrogram = stft(audio, n_fft, hop_length)
        frames = torch.fft.irfft(spectrogram.T)  # (frames, n_fft), windowed once
        result = answer(frames, torch.hann_window(n_fft), hop_length, n_samples)
        case = f"n_fft {n_fft}, hop {hop_length}"
        expect.tensor(result, (n_samples,), f"the result for {case}")
        late = torch.nn.functional.pad(audio, (n_fft // 2, 0))[:n_samples]
        text = f"drop the first n_fft // 2 samples, which precede the sound ({case})."
        expect.that((result - late).abs().max() > 1e-3, text)
        text = f"divide each sample by the sum of its squared windows ({case})."
        expect.close(result, audio, text, tolerance=1e-4)
    for name, window in _WINDOWS.items():
        frames = window * expect.noise(40, len(window), seed=1)
        result = answer(frames, window, 12, 450)
        text = f"use the argument `window`, here {name}, and not a window of your own: "
        text += "apply it a second time, and divide by the sum of its squares."
        wanted = overlap_add(frames, window, 12, 450)
        expect.close(result, wanted, text, tolerance=1e-3)


_WINDOWS = {
    "the Hann window": torch.hann_window(64),
    "the Hamming window": torch.hamming_window(64),
    "a window of ones": torch.ones(64),
    "the sine window": torch.hann_window(64).sqrt(),
}


def breaking_hop(window, tolerance):
    """Overlapping windows add up to a constant if the hop is small enough. Write
    `breaking_hop(window, tolerance)`. It returns the smallest hop at which the sum
    varies, from its lowest to its highest value, by more than `tolerance` times its
    mean. Use the middle of a long sound, where the sum repeats with every hop.
    """
    for hop_length in range(1, len(window) + 1):
        total = torch.zeros(hop_length)
        for index, value in enumerate(window):
            total[index % hop_length] += value
        if total.max() - total.min() > tolerance * total.mean():
            return hop_length


@checks(
    breaking_hop,
    hints=(
        "Sample n is the sum of the window's values at n, n + hop, n + 2 · hop, …",
        "Fold the window to one hop: `total[index % hop_length] += value`.",
    ),
    noticed="The window of ones fails first: smooth edges allow more hops.",
    wrong=(
        ("+= value", "+= value**2", "from hop 14 on, not from hop 18"),
        ("* total.mean()", "", "14 on, not from hop 10"),
        ("return hop_length", "return hop_length - 1", "hop 13"),
        ("min() > tolerance", "min() >= tolerance", "from hop 3 on, not from hop 2"),
    ),
    varied=lambda draw: (
        torch.kaiser_window(draw.randint(20, 60), True, draw.uniform(3, 9)),
        draw.choice([0.02, 0.05]),
    ),
)
def _verify_breaking_hop(answer) -> None:
    cases = [
        (*item, tolerance) for tolerance in (0.01, 0.1) for item in _WINDOWS.items()
    ]
    # at hop 2 the sum is 5, 3, 5, 3, …: it varies by exactly half of its mean
    cases.append(("the window 1, 3, 4", torch.tensor([1.0, 3.0, 4.0]), 0.5))
    for name, window, tolerance in cases:
        wanted = breaking_hop(window, tolerance)
        got = expect.number(answer(window, tolerance), "the hop")
        text = f"{name} varies by more than {tolerance:g} from hop {wanted} on"
        expect.close(got, wanted, f"{text}, not from hop {got}.")
