"""Figures of scores: of one song, of many songs, and over the values of a setting.

    scores_figure   dB of each row (silence, mixture, model, oracle) on each stem
    boxes_figure    scores of all tracks as box plots, with a point for each track
    sweep_figure    a result over the values of one setting

A box is the middle half of the tracks, with the median as a line. Whiskers span the
other tracks, up to 1.5 times the height of the box away from it. Listen to the tracks
beyond the whiskers first. Notebooks: 03, 04.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from mssedu.errors import InputError, check_name
from mssedu.figures.style import (
    COLORS,
    DescribedFigure,
    bar_style,
    check_not_empty,
    describe,
    fills,
    grid,
    label_lines,
    looks,
    whole_ticks,
)
from mssedu.figures.words import (
    course,
    listed,
    lowered,
    measured,
    name_of,
    named,
    report,
    topic_of,
    unit_of,
)

# row -> stem -> the score of each track
Boxes = Mapping[str, Mapping[str, Sequence[float]]]


def scores_figure(
    rows: Mapping[str, Mapping[str, float | None]],
    *,
    definition: str = "usdr",
    place: str = "stem",
    zero: str = "silence",
) -> DescribedFigure:
    """Scores as bars around 0 dB, which is the score of silence.

    Args:
        rows: row -> stem -> dB, such as {"mixture": {"drums": -3.1}, "model": …}; NaN,
            None or a missing stem is written "none".
        definition: name of the score.
        place: what a group of bars is, if not a stem, such as a song.
        zero: what scores 0 dB, for a definition by which silence does not.

    Raises:
        InputError: no rows or no stems.

    Example:
        >>> scores_figure({"model": {"drums": 5.0}}).axes[0].get_ylabel()
        'usdr (dB, higher is better)'
    """
    stems = list(dict.fromkeys(stem for row in rows.values() for stem in row))
    check_not_empty("rows", stems, "score (row -> stem -> dB)")
    figure, (axes,) = grid(height=3.4)
    width = 0.8 / len(rows)
    looks_of = fills(rows)
    for index, (row, scores) in enumerate(rows.items()):
        values = np.array([scores.get(stem) for stem in stems], float)  # None is NaN
        places = np.arange(len(stems)) + (index + 0.5) * width - 0.4
        heights = np.where(np.isfinite(values), values, 0.0)
        color, hatch = looks_of[row]
        bars = axes.bar(
            places,
            heights,
            width * 0.92,
            label=row,
            **bar_style(color, hatch),
        )
        texts = ["none" if np.isnan(value) else f"{value:.1f}" for value in values]
        axes.bar_label(bars, texts, padding=2, fontsize="x-small")
    axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
    axes.set_xticks(range(len(stems)), stems)
    axes.set_ylabel(f"{definition} (dB, higher is better)")
    axes.margins(y=0.12)
    figure.legend(loc="outside upper center", ncols=min(len(rows), 5), frameon=False)
    caption = f"{definition} in dB of each {place}: {listed(rows)}; {zero} scores 0 dB."
    topic = f"{definition} by {place}{_order([rows])}"
    return describe(figure, caption, report(topic, _ranked(rows, stems)))


def _ranked(
    rows: Mapping[str, Mapping[str, float | None]],
    stems: Sequence[str],
    unit: str = "dB",
) -> list[str]:
    """For each stem, the scores of its rows, the highest first."""
    parts = []
    for stem in stems:
        values = {row: scores.get(stem) for row, scores in rows.items()}
        known = {k: v for k, v in values.items() if v is not None and np.isfinite(v)}
        order = sorted(known, key=lambda row: -known[row])
        each = [f"{row} {measured(known[row], unit)}" for row in order]
        parts.append(f"{stem}, {', '.join(each) or 'none'}")
    return parts


def _order(panels: Iterable[Mapping[str, object]]) -> str:
    """How `_ranked` sorts, for the topic of a text; one row has no order."""
    return ", the highest first" if any(len(rows) > 1 for rows in panels) else ""


def boxes_figure(panels: Mapping[str, Boxes]) -> DescribedFigure:
    """Box plots of each stem, a panel for each metric.

    Args:
        panels: label of the vertical axis, with its unit -> row -> stem -> a score for
            each track that has one.

    Raises:
        InputError: no scores at all.

    Example:
        >>> scores = {"model": {"drums": [5.0, 6.5, 7.0]}}
        >>> boxes_figure({"usdr (dB)": scores}).axes[0].get_ylabel()
        'usdr (dB)'
    """
    groups = [stems for rows in panels.values() for stems in rows.values()]
    scores = [score for stems in groups for row in stems.values() for score in row]
    check_not_empty("panels", scores, "score (label -> row -> stem -> scores)")
    figure, cells = grid([""] * len(panels), height=2.8, margin=0.6)
    for axes, (title, rows) in zip(cells, panels.items(), strict=True):
        handles = _draw_boxes(axes, rows)
        axes.set_ylabel(title)
    rows = next(iter(panels.values()))
    figure.legend(
        handles, list(rows), loc="outside upper center", ncols=len(rows), frameon=False
    )
    caption = (
        f"{listed(map(named, panels))}: a point for each value, boxes from the "
        f"lower to the upper quartile with the median; {listed(rows)}."
    )
    parts = []
    for title, rows in panels.items():
        stems = list(dict.fromkeys(stem for row in rows.values() for stem in row))
        medians = {
            row: {s: float(np.median(v)) for s, v in scores.items() if len(v)}
            for row, scores in rows.items()
        }
        name = f"{name_of(title)} of " if len(panels) > 1 else ""
        parts += [name + part for part in _ranked(medians, stems, unit_of(title))]
    topic = f"Medians of {listed(map(name_of, panels))}{_order(panels.values())}"
    return describe(figure, caption, report(topic, parts))


def _draw_boxes(axes: Axes, rows: Boxes) -> list[Any]:
    """Draw one metric; returns a handle per row for the legend."""
    stems = list(dict.fromkeys(stem for row in rows.values() for stem in row))
    width, handles, black = 0.8 / len(rows), [], COLORS["mixture"]
    looks_of = fills(rows)
    # Points are moved sideways at random, so that they do not hide each other.
    spread = np.random.default_rng(0)
    for number, (row, scores) in enumerate(rows.items()):
        color, hatch = looks_of[row]
        places = np.arange(len(stems)) + (number + 0.5) * width - 0.4
        columns = [list(scores.get(stem, ())) for stem in stems]
        drawing = axes.boxplot(
            columns,
            positions=places,
            widths=0.8 * width,
            manage_ticks=False,
            patch_artist=True,
            showfliers=False,  # they are among the points
            boxprops={  # pale, so that the points and the median are seen on it
                "facecolor": to_rgba(color, 0.3),
                "edgecolor": color,
                "hatch": hatch,
                "linewidth": 1.5,
            },
            medianprops={"color": black, "linewidth": 1.5},
        )
        for place, column in zip(places, columns, strict=True):
            sideways = place + spread.uniform(-0.2, 0.2, len(column)) * width
            axes.plot(sideways, column, "o", markersize=2.5, alpha=0.6, color=black)
        handles.append(drawing["boxes"][0])
    axes.axhline(0, color=black, linewidth=0.8)
    axes.set_xticks(range(len(stems)), stems)
    axes.set_xlim(-0.5, len(stems) - 0.5)
    axes.grid(axis="y", alpha=0.3)
    return handles


def sweep_figure(
    values: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    scale: str = "linear",
    mark: str | None = None,
) -> DescribedFigure:
    """Results over the values of one setting, a line each.

    Args:
        values: of the setting, one per point.
        lines: label -> one result per value; the label of a stem sets its color.
        xlabel, ylabel: the setting and the result, with their units.
        scale: "linear", or "log2" for settings that double.
        mark: ring the "highest" or the "lowest" point of each line; none if None.

    Raises:
        InputError: no lines, a length that does not fit, an unknown scale or mark.

    Example:
        >>> figure = sweep_figure([1, 2], {"IRM": [3, 5]}, xlabel="n", ylabel="dB")
        >>> figure.axes[0].get_ylabel()
        'dB'
    """
    check_name("scale", scale, ("linear", "log2"))
    check_name("mark", mark or "none", ("none", "highest", "lowest"))
    check_not_empty("lines", lines, "line")
    lengths = {label: len(line) for label, line in lines.items()}
    if set(lengths.values()) != {len(values)}:
        raise InputError(
            f"lines need {len(values)} results each, one per value; their lengths are "
            f"{lengths}."
        )
    figure, (axes,) = grid(height=3.0)
    for label, (color, marker, _) in looks(lines).items():
        line = lines[label]
        axes.plot(values, line, color=color, marker=marker, markersize=5, label=label)
        if mark is not None:
            best = (max if mark == "highest" else min)(line)
            at = values[list(line).index(best)]
            axes.plot(at, best, "o", color=color, markersize=13, fillstyle="none")
    if scale == "log2":
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [f"{value:g}" for value in values])
    for axis, numbers in ((axes.xaxis, values), (axes.yaxis, _all(lines))):
        if scale == "linear" or axis is axes.yaxis:
            whole_ticks(axis, numbers)
    label_lines(figure, axes, xlabel, ylabel)
    units = unit_of(xlabel), unit_of(ylabel)
    parts = [f"{k} {_going(values, line, mark, *units)}" for k, line in lines.items()]
    caption = f"{named(ylabel)} by {lowered(named(xlabel))}: {listed(lines)}."
    return describe(figure, caption, report(topic_of(ylabel, xlabel), parts))


def _all(lines: Mapping[str, Sequence[float]]) -> list[float]:
    return [value for line in lines.values() for value in line]


def _going(
    values: Sequence[float], line: Sequence[float], mark: str | None, at: str, unit: str
) -> str:
    """What a line of a sweep shows: its marked point, or else how it goes."""
    if mark is None:
        return course(values, line, at, unit)
    best = (max if mark == "highest" else min)(line)
    where = measured(values[list(line).index(best)], at)
    first, last = measured(line[0], unit), measured(line[-1], unit)
    return (
        f"is {mark} at {where} with {measured(best, unit)} (from {first} at "
        f"{measured(values[0], at)} to {last} at {measured(values[-1], at)})"
    )
