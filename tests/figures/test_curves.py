"""Learning curves: what is drawn equals what the folders of the runs hold."""

import json
import math

import pytest

from mssedu.errors import CheckpointError, InputError, MssEduWarning
from mssedu.figures.curves import learning_figure, read_curves

BASELINES = {"mixture": -5.0, "silence": 0.0}


def entry(step, loss=1.0, **stems):
    known = [score for score in stems.values() if score is not None]
    mean = sum(known) / len(known) if known else None
    rate = 0.1 / step
    entry = {"step": step, "loss": loss, "usdr": mean, "stems": stems}
    return entry | {"learning_rate": rate, "n_skipped": 0}


ENTRIES = [
    entry(10, 3.0, drums=1.0, bass=3.0),
    entry(20, None, drums=5.0, bass=None),
    entry(30, 1.0, drums=2.0, bass=4.0),
]


def write_run(folder, entries=ENTRIES, baselines=BASELINES, loss="waveform_l1", **more):
    folder.mkdir(parents=True)
    document = {"train_config": {"model": "spleeter", "loss": loss}}
    document |= {"usdr_without_model": baselines} | more
    (folder / "config.json").write_text(json.dumps(document), "utf-8")
    lines = [json.dumps(entry) + "\n" for entry in entries]
    (folder / "history.jsonl").write_text("".join(lines), "utf-8")
    return folder


def panels(figure):
    return {
        axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()
    }


def points(axes):
    """Label -> points of each line over the steps, without gaps."""
    return {
        line.get_label(): [
            (x, y)
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
            if math.isfinite(y)
        ]
        for line in axes.lines
        if line.get_linestyle() != ":" or line.get_marker() == "o"
    }


def dotted(axes):
    """Label -> height of each dotted line across the panel."""
    return {
        line.get_label(): line.get_ydata()[0]
        for line in axes.lines
        if line.get_linestyle() == ":" and line.get_marker() != "o"
    }


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_one_run_has_its_stems_in_one_panel(tmp_path):
    figure = learning_figure([write_run(tmp_path / "a")])
    found = panels(figure)
    assert [*found] == ["Training loss of a", "Validation", "Learning rate"]
    loss, valid, rate = found.values()
    assert [*points(loss).values()] == [[(10, 3.0), (30, 1.0)]]
    assert loss.get_ylabel() == "waveform_l1"
    assert points(valid) == {
        "drums": [(10, 1.0), (20, 5.0), (30, 2.0)],
        "bass": [(10, 3.0), (30, 4.0)],
        "mean": [(10, 2.0), (20, 5.0), (30, 3.0)],
        "best mean": [(20, 5.0)],
    }
    assert dotted(valid) == BASELINES
    assert valid.get_ylabel() == "usdr (dB)"
    assert [*points(rate).values()] == [[(10, 0.01), (20, 0.005), (30, 0.1 / 30)]]
    assert rate.get_xlabel() == "Step"
    assert legend(figure) == ["drums", "bass", "mean", "best mean", *BASELINES]


def test_several_runs_have_a_line_each_in_a_panel_of_each_stem(tmp_path):
    later = [entry(40, 0.5, drums=6.0, vocals=8.0)]
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", later)]
    figure = learning_figure(runs)
    found = panels(figure)
    stems = [f"Validation, {name}" for name in ("mean", "drums", "bass", "vocals")]
    assert [*found] == ["Training loss", "Learning rate", *stems]
    assert points(found["Training loss"])["b"] == [(40, 0.5)]
    assert points(found["Validation, drums"]) == {
        "a": [(10, 1.0), (20, 5.0), (30, 2.0)],
        "b": [(40, 6.0)],
    }
    assert [*points(found["Validation, vocals"])] == ["b"]
    assert points(found["Validation, mean"])["b"] == [(40, 7.0)]
    assert dotted(found["Validation, mean"]) == BASELINES
    assert {"a", "b", *BASELINES} <= {*legend(figure)}
    assert {axes.get_xlim() for axes in found.values()} == {(0, 40.8)}


def test_other_songs_for_validation_are_a_warning(tmp_path):
    first = write_run(tmp_path / "a", phases=[{"from_step": 0, "valid_data": "x"}])
    phases = [{"from_step": 0, "valid_data": "y"}]
    second = write_run(tmp_path / "b", baselines={"mixture": -9.0}, phases=phases)
    with pytest.warns(MssEduWarning, match="different songs"):
        figure = learning_figure([first, second])
    heights = [
        line.get_ydata()[0]
        for line in panels(figure)["Validation, mean"].lines
        if line.get_linestyle() == ":"
    ]
    assert heights == [-5.0, 0.0, -9.0]


def test_losses_that_differ_are_named_so(tmp_path):
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", loss="si_sdr_loss")]
    axes = panels(learning_figure(runs))["Training loss"]
    assert axes.get_ylabel() == "different losses"


def test_a_run_without_validation_or_learning_rate_has_its_loss_only(tmp_path):
    plain = {"step": 5, "loss": 2.0, "usdr": None, "stems": {}}
    folder = write_run(tmp_path / "a", [plain], {})
    assert [*panels(learning_figure([folder]))] == ["Training loss of a"]
    other = write_run(tmp_path / "b", [plain], {})
    assert [*panels(learning_figure([folder, other]))] == ["Training loss"]


def test_labels_are_the_names_that_tell_folders_apart(tmp_path):
    names = ("x/run", "y/run")
    runs = [write_run(tmp_path / name) for name in names]
    assert legend(learning_figure(runs))[:2] == [*names]
    hidden = [write_run(tmp_path / "x" / name) for name in ("_old", "new$")]
    assert legend(learning_figure(hidden))[:2] == ["x/_old", r"x/new\$"]


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"not the folder of a run: it has no config"):
        learning_figure([write_run(tmp_path / "a"), tmp_path])
    with pytest.raises(InputError, match="is not there"):
        read_curves(tmp_path / "none")
    with pytest.raises(InputError, match="run_dirs is empty"):
        learning_figure([])


def test_a_run_twice(tmp_path):
    folder = write_run(tmp_path / "a")
    with pytest.raises(InputError, match="given twice"):
        learning_figure([folder, folder / ".." / "a"])


def test_a_run_before_its_first_validation(tmp_path):
    folder = write_run(tmp_path / "a", [])
    with pytest.raises(InputError, match="no curves yet"):
        read_curves(folder)
    (folder / "history.jsonl").unlink()
    with pytest.raises(InputError, match="no curves yet"):
        read_curves(folder)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('{"step": 1', "delimiter"),
        ('{"step": 1, "loss": 1.0, "usdr": null}', "stems"),
        ('{"step": 1, "loss": "high", "usdr": null, "stems": {}}', "loss"),
        ('{"step": 1, "loss": 1, "usdr": 1, "stems": {"bass": NaN}}', r"stems\.bass"),
        ('{"step": 1, "loss": 1, "usdr": 1, "stems": {}, "learning_rate": []}', "it"),
        ("[]", "object"),
    ],
)
def test_a_damaged_history(tmp_path, line, word):
    folder = write_run(tmp_path / "a")
    with (folder / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(CheckpointError, match=f"line 4 is damaged: .*{word}"):
        read_curves(folder)


def test_damaged_baselines(tmp_path):
    folder = write_run(tmp_path / "a", baselines={"mixture": "low"})
    with pytest.raises(CheckpointError, match=r"usdr_without_model\.mixture"):
        read_curves(folder)
