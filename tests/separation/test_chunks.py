"""Where chunks lie: they cover the song, and the model is shown what it should be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mssedu.separation.chunks import (
    SHIFT_SECONDS,
    Chunks,
    chunk_starts,
    chunk_weight,
    random_offsets,
)


def lay(samples, length, overlap=0.25, offsets=(0,), context=0, width=None):
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
def test_everything_is_kept_and_shown_forward(
    samples, length, overlap, offsets, context, extra
):
    """What `overlap_add` relies on: chunks cover the song and only move forward."""
    length = min(length, samples)
    chunks = lay(samples, length, overlap, offsets, context, length + extra)
    covered, before = torch.zeros(samples), (0, -(10**9))
    for start in chunks.starts:
        begin, end = chunks.kept(start)
        first, last = chunks.shown(start)
        assert first <= begin < end <= last
        assert begin >= before[0]
        assert first >= before[1] or first <= 0
        covered[begin:end] += 1
        before = (begin, first)
    assert covered.min() >= 1


def test_with_context_the_model_hears_the_seconds_around_but_no_zeros():
    chunks = lay(samples=100, length=30, overlap=0.0, context=10)
    shown = [chunks.shown(start) for start in chunks.starts]
    assert shown == [(0, 40), (20, 70), (50, 100), (80, 100)]


def test_a_wider_view_has_the_chunk_in_its_middle():
    chunks = lay(samples=1000, length=30, overlap=0.0, width=50)
    assert chunks.shown(0) == (0, 50)  # nothing is before the song: music, not zeros
    assert chunks.shown(300) == (290, 340)
    assert chunks.shown(990) == (970, 1020)  # the rest: 10 samples, zeros behind


def test_seams_are_where_chunks_begin_and_end():
    assert lay(samples=100, length=40, overlap=0.25).seams == [30, 40, 60, 70, 90]
    assert lay(samples=100, length=100).seams == []


@pytest.mark.parametrize("shifts", [1, 2, 7])
def test_offsets_are_seeded_and_below_half_a_second(shifts):
    offsets = random_offsets(shifts, 44100, seed=3)
    assert len(offsets) == shifts
    assert offsets == random_offsets(shifts, 44100, seed=3)
    assert offsets != random_offsets(shifts, 44100, seed=4)
    assert 0 <= min(offsets) <= max(offsets) <= SHIFT_SECONDS * 44100
