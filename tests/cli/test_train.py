"""`mssedu train` as a user meets it: starting, going on, and all mistakes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import mssedu.training.loop
from mssedu.audio.files import tupled
from mssedu.audio.tensors import save_audio
from mssedu.cli import commands as cli
from mssedu.cli.train import settled, train
from mssedu.data.loading import load_dataset
from mssedu.errors import InputError
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit
from mssedu.weights.checkpoint import load_checkpoint, read_checkpoint

STEMS = ("vocals", "drums", "bass", "other")
SMALL = [
    "--model=open_unmix",
    "--preset=tiny",
    "--device=cpu",
    "--steps=2",
    "--batch-size=2",
    "--segment=0.3",
    "--valid-every=2",
    "--set",
    "hidden=4",
    "n_layers=1",
]


def run(*args):
    return cli.main(["train", *(str(arg) for arg in args)])


def make_song(folder, seed, stems=STEMS, rate=44100, seconds=1.0):
    generator = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True)
    for stem in stems:
        audio = torch.rand(2, int(rate * seconds), generator=generator) - 0.5
        save_audio(folder / f"{stem}.wav", audio, rate)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "my songs"
    for seed, place in enumerate(("train/a", "train/b", "valid/c", "test/d")):
        make_song(root / place, seed)
    return root


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def document(folder):
    return json.loads((folder / "config.json").read_text("utf-8"))


def steps_of(folder):
    return read_checkpoint(folder / "last.safetensors").facts["step"]


# ---- starting


def test_a_run_and_its_folder(songs, out, capsys):
    assert run(songs, *SMALL, "--run-dir", out) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "layout splits: 2 train, 1 valid, 1 test"
    assert second == "mixture: vocals + drums + bass + other"
    assert (out / "last.safetensors").exists()
    assert document(out)["train_tracks"] == ["a", "b"]
    assert document(out)["valid_tracks"] == ["c"]
    command = document(out)["phases"][0]["command"]
    assert command == {
        "data": str(songs),
        "valid_data": None,
        "no_valid": False,
        "layout": None,
        "on_missing": "error",
        "on_length": "error",
        "split_shares": None,
        "split_seed": 0,
        "in_memory": False,
        "cache": None,
        "cache_type": "int16",
        "recipe": None,
        "set": ["hidden=4", "n_layers=1"],
    }
    assert run(songs, *SMALL, "--run-dir", out) == 2  # the folder is taken
    assert "--resume" in capsys.readouterr().err


def test_a_cache_changes_nothing_for_16_bit_songs_and_is_recorded(
    songs, out, tmp_path, capsys
):
    assert run(songs, *SMALL, "--run-dir", out) == 0
    assert document(out)["train_audio"] == "files"
    cache, again = tmp_path / "cache", tmp_path / "again"
    capsys.readouterr()
    for times in (1, 0):
        shown = ["--cache", cache, "--run-dir", again / str(times)]
        assert run(songs, *SMALL, *shown) == 0
        text = capsys.readouterr().out
        assert text.count("8 of 8 files are decoded once") == times
    for folder in again.iterdir():
        assert document(folder)["train_audio"] == "int16"
        assert document(folder)["phases"][0]["command"]["cache"] == str(cache)
        ours, theirs = load_checkpoint(folder), load_checkpoint(out)
        for name, weight in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], weight)
    assert run("--resume", again / "1", "--steps", 3, "--allow-config-change") == 0
    assert document(again / "1")["phases"][1]["train_audio"] == "int16"


@pytest.mark.parametrize(
    ("stems", "name", "others"),
    [
        ("vocals", "vocals", "drums, bass, other"),
        ("instrumental=-vocals", "instrumental", "vocals"),
        ("no_drums", "no_drums", "drums"),
        ("band=drums+bass", "band", "vocals, other"),
    ],
)
def test_what_is_not_estimated_stays_in_the_mixture(
    songs, out, capsys, stems, name, others
):
    assert run(songs, *SMALL, "--stems", stems, "--run-dir", out) == 0
    second = capsys.readouterr().out.splitlines()[1]
    assert second == f"mixture: {name} + {others} (not estimated)"
    assert load_checkpoint(out).config.stems == (name,)


@pytest.mark.parametrize("words", [(), ("--no-remix", "--gain-db", "0", "0")])
def test_the_command_and_python_train_on_the_same_batches(
    songs, out, tmp_path, monkeypatch, words
):
    """And without remixing the mixture of each example is the song's own."""
    batches = []
    step = mssedu.training.loop.train_step

    def spied(model, sources, *rest):
        batches.append(sources.clone())
        return step(model, sources, *rest)

    monkeypatch.setattr(mssedu.training.loop, "train_step", spied)
    length = ("--segment", "1.0", "--stems", "bass")  # a song as a whole
    assert run(songs, *SMALL, *length, *words, "--run-dir", out) == 0
    from_command, batches = batches, []
    config = TrainConfig(**tupled(document(out)["train_config"]))
    tracks = {track.name: track for track in load_dataset(songs)}
    torch.manual_seed(config.seed)
    net = create_model("open_unmix", "tiny", ("bass",), hidden=4, n_layers=1)
    pairs = [tracks["a"], tracks["b"]], [tracks["c"]]
    fit(net, *pairs, config, tmp_path / "python")
    assert len(batches) == len(from_command) == 4  # the gates took the first one twice
    assert torch.equal(batches[0], batches[2])
    for ours, theirs in zip(batches, from_command, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.shape == (2, 4, 2, 44100)
        for sources in ours:
            assert (sources[1:].sum(0) - sources[0]).abs().mean() > 0.1
            if words:
                mixtures = [tracks[name].mixture() for name in ("a", "b")]
                far = [(sources.sum(0) - mixture).abs().max() for mixture in mixtures]
                assert min(far) < 1e-6


def test_the_stems_of_a_preset_are_its_own(songs, out, capsys):
    words = ("--model", "spleeter", "--preset", "paper_2stems", "--stems", *STEMS)
    assert run(songs, *words, "--run-dir", out) == 2
    assert "paper_2stems" in capsys.readouterr().err


def test_songs_of_the_other_splits_are_never_trained_on(songs, out, tmp_path):
    make_song(tmp_path / "more" / "e", 9)
    more = ("--valid-data", tmp_path / "more")
    assert run(songs, *more, *SMALL, "--run-dir", out) == 0
    assert document(out)["train_tracks"] == ["a", "b"]
    assert document(out)["valid_tracks"] == ["e"]


def test_validation_data_with_a_split_valid_gives_that_split(songs, out):
    words = ("--valid-data", songs, "--run-dir", out)
    assert run(songs / "train", *words, *SMALL) == 0
    assert document(out)["valid_tracks"] == ["c"]


def test_without_validation_songs_there_are_three_ways(songs, out, capsys):
    assert run(songs / "train", *SMALL, "--run-dir", out) == 2
    text = capsys.readouterr().err
    for way in (str(songs / "train" / "valid"), "--valid-data", "--no-valid"):
        assert way in text
    assert not out.exists()
    assert run(songs / "train", *SMALL, "--run-dir", out, "--no-valid") == 0
    text = capsys.readouterr().out
    assert text.count("no validation") == 1
    assert "Weights of the last step" in text
    assert document(out)["valid_tracks"] == []


def test_the_training_songs_are_no_validation(songs, out, capsys):
    words = ("--valid-data", songs / "train", "--run-dir", out)
    assert run(songs, *words, *SMALL) == 2
    assert "training songs too: a = a, b = b" in capsys.readouterr().err
    assert run(songs, "--no-valid", *words, *SMALL) == 2
    assert "--no-valid excludes --valid-data" in capsys.readouterr().err


def test_songs_whose_files_differ_in_length(out, tmp_path, capsys):
    for number, place in enumerate(("train/a", "valid/b")):
        make_song(tmp_path / "songs" / place, number, STEMS[:3])
        audio = torch.rand(2, 30000) - 0.5
        save_audio(tmp_path / "songs" / place / "other.wav", audio, 44100)
    words = (tmp_path / "songs", *SMALL, "--run-dir", out)
    assert run(*words) == 2
    assert "other" in capsys.readouterr().err
    assert run(*words, "--on-length", "pad") == 0


def test_fields_of_the_model(songs, out, tmp_path, capsys):
    for number, place in enumerate(("train/a", "valid/b")):
        make_song(tmp_path / "songs" / place, number, rate=48000)
    words = (tmp_path / "songs", *SMALL, "--run-dir", out)
    assert run(*words) == 2
    assert run(*words, "--set", "sample_rate=48000") == 0  # beside the first --set
    config = load_checkpoint(out).config
    assert (config.sample_rate, config.hidden, config.n_layers) == (48000, 4, 1)
    capsys.readouterr()
    assert run(*words, "--set", "hiden=4") == 2
    assert "Did you mean 'hidden'" in capsys.readouterr().err
    assert run(*words, "--set", "hidden=many") == 2
    assert "hidden must be a whole number, got 'many'" in capsys.readouterr().err


def test_mistakes_speak_of_flags(songs, out, capsys):
    words = (songs, *SMALL, "--run-dir", out)
    assert run(*words, "--loss", "l1") == 2
    assert "Did you mean 'waveform_l1'" in capsys.readouterr().err
    assert run(*words, "--segment", "1e8") == 3
    assert "Halve --batch-size or --segment" in capsys.readouterr().err
    assert not out.exists()


# ---- going on


@pytest.fixture
def begun(songs, out, tmp_path):
    """A run of two steps, with settings that are no defaults."""
    make_song(tmp_path / "more" / "e", 9)
    words = ("--stems", "instrumental=-vocals", "--gain-db", -3, 3, "--in-memory")
    more = ("--valid-data", tmp_path / "more", "--run-dir", out)
    assert run(songs, *SMALL, *words, *more) == 0
    return out


def test_a_run_goes_on_by_its_name_alone(begun, capsys):
    before = document(begun)
    capsys.readouterr()
    words = ("--resume", begun, "--steps", 4)
    assert run(*words) == 2
    text = capsys.readouterr().err
    assert "steps: 2 -> 4" in text
    assert "--allow-config-change" in text
    assert run(*words, "--allow-config-change") == 0
    assert "resumed after step 2, with another config: steps: 2 -> 4" in (
        capsys.readouterr().out
    )
    after = document(begun)
    assert steps_of(begun) == 4
    assert [phase["from_step"] for phase in after["phases"]] == [0, 2]
    assert after["phases"][1]["command"] == before["phases"][0]["command"]
    assert after["train_config"] == before["train_config"] | {"steps": 4}
    assert after["valid_tracks"] == ["e"]
    assert run("--resume", begun, "--steps", 3, "--allow-config-change") == 2
    assert "has done 4 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("--run-dir", "RUN", "--resume"),
        ("--run-dir=RUN", "--resume"),
        ("--run_dir", "RUN", "--resume=auto"),
        ("--resume", "auto", "--run-dir", "RUN"),
        ("--resume=RUN",),
        ("--resume", "RUN", "--run-dir", "RUN/."),
        ("DATA", "--run-dir", "RUN", "--resume"),
        ("--resume", "RUN", "--n-workers", "1", "--save-every", "1"),
    ],
    ids=" ".join,
)
def test_the_ways_to_name_a_run(begun, songs, capsys, words):
    capsys.readouterr()
    names = {"RUN": str(begun), "DATA": str(songs)}
    filled = list(words)
    for name, value in names.items():
        filled = [word.replace(name, value) for word in filled]
    assert run(*filled) == 0
    assert "resumed after step 2" in capsys.readouterr().out


def test_two_names_or_no_run(begun, tmp_path, capsys):
    assert run("--resume", begun, "--run-dir", tmp_path / "other") == 2
    assert "two folders" in capsys.readouterr().err
    assert run("--resume", tmp_path / "none") == 2
    assert "no config.json" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # nothing to go on with, and no songs to start with
        run("--resume", "auto", "--run-dir", tmp_path / "none")


def test_auto_starts_a_run(songs, out, capsys):
    words = (songs, *SMALL, "--run-dir", out, "--resume", "auto")
    assert run(*words) == 0
    assert "resumed" not in capsys.readouterr().out
    assert run(*words) == 0
    assert "resumed after step 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("--stems", "vocals"),
        ("--model", "spleeter"),
        ("--preset", "paper"),
    ],
    ids=" ".join,
)
def test_another_model_is_never_taken(begun, capsys, words):
    allowed = ("--allow-config-change", "--allow-data-change")
    assert run("--resume", begun, *words, *allowed) == 2
    text = capsys.readouterr().err
    assert "never change within a run" in text
    assert "--run-dir" in text


def test_a_field_of_the_model_is_a_change(begun, capsys):
    words = ("--resume", begun, "--set", "wiener_iterations=0")
    assert run(*words) == 2
    assert "wiener_iterations: 1 -> 0" in capsys.readouterr().err
    assert run(*words, "--allow-config-change") == 0
    fields = document(begun)["phases"][-1]["command"]["set"]
    assert fields == ["hidden=4", "n_layers=1", "wiener_iterations=0"]


def test_other_songs_are_a_change(begun, tmp_path, capsys):
    make_song(tmp_path / "others" / "f", 20)
    words = (tmp_path / "others", "--resume", begun)
    assert run(*words) == 2
    assert "--allow-data-change" in capsys.readouterr().err
    assert run(*words, "--allow-data-change") == 0
    text = capsys.readouterr().out
    assert "with other data: other training songs" in text
    assert f"-> {str(tmp_path / 'others')!r}" in text
    assert run("--resume", begun) == 0  # with the newest songs


def test_validation_can_end_and_begin(begun, tmp_path, capsys):
    words = ("--resume", begun, "--allow-data-change")
    assert run(*words, "--no-valid") == 0
    assert document(begun)["valid_tracks"] == []
    assert "Weights of the last step" in capsys.readouterr().out
    assert run("--resume", begun) == 0
    assert document(begun)["valid_tracks"] == []
    assert run(*words, "--valid-data", tmp_path / "more") == 0
    assert document(begun)["valid_tracks"] == ["e"]


def test_a_run_from_python_goes_on_too(songs, out, capsys):
    tracks = load_dataset(songs)
    config = TrainConfig(
        model="open_unmix",
        preset="tiny",
        steps=2,
        batch_size=2,
        segment=0.3,
        device="cpu",
    )
    net = create_model("open_unmix", "tiny", hidden=4, n_layers=1)
    fit(net, tracks[:2], tracks[2:3], config, out)
    with pytest.raises(SystemExit):
        run("--resume", out)
    assert "DATA" in capsys.readouterr().err
    assert run(songs, "--resume", out) == 0
    assert "resumed after step 2" in capsys.readouterr().out


def test_help_needs_no_run():
    assert settled(["--resume", "--help"]) == (train, ["--help"])


def test_words_are_read_as_typed():
    words = ["--set", "a=1", "DATA", "--set=b=2", "--steps", "3", "--set", "c"]
    rest = ["DATA", "--steps", "3", "--set", "a=1", "b=2", "c"]
    assert settled(words) == (train, rest)
    with pytest.raises(InputError, match=r"no config\.json"):
        settled(["--resume", "none"])


# ---- signals


@pytest.mark.skipif(sys.platform == "win32", reason="other signals on Windows")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_the_command_and_says_how_to_go_on(songs, out, number, code):
    words = ["train", songs, *SMALL, "--run-dir", out, "--steps", "100000"]
    command = [
        sys.executable,
        "-c",
        "from mssedu.cli.commands import main; exit(main())",
    ]
    started = subprocess.Popen(
        [*command, *map(str, words), "--valid-every", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    curves = Path(out, "tensorboard")
    until = time.monotonic() + 120
    while not curves.exists() and time.monotonic() < until:
        time.sleep(0.05)
    started.send_signal(number)
    text, errors = started.communicate(timeout=60)
    assert started.returncode == code, errors
    assert "Traceback" not in errors
    assert text.splitlines()[-1] == (
        f"stopped after step {steps_of(out)}, state saved; "
        f"to go on: mssedu train --resume {out}"
    )
