"""The licenses of recordings, as their folders name them.

A CSV file with the columns license and path (or stem) comes first, then the file
LICENSE, COPYING or README in the folder of a recording or in one above it. A text may
name several licenses: those of Creative Commons count first, as they are the ones that
are made for sound. What is not named is unknown, and nothing is guessed.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mssedu.data.folders import entries
from mssedu.data.indexes import STEM_COLUMNS, tables
from mssedu.errors import MssEduWarning

_FILES = re.compile(r"(licen[sc]e|copying|copyright|notice|readme)\b.*", re.IGNORECASE)
_TEXTS = ("", ".txt", ".md", ".rst", ".html", ".htm")
_LONGEST = 200_000  # characters of a text that are read

_ELEMENTS = r"BY(?:[- ]NC)?(?:[- ](?:SA|ND))?\b"
_CC = re.compile(
    rf"\bCC[- ]({_ELEMENTS})(?:[- ]v?(\d\.\d))?"
    rf"|creativecommons\.org/licenses/({_ELEMENTS})(?:/(\d\.\d))?",
    re.IGNORECASE,
)
_CC_LONG = re.compile(
    r"\bAttribution([- ]NonCommercial)?(?:[- ](ShareAlike|NoDeriv)\w*)?"
    r"(?:\s+(\d\.\d))?",
    re.IGNORECASE,
)
# The first of these that a text has is its license.
_OTHERS = (
    ("CC0", r"\bCC0\b|publicdomain/zero"),
    ("all rights reserved", r"all rights reserved|版权所有"),
    ("public domain", r"public domain"),
    ("MIT", r"\bMIT licen[sc]e"),
)
_NO_DERIVATIVES = re.compile(r"\bND\b|no[- ]?deriv|all rights reserved|禁止演绎", re.I)


def licenses_of(
    root: Path, recordings: Mapping[str, tuple[Path, str]], named: Mapping[str, str]
) -> dict[str, str | None]:
    """The license of each recording; None if nothing names it.

    Args:
        root: the folder of all recordings, or the CSV file that lists them.
        recordings: name of a recording -> its path and its stem.
        named: stem -> license, by the user.
    """
    folder = (root if root.is_dir() else root.parent).absolute()
    listed, texts = _listed(root), {}
    found = {}
    for name, (path, stem) in recordings.items():
        above = [*path.absolute().parents]
        near = above[: above.index(folder) + 1] if folder in above else above[:1]
        for one in near:
            if one not in texts:
                texts[one] = _in_folder(one)
        found[name] = (
            named.get(stem)
            or listed.get(str(path.absolute()))
            or listed.get(stem)
            or next((text for one in near if (text := texts[one])), None)
        )
    return found


def no_derivatives(license_name: str) -> bool:
    """Whether a license does not allow to share what was made of a recording.

    Example:
        >>> no_derivatives("CC BY-NC-ND 4.0"), no_derivatives("CC BY-SA 4.0")
        (True, False)
    """
    return _NO_DERIVATIVES.search(license_name) is not None


def warn_of_licenses(sources: Iterable[Mapping[str, Any]]) -> None:
    """Warn of licenses that are unknown, or that forbid to share the mixes.

    Args:
        sources: rows with stem and license, which is None if it is unknown.
    """
    counts = Counter((row["stem"], row["license"]) for row in sources)
    forbidding, unknown = [], []
    for (stem, name), n in sorted(counts.items(), key=str):
        if name is None:
            unknown.append(f"{stem} {n}")
        elif no_derivatives(name):
            forbidding.append(f"{stem} {n} ({name})")
    if forbidding:
        text = (
            f"licenses that allow no derivatives: {', '.join(forbidding)}. The mixes "
            "are for your own use: do not pass them on."
        )
        warnings.warn(text, MssEduWarning, stacklevel=4)
    if unknown:
        text = (
            f"unknown licenses: {', '.join(unknown)}. Name them before you pass the "
            'mixes on: --license dizi="CC BY 4.0", or a file LICENSE beside the '
            "recordings."
        )
        warnings.warn(text, MssEduWarning, stacklevel=4)


def license_in(text: str) -> str | None:
    """The license that a text names, in its short form; None if none is recognized.

    Example:
        >>> license_in("Music: https://creativecommons.org/licenses/by-nc-nd/4.0/")
        'CC BY-NC-ND 4.0'
        >>> license_in("Creative Commons Attribution-ShareAlike 3.0 Unported")
        'CC BY-SA 3.0'
    """
    matches = [(m[1] or m[3], m[2] or m[4]) for m in _CC.finditer(text)]
    if not matches and "creative commons" in text.lower():
        for m in _CC_LONG.finditer(text):
            last = {"s": "-SA", "n": "-ND"}.get((m[2] or "")[:1].lower(), "")
            matches.append((f"BY{'-NC' if m[1] else ''}{last}", m[3]))
    names = dict.fromkeys(
        f"CC {re.sub('[ ]', '-', elements.upper())} {version or ''}".strip()
        for elements, version in matches
    )
    # "CC BY" in the same text as "CC BY 4.0" is the same license.
    whole = [n for n in names if not any(o.startswith(f"{n} ") for o in names)]
    if whole:
        return ", ".join(whole)
    return next((n for n, p in _OTHERS if re.search(p, text, re.IGNORECASE)), None)


def _listed(root: Path) -> dict[str, str]:
    """Absolute path of a file, or stem -> license, in the CSV files of a folder."""
    found = {}
    for file, rows in tables(root, ["license"], ("path", *STEM_COLUMNS)):
        for row in rows:
            stem = next((row[c] for c in STEM_COLUMNS if c in row), "")
            path = row.get("path")
            key = str((file.parent / path).absolute()) if path else stem
            if row["license"]:
                found[key] = row["license"]
    return found


def _in_folder(folder: Path) -> str | None:
    """The license that the texts in a folder name, those called LICENSE first."""
    texts = [
        entry
        for entry in entries(folder)
        if _FILES.fullmatch(entry.name)
        and entry.suffix.lower() in _TEXTS
        and entry.is_file()
    ]
    for path in sorted(texts, key=lambda path: path.name.lower().startswith("readme")):
        with path.open(encoding="utf-8", errors="replace") as file:
            if name := license_in(file.read(_LONGEST)):
                return name
    return None
