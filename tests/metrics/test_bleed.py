"""Bleed: known mixing matrices come back, nothing is found where nothing is."""

import pytest
import torch

from mssedu.data.loading import demo_data, load_dataset
from mssedu.errors import InputError
from mssedu.masks import apply_mask, ideal_ratio_mask
from mssedu.metrics.bleed import FLOOR_DB, bleed_matrix, find_bleed
from mssedu.metrics.ratios import usdr
from mssedu.spectral import istft, stft

RATE = 44100


@pytest.fixture
def sources():
    """Three unlike stereo noises of 2 s at levels 20 dB apart."""
    noise = torch.randn(3, 2, 2 * RATE)
    noise[1] = noise[1].cumsum(-1) / 100  # dark
    return noise * torch.tensor([1.0, 0.1, 0.01])[:, None, None]


def mix(gains, sources):
    """Estimate j has gains[i][j] of source i."""
    return torch.einsum("ij,ict->jct", torch.tensor(gains).to(sources), sources)


def decibels(gains):
    return (20 * torch.tensor(gains).double().abs().log10()).clamp_min(FLOOR_DB)


def test_a_known_mixing_matrix_comes_back(sources):
    gains = [[0.9, 0.1, 0.0], [-0.3, 2.0, 0.5], [0.0, 0.02, 1.0]]
    for dtype in (torch.float64, torch.float32):
        s = sources.to(dtype)
        found = bleed_matrix(references=s, estimates=mix(gains, s))
        wanted = decibels(gains)
        assert found.dtype == torch.float64
        heard = wanted > FLOOR_DB
        assert (found[heard] - wanted[heard]).abs().max() < 0.01
        # Source 0 is 40 dB louder than source 2: rounding of float32 shows from there
        assert found[~heard].max() < -80


def test_perfect_estimates(sources):
    found = find_bleed(references=sources, estimates=sources)
    perfect = torch.where(torch.eye(3).bool(), 0.0, FLOOR_DB).double()
    torch.testing.assert_close(found.of_sources(), perfect, atol=1e-6, rtol=0)
    assert (found.of_errors() == FLOOR_DB).all()


def test_scale(sources):
    estimates = mix([[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0]], sources)
    found = bleed_matrix(references=sources, estimates=estimates)
    louder = bleed_matrix(references=sources, estimates=2 * estimates)
    torch.testing.assert_close(louder, found + 6.0206, atol=1e-3, rtol=0)
    both = bleed_matrix(references=1e-3 * sources, estimates=1e-3 * estimates)
    torch.testing.assert_close(both, found, atol=1e-3, rtol=0)


def test_correlated_sources_are_told_apart(sources):
    sources[1] = sources[0] + 0.1 * torch.randn(2, 2 * RATE)
    gains = [[1.0, 0.0, 0.3], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]
    found = bleed_matrix(references=sources, estimates=mix(gains, sources))
    wanted = decibels(gains)
    heard = wanted > FLOOR_DB
    assert (found[heard] - wanted[heard]).abs().max() < 0.01


def test_equal_sources_share_the_credit(sources):
    sources[2] = sources[0]
    found = bleed_matrix(references=sources, estimates=sources)
    assert found[[0, 0, 2, 2], [0, 2, 0, 2]].tolist() == pytest.approx(4 * [-6.0206])
    assert float(found[1, 1]) == pytest.approx(0, abs=1e-6)


def test_dual_mono_sources_are_as_good_as_any(sources):
    sources[:, 1] = sources[:, 0]
    gains = [[1.0, 0.1, 0.1], [0.1, 1.0, 0.1], [0.1, 0.1, 1.0]]
    found = bleed_matrix(references=sources, estimates=mix(gains, sources))
    assert (found - decibels(gains)).abs().max() < 0.01


def test_bleed_that_comes_and_goes_is_found_whole(sources):
    leaking = torch.cat([torch.zeros(RATE), torch.ones(RATE)])
    estimates = sources.clone()
    estimates[0] += 0.5 * leaking * sources[1]
    energy = (leaking * sources[1]).square().sum() / sources[1].square().sum()
    found = bleed_matrix(references=sources, estimates=estimates)
    wanted = -6.02 + 10 * float(energy.log10())
    assert float(found[1, 0]) == pytest.approx(wanted, abs=0.1)


def test_bleed_of_some_frequencies_is_found(sources):
    spectrum = stft(sources[0])
    spectrum[:, spectrum.shape[1] // 2 :] = 0  # below 11 kHz: half of the white noise
    estimates = sources.clone()
    estimates[1] += istft(spectrum, length=2 * RATE)
    found = bleed_matrix(references=sources, estimates=estimates)
    assert float(found[0, 1]) == pytest.approx(-3, abs=0.2)


def test_silence(sources):
    estimates = sources.clone()
    sources[1], estimates[2] = 0, 0
    bleed = find_bleed(references=sources, estimates=estimates)
    found, errors = bleed.of_sources(), bleed.of_errors()
    assert found[1].isnan().all()
    assert not found[[0, 2]].isnan().any()
    assert (found[[0, 2], 2] == FLOOR_DB).all()
    assert float(errors[2, 2]) == pytest.approx(0)  # all of it is lost
    assert errors[1].isnan().all()
    assert errors[:, 1].isnan().all()
    assert not errors[[0, 2, 3]][:, [0, 2]].isnan().any()
    nothing = torch.zeros_like(sources)
    assert bleed_matrix(references=nothing, estimates=nothing).isnan().all()


def test_errors_are_lost_bled_and_made_up(sources):
    s = torch.randn(2, 2, 4 * RATE)
    estimates = mix([[0.7, 0.2], [0.1, 1.0]], s)
    estimates[0] += 0.05 * torch.randn(2, 4 * RATE)
    errors = find_bleed(references=s, estimates=estimates).of_errors()
    wanted = 20 * torch.tensor([0.3, 0.1, 0.05]).log10()
    torch.testing.assert_close(errors[:, 0].float(), wanted, atol=0.2, rtol=0)
    together = 10 * (10 ** (errors / 10)).sum(0).log10()
    score = usdr(reference=s, estimate=estimates)
    torch.testing.assert_close(together.float(), -score, atol=0.1, rtol=0)


@pytest.mark.parametrize("change", [lambda s: s.roll(300, -1), lambda s: s.flip(-2)])
def test_a_moved_source_is_an_artifact(change):
    s = torch.randn(2, 2, 2 * RATE)
    estimates = torch.stack([change(s[0]), s[1]])
    errors = find_bleed(references=s, estimates=estimates).of_errors()
    assert float(errors[0, 0]) == pytest.approx(0, abs=0.5)
    assert float(errors[2, 0]) == pytest.approx(0, abs=0.5)


def test_what_resembles_by_chance_is_not_bleed():
    s, strange = torch.randn(2, 2, 1, 10 * RATE)
    found = find_bleed(references=s, estimates=strange)
    assert found.of_sources().max() < -35  # about -30 if chance were counted
    errors = found.of_errors()
    assert errors.diagonal().tolist() == pytest.approx([0, 0], abs=0.1)
    assert errors[-1].tolist() == pytest.approx([0, 0], abs=0.1)


def test_stretches_add_up(sources):
    estimates = mix([[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0]], sources)
    first, second = (
        find_bleed(references=s, estimates=e)
        for s, e in zip(sources.chunk(2, -1), estimates.chunk(2, -1), strict=True)
    )
    whole = find_bleed(references=sources, estimates=estimates)
    torch.testing.assert_close((first + second).parts, whole.parts)
    torch.testing.assert_close((first + second).sources, whole.sources)


@pytest.mark.parametrize(("samples", "rate"), [(1, 44100), (100, 44100), (9000, 8000)])
def test_any_length_and_rate(samples, rate):
    s = torch.randn(2, 1, samples)
    before = s.clone()
    found = bleed_matrix(references=s, estimates=0.5 * s, sample_rate=rate)
    assert torch.equal(s, before)
    if samples > 1:  # a single sample cannot tell two sources apart
        own = [-6.0206, -6.0206]
        assert found.diagonal().tolist() == pytest.approx(own, abs=1e-3)


def test_masks_on_real_music():
    """What the docstring claims: near the truth, where one gain a source is far off."""
    (song,) = load_dataset(demo_data(), "valid")
    s = song.sources(20, 10)
    spectrograms = stft(s)
    mask = ideal_ratio_mask(spectrograms)
    parts = torch.stack(
        [istft(apply_mask(mask, x), length=s.shape[-1]) for x in spectrograms]
    )
    estimates = parts.sum(0)
    energy = s.square().sum((-2, -1))[:, None]
    truth = 10 * (parts.square().sum((-2, -1)) / energy).log10()
    bled = (truth > -40) & ~torch.eye(len(s)).bool()
    found = bleed_matrix(references=s, estimates=estimates).float()
    assert (found - truth).diagonal().abs().max() < 0.2
    assert -3 < (found - truth)[bled].mean() < 0
    gains = torch.linalg.lstsq(s.flatten(1).T, estimates.flatten(1).T).solution
    single = 20 * gains.abs().log10()
    assert (single - truth)[bled].mean() < -6


def test_what_it_refuses(sources):
    with pytest.raises(
        InputError, match="references and estimates must have one shape"
    ):
        bleed_matrix(references=sources, estimates=sources[:2])
    with pytest.raises(InputError, match=r"got \(2, 88200\)"):
        bleed_matrix(references=sources[0], estimates=sources[0])
    with pytest.raises(InputError, match="are empty"):
        bleed_matrix(references=sources[..., :0], estimates=sources[..., :0])
    bad = sources.clone()
    bad[1, 0, RATE] = torch.nan
    with pytest.raises(InputError, match=r"references .*1\.000 s"):
        bleed_matrix(references=bad, estimates=sources)
    with pytest.raises(InputError, match="estimates has"):
        bleed_matrix(references=sources, estimates=bad)
