"""A bag is a weighted mean of its models, stem by stem, and runs only what counts."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.export import trace
from mssedu.models.registry import create_model
from mssedu.separation.tensors import separate
from mssedu.weights.checkpoint import save_checkpoint
from mssedu.weights.ensemble import Bag, blend
from tests.parity.peers import import_reference

STEMS = ("drums", "bass", "other", "vocals")
ONE_HOT = torch.eye(4).tolist()


@dataclass(frozen=True)
class Config:
    stems: tuple = STEMS
    sample_rate: int = 8000
    channels: int = 2
    segment: float = 1.0
    segment_limit: float | None = None


class Scale(nn.Module):
    """Stem number i is (i + 1) · factor · mixture; counts its runs."""

    def __init__(self, factor, **config):
        super().__init__()
        self.factor, self.config, self.runs = factor, Config(**config), 0

    def forward(self, mixture):
        self.runs += 1
        number = torch.arange(1.0, 1 + len(self.config.stems))[:, None, None]
        return self.factor * number * mixture[:, None]


MIXTURE = torch.rand(3, 2, 100)


def values(estimate, stems):
    return {s: (estimate[0, i] / MIXTURE[0]).mean().item() for i, s in enumerate(stems)}


def test_equal_weights_are_the_mean():
    bag = Bag([Scale(1.0), Scale(3.0)])
    estimate = bag(MIXTURE)
    assert estimate.shape == (3, 4, 2, 100)
    assert estimate.dtype == MIXTURE.dtype
    torch.testing.assert_close(estimate, Scale(2.0)(MIXTURE))


def test_each_stem_has_its_weights_and_each_model_its_order():
    models = [Scale(1.0), Scale(10.0, stems=STEMS[::-1])]
    bag = Bag(models, [[1, 0, 3, 1], [0, 2, 1, 1]])
    got = values(bag(MIXTURE), STEMS)
    wanted = {"drums": 1.0, "bass": 30.0, "other": (3 * 3 + 20) / 4, "vocals": 7.0}
    assert got == pytest.approx(wanted, rel=1e-5)


def test_only_the_models_that_count_run():
    models = [Scale(1.0), Scale(2.0), Scale(3.0), Scale(4.0)]
    bag = Bag(models, ONE_HOT).eval()
    one = bag.only("vocals")
    assert one.config.stems == ("vocals",)
    assert not one.training
    torch.testing.assert_close(one(MIXTURE), bag(MIXTURE)[:, 3:])
    assert [model.runs for model in models] == [1, 1, 1, 2]
    pair = bag.only("other", "drums")
    torch.testing.assert_close(pair(MIXTURE), bag(MIXTURE)[:, [2, 0]])
    with pytest.raises(InputError, match="Did you mean 'vocals'"):
        bag.only("vocal")
    silent = Bag(models, [[1, 1, 1, 1], [1, 1, 1, 1], [0] * 4, [0] * 4])
    silent(MIXTURE)
    assert models[2].runs == models[3].runs == 3


def test_the_config_is_what_every_model_can_do():
    models = [Scale(1, segment=44.0), Scale(1, segment=7.8, segment_limit=7.8)]
    bag = Bag([*models, Scale(1, segment=10.0, segment_limit=10.0)], stems=("bass",))
    config = bag.config
    assert (config.segment, config.segment_limit) == (7.8, 7.8)
    assert (config.stems, config.sample_rate, config.channels) == (("bass",), 8000, 2)
    assert Bag([Scale(1)]).config.segment_limit is None


def test_a_bag_separates_like_a_model():
    bag = Bag([Scale(1.0), Scale(3.0)])
    mixture = torch.rand(2, 20_000)
    torch.testing.assert_close(
        separate(bag, mixture), 2 * torch.arange(1.0, 5)[:, None, None] * mixture
    )


@pytest.mark.parametrize(
    ("models", "options", "match"),
    [
        ([], {}, "models is empty"),
        ([Scale(1), Scale(1, sample_rate=44100)], {}, "44100 Hz, 2 channels"),
        ([Scale(1), Scale(1, channels=1)], {}, "8000 Hz, 1 channels"),
        ([Scale(1), Scale(1, stems=("drums",))], {}, r"stem of every model .*'bass'"),
        ([Scale(1)], {"stems": ("pipa",)}, "stem of every model"),
        ([Scale(1)], {"weights": [[1, 1]]}, r"\(1 models, 4 stems\), .*\(1, 2\)"),
        ([Scale(1)], {"weights": [[1, 0, 1, 1]]}, r"above 0, got \[\[1\.0, 0\.0"),
        ([Scale(1)] * 2, {"weights": [[1, 3, 1, 1], [1, -1, 1, 1]]}, "at least 0"),
    ],
)
def test_what_does_not_fit_is_told(models, options, match):
    with pytest.raises(InputError, match=match):
        Bag(models, **options)


def test_a_bag_cannot_be_saved_as_one_model(tmp_path):
    bag = Bag([create_model("spleeter", "tiny")])
    with pytest.raises(InputError, match="Save each of its models"):
        save_checkpoint(tmp_path / "a.safetensors", bag)


SHARES = {"bass": 0.5, "drums": 0.0, "other": 0.7, "vocals": 0.9}


def test_a_blend_gives_each_model_its_share_of_each_stem():
    second = Scale(10.0, stems=STEMS[::-1])
    bag = blend(Scale(1.0), second, SHARES)
    assert bag.config.stems == STEMS
    for number, (stem, got) in enumerate(values(bag(MIXTURE), STEMS).items()):
        share = SHARES[stem]
        own, other = number + 1, 10 * (len(STEMS) - number)
        assert got == pytest.approx(share * own + (1 - share) * other), stem


def test_a_blend_of_one_stem_needs_no_other_shares():
    first = Scale(1.0, stems=("vocals",))
    bag = blend(first, Scale(10.0), SHARES)
    assert bag.config.stems == ("vocals",)
    assert values(bag(MIXTURE), ["vocals"])["vocals"] == pytest.approx(0.9 + 0.1 * 40)


@pytest.mark.parametrize(
    ("shares", "match"),
    [
        ({"bass": 0.5}, r"stem with a share 'drums'.*bass"),
        (SHARES | {"other": 1.5}, "share of other must be from 0 to 1"),
        (SHARES | {"vocals": -0.1}, "share of vocals must be from 0 to 1"),
        (SHARES | {"vocals": float("nan")}, "share of vocals must be from 0 to 1"),
    ],
    ids=str,
)
def test_a_blend_needs_a_share_of_each_stem(shares, match):
    with pytest.raises(InputError, match=match):
        blend(Scale(1.0), Scale(2.0), shares)


@pytest.mark.parity
def test_a_bag_equals_the_original():
    apply = import_reference("demucs.apply")
    demucs = import_reference("demucs.demucs")
    weights = [[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 3.0]]
    originals = []
    for seed in range(2):
        torch.manual_seed(seed)
        small = {"channels": 4, "depth": 2, "resample": False, "samplerate": 8000}
        originals.append(demucs.Demucs(list(STEMS), **small, segment=1).eval())

    class Wrapped(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.config = model, Config()

        def forward(self, mixture):
            # The original's chunks are padded to a length that its layers fit.
            return apply.apply_model(self.model, mixture, shifts=0, split=False)

    bag = Bag([Wrapped(model) for model in originals], weights).eval()
    mixture = torch.randn(2, 2, 7999)
    theirs = apply.apply_model(
        apply.BagOfModels(originals, weights), mixture, shifts=0, split=False
    )
    assert (bag(mixture) - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_a_bag_is_one_graph():
    """No value of a tensor decides which of its models run."""
    models = [create_model("wave_u_net", "tiny", STEMS) for _ in range(2)]
    bag = Bag(models, [[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 3.0]]).eval()
    graph = trace(bag).module()
    mixture = 0.1 * torch.randn(1, 2, 9000)
    with torch.no_grad():
        torch.testing.assert_close(graph(mixture), bag(mixture), atol=1e-5, rtol=0)
