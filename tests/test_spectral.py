"""STFT and back: exact for every length, and right about tones and energy."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mssedu.errors import InputError
from mssedu.spectral import (
    channels_as_complex,
    check_covers,
    complex_as_channels,
    istft,
    n_frames,
    overlap_add,
    stft,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 3000),
    half=st.sampled_from([1, 2, 8, 50, 128, 500]),
    share=st.floats(0.01, 0.5),
    normalized=st.booleans(),
)
def test_reconstruction_at_every_length(length, half, share, normalized):
    n_fft = 2 * half
    hop_length = max(1, int(share * n_fft))
    audio = torch.randn(2, length, dtype=torch.float64)
    spectrogram = stft(audio, n_fft, hop_length, normalized=normalized)
    assert spectrogram.shape == (2, half + 1, n_frames(length, n_fft, hop_length))
    back = istft(spectrogram, hop_length, length=length, normalized=normalized)
    torch.testing.assert_close(back, audio, atol=1e-9, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 1023, 1024, 1025, 44100])
def test_reconstruction_in_float32(length):
    audio = torch.randn(2, length)
    back = istft(stft(audio), length=length)
    torch.testing.assert_close(back, audio, atol=1e-5, rtol=0)


def test_reconstruction_with_reflection_and_another_window():
    audio = torch.randn(2, 5000, dtype=torch.float64)
    spectrogram = stft(audio, 512, 256, window="rectangle", pad_mode="reflect")
    back = istft(spectrogram, 256, length=5000, window="rectangle")
    torch.testing.assert_close(back, audio, atol=1e-10, rtol=0)


@pytest.mark.parametrize("lead", [(), (2,), (3, 4, 2)])
def test_leading_axes_are_kept(lead):
    audio = torch.randn(*lead, 3000)
    spectrogram = stft(audio, 512, 128)
    assert spectrogram.shape == (*lead, 257, 24)
    back = istft(spectrogram, 128, length=3000)
    torch.testing.assert_close(back, audio, atol=1e-5, rtol=0)


def test_silence_stays_exactly_silent():
    spectrogram = stft(torch.zeros(2, 5000))
    assert spectrogram.eq(0).all()
    assert istft(spectrogram, length=5000).eq(0).all()


@pytest.mark.parametrize("bin_index", [2, 7, 100, 511])
def test_tone_peaks_at_its_bin(bin_index):
    t = torch.arange(8192, dtype=torch.float64)
    tone = torch.cos(2 * math.pi * bin_index / 1024 * t)
    magnitude = stft(tone, 1024, 256).abs()
    inner = magnitude[:, 4:-4]  # frames that lie wholly inside the tone
    assert inner.argmax(0).eq(bin_index).all()
    # A cosine of amplitude 1 under a window of sum n_fft / 2 gives n_fft / 4.
    torch.testing.assert_close(
        inner[bin_index], torch.full((inner.shape[1],), 256.0).double()
    )


def test_frames_are_centered():
    audio = torch.zeros(4096)
    audio[1024] = 1.0
    energy = stft(audio, 512, 128).abs().square().sum(0)
    assert energy.argmax() == 1024 // 128
    first = torch.zeros(4096)
    first[0] = 1.0
    torch.testing.assert_close(stft(first, 512, 128).abs()[:, 0], torch.ones(257))


def test_linearity():
    a, b = torch.randn(2, 2, 4000, dtype=torch.float64)
    got = stft(2.0 * a - 3.0 * b, 512, 128)
    torch.testing.assert_close(got, 2.0 * stft(a, 512, 128) - 3.0 * stft(b, 512, 128))


def test_normalized_transform_keeps_the_energy():
    audio = torch.randn(6000, dtype=torch.float64)
    audio[:512] = audio[-512:] = 0  # the ends lie under fewer windows than the rest
    power = stft(audio, 512, 128, normalized=True).abs().square()
    both_sides = 2 * power.sum() - power[0].sum() - power[-1].sum()
    # Each sample is seen under a summed squared Hann window of 3/8 · 512/128.
    want = 1.5 * audio.square().sum()
    torch.testing.assert_close(both_sides, want, rtol=1e-9, atol=0)


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("length", [2000, 2048, 2049])
@pytest.mark.parametrize("hop_length", [128, 100, 64])
def test_same_as_torch_at_customary_overlap(pad_mode, normalized, length, hop_length):
    audio = torch.randn(2, length)
    want = torch.stft(
        audio,
        512,
        hop_length,
        window=torch.hann_window(512),
        center=True,
        pad_mode=pad_mode,
        normalized=normalized,
        return_complex=True,
    )
    got = stft(audio, 512, hop_length, pad_mode=pad_mode, normalized=normalized)
    torch.testing.assert_close(got, want)


def test_gradients_flow_both_ways():
    audio = torch.randn(2, 3000, requires_grad=True)
    istft(stft(audio, 512, 128), 128, length=3000).square().sum().backward()
    torch.testing.assert_close(audio.grad, 2 * audio.detach(), atol=1e-4, rtol=0)


def test_complex_numbers_become_channels_that_take_turns():
    spectrogram = torch.randn(3, 2, 5, 4, dtype=torch.complex64)
    channels = complex_as_channels(spectrogram)
    assert channels.shape == (3, 4, 5, 4)
    assert torch.equal(channels[:, 0], spectrogram[:, 0].real)
    assert torch.equal(channels[:, 1], spectrogram[:, 0].imag)
    assert torch.equal(channels[:, 2], spectrogram[:, 1].real)


@pytest.mark.parametrize("lead", [(), (3,), (3, 4)])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_channels_become_complex_numbers_again(lead, dtype):
    spectrogram = torch.randn(*lead, 2, 5, 4, dtype=dtype)
    channels = complex_as_channels(spectrogram)
    assert torch.equal(channels_as_complex(channels), spectrogram)


@pytest.mark.parametrize("n_fft", [2, 6, 64, 512])
def test_gaps_between_windows_are_found_from_the_sizes(n_fft):
    squares = torch.hann_window(n_fft, dtype=torch.float64).square()
    for hop_length in range(1, n_fft + 1):
        check_covers("rectangle", n_fft, hop_length)
        places = torch.nn.functional.pad(squares, (0, -n_fft % hop_length))
        least = places.reshape(-1, hop_length).sum(0).min()
        if least > 1.5e-6:
            check_covers("hann", n_fft, hop_length)
        elif least < 0.5e-6:
            with pytest.raises(InputError, match="does not cover every sample"):
                check_covers("hann", n_fft, hop_length)


@pytest.mark.parametrize("transform", [stft, istft])
def test_unknown_windows_are_refused(transform):
    given = torch.zeros(2049, 9, dtype=torch.complex64)
    given, sizes = (given.real, {}) if transform is stft else (given, {"length": 9})
    with pytest.raises(
        InputError, match=r"unknown window 'haning'\. Did you mean 'hann"
    ):
        transform(given, window="haning", **sizes)


def test_parts_of_any_size_are_added():
    pieces, want = torch.randn(2, 5, 7), torch.zeros(2, 19)
    for frame in range(5):
        want[:, 3 * frame : 3 * frame + 7] += pieces[:, frame]
    got = overlap_add(pieces, 3)
    torch.testing.assert_close(got[:, :19], want)


def test_the_same_as_torch_where_torch_has_an_inverse():
    for n_fft, hop_length in ((512, 128), (512, 100), (64, 27), (2, 1)):
        spectrogram = torch.randn(3, n_fft // 2 + 1, 12, dtype=torch.complex64)
        window = torch.hann_window(n_fft)
        length = 11 * hop_length - 1
        want = torch.istft(spectrogram, n_fft, hop_length, window=window, length=length)
        got = istft(spectrogram, hop_length, length=length)
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n_fft", [0, 1, 511])
def test_odd_or_empty_transforms_are_refused(n_fft):
    with pytest.raises(InputError, match=f"n_fft must be even .*got {n_fft}"):
        stft(torch.zeros(100), n_fft, 1)


@pytest.mark.parametrize("hop_length", [0, 513])
def test_hops_outside_the_window_are_refused(hop_length):
    with pytest.raises(InputError, match=f"hop_length .*got {hop_length}"):
        stft(torch.zeros(1000), 512, hop_length)
    with pytest.raises(InputError, match=f"hop_length .*got {hop_length}"):
        istft(torch.zeros(257, 9, dtype=torch.complex64), hop_length, length=9)


def test_too_few_samples_are_refused():
    with pytest.raises(InputError, match="at least 1 samples"):
        stft(torch.zeros(2, 0), 512, 128)
    with pytest.raises(InputError, match="257 samples for pad_mode='reflect'"):
        stft(torch.zeros(2, 256), 512, 128, pad_mode="reflect")


def test_lengths_beyond_the_frames_are_refused():
    spectrogram = stft(torch.zeros(2, 1000), 512, 128)
    with pytest.raises(InputError, match=r"length .*1152, got 1153"):
        istft(spectrogram, 128, length=1153)


def test_windows_with_gaps_are_refused():
    spectrogram = stft(torch.zeros(2, 1000), 512, 512)
    with pytest.raises(InputError, match="hop_length = 512 with n_fft = 512"):
        istft(spectrogram, 512, length=1000)
