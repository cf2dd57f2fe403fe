"""From separated stems to a test that can be taken."""

import dataclasses
import inspect
import shutil
from types import SimpleNamespace

import pytest
import torch

from mssedu.audio.tensors import load_audio, save_audio
from mssedu.errors import AudioFileError, DiskError, InputError, MssEduWarning
from mssedu.listening.test.create import UNFINISHED, create_test, loudest_start
from mssedu.listening.test.design import ANCHORS, Design, Excerpts, load_design
from mssedu.listening.test.session import Session
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore

RATE = 16000


def noise(seed, seconds=4.0):
    generator = torch.Generator().manual_seed(seed)
    return 0.05 * torch.randn(2, round(seconds * RATE), generator=generator)


def write(path, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_audio(path, audio, RATE, subtype="float32")


@pytest.fixture
def songs(tmp_path):
    """Two songs with two stems; vocals are loudest from 1.5 s on; two systems."""
    for number, song in enumerate(("One", "Two?")):
        vocals, drums = noise(number), noise(10 + number)
        vocals[:, 24000:40000] *= 4
        write(tmp_path / "data" / song / "vocals.wav", vocals)
        write(tmp_path / "data" / song / "drums.wav", drums)
        for run, share in (("good", 0.1), ("bad", 0.5)):
            write(tmp_path / run / song / "vocals.wav", vocals + share * drums)
            write(tmp_path / run / song / "drums.wav", drums + share * vocals)
    return tmp_path


def runs(songs):
    return {name: songs / name for name in ("good", "bad")}


def test_a_trial_for_each_song_with_reference_and_mixture(songs):
    folder = songs / "test"
    design = create_test(folder, runs(songs), Excerpts(songs / "data", seconds=1.0))
    assert load_design(folder) == design
    assert [trial.name for trial in design.trials] == ["One vocals", "Two? vocals"]
    assert design.conditions == ("good", "bad")
    assert design.stimuli[2:] == ("reference", "anchor35", "anchor70")
    first = design.trials[0]
    part = slice(24000, 40000)  # the loudest second
    reference, _ = load_audio(folder / first.reference)
    assert torch.equal(reference, load_audio(songs / "data/One/vocals.wav")[0][:, part])
    bad, _ = load_audio(folder / first.conditions["bad"])
    assert torch.equal(bad, load_audio(songs / "bad/One/vocals.wav")[0][:, part])
    mixture, _ = load_audio(folder / first.mixture)
    assert torch.allclose(mixture - reference, noise(10)[:, part], atol=1e-6)


def test_the_folder_can_be_moved(songs):
    create_test(songs / "test", runs(songs), Excerpts(songs / "data", seconds=1.0))
    (songs / "elsewhere").mkdir()
    folder = shutil.move(songs / "test", songs / "elsewhere" / "test")
    shutil.rmtree(songs / "data")
    shutil.rmtree(songs / "good")
    assert len(load_stimuli(load_design(folder), "One vocals").sounds) == 5


def test_without_data_there_is_no_reference(songs):
    design = create_test(
        songs / "test", runs(songs), Excerpts(seconds=1.0), test="2afc"
    )
    assert not design.reference
    assert design.trials[0].mixture is None
    assert design.stimuli == ("good", "bad")


def test_every_setting_of_a_test_has_its_default_here():
    arguments = inspect.signature(create_test).parameters
    for field in dataclasses.fields(Design):
        if field.name not in ("title", "test", "trials", "folder", "reference"):
            has_default = field.default is not dataclasses.MISSING
            expected = field.default if has_default else None
            assert arguments[field.name].default == expected, field.name


def test_stems_songs_and_settings(songs):
    design = create_test(
        songs / "test",
        runs(songs),
        Excerpts(songs / "data", stems=("vocals", "drums"), tracks=1, seconds=1.0),
        anchors=("mixture", "interference", "sound_quality"),
        n_replicates=2,
        title="A title",
    )
    assert [trial.name for trial in design.trials] == ["One vocals", "One drums"]
    assert design.anchors == ("mixture", "interference", "sound_quality")
    assert (design.title, design.n_replicates) == ("A title", 2)


def test_silent_stems_are_left_out_with_a_warning(songs):
    write(songs / "data" / "One" / "vocals.wav", torch.zeros(2, 4 * RATE))
    with pytest.warns(MssEduWarning, match=r"One vocals: left out.* silent"):
        design = create_test(
            songs / "test", runs(songs), Excerpts(songs / "data", seconds=1.0)
        )
    assert [trial.name for trial in design.trials] == ["Two? vocals"]


def test_a_session_loads_its_sounds_and_logs_their_gains(songs):
    design = create_test(
        songs / "test", runs(songs), Excerpts(songs / "data", seconds=1.0)
    )
    store = ResultStore(":memory:", design)
    session = Session(store)
    sounds, rate = session.load_sounds()
    assert rate == RATE
    assert list(sounds) == ["Reference", *"ABCDE"]
    hidden = session.labels[session.page.stimuli.index("reference")]
    assert torch.equal(sounds["Reference"], sounds[hidden])
    assert sum(torch.equal(sounds["Reference"], s) for s in sounds.values()) == 2
    rows = store.rows("gains")
    assert {row["trial"] for row in rows} == {session.page.trial}
    assert {row["stimulus"] for row in rows} == {*design.stimuli}


@pytest.mark.parametrize(("seconds", "start"), [(1.0, 3.0), (2.0, 2.0), (9.0, 0.0)])
def test_the_loudest_part(seconds, start):
    audio = torch.zeros(2, 5 * 100)
    audio[1, 300:400] = 1.0
    assert loudest_start(audio, 100, seconds) == start


@pytest.mark.parametrize("name", ["reference", *ANCHORS, "Mixture"])
@pytest.mark.parametrize("with_data", [True, False])
def test_a_system_with_a_name_of_the_test_is_refused(songs, name, with_data):
    systems = {"good": songs / "good", name: songs / "bad"}
    data = songs / "data" if with_data else None
    with pytest.raises(InputError, match=rf"\['{name}'\]\. Give these runs other"):
        create_test(songs / "test", systems, Excerpts(data, seconds=1.0))
    assert not (songs / "test").exists()


def test_systems_that_differ_in_case_only_are_refused(songs):
    systems = {"good": songs / "good", "Good": songs / "bad"}
    with pytest.raises(InputError, match=r"case, got \['good', 'Good'\]"):
        create_test(songs / "test", systems, Excerpts(songs / "data", seconds=1.0))
    assert not (songs / "test").exists()


def test_sounds_of_someone_else_are_left_as_they_are(songs):
    mine = songs / "thesis" / "sounds" / "1" / "reference.wav"
    write(mine, noise(5))
    before = mine.read_bytes()
    with pytest.raises(InputError, match="thesis/sounds exists"):
        create_test(songs / "thesis", runs(songs), Excerpts(songs / "data"))
    assert mine.read_bytes() == before


def test_no_sounds_are_left_where_no_test_can_be_made(songs):
    excerpts = Excerpts(songs / "data", seconds=1.0)
    with pytest.raises(InputError, match="without anchors"):
        create_test(
            songs / "test", runs(songs), excerpts, test="abx", anchors=("anchor35",)
        )
    assert not (songs / "test" / "sounds").exists()
    create_test(songs / "test", runs(songs), excerpts)  # the folder is free
    assert (songs / "test" / "sounds" / "1" / "reference.wav").exists()


@pytest.fixture
def writes(monkeypatch):
    """Paths of all sounds that are written while a test is made."""
    paths = []

    def save(path, *values, **settings):
        paths.append(path)
        return save_audio(path, *values, **settings)

    monkeypatch.setattr("mssedu.listening.test.create.save_audio", save)
    return paths


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test": "abx", "anchors": ("anchor35",)}, "without anchors"),
        ({"anchors": ("anchor99",)}, "anchor99"),
        ({"training": ("Three vocals",)}, "Three vocals"),
        ({"trials_per_listener": 3}, "trials_per_listener"),
        ({"questions": {"__proto__": "?"}}, "JavaScript"),
        ({"title": "a\0"}, r"U\+0000"),
        ({"seed": 0, "test": "mushroom"}, "mushroom"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_sound(songs, writes, changes, says):
    excerpts = Excerpts(songs / "data", seconds=1.0)
    with pytest.raises(InputError, match=says):
        create_test(songs / "test", runs(songs), excerpts, **changes)
    assert not writes
    assert not (songs / "test").exists()


def test_excerpts_longer_than_the_standard_are_refused_before_any_sound(songs, writes):
    for song in ("One", "Two?"):
        for run in ("data", "good", "bad"):
            write(songs / run / song / "vocals.wav", noise(1, seconds=13.0))
            write(songs / run / song / "drums.wav", noise(2, seconds=13.0))
    excerpts = Excerpts(songs / "data", seconds=600.0)
    with pytest.raises(InputError, match=r"seconds is 600.* at most 12 s in mushra"):
        create_test(songs / "test", runs(songs), excerpts)
    assert not writes
    assert not (songs / "test").exists()
    create_test(songs / "test", runs(songs), excerpts, test="acr")  # no such limit


def test_seconds_may_exceed_short_songs(songs):
    design = create_test(
        songs / "test", runs(songs), Excerpts(songs / "data", seconds=60)
    )
    assert len(load_stimuli(design, "One vocals").sounds) == 5


def test_an_anchor_that_the_rate_cannot_have_is_refused_before_any_sound(songs, writes):
    for path in songs.rglob("*.wav"):
        save_audio(path, noise(3, 1.0), 8000)
    with pytest.raises(InputError, match="sample rate above 8000"):
        create_test(songs / "test", runs(songs), Excerpts(songs / "data", seconds=1.0))
    assert not writes


def test_a_disk_without_room_is_told_before_any_sound(songs, writes, monkeypatch):
    # 2 songs × (2 systems, reference, mixture) × 1 s × 16 kHz × 2 channels × 4 bytes
    needed, excerpts = 2 * 4 * RATE * 2 * 4, Excerpts(songs / "data", seconds=1.0)
    usage = SimpleNamespace(total=10**12, free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskError, match=r"sounds of 2 trials need 1\.1 MB"):
        create_test(songs / "test", runs(songs), excerpts)
    assert not writes
    assert not (songs / "test").exists()
    usage.free = 10**12
    create_test(songs / "test", runs(songs), excerpts)
    written = sum(path.stat().st_size for path in (songs / "test").rglob("*.wav"))
    assert needed <= written < needed + 8 * 200  # headers


@pytest.mark.parametrize("existed", [True, False])
def test_an_error_in_the_middle_leaves_nothing(songs, monkeypatch, existed):
    folder, excerpts = songs / "deep" / "test", Excerpts(songs / "data", seconds=1.0)
    if existed:
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("mine")
    count = iter(range(10))

    def save(path, *values, **settings):
        if next(count) == 5:
            raise AudioFileError("the disk is full")
        save_audio(path, *values, **settings)

    with monkeypatch.context() as patch:
        patch.setattr("mssedu.listening.test.create.save_audio", save)
        with pytest.raises(AudioFileError, match="full"):
            create_test(folder, runs(songs), excerpts)
    assert folder.exists() == existed
    assert [p.name for p in folder.rglob("*")] == ["notes.txt"] * existed
    create_test(folder, runs(songs), excerpts)
    assert (folder / "notes.txt").exists() == existed


def test_what_a_killed_program_has_left_does_not_stop_the_next(songs):
    place = songs / "test" / UNFINISHED / "sounds" / "9"
    place.mkdir(parents=True)
    (place / "system1.wav").write_text("half a file")
    create_test(songs / "test", runs(songs), Excerpts(songs / "data", seconds=1.0))
    names = {path.name for path in (songs / "test").iterdir()}
    assert names == {"test.toml", "sounds"}
    assert {path.name for path in (songs / "test" / "sounds").iterdir()} == {"1", "2"}


def test_a_song_that_is_refused_by_its_name(songs):
    (songs / "data" / "One").rename(songs / "data" / ("x" * 120))
    for run in ("good", "bad"):
        (songs / run / "One").rename(songs / run / ("x" * 120))
    with pytest.raises(InputError, match=r"trial 'xx.* has 127 characters"):
        create_test(songs / "test", runs(songs), Excerpts(songs / "data", seconds=1.0))
    assert not (songs / "test").exists()


def test_errors(songs):
    with pytest.raises(InputError, match="runs"):
        create_test(songs / "test", {})
    (songs / "bad" / "One" / "vocals.wav").unlink()
    with pytest.raises(AudioFileError, match="no estimates"):
        create_test(songs / "test", runs(songs), Excerpts(songs / "data"))
    assert not (songs / "test").exists()
    good = {"good": songs / "good"}
    create_test(songs / "test", good, Excerpts(songs / "data", seconds=1.0))
    with pytest.raises(InputError, match=r"test\.toml exists"):
        create_test(songs / "test", good, Excerpts(songs / "data"))
    with pytest.raises(InputError, match=r"test\.toml is a file"):
        create_test(songs / "test" / "test.toml", good, Excerpts(songs / "data"))
    (songs / "old").mkdir()
    (songs / "old" / "results.sqlite").touch()
    with pytest.raises(InputError, match=r"results\.sqlite exists"):
        create_test(songs / "old", good, Excerpts(songs / "data"))
