"""How long BSS Eval v4 takes, ours and museval's, on the same music in one run.

    python benchmarks/bss_eval.py                 four minutes, four stereo stems
    python benchmarks/bss_eval.py --seconds 30

The music is a CC0 song of data/, repeated to length, with the noise floor of a CD; the
estimate is what an ideal ratio mask makes of it. Memory is what the process grows by.
"""

import argparse
import platform
import resource
import time
import warnings

import torch
from museval.metrics import bss_eval as museval_bss_eval

import mssedu
from mssedu.bss_eval import bss_eval
from mssedu.datasets.layouts import demo_data
from mssedu.masks import apply_mask, ideal_ratio_mask
from mssedu.spectral import istft, stft

RATE = 44100


def music(seconds: float) -> torch.Tensor:
    """(stems, channels, samples) of Lithium, over and over, with noise of 16 bit."""
    sources = mssedu.load_track(demo_data() / "train" / "Lithium").sources()
    times = -(-round(seconds * RATE) // sources.shape[-1])
    repeated = sources.repeat(1, 1, times)[..., : round(seconds * RATE)]
    noise = torch.rand(repeated.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    return ((repeated * 32767 + noise).round() / 32767).contiguous()


def ideal_estimate(sources: torch.Tensor) -> torch.Tensor:
    """Ten seconds at a time, so that memory stays that of the evaluation."""
    parts = []
    for part in sources.split(10 * RATE, dim=-1):
        spectrograms = stft(part, 2048, 512)
        mask = ideal_ratio_mask(spectrograms, 2)
        masked = apply_mask(mask, spectrograms.sum(0))
        parts.append(istft(masked, 512, length=part.shape[-1]))
    return torch.cat(parts, dim=-1)


def peak_gb() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=240.0)
    seconds = parser.parse_args().seconds
    references = music(seconds)
    estimates = ideal_estimate(references)
    before, started = peak_gb(), time.perf_counter()
    ours = bss_eval(references=references, estimates=estimates, window_length=RATE)
    ours_seconds, grown = time.perf_counter() - started, peak_gb() - before
    signals = [audio.mT.double().numpy() for audio in (references, estimates)]
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        *theirs, _ = museval_bss_eval(*signals, window=RATE, hop=RATE)
    theirs_seconds = time.perf_counter() - started
    gaps = []
    scores = (ours.sdr, ours.isr, ours.sir, ours.sar)
    for got, want in zip(scores, theirs, strict=True):
        finite = torch.from_numpy(want).isfinite()
        gaps.append(float((got - torch.from_numpy(want))[finite].abs().max()))
    print(f"{seconds:.0f} s, 4 stereo stems, {platform.processor() or 'CPU'}, ", end="")
    print(f"{torch.get_num_threads()} threads, {time.strftime('%Y-%m-%d')}")
    print(f"museval {theirs_seconds:.1f} s, mssedu {ours_seconds:.1f} s: ", end="")
    print(f"{theirs_seconds / ours_seconds:.1f} times as fast; memory +{grown:.2f} GB")
    print("largest gap, dB: " + ", ".join(f"{gap:.1e}" for gap in gaps))


if __name__ == "__main__":
    main()
