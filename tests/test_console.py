"""What the terminal shows."""

from mssedu import console


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
