"""Layouts: every tree that is recognized, and why another one is not."""

import json
import os
from pathlib import Path

import pytest

from mssedu.data import layouts
from mssedu.data.finding import describe_songs, find_songs, split_songs
from mssedu.data.folders import Song
from mssedu.data.layouts import LAYOUTS, MUSDB_VALID, STEMS, Layout
from mssedu.data.loading import load_dataset, load_track
from mssedu.data.track import StemFile
from mssedu.errors import DatasetError, InputError
from tests.data.trees import RATE, write_song, write_stem_mp4

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

    def by_stem(root: Path) -> list[Song] | str:
        folders = [folder for folder in sorted(root.glob("*")) if folder.is_dir()]
        if "vocals" not in {folder.name for folder in folders}:
            return "there is no folder vocals"
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


def musdb_folders() -> list[Path]:
    """The MUSDB18 that a variable names, and the preview beside the repository."""
    named = os.environ.get("MSSEDU_MUSDB")
    beside = Path(__file__).resolve().parents[3] / "shared/data/musdb18-7s"
    return [*([Path(named)] if named else []), *([beside] if beside.is_dir() else [])]


@pytest.mark.skipif(not musdb_folders(), reason="MSSEDU_MUSDB names no MUSDB18")
def test_real_musdb18() -> None:
    """A MUSDB18 folder is recognized; its splits apart and its songs in order."""
    folder = musdb_folders()[0]
    layout, songs = find_songs(folder)
    assert layout.name in ("musdb18", "musdb18-7s", "musdb18-hq")
    assert {song.name for song in songs if song.split == "valid"} <= MUSDB_VALID
    assert "valid in the folder train" in describe_songs(layout, songs)
    track = load_track(songs[0].path)
    assert track.stems == STEMS
    assert track.sample_rate == 44100
    mixture = track.mixture()
    residual = mixture - track.sources().sum(0)
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


# Each layout, as its data set or tool has it


def songs_of(root: Path, layout: str, split: str | None = None) -> dict[str, Song]:
    """The songs of a data set, which must be recognized as this layout."""
    row, songs = find_songs(root)
    assert row.name == layout
    return {song.name: song for song in songs if split in (None, song.split)}


def stems_of(song: Song) -> list[str]:
    return [file.stem for file in song.files]


def test_musdb18_and_its_preview(tmp_path: Path, monkeypatch) -> None:
    write_stem_mp4(tmp_path / "train" / "Leaf - Summerghost.stem.mp4", 0.1)
    write_stem_mp4(tmp_path / "test" / "Test Song.stem.mp4", 0.1)
    songs = songs_of(tmp_path, "musdb18-7s")
    assert songs["Leaf - Summerghost"].split == "valid"
    monkeypatch.setattr(layouts, "PREVIEW_BYTES", 10)
    assert songs_of(tmp_path, "musdb18") == songs
    write_song(tmp_path / "train" / "a folder")
    reason = LAYOUT["musdb18"].find(tmp_path)
    assert reason == "a folder is no .stem.mp4"
    assert len(songs_of(tmp_path, "splits")) == 3


def test_musdb18_hq(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_song(tmp_path / split / f"a {split} song", ("mixture", *STEMS))
    assert len(songs_of(tmp_path, "musdb18-hq")) == 2
    (tmp_path / "valid").mkdir()
    assert LAYOUT["musdb18-hq"].find(tmp_path) == "there is a folder valid"
    (tmp_path / "valid").rmdir()
    (tmp_path / "test" / "a test song" / "mixture.wav").unlink()
    assert "does not consist of mixture" in str(LAYOUT["musdb18-hq"].find(tmp_path))


LAYOUT = {row.name: row for row in LAYOUTS}


@pytest.mark.parametrize("split", [None, "train"])
def test_a_mixture_with_one_stem(tmp_path: Path, split: str | None) -> None:
    """Open-Unmix calls it aligned: input and output of one model."""
    root = tmp_path / "data"
    for name in ("01", "02"):
        write_song(root / (split or "") / name, ("dizi", "mixture"))
    songs_of(root, "aligned")
    track = load_dataset(root, split)[0]
    assert track.stems == ("dizi",)
    assert track.unselected == ("rest of the mixture",)
    rest = track.stem("rest of the mixture")
    assert rest[0, 0] == pytest.approx(0.01, abs=1e-3)
    write_song(root / (split or "") / "03", ("pipa", "mixture"))
    assert "03 has another stem than 01" in str(LAYOUT["aligned"].find(root))


@pytest.mark.parametrize(
    "names",
    [
        {"vocals": ("track11", "a"), "drums": ("track202",), "bass": ("track007a",)},
        {"kazoo": ("kazoo_1", "kazoo_2"), "theremin": ("theremin_1",)},
        {"kazoo": ("1", "2"), "theremin": ("1", "2", "3")},
        {"dizi": ("moon", "rain"), "an unknown one": ("sun",), "other": ("x", "y")},
    ],
)
@pytest.mark.parametrize("split", [None, "train"])
def test_a_folder_for_each_stem(tmp_path: Path, names, split: str | None) -> None:
    """Open-Unmix calls it source folder, MSST type 2: recordings of single stems."""
    root = tmp_path / "data"
    for stem, files in names.items():
        write_song(root / (split or "") / stem, files)
    songs = songs_of(root, "source-folders")
    first, *_ = names
    assert stems_of(songs[f"{first} {names[first][0]}"]) == [first]
    tracks = load_dataset(root, split)  # no warning: nothing else can be there
    assert {frozenset(track.stems) for track in tracks} == {frozenset(names)}
    assert {len(track.present) for track in tracks} == {1}
    assert len(tracks) == sum(map(len, names.values()))
    row, found = find_songs(root)
    assert f"{first} {len(names[first])}" in describe_songs(row, found)


def test_each_split_may_number_its_recordings(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_song(tmp_path / split / "dizi", ("1", "2"))
    names = {*songs_of(tmp_path, "source-folders")}
    assert names == {
        "dizi 1 (train)",
        "dizi 2 (train)",
        "dizi 1 (valid)",
        "dizi 2 (valid)",
    }


@pytest.mark.parametrize(
    "names",
    [
        {"vocals": ("bass", "drums"), "Piano": ("bass", "drums")},  # titles of songs
        {"one": ("accordion", "vocals"), "two": ("marimba", "vocals")},
        {"dizi": ("a", "mixture"), "pipa": ("b", "mixture")},
        {"one": ("foo", "bar"), "two": ("foo", "bar")},
    ],
)
def test_folders_of_songs_are_no_folders_of_stems(tmp_path: Path, names) -> None:
    for song, stems in names.items():
        write_song(tmp_path / song, stems)
    assert find_songs(tmp_path)[0].name == "songs"
    forced, songs = find_songs(tmp_path, "source-folders")
    assert forced.name == "source-folders"
    assert len(songs) == 4


def test_fixed_and_variable_track_folders(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "1", ("vocals", "drums", "bass"))
    write_song(tmp_path / "train" / "2", ("vocals", "drums", "bass"))
    assert [t.stems for t in load_dataset(tmp_path)] == [
        ("vocals", "drums", "bass")
    ] * 2
    write_song(tmp_path / "train" / "3", ("vocals", "accordion", "marimba", "drums"))
    tracks = load_dataset(tmp_path, layout="variable")
    assert {track.stems for track in tracks} == {("vocals", "drums", "interferers")}
    third = tracks[2]
    assert third.stem("interferers")[0, 0] == pytest.approx(0.05, abs=1e-3)
    assert third.mixture()[0, 0] == pytest.approx(0.10, abs=1e-3)
    # What they are used for: a model of the target, and all else in the mixture
    (target,) = {track.stems for track in load_dataset(tmp_path, stems=["vocals"])}
    assert target == ("vocals",)
    write_song(tmp_path / "train" / "4", ("erhu",))
    with pytest.raises(DatasetError, match="variable: there is no stem that every"):
        load_dataset(tmp_path, layout="variable")


SPLEETER = """mix_path,vocals_path,drums_path,duration
train/Song A/mixture.wav,train/Song A/vocals.wav,train/Song A/drums.wav,0.1
mixes/Song B.wav,vocals/Song B.wav,,0.1
"""


@pytest.mark.parametrize("place", ["index_train.csv", "configs/musdb_train.csv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_index_of_spleeter(tmp_path: Path, place: str, delimiter: str) -> None:
    write_song(tmp_path / "train" / "Song A", ("mixture", "vocals", "drums"))
    write_song(tmp_path / "mixes", ("Song B",))
    write_song(tmp_path / "vocals", ("Song B",))
    index = tmp_path / place
    index.parent.mkdir(exist_ok=True)
    index.write_text(SPLEETER.replace(",", delimiter), encoding="utf-8-sig")
    songs = songs_of(index, "spleeter-csv", "train")
    assert stems_of(songs["Song A"]) == ["mixture", "vocals", "drums"]
    assert stems_of(songs["Song B"]) == ["mixture", "vocals"]
    assert songs_of(index.parent, "spleeter-csv") == songs
    a, b = load_dataset(index, stems=["vocals"])
    assert not a.mixture_is_sum
    assert b.unselected == ("rest of the mixture",)
    with pytest.raises(DatasetError, match="Song B lacks drums"):
        load_dataset(index)


def test_a_list_of_recordings(tmp_path: Path) -> None:
    """MSST calls it type 3."""
    write_song(tmp_path / "one", ("a", "b"))
    write_song(tmp_path / "two", ("a",))
    lines = ["Instrum,Path", "dizi,one/a.wav", f"pipa,{tmp_path / 'one/b.wav'}"]
    index = tmp_path / "my_valid.csv"
    index.write_text("\n".join([*lines, "dizi,two/a.wav"]))
    songs = songs_of(index, "recordings-csv", "valid")
    assert [*songs] == ["dizi a (one)", "pipa b", "dizi a (two)"]
    assert {track.absent for track in load_dataset(index)} == {("pipa",), ("dizi",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mix_path,vocals_path", "lists no songs"),
        ("mix_path,vocals_path\na.wav,b.wav,c.wav", "2 columns, and the line a.wav"),
        ("instrum,path\n,a.wav", "line without instrum or path"),
        ("mix_path\n\udcff", "cannot be read.*UTF-8"),
        ("mix_path,vocals_path\nmix.wav,gone.wav", "gone.wav does not exist"),
        ("name,where\na,b", "spleeter-csv: .*no CSV file with the column mix_path"),
    ],
)
def test_a_list_with_a_fault(tmp_path: Path, text: str, message: str) -> None:
    write_song(tmp_path, ("mix",))
    index = tmp_path / "songs.csv"
    index.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=f"(?s){message}"):
        load_dataset(index)


def write_moises(folder: Path, title: str, stems: dict[str, tuple[str, ...]]) -> Path:
    listed = [
        {
            "stemName": stem,
            "tracks": [
                {"id": name, "extension": "wav", "trackType": "x", "has_bleed": False}
                for name in names
            ],
        }
        for stem, names in stems.items()
    ]
    for stem, names in stems.items():
        write_song(folder / stem, names)
    document = {"artist": "Ensemble", "song": title, "genre": "rock", "stems": listed}
    (folder / "data.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize("inside", [False, True])
def test_moisesdb(tmp_path: Path, inside: bool) -> None:
    root = tmp_path / "moisesdb_v0.1"
    write_moises(
        root / "uuid-1", "Moon", {"vocals": ("a", "b"), "bowed_strings": ("c",)}
    )
    write_moises(root / "uuid-2", "Rain", {"vocals": ("d",), "drums": ("e",)})
    for name in ("3-aaaaaaaaa", "4-bbbbbbbbb"):
        write_moises(root / name, "Twice", {"vocals": ("f",)})
    place = root if inside else tmp_path
    songs = songs_of(place, "moisesdb")
    assert {*songs} == {
        "Ensemble - Moon",
        "Ensemble - Rain",
        "Ensemble - Twice (3-aaaaaa)",
        "Ensemble - Twice (4-bbbbbb)",
    }
    with pytest.warns(UserWarning, match="absent in 4 of 4 songs: .*drums in 3"):
        tracks = load_dataset(place, on_missing="absent")
    moon = next(track for track in tracks if track.name == "Ensemble - Moon")
    assert moon.stems == ("vocals", "drums", "bowed_strings")
    assert moon.absent == ("drums",)
    assert moon.stem("vocals")[0, 0] == pytest.approx(0.03, abs=1e-3)  # of two files
    (root / "uuid-2" / "data.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"uuid-2.data\.json is not as in MoisesDB"):
        load_dataset(place)


def test_other_files_called_data_json(tmp_path: Path) -> None:
    (write_song(tmp_path / "song") / "data.json").write_text('{"title": "x"}')
    assert "is not as in MoisesDB" in str(LAYOUT["moisesdb"].find(tmp_path))
    assert {*songs_of(tmp_path, "songs")} == {"song"}
    text = '{"stems": [{"stemName": "a", "tracks": []}]}'
    (tmp_path / "song" / "data.json").write_text(text)
    assert "names no stems" in str(LAYOUT["moisesdb"].find(tmp_path))


METADATA = """
UUID: 1a81ae092884234f3264e2f45927f00a
audio_dir: stems
stems:
  S00: {audio_rendered: true, inst_class: Guitar, is_drum: false, program_num: 30}
  S01: {audio_rendered: true, inst_class: Guitar, is_drum: false, program_num: 27}
  S02: {audio_rendered: true, inst_class: Synth Pad, is_drum: false, program_num: 89}
  S03: {audio_rendered: false, inst_class: Sound effects, is_drum: false}
  S04: {audio_rendered: true, inst_class: Drums, is_drum: true, program_num: 128}
"""


def write_slakh(folder: Path, suffix: str = ".flac") -> Path:
    names = ("S00", "S01", "S02", "S04")
    write_song(folder / "stems", names, suffix=suffix, channels=1)
    write_song(folder, ("mix",), suffix=suffix, channels=1)
    (folder / "metadata.yaml").write_text(METADATA)
    (folder / "MIDI").mkdir()
    return folder


def test_babyslakh(tmp_path: Path) -> None:
    write_slakh(tmp_path / "Track00001", ".wav")
    song = songs_of(tmp_path, "slakh")["Track00001"]
    assert stems_of(song) == ["guitar", "guitar", "synth_pad", "drums", "mixture"]
    (track,) = load_dataset(tmp_path)
    assert track.stems == ("drums", "guitar", "synth_pad")
    assert track.stem("guitar")[0, 0] == pytest.approx(0.03, abs=1e-3)
    assert not track.mixture_is_sum


def test_slakh2100(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "validation", "test", "omitted")):
        write_slakh(tmp_path / split / f"Track0000{number}")
    row, songs = find_songs(tmp_path)
    assert [song.split for song in songs] == ["train", "valid", "test"]
    line = describe_songs(row, songs)
    counts, note = line.split("; ")
    assert counts == "layout slakh: 1 train, 1 valid, 1 test"
    assert note == "1 valid in the folder validation"


def test_faults_of_slakh(tmp_path: Path) -> None:
    track = write_slakh(tmp_path / "Track00001")
    (track / "stems" / "S02.flac").unlink()
    with pytest.raises(DatasetError, match=r"S02\.flac does not exist"):
        load_dataset(tmp_path)
    write_song(track / "stems", ("S02", "S00"), channels=1)
    with pytest.raises(DatasetError, match="two files for one stem, or two mixtures"):
        load_dataset(tmp_path)
    for text in ("stems: [", "stems: 7", "- 1", "stems: {S00: {}}", "\0"):
        (track / "metadata.yaml").write_text(text)
        with pytest.raises(DatasetError, match=r"metadata\.yaml is not as in Slakh"):
            load_dataset(tmp_path)


def test_chmusic(tmp_path: Path) -> None:
    write_song(tmp_path, ("1.1", "1.2", "4.1", "11.5"))
    songs = songs_of(tmp_path, "chmusic")
    assert [*songs] == ["erhu 1.1", "erhu 1.2", "sheng 11.5", "dizi 4.1"]
    tracks = load_dataset(tmp_path)
    assert tracks[3].stems == ("dizi", "erhu", "sheng")
    assert tracks[3].absent == ("erhu", "sheng")
    for name in ("12.1", "01.1", "1.0", "vocals"):
        odd = write_song(tmp_path, (name,)) / f"{name}.wav"
        reason = f"{name}.wav is not called x.y, with x from 1 to 11"
        assert LAYOUT["chmusic"].find(tmp_path) == reason
        odd.unlink()


def test_pieces_in_neighboring_folders(tmp_path: Path) -> None:
    for name in ("Moon_0", "Moon_1", "Moon_2", "Rain chunk 1", "Rain chunk 2"):
        write_song(tmp_path / name)
    songs = songs_of(tmp_path, "chunks")
    assert {song.group for song in songs.values()} == {"Moon", "Rain"}
    line = describe_songs(*find_songs(tmp_path))
    assert line.endswith("they are pieces of 2 songs")
    assert load_dataset(tmp_path)[0].stems == STEMS
    (tmp_path / "train").mkdir()
    for entry in [*tmp_path.iterdir()]:
        if entry.name != "train":
            entry.rename(tmp_path / "train" / entry.name)
    write_song(tmp_path / "valid" / "Rain chunk 3")
    with pytest.raises(DatasetError, match=r"pieces in two splits(?s:.*)- Rain: train"):
        load_dataset(tmp_path)
    assert len(load_dataset(tmp_path, layout="splits")) == 6


def test_pieces_in_the_folder_of_a_song(tmp_path: Path) -> None:
    for song, numbers in (("Moon", (0, 1, 2)), ("Rain", (1, 2))):
        names = [f"{stem}_{n}" for n in numbers for stem in ("dizi", "pipa")]
        write_song(tmp_path / song, names)
    songs = songs_of(tmp_path, "chunks")
    assert [*songs] == ["Moon_0", "Moon_1", "Moon_2", "Rain_1", "Rain_2"]
    assert stems_of(songs["Rain_2"]) == ["dizi", "pipa"]
    track = load_dataset(tmp_path)[1]
    assert track.sources()[:, 0, 0].tolist() == pytest.approx([0.03, 0.04], abs=1e-3)


@pytest.mark.parametrize(
    ("songs", "reason"),
    [
        (("song 0", "song 1"), "all are called song and a number"),
        (("a_0", "a_1", "b"), "b is not cut into pieces"),
        (("a_5", "a_7", "b_1", "b_2"), "the numbers of a are not 0, 1, 2"),
    ],
)
def test_numbered_songs_are_no_pieces(tmp_path: Path, songs, reason: str) -> None:
    for name in songs:
        write_song(tmp_path / name)
    assert len(songs_of(tmp_path, "songs")) == len(songs)
    row = LAYOUT["chunks"]
    assert reason in row.doubt(row.find(tmp_path))


def test_folders_that_hold_only_some_stems(tmp_path: Path) -> None:
    """MSST calls it type 7, class-balanced: which stems are there is a part of it."""
    write_song(tmp_path / "1", ("flute", "violin", "mixture"))
    write_song(tmp_path / "2", ("flute", "erhu", "mixture"))
    songs_of(tmp_path, "songs")
    with pytest.raises(DatasetError, match=r"--on-missing absent.*\s+- 1 lacks erhu"):
        load_dataset(tmp_path)
    with pytest.warns(UserWarning, match="in 2 of 2 songs: erhu in 1, violin in 1"):
        one, two = load_dataset(tmp_path, on_missing="absent")
    assert (one.absent, two.absent) == (("erhu",), ("violin",))
    assert one.stems == two.stems == ("erhu", "flute", "violin")
    assert not one.sources()[0].any()


def test_splits_in_upper_case(tmp_path: Path) -> None:
    for folder in ("Train", "TEST"):
        write_song(tmp_path / folder / f"of {folder}")
    row, songs = find_songs(tmp_path)
    assert row.name == "splits"
    assert [song.split for song in songs] == ["train", "test"]
    line = describe_songs(row, songs)
    assert "; 1 train in the folder Train; 1 test in the folder TEST" in line
    assert [track.name for track in load_dataset(tmp_path, "test")] == ["of TEST"]


# Names, order, reasons


def test_a_layout_is_chosen_by_its_name(tmp_path: Path) -> None:
    write_song(tmp_path / "moon", ("rain",))
    assert load_dataset(tmp_path)[0].stems == ("rain",)
    (track,) = load_dataset(tmp_path, layout="source-folders")
    assert (track.name, track.stems) == ("moon rain", ("moon",))
    with pytest.raises(DatasetError, match="the layout moisesdb: no file data"):
        load_dataset(tmp_path, layout="moisesdb")
    with pytest.raises(InputError, match="unknown layout 'musdb'"):
        load_dataset(tmp_path, layout="musdb")


def test_an_error_says_of_every_layout_why_it_is_another(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DatasetError) as caught:
        load_dataset(tmp_path)
    for row in LAYOUTS:
        found = row.find(tmp_path)
        assert isinstance(found, str)
        assert (
            f"- {row.name}: {row.description}\n    It is not this one: {found}."
            in str(caught.value)
        )


def test_a_folder_that_cannot_be_opened(tmp_path: Path, monkeypatch) -> None:
    write_song(tmp_path / "song")

    def locked(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", locked)
    with pytest.raises(DatasetError, match="cannot be opened: Permission denied"):
        find_songs(tmp_path)
    monkeypatch.undo()
    broken = Layout("broken", "", locked)
    monkeypatch.setattr(layouts, "LAYOUTS", (broken,))
    with pytest.raises(DatasetError, match=r"cannot be opened: Permission denied\. Ch"):
        find_songs(tmp_path)


def test_splitting_by_a_seed(tmp_path: Path) -> None:
    for name in "abcdefghij":
        write_song(tmp_path / name, ("dizi", "pipa"), n_samples=8, rate=RATE)
    shares = (0.6, 0.2, 0.2)
    tracks = load_dataset(tmp_path, split_shares=shares)
    splits = {track.name: track.split for track in tracks}
    assert sorted(splits.values()) == ["test"] * 2 + ["train"] * 6 + ["valid"] * 2
    assert [track.split for track in tracks] == ["train"] * 6 + ["valid"] * 2 + [
        "test"
    ] * 2
    _, songs = find_songs(tmp_path)
    again = split_songs(songs[::-1], shares)
    assert {song.name: song.split for song in again} == splits
    other = split_songs(songs, shares, seed=1)
    assert {song.name: song.split for song in other} != splits
    valid = load_dataset(tmp_path, "valid", split_shares=shares)
    assert {track.name for track in valid} == {
        n for n, s in splits.items() if s == "valid"
    }
    with pytest.raises(DatasetError, match="already split into test, train, valid"):
        split_songs(again, shares)


def test_pieces_of_a_song_stay_together(tmp_path: Path) -> None:
    for name in "abcdef":
        for number in range(3):
            write_song(tmp_path / f"{name}_{number}", ("dizi",), n_samples=8)
    _, songs = find_songs(tmp_path, "chunks")
    splits: dict[str, set[str | None]] = {}
    for song in split_songs(songs, (0.5, 0.25, 0.25)):
        splits.setdefault(song.group, set()).add(song.split)
    assert {len(found) for found in splits.values()} == {1}
    assert set.union(*splits.values()) == {"train", "valid", "test"}
