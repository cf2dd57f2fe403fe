"""`mssedu ablate`: real runs of a grid, and a table that agrees with each of them."""

import csv
import io
import json
import shutil
import signal
from statistics import fmean

import pytest

from mssedu.audio.tensors import save_audio
from mssedu.cli import ablate as ablate_module
from mssedu.cli import commands as cli
from mssedu.data.loading import demo_data, load_dataset
from mssedu.errors import InputError
from mssedu.evaluation.claims import load_study
from mssedu.evaluation.protocol import read_protocol
from mssedu.evaluation.result import load_evaluation
from mssedu.evaluation.statistics import bootstrap_interval, mean_interval, paired_test
from mssedu.inspect.complexity import measure
from mssedu.reports.ablation import ablation_table, read_results
from mssedu.training.grid import read_grid
from mssedu.weights.checkpoint import load_checkpoint

STEMS = ("vocals", "drums", "bass", "other")
RECIPE = """
title = "T"
source = "the tests"
ran = "transcribed"
[train]
model = "open_unmix"
preset = "tiny"
device = "cpu"
batch_size = 1
segment = 0.5
valid_every = 2
"""
GRID = """
title = "Three small networks"
recipe = "base.toml"
seeds = [0, 1, 2]
[train]
steps = 2
[variants.open_unmix]
model.hidden = 8
model.n_layers = 1
model.wiener_iterations = 0
[variants.spleeter]
model = "spleeter"
[variants.conv_tasnet]
model = "conv_tasnet"
"model.n_blocks" = 2
"""
PROTOCOL = """
claim = "Spleeter beats Open-Unmix by 0.5 dB or more."
grid = "grid.toml"
data = "excerpts"
split = "test"
metric = "usdr"
stems = ["vocals", "drums"]
baseline = "open_unmix"
changed = "spleeter"
least = 0.5
margin = 0.25
confidence = 0.95
unit = "An excerpt."
exclusions = "An excerpt without one of the stems."
stopping = "All runs do 2 steps."
"""
SECONDS = 2.0


def run(*args):
    return cli.main(["ablate", *(str(arg) for arg in args)])


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    (folder / "base.toml").write_text(RECIPE, "utf-8")
    (folder / "grid.toml").write_text(GRID, "utf-8")
    return folder / "grid.toml"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Excerpts of the CC0 songs; those of the test are of the same few songs."""
    root = tmp_path_factory.mktemp("data")
    songs = {track.name: track for track in load_dataset(demo_data())}
    places = [("train", "Lithium", 0), ("train", "Rubidium", 0)]
    places += [("valid", "Francium", 5), ("test", "Sodium", 27)]
    places += [("test", name, 20) for name in ("Potassium", "Caesium")]
    places += [("test", "Lithium", start) for start in (30, 50)]
    for split, name, start in places:
        folder = root / split / f"{name} {start}"
        folder.mkdir(parents=True)
        for stem in STEMS:
            audio = songs[name].stem(stem, start, SECONDS)
            save_audio(folder / f"{stem}.wav", audio, 44100)
    return root


def rows_of(path):
    """The rows of a table in CSV, without the remark at its end."""
    lines = path.read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if line and not line.startswith("#"))
    return [*csv.DictReader(io.StringIO(text))]


def check_row(row, name, folder):
    """A row of the table says what the files of its runs say."""
    runs = [load_evaluation(folder / name / f"seed{n}" / "test") for n in range(3)]
    by_stem = {
        stem: [one.mean("usdr", "model", stem) for one in runs] for stem in STEMS
    }
    by_seed = [fmean(by_stem[stem][n] for stem in STEMS) for n in range(3)]
    assert float(row["usdr, dB"]) == pytest.approx(fmean(by_seed), abs=1e-3)
    assert float(row["±"]) == pytest.approx(mean_interval(by_seed)[1], abs=1e-3)
    for stem in STEMS:
        assert float(row[stem]) == pytest.approx(fmean(by_stem[stem]), abs=1e-3)
    manifests = [
        json.loads((folder / name / f"seed{n}" / "manifest.json").read_text("utf-8"))
        for n in range(3)
    ]
    assert [m["seed"] for m in manifests] == [0, 1, 2]
    assert all(m["finished"] and m["steps"] == 2 for m in manifests)
    hours = fmean(m["processor_hours"] for m in manifests)
    assert float(row["processor hours"]) == pytest.approx(hours, rel=0.01)


def song_scores(name, folder):
    """For each song the mean over stems and seeds, in another order of sums."""
    runs = [load_evaluation(folder / name / f"seed{n}" / "test") for n in range(3)]
    scores = {}
    for song in runs[0].tracks:
        values = [
            one.by_track("usdr", "model", stem)[song]
            for stem in STEMS
            if song in runs[0].by_track("usdr", "model", stem)
            for one in runs
        ]
        scores[song] = fmean(values)
    return scores


@pytest.mark.slow
def test_three_networks_with_three_seeds(grid, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(grid, data, "-o", out, "--jobs", 2) == 0
    assert "9 runs, 0 finished" in capsys.readouterr().out
    rows = rows_of(out / "ablation.csv")
    assert [row["variant"] for row in rows] == ["open_unmix", "spleeter", "conv_tasnet"]
    for row in rows:
        check_row(row, row["variant"], out)
    base = song_scores("open_unmix", out)
    for row in rows[1:]:
        own = song_scores(row["variant"], out)
        test = paired_test([*base.values()], [own[song] for song in base])
        assert float(row["difference"]) == pytest.approx(test.difference, abs=1e-3)
        assert float(row["p"]) == pytest.approx(test.p, abs=1e-3)
        low, high = bootstrap_interval([*own.values()])
        assert row["songs"].lstrip("'") == f"{low:.2f}…{high:.2f}"
    # Parameters and operations are those of `mssedu card`.
    costs = measure(load_checkpoint(out / "conv_tasnet" / "seed1"))
    assert rows[2]["parameters"] == f"{costs.n_parameters:,}"
    assert float(rows[2]["GFLOP/s"]) == pytest.approx(costs.flops / 1e9, rel=0.01)
    assert (out / "ablation.pdf").read_bytes().startswith(b"%PDF")
    assert r"\toprule" in (out / "ablation.tex").read_text("utf-8")
    markdown = (out / "ablation.md").read_text("utf-8")
    assert markdown.startswith("# Three small networks\n\n| variant | usdr, dB |")
    assert "Too few songs" in markdown

    # Finished runs are not taken for runs on other songs.
    other = shutil.copytree(data, tmp_path / "other songs")
    shutil.rmtree(other / "train" / "Rubidium 0")
    assert run(grid, other, "-o", out) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"the songs for training in {other} (1) are not those of" in error
    assert "Give their data set, or choose another folder" in error

    # The same command trains nothing again; a run that is not finished is mended.
    manifest = out / "spleeter" / "seed1" / "manifest.json"
    document = json.loads(manifest.read_text("utf-8"))
    manifest.write_text(json.dumps(document | {"finished": False}), "utf-8")
    assert run(grid, data, "-o", out, "--no-train") == 1
    assert "1 of 9 runs have not finished: spleeter/seed1" in capsys.readouterr().err
    assert run(grid, data, "-o", out) == 0
    assert "9 runs, 8 finished" in capsys.readouterr().out
    assert "resumed after step 2" in (manifest.parent / "train.log").read_text("utf-8")
    for before, now in zip(rows, rows_of(out / "ablation.csv"), strict=True):
        changed = {name for name in before if before[name] != now[name]}
        assert changed <= {"hours", "processor hours"}  # reading its state took time
    with pytest.raises(InputError, match="unknown metric 'csdr'"):
        ablation_table(read_results(read_grid(grid), out), "csdr")

    # A protocol gives a verdict on the same scores.
    protocol = grid.with_name("protocol.toml")
    protocol.write_text(PROTOCOL, "utf-8")
    assert run(grid, data, "-o", out, "--no-train", "--protocol", protocol) == 0
    assert "The claim of 0.5 dB or more is " in capsys.readouterr().out
    study = load_study(read_protocol(protocol), out)
    runs = [load_evaluation(out / "spleeter" / f"seed{n}" / "test") for n in range(3)]
    for song, row in study.table("spleeter").iterrows():
        for seed, score in row.items():
            stems = [runs[seed].by_track("usdr", "model", s)[song] for s in STEMS[:2]]
            assert score == pytest.approx(fmean(stems), abs=1e-3)
    assert (out / "report" / "report.tex").is_file()
    protocol.write_text(PROTOCOL.replace("0.25", "1.0"), "utf-8")
    assert run(grid, data, "-o", out, "--no-train", "--protocol", protocol) == 2
    assert "chosen after the scores" in capsys.readouterr().err


def test_a_protocol_of_another_grid_or_variant_is_refused(grid, data, tmp_path, capsys):
    protocol = grid.with_name("other.toml")
    for old, new, error in (
        ('"grid.toml"', '"two.toml"', "is about the grid two.toml"),
        ('"spleeter"', '"spleter"', "Did you mean 'spleeter'"),
    ):
        grid.with_name("two.toml").write_text(GRID, "utf-8")
        protocol.write_text(PROTOCOL.replace(old, new), "utf-8")
        out = tmp_path / "out"
        assert run(grid, data, "-o", out, "--protocol", protocol) == 2
        assert error in capsys.readouterr().err
        assert not (out / "protocol.json").exists()


def test_a_failed_run_is_named(grid, tmp_path, capsys):
    data = tmp_path / "no songs"
    data.mkdir()
    grid = grid.with_name("two.toml")
    cut = GRID.index("[variants.conv_tasnet]")
    grid.write_text(GRID[:cut], "utf-8")
    assert run(grid, data, "-o", tmp_path / "out", "--no-train") == 1
    assert "6 of 6 runs have not finished" in capsys.readouterr().err
    assert run(grid, data, "--jobs", 0) == 2
    assert "jobs must be at least 1" in capsys.readouterr().err


def test_ctrl_c_of_a_terminal_reaches_the_runs_as_one_signal(
    grid, tmp_path, monkeypatch
):
    """A second signal would end a run before its state is saved."""
    ignored = []

    def start(*_, **__):
        ignored.append(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(ablate_module.subprocess, "Popen", start)
    ablate_module._start(read_grid(grid).runs[0], ["DATA"], tmp_path, 1)
    assert ignored == [True]
    assert signal.getsignal(signal.SIGINT) is before
