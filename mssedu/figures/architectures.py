"""Drawings of the networks: blocks with their sizes, skips, branches, and what mixes.

    architecture_figure("htdemucs")          one architecture, in the paper's size
    architecture_figure(model)               a model of your own settings
    architecture_text("htdemucs")            the same in words, for a screen reader

Signals go down on the left and up on the right. A colored edge says what a block
compares: moments (↔), bins or bands (↕), or both. blueprints.py says which blocks an
architecture has; sizes, kernels and numbers are measured in a model. For a report, save
the figure as a vector: `figure.savefig("htdemucs.svg")`.

Notebook: 15.
"""

import textwrap
from collections.abc import Sequence

import matplotlib
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import nn

from mssedu.figures.blueprints import (
    BLUEPRINTS,
    Block,
    Branch,
    Measured,
    Row,
    measure,
)
from mssedu.figures.style import (
    DPI,
    MIXES,
    STYLE,
    WIDTH,
    DescribedFigure,
    describe,
)

LINE, INK, PALE = "#595959", "#222222", "#595959"  # at least 7 : 1 on white
_SIGNS = {"time": "↔", "bands": "↕", "both": "↔↕", "": ""}
_WORDS = {"time": "moments", "bands": "bins or bands", "both": "both"}
_MOST_LEVELS = 7  # of one U; of more, the first three and the last two are drawn
_TEXT, _SIZE = 8.0, 7.0  # points
_GAP, _STRIP, _HEADER = 0.16, 0.22, 0.62  # inches


def architecture_figure(
    model: str | nn.Module, preset: str = "paper"
) -> DescribedFigure:
    """Draw an architecture: its blocks, sizes, skips and branches.

    The sizes are those of one second of sound. They are measured: the model runs once.

    Args:
        model: a name of `mssedu.list_models()`, or "glu" for a gated linear unit; or a
            model.
        preset: of an architecture that is given by name.

    Raises:
        InputError: an unknown name or preset, or a model of another kind.

    Example:
        >>> figure = architecture_figure("open_unmix", "tiny")
        >>> figure.alt[:41]
        'Open-Unmix, 2019: BiLSTM on the magnitude'
    """
    measured = measure(model, preset)
    figure = _Drawing(measured).figure
    caption = (
        f"{measured.blueprint.title}. Domain: {measured.blueprint.domain}. "
        f"{_parameters(measured)}. Sizes for one second of sound."
    )
    return describe(figure, caption, _text(measured))


def architecture_text(model: str | nn.Module, preset: str = "paper") -> str:
    """What `architecture_figure` shows, in sentences; arguments and errors as there.

    Example:
        >>> architecture_text("glu", "tiny")[-45:]
        'ins or bands: 0. Blocks that compare both: 0.'
    """
    return _text(measure(model, preset))


def architecture_names() -> list[str]:
    """The names that have a drawing."""
    return list(BLUEPRINTS)


def _parameters(measured: Measured) -> str:
    each = " for each stem" if measured.blueprint.per_stem else ""
    return f"{measured.n_parameters:,} parameters{each}"


# ---- words --------------------------------------------------------------------------


def _text(measured: Measured) -> str:
    blueprint = measured.blueprint
    parts = [f"{blueprint.title}; {_parameters(measured)}"]
    for branch in measured.branches:
        name = f"{branch.name}: " if branch.name else ""
        down = [row.down for row in branch.rows if row.down]
        up = [row.up for row in reversed(branch.rows) if row.up]
        parts.append(f"{name}Down: {_listed(down)}; then up: {_listed(up)}")
        if skips := [row.skip for row in branch.rows if row.skip]:
            kinds = ", ".join(f"{skips.count(k)} × “{k}”" for k in dict.fromkeys(skips))
            parts.append(f"Skips from left to right: {kinds}")
    if measured.bottom:
        times = f"{measured.rounds} rounds of " if measured.rounds else ""
        parts.append(f"Between down and up: {times}{_listed(measured.bottom)}")
    for path in measured.paths:
        parts.append(f"A U-Net over {path.name}: {_listed(path.blocks)}")
    for mixes, word in _WORDS.items():
        count = sum(block.mixes == mixes for block in measured.blocks)
        parts.append(f"Blocks that compare {word}: {count}")
    return ". ".join(parts) + "."


def _listed(blocks: Sequence[Block]) -> str:
    return ", ".join(
        block.text + f" ({block.size})" * bool(block.size) for block in blocks
    )


# ---- drawing ------------------------------------------------------------------------


class _Drawing:
    """One figure; lengths are inches, and y grows upward."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        self.branches = [_shortened(branch) for branch in measured.branches]
        two = len(self.branches) == 2
        self.width = 1.72 if two else 3.0  # of a box
        self.small = 6.5 if two else _SIZE  # points, of sizes
        self.columns = (0.96, 2.98, 5.02, 7.04) if two else (1.75, 6.25)
        n_rows = max(len(branch.rows) for branch in self.branches)
        self.heights = [self._row_height(index) for index in range(n_rows)]
        self.header = _HEADER + 0.12 * two
        total = self.header + 0.3 + sum(self.heights) + n_rows * _GAP
        total += self._bottom_height() + 0.36
        with matplotlib.rc_context(STYLE):
            self.figure = DescribedFigure(figsize=(WIDTH, total), dpi=DPI)
            # From "none" at once, matplotlib would go back to STYLE's at savefig.
            self.figure.set_layout_engine("constrained")
            self.figure.set_layout_engine("none")
            self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, total))
        self.axes.axis("off")
        self.total = total
        self.ends: list[tuple[float, float]] = []  # x, y: down, up of each branch
        self._has_bottom = bool(measured.bottom or measured.paths)
        self._header()
        below = self._rows()
        self._bottom(below)
        self._legend()

    # ---- sizes

    def _lines(self, text: str, width: float) -> list[str]:
        room = width - _STRIP - 0.18
        return textwrap.wrap(text, max(8, int(room * 72 / (_TEXT * 0.52))))

    def _height(self, block: Block | None, width: float) -> float:
        if block is None or block.text == "…":
            return 0.2
        return (
            0.16 * len(self._lines(block.text, width)) + 0.14 * bool(block.size) + 0.1
        )

    def _row_height(self, index: int) -> float:
        rows = [b.rows[index] for b in self.branches if index < len(b.rows)]
        blocks = [block for row in rows for block in (row.down, row.up)]
        return max(self._height(block, self.width) for block in blocks)

    def _bottom_height(self) -> float:
        measured = self.measured
        if measured.paths:
            rows = max(len(path.blocks) for path in measured.paths)
            return 0.3 + 0.32 + rows * 0.44 + (rows - 1) * 0.2 + 0.12
        if not measured.bottom:
            return 0.0
        if len(self.branches) == 2:
            return sum(self._height(b, 6.0) + 0.06 for b in measured.bottom) + 0.22
        return self._chain_height() + 0.3 + 0.24 * bool(measured.rounds)

    def _chain_height(self) -> float:
        bottom = self.measured.bottom
        return max(self._height(block, self._chain_width()) for block in bottom)

    def _chain_width(self) -> float:
        n = len(self.measured.bottom)
        return min(3.0, (7.5 - 0.3 * (n - 1)) / n)

    # ---- parts

    def _header(self) -> None:
        blueprint, top = self.measured.blueprint, self.total
        self._write(0.1, top - 0.22, blueprint.title, 11, weight="bold", ha="left")
        about = f"{blueprint.domain} · {_parameters(self.measured)} · sizes for 1 s"
        self._write(0.1, top - 0.45, about, 8, color=PALE, ha="left")

    def _rows(self) -> float:
        """Draw all rows; returns the y below them."""
        top = self.total - self.header - 0.3
        places = [(0, 1), (3, 2)]  # of down and up; the second branch is mirrored
        for (down, up), branch in zip(places, self.branches, strict=False):
            x_down, x_up = self.columns[down], self.columns[up]
            self._ends(x_down, x_up, top, branch)
            y, last_down, last_up = top, top, top
            for row, height in zip(branch.rows, self.heights, strict=False):
                middle = y - height / 2
                last_down = self._down(row.down, x_down, middle, last_down)
                last_up = self._up(row.up, x_up, middle, last_up)
                is_turn = row is branch.rows[-1] and not self._has_bottom
                self._skip(row, x_down, x_up, middle, is_turn)
                y -= height + _GAP
            self.ends += [(x_down, last_down), (x_up, last_up)]
        return top - sum(self.heights) - _GAP * (len(self.heights) - 1)

    def _ends(self, x_down: float, x_up: float, top: float, branch: Branch) -> None:
        """The words above the columns."""
        measured, two = self.measured, len(self.branches) == 2
        mixture = f"mixture: {measured.mixture}"
        self._write(x_down, top + 0.14, mixture, _SIZE, color=PALE)
        if not two:
            estimate = measured.estimate
            self._write(x_up, top + 0.14, estimate, _SIZE, color=PALE)
            return
        if x_up < x_down:  # drawn once, between the two branches
            middle, y = WIDTH / 2, top + 0.14
            for column in self.columns[1:3]:
                self.axes.plot([column, column], [top, y], color=LINE, lw=1)
                end = middle + (0.1 if column > middle else -0.1)
                self._arrow(column, y, end, y)
            self._write(middle, y, "+", 10, pill=True)
            self._write(middle, y + 0.2, measured.estimate, _SIZE, PALE)

    def _down(self, block: Block | None, x: float, y: float, above: float) -> float:
        """A box on the way down, with the line to it; returns its lower end."""
        if block is None:
            return above
        half = self._height(block, self.width) / 2
        self._arrow(x, above, x, y + half)
        self._box(block, x, y, self.width)
        return y - half

    def _up(self, block: Block | None, x: float, y: float, above: float) -> float:
        if block is None:
            return above
        half = self._height(block, self.width) / 2
        self._arrow(x, y + half, x, above)
        self._box(block, x, y, self.width)
        return y - half

    def _skip(
        self, row: Row, x_down: float, x_up: float, y: float, is_turn: bool
    ) -> None:
        """The line from left to right; at the turn it is the signal itself."""
        if not (row.skip or is_turn):
            return
        half = self.width / 2 if x_up > x_down else -self.width / 2
        self._arrow(x_down + half * (row.down is not None), y, x_up - half, y)
        if row.down is None:
            self.axes.plot([x_down], [y], "o", color=LINE, ms=3.5)
        if not is_turn:
            self._write((x_down + x_up) / 2, y, row.skip, 8, pill=True)

    def _bottom(self, below: float) -> None:
        measured = self.measured
        if measured.paths:
            self._dense_paths(below - _GAP)
        elif len(self.branches) == 2:
            self._shared(below - _GAP)
        elif measured.bottom:
            self._chain(below - _GAP - 0.2 * bool(measured.rounds))

    def _chain(self, top: float) -> None:
        """Boxes from left to right, with a frame if they are repeated."""
        bottom, width = self.measured.bottom, self._chain_width()
        height, n = self._chain_height(), len(bottom)
        y, step = top - height / 2, width + 0.3
        centers = [WIDTH / 2 + (i - (n - 1) / 2) * step for i in range(n)]
        for index, (block, x) in enumerate(zip(bottom, centers, strict=True)):
            self._box(block, x, y, width, height)
            if index:
                self._arrow(x - step + width / 2, y, x - width / 2, y)
        left, right = centers[0] - width / 2, centers[-1] + width / 2
        if self.measured.rounds:
            left, right = left - 0.12, right + 0.12
            frame = (left, y - height / 2 - 0.09), right - left, height + 0.18
            self._frame(*frame)
            label = f"{self.measured.rounds} rounds"
            self._write(WIDTH / 2, y + height / 2 + 0.09, label, 8, pill=True)
        (x_down, down), (x_up, up) = self.ends
        if left + 0.1 < x_down:
            edge = y + height / 2 + 0.09 * bool(self.measured.rounds)
            self._arrow(x_down, down, x_down, edge)
            self._arrow(x_up, edge, x_up, up)
        else:
            self.axes.plot([x_down, x_down], [down, y], color=LINE, lw=1)
            self._arrow(x_down, y, left, y)
            self.axes.plot([right, x_up], [y, y], color=LINE, lw=1)
            self._arrow(x_up, y, x_up, up)

    def _shared(self, top: float) -> None:
        """One wide panel below two branches, with a strip for each block."""
        x, width = WIDTH / 2, 7.8
        for place, (column, end) in enumerate(self.ends):
            if place % 2 == 0:
                self._arrow(column, end, column, top)
            else:
                self._arrow(column, top, column, end)
        y = top
        for block in self.measured.bottom:
            height = self._height(block, 6.0)
            self._box(block, x, y - height / 2, width)
            y -= height + 0.06

    def _dense_paths(self, top: float) -> None:
        """A panel, and below it a column for each path."""
        paths = self.measured.paths
        split = Block("split into bands; then the bands on each other, all bins beside")
        self._box(split, WIDTH / 2, top - 0.15, 7.8, 0.3)
        for place, (column, end) in enumerate(self.ends):
            first, second = (end, top) if place % 2 == 0 else (top, end)
            self._arrow(column, first, column, second)
        width = (7.8 - 0.15 * (len(paths) - 1)) / len(paths)
        for index, path in enumerate(paths):
            x = 0.1 + width / 2 + index * (width + 0.15)
            above, y = top - 0.3, top - 0.3 - 0.32
            for block in path.blocks:
                self._arrow(x, above, x, y, both=True)
                self._box(block, x, y - 0.22, width, 0.44)
                above, y = y - 0.44, y - 0.44 - 0.2
            self._write(x + 0.08, top - 0.46, path.name, 8, ha="left", weight="bold")

    def _legend(self) -> None:
        x = 0.1
        self._write(x, 0.16, "A block compares", 8, color=PALE, ha="left")
        x += 1.15
        for mixes, word in _WORDS.items():
            self._strip(mixes, x, 0.07, 0.18)
            self._write(x + _STRIP + 0.06, 0.16, word, 8, color=INK, ha="left")
            x += _STRIP + 0.28 + 0.062 * len(word)
        text = "the first number of a size: channels or features"
        if self.measured.paths:
            text = "each column is a U-Net, folded: down and up in one box"
        self._write(WIDTH - 0.1, 0.16, text, 7.5, color=PALE, ha="right")

    # ---- pens

    def _box(
        self, block: Block, x: float, y: float, width: float, height: float = 0.0
    ) -> None:
        if block.text == "…":
            self._write(x, y, "⋮", 11, color=PALE, pill=True)
            return
        height = height or self._height(block, width if width < 5 else 6.0)
        left, low = x - width / 2, y - height / 2
        color = MIXES.get(block.mixes, LINE)
        face = (*matplotlib.colors.to_rgb(color), 0.07) if block.mixes else "white"
        for fill in ("white", face):
            self.axes.add_patch(
                Rectangle((left, low), width, height, fc=fill, ec=color, lw=1, zorder=2)
            )
        if block.mixes:
            self._strip(block.mixes, left, low, height)
        shift = _STRIP / 2 if block.mixes else 0.0
        lines = self._lines(block.text, width)
        n_lines = len(lines) + bool(block.size)
        start = y + 0.075 * (n_lines - 1)
        for index, line in enumerate(lines):
            self._write(x + shift, start - 0.15 * index, line, _TEXT)
        if block.size:
            place = start - 0.15 * len(lines)
            self._write(x + shift, place, block.size, self.small, color=PALE)

    def _strip(self, mixes: str, left: float, low: float, height: float) -> None:
        self.axes.add_patch(
            Rectangle((left, low), _STRIP, height, fc=MIXES[mixes], ec="none", zorder=3)
        )
        sign, middle = _SIGNS[mixes], low + height / 2
        self._write(left + _STRIP / 2, middle, sign, 8, color="white", zorder=4)

    def _frame(self, corner: tuple[float, float], width: float, height: float) -> None:
        style = "round,pad=0,rounding_size=0.06"
        self.axes.add_patch(
            FancyBboxPatch(
                corner, width, height, style, fc="none", ec=LINE, lw=1, ls="--"
            )
        )

    def _arrow(
        self, x0: float, y0: float, x1: float, y1: float, *, both: bool = False
    ) -> None:
        style = "<|-|>" if both else "-|>"
        self.axes.annotate(
            "",
            (x1, y1),
            (x0, y0),
            arrowprops={
                "arrowstyle": f"{style},head_width=0.16,head_length=0.32",
                "color": LINE,
                "lw": 1,
                "shrinkA": 0,
                "shrinkB": 0,
            },
            zorder=1,
        )

    def _write(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        color: str = INK,
        *,
        ha: str = "center",
        weight: str = "normal",
        pill: bool = False,
        zorder: float = 5,
    ) -> None:
        box = {"boxstyle": "round,pad=0.18", "fc": "white", "ec": "none"}
        self.axes.text(
            x,
            y,
            text,
            fontsize=size,
            color=color,
            ha=ha,
            va="center_baseline" if not pill else "center",
            weight=weight,
            bbox=box if pill else None,
            zorder=zorder,
        )


def _shortened(branch: Branch) -> Branch:
    """The branch with an ellipsis in place of levels that are too many to draw."""
    levels = [index for index, row in enumerate(branch.rows) if row.levels]
    if len(levels) <= _MOST_LEVELS:
        return branch
    first, last = levels[2], levels[-2]
    dots = Row(Block("…"), Block("…"), levels="…")
    return Branch(branch.name, (*branch.rows[: first + 1], dots, *branch.rows[last:]))
