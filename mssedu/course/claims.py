"""Claims and predictions of a notebook: a number beside the bound that it keeps.

    claim    a measured value, and whether it keeps the bound that the text states
    reveal   what the reader predicted, and what came out

A text says "more than 3 dB better"; the reader wants to see by how much, and nbval must
find the same output on every machine. So the output holds the value and the verdict,
and nbval compares the verdict only (tests/nbval_sanitize.cfg leaves the value out).
"""

import math
from typing import Any

from mssedu.course.notebook import profile
from mssedu.errors import InputError


def claim(
    text: str,
    value: Any,
    *,
    above: float | None = None,
    below: float | None = None,
    unit: str = "",
    digits: int = 1,
) -> str:
    """One line for `print`: the value, ✓ or ✗, and the bounds.

    The bounds hold for the profile cpu. Another profile trains less or more: there, a
    value that is out of bounds is not judged.

    Args:
        text: what is measured.
        value: a number, or a tensor or array with one number.
        above, below: bounds that the value must exceed, or stay under; one or both.
        unit: of the value and the bounds, such as "dB" or "%".
        digits: of the value after the point.

    Raises:
        InputError: no bound, or more than one number.

    Example:
        >>> print(claim("gain over the mixture", 3.7, above=3, unit="dB"))
        gain over the mixture: 3.7 dB ✓ (above 3 dB)
    """
    if above is None and below is None:
        raise InputError("claim needs a bound, got none. Set above, below or both.")
    try:
        number = float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"value must be one number, got {type(value).__name__}. Take one, such as "
            "value.min() or value.mean()."
        ) from error
    low = -math.inf if above is None else above
    high = math.inf if below is None else below
    bounds = [
        f"{word} {_with_unit(f'{bound:g}', unit)}"
        for word, bound in (("above", above), ("below", below))
        if bound is not None
    ]
    keeps = low < number < high  # NaN keeps no bound
    shown = _with_unit(f"{number:.{digits}f}", unit)
    if not keeps and (used := profile()) != "cpu":
        return f"{text}: not judged in the profile {used} ({' and '.join(bounds)})"
    verdict = "✓" if keeps else "✗ not"
    return f"{text}: {shown} {verdict} ({' and '.join(bounds)})"


def reveal(prediction: Any, outcome: Any, unit: str = "") -> str:
    """One line for `print`: the reader's prediction beside what came out.

    Args:
        prediction: what the reader has put in place of "?" or "? dB".
        outcome: what came out; numbers have one digit after the point.
        unit: of both, if they are numbers.

    Example:
        >>> print(reveal("?", 5.83, "dB"))
        You did not predict. It is 5.8 dB.
        >>> print(reveal(4, 5.83, "dB"))
        You said 4 dB. It is 5.8 dB.
    """
    shown = f"{outcome:z.1f}" if isinstance(outcome, float) else str(outcome)
    if unit:
        shown = _with_unit(shown, unit)
    text = str(prediction).strip()
    if prediction is ... or not text or text.startswith("?"):
        return f"You did not predict. It is {shown}."
    is_number = isinstance(prediction, int | float)
    said = _with_unit(f"{prediction:g}", unit) if is_number else str(prediction)
    return f"You said {said}. It is {shown}."


def _with_unit(number: str, unit: str) -> str:
    return f"{number} {unit}" if unit else number
