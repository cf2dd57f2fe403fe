"""Split songs into train, valid and test by a seed, so that nothing leaks.

What must not be in two splits, such as the pieces of one song, forms a group. A split
depends on the seed and on the names of the groups only: not on the order in which the
files were listed, on dates or on the computer.
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence

from mssedu.audio.words import counted
from mssedu.errors import DatasetError, InputError

SPLITS = ("train", "valid", "test")


def check_shares(shares: Sequence[float]) -> None:
    """Raise InputError unless shares are three numbers ≥ 0 with the sum 1.

    Example:
        >>> check_shares((0.8, 0.1, 0.2))
        Traceback (most recent call last):
        mssedu.errors.InputError: the shares of train, valid and test must be three
        numbers from 0 to 1 with the sum 1, got (0.8, 0.1, 0.2).
    """
    numbers = [share for share in shares if isinstance(share, int | float)]
    fit = len(numbers) == len(shares) == 3 and all(0 <= share <= 1 for share in numbers)
    if not fit or not math.isclose(sum(numbers), 1, abs_tol=1e-6):
        raise InputError(
            "the shares of train, valid and test must be three numbers from 0 to 1 "
            f"with the sum 1, got {tuple(shares)}."
        )


def assign_splits(
    groups: Mapping[str, Collection[str]], shares: Sequence[float], seed: int = 0
) -> dict[str, str]:
    """The split of each group: "train", "valid" or "test".

    Args:
        groups: name of a group -> the stems that must be in every split, if its songs
            are recordings of single stems; empty for whole songs.
        shares: of train, valid and test, with the sum 1. A share of 0 means none.
        seed: another seed gives another split.

    Raises:
        InputError: shares that do not fit.
        DatasetError: too few groups, or too few with one of the stems.

    Example:
        >>> names = ("Caesium", "Francium", "Lithium", "Potassium", "Sodium")
        >>> found = assign_splits({name: () for name in names}, (0.6, 0.2, 0.2))
        >>> sorted(found.values())
        ['test', 'train', 'train', 'train', 'valid']
    """
    check_shares(shares)
    # Groups without stems are one kind, too
    kinds = {stem for stems in groups.values() for stem in (stems or [""])}
    members = {
        kind: [name for name, stems in groups.items() if kind in (stems or [""])]
        for kind in kinds
    }
    assigned: dict[str, str] = {}
    # Rare stems first: they have the fewest choices.
    for kind in sorted(kinds, key=lambda kind: (len(members[kind]), kind)):
        left = share_counts(len(members[kind]), shares)
        for name in members[kind]:
            if name in assigned:
                left[assigned[name]] -= 1
        for name in sorted(members[kind], key=lambda name: _rank(name, seed)):
            if name not in assigned:
                assigned[name] = max(SPLITS, key=lambda split: left[split])
                left[assigned[name]] -= 1
    _check_all_there(members, assigned, shares)
    return {name: assigned[name] for name in groups}


def _rank(name: str, seed: int) -> str:
    """A random number of a name, as text; the same on every computer."""
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).hexdigest()


def share_counts(n_groups: int, shares: Sequence[float]) -> dict[str, int]:
    """How many groups come into each split: as the shares say, but at least one."""
    exact = [share * n_groups for share in shares]
    counts = [max(int(number), int(number > 0)) for number in exact]
    while sum(counts) < n_groups:
        rests = [number - count for number, count in zip(exact, counts, strict=True)]
        counts[rests.index(max(rests))] += 1
    while sum(counts) > n_groups:
        counts[counts.index(max(counts))] -= 1
    return dict(zip(SPLITS, counts, strict=True))


def _check_all_there(
    members: Mapping[str, Sequence[str]],
    assigned: Mapping[str, str],
    shares: Sequence[float],
) -> None:
    wanted = {split for split, share in zip(SPLITS, shares, strict=True) if share > 0}
    for kind, names in sorted(members.items()):
        if wanted - {assigned[name] for name in names}:
            what = counted(len(names), "recording" if kind else "song")
            what += f" of {kind!r}" if kind else ""
            listed = ", ".join(split for split in SPLITS if split in wanted)
            raise DatasetError(
                f"{what} {'is' if len(names) == 1 else 'are'} too few for the splits "
                f"{listed}: no recording and no song may be in two splits. Add more, "
                "or set the share of a split to 0."
            )
