"""When memory runs out: each step down, announced, in order, and no further."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.separation.config import SeparateConfig
from mssedu.separation.tensors import (
    in_smaller_batches,
    is_out_of_memory,
    is_unsupported,
    separate,
    with_fallback,
)


class Hungry(nn.Module):
    """The identity, on a device with room for `room` samples of a batch."""

    def __init__(self, room, segment=8.0, **config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.config = SimpleNamespace(
            stems=("a",), sample_rate=100, channels=2, segment=segment, **config
        )
        self.room, self.shapes = room, []

    def forward(self, mixture):
        batch, _, samples = mixture.shape
        self.shapes.append((batch, samples))
        if batch * samples > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return self.weight * mixture[:, None]


def test_what_counts_as_out_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    texts = (
        "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 4000000000000 bytes.",
        "MPS backend out of memory (MPS allocated: 17.0 GB)",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 80000000 bytes.",
    )
    assert all(is_out_of_memory(RuntimeError(text)) for text in texts)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert is_unsupported(NotImplementedError("'aten::x' for the MPS device"))
    assert not is_unsupported(NotImplementedError("later"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)


def test_a_batch_is_halved_once_and_for_all():
    model, mixture = Hungry(room=250, segment=1.0), torch.rand(2, 1000)
    with pytest.warns(UserWarning, match="out of memory") as caught:
        estimate = separate(model, mixture, batch_size=8, overlap=0.0)
    assert [str(w.message) for w in caught] == [
        "out of memory: batch_size 8 to 4",
        "out of memory: batch_size 4 to 2",
    ]
    torch.testing.assert_close(estimate[0], mixture)
    assert model.shapes == [(8, 100), (4, 100)] + 5 * [(2, 100)]


def test_then_the_chunk():
    model, mixture = Hungry(room=250), torch.rand(2, 1000)
    with pytest.warns(UserWarning, match="out of memory") as caught:
        estimate = separate(model, mixture)
    assert [str(w.message) for w in caught] == [
        "out of memory: segment 8 to 4 s, from the start",
        "out of memory: segment 4 to 2 s, from the start",
    ]
    torch.testing.assert_close(estimate[0], mixture)
    assert model.shapes[-1] == (1, 200)


def test_a_chunk_that_takes_the_whole_song_is_halved_too():
    model, mixture = Hungry(room=250), torch.rand(2, 400)
    with pytest.warns(UserWarning, match="segment 4 to 2 s"):
        separate(model, mixture, segment=float("inf"))


def test_no_chunk_is_shorter_than_a_second():
    with (
        pytest.warns(UserWarning, match="segment . to . s"),
        pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"),
    ):
        separate(Hungry(room=10), torch.rand(2, 1000))


def test_a_model_of_fixed_length_gains_nothing_from_shorter_chunks():
    model = Hungry(room=10, segment_limit=8.0)
    with pytest.raises(torch.OutOfMemoryError):  # and no warning: they are errors here
        separate(model, torch.rand(2, 1000))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("out of memory"),
        NotImplementedError("The operator 'aten::x' is not implemented for MPS"),
    ],
)
def test_at_last_the_cpu(error, monkeypatch):
    """A pretended device, as there may be no GPU here: only its name matters."""
    model, moved = Hungry(room=0, segment_limit=8.0), []
    parameter = SimpleNamespace(device=SimpleNamespace(type="mps"))
    monkeypatch.setattr(model, "parameters", lambda: iter([parameter]))

    def to(device):
        moved.append(device)
        parameter.device = torch.device(device)

    monkeypatch.setattr(model, "to", to)

    def run(config):
        if not moved:
            raise error
        return config.segment

    config = SeparateConfig(segment=8.0)
    with pytest.warns(UserWarning, match="mps to cpu, from the start") as caught:
        assert with_fallback(run, model, config) == 8.0
    assert moved == ["cpu"]
    assert len(caught) == 1


def test_other_errors_pass_through():
    def broken(batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        in_smaller_batches(broken)(torch.ones(4, 1))


def test_what_the_failed_attempt_held_is_free_before_the_next():
    alive = []

    class Held:
        def __del__(self):
            alive.pop()

    def process(batch):
        held = Held()
        alive.append(held.__class__)
        assert len(alive) == 1
        if len(batch) > 1:
            raise MemoryError
        return batch

    with pytest.warns(UserWarning, match="batch_size 2 to 1"):
        in_smaller_batches(process)(torch.ones(2, 1))
    assert not alive


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_real_gpu_with_little_memory():
    class Wasteful(Hungry):
        def forward(self, mixture):
            torch.empty(mixture.shape[0], 10**7, mixture.shape[-1], device="cuda")
            return self.weight * mixture[:, None]

    model, mixture = Wasteful(room=0), torch.rand(2, 10**6)
    with pytest.warns(UserWarning, match="out of memory"):
        estimate = separate(model, mixture, device="cuda", batch_size=2)
    torch.testing.assert_close(estimate[0], mixture)
