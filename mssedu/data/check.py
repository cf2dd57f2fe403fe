"""Faults of songs that no header shows: mixtures that are not what they should be.

A master, a karaoke version or a second mixture beside the stems would count as one more
stem: the mixture would hold everything twice. Files called mixture, mix or mixdown are
the mixture (`layouts`); this finds the sums that have other names. And where a model is
to estimate one stem, the mixture must hold something else too. Notebook: 05.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mssedu.data.track import REST, Track, is_source
from mssedu.errors import DatasetError, message

SAME_DB = -40.0  # against a stem: below it, two sounds are the same
SECONDS = 10.0  # of a song that are looked at


def check_mixtures(tracks: Sequence[Track]) -> None:
    """Check that a model can learn to take the selected stems out of the mixtures.

    Raises:
        DatasetError: a stem that is the sum of others, or a single stem that is all
            that the mixture of any song holds.
    """
    for track in tracks:
        if track.mixture_is_sum:
            check_track(track)
    stems = tracks[0].stems
    if len(stems) == 1 and not any(_holds_more(track) for track in tracks):
        wanted = f"something beside {stems[0]!r} in the mixtures"
        got = f"{stems[0]!r} alone, so that a model would learn to copy its input"
        remedy = "Add the other stems, or a file called mixture, to each song."
        raise DatasetError(message("training songs", wanted, got, remedy))


def _holds_more(track: Track) -> bool:
    """Whether the mixture is more than its selected stem, after a codec perhaps."""
    mixture = track.mixture()
    return any(is_source(track.stem(name), mixture) for name in track.unselected)


def check_track(track: Track) -> None:
    """Look at the begin of a song, or at its middle where the begin is silent.

    Raises:
        DatasetError: one of its stems is the sum of the others.
    """
    names = tuple(name for name in (*track.stems, *track.unselected) if name != REST)
    for start in (0.0, track.duration / 2):
        sources = [track.stem(name, start, SECONDS) for name in names]
        if any(source.any() for source in sources):
            check_parts(f"track {track.name!r}", names, torch.stack(sources))
            return


def check_parts(where: str, names: Sequence[str], sources: Tensor) -> None:
    """Check that no stem is the sum of the others, or of all others but one.

    Args:
        where: the song, for the message.
        names: of the stems.
        sources: (stems, channels, samples).

    Raises:
        DatasetError: there is such a stem.
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
                remedy = f"Name it mixture if it is the mixture, else move {name} away."
                wanted = "stems that are parts of the mixture"
                got = f"{name} = {parts}"
                raise DatasetError(message(where, wanted, got, remedy))
