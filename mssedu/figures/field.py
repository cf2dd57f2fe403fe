"""The systems of the field on one page: year, score, size and speed.

    map_figure   a mark for each system

Notebook: 15.
"""

import math

from pandas import DataFrame

from mssedu.figures.style import (
    MIXES,
    DescribedFigure,
    check_not_empty,
    describe,
    grid,
)

AREA = 4e-6  # square points for each parameter
SMALLEST = 18.0  # square points
COLUMNS = ("year", "score", "parameters", "seconds")
# Area of a marker of size 1, relative to that of a square
MARKERS = {"o": math.pi / 4, "s": 1.0, "^": 0.5}
# Processor seconds for a second of sound, and the color below it
SPEEDS = {0.5: MIXES["both"], 2.0: MIXES["time"], float("inf"): MIXES["bands"]}


def map_figure(systems: DataFrame, *, definition: str) -> DescribedFigure:
    """Draw systems by year and score: area for size, color and shape for speed.

    Args:
        systems: a row for each system, named by its index. Columns: "year"; "score" in
            dB, all of one definition; "parameters"; "seconds", the computing time of
            one second of sound. Rows without a score are left out.
        definition: of the score.

    Raises:
        InputError: no row has a score.

    Example:
        >>> row = {"year": 2019, "score": 5.4, "parameters": 9e6, "seconds": 0.2}
        >>> figure = map_figure(DataFrame([row], ["Open-Unmix"]), definition="csdr")
        >>> figure.axes[0].get_ylabel()
        'csdr (dB, higher is better)'
    """
    shown = systems[list(COLUMNS)].astype(float).dropna(subset=["score"])
    shown = shown.sort_values(["year", "score"])
    check_not_empty("systems", shown, "system with a score")
    figure, (axes,) = grid(height=4.6)
    looks = zip((0.0, *SPEEDS), SPEEDS.items(), MARKERS.items(), strict=False)
    for low, (high, color), (marker, area) in looks:
        some = shown[(shown["seconds"] >= low) & (shown["seconds"] < high)]
        label = f"{low:g} … {high:g} s" if high < float("inf") else f"over {low:g} s"
        axes.scatter(
            some["year"],
            some["score"],
            (some["parameters"] * AREA).clip(lower=SMALLEST) / area,
            marker=marker,
            color=color,
            alpha=0.55,
            edgecolor=color,
            label=label,
        )
    last: dict[int, float] = {}  # year -> height of the label before
    for name, row in shown.iterrows():
        year = int(row["year"])
        height = max(row["score"], last.get(year, -1e9) + 0.33)
        last[year] = height
        radius = max(row["parameters"] * AREA, SMALLEST) ** 0.5 / 2  # points
        axes.annotate(
            str(name),
            (year, height),
            (radius + 3, 0),
            textcoords="offset points",
            va="center",
            fontsize="x-small",
        )
    years = range(int(shown["year"].min()), int(shown["year"].max()) + 1)
    axes.set_xticks(list(years))
    axes.set(xlim=(years[0] - 0.5, years[-1] + 1.4), xlabel="Year of the paper")
    axes.set_ylabel(f"{definition} (dB, higher is better)")
    axes.margins(y=0.1)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    legend = axes.legend(title="Computing time of 1 s", loc="upper left", frameon=False)
    for handle in legend.legend_handles:
        handle.set_sizes([60.0])  # type: ignore[union-attr]
    return _described(figure, shown, definition)


def _described(
    figure: DescribedFigure, shown: DataFrame, definition: str
) -> DescribedFigure:
    """The figure with the best system in words, and the numbers of all."""
    caption = (
        f"Systems by year and {definition} in dB; the area of a mark is the number of "
        "parameters, its shape and color the computing time of one second in seconds."
    )
    listed = "; ".join(
        f"{name}, {row['year']:.0f}: {row['score']:.2f} dB, "
        f"{row['parameters'] / 1e6:.1f} million parameters, {row['seconds']:.2f} s"
        for name, row in shown.iterrows()
    )
    best = shown["score"].idxmax()
    alt = (
        f"{len(shown)} systems; {best} has the highest {definition}, "
        f"{shown['score'][best]:.2f} dB: {listed}."
    )
    return describe(figure, caption, alt)
