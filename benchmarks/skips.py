"""What the skips of a small U-Net are worth: two networks, three seeds, all excerpts.

    python benchmarks/skips.py     writes benchmarks/skips.csv, for notebook 06

Both networks have the same layers and weights; where one has a skip, the other gets the
picture from below twice. They learn drums and rest from the four training songs of
data/, and are scored on every ten seconds of the two other songs in which both stems
sound: louder than -60 dBFS. A row of the table has the seed, the network, the mean loss
of its last 30 steps, the excerpt, and the gain: usdr over that of the mixture, mean of
both stems, dB. Takes three minutes on a CPU.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mssedu as ms
from mssedu.models.spleeter import UNet

TABLE = Path(__file__).with_suffix(".csv")
GROUPS = {"drums": ["drums"], "rest": ["vocals", "bass", "other"]}
STEMS = tuple(GROUPS)
SIZES = {
    "n_fft": 4096,
    "hop_length": 2048,
    "bins": 512,
    "mask_extension": "average",
    "frames": 64,
    "filters": (8, 16, 32, 64, 64),
}
HEAD = ("seed", "network", "loss", "song", "start", "gain")
SECONDS = 10  # of an excerpt
QUIET = 1e-6  # mean square of -60 dBFS
LAST = 30  # steps whose loss is averaged


class NoSkips(UNet):
    """The same layers; each gets the picture from below in place of the skip."""

    def forward(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> logits of the same shape."""
        x = magnitude
        for level, convolution in enumerate(self.encoder):
            x = convolution(F.pad(x, (1, 2, 1, 2)))
            if level + 1 < len(self.encoder):
                x = F.elu(self.encoder_norms[level](x))
        for level, convolution in enumerate(self.decoder):
            x = convolution(torch.cat([x, x], dim=1) if level else x)
            x = self.decoder_norms[level](F.elu(x[..., :-1, :-1]))
        return self.output(x)


def build(seed: int, *, skips: bool) -> nn.Module:
    """A small Spleeter whose masks are one half at first."""
    torch.manual_seed(seed)
    model = ms.create_model("spleeter", "tiny", stems=STEMS, **SIZES)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 0.1
    for network in model.networks:
        nn.init.zeros_(network.output.weight)
        if not skips:
            network.__class__ = NoSkips
    return model


def train(model: nn.Module, songs: list, seed: int, steps: int) -> float:
    """Train in place; the mean loss of the last steps."""
    config = ms.training.TrainConfig(
        stems=STEMS,
        segment=model.config.segment,
        loss="thresholded_snr",
        learning_rate=1e-2,
        schedule="cosine",
        level_db=-25.0,
        gain_db=(-8.0, 8.0),
        steps=steps,
        batch_size=2,
        seed=seed,
        device="cpu",
    )
    losses: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        ms.fit(
            model,
            songs,
            None,
            config,
            folder,
            progress=lambda step, steps, loss, score: losses.append(loss),
        )
    recent = losses[-LAST:]
    return sum(recent) / len(recent)


def gains(model: nn.Module, songs: list) -> Iterator[tuple[str, int, float]]:
    """Song, first second and gain of each excerpt in which both stems sound."""
    for song in songs:
        estimate = ms.separate(model, song.mixture())
        for start in range(0, int(song.duration) - SECONDS + 1, SECONDS):
            piece = slice(
                start * song.sample_rate, (start + SECONDS) * song.sample_rate
            )
            true, mixture = song.sources()[..., piece], song.mixture()[..., piece]
            if true.square().mean((-2, -1)).min() < QUIET:
                continue
            score, before = (
                ms.metrics.usdr(reference=true, estimate=each).mean().item()
                for each in (estimate[..., piece], mixture.expand_as(true))
            )
            yield song.name, start, score - before


def main() -> None:
    """Train, score, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    dataset = ms.load_dataset(ms.data.demo_data())
    songs = [song.in_memory().with_stems(GROUPS) for song in dataset]
    lessons = [song for song in songs if song.split == "train"]
    tests = [song for song in songs if song.split != "train"]
    rows = []
    for seed in options.seeds:
        for network in ("with skips", "without"):
            model = build(seed, skips=network == "with skips")
            loss = train(model, lessons, seed, options.steps)
            for song, start, gain in gains(model, tests):
                rows.append((seed, network, f"{loss:.2f}", song, start, f"{gain:.2f}"))
            print(f"seed {seed}, {network}: loss {loss:.2f} dB", flush=True)
    with options.out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


if __name__ == "__main__":
    main()
