"""The report of a claim: from the runs of `mssedu ablate --protocol` to an artifact.

    runs of a grid ──store_study──▶ scores.csv, scores.json ──load_study──▶ Study
    Study ──write_study──▶ report.md, report.tex, differences.pdf, references.bib

The two files of scores are small: commit them, and everybody can repeat the analysis
without the training. The report has all that follows from the files: rules, methods,
tables, verdict. What only its author knows, the threats and the reasons, it asks for.
Notebook: 17.
"""

import csv
import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from pandas import DataFrame

from mssedu.audio.files import write_bytes, write_json, write_text
from mssedu.errors import check_name
from mssedu.evaluation.claims import (
    COLUMNS,
    FACTS,
    SCORES,
    Study,
    Verdict,
    excerpts_by_rule,
    judge,
    load_study,
)
from mssedu.evaluation.comparison import p_text
from mssedu.evaluation.protocol import Protocol
from mssedu.evaluation.statistics import mean_interval
from mssedu.evaluation.variance import VarianceSplit, split_variance
from mssedu.figures.networks import interval_figure
from mssedu.reports.ablation import VariantResult
from mssedu.reports.tables import latex_text, render
from mssedu.training.grid import Grid
from mssedu.training.manifest import FILE

N_EXCERPTS = 8  # of a listening test
CHECKLIST = (
    "The claim has one number and one direction, and could have failed.",
    "The protocol was committed before the first training.",
    "The variants differ in one setting, or every further one is named.",
    "Source, license and split of the data are stated; no artist is in two parts.",
    "All seeds are reported, and none was trained that is not.",
    "The metric is defined, with mixture and oracle beside it.",
    "The interval is over songs, paired; its unit is stated.",
    "Hardware, hours, versions and the commit are stated.",
    "Somebody has listened, blind and at equal loudness, to excerpts chosen by rule.",
    "One command makes the tables and the figure again.",
)
BIBLIOGRAPHY = r"""@book{efron1993bootstrap,
  author = {Efron, Bradley and Tibshirani, Robert J.},
  title = {An Introduction to the Bootstrap},
  publisher = {Chapman and Hall},
  year = {1993}
}
@article{schuirmann1987tost,
  author = {Schuirmann, Donald J.},
  title = {A comparison of the two one-sided tests procedure and the power approach for
    assessing the equivalence of average bioavailability},
  journal = {Journal of Pharmacokinetics and Biopharmaceutics},
  volume = {15},
  year = {1987}
}
@book{searle1992variance,
  author = {Searle, Shayle R. and Casella, George and McCulloch, Charles E.},
  title = {Variance Components},
  publisher = {Wiley},
  year = {1992}
}
"""


# ---- from runs to scores ------------------------------------------------------------


def variant_difference(grid: Grid, old: str, new: str) -> dict[str, tuple[Any, Any]]:
    """Every setting in which two variants of a grid differ: name -> (old, new).

    A model's fields have "model." in front. One entry is a fair comparison; a second
    one would explain the result as well.

    Raises:
        InputError: no such variant.
    """
    first, second = (
        grid.variants[check_name("variant", name, grid.variants)][0].recipe
        for name in (old, new)
    )
    settings = []
    for recipe in (first, second):
        model = asdict(recipe.model_config())
        fields = {f"model.{name}": value for name, value in model.items()}
        settings.append(asdict(recipe.config) | fields)
    names = dict.fromkeys([*settings[0], *settings[1]])
    return {
        name: (settings[0].get(name), settings[1].get(name))
        for name in names
        if settings[0].get(name) != settings[1].get(name)
    }


def store_study(
    protocol: Protocol,
    grid: Grid,
    results: Sequence[VariantResult],
    folder: str | Path,
    command: str,
) -> Study:
    """Write scores.csv and scores.json of finished runs, and read them as a study.

    Args:
        protocol: whose variants and stems are stored.
        grid: that was run.
        results: of all its variants.
        folder: of the runs, and for the two files.
        command: with which they were made, without paths of this machine.

    Raises:
        InputError: runs that do not fit the protocol.
    """
    names = (protocol.baseline, protocol.changed)
    known = {result.name: result for result in results}
    chosen = [known[check_name("variant", name, known)] for name in names]
    first = grid.variants[names[0]][0].folder
    manifest = json.loads((Path(folder) / first / FILE).read_text("utf-8"))
    seeds = {name: [run.seed for run in runs] for name, runs in grid.variants.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in chosen:
        for seed, run in zip(seeds[result.name], result.runs, strict=True):
            for song in run.tracks:
                scores = run.of_track(song, protocol.metric)["model"]
                for stem in protocol.stems:
                    check_name("stem", stem, scores)
                    score = scores[stem]
                    cell = "" if score is None else f"{score:.4f}"
                    writer.writerow((result.name, seed, song, stem, cell))
    facts = {
        "protocol_sha256": protocol.sha256,
        "title": grid.title,
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "difference": variant_difference(grid, *names),
        "seeds": seeds[names[0]],
        "variants": {
            result.name: {
                "parameters": result.n_parameters,
                "gflops_per_second": round(result.gflops, 4),
                "hours_per_run": round(result.hours, 4),
                "processor_hours_per_run": round(result.processor_hours, 4),
            }
            for result in chosen
        },
        "songs_sha256": chosen[0].runs[0].data_sha256,
        "environment": manifest["environment"],
        "commit": manifest["code"]["commit"],
    }
    write_text(Path(folder) / SCORES, text.getvalue())
    write_json(Path(folder) / FACTS, facts)
    return load_study(protocol, folder)


# ---- from scores to words -----------------------------------------------------------


def study_table(study: Study) -> DataFrame:
    """A line per variant: mean of all songs, each seed, parameters, operations."""
    lines = []
    for name, facts in study.facts["variants"].items():
        scores = study.table(name)
        by_seed = scores.mean().tolist()
        line = {
            "variant": name,
            f"{study.protocol.metric}, dB": fmean(by_seed),
            "± (seeds)": mean_interval(by_seed)[1],
            **{f"seed {s}": mean for s, mean in zip(scores, by_seed, strict=True)},
            "songs": str(len(scores)),
            "parameters": f"{facts['parameters']:,}",
            "GFLOP/s": f"{facts['gflops_per_second']:.3g}",
        }
        lines.append(line)
    return DataFrame(lines)


def study_sentence(study: Study, verdict: Verdict) -> str:
    """The result in words that the interval allows.

    Args:
        study: gives the names and the claim.
        verdict: of `judge`.
    """
    protocol, test = study.protocol, verdict.test
    low, high = test.interval or (0.0, 0.0)
    words = {
        "better": "is better than",
        "worse": "is worse than",
        "equal": f"is equal within ± {protocol.margin:g} dB to",
        "unknown": "may be better or worse than, or equal to,",
    }
    return (
        f"“{protocol.changed}” {words[verdict.word]} “{protocol.baseline}”: mean "
        f"difference {test.difference:+.2f} dB, {protocol.confidence:.0%} interval "
        f"{low:+.2f}…{high:+.2f} dB over {test.n} songs (d_z {test.d_z:.2f}, Wilcoxon "
        f"p {p_text(test.p)}, equivalence p {p_text(verdict.equivalence_p)}). The "
        f"claim of {protocol.least:g} dB or more is {verdict.claim}."
    )


def seeds_sentence(study: Study) -> str:
    """What other seeds could change: the interval over seeds, songs averaged."""
    by_seed = study.differences().mean().tolist()
    mean, half_width = mean_interval(by_seed)
    end = (
        "It contains 0, so other seeds could reverse the result."
        if abs(mean) <= half_width
        else "It excludes 0."
    )
    return (
        f"Over the {len(by_seed)} seeds the 95 % interval (Student's t) of the mean "
        f"difference is {mean - half_width:+.2f}…{mean + half_width:+.2f} dB. {end}"
    )


def methods_text(study: Study) -> str:
    """The paragraph on methods, filled in from protocol and scores."""
    protocol, facts = study.protocol, study.facts
    machine = facts["environment"]
    hours = sum(
        v["processor_hours_per_run"] * len(facts["seeds"])
        for v in facts["variants"].values()
    )
    changes = "; ".join(
        f"{name}: {old} → {new}" for name, (old, new) in facts["difference"].items()
    )
    return (
        f"We compare two variants of one recipe, which differ in {changes}. Each was "
        f"trained with {len(facts['seeds'])} seeds. {protocol.stopping} All runs "
        f"together took {hours:.2f} processor hours ({machine['processor']}, "
        f"{machine['threads']} thread(s), torch {machine['torch']}). Data: "
        f"{protocol.data}, split {protocol.split}. Score: {protocol.metric} in dB, "
        f"mean of {', '.join(protocol.stems)}. Unit: {protocol.unit} Exclusions: "
        f"{protocol.exclusions} The interval is a percentile bootstrap over songs; "
        f"equivalence is tested by two one-sided t tests with a margin of "
        f"{protocol.margin:g} dB. Protocol {protocol.sha256[:12]}, commit "
        f"{(facts['commit'] or 'unknown')[:12]}, {facts['date']}."
    )


def variance_table(split: VarianceSplit) -> DataFrame:
    """Deviations of songs, seeds and the rest, and their share in the mean's error."""
    parts = {"songs": split.song, "seeds": split.seed, "residual": split.residual}
    return DataFrame(
        [
            {
                "part": name,
                "standard deviation, dB": value**0.5,
                "share of the mean's variance": f"{split.shares[name]:.0%}",
            }
            for name, value in parts.items()
        ]
    )


# ---- from words to an artifact ------------------------------------------------------


def write_study(study: Study, folder: str | Path) -> dict[str, Path]:
    """Write the report in Markdown and LaTeX, its figure as PDF, and the bibliography.

    Args:
        study: with its scores.
        folder: for the files.

    Returns:
        name of the file -> path.
    """
    differences = study.differences()
    verdict = judge(differences.mean(axis=1).tolist(), study.protocol)
    sentence = study_sentence(study, verdict)
    split = split_variance(differences.to_numpy())
    figure = differences_figure(study)
    pdf = io.BytesIO()
    figure.savefig(pdf, format="pdf")
    place = Path(folder)
    names = ("report.md", "report.tex", "differences.pdf", "references.bib")
    paths = {name: place / name for name in names}
    chosen = excerpts_by_rule(
        differences.mean(axis=1).to_dict(), min(N_EXCERPTS, len(differences))
    )
    write_text(paths["report.md"], _markdown(study, sentence, split, chosen))
    write_text(paths["report.tex"], _latex(study, sentence, split))
    write_bytes(paths["differences.pdf"], pdf.getvalue())
    write_text(paths["references.bib"], BIBLIOGRAPHY)
    return paths


def differences_figure(study: Study) -> Any:
    """The differences of all songs: a row per seed, and their mean."""
    differences = study.differences()
    rows = {f"seed {seed}": differences[seed].tolist() for seed in differences}
    rows["mean of seeds"] = differences.mean(axis=1).tolist()
    label = f"{study.protocol.metric}, difference (dB): a ring per song, 95 % interval"
    return interval_figure(rows, xlabel=label, zero=True)


def _markdown(
    study: Study, sentence: str, split: VarianceSplit, chosen: Sequence[str]
) -> str:
    rules = DataFrame(
        [
            {"rule": name, "value": ", ".join(v) if isinstance(v, tuple) else str(v)}
            for name, v in study.protocol.rules.items()
        ]
    )
    parts = [
        f"# {study.facts['title']}",
        f"**Claim.** {study.protocol.claim}",
        f"**Result.** {sentence} {seeds_sentence(study)}",
        "## Methods",
        methods_text(study),
        "## Scores",
        render(study_table(study), "markdown"),
        "The figure is in differences.pdf.",
        "## Where the differences spread",
        render(variance_table(split), "markdown"),
        "## Protocol",
        render(rules, "markdown"),
        "## Songs for a listening test, by rule",
        "\n".join(f"{n}. {song}" for n, song in enumerate(chosen, 1)),
        "## Threats to validity, to be filled in",
        "- Other songs: …\n- Other training times: …\n- Metric and ear: …\n- Chance: …",
        "## Checklist",
        "\n".join(f"- [ ] {line}" for line in CHECKLIST),
        "## Again",
        f"```sh\n{study.facts['command']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _latex(study: Study, sentence: str, split: VarianceSplit) -> str:
    parts = [
        r"\documentclass{article}",
        r"\usepackage{booktabs,graphicx}",
        r"\begin{document}",
        rf"\section*{{{latex_text(study.facts['title'])}}}",
        rf"\paragraph{{Claim.}} {latex_text(study.protocol.claim)}",
        rf"\paragraph{{Result.}} {latex_text(sentence)} "
        rf"{latex_text(seeds_sentence(study))}",
        rf"\paragraph{{Methods.}} {latex_text(methods_text(study))} The bootstrap is "
        r"described in \cite{efron1993bootstrap}, the test of equivalence in "
        r"\cite{schuirmann1987tost}, the split of variances in "
        r"\cite{searle1992variance}.",
        rf"\begin{{center}}{render(study_table(study), 'latex')}\end{{center}}",
        rf"\begin{{center}}{render(variance_table(split), 'latex')}\end{{center}}",
        r"\begin{center}\includegraphics[width=\linewidth]{differences.pdf}"
        r"\end{center}",
        r"\paragraph{Threats to validity.} % to be filled in by the author",
        r"\bibliographystyle{plain}\bibliography{references}",
        r"\end{document}",
    ]
    return "\n".join(parts) + "\n"
