"""Pseudo-labels: aligned pieces in which the passes agree, and a set that goes on."""

import json
import os
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mssedu.audio.tensors import load_audio, match_channels, resample, save_audio
from mssedu.data.loading import load_dataset
from mssedu.errors import DatasetError, DiskError, InputError, MssEduWarning
from mssedu.metrics.ratios import usdr
from mssedu.separation.agreement import Measured, agreement, turned
from mssedu.separation.config import InputOptions, SeparateConfig
from mssedu.separation.files import separate_song
from mssedu.separation.label_set import MANIFEST, LabelConfig, describe_teacher
from mssedu.separation.pseudo_labels import SCRATCH, pseudo_label
from mssedu.separation.tensors import separate

RATE = 8000
ALL = LabelConfig(split=(1, 0, 0), window_seconds=0.5, min_seconds=0.5)


class Teacher(nn.Module):
    """Estimates that are exact up to a limit, and that differ by polarity above it."""

    def __init__(self, gain=0.25, limit=100.0, rate=RATE, stems=("voice", "rest")):
        super().__init__()
        self.gain, self.calls = nn.Parameter(torch.tensor(gain)), 0
        self.limit = limit
        self.config = SimpleNamespace(
            stems=stems, sample_rate=rate, channels=2, segment=2.0
        )

    def forward(self, mixture):
        self.calls += 1
        voice = self.gain * mixture.clamp_max(self.limit)
        return torch.stack([voice, mixture - voice], 1)


class Network(nn.Module):
    """Seeded weights: the estimate depends on the polarity and on the chunk."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv1d(2, 4, 301, padding=150)
        self.config = SimpleNamespace(
            stems=("voice", "rest"), sample_rate=RATE, channels=2, segment=0.4
        )

    def forward(self, mixture):
        return self.layer(mixture).tanh().unflatten(1, (2, 2))


@pytest.fixture
def songs(tmp_path):
    """Three songs of noise, of 2, 3 and 4 s and a few samples."""
    folder = tmp_path / "songs"
    folder.mkdir()
    for number, name in enumerate(("絆 #1", "b_001", "c")):
        noise = 0.2 * (2 * torch.rand(2, (number + 2) * RATE + 123) - 1)
        save_audio(folder / f"{name}.wav", noise, RATE, dither_seed=None)
    return folder


def label(model, paths, out, config=ALL, **options):
    """The manifest, and the reports as [(kind, text) …]."""
    reports = []

    def report(kind, text):
        reports.append((kind, text))

    paths = paths if isinstance(paths, list) else [paths]
    options = {"teacher": "mine", "report": report, **options}
    return pseudo_label(model, paths, out, config=config, **options), reports


def pieces_of(out):
    return sorted(path for path in out.glob("*/*") if path.is_dir())


def tree(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


# ---- what is written ----------------------------------------------------------------


def test_pieces_are_cuts_of_the_songs_to_the_sample(songs, tmp_path):
    document, _ = label(Teacher(), songs, tmp_path / "out")
    assert len(document["songs"]) == 3
    for name, record in document["songs"].items():
        (piece,) = record["pieces"]
        source, _ = load_audio(record["source"])
        folder = tmp_path / "out" / "train" / piece["name"]
        assert piece["name"] == f"{name}_000"
        assert {path.name for path in folder.iterdir()} == {
            "voice.wav",
            "rest.wav",
            "mixture.wav",
        }
        mixture, rate = load_audio(folder / "mixture.wav")
        assert rate == RATE
        assert torch.equal(mixture, source)
        step = 2**-15  # of int16, and as much of dither
        for stem, gain in (("voice", 0.25), ("rest", 0.75)):
            written, _ = load_audio(folder / f"{stem}.wav")
            assert (written - gain * source).abs().max() <= 1.51 * step
        assert record["agreement"]["voice"] > 90
        assert record["kept_seconds"] == round(source.shape[-1] / RATE, 3)
    assert not (tmp_path / "out" / SCRATCH).exists()


def test_load_dataset_reads_it(songs, tmp_path):
    shares = LabelConfig(split=(0.4, 0.3, 0.3), window_seconds=0.5, min_seconds=0.5)
    label(Teacher(), songs, tmp_path / "out", shares)
    tracks = load_dataset(tmp_path / "out")
    assert sorted(track.split for track in tracks) == ["test", "train", "valid"]
    assert all(track.stems == ("rest", "voice") for track in tracks)
    assert len(load_dataset(tmp_path / "out", "valid")) == 1


def test_windows_without_agreement_are_left_out(tmp_path):
    """The third and fourth half second are loud, where the teacher clips one side."""
    song = 0.1 * torch.randn(2, 4 * RATE).clamp(-1.9, 1.9)
    song[:, RATE : 2 * RATE] *= 4
    save_audio(tmp_path / "song.wav", song, RATE)
    document, reports = label(
        Teacher(limit=0.2), tmp_path / "song.wav", tmp_path / "out"
    )
    record = document["songs"]["song"]
    assert [(p["start"], p["samples"]) for p in record["pieces"]] == [
        (0, RATE),
        (2 * RATE, 2 * RATE),
    ]
    windows = record["windows"]["voice"]
    assert all((db > 90) == (n not in (2, 3)) for n, db in enumerate(windows))
    assert record["left_out_seconds"] == {"agreement": 1.0, "too short": 0.0}
    source, _ = load_audio(tmp_path / "song.wav")
    for number, start in enumerate((0, 2 * RATE)):
        folder = tmp_path / "out" / "train" / f"song_{number:03d}"
        mixture, _ = load_audio(folder / "mixture.wav")
        voice, _ = load_audio(folder / "voice.wav")
        cut = source[:, start : start + mixture.shape[-1]]
        assert torch.equal(mixture, cut)
        assert (voice - 0.25 * cut).abs().max() < 1e-4
    (line,) = [text for kind, text in reports if kind == "done"]
    assert "3.0 s in 2 pieces in train, 1.0 s left out: agreement" in line

    longer = LabelConfig(split=(1, 0, 0), window_seconds=0.5, min_seconds=1.5)
    document, _ = label(
        Teacher(limit=0.2), tmp_path / "song.wav", tmp_path / "long", longer
    )
    record = document["songs"]["song"]
    assert [p["start"] for p in record["pieces"]] == [2 * RATE]
    assert record["left_out_seconds"] == {"agreement": 1.0, "too short": 1.0}


@pytest.mark.parametrize("passes", [2, 5])
def test_labels_are_the_mean_of_the_passes(tmp_path, passes):
    model, song = Network(), torch.rand(2, 2 * RATE + 77) - 0.5
    save_audio(tmp_path / "song.wav", song, RATE, subtype="float32")
    config = replace(ALL, passes=passes, min_agreement=-100, subtype="float32")
    config, seeds = replace(config, min_seconds=0), []

    def spy(network, one, **options):
        done = separate_song(network, one, **options)
        seeds.append(done.seed)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mssedu.separation.pseudo_labels.separate_song", spy)
        document, _ = label(model, tmp_path / "song.wav", tmp_path / "out", config)
    assert len({*seeds}) == passes
    expected = [
        turned(separate(model, turned(song, n), seed=seed, shifts=1), n)
        for n, seed in enumerate(seeds)
    ]
    mean = torch.stack(expected).mean(0)
    folder = tmp_path / "out" / "train" / "song_000"
    for stem, label_ in zip(("voice", "rest"), mean, strict=True):
        written, _ = load_audio(folder / f"{stem}.wav")
        torch.testing.assert_close(written, label_, atol=2e-6, rtol=0)
    windows = document["songs"]["song"]["windows"]["voice"]
    assert len(windows) == 5
    first = [one[0][:, : RATE // 2] for one in expected]
    lowest = min(
        float(usdr(reference=a, estimate=b))
        for n, a in enumerate(first)
        for b in first[n + 1 :]
    )
    assert windows[0] == pytest.approx(lowest, abs=0.02)
    assert windows[0] < 50  # also where the chunks of all shifts are the same


def test_the_same_seed_gives_the_same_files(tmp_path):
    save_audio(tmp_path / "song.wav", torch.rand(2, RATE) - 0.5, RATE)
    config = replace(ALL, min_agreement=-100)
    for out in ("a", "b"):
        label(Network(), tmp_path / "song.wav", tmp_path / out, config)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    other = SeparateConfig(seed=5)
    label(Network(), tmp_path / "song.wav", tmp_path / "c", config, separation=other)
    assert tree(tmp_path / "a").keys() == tree(tmp_path / "c").keys()
    assert tree(tmp_path / "a") != tree(tmp_path / "c")


def test_groups_of_stems(songs, tmp_path):
    separation = SeparateConfig(stems=("music=-voice", "both=voice+rest"))
    label(Teacher(), songs, tmp_path / "out", separation=separation)
    for folder in pieces_of(tmp_path / "out"):
        sounds = {p.stem: load_audio(p)[0] for p in folder.iterdir()}
        assert {*sounds} == {"music", "both", "mixture"}
        assert (sounds["music"] - 0.75 * sounds["mixture"]).abs().max() < 1e-4
        assert (sounds["both"] - sounds["mixture"]).abs().max() < 1e-4


def test_two_stems_sum_to_the_mixture(songs, tmp_path):
    config = replace(ALL, subtype="float32")
    separation = SeparateConfig(two_stems="voice")
    label(Network(), songs, tmp_path / "out", config, separation=separation)
    config = replace(config, min_agreement=-100)
    label(Network(), songs, tmp_path / "all", config, separation=separation)
    assert len(pieces_of(tmp_path / "all")) == 3
    for folder in pieces_of(tmp_path / "all"):
        sounds = {p.stem: load_audio(p)[0] for p in folder.iterdir()}
        total = sounds["voice"] + sounds["no_voice"]
        torch.testing.assert_close(total, sounds["mixture"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("out_rate", ["input", "model"])
@pytest.mark.parametrize("rate", [8000, 11025, 16000])
def test_rates_and_channels(tmp_path, rate, channels, out_rate):
    time = torch.arange(2 * rate + 5) / rate
    song = 0.3 * torch.sin(2 * torch.pi * 440 * time).repeat(channels, 1)
    save_audio(tmp_path / "song.flac", song, rate)
    song, _ = load_audio(tmp_path / "song.flac")
    config = replace(ALL, out_rate=out_rate, subtype="float32")
    document, _ = label(Teacher(), tmp_path / "song.flac", tmp_path / "out", config)
    folder = tmp_path / "out" / "train" / "song_000"
    mixture, written_rate = load_audio(folder / "mixture.wav")
    expected = resample(song, rate, RATE) if out_rate == "model" else song
    assert written_rate == (RATE if out_rate == "model" else rate)
    assert mixture.shape == expected.shape
    assert (mixture - expected).abs().max() <= (1e-6 if out_rate == "model" else 0)
    voice, _ = load_audio(folder / "voice.wav")
    middle = slice(rate // 4, -rate // 4)  # the resampler rings at the ends
    assert (voice - 0.25 * mixture)[:, middle].abs().max() < 1e-3
    assert document["songs"]["song"]["channels"] == channels


def test_mono_songs_can_become_stereo(tmp_path):
    save_audio(tmp_path / "mono.wav", torch.rand(1, RATE) - 0.5, RATE)
    config = replace(ALL, keep_stereo=True)
    label(Teacher(), tmp_path / "mono.wav", tmp_path / "out", config)
    (folder,) = pieces_of(tmp_path / "out")
    mixture, _ = load_audio(folder / "mixture.wav")
    source, _ = load_audio(tmp_path / "mono.wav")
    assert torch.equal(mixture, match_channels(source, 2))


def test_a_part_of_the_songs(songs, tmp_path):
    part = InputOptions(start_seconds=0.5, duration_seconds=1.0)
    document, _ = label(Teacher(), songs, tmp_path / "out", reading=part)
    assert {r["samples"] for r in document["songs"].values()} == {RATE}
    source, _ = load_audio(songs / "c.wav")
    mixture, _ = load_audio(tmp_path / "out" / "train" / "c_000" / "mixture.wav")
    assert torch.equal(mixture, source[:, RATE // 2 : RATE // 2 + RATE])


def test_one_gain_only_where_an_integer_format_needs_it(tmp_path):
    save_audio(tmp_path / "song.wav", 1.6 * (torch.rand(2, RATE) - 0.5), RATE)
    source, _ = load_audio(tmp_path / "song.wav")
    loud = Teacher(gain=2.0)
    document, reports = label(loud, tmp_path / "song.wav", tmp_path / "int")
    gain_db = document["songs"]["song"]["gain_db"]
    assert gain_db == pytest.approx(-4.08, abs=0.02)
    assert f"all files {gain_db:.1f} dB" in reports[0][1]
    folder = tmp_path / "int" / "train" / "song_000"
    gain = 10 ** (gain_db / 20)
    assert (load_audio(folder / "mixture.wav")[0] - gain * source).abs().max() < 2e-4
    assert load_audio(folder / "voice.wav")[0].abs().max() > 0.999
    config = replace(ALL, subtype="float32")
    document, _ = label(loud, tmp_path / "song.wav", tmp_path / "float", config)
    assert document["songs"]["song"]["gain_db"] == 0
    mixture, _ = load_audio(tmp_path / "float" / "train" / "song_000" / "mixture.wav")
    assert torch.equal(mixture, source)


# ---- agreement ----------------------------------------------------------------------


def test_agreement_is_the_lowest_usdr_of_two_passes():
    stem = torch.randn(1, 2, 1000)
    passes = torch.stack([stem, stem, 1.1 * stem, 0.5 * stem])
    lowest = usdr(reference=1.1 * stem, estimate=0.5 * stem)
    assert torch.equal(agreement(passes), lowest)
    assert agreement(passes[:2]).item() == 100


def test_a_stem_in_one_pass_only_is_no_agreement():
    stem = torch.randn(1, 2, 1000)
    for passes in ([stem, 0 * stem], [0 * stem, stem]):
        assert agreement(torch.stack(passes)).item() <= 0


@pytest.mark.parametrize("number", range(8))
def test_turned_twice_is_as_before(number):
    audio = torch.randn(3, 2, 10)
    assert torch.equal(turned(turned(audio, number), number), audio)
    assert torch.equal(turned(audio, number), audio) == (number % 4 == 0)


def test_four_passes_are_turned_in_four_ways():
    audio = torch.randn(2, 10)
    ways = {tuple(turned(audio, n).flatten().tolist()) for n in range(4)}
    assert len(ways) == 4


@settings(deadline=None, max_examples=60)
@given(
    kept=st.lists(st.booleans(), min_size=1, max_size=12),
    last=st.integers(1, 100),
    shortest=st.floats(0, 4),
)
def test_pieces_hold_the_windows_that_agree(kept, last, shortest):
    """Nothing overlaps, nothing twice, and the reasons add up to the song."""
    samples = 100 * (len(kept) - 1) + last
    config = LabelConfig(window_seconds=1, min_seconds=shortest)
    found = Measured(
        config=config,
        stems=("a",),
        sample_rate=100,
        samples=samples,
        agreement=torch.tensor([[20.0 if k else 0.0] for k in kept]),
        silent=torch.zeros(len(kept), 1, dtype=torch.bool),
        peaks=[0.5] * len(kept),
    )
    inside = [any(a <= n < b for a, b in found.spans) for n in range(samples)]
    assert inside == [kept[n // 100] for n in range(samples)]
    assert all(b - a >= 100 * shortest for a, b in found.pieces)
    assert {*found.pieces} <= {*found.spans}
    record = found.record("x")
    total = record["kept_seconds"] + sum(record["left_out_seconds"].values())
    assert total == pytest.approx(samples / 100)


def test_silent_stems_agree(tmp_path):
    """A stem 60 dB below the song differs in each pass: it is silent, no fault."""

    class Bleeding(Teacher):
        def forward(self, mixture):
            faint = 1e-3 * mixture.abs()
            return torch.stack([faint, mixture - faint], 1)

    save_audio(tmp_path / "song.wav", 0.2 * torch.randn(2, RATE).clamp(-4, 4), RATE)
    document, reports = label(Bleeding(), tmp_path / "song.wav", tmp_path / "out")
    record = document["songs"]["song"]
    assert record["windows"]["voice"] == [None, None]
    assert record["agreement"]["voice"] is None
    assert record["kept_seconds"] == 1
    assert "voice silent" in reports[0][1]
    config = replace(ALL, silent_db=70)
    document, _ = label(Bleeding(), tmp_path / "song.wav", tmp_path / "70", config)
    assert document["songs"]["song"]["kept_seconds"] == 0
    assert not pieces_of(tmp_path / "70")


# ---- splits -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_pieces_of_a_song_are_in_one_split(tmp_path, seed):
    folder = tmp_path / "songs"
    folder.mkdir()
    for number in range(6):
        song = 0.1 * torch.randn(2, 3 * RATE).clamp(-1.9, 1.9)
        song[:, RATE : RATE + RATE // 2] *= 4
        save_audio(folder / f"{number}.wav", song, RATE)
    config = LabelConfig(
        split=(0.5, 0.25, 0.25), split_seed=seed, window_seconds=0.5, min_seconds=0.5
    )
    document, _ = label(Teacher(limit=0.2), folder, tmp_path / "out", config)
    found = {}
    for piece in pieces_of(tmp_path / "out"):
        found.setdefault(piece.name.rpartition("_")[0], []).append(piece.parent.name)
    assert len(found) == 6
    for name, splits in found.items():
        assert splits == [document["songs"][name]["split"]] * 2
    assert {s[0] for s in found.values()} == {"train", "valid", "test"}
    tracks = load_dataset(tmp_path / "out")
    assert len(tracks) == 12


def test_songs_that_come_later_do_not_move_the_others(songs, tmp_path):
    config = LabelConfig(split=(0.4, 0.3, 0.3), window_seconds=0.5, min_seconds=0.5)
    before, _ = label(Teacher(), songs, tmp_path / "out", config)
    for number in range(5):
        noise = 0.2 * torch.rand(2, RATE)
        save_audio(songs / f"late {number}.wav", noise, RATE)
    after, reports = label(Teacher(), songs, tmp_path / "out", config)
    assert len(after["songs"]) == 8
    for name, record in before["songs"].items():
        assert after["songs"][name] == record
    assert [kind for kind, _ in reports].count("skipped") == 3


def test_too_few_songs_for_the_splits(songs, tmp_path):
    (songs / "c.wav").unlink()
    with pytest.raises(DatasetError, match="2 songs are too few"):
        label(Teacher(), songs, tmp_path / "out", LabelConfig())
    assert not (tmp_path / "out").exists()


# ---- a set that goes on -------------------------------------------------------------


def test_finished_songs_are_skipped(songs, tmp_path):
    model = Teacher()
    label(model, songs, tmp_path / "out")
    before, calls = tree(tmp_path / "out"), model.calls
    _, reports = label(model, songs, tmp_path / "out")
    assert [kind for kind, _ in reports] == ["skipped"] * 3
    assert (tree(tmp_path / "out"), model.calls) == (before, calls)


@pytest.mark.parametrize("stop_after", [1, 4, 9, 13])
def test_a_killed_run_goes_on(songs, tmp_path, stop_after):
    label(Teacher(), songs, tmp_path / "whole")

    class Stopped(Teacher):
        def forward(self, mixture):
            if self.calls >= stop_after:
                raise KeyboardInterrupt
            return super().forward(mixture)

    with pytest.raises(KeyboardInterrupt):
        label(Stopped(), songs, tmp_path / "out")
    assert not (tmp_path / "out" / SCRATCH).exists()
    document = json.loads((tmp_path / "out" / MANIFEST).read_text("utf-8"))
    name = next(n for n in document["splits"] if n not in document["songs"])
    # What a power cut leaves: the passes of a song, and a piece without a record
    (tmp_path / "out" / SCRATCH / "0").mkdir(parents=True)
    old = tmp_path / "out" / "valid" / f"{name}_017"
    old.mkdir(parents=True)
    label(Teacher(), songs, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert not old.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"min_agreement": 12.0}, "min_agreement was 10.0 and is 12.0"),
        ({"split_seed": 3}, "split_seed was 0 and is 3"),
        ({"passes": 3}, "passes was 2 and is 3"),
    ],
)
def test_other_settings_are_refused(songs, tmp_path, changes, said):
    label(Teacher(), songs, tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(InputError, match=re.escape(said)):
        label(Teacher(), songs, tmp_path / "out", replace(ALL, **changes))
    assert tree(tmp_path / "out") == before


def test_other_options_or_weights_are_refused(songs, tmp_path):
    label(Teacher(), songs, tmp_path / "out")
    with pytest.raises(InputError, match=r"overlap was 0\.25 and is 0\.5"):
        label(
            Teacher(), songs, tmp_path / "out", separation=SeparateConfig(overlap=0.5)
        )
    with pytest.raises(InputError, match="downmix was False and is True"):
        label(Teacher(), songs, tmp_path / "out", reading=InputOptions(downmix=True))
    with pytest.raises(InputError, match="weights_sha256 was"):
        label(Teacher(gain=0.3), songs, tmp_path / "out")
    speed = SeparateConfig(batch_size=2)
    label(Teacher(), songs, tmp_path / "out", separation=speed)


def test_the_segment_may_be_the_whole_song(songs, tmp_path):
    separation = SeparateConfig(segment=float("inf"))
    for _ in range(2):
        document, _ = label(Teacher(), songs, tmp_path / "out", separation=separation)
    assert document["settings"]["segment"] == "inf"


def test_another_folder_is_refused(songs, tmp_path):
    with pytest.raises(InputError, match="neither empty nor"):
        label(Teacher(), songs, songs)
    with pytest.raises(InputError, match="neither empty nor"):
        label(Teacher(), songs, songs / "c.wav")


@pytest.mark.parametrize("text", ["", "[]", '{"songs": 1}', "[" * 10**5])
def test_a_damaged_manifest(songs, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MANIFEST).write_text(text)
    with pytest.raises(DatasetError, match=f"{MANIFEST} was not written by"):
        label(Teacher(), songs, tmp_path / "out")


# ---- songs that fail ----------------------------------------------------------------


def test_a_bad_song_does_not_end_the_batch(songs, tmp_path):
    (songs / "a text.mp3").write_text("no music")
    nan = torch.zeros(2, RATE)
    nan[0, 100] = torch.nan
    save_audio(songs / "nan.wav", nan.nan_to_num() + 0.1, RATE, subtype="float32")
    with (songs / "nan.wav").open("r+b") as file:
        file.seek(-400, os.SEEK_END)
        file.write(b"\xff\xff\xff\x7f" * 4)
    save_audio(songs / "silent.wav", torch.zeros(2, RATE), RATE)
    save_audio(songs / "slow.wav", torch.rand(2, RATE), 2 * RATE)
    document, reports = label(Teacher(), songs, tmp_path / "out")
    assert {*document["failed"]} == {"a text", "nan", "silent", "slow"}
    assert "NaN or Inf" in document["failed"]["nan"]
    assert "is silent" in document["failed"]["silent"]
    assert "a training set has one form" in document["failed"]["slow"]
    assert {*document["songs"]} == {"絆 #1", "b_001", "c"}
    assert [kind for kind, _ in reports].count("failed") == 4
    written = json.loads((tmp_path / "out" / MANIFEST).read_text("utf-8"))
    assert written == document
    save_audio(songs / "silent.wav", 0.2 * torch.rand(2, RATE), RATE)
    (songs / "a text.mp3").unlink()
    document, _ = label(Teacher(), songs, tmp_path / "out")
    assert {*document["failed"]} == {"nan", "slow"}
    assert "silent" in document["songs"]


def test_an_error_of_a_library_is_one_of_the_song(songs, tmp_path):
    class Broken(Teacher):
        def forward(self, mixture):
            raise KeyError("layer")

    document, _ = label(Broken(), songs, tmp_path / "out")
    assert {*document["failed"].values()} == {"KeyError: 'layer'"}
    assert not pieces_of(tmp_path / "out")
    document, _ = label(Teacher(), songs, tmp_path / "out")
    assert not document["failed"]


def test_one_file_under_two_names_is_labeled_once(songs, tmp_path):
    shutil.copy(songs / "c.wav", songs / "d.wav")
    document, reports = label(Teacher(), songs, tmp_path / "out")
    assert {*document["songs"]} == {"絆 #1", "b_001", "c"}
    (line,) = [text for kind, text in reports if kind == "left out"]
    assert "d.wav: the same file as" in line


def test_another_song_of_the_same_name_is_refused(songs, tmp_path):
    label(Teacher(), songs, tmp_path / "out")
    save_audio(songs / "c.wav", 0.2 * torch.rand(2, RATE), RATE)
    before = tree(tmp_path / "out" / "train")
    document, _ = label(Teacher(), songs, tmp_path / "out")
    assert "labels of another file of this name" in document["failed"]["c"]
    assert tree(tmp_path / "out" / "train") == before


def test_what_is_missing_fails(songs, tmp_path):
    document, _ = label(Teacher(), [songs, tmp_path / "gone"], tmp_path / "out")
    assert "no music below it" in document["failed"][str(tmp_path / "gone")]
    assert len(document["songs"]) == 3


def test_room_is_checked_before_the_work(songs, tmp_path, monkeypatch):
    monkeypatch.setattr("mssedu.audio.disk.free_bytes", lambda path: 200_000)
    model = Teacher()
    with pytest.raises(DiskError, match="the labels of 3 songs need"):
        label(model, songs, tmp_path / "out")
    assert model.calls == 0
    assert not (tmp_path / "out").exists()


# ---- the teacher --------------------------------------------------------------------


def test_the_license_of_the_teacher_is_in_the_manifest(songs, tmp_path):
    document, _ = label(Teacher(), songs, tmp_path / "a", teacher="htdemucs")
    assert "research only" in document["teacher"]["license"]
    assert document["teacher"]["trained_on"] == "MUSDB18-HQ and 800 songs"
    assert re.fullmatch("[0-9a-f]{64}", document["teacher"]["weights_sha256"])
    document, _ = label(Teacher(), songs, tmp_path / "b", teacher="runs/mine")
    assert document["teacher"]["license"] == "unknown"


def test_a_teacher_that_saw_the_test_set_is_warned_of():
    with pytest.warns(MssEduWarning, match=r"mdx_extra was trained on .* test set"):
        describe_teacher("mdx_extra", "0")


# ---- options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"passes": 1}, "passes must be from 2"),
        ({"window_seconds": 0}, "window_seconds must be"),
        ({"min_agreement": 101}, "min_agreement must be"),
        ({"silent_db": -1}, "silent_db must be"),
        ({"min_seconds": -1}, "min_seconds must be"),
        ({"split_seed": -1}, "split_seed must be"),
        ({"split": (1, 1, 0)}, "with the sum 1"),
        ({"subtype": "int8"}, "unknown subtype"),
        ({"out_rate": "mine"}, "unknown out_rate"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(InputError, match=said):
        LabelConfig(**options)


@pytest.mark.parametrize(
    ("separation", "said"),
    [
        (SeparateConfig(tta=True), "tta averages what the passes differ in"),
        (SeparateConfig(stems=("voices",)), "unknown stem 'voices'"),
        (SeparateConfig(stems=("mix=voice",)), "would be read as the mixture"),
        (SeparateConfig(two_stems="drums"), "unknown stem 'drums'"),
    ],
)
def test_stems_that_do_not_fit(songs, tmp_path, separation, said):
    with pytest.raises(InputError, match=said):
        label(Teacher(), songs, tmp_path / "out", separation=separation)
    assert not (tmp_path / "out").exists()
