"""Write the model that comes with the repository, and its card.

    python benchmarks/ship.py RUN MUSDB18-7S [--name mel_band_roformer_small]

RUN is the folder of a run of `mssedu race`. Its best weights become
data/models/NAME.safetensors, rounded to float16, which halves the file. The model is
then loaded from there as users load it, and scored on the 25 test excerpts of the race
and on the CC0 test song. data/models/README.md has the scores, those of the published
HTDemucs on the same excerpts (benchmarks/oracles.csv), the recipe and the curve.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import pandas

from mssedu.audio.repository import data_folder
from mssedu.data.loading import load_dataset
from mssedu.evaluation.run import evaluate
from mssedu.figures.curves import learning_figure
from mssedu.reports.tables import render
from mssedu.training.manifest import FILE
from mssedu.training.race import SONGS, race_songs
from mssedu.training.recipe import find_recipe, read_recipe
from mssedu.weights.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from mssedu.weights.published import PUBLISHED, SHIPPED

ROOT = Path(__file__).resolve().parents[1]
STEMS = ("vocals", "drums", "bass", "other")
CARD = """\
# The model of the repository

`mssedu separate SONG`, `mssedu demo` and some notebooks use the model `{name}` unless
another is named; from Python it is `mssedu.load_model("{name}")`. It was trained for
{minutes:.0f} minutes of one processor core, on 13 minutes of music. It shows what
such a training can do, and it is no rival of published models.

{facts}

## Scores

`python benchmarks/ship.py` wrote this page on {date}. usdr in dB, higher is better: the
mean over the 25 test excerpts of MUSDB18-7s, 6.8 s each. The row htdemucs is the
published model of that name on the same excerpts, trained on 107 whole songs and 800
more ([benchmarks/RESULTS.md](../../benchmarks/RESULTS.md)).

{scores}

On the CC0 song Sodium, 40 s, of which no part was trained on. A tiny model that learns
for two minutes from songs of the same album is better here (`mssedu demo`):

{song}

![{alt}](learning_curve.png)
"""


def main() -> None:
    """Write weights, card and curve into data/models."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--name", default=SHIPPED)
    args = parser.parse_args()
    folder = data_folder() / "models"
    folder.mkdir(exist_ok=True)
    path = folder / f"{args.name}.safetensors"
    manifest = json.loads((args.run / FILE).read_text("utf-8"))
    facts = read_checkpoint(args.run / "best.safetensors").facts | {
        "recipe": manifest["recipe"]["name"],
        "environment": manifest["environment"],
        "license": PUBLISHED[args.name].license,
        "trained_on": PUBLISHED[args.name].trained_on,
    }
    save_checkpoint(path, load_checkpoint(args.run).half(), facts=facts)
    for old in folder.glob("*.previous.*"):  # an earlier one, in Git anyway
        old.unlink()
    write_card(args.run, args.data, path, manifest)


def write_card(run: Path, data: Path, path: Path, manifest: dict) -> None:
    """Score the model in `path`, and write README.md and the curve beside it."""
    recipe = read_recipe(find_recipe(Path(manifest["recipe"]["path"])))
    songs = race_songs(recipe.path.parent / SONGS, data)
    model = load_checkpoint(path)
    rows = ("silence", "mixture", "model", "irm")
    test = evaluate(model, songs.test, metrics=["usdr"], rows=rows)
    song = load_dataset(data_folder(), "test")
    demo = evaluate(model, song, metrics=["usdr"], rows=rows)
    figure = learning_figure([run])
    figure.savefig(path.with_name("learning_curve.png"), dpi=110)
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    lines = {row: [test.mean("usdr", row, stem) for stem in STEMS] for row in rows}
    lines["htdemucs"] = htdemucs()
    sizes = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": path.stat().st_size,
        "sha256": document["sha256"],
    }
    card = CARD.format(
        name=path.stem,
        minutes=60 * manifest["processor_hours"],
        facts=facts_table(path.stem, sizes, manifest),
        date=datetime.now(UTC).date().isoformat(),
        scores=table(lines),
        song=render(demo.track_table(song[0].name, "usdr"), "markdown"),
        alt=figure.alt,
    )
    path.with_name("README.md").write_text(card, "utf-8")
    print(card)


def facts_table(name: str, sizes: dict, manifest: dict) -> str:
    """What the model is, and what it was trained with, as Markdown."""
    entry, recipe = PUBLISHED[name], manifest["recipe"]["name"]
    machine = manifest["environment"]
    facts = {
        "architecture": f"Mel-Band RoFormer, {sizes['parameters']:,} parameters; "
        "[mel_band_roformer.py](../../mssedu/models/mel_band_roformer.py) names the "
        "paper and its origin",
        "stems": ", ".join(entry.stems),
        "file": f"{sizes['bytes'] / 1e6:.1f} MB, weights rounded to float16; sha256 "
        f"`{sizes['sha256']}`",
        "recipe": f"[{recipe}.toml](../../recipes/races/{recipe}.toml) of "
        "[the hour race](../../recipes/races/README.md), seed "
        f"{manifest['seed']}: `mssedu race recipes/races/{recipe}.toml musdb18-7s "
        f"{' '.join(manifest['recipe']['settings'])}`",
        "training": f"{manifest['steps']:,} steps in "
        f"{manifest['processor_hours']:.2f} processor hours on "
        f"{machine['processor']}, threads: {machine['threads']}, no GPU; the weights "
        f"are those after {manifest['best_step']:,} steps, the best on the songs for "
        "validation",
        "data": entry.trained_on,
        "license": entry.license,
    }
    rows = [f"| {key} | {text} |" for key, text in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def htdemucs() -> list[float]:
    """Scores of the published HTDemucs, stem by stem."""
    frame = pandas.read_csv(ROOT / "benchmarks" / "oracles.csv")
    means = frame[frame["metric"] == "usdr"].groupby("stem")["model"].mean()
    return [float(means[stem]) for stem in STEMS]


def table(lines: dict[str, list[float]]) -> str:
    """A row per estimate, with the mean of the stems, as Markdown."""
    order = ("silence", "mixture", "model", "htdemucs", "irm")
    frame = pandas.DataFrame(
        [
            {"usdr, dB": name, **dict(zip(STEMS, lines[name], strict=True))}
            | {"mean": sum(lines[name]) / len(STEMS)}
            for name in order
        ]
    )
    return render(frame, "markdown")


if __name__ == "__main__":
    main()
