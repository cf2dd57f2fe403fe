"""Stored scores: used where nothing changed, else computed again and said why."""

import json

import pytest

from mssedu.evaluation.score_store import ScoreStore, plain
from mssedu.evaluation.track import TrackScores

KEY = {"audio_sha256": "1", "definitions": {"usdr": {"version": 1}}, "rows": ("model",)}


def made(name="a song", **changes):
    scores = {"usdr": {"model": {"voice": 1.0, "rest": None}}}
    fields = {"split": None, "seconds": 1.5, "audio_sha256": "1", "scores": scores}
    return TrackScores(name, **fields, at_silence={}, capped=[], **changes)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def store(tmp_path, lines):
    return ScoreStore(tmp_path / "run", lines.append)


def test_what_was_kept_is_read_back(store, lines):
    assert store.read("a song", KEY) is None
    store.write(made(), KEY)
    assert store.read("a song", KEY) == made()
    assert lines == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"audio_sha256": "2"}, "audio_sha256: 1, now 2"),
        (
            {"definitions": {"usdr": {"version": 2}}},
            "definitions.usdr.version: 1, now 2",
        ),
        ({"rows": ("model", "irm")}, "rows: ['model'], now ['model', 'irm']"),
        ({"weights": "x"}, "weights: new"),
    ],
)
def test_another_key_is_computed_again_and_says_why(store, lines, change, reason):
    store.write(made(), KEY)
    assert store.read("a song", KEY | change) is None
    assert lines == [f"a song: computed again: {reason}"]


def test_estimates_of_a_function_are_never_trusted(store, lines):
    store.write(made(), None)
    assert store.read("a song", None) is None
    assert "come from a function" in lines[0]


@pytest.mark.parametrize("content", ["", "{}", '{"format": 1, "key": {}}', "[1]"])
def test_damaged_files_are_computed_again(store, lines, content):
    store.write(made(), {})
    store.path("a song").write_text(content)
    assert store.read("a song", {}) is None
    assert "a song: computed again: the file is damaged" in lines[0]


def test_a_newer_format_is_computed_again(store, lines):
    store.write(made(), KEY)
    document = json.loads(store.path("a song").read_text("utf-8"))
    store.path("a song").write_text(json.dumps(document | {"format": 99}))
    assert store.read("a song", KEY) is None
    assert "format: 99, now 1" in lines[0]


@pytest.mark.parametrize("name", ["雨天 #1", "AC/DC: live?", "..", " a. "])
def test_any_name_becomes_a_file(store, name):
    store.write(made(name), KEY)
    assert store.read(name, KEY).name == name
    assert store.path(name).parent == store.folder / "tracks"


def test_files_for_museval(store):
    document = {"targets": [], "museval_version": "0.4.1", "silence": "as museval"}
    store.write(made(museval=document), KEY)
    assert (store.folder / "museval" / "test" / "a song.json").exists()


def test_without_a_folder_nothing_is_kept(lines):
    store = ScoreStore(None, lines.append)
    store.write(made(), KEY)
    assert store.read("a song", KEY) is None
    assert store.path("a song") is None


def test_plain_is_what_json_gives_back():
    assert plain({"a": (1, 2)}) == {"a": [1, 2]}
