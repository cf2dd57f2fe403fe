"""How long a training step takes: ours, and that of the packages our models come from.

    python benchmarks/training.py                              about four minutes
    python benchmarks/training.py --models open_unmix --steps 8 --bfloat16

A step separates a batch, computes loss and gradient, and lets Adam change the weights;
data is noise that is already there. Both sides begin with the same weights and take
turns, one step each, so that a busy moment of the machine meets both. The ratio of a
round is the original's time over ours; the table has the median of the rounds. The
processor time hardly depends on what else the machine does.

The steps of the originals are written out here, as demucs.solver needs packages of its
own and scripts/train.py is not in the package openunmix. open-unmix trains one network
a run, so its step is the four steps of its four stems. benchmarks/gpu.py runs the same
steps on a graphics card. Rewrites its section of RESULTS.md. Needs demucs==4.1.0 and
openunmix==1.3.0 (extra: parity).
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import torch
import torch.nn.functional as F
from results import processor, write_section
from torch import Tensor, nn

from mssedu.models.contract import config_of
from mssedu.models.registry import create_model
from mssedu.separation.fast import reuse_memory
from mssedu.training.config import TrainConfig
from mssedu.training.objective import create_loss
from mssedu.training.optimizers import create_optimizer
from mssedu.training.step import train_step

PEERS = {
    "htdemucs": "demucs 4.1.0",
    "hdemucs": "demucs 4.1.0",
    "open_unmix": "openunmix 1.3.0",
}
# Models that take a moment, for a test of the benchmarks; with an overlap of 0.25, both
# sides of a separation place chunks of 0.12 s alike: 3969 samples apart.
TINY: dict[str, dict[str, Any]] = {
    "htdemucs": {
        "segment": 0.12,
        "n_fft": 1024,
        "width": 8,
        "depth": 2,
        "dconv_compress": 4,
        "bottom_channels": 24,
        "t_layers": 2,
        "t_heads": 2,
    },
    "hdemucs": {
        "segment": 0.12,
        "n_fft": 64,
        "width": 8,
        "depth": 2,
        "norm_starts": 1,
        "context_starts": 1,
        "dconv_depth": 1,
    },
    "open_unmix": {"segment": 0.7, "n_fft": 1024, "hop_length": 256, "hidden": 16},
}
LEARNING_RATE = 3e-4
Step = Callable[[Tensor], float]  # (batch, stems, channels, samples) -> loss
Clock = tuple[float, float]  # seconds by the clock, and of this process on all cores


# ---- the two sides ------------------------------------------------------------------


def our_model(name: str, **changes: Any) -> nn.Module:
    """With the same random weights in every call."""
    torch.manual_seed(0)
    return create_model(name, "paper", **changes)


def peer_model(name: str, ours: nn.Module) -> nn.Module:
    """The original in our configuration, with a copy of our weights."""
    config, stems = ours.config, list(ours.config.stems)
    if name == "open_unmix":
        from openunmix.model import OpenUnmix

        model = nn.ModuleList(
            OpenUnmix(
                config.bins, config.channels, config.hidden, max_bin=config.input_bins
            )
            for _ in stems
        )
        model.load_state_dict(ours.networks.state_dict())
        return model
    sizes = {
        "audio_channels": config.channels,
        "channels": config.width,
        "nfft": config.n_fft,
        "depth": config.depth,
        "dconv_depth": config.dconv_depth,
        "dconv_comp": config.dconv_compress,
    }
    if name == "hdemucs":
        from demucs.hdemucs import HDemucs

        model = HDemucs(
            stems,
            norm_starts=config.norm_starts,
            norm_groups=config.norm_groups,
            dconv_attn=config.context_starts,
            dconv_lstm=config.context_starts,
            **sizes,
        )
    else:
        from demucs.htdemucs import HTDemucs

        samples = round(config.segment * config.sample_rate)
        model = HTDemucs(
            stems,
            dconv_mode=config.dconv_mode,
            bottom_channels=config.bottom_channels,
            t_layers=config.t_layers,
            t_hidden_scale=config.t_hidden_scale,
            t_heads=config.t_heads,
            t_dropout=config.dropout,
            samplerate=config.sample_rate,
            segment=Fraction(samples, config.sample_rate),
            **sizes,
        )
    model.load_state_dict(ours.state_dict())
    return model


def our_step(name: str, model: nn.Module, precision: str = "float32") -> Step:
    """The step of mssedu.training, with the loss and optimizer of the original."""
    is_umx = name == "open_unmix"  # learns on magnitudes, with weight decay
    config = TrainConfig(
        model=name,
        precision=precision,
        learning_rate=LEARNING_RATE,
        loss=("magnitude_mse",) if is_umx else ("waveform_l1",),
        weight_decay=1e-5 if is_umx else 0.0,
        device="cpu",
    )
    optimizer = create_optimizer(model.train(), config)
    loss = create_loss(config, config_of(model))
    return lambda sources: float(train_step(model, sources, optimizer, config, loss))


def peer_step(name: str, model: nn.Module, ours: nn.Module) -> Step:
    """The step of the original, in float32 as its recipes are."""
    model.train()
    return (open_unmix_step if name == "open_unmix" else demucs_step)(model, ours)


def demucs_step(model: nn.Module, ours: nn.Module) -> Step:
    """As in demucs.solver: L1, equal weights, the gradient's norm for the log."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def step(sources: Tensor) -> float:
        estimate = model(sources.sum(dim=1))
        loss = F.l1_loss(estimate, sources, reduction="none").mean((2, 3)).mean(0)
        weights = torch.ones(len(loss)).to(sources)
        loss = (loss * weights).sum() / weights.sum()
        loss.backward()
        norm = 0
        for parameter in model.parameters():
            if parameter.grad is not None:
                norm += parameter.grad.data.norm() ** 2
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def open_unmix_step(model: nn.Module, ours: nn.Module) -> Step:
    """As in scripts/train.py of open-unmix: magnitudes, squared error, each stem."""
    from openunmix.model import ComplexNorm
    from openunmix.transforms import make_filterbanks

    config = ours.config
    stft, _ = make_filterbanks(
        n_fft=config.n_fft, n_hop=config.hop_length, sample_rate=config.sample_rate
    )
    encoder = nn.Sequential(stft, ComplexNorm(mono=config.channels == 1))
    encoder.to(next(model.parameters()).device)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-5)
        for network in model
    ]

    def step(sources: Tensor) -> float:
        mixture, total = sources.sum(dim=1), 0.0
        for index, (network, optimizer) in enumerate(
            zip(model, optimizers, strict=True)
        ):
            optimizer.zero_grad()
            estimate = network(encoder(mixture))
            reference = encoder(sources[:, index].contiguous())
            loss = F.mse_loss(estimate, reference)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(model)

    return step


# ---- measuring ----------------------------------------------------------------------


def noise(config: Any, batch: int, device: str = "cpu") -> Tensor:
    """The same sources in every call, a segment of the model each."""
    samples = round(config.segment * config.sample_rate)
    generator = torch.Generator().manual_seed(1)
    shape = (batch, len(config.stems), config.channels, samples)
    return (torch.randn(shape, generator=generator) / 10).to(device)


def clock(device: torch.device) -> Clock:
    """The time now, once the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time()


def race(
    sides: dict[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    seconds: float = float("inf"),
) -> dict[str, list[Clock]]:
    """The times of each side, round by round, until the seconds are over."""
    times: dict[str, list[Clock]] = {side: [] for side in sides}
    began = time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - began > seconds:
            break
        for side, work in sides.items():
            before = clock(device)
            work()
            after = clock(device)
            times[side].append((after[0] - before[0], after[1] - before[1]))
    return times


def ratios(times: dict[str, list[Clock]], side: str, peer: str) -> list[float]:
    """Median over the rounds of the peer's time over ours: clock, processors."""
    rounds = list(zip(times[peer], times[side], strict=True))
    return [
        statistics.median(theirs[index] / ours[index] for theirs, ours in rounds)
        for index in range(2)
    ]


def rows_of(name: str, options: argparse.Namespace) -> list[str]:
    """Rows of the table for one model."""
    changes = TINY[name] if options.tiny else {"segment": options.seconds}
    ours = our_model(name, **changes)
    sources = noise(ours.config, options.batch)
    peer = PEERS[name]
    steps = {peer: peer_step(name, peer_model(name, ours), ours)}
    for precision in ["float32"] + ["bfloat16"] * options.bfloat16:
        model = our_model(name, **changes)
        steps[f"mssedu, {precision}"] = our_step(name, model, precision)
    first = {}
    for side, step in steps.items():  # the first step warms up
        torch.manual_seed(0)  # of dropout
        first[side] = step(sources)
    works = {side: lambda step=step: step(sources) for side, step in steps.items()}
    times = race(works, options.steps, torch.device("cpu"))
    rows = []
    for side, spent in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*spent, strict=True))
        by_wall, by_cpu = ratios(times, side, peer)
        rows.append(
            f"| {name} | {side} | {wall:.2f} | {cpu:.2f} | {by_wall:.2f} "
            f"| {by_cpu:.2f} | {first[side]:.5f} |"
        )
        print(rows[-1], flush=True)
    return rows


def section(options: argparse.Namespace) -> str:
    """Measure everything; the text of the section."""
    load = os.getloadavg()[0]
    threads = torch.get_num_threads()
    words = " ".join(["python benchmarks/training.py", *sys.argv[1:]])
    rows = ["| model | side | seconds | CPU seconds | as fast | by CPU time | loss |"]
    rows.append("| --- | --- |" + 5 * " ---: |")
    for name in options.models:
        rows += rows_of(name, options)
    about = [
        "## A training step: mssedu and the packages its models come from",
        "",
        f"`{words}`,",
        f"{processor()}, {threads} thread{'s' * (threads > 1)}, torch",
        f"{torch.__version__}, {time.strftime('%Y-%m-%d')}, load average {load:.1f} at",
        f"the beginning. The size of the papers, batches of {options.batch} with",
        f"segments of {options.seconds:g} s of noise; medians of {options.steps} steps",
        "after one that warms up, and of the ratios of each round.",
        "",
    ]
    more = [
        "",
        "The loss is that of the first step: the mean absolute difference of samples",
        "for htdemucs and hdemucs, the mean squared difference of magnitudes for",
        "open_unmix. There the original takes a step for each of the four stems, and",
        "its frames lie inside the segment; ours takes one step, and has four frames",
        "more, as they are centered on the samples from the first to the last.",
    ]
    return "\n".join([*about, *rows, *more])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=PEERS, default=[*PEERS])
    parser.add_argument("--steps", type=int, default=3, help="of each side")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a segment")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--bfloat16", action="store_true", help="ours in it, too")
    parser.add_argument("--tiny", action="store_true", help="a test; writes nothing")
    options = parser.parse_args()
    reuse_memory()
    text = section(options)
    if not options.tiny:
        write_section("training", text)
    print(text)


if __name__ == "__main__":
    main()
