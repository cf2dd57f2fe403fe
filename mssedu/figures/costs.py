"""Figures of the HTDemucs lab: what models cost, and what their fusion learned.

    costs_figure       counts of several models, a bar for each way to count
    fusion_figure      shares of several windows in each stem
    attention_figure   the cost of attention against length, with fitted exponents

Notebook: 16.
"""

from collections.abc import Mapping

from mssedu.errors import InputError
from mssedu.figures.style import (
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
from mssedu.figures.words import listed, lowered, measured, plain, report
from mssedu.inspect.attention import AttentionCost, exponent

BAR = 0.8  # of the place that the bars of one model or stem have


def costs_figure(
    costs: Mapping[str, Mapping[str, float | None]], *, xlabel: str
) -> DescribedFigure:
    """A group of bars for each model; a bar for each way to count.

    Args:
        costs: model -> way to count -> number, or None where there is none.
        xlabel: what the numbers are, with their unit.

    Raises:
        InputError: no models.

    Example:
        >>> figure = costs_figure({"htdemucs": {"MACs": 171.3}}, xlabel="Billions")
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['htdemucs']
    """
    check_not_empty("costs", costs, "model")
    ways = list(dict.fromkeys(way for numbers in costs.values() for way in numbers))
    figure, (axes,) = grid(height=0.8 + 0.18 * len(ways) * len(costs))
    parts: list[str] = []
    seen: list[float] = []
    for place, (way, (color, hatch)) in enumerate(fills(ways).items()):
        numbers = [(row, one.get(way)) for row, one in enumerate(costs.values())]
        bars = [(row, value) for row, value in numbers if value is not None]
        at = [row + BAR * ((place + 0.5) / len(ways) - 0.5) for row, _ in bars]
        values = [value for _, value in bars]
        axes.barh(
            at,
            values,
            BAR / len(ways),
            label=way,
            **bar_style(color, hatch),
        )
        seen += values
        each = [f"{list(costs)[row]} {measured(value)}" for row, value in bars]
        parts.append(f"{way}: {', '.join(each) or 'none'}")
    axes.set_yticks(range(len(costs)), list(costs))
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    whole_ticks(axes.xaxis, seen)
    label_lines(figure, axes, xlabel, "")
    caption = f"{plain(xlabel)} of each model: {listed(ways)}."
    most = max(
        ((v, k) for k, c in costs.items() for v in c.values() if v), default=None
    )
    parts += [f"the highest is that of {most[1]}, {measured(most[0])}"] if most else []
    return describe(figure, caption, report(plain(xlabel), parts))


def fusion_figure(shares: Mapping[str, Mapping[int, float]]) -> DescribedFigure:
    """Bars for each stem: how much each window contributes.

    Args:
        shares: stem -> n_fft in samples -> share, see `mssedu.inspect.fusion_shares`.

    Raises:
        InputError: no stems.

    Example:
        >>> figure = fusion_figure({"drums": {2048: 0.7, 8192: 0.3}})
        >>> [round(bar.get_height()) for bar in figure.axes[0].patches]
        [70, 30]
    """
    check_not_empty("shares", shares, "stem")
    sizes = list(dict.fromkeys(size for row in shares.values() for size in row))
    names = [f"{size} samples" for size in sizes]
    figure, (axes,) = grid(height=2.8)
    for place, (name, (color, hatch)) in enumerate(fills(names).items()):
        size = sizes[place]
        at = [
            stem + BAR * ((place + 0.5) / len(sizes) - 0.5)
            for stem in range(len(shares))
        ]
        values = [100 * row.get(size, 0.0) for row in shares.values()]
        axes.bar(
            at,
            values,
            BAR / len(sizes),
            label=name,
            **bar_style(color, hatch),
        )
    axes.set_xticks(range(len(shares)), list(shares))
    axes.axhline(100 / len(sizes), color="black", linewidth=0.8, linestyle=":")
    axes.set_axisbelow(True)
    label_lines(figure, axes, "Stem", "Share of a window (%)")
    caption = (
        f"Share of each window in % of each stem: {listed(names)}; the dotted line is "
        "an equal share."
    )
    parts = []
    for stem, row in shares.items():
        size = max(row, key=lambda size: row[size])
        parts.append(f"{stem} {size} samples with {100 * row[size]:.0f} %")
    return describe(figure, caption, report("Largest shares", parts))


def attention_figure(costs: Mapping[str, AttentionCost]) -> DescribedFigure:
    """The cost of each kind of attention against length, on logarithmic axes.

    A second panel shows the time, where it was measured. The legend has the exponent: 2
    means that twice the length costs four times as much.

    Args:
        costs: kind -> its costs, see `mssedu.inspect.attention_costs`.

    Raises:
        InputError: no kinds, or times of some kinds only.

    Example:
        >>> cost = AttentionCost((10, 20), (100, 400), ())
        >>> figure = attention_figure({"quadratic": cost})
        >>> figure.axes[0].get_lines()[0].get_label()
        'quadratic, exponent 2.00'
    """
    check_not_empty("costs", costs, "kind of attention")
    timed = {bool(cost.seconds) for cost in costs.values()}
    if len(timed) > 1:
        raise InputError(
            "costs has times of some kinds of attention only. Measure all of them with "
            "attention_costs(lengths, timed=True)."
        )
    titles = ["Operations", "Time"] if timed == {True} else ["Operations"]
    figure, panels = grid(titles, len(titles), height=3.2)
    parts = []
    for axes, title in zip(panels, titles, strict=True):
        for label, (color, marker, style) in looks(costs).items():
            cost = costs[label]
            values = cost.seconds if title == "Time" else cost.flops
            power = exponent(cost.lengths, values)
            name = f"{label}, exponent {power:.2f}"
            axes.plot(cost.lengths, values, marker + style, color=color, label=name)
            unit = "s" if title == "Time" else "FLOPs"
            last = f"{measured(values[-1], unit)} at {cost.lengths[-1]} positions"
            parts.append(f"{lowered(title)} of {name}, {last}")
        axes.set(xscale="log", yscale="log", xlabel="Length (positions)")
        lengths = sorted({n for cost in costs.values() for n in cost.lengths})
        axes.set_xticks(lengths, map(str, lengths))
        axes.set_xticks([], minor=True)
        axes.set_ylabel("Seconds" if title == "Time" else "FLOPs")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    what = listed([titles[0], *map(lowered, titles[1:])])
    caption = (
        f"{what} of {listed(costs)} by length in positions, on logarithmic "
        "axes; with an exponent of 2, twice the length costs four times as much."
    )
    return describe(figure, caption, report("Cost by length", parts))
