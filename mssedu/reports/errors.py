"""The HTML page of `mssedu analyze`: where a separator fails, with figures and players.

One self-contained file, whose size hardly depends on the number of songs: four songs
have figures and players of 15 s, the ten worst excerpts are 3 s each, and every other
song is one line of a table. Notebook: 04.
"""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from mssedu.audio.words import counted
from mssedu.evaluation.error_analysis import ErrorAnalysis, TrackErrors, WorstExcerpt
from mssedu.evaluation.error_windows import AUDIBLE_DB, HOP_SECONDS
from mssedu.figures import errors as figures
from mssedu.reports import page as html
from mssedu.reports.tables import texts

KBIT = 128  # bitrate of the players, per second
LOWEST_RATE = 16000  # Hz; below this rate, MP3 has no such bitrate
_STYLE = """
h3 { margin-top: 2.5rem; } summary { cursor: pointer; } td { overflow-wrap: anywhere; }
"""
_LEVEL = (
    "Every window of every song is a dot; the line and the area are the median and the "
    "quartiles of windows of similar level. Where a stem is quiet, even a small error "
    "gives a low score."
)
_TIME = (
    "Score of every window in which the true stem is audible; its level is the gray "
    "area. The part that is played below is yellow, unless it is the whole song."
)
_WORST = (
    "The reference is the true stem; the error is the estimate minus the reference. "
    "The spectrograms of an excerpt share one color scale."
)
_BLEED = (
    "Left: how much of each true source is in each estimate, relative to that source "
    "(0 dB: all of it). Right: the parts of the error of each estimate, relative to "
    "its true stem (0 dB: as loud as the stem): what bled from other sources; in bold, "
    "what is lost of the stem; and artifacts, which no source explains. "
    "< -60: nothing, or not more than chance explains."
)


def write_analysis(
    path: str | Path, analysis: ErrorAnalysis, *, title: str, facts: Mapping[str, str]
) -> Path:
    """Write the page as one HTML file, which also states its own size.

    If a sound exceeds full scale, all sounds are lowered by the same gain. The facts,
    name -> value, are printed at the end.
    """
    excerpts = [excerpt.stretch.sounds for excerpt in analysis.worst]
    excerpts = [{**s, "error": s["estimate"] - s["reference"]} for s in excerpts]
    stretches = [track.stretch.sounds for track in analysis.tracks if track.stretch]
    rate = analysis.sample_rate
    sounds = [sound for part in (*stretches, *excerpts) for sound in part.values()]
    players = html.Players(sounds, rate, KBIT if rate >= LOWEST_RATE else None)
    parts = [
        html.heading(title, 1),
        _summary(analysis),
        html.heading("Bleed between sources"),
        html.picture(_BLEED, _bleed(analysis, None)),
        html.heading("Score against level"),
        html.picture(_LEVEL, figures.level_figure(analysis.windows(), analysis.stems)),
        html.heading(f"The {len(excerpts)} worst excerpts"),
        players.note,
        html.paragraph(_WORST, note=True),
    ]
    for number, excerpt in enumerate(analysis.worst, 1):
        parts.append(_excerpt(number, excerpt, excerpts[number - 1], players))
    parts += [
        html.heading("Score over time"),
        *(_song(analysis, track, players) for track in analysis.tracks),
        _all_songs(analysis),
        html.heading("How it was made"),
    ]
    size = f"{sum(map(len, parts)) / 1e6:.1f} MB, {players.n} players"
    parts.append(html.facts_table({**facts, "this file": size}))
    return html.write_page(path, title, parts, style=_STYLE)


def _summary(analysis: ErrorAnalysis) -> str:
    frame = analysis.summary()
    head, rows = texts(frame, formats=dict.fromkeys(frame, "z.1f"))
    note = (
        f"dB; medians of {counted(len(analysis.tracks), 'song')}, or of windows of "
        f"{2 * HOP_SECONDS:g} s in which the true stem is less than "
        f"{-AUDIBLE_DB:g} dB below the level of its song. Lost, largest bleed and "
        "artifacts are energies relative to that of the true stem; lower is better."
    )
    if "songs" in frame:
        note += " A stem has the medians of the songs that it is not absent from."
    return html.html_table(head, rows) + html.paragraph(note, note=True)


def _bleed(analysis: ErrorAnalysis, track: TrackErrors | None) -> Figure:
    matrices = {
        "Where each source goes": analysis.of_sources(track),
        "What each error is made of": analysis.of_errors(track),
    }
    causes = (*analysis.sources, "artifacts")
    return figures.bleed_figure(matrices, causes, analysis.sources)


def _excerpt(
    number: int,
    excerpt: WorstExcerpt,
    sounds: Mapping[str, Tensor],
    players: html.Players,
) -> str:
    """Heading, cause, players and spectrograms of one excerpt."""
    start = excerpt.stretch.start
    first, last = excerpt.seconds - HOP_SECONDS, excerpt.seconds + HOP_SECONDS
    where = f"{excerpt.stem} of {excerpt.track}, {_clock(first)} to {_clock(last)}"
    causes = {
        "lost": excerpt.lost_db,
        f"bleed from {excerpt.bled_from or 'other sources'}": excerpt.bleed_db,
        "artifacts": excerpt.artifacts_db,
    }
    energies = ", ".join(f"{cause} {value:z.1f} dB" for cause, value in causes.items())
    text = (
        f"usdr {excerpt.usdr:z.1f} dB, mostly {max(causes, key=causes.__getitem__)}. "
        f"The level of the true stem is {excerpt.level_db:.0f} dBFS, the peak of the "
        f"estimate {excerpt.peak_db:.0f} dBFS. Relative to the true stem: {energies}."
    )
    drawn, moment = excerpt.stretch.sounds, excerpt.seconds - start
    caption = f"From {_clock(start)} on; the window is between the dashed lines."
    parts = [html.heading(f"{number}. {where}", 3), html.paragraph(text)]
    parts.append(players.row(sounds, where))
    figure = figures.excerpt_figure(drawn, players.sample_rate, moment)
    return "".join([*parts, html.picture(caption, figure)])


def _song(analysis: ErrorAnalysis, track: TrackErrors, players: html.Players) -> str:
    """Figures and players of a song that has a stretch, otherwise nothing."""
    if track.stretch is None:
        return ""
    sounds, start = track.stretch.sounds, track.stretch.start
    length = next(iter(sounds.values())).shape[-1] / players.sample_rate
    whole = float(track.windows.seconds[-1]) + HOP_SECONDS <= length
    marked = None if whole else (start, start + length)
    played = f"{_clock(start)} to {_clock(start + length)}: mixture and estimates"
    figure = figures.track_figure(track.windows, analysis.stems, marked=marked)
    parts = [html.heading(track.name, 3), html.picture(_TIME, figure)]
    parts += [html.paragraph(played), players.row(sounds, track.name)]
    caption = "Bleed and errors of this song, as above."
    return "".join([*parts, html.picture(caption, _bleed(analysis, track))])


def _all_songs(analysis: ErrorAnalysis) -> str:
    """A table of all songs, folded."""
    rows = []
    for track in analysis.tracks:
        pairs = zip(analysis.stems, track.usdr, strict=True)
        scores = [_score(score, stem in track.absent) for stem, score in pairs]
        rows.append([track.name, *scores])
    songs = html.html_table(("usdr of the song (dB)", *analysis.stems), rows)
    return f"<details><summary>Each song ({len(rows)})</summary>{songs}</details>"


def _score(score: Tensor, is_absent: bool) -> str:
    """A score, or the reason why there is none."""
    if score.isnan():
        return "absent" if is_absent else "silent"
    return f"{score:.1f}"


def _clock(seconds: float) -> str:
    """Minutes and seconds: 0:07.5."""
    tenths = round(max(seconds, 0) * 10)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
