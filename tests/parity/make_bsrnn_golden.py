"""Write bsrnn_golden.json: outputs of magronp's Band-Split RNN with random weights.

Each weight is random with a seed from our name for it, so only outputs are stored. To
write the file again, in an environment with torchaudio:

    git clone https://github.com/magronp/bsrnn && git -C bsrnn checkout f2ecc62
    PYTHONPATH=bsrnn python -m tests.parity.make_bsrnn_golden
"""

import hashlib
import json
import re
import sys
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from mssedu.weights.layouts import BSRNN

GOLDEN = Path(__file__).with_name("bsrnn_golden.json")
SMALL = {"feature_dim": 8, "num_repeat": 2}
OPTIMIZED = {"n_att_head": 2, "attn_enc_dim": 16, "stereo": "tac", "act_tac": "prelu"}
ALL = ("vocals", "bass", "drums", "other")
# name -> (targets of a network, arguments of the original that differ, samples)
CASES = {
    "paper": (("vocals",), {}, 4000),
    "vocals": (("vocals",), SMALL, 9000),
    "drums": (("drums",), SMALL, 9000),
    "bass": (("bass",), SMALL, 9000),
    "other": (("other",), SMALL, 9000),
    "optimized": (("drums",), SMALL | OPTIMIZED, 9000),
    "joint": (ALL, SMALL | OPTIMIZED | {"joint_bandsplit": True}, 9000),
}
# Parameters alone: target, arguments that differ
COUNTS = {
    "drums": ("drums", {}),
    "bass": ("bass", {}),
    "other": ("other", {}),
    "optimized": ("vocals", OPTIMIZED),
}
N_PLACES = 60


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A weight by our name: random, and such that no layer dies or explodes."""
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    noise = generator.standard_normal(shape)
    in_norm = shape[0] == 1
    if len(shape) > 1 and not in_norm:
        noise /= np.sqrt(np.prod(shape[1:]))
    elif name.endswith("weight"):
        noise = 0.5 + 0.2 * np.tanh(noise)
    else:
        noise *= 0.3
    return noise.astype(np.float32)


def our_name(name: str) -> str:
    for pattern, ours in BSRNN:
        name = re.sub(pattern, ours, name)
    return name


def mixture(samples: int) -> np.ndarray:
    """(batch, channels, samples)."""
    generator = np.random.RandomState(7)
    return generator.standard_normal((2, 2, samples)).astype(np.float32) / 5


def weights_of_sum(shape: tuple[int, ...]) -> np.ndarray:
    """Of the outputs, in the scalar whose gradient is stored."""
    return np.random.RandomState(8).standard_normal(shape).astype(np.float32)


def places(size: int) -> np.ndarray:
    """Indices of the values to store, in the flat output."""
    return np.linspace(0, size - 1, N_PLACES).astype(int)


class Base(nn.Module):
    """In the place of the original's base class, which is for training only."""

    def __init__(self, *configs, targets, sample_rate, eps):
        super().__init__()
        self.targets, self.sample_rate, self.eps = list(targets), sample_rate, eps


def original(targets: tuple[str, ...], arguments: dict) -> nn.Module:
    for name in ("models.pl_module", "omegaconf"):
        sys.modules[name] = ModuleType(name)
    sys.modules["models.pl_module"].PLModule = Base
    sys.modules["omegaconf"].OmegaConf = None
    from models.bsrnn import BSRNN

    return BSRNN(None, None, None, targets=list(targets), **arguments)


def layout(state: dict[str, Tensor]) -> str:
    """A digest of names and shapes."""
    rows = sorted((name, [*tensor.shape]) for name, tensor in state.items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def separate(targets: tuple[str, ...], arguments: dict, samples: int) -> dict:
    network = original(targets, arguments)
    for name, parameter in network.named_parameters():
        random = value(our_name(name), tuple(parameter.shape))
        parameter.data.copy_(torch.from_numpy(random))
    network = network.double().eval()
    audio = torch.from_numpy(mixture(samples)).double().requires_grad_()
    estimate = network(audio)["waveforms"]
    scalar = (estimate * torch.from_numpy(weights_of_sum(estimate.shape))).sum()
    (gradient,) = torch.autograd.grad(scalar, audio)
    chosen = places(estimate.numel())
    return {
        "parameters": count(network),
        "layout": layout(network.state_dict()),
        "estimate": estimate.detach().flatten()[chosen].tolist(),
        "energy": estimate.detach().square().sum(-1).flatten().tolist(),
        "gradient": gradient.flatten()[places(gradient.numel())].tolist(),
    }


def main() -> None:
    golden = {
        "bsrnn": "f2ecc62bf76e9096943e4594d795a753c297a384",
        "torch": torch.__version__,
        "counts": {n: count(original((t,), a)) for n, (t, a) in COUNTS.items()},
        "cases": {name: separate(*case) for name, case in CASES.items()},
    }
    GOLDEN.write_text(json.dumps(golden), encoding="utf-8")


if __name__ == "__main__":
    main()
