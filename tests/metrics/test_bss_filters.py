"""The linear algebra of BSS Eval against the same written out in full."""

import numpy as np
import pytest
import torch

from mssedu.metrics import bss
from mssedu.metrics.bss import (
    RIDGE,
    correlations,
    energies_of_parts,
    find_filters,
    least_squares,
    toeplitz,
)


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def delayed(audio, taps):
    """A: (samples + taps - 1, channels · taps), every copy of every channel."""
    channels, samples = audio.shape
    columns = torch.zeros(samples + taps - 1, channels, taps, dtype=torch.float64)
    for delay in range(taps):
        columns[delay : delay + samples, :, delay] = audio.T
    return columns.flatten(1)


@pytest.mark.parametrize("samples", [5, 300, 9001])
def test_correlations_equal_numpys(samples, monkeypatch):
    monkeypatch.setattr(bss, "CORRELATION_BLOCK", 256)
    monkeypatch.setattr(bss, "GROUP", 3)
    inputs, others, taps = noise(2, samples), noise(3, samples, seed=1), 7
    got = correlations(inputs.float(), others.float(), taps)
    assert (got.dtype, got.shape) == (torch.float64, (2, 5, 13))
    for a, x in enumerate(inputs.float().double().numpy()):
        for b, y in enumerate(torch.cat([inputs, others]).float().double().numpy()):
            padded = np.pad(y, 6)  # so that lags that are not there read zeros
            want = np.correlate(padded, x, "valid")
            np.testing.assert_allclose(got[a, b].numpy(), want, atol=1e-9)


def test_toeplitz_equals_the_matrix_written_out():
    audio, taps = noise(3, 200), 9
    matrix = delayed(audio, taps)
    gram = toeplitz(correlations(audio, audio[:0], taps), taps)
    torch.testing.assert_close(gram, matrix.T @ matrix)


def test_least_squares_is_that_of_least_norm():
    audio, taps = noise(2, 400), 6
    audio /= audio.norm(dim=1, keepdim=True)
    matrix = delayed(torch.cat([audio, audio[:1]]), taps)  # one channel twice
    wanted = noise(len(matrix), 2, seed=1)
    ridged = matrix.T @ matrix + RIDGE * torch.eye(3 * taps)
    got = least_squares(ridged, matrix.T @ wanted)
    want = torch.linalg.pinv(matrix) @ wanted
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    torch.testing.assert_close(got[:taps], got[-taps:], rtol=0, atol=1e-5)  # they share


def test_the_ridge_leaves_no_trace():
    audio, taps = noise(2, 400), 6
    audio /= audio.norm(dim=1, keepdim=True)
    matrix, filters = delayed(audio, taps), noise(2 * taps, 1, seed=1)
    ridged = matrix.T @ matrix + RIDGE * torch.eye(2 * taps)
    got = least_squares(ridged, matrix.T @ (matrix @ filters))
    torch.testing.assert_close(got, filters, rtol=0, atol=1e-13)


def test_silent_and_quiet_stems_have_filters_too():
    references, taps = noise(3, 1, 400), 6
    references[1] = 0
    references[2] *= 1e-6
    pairs = torch.arange(3)
    filters = find_filters(references, references, taps, pairs, pairs, 400)
    response = torch.fft.irfft(filters.every[:, :, 0], filters.n_fft)[..., :taps]
    itself = torch.zeros(taps, dtype=torch.float64)
    itself[0] = 1
    for stem in (0, 2):
        torch.testing.assert_close(response[stem, stem], itself, rtol=0, atol=1e-9)
    assert response[1].eq(0).all()


def test_a_filtered_stem_is_found_and_explained():
    """e = s₀ * h: P₁ is all of it, and the other stem adds nothing."""
    references, taps = noise(2, 1, 500), 8
    references[..., -taps:] = 0  # the end of the convolution lies inside
    shape = noise(taps, seed=1)
    heard = (delayed(references[0], taps) @ shape)[:500]
    estimates = torch.stack([heard[None], references[1]])
    pairs = torch.tensor([0, 1])
    filters = find_filters(references, estimates, taps, pairs, pairs, 500)
    response = torch.fft.irfft(filters.own[0, 0, 0], filters.n_fft)
    torch.testing.assert_close(response[:taps], shape, rtol=0, atol=1e-9)
    target, error, spatial, alone, interference, every, artifacts = energies_of_parts(
        references, estimates, filters, filtered_target=False
    )
    torch.testing.assert_close(target, references.square().sum((-2, -1)))
    torch.testing.assert_close(alone, estimates.square().sum((-2, -1)))
    torch.testing.assert_close(every, alone)
    torch.testing.assert_close(error[0], spatial[0])
    assert (interference / target < 1e-15).all()
    assert (artifacts / target < 1e-15).all()
    assert error[1] == 0
    options = {"filtered_target": True}
    target, error, *_ = energies_of_parts(references, estimates, filters, **options)
    torch.testing.assert_close(target, alone)
    assert (error / target < 1e-15).all()
