"""Graphs of all models: any length, no value decides a path, no complex numbers."""

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.export import as_real, trace
from mssedu.models.registry import create_model
from tests.export.small import SmallConfig, small


def complex_nodes(program):
    """Names of the operations whose result is complex."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    values = [(node.target.__name__, node.meta.get("val")) for node in nodes]
    return {n for n, v in values if isinstance(v, torch.Tensor) and v.is_complex()}


def test_a_graph_is_right_at_every_length_and_has_no_complex_numbers():
    model = small()
    program = trace(model, 1001)
    real = as_real(program)
    assert "mul.Tensor" in complex_nodes(program)
    assert complex_nodes(real) <= {"stft.default", "complex.default"}
    graphs = program.module(), real.module()
    for samples in (63, 1001, 5000):  # torch wants two frames, ONNX does not
        mixture = torch.randn(1, 2, samples)
        with torch.no_grad():
            want = model(mixture)
            for graph in graphs:
                torch.testing.assert_close(graph(mixture), want, atol=1e-5, rtol=0)


# torch.compile cuts the graph of a model at an LSTM: of the fifteen architectures, nine
# have none. Each takes 10 to 20 s, so four stand for them.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["spleeter", "conv_tasnet", "htdemucs", "bs_roformer"])
def test_a_model_compiles_as_one_graph(name):
    torch.manual_seed(0)
    model, mixture = create_model(name, "tiny").eval(), torch.randn(1, 2, 30_001)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        got, want = compiled(mixture), model(mixture)
    torch.compiler.reset()
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


class ByValue(nn.Module):
    config = SmallConfig()

    def forward(self, mixture):
        if mixture.sum() > 0:
            return torch.stack([mixture, mixture], dim=1)
        return torch.stack([mixture, -mixture], dim=1)


class WithoutRule(nn.Module):
    config = SmallConfig()

    def forward(self, mixture):
        return torch.complex(mixture, mixture).acos().real[:, None]


def test_values_that_decide_a_path_are_refused():
    with pytest.raises(InputError, match="ByValue cannot be exported: a value"):
        trace(ByValue(), 100)


def test_complex_operations_without_a_rule_are_named():
    with pytest.raises(InputError, match="no rule for acos of complex"):
        as_real(trace(WithoutRule(), 100))


RULES = {
    "quotient": lambda x, y: x / y,
    "quotient by a real number": lambda x, y: x / (1 + y.abs()),
    "product with a conjugate": lambda x, y: x * y.conj(),
    "sum with a real number": lambda x, y: x + y.real,
    "difference from a real number": lambda x, y: x - y.imag,
    "direction": lambda x, y: x.sgn() + y,
    "angle": lambda x, y: x * y.angle(),
    "matrix product": lambda x, y: x @ y.mT,
    "einsum": lambda x, y: torch.einsum("bct,bdt->bcd", x, y),
    "other precision": lambda x, y: (x.to(torch.complex128) * y).to(torch.complex64),
    "from real": lambda x, y: x.real.to(torch.complex64) * y,
    "inverse": lambda x, y: torch.complex(torch.fft.irfft(x, x.shape[-1]), y.imag),
    "inverse, ortho": lambda x, y: torch.complex(
        torch.fft.irfft(
            torch.fft.rfft(x.real, norm="ortho"), x.shape[-1], norm="ortho"
        ),
        y.imag,
    ),
    "identity": lambda x, y: x.mT @ torch.eye(2, dtype=torch.complex64) + y.mT,
    "moves": lambda x, y: torch.cat([x, -y], 1).flatten(1)[:, 3:].unsqueeze(1),
}


@pytest.mark.parametrize("name", RULES)
def test_the_rules_are_those_of_complex_arithmetic(name):
    class Rule(nn.Module):
        config = SmallConfig()

        def forward(self, mixture):
            half = mixture.shape[-1] // 2
            x = torch.complex(mixture[..., :half], mixture[..., half : 2 * half])
            y = torch.complex(mixture[..., half : 2 * half].sin(), mixture[..., :half])
            return torch.view_as_real(RULES[name](x, y))

    real = as_real(trace(Rule(), 40)).module()
    mixture = torch.randn(1, 2, 26)
    torch.testing.assert_close(real(mixture), Rule()(mixture), atol=1e-5, rtol=1e-4)
