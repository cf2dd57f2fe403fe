"""Pictures of known sounds: a tone is a line at its frequency, and levels are in dB."""

import matplotlib
import numpy as np
import pytest
import torch

from mssedu.listening.widgets.pictures import (
    N_ROWS,
    level_image,
    octave_rows,
    palette,
    picture,
    row_edges_hz,
    to_bytes,
)
from mssedu.spectral import stft

RATE = 44100


def tone(hz, samples=RATE):
    return torch.sin(2 * torch.pi * hz * torch.arange(samples) / RATE)[None]


@pytest.mark.parametrize("hz", [100, 440, 1000, 8000])
def test_a_tone_is_brightest_in_the_row_of_its_frequency(hz):
    image, frames, _ = picture(tone(hz), RATE, 4096, 1024)
    image = np.frombuffer(image, np.uint8).reshape(N_ROWS, frames)
    row = image[:, frames // 2].argmax()
    low, high = row_edges_hz(RATE)[[row, row + 1]].tolist()
    step = RATE / 4096
    assert low - step <= hz <= high + step


def test_a_second_tone_is_as_much_darker_as_it_is_quieter():
    both = tone(1000) + 0.01 * tone(5000)  # −40 dB
    spectrogram = stft(both, 4096, 1024)
    column = level_image(spectrogram, RATE)[:, 20]
    edges = row_edges_hz(RATE)
    loud, quiet = (column[(edges[:-1] > f / 1.1) & (edges[1:] < f * 1.1)].max()
                   for f in (1000, 5000))  # fmt: skip
    assert loud == pytest.approx(1, abs=0.02)
    # A row at 5 kHz averages over more bins than one at 1 kHz.
    assert -50 < (quiet - loud) * 80 < -39


def test_rows_keep_a_constant_and_cover_every_bin_of_the_upper_octaves():
    constant = octave_rows(torch.ones(1025, 3), RATE)
    torch.testing.assert_close(constant, torch.ones(N_ROWS, 3))
    rows = octave_rows(
        torch.eye(1025), RATE
    )  # column n: the share of bin n in each row
    assert rows[0].argmax() <= 2
    assert rows[-1].nonzero().max() == 1023  # the last row ends below bin 1024
    assert (rows[:, 600] > 0).sum() == 1


def test_silence_is_black():
    image, frames, _ = picture(torch.zeros(2, 5000), RATE, 1024, 256)
    assert not any(image)
    assert len(image) == N_ROWS * frames


@pytest.mark.parametrize("samples", [64 * 2047, 64 * 2048, 64 * 5000 + 7])
def test_the_parts_of_a_long_sound_make_the_picture_of_the_whole(samples):
    audio = torch.rand(2, samples, generator=torch.Generator().manual_seed(0))
    image, frames, step = picture(audio, RATE, 512, 64)
    whole = level_image(stft(audio, 512, 64), RATE)
    assert (step, frames) == (64, whole.shape[1])
    assert image == to_bytes(whole)


def test_columns_of_a_long_sound_are_means_of_frames():
    audio = tone(1000, 64 * 20_000)
    image, frames, step = picture(audio, RATE, 512, 64)
    assert (frames, step) == (20_001 // 3, 3 * 64)
    columns = np.frombuffer(image, np.uint8).reshape(N_ROWS, frames)[:, 1:-1]
    # The tone does not change, so neither does a column.
    assert np.ptp(columns[columns.max(1) > 200].astype(int), axis=1).max() <= 1


def test_bytes_are_rounded_and_bounded():
    assert to_bytes(torch.tensor([[-1.0, 0.5, 2.0]])) == bytes([0, 128, 255])


def test_the_palette_is_that_of_the_figures():
    colors = np.frombuffer(palette(), np.uint8).reshape(256, 3)
    magma = matplotlib.colormaps["magma"]
    np.testing.assert_allclose(colors[200] / 255, magma(200)[:3], atol=1 / 255)
    brightness = colors @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) >= -1).all()
