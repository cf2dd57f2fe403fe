"""What one switch at a time changes in the score of the published HTDemucs.

    python benchmarks/error_budget.py --weights FILE --data MUSDB18-7S
        [--every 3] [--switches base sum mono context] [--save FOLDER]

A number of a paper is rarely met exactly. This measures what each difference between
the two measurements is worth: the test clips are scored once as customary, and once for
each switch, with nothing else changed. Two more switches, the context and the overlap,
need a longer song than such a clip: they are scored on pieces of the CC0 test song.
With MUSDB18-HQ as --data, the same switches are measured on whole songs.

Writes recipes/capstone/error_budget.csv (a line for each switch, song and stem) and
error_budget.json (command, machine, date, hashes) for notebook 17. The weights are for
research only and no part of mssedu, nor is MUSDB18.
"""

import argparse
import copy
import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import torch
from results import processor
from torch import Tensor, nn

import mssedu
from mssedu.audio.files import write_json
from mssedu.data.track import Track, data_sha256
from mssedu.evaluation.estimates import DEFAULTS
from mssedu.separation.config import SeparateConfig

FOLDER = Path(__file__).parents[1] / "recipes" / "capstone"
METRICS = ("usdr", "csdr")
OVERLAPS = {"context": 0.25, "overlap": 0.5}  # of chunks in the whole song
PIECE = 6.8  # seconds of the pieces of the long song: as long as a clip of MUSDB18-7s
COLUMNS = ("switch", "data", "song", "stem", *METRICS)


WHOLE = {
    "alone": "a piece is separated alone: the base of the two below",
    "context": "a piece is cut from the stems of the whole song",
    "overlap": "the same, with chunks that overlap by 0.5 instead of 0.25",
}


@dataclass(frozen=True)
class Switch:
    """One change of a measurement."""

    says: str
    track: Callable[[Track], Track] = lambda track: track
    model: Callable[[nn.Module], nn.Module] = lambda model: model
    separation: SeparateConfig = DEFAULTS


def summed(track: Track) -> Track:
    """The track with the sum of its stems as the mixture."""
    return _track(track, track.sources(), None)


def mono(track: Track) -> Track:
    """The track with the mean of its channels in both of them."""
    parts = torch.cat([track.sources(), track.mixture()[None]])
    parts = parts.mean(1, keepdim=True).expand_as(parts).contiguous()
    return _track(track, parts[:-1], parts[-1])


def _track(track: Track, sources: Tensor, mixture: Tensor | None) -> Track:
    stems = dict(zip(track.stems, sources, strict=True))
    return Track.from_audio(
        track.name, stems, track.sample_rate, mixture=mixture, split=track.split
    )


def rounded(model: nn.Module) -> nn.Module:
    """The model with its weights rounded to bfloat16: 8 bits instead of 11."""
    return copy.deepcopy(model).to(torch.bfloat16).float()


SWITCHES = {
    "base": Switch("mixture as coded, stereo, overlap 0.25, no shifts"),
    "shift": Switch(
        "one random shift of up to half a second",
        separation=SeparateConfig(shifts=1),
    ),
    "sum": Switch("the mixture is the sum of the stems", track=summed),
    "mono": Switch("mixture and references are mixed down to one channel", track=mono),
    "bfloat16": Switch("weights rounded to 8 significant bits", model=rounded),
}


def score_switches(
    model: nn.Module,
    tracks: Sequence[Track],
    names: Sequence[str],
    folder: Path | None,
) -> list[dict[str, Any]]:
    """A row for each switch, song and stem; goes on where an earlier run stopped."""
    rows = []
    for name in (name for name in SWITCHES if name in names):
        switch = SWITCHES[name]
        found = mssedu.evaluate(
            switch.model(model),
            [switch.track(track) for track in tracks],
            metrics=METRICS,
            rows=("model",),
            separation=switch.separation,
            folder=folder and folder / name,
            progress=partial(_say, name),
        )
        rows += _rows(name, "clips", found)
    return rows


def _say(switch: str, done: int, total: int, song: str) -> None:
    print(f"{switch}: {done} of {total}  {song}", flush=True)


def score_context(
    model: nn.Module, song: Track, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Pieces of a song: separated alone, and cut from the stems of the whole song."""
    mixture, sources = song.mixture(), song.sources()
    length = min(round(PIECE * song.sample_rate), mixture.shape[-1])
    starts = range(0, mixture.shape[-1] - length + 1, length)
    pieces = {f"{song.name} {number}": start for number, start in enumerate(starts, 1)}
    wholes = {
        name: mssedu.separate(model, mixture, overlap=overlap)
        for name, overlap in OVERLAPS.items()
        if name in names
    }
    if not wholes:
        return []
    tracks = [
        _track(replace(song, name=name), sources[..., at : at + length], None)
        for name, at in pieces.items()
    ]
    rows = []
    alone = mssedu.evaluate(model, tracks, metrics=METRICS, rows=("model",))
    rows += _rows("alone", "pieces", alone)
    for name, whole in wholes.items():

        def cut(track: Track, whole: Tensor = whole) -> Tensor:
            at = pieces[track.name]
            return whole[..., at : at + length]

        found = mssedu.evaluate(
            None, tracks, metrics=METRICS, rows=("model",), estimates=cut
        )
        rows += _rows(name, "pieces", found)
    return rows


def _rows(
    switch: str, data: str, found: mssedu.evaluation.Evaluation
) -> list[dict[str, Any]]:
    return [
        {"switch": switch, "data": data, "song": song, "stem": stem}
        | {m: found.of_track(song, m)["model"][stem] for m in METRICS}
        for song in found.tracks
        for stem in found.stems
    ]


def write(
    rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], to: Path
) -> None:
    """Write the rows as CSV with three decimals, and the facts as JSON."""
    with (to / "error_budget.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            scores = ["" if row[m] is None else f"{row[m]:.3f}" for m in METRICS]
            writer.writerow([*(row[name] for name in COLUMNS[:4]), *scores])
    write_json(to / "error_budget.json", dict(facts))


def main() -> None:
    """Score and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="MUSDB18-7s or -HQ")
    parser.add_argument("--weights", type=Path, required=True, help="of htdemucs")
    parser.add_argument("--every", type=int, default=1, help="of so many clips, one")
    names = [*SWITCHES, *OVERLAPS]
    parser.add_argument("--switches", nargs="+", choices=names, default=names)
    parser.add_argument("--save", type=Path, help="folder, to go on if interrupted")
    given = parser.parse_args()
    model = mssedu.load_model("htdemucs", weights=given.weights)
    stems = model.config.stems
    clips = mssedu.load_dataset(given.data, "test", stems=stems)[:: given.every]
    (song,) = mssedu.load_dataset(mssedu.data.demo_data(), "test", stems=stems)
    began = time.process_time()
    rows = score_context(model, song, given.switches)
    rows += score_switches(model, clips, given.switches, given.save)
    says = {name: switch.says for name, switch in SWITCHES.items()} | WHOLE
    threads = os.environ.get("OMP_NUM_THREADS")
    command = f"OMP_NUM_THREADS={threads} " if threads else ""
    facts = {
        "command": f"{command}python benchmarks/error_budget.py "
        f"--weights FILE --data MUSDB18-7S --every {given.every} "
        f"--switches {' '.join(given.switches)}",
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor_minutes": round((time.process_time() - began) / 60, 1),
        "weights": "the published htdemucs (955717e8), rounded to float16",
        "clips": len(clips),
        "clips_sha256": data_sha256(clips),
        "pieces": f"{song.name}, pieces of {PIECE} s",
        "switches": {
            name: says[name] for name in dict.fromkeys(r["switch"] for r in rows)
        },
    }
    write(rows, facts, FOLDER)


if __name__ == "__main__":
    main()
