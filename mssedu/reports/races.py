"""The table of a race: a row per recipe, from the results of its runs.

    results/NAME-seedN/{race,evaluation}.json ──write_results──▶ RESULTS.md
                       config.json, history.jsonl ──mssedu curves──▶ learning curves

A row is the mean over the seeds. "±" is half the 95 % interval of that mean over seeds
(Student's t), and "songs" the 95 % interval over songs: for each song the mean over
stems and seeds, resampled (bootstrap). The first says what another seed would change,
the second what other songs of this kind would.
"""

import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pandas import DataFrame

from mssedu.audio.files import misfit, write_json, write_text
from mssedu.errors import InputError
from mssedu.evaluation.repeats import mean_of_runs, song_means, stem_average
from mssedu.evaluation.result import Evaluation, load_evaluation
from mssedu.evaluation.statistics import bootstrap_interval, mean_interval
from mssedu.reports.tables import render
from mssedu.training.manifest import FILE
from mssedu.training.recipe import Recipe
from mssedu.training.runs import HISTORY, RUN_FILE, read_run

METRIC = "usdr"
ROW = "race.json"
_FORM = {
    "recipe": {"name": str, "sha256": str, "settings": [str]},
    "title": str,
    "seed": int,
    "budget_seconds": float,
    "n_parameters": int,
    "valid_usdr": (float, None),
    "manifest": {
        "steps": int,
        "hours": float,
        "processor_hours": float,
        "environment": {"device": str, "processor": str},
        "data": {"train": str},
    },
}


@dataclass(frozen=True)
class RaceRow:
    """One run of a race."""

    title: str
    recipe: Mapping[str, Any]  # name, path, sha256, settings
    seed: int
    budget_seconds: float
    n_parameters: int
    valid_usdr: float | None  # dB, of the best weights
    manifest: Mapping[str, Any]  # of the run, see mssedu.training.manifest

    @classmethod
    def of(cls, recipe: Recipe, run_dir: Path, valid_usdr: float | None) -> Self:
        """The row of a run that has ended."""
        manifest = json.loads((run_dir / FILE).read_text("utf-8"))
        manifest.pop(
            "recipe", None
        )  # with the folders of its user; the row has its own
        return cls(
            title=recipe.title,
            recipe={**recipe.facts, "path": recipe.path.name},
            seed=recipe.config.seed,
            budget_seconds=recipe.config.budget_seconds or 0.0,
            n_parameters=read_run(run_dir)["n_parameters"],
            valid_usdr=valid_usdr,
            manifest=manifest,
        )

    def sentence(self, test: Evaluation | None) -> str:
        """The row in words, with the scores of the test if there are any."""
        valid = "none" if self.valid_usdr is None else f"{self.valid_usdr:.2f} dB"
        text = (
            f"{self.recipe['name']}, seed {self.seed}: {METRIC} on the songs for "
            f"validation {valid}"
        )
        if test is not None:
            means = {stem: test.mean(METRIC, "model", stem) for stem in test.stems}
            stems = ", ".join(f"{s} {x:.2f}" for s, x in means.items() if x is not None)
            mean = stem_average(test, METRIC)
            text += f"; on the songs of the test {mean:.2f} dB ({stems})"
        hours = self.manifest["processor_hours"]
        return f"{text}; {self.manifest['steps']} steps in {hours:.3f} processor hours"

    def write(self, folder: Path, test: Evaluation | None) -> None:
        """Write the row and the scores of the test as JSON."""
        write_json(folder / ROW, asdict(self))
        if test is not None:
            test.save(folder)


def keep_curves(run_dir: Path, folder: Path) -> None:
    """Copy what the learning curves of a run need, without the folders of its user."""
    document = read_run(run_dir)
    for phase in document["phases"]:
        phase.pop("command", None)
    write_json(folder / RUN_FILE, document)
    shutil.copy(run_dir / HISTORY, folder)


Result = tuple[RaceRow, Evaluation]


def read_row(folder: Path) -> RaceRow:
    """Read a row; an InputError if the file is damaged."""
    path = folder / ROW
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Restore it.") from error
    if wrong := misfit(document, _FORM):
        raise InputError(f"{path} is not a result of a race: {wrong}. Restore it.")
    return RaceRow(**document)


def read_races(folder: str | Path) -> list[Result]:
    """The rows in the folders of a folder, and their scores of the test.

    Raises:
        InputError: no results, damaged ones, or results on different songs.
        DatasetError: scores that are damaged or lacking.
    """
    folders = sorted(path.parent for path in Path(folder).glob(f"*/{ROW}"))
    if not folders:
        raise InputError(
            f"{folder} holds no results of a race. Run mssedu race RECIPE DATA first."
        )
    results = [(read_row(path), load_evaluation(path)) for path in folders]
    if len({row.manifest["data"]["train"] for row, _ in results}) > 1:
        raise InputError(
            f"the results in {folder} are of different songs for training. Keep those "
            "of one race in a folder."
        )
    return results


def race_table(results: Sequence[Result]) -> DataFrame:
    """A line per recipe, the best first, below the mixture and the ideal ratio mask."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for row, test in results:
        key = (row.recipe["name"], row.recipe["sha256"])
        groups.setdefault(key, []).append((row, test))
    lines = [_line(name, members) for (name, _), members in groups.items()]
    lines.sort(key=lambda line: -line["usdr, dB"])
    anchors = [_anchor(name, results[0][1]) for name in ("irm", "mixture")]
    return DataFrame([anchors[0], *lines, anchors[1]])


def _anchor(row: str, test: Evaluation) -> dict[str, Any]:
    """The line of an estimate that no model makes."""
    return {"recipe": row, **_scores(test, row)}


def _line(name: str, members: Sequence[Result]) -> dict[str, Any]:
    """The line of a recipe: the mean of its runs."""
    tests = [test for _, test in members]
    by_seed = [stem_average(test, METRIC) for test in tests]
    spread = mean_interval(by_seed)[1] if len(by_seed) > 1 else None
    manifests = [row.manifest for row, _ in members]
    hours = ("hours", "processor_hours")
    wall, processor = (statistics.fmean(m[n] for m in manifests) for n in hours)
    machines = dict.fromkeys(_machine(m["environment"]) for m in manifests)
    return {
        "recipe": name,
        **_scores(mean_of_runs(tests), "model"),
        "±": spread,
        "seeds": str(len(members)),
        "parameters": f"{members[0][0].n_parameters:,}",
        "steps": f"{statistics.fmean(m['steps'] for m in manifests):,.0f}",
        "processor hours": processor,
        "hours": wall,
        "machine": "; ".join(machines),
    }


def _scores(test: Evaluation, row: str) -> dict[str, Any]:
    """Mean of the stems, its interval over songs, and each stem."""
    ends = bootstrap_interval([*song_means(test, METRIC, row).values()])
    return {
        "usdr, dB": stem_average(test, METRIC, row),
        "songs": f"{ends[0]:.2f}…{ends[1]:.2f}" if ends else None,
        **{stem: test.mean(METRIC, row, stem) for stem in test.stems},
    }


def _machine(environment: Mapping[str, Any]) -> str:
    if environment.get("card"):
        return str(environment["card"])
    return f"{environment['processor']}, threads: {environment['threads']}"


def write_results(folder: str | Path, table: str | Path) -> Path:
    """Write the table of all results in a folder, as Markdown; returns its path.

    Raises:
        InputError, DatasetError: what `read_races` finds.
    """
    folder, table = Path(folder), Path(table)
    results = read_races(folder)
    rows = [row for row, _ in results]
    budgets = ", ".join(f"{b:g}" for b in sorted({row.budget_seconds for row in rows}))
    n_songs = len(results[0][1].tracks)
    titles = dict.fromkeys(f"- **{r.recipe['name']}**: {r.title}" for r in rows)
    parts = [
        "# Results of the race",
        "The command `mssedu race` writes this file. README.md has the rules.",
        f"Budget: {budgets} seconds, on a CPU of the processor, on a GPU of the "
        f"clock. {METRIC} in dB, higher is better, on {n_songs} excerpts of 6.8 s: the "
        "mean of four stems, of each stem the mean over songs and seeds. ±: half the "
        "95 % interval over seeds (Student's t); songs: 95 % interval over songs "
        "(bootstrap).",
        render(race_table(results), "markdown"),
        "\n".join(titles),
    ]
    write_text(table, "\n\n".join(parts) + "\n")
    return table
