"""load_cached: the model if its weights are here, None if not, and never a download."""

import hashlib

import pytest
import torch

from mssedu.errors import CheckpointError, InputError
from mssedu.models.registry import create_model
from mssedu.weights import cached, loading
from mssedu.weights.cached import how_to_get, load_cached
from mssedu.weights.published import PUBLISHED, Published, WeightFile

NAME, STEMS = "small-model", ("a", "b")


@pytest.fixture
def stored(state, tmp_path):
    """The weights as a file, not yet where they are looked for."""
    torch.save(state, tmp_path / "stored.th")
    return tmp_path / "stored.th"


@pytest.fixture
def table(monkeypatch, tmp_path, stored):
    """The table with one more name, whose address no one answers."""
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path))
    monkeypatch.delenv("MSSEDU_SMALL_MODEL", raising=False)
    digest = hashlib.sha256(stored.read_bytes()).hexdigest()
    files = (WeightFile("http://127.0.0.1:9/small.th", digest),)
    entry = Published("conv_tasnet", files, STEMS, "for tests", "noise")
    known = {**PUBLISHED, NAME: entry}
    for module in (cached, loading):
        monkeypatch.setattr(module, "PUBLISHED", known)


@pytest.fixture
def state():
    """A state dict in the names of a package that `load_model` knows."""
    torch.manual_seed(0)
    small = {"n_filters": 8, "bottleneck": 6, "hidden": 8, "n_blocks": 2}
    model = create_model("conv_tasnet", "paper", STEMS, n_repeats=2, **small)
    return model.state_dict()


@pytest.mark.usefixtures("table")
def test_weights_that_are_not_here_are_none():
    assert load_cached(NAME) is None


def test_the_model_of_the_repository_is_always_here(tmp_path, monkeypatch):
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path))
    assert load_cached("mel_band_roformer_small").config.n_bands == 32


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("place", ["cache", "variable"])
def test_weights_that_are_here_are_loaded(tmp_path, monkeypatch, stored, state, place):
    if place == "variable":
        monkeypatch.setenv("MSSEDU_SMALL_MODEL", str(stored))
    else:
        (tmp_path / "weights").mkdir()
        stored.rename(tmp_path / "weights" / "small.th")
    model = load_cached(NAME)
    assert model.config.stems == STEMS
    found = model.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.usefixtures("table")
def test_a_variable_that_names_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("MSSEDU_SMALL_MODEL", str(tmp_path / "gone.th"))
    with pytest.raises(CheckpointError, match=r"MSSEDU_SMALL_MODEL is '.*gone\.th'"):
        load_cached(NAME)


def test_unknown_names():
    for function in (load_cached, how_to_get):
        with pytest.raises(InputError, match="unknown published name 'htdemux'"):
            function("htdemux")


def test_how_to_get():
    text = how_to_get("htdemucs")
    assert "mssedu separate SONG.wav -m htdemucs" in text
    assert "MSSEDU_HTDEMUCS" in text
    by_hand = [n for n in loading.list_pretrained() if PUBLISHED[n].page]
    for name in by_hand:
        assert PUBLISHED[name].page in how_to_get(name)
