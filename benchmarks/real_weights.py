"""The published HTDemucs in mssedu and in demucs 4.1.0: same weights, same scores?

    python benchmarks/real_weights.py --weights WEIGHTS --data MUSDB18-7S [--tracks N]

separates the CC0 test song of data/ and test clips of MUSDB18-7s with both, on the CPU,
in chunks of 7.8 s with an overlap of 0.25 and no shifts, and prints a Markdown table of
the mean usdr. Needs demucs==4.1.0 (extra: parity). The weights are a state dict in
safetensors or the published .th; they are for research only and no part of mssedu.
"""

import argparse
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import torch
from torch import Tensor, nn

import mssedu
from mssedu.data.track import Track
from mssedu.metrics.ratios import usdr
from mssedu.weights.foreign import read_weights
from mssedu.weights.loading import load_model

PUBLISHED = {"bottom_channels": 512, "t_layers": 5, "dconv_mode": 3}
OVERLAP = 0.25
Separate = Callable[[Tensor], Tensor]  # (channels, samples) -> (stems, …)


def original(weights: Path, stems: tuple[str, ...]) -> Separate:
    """How demucs 4.1.0 separates."""
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    model = HTDemucs(list(stems), segment=Fraction(39, 5), **PUBLISHED)
    model.load_state_dict(read_weights(weights).state)

    def separate(mixture: Tensor) -> Tensor:
        options = {"shifts": 0, "split": True, "overlap": OVERLAP}
        return apply_model(model.eval(), mixture[None], **options)[0]

    return separate


def compare(model: nn.Module, theirs: Separate, tracks: list[Track]) -> dict[str, list]:
    """Scores of both, and the largest difference between them, for each track."""
    rows: dict[str, list] = {"mssedu": [], "demucs 4.1.0": [], "difference": []}
    for track in tracks:
        mixture = track.mixture()
        reference = torch.stack([track.stem(stem) for stem in model.config.stems])
        ours = mssedu.separate(model, mixture, overlap=OVERLAP)
        with torch.no_grad():
            estimates = {"mssedu": ours, "demucs 4.1.0": theirs(mixture)}
        for name, estimate in estimates.items():
            rows[name].append(usdr(reference=reference, estimate=estimate))
        rows["difference"].append((ours - estimates["demucs 4.1.0"]).abs().max())
    return rows


def table(title: str, stems: tuple[str, ...], rows: dict[str, list]) -> str:
    """Mean usdr in dB, a row each, in Markdown."""
    means = {name: torch.stack(rows[name]).nanmean(0) for name in [*rows][:2]}
    gap = (means["mssedu"] - means["demucs 4.1.0"]).abs()
    by_track = (
        (torch.stack(rows["mssedu"]) - torch.stack(rows["demucs 4.1.0"]))
        .abs()
        .nan_to_num()
    )
    lines = [[title, *stems, "mean"], ["---", *["---:"] * (len(stems) + 1)]]
    for name, mean in means.items():
        lines.append([name, *(f"{x:.3f}" for x in [*mean, mean.mean()])])
    lines.append(["gap of the means", *(f"{x:.4f}" for x in [*gap, gap.mean()])])
    lines.append(
        ["largest gap of a track", *(f"{x:.4f}" for x in by_track.amax(0)), ""]
    )
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    largest = max(rows["difference"])
    return (
        f"{text}\n\nLargest difference of a sample: {largest:.2e} (full scale is 1).\n"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="MUSDB18-7s")
    parser.add_argument("--tracks", type=int, default=50)
    given = parser.parse_args()
    model = load_model("htdemucs", weights=given.weights)
    stems = model.config.stems
    theirs = original(given.weights, stems)
    songs = mssedu.load_dataset(Path(__file__).parents[1] / "data", "test", stems=stems)
    clips = mssedu.load_dataset(given.data, "test", stems=stems)[: given.tracks]
    sets = {f"usdr, dB: {songs[0].name}": songs}
    if clips:
        sets[f"usdr, dB: {len(clips)} MUSDB18-7s clips"] = clips
    for title, tracks in sets.items():
        print(table(title, stems, compare(model, theirs, tracks)), flush=True)


if __name__ == "__main__":
    main()
