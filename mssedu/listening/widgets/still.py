"""The picture of a widget in a saved notebook, where no Python is behind the page.

    name  ~~~~~~waveform~~~~~~      a lane for each sound
    name  ~~~~~~waveform~~~~~~
    [Play]  [1 A]  ──o── Volume     its controls, which cannot be used
    StemMixer(…): run the cell to listen

GitHub, an HTML export and a notebook that was opened but not run show this picture. It
is one PNG of few colors, and its words are also its alt text. Notebook: 13.
"""

import base64
import functools
import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

WIDTH = 640  # pixels; a column of text on a page is wider
_NAMES = 120  # pixels; width of the names
_LANE, _ROW = 36, 30  # pixels; height of a lane, and of a row of controls
_EDGE = 10  # pixels around everything
_COLUMNS = WIDTH - _NAMES - 2 * _EDGE  # of a waveform
_INK, _PALE, _FACE, _PAPER = "#333333", "#999999", "#eeeeee", "#ffffff"
_COLORS = 24  # of the PNG, so that it is small
_LETTERS = 88  # of a line of text

Control = tuple[Literal["button", "slider"], str]


@dataclass(frozen=True)
class Lane:
    """A sound in the picture: (columns,) peaks 0 … 1, (rows, columns) levels, or none.

    None is a line, for a sound that must not be recognized. Row 0 of levels 0 … 1 is
    the lowest frequency.
    """

    name: str
    content: NDArray[Any] | None = None
    color: str = "#0072b2"


def wave(sound: Tensor) -> NDArray[Any]:
    """Peaks under the columns of pixels: (channels, samples) to (columns,), 0 … 1."""
    peaks = sound.abs().amax(0).numpy()
    edges = np.linspace(0, len(peaks), _COLUMNS + 1).astype(int)[:-1]
    return np.minimum(np.maximum.reduceat(peaks, edges), 1.0)


def picture_data(
    text: str, lanes: list[Lane], controls: list[Control], purpose: str = "listen"
) -> tuple[str, dict[str, Any]]:
    """A PNG in base64 and its metadata for a notebook: alt text, width and height.

    Args:
        text: what the widget is, such as its repr.
        lanes: its sounds, from top to bottom.
        controls: its buttons and sliders.
        purpose: why to run the cell.
    """
    line = f"{text}: run the cell to {purpose}"
    image = _draw(textwrap.wrap(line, _LETTERS), lanes, controls)
    small = image.quantize(_COLORS, dither=Image.Dither.NONE)
    small.save(file := io.BytesIO(), "PNG", optimize=True)
    names = ", ".join(lane.name for lane in lanes if lane.name)
    alt = f"{line}. The picture shows {names}." if names else f"{line}."
    size = {"width": image.width, "height": image.height}
    return base64.b64encode(file.getvalue()).decode(), {"alt": alt, **size}


def _draw(lines: list[str], lanes: list[Lane], controls: list[Control]) -> Image.Image:
    heights = [_height(lane) for lane in lanes]
    rows = _rows_of(controls)
    height = sum(heights) + _ROW * len(rows) + 18 * len(lines) + 2 * _EDGE
    image = Image.new("RGB", (WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH - 1, height - 1), outline=_PALE)
    top = _EDGE
    for lane, high in zip(lanes, heights, strict=True):
        _draw_lane(image, draw, lane, top, high)
        top += high
    for row in rows:
        for left, control in row:
            _draw_control(draw, control, left, top)
        top += _ROW
    for line in lines:
        draw.text((_EDGE, top), line, _INK, _font(12))
        top += 18
    return image


def _height(lane: Lane) -> int:
    return 3 * _LANE if lane.content is not None and lane.content.ndim == 2 else _LANE


def _draw_lane(
    image: Image.Image, draw: ImageDraw.ImageDraw, lane: Lane, top: int, high: int
) -> None:
    left, middle = _EDGE + _NAMES, top + high // 2
    name, font = _name_of(lane)
    draw.multiline_text((_EDGE, middle), name, _INK, font, anchor="lm", spacing=2)
    if lane.content is None:
        draw.line((left, middle, left + _COLUMNS, middle), _PALE)
    elif lane.content.ndim == 2:
        steps = (lane.content[::-1] * 15).round() / 15  # few levels make it small
        colors = matplotlib.colormaps["magma"](steps, bytes=True)[:, :, :3]
        size = _COLUMNS, high - 4
        part = Image.fromarray(colors).resize(size, Image.Resampling.NEAREST)
        image.paste(part, (left, top + 2))
    else:
        for x, peak in enumerate(lane.content):
            half = round(float(peak) * (high / 2 - 2))
            draw.line((left + x, middle - half, left + x, middle + half), lane.color)


def _name_of(lane: Lane) -> tuple[str, ImageFont.FreeTypeFont]:
    """The name of a lane in one line, or in two lines of smaller letters."""
    wide = _NAMES - 8  # a gap before the waveform
    if _font(13).getlength(lane.name) <= wide:
        return lane.name, _font(13)
    font = _font(11)
    lines = textwrap.wrap(lane.name, 20)
    kept = [line for line in (*lines[:1], " ".join(lines[1:])) if line]
    for place, line in enumerate(kept):
        while font.getlength(line) > wide:
            line = f"{line.removesuffix('…')[:-1]}…"
        kept[place] = line
    return "\n".join(kept), font


def _rows_of(controls: list[Control]) -> list[list[tuple[int, Control]]]:
    """The controls in rows, each with its left edge."""
    rows: list[list[tuple[int, Control]]] = []
    left = WIDTH
    for control in controls:
        wide = round(_font(12).getlength(control[1])) + (
            20 if control[0] == "button" else 80
        )
        if left + wide > WIDTH - _EDGE:
            rows.append([])
            left = _EDGE
        rows[-1].append((left, control))
        left += wide + 10
    return rows


def _draw_control(
    draw: ImageDraw.ImageDraw, control: Control, left: int, top: int
) -> None:
    kind, label = control
    middle = top + _ROW // 2
    wide = round(_font(12).getlength(label))
    if kind == "button":
        box = (left, top + 4, left + wide + 20, top + _ROW - 4)
        draw.rounded_rectangle(box, 4, _FACE, _PALE)
        draw.text((left + 10, middle), label, _INK, _font(12), anchor="lm")
        return
    draw.text((left, middle), label, _INK, _font(12), anchor="lm")
    start = left + wide + 8
    draw.line((start, middle, start + 66, middle), _PALE, 3)
    draw.ellipse((start + 28, middle - 5, start + 38, middle + 5), _INK)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size)
