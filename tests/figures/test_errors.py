"""Figures of an error analysis show the numbers that they were given."""

import matplotlib
import pytest
import torch

from mssedu.errors import InputError
from mssedu.evaluation.error_windows import Windows
from mssedu.figures.errors import (
    bleed_figure,
    excerpt_figure,
    level_figure,
    track_figure,
)

STEMS = ("vocals", "gong")


@pytest.fixture
def windows():
    seconds = torch.arange(1, 9) / 2
    level = torch.stack([torch.linspace(-50, -10, 8), torch.full((8,), -20.0)])
    scores = level + 30
    audible = torch.ones(2, 8).bool()
    audible[0, :2] = False
    scores[1, 5], level[1, 5], audible[1, 5] = torch.nan, -torch.inf, False
    return Windows(seconds, scores, level, audible)


def drawn(figure):
    """A figure that can be saved without a warning."""
    figure.draw_without_rendering()
    return figure


def test_bleed_has_its_numbers_in_the_cells():
    bleed = torch.tensor([[-0.2, -20.4], [torch.nan, -61.0]])
    errors = torch.tensor([[-12.0, -70.0], [3.0, -5.0], [-30.0, -9.0]])
    names = (*STEMS, "artifacts")
    figure = drawn(bleed_figure({"Bleed": bleed, "Errors": errors}, names, STEMS))
    left, right, _ = figure.axes
    texts = {t.get_position(): t.get_text() for t in left.texts}
    # (column, row); nothing where there is no number, and never "-0"
    assert texts == {(0, 0): "0", (1, 0): "-20", (1, 1): "< -60"}
    assert [t.get_text() for t in right.texts] == [
        "-12",
        "< -60",
        "3",
        "-5",
        "-30",
        "-9",
    ]
    assert [t.get_text() for t in left.get_yticklabels()] == list(STEMS)
    assert [t.get_text() for t in right.get_yticklabels()] == list(names)
    own = [t.get_text() for t in right.texts if t.get_weight() == "bold"]
    assert own == ["-12", "-5"]


def test_bleed_numbers_can_be_read_on_their_color():
    """WCAG: a contrast of 3 at least, for letters of this size and weight."""
    values = torch.linspace(-40, 0, 81)[None]
    names = [""] * 81
    (axes, _) = bleed_figure({"": values}, ("",), names).axes
    (image,) = axes.images

    def luminance(color):
        rgb = torch.tensor(matplotlib.colors.to_rgb(color))
        linear = torch.where(rgb < 0.04, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ torch.tensor([0.2126, 0.7152, 0.0722]))

    for text, value in zip(axes.texts, values[0].tolist(), strict=True):
        behind = luminance(image.cmap(image.norm(value)))
        light, dark = sorted((behind, luminance(text.get_color())), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 3


def test_songs_share_one_color_scale():
    quiet, loud = (
        bleed_figure({"": torch.full((2, 2), db)}, STEMS, STEMS).axes[0].images[0]
        for db in (-35.0, -1.0)
    )
    assert quiet.get_clim() == loud.get_clim()
    assert quiet.cmap.name == "cividis"


def test_track_line_is_broken_where_nothing_is_judged(windows):
    figure = drawn(track_figure(windows, STEMS, marked=(1.0, 2.0)))
    for axes, stem, scores, audible in zip(
        figure.axes, STEMS, windows.usdr, windows.audible, strict=False
    ):
        assert axes.get_title(loc="left") == stem
        line = next(line for line in axes.lines if len(line.get_xdata()) == 8)
        shown = torch.tensor(line.get_ydata())
        assert torch.equal(shown.isnan(), ~audible)
        assert torch.equal(shown[audible], scores[audible])
    assert figure.axes[1].get_xlabel() == "Time (seconds)"
    assert len({axes.lines[-1].get_color() for axes in figure.axes[:2]}) == 2
    marks = [patch for hill in figure.axes[2:] for patch in hill.patches]
    assert [patch.get_x() for patch in marks] == [1.0, 1.0]
    assert not track_figure(windows, STEMS).axes[2].patches


def test_level_figure_has_a_dot_for_each_window(windows):
    figure = drawn(level_figure(windows, STEMS))
    for axes, n in zip(figure.axes, (8, 7), strict=True):
        dots, median = axes.lines[:2]
        assert len(dots.get_xdata()) == n  # without the silent one
        assert torch.allclose(
            torch.tensor(median.get_ydata()),
            torch.tensor(median.get_xdata()) + 30,
            atol=3.0,
        )
    assert figure.get_supylabel() == "usdr (dB)"


def test_level_figure_of_many_stems_wraps(windows):
    many = Windows(
        windows.seconds,
        *(part[:1].expand(6, -1) for part in (windows.usdr, windows.level_db)),
        windows.audible[:1].expand(6, -1),
    )
    figure = drawn(level_figure(many, [str(number) for number in range(6)]))
    assert [axes.get_visible() for axes in figure.axes] == 6 * [True] + 2 * [False]


def test_a_stem_that_is_always_silent_is_an_empty_panel(windows):
    silent = Windows(
        windows.seconds,
        torch.full((1, 8), torch.nan),
        torch.full((1, 8), -torch.inf),
        torch.zeros(1, 8).bool(),
    )
    drawn(track_figure(silent, ["vocals"]))
    drawn(level_figure(silent, ["vocals"]))


def test_excerpts_share_one_scale_and_mark_the_window():
    sounds = {
        "mixture": torch.randn(2, 24000),
        "estimate": 0.01 * torch.randn(2, 24000),
    }
    figure = drawn(excerpt_figure(sounds, 8000, 1.5))
    panels = figure.axes[:2]
    assert len({axes.images[0].get_clim() for axes in panels}) == 1
    for axes in panels:
        assert [line.get_xdata()[0] for line in axes.lines] == [1.0, 2.0]


def test_what_they_refuse(windows):
    with pytest.raises(InputError, match="matrices is empty"):
        bleed_figure({}, STEMS, STEMS)
    with pytest.raises(InputError, match=r"matrices.*\(3, 2\)"):
        bleed_figure({"A": torch.zeros(3, 2)}, STEMS, STEMS)
    for make in (track_figure, level_figure):
        with pytest.raises(InputError, match="stems must be 2 names"):
            make(windows, ["vocals"])
