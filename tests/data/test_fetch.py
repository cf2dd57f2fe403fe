"""A public data set from a server on this machine: license, checks, unpacking."""

import hashlib
import io
import json
import stat
import zipfile
from dataclasses import replace

import pytest

from mssedu.data.fetch import DATASETS, RECORD, PublicDataset, fetch_dataset, is_fetched
from mssedu.data.layouts import LAYOUTS
from mssedu.data.loading import load_dataset
from mssedu.errors import (
    AudioFileError,
    DatasetError,
    DiskError,
    DownloadError,
    InputError,
    MssEduWarning,
)
from tests.data.trees import write_song, write_stem_mp4
from tests.file_server import serving


def zipped(folder, top=""):
    """A zip file of a folder, below a folder `top`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, top + path.relative_to(folder).as_posix())
    return content.getvalue()


def zip_of(*entries):
    """A zip file of (name or ZipInfo, content)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return content.getvalue()


def row_of(content, address, **changes):
    row = PublicDataset(
        title="Two songs",
        license="CC0: any use",
        page="https://example.org/two",
        addresses=(address,),
        checksum=f"sha256:{hashlib.sha256(content).hexdigest()}",
        size=len(content),
        unpacked=10**6,
        layout="musdb18-hq",
        n_songs=2,
    )
    return replace(row, **changes)


@pytest.fixture
def songs(tmp_path):
    """A folder as MUSDB18-HQ."""
    for split, name in (("train", "a"), ("test", "b")):
        parts = ("mixture", "vocals", "drums", "bass", "other")
        write_song(tmp_path / "songs" / split / name, parts, n_samples=8000)
    return tmp_path / "songs"


@pytest.fixture
def offered(songs, monkeypatch):
    """The songs as the data set "two" on a server; called with changes to its row."""
    content = zipped(songs)
    with serving(content) as server:

        def change(**changes):
            row = row_of(server.content, f"{server.address}/two.zip", **changes)
            monkeypatch.setitem(DATASETS, "two", row)
            return server

        change()
        server.change = change
        yield server


def fetch(out, **options):
    return fetch_dataset("two", out, accept_license=True, **options)


# ---- what is fetched ----------------------------------------------------------------


def test_download_unpack_open(offered, songs, tmp_path):
    seen = []
    root = fetch(tmp_path / "out", progress=lambda *step: seen.append(step))
    assert root == tmp_path / "out"
    assert [(t.name, t.split) for t in load_dataset(root)] == [
        ("a", "train"),
        ("b", "test"),
    ]
    for path in songs.rglob("*.wav"):
        assert (root / path.relative_to(songs)).read_bytes() == path.read_bytes()
    size = sum(path.stat().st_size for path in songs.rglob("*.wav"))
    assert {note for _, _, note in seen} == {"downloading", "unpacking"}
    assert seen[-1] == (size, size, "unpacking")
    record = json.loads((root / RECORD).read_bytes())
    assert record["license"] == "CC0: any use"
    assert sorted(path.name for path in root.iterdir()) == [RECORD, "test", "train"]


def test_what_is_there_is_not_fetched_again(offered, tmp_path):
    out = tmp_path / "out"
    assert not is_fetched("two", out)
    fetch(out)
    assert is_fetched("two", out)
    assert fetch_dataset("two", out) == out
    assert len(offered.seen) == 1


def test_a_download_goes_on_where_it_stopped(offered, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "two.zip.part").write_bytes(offered.content[:700])
    fetch(tmp_path / "out")
    assert offered.seen == ["bytes=700-"]


def test_unpacking_goes_on_where_it_stopped(offered, tmp_path, monkeypatch):
    names, original = [], zipfile.ZipFile.open

    def opened(archive, info, *args, **options):
        names.append(info.filename)
        if len(names) == 4:
            raise KeyboardInterrupt
        return original(archive, info, *args, **options)

    monkeypatch.setattr(zipfile.ZipFile, "open", opened)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "out")
    fetch(tmp_path / "out")
    assert len(names) == 11  # 10 files, one of them twice
    assert len(offered.seen) == 1


def test_md5_is_enough_where_no_other_checksum_is_published(offered, tmp_path):
    digest = hashlib.md5(offered.content).hexdigest()
    offered.change(checksum=f"md5:{digest}")
    fetch(tmp_path / "out")  # without the warning that nothing could be checked
    offered.change(checksum="md5:" + "0" * 32)
    with pytest.raises(DownloadError, match=f"has the md5 {digest}"):
        fetch(tmp_path / "new")
    assert not [*(tmp_path / "new").iterdir()]


def test_a_wrong_sha256_is_refused(offered, tmp_path):
    offered.change(checksum="sha256:" + "0" * 64)
    with pytest.raises(DownloadError, match="000… is published"):
        fetch(tmp_path / "out")
    assert not [*(tmp_path / "out").iterdir()]


def test_another_address_is_tried(offered, tmp_path):
    addresses = (f"{offered.address}/absent", f"{offered.address}/two.zip")
    offered.change(addresses=addresses)
    assert len(load_dataset(fetch(tmp_path / "out"))) == 2
    offered.change(addresses=addresses[:1])
    with pytest.raises(DownloadError, match="Not Found"):
        fetch(tmp_path / "new")


def test_folders_around_the_songs(songs, monkeypatch, tmp_path):
    for part, stem in ((1, "vocals"), (2, "bass")):
        song = tmp_path / "moises" / f"song-{part}"
        write_song(song / stem, ("x",), n_samples=800 * part)
        tracks = [{"id": "x", "extension": "wav", "trackType": stem}]
        document = {
            "artist": "A",
            "song": f"S{part}",
            "stems": [{"stemName": stem, "tracks": tracks}],
        }
        (song / "data.json").write_text(json.dumps(document))
    path = tmp_path / "moises.zip"
    path.write_bytes(zipped(tmp_path / "moises", "moisesdb/moisesdb_v0.1/"))
    row = replace(
        DATASETS["moisesdb"],
        n_songs=2,
        checksum=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
    )
    monkeypatch.setitem(DATASETS, "moisesdb", row)
    with pytest.warns(MssEduWarning, match="absent in 2 of 2 songs"):
        root = fetch_dataset(
            "moisesdb", tmp_path / "out", accept_license=True, archive=path
        )
    assert root.relative_to(tmp_path / "out").as_posix() == "moisesdb"
    assert path.exists()


def test_stem_mp4(monkeypatch, tmp_path):
    write_stem_mp4(tmp_path / "in" / "train" / "a.stem.mp4", 0.2)
    path = tmp_path / "in.zip"
    path.write_bytes(zipped(tmp_path / "in"))
    row = row_of(path.read_bytes(), "", layout="musdb18-7s", n_songs=1)
    monkeypatch.setitem(DATASETS, "two", row)
    (track,) = load_dataset(fetch(tmp_path / "out", archive=path))
    assert set(track.stems) == {"vocals", "drums", "bass", "other"}


def test_the_table_is_complete():
    assert [*DATASETS] == ["musdb18-7s", "musdb18-hq", "moisesdb"]
    lengths = {"sha256": 64, "md5": 32}
    for name, row in DATASETS.items():
        kind, digest = row.checksum.split(":")
        assert len(digest) == lengths[kind]
        assert all(address.startswith("https://") for address in row.addresses)
        assert row.layout in {layout.name for layout in LAYOUTS}
        assert row.size < row.unpacked < 2 * row.size, name


def test_the_preview_is_where_musdb_says():
    musdb = pytest.importorskip("musdb")
    yaml = pytest.importorskip("yaml")
    with open(f"{musdb.__path__[0]}/configs/mus.yaml") as file:
        address = yaml.safe_load(file)["sample-url"]
    assert DATASETS["musdb18-7s"].addresses[0] == address


def test_the_hq_checksum_is_that_of_torchaudio():
    module = pytest.importorskip("torchaudio.datasets.musdb_hq")
    assert DATASETS["musdb18-hq"].checksum == f"sha256:{module._CHECKSUM}"


# ---- what is refused ----------------------------------------------------------------


def test_the_license_comes_first(offered, tmp_path):
    with pytest.raises(InputError, match=r"CC0: any use .* Accept it with --yes"):
        fetch_dataset("two", tmp_path / "out")
    assert not offered.seen
    assert not (tmp_path / "out").exists()


def test_an_unknown_name(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'musdb18-hq'"):
        fetch_dataset("musdb18hq", tmp_path)


def test_a_data_set_that_is_downloaded_by_hand(tmp_path):
    with pytest.raises(InputError, match=r"music.ai.* --archive FILE"):
        fetch_dataset("moisesdb", tmp_path / "out", accept_license=True)


def test_an_archive_of_the_user(offered, tmp_path):
    path = tmp_path / "mine.zip"
    with pytest.raises(AudioFileError, match="no such file"):
        fetch(tmp_path / "out", archive=path)
    path.write_bytes(offered.content[:-1])
    with pytest.raises(DatasetError, match="damaged, or another file"):
        fetch(tmp_path / "out", archive=path)
    assert path.exists()
    path.write_bytes(offered.content)
    fetch(tmp_path / "out", archive=path)
    assert not offered.seen
    assert path.exists()


def test_too_little_room(offered, tmp_path, monkeypatch):
    need = len(offered.content) + 10**6
    monkeypatch.setattr("mssedu.audio.disk.free_bytes", lambda path: need - 1)
    with pytest.raises(DiskError, match="zip file of two and its content"):
        fetch(tmp_path / "out")
    assert not offered.seen
    monkeypatch.setattr("mssedu.audio.disk.free_bytes", lambda path: need)
    fetch(tmp_path / "out")


def test_a_server_that_sends_more(offered, tmp_path):
    offered.change(size=1000)
    with pytest.raises(DownloadError, match="bytes, and the file may have 1000"):
        fetch(tmp_path / "out")


def test_other_songs_than_were_promised(offered, tmp_path):
    offered.change(n_songs=3)
    with pytest.raises(DatasetError, match="does not hold the 3 songs"):
        fetch(tmp_path / "out")
    assert not is_fetched("two", tmp_path / "out")


def test_files_of_others_are_not_overwritten(offered, tmp_path):
    path = tmp_path / "out" / "train" / "a" / "bass.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(DatasetError, match="is another file than the one in the arch"):
        fetch(tmp_path / "out")
    assert path.read_bytes() == b"mine"
    path = tmp_path / "new" / "train"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        fetch(tmp_path / "new")
    assert path.read_bytes() == b"mine"


def entry(name, kind):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def smaller(content, name, size):
    """A zip file in which the directory states another size of an entry."""
    start = content.rindex(name.encode()) - 46  # its header in the directory
    changed = bytearray(content)
    changed[start + 24 : start + 28] = size.to_bytes(4, "little")
    return bytes(changed)


UNSAFE = {
    "above": (zip_of(("../evil", "x")), "outside of the folder"),
    "absolute": (zip_of(("/tmp/evil", "x")), "outside of the folder"),
    "backslash": (zip_of(("a\\..\\evil", "x")), "no name of a file"),
    "link": (zip_of((entry("link", stat.S_IFLNK), "/etc")), "a link or a device"),
    "device": (zip_of((entry("pipe", stat.S_IFIFO), "")), "a link or a device"),
    "large": (zip_of(("zeros", bytes(10**6 + 1))), "have 1000001 bytes"),
    "many": (zip_of(("a", bytes(600_000)), ("b", bytes(600_000))), "have 1200000"),
    "lying": (smaller(zip_of(("zeros", bytes(10**6))), "zeros", 10), "Bad CRC-32"),
    "no zip": (b"PK\3\4 and nothing more", "cannot be unpacked"),
    "method": (
        zip_of(("a", "x")).replace(
            b"PK\1\2\x14\x03\x14\0\0\0\0\0", b"PK\1\2\x14\x03\x14\0\0\0\x63\0"
        ),
        "cannot be unpacked",
    ),
    "password": (
        zip_of(("a", "x")).replace(
            b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"
        ),
        "has a password",
    ),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_archive_is_not_unpacked(name, tmp_path, monkeypatch):
    content, word = UNSAFE[name]
    path = tmp_path / "two.zip"
    path.write_bytes(content)
    monkeypatch.setitem(DATASETS, "two", row_of(content, ""))
    with pytest.raises(DatasetError, match=word):
        fetch(tmp_path / "in" / "out", archive=path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["two.zip"]


def test_a_name_that_is_there_twice(tmp_path, monkeypatch):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zip_of(("a", "x"), ("a", "y"))
    path = tmp_path / "two.zip"
    path.write_bytes(content)
    monkeypatch.setitem(DATASETS, "two", row_of(content, ""))
    with pytest.raises(DatasetError, match="is there twice"):
        fetch(tmp_path / "out", archive=path)


@pytest.mark.parametrize("text", ["{", "[]", '{"checksum": "md5:0"}'])
def test_a_damaged_record_is_none(text, tmp_path):
    (tmp_path / RECORD).write_text(text)
    assert not is_fetched("musdb18-hq", tmp_path)
