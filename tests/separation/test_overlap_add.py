"""Overlap-add: blocks in order, exact, in the memory of a few chunks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mssedu.errors import InputError
from mssedu.separation.chunks import Chunks, chunk_starts, chunk_weight
from mssedu.separation.overlap_add import overlap_add, whole

RATE = 1000


def lay(samples, length, overlap=0.25, offsets=(0,), context=0):
    return Chunks(
        samples=samples,
        length=length,
        starts=chunk_starts(samples, length, overlap, offsets),
        weight=chunk_weight(length),
        width=length,
        context=context,
    )


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
    chunks = lay(samples, min(length, samples), overlap, offsets, context)
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
    """The receptive field ends within the context: no chunk can be told."""
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
                chunks = lay(1000, 100, overlap, context=14)
                blocks = overlap_add(
                    *(layers, of(audio), chunks, RATE), batch_size=batch_size
                )
                assert (whole(blocks, 1000) - expected).abs().max() < 1e-6
        chunks = lay(1000, 100, 0.0, context=13)  # one sample too few
        short = whole(overlap_add(layers, of(audio), chunks, RATE), 1000)
        assert (short - expected).abs().max() > 1e-4


def test_blocks_are_final_as_soon_as_the_next_chunk_begins():
    """Nothing is held back: after n chunks all before the n-th start is out."""
    audio, seen = torch.rand(1, 1000), 0
    chunks = lay(1000, 100, overlap=0.5)
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
    audio, chunks = torch.rand(1, 250), lay(250, 100, 0.0)
    run = overlap_add(
        *(lambda x: x, of(audio), chunks, RATE),
        batch_size=2,
        progress=lambda *done: calls.append(done),
    )
    whole(run, 250)
    assert calls == [(2, 3), (3, 3)]


def test_what_is_not_finite_is_named():
    audio, chunks = torch.rand(1, 250), lay(250, 100, 0.0)

    def process(x):
        return x / 0 if (x == audio[0, 100]).any() else x

    run = overlap_add(process, of(audio), chunks, RATE, where="separate with Net")
    text = r"separate with Net: .*NaN or Inf \(torch.float32\) in the chunk 0.10 … 0.20"
    with pytest.raises(InputError, match=text):
        whole(run, 250)
