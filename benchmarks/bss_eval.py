"""How long BSS Eval v4 takes, ours and museval's, on the same music in one run.

    python benchmarks/bss_eval.py                   four minutes, four stereo stems
    python benchmarks/bss_eval.py --seconds 60
    python benchmarks/bss_eval.py --device cuda     ours on a graphics card

Ours runs before and after museval, so that a machine that slows down is seen. Processor
seconds add up over cores, and tell the work done on a machine that others use as well.
The music is a CC0 song of data/, repeated to length, with the dither of a CD, so that
no frame is silent: museval skips those. The estimate is what an ideal ratio mask makes
of it. Memory is what the process grows by, at most. Rewrites its section of RESULTS.md.
"""

import argparse
import os
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import numpy as np
import torch
from museval.metrics import bss_eval as museval_bss_eval
from results import processor, write_section

import mssedu
from mssedu.data.loading import demo_data
from mssedu.masks import apply_mask, ideal_ratio_mask
from mssedu.metrics.bss import bss_eval
from mssedu.spectral import istft, stft

RATE = 44100
NAMES = ("sdr", "isr", "sir", "sar")


def music(seconds: float) -> torch.Tensor:
    """(stems, channels, samples) of Lithium, over and over, dithered to 16 bit."""
    sources = mssedu.load_track(demo_data() / "train" / "Lithium").sources()
    samples = round(seconds * RATE)
    repeated = sources.repeat(1, 1, -(-samples // sources.shape[-1]))[..., :samples]
    generator = torch.Generator().manual_seed(0)
    dither = torch.rand(repeated.shape, generator=generator) - 0.5
    dither += torch.rand(repeated.shape, generator=generator) - 0.5
    return ((repeated * 32767 + dither).round_() / 32767).contiguous()


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


def now_gb() -> float:
    """Memory of this process at this moment (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e9


def run_ours(references: torch.Tensor, estimates: torch.Tensor) -> np.ndarray:
    """Scores (4, stems, frames)."""
    scores = bss_eval(references=references, estimates=estimates, window_length=RATE)
    return torch.stack([getattr(scores, name) for name in NAMES]).cpu().numpy()


def run_museval(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Scores (4, stems, frames)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        *scores, _ = museval_bss_eval(references, estimates, window=RATE, hop=RATE)
    return np.stack(scores)


def measured(name: str, run: Callable, *signals: Any) -> tuple[np.ndarray, float, str]:
    """What `run` returns, its seconds, and a row of the table."""
    memory, wall, work = now_gb(), time.perf_counter(), time.process_time()
    scores = run(*signals)
    wall, work = time.perf_counter() - wall, time.process_time() - work
    row = f"| {name} | {wall:.1f} | {work:.1f} | {peak_gb() - memory:.2f} |"
    return scores, wall, row


def machine(device: str) -> str:
    """Processor, cores that torch uses, graphics card."""
    text = f"{processor()}, {torch.get_num_threads()} threads"
    return text if device == "cpu" else f"{text}; {torch.cuda.get_device_name()}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    references = music(options.seconds)
    estimates = ideal_estimate(references)
    shown = references.to(options.device), estimates.to(options.device)
    ours, before, first = measured("mssedu, before", run_ours, *shown)
    signals = [audio.mT.double().numpy() for audio in (references, estimates)]
    theirs, between, second = measured("museval", run_museval, *signals)
    _, after, third = measured("mssedu, after", run_ours, *shown)
    assert np.isfinite(theirs).all(), "a silent frame: museval would have skipped it"
    gaps = np.abs(ours - theirs).reshape(4, -1).max(1)
    policy = os.environ.get("OMP_WAIT_POLICY")
    command = f"OMP_WAIT_POLICY={policy} " if policy else ""
    command += f"python benchmarks/bss_eval.py --seconds {options.seconds:g}"
    text = f"""## BSS Eval v4: mssedu and museval 0.4.1

`{command} --device {options.device}`, {machine(options.device)}, load average
{os.getloadavg()[2]:.1f}, {time.strftime("%Y-%m-%d")}:
{options.seconds:g} s, four stereo stems, frames of 1 s.

| | seconds | processor seconds | memory, GB |
| --- | ---: | ---: | ---: |
{first}
{second}
{third.rsplit("|", 2)[0]}| |

{2 * between / (before + after):.0f} times as fast. Largest difference in any frame, dB:
{", ".join(f"{n} {g:.0e}" for n, g in zip(NAMES, gaps, strict=True))}."""
    write_section("bss_eval", text)
    print(text)


if __name__ == "__main__":
    main()
