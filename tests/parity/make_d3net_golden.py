"""Write d3net_golden.json: outputs of Sony's D3Net with random weights.

Sony wrote it for NNabla. Its graph consists of few functions, so this file brings them
from PyTorch, under NNabla's names and with NNabla's conventions; the graph itself is
Sony's. Each variable is random with a seed from its name, so only outputs are stored.
They are computed in double precision: in single precision, rounding moves an activation
across the kink of a ReLU here and there, and its gradient with it.
To write the file again:

    git clone https://github.com/sony/ai-research-code && git -C ai-research-code \
        checkout cfe96df
    PYTHONPATH=ai-research-code/d3net/music-source-separation \
        python -m tests.parity.make_d3net_golden
"""

import json
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

GOLDEN = Path(__file__).with_name("d3net_golden.json")
# name -> (target whose published sizes to use, training)
CASES = {
    "vocals": ("vocals", False),
    "drums": ("drums", False),
    "bass": ("bass", False),
    "vocals_training": ("vocals", True),
}
FRAMES = 16
N_PLACES = 200


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A variable of NNabla: random, and such that no layer dies or explodes."""
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    noise = generator.standard_normal(shape)
    last = name.rpartition("/")[2]
    if last == "W":
        noise *= 1 / np.sqrt(np.prod(shape[1:]))
    elif last in ("gamma", "var", "in_scale", "decode_scale"):
        noise = 1 + 0.2 * np.tanh(noise)
    else:
        noise *= 0.1
    return noise.astype(np.float32)


def magnitude(channels: int, bins: int, frames: int = FRAMES) -> np.ndarray:
    """(batch, channels, bins, frames) ≥ 0."""
    generator = np.random.RandomState(7)
    noise = generator.standard_normal((1, channels, bins, frames))
    return np.abs(noise).astype(np.float32)


def weights_of_sum(shape: tuple[int, ...]) -> np.ndarray:
    """Of the outputs, in the scalar whose gradient is stored."""
    return np.random.RandomState(8).standard_normal(shape).astype(np.float32)


def places(size: int) -> np.ndarray:
    """Indices of the values to store, in the flat output."""
    return np.linspace(0, size - 1, N_PLACES).astype(int)


# ---- NNabla in PyTorch --------------------------------------------------------------


class Parameters:
    """NNabla's registry of variables, each random from its name."""

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.n_trained = 0
        self.made: dict[str, Tensor] = {}

    @contextmanager
    def scope(self, name: str):
        self.scopes.append(name)
        yield
        self.scopes.pop()

    def get(self, name: str, shape, *_, trained: bool = True, **__) -> Tensor:
        path = "/".join([*self.scopes, name])
        if path not in self.made:
            self.made[path] = torch.from_numpy(value(path, tuple(shape))).double()
            self.n_trained += trained * self.made[path].numel()
        return self.made[path]


def stand_in(parameters: Parameters) -> dict[str, ModuleType]:
    """The modules of NNabla that Sony's graph imports."""

    def convolution(x, outmaps, kernel, stride, with_bias, dilation, pad, name, w_init):
        with parameters.scope(f"{name}/conv"):
            weight = parameters.get("W", (outmaps, x.shape[1], *kernel))
            bias = parameters.get("b", (outmaps,)) if with_bias else None
        return functional.conv2d(x, weight, bias, stride, pad, dilation)

    def deconvolution(x, outmaps, kernel, stride, name):
        with parameters.scope(f"{name}/deconv"):
            weight = parameters.get("W", (x.shape[1], outmaps, *kernel))
            bias = parameters.get("b", (outmaps,))
        return functional.conv_transpose2d(x, weight, bias, stride)

    def batch_normalization(x, batch_stat, name):
        shape = (1, x.shape[1], 1, 1)
        with parameters.scope(f"{name}/bn"):
            beta, gamma = (parameters.get(n, shape) for n in ("beta", "gamma"))
            mean, var = (
                parameters.get(n, shape, trained=False).clone() for n in ("mean", "var")
            )
        tensors = (t.flatten() for t in (mean, var, gamma, beta))
        return functional.batch_norm(x, *tensors, training=batch_stat, eps=1e-5)

    def module(name: str, **contents) -> ModuleType:
        made = ModuleType(name)
        vars(made).update(contents)
        return made

    parts = {
        "functions": module(
            "functions",
            relu=lambda x, inplace=False: x.relu(),
            sigmoid=torch.sigmoid,
            transpose=lambda x, axes: x.permute(axes),
            concatenate=lambda *xs, axis: torch.cat(xs, axis),
            average_pooling=lambda x, kernel, stride: functional.avg_pool2d(
                x, kernel, stride
            ),
        ),
        "parametric_functions": module(
            "parametric_functions",
            convolution=convolution,
            deconvolution=deconvolution,
            batch_normalization=batch_normalization,
        ),
        "parameter": module("parameter", get_parameter_or_create=parameters.get),
        "initializer": module(
            "initializer", ConstantInitializer=lambda value: SimpleNamespace()
        ),
    }
    package = module("nnabla", parameter_scope=parameters.scope, **parts)
    return {"nnabla": package} | {f"nnabla.{n}": m for n, m in parts.items()}


def separate(target: str, sizes: dict, training: bool) -> dict:
    """Run Sony's graph; our order of axes in and out."""
    parameters = Parameters()
    for name in [n for n in sys.modules if n in ("model", "d3net_basic_blocks")]:
        del sys.modules[name]
    sys.modules.update(stand_in(parameters))
    from model import D3NetMSS

    bins = sizes["fft_size"] // 2 + 1
    mixture = torch.from_numpy(magnitude(sizes["n_channels"], bins)).double()
    mixture.requires_grad_()
    with parameters.scope(target):
        network = D3NetMSS(sizes, test=not training)
        estimate = network(mixture.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    scalar = estimate * torch.from_numpy(weights_of_sum(estimate.shape))
    (gradient,) = torch.autograd.grad(scalar.sum(), mixture)
    chosen = places(estimate.numel())
    return {
        "parameters": parameters.n_trained,
        "energy": float(estimate.detach().square().sum()),
        "estimate": estimate.flatten()[chosen].tolist(),
        "gradient": gradient.flatten()[chosen].tolist(),
    }


def main() -> None:
    import yaml

    # NNabla adds to a variable without changing those that share its memory.
    torch.Tensor.__iadd__ = lambda a, b: a + b
    torch.Tensor.apply = lambda tensor, recompute: tensor
    cases = {}
    for name, (target, training) in CASES.items():
        folder = next(p for p in sys.path if p.endswith("music-source-separation"))
        text = (Path(folder) / "configs" / f"{target}.yaml").read_text("utf-8")
        cases[name] = separate(target, yaml.safe_load(text), training)
    commit = "cfe96dfeef567eaaaffe0045b5bcab9ca7fb9e00"
    golden = {"ai-research-code": commit, "torch": torch.__version__, "cases": cases}
    GOLDEN.write_text(json.dumps(golden), encoding="utf-8")


if __name__ == "__main__":
    main()
