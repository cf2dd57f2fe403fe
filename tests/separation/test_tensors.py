"""Chunked inference: exact for identity, whatever the length, overlap and batch."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mssedu.errors import InputError
from mssedu.models.registry import list_models
from mssedu.separation.config import SeparateConfig
from mssedu.separation.tensors import separate, separate_with
from mssedu.weights.ensemble import Bag
from tests.models.small import SEGMENT, small_model
from tests.parity.peers import import_reference

RATE = 100  # Hz: a segment of 1 s is 100 samples


class Gains(nn.Module):
    """Each stem is the mixture times a constant: the identity for a gain of 1."""

    def __init__(self, *gains, segment=1.0):
        super().__init__()
        self.gains = nn.Parameter(torch.tensor(gains))
        names = tuple(f"stem {i}" for i in range(len(gains)))
        self.config = SimpleNamespace(
            stems=names, sample_rate=RATE, channels=2, segment=segment
        )
        self.lengths = []

    def forward(self, mixture):
        self.lengths.append(mixture.shape[-1])
        assert not self.training
        return self.gains[:, None, None] * mixture[:, None]


@settings(deadline=None, max_examples=150)
@given(
    samples=st.one_of(st.integers(1, 450), st.sampled_from([99, 100, 101, 175, 176])),
    overlap=st.floats(0, 0.95),
    batch_size=st.integers(1, 5),
)
def test_identity_at_every_length_overlap_and_batch(samples, overlap, batch_size):
    mixture = torch.randn(2, samples)
    model = Gains(1.0, -0.5)
    estimate = separate(model, mixture, overlap=overlap, batch_size=batch_size)
    expected = torch.stack([mixture, -0.5 * mixture])
    torch.testing.assert_close(estimate, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 4095, 4096, 4097, 3 * 3072, 3 * 3072 + 1])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.95])
def test_identity_at_the_edges_of_the_grid(samples, overlap):
    mixture = torch.rand(2, samples) * 2 - 1
    estimate = separate(Gains(1.0, segment=40.96), mixture, overlap=overlap)
    assert (estimate[0] - mixture).abs().max() <= 1e-6


def test_batch_size_changes_nothing():
    torch.manual_seed(0)
    model = Gains(1.0)
    model.forward = nn.Sequential(  # a model whose output depends on the place
        nn.Conv1d(2, 2, 9, padding=4), nn.Tanh(), nn.Unflatten(1, (1, 2))
    ).forward
    mixture = torch.randn(2, 1234)
    results = [separate(model, mixture, batch_size=size) for size in (1, 2, 7, 100)]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-6, rtol=0)


def test_seams_of_a_model_with_context_fade():
    """A long filter in chunks lacks context at their ends; overlap helps."""
    model = Gains(1.0)
    kernel = torch.randn(1, 1, 31)

    def filtered(mixture):
        flat = mixture.reshape(-1, 1, mixture.shape[-1])
        return nn.functional.conv1d(flat, kernel, padding=15).reshape(
            mixture.shape[0], 1, 2, -1
        )

    model.forward = filtered
    mixture = torch.randn(2, 2000)
    whole = filtered(mixture[None])[0]
    hard = (separate(model, mixture, overlap=0.0) - whole).square().mean()
    soft = (separate(model, mixture, overlap=0.5) - whole).square().mean()
    assert soft < hard / 10


def test_silence_stays_silence():
    assert not separate(Gains(1.0, 2.0), torch.zeros(2, 333)).any()


def test_model_mode_and_input_are_left_alone():
    model, mixture = Gains(1.0).train(), torch.randn(2, 333)
    before = mixture.clone()
    estimate = separate(model, mixture)
    assert model.training
    assert torch.equal(mixture, before)
    assert not estimate.requires_grad
    assert separate(model.eval(), mixture) is not None
    assert not model.training


def test_progress_and_segment():
    model, calls = Gains(1.0), []
    separate(
        model,
        torch.randn(2, 500),
        segment=2,
        overlap=0.5,
        progress=lambda *done: calls.append(done),
    )
    assert calls == [(n, 5) for n in range(1, 6)]
    assert set(model.lengths) == {200}


def test_double_precision_stays():
    mixture = torch.randn(2, 333).double()
    estimate = separate(Gains(1.0).double(), mixture)
    assert estimate.dtype == torch.float64
    assert (estimate[0] - mixture).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"overlap": 1.0}, "overlap must be"),
        ({"overlap": -0.1}, "overlap must be"),
        ({"segment": 0.0}, "segment must be"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_ranges(options, text):
    with pytest.raises(InputError, match=text):
        separate(Gains(1.0), torch.zeros(2, 100), **options)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (
            (1, 2, 100),
            r"\(channels, samples\), got the shape \(1, 2, 100\).*mixture\[0\]",
        ),
        ((100,), r"got the shape \(100,\). Add the axis channels: mixture\[None\]"),
        (
            (1, 100),
            r"takes 2 channels, .*shape \(1, 100\).*match_channels\(mixture, 2\)",
        ),
        ((2, 0), r"axis samples has no entry"),
    ],
)
def test_an_error_names_the_shape_as_given_and_the_axis_to_change(shape, text):
    with pytest.raises(InputError, match=text):
        separate(Gains(1.0), torch.zeros(shape))


def test_integers_and_nan_are_refused():
    with pytest.raises(InputError, match=r"float type, got torch.int16"):
        separate(Gains(1.0), torch.zeros(2, 100, dtype=torch.int16))
    mixture = torch.zeros(2, 300)
    mixture[1, 150] = torch.nan
    with pytest.raises(InputError, match=r"first at sample 150 \(1.500 s\)"):
        separate(Gains(1.0), mixture)


def test_nan_from_the_model_names_the_chunk():
    model = Gains(1.0)
    model.gains.data[:] = torch.nan
    with pytest.raises(
        InputError, match=r"output of Gains has NaN or Inf .*chunk 0.00 … 1.00 s"
    ):
        separate(model, torch.ones(2, 250))


def test_a_model_without_config_is_refused():
    with pytest.raises(InputError, match="Conv1d lacks stems, sample_rate"):
        separate(nn.Conv1d(2, 2, 1), torch.ones(2, 250))


def test_a_segment_beyond_what_the_model_was_trained_with_is_shortened():
    model = Gains(1.0)
    model.config.segment_limit = 0.8
    mixture = torch.rand(2, 500)
    with pytest.warns(UserWarning, match=r"2\.0 s.*0\.8 s; using 0\.8"):
        separate(model, mixture, segment=2.0)
    assert set(model.lengths) == {80}
    with pytest.raises(InputError, match=r"at most 0\.8 s"):
        separate(model, mixture, segment=2.0, strict_segment=True)


def test_a_short_last_chunk_has_music_before_and_silence_after():
    model, inputs = Gains(1.0), []
    original = model.forward

    def forward(mixture):
        inputs.extend(mixture)
        return original(mixture)

    model.forward = forward
    mixture = torch.arange(1.0, 181.0).expand(2, 180)
    separate(model, mixture, overlap=0.25)
    assert [chunk[0, 0].item() for chunk in inputs] == [1.0, 76.0, 151.0 - 35]
    assert inputs[2][0, -35:].tolist() == [0.0] * 35
    torch.testing.assert_close(separate(model, mixture)[0], mixture)


@pytest.mark.parametrize("samples", [1, 2, 50, 80, 99])
def test_a_model_with_a_limit_reads_its_full_length(samples):
    model, mixture = Gains(1.0), torch.rand(2, samples)
    model.config.segment_limit = 1.0
    torch.testing.assert_close(separate(model, mixture)[0], mixture)
    assert set(model.lengths) == {100}


def test_shifts_are_more_passes_and_seeded():
    model, mixture = Gains(1.0), torch.randn(2, 777)
    shapes = {}
    for shifts in (0, 1, 4):
        model.lengths.clear()
        estimate = separate(model, mixture, shifts=shifts)
        assert (estimate[0] - mixture).abs().max() < 1e-6  # the identity stays exact
        shapes[shifts] = len(model.lengths)
    assert shapes[4] > 3 * shapes[0]
    model.forward = nn.Sequential(
        nn.Conv1d(2, 2, 9, padding=4), nn.Tanh(), nn.Unflatten(1, (1, 2))
    ).forward
    first, again, other = (
        separate(model, mixture, shifts=2, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_shifts_average_out_what_depends_on_the_place():
    """A model that errs by a wave fixed to its chunk: 30 places, a smaller error."""
    model, mixture = Gains(1.0), torch.randn(2, 5000)
    wave = torch.sin(torch.arange(100) * 2 * torch.pi / 10)
    model.forward = lambda x: (x + wave[: x.shape[-1]])[:, None]
    errors = [
        (separate(model, mixture, shifts=shifts)[0] - mixture).square().mean()
        for shifts in (0, 30)
    ]
    assert errors[1] < errors[0] / 5


@pytest.mark.parametrize("window", ["triangle", "hann", "rectangle"])
def test_windows_and_context_leave_the_identity_alone(window):
    mixture = torch.randn(2, 999)
    for context in (0.0, 0.35):
        options = {"window": window, "context": context, "overlap": 0.3}
        estimate = separate(Gains(1.0), mixture, **options)
        assert (estimate[0] - mixture).abs().max() < 1e-6


def test_a_convolution_with_enough_context_equals_the_full_pass():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv1d(2, 8, 21, padding=10),
        nn.ReLU(),
        nn.Conv1d(8, 4, 41, padding=20),
        nn.Unflatten(1, (2, 2)),
    )
    model, mixture = Gains(1.0, 1.0), torch.randn(2, 3000)
    model.forward = layers.forward
    with torch.no_grad():
        expected = layers(mixture[None])[0]
    exact = separate(model, mixture, context=0.3, overlap=0.0)  # 30 samples: its reach
    assert (exact - expected).abs().max() < 1e-6
    assert (separate(model, mixture, overlap=0.0) - expected).abs().max() > 1e-3


def test_a_limit_leaves_room_for_context_and_fills_up_with_music():
    model, mixture = Gains(1.0), torch.rand(2, 500)
    model.config.segment_limit = 1.0
    estimate = separate(model, mixture, context=0.2, overlap=0.0)
    torch.testing.assert_close(estimate[0], mixture)
    assert set(model.lengths) == {100}
    assert len(model.lengths) == 9  # 60 samples are kept of each
    model.lengths.clear()
    separate(model, mixture, segment=0.5, overlap=0.0)
    assert model.lengths == [100] * 10
    with pytest.raises(InputError, match="context must be less than half of the 1 s"):
        separate(model, mixture, context=0.5)


def test_all_at_once():
    model, mixture = Gains(1.0), torch.rand(2, 12345)
    separate(model, mixture, segment=float("inf"))
    assert model.lengths == [12345]
    model.config.segment_limit = 1.0  # never a view error from within
    with pytest.warns(UserWarning, match="inf s.*using 1.0"):
        separate(model, mixture, segment=float("inf"))


def test_stems_of_choice():
    model, mixture = Gains(0.5, 0.2), torch.randn(2, 300)
    only = separate(model, mixture, stems=("stem 1",))
    torch.testing.assert_close(only, 0.2 * mixture[None])
    two = separate(model, mixture, two_stems="stem 1")
    assert torch.equal(two[1], mixture - two[0])
    added = separate(model, mixture, two_stems="stem 1", other="add")
    torch.testing.assert_close(added[1], 0.5 * mixture)
    with pytest.raises(InputError, match="Did you mean 'stem 1'"):
        separate(model, mixture, stems=("stem 11",))


def test_a_bag_runs_only_the_models_that_a_stem_needs():
    names = ("stem 0", "stem 1")
    models = [Gains(1.0, 0.0), Gains(0.0, 1.0)]
    bag = Bag(models, [[1.0, 0.0], [0.0, 1.0]], names)
    mixture = torch.randn(2, 300)

    def runs(**settings):
        for model in models:
            model.lengths.clear()
        separate(bag, mixture, **settings)
        return [bool(model.lengths) for model in models]

    assert runs() == [True, True]
    assert runs(stems=("stem 1",)) == [False, True]
    assert runs(two_stems="stem 0") == [True, False]
    assert runs(two_stems="stem 0", other="add") == [True, True]
    assert runs(stems=("stem 1",), consistency="uniform") == [True, True]


def test_silence_is_exactly_silent_whatever_the_model_does():
    model = Gains(1.0)
    model.forward = lambda x: x[:, None] + 1.0
    assert not separate(model, torch.zeros(2, 333)).any()
    both = separate(model, torch.zeros(2, 333), two_stems="stem 0")
    assert both.shape == (2, 2, 333)
    assert not both.any()


def test_low_precision_that_overflows_is_computed_again(monkeypatch):
    @contextmanager
    def ready(model, *, precision="float32", compile=False):
        def forward(x):
            estimate = model(x)
            if precision != "float32" and x.abs().max() > 5:
                estimate = estimate / 0
            return estimate

        yield forward

    monkeypatch.setattr("mssedu.separation.tensors.ready", ready)
    mixture = torch.rand(2, 300)
    mixture[:, 150] = 9.0
    model = Gains(1.0).eval()
    with pytest.warns(UserWarning, match="NaN or Inf in bfloat16: a chunk is computed"):
        estimate = separate(model, mixture, precision="bfloat16")
    torch.testing.assert_close(estimate[0], mixture)


def test_one_config_does_the_same_as_arguments():
    model, mixture = Gains(0.5, 0.2), torch.randn(2, 300)
    options = {"overlap": 0.4, "shifts": 2, "two_stems": "stem 1", "seed": 3}
    estimate = separate_with(model, mixture, SeparateConfig(**options))
    assert torch.equal(estimate, separate(model, mixture, **options))


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("samples", [1, 20_000])
def test_every_model_with_every_refinement(name, samples):
    """The same with batches; nothing breaks at one sample."""
    torch.manual_seed(0)
    model = small_model(name, stems=("a", "b")).eval()
    mixture = 0.1 * torch.randn(model.config.channels, samples)
    options = {"tta": True, "wiener": 1, "consistency": "energy", "shifts": 1}
    estimate = separate(model, mixture, segment=SEGMENT, batch_size=2, **options)
    assert estimate.shape == (2, *mixture.shape)
    torch.testing.assert_close(estimate.sum(0), mixture, atol=1e-5, rtol=0)


@pytest.mark.parity
@pytest.mark.parametrize("samples", [1, 999, 1600, 1999, 2001, 2900, 5000])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_chunks_lie_as_in_demucs(samples, overlap):
    apply = import_reference("demucs.apply")

    class Filter(nn.Module):
        """Output depends on the place in a chunk and on all that is around it."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 2, 2000).softmax(-1))
            self.config = SimpleNamespace(
                stems=("a", "b"),
                sample_rate=1000,
                channels=2,
                segment=2.0,
                segment_limit=2.0,
            )
            self.sources, self.samplerate, self.segment = ["a", "b"], 1000, 2.0

        def valid_length(self, length):
            return 2000

        def forward(self, mixture):
            return self.weight * mixture[:, None].cumsum(-1)

    model, mixture = Filter().eval(), torch.randn(2, samples)
    options = {"shifts": 0, "split": True, "overlap": overlap}
    theirs = apply.apply_model(model, mixture[None], **options)[0]
    ours = separate(model, mixture, overlap=overlap)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
