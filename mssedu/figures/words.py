"""Words of captions and alt texts: what numbers say, in plain sentences.

listed    names in one phrase
measured  a number with its unit
named     name and unit in a label of an axis
unit_of   the unit in a label of an axis, such as "usdr (dB)"
topic_of  what a figure is about, from the labels of its axes
course    how a line goes, from its first to its last value
report    the parts of an alt text as one sentence
"""

import math
import re
from collections.abc import Iterable, Sequence

_PLURAL = re.compile("[a-z]{3,}s")  # such as "samples", but not "s" and "ms"
_DUST = 1e-12  # smaller shares of the largest value are errors of rounding


def listed(names: Iterable[str]) -> str:
    """Names in one phrase, as a reader says them.

    Example:
        >>> listed(["drums", "bass", "vocals"])
        'drums, bass and vocals'
    """
    *first, last = map(plain, names)
    return f"{', '.join(first)} and {last}" if first else last


def plain(label: str) -> str:
    """A label without line breaks and without the signs that matplotlib needs.

    Example:
        >>> plain("the long\\nname")
        'the long name'
    """
    return " ".join(label.split()).replace(r"\$", "$")


def name_of(label: str) -> str:
    """The name in the label of an axis, as it stands inside a sentence.

    Example:
        >>> name_of("Window length (samples)"), name_of("MOS (1 … 5)")
        ('window length', 'MOS')
    """
    return lowered(_without_unit(label))


def _without_unit(label: str) -> str:
    return plain(label).rpartition(" (")[0] or plain(label)


def named(label: str) -> str:
    """The name and the unit in the label of an axis, as words.

    Example:
        >>> named("usdr (dB): a ring per seed"), named("MOS (1 … 5)")
        ('usdr in dB', 'MOS (1 … 5)')
    """
    unit = unit_of(label)
    return f"{_without_unit(label)} in {unit}" if unit else plain(label)


def topic_of(ylabel: str, xlabel: str) -> str:
    """What a figure is about, from the labels of its axes.

    Example:
        >>> topic_of("Loss (dB)", "Step")
        'Loss by step'
    """
    return f"{_without_unit(ylabel)} by {name_of(xlabel)}"


def lowered(text: str) -> str:
    """A text with a small first letter, unless it begins with an abbreviation."""
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def unit_of(label: str) -> str:
    """The unit in the label of an axis; empty if there is none.

    Example:
        >>> unit_of("usdr (dB, higher is better)"), unit_of("MOS (1 … 5)")
        ('dB', '')
    """
    unit = plain(label).rpartition(" (")[2].partition(")")[0]
    unit = unit.split(",")[0].split(" re ")[0]
    is_none = " (" not in plain(label) or unit[:1].isdigit() or unit.startswith("-")
    return "" if is_none else unit


def measured(value: float, unit: str = "") -> str:
    """A number with its unit, no more exact than a reader of the figure needs.

    Example:
        >>> measured(14.03, "dB"), measured(4096.2, "samples"), measured(0.01234)
        ('14.0 dB', '4096 samples', '0.0123')
        >>> measured(1, "samples"), measured(1, "ms")
        ('1 sample', '1 ms')
    """
    if unit.startswith("dB"):
        text = f"{value:z.1f}"
    elif 1e9 <= abs(value) < math.inf:
        text = f"{value / 1e9:.3g} billion"
    elif abs(value) >= 999.5 or float(value).is_integer():
        text = f"{value:.0f}"
    else:
        text = f"{value:.3g}"
    if text == "1" and _PLURAL.fullmatch(unit):
        unit = unit.removesuffix("s")
    return f"{text} {unit}".rstrip()


def course(
    places: Sequence[float], values: Sequence[float], at: str = "", unit: str = ""
) -> str:
    """How a line goes: its first and last value, and its highest or lowest between.

    Args:
        places: on the horizontal axis, one for each value.
        values: of the line; what is not finite is left out.
        at: unit of the places.
        unit: of the values.

    Example:
        >>> course([1, 2, 3], [3.0, 2.0, 1.5], unit="dB")
        'falls from 3.0 dB at 1 to 1.5 dB at 3'
        >>> course([1, 2, 3], [1, 5, 2])
        'goes from 1 at 1 to 2 at 3, highest at 2 with 5'
    """
    pairs = zip(places, values, strict=True)
    points = [(x, y) for x, y in pairs if math.isfinite(y)]
    if not points:
        return "has no values"
    (x, _), (end, _) = points[0], points[-1]
    low = min(points, key=lambda point: point[1])
    high = max(points, key=lambda point: point[1])
    # Numbers are compared as they are written: what differs less is not worth a word.
    largest = max(abs(low[1]), abs(high[1]))
    first, last, lowest, highest = (
        measured(y if abs(y) > _DUST * largest else 0.0, unit)
        for _, y in (points[0], points[-1], low, high)
    )
    if lowest == highest:
        return f"stays at {first}"
    ends = f"from {first} at {measured(x, at)} to {last} at {measured(end, at)}"
    if {lowest, highest} == {first, last}:
        return f"{'rises' if last == highest else 'falls'} {ends}"
    words = [
        f"{word} at {measured(place, at)} with {value}"
        for word, (place, _), value in (
            ("highest", high, highest),
            ("lowest", low, lowest),
        )
        if value not in (first, last)
    ]
    return f"goes {ends}, {listed(words)}"


def report(topic: str, parts: Iterable[str]) -> str:
    """The parts of an alt text as one sentence that begins with its topic.

    Example:
        >>> report("usdr by stem", ["drums 5.0 dB", "bass 3.0 dB"])
        'usdr by stem: drums 5.0 dB; bass 3.0 dB.'
    """
    return f"{topic}: {'; '.join(map(plain, parts))}."
