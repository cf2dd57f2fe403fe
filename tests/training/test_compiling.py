"""Compiled blocks: which they are, equal numbers, an error without compiler."""

import pytest
import torch
from torch import nn

from mssedu.errors import SetupError
from mssedu.models.registry import create_model
from mssedu.training import compiling
from mssedu.training.compiling import check_compiler, compile_blocks, repeated_blocks


class Block(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 4), nn.Tanh())


def test_blocks_are_the_members_of_lists_of_one_class():
    layers = nn.ModuleList(Block() for _ in range(3))
    net = nn.ModuleDict({"first": nn.Linear(4, 4), "layers": layers})
    assert repeated_blocks(net) == [*layers]
    lonely = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    assert repeated_blocks(lonely) == [lonely]


@pytest.mark.parametrize("name", ["htdemucs", "bs_roformer", "open_unmix"])
def test_our_models_have_such_blocks(name):
    net = create_model(name, "tiny")
    assert len(repeated_blocks(net)) > 1


def test_a_lack_of_a_compiler_is_an_error(monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda _: None)
    with pytest.raises(SetupError, match=r"a C\+\+ compiler.* Leave out --compile"):
        check_compiler("cpu")
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match="triton"):
        check_compiler("cuda")
    with pytest.raises(SetupError, match="not on mps"):
        check_compiler("mps")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own files
@pytest.mark.skipif(compiling.shutil.which("g++") is None, reason="no C++ compiler")
def test_compiled_blocks_compute_the_same_and_have_the_same_names():
    torch.manual_seed(0)
    net = nn.ModuleDict({"layers": nn.ModuleList(Block() for _ in range(3))})
    x, names = torch.randn(2, 4), [*net.state_dict()]

    def through(x):
        for layer in net["layers"]:
            x = layer(x)
        return x

    before = through(x)
    assert compile_blocks(net).startswith("compiled blocks: 3")
    torch.testing.assert_close(through(x), before)
    through(x).sum().backward()
    assert [*net.state_dict()] == names
