"""One song: planted errors are found where they are, with their cause and sound."""

import pytest
import torch

from mssedu.evaluation.error_analysis import EXCERPT_SECONDS, REST, Song
from mssedu.metrics.ratios import usdr

RATE = 8000
SECONDS = 8


def make(sources, estimate, mixture=None, stems=("voice", "band")):
    return Song(
        name="Planted",
        stems=stems,
        sample_rate=RATE,
        sources=sources,
        mixture=sources.sum(0) if mixture is None else mixture,
        estimate=estimate,
    )


@pytest.fixture
def sources():
    return 0.1 * torch.randn(2, 2, SECONDS * RATE)


@pytest.fixture
def song(sources):
    """The band is loud in the voice from 5 to 6 s; all else is nearly perfect."""
    estimate = sources + 1e-3 * torch.randn(sources.shape)
    planted = slice(5 * RATE, 6 * RATE)
    estimate[0, :, planted] += 2 * sources[1, :, planted]
    return make(sources, estimate)


def test_the_planted_error_is_the_worst_window(song):
    (worst,) = song.worst(song.errors().windows, 1, float("inf"))
    assert (worst.track, worst.stem, worst.seconds) == ("Planted", "voice", 5.5)
    assert worst.usdr == pytest.approx(-6, abs=0.1)
    assert worst.bled_from == "band"
    assert worst.bleed_db == pytest.approx(6, abs=0.2)
    assert worst.level_db == pytest.approx(-20, abs=0.2)
    assert worst.lost_db < -30
    assert worst.artifacts_db == pytest.approx(-40, abs=3)
    peak = song.estimate[0, :, 5 * RATE : 6 * RATE].abs().max()
    assert worst.peak_db == pytest.approx(20 * float(peak.log10()))


def test_what_is_heard_is_what_was_there(song):
    (worst,) = song.worst(song.errors().windows, 1, float("inf"))
    assert worst.stretch.start == 5.5 - EXCERPT_SECONDS / 2
    span = slice(4 * RATE, 7 * RATE)
    whole = {
        "mixture": song.mixture,
        "reference": song.sources[0],
        "estimate": song.estimate[0],
    }
    assert worst.stretch.sounds.keys() == whole.keys()
    for label, sound in worst.stretch.sounds.items():
        assert torch.equal(sound, whole[label][:, span])
        # Nothing but the excerpt stays in memory
        assert sound.untyped_storage().nbytes() == sound.nbytes


def test_a_limit_keeps_better_windows_out(song):
    windows = song.errors().windows
    assert not song.worst(windows, 10, -20.0)
    assert len(song.worst(windows, 10, 0.0)) == 1
    every = song.worst(windows, 99, float("inf"))
    for one in every:
        others = [o for o in every if o is not one and o.stem == one.stem]
        apart = [abs(one.seconds - other.seconds) for other in others]
        assert min(apart) >= EXCERPT_SECONDS


def test_a_missing_stem_is_lost(sources):
    estimate = sources.clone()
    estimate[1] = 0
    song = make(sources, estimate)
    (worst,) = song.worst(song.errors().windows, 1, float("inf"))
    assert worst.stem == "band"
    assert worst.lost_db == pytest.approx(0, abs=1e-6)
    assert (worst.bled_from, worst.bleed_db, worst.artifacts_db) == ("", -100, -100)
    assert worst.peak_db == -100


def test_numbers_of_the_whole_song(song):
    found = song.errors()
    scores = usdr(reference=song.sources, estimate=song.estimate)
    torch.testing.assert_close(found.usdr, scores)
    # One of eight seconds has the band at +6 dB
    bled = found.bleed.of_sources()[1, 0]
    assert float(bled) == pytest.approx(6.02 - 9.03, abs=0.2)
    assert found.stretch.sounds.keys() == {"mixture", "voice", "band"}
    assert torch.equal(found.stretch.sounds["band"], song.estimate[1])  # 8 s: all


def test_excerpts_at_the_ends_move_inside(song):
    for seconds, wanted in ((0.5, (0, 3)), (7.5, (5, 8)), (4.0, (2.5, 5.5))):
        around = song.around(seconds, 3.0)
        assert (around.start / RATE, around.stop / RATE) == wanted
    assert song.around(1.0, 99.0) == slice(0, SECONDS * RATE)


def test_the_rest_of_the_mixture_is_a_source(sources):
    voice, band = sources
    estimate = (voice + 0.5 * band)[None]
    song = make(voice[None], estimate, mixture=voice + band, stems=("voice",))
    found = song.errors()
    assert float(found.bleed.of_sources()[1, 0]) == pytest.approx(-6.02, abs=0.01)
    (worst,) = song.worst(found.windows, 1, float("inf"))
    assert worst.bled_from == REST


def test_what_a_codec_changed_is_no_source(sources):
    hiss = 0.01 * torch.randn(2, SECONDS * RATE)
    song = make(sources, sources, mixture=sources.sum(0) + hiss)
    assert song.errors().bleed.sources[-1] == 0
