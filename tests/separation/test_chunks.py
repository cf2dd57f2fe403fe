"""Chunks cover the song, and overlap-add joins their results exactly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mssedu.errors import InputError
from mssedu.separation.chunks import (
    SHIFT_SECONDS,
    Chunks,
    chunk_starts,
    chunk_weight,
    overlap_add,
    random_offsets,
    whole,
)

RATE = 1000


def chunks_of(samples, length, overlap=0.25, offsets=(0,), context=0, width=None):
    return Chunks(
        samples=samples,
        length=length,
        starts=chunk_starts(samples, length, overlap, offsets),
        weight=chunk_weight(length),
        width=width or length,
        context=context,
    )


def test_chunks_cover_the_song():
    for samples in range(1, 60):
        for overlap in (0.0, 0.25, 0.9, 0.99):
            length = min(20, samples)
            starts = chunk_starts(samples, length, overlap)
            covered = torch.zeros(samples)
            for start in starts:
                assert 0 <= start < samples
                covered[start : start + length] += 1
            assert covered.min() >= 1
            assert starts == sorted(set(starts))


def test_weight_is_positive_and_symmetric():
    for length in (1, 2, 3, 10, 1001):
        for window in ("triangle", "hann", "rectangle"):
            weight = chunk_weight(length, window)
            assert weight.dtype == torch.float32
            assert weight.min() > 0
            assert weight.max() == 1
            assert torch.equal(weight, weight.flip(0))


def test_a_hann_window_is_a_raised_cosine_that_never_ends_at_zero():
    expected = torch.hann_window(102, periodic=False)[1:-1]
    expected = expected / expected.max()
    torch.testing.assert_close(chunk_weight(100, "hann"), expected)


@settings(max_examples=200, deadline=None)
@given(
    samples=st.integers(1, 300),
    length=st.integers(1, 100),
    overlap=st.floats(0, 0.95),
    offsets=st.lists(st.integers(0, 50), min_size=1, max_size=3),
    context=st.integers(0, 40),
    extra=st.integers(0, 40),
)
def test_output_ranges_cover_the_song_and_ranges_only_move_forward(
    samples, length, overlap, offsets, context, extra
):
    """`overlap_add` relies on both."""
    length = min(length, samples)
    chunks = chunks_of(samples, length, overlap, offsets, context, length + extra)
    covered, before = torch.zeros(samples), (0, -(10**9))
    for start in chunks.starts:
        begin, end = chunks.output_range(start)
        first, last = chunks.input_range(start)
        assert first <= begin < end <= last
        assert begin >= before[0]
        assert first >= before[1] or first <= 0
        covered[begin:end] += 1
        before = (begin, first)
    assert covered.min() >= 1


def test_with_context_the_input_is_wider_and_has_no_zeros():
    chunks = chunks_of(samples=100, length=30, overlap=0.0, context=10)
    ranges = [chunks.input_range(start) for start in chunks.starts]
    assert ranges == [(0, 40), (20, 70), (50, 100), (80, 100)]


def test_a_wider_input_has_the_chunk_in_its_middle():
    chunks = chunks_of(samples=1000, length=30, overlap=0.0, width=50)
    assert chunks.input_range(0) == (
        0,
        50,
    )  # nothing is before the song: music, not zeros
    assert chunks.input_range(300) == (290, 340)
    assert chunks.input_range(990) == (970, 1020)  # the rest: 10 samples, zeros behind


def test_seams_are_where_chunks_begin_and_end():
    assert chunks_of(samples=100, length=40, overlap=0.25).seams == [30, 40, 60, 70, 90]
    assert chunks_of(samples=100, length=100).seams == []


@pytest.mark.parametrize("shifts", [1, 2, 7])
def test_offsets_are_seeded_and_below_half_a_second(shifts):
    offsets = random_offsets(shifts, 44100, seed=3)
    assert len(offsets) == shifts
    assert offsets == random_offsets(shifts, 44100, seed=3)
    assert offsets != random_offsets(shifts, 44100, seed=4)
    assert 0 <= min(offsets) <= max(offsets) <= SHIFT_SECONDS * 44100


# ---- overlap-add --------------------------------------------------------------------


def of(audio):
    return lambda begin, end: audio[:, begin:end]


@settings(max_examples=150, deadline=None)
@given(
    samples=st.integers(1, 400),
    length=st.integers(1, 120),
    overlap=st.floats(0, 0.95),
    offsets=st.lists(st.integers(0, 60), min_size=1, max_size=3),
    context=st.integers(0, 30),
    batch_size=st.integers(1, 4),
)
def test_identity_in_blocks(samples, length, overlap, offsets, context, batch_size):
    audio = torch.rand(2, samples) * 2 - 1
    chunks = chunks_of(samples, min(length, samples), overlap, offsets, context)
    read_to = 0

    def read(begin, end):
        nonlocal read_to
        assert 0 <= begin <= end <= samples
        read_to = max(read_to, end)
        return audio[:, begin:end]

    blocks = list(
        overlap_add(lambda x: x[:, None], read, chunks, RATE, batch_size=batch_size)
    )
    result = torch.cat(blocks, dim=-1)
    assert result.shape == (1, 2, samples)
    # Sixty chunks may lie over a sample, and a sum of float32 rounds at each of them
    rounding = len(offsets) / (1 - overlap) * 2**-24
    assert (result[0] - audio).abs().max() <= max(1e-6, rounding)
    assert torch.equal(whole(iter(blocks), samples), result)
    assert read_to == samples


def test_a_filter_with_enough_context_equals_the_whole_song():
    """The receptive field ends within the context."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv1d(2, 4, 9, padding=4),
        torch.nn.Tanh(),
        torch.nn.Conv1d(4, 2, 21, padding=10),
    )
    audio = torch.randn(2, 1000)
    with torch.no_grad():
        expected = layers(audio[None])[0]
        for overlap in (0.0, 0.3):
            for batch_size in (1, 3):
                chunks = chunks_of(1000, 100, overlap, context=14)
                blocks = overlap_add(
                    layers, of(audio), chunks, RATE, batch_size=batch_size
                )
                assert (whole(blocks, 1000) - expected).abs().max() < 1e-6
        chunks = chunks_of(1000, 100, 0.0, context=13)  # one sample too few
        short = whole(overlap_add(layers, of(audio), chunks, RATE), 1000)
        assert (short - expected).abs().max() > 1e-4


def test_blocks_are_final_as_soon_as_the_next_chunk_begins():
    """After n chunks, all samples before the n-th start are yielded."""
    audio, seen = torch.rand(1, 1000), 0
    chunks = chunks_of(1000, 100, overlap=0.5)
    started = []

    def process(x):
        started.append(len(started))
        return x

    for block in overlap_add(process, of(audio), chunks, RATE):
        seen += block.shape[-1]
        assert seen >= chunks.starts[len(started) - 1]
        assert block.shape[-1] <= 100
    assert seen == 1000


def test_progress_counts_chunks():
    calls = []
    audio, chunks = torch.rand(1, 250), chunks_of(250, 100, 0.0)
    run = overlap_add(
        lambda x: x,
        of(audio),
        chunks,
        RATE,
        batch_size=2,
        progress=lambda *done: calls.append(done),
    )
    whole(run, 250)
    assert calls == [(2, 3), (3, 3)]


def test_what_is_not_finite_is_named():
    audio, chunks = torch.rand(1, 250), chunks_of(250, 100, 0.0)

    def process(x):
        return x / 0 if (x == audio[0, 100]).any() else x

    run = overlap_add(process, of(audio), chunks, RATE, where="Net")
    text = r"Net has NaN or Inf \(torch.float32\) in the chunk 0.10 … 0.20"
    with pytest.raises(InputError, match=text):
        whole(run, 250)
