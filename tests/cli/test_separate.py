"""`mssedu separate` as a user meets it: exit codes, messages, files, the plan."""

import json
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.audio.tensors import load_audio, save_audio
from mssedu.cli import commands as cli
from mssedu.cli.separate import clock, measure, show_plan
from mssedu.models.registry import create_model
from mssedu.separation.config import FileConfig, SeparateConfig
from mssedu.separation.files import separate_file, separate_song
from mssedu.separation.song import Song
from mssedu.weights.checkpoint import save_checkpoint
from mssedu.weights.published import PUBLISHED, Published, WeightFile
from tests.file_server import serving


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "雨天 #1.flac"
    save_audio(path, torch.rand(2, 30000) - 0.5, 44100)
    return path


def run(*args):
    return cli.main([str(arg) for arg in args])


def test_separate_one_song(model, song, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("separate", song, "-m", model, "-o", out) == 0
    for stem in ("vocals", "drums", "bass", "other"):
        audio, rate = load_audio(out / "雨天 #1" / f"{stem}.wav")
        assert (audio.shape, rate) == ((2, 30000), 44100)
    assert "1 of 1 done" in capsys.readouterr().out


def test_one_bad_file_never_stops_the_others(model, song, tmp_path, capsys):
    bad = tmp_path / "bad [x].wav"
    bad.write_bytes(b"no audio")
    missing, out = tmp_path / "none.wav", tmp_path / "out"
    assert run("separate", bad, missing, song, "-m", model, "-o", out) == 1
    seen = capsys.readouterr()
    assert "bad [x].wav" in seen.err
    assert "none.wav" in seen.err
    assert "1 of 3 done" in seen.out
    assert (out / "雨天 #1" / "bass.wav").exists()


def test_results_are_not_overwritten_silently(model, song, tmp_path, capsys):
    command = ("separate", song, "-m", model, "-o", tmp_path / "out")
    assert run(*command) == 0
    before = (tmp_path / "out" / "雨天 #1" / "bass.wav").stat().st_mtime_ns
    assert run(*command) == 1
    assert "vocals.wav exists" in capsys.readouterr().err
    assert run(*command, "--exists", "skip") == 0
    assert "skipped" in capsys.readouterr().out
    after = (tmp_path / "out" / "雨天 #1" / "bass.wav").stat().st_mtime_ns
    assert after == before
    time.sleep(0.01)
    assert run(*command, "--exists", "overwrite") == 0
    newest = (tmp_path / "out" / "雨天 #1" / "bass.wav").stat().st_mtime_ns
    assert newest > before


def test_nothing_is_written_for_songs_that_are_finished(
    model, song, tmp_path, capsys, monkeypatch
):
    """The folder may be read-only then, as one that a class shares."""
    command = ("separate", song, "-m", model, "-o", tmp_path / "out")
    assert run(*command) == 0
    monkeypatch.setattr("os.access", lambda *_: False)
    assert run(*command, "--exists", "overwrite") == 2
    assert "nothing can be written there" in capsys.readouterr().err
    for plan in ((), ("--dry-run",)):
        assert run(*command, "--exists", "skip", *plan) == 0
        assert "finished before" in capsys.readouterr().out
    (tmp_path / "out" / "雨天 #1" / "bass.wav").unlink()
    assert run(*command, "--exists", "skip", "--dry-run") == 1
    assert "nothing can be written there" in capsys.readouterr().err


def test_separate_needs_files_and_a_model(tmp_path, song, capsys):
    assert run("separate") == 2
    assert "Name at least one song" in capsys.readouterr().err
    assert run("separate", song, "-m", tmp_path / "nothing") == 2


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A published checkpoint at an address of this machine; gives its local file."""
    network = create_model(
        "conv_tasnet",
        "tiny",
        ("drums", "bass", "other", "vocals"),
        n_filters=16,
        bottleneck=8,
        hidden=8,
        n_blocks=2,
    )
    torch.save(network.state_dict(), tmp_path / "small.th")
    with serving((tmp_path / "small.th").read_bytes()) as server:
        file = WeightFile(f"{server.address}/small.th")
        facts = ("conv_tasnet", (file,), network.config.stems, "for tests", "noise")
        entries = {**PUBLISHED, "small": Published(*facts)}
        monkeypatch.setattr("mssedu.weights.loading.PUBLISHED", entries)
        monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path / "cache"))
        yield tmp_path / "small.th"


def test_separate_by_a_published_name(small, song, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mssedu.cli.console.FIRST_LINE", 0)
    out = tmp_path / "out"
    assert run("separate", song, "-m", "small", "-o", out) == 0
    seen = capsys.readouterr()
    assert seen.out.count("small: license for tests") == 1
    assert "sha256" in seen.out
    assert "fetching, MB: 0" in seen.err
    assert (out / "雨天 #1" / "vocals.wav").exists()


@pytest.mark.parametrize("name", [(), ("-m", "small")])
def test_separate_with_local_weights(small, song, tmp_path, capsys, name):
    options = ("--weights", small, "-o", tmp_path / "out", *name)
    assert run("separate", song, *options) == 0
    assert ("license" in capsys.readouterr().out) == bool(name)
    assert not (tmp_path / "cache").exists()


def test_a_name_that_does_not_exist(song, capsys):
    assert run("separate", song, "-m", "htdemuc") == 2
    assert "Did you mean 'htdemucs'?" in capsys.readouterr().err


def test_a_segment_longer_than_trained_is_told_in_one_line(song, tmp_path, capsys):
    network = create_model("htdemucs", "tiny", segment=0.5)
    save_checkpoint(tmp_path / "short" / "best.safetensors", network)
    options = ("-m", tmp_path / "short", "-o", tmp_path / "out", "--segment", 12)
    assert run("separate", song, *options) == 0
    seen = capsys.readouterr().err
    assert seen.count("note     segment is 12.0 s") == seen.count("using 0.5 s\n") == 1
    report = json.loads((tmp_path / "out" / "雨天 #1" / "separation.json").read_text())
    assert report["segment"] == 0.5


@pytest.mark.parametrize("option", [("--overlap", 1.0), ("--segment", 0)])
def test_settings_out_of_range_are_told_before_anything_is_loaded(option, capsys):
    assert run("separate", "song.wav", "-m", "no such model", *option) == 2
    assert f"{option[0][2:]} must be" in capsys.readouterr().err


def test_all_options_of_demucs_under_our_words(model, song, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--shifts", 1, "--overlap", 0.1, "--segment", 0.5, "--device", "cpu")
    options += ("--two-stems", "vocals", "--other", "add", "--threads", 1)
    options += ("--ext", "mp3", "--bitrate", 320, "--clip", "clamp")
    options += ("--template", "{model}/{track}.{trackext}/{stem}.{ext}")
    assert run("separate", song, "-m", model, "-o", out, *options) == 0
    torch.set_num_threads(torch.get_num_threads())
    folder = out / "openunmix" / "雨天 #1.flac"
    names = {"vocals.mp3", "no_vocals.mp3", "separation.json"}
    assert {path.name for path in folder.iterdir()} == names


def test_a_part_is_told_to_be_one(model, song, tmp_path, capsys):
    options = ("-m", model, "-o", tmp_path, "--duration-seconds", 0.25)
    assert run("separate", song, *options) == 0
    assert "note     separated 0.250 of 0.680 s" in capsys.readouterr().out


def test_a_model_that_hears_no_highs_is_told(song, tmp_path, capsys):
    network = create_model("spleeter", "tiny")
    save_checkpoint(tmp_path / "run" / "best.safetensors", network)
    command = ("separate", song, "-m", tmp_path / "run", "-o", tmp_path)
    assert run(*command) == 0
    assert "note     above 11025 Hz the stems hold nothing" in capsys.readouterr().out
    assert run(*command, "--exists", "overwrite", "--highs", "average") == 0
    assert "a share of the mixture (average)" in capsys.readouterr().out


def test_silence_is_told_and_written(model, tmp_path, capsys):
    song = tmp_path / "rest.wav"
    save_audio(song, torch.zeros(2, 3000), 44100)
    assert run("separate", song, "-m", model, "-o", tmp_path) == 0
    assert "the input is silent" in capsys.readouterr().err
    assert not load_audio(tmp_path / "rest" / "bass.wav")[0].any()


def test_interrupted(model, song, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mssedu.separation.files.separate_song", stop)
    assert run("separate", song, "-m", model, "-o", tmp_path) == 130
    assert "--exists skip" in capsys.readouterr().err


def test_a_dry_run_tells_and_writes_nothing(model, song, tmp_path, capsys):
    out, missing = tmp_path / "out", tmp_path / "none.wav"
    command = ("separate", song, "-m", model, "-o", out, "--segment", 0.25)
    assert run(*command, "--dry-run") == 0
    seen = capsys.readouterr().out
    assert "雨天 #1: 1 s in 4 chunks" in seen
    assert str(out / "雨天 #1" / "vocals.wav") in seen
    assert "GB on cpu" in seen
    assert not out.exists()
    assert run("separate", missing, *command[1:], "--dry-run") == 1
    assert run(*command) == 0
    assert run(*command, "--dry-run") == 1  # the output is there
    assert "vocals.wav exists" in capsys.readouterr().err
    assert run(*command, "--dry-run", "--exists", "skip") == 0
    assert "finished before, skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--threads", -1), "threads"),
        (("--device", "cpu:x"), "device"),
        (("--duration-seconds", "inf"), "duration_seconds"),
        (("--start-seconds", "nan"), "start_seconds"),
        (("--context", "inf"), "context"),
        (("--template", "../{stem}.wav"), "template"),
    ],
)
def test_values_out_of_range_are_named(model, song, tmp_path, capsys, options, word):
    assert run("separate", song, "-m", model, "-o", tmp_path / "out", *options) != 0
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_stems_in_a_searched_folder_are_left_out(model, song, tmp_path, capsys):
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / song.name).write_bytes(song.read_bytes())
    command = ("separate", tmp_path / "songs", "-m", model, "--exists", "skip")
    for word in ("done", "left out"):
        assert run(*command, "-o", tmp_path / "songs" / "separated") == 0
        text = capsys.readouterr().out
        assert word in text
        assert "1 of 1 done" in text


def test_one_bad_song_never_ends_a_batch(model, song, tmp_path, capsys, monkeypatch):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(song.read_bytes())
    real = separate_song

    def separate(network, one, **options):
        if one.path == bad:
            raise ZeroDivisionError("of some library")
        return real(network, one, **options)

    monkeypatch.setattr("mssedu.separation.files.separate_song", separate)
    assert run("separate", bad, song, "-m", model, "-o", tmp_path / "out") == 1
    seen = capsys.readouterr()
    assert "bad.wav: ZeroDivisionError: of some library" in seen.err
    assert "1 of 2 done" in seen.out


@pytest.mark.parametrize("exists", ["refuse", "skip", "overwrite"])
def test_a_song_never_replaces_the_stems_of_another(
    model, song, tmp_path, capsys, exists
):
    other, out = tmp_path / "b.flac", tmp_path / "out"
    other.write_bytes(song.read_bytes())
    options = ("--template", "{stem}.{ext}", "--exists", exists)
    assert run("separate", song, other, "-m", model, "-o", out, *options) == 1
    seen = capsys.readouterr()
    assert f"b.flac: its stems would have the same paths as those of {song}" in seen.err
    assert "1 of 2 done" in seen.out
    assert json.loads((out / "separation.json").read_text())["input"] == str(song)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--two-stems", "guitar"), "unknown stem 'guitar'"),
        (("--template", "{track}.wav"), "template"),
        (("--ext", "flac", "--bitrate", 320), "bitrate 320 is for mp3 files only"),
        (("-o", __file__), "nothing can be written there"),
        (("-o", f"{__file__}/out"), "nothing can be written there"),
        (("",), "empty name"),
    ],
)
def test_an_option_wrong_for_all_songs_is_one_error(
    model, song, tmp_path, capsys, options, word
):
    (tmp_path / "b.flac").write_bytes(song.read_bytes())
    names = (song, tmp_path / "b.flac", *([] if options[0] else options))
    options = ("-o", tmp_path / "out", *(options if options[0] else ()))
    assert run("separate", *names, "-m", model, *options) == 2
    assert capsys.readouterr().err.count(word) == 1
    assert not (tmp_path / "out").exists()


def test_a_reader_that_has_gone_is_no_failed_song(
    model, song, tmp_path, capsys, monkeypatch
):
    def gone(line):
        raise BrokenPipeError

    monkeypatch.setattr("mssedu.cli.separate.say", gone)
    assert run("separate", song, "-m", model, "-o", tmp_path / "out") == 141
    assert "failed" not in capsys.readouterr().err


def test_times_on_a_clock():
    expected = ["0 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "25 h 0 min"]
    assert [clock(s) for s in (0.4, 59.6, 3599, 3600, 90000)] == expected


# ---- the plan -----------------------------------------------------------------------


class Counting(nn.Module):
    """The identity, which takes 30 floats of memory for each sample of its input."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000))
        self.config = SimpleNamespace(
            stems=("a",), sample_rate=8000, channels=2, segment=1.0
        )
        self.calls = 0

    def forward(self, mixture):
        self.calls += len(mixture)
        mixture.new_zeros(30, *mixture.shape)
        return self.weight[0] * mixture[:, None]


def test_chunks_are_counted_as_they_will_be(tmp_path):
    file = tmp_path / "song.wav"
    save_audio(file, torch.rand(2, 50000) - 0.5, 16000)
    for options in ({}, {"overlap": 0.6, "shifts": 3, "segment": 0.7}):
        model, out = Counting(), tmp_path / str(len(options))
        song = Song(model, file, out, FileConfig(), SeparateConfig(**options), "x")
        n_chunks = show_plan(song)
        done = separate_file(model, file, out, track="x", **options)
        assert n_chunks == model.calls
        assert song.outputs == {"a": out / done.stems["a"]}
        assert song.record == out / "x" / "separation.json"


def test_memory_is_that_of_a_batch_and_of_the_weights():
    seconds, small = measure(Counting(), SeparateConfig())
    _, large = measure(Counting(), SeparateConfig(batch_size=4))
    chunk = 30 * 2 * 8000 * 4
    assert chunk < small - 4000 < 1.4 * chunk
    assert 4 * chunk < large - 4000 < 4 * 1.4 * chunk
    assert seconds > 0


def test_a_finished_song_is_not_read_again(tmp_path, capsys, monkeypatch):
    file, model = tmp_path / "song.wav", Counting()
    save_audio(file, torch.rand(2, 5000) - 0.5, 8000)
    separate_file(model, file, tmp_path)
    monkeypatch.setattr("mssedu.separation.song.scan", None)  # it would be called
    files = FileConfig(exists="skip")
    assert show_plan(Song(model, file, tmp_path, files, SeparateConfig())) == 0
    assert "song: finished before, skipped" in capsys.readouterr().out
