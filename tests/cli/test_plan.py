"""The plan says what the separation then does."""

from types import SimpleNamespace

import torch
from torch import nn

from mssedu.audio.tensors import save_audio
from mssedu.cli.plan import measure, plan_file
from mssedu.separation.files import separate_file


class Counting(nn.Module):
    """The identity, which takes 30 floats of memory for each it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000))
        self.config = SimpleNamespace(
            stems=("a",), sample_rate=8000, channels=2, segment=1.0
        )
        self.calls = 0

    def forward(self, mixture):
        self.calls += len(mixture)
        mixture.new_zeros(30, *mixture.shape)
        return self.weight[0] * mixture[:, None]


def test_chunks_are_counted_as_they_will_be(tmp_path):
    song = tmp_path / "song.wav"
    save_audio(song, torch.rand(2, 50000) - 0.5, 16000)
    for settings in ({}, {"overlap": 0.6, "shifts": 3, "segment": 0.7}):
        model = Counting()
        options = (model, song, tmp_path / str(len(settings)))
        plan = plan_file(*options, "song", settings)
        assert plan.song_seconds == 50000 / 16000
        done = separate_file(*options, **settings)
        assert plan.n_chunks == model.calls
        assert [path.name for path in plan.outputs] == ["a.wav", "separation.json"]
        assert plan.outputs[0] == options[2] / done.stems["a"]


def test_memory_is_that_of_a_batch_and_of_the_weights():
    small = measure(Counting(), {})
    large = measure(Counting(), {"batch_size": 4})
    chunk = 30 * 2 * 8000 * 4
    assert chunk < small.memory_bytes - 4000 < 1.4 * chunk
    assert 4 * chunk < large.memory_bytes - 4000 < 4 * 1.4 * chunk
    assert small.chunk_seconds > 0
    assert small.device == "cpu"


def test_a_finished_song_is_not_looked_at_again(tmp_path):
    song = tmp_path / "song.wav"
    save_audio(song, torch.rand(2, 5000) - 0.5, 8000)
    separate_file(Counting(), song, tmp_path)
    song.write_bytes(b"no audio any more")
    plan = plan_file(Counting(), song, tmp_path, "song", {"exists": "skip"})
    assert (plan.n_chunks, plan.song_seconds) == (0, 0.0)
