"""The command `mssedu data`: make, check and convert data sets.

mssedu data check SONGS                   a table of all faults of a data set
mssedu data check SONGS --fix OUT         a copy in which the safe ones are fixed
mssedu data build RECORDINGS OUT          mixes of recordings of single instruments
mssedu data fetch musdb18-7s              a public data set, once you accept its license
mssedu data convert SONGS OUT --to demucs   the same songs as another tool reads them
mssedu data pseudo-label SONGS OUT -m htdemucs   stems that a trained model estimates
"""

import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro

from mssedu.audio.disk import check_file, check_folder
from mssedu.audio.files import write_json
from mssedu.audio.words import counted
from mssedu.cli.console import bar, err, load_shown, out, report_failure, say
from mssedu.cli.separate import ModelOptions
from mssedu.data import OnLength
from mssedu.data.building.recipe import BuildConfig, BuildOptions
from mssedu.data.splits import SPLITS
from mssedu.errors import InputError, check_name, check_range
from mssedu.reports.tables import render
from mssedu.separation.config import (
    InputOptions,
    QualityOptions,
    SeparateConfig,
    SpeedOptions,
)
from mssedu.separation.label_set import MANIFEST, UNKNOWN, LabelConfig, LabelOptions

if TYPE_CHECKING:
    from mssedu.data.doctor.audit import Audit, Finding

MANY = 5  # a note on more songs than this is one line of the table


@dataclass(frozen=True)
class CheckOptions:
    """Options for what is looked for."""

    # name of the layout, if it is not recognized (None: the first that fits)
    layout: str | None = None
    # look for one recording in two songs: louder, cut, encoded again or transposed
    fingerprints: bool = True
    # name the known errors of songs that are called as the songs of MUSDB18
    errata: bool = True


@dataclass(frozen=True)
class ResultOptions:
    """Options for what is shown, and for the exit code."""

    # file for all findings and measures in JSON, for other programs
    json: Path | None = None
    # list each note; else a note on more than five songs is one line
    all: bool = False
    # exit code 1 also for warnings, not only for errors
    strict: bool = False


@dataclass(frozen=True)
class FixOptions:
    """Options for a repaired copy."""

    # new folder for a copy without litter, DC offset, lag and wrong polarity; all other
    # files are copied as they are, and repairs.json lists what was changed
    fix: Path | None = None
    # with --fix: bring the files of a song to one length: "pad" adds zeros up to the
    # longest one, "cut" uses the length of the shortest (None: lengths stay)
    length: Literal["pad", "cut"] | None = None
    # with --fix: sample rate in Hz for the files that have another (None: rates stay)
    resample: int | None = None
    # with --fix: number of channels for the mono and stereo files that have another:
    # stereo becomes the mean of both sides (None: channels stay)
    channels: Literal[1, 2] | None = None


def check(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SONGS")],
    checks: tyro.conf.OmitArgPrefixes[CheckOptions],
    result: tyro.conf.OmitArgPrefixes[ResultOptions],
    repair: tyro.conf.OmitArgPrefixes[FixOptions],
) -> int:
    """Show all faults of a data set in one table; exit code 1 if there are errors.

    Every sample is read. An error makes training or scores wrong, a warning is worth a
    look, a note is a fact to know. The exit code is 0 if there are only warnings and
    notes.

    Args:
        folder: folder of a data set in any layout, or one song.
        checks: Options for what is looked for.
        result: Options for what is shown, and for the exit code.
        repair: Options for a repaired copy.
    """
    from mssedu.data.doctor.audit import audit_dataset
    from mssedu.data.doctor.repair import repair_dataset

    for name in ("length", "resample", "channels"):
        if repair.fix is None and getattr(repair, name) is not None:
            raise InputError(
                f"--{name} changes the copy that --fix writes. Add --fix OUT."
            )
    if repair.resample is not None:
        check_range("--resample", repair.resample, 1000, 768_000)
    if result.json is not None:
        check_file(result.json)
    if repair.fix is not None:
        check_folder(repair.fix)
    with bar("checking") as update:
        found = audit_dataset(
            folder,
            layout=checks.layout,
            fingerprints=checks.fingerprints,
            errata=checks.errata,
            progress=update,
        )
    _show(found, result)
    if repair.fix is not None:
        with bar("copying") as update:
            repaired = repair_dataset(
                found,
                repair.fix,
                length=repair.length,
                sample_rate=repair.resample,
                channels=repair.channels,
                progress=update,
            )
        say(
            f"{repair.fix}: {counted(len(repaired.changed), 'file')} changed, "
            f"{len(repaired.left_out)} left out, "
            f"{counted(len(repaired.not_fixed), 'fault')} not fixed (listed in "
            f"{repair.fix / 'repairs.json'})"
        )
    faults = found.count("error") + (found.count("warning") if result.strict else 0)
    return 1 if faults else 0


def _show(found: "Audit", result: ResultOptions) -> None:
    """Print the table, and write the JSON file."""
    import pandas

    if found.findings:
        rows = found.findings if result.all else _summarized(found.findings)
        frame = pandas.DataFrame(
            {
                "song": row.place or "(all songs)",
                "severity": row.severity,
                "fault": row.rule,
                "stems": ", ".join(row.stems),
                "seen": row.seen,
                "allowed": row.allowed,
                "fix": row.fix,
            }
            for row in rows
        )
        out.print(render(frame), soft_wrap=True)
    if result.json is not None:
        write_json(result.json, found.document())
        say(f"JSON: {result.json}")
    counts = [
        counted(found.count(severity), severity)
        for severity in ("error", "warning", "note")
    ]
    songs = counted(len(found.songs), "song")
    say(f"{found.root}: {songs}, layout {found.layout}: {', '.join(counts)}")


def _summarized(findings: list["Finding"]) -> list["Finding"]:
    """The findings, where a note on many songs is one row."""
    from dataclasses import replace

    counts = Counter(f.rule for f in findings if f.severity == "note")
    rows, told = [], set()
    for finding in findings:
        if finding.severity != "note" or counts[finding.rule] <= MANY:
            rows.append(finding)
        elif finding.rule not in told:
            told.add(finding.rule)
            more = f" and {counts[finding.rule] - 1} more (--all lists them)"
            rows.append(replace(finding, seen=finding.seen + more))
    return rows


def build(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    out_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    mix: tyro.conf.OmitArgPrefixes[BuildOptions],
    layout: str | None = None,
) -> int:
    """Make a data set of mixes from recordings of single instruments.

    FOLDER holds a folder for each instrument, such as dizi/*.wav and pipa/*.mp3. No
    recording is in two splits. A build that was stopped goes on with the same command.

    Args:
        folder: recordings of single instruments, in any layout.
        out_dir: new folder for the mixes.
        mix: Options for the mixes.
        layout: name of the layout, if it is not recognized (None: the first that fits)
    """
    from mssedu.data.building.mixes import build_dataset

    config = BuildConfig(**vars(mix))
    try:
        with bar("building") as update:
            build_dataset(
                folder, out_dir, config, layout=layout, progress=update, log=say
            )
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or SIGTERM
        err.print("to continue: the same command")
        raise
    return 0


def fetch(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    out_dir: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    archive: Path | None = None,
    yes: bool = False,
) -> int:
    """Download a public data set, check it, unpack it, and say what it holds.

    The license comes first. The same command goes on with a download that was stopped.

    Args:
        name: musdb18-7s (0.1 GB), musdb18-hq (23 GB) or moisesdb (83 GB, which you
            download yourself, see --archive)
        out_dir: folder of the data set (None: a folder of its name, here)
        archive: the zip file of the data set, if you have downloaded it already
        yes: accept the license without being asked
    """
    from mssedu.data.fetch import DATASETS, fetch_dataset, is_fetched
    from mssedu.data.finding import describe_songs, find_songs

    check_name("data set", name, DATASETS)
    row, out = DATASETS[name], out_dir or Path(name)
    is_there = is_fetched(name, out)
    if not is_there:  # what was fetched before may be in a folder that is read-only
        check_folder(out)
    say(f"{row.title} ({row.page})")
    say(f"License: {row.license}")
    if not (yes or is_there) and sys.stdin.isatty():
        yes = input("Do you accept this license? [y/N] ").strip().lower() in (
            "y",
            "yes",
        )
    with bar("fetching, MB") as update:
        root = fetch_dataset(
            name,
            out,
            accept_license=yes,
            archive=archive,
            progress=lambda done, total, note: update(
                done // 10**6, total and total // 10**6, note
            ),
        )
    say(f"{root}: {describe_songs(*find_songs(root))}")
    return 0


@dataclass(frozen=True)
class ConvertOptions:
    """Options for the new files."""

    # tool that reads the songs: songs (this package), musdb18-hq, open-unmix,
    # open-unmix-aligned, demucs, msst or museval
    to: str = "songs"
    ext: Literal["wav", "flac"] = "wav"  # format of the files
    # number format (None: float32 in wav and int24 in flac files). If an integer format
    # cannot hold a song, all of its files are scaled by one gain
    subtype: Literal["int16", "int24", "float32"] | None = None
    # sample rate in Hz (None: that of the songs)
    sample_rate: int | None = None
    # number of channels, 1 or 2 (None: that of the songs)
    channels: int | None = None
    # stems to write, such as vocals band=drums+bass (None: all stems)
    stems: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SourceOptions:
    """Options for the songs that are read."""

    # name of their layout, if it is not recognized (None: the first that fits)
    layout: str | None = None
    # if the files of a song differ in length: "error", "pad" with zeros up to the
    # longest, or "cut" to the shortest
    on_length: OnLength = "error"
    # shares of train, valid and test, for songs without splits (None: no splits)
    split: tuple[float, float, float] | None = None
    seed: int = 0  # seed of the split


def convert(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SONGS")],
    out_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    new: tyro.conf.OmitArgPrefixes[ConvertOptions],
    source: tyro.conf.OmitArgPrefixes[SourceOptions],
    jobs: int | None = None,
) -> int:
    """Write a data set in the layout, format or sample rate that another tool reads.

    The samples stay exact: wav files of float32 are equal to what is decoded. The same
    command goes on with a conversion that was stopped.

    Args:
        folder: folder of a data set in any layout.
        out_dir: new folder for the songs.
        new: Options for the new files.
        source: Options for the songs that are read.
        jobs: number of processes (None: one for each core)
    """
    from mssedu.data.convert import convert_dataset
    from mssedu.data.finding import describe_songs, find_songs

    check_folder(out_dir)
    with bar("converting") as update:
        done = convert_dataset(
            folder,
            out_dir,
            target=new.to,
            ext=new.ext,
            subtype=new.subtype,
            sample_rate=new.sample_rate,
            channels=new.channels,
            stems=new.stems,
            layout=source.layout,
            on_length=source.on_length,
            split_shares=source.split,
            split_seed=source.seed,
            jobs=jobs or os.cpu_count() or 1,
            progress=update,
        )
    for song, gain_db in done.gains_db.items():
        say(f"{song}: all files are scaled by {gain_db:.2f} dB, to a peak of ±1")
    for name, renamed in done.renamed.items():
        say(f"{name} is called {renamed}, a name that all file systems accept")
    if done.n_not_sum:
        say(
            f"{counted(done.n_not_sum, 'song')}: the mixture is not the sum of the "
            f"stems; it is not written, because {new.to} sums the stems"
        )
    if done.n_skipped:
        say(f"{counted(done.n_skipped, 'song')} of an earlier run, not written again")
    say(f"{done.root}: {describe_songs(*find_songs(done.root))}")
    return 0


def pseudo_label(
    songs: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SONGS")],
    out_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    model: tyro.conf.OmitArgPrefixes[ModelOptions],
    label: tyro.conf.OmitArgPrefixes[LabelOptions],
    input: tyro.conf.OmitArgPrefixes[InputOptions],
    quality: tyro.conf.OmitArgPrefixes[QualityOptions],
    speed: tyro.conf.OmitArgPrefixes[SpeedOptions],
) -> int:
    """Make a training set of songs without stems: a trained model estimates them.

    Each song is separated several times, and only the pieces in which the results agree
    are kept. The same command goes on where it was stopped. The exit code is 1 if songs
    failed, or if nothing was kept.

    Args:
        songs: folder of songs (searched with all subfolders), or one song
        out_dir: new folder for the training set
        model: Options for choosing the model.
        label: Options for the labels.
        input: Options for reading the songs.
        quality: Options that change the estimate.
        speed: Options that change time and memory, and the estimate by rounding only.
    """
    from mssedu.separation.pseudo_labels import pseudo_label as run

    def report(kind: str, text: str) -> None:
        if kind == "failed":
            report_failure(kind, text)
        else:
            say(f"{kind:<8} {text}")

    config = LabelConfig(**vars(label))
    separation = SeparateConfig(**vars(quality), **vars(speed))
    network = load_shown(*model.source, model.device)
    try:
        found = run(
            network,
            [songs],
            out_dir,
            teacher=str(model.source[0]),
            config=config,
            separation=separation,
            reading=input,
            report=report,
            bar=bar,
        )
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or SIGTERM
        err.print("to continue: the same command")
        raise
    if found["teacher"]["license"] == UNKNOWN:
        say(f"the license of the teacher {model.source[0]} is unknown")
    counts = Counter(
        {split: 0 for split, n in zip(SPLITS, label.split, strict=True) if n}
    )
    for record in found["songs"].values():
        counts[record["split"]] += len(record["pieces"])
    pieces = ", ".join(f"{n} in {split}" for split, n in counts.items())
    seconds = sum(record["kept_seconds"] for record in found["songs"].values())
    n_songs = counted(len(found["songs"]), "song")
    say(
        f"{n_songs}, {len(found['failed'])} failed: {seconds:.1f} s in pieces, "
        f"{pieces}; {out_dir / MANIFEST} has the license of the teacher"
    )
    return 1 if found["failed"] or not counts.total() else 0


SUBCOMMANDS: dict[str, Callable[..., int]] = {
    "build": build,
    "check": check,
    "convert": convert,
    "fetch": fetch,
    "pseudo-label": pseudo_label,
}
# A union of subcommands has two members at least: with one, tyro shows no subcommand.
_CHOICES = [
    Annotated[Any, tyro.conf.subcommand(name, constructor=command)]
    for name, command in SUBCOMMANDS.items()
]


def data(
    code: Annotated[
        Union[(*_CHOICES, Annotated[None, tyro.conf.Suppress])],  # type: ignore[valid-type]
        tyro.conf.arg(name="", help="Choose one; each has a --help of its own."),
    ],
) -> int:
    """Make, check and convert data sets."""
    return int(code or 0)  # tyro has run the subcommand
