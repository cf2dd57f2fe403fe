"""The faults that all songs have together: the table `SET_RULES`.

    all songs, their recordings in common, the tree of files ──`find`──▶ Fault …

A song that differs from the others, a recording in two splits, a song that is known to
have an error. `mssedu.data.doctor.faults` has the rules for one song.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mssedu.data.doctor.errata import known_errors
from mssedu.data.doctor.faults import (
    HERTZ,
    Fault,
    Rule,
    Severity,
    folded,
    grouped,
    uneven_channels,
    unusual,
)
from mssedu.data.doctor.fingerprints import Match
from mssedu.data.doctor.measure import ALIKE_DB, FIT_SECONDS, ROUNDED_DB, SongMeasures
from mssedu.data.folders import LITTER
from mssedu.data.track import MIXTURE

REST_DB = -20.0  # a residual above this level is a sound, not what a codec changed
LOSSY_REST_DB = -15.0  # the same where each file has the error of a codec
HIDDEN_LITTER = {".ds_store", ".appledouble", ".trashes", ".spotlight-v100"}
COPY = 0.5  # of the shorter song; a smaller shared part is a loop or a sample


@dataclass(frozen=True)
class Survey:
    """All that is known of a data set."""

    root: Path
    songs: list[SongMeasures]
    litter: list[Path] = field(default_factory=list)
    dangling: list[Path] = field(default_factory=list)
    # part of a song, such as the mixture or vocals -> recordings in two songs
    matches: dict[str, list[Match]] = field(default_factory=dict)
    refused: str = ""  # why load_dataset does not open the folder
    errata: bool = True  # also name the known errors of MUSDB18


def _paths(survey: Survey, paths: list[Path]) -> Iterator[Fault]:
    if paths:
        names = [path.relative_to(survey.root).as_posix() for path in paths]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield Fault(f"{', '.join(names[:3])}{more}", values={"paths": names})


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name was made by an operating system.

    Example:
        >>> is_litter("._vocals.wav"), is_litter("Thumbs.db"), is_litter("vocals.wav")
        (True, True, False)
    """
    return name.startswith("._") or name.lower() in LITTER | HIDDEN_LITTER


def _litter(survey: Survey) -> Iterator[Fault]:
    """Files that an operating system left in the folders."""
    yield from _paths(survey, survey.litter)


def _dangling(survey: Survey) -> Iterator[Fault]:
    """A link to a file or folder that does not exist."""
    yield from _paths(survey, survey.dangling)


def _odd_songs(
    survey: Survey, form: Callable[[SongMeasures], Any], *noun: str
) -> Iterator[Fault]:
    """A fault for each song whose value differs from that of most songs."""
    usual, groups = grouped({id(s): form(s) for s in survey.songs if s.parts})
    for song in survey.songs:
        for value, owners in groups.items():
            if id(song) in owners:
                yield unusual(value, usual, noun, "songs", song)


def _rates(survey: Survey) -> Iterator[Fault]:
    """A song with another sample rate than most songs."""
    yield from _odd_songs(survey, lambda song: song.sample_rate, *HERTZ)


def _all_channels(survey: Survey) -> Iterator[Fault]:
    """A song with another number of channels than most songs."""
    yield from _odd_songs(survey, lambda song: len(song.gram), "channel")


def _names(survey: Survey) -> Iterator[Fault]:
    """Names that are equal but for upper and lower case or the Unicode form."""
    places: dict[str, list[SongMeasures]] = {}
    for song in survey.songs:
        places.setdefault(folded(song.name), []).append(song)
    for songs in places.values():
        if len(songs) > 1:
            shown = " = ".join(f"{s.split or ''}/{s.name}".lstrip("/") for s in songs)
            leak: Severity = "error" if len({s.split for s in songs}) > 1 else "warning"
            yield Fault(f"one song in two places: {shown}", songs[0], severity=leak)
    used: dict[str, Counter[str]] = {}
    for song in survey.songs:
        for stem in {each.file.stem for each in song.files}:
            used.setdefault(folded(stem), Counter())[stem] += 1
    for spellings in used.values():
        if len(spellings) > 1:
            shown = ", ".join(f"{n!r} in {count}" for n, count in spellings.items())
            yield Fault(f"one stem in two spellings: {shown} songs", severity="error")


def _absent(survey: Survey) -> Iterator[Fault]:
    """A song without a stem that most songs have."""
    counts = Counter(stem for song in survey.songs for stem in _stems_of(song))
    usual = [stem for stem, count in counts.items() if count > len(survey.songs) / 2]
    for song in survey.songs:
        have = {folded(stem) for stem in _stems_of(song)}
        lacks = [stem for stem in usual if folded(stem) not in have]
        # A song without stems is a mixture to separate, and one stem without a mixture
        # is a recording to make mixtures of.
        if lacks and have and len(song.files) > 1:
            yield Fault("no file", song, tuple(lacks))


def _stems_of(song: SongMeasures) -> list[str]:
    """Names of all stems that have a file, readable or not."""
    stems = dict.fromkeys(each.file.stem for each in song.files)
    return [stem for stem in stems if stem != MIXTURE]


def _copies(survey: Survey) -> Iterator[Fault]:
    """One recording in two songs: louder, cut, encoded again or transposed."""
    copied = set()
    for part in sorted(survey.matches, key=lambda name: name != MIXTURE):
        for match in survey.matches[part]:
            a, b = survey.songs[match.first], survey.songs[match.second]
            pair, leak = (match.first, match.second), a.split != b.split
            if pair in copied:
                continue
            severity: Severity = "note"
            if match.share >= COPY:
                severity = "warning"
                if part == MIXTURE:
                    copied.add(pair)
                    severity = "error" if leak else "warning"
            other = f"{b.split}/{b.name}" if b.split else b.name
            seen = f"{match.shared_seconds:.0f} s of the same recording in {other}"
            if match.semitones:
                seen += f", where it is transposed by {match.semitones:+d} semitones"
            if leak and severity != "note":
                seen += ": a score on it proves nothing"
            values = {"other": b.name, "other_split": b.split, **vars(match)}
            del values["first"], values["second"]
            yield Fault(seen, a, (part,), severity, values=values)


def _errata(survey: Survey) -> Iterator[Fault]:
    """A song of MUSDB18 with an error that listeners have reported."""
    for song in survey.songs if survey.errata else []:
        confirmed, reported = known_errors(song.name)
        if confirmed:
            yield Fault(f"{confirmed} (known error of MUSDB18)", song)
        if reported:
            seen = f"{reported} (reported by a listener)"
            yield Fault(seen, song, severity="note")


def _refused(survey: Survey) -> Iterator[Fault]:
    """What load_dataset refuses for a reason of its own."""
    if survey.refused:
        yield Fault(survey.refused)


def _explained_db(song: SongMeasures) -> float:
    """The residual that lag, sign and gain leave where they explain the faults."""
    if not song.fits:
        return ROUNDED_DB
    # A stem that is shifted back has lost one of its ends, up to the lag.
    lost = max(abs(fit.late) for fit in song.fits)
    length = min(song.n_samples, FIT_SECONDS * song.sample_rate)
    return max(ALIKE_DB, 10 * math.log10(max(lost, 1) / length) + 3)


def _residual(survey: Survey) -> Iterator[Fault]:
    """A mixture that is not the sum of the stems, for no reason that is known."""
    found = {}
    for song in survey.songs:
        measured = song.residual_db()
        if measured and not song.is_sum():
            whole = song.fits[-1].after_db if song.fits else measured[0]
            if whole > _explained_db(song):
                found[song.name, song.split] = (song, whole, measured)
    rests = [whole > REST_DB for _, whole, _ in found.values()]
    partial = len(rests) >= 3 and sum(rests) > len(survey.songs) / 2
    for song, whole, (_, *channels) in found.values():
        limit = REST_DB if song.is_lossless else LOSSY_REST_DB
        severity: Severity = "error" if whole > limit else "warning"
        if len(song.stems) == 1 or (partial and whole > limit):
            severity = "note"
            seen = f"a rest of {whole:.1f} dB that is in no stem"
        else:
            seen = f"residual {whole:.1f} dB"
            if whole <= limit and not song.is_lossless:
                severity = "note"
                seen += ", as each lossy file has an error of its own"
            elif not song.fits:
                seen += uneven_channels(song)
        values = {"residual_db": whole, "channels_db": channels}
        yield Fault(seen, song, severity=severity, values=values)


# ---- the table ----------------------------------------------------------------------

SET_RULES = (
    Rule(
        "dangling link",
        "error",
        _dangling,
        "links with a target",
        "fetch the file, or delete the link",
    ),
    Rule(
        "litter", "warning", _litter, "none", "delete them; --fix OUT leaves them out"
    ),
    Rule("name", "warning", _names, "one spelling, one place", "rename or delete one"),
    Rule(
        "sample rates",
        "error",
        _rates,
        "one rate in a data set",
        "convert it; --fix OUT --resample HZ does",
    ),
    Rule(
        "channel numbers",
        "error",
        _all_channels,
        "one number in a data set",
        "convert it; --fix OUT --channels 1 or 2 does",
    ),
    Rule(
        "residual",
        "warning",
        _residual,
        f"below {REST_DB:.0f} dB; {ROUNDED_DB:.0f} dB if lossless",
        "add the missing stem, or delete the mixture file",
    ),
    Rule(
        "absent stem",
        "warning",
        _absent,
        "all stems in each song",
        "--on-missing absent, silence or skip",
    ),
    Rule(
        "copy", "note", _copies, "each recording in one split", "keep it in one split"
    ),
    Rule("errata", "warning", _errata, "none", "leave the song out for this stem"),
    Rule("refused", "error", _refused, "a layout of load_dataset", "see the text"),
)
