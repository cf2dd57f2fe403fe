"""The definition of a test: defaults, TOML and back, and what is refused."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from mssedu.errors import DatasetError, InputError
from mssedu.listening.test.design import (
    ANCHORS,
    Design,
    Excerpts,
    Trial,
    design_from,
    load_design,
    save_design,
)

PAIR = {"a": "a.wav", "b": "b.wav"}


def trials(n=3, **changes):
    parts = {"reference": "r.wav", "mixture": "m.wav", **changes}
    return tuple(Trial(f"song {i}", PAIR, **parts) for i in range(n))


def design(test="mushra", n=3, **changes):
    return Design("Which?", test, trials(n), **changes)


def test_mushra_has_a_hidden_reference_and_both_anchors():
    assert design().stimuli == ("a", "b", "reference", "anchor35", "anchor70")
    assert design(reference=False).stimuli == ("a", "b")


def test_acr_asks_for_quality_and_contamination():
    assert list(design("acr").questions) == ["quality", "contamination"]
    assert design("acr").stimuli == ("a", "b", "reference")
    assert design("acr").rating_range == (1.0, 5.0)


def test_toml_gives_back_the_same_test(tmp_path):
    text = 'Line 1\nsays "yes" \\ ümlaut'
    test = design(
        consent=text,
        questionnaire={"age": ("< 30", "≥ 30"), "your headphones": ()},
        training=("song 0",),
        trials_per_listener=2,
        anchors=("mixture", "sound_quality"),
        questions={"quality": "How good?", "bleed": "How clean?"},
        slider_start=10.0,
        match_loudness=False,
    )
    path = save_design(tmp_path / "test.toml", test)
    found = load_design(tmp_path)
    assert found == test
    assert found.folder == tmp_path
    assert found.sha256() == test.sha256()
    assert tomllib.loads(path.read_text("utf-8"))["consent"] == text


def test_the_file_is_as_one_would_write_it(tmp_path):
    text = save_design(tmp_path / "test.toml", design()).read_text("utf-8")
    assert text.startswith('title = "Which?"\ntest = "mushra"\nreference = true\n')
    assert '[[trials]]\nname = "song 0"\nreference = "r.wav"\n' in text


def test_every_setting_can_be_seen_in_the_file(tmp_path):
    path = save_design(tmp_path / "test.toml", design(trials_per_listener=2))
    written = tomllib.loads(path.read_text("utf-8"))
    fields = {field.name for field in dataclasses.fields(Design)}
    assert {*written} == fields - {"folder"}


def test_a_short_file_is_enough():
    document = {
        "title": "Short",
        "test": "2afc",
        "reference": False,
        "trials": [{"name": "one", "conditions": PAIR}],
    }
    assert design_from(document, "the text", Path()).conditions == ("a", "b")


def test_the_hash_depends_on_every_field_but_the_folder():
    one, other = design(), design(seed=1)
    assert one.sha256() != other.sha256()
    assert one.sha256() == dataclasses.replace(one, folder="/elsewhere").sha256()


def test_training_trials_do_not_count():
    test = design(training=("song 1",))
    assert [trial.name for trial in test.counted] == ["song 0", "song 2"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test": "mushroom"}, "mushra"),
        ({"anchors": ("anchor34",)}, "anchor35"),
        ({"training": ("song 9",)}, "song 9"),
        ({"n_replicates": -1}, "n_replicates"),
        ({"n_repetitions": 0}, "n_repetitions"),
        ({"slider_start": 100.0}, "slider_start"),
        ({"fade_seconds": 1.0}, "fade_seconds"),
        ({"least_heard_seconds": -1.0}, "least_heard_seconds"),
        ({"trials_per_listener": 4}, "trials_per_listener must be from 1 to 3"),
        ({"trials": ()}, "nothing to rate"),
        ({"trials": trials(1), "training": ("song 0",)}, "nothing to rate"),
        ({"trials": trials(1) * 2}, "not unique"),
        ({"trials": (Trial("x", {}),)}, "no conditions"),
        ({"trials": trials(reference=None)}, "no file of its reference"),
        (
            {"trials": trials(mixture=None), "anchors": ("interference",)},
            "no file of its mixture",
        ),
        ({"trials": (*trials(1), Trial("x", {"a": ""}, "r"))}, r"conditions \['a'\]"),
        ({"test": "abx", "anchors": ("anchor35",)}, "without anchors"),
    ],
)
def test_what_makes_no_test_is_refused(changes, says):
    settings = {"title": "?", "test": "mushra", "trials": trials()} | changes
    with pytest.raises(InputError, match=says):
        Design(**settings)


@pytest.mark.parametrize("name", ["reference", *ANCHORS, "Reference"])
def test_a_system_may_not_have_a_name_of_the_test(name):
    named = Trial("x", {"ours": "o.wav", name: "a.wav"}, reference="r.wav")
    for anchors in (None, ()):
        with pytest.raises(InputError, match=rf"\['{name}'\]"):
            Design("?", "mushra", (named,), anchors=anchors)


def test_systems_must_differ_by_more_than_case():
    named = Trial("x", {"ours": "o.wav", "b": "b.wav", "Ours": "a.wav"}, "r.wav")
    with pytest.raises(InputError, match=r"case, got \['ours', 'Ours'\]"):
        Design("?", "mushra", (named,))


@pytest.mark.parametrize("test", ["mushra", "abx", "2afc"])
def test_there_must_be_two_to_compare(test):
    alone = Trial("x", {"a": "a.wav"}, reference="r.wav")
    with pytest.raises(InputError, match="at least two"):
        Design("?", test, (alone,), reference=False)


def test_the_reference_is_one_of_two_in_abx_but_only_open_in_2afc():
    alone = Trial("x", {"a": "a.wav"}, reference="r.wav")
    assert Design("?", "abx", (alone,)).stimuli == ("a", "reference")
    with pytest.raises(InputError, match="at least two"):
        Design("?", "2afc", (alone,))


def test_no_more_than_twelve_signals_as_the_standard_says():
    def systems(n):
        return (Trial("x", {f"s{i}": "s.wav" for i in range(n)}, reference="r.wav"),)

    assert len(Design("?", "mushra", systems(9)).stimuli) == 12
    with pytest.raises(InputError, match=r"13 sounds.* at most 12"):
        Design("?", "mushra", systems(10))


def test_unknown_trials_are_named():
    with pytest.raises(InputError, match="song 7"):
        design().trial("song 7")


def test_files_that_are_no_tests(tmp_path):
    with pytest.raises(DatasetError, match="mssedu listen create"):
        load_design(tmp_path)
    file = tmp_path / "test.toml"
    file.write_text("title = ")
    with pytest.raises(DatasetError, match="not TOML: Invalid value"):
        load_design(file)
    file.write_text('title = "x"')
    with pytest.raises(InputError, match=r"\['test', 'trials'\]"):
        load_design(file)
    file.write_text('titel = "x"')
    with pytest.raises(InputError, match=r"Did you mean 'title'\?"):
        load_design(file)
    file.write_text('title = "x"\ntest = "acr"\ntrials = 3')
    with pytest.raises(InputError, match="wrong type"):
        load_design(file)
    save_design(file, design(trials_per_listener=2))
    text = file.read_text("utf-8").replace("listener = 2", 'listener = "2"')
    file.write_text(text, "utf-8")
    with pytest.raises(InputError, match="trials_per_listener must be a number"):
        load_design(file)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seconds": 0.0}, "seconds"),
        ({"tracks": 0}, "tracks"),
        ({"stems": ()}, "stems"),
    ],
)
def test_excerpts_that_cannot_be_cut(changes, name):
    with pytest.raises(InputError, match=name):
        Excerpts(**changes)
