"""Track: random access, the sum that is the mixture, memory, other stems."""

import dataclasses
import pickle
from pathlib import Path

import pytest
import soundfile as sf
import torch

from mssedu.data.loading import demo_data, load_dataset, load_track
from mssedu.data.track import StemFile, Track
from mssedu.errors import AudioFileError, InputError

RATE = 8000


@pytest.fixture
def ramps() -> dict[str, torch.Tensor]:
    """Stems whose samples tell their own position."""
    ramp = torch.arange(2 * RATE).reshape(1, -1) / 2**18
    return {"vocals": torch.cat([ramp, -ramp]), "bass": torch.cat([ramp, ramp]) / 2}


@pytest.fixture
def folder(tmp_path: Path, ramps: dict[str, torch.Tensor]) -> Path:
    song = tmp_path / "雨天 #1 ű"
    song.mkdir()
    for stem, audio in ramps.items():
        sf.write(song / f"{stem}.wav", audio.T.numpy(), RATE, "FLOAT")
    return song


def test_seconds_mean_samples(folder: Path, ramps: dict[str, torch.Tensor]) -> None:
    track = load_track(folder)
    assert (track.name, track.duration, track.n_samples) == ("雨天 #1 ű", 2.0, 16000)
    part = track.stem("vocals", start=0.5, duration=0.25)
    assert torch.equal(part, ramps["vocals"][:, 4000:6000])
    for first in (1, 3, 4567, 15999):
        part = track.stem("bass", first / RATE, 1 / RATE)
        assert torch.equal(part, ramps["bass"][:, first : first + 1])


def test_end_of_the_track_clips(folder: Path) -> None:
    track = load_track(folder)
    assert track.stem("bass", 1.9, 5.0).shape == (2, 800)
    assert track.sources(1.5).shape == (2, 2, 4000)
    assert track.mixture(duration=torch.inf).shape == (2, 16000)
    # Within half a sample of the end: the last sample, not none.
    assert track.stem("bass", 2.0 - 0.1 / RATE).shape == (2, 1)


@pytest.mark.parametrize("start", [-0.1, 2.0, 7.0, float("nan")])
def test_start_outside_the_track(folder: Path, start: float) -> None:
    with pytest.raises(InputError, match=f"雨天 #1 ű.*start .*got {start}"):
        load_track(folder).mixture(start)


@pytest.mark.parametrize("duration", [0.0, -1.0, 1e-9])
def test_duration_below_one_sample(folder: Path, duration: float) -> None:
    with pytest.raises(InputError, match=f"duration .*got {duration}"):
        load_track(folder).mixture(0.0, duration)


def test_unknown_stem_names_the_nearest(folder: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'vocals'"):
        load_track(folder).stem("vocal")


def test_mixture_is_the_exact_sum() -> None:
    track = load_dataset(demo_data(), "test")[0]
    assert track.mixture_is_sum
    sources = track.sources(32.0, 2.0)
    assert torch.equal(track.mixture(32.0, 2.0), sources.sum(0))
    assert sources[:2].abs().amax((1, 2)).min() > 0.1  # vocals and drums are heard


def test_in_memory_reads_the_same_samples() -> None:
    track = load_track(demo_data() / "valid" / "Francium")
    held = track.in_memory()
    assert type(held) is Track
    assert held.in_memory() is held
    assert torch.equal(held.sources(12.3, 1.0), track.sources(12.3, 1.0))
    assert torch.equal(held.mixture(39.5), track.mixture(39.5))


def test_in_memory_audio_is_safe_from_the_reader(ramps: dict) -> None:
    track = Track.from_audio("ramps", ramps, RATE)
    track.stem("vocals").zero_()
    track.mixture().zero_()
    assert torch.equal(track.stem("vocals"), ramps["vocals"])


def test_mixture_of_its_own(ramps: dict) -> None:
    mixture = torch.full((2, 2 * RATE), 0.5)
    track = Track.from_audio("mastered", ramps, RATE, mixture=mixture)
    assert not track.mixture_is_sum
    assert torch.equal(track.mixture(1.0), mixture[:, RATE:])
    assert track.stems == ("vocals", "bass")


def test_selected_stems_leave_the_mixture_alone(folder: Path) -> None:
    track = load_track(folder)
    for whole in (track, track.in_memory()):
        bass = whole.with_stems(["bass"])
        assert bass.stems == ("bass",)
        assert torch.equal(bass.sources()[0], track.stem("bass"))
        assert torch.equal(bass.mixture(), track.mixture())


@pytest.mark.parametrize("in_memory", [False, True])
def test_grouped_stems_are_sums(in_memory: bool) -> None:
    track = load_dataset(demo_data(), "test")[0]
    groups = {"vocals": ["vocals"], "accompaniment": ["drums", "bass", "other"]}
    duo = (track.in_memory() if in_memory else track).with_stems(groups)
    assert duo.stems == ("vocals", "accompaniment")
    expected = track.sources(5.0, 1.0)[1:].sum(0)
    torch.testing.assert_close(duo.stem("accompaniment", 5.0, 1.0), expected)
    torch.testing.assert_close(duo.mixture(5.0, 1.0), track.mixture(5.0, 1.0))


def test_groups_must_be_disjoint(ramps: dict) -> None:
    track = Track.from_audio("ramps", ramps, RATE)
    with pytest.raises(InputError, match="'bass' is in 'a' and in 'b'"):
        track.with_stems({"a": ["bass"], "b": ["bass", "vocals"]})
    with pytest.raises(InputError, match="unknown stem 'drums'"):
        track.with_stems(["drums"])
    with pytest.raises(InputError, match="other stems are called bass"):
        track.with_stems({"bass": ["vocals"]})
    with pytest.raises(InputError, match="none can be called 'mixture'"):
        track.with_stems({"mixture": ["vocals"]})


def test_lone_mixture_has_no_sources(folder: Path) -> None:
    track = load_track(folder / "bass.wav")
    assert track.stems == ()
    assert "no stems" in repr(track)
    assert track.mixture().shape == (2, 16000)
    with pytest.raises(InputError, match="has no stems"):
        track.sources()


def test_from_audio_refuses_unlike_shapes(ramps: dict) -> None:
    for sources in ({}, {"a": torch.zeros(8)}, {**ramps, "other": torch.zeros(2, 9)}):
        with pytest.raises(InputError, match="must have one shape"):
            Track.from_audio("unlike", sources, RATE)


def test_stems_need_audio(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no audio of the stems bass"):
        Track("empty", ("bass",), RATE, 2, 100)


def test_file_that_shrank(folder: Path) -> None:
    track = load_track(folder)
    sf.write(folder / "bass.wav", torch.zeros(100, 2).numpy(), RATE, "FLOAT")
    with pytest.raises(AudioFileError, match=r"bass\.wav.* \(2, 16000\), got \(2, 100"):
        track.mixture()


def test_repr_pickle_and_equality(folder: Path) -> None:
    track = load_track(folder)
    text = "Track('雨天 #1 ű', 2.0 s, 8000 Hz, 2 channels, stems: vocals, bass)"
    assert repr(track) == repr(track.in_memory()) == text
    assert pickle.loads(pickle.dumps(track)) == track
    assert track.files[0] == StemFile("vocals", folder / "vocals.wav")
    with pytest.raises(AttributeError, match="cannot assign to field 'name'"):
        track.name = "another"  # type: ignore[misc]


# Absent stems


@pytest.fixture
def gapped(ramps: dict) -> Track:
    """A song of a data set with three more stems, which it does not have."""
    absent = ("drums", "erhu", "pipa")
    return Track.from_audio("gapped", ramps, RATE, absent=absent)


def test_an_absent_stem_has_no_audio(gapped: Track, ramps: dict) -> None:
    assert gapped.stems == ("vocals", "bass", "drums", "erhu", "pipa")
    assert gapped.present == ("vocals", "bass")
    assert gapped.unselected == ()
    sources = gapped.sources()
    assert torch.equal(sources[0], ramps["vocals"])
    assert not sources[2:].any()
    assert torch.equal(gapped.mixture(), ramps["vocals"] + ramps["bass"])
    with pytest.raises(InputError, match=r"'drums' is absent.* Track\.present"):
        gapped.stem("drums")
    assert "stems: vocals, bass, drums (absent), erhu (absent)" in repr(gapped)
    assert pickle.loads(pickle.dumps(gapped)).absent == gapped.absent


def test_a_sum_with_an_absent_stem_is_absent(gapped: Track, ramps: dict) -> None:
    track = gapped.with_stems(["rhythm=bass+drums", "erhu", "vocals"])
    for again in (track, track.with_stems(track.stems)):
        assert again.absent == ("rhythm", "erhu")
        assert again.unselected == ("bass",)
        assert torch.equal(again.stem("bass"), ramps["bass"])
        assert torch.equal(again.mixture(), gapped.mixture())


def test_what_is_left_of_an_absent_sum_has_a_name_of_its_own(gapped: Track) -> None:
    track = gapped.with_stems({"bass": ["bass", "drums"], "vocals": ["vocals"]})
    assert (track.present, track.absent) == (("vocals",), ("bass",))
    assert track.unselected == ("part of bass",)
    again = track.with_stems(["bass=bass+drums", "vocals"])
    assert (again.absent, again.unselected) == (track.absent, track.unselected)
    parts = [again.stem(name) for name in (*again.present, *again.unselected)]
    assert torch.equal(torch.stack(parts).sum(0), gapped.mixture())


def test_the_mixture_without_an_absent_stem_is_absent(gapped: Track) -> None:
    assert gapped.with_stems(["no_erhu"]).absent == ("no_erhu",)
    assert gapped.with_stems(["no_bass"]).absent == ()
    alone = gapped.with_stems(["vocals", "drums"])
    assert alone.with_stems(["no_vocals"]).present == ("no_vocals",)  # the bass
    lone = Track.from_audio("a", {"dizi": torch.zeros(1, 9)}, RATE, absent=["pipa"])
    # The rest of the mixture would be pipa, of which nothing is known.
    assert lone.with_stems(["dizi", "no_dizi"]).absent == ("no_dizi",)


def test_absent_stems_have_no_audio_and_are_stems(ramps: dict) -> None:
    track = Track.from_audio("ramps", ramps, RATE)
    for absent in (("bass",), ("drums",)):
        with pytest.raises(
            InputError, match=f"absent must name stems .* got {absent[0]}"
        ):
            dataclasses.replace(track, absent=absent)
    with pytest.raises(InputError, match="unknown stem 'tabla'"):
        track.with_stems({"a": ["vocals", "tabla"]})
