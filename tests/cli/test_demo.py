"""The demo keeps its promise: it learns real music in minutes, and reports it truly."""

import dataclasses
import json
import os
import shutil

import pytest

from mssedu.audio.tensors import load_audio
from mssedu.cli import commands as cli
from mssedu.cli.demo import CONFIG, MARK, is_earlier_demo, run_demo
from mssedu.data.loading import demo_data, load_track
from mssedu.errors import InputError
from mssedu.metrics.ratios import usdr
from mssedu.weights.published import SHIPPED

STEMS = ("vocals", "drums", "bass", "other")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    run_demo(folder)
    return folder


@pytest.mark.slow
def test_the_model_beats_silence_and_the_mixture(demo):
    rows = json.loads((demo / "scores.json").read_text())["rows"]
    assert list(rows) == ["silence", "mixture", "model", SHIPPED, "irm"]
    for stem in ("drums", "bass"):
        best_of_nothing = max(rows["silence"][stem], rows["mixture"][stem])
        assert rows["model"][stem] >= best_of_nothing + 2.0
    for stem in STEMS:
        assert rows["model"][stem] >= rows["silence"][stem]
        assert rows["irm"][stem] > max(rows["model"][stem], rows[SHIPPED][stem])


@pytest.mark.slow
def test_the_scores_are_those_of_the_stems_on_disk(demo):
    document = json.loads((demo / "scores.json").read_text())
    assert document["track"] == "Sodium"
    song = load_track(demo_data() / "test" / "Sodium")
    for stem in STEMS:
        estimate, rate = load_audio(demo / "stems" / f"{stem}.wav")
        assert (rate, estimate.shape) == (44100, (2, song.n_samples))
        score = float(usdr(reference=song.stem(stem), estimate=estimate))
        assert score == pytest.approx(document["rows"]["model"][stem], abs=1e-3)
        mixture = float(usdr(reference=song.stem(stem), estimate=song.mixture()))
        assert mixture == pytest.approx(document["rows"]["mixture"][stem], abs=1e-3)


@pytest.mark.slow
def test_report_and_figures_are_there(demo):
    text = (demo / "report.html").read_text("utf-8")
    scores = json.loads((demo / "scores.json").read_text())
    for stem in STEMS:
        assert f"{scores['rows']['model'][stem]:.2f}" in text
    assert text.count("<audio") == 9
    assert len(list((demo / "figures").glob("*.png"))) == 2


class StoppedError(Exception):
    """The demo came as far as a test lets it."""


@pytest.fixture
def began(monkeypatch):
    """The demo stops where it would read the songs; whatever comes before has run."""

    def load_dataset(*_, **__):
        raise StoppedError

    monkeypatch.setattr("mssedu.data.loading.load_dataset", load_dataset)


@pytest.fixture
def trains(monkeypatch):
    """The demo stops where it would train."""

    def fit(*_, **__):
        raise StoppedError

    monkeypatch.setattr("mssedu.training.loop.fit", fit)


def thesis(folder):
    """A folder as people have it: its names are those that the demo writes."""
    for name in ("figures/fig1.pdf", "training/notes.txt", "stems/own.wav"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
    for name in ("scores.json", "report.html", "thesis.tex"):
        (folder / name).write_text("mine")
    return contents(folder)


def contents(folder):
    """Path -> bytes (None for a folder) of all that lies in a folder."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_folder_of_someone_else_is_refused_and_left_as_it_is(tmp_path, began):
    before = thesis(tmp_path)
    words = r"holds figures, report\.html, scores\.json and 3 more\. .*-o"
    with pytest.raises(InputError, match=words):
        run_demo(tmp_path)
    assert contents(tmp_path) == before


def test_the_command_refuses_the_folder_it_stands_in(
    tmp_path, began, monkeypatch, capsys
):
    before = thesis(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "-o", "."]) == 2
    shown = capsys.readouterr()
    assert str(tmp_path) in shown.err
    assert "training" not in shown.err.split("error")[0]  # no bar above the message
    assert "Replacing" not in shown.out
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["report.html", "stems", ".git"])
def test_one_thing_in_the_folder_is_enough_to_refuse_it(tmp_path, began, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"holds {name}"):
        run_demo(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, began):
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        run_demo(tmp_path / "demo")
    assert (tmp_path / "demo").read_text() == "mine"


def test_new_and_empty_folders_are_taken_and_marked(tmp_path, trains):
    for folder in (tmp_path, tmp_path / "new" / "demo"):
        assert not is_earlier_demo(folder)
        with pytest.raises(StoppedError):
            run_demo(folder)
        assert is_earlier_demo(folder)


def test_an_earlier_demo_is_replaced_and_the_rest_stays(tmp_path, trains, capsys):
    thesis(tmp_path)
    (tmp_path / MARK).touch()
    with pytest.raises(StoppedError):
        cli.main(["demo", "-o", str(tmp_path)])
    assert f"Replacing the earlier demo in {tmp_path}" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {MARK, "thesis.tex"}


def test_an_earlier_demo_stays_if_the_songs_cannot_be_read(tmp_path, began):
    thesis(tmp_path)
    (tmp_path / MARK).touch()
    before = contents(tmp_path)
    with pytest.raises(StoppedError):
        run_demo(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_what_a_link_leads_to_is_not_removed(tmp_path, trains):
    mine, folder = tmp_path / "mine", tmp_path / "demo"
    mine.mkdir()
    before = thesis(mine)
    folder.mkdir()
    (folder / MARK).touch()
    (folder / "stems").symlink_to(mine)
    with pytest.raises(StoppedError):
        run_demo(folder)
    assert contents(mine) == before
    assert not (folder / "stems").exists()


@pytest.mark.slow
def test_a_demo_can_be_run_twice(demo, tmp_path):
    folder = shutil.copytree(demo, tmp_path / "demo")
    (folder / "stems" / "left_over.wav").touch()
    short = dataclasses.replace(CONFIG, steps=2, valid_every=2)
    run_demo(folder, config=short)
    written, again = set(contents(demo)), set(contents(folder))
    assert all("tfevents" in path.name for path in again - written)
    # The long run has versions before the last one, too.
    assert all("training" in path.parts for path in written - again)
