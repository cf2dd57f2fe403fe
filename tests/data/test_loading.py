"""Loading: songs and their stems, and every fault that must be named."""

import hashlib
import json
import os
import tempfile
import unicodedata
import warnings
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mssedu.cli.commands import main
from mssedu.data.finding import find_songs
from mssedu.data.folders import Song
from mssedu.data.layouts import LAYOUTS, STEMS, Layout
from mssedu.data.loading import absent_counts, demo_data, load_dataset, load_track
from mssedu.data.segments import RandomSegments
from mssedu.errors import DatasetError, InputError
from tests.data.trees import RATE, write_song, write_stem_mp4


def strongest_hz(audio: torch.Tensor, rate: int) -> float:
    return float(torch.fft.rfft(audio[0]).abs().argmax()) * rate / audio.shape[-1]


# The songs that come with the repository


def test_demo_songs_are_the_published_ones() -> None:
    data = demo_data()
    listed = dict(
        line.split("  ", 1)[::-1]
        for line in (data / "SHA256SUMS").read_text().splitlines()
    )
    found = {p.relative_to(data).as_posix(): p for p in data.rglob("*.ogg")}
    assert found.keys() == listed.keys()
    assert len(found) == 6 * len(STEMS)
    for name, path in found.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[name], name


def test_demo_songs_by_split() -> None:
    tracks = load_dataset(demo_data())
    names = ["Caesium", "Lithium", "Potassium", "Rubidium", "Francium", "Sodium"]
    assert [track.name for track in tracks] == names
    assert [track.split for track in tracks] == ["train"] * 4 + ["valid", "test"]
    assert sum(track.duration for track in tracks) == 290
    assert {track.stems for track in tracks} == {STEMS}
    assert tracks[0].stem("bass", 10.0, 5.0).abs().max() == 0  # Caesium has none


def test_demo_songs_of_a_clone_without_installing_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssedu.audio.repository.__file__", str(tmp_path / "a/b/c.py"))
    (tmp_path / "clone/data/test/Sodium").mkdir(parents=True)
    (tmp_path / "clone/notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "clone/notebooks")
    assert demo_data() == tmp_path / "clone/data"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="MSSEDU_DATA"):
        demo_data()
    monkeypatch.setenv("MSSEDU_DATA", str(tmp_path / "clone/data"))
    assert demo_data() == tmp_path / "clone/data"
    monkeypatch.setenv("MSSEDU_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DatasetError, match="elsewhere"):
        demo_data()


# One song


def test_folder_of_stems_is_ordered(tmp_path: Path) -> None:
    song = write_song(tmp_path / "s", ("pipa", "other", "dizi", "bass"), suffix=".flac")
    (song / "notes.txt").write_text("not audio")
    (song / "._dizi.flac").write_bytes(b"macOS writes such files")
    track = load_track(str(song))
    assert track.stems == ("bass", "other", "dizi", "pipa")
    assert track.stem("dizi")[0, 0] == pytest.approx(0.03, abs=1e-4)
    assert track.mixture_is_sum


def test_mixture_file_is_the_mixture(tmp_path: Path) -> None:
    track = load_track(write_song(tmp_path / "hq", ("mixture", *STEMS)))
    assert track.stems == STEMS
    assert not track.mixture_is_sum
    assert track.mixture()[0, 0] == pytest.approx(0.01, abs=1e-4)
    assert track.sources().sum(0)[0, 0] == pytest.approx(0.14, abs=1e-3)


def test_lone_file_is_a_mixture(tmp_path: Path) -> None:
    write_song(tmp_path, ("雨天 #1",), suffix=".flac")
    track = load_track(tmp_path / "雨天 #1.flac")
    assert (track.name, track.stems, track.split) == ("雨天 #1", (), None)


def test_stem_mp4(tmp_path: Path) -> None:
    path = write_stem_mp4(tmp_path / "A & B - Söng #1.stem.mp4")
    track = load_track(path)
    assert track.name == "A & B - Söng #1"
    assert track.stems == STEMS
    assert [file.stream for file in track.files] == [0, 4, 1, 2, 3]
    heard = {stem: strongest_hz(track.stem(stem), 44100) for stem in STEMS}
    expected = {"vocals": 1000, "drums": 400, "bass": 600, "other": 800}
    assert heard == pytest.approx(expected, abs=2)
    assert strongest_hz(track.mixture(), 44100) == pytest.approx(200, abs=2)
    part = track.stem("bass", 0.25, 0.5)
    torch.testing.assert_close(part, track.stem("bass")[:, 11025:33075])


def test_stem_mp4_with_too_few_streams(tmp_path: Path) -> None:
    path = tmp_path / "train" / "song.stem.mp4"
    write_stem_mp4(path)
    with av.open(str(path)) as source, av.open(str(path) + "2", "w", "mp4") as copy:
        stream = copy.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    Path(str(path) + "2").replace(path)
    with pytest.raises(
        DatasetError, match=r"1 song that cannot be read\..*\s+- .*stream"
    ):
        load_dataset(tmp_path)


def test_missing_path_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        load_track(tmp_path / "nowhere")
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(DatasetError, match=r"no audio files, but readme\.txt"):
        load_track(tmp_path)


def test_two_files_for_one_stem(tmp_path: Path) -> None:
    write_song(tmp_path, ("bass",))
    write_song(tmp_path, ("bass",), suffix=".flac")
    with pytest.raises(DatasetError, match=r"bass\.flac, bass\.wav"):
        load_track(tmp_path)


def test_all_unlike_stems_are_listed(tmp_path: Path) -> None:
    song = write_song(tmp_path / "song")
    write_song(song, ("bass",), n_samples=799)
    write_song(song, ("drums",), channels=1)
    with pytest.raises(DatasetError, match="most stems have 800 samples") as error:
        load_track(song)
    assert "drums has 800 samples at 8000 Hz × 1" in str(error.value)
    assert "bass has 799 samples at 8000 Hz × 2" in str(error.value)


# Faults


def test_no_songs_tells_what_lies_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="an empty folder"):
        load_dataset(tmp_path)
    for index in range(7):
        (tmp_path / f"file{index}.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"file4\.txt and 2 more"):
        load_dataset(tmp_path)
    for layout in LAYOUTS:
        with pytest.raises(DatasetError, match=f"- {layout.name}: "):
            load_dataset(tmp_path)


def test_no_songs_suggests_the_nearest_folder(tmp_path: Path) -> None:
    write_song(tmp_path / "downloads" / "musdb" / "train" / "song")
    with pytest.raises(DatasetError, match=r"Did you mean .*downloads.musdb\?"):
        load_dataset(tmp_path)


def test_one_song_is_no_data_set(tmp_path: Path) -> None:
    write_song(tmp_path)
    with pytest.raises(DatasetError, match="use load_track"):
        load_dataset(tmp_path)


def test_every_faulty_song_is_listed(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "good")
    write_song(write_song(tmp_path / "train" / "short"), ("bass",), n_samples=10)
    write_song(write_song(tmp_path / "train" / "fast"), ("bass",), rate=16000)
    (tmp_path / "train" / "empty").mkdir()
    broken = write_song(tmp_path / "train" / "broken")
    (broken / "bass.wav").write_bytes(b"no audio")
    with pytest.raises(DatasetError, match="4 songs that cannot be read") as error:
        load_dataset(tmp_path)
    for name in ("short", "fast", "empty", "broken"):
        assert f"{os.sep}{name}" in str(error.value)
    assert "good" not in str(error.value)


def test_songs_of_another_format_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_song(tmp_path / name)
    write_song(tmp_path / "odd 1", rate=16000)
    write_song(tmp_path / "odd 2", channels=1)
    with pytest.raises(
        DatasetError, match=r"2 songs in another format .* 8000 Hz × 2 channels"
    ) as error:
        load_dataset(tmp_path)
    assert "odd 1 has 16000 Hz × 2 channels" in str(error.value)
    assert "odd 2 has 8000 Hz × 1 channel" in str(error.value)


@pytest.fixture
def gaps(tmp_path: Path) -> Path:
    """A data set where one song has no bass and one lies there without stems."""
    write_song(tmp_path / "train" / "full")
    write_song(tmp_path / "train" / "no bass", ("vocals", "drums", "other"))
    return tmp_path


def test_missing_stem_is_an_error(gaps: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"on_missing=.*\s+- train/no bass lacks bass$"
    ):
        load_dataset(gaps)
    assert len(load_dataset(gaps, stems=("vocals", "other"))) == 2


def test_missing_stem_as_silence(gaps: Path) -> None:
    track = load_dataset(gaps, on_missing="silence")[1]
    assert (track.stems, track.silent) == (STEMS, ("bass",))
    for whole in (track, track.in_memory(), track.with_stems(["bass", "vocals"])):
        assert whole.stem("bass", 0.05).shape == (2, 400)
        assert whole.stem("bass").abs().max() == 0
        torch.testing.assert_close(whole.mixture(), track.mixture())
    assert track.mixture()[0, 0] == pytest.approx(0.06, abs=1e-3)


def test_missing_stem_skips_with_a_warning(gaps: Path) -> None:
    with pytest.warns(UserWarning, match="1 of 2 songs left out: train/no bass lacks"):
        tracks = load_dataset(gaps, on_missing="skip")
    assert [track.name for track in tracks] == ["full"]


def test_skipping_all_is_an_error(gaps: Path) -> None:
    write_song(gaps / "train" / "full").joinpath("drums.wav").unlink()
    with pytest.raises(DatasetError, match=r"2 songs without all .*"):
        load_dataset(gaps, on_missing="skip")


def test_lone_mixture_is_not_silence(gaps: Path) -> None:
    write_song(gaps / "train", ("loose",))
    with pytest.raises(DatasetError, match="loose lacks vocals, drums, bass, other"):
        load_dataset(gaps, on_missing="silence")


def test_unknown_policy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="on_missing"):
        load_dataset(tmp_path, on_missing="ignore")


def test_song_in_two_splits(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "Ünder")
    write_song(tmp_path / "test" / unicodedata.normalize("NFD", "ünder"))
    with pytest.raises(DatasetError, match="1 song in two places"):
        load_dataset(tmp_path, "train")


def test_songs_beside_the_splits(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "song")
    write_song(tmp_path / "validation" / "another")
    write_song(tmp_path / "a song")
    (tmp_path / "docs").mkdir()
    with pytest.raises(
        DatasetError, match=r"2 songs beside the splits\. .*\s+- a song\s+- validation$"
    ):
        load_dataset(tmp_path)


# Names, lengths and groups


@pytest.mark.parametrize("name", ["mix", "Mixture", "MIX", "mixdown", "MixDown"])
def test_a_mixture_is_known_by_its_names(tmp_path: Path, name: str) -> None:
    song = write_song(tmp_path / "song", (*STEMS, name))
    track = load_track(song)
    assert track.stems == STEMS
    assert not track.mixture_is_sum
    assert track.mixture()[0, 0] == pytest.approx(0.05, abs=1e-3)


def test_two_mixtures_are_one_too_many(tmp_path: Path) -> None:
    write_song(tmp_path / "song", (*STEMS, "mix", "mixture"))
    with pytest.raises(DatasetError, match=r"mix\.wav, mixture\.wav"):
        load_track(tmp_path / "song")


@pytest.fixture
def unequal(tmp_path: Path) -> Path:
    """Seven songs whose stems differ in length."""
    for number in range(7):
        folder = write_song(tmp_path / "train" / f"song {number}", ("dizi",))
        write_song(folder, ("pipa",), n_samples=600)
    return tmp_path


def test_unequal_lengths_are_counted_and_the_first_are_listed(unequal: Path) -> None:
    with pytest.raises(DatasetError, match="7 songs that cannot be read") as caught:
        load_dataset(unequal)
    text = str(caught.value)
    assert "--on-length pad or cut" in text
    assert "song 4" in text
    assert "song 5" not in text
    assert "and 2 more" in text


@pytest.mark.parametrize("in_memory", [False, True])
def test_unequal_lengths_are_padded_or_cut(unequal: Path, in_memory: bool) -> None:
    for policy, length in (("pad", 800), ("cut", 600)):
        track = load_dataset(unequal, on_length=policy)[0]
        track = track.in_memory() if in_memory else track
        assert track.n_samples == length
        sources = track.sources()
        assert sources.shape == (2, 2, length)
        assert sources[1, 0, 599] != 0
        assert not sources[1, :, 600:].any()
        assert (sources[0] != 0).all()
        # Past the end of the shorter file there is silence, in every read
        assert torch.equal(track.stem("pipa", 0.05), sources[1, :, 400:])
        torch.testing.assert_close(track.mixture(), sources.sum(0))


def test_padding_is_no_way_to_join_sample_rates(unequal: Path) -> None:
    write_song(unequal / "train" / "song 0", ("erhu",), rate=2 * RATE)
    with pytest.raises(DatasetError, match=rf"data check .* --resample {RATE}\."):
        load_dataset(unequal, on_length="pad")


def test_the_command_for_songs_of_other_formats_does_it(tmp_path: Path) -> None:
    """The error said "Convert them", and no command could."""
    songs, out = tmp_path / "songs", tmp_path / "out"
    for name, rate, channels in (("a", RATE, 2), ("b", RATE, 2), ("c", 2 * RATE, 1)):
        write_song(songs / name, ("dizi",), rate=rate, channels=channels)
    with pytest.raises(DatasetError, match="1 song in another format") as caught:
        load_dataset(songs)
    command = str(caught.value).split("mssedu ")[1].partition(".\n")[0]
    assert command == f"data check SONGS --fix OUT --resample {RATE} --channels 2"
    words = command.replace("SONGS", str(songs)).replace("OUT", str(out)).split()
    assert main(words) == 1  # there are faults in the original
    assert {(t.sample_rate, t.channels) for t in load_dataset(out)} == {(RATE, 2)}


def test_unknown_policy_for_lengths(unequal: Path) -> None:
    for load in (load_dataset, load_track):
        with pytest.raises(InputError, match="on_length 'pads'"):
            load(unequal, on_length="pads")


def test_stems_may_be_groups(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "song")
    wanted = ("rhythm=drums+bass", "instrumental=-vocals")
    for stems, levels in (
        (wanted[:1], [0.05]),
        (wanted[1:], [0.09]),
        (("no_drums", "drums"), [0.08, 0.02]),
        (("vocals", "accompaniment"), [0.01, 0.09]),
    ):
        (track,) = load_dataset(tmp_path, stems=stems)
        found = track.sources()[:, 0, 0].tolist()
        assert found == pytest.approx(levels, abs=1e-3)
        assert track.mixture()[0, 0] == pytest.approx(0.1, abs=1e-3)


def test_a_song_without_a_part_of_a_group_is_named(gaps: Path) -> None:
    for stems in (["rhythm=drums+bass"], ["no_bass"]):
        with pytest.raises(DatasetError, match="no bass lacks bass"):
            load_dataset(gaps, stems=stems)
        filled = load_dataset(gaps, stems=stems, on_missing="silence")
        assert len(filled) == 2


def test_only_what_is_asked_for_must_be_in_every_song(gaps: Path) -> None:
    tracks = load_dataset(gaps, stems=["vocals"])
    assert [track.unselected for track in tracks] == [
        ("drums", "bass", "other"),
        ("drums", "other"),
    ]


def test_progress_counts_the_headers_that_are_not_known(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_song(tmp_path / name)
    seen = []
    load_dataset(tmp_path, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(number, 8) for number in range(1, 9)]


# What stands for an audio file


def test_every_kind_of_audio_file_is_a_stem(tmp_path: Path) -> None:
    """A stem in another container is read, or it is an error; it never disappears."""
    song = write_song(tmp_path / "train" / "song", ("vocals",))
    for suffix, format_name in ((".w64", "W64"), (".au", "AU"), (".caf", "CAF")):
        audio = np.full((800, 2), 0.5, np.float32)
        sf.write(song / f"stem{suffix[1:]}{suffix}", audio, RATE, format=format_name)
    (track,) = load_dataset(tmp_path)
    assert track.stems == ("vocals", "stemau", "stemcaf", "stemw64")
    assert track.mixture()[0, 0] == pytest.approx(1.51, abs=1e-2)
    (song / "bass.ape").write_bytes(b"no sound" * 40)
    with pytest.raises(DatasetError, match=r"bass\.ape cannot be read as audio"):
        load_dataset(tmp_path)


def test_a_link_without_a_target_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        song = write_song(tmp_path / "train" / name)
        (song / "bass.wav").unlink()
        (song / "bass.wav").symlink_to("../../.git/annex/objects/X")
    (tmp_path / "train" / "c").symlink_to("elsewhere")
    (tmp_path / "train" / "d.stem.mp4").symlink_to("elsewhere.mp4")
    with pytest.raises(DatasetError, match="4 songs that cannot be read") as caught:
        load_dataset(tmp_path)
    text = str(caught.value)
    for name in ("a/bass.wav", "b/bass.wav", "c", "d.stem.mp4"):
        assert f"{name} is a link to" in text
    assert "git annex get" in text
    with pytest.raises(DatasetError, match=r"objects/X, which is not there"):
        load_track(tmp_path / "train" / "a")


def test_a_folder_behind_a_link_without_a_target_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").symlink_to("not mounted")
    with pytest.raises(DatasetError, match=r"train is a link to not mounted, which is"):
        load_dataset(tmp_path)
    write_song(tmp_path / "test" / "song")
    with pytest.raises(
        DatasetError, match=r"1 song missing.*\s+- .*train is a link to"
    ):
        load_dataset(tmp_path, "test")
    sources = tmp_path / "sources"
    write_song(sources / "dizi", ("1",))
    (sources / "pipa.dvc").write_text("outs:")
    with pytest.raises(DatasetError, match=r"pipa is not fetched yet.* dvc pull"):
        load_dataset(sources)


@pytest.mark.parametrize(
    ("name", "content", "command"),
    [
        ("bass.wav", "version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("bass.wav", "/annex/objects/SHA256E-s1--x.wav", "git annex get"),
        ("bass.wav.dvc", "outs:", "dvc pull"),
    ],
)
def test_a_file_that_was_not_fetched(
    tmp_path: Path, name: str, content: str, command: str
) -> None:
    song = write_song(tmp_path, ("vocals", "drums"))
    (song / name).write_text(content)
    with pytest.raises(DatasetError, match=f"bass.wav is not fetched yet.*{command}"):
        load_track(song)
    write_song(song, ("bass",))  # a .dvc file beside its file says nothing
    assert load_track(song).stems == ("vocals", "drums", "bass")


def test_a_folder_with_the_name_of_a_file(tmp_path: Path) -> None:
    song = write_song(tmp_path / "song", ("vocals",))
    write_song(song / "bass.wav", ("bass",))
    with pytest.raises(DatasetError, match=r"bass\.wav is a folder with the name of"):
        load_track(song)
    write_song(tmp_path / "sources" / "dizi" / "1.wav", ("x",))
    write_song(tmp_path / "sources" / "dizi", ("2",))
    with pytest.raises(DatasetError, match=r"dizi.1\.wav is a folder with the name of"):
        load_dataset(tmp_path / "sources")


def test_hidden_files_and_litter_are_left_out(tmp_path: Path) -> None:
    song = write_song(tmp_path / "train" / "song", ("vocals", "drums"))
    for name in ("._bass.wav", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (song / name).write_bytes(b"litter")
    for name in ("__MACOSX", "@eaDir", ".git", ".dvc"):
        write_song(tmp_path / "train" / name, ("bass",))
        write_song(song / name, ("bass",))
    (track,) = load_dataset(tmp_path)
    assert track.stems == ("vocals", "drums")


# What is given in place of a data set


def test_a_file_is_no_data_set(tmp_path: Path) -> None:
    write_song(tmp_path, ("song",))
    with pytest.raises(DatasetError, match=r"song\.wav is a file\. This is one song"):
        load_dataset(tmp_path / "song.wav")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"notes\.txt is a file\. Give the folder"):
        load_dataset(tmp_path / "notes.txt")


def test_nan_in_a_file_names_song_stem_and_second(tmp_path: Path) -> None:
    audio = np.zeros((8000, 2), np.float32)
    audio[6000:6010, 1] = np.nan
    song = write_song(tmp_path / "My Song", ("vocals",), n_samples=8000)
    sf.write(song / "bass.wav", audio, RATE, "FLOAT")
    track = load_track(song)
    assert not track.stem("bass", 0.0, 0.5).any()
    text = r"'My Song', bass \(.*bass\.wav\): NaN or Inf in 10 samples.*6000 \(0\.750 s"
    for read in (track.mixture, track.in_memory, lambda: track.stem("bass", 0.5)):
        with pytest.raises(InputError, match=text):
            read()


# Absent stems


def test_absent_stems_are_no_silence(gaps: Path) -> None:
    with pytest.warns(UserWarning, match="absent in 1 of 2 songs: bass in 1"):
        full, track = load_dataset(gaps, on_missing="absent")
    assert (full.absent, track.absent, track.silent) == ((), ("bass",), ())
    assert track.stems == STEMS
    for whole in (track, track.in_memory(), track.with_stems(["bass", "vocals"])):
        assert not whole.sources()[whole.stems.index("bass")].any()
        assert "bass" not in whole.present
        torch.testing.assert_close(whole.mixture(), track.mixture())
        with pytest.raises(InputError, match="the stem 'bass' is absent"):
            whole.stem("bass")
    assert "bass (absent)" in repr(track)


def test_sums_with_an_absent_stem_are_absent(gaps: Path) -> None:
    stems = ["rhythm=drums+bass", "vocals"]
    with pytest.warns(UserWarning, match="rhythm in 1$"):
        full, track = load_dataset(gaps, stems=stems, on_missing="absent")
    assert full.present == ("rhythm", "vocals")
    assert (track.present, track.unselected) == (("vocals",), ("drums", "other"))


def test_a_lone_mixture_is_not_absence(gaps: Path) -> None:
    write_song(gaps / "train", ("loose",))
    with pytest.raises(DatasetError, match="loose lacks vocals, drums, bass, other"):
        load_dataset(gaps, on_missing="absent")


def test_recordings_of_single_stems_by_other_policies(tmp_path: Path) -> None:
    for stem in ("dizi", "pipa"):
        write_song(tmp_path / stem, ("1", "2"))
    assert load_dataset(tmp_path, on_missing="silence")[0].silent == ("pipa",)
    with pytest.warns(UserWarning, match="absent in 4 of 4 songs: pipa in 2, d"):
        load_dataset(tmp_path, on_missing="absent")
    with pytest.raises(DatasetError, match="4 songs without all of the stems"):
        load_dataset(tmp_path, on_missing="skip")
    selected = load_dataset(tmp_path, stems=["dizi"])
    assert [track.absent for track in selected] == [(), (), ("dizi",), ("dizi",)]
    assert selected[2].unselected == ("pipa",)
    assert absent_counts(selected) == {"dizi": 2}


def test_single_recordings_are_mixed_by_training(tmp_path: Path) -> None:
    """Each mixture has one recording of each stem: constants of 0.01 and 0.02."""
    write_song(tmp_path / "dizi", ("1",))
    write_song(tmp_path / "pipa", ("silent", "2"))
    (tmp_path / "pipa" / "silent.wav").unlink()
    tracks = load_dataset(tmp_path)
    quiet = {"gain_db": None, "sign_flip": 0.0, "seed": 0}
    for segment in RandomSegments(tracks, ("dizi", "pipa"), 0.05, 5, **quiet):
        assert segment.present.all()
        levels = segment.sources[:, 0, 0].tolist()
        assert levels == pytest.approx([0.01, 0.02], abs=1e-3)


# Any tree

NAMES = st.sampled_from(
    [
        "train",
        "Test",
        "valid",
        "vocals",
        "dizi",
        "song_0",
        "song_1",
        "mix",
        "1.1",
        "ű 雨",
    ]
)
FILES = st.sampled_from(
    [
        "vocals.wav",
        "mix.wav",
        "1.1.wav",
        "2.wav",
        "a_0.wav",
        "a_1.wav",
        "x.txt",
        ".y.wav",
    ]
)
TREES = st.recursive(
    st.just({}),
    lambda below: st.dictionaries(NAMES, below, max_size=3),
    max_leaves=8,
)


def fill(folder: Path, tree: dict, data: st.DataObject, sound: bytes) -> None:
    for name in data.draw(st.sets(FILES, max_size=3)):
        (folder / name).write_bytes(sound)
    for name, below in tree.items():
        (folder / name).mkdir()
        fill(folder / name, below, data, sound)


@settings(max_examples=40, deadline=None)
@given(tree=TREES, data=st.data())
def test_any_tree_gives_songs_or_an_error(tree: dict, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        sound = write_song(Path(folder), ("sound",), n_samples=4) / "sound.wav"
        root.mkdir()
        fill(root, tree, data, sound.read_bytes())
        try:
            layout, songs = find_songs(root)
        except DatasetError as error:
            text = str(error)
            assert str(root) in text
            return
        assert songs
        for row in LAYOUTS[: LAYOUTS.index(layout)]:
            found = row.find(root)
            assert isinstance(found, str) or row.doubt(found)
        assert backwards(root) == (layout, songs)
        with warnings.catch_warnings(), suppress(DatasetError):
            warnings.simplefilter("ignore")
            tracks = load_dataset(root, on_missing="absent")
            assert sorted(track.name for track in tracks) == sorted(
                s.name for s in songs
            )


def backwards(root: Path) -> tuple[Layout, list[Song]]:
    """What is found if the system lists folders in the opposite order."""
    iterdir = Path.iterdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda self: iter(sorted(iterdir(self))[::-1]))
        return find_songs(root)


WORDS = st.sampled_from(["stems", "tracks", "stemName", "inst_class", "id", "S00", "a"])
DOCUMENTS = st.recursive(
    st.none() | st.integers() | WORDS,
    lambda below: (
        st.lists(below, max_size=2) | st.dictionaries(WORDS, below, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["a/data.json", "Track1/metadata.yaml", "x.csv"]),
    content=st.binary(max_size=20) | DOCUMENTS.map(lambda d: json.dumps(d).encode()),
    begin=st.sampled_from([b"", b"instrument,path\n", b"mix_path;vocals_path\n"]),
)
def test_any_index_gives_songs_or_an_error(name: str, content: bytes, begin: bytes):
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / name
        index.parent.mkdir(exist_ok=True)
        index.write_bytes(begin + content if name == "x.csv" else content)
        with pytest.raises(DatasetError):
            load_dataset(folder)
