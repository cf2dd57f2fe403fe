"""The layouts that other tools read, for `mssedu.data.convert`: the table `TARGETS`.

Most of them are folders of songs. What differs is whether a mixture may lie beside the
stems, which splits there are, whether a stem may be absent, and the format.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mssedu.audio.names import file_names
from mssedu.data.check import faulty_songs
from mssedu.data.folders import MIXTURE_FILES
from mssedu.data.layouts import MUSDB_VALID, STEMS
from mssedu.data.track import Track
from mssedu.errors import InputError


@dataclass(frozen=True)
class Target:
    """A layout to write: what it holds, and what its tool cannot read."""

    description: str
    source: str  # the documentation or the code that it follows
    mixture: Literal["own", "always", "never"]  # own: if it is not the sum of the stems
    splits: Literal["any", "all", "musdb"]  # all songs have one; musdb: no folder valid
    complete: bool = False  # each song has all stems
    stems: tuple[str, ...] = ()  # these, and no others; empty: any
    one_stem: bool = False
    wav_only: bool = False


TARGETS = {
    "songs": Target(
        "SPLIT/SONG/STEM.wav; mixture.wav where the mixture is not the sum",
        "mssedu.data.layouts, the rows splits and songs",
        mixture="own",
        splits="any",
    ),
    "musdb18-hq": Target(
        "train or test/SONG/{mixture,vocals,drums,bass,other}.wav, for musdb",
        "README.md of sigsep/sigsep-mus-db, is_wav=True",
        mixture="always",
        splits="musdb",
        complete=True,
        stems=STEMS,
        wav_only=True,
    ),
    # Variable track folders count each file except the target as an interferer.
    "open-unmix": Target(
        "SPLIT/SONG/STEM.wav without mixture, for its fixed and variable track folders",
        "docs/training.md of sigsep/open-unmix-pytorch",
        mixture="never",
        splits="all",
    ),
    "open-unmix-aligned": Target(
        "SPLIT/SONG/mixture.wav and one stem, for its aligned data set",
        "docs/training.md of sigsep/open-unmix-pytorch",
        mixture="always",
        splits="all",
        complete=True,
        one_stem=True,
    ),
    "demucs": Target(
        "train or valid/SONG/{mixture,STEM}.wav, for dset.wav of Demucs",
        "demucs/wav.py and docs/training.md of facebookresearch/demucs",
        mixture="always",
        splits="all",
        complete=True,
        wav_only=True,
    ),
    "msst": Target(
        "SPLIT/SONG/{mixture,STEM}.wav, for the types 1, 4, 6 and 7",
        "docs/dataset_types.md of ZFTurbo/Music-Source-Separation-Training",
        mixture="always",
        splits="any",
    ),
    # All files of a folder are references.
    "museval": Target(
        "train or test/SONG/STEM.wav without mixture, as references or estimates",
        "eval_dir and eval_mus_dir in museval/__init__.py",
        mixture="never",
        splits="musdb",
        wav_only=True,
    ),
}


def check_tracks(root: Path, tracks: list[Track], name: str) -> None:
    """Raise an error for songs that a tool could not read, or would read wrong.

    Raises:
        InputError: stems that the target `name` does not hold.
        DatasetError: songs without split, with another split there, or without stems.
    """
    target, stems = TARGETS[name], tracks[0].stems
    where = f"{root}: {name}"
    if target.stems and set(stems) != set(target.stems):
        raise InputError(
            f"{where} holds the stems {', '.join(target.stems)}, and the songs have "
            f"{', '.join(stems)}. Choose them with --stems, or another target."
        )
    if target.one_stem and len(stems) != 1:
        raise InputError(
            f"{where} holds one stem, and the songs have {', '.join(stems)}. Choose "
            "one with --stems."
        )
    reserved = [stem for stem in stems if stem.casefold() in MIXTURE_FILES]
    if reserved:
        raise InputError(
            f"{root}: the stem {reserved[0]!r} would be taken for the mixture. Rename "
            f"it, such as with --stems new_name={reserved[0]}."
        )
    unsplit = [track.name for track in tracks if track.split is None]
    if unsplit and target.splits != "any":
        remedy = "Split them with --split 0.8 0.1 0.1 (in Python split_shares)."
        raise faulty_songs(root, f"without split for {name}", unsplit, remedy)
    if target.splits == "musdb":
        wrong = [
            f"{track.name}: {track.split}"
            for track in tracks
            if track.split != "test"
            and (track.split == "valid") != (track.name in MUSDB_VALID)
        ]
        if wrong:
            remedy = (
                "It takes 14 songs of MUSDB18 from train, by their names. Choose a "
                "target with a folder valid: open-unmix, demucs, msst, songs."
            )
            raise faulty_songs(root, f"whose split {name} would change", wrong, remedy)
    absent = [f"{t.name}: {', '.join(t.absent)}" for t in tracks if t.absent]
    if absent and target.complete:
        remedy = "Choose the stems that all songs have with --stems, or another target."
        raise faulty_songs(
            root, f"without all stems, which {name} needs", absent, remedy
        )


def song_folders(tracks: list[Track], name: str) -> dict[str, Track]:
    """The folder of each song below the new root, such as train/Sodium."""
    names = file_names(track.name for track in tracks)
    merged = {"valid": "train"} if TARGETS[name].splits == "musdb" else {}
    return {
        "/".join(filter(None, (merged.get(t.split or "", t.split), names[t.name]))): t
        for t in tracks
    }
