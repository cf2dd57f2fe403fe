"""The folder data of the repository: CC0 songs with their stems, and a trained model.

    data/train, data/valid, data/test    songs, see `mssedu.data.demo_data`
    data/models                          weights, see `mssedu.weights.loading`

An installed package does not hold them.
"""

import os
from pathlib import Path

from mssedu.errors import DatasetError


def data_folder() -> Path:
    """The folder that the environment variable MSSEDU_DATA names, or that of the clone.

    A clone is the one that the package was installed from, or that the current folder
    is in.

    Raises:
        DatasetError: the songs are in none of these places.
    """
    named = os.environ.get("MSSEDU_DATA")
    here = Path.cwd()
    clones = [Path(__file__).resolve().parents[2], here, *here.parents]
    folders = [Path(named)] if named else [clone / "data" for clone in clones]
    for folder in folders:
        if (folder / "test" / "Sodium").is_dir():
            return folder
    above = "" if named else f", and in no folder data above {here}"
    raise DatasetError(
        f"the demo songs are not in {folders[0]}{above}. Clone the repository and work "
        "inside it, or set the environment variable MSSEDU_DATA to its folder data."
    )
