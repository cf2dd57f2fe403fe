"""Settings for files: what formats can hold is told before any work."""

import pytest

from mssedu.errors import InputError
from mssedu.separation.file_config import FileConfig


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"ext": "aac"}, "a ext of"),
        ({"subtype": "int32"}, "a subtype of"),
        ({"exists": "replace"}, "a exists of"),
        ({"clip": "rescal"}, "Did you mean 'rescale'"),
        ({"out_rate": "inputs"}, "Did you mean 'input'"),
        ({"nonfinite": "zeros"}, "Did you mean 'zero'"),
        ({"start_seconds": -1}, r"start_seconds in \[0"),
        ({"duration_seconds": 0}, r"duration_seconds in \(0"),
        ({"bitrate": 0}, r"bitrate in \[1"),
        ({"ext": "flac", "subtype": "float32"}, "float32 in wav files only"),
    ],
)
def test_ranges(settings, text):
    with pytest.raises(InputError, match=text):
        FileConfig(**settings)
