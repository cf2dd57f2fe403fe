"""An HTML page of an error analysis: read, see and hear where a separator goes wrong.

One self-contained file, whose size depends on the number of songs only little: four of
them have a figure and players for 15 s, the ten worst excerpts last 3 s each, and the
other songs are a line of a table. Notebook: 04.
"""

import html
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from mssedu.evaluation.error_analysis import ErrorAnalysis
from mssedu.evaluation.error_song import Sounds, TrackErrors, WorstExcerpt
from mssedu.evaluation.error_windows import AUDIBLE_DB, HOP_SECONDS
from mssedu.figures.errors import (
    bleed_figure,
    excerpt_figure,
    level_figure,
    track_figure,
)
from mssedu.reports.page import (
    facts_table,
    gain_note,
    html_table,
    joint_gain,
    picture,
    player,
    write_page,
)

KBIT = 128  # of the players, per second
_STYLE = """
.players { display: grid; gap: .2rem 1rem; margin: .5rem 0;
           grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
.players figure { margin: 0; } .players audio { width: 100%; }
h3 { margin-top: 2.5rem; } summary { cursor: pointer; }
.wide { overflow-x: auto; } td { overflow-wrap: anywhere; }
figcaption, .note { color: inherit; opacity: .75; }
"""
_LEVEL = (
    "Every window of every song as a dot; median and quartiles of windows of similar "
    "level. Where a stem is quiet, little noise is much."
)
_TIME = (
    "Score of every window, where the true stem is audible; its level in gray. What is "
    "played below, if it is not the whole song, is yellow."
)
_WORST = (
    "The reference is the true stem; the error is the estimate minus the reference. "
    "Spectrograms of an excerpt share one color scale."
)
_BLEED = (
    "Left: how much of each true source is found in each estimate, against that source "
    "(0 dB: all of it). Right: what the error of each estimate is made of, against its "
    "true stem (0 dB: as loud as the stem itself): what bled in from other sources, in "
    "bold what is lost of the stem, and artifacts, which no source explains. "
    "< -60: nothing, or no more than chance would make."
)


def write_analysis(
    path: str | Path, analysis: ErrorAnalysis, *, title: str, facts: Mapping[str, str]
) -> Path:
    """Write the page as one HTML file, which tells its size.

    All sounds are lowered by one joint gain if any of them exceeds full scale.

    Args:
        path: of the .html file.
        analysis: what `analyze_errors` has found.
        title: plain text.
        facts: name -> value, printed at the end.
    """
    heard = [track.stretch for track in analysis.tracks if track.stretch]
    excerpts = [_with_error(excerpt) for excerpt in analysis.worst]
    every = [*(stretch.sounds for stretch in heard), *excerpts]
    gain = joint_gain(sound for sounds in every for sound in sounds.values())
    players = _Players(analysis.sample_rate, gain)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _summary(analysis),
        "<h2>What bleeds into what</h2>",
        picture(_BLEED, _bleed(analysis, None)),
        "<h2>Score against level</h2>",
        picture(_LEVEL, level_figure(analysis.windows(), analysis.stems)),
        f"<h2>The {len(excerpts)} worst excerpts</h2>{gain_note(gain)}",
        f'<p class="note">{html.escape(_WORST)}</p>',
        *(
            _excerpt(number, excerpt, sounds, players)
            for number, (excerpt, sounds) in enumerate(
                zip(analysis.worst, excerpts, strict=True), 1
            )
        ),
        "<h2>Score over time</h2>",
        *(_song(analysis, track, players) for track in analysis.tracks),
        _all_songs(analysis),
        "<h2>How it was made</h2>",
    ]
    size = {"this file": f"{sum(map(len, parts)) / 1e6:.1f} MB, {players.n} players"}
    return write_page(
        path, title, [*parts, facts_table({**facts, **size})], style=_STYLE
    )


class _Players:
    """Makes and counts players of one rate and gain."""

    def __init__(self, sample_rate: int, gain: float) -> None:
        self.sample_rate, self.gain, self.n = sample_rate, gain, 0

    def row(self, sounds: Sounds, what: str) -> str:
        """Players side by side, each below its label."""
        self.n += len(sounds)
        bitrate = KBIT if self.sample_rate >= 16000 else None
        parts = []
        for label, sound in sounds.items():
            spoken, sound = f"{what}, {label}", sound * self.gain
            made = player(sound, self.sample_rate, spoken, bitrate=bitrate)
            caption = f"<figcaption>{html.escape(label)}</figcaption>"
            parts.append(f"<figure>{caption}{made}</figure>")
        return f'<div class="players">{"".join(parts)}</div>'


def _with_error(excerpt: WorstExcerpt) -> Sounds:
    sounds = excerpt.stretch.sounds
    return {**sounds, "error": sounds["estimate"] - sounds["reference"]}


def _summary(analysis: ErrorAnalysis) -> str:
    head, rows = analysis.summary()
    n, seconds = len(analysis.tracks), HOP_SECONDS * 2
    note = (
        f"dB; medians of {n} songs, or of windows of {seconds:g} s in which the true "
        f"stem is less than {-AUDIBLE_DB:g} dB below the level of its song. Lost, "
        "largest bleed and artifacts: their energy in the estimate against that of the "
        "true stem; the lower, the better."
    )
    return f'{html_table(head, rows)}<p class="note">{html.escape(note)}</p>'


def _bleed(analysis: ErrorAnalysis, track: TrackErrors | None) -> Figure:
    matrices = {
        "Where each source goes": analysis.of_sources(track),
        "What each error is made of": analysis.of_errors(track),
    }
    return bleed_figure(matrices, (*analysis.sources, "artifacts"), analysis.sources)


def _excerpt(
    number: int, excerpt: WorstExcerpt, sounds: Sounds, players: _Players
) -> str:
    """Heading, cause, players and spectrograms."""
    start = excerpt.stretch.start
    first, last = excerpt.seconds - HOP_SECONDS, excerpt.seconds + HOP_SECONDS
    where = f"{excerpt.stem} of {excerpt.track}, {_clock(first)} to {_clock(last)}"
    bleed = f"bleed from {excerpt.bled_from or 'other sources'}"
    causes = {
        "lost": excerpt.lost_db,
        bleed: excerpt.bleed_db,
        "artifacts": excerpt.artifacts_db,
    }
    against = ", ".join(f"{cause} {_db(value)}" for cause, value in causes.items())
    text = (
        f"usdr {_db(excerpt.usdr)}, mostly {max(causes, key=causes.__getitem__)}. "
        f"The true stem has {excerpt.level_db:.0f} dBFS, the estimate peaks at "
        f"{excerpt.peak_db:.0f} dBFS. Against the true stem: {against}."
    )
    shown = {label: sound for label, sound in sounds.items() if label != "error"}
    figure = excerpt_figure(shown, players.sample_rate, excerpt.seconds - start)
    caption = f"From {_clock(start)} on; the window between the dashed lines."
    heading = f"<h3>{number}. {html.escape(where)}</h3><p>{html.escape(text)}</p>"
    return heading + players.row(sounds, where) + picture(caption, figure)


def _song(analysis: ErrorAnalysis, track: TrackErrors, players: _Players) -> str:
    """Figures and players of a song that has a stretch to hear; else nothing."""
    if track.stretch is None:
        return ""
    sounds, start = track.stretch.sounds, track.stretch.start
    length = next(iter(sounds.values())).shape[-1] / players.sample_rate
    whole = float(track.windows.seconds[-1]) + HOP_SECONDS <= length
    span = None if whole else (start, start + length)
    time = track_figure(track.windows, analysis.stems, heard=span)
    played = f"{_clock(start)} to {_clock(start + length)}: mixture and estimates"
    return (
        f"<h3>{html.escape(track.name)}</h3>"
        + picture(_TIME, time)
        + f"<p>{played}</p>"
        + players.row(sounds, track.name)
        + picture("Bleed and errors of this song, as above.", _bleed(analysis, track))
    )


def _all_songs(analysis: ErrorAnalysis) -> str:
    """A table of all songs, folded."""
    rows = [
        (track.name, *("silent" if s.isnan() else f"{s:.1f}" for s in track.usdr))
        for track in analysis.tracks
    ]
    songs = html_table(("usdr of the song, dB", *analysis.stems), rows)
    return f"<details><summary>All {len(rows)} songs</summary>{songs}</details>"


def _db(value: float) -> str:
    """To 0.1 dB, but never -0.0."""
    return f"{round(value, 1) + 0.0:.1f} dB"


def _clock(seconds: float) -> str:
    """Minutes and seconds: 0:07.5."""
    tenths = round(max(seconds, 0) * 10)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
