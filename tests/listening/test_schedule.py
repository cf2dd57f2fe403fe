"""Orders: random, repeatable, balanced; replicates; what a page asks."""

from collections import Counter

import pytest

from mssedu.audio.files import tupled
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.schedule import Page, chosen_trials, pairs, plan

TRIALS = tuple(
    Trial(f"song {i}", {"a": "a.wav", "b": "b.wav"}, reference="r.wav")
    for i in range(8)
)


def design(test="mushra", **changes):
    return Design("?", test, TRIALS, **changes)


def scored(test, number=0):
    return [page for page in plan(test, number) if page.kind == "trial"]


def test_the_same_listener_gets_the_same_pages_and_another_one_others():
    assert plan(design(), 3) == plan(design(), 3)
    orders = {tuple(page.trial for page in scored(design(), n)) for n in range(20)}
    assert len(orders) == 20
    assert plan(design(seed=1), 3) != plan(design(), 3)


def test_the_order_is_that_of_any_machine():
    """A text as seed is hashed by SHA-512, not by the salted hash of a process."""
    order = [int(page.trial[-1]) for page in scored(design(n_replicates=0))]
    assert order == [2, 0, 6, 7, 3, 1, 4, 5]


def test_all_that_comes_before_the_trials():
    test = design(
        consent="Yes?", questionnaire={"age": ()}, training=("song 2", "song 0")
    )
    pages = plan(test, 0)
    kinds = [page.kind for page in pages[:5]]
    assert kinds == ["consent", "questionnaire", "training", "training", "trial"]
    assert [page.trial for page in pages[2:4]] == ["song 2", "song 0"]
    assert not {page.trial for page in pages[4:]} & {"song 2", "song 0"}


def test_stimuli_are_shuffled_and_none_has_a_favorite_place():
    places = Counter()
    for number in range(100):
        for page in scored(design(n_replicates=0), number):
            assert sorted(page.stimuli) == sorted(design().stimuli)
            places[page.stimuli.index("reference")] += 1
    assert len(places) == 5
    # 800 draws into 5 places; 5 standard deviations are 57
    assert max(abs(count - 160) for count in places.values()) < 57


@pytest.mark.parametrize("k", [1, 3, 5, 8])
def test_subsets_are_balanced_after_every_listener(k):
    test, heard = design(trials_per_listener=k), Counter()
    for number in range(25):
        chosen = chosen_trials(test, number)
        assert len(set(chosen)) == len(chosen) == k
        heard.update(chosen)
        counts = [heard[trial.name] for trial in TRIALS]
        assert max(counts) - min(counts) <= 1


def test_subsets_are_those_that_are_shown():
    test = design(trials_per_listener=3, n_replicates=0)
    shown = {page.trial for page in scored(test, 5)}
    assert shown == {*chosen_trials(test, 5)}


def test_replicates_come_late_and_in_another_order():
    for number in range(20):
        pages = scored(design(n_replicates=2), number)
        again = [page for page in pages if page.replicate]
        assert len(pages) == 10
        assert len(again) == 2
        for page in again:
            earlier = [p for p in pages if p.trial == page.trial and not p.replicate]
            distance = pages.index(page) - pages.index(earlier[0])
            assert distance > 1
    assert sum(p.stimuli != e.stimuli for p, e in pairs_of(pages)) > 0


def pairs_of(pages):
    first = {page.trial: page for page in pages if not page.replicate}
    return [(page, first[page.trial]) for page in pages if page.replicate]


def test_there_are_never_more_replicates_than_pages():
    few = Design("?", "mushra", TRIALS[:1], n_replicates=5)
    assert [page.replicate for page in scored(few)] == [False, True]


def test_one_question_after_the_other_each_with_its_replicates():
    asked = {"quality": "How good?", "bleed": "How clean?"}
    test = design(questions=asked)
    blocks = set()
    for number in range(10):
        order = [page.questions[0] for page in scored(test, number)]
        assert order in (
            ["quality"] * 9 + ["bleed"] * 9,
            ["bleed"] * 9 + ["quality"] * 9,
        )
        blocks.add(order[0])
    assert blocks == {"quality", "bleed"}


def test_acr_shows_one_sound_and_asks_all():
    pages = scored(design("acr", n_replicates=0))
    assert len(pages) == 8 * 3
    assert {page.questions for page in pages} == {("quality", "contamination")}
    assert {len(page.stimuli) for page in pages} == {1}
    assert len({(page.trial, page.stimuli) for page in pages}) == 24


def test_pairs():
    assert pairs(design("abx")) == [("reference", "a"), ("reference", "b")]
    assert pairs(design("abx", reference=False)) == [("a", "b")]
    assert pairs(design("2afc")) == [("a", "b")]


@pytest.mark.parametrize("number", range(5))
def test_who_always_says_a_is_right_half_of_the_time(number):
    pages = scored(design("abx", reference=False, n_repetitions=10), number)
    assert len(pages) == 80
    for trial in TRIALS:
        mine = [page for page in pages if page.trial == trial.name]
        assert Counter(page.x == page.stimuli[0] for page in mine) == {
            True: 5,
            False: 5,
        }
    assert {page.x for page in pages} == {"a", "b"}
    assert {page.stimuli for page in pages} == {("a", "b"), ("b", "a")}


def test_preferences_are_asked_both_ways_round():
    pages = scored(design("2afc", n_repetitions=2))
    assert len(pages) == 16
    assert Counter(page.stimuli for page in pages) == {("a", "b"): 8, ("b", "a"): 8}


def test_choices_are_not_replicated_but_repeated():
    assert not any(page.replicate for page in scored(design("2afc", n_replicates=3)))


def test_a_page_survives_as_plain_values():
    page = Page("trial", "song", ("quality",), ("a", "b"), "a", True)
    plain = {
        "kind": "trial",
        "trial": "song",
        "questions": ["quality"],
        "stimuli": ["a", "b"],
        "x": "a",
        "replicate": True,
    }
    assert Page(**tupled(plain)) == page
