"""Check a whole data set and list all of its faults at once.

    folder ──find──▶ songs ──measure_song, side by side──▶ SongMeasures ──RULES──▶ Audit

`load_dataset` refuses what it cannot open, and stops there. An audit also listens: lag,
sign and gain of each stem in the mixture, sounds that occur twice, recordings in two
splits, files that were MP3 once. It reads every sample, song by song, and changes
nothing. `mssedu.data.doctor.repair` writes a repaired copy. Notebook: 05.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mssedu.data import layouts
from mssedu.data.doctor.faults import SONG_RULES, Fault, Rule, Severity, is_dangling
from mssedu.data.doctor.fingerprints import TRANSPOSED, Match, matches
from mssedu.data.doctor.measure import SongMeasures, measure_song
from mssedu.data.doctor.set_faults import SET_RULES, Survey, is_litter
from mssedu.data.folders import (
    Song,
    is_audio,
    is_stem_mp4,
    part_name,
    sounds,
    stem_files,
)
from mssedu.data.loading import find_songs, load_dataset, load_track
from mssedu.data.splits import SPLITS
from mssedu.data.track import MIXTURE, StemFile
from mssedu.errors import DatasetError, MssEduError, MssEduWarning

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
RULES = (*SET_RULES, *SONG_RULES)
WORKERS = 4  # songs that are read at once, at most; each takes 50 MB


@dataclass(frozen=True)
class Finding:
    """A fault in one song or in the data set, as the table shows it."""

    severity: Severity
    rule: str
    song: str  # empty: the data set as a whole
    split: str | None
    stems: tuple[str, ...]
    seen: str
    allowed: str
    fix: str
    values: dict[str, Any]  # numbers for programs

    @property
    def place(self) -> str:
        """The song with its split, such as "train/Sodium"."""
        return f"{self.split}/{self.song}" if self.split and self.song else self.song


@dataclass(frozen=True)
class Audit:
    """The result of `audit_dataset`: all findings, by song, and what was measured."""

    root: Path
    layout: str
    findings: list[Finding]
    songs: list[SongMeasures]
    seconds: float  # that the audit took

    def count(self, severity: Severity) -> int:
        """How many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def document(self) -> dict[str, Any]:
        """All of it as a document for JSON."""
        return {
            "folder": str(self.root),
            "layout": self.layout,
            "n_songs": len(self.songs),
            "seconds": round(self.seconds, 1),
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "findings": [plain(vars(finding)) for finding in self.findings],
            "songs": [_song_document(song) for song in self.songs],
        }


def _song_document(song: SongMeasures) -> dict[str, Any]:
    residual = song.residual_db()
    return plain(
        {
            "name": song.name,
            "split": song.split,
            "sample_rate": song.sample_rate,
            "channels": len(song.gram),
            "samples": song.n_samples,
            "residual_db": residual[0] if residual else None,
            "files": [
                {
                    "stem": each.file.stem,
                    "path": str(each.file.path),
                    "stream": each.file.stream,
                    "codec": each.info.codec if each.info else None,
                    "samples": each.samples,
                    "peak": each.peak,
                    "rms_db": each.rms_db,
                    "mean": each.dc,
                    "clipped_runs": each.n_clipped_runs,
                    "spectrum_end_hz": each.cut_hz,
                    "error": each.error or None,
                }
                for each in song.files
            ],
        }
    )


def plain(value: Any) -> Any:
    """A value for JSON: infinite levels become None, as JSON has no such numbers."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if abs(value) < float("inf") else None
    if isinstance(value, str):  # a name of a file may hold bytes that are no text
        return value.encode("utf-8", "backslashreplace").decode()
    return value


# ---- the audit ----------------------------------------------------------------------


def audit_dataset(
    path: str | Path,
    *,
    layout: str | None = None,
    fingerprints: bool = True,
    errata: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
) -> Audit:
    """Look for all faults of a data set, and never stop at the first.

    Args:
        path: the folder of a data set in any layout, or a song.
        layout: the name of a layout, if it is not recognized.
        fingerprints: look for one recording in two songs.
        errata: name the known errors of songs that are called as those of MUSDB18.
        progress: called after each song with songs done, songs in all, name.

    Raises:
        DatasetError: the folder does not exist or holds no songs.
        InputError: an unknown layout.

    Example:
        >>> from mssedu.data.loading import demo_data
        >>> found = audit_dataset(demo_data() / "test", fingerprints=False)
        >>> found.count("error"), [song.name for song in found.songs]
        (0, ['Sodium'])
    """
    began = time.monotonic()
    root = Path(path)
    name, songs = _find(root, layout)
    measured = _measured(songs, fingerprints, progress)
    litter, dangling = _scan(root)
    survey = Survey(
        root,
        measured,
        litter,
        dangling,
        _matches(songs, measured) if fingerprints else {},
        errata=errata,
    )
    findings = [*_findings(survey)]
    if not any(finding.severity == "error" for finding in findings):
        survey = replace(survey, refused=_refusal(root, layout))
        findings = [*_findings(survey)]
    places = {(song.name, song.split): n for n, song in enumerate(measured)}
    ranks = {severity: n for n, severity in enumerate(SEVERITIES)}

    def order(found: Finding) -> tuple[int, int]:
        return places.get((found.song, found.split), -1), ranks[found.severity]

    findings.sort(key=order)
    return Audit(root, name, findings, measured, time.monotonic() - began)


def _findings(survey: Survey) -> Iterator[Finding]:
    for rule in SET_RULES:
        yield from (_finding(rule, fault) for fault in rule.find(survey))
    for rule in SONG_RULES:
        for song in survey.songs:
            yield from (_finding(rule, fault) for fault in rule.find(song))


def _finding(rule: Rule, fault: Fault) -> Finding:
    return Finding(
        fault.severity or rule.severity,
        rule.name,
        fault.song.name if fault.song else "",
        fault.song.split if fault.song else None,
        fault.stems,
        fault.seen,
        rule.allowed,
        rule.fix,
        fault.values,
    )


def _measured(
    songs: list[Song],
    fingerprints: bool,
    progress: Callable[[int, int, str], None] | None,
) -> list[SongMeasures]:
    """Measure all songs, a few at once: decoders and numpy use a processor each."""

    def measure(song: Song) -> SongMeasures:
        files = _files(song)
        return measure_song(song.name, song.split, files, fingerprint=fingerprints)

    found = []
    workers = min(WORKERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        for song, measures in zip(songs, pool.map(measure, songs), strict=True):
            found.append(measures)
            if progress is not None:
                progress(len(found), len(songs), song.name)
    return found


def _matches(songs: list[Song], measured: list[SongMeasures]) -> dict[str, list[Match]]:
    """Recordings that two songs share: in their mixtures, or in stems of one name.

    The pieces of one song in one split belong together and are not compared.
    """
    found: dict[str, list[Match]] = {}
    parts = dict.fromkeys(part for song in measured for part in song.landmarks)
    for part in parts:
        owners = [n for n, song in enumerate(measured) if part in song.landmarks]
        sounds = [measured[n].landmarks[part] for n in owners]
        # Stems are transposed together: the mixture shows it.
        semitones = TRANSPOSED if part == MIXTURE else (0,)
        for match in matches(sounds, semitones=semitones):
            first, second = owners[match.first], owners[match.second]
            a, b = songs[first], songs[second]
            if a.group != b.group or a.split != b.split:
                match = replace(match, first=first, second=second)
                found.setdefault(part, []).append(match)
    return found


def _refusal(root: Path, layout: str | None) -> str:
    """The reason why the songs cannot be loaded; empty if they can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MssEduWarning)  # faults have rules of their own
        try:
            if root.is_file() or sounds(root):
                load_track(root)
            else:
                load_dataset(root, layout=layout, on_missing="absent")
        except MssEduError as error:
            return str(error)
    return ""


# ---- songs and files ----------------------------------------------------------------


def _find(root: Path, layout: str | None) -> tuple[str, list[Song]]:
    """The name of the layout, and the songs, also where `find_songs` would refuse."""
    if root.is_file() and root.suffix.lower() != ".csv":
        return "song", [Song(root)]
    with suppress(DatasetError):
        row, songs = find_songs(root, layout)
        return row.name, songs
    for row in layouts.LAYOUTS:  # without the checks that stop at the first fault
        if layout in (None, row.name):
            with suppress(DatasetError, OSError):
                found = row.find(root)
                if isinstance(found, list) and not (row.doubt and row.doubt(found)):
                    return row.name, found
    if root.is_dir() and sounds(root):
        return "song", [Song(root)]
    if songs := _folders_with_audio(root) if root.is_dir() else []:
        return "folders with audio", songs
    row, songs = find_songs(root, layout)  # raises the error that says what is there
    return row.name, songs


def _folders_with_audio(root: Path) -> list[Song]:
    """Each folder that holds audio files is a song; the first folder is its split."""
    songs = []
    for folder, names in walk(root):
        found = [folder / name for name in names]
        split = folder.relative_to(root).parts[:1]
        name = split[0].lower() if split and split[0].lower() in SPLITS else None
        containers = [path for path in found if is_stem_mp4(path)]
        songs += [Song(path, name) for path in containers]
        if any(map(is_audio, {*found} - {*containers})):
            songs.append(Song(folder, name))
    return songs


def _files(song: Song) -> list[StemFile]:
    """The files of a song, also of one whose folder has a fault."""
    if song.files:
        return [*song.files]
    try:
        return stem_files(song.path)
    except DatasetError:
        paths = [path for path in sorted(song.path.glob("[!.]*")) if is_audio(path)]
        return [StemFile(part_name(path), path) for path in paths]


def _scan(root: Path) -> tuple[list[Path], list[Path]]:
    """The litter and the links without a target below a folder."""
    litter, dangling = [], []
    for folder, names in walk(root):
        for name in names:
            if is_litter(name):
                litter.append(folder / name)
            elif is_dangling(folder / name):
                dangling.append(folder / name)
    return litter, dangling


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its files, links followed, no folder twice.

    A folder of litter counts as one name, and what is in it is left out.
    """
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        names = sorted(files + [name for name in folders if is_litter(name)])
        folders[:] = sorted(name for name in folders if not is_litter(name))
        yield Path(folder), names
