"""The estimates that were scored, kept as files: to hear them, and for listening tests.

    FOLDER/TRACK/STEM.wav    float32, as they came, before any alignment
    FOLDER/estimates.json    what made them; stems of another source are refused

`FileEstimates` and `mssedu listen create` read such a folder as it is.
"""

import json
from pathlib import Path

from torch import Tensor

from mssedu.audio.tensors import save_audio
from mssedu.data.track import Track
from mssedu.errors import InputError, message
from mssedu.evaluation.estimates import Estimates, FileEstimates
from mssedu.evaluation.result import first_difference, write_json

FILE = "estimates.json"


class KeptStems:
    """A folder for the estimates of one source.

    Args:
        folder: made if it is not there; if it is, empty or with FILE in it.
        source: a model or a function; None or files have nothing to keep.

    Raises:
        InputError: nothing to keep, or a folder that holds something else.
    """

    def __init__(self, folder: str | Path, source: Estimates | None) -> None:
        if source is None or isinstance(source, FileEstimates):
            remedy = "Leave the folder for stems out."
            wanted = "a model or a function, whose stems can be kept"
            got = "no estimates" if source is None else f"stems in {source.folder}"
            raise InputError(message("evaluate", wanted, got, remedy))
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._files = FileEstimates(folder, source.stems)
        path, about = folder / FILE, json.loads(json.dumps(source.about))
        if not path.exists() and any(folder.iterdir()):
            # It may be a data set: the true stems have the same names.
            remedy = "Choose another folder for these stems."
            wanted = f"an empty folder, or one with {FILE}"
            first = sorted(entry.name for entry in folder.iterdir())[0]
            got = f"one that holds {first}"
            raise InputError(message(str(folder.absolute()), wanted, got, remedy))
        if path.exists():
            difference = first_difference(json.loads(path.read_text("utf-8")), about)
            if difference:
                remedy = "Choose another folder for these stems."
                wanted = "the model and settings that its stems were made with"
                raise InputError(
                    message(str(path.absolute()), wanted, difference, remedy)
                )
        write_json(path, about)

    def holds(self, track: Track) -> bool:
        """Whether all stems of a track are there."""
        files = self._files
        return all(files.path(track, stem).is_file() for stem in files.stems)

    def write(self, track: Track, estimates: Tensor) -> None:
        """Write the stems of a track.

        Args:
            track: for its name and sample rate.
            estimates: (stems, channels, samples).
        """
        for stem, estimate in zip(self._files.stems, estimates, strict=True):
            path = self._files.path(track, stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_audio(path, estimate, track.sample_rate, subtype="float32")
