"""A protocol: what a comparison will decide, written before its training.

    protocol.toml ─names─▶ grid ─names─▶ recipe
         └──────── one hash of the three texts ────────┘──▶ stored with the scores

Whoever knows the scores finds a metric, a song list or a margin that suits them. So
all of these are fixed in a file, and the scores keep its hash: an analysis with another
protocol is refused. A hash does not prove the date of a file. Commit the protocol
before you train, and the history of the repository does.

    claim = "GLU instead of ReLU raises the usdr of the vocals by 0.5 dB or more."
    grid = "glu.toml"               variants and seeds, see mssedu.training.grid
    data = "musdb18-7s"
    split = "test"
    metric = "usdr"                 in dB, higher is better
    stems = ["vocals"]              the score of a song is their mean
    baseline = "relu"               variants of the grid
    changed = "glu"
    least = 0.5                     dB: the claim
    margin = 0.25                   dB: a difference inside counts as none
    confidence = 0.95               of the interval
    unit = "A song: …"              the unit of analysis, in words
    exclusions = "None."
    stopping = "All runs do 2000 steps."
"""

import hashlib
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mssedu.audio.files import misfit, tupled
from mssedu.errors import InputError, check_name, check_range

_FORM = {
    **dict.fromkeys(("claim", "grid", "data", "split", "metric"), str),
    **dict.fromkeys(("baseline", "changed", "unit", "exclusions", "stopping"), str),
    **dict.fromkeys(("least", "margin", "confidence"), float),
    "stems": [str],
}


@dataclass(frozen=True)
class Protocol:
    """A claim and the rules that decide about it."""

    claim: str
    grid: str  # name of a file beside the protocol
    data: str
    split: str
    metric: str
    stems: tuple[str, ...]
    baseline: str
    changed: str
    least: float  # dB; the claim says so much or more
    margin: float  # dB; a difference inside counts as none
    confidence: float  # of the interval that decides
    unit: str
    exclusions: str
    stopping: str
    sha256: str  # of the texts of protocol, grid and recipe

    @property
    def rules(self) -> dict[str, Any]:
        """All rules by name, without the hash, for a table."""
        names = [field.name for field in fields(self) if field.name != "sha256"]
        return {name: getattr(self, name) for name in names}


def read_protocol(path: str | Path) -> Protocol:
    """Read a protocol and the texts that it names.

    Raises:
        InputError: no such file, a rule that is missing or of another form, or numbers
            that decide nothing.
    """
    path = Path(path)
    text = _text(path)
    document = _parsed(text, path)
    for name in document:
        check_name("rule", name, _FORM, where=str(path))
    if wrong := misfit(document, _FORM):
        raise InputError(
            f"{path}: {wrong}. Write all rules: {', '.join(sorted(_FORM))}."
        )
    if not document["stems"] or document["baseline"] == document["changed"]:
        raise InputError(
            f"{path}: a protocol compares two variants on at least one stem, got stems "
            f"{list(document['stems'])}, baseline {document['baseline']!r} and changed "
            f"{document['changed']!r}. Name two variants of the grid."
        )
    check_range("margin", document["margin"], 0, low_open=True)
    check_range("confidence", document["confidence"], 0.5, 1, high_open=True)
    grid = path.parent / document["grid"]
    texts = [text, _text(grid)]
    recipe = grid.parent / str(_parsed(texts[1], grid).get("recipe", ""))
    if recipe.is_file():  # else it is one of the folder recipes, known by its name
        texts.append(_text(recipe))
    sha256 = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    numbers = {n: float(document[n]) for n in ("least", "margin", "confidence")}
    return Protocol(**tupled(document | numbers), sha256=sha256)


def check_same_protocol(protocol: Protocol, sha256: str, where: str) -> None:
    """Raise InputError if scores were made by another protocol.

    Args:
        protocol: of the analysis.
        sha256: the hash that the scores keep.
        where: the file of the scores.
    """
    if sha256 != protocol.sha256:
        raise InputError(
            f"{where} belongs to a protocol with the hash {sha256[:12]}, and this one "
            f"has {protocol.sha256[:12]}. Take back the changes of protocol, grid and "
            "recipe, or train again: rules that are chosen after the scores prove "
            "nothing."
        )


def _text(path: Path) -> str:
    """The text of a file, with the same line ends on every system."""
    try:
        return path.read_text("utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}. Check its path.") from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}. Correct that line.") from error
