"""The audit of a data set: each fault is planted once, and the clean set has none."""

import os
import shutil

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import lfilter

from mssedu.data.doctor.audit import RULES, audit_dataset
from mssedu.data.loading import demo_data
from mssedu.errors import DatasetError, InputError

RATE, SECONDS = 44100, 5
STEMS = ("drums", "bass", "vocals")
SONGS = ("train/Uno", "train/Dos", "test/Tres")


# ---- a clean set --------------------------------------------------------------------


def music(seed, stem, rate=RATE, seconds=SECONDS):
    """A stereo sound that is never the same: hits of noise, a saw, or a voice."""
    random = np.random.default_rng([seed, STEMS.index(stem)])
    n = rate * seconds
    time, mono = np.arange(n) / rate, np.zeros(n)
    starts = np.sort(random.uniform(0, seconds - 0.3, 4 * seconds))
    for start in (starts * rate).astype(int):
        length = int(random.uniform(0.15, 0.4) * rate)
        tone = time[: min(length, n - start)]
        if stem == "drums":
            color = random.uniform(0.2, 0.9)
            hit = lfilter([1], [1, -color], random.standard_normal(len(tone)))
            mono[start : start + len(tone)] += hit * np.exp(-tone * 18)
        else:
            low = 55 if stem == "bass" else 220
            pitch = low * 2 ** (random.integers(0, 24) / 12)
            waver = 0.004 * np.sin(2 * np.pi * 5 * tone) * (stem == "vocals")
            wave = sum(
                np.sin(2 * np.pi * k * pitch * (tone + waver)) / k
                for k in range(1, int(20000 / pitch))
            )
            mono[start : start + len(tone)] += wave * np.exp(-tone * 5)
    side = 0.15 * np.roll(mono, 11)
    stereo = np.stack([mono + side, 0.8 * mono - side])
    stereo += 1e-4 * random.standard_normal(stereo.shape)
    return 0.2 * stereo / abs(stereo).max()


def write(path, audio, rate=RATE, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.asarray(audio).T, rate, subtype)


def read(path):
    return sf.read(path)[0].T


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Three songs in two splits: three stems and their sum."""
    root = tmp_path_factory.mktemp("clean")
    for seed, name in enumerate(SONGS):
        sources = {stem: music(seed, stem) for stem in STEMS}
        for stem, audio in sources.items():
            write(root / name / f"{stem}.wav", audio)
        write(root / name / "mixture.wav", sum(sources.values()))
    return root


@pytest.fixture
def folder(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "set")


def found_in(path, **options):
    """The findings as (severity, rule, place, stems): finding."""
    found = audit_dataset(path, **options)
    return {(f.severity, f.rule, f.place, f.stems): f for f in found.findings}


def change(path, function):
    write(path, function(read(path)))


def shifted(audio, late):
    """A sound that comes later by some samples, with its length."""
    padded = np.pad(audio, ((0, 0), (max(late, 0), max(-late, 0))))
    return padded[:, max(-late, 0) :][:, : audio.shape[-1]]


def test_a_clean_set_has_no_findings(clean):
    done = []
    found = audit_dataset(clean, progress=lambda *step: done.append(step))
    assert found.findings == []
    assert (found.layout, len(found.songs)) == ("splits", 3)
    assert done == [(1, 3, "Dos"), (2, 3, "Uno"), (3, 3, "Tres")]
    assert all(song.residual_db()[0] < -60 for song in found.songs)


def test_the_demo_songs_have_one_silent_stem_and_no_fault():
    found = found_in(demo_data())
    assert [*found] == [("note", "silence", "train/Caesium", ("bass",))]


# ---- one test for each rule ---------------------------------------------------------

UNO, TRES = SONGS[0], SONGS[2]
VOCALS = f"{UNO}/vocals.wav"


def with_mixture(folder, song=UNO):
    """Write the mixture of a song again, as the sum of its stems."""
    stems = [read(p) for p in (folder / song).glob("*.wav") if p.stem != "mixture"]
    length = min(stem.shape[-1] for stem in stems)
    write(folder / song / "mixture.wav", sum(stem[:, :length] for stem in stems))


def plant_unreadable(folder):
    (folder / VOCALS).write_bytes(b"RIFF and no more" * 9)


def plant_empty(folder):
    (folder / VOCALS).write_bytes(b"")


def plant_dangling(folder):
    (folder / VOCALS).unlink()
    (folder / VOCALS).symlink_to(folder / "gone.wav")


def plant_litter(folder):
    for name in ("._vocals.wav", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / UNO / name).write_bytes(b"x")


def plant_double_file(folder):
    audio = read(folder / VOCALS)
    write(folder / UNO / "vocals.flac", 0 * audio)


def plant_rate(folder):
    audio = music(0, "vocals", 22050)
    write(folder / VOCALS, audio, 22050)


def plant_rates(folder):
    for path in (folder / UNO).glob("*.wav"):
        path.unlink()
        write(path, music(7, STEMS[len(path.name) % 3], 48000), 48000)
    (folder / UNO / "mixture.wav").unlink()


def plant_channels(folder):
    change(folder / VOCALS, lambda audio: audio[:1])


def plant_mono_song(folder):
    for path in (folder / UNO).glob("*.wav"):
        change(path, lambda audio: audio[:1])


def plant_length(folder):
    change(folder / VOCALS, lambda audio: audio[:, :-100])


def plant_nan(folder):
    audio = read(folder / VOCALS)
    audio[0, 1000:1003] = np.nan
    write(folder / VOCALS, audio, subtype="FLOAT")


def plant_silent_stem(folder):
    change(folder / VOCALS, lambda audio: 0 * audio)
    with_mixture(folder)


def plant_silent_song(folder):
    for path in (folder / UNO).glob("*.wav"):
        change(path, lambda audio: 0 * audio)


def plant_empty_channel(folder):
    change(folder / VOCALS, lambda audio: audio * [[1], [0]])
    with_mixture(folder)


def plant_dual_mono(folder):
    change(folder / VOCALS, lambda audio: audio[[0, 0]])
    with_mixture(folder)


def plant_clipping(folder):
    change(folder / UNO / "drums.wav", lambda audio: (8 * audio).clip(-1, 1))
    (folder / UNO / "mixture.wav").unlink()


def plant_offset(folder):
    change(folder / VOCALS, lambda audio: audio + 0.01)
    with_mixture(folder)


def plant_band_limit(folder):
    import soxr

    low = soxr.resample(
        soxr.resample(read(folder / VOCALS).T, RATE, 22050), 22050, RATE
    )
    write(folder / VOCALS, low.T)
    with_mixture(folder)


def plant_same(folder):
    shutil.copy(folder / VOCALS, folder / UNO / "choir.wav")
    with_mixture(folder)


def plant_same_inverted(folder):
    write(folder / UNO / "choir.wav", -0.5 * read(folder / VOCALS))
    with_mixture(folder)


def plant_sum(folder):
    rest = read(folder / UNO / "drums.wav") + read(folder / UNO / "bass.wav")
    write(folder / UNO / "instrumental.wav", rest)
    with_mixture(folder)


def plant_master(folder):
    for song in SONGS:
        (folder / song / "mixture.wav").rename(folder / song / "master.wav")


def plant_lag(folder):
    change(folder / VOCALS, lambda audio: shifted(audio, 480))


def plant_early(folder):
    change(folder / VOCALS, lambda audio: shifted(audio, -7))


def plant_late_mixture(folder):
    change(folder / UNO / "mixture.wav", lambda audio: shifted(audio, 1105))


def plant_polarity(folder):
    change(folder / VOCALS, lambda audio: -audio)


def plant_gain(folder):
    change(folder / VOCALS, lambda audio: audio / 2)


def plant_mixture_gain(folder):
    change(folder / UNO / "mixture.wav", lambda audio: audio * 1.5)


def plant_residual(folder):
    extra = np.random.default_rng(0).standard_normal((2, RATE * SECONDS))
    change(folder / UNO / "mixture.wav", lambda audio: audio + 0.05 * extra)


def plant_foreign(folder):
    write(folder / UNO / "bass.wav", 2 * music(9, "bass"))


def plant_limiter(folder):
    change(folder / UNO / "mixture.wav", lambda audio: np.tanh(2 * audio) / 2)


def plant_short(folder):
    for path in (folder / UNO).glob("*.wav"):
        change(path, lambda audio: audio[:, RATE : RATE + 30000])


def plant_absent(folder):
    (folder / UNO / "vocals.wav").unlink()
    with_mixture(folder)


def plant_spelling(folder):
    (folder / UNO / "vocals.wav").rename(folder / UNO / "Vocals.wav")


def plant_same_name(folder):
    (folder / "train/Dos").rename(folder / "train/tres")


def plant_leak(folder):
    for path in (folder / UNO).glob("*.wav"):
        piece = 0.5 * read(path)[:, RATE:]
        write(folder / TRES / path.name, piece)


def plant_twin(folder):
    shutil.copytree(folder / UNO, folder / "train/Uno again")


def plant_recording(folder):
    shutil.copy(folder / VOCALS, folder / TRES / "vocals.wav")
    with_mixture(folder, TRES)


def plant_errata(folder):
    (folder / TRES).rename(folder / "test/PR - Oh No")


def plant_beside(folder):
    shutil.copytree(folder / UNO, folder / "more" / "Quatro")
    for path in (folder / "more" / "Quatro").glob("*.wav"):
        change(path, lambda audio: audio[:, ::-1])


V, M = ("vocals",), ("mixture",)
# what is planted -> the findings: severity, rule, place, stems, words of `seen`
PLANTED = {
    plant_unreadable: [("error", "unreadable", UNO, V, "cannot be read as audio")],
    plant_empty: [("error", "unreadable", UNO, V, "is empty")],
    plant_dangling: [("error", "dangling link", "", (), VOCALS)],
    plant_litter: [("warning", "litter", "", (), f"{UNO}/.DS_Store")],
    plant_double_file: [("error", "double file", UNO, (), "vocals.flac, vocals.wav")],
    plant_rate: [("error", "sample rate", UNO, V, "22050 Hz; most files")],
    plant_rates: [("error", "sample rates", UNO, (), "48000 Hz; most songs")],
    plant_channels: [("error", "channels", UNO, V, "1 channel; most files")],
    plant_mono_song: [("error", "channel numbers", UNO, (), "1 channel; most songs")],
    plant_length: [("error", "length", UNO, V, "220400 samples; most")],
    plant_nan: [("error", "NaN or Inf", UNO, V, "3 values, from sample 1000")],
    plant_silent_stem: [("note", "silence", UNO, V, "only zeros")],
    plant_silent_song: [("error", "silence", UNO, (), "only zeros")],
    plant_empty_channel: [("warning", "empty channel", UNO, V, "right channel")],
    plant_dual_mono: [("note", "dual mono", UNO, V, "left = right")],
    plant_clipping: [("warning", "clipping", UNO, ("drums",), "runs of samples")],
    plant_offset: [
        ("warning", "DC offset", UNO, M, "+0.01"),
        ("warning", "DC offset", UNO, V, "+0.01"),
    ],
    plant_band_limit: [("warning", "band limit", UNO, V, "above 10.6 kHz")],
    plant_same: [("error", "same audio", UNO, ("choir", "vocals"), "the same audio")],
    plant_same_inverted: [
        ("error", "same audio", UNO, ("choir", "vocals"), "the same, inverted")
    ],
    plant_sum: [("error", "sum of stems", UNO, ("instrumental",), "= bass + drums")],
    plant_master: [
        ("error", "sum of stems", song, ("master",), "= bass + drums + vocals")
        for song in SONGS
    ],
    plant_lag: [("error", "lag", UNO, V, "480 samples (10.9 ms) late; residual")],
    plant_early: [("error", "lag", UNO, V, "7 samples (0.2 ms) early; residual")],
    plant_late_mixture: [("error", "lag", UNO, M, "1105 samples (25.1 ms) late")],
    plant_polarity: [("error", "polarity", UNO, V, "inverted; residual")],
    plant_gain: [("error", "gain", UNO, V, "-6.0 dB; residual")],
    plant_mixture_gain: [("error", "gain", UNO, M, "+3.5 dB; residual")],
    plant_residual: [("error", "residual", UNO, (), "residual -")],
    plant_foreign: [
        ("error", "not in mixture", UNO, ("bass",), "not in the mixture; residual"),
        ("error", "residual", UNO, (), "residual -"),
    ],
    plant_limiter: [("warning", "residual", UNO, (), "residual -")],
    plant_short: [("warning", "short", UNO, (), "0.68 s")],
    plant_absent: [("warning", "absent stem", UNO, V, "no file")],
    plant_spelling: [("error", "name", "", (), "'Vocals' in 1")],
    plant_same_name: [("error", "name", "train/tres", (), "train/tres = test/Tres")],
    plant_leak: [("error", "copy", UNO, M, "recording in test/Tres: a score")],
    plant_twin: [("warning", "copy", UNO, M, "recording in train/Uno again")],
    plant_recording: [("warning", "copy", UNO, V, "recording in test/Tres")],
    plant_errata: [
        ("warning", "errata", "test/PR - Oh No", (), "the left channel"),
        ("note", "errata", "test/PR - Oh No", (), "reported by a listener"),
    ],
    plant_beside: [("error", "refused", "", (), "beside the splits")],
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__[6:])
def test_a_planted_fault_is_found_and_nothing_else(plant, folder):
    plant(folder)
    found = found_in(
        folder, fingerprints=plant in (plant_leak, plant_twin, plant_recording)
    )
    wanted = PLANTED[plant]
    assert {*found} == {tuple(row[:4]) for row in wanted}
    for *key, words in wanted:
        assert words in found[tuple(key)].seen
    for finding in found.values():
        assert finding.allowed
        assert finding.fix


def test_every_rule_has_a_planted_fault():
    planted = {row[1] for rows in PLANTED.values() for row in rows}
    assert planted | {"damaged"} == {rule.name for rule in RULES}
    assert all(rule.meaning.endswith(".") for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


# ---- more about single rules --------------------------------------------------------


def test_a_truncated_file_is_damaged(folder):
    path = folder / VOCALS
    path.write_bytes(path.read_bytes()[:-200_000])
    found = found_in(folder, fingerprints=False)
    assert ("error", "damaged", UNO, V) in found
    assert ("error", "length", UNO, V) in found


def test_all_faults_are_listed_at_once_with_values(folder):
    plant_offset(folder)
    plant_litter(folder)
    (folder / SONGS[1] / "drums.wav").write_bytes(b"")
    plant_errata(folder)
    write(folder / "test/PR - Oh No/vocals.wav", -music(2, "vocals"))
    found = audit_dataset(folder)
    rules = [finding.rule for finding in found.findings]
    assert rules[0] == "litter"
    assert {*rules} == {"litter", "DC offset", "unreadable", "errata", "polarity"}
    assert found.count("error") == 2
    places = [finding.place for finding in found.findings]
    assert places == sorted(places, key=["", SONGS[1], UNO, "test/PR - Oh No"].index)


def test_several_stems_can_be_wrong_at_once(folder):
    change(folder / VOCALS, lambda audio: shifted(audio, 300))
    change(folder / UNO / "drums.wav", lambda audio: -shifted(audio, -41))
    found = found_in(folder, fingerprints=False)
    lags = {
        key[3][0]: finding.values["late_samples"]
        for key, finding in found.items()
        if key[1] == "lag"
    }
    assert lags == {"vocals": 300, "drums": -41}
    assert ("error", "polarity", UNO, ("drums",)) in found


def test_a_long_lag_is_found_and_what_it_cuts_off_is_no_residual(folder):
    change(folder / VOCALS, lambda audio: shifted(audio, RATE // 2))
    found = found_in(folder, fingerprints=False)
    assert [*found] == [("error", "lag", UNO, V)]
    assert found["error", "lag", UNO, V].values["late_samples"] == RATE // 2


def test_a_stem_is_compared_to_a_mixture_that_holds_more(folder):
    """Pairs of a mixture and one stem: the rest is no fault, and a lag is found."""
    for song in SONGS:
        for stem in ("drums", "bass"):
            (folder / song / f"{stem}.wav").unlink()
    found = found_in(folder, fingerprints=False)
    assert {key[:2] for key in found} == {("note", "residual")}
    change(folder / VOCALS, lambda audio: shifted(audio, 480))
    found = found_in(folder, fingerprints=False)
    assert found["error", "lag", UNO, V].values["late_samples"] == 480


def test_stems_that_are_never_all_there_leave_a_rest(folder):
    for song in SONGS:
        (folder / song / "drums.wav").unlink()
    found = found_in(folder, fingerprints=False)
    assert {key[:2] for key in found} == {("note", "residual")}
    assert all("in no stem" in finding.seen for finding in found.values())


def test_recordings_of_single_stems_lack_nothing(folder):
    root = folder / "recordings"
    for seed, stem in enumerate(("pipa", "pipa", "pipa", "dizi")):
        write(root / stem / f"{seed}.wav", music(seed, "vocals"))
    assert found_in(root, fingerprints=False) == {}


def test_loops_in_two_songs_are_a_note(folder):
    loop = music(5, "drums", seconds=3)
    for seed, song in enumerate((UNO, TRES)):
        audio = np.concatenate(
            [music(seed, "drums"), loop, music(seed + 7, "drums")], 1
        )
        for path in (folder / song).glob("*.wav"):
            path.unlink()
        write(folder / song / "drums.wav", audio)
        write(folder / song / "bass.wav", music(seed, "bass", seconds=13))
    shutil.rmtree(folder / SONGS[1])
    found = found_in(folder)
    assert {key[:2] for key in found} == {("note", "copy")}
    (values,) = [found["note", "copy", UNO, ("drums",)].values]
    assert values["shared_seconds"] == pytest.approx(3, abs=1.1)


@pytest.mark.parametrize("rate", [16000, 22050, 32000])
def test_the_end_of_a_spectrum_is_found(rate, tmp_path):
    import soxr

    noise = np.random.default_rng(0).standard_normal((RATE * 3, 2)) / 20
    low = soxr.resample(soxr.resample(noise, RATE, rate), rate, RATE)
    write(tmp_path / "SONG" / "a.wav", low.T)
    write(tmp_path / "SONG" / "b.wav", noise.T)
    a, b = audit_dataset(tmp_path, fingerprints=False).songs[0].files
    assert a.cut_hz == pytest.approx(0.96 * rate / 2, rel=0.03)
    assert b.cut_hz is None


def test_one_song_can_be_checked(folder):
    found = audit_dataset(folder / UNO)
    assert (found.layout, len(found.songs), found.findings) == ("song", 1, [])
    found = audit_dataset(folder / VOCALS)
    assert (found.layout, found.songs[0].parts) == ("song", ("mixture",))


def test_a_folder_without_songs_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="holds no songs"):
        audit_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        audit_dataset(tmp_path / "missing")
    with pytest.raises(InputError, match="unknown layout"):
        audit_dataset(tmp_path, layout="musdb81")


def test_links_in_a_circle_end(folder):
    (folder / UNO / "round").symlink_to(folder)
    assert found_in(folder, fingerprints=False) == {}


@pytest.mark.slow
def test_real_previews_of_musdb18():
    """What is known of them: 119 AAC files, and one whose left channel is wrong."""
    root = os.environ.get("MSSEDU_MUSDB")
    if not root:
        pytest.skip("set MSSEDU_MUSDB to a MUSDB18 folder to test with it")
    found = audit_dataset(root)
    errors = {(f.rule, f.song) for f in found.findings if f.severity == "error"}
    assert errors == {("gain", "PR - Oh No")}
    assert not [f for f in found.findings if f.rule in ("copy", "lag", "polarity")]
