"""Layouts: every tree that is recognized, and every fault that must be named."""

import hashlib
import os
import unicodedata
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
import torch

from mssedu.data import layouts
from mssedu.data.layouts import (
    LAYOUTS,
    MUSDB_VALID,
    STEM_MP4_STREAMS,
    STEMS,
    Layout,
    Song,
    demo_data,
    load_dataset,
    load_track,
)
from mssedu.data.track import StemFile
from mssedu.errors import DatasetError, InputError

RATE = 8000


def write_song(
    folder: Path,
    stems=STEMS,
    *,
    suffix: str = ".wav",
    n_samples: int = 800,
    rate: int = RATE,
    channels: int = 2,
) -> Path:
    """A song whose stems are constants 0.01, 0.02, … in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, stem in enumerate(stems, start=1):
        audio = np.full((n_samples, channels), level / 100, np.float32)
        sf.write(folder / f"{stem}{suffix}", audio, rate)
    return folder


def write_stem_mp4(path: Path, seconds: float = 1.0) -> Path:
    """Five AAC streams as in MUSDB18; stream k carries a sine of 200 · (k + 1) Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = 44100
    time = np.arange(round(seconds * rate)) / rate
    with av.open(str(path), "w", format="mp4") as container:
        streams = [
            container.add_stream("aac", rate=rate, layout="stereo")
            for _ in STEM_MP4_STREAMS
        ]
        for index, stream in enumerate(streams):
            sine = 0.2 * np.sin(2 * np.pi * 200 * (index + 1) * time)
            audio = np.tile(sine.astype(np.float32), (2, 1))
            frame = av.AudioFrame.from_ndarray(audio, "fltp", "stereo")
            frame.sample_rate = rate
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
    return path


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
    monkeypatch.setattr("mssedu.data.layouts.__file__", str(tmp_path / "a/b/c.py"))
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


# Many songs


def test_flat_folder_of_songs(tmp_path: Path) -> None:
    for name in ("b song", "#a", "絆 ű"):
        write_song(tmp_path / name, ("dizi", "yangqin", "pipa", "other"))
    tracks = load_dataset(tmp_path)
    assert [track.name for track in tracks] == ["#a", "b song", "絆 ű"]
    assert tracks[0].stems == ("other", "dizi", "pipa", "yangqin")
    assert tracks[0].split is None
    with pytest.raises(DatasetError, match="no split 'train', but no splits"):
        load_dataset(tmp_path, "train")


def test_stems_are_selected_and_ordered(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "song")
    (track,) = load_dataset(tmp_path, stems=("bass", "vocals"))
    assert track.stems == ("bass", "vocals")
    assert track.mixture()[0, 0] == pytest.approx(0.1, abs=1e-3)  # all four
    with pytest.raises(InputError, match="Did you mean 'vocals'"):
        load_dataset(tmp_path, stems=("vocal",))


def test_hq_folders_without_valid_use_the_customary_songs(tmp_path: Path) -> None:
    assert len(MUSDB_VALID) == 14
    for name in ("Music Delta - Rock", "ANiMAL - Rockshow"):
        write_song(tmp_path / "train" / name, ("mixture", *STEMS))
    write_song(tmp_path / "test" / "Test Song", ("mixture", *STEMS))
    assert [t.name for t in load_dataset(tmp_path, "train")] == ["Music Delta - Rock"]
    assert [t.name for t in load_dataset(tmp_path, "valid")] == ["ANiMAL - Rockshow"]
    splits = [track.split for track in load_dataset(tmp_path)]
    assert splits == ["train", "valid", "test"]


def test_valid_folder_outranks_the_custom(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "ANiMAL - Rockshow")
    write_song(tmp_path / "valid" / "mine")
    names = [track.name for track in load_dataset(tmp_path, "train")]
    assert names == ["ANiMAL - Rockshow"]


def test_musdb_tree(tmp_path: Path) -> None:
    write_stem_mp4(tmp_path / "train" / "Leaf - Summerghost.stem.mp4", 0.2)
    write_stem_mp4(tmp_path / "test" / "Test Song.stem.mp4", 0.2)
    valid, test = load_dataset(tmp_path)
    assert (valid.name, valid.split) == ("Leaf - Summerghost", "valid")
    assert (test.name, test.split) == ("Test Song", "test")


def test_a_new_layout_is_one_function_and_one_row(tmp_path: Path, monkeypatch) -> None:
    """A folder for each stem with a file for each song, as some training tools want."""

    def by_stem(root: Path) -> list[Song] | None:
        folders = [folder for folder in sorted(root.glob("*")) if folder.is_dir()]
        if "vocals" not in {folder.name for folder in folders}:
            return None
        files: dict[str, list[StemFile]] = {}
        for path in (path for folder in folders for path in sorted(folder.iterdir())):
            files.setdefault(path.name, []).append(StemFile(path.parent.name, path))
        return [Song(root / name, files=tuple(files[name])) for name in files]

    row = Layout("by stem", "ROOT/STEM/SONG.wav", by_stem)
    monkeypatch.setattr(layouts, "LAYOUTS", (row, *LAYOUTS))
    for stem in ("vocals", "other"):
        write_song(tmp_path / stem, ("song 1", "song 2"))
    tracks = load_dataset(tmp_path)
    assert [track.name for track in tracks] == ["song 1", "song 2"]
    assert {track.stems for track in tracks} == {("vocals", "other")}
    assert tracks[1].mixture()[0, 0] == pytest.approx(0.04, abs=1e-3)


def test_local_musdb() -> None:
    """All of a MUSDB18 folder opens, its splits apart and its songs in order."""
    folder = os.environ.get("MSSEDU_MUSDB")
    if not folder:
        pytest.skip("set MSSEDU_MUSDB to a MUSDB18 folder to test with it")
    tracks = load_dataset(folder)
    assert {track.name for track in tracks if track.split == "valid"} == MUSDB_VALID
    assert {track.stems for track in tracks} == {STEMS}
    assert {track.sample_rate for track in tracks} == {44100}
    mixture = tracks[0].mixture()
    residual = mixture - tracks[0].sources().sum(0)
    # AAC breaks the sum by some -30 dB, a wrong order of streams by far more.
    assert residual.square().sum() < 0.1 * mixture.square().sum()


@pytest.mark.parametrize("split", ["validation", "training", ""])
def test_unknown_split(tmp_path: Path, split: str) -> None:
    with pytest.raises(InputError, match="unknown split"):
        load_dataset(tmp_path, split)


def test_absent_split_names_the_others(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "song")
    with pytest.raises(DatasetError, match=r"no split 'valid', but train\."):
        load_dataset(tmp_path, "valid")


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
    assert "odd 2 has 8000 Hz × 1 channels" in str(error.value)


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
    with pytest.raises(DatasetError, match="one sample rate"):
        load_dataset(unequal, on_length="pad")


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
