"""The faults that a song can have: the table `SONG_RULES`, a small function for each.

    measures of a song ──`find` of each rule──▶ Fault …

An error makes training or scores wrong. A warning is worth a look. A note is a fact to
know, such as a stem that is silent in a song. To add a rule, write a function and add a
row. `mssedu.data.doctor.set_faults` has the rules for all songs together, and
`mssedu.data.doctor.audit` measures the songs and applies both tables.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mssedu.audio.words import counted
from mssedu.data.doctor.alignment import Fit
from mssedu.data.doctor.measure import SILENT_DB, FileMeasures, SongMeasures
from mssedu.data.track import MIXTURE

Severity = Literal["error", "warning", "note"]
CLIPPED_RUNS = 3  # fewer runs at full scale are chance
OFFSET = 0.002  # a mean of this size is a DC offset: -54 dB
EMPTY_DB = 40.0  # a channel is empty if the other one is louder by this much
MONO_DB = -60.0  # left and right are equal if their difference is below this level
UNEVEN_DB = 6.0  # a residual that differs by this much between left and right
FOREIGN = 0.1  # a stem with a smaller best gain is not in the mixture: -20 dB
SHORT_SECONDS = 1.0
HERTZ = ("Hz", "Hz")  # singular and plural, as `counted` takes them


@dataclass(frozen=True)
class Fault:
    """What a rule has found, in words and as values for programs."""

    seen: str
    song: SongMeasures | None = None  # None: the data set as a whole
    stems: tuple[str, ...] = ()
    severity: Severity | None = None  # None: that of the rule
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One kind of fault."""

    name: str
    severity: Severity
    find: Callable[[Any], Iterator[Fault]]  # in a song, or in a `Survey`
    allowed: str
    fix: str

    @property
    def meaning(self) -> str:
        """What the fault is, in a sentence."""
        return (self.find.__doc__ or "").partition("\n")[0]


# ---- files of a song ----------------------------------------------------------------


def is_dangling(path: Path) -> bool:
    """Whether a path is a link to something that does not exist."""
    return path.is_symlink() and not path.exists()


def _unreadable(song: SongMeasures) -> Iterator[Fault]:
    """A file that cannot be decoded, or not to its end."""
    for each in song.files:
        if each.error and not is_dangling(each.file.path):
            yield Fault(each.error, song, (each.file.stem,))


def _damaged(song: SongMeasures) -> Iterator[Fault]:
    """A file of which a part is lost."""
    for each in song.files:
        if each.damage:
            yield Fault("; ".join(each.damage), song, (each.file.stem,))
        elif each.info and not each.error and each.samples != each.info.samples:
            seen = (
                f"{counted(each.samples, 'sample')}, {each.info.samples} by its header"
            )
            yield Fault(seen, song, (each.file.stem,))


def _doubled(song: SongMeasures) -> Iterator[Fault]:
    """Two files for one stem of a song, such as vocals.wav and Vocals.flac."""
    places: dict[tuple[Any, ...], list[str]] = {}
    for each in song.files:
        file = each.file
        key: tuple[Any, ...] = (file.path.parent, folded(file.path.stem), file.stream)
        if file.stem == MIXTURE:
            key = (MIXTURE,)
        places.setdefault(key, []).append(file.path.name)
    for names in places.values():
        if len(names) > 1:
            yield Fault(f"one stem in {len(names)} files: {', '.join(names)}", song)


def folded(name: str) -> str:
    """A name without what file systems and eyes may take for the same."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def _odd(song: SongMeasures, form: Callable[[FileMeasures], Any], *noun: str) -> Any:
    """A fault for each value that differs from that of most files of a song."""
    usual, groups = grouped(
        {each: form(each) for each in song.files if each.info and not each.error}
    )
    for value, files in groups.items():
        stems = tuple(each.file.stem for each in files)
        yield unusual(value, usual, noun, "files of the song", song, stems)


def unusual(
    value: int,
    usual: int,
    noun: Sequence[str],
    others: str,
    song: SongMeasures,
    stems: tuple[str, ...] = (),
) -> Fault:
    """The fault that a value differs from the usual one; `noun`: as in `counted`."""
    seen = f"{counted(value, *noun)}; most {others} have {usual}"
    return Fault(seen, song, stems, values={"value": value, "usual": usual})


def grouped(values: dict[Any, Any]) -> tuple[Any, dict[Any, list[Any]]]:
    """The most frequent value, and the owners of each other value."""
    if not values:
        return None, {}
    usual = Counter(values.values()).most_common(1)[0][0]
    groups: dict[Any, list[Any]] = {}
    for owner, value in values.items():
        if value != usual:
            groups.setdefault(value, []).append(owner)
    return usual, groups


def _rate(song: SongMeasures) -> Iterator[Fault]:
    """A file with another sample rate than the others of the song."""
    yield from _odd(song, lambda each: each.info and each.info.sample_rate, *HERTZ)


def _channels(song: SongMeasures) -> Iterator[Fault]:
    """A file with another number of channels than the others of the song."""
    yield from _odd(song, lambda each: each.info and each.info.channels, "channel")


def _length(song: SongMeasures) -> Iterator[Fault]:
    """A file that is shorter or longer than the others of the song."""
    rates = {each.info.sample_rate for each in song.files if each.info}
    if len(rates) == 1:
        yield from _odd(song, lambda each: each.samples, "sample")


def _nonfinite(song: SongMeasures) -> Iterator[Fault]:
    """Values that are no numbers, or infinite."""
    for each in song.files:
        if each.n_nonfinite:
            n = counted(each.n_nonfinite, "value")
            seen = f"{n}, from sample {each.first_nonfinite} on"
            values = {"count": each.n_nonfinite, "first": each.first_nonfinite}
            yield Fault(seen, song, (each.file.stem,), values=values)


def _readable(song: SongMeasures) -> list[FileMeasures]:
    """The files that were read and are not silent."""
    return [f for f in song.files if not f.error and f.level_db > SILENT_DB]


def _silent(song: SongMeasures) -> Iterator[Fault]:
    """A silent stem; a silent song is an error."""
    if song.parts and song.level_db(MIXTURE) <= SILENT_DB:
        yield Fault(_level(song.level_db(MIXTURE)), song, severity="error")
        return
    silent = [stem for stem in song.stems if song.level_db(stem) <= SILENT_DB]
    if silent:
        levels = ", ".join(_level(song.level_db(stem)) for stem in silent)
        yield Fault(levels, song, tuple(silent))


def _level(level_db: float) -> str:
    return "only zeros" if level_db == -math.inf else f"{level_db:.0f} dB"


def _empty_channel(song: SongMeasures) -> Iterator[Fault]:
    """One channel of a stereo file is silent."""
    for each in _readable(song):
        if len(each.rms_db) == 2 and min(each.rms_db) < max(each.rms_db) - EMPTY_DB:
            side = "left" if each.rms_db[0] < each.rms_db[1] else "right"
            seen = f"{side} channel: {_level(min(each.rms_db))}"
            yield Fault(seen, song, (each.file.stem,), values={"rms_db": each.rms_db})


def _dual_mono(song: SongMeasures) -> Iterator[Fault]:
    """A stereo file with the same sound left and right."""
    alike = [
        each.file.stem
        for each in _readable(song)
        if len(each.rms_db) == 2 and each.side_db < MONO_DB
    ]
    if alike:
        yield Fault("left = right", song, tuple(alike))


def _clipping(song: SongMeasures) -> Iterator[Fault]:
    """Waves that were cut off at full scale."""
    for each in song.files:
        if each.n_clipped_runs >= CLIPPED_RUNS:
            seen = f"{each.n_clipped_runs} runs of samples at full scale"
            values = {"runs": each.n_clipped_runs}
            yield Fault(seen, song, (each.file.stem,), values=values)


def has_offset(each: FileMeasures) -> bool:
    """Whether a channel of a file is not centered on zero."""
    return any(abs(mean) >= OFFSET for mean in each.dc)


def _offset(song: SongMeasures) -> Iterator[Fault]:
    """A wave that is not centered on zero."""
    for each in song.files:
        if has_offset(each):
            largest = max(each.dc, key=abs)
            seen = f"mean {largest:+.4f} of full scale"
            yield Fault(seen, song, (each.file.stem,), values={"mean": each.dc})


def _short(song: SongMeasures) -> Iterator[Fault]:
    """A very short song."""
    if song.n_samples and song.n_samples < SHORT_SECONDS * song.sample_rate:
        yield Fault(f"{song.n_samples / song.sample_rate:.2f} s", song)


def _band_limit(song: SongMeasures) -> Iterator[Fault]:
    """A lossless file that was MP3 or AAC once, or had a lower sample rate."""
    ends = {each.file.stem: each.cut_hz for each in song.files if each.cut_hz}
    if ends:
        texts = sorted({f"{hz / 1000:.1f} kHz" for hz in ends.values()})
        seen = f"nothing above {', '.join(texts)}"
        yield Fault(seen, song, tuple(ends), values={"end_hz": ends})


# ---- stems against each other -------------------------------------------------------


def _same(song: SongMeasures) -> Iterator[Fault]:
    """Two stems that hold the same audio, or a stem that is the mixture."""
    sounding = song.sounding()
    for index, a in enumerate(sounding):
        for b in sounding[index + 1 :]:
            correlation = song.correlation(a, b)
            if 1 - correlation**2 < 1e-4:
                sign = "the same audio" if correlation > 0 else "the same, inverted"
                yield Fault(sign, song, (a, b), values={"correlation": correlation})
    if MIXTURE in song.parts:
        alone = len(song.stems) == 1
        for stem in sounding if alone or len(sounding) > 1 else []:
            if song.is_mixture(stem):
                yield Fault("the same audio", song, (stem, MIXTURE))


def _sum(song: SongMeasures) -> Iterator[Fault]:
    """A stem that is the sum of others, so that the mixture holds them twice."""
    told: list[set[str]] = []
    for stem, others in song.sums():
        if len(others) > 1 and {stem, *others} not in told:
            told.append({stem, *others})
            yield Fault(f"= {' + '.join(others)}", song, (stem,))


# ---- stems against the mixture ------------------------------------------------------


def _residuals(song: SongMeasures, fit: Fit) -> str:
    text = (
        f"residual {fit.before_db:.1f} dB{uneven_channels(song)}, without this fault "
    )
    return f"{text}{fit.after_db:.1f} dB"


def uneven_channels(song: SongMeasures) -> str:
    """Words for a residual that is much louder in one channel; empty if it is not."""
    _, *levels = song.residual_db() or [0.0]
    if len(levels) != 2 or abs(levels[0] - levels[1]) < UNEVEN_DB:
        return ""
    return f" (left {levels[0]:.1f} dB, right {levels[1]:.1f} dB)"


def _who(song: SongMeasures, stems: Sequence[str]) -> tuple[str, ...]:
    """The stems to name: the mixture, if all stems together do not fit to it."""
    return (MIXTURE,) if len(stems) > 1 else tuple(stems)


def _lag(song: SongMeasures) -> Iterator[Fault]:
    """A stem that is late or early in the mixture."""
    for fit in song.fits:
        if fit.late:
            # If all stems are late, the mixture is early.
            late = -fit.late if len(fit.stems) > 1 else fit.late
            ms = abs(late) / song.sample_rate * 1000
            where = "late" if late > 0 else "early"
            seen = f"{counted(abs(late), 'sample')} ({ms:.1f} ms) {where}; "
            seen += _residuals(song, fit)
            values = {"late_samples": late, **_of_fit(fit)}
            yield Fault(seen, song, _who(song, fit.stems), values=values)


def _of_fit(fit: Fit) -> dict[str, Any]:
    return {"residual_db": fit.before_db, "residual_db_without": fit.after_db}


def _polarity(song: SongMeasures) -> Iterator[Fault]:
    """A stem that is inverted in the mixture."""
    for fit in song.fits:
        if fit.inverted:
            seen = f"inverted; {_residuals(song, fit)}"
            yield Fault(seen, song, _who(song, fit.stems), values=_of_fit(fit))


def _gain(song: SongMeasures) -> Iterator[Fault]:
    """A stem that is louder or fainter than in the mixture."""
    for fit in song.fits:
        if fit.gain != 1.0 and fit.gain >= FOREIGN:
            # The stem needs a gain; the stem itself, or the mixture, has the inverse.
            have_db = 20 * math.log10(fit.gain) * (1 if len(fit.stems) > 1 else -1)
            seen = f"{have_db:+.1f} dB; {_residuals(song, fit)}"
            values = {"gain_db": have_db, **_of_fit(fit)}
            yield Fault(seen, song, _who(song, fit.stems), values=values)


def _foreign(song: SongMeasures) -> Iterator[Fault]:
    """A stem that is not in the mixture, such as one of another song."""
    for fit in song.fits:
        if fit.gain < FOREIGN:
            seen = f"not in the mixture; {_residuals(song, fit)}"
            yield Fault(seen, song, fit.stems, values=_of_fit(fit))


# ---- the table ----------------------------------------------------------------------

_AGAIN = "copy, download or export the file again"

SONG_RULES = (
    Rule("unreadable", "error", _unreadable, "files that can be decoded", _AGAIN),
    Rule("damaged", "error", _damaged, "whole files", _AGAIN),
    Rule("double file", "error", _doubled, "one file for each stem", "keep one"),
    Rule(
        "sample rate",
        "error",
        _rate,
        "one rate in a song",
        "convert it; --fix OUT --resample HZ does",
    ),
    Rule(
        "channels",
        "error",
        _channels,
        "one number in a song",
        "convert it; --fix OUT --channels 1 or 2 does",
    ),
    Rule(
        "length",
        "error",
        _length,
        "one length in a song",
        "--fix OUT --length pad or cut",
    ),
    Rule("NaN or Inf", "error", _nonfinite, "finite values", "export the file again"),
    Rule(
        "silence",
        "note",
        _silent,
        f"above {SILENT_DB:.0f} dB",
        "none, if the stem does not play",
    ),
    Rule(
        "empty channel",
        "warning",
        _empty_channel,
        f"within {EMPTY_DB:.0f} dB of the other",
        "export the file again",
    ),
    Rule("dual mono", "note", _dual_mono, "any", "none, if it was recorded in mono"),
    Rule(
        "clipping",
        "warning",
        _clipping,
        f"less than {CLIPPED_RUNS} runs",
        "export with a lower level",
    ),
    Rule(
        "DC offset",
        "warning",
        _offset,
        f"below {OFFSET} of full scale",
        "--fix OUT removes it",
    ),
    Rule("short", "warning", _short, f"{SHORT_SECONDS:g} s or more", "leave it out"),
    Rule(
        "band limit",
        "warning",
        _band_limit,
        "up to half the sample rate",
        "use the original files",
    ),
    Rule("same audio", "error", _same, "stems that differ", "delete or replace one"),
    Rule(
        "sum of stems",
        "error",
        _sum,
        "each sound in one stem",
        "rename it to mixture, or move it away",
    ),
    Rule("lag", "error", _lag, "0 samples", "--fix OUT shifts it"),
    Rule(
        "polarity",
        "error",
        _polarity,
        "the sign of the mixture",
        "--fix OUT inverts it",
    ),
    Rule(
        "gain", "error", _gain, "0 dB", "export the stems at the levels of the mixture"
    ),
    Rule("not in mixture", "error", _foreign, "stems of this song", "replace the stem"),
)
