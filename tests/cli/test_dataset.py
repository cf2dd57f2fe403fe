"""The flags for reading a data set: layouts, splits by a seed, absent stems."""

import csv
import io
import json

import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.cli import commands as cli
from mssedu.data.finding import find_songs, split_songs
from mssedu.data.loading import load_dataset
from mssedu.listening.test.design import load_design
from mssedu.models.registry import create_model
from mssedu.training.runs import read_run
from mssedu.weights.checkpoint import load_checkpoint, save_checkpoint

RATE = 44100
STEMS = ("dizi", "pipa", "yangqin")
BALANCED = {
    "train/a": STEMS,
    "train/b": ("dizi", "pipa"),
    "train/c": ("yangqin",),
    "valid/d": ("dizi", "yangqin"),
    "test/e": ("yangqin", "dizi"),
    "test/f": ("pipa", "yangqin"),
    "test/g": STEMS,
}
SMALL = [
    "--model=open_unmix",
    "--preset=tiny",
    "--device=cpu",
    "--steps=2",
    "--batch-size=2",
    "--segment=0.2",
    "--valid-every=2",
    "--set",
    "hidden=4",
    "n_layers=1",
]


def run(*args):
    return cli.main([str(arg) for arg in args])


def train(*args):
    return run("train", *SMALL[:-3], *args, *SMALL[-3:])


def noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(2, RATE, generator=generator) - 0.5) / 2


def save(path, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_audio(path, audio, RATE, subtype="float32")


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    """Songs that hold only some of the stems, and estimates 20 dB above the error."""
    root = tmp_path_factory.mktemp("data")
    for number, (name, stems) in enumerate(BALANCED.items()):
        for stem in stems:
            audio = noise(10 * number + STEMS.index(stem))
            save(root / "songs" / name / f"{stem}.wav", audio)
            save(root / "theirs" / name.split("/")[1] / f"{stem}.wav", 0.9 * audio)
    return root / "songs"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Songs with a mixture and one stem; the rest of the mixture has no file."""
    root = tmp_path_factory.mktemp("pairs")
    for number, name in enumerate(("train/a", "train/b", "valid/c", "test/d")):
        dizi, rest = noise(2 * number), noise(2 * number + 1)
        save(root / "songs" / name / "dizi.wav", dizi)
        save(root / "songs" / name / "mixture.wav", dizi + rest)
        for stem, audio in (("dizi", 0.9 * dizi), ("no_dizi", 0.99 * rest)):
            save(root / "theirs" / name.split("/")[1] / f"{stem}.wav", audio)
    return root / "songs"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Recordings of single instruments, a folder each."""
    root = tmp_path_factory.mktemp("recordings")
    for number, stem in enumerate(STEMS):
        for take in range(4):
            save(root / stem / f"{stem} {take}.wav", noise(100 + 10 * number + take))
    return root


def history(folder):
    lines = (folder / "history.jsonl").read_text("utf-8").splitlines()
    return json.loads(lines[-1])


def lines_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# ---- absent stems -------------------------------------------------------------------


@pytest.mark.parametrize("remix", [True, False])
def test_train_on_songs_that_lack_stems(balanced, tmp_path, capsys, remix):
    flags = ("--stems", *STEMS, "-o", tmp_path / "run")
    assert train(balanced, *flags) == 2
    assert "--on-missing absent" in capsys.readouterr().err
    flags += ("--on-missing", "absent", *([] if remix else ["--no-remix"]))
    assert train(balanced, *flags) == 0
    seen = capsys.readouterr()
    assert seen.out.splitlines()[0] == "layout splits: 3 train, 1 valid, 3 test"
    assert "absent in 5 of 7 songs: dizi in 2, pipa in 3" in _sorted(seen.err)
    found = history(tmp_path / "run")
    assert (found["n_absent"], found["n_silent"]) == (1, 0)
    assert found["stems"]["pipa"] is None  # the validation song has no pipa
    assert found["stems"]["dizi"] is not None
    assert load_checkpoint(tmp_path / "run").config.stems == STEMS


def _sorted(text):
    """The line with the counts, in one order."""
    words = " ".join(text.split())
    return words.replace("pipa in 3, dizi in 2", "dizi in 2, pipa in 3")


def test_a_run_that_goes_on_reads_the_songs_as_before(balanced, tmp_path, capsys):
    out = tmp_path / "run"
    flags = ("--stems", *STEMS, "--on-missing", "absent", "-o", out)
    assert train(balanced, *flags) == 0
    assert read_run(out)["phases"][0]["command"]["on_missing"] == "absent"
    capsys.readouterr()
    more = ("--resume", out, "--steps", 3, "--allow-config-change")
    assert run("train", *more) == 0
    assert "differs from before" not in capsys.readouterr().out
    assert run("train", "--resume", out, "--on-missing", "silence") == 2
    seen = capsys.readouterr()
    assert "on_missing: 'absent' -> 'silence'" in seen.out
    assert "--allow-data-change" in seen.err


def theirs(songs, *flags):
    command = ("evaluate", songs, "--split", "test", "--metrics", "usdr")
    estimates = ("--estimates", songs.parent / "theirs", "--format", "csv")
    return (*command, "--rows", "silence", "model", *estimates, *flags)


def test_scores_of_songs_that_lack_stems(balanced, tmp_path, capsys):
    assert run(*theirs(balanced, "--stems", *STEMS)) == 2
    capsys.readouterr()
    flags = ("--stems", *STEMS, "--on-missing", "absent")
    assert run(*theirs(balanced, *flags, "-o", tmp_path / "run")) == 0
    seen = capsys.readouterr()
    assert "layout splits: 3 train, 1 valid, 3 test" in seen.err
    lines = {
        (line["row"], line["stem"]): line
        for line in lines_of(seen.out)
        if line["aggregation"] == "mean of tracks"
    }
    for stem, n in (("dizi", "2"), ("pipa", "2"), ("yangqin", "3")):
        line = lines["model", stem]
        assert float(line["value"]) == pytest.approx(20.0, abs=1e-3)
        assert line["n_tracks"] == n
        assert int(line["n_absent"]) == 3 - int(n)
        assert line["n_silent"] == "0"
    assert run(*theirs(balanced, *flags, "--format", "latex")) == 0
    text = capsys.readouterr().out
    assert r" & n (tracks) & 2 & 2 & 3 &  \\" in text
    assert "dizi from 1, pipa from 1, yangqin from 0" in text
    assert run("compare", tmp_path / "run", tmp_path / "run" / ".") == 2
    assert run(*theirs(balanced, *flags, "-o", tmp_path / "again")) == 0
    capsys.readouterr()
    assert run("compare", tmp_path / "run", tmp_path / "again", "--format", "csv") == 0
    table = [s for s in capsys.readouterr().out.splitlines() if not s.startswith("#")]
    counts = {line["stem"]: line["tracks"] for line in lines_of("\n".join(table))}
    assert counts == {"dizi": "2", "pipa": "2", "yangqin": "3"}


def test_skip_and_silence_are_other_things(balanced, capsys):
    flags = ("--stems", *STEMS, "--rows", "silence", "mixture", "--metrics", "usdr")
    words = ("evaluate", balanced, "--split", "test", *flags, "--format", "csv")
    found = {}
    for choice in ("absent", "silence", "skip"):
        assert run(*words, "--on-missing", choice) == 0
        line = lines_of(capsys.readouterr().out)[1]
        assert (line["stem"], line["row"]) == ("pipa", "silence")
        found[choice] = [line[n] for n in ("n_tracks", "n_silent", "n_absent")]
    assert found == {
        "absent": ["2", "0", "1"],
        "silence": ["2", "1", "0"],
        "skip": ["1", "0", "0"],
    }


def test_a_stem_that_all_songs_lack(balanced, tmp_path, capsys):
    flags = ("--stems", "pipa", "--on-missing", "absent", "--tracks", 1)
    assert run("evaluate", balanced, "--split", "test", "--rows", "irm", *flags) == 2
    assert "pipa: absent from all of the songs" in capsys.readouterr().err
    words = ("--data", balanced, "--split", "test", *flags, "-o", tmp_path / "test")
    assert run("listen", "create", balanced.parent / "theirs", *words) == 2
    assert "pipa: absent from all songs of" in capsys.readouterr().err


def test_an_analysis_of_songs_that_lack_stems(tmp_path, capsys):
    """The stems are those of the model, so the songs have these names, too."""
    stems = ("vocals", "drums", "bass", "other")
    for number, absent in enumerate((None, "bass")):
        for place, stem in enumerate(stems):
            if stem != absent:
                path = tmp_path / "songs" / f"song {number}" / f"{stem}.wav"
                save(path, noise(300 + 10 * number + place))
    torch.manual_seed(0)
    network = create_model("open_unmix", "tiny", n_layers=1, wiener_iterations=0)
    save_checkpoint(tmp_path / "run" / "best.safetensors", network)
    words = ("analyze", tmp_path / "songs", "-m", tmp_path / "run", "--worst", 0)
    assert run(*words, "-o", tmp_path / "page") == 2
    assert "song 1 lacks bass" in capsys.readouterr().err
    assert run(*words, "--on-missing", "absent", "-o", tmp_path / "page") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    counts = {row[0]: row[1] for row in rows if row and row[0] in stems}
    assert counts == {"vocals": "2", "drums": "2", "bass": "1", "other": "2"}
    saved = json.loads((tmp_path / "page" / "errors.json").read_text("utf-8"))
    assert saved["tracks"]["song 1"]["absent"] == ["bass"]


def test_a_listening_test_leaves_absent_stems_out(balanced, tmp_path, capsys):
    words = ("--data", balanced, "--split", "test", "--stems", *STEMS)
    words = (*words, "--seconds", 0.9, "-o", tmp_path / "test")
    create = ("listen", "create", balanced.parent / "theirs", *words)
    assert run(*create) == 2
    assert "--on-missing absent" in capsys.readouterr().err
    assert run(*create, "--on-missing", "absent") == 0
    trials = [
        trial.name for trial in load_design(tmp_path / "test" / "test.toml").trials
    ]
    assert trials == [
        f"{name.split('/')[1]} {stem}"
        for name, stems in BALANCED.items()
        for stem in STEMS
        if name.startswith("test") and stem in stems
    ]


# ---- a mixture and one stem ---------------------------------------------------------


def test_a_pair_trains_one_stem_and_is_scored_beside_the_rest(pairs, tmp_path, capsys):
    out = tmp_path / "run"
    assert train(pairs, "--stems", "dizi", "-o", out) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].startswith("layout ")
    assert "mixture: dizi + rest of the mixture (not estimated)" in text
    assert load_checkpoint(out).config.stems == ("dizi",)
    words = ("evaluate", pairs, "--split", "test", "--metrics", "usdr")
    words = (*words, "--format", "csv", "-m", out, "--two-stems", "dizi")
    assert run(*words, "--rows", "mixture", "model", "irm") == 0
    lines = lines_of(capsys.readouterr().out)
    means = {
        (line["row"], line["stem"]): float(line["value"])
        for line in lines
        if line["aggregation"] == "mean of tracks"
    }
    assert {stem for _, stem in means} == {"dizi", "no_dizi"}
    for stem in ("dizi", "no_dizi"):
        assert means["irm", stem] > means["mixture", stem] + 3
    # the residual is mixture - estimate: its error is that of the dizi
    (track,) = load_dataset(pairs, "test", stems=("dizi", "no_dizi"))
    level = (
        10
        * (
            track.stem("no_dizi").square().sum() / track.stem("dizi").square().sum()
        ).log10()
    )
    difference = means["model", "no_dizi"] - means["model", "dizi"]
    assert difference == pytest.approx(float(level), abs=1e-3)


def test_the_rest_of_a_pair_is_scored_exactly(pairs, capsys):
    assert run(*theirs(pairs, "--stems", "dizi", "no_dizi")) == 0
    means = {
        line["stem"]: float(line["value"])
        for line in lines_of(capsys.readouterr().out)
        if (line["row"], line["aggregation"]) == ("model", "mean of tracks")
    }
    assert means == pytest.approx({"dizi": 20.0, "no_dizi": 40.0}, abs=1e-3)


# ---- layouts and splits -------------------------------------------------------------


def test_recordings_are_remixed_and_never_validate(
    recordings, balanced, tmp_path, capsys
):
    flags = ("--stems", *STEMS, "--split-shares", 0.5, 0.25, 0.25)
    out = ("-o", tmp_path / "run")
    assert train(recordings, *flags, *out) == 2
    seen = capsys.readouterr()
    assert "layout source-folders: 6 train, 3 valid, 3 test" in seen.out
    assert "mssedu data build" in seen.err
    assert train(recordings, *flags, "--no-valid", "--no-remix", *out) == 2
    assert "leave out --no-remix" in capsys.readouterr().err
    valid = ("--valid-data", balanced, "--on-missing", "absent")
    assert train(recordings, *flags, *valid, *out) == 0
    assert read_run(tmp_path / "run")["valid_tracks"] == ["d"]
    assert len(read_run(tmp_path / "run")["train_tracks"]) == 6


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Songs without splits."""
    root = tmp_path_factory.mktemp("plain")
    for number in range(6):
        for place, stem in enumerate(STEMS):
            audio = noise(200 + 10 * number + place)
            save(root / "songs" / f"song {number}" / f"{stem}.wav", audio)
            save(root / "theirs" / f"song {number}" / f"{stem}.wav", 0.9 * audio)
    return root / "songs"


def splits(folder, seed):
    _, songs = find_songs(folder)
    found = {"train": [], "valid": [], "test": []}
    for song in split_songs(songs, (0.5, 0.25, 0.25), seed):
        found[song.split].append(song.name)
    return found


def test_songs_are_split_by_a_seed(plain, tmp_path, capsys):
    shares = ("--split-shares", 0.5, 0.25, 0.25)
    assert train(plain, "--stems", *STEMS, "-o", tmp_path / "none") == 2
    assert "--split-shares 0.8 0.1 0.1" in capsys.readouterr().err
    assert splits(plain, 0) != splits(plain, 3)
    for seed in (0, 3):
        out, expected = tmp_path / f"run {seed}", splits(plain, seed)
        flags = ("--stems", *STEMS, *shares, "--split-seed", seed)
        assert train(plain, *flags, "-o", out) == 0
        first = "layout songs: 3 train, 2 valid, 1 test"
        assert capsys.readouterr().out.splitlines()[0] == first
        assert sorted(read_run(out)["train_tracks"]) == sorted(expected["train"])
        assert sorted(read_run(out)["valid_tracks"]) == sorted(expected["valid"])
        assert run("train", "--resume", out) == 0
        assert "resumed after step 2" in capsys.readouterr().out
        words = theirs(plain, *shares, "--split-seed", seed, "-o", out / "scores")
        assert run(*words) == 0
        scored = [path.stem for path in (out / "scores" / "tracks").iterdir()]
        assert sorted(scored) == sorted(expected["test"])
        capsys.readouterr()


def test_a_layout_can_be_named(plain, model, tmp_path, capsys):
    assert run(*theirs(plain, "--layout", "musdb")) == 2
    assert "Did you mean 'musdb18'" in capsys.readouterr().err
    words = ("--rows", "irm", "--metrics", "usdr")
    assert run("evaluate", plain, "--layout", "songs", *words, "--tracks", 1) == 0
    assert "layout songs: 6 songs without splits" in capsys.readouterr().err
    for command in (
        ("train", plain, "-o", tmp_path / "run"),
        ("evaluate", plain, *words),
        ("analyze", plain, "-m", model, "-o", tmp_path / "page"),
        ("listen", "create", plain, "--data", plain, "-o", tmp_path / "test"),
    ):
        assert run(*command, "--layout", "slakh") == 2
        assert "is not in the layout slakh" in capsys.readouterr().err
