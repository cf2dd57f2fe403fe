"""Faults of songs: those that the headers of the files show, and those in the sound.

Headers: the files of one song differ in length, rate or channels, or the songs of a
data set in rate or channels. `mssedu.data.loading` checks this for every song.

Sound: a master, a karaoke version or a second mixture beside the stems would count as
one more stem, and the mixture would hold everything twice. And if a model is to
estimate one stem, the mixture must hold something else, too. Notebook: 05.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mssedu.audio.tensors import AudioInfo, is_source
from mssedu.audio.words import counted, sound_form
from mssedu.data import OnLength
from mssedu.data.track import REST, StemFile, Track
from mssedu.errors import DatasetError

LISTED = 5  # an error lists this many faults; all are counted
SAME_DB = -40.0  # two sounds are the same if their difference is below this level
SECONDS = 10.0  # length of the excerpt of a song that is checked


# ---- headers ------------------------------------------------------------------------


def check_stems_alike(
    path: Path, files: list[StemFile], infos: list[AudioInfo], on_length: OnLength
) -> None:
    """Raise DatasetError naming every file of a song that differs from the others."""
    forms = [sound_form(info.sample_rate, info.channels) for info in infos]
    remedy = _conversion([(info.sample_rate, info.channels) for info in infos])
    if on_length == "error":
        if len({*forms}) == 1:
            remedy = "Choose --on-length pad or cut (in Python: on_length)."
        pairs = zip(infos, forms, strict=True)
        forms = [f"{counted(info.samples, 'sample')} at {form}" for info, form in pairs]
    uses = Counter(file.stem for file in files)
    names = [f.stem if uses[f.stem] == 1 else f"{f.stem}/{f.path.name}" for f in files]
    usual, odd = _odd_ones(names, forms)
    if odd:
        raise DatasetError(
            f"{path}: most stems have {usual}, but {'; '.join(odd)}. {remedy}"
        )


def _odd_ones(names: list[str], forms: list[str]) -> tuple[str, list[str]]:
    """The most frequent form, and "NAME has FORM" for each name with another form."""
    usual = Counter(forms).most_common(1)[0][0]
    pairs = zip(names, forms, strict=True)
    return usual, [f"{name} has {form}" for name, form in pairs if form != usual]


def check_songs_alike(root: Path, tracks: list[Track]) -> None:
    """Raise DatasetError naming every song that differs from most others."""
    forms = [sound_form(track.sample_rate, track.channels) for track in tracks]
    usual, odd = _odd_ones([track.name for track in tracks], forms)
    if odd:
        fault = f"in another format than most, which are {usual}"
        remedy = _conversion([(track.sample_rate, track.channels) for track in tracks])
        raise faulty_songs(root, fault, odd, remedy)


def _conversion(forms: list[tuple[int, int]]) -> str:
    """The command for one rate in Hz and number of channels, as most files have."""
    rates, channels = map(Counter, zip(*forms, strict=True))
    flags = f" --resample {rates.most_common(1)[0][0]}" if len(rates) > 1 else ""
    if len(channels) > 1:
        flags += f" --channels {min(2, channels.most_common(1)[0][0])}"
    return f"Convert them: mssedu data check SONGS --fix OUT{flags}."


def faulty_songs(
    root: Path, fault: str, faults: list[str], remedy: str
) -> DatasetError:
    """The error to raise: "ROOT has 7 songs in two places. REMEDY", then a list."""
    listed = "".join(f"\n  - {line}" for line in faults[:LISTED])
    if len(faults) > LISTED:
        listed += f"\n  - and {len(faults) - LISTED} more"
    songs = counted(len(faults), "song")
    return DatasetError(f"{root} has {songs} {fault}. {remedy}{listed}")


# ---- sound --------------------------------------------------------------------------


def check_mixtures(tracks: Sequence[Track], *, remix: bool = True) -> None:
    """Check that a model can learn to separate the selected stems from the mixtures.

    Args:
        tracks: all songs for training.
        remix: whether the stems of different songs are mixed.

    Raises:
        DatasetError: a stem is the sum of others; or the mixtures hold nothing but one
            stem: the only one that is selected, or, without remix, one in each song.
    """
    for track in tracks:
        if track.mixture_is_sum:
            check_track(track)
    stems = tracks[0].stems
    if len(stems) == 1 and not any(map(_holds_more, tracks)):
        raise DatasetError(
            f"the training songs hold {stems[0]!r} alone, so that a model would learn "
            "to copy its input. Add the other stems, or a file called mixture."
        )
    if not remix and are_solos(tracks):
        raise DatasetError(
            "each training song holds one stem alone, so that a model would learn to "
            "copy its input. Mix the stems of different songs (leave out --no-remix; "
            "remix=True in Python), or make mixtures of them: mssedu data build."
        )


def are_solos(tracks: Sequence[Track]) -> bool:
    """Whether no song has more than one source, but some have a selected stem."""
    found = False
    for track in tracks:
        mixture = track.mixture() if track.present else None
        if mixture is None:
            continue
        names = (*track.present, *track.unselected)
        heard = [name for name in names if is_source(track.stem(name), mixture)]
        if len(heard) > 1 and heard[0] in track.present:
            return False
        found |= bool(heard) and heard[0] in track.present
    return found


def _holds_more(track: Track) -> bool:
    """Whether the mixture holds a source beside the selected stem."""
    mixture = track.mixture()
    return any(is_source(track.stem(name), mixture) for name in track.unselected)


def check_track(track: Track) -> None:
    """`check_parts` of the beginning of a song, or of its middle if that is silent."""
    names = tuple(name for name in (*track.present, *track.unselected) if name != REST)
    for start in (0.0, track.duration / 2):
        sources = [track.stem(name, start, SECONDS) for name in names]
        if any(source.any() for source in sources):
            check_parts(f"track {track.name!r}", names, torch.stack(sources))
            return


def check_parts(where: str, names: Sequence[str], sources: Tensor) -> None:
    """Raise DatasetError if a stem is the sum of the others, or of all but one.

    Args:
        where: the song, for the error.
        names: of the stems.
        sources: (stems, channels, samples).
    """
    total = sources.sum(0)
    energies = sources.double().square().sum((-2, -1)).tolist()
    limit = 10 ** (SAME_DB / 10)
    for index, name in enumerate(names):
        others = [i for i in range(len(names)) if i != index and energies[i]]
        left_out = [None, *others] if len(others) > 2 else [None]
        for one in left_out if others and energies[index] else ():
            rest = total - 2 * sources[index]
            rest = rest if one is None else rest - sources[one]
            if float(rest.double().square().sum()) < limit * energies[index]:
                parts = " + ".join(names[i] for i in others if i != one)
                raise DatasetError(
                    f"{where}: {name} = {parts}. Rename {name} to mixture if it is the "
                    "mixture, or move it away."
                )
