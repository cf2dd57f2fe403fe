"""Which stems are meant: stems of the song, sums of them, or all but some.

    vocals                          the stem of that name
    accompaniment=drums+bass+other  the sum of these stems
    instrumental=-vocals            the whole mixture without this stem
    instrumental=-vocals-choir      the whole mixture without these stems
    no_vocals                       short for no_vocals=-vocals

Where a song has a stem called no_vocals, that stem is meant. The names instrumental and
accompaniment mean the mixture without the vocals, unless the song has such a stem or
the user says otherwise. No torch in here, so that every --help starts at once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mssedu.errors import InputError, check_name, message

WITHOUT = "no_"  # no_vocals is the mixture without the vocals
CUSTOMARY = {"instrumental": ("vocals",), "accompaniment": ("vocals",)}
_FORM = re.compile(r"(-[^+-]+)+|[^+-][^+]*(\+[^+]+)*")  # after the "="


@dataclass(frozen=True)
class StemRule:
    """What one stem is made of."""

    name: str
    members: tuple[str, ...]  # stems that are summed, or that the mixture is without
    from_mixture: bool = False  # the mixture without the members, not their sum
    stated: bool = False  # the user wrote a "=": the name alone says nothing

    def __str__(self) -> str:
        """For a sentence: what the stem is made of, unless its name says it."""
        if self.from_mixture:
            return f"{self.name} (mixture − {' − '.join(self.members)})"
        return f"{self.name} ({' + '.join(self.members)})" if self.stated else self.name


def parse_stem(text: str) -> StemRule:
    """Read one stem as the user wrote it.

    Raises:
        InputError: no name, or members that are neither a sum nor left out.

    Example:
        >>> parse_stem("band=drums+bass").members
        ('drums', 'bass')
        >>> parse_stem("instrumental=-vocals").from_mixture
        True
    """
    name, equals, members = (part.strip() for part in text.partition("="))
    if not name or (equals and not _FORM.fullmatch(members)):
        wanted = "NAME, NAME=STEM+STEM or NAME=-STEM"
        remedy = "Write for example instrumental=-vocals or band=drums+bass."
        raise InputError(message("stems", wanted, repr(text), remedy))
    if not equals:
        return StemRule(name, (name,))
    without = members.startswith("-")
    found = members[1:].split("-") if without else members.split("+")
    return StemRule(name, tuple(m.strip() for m in found), without, stated=True)


def stem_names(stems: Sequence[str]) -> tuple[str, ...]:
    """The names of stems, without what they are made of.

    Raises:
        InputError: no stem, a name twice, or a stem that cannot be read.

    Example:
        >>> stem_names(["vocals", "band=drums+bass"])
        ('vocals', 'band')
    """
    names = tuple(parse_stem(text).name for text in stems if text)
    if not names or len(set(names)) < len(stems):
        remedy = "Name each stem once."
        wanted = "a tuple of different names"
        raise InputError(message("stems", wanted, tuple(stems), remedy))
    return names


def resolve(where: str, stems: Sequence[str], known: Iterable[str]) -> list[StemRule]:
    """What each stem is made of in a song that has these stems.

    Args:
        where: the song, for messages.
        stems: as the user wrote them.
        known: the stems that the song has.

    Raises:
        InputError: a stem that the song has not, and that follows from no other.

    Example:
        >>> [str(rule) for rule in resolve("song", ["no_bass"], ["bass", "drums"])]
        ['no_bass (mixture − bass)']
    """
    known, rules = set(known), [parse_stem(text) for text in stems]
    by_name = {rule.name: rule for rule in rules}
    return [_resolved(where, rule, known, by_name) for rule in rules]


def _resolved(
    where: str, rule: StemRule, known: set[str], by_name: Mapping[str, StemRule]
) -> StemRule:
    name = rule.name
    if name in known and not rule.stated:
        return rule
    if rule.stated:
        # Many test sets bring the sum as a file and not its parts.
        if name in known and not known.issuperset(rule.members):
            return StemRule(name, (name,))
        for member in rule.members:
            check_name("stem", member, known, where=where)
        return rule
    left_out = name.removeprefix(WITHOUT)
    if left_out != name and left_out in known:
        return StemRule(name, (left_out,), from_mixture=True)
    if left_out != name and left_out in by_name:
        return _complement(name, _resolved(where, by_name[left_out], known, {}))
    if name in CUSTOMARY and known.issuperset(CUSTOMARY[name]):
        return StemRule(name, CUSTOMARY[name], from_mixture=True)
    return StemRule(check_name("stem", name, known, where=where), (name,))


def _complement(name: str, rule: StemRule) -> StemRule:
    """The mixture without what a rule gives."""
    return StemRule(name, rule.members, not rule.from_mixture, stated=True)
