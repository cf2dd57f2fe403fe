"""Scores of one track: rows in closed form, silence, NaN, caps."""

import json
import shutil
import warnings
from dataclasses import asdict

import numpy as np
import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.data.loading import load_track
from mssedu.data.track import Track
from mssedu.errors import DatasetError, InputError
from mssedu.evaluation.oracles import oracle_estimate
from mssedu.evaluation.track import (
    ROWS,
    Job,
    TrackScores,
    find_lag,
    fitted,
    score_track,
)
from mssedu.metrics.ratios import usdr
from mssedu.metrics.table import METRICS

RATE = 8000
STEMS = ("voice", "rest")
METRIC_NAMES = ("usdr", "si_sdr", "pes")
JOB = Job(STEMS, METRIC_NAMES, tuple(ROWS))


def song(voice=0.1, rest=0.1, seconds=1.5):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 2, int(seconds * RATE))
    gains = torch.tensor([voice, rest])[:, None, None]
    audio = torch.randn(shape, generator=generator) * gains
    return Track.from_audio("a song", dict(zip(STEMS, audio, strict=True)), RATE)


def scored(track, estimates=None, job=JOB):
    estimates = track.sources() if estimates is None else estimates
    return score_track(track, estimates, "hash", job)


def test_rows_in_closed_form():
    track = song()
    found = scored(track, track.mixture().expand(2, 2, -1) / 2)
    usdr = found.scores["usdr"]
    assert tuple(usdr) == JOB.rows == tuple(ROWS)
    assert usdr["silence"] == {"voice": 0.0, "rest": 0.0}
    # half of two equally loud noises: the error is as loud as the stem / 2
    assert usdr["model"]["voice"] == pytest.approx(3.01, abs=0.2)
    assert usdr["mixture"]["voice"] == pytest.approx(0.0, abs=0.2)
    assert usdr["mwf"]["voice"] > 3.0
    assert usdr["ibm"]["voice"] > 3.0
    assert usdr["irm"]["voice"] > 3.0


def test_silent_stems_have_no_ratio_but_a_level():
    track = song(voice=0.0)
    found = scored(track, torch.full((2, 2, 12000), 0.1))
    assert found.scores["usdr"]["model"]["voice"] is None
    assert found.scores["usdr"]["model"]["rest"] is not None
    assert found.at_silence["voice"]["model"] == pytest.approx(-20.0, abs=1e-4)
    assert found.at_silence["voice"]["silence"] == -150.0
    assert list(found.at_silence) == ["voice"]
    assert found.scores["pes"]["model"]["voice"] == pytest.approx(
        -20 + 10 * torch.tensor(2.0 * RATE).log10().item(), abs=1e-3
    )
    assert found.scores["pes"]["model"]["rest"] is None  # it never rests


def test_infinite_scores_are_capped_and_marked():
    found = scored(song())
    assert found.scores["usdr"]["model"] == {"voice": 100.0, "rest": 100.0}
    assert found.scores["si_sdr"]["silence"]["voice"] == -100.0
    assert "si_sdr silence voice" in found.capped
    assert "usdr model rest" in found.capped
    assert not any("irm" in entry or "pes" in entry for entry in found.capped)


def test_lags_are_told():
    track = song()
    late = torch.nn.functional.pad(track.sources(), (25, 0))
    found = scored(track, late, Job(STEMS, ("usdr",), ("model",), align=True))
    assert found.lag == 25
    assert found.scores["usdr"]["model"]["voice"] == 100.0


def test_frames_for_museval_are_those_of_the_estimates():
    job = Job(STEMS, ("usdr",), ("silence", "model"), museval=True)
    estimates = song().sources() + 0.01 * torch.randn(2, 2, 12000)
    frames = scored(song(), estimates, job).museval
    assert [target["name"] for target in frames["targets"]] == list(STEMS)
    assert frames["targets"][0]["frames"][0]["metrics"]["SDR"] > 15


def test_nan_names_the_file_and_the_second(tmp_path):
    import soundfile

    track = song()
    for stem in STEMS:
        audio = track.stem(stem)
        if stem == "rest":
            audio[1, 6000] = torch.nan
        soundfile.write(tmp_path / f"{stem}.wav", audio.T.numpy(), RATE, "FLOAT")
    with pytest.raises(InputError, match=r"rest \(.*rest\.wav\).*\(0\.750 s\)"):
        scored(load_track(tmp_path), track.sources())
    clean = {stem: track.stem(stem) for stem in STEMS}
    mixture = track.mixture()
    mixture[0, 80] = torch.nan
    odd = Track.from_audio("b", clean, RATE, mixture=mixture)
    with pytest.raises(InputError, match=r"b, mixture .*\(0\.010 s\)"):
        scored(odd)


def test_files_give_the_scores_of_memory(tmp_path):
    track = song()
    for stem in STEMS:
        save_audio(tmp_path / f"{stem}.wav", track.stem(stem), RATE, subtype="float32")
    job = Job(STEMS, ("usdr",), ("mixture", "irm"))
    from_disk = score_track(load_track(tmp_path), None, "hash", job).scores
    assert from_disk == score_track(track, None, "hash", job).scores


def test_json_there_and_back():
    found = scored(song(voice=0.0))
    text = json.dumps(asdict(found), allow_nan=False)
    assert TrackScores(**json.loads(text)) == found


def test_definitions_tell_words_and_versions():
    about = JOB.definitions
    assert about["metrics"]["usdr"]["definition"] == METRICS["usdr"].definition
    assert "chunks of 10 s" in about["rows"]["mwf"]
    assert about["align"] is False
    json.dumps(about)


# ---- one stem of several ------------------------------------------------------------

NAMES = ("vocals", "drums", "bass")


def three_stems(mixture=None, seconds=2):
    generator = torch.Generator().manual_seed(1)
    audio = torch.randn(3, 2, seconds * RATE, generator=generator) / 10
    sources = dict(zip(NAMES, audio, strict=True))
    return Track.from_audio("three", sources, RATE, mixture=mixture)


def leaky(track):
    """Estimates with some of the next stem in each, and noise."""
    sources = track.sources()
    return sources + 0.2 * sources.roll(1, 0) + 0.02 * torch.randn_like(sources)


def test_oracles_of_one_stem_are_those_among_all():
    track, rows = three_stems(), ("mixture", "ibm", "irm", "mwf")
    among = scored(track, None, Job(NAMES, ("usdr",), rows)).scores["usdr"]
    for stem in NAMES:
        one, job = track.with_stems([stem]), Job((stem,), ("usdr",), rows)
        alone = scored(one, one.sources(), job).scores["usdr"]
        for row in rows:
            assert alone[row][stem] == pytest.approx(among[row][stem], abs=1e-3)
        assert alone["irm"][stem] > alone["mixture"][stem] + 3


@pytest.mark.skipif(
    not shutil.which("ffmpeg"), reason="museval's import wants ffmpeg on the PATH"
)
@pytest.mark.parametrize("kind", ["stems", "pair"])
def test_sir_of_one_stem_is_what_museval_gives_beside_the_accompaniment(kind):
    from museval import metrics

    track = three_stems()
    mixture, vocals = track.mixture(), track.stem("vocals")
    others = (mixture - vocals)[None]
    if kind == "pair":
        track = Track.from_audio("pair", {"vocals": vocals}, RATE, mixture=mixture)
    estimate = leaky(three_stems())[:1]
    one = track.with_stems(["vocals"])
    job = Job(("vocals",), ("sir", "sar", "isr"), ("mixture", "model"))
    found = scored(one, estimate, job).scores
    references = torch.cat([vocals[None], others])
    for row, audio in (("model", estimate), ("mixture", mixture[None])):
        estimates = torch.cat([audio, others])
        signals = [s.mT.double().numpy() for s in (references, estimates)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, isr, sir, sar, _ = metrics.bss_eval(*signals, window=RATE, hop=RATE)
        for name, theirs in (("isr", isr), ("sir", sir), ("sar", sar)):
            ours = found[name][row]["vocals"]
            expected = min(np.nanmedian(theirs[0]), 100)
            assert ours == pytest.approx(expected, abs=1e-3)
        assert abs(found["sir"][row]["vocals"]) < 50


def test_the_rest_of_a_mixture_is_a_source_unless_a_codec_made_it():
    more = torch.randn(2, 2 * RATE, generator=torch.Generator().manual_seed(9))
    job = Job(NAMES, ("usdr",), ("irm",))
    without = scored(three_stems(), None, job).scores["usdr"]["irm"]
    for level, counts in ((0.1, True), (0.001, False)):
        mixture = three_stems().mixture() + level * more
        track = three_stems(mixture)
        found = scored(track, None, job).scores["usdr"]["irm"]
        parts = torch.cat([track.sources(), (level * more)[None]])
        shown = parts if counts else parts[:3]
        oracle = oracle_estimate("irm", shown, mixture, RATE)[:3]
        expected = usdr(reference=track.sources(), estimate=oracle)
        assert [*found.values()] == pytest.approx(expected.tolist(), abs=1e-3)
        moved = max(abs(found[s] - without[s]) for s in NAMES)
        assert moved > 0.5 if counts else moved < 0.1


def test_a_sum_among_the_stems_is_an_error():
    track = three_stems()
    sources = {
        **dict(zip(NAMES, track.sources(), strict=True)),
        "full": track.mixture(),
    }
    doubled = Track.from_audio("doubled", sources, RATE)
    for stems in ((*NAMES, "full"), ("vocals",)):
        with pytest.raises(DatasetError, match="full = vocals"):
            scored(doubled.with_stems(stems), None, Job(stems, ("usdr",), ("irm",)))


def test_nan_in_a_stem_that_is_not_scored_is_named():
    """It would reach the oracles, though the mixture has a file of its own."""
    track = three_stems()
    sources = dict(zip(NAMES, track.sources(), strict=True))
    sources["drums"][0, 5] = torch.nan
    broken = Track.from_audio("broken", sources, RATE, mixture=track.mixture())
    job = Job(("vocals",), ("usdr",), ("irm",))
    with pytest.raises(InputError, match=r"broken, drums.*at sample 5"):
        scored(broken.with_stems(["vocals"]), None, job)


# ---- lags ---------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [0, 1, 441, -300])
@pytest.mark.parametrize("length", [11000, 12000, 13000])
def test_lags_are_found_and_removed(lag, length):
    track = song()
    references = track.sources()
    padded = torch.zeros(2, 2, 14000)
    padded[..., 1000:13000] = references
    estimates = 0.3 * padded[..., 1000 - lag :][..., :length]
    estimates = estimates + torch.randn_like(estimates) / 100
    aligned, found = fitted(track, references, estimates, align=True)
    assert found == lag
    assert aligned.shape == references.shape
    inside = slice(500, 10000)
    error = aligned[..., inside] - 0.3 * references[..., inside]
    assert error.abs().max() < 0.06


def test_silence_has_no_lag():
    silence = torch.zeros(1, 1, 100)
    assert find_lag(reference=silence, estimate=silence) == 0


def test_without_align_nothing_is_moved_or_cut():
    track = song()
    references = track.sources()
    same, lag = fitted(track, references, references, align=False)
    assert (same is references, lag) == (True, 0)
    shapes = r"a song .*\(2, 2, 11000\), .* \(2, 2, 12000\)"
    with pytest.raises(InputError, match=shapes):
        fitted(track, references, references[..., :11000], align=False)
    with pytest.raises(InputError, match=r"\(1, 2, 12000\)"):
        fitted(track, references, references[:1], align=True)
    references[0, 0, 80] = torch.inf
    with pytest.raises(InputError, match=r"estimate of a song .*\(0\.010 s\)"):
        fitted(track, references, references, align=False)
