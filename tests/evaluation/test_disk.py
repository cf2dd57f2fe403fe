"""Full disks, stems whose names lead away, and files of scores with any content."""

import copy
import json
import shutil
from collections import namedtuple
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mssedu.data.track import Track
from mssedu.errors import DatasetError, DiskError, InputError, MssEduError
from mssedu.evaluation.comparison import compare, comparison_table
from mssedu.evaluation.result import FILE, load_evaluation
from mssedu.evaluation.run import evaluate

Usage = namedtuple("Usage", "total used free")


def songs(stems=("voice", "rest"), n=2):
    noise = {stem: 0.1 * torch.randn(2, 800) for stem in stems}
    return [Track.from_audio(f"song {i}", noise, 8000) for i in range(n)]


def half(track):
    return 0.5 * torch.stack([track.stem(stem) for stem in track.stems])


def scored(tracks, **options):
    options = {"metrics": ["usdr"], "rows": ["model"], "estimates": half} | options
    return evaluate(None, tracks, **options)


# ---- the disk -----------------------------------------------------------------------


def test_room_for_all_stems_is_asked_for_at_first(tmp_path, monkeypatch):
    stems = 2 * 2 * 2 * 800 * 4  # songs, stems, channels, samples, float32
    usage = Usage(10**9, 0, stems)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    text = r"too full: the stems of 2 tracks need .* are free"
    with pytest.raises(DiskError, match=text):
        scored(songs(), stems_folder=tmp_path / "stems", folder=tmp_path / "run")
    assert not [*(tmp_path / "run").rglob("*.json")]


def test_a_disk_that_fills_up_keeps_what_is_done(tmp_path, monkeypatch):
    free = [10**9]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, free[0]))
    seen = []

    def filling(track):
        seen.append(track.name)
        free[0] = 1000 if len(seen) == 2 else free[0]
        return half(track)

    places = {"folder": tmp_path / "run", "stems_folder": tmp_path / "stems"}
    with pytest.raises(DiskError, match="the stems of song 1 need"):
        scored(songs(), estimates=filling, **places)
    assert [p.name for p in (tmp_path / "run" / "tracks").iterdir()] == ["song 0.json"]
    assert len([*(tmp_path / "stems").glob("*/*.wav")]) == 2
    assert not [*tmp_path.rglob(".*")]


def test_a_folder_that_cannot_be_is_told_before_the_first_song(tmp_path):
    (tmp_path / "file").touch()

    def never(track):
        raise AssertionError("the song is scored")

    with pytest.raises(OSError, match="file"):
        scored(songs(), estimates=never, folder=tmp_path / "file" / "run")


def test_what_a_killed_evaluation_left_is_removed(tmp_path):
    left = tmp_path / "run" / "tracks" / ".mssedu-0123abcd.tmp.json"
    left.parent.mkdir(parents=True)
    left.touch()
    scored(songs(), folder=tmp_path / "run")
    assert not left.exists()


@pytest.mark.parametrize("stem", ["../x", "../../x", "a\0b", "x" * 300])
def test_a_stem_stays_in_the_folder_of_stems(tmp_path, stem):
    tracks = songs(("voice", stem))
    with pytest.raises(InputError, match=r"is no name of a file in|cannot be the name"):
        scored(tracks, stems_folder=tmp_path / "deep" / "stems")
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files <= {"estimates.json"}


def test_damaged_facts_of_stems_are_another_model(tmp_path):
    (tmp_path / "estimates.json").write_text("{")
    with pytest.raises(InputError, match="made with another model"):
        scored(songs(), stems_folder=tmp_path)


def test_a_process_that_is_ended_is_told(monkeypatch):
    def broken(*_):
        future = Future()
        future.set_exception(BrokenProcessPool("ended"))
        return future

    pool = "mssedu.evaluation.run.ProcessPoolExecutor.submit"
    monkeypatch.setattr(pool, broken)
    with pytest.raises(MssEduError, match="was ended, perhaps for want of memory"):
        scored(songs(), workers=1)


# ---- any content --------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(document, path=()):
    """Paths of all values in a JSON document."""
    yield path
    inner = ()
    if isinstance(document, dict):
        inner = document.items()
    elif isinstance(document, list):
        inner = enumerate(document)
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(document, data):
    """The document with one value replaced or removed."""
    document = copy.deepcopy(document)
    *path, last = data.draw(st.sampled_from([p for p in places(document) if p]))
    inner = document
    for key in path:
        inner = inner[key]
    if data.draw(st.booleans()):
        del inner[last]
    else:
        inner[last] = data.draw(JSON)
    return document


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    scored(songs(n=3), folder=folder, rows=["silence", "model"]).save(folder)
    return folder


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_file_of_scores_is_read_or_refused(run, data):
    whole = json.loads((run / FILE).read_text("utf-8"))
    folder = run / "changed"
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(json.dumps(changed(whole, data)))
    try:
        found = load_evaluation(folder)
        found.summaries()
        for metric in found.metrics:
            found.table(metric)
            found.note(metric)
        found.save(folder)
        runs = {"a": load_evaluation(run), "b": found}
        comparison_table(compare(runs, common=True), "usdr")
    except (DatasetError, InputError):
        pass


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_stored_scores_are_used_or_computed_again(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("stored")
    tracks = songs(n=1)
    rows = {"rows": ["silence", "irm"], "estimates": None}
    before = scored(tracks, folder=folder, **rows)
    (path,) = (folder / "tracks").iterdir()
    document = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(changed(document, data)))
    again = scored(tracks, folder=folder, **rows)
    assert again.stems == before.stems
    again.table("usdr")
    again.save(folder)
