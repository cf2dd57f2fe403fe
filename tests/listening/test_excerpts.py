"""What makes no excerpt is refused before anything is read."""

import pytest

from mssedu.errors import InputError
from mssedu.listening.test.excerpts import Excerpts


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seconds": 0.0}, r"seconds in \(0"),
        ({"tracks": 0}, r"tracks in \[1"),
        ({"stems": ()}, "expected stems, got none"),
    ],
)
def test_what_makes_no_excerpt(changes, says):
    with pytest.raises(InputError, match=says):
        Excerpts(**changes)
