"""The words of captions and alt texts say nothing that the numbers do not show."""

import math

import pytest
import torch

import mssedu as ms
from mssedu.figures.words import course, measured


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.01234, "", "0.0123"),
        (1, "samples", "1 sample"),
        (1.0, "ms", "1 ms"),
        (999.6, "Hz", "1000 Hz"),
        (1217.4, "Hz", "1217 Hz"),
        (1234567.8, "", "1234568"),
        (15_762_432_000, "FLOPs", "15.8 billion FLOPs"),
        (-0.04, "dB", "0.0 dB"),
        (math.inf, "", "inf"),
    ],
)
def test_a_number_has_no_exponent(value, unit, text):
    assert measured(value, unit) == text


@pytest.mark.parametrize(
    ("values", "unit", "text"),
    [
        ([1.0, 1 + 2e-16, 1 - 2e-16, 1.0], "", "stays at 1"),
        ([-3.01, -2.99, -3.02, -3.0], "dB", "stays at -3.0 dB"),
        ([3.31, 3.33, 3.29, 3.34], "dB", "stays at 3.3 dB"),
        ([-6.2, -6.21, -6.83, -6.8], "dB", "falls from -6.2 dB at 0 to -6.8 dB at 3"),
        ([1.0, 0.7, 0.3, 6.1e-17], "", "falls from 1 at 0 to 0 at 3"),
        ([1e-9, 2e-9, 3e-9, 4e-9], "", "rises from 1e-09 at 0 to 4e-09 at 3"),
        ([1, 5, 0, 2], "", "goes from 1 at 0 to 2 at 3, highest at 1 with 5 and lowest "
         "at 2 with 0"),
    ],
)  # fmt: skip
def test_a_difference_that_is_not_written_has_no_word(values, unit, text):
    assert course(range(4), values, unit=unit) == text


def test_half_of_the_power_of_the_lowest_bin_is_up_to_its_upper_edge():
    rumble = torch.ones(1, 44100)  # 0 Hz: all of it is in the first bin
    figure = ms.figures.spectrogram_figure(rumble, 44100, n_fft=256, hop_length=64)
    assert "dB below 86 Hz and" in figure.alt
    assert figure.alt.endswith("half of the power up to 86 Hz.")


def test_half_of_the_power_is_not_above_half_of_the_sample_rate():
    squeak = torch.tensor([1.0, -1.0]).repeat(500)[None]
    figure = ms.figures.spectrogram_figure(squeak, 1000, n_fft=64, hop_length=16)
    assert "dB at 500 Hz and" in figure.alt
    assert figure.alt.endswith("half of the power up to 500 Hz.")
