"""The panel: its spreads are there, its sessions are real, its seed decides."""

import numpy as np
import pytest

from mssedu.errors import InputError
from mssedu.listening.results.choices import abx_share_correct, pooled
from mssedu.listening.results.export import ratings_frame
from mssedu.listening.results.ratings import listener_means
from mssedu.listening.results.simulate import Panel, draw_ratings, sit_through
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.schedule import SCORED
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore

QUALITY = {"a": 40.0, "b": 60.0, "reference": 95.0, "anchor35": 10.0, "anchor70": 30.0}
TRIALS = tuple(
    Trial(f"song {i}", {"a": "a.wav", "b": "b.wav"}, reference="r.wav")
    for i in range(4)
)


def store(test="mushra", **changes):
    return ResultStore(":memory:", Design("?", test, TRIALS, **changes))


def fill(results, n, quality=QUALITY, panel=None):
    for _ in range(n):
        sit_through(Session(results), quality, panel)
    return ratings_frame(results)


@pytest.mark.parametrize("name", ["listener", "trial", "listener_by_system", "noise"])
def test_each_spread_is_where_it_belongs(name):
    varies = {"listener": (0,), "trial": (1,)}
    varies |= {"listener_by_system": (0, 2), "noise": (0, 1, 2)}
    panel = Panel(**(dict.fromkeys(varies, 0.0) | {name: 5}))
    scores = draw_ratings(dict.fromkeys("ab", 50.0), 200, 200, panel)
    for axis in range(3):
        moves = np.ptp(scores, axis=axis).max() > 1e-9
        assert moves == (axis in varies[name])
    assert scores.std() == pytest.approx(5, rel=0.15)


def test_ratings_stay_on_the_scale():
    scores = draw_ratings({"best": 100.0, "worst": 0.0}, 20, 5)
    assert scores.min() == 0
    assert scores.max() == 100


def test_the_seed_decides():
    one, same, other = (
        draw_ratings(QUALITY, 3, 2, Panel(seed=seed)) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_panel_takes_a_real_test_and_repeats_itself():
    kinds = set()
    questionnaire = {"age": ("30",), "gear": ()}
    results = store(consent="?", questionnaire=questionnaire, training=("song 0",))
    session = Session(results)
    while session.page:
        kinds.add(session.page.kind)
        sit_through(session, QUALITY, n_pages=1)
    assert kinds == {"consent", "questionnaire", *SCORED}
    assert session.answers == {"consent": "yes", "age": "30", "gear": "simulated"}
    scores = [fill(store(), 3).score.tolist() for _ in range(2)]
    assert scores[0] == scores[1]
    assert len({*scores[0]}) > 40


def test_the_true_order_comes_out():
    means = listener_means(fill(store(), 10)).mean()
    assert means.sort_values().index.tolist() == sorted(QUALITY, key=QUALITY.get)
    assert means["reference"] == QUALITY["reference"]
    for stimulus, quality in QUALITY.items():
        assert means[stimulus] == pytest.approx(quality, abs=8)


def test_questions_have_their_own_truth():
    quality = {
        "quality": {"a": 25.0, "b": 75.0, "reference": 100.0},
        "contamination": {"a": 75.0, "b": 25.0, "reference": 100.0},
    }
    frame = fill(store("acr"), 6, quality)
    assert {*frame.score} <= {1, 2, 3, 4, 5}
    for question, better in (("quality", "b"), ("contamination", "a")):
        means = listener_means(frame, question).mean()
        assert means[[better, "reference"]].min() > means["ab".strip(better)] + 1


def test_a_question_and_a_stimulus_may_share_a_name():
    results = store(reference=False, questions={"a": "How much a is it?"})
    assert len(fill(results, 1)) == 5 * 2


def test_abx_and_preference_follow_the_distance():
    panel = Panel(noise=10.0)
    frame = fill(store("abx", reference=False, n_repetitions=20), 10, panel=panel)
    share = frame.score.mean()  # 800 answers at d′ = 2
    assert share == pytest.approx(abx_share_correct(2.0), abs=0.05)
    frame = fill(store("2afc", n_repetitions=20), 10, panel=panel)
    assert pooled(frame, "2afc")["a", "b"].d_prime == pytest.approx(2.0, abs=0.3)


def test_who_hears_nothing_guesses():
    same = dict.fromkeys(QUALITY, 50.0)
    frame = fill(store("abx", reference=False, n_repetitions=20), 5, same)
    assert frame.score.mean() == pytest.approx(0.5, abs=0.09)  # 400 tosses, 3.6 sigma


def test_errors():
    with pytest.raises(InputError, match="noise must"):
        Panel(noise=-1)
    with pytest.raises(InputError, match=r"n_listeners.* got \(0"):
        draw_ratings(QUALITY, 0, 1)
    with pytest.raises(InputError, match="'a' for 'quality'"):
        fill(store(reference=False), 1, {"b": 3.0})
