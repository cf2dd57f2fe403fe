"""The files of an evaluation: scores of finished tracks, museval's files, and stems.

    FOLDER/tracks/TRACK.json           {"format", "key", "scores"}
    FOLDER/museval/SPLIT/TRACK.json    {"targets": [{"name", "frames": [{"time", …}]}]}
    STEMS_FOLDER/TRACK/STEM.wav        float32, before any alignment
    STEMS_FOLDER/estimates.json        what made the stems

An interrupted evaluation goes on with the tracks that have no scores yet. The key is
everything that the scores depend on: hash of the audio, definitions and versions of the
metrics, hash of the weights, settings. Scores with another key are computed again, and
the log says what has changed.

`museval.EvalStore().add_eval_dir(FOLDER / "museval")` reads museval's files, as do the
scripts that made the tables of SiSEC 2018; source of the schema: museval 0.4.1,
musdb.schema.json. `FileEstimates` and `mssedu listen create` read a folder of stems.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from mssedu.audio.disk import check_room, room_for
from mssedu.audio.files import Staged, as_json, write_json, write_text
from mssedu.audio.names import check_creatable, file_name, file_names, path_inside
from mssedu.audio.words import counted
from mssedu.audio.writer import AudioWriter, file_bytes
from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.evaluation.estimates import TEMPLATE, Estimates, FileEstimates
from mssedu.evaluation.result import (
    FORMAT,
    TRACK,
    as_scores,
    first_difference,
    misfit_of_track,
)
from mssedu.evaluation.track import TrackScores

STEMS_FILE = "estimates.json"


class ScoreStore:
    """A folder of finished tracks; without a folder nothing is stored.

    Args:
        folder: of the run.
        log: is called with a line where stored scores cannot be used.
        names: of all tracks, so that names that differ in upper and lower case only get
            files of their own.
        form: of the scores in a file, see `mssedu.evaluation.result.track_form`.
    """

    def __init__(
        self,
        folder: Path | None,
        log: Callable[[str], None],
        names: Iterable[str] = (),
        form: Mapping[str, Any] = TRACK,
    ) -> None:
        self.folder, self.log, self._names = folder, log, file_names(names)
        self._form = dict(form)
        for name in list(self._names)[:1]:  # an error now, if nothing can be written
            if path := self.path(name):
                check_creatable(path)

    def path(self, track: str) -> Path | None:
        """The file with the scores of a track; None without a folder."""
        if self.folder is None:
            return None
        name = self._names.get(track) or file_name(track)
        return path_inside(self.folder / "tracks", f"{name}.json")

    def read(self, track: str, key: Mapping[str, Any] | None) -> TrackScores | None:
        """The scores that were stored with this key, if there are such.

        A key of None means that what the scores depend on is not known.
        """
        path = self.path(track)
        if path is None or not path.exists():
            return None
        if key is None:
            reason = "its estimates come from a function"
        else:
            try:
                document = json.loads(path.read_text("utf-8"))
                old = {"format": document["format"], **document["key"]}
                new = {"format": FORMAT, **as_json(key)}
                reason = first_difference(old, new) or ""
                if not reason:
                    found = document["scores"]
                    reason = misfit_of_track(found, self._form, "scores") or ""
                if not reason:
                    return as_scores(document["scores"])
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                reason = f"the file is damaged ({type(error).__name__}: {error})"
        self.log(f"{track}: computed again: {reason}")
        return None

    def write(self, scores: TrackScores, key: Mapping[str, Any] | None) -> None:
        """Store the scores of a track, and its frames for museval if it has them."""
        path = self.path(scores.name)
        if self.folder is None or path is None:
            return
        document = {"format": FORMAT, "key": key or {}, "scores": asdict(scores)}
        write_json(path, document)
        if scores.museval:
            folder = self.folder / "museval"
            write_museval(folder, path.stem, scores.split, scores.museval)


def write_museval(
    folder: Path, track: str, split: str | None, document: Mapping[str, Any]
) -> Path:
    """Write `museval_frames` where museval reads them: it reads the subfolder test."""
    path = path_inside(folder, f"{split or 'test'}/{track}.json")
    # museval expects NaN, which JSON does not have: so this is not `write_json`.
    write_text(path, json.dumps(_with_nan(document), indent=1))
    return path


def _with_nan(value: Any) -> Any:
    """The document with NaN in place of None."""
    if isinstance(value, Mapping):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return math.nan if value is None else value


class StemStore:
    """A folder for the estimates of one model or function.

    Args:
        folder: created if it does not exist; otherwise empty, or with STEMS_FILE in it.
        source: of the estimates; a folder of files, or None, has nothing to keep.
        names: of all tracks, as for `ScoreStore`.

    Raises:
        InputError: nothing to keep, a folder that holds something else, or a stem that
            is no name of a file in it.
    """

    def __init__(
        self, folder: str | Path, source: Estimates | None, names: Iterable[str] = ()
    ) -> None:
        if source is None or isinstance(source, FileEstimates):
            what = "there are no estimates" if source is None else "they are files"
            raise InputError(
                f"stems_folder {folder}: the estimates cannot be kept, because {what}. "
                "Leave the folder for stems out."
            )
        self.folder, self.stems = Path(folder), source.stems
        self._names = file_names(names)
        self.folder.mkdir(parents=True, exist_ok=True)
        path, about = self.folder / STEMS_FILE, as_json(source.about)
        if path.exists():
            try:
                old = json.loads(path.read_text("utf-8"))
            except (ValueError, RecursionError):
                old = "not readable"
            if difference := first_difference(old, about):
                raise InputError(
                    f"{path.absolute()}: the stems in this folder were made with "
                    f"another model or other settings ({difference}). Choose another "
                    "folder."
                )
        elif any(self.folder.iterdir()):
            # It may be a data set, whose true stems have the same names.
            first = min(entry.name for entry in self.folder.iterdir())
            raise InputError(
                f"{self.folder.absolute()} holds {first}, and it must be empty or have "
                f"a {STEMS_FILE}. Choose another folder for these stems."
            )
        write_json(path, about)

    def path(self, track: Track, stem: str) -> Path:
        """The file of a stem of a track."""
        name = self._names.get(track.name) or file_name(track.name)
        return path_inside(self.folder, TEMPLATE.format(track=name, stem=stem))

    def check(self, tracks: Iterable[Track]) -> None:
        """Find mistakes before hours are spent: names of files, room on the disk.

        Raises:
            InputError: a stem whose name no file can have.
            DiskError: too little room for the stems that are not there yet.
        """
        missing = [track for track in tracks if not self.holds(track)]
        for track in missing[:1]:
            for stem in self.stems:
                check_creatable(self.path(track, stem))
        n_bytes = sum(map(self._bytes, missing))
        check_room(
            self.folder, n_bytes, f"the stems of {counted(len(missing), 'track')}"
        )

    def _bytes(self, track: Track) -> int:
        """Size of all stems of a track."""
        form = (track.sample_rate, track.channels, track.n_samples)
        return len(self.stems) * file_bytes(".wav", *form, subtype="float32")

    def holds(self, track: Track) -> bool:
        """Whether all stems of a track are there."""
        return all(self.path(track, stem).is_file() for stem in self.stems)

    def write(self, track: Track, estimates: Tensor) -> None:
        """Write the stems of a track, (stems, channels, samples): all or none."""
        form = (track.sample_rate, *estimates.shape[1:])
        purpose = f"the stems of {track.name}"
        with room_for(self.folder, self._bytes(track), purpose), Staged() as staged:
            for stem, estimate in zip(self.stems, estimates, strict=True):
                path = self.path(track, stem)
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = AudioWriter(path, *form, subtype="float32", staged=staged)
                with writer:
                    writer.write(estimate)
