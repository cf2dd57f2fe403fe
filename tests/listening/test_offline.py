"""A test as one HTML file, and the answers that listeners save from it."""

import base64
import io
import json
import re

import pytest
import soundfile

from mssedu.errors import DatasetError, InputError
from mssedu.listening.results.export import ratings_frame, read_json
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.offline import merge_answers, write_test_page
from mssedu.listening.test.schedule import plan
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore
from mssedu.listening.widgets.sounds import encode
from tests.listening.noise import write_noise

RATE = 16000
TIME = "2026-01-02T03:04:05.678Z"


@pytest.fixture
def store(tmp_path):
    write_noise(tmp_path, "abr", RATE, channels=2)
    trials = tuple(
        Trial(f"song {i}", {"a": "a.wav", "b": "b.wav"}, "r.wav") for i in range(3)
    )
    settings = {"questionnaire": {"age": ()}, "n_replicates": 0, "folder": tmp_path}
    design = Design("Ears", "mushra", trials, anchors=(), **settings)
    with ResultStore(":memory:", design) as store:
        yield store


def inside(path):
    (data,) = re.findall(r'type="application/json">(.*)</script>', path.read_text())
    return json.loads(data)


def answered(design, number=5, **changes):
    """What the browser of a listener saves who has finished one page with sounds."""
    page = next(page for page in plan(design, number) if page.stimuli)
    labels = ("Reference", *page.labels)
    ratings = [
        {
            "question": "quality",
            "label": label,
            "score": 10 * place,
            "rated": TIME,
            "changes": place,
        }
        for place, label in enumerate(page.labels)
    ]
    blank = {
        "seconds": 7.5,
        "comment": "",
        "finished": TIME,
        "heard": {},
        "ratings": [],
    }
    heard = {label: {"seconds": 2.5, "plays": 3} for label in labels}
    rated = {**blank, "comment": "hm", "heard": heard, "ratings": ratings}
    return {
        "sha256": design.sha256(),
        "listener": "abcd0123",
        "number": number,
        "started": TIME,
        "answers": {"age": "old"},
        "pages": [blank, rated, {**blank, "finished": None}],
        **changes,
    }


def test_the_file_holds_every_sound_once_and_the_pages_of_many(store, tmp_path):
    path = write_test_page(store, tmp_path / "test.html", n_listeners=4)
    test, design = inside(path), store.design
    assert len(test["sounds"]) == len({*test["sounds"]}) * 3 == 9  # alike in each song
    assert len(test["plans"]) == 4
    for number, pages in enumerate(test["plans"]):
        for shown, page in zip(pages[1:], plan(design, number)[1:], strict=True):
            found = load_stimuli(design, page.trial)
            assert shown["labels"] == [*"ABC"]
            for label, stimulus in page.sounds(design).items():
                place = shown["sounds"][label]
                file = io.BytesIO(base64.b64decode(test["sounds"][place]))
                samples, rate = soundfile.read(file, dtype="int16")
                steps, _ = encode(found.sounds[stimulus])
                assert samples.T.tobytes() == steps
                assert rate == test["shapes"][place]["sample_rate"] == RATE
    assert len(store.rows("gains")) == 9


def test_the_order_of_sounds_is_random(store, tmp_path):
    test = inside(write_test_page(store, tmp_path / "test.html", n_listeners=1))
    places = [page["sounds"]["Reference"] for page in test["plans"][0][1:]]
    assert len({place % 3 for place in places}) > 1
    text = json.dumps({**test, "sounds": [], "asked": {}, "questions": {}})
    for name in ("song", '"a"', "a.wav", '"reference"'):
        assert name not in text


def test_at_least_one_listener(store, tmp_path):
    with pytest.raises(InputError, match="n_listeners"):
        write_test_page(store, tmp_path / "test.html", n_listeners=0)


def test_answers_are_merged_as_they_were_given(store):
    assert merge_answers(store, answered(store.design)) == ["abcd0123"]
    frame = ratings_frame(store)
    page = plan(store.design, 5)[1]
    assert [*frame.stimulus] == [*page.stimuli]
    assert [*frame.score] == [0, 10, 20]
    assert [*frame.changes] == [0, 1, 2]
    assert {*frame.rated} == {"2026-01-02T03:04:05.678+00:00"}
    assert {*frame.seconds} == {7.5}
    assert {*frame.plays} == {3}
    assert {*frame.heard_seconds} == {2.5}
    assert {*frame.comment} == {"hm"}
    assert store.pages("abcd0123") == plan(store.design, 5)
    assert store.rows("answers")[0]["answer"] == "old"


def test_choices_are_right_or_wrong_only_here(tmp_path):
    trial = Trial("song", {"a": "a.wav"}, "r.wav")
    with ResultStore(":memory:", Design("?", "abx", (trial,))) as store:
        page = plan(store.design, 3)[0]
        heard = {label: {"seconds": 2, "plays": 1} for label in ("A", "B", "X")}
        for number, label in enumerate("AB"):
            rating = {"label": label, "rated": TIME, "changes": 0}
            page_end = {"seconds": 9, "comment": "", "finished": TIME}
            pages = [{**page_end, "heard": heard, "ratings": [rating]}]
            changes = {"number": 3, "listener": f"{number:08x}", "answers": {}}
            merge_answers(store, answered(store.design, **changes, pages=pages))
        frame = ratings_frame(store)
    assert [*frame.stimulus] == [*page.stimuli]
    assert [*frame.score] == [float(name == page.x) for name in page.stimuli]


def test_answers_to_another_test_are_refused(store):
    with pytest.raises(InputError, match="another test"):
        merge_answers(store, answered(store.design, sha256="0"))


def test_what_the_page_cannot_have_given_is_refused(store):
    document = answered(store.design)
    document["pages"][1]["heard"]["A"]["seconds"] = 0.1
    with pytest.raises(InputError, match="Listen to A"):
        merge_answers(store, document)
    document = answered(store.design)
    document["pages"][1]["ratings"][0]["score"] = 101
    with pytest.raises(InputError, match="score"):
        merge_answers(store, document)
    assert store.listeners() == []


def test_who_declined_is_merged_as_such(tmp_path):
    trial = Trial("song", {"a": "a.wav", "b": "b.wav"})
    design = Design("?", "2afc", (trial,), reference=False, consent="Agree?")
    with ResultStore(":memory:", design) as store:
        blank = {"seconds": 1, "comment": "", "finished": None}
        pages = [{**blank, "heard": {}, "ratings": []}]
        merge_answers(store, answered(design, answers={"consent": "no"}, pages=pages))
        assert store.rows("answers")[0]["answer"] == "no"
        assert store.rows("ratings") == []


@pytest.mark.parametrize("change", [{"pages": [3]}, {"number": None}, {"pages": [{}]}])
def test_a_broken_file_is_named(store, tmp_path, change):
    path = tmp_path / "results_x.json"
    path.write_text(json.dumps(answered(store.design, **change)))
    with pytest.raises(DatasetError, match=r"results_x\.json"):
        read_json(path, store)
