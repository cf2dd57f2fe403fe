r"""What quantization noise in training saves when weights are rounded to few bits.

    python benchmarks/noise.py --data MUSDB18-7S [--steps 200] [--seeds 3]

The model of the repository is trained for some more steps, with the noise of a rounding
to 2 bits and without it: the same examples, the same settings, several seeds. Then the
weights of all runs, and those of the model as it was, are rounded to few bits and
scored on the 25 test excerpts of the hour race. The songs for training are those of the
race. Settings were not searched.

Scores are written to the folder --out run by run, and a second call goes on from there:
remove it after a change of mssedu. At the end, a section of RESULTS.md is rewritten.
The songs are for research only and no part of mssedu.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import pandas as pd
import torch
from export import command
from results import processor, write_section
from torch import nn

from mssedu.data.track import Track
from mssedu.evaluation.statistics import bootstrap_interval
from mssedu.metrics.ratios import usdr
from mssedu.models.contract import eval_mode
from mssedu.training import TrainConfig, fit
from mssedu.training.noise import LEAST, quantized
from mssedu.training.race import SONGS, race_songs
from mssedu.weights import load_checkpoint, load_model
from mssedu.weights.published import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
OUT = Path(tempfile.gettempdir(), "mssedu-noise")
NOISE = 2  # bits
BITS = (32, 4, 3, 2)  # 32: not rounded
KINDS = {"none": "as it was", "plain": "more steps", "noisy": f"noise of {NOISE} bits"}
RATE = 3e-4  # a third of that of the race, as the weights are trained already


def trained(
    kind: str, seed: int, steps: int, songs: list[Track], out: Path
) -> nn.Module:
    """The model of a row; a run that was stopped goes on."""
    model = load_model(SHIPPED)
    if kind == "none":
        return model
    config = TrainConfig(
        model="mel_band_roformer",
        preset="tiny",
        steps=steps,
        segment=3.0,
        loss=("thresholded_snr",),
        learning_rate=RATE,
        schedule="cosine",
        warmup_steps=min(20, steps),
        noise_bits=NOISE if kind == "noisy" else 0,
        seed=seed,
        device="cpu",
    )
    run_dir = out / f"{kind}-{seed}-{steps}"
    done = fit(model, songs, None, config, run_dir, resume="auto", log=print)
    return load_checkpoint(done.checkpoint)


@torch.no_grad()
def rounded(model: nn.Module, bits: int) -> nn.Module:
    """A copy of the model with weights of so many bits; small tensors stay exact."""
    model = copy.deepcopy(model)
    for weight in model.parameters() if bits < 32 else ():
        if weight.numel() >= LEAST:
            weight.copy_(quantized(weight, bits))
    return model


@torch.no_grad()
def score(model: nn.Module, tracks: Sequence[Track]) -> list[float]:
    """usdr of each excerpt, the mean of its stems that are not silent, dB."""
    found = []
    with eval_mode(model):
        for track in tracks:
            reference = track.sources()
            estimate = model(track.mixture()[None])[0]
            values = usdr(reference=reference, estimate=estimate)
            found.append(float(values[reference.flatten(1).any(1)].mean()))
    return found


def measure(options: argparse.Namespace) -> pd.DataFrame:
    """usdr in dB: a row for each kind, seed and excerpt, a column for each of BITS."""
    songs = race_songs(ROOT / "recipes" / "races" / SONGS, options.data)
    stems = load_model(SHIPPED).config.stems
    train, test = (
        [track.with_stems(stems).in_memory() for track in tracks]
        for tracks in (songs.train, songs.test)
    )
    runs = [("none", 0)]
    runs += [(kind, seed) for seed in range(options.seeds) for kind in list(KINDS)[1:]]
    for kind, seed in runs:
        path = options.out / f"{kind}-{seed}-{options.steps}.csv"
        if not path.exists():
            model = trained(kind, seed, options.steps, train, options.out)
            scores = {bits: score(rounded(model, bits), test) for bits in BITS}
            found = pd.DataFrame(scores, index=[track.name for track in test])
            found.rename_axis("song").to_csv(path)
            print(f"{path.stem}: {found.mean().round(3).to_dict()}", flush=True)
    tables = {
        run: pd.read_csv(options.out / "{}-{}-{}.csv".format(*run, options.steps))
        for run in runs
    }
    rows = pd.concat(tables, names=["kind", "seed"]).set_index("song", append=True)
    return rows.droplevel(2).rename(columns=int)


# ---- the page -----------------------------------------------------------------------


def table(scores: pd.DataFrame) -> list[str]:
    """The mean over songs and seeds of each kind and number of bits, in Markdown."""
    heads = ["usdr, dB", "not rounded", *(f"{bits} bits" for bits in BITS[1:])]
    lines = [f"| {' | '.join(heads)} |", "| ---" + " | ---:" * len(BITS) + " |"]
    means = scores.groupby("kind").mean()
    for kind, text in KINDS.items():
        cells = [f"{means.loc[kind, bits]:.3f}" for bits in BITS]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return lines


def verdict(scores: pd.DataFrame) -> str:
    """What the noise changes at each number of bits, paired by song and seed."""
    change = scores.loc["noisy"] - scores.loc["plain"]
    by_song, by_seed = change.groupby("song").mean(), change.groupby("seed").mean()
    sentences = []
    for bits in BITS:
        low, high = bootstrap_interval(by_song[bits].tolist())
        seeds = by_seed[bits]
        sentences.append(
            f"{f'at {bits} bits' if bits < 32 else 'not rounded'} {seeds.mean():+.3f} "
            f"dB (95 % over songs {low:+.3f} … {high:+.3f}; seeds from "
            f"{seeds.min():+.3f} to {seeds.max():+.3f})"
        )
    return f"Noise against as many steps without it: {'; '.join(sentences)}."


def section(scores: pd.DataFrame, options: argparse.Namespace) -> str:
    """The text of the section of RESULTS.md."""
    machine = f"{processor()}, 1 thread, torch {torch.__version__}"
    lines = [
        "## Noise in training, for weights of few bits",
        "",
        f"`{command('noise')}`,",
        f"{machine}, {time.strftime('%Y-%m-%d')}:",
        f"the model of the repository, {options.steps} more steps with a step size of",
        f"{RATE:g}, {options.seeds} seeds. Mean usdr of the 25 test excerpts of the",
        "hour race, of each the mean of its stems that are not silent. Groups of 8",
        "weights share a scale and an offset; tensors of fewer than",
        f"{LEAST} numbers stay exact.",
        "",
        *table(scores),
        "",
        verdict(scores),
    ]
    return "\n".join(lines)


def main() -> None:
    """Train and score what is missing, then write the section."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="MUSDB18's preview")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder; else {OUT}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    text = section(measure(options), options)
    write_section("noise", text)
    print(text)


if __name__ == "__main__":
    main()
