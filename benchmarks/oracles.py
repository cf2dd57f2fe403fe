"""What ideal masks reach on real music, beside the published HTDemucs.

    python benchmarks/oracles.py --data MUSDB18-7S --weights FILE

scores silence, the mixture, HTDemucs, the ideal binary and ratio mask and the true
multichannel Wiener filter on the test clips of MUSDB18's 7-second preview, by three
definitions. Rewrites its section of RESULTS.md, and oracles.csv: the scores of each
clip, for notebook 04. Needs MUSDB18 (education and research only) and the weights (a
state dict in safetensors or the published .th); neither is part of mssedu.
"""

import argparse
import csv
import os
import time
from pathlib import Path

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import torch
from results import processor, write_section

import mssedu
from mssedu.evaluation.result import Evaluation
from mssedu.reports.tables import render

HERE = Path(__file__).parent
ROWS = ("silence", "mixture", "model", "ibm", "irm", "mwf")
METRICS = {"usdr": "mean of tracks", "csdr": "median of tracks"}
METRICS["si_sdr"] = "mean of tracks"  # each as it is customary


def score(data: Path, weights: Path, folder: Path | None) -> Evaluation:
    """All rows of all test clips; goes on where an earlier run in `folder` stopped."""
    model = mssedu.load_model("htdemucs", weights=weights)
    clips = mssedu.load_dataset(data, "test", stems=model.config.stems)

    def say(done: int, total: int, name: str) -> None:
        print(f"{done} of {total}  {name}", flush=True)

    return mssedu.evaluate(
        model, clips, metrics=list(METRICS), rows=ROWS, folder=folder, progress=say
    )


def section(found: Evaluation, command: str) -> str:
    """Tables in Markdown, and what they were made with."""
    seconds = sorted(track.seconds for track in found.tracks.values())
    middle = seconds[len(seconds) // 2]
    parts = [
        "## Ideal masks and HTDemucs on real music",
        f"`{command}`, {machine()}, torch {torch.__version__}, "
        f"{time.strftime('%Y-%m-%d')}: {len(seconds)} test clips of MUSDB18's preview "
        f"(excerpts of {middle:.1f} s, AAC). The row model is the published htdemucs "
        "(float16 weights, overlap 0.25, no shifts).",
    ]
    for metric, aggregation in METRICS.items():
        table = found.table(metric, [aggregation])
        parts.append(render(table, "markdown").strip())
        parts.append(found.note(metric))
    return "\n\n".join(parts)


def machine() -> str:
    """The processor, and the threads that torch uses."""
    n_threads = torch.get_num_threads()
    return f"{processor()}, {n_threads} thread{'s' if n_threads > 1 else ''}"


def write_scores(found: Evaluation) -> None:
    """A line for each clip, stem and metric, a column for each row."""
    with (HERE / "oracles.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("clip", "stem", "metric", *ROWS))
        for name in found.tracks:
            for metric in METRICS:
                scores = found.of_track(name, metric)
                for stem in found.stems:
                    values = [scores[row][stem] for row in ROWS]
                    cells = ["–" if x is None else f"{x:.2f}" for x in values]
                    writer.writerow((name, stem, metric, *cells))


def main() -> None:
    """Score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="MUSDB18's preview")
    parser.add_argument("--weights", type=Path, required=True, help="of htdemucs")
    parser.add_argument("--save", type=Path, help="folder, to go on if interrupted")
    given = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS")
    command = f"OMP_NUM_THREADS={threads} " if threads else ""
    command += "python benchmarks/oracles.py --data MUSDB18-7S --weights FILE"
    found = score(given.data, given.weights, given.save)
    text = section(found, command)
    write_section("oracles", text)
    write_scores(found)
    print(text)


if __name__ == "__main__":
    main()
