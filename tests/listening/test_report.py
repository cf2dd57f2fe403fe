"""The page, the LaTeX tables and the figure of a simulated panel."""

import re

import pytest

from mssedu.errors import InputError, MssEduWarning
from mssedu.listening.results.export import ratings_frame, write_csv, write_json
from mssedu.listening.results.ratings import listener_means, screen
from mssedu.listening.results.report import ratings_figure, report_files, write_report
from mssedu.listening.results.simulate import sit_through
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore

QUALITY = {"a": 40.0, "b_&_c": 60.0, "reference": 100.0}
QUALITY |= {"anchor35": 10.0, "anchor70": 30.0}
TRIALS = tuple(
    Trial(f"song {i}", {"a": "a.wav", "b_&_c": "b.wav"}, reference="r.wav")
    for i in range(4)
)


def panel(test, n=6, quality=QUALITY, **changes):
    store = ResultStore(":memory:", Design("A <test>", test, TRIALS, **changes))
    for _ in range(n):
        sit_through(Session(store), quality)
    return store


def text_of(path):
    """The page without its markup."""
    return re.sub(r"<[^>]+>", " ", path.read_text("utf-8"))


def test_mushra(tmp_path):
    store = panel("mushra")
    path = write_report(store, tmp_path / "report")
    text, page = text_of(path), path.read_text("utf-8")
    assert "A &lt;test&gt;" in page
    assert "b_&amp;_c" in page
    mean = listener_means(ratings_frame(store))["a"].mean()
    assert f"{mean:.1f}" in text
    assert "Wilcoxon signed-rank tests of listener means" in text
    assert "Concordance of the first and the second ratings" in text
    assert "6 began, 6 rated" in text
    assert store.design.sha256() in text
    table = (tmp_path / "report" / "quality.tex").read_text("utf-8")
    assert table.startswith(r"\begin{tabular}{lllllll}")
    assert r"b\_\&\_c & 6 & " in table
    assert (tmp_path / "report" / "ratings.pdf").read_bytes().startswith(b"%PDF")


def test_who_is_excluded_is_named_and_does_not_count(tmp_path):
    store = panel("mushra", n=5)
    deaf = {**QUALITY, "reference": 20.0, "a": 100.0}
    last = Session(store)
    sit_through(last, deaf)
    text = text_of(write_report(store, tmp_path))
    assert f"{last.listener} (hidden reference below 90 in 100% of the items)" in text
    assert "With 5 listeners" in text


def test_items_without_a_mid_anchor_are_named(tmp_path):
    bass = {**QUALITY, "anchor70": 100.0}
    text = text_of(write_report(panel("mushra", 6, bass), tmp_path))
    assert "no mid anchor in" in text


def test_a_metric_beside_the_ratings(tmp_path):
    order = {"a": 1.0, "b_&_c": 2.0}
    scores = {(trial.name, s): v for trial in TRIALS for s, v in order.items()}
    text = text_of(write_report(panel("mushra"), tmp_path, scores))
    assert "usdr of the same 8 excerpts" in text
    assert "(mean of 4): τ 1.00, ρ 1.00" in text


def test_acr_has_a_part_per_question(tmp_path):
    text = text_of(write_report(panel("acr"), tmp_path))
    assert "quality: How natural" in text
    assert "contamination: How free" in text
    assert "excluded" not in text
    assert re.search(r"\d\.\d\d … \d\.\d\d", text)  # a tenth is coarse in 1 … 5
    assert re.search(r"\d\.\d\d", (tmp_path / "quality.tex").read_text("utf-8"))
    files = {"report.html", "ratings.pdf", "quality.tex", "contamination.tex"}
    assert {file.name for file in tmp_path.iterdir()} == files


@pytest.mark.parametrize("test", ["abx", "2afc"])
def test_choices(tmp_path, test):
    text = text_of(write_report(panel(test, n=2, n_repetitions=4), tmp_path))
    assert "Exact binomial tests" in text
    assert {f.name for f in tmp_path.iterdir()} == {"report.html", f"{test}.tex"}


def test_the_figure_has_a_point_per_listener():
    store = panel("mushra", n=4)
    (axes,) = ratings_figure(store, ratings_frame(store)).axes
    assert axes.get_ylabel() == "rating (0 … 100)"
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in points] == [4] * 5
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == list(store.design.stimuli)


def test_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="no ratings"):
        write_report(panel("mushra", n=0), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_report_exists_even_if_all_are_excluded(tmp_path):
    store = panel("mushra", 2, {**QUALITY, "reference": 10.0})
    with pytest.warns(MssEduWarning, match=r"excludes all listeners \(2\)"):
        text = text_of(write_report(store, tmp_path))
    assert "the numbers are those of all of them" in text
    assert "BS.1534 would exclude" in text
    mean = listener_means(ratings_frame(store))["a"].mean()
    table = text.partition("Before and after")[2]
    assert f"{mean:.1f}" in table  # before; nobody is left after
    assert table.partition("95 % (t), after")[2].split()[:1] == ["a"]
    text = text_of(write_report(store, tmp_path, screening=False))
    assert "All listeners count: no screening." in text


def test_one_listener_gets_a_report(tmp_path):
    store = panel("mushra", 1, {**QUALITY, "reference": 21.0})
    assert "1 began, 1 rated" in text_of(write_report(store, tmp_path, screening=False))


def test_means_before_and_after_the_screening_are_side_by_side(tmp_path):
    store = panel("mushra", n=5)
    sit_through(Session(store), {**QUALITY, "reference": 20.0, "a": 100.0})
    frame, text = ratings_frame(store), text_of(write_report(store, tmp_path))
    table = text.partition("Before and after")[2].partition("Wilcoxon")[0]
    kept = screen(frame).apply(frame)
    for rows, n in ((frame, 6), (kept, 5)):
        mean = listener_means(rows)["a"].mean()
        assert re.search(rf"\b{n}\s+{mean:.1f}\b", table)
    without = text_of(write_report(store, tmp_path, screening=False))
    assert f" {frame.listener.nunique()} " in without
    mean = listener_means(frame)["a"].mean()
    assert re.search(rf"a\s+6\s+{mean:.1f}", without)


def test_a_question_that_nobody_has_answered_yet(tmp_path):
    store = panel("mushra", n=0, questions={"quality": "?", "bleed": "?"})
    session = Session(store)
    sit_through(session, QUALITY, n_pages=1)
    text = text_of(write_report(store, tmp_path))
    assert text.count("Nobody has rated every stimulus yet.") == 1
    assert len([*tmp_path.glob("*.tex")]) == 1


OLD_NAMES = ("clean/natural", "../../x", "..", "a\\b", "CON", "constructor", "_x_")
OLD_NAMES += ("$a$ $b$", "Größe", "GRÖSSE", "=1+1", "x" * 300, "<b>", "{}", "%")


@pytest.mark.parametrize(
    ("test", "names"), [("mushra", OLD_NAMES[:2]), ("acr", OLD_NAMES)]
)
def test_a_test_of_an_older_version_is_reported_whatever_its_names(
    tmp_path, test, names
):
    """Such a design cannot be changed any more: the results are keyed by its names."""
    questions = dict.fromkeys(names, "?")
    trials = tuple(
        Trial(f"../{n}/song\x07", {"a/b$": "a.wav", "$_c$": "b.wav"}, "r.wav")
        for n in range(2)
    )
    design = Design("?", test, trials, questions=questions, begun=True)
    quality = dict.fromkeys(design.stimuli, 50.0) | {"reference": 100.0}
    folder = tmp_path / "deep" / "report"
    with ResultStore(tmp_path / "old.sqlite", design) as store:
        for _ in range(2):
            sit_through(Session(store), quality)
        write_report(store, folder)
        write_csv(store, folder)
        write_json(store, folder / "results.json")
    with ResultStore(tmp_path / "old.sqlite") as store:  # without its test.toml
        assert report_files(store.design) == report_files(design)
    files = {file.name for file in folder.iterdir()}
    assert {*report_files(design)} <= files
    assert len({name.casefold() for name in files}) == len(files)
    assert sum(name.endswith(".tex") for name in files) == len(names)
    assert {path.name for path in tmp_path.iterdir()} == {"old.sqlite", "deep"}
