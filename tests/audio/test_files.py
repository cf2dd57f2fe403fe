"""A file is written whole or not at all, whatever error there is."""

import json
import re

import pytest

from mssedu.audio.files import (
    as_json,
    file_sha256,
    write_json,
    write_text,
    written_whole,
)
from mssedu.errors import InputError


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "scores.json"
    write_text(path, "old")

    def fail():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["scores.json"]


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} is a folder")):
        write_text(tmp_path, "new")
    assert not [*tmp_path.iterdir()]


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"stems": ("笛子", "pipa"), "usdr": 1.5})
    assert "笛子" in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8")) == as_json(
        {"stems": ("笛子", "pipa"), "usdr": 1.5}
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_holds_no_nan(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"usdr": value})
    assert not [*tmp_path.iterdir()]


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")
