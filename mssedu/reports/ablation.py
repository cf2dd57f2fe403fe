"""The table of an ablation: variants, each trained with several seeds.

    FOLDER/VARIANT/seedN/test ──mean over seeds──▶ a score for each song
                                                   │ paired with the first variant
                                                   ▼
    ablation.md, ablation.tex, ablation.csv, ablation.pdf

"±" is half the 95 % interval over the seeds (Student's t): what another seed would
change. The interval over songs, the differences and the p-values have the song as their
unit: for each song the mean over stems and seeds. `mssedu.evaluation.statistics` has
the sources of the tests.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from pandas import DataFrame

from mssedu.audio.files import write_bytes, write_text
from mssedu.audio.words import counted
from mssedu.errors import check_name
from mssedu.evaluation.comparison import p_text
from mssedu.evaluation.repeats import mean_of_runs, song_means, stem_average
from mssedu.evaluation.result import Evaluation, load_evaluation
from mssedu.evaluation.statistics import (
    PairedTest,
    bootstrap_interval,
    holm,
    mean_interval,
    paired_test,
)
from mssedu.figures.networks import interval_figure
from mssedu.inspect.complexity import count_flops
from mssedu.models.contract import config_of
from mssedu.reports.tables import note, render
from mssedu.training.grid import Grid
from mssedu.training.manifest import FILE

TEST = "test"  # folder of the scores in the folder of a run
NAME = "ablation"  # of the files of the table
SIGNED = {"difference": "+.2f"}


@dataclass(frozen=True)
class VariantResult:
    """All runs of a variant."""

    name: str
    runs: tuple[Evaluation, ...]  # one per seed
    n_parameters: int
    gflops: float  # per second of audio
    hours: float  # of the clock, mean of the runs
    processor_hours: float

    def by_seed(self, metric: str) -> list[float]:
        """For each seed the mean over stems of the mean over songs."""
        return [stem_average(run, metric) for run in self.runs]

    def by_song(self, metric: str) -> dict[str, float]:
        """For each song the mean over stems and seeds."""
        return song_means(mean_of_runs(self.runs), metric)


def read_results(grid: Grid, folder: str | Path) -> list[VariantResult]:
    """The results of all runs of a grid, which are trained and scored.

    Args:
        grid: that was run.
        folder: of the ablation.

    Raises:
        DatasetError: a run that is not scored.
    """
    results = []
    for name, runs in grid.variants.items():
        folders = [Path(folder) / run.folder for run in runs]
        manifests = [json.loads((f / FILE).read_text("utf-8")) for f in folders]
        model = runs[0].recipe.new_model()
        config = config_of(model)
        mixture = torch.zeros(
            1, config.channels, round(config.segment * config.sample_rate)
        )
        result = VariantResult(
            name=name,
            runs=tuple(load_evaluation(place / TEST) for place in folders),
            n_parameters=sum(p.numel() for p in model.parameters()),
            gflops=count_flops(model, mixture) / config.segment / 1e9,
            hours=fmean(m["hours"] for m in manifests),
            processor_hours=fmean(m["processor_hours"] for m in manifests),
        )
        results.append(result)
    return results


def compare_variants(
    results: Sequence[VariantResult], metric: str
) -> dict[str, tuple[PairedTest, float]]:
    """Each variant but the first: its paired test against the first, and Holm's p."""
    first = results[0].by_song(metric)
    tests = {}
    for result in results[1:]:
        own = result.by_song(metric)
        songs = [name for name in first if name in own]
        tests[result.name] = paired_test(
            [first[name] for name in songs], [own[name] for name in songs]
        )
    adjusted = holm([test.p for test in tests.values()])
    return {
        name: (test, p) for (name, test), p in zip(tests.items(), adjusted, strict=True)
    }


def ablation_table(results: Sequence[VariantResult], metric: str) -> DataFrame:
    """A line per variant; the first one is what the others are compared with.

    Raises:
        InputError: a metric that the runs do not have.
    """
    check_name("metric", metric, results[0].runs[0].metrics)
    title = results[0].runs[0].title(metric)
    tests = compare_variants(results, metric)
    lines = []
    for result in results:
        mean, half_width = mean_interval(result.by_seed(metric))
        ends = bootstrap_interval([*result.by_song(metric).values()])
        test, p = tests.get(result.name, (None, None))
        merged = mean_of_runs(result.runs)
        line = {
            "variant": result.name,
            title: mean,
            "±": half_width,
            "songs": f"{ends[0]:.2f}…{ends[1]:.2f}" if ends else None,
            **{stem: merged.mean(metric, "model", stem) for stem in merged.stems},
            "difference": test.difference if test else None,
            "p": p_text(test.p) if test else None,
            "p (Holm)": None if p is None else p_text(p),
            "seeds": str(len(result.runs)),
            "parameters": f"{result.n_parameters:,}",
            "GFLOP/s": f"{result.gflops:.3g}",
            "hours": f"{result.hours:.3g}",
            "processor hours": f"{result.processor_hours:.3g}",
        }
        lines.append(line)
    frame = DataFrame(lines)
    return frame.astype({"difference": float})


def ablation_note(results: Sequence[VariantResult], metric: str) -> str:
    """How the table was made, and what so few songs cannot show."""
    n_songs = len(results[0].by_song(metric))
    text = (
        f"{counted(n_songs, 'song')}; the mean over stems, of each stem the mean over "
        "songs and seeds. ±: half the 95 % interval over seeds (Student's t). songs: "
        "95 % interval over songs (bootstrap). difference, p: paired with "
        f"{results[0].name}, two-sided Wilcoxon signed-rank test over songs, seeds "
        "averaged; Holm: all tests of this table. GFLOP/s: per second of audio. Hours "
        "of training: mean over seeds."
    )
    tests = [test for test, _ in compare_variants(results, metric).values()]
    best = max(test.smallest_p for test in tests) * len(tests)
    if best > 0.05:
        text += (
            f" Too few songs: with Holm p cannot fall below {p_text(min(best, 1.0))}, "
            "however large a difference is."
        )
    return text


def write_ablation(
    grid: Grid, results: Sequence[VariantResult], folder: str | Path, metric: str
) -> Mapping[str, Path]:
    """Write the table as Markdown, LaTeX and CSV, and the figure as PDF.

    Args:
        grid: gives the title.
        results: of all variants.
        folder: for the files.
        metric: a score of all runs, such as usdr.

    Returns:
        ending of the name -> path.
    """
    table, remark = ablation_table(results, metric), ablation_note(results, metric)
    paths = {end: Path(folder) / f"{NAME}.{end}" for end in ("md", "tex", "csv", "pdf")}
    for end, form in (("md", "markdown"), ("tex", "latex"), ("csv", "csv")):
        decimals = 4 if form == "csv" else 2
        text = render(table, form, decimals, {} if form == "csv" else SIGNED)
        head = f"# {grid.title}\n\n" if form == "markdown" else ""
        write_text(paths[end], f"{head}{text}\n{note(remark, form)}\n")
    label = f"{results[0].runs[0].title(metric)}: a ring per seed, mean, 95 % interval"
    figure = interval_figure({r.name: r.by_seed(metric) for r in results}, xlabel=label)
    content = io.BytesIO()
    figure.savefig(content, format="pdf")
    write_bytes(paths["pdf"], content.getvalue())
    return paths
