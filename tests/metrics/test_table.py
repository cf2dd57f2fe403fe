"""Metrics by name: each gives what its definition says, a number for each stem."""

import math

import pytest
import torch

from mssedu import metrics
from mssedu.errors import InputError
from mssedu.metrics.bss import bss_eval
from mssedu.metrics.table import METRICS, Sounds, score

RATE = 44100


@pytest.fixture(scope="module")
def sounds():
    generator = torch.Generator().manual_seed(0)
    references = torch.randn(3, 2, 2 * RATE, generator=generator) / 10
    noise = torch.randn(3, 2, 2 * RATE, generator=generator) / 100
    estimates = references + noise + 0.05 * references.roll(1, 0)
    return Sounds(references, estimates, references.sum(0), RATE)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_gives_a_finite_number_per_stem(name, sounds):
    (values,) = score([name], sounds).values()
    assert len(values) == 3
    if name == "pes":  # nothing rests
        assert all(math.isnan(value) for value in values)
    else:
        assert all(math.isfinite(value) for value in values)


@pytest.mark.parametrize("name", [n for n in METRICS if n not in ("pes", "snr")])
def test_the_direction_is_the_declared_one(name, sounds):
    """Half of the error must be better by every metric that sees all errors."""
    closer = (sounds.references + sounds.estimates) / 2
    better = Sounds(sounds.references, closer, sounds.mixture, RATE)
    worse, good = (torch.tensor(score([name], s)[name]) for s in (sounds, better))
    assert ((good > worse) == METRICS[name].higher_is_better).all()


def test_the_named_functions_are_called(sounds):
    found = score(["usdr", "csdr", "log_wmse", "sir"], sounds)
    pair = {"reference": sounds.references, "estimate": sounds.estimates}
    assert found["usdr"] == metrics.usdr(**pair).tolist()
    assert found["csdr"] == metrics.csdr(**pair, sample_rate=RATE).tolist()
    weighted = metrics.log_wmse(**pair, mixture=sounds.mixture, sample_rate=RATE)
    assert found["log_wmse"] == weighted.tolist()
    parts = bss_eval(
        references=sounds.references,
        estimates=sounds.estimates,
        window_length=RATE,
        hop_length=RATE,
    )
    assert found["sir"] == parts.sir.nanquantile(0.5, -1).tolist()


def test_definitions_are_json_and_tell_formula_unit_and_version():
    for name, metric in METRICS.items():
        about = metric.describe()
        keys = ("definition", "unit", "higher_is_better", "joint", "version")
        assert tuple(about) == keys
        assert len(about["definition"]) > 30, name
    assert METRICS["usdr"].unit == "dB"
    assert "median" in METRICS["csdr"].definition
    assert METRICS["sir"].joint
    assert not METRICS["usdr"].joint


def test_unknown_metrics_name_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'csdr'"):
        score(["cdsr"], None)


def test_joint_metrics_of_one_stem_know_the_accompaniment(sounds):
    """As for two stems: the one, and all else in the mixture."""
    references, mixture = sounds.references, sounds.mixture
    pair = torch.stack([references[0], mixture - references[0]])
    both = torch.stack([sounds.estimates[0], pair[1]])
    one = Sounds(references[:1], sounds.estimates[:1], mixture, RATE)
    two = Sounds(pair, both, mixture, RATE)
    names = [name for name, metric in METRICS.items() if metric.joint]
    found, expected = score(names, one), score(names, two)
    for name in names:
        assert found[name] == pytest.approx(expected[name][:1], abs=1e-3)
        assert abs(found[name][0]) < 60


def test_what_a_codec_changed_is_no_accompaniment(sounds):
    mixture = sounds.mixture + 0.001 * torch.randn(2, 2 * RATE)
    coded = Sounds(sounds.references, sounds.estimates, mixture, RATE)
    assert len(coded.accompaniment) == 0
    assert score(["sir"], coded) == score(["sir"], sounds)
