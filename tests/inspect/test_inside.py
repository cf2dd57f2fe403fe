"""Activations by name: of every model, without a trace left on it."""

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.inspect.inside import inside_names, look_inside
from mssedu.models.registry import create_model, list_models
from tests.models.small import small_model


class Parts(nn.Module):
    """A small model with every kind of module that has more to show."""

    class Config:
        stems, sample_rate, channels, segment = ("vocals",), 8000, 2, 1.0

    class Attention(nn.Module):
        def inside(self, x):
            return {"attention": (self.mix(x) @ x.mT).softmax(dim=-1)}

        def __init__(self):
            super().__init__()
            self.mix = nn.Identity()

        def forward(self, x):
            return self.mix(x), {"unused": None}

    def __init__(self):
        super().__init__()
        self.config = self.Config()
        self.encoder = nn.ModuleList([nn.Conv1d(2, 8, 1), nn.Conv1d(8, 8, 1)])
        self.glu = nn.GLU(1)
        self.lstm = nn.LSTM(4, 3, bidirectional=True, batch_first=True)
        self.attention = self.Attention()
        self.twice = nn.Linear(6, 6)
        self.silent = nn.Conv1d(1, 1, 1)  # is never called

    def forward(self, mixture):
        x = self.encoder[0](mixture)
        x.add_(1)  # the copy of encoder.0 must not change
        x = self.lstm(self.glu(self.encoder[1](x)).mT)[0]
        x = self.twice(self.twice(self.attention(x)[0]))
        return x[..., :2].mT[:, None]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Parts()


@pytest.fixture
def mixture():
    return torch.randn(1, 2, 50, generator=torch.Generator().manual_seed(1))


def noise(samples):
    return 0.1 * torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(1))


def hooks(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs")
    return [
        hook for part in model.modules() for kind in kinds for hook in vars(part)[kind]
    ]


def attributes(model):
    return {(path, name) for path, part in model.named_modules() for name in vars(part)}


# ---- every model of the registry ----------------------------------------------------


@pytest.mark.parametrize("name", list_models())
def test_everything_listed_can_be_seen(name):
    torch.manual_seed(0)
    model, mixture = small_model(name).eval(), noise(11025)
    with torch.no_grad():
        estimate = model(mixture)
    before = attributes(model)
    shapes = inside_names(model, mixture)
    inside = look_inside(model, mixture, shapes)
    assert {name: tuple(value.shape) for name, value in inside.items()} == shapes
    assert torch.equal(inside["estimate"], estimate)
    assert not any(value.requires_grad for value in inside.values())
    assert hooks(model) == []
    assert attributes(model) == before
    with torch.no_grad():
        assert torch.equal(model(mixture), estimate)


@pytest.mark.parametrize("name", list_models())
def test_gates_and_attention_are_what_they_claim(name):
    torch.manual_seed(0)
    model = small_model(name)
    inputs = {}
    for path, part in model.named_modules():
        if isinstance(part, nn.GLU):
            part.register_forward_hook(
                lambda _, args, __, p=path: inputs.update({p: args[0]})
            )
    inside = look_inside(model, noise(11025))
    for path, value in inputs.items():
        half = value.chunk(2, dim=model.get_submodule(path).dim)[0]
        torch.testing.assert_close(half * inside[f"{path}.gate"], inside[path])
    for path, value in inside.items():
        if path.endswith(".attention"):
            assert value.ndim == 4, "(batch, heads, queries, keys)"
            torch.testing.assert_close(value.sum(-1), torch.ones(value.shape[:-1]))


@pytest.mark.parametrize(
    ("name", "mask", "shape"),
    [
        ("open_unmix", "networks.0.mask", (1, 2, 11, 4097)),
        ("spleeter", "mask", (1, 4, 2, 1025, 25)),
    ],
)
def test_masks(name, mask, shape):
    inside = look_inside(create_model(name, "tiny"), noise(22050), "*mask")
    assert tuple(inside[mask].shape) == shape
    assert inside[mask].min() >= 0


# ---- the kinds of names -------------------------------------------------------------


def test_names_of_every_kind(model, mixture):
    assert inside_names(model, mixture) == {
        "encoder.0": (1, 8, 50),
        "encoder.1": (1, 8, 50),
        "glu": (1, 4, 50),
        "glu.gate": (1, 4, 50),
        "lstm": (1, 50, 6),
        "lstm.hidden": (2, 1, 3),
        "lstm.cell": (2, 1, 3),
        "attention.mix": (1, 50, 6),
        "attention[0]": (1, 50, 6),
        "attention.attention": (1, 50, 50),
        "twice": (1, 50, 6),
        "twice#2": (1, 50, 6),
        "estimate": (1, 1, 2, 50),
    }


def test_patterns(model, mixture):
    assert [*look_inside(model, mixture, "encoder.?")] == ["encoder.0", "encoder.1"]
    assert [*look_inside(model, mixture, "attention[0]")] == ["attention[0]"]
    some = look_inside(model, mixture, ["*.gate", "lstm.c*"])
    assert [*some] == ["glu.gate", "lstm.cell"]
    assert len(look_inside(model, mixture)) == len(inside_names(model, mixture))


def test_tensors_are_copies(model, mixture):
    skip = look_inside(model, mixture, "encoder.0")["encoder.0"]
    torch.testing.assert_close(skip, model.encoder[0](mixture))
    again = look_inside(model, mixture, ["twice#2", "estimate"])
    first = again["estimate"].clone()
    again["twice#2"].zero_()
    assert torch.equal(again["estimate"], first)


def test_attention_is_computed_only_when_asked_for(model, mixture, monkeypatch):
    calls = []
    monkeypatch.setattr(Parts.Attention, "inside", lambda *a: calls.append(a) or {})
    look_inside(model, mixture, ["encoder.*", "attention[0]", "lstm"])
    assert not calls
    for pattern in ("*", "att*", "attention.*"):
        look_inside(model, mixture, pattern)
    assert len(calls) == 3


# ---- what it leaves behind ----------------------------------------------------------


def test_every_part_gets_its_own_mode_back(model, mixture):
    model.train()
    model.lstm.eval()
    modes = [part.training for part in model.modules()]
    modes_inside = []
    model.glu.register_forward_hook(lambda part, *_: modes_inside.append(part.training))
    look_inside(model, mixture, "glu")
    assert modes_inside == [False]
    assert [part.training for part in model.modules()] == modes


def test_hooks_are_gone_after_an_error(model):
    model.train()
    with pytest.raises(RuntimeError):
        look_inside(model, torch.zeros(1, 3, 50))
    assert hooks(model) == []
    assert all(part.training for part in model.modules())


def test_unknown_names_get_the_nearest(model, mixture):
    with pytest.raises(InputError, match=r"Did you mean 'encoder.1'\?.*inside_names"):
        look_inside(model, mixture, ["glu", "encoder1"])
    with pytest.raises(InputError, match=r"'zzz\*'"):
        look_inside(model, mixture, "zzz*")
    with pytest.raises(InputError, match=r"Did you mean 'attention.attention'"):
        look_inside(model, mixture, "attention.atention")


def test_a_module_that_is_never_called_has_no_name(model, mixture):
    with pytest.raises(InputError, match="'silent'"):
        look_inside(model, mixture, "silent")


def test_half_a_second_by_default(model):
    assert inside_names(model)["estimate"] == (1, 1, 2, 4000)
