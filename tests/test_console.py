"""What the terminal shows."""

import warnings

from torch import nn

from mssedu import console
from mssedu.checks import MssEduWarning


def test_failures_are_shown_as_they_are(capsys):
    path = "/a very long folder name/" * 8 + "file [x].wav"
    console.report_failure("failed", path)
    assert path in capsys.readouterr().err


def test_the_bar_shows_step_loss_and_score(capsys):
    with console.bar("training") as update:
        console.show_steps(update)(3, 4, 0.1234, None)
        console.show_steps(update)(4, 4, 0.1, 5.678)
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "4/4" in shown
    assert "loss 0.100, validation 5.68 dB" in shown


def test_a_warning_is_one_line_and_comes_once(capsys):
    with console.warnings_as_lines():
        for _ in range(3):
            text = "segment: 12.0 s > 7.8 s trained; using 7.8"
            warnings.warn(text, MssEduWarning, stacklevel=1)
    seen = capsys.readouterr().err
    assert seen == "note     segment: 12.0 s > 7.8 s trained; using 7.8\n"


def test_what_is_fetched_is_shown(capsys, monkeypatch):
    def load_model(source, *, weights, log, progress):
        assert (source, weights) == ("small", None)
        log("small: license for tests")
        progress(10**6, 4 * 10**6)
        progress(4 * 10**6, None)
        return nn.Linear(1, 1)

    monkeypatch.setattr("mssedu.pretrained.load_model", load_model)
    model = console.load_shown("small", None, "cpu")
    assert isinstance(model, nn.Linear)
    seen = capsys.readouterr()
    assert seen.out == "small: license for tests\n"
    assert "fetching, MB" in seen.err
    assert "4/4" in seen.err
