"""How a user names the stems to estimate: stems of the song, sums, or all but some.

    vocals                          the stem of that name
    accompaniment=drums+bass+other  the sum of these stems
    instrumental=-vocals            the whole mixture without this stem
    instrumental=-vocals-choir      the whole mixture without these stems
    no_vocals                       short for no_vocals=-vocals

If a song has a stem called no_vocals, that stem is meant. The names instrumental and
accompaniment mean the mixture without the vocals, unless the song has such a stem or
the user writes something else. This file does not import torch, so that every --help
starts at once.
"""

import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mssedu.errors import InputError, check_name

WITHOUT = "no_"  # no_vocals is the mixture without the vocals
CUSTOMARY = {"instrumental": ("vocals",), "accompaniment": ("vocals",)}
_FORM = re.compile(r"(-[^+-]+)+|[^+-][^+]*(\+[^+]+)*")  # after the "="


@dataclass(frozen=True)
class StemRule:
    """What one stem consists of."""

    name: str
    members: tuple[str, ...]  # stems to sum, or to subtract from the mixture
    from_mixture: bool = False  # the mixture without the members, not their sum
    explicit: bool = False  # the user wrote the members, after a "="

    def __str__(self) -> str:
        """The name, and in brackets the members, unless the name alone says them."""
        if self.from_mixture:
            return f"{self.name} (mixture − {' − '.join(self.members)})"
        if self.explicit:
            return f"{self.name} ({' + '.join(self.members)})"
        return self.name


def parse_stem(text: str) -> StemRule:
    """Read one stem as the user wrote it.

    Raises:
        InputError: there is no name, or the part after the "=" cannot be read.

    Example:
        >>> parse_stem("band=drums+bass").members
        ('drums', 'bass')
        >>> parse_stem("instrumental=-vocals").from_mixture
        True
    """
    name, equals, members = (part.strip() for part in text.partition("="))
    if not name or (equals and not _FORM.fullmatch(members)):
        raise InputError(
            f"stems: cannot read {text[:100]!r}. Write NAME, NAME=STEM+STEM or "
            "NAME=-STEM, such as instrumental=-vocals."
        )
    if not equals:
        return StemRule(name, (name,))
    from_mixture = members.startswith("-")
    parts = members[1:].split("-") if from_mixture else members.split("+")
    return StemRule(name, tuple(p.strip() for p in parts), from_mixture, explicit=True)


def stem_names(stems: Sequence[str]) -> tuple[str, ...]:
    """The names of stems, without what they consist of.

    Raises:
        InputError: no stem, a name twice, or a stem that cannot be read.

    Example:
        >>> stem_names(["vocals", "band=drums+bass"])
        ('vocals', 'band')
    """
    is_texts = isinstance(stems, Sequence) and all(isinstance(s, str) for s in stems)
    names = tuple(parse_stem(text).name for text in stems if text) if is_texts else ()
    if not names or len(set(names)) < len(stems):
        raise InputError(
            "stems must be at least one name, each only once, got "
            f"{reprlib.repr(stems)}."
        )
    return names


def resolve(where: str, stems: Sequence[str], known: Iterable[str]) -> list[StemRule]:
    """What each stem consists of in a song that has the stems `known`.

    Args:
        where: the song, for messages.
        stems: as the user wrote them.
        known: names.

    Raises:
        InputError: the song lacks a stem, and no other stems give it.

    Example:
        >>> [str(rule) for rule in resolve("song", ["no_bass"], ["bass", "drums"])]
        ['no_bass (mixture − bass)']
    """
    known, rules = set(known), [parse_stem(text) for text in stems]
    by_name = {rule.name: rule for rule in rules}
    return [_resolve_one(where, rule, known, by_name) for rule in rules]


def _resolve_one(
    where: str, rule: StemRule, known: set[str], by_name: Mapping[str, StemRule]
) -> StemRule:
    name = rule.name
    if rule.explicit:
        # Many test sets have a file of the sum, but no files of its parts.
        if name in known and not known.issuperset(rule.members):
            return StemRule(name, (name,))
        for member in rule.members:
            check_name("stem", member, known, where=where)
        return rule
    if name in known:
        return rule
    base = name.removeprefix(WITHOUT)
    if base != name and base in known:
        return StemRule(name, (base,), from_mixture=True)
    if base != name and base in by_name:  # all that is not in that stem
        rest = _resolve_one(where, by_name[base], known, {})
        return StemRule(name, rest.members, not rest.from_mixture, explicit=True)
    if name in CUSTOMARY and known.issuperset(CUSTOMARY[name]):
        return StemRule(name, CUSTOMARY[name], from_mixture=True)
    check_name("stem", name, known, where=where)
    return rule
