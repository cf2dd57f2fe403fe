"""Scores of tracks that are done, kept so that an interrupted evaluation goes on.

    FOLDER/tracks/TRACK.json    {"format", "key", "scores"}

The key is everything that the scores depend on: hash of the audio, definitions and
versions of the metrics, hash of the weights, settings. Scores with another key are
computed again, and the log says what has changed. A file is there whole or not at all.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mssedu.evaluation.museval_json import write_museval
from mssedu.evaluation.result import FORMAT, first_difference, write_json
from mssedu.evaluation.track import TrackScores

Key = Mapping[str, Any]


class ScoreStore:
    """A folder of finished tracks; without a folder nothing is kept.

    Args:
        folder: of the run.
        log: is given a line where stored scores do not serve.
    """

    def __init__(self, folder: Path | None, log: Callable[[str], None]) -> None:
        self.folder, self.log = folder, log

    def path(self, track: str) -> Path | None:
        """Where the scores of a track lie."""
        if self.folder is None:
            return None
        # A name may hold what a file name must not.
        name = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", track).strip(" .") or "_"
        return self.folder / "tracks" / f"{name}.json"

    def read(self, track: str, key: Key | None) -> TrackScores | None:
        """Stored scores of a track; None if there are none that have this key.

        Args:
            track: its name.
            key: what the scores depend on; None: only computing them can tell.
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
                reason = first_difference(old, {"format": FORMAT, **plain(key)}) or ""
                if not reason:
                    return TrackScores(**document["scores"])
            except (ValueError, TypeError, KeyError) as error:
                reason = f"the file is damaged ({type(error).__name__}: {error})"
        self.log(f"{track}: computed again: {reason}")
        return None

    def write(self, scores: TrackScores, key: Key | None) -> None:
        """Keep the scores of a track, for museval too if they have its frames."""
        path = self.path(scores.name)
        if self.folder is None or path is None:
            return
        document = {"format": FORMAT, "key": key or {}, "scores": scores.as_json()}
        write_json(path, document)
        if scores.museval:
            folder = self.folder / "museval"
            write_museval(folder, path.stem, scores.split, scores.museval)


def plain(document: Any) -> Any:
    """As JSON gives it back: tuples as lists."""
    return json.loads(json.dumps(document))
