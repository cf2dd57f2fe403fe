"""Write mdx_net_golden.json: outputs of the original MDX-Net with random weights.

Weights and audio come from a fixed random generator (numpy's RandomState), so only the
outputs are stored. The original has no package. To write the file again:

    git clone https://github.com/kuielab/mdx-net && git -C mdx-net checkout bbd46db
    PYTHONPATH=mdx-net python tests/parity/make_mdx_net_golden.py
"""

import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn

GOLDEN = Path(__file__).with_name("mdx_net_golden.json")
ORDER = ("bass", "drums", "other", "vocals")  # as the original mixes them
N_FFT = {"bass": 16384, "drums": 4096, "other": 8192, "vocals": 6144}
PAPER = {"bins": 2048, "depth": 5, "growth": 32, "compress": 8, "frames": 32}
SMALL = {"bins": 64, "depth": 2, "growth": 3, "compress": 4, "frames": 20}
# name -> (sizes, stems, training)
CASES = {
    "paper_vocals": (PAPER, ("vocals",), False),
    "paper_bass": (PAPER, ("bass",), False),
    "small": (SMALL, ORDER, False),
    "small_training": (SMALL, ORDER, True),
}
LAYERS, KERNEL, HOP = 3, 3, 1024


def noise(sizes: dict) -> np.ndarray:
    """(2 items, 2 channels, samples of whole frames)."""
    generator = np.random.RandomState(7)
    shape = (2, 2, HOP * (sizes["frames"] - 1))
    return generator.standard_normal(shape).astype(np.float32) / 4


def places(samples: int) -> np.ndarray:
    """Indices of the samples to store."""
    return np.linspace(0, samples - 1, 12).astype(int)


def shapes(sizes: dict, n_fft: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in a checkpoint of one U-Net."""
    depth, growth = sizes["depth"], sizes["growth"]
    found: dict[str, tuple[int, ...]] = {
        "window": (n_fft,),
        "freq_pad": (1, 4, n_fft // 2 + 1 - sizes["bins"], sizes["frames"]),
    }

    def add(name: str, kernel: tuple[int, ...], width: int, bias: bool = True) -> None:
        found[f"{name}0.weight"] = kernel
        if bias:
            found[f"{name}0.bias"] = (width,)
        norm(f"{name}1.", width)

    def norm(name: str, width: int) -> None:
        for kind in ("weight", "bias", "running_mean", "running_var"):
            found[name + kind] = (width,)
        found[f"{name}num_batches_tracked"] = ()

    def block(name: str, level: int) -> None:
        width, bins = growth * (level + 1), sizes["bins"] >> level
        inner = bins // sizes["compress"]
        for layer in range(LAYERS):
            add(f"{name}tfc.H.{layer}.", (width, width, KERNEL, KERNEL), width)
        add(f"{name}tdf.", (inner, bins), width, bias=False)
        found[f"{name}tdf.3.weight"] = (bins, inner)
        norm(f"{name}tdf.4.", width)

    add("first_conv.", (growth, 4, 1, 1), growth)
    for level in range(depth):
        narrow, wide = growth * (level + 1), growth * (level + 2)
        block(f"encoding_blocks.{level}.", level)
        add(f"ds.{level}.", (wide, narrow, 2, 2), wide)
        block(f"decoding_blocks.{depth - 1 - level}.", level)
        add(f"us.{depth - 1 - level}.", (wide, narrow, 2, 2), narrow)
    block("bottleneck_block.", depth)
    found["final_conv.0.weight"] = (4, growth, 1, 1)
    found["final_conv.0.bias"] = (4,)
    return found


def weights(sizes: dict, stem: str) -> dict[str, np.ndarray]:
    """A value for each of these tensors, such that no layer dies."""
    generator = np.random.RandomState(ORDER.index(stem))
    values = {}
    for name, shape in sorted(shapes(sizes, N_FFT[stem]).items()):
        value = generator.standard_normal(shape)
        if name == "window":
            value = torch.hann_window(N_FFT[stem]).numpy()
        elif name == "freq_pad" or not shape:
            value = np.zeros(shape)
        elif len(shape) > 1:
            value = value * math.sqrt(1 / math.prod(shape[1:]))
        elif name.endswith(("weight", "var")):
            value = 1 + np.tanh(value) / 2
        else:
            value = value * 0.1
        kind = np.float32 if shape else np.int64  # how many batches a norm has seen
        values[name] = np.asarray(value).astype(kind)
    return values


def mixer_weights() -> np.ndarray:
    """(8, 10), near to each stem as it is, as the published one."""
    generator = np.random.RandomState(9)
    return (np.eye(8, 10) + generator.standard_normal((8, 10)) / 5).astype(np.float32)


def import_original() -> ModuleType:
    """The original's file, with stand-ins for what it only trains with."""

    class LightningModule(nn.Module):
        def save_hyperparameters(self) -> None:
            pass

    contents = {
        "omegaconf": {"OmegaConf": None},
        "pytorch_lightning": {"LightningModule": LightningModule},
        "pytorch_lightning.utilities": {},
        "pytorch_lightning.utilities.types": {"STEP_OUTPUT": object},
        "src.utils.utils": {"sdr": None},
    }
    for name, values in contents.items():
        sys.modules[name] = module = ModuleType(name)
        vars(module).update(values)
    from src.models import mdxnet

    # PyTorch no longer returns and takes complex numbers as pairs
    spectrum, inverse = torch.stft, torch.istft
    torch.stft = lambda *args, **options: torch.view_as_real(
        spectrum(*args, **options, pad_mode="reflect", return_complex=True)
    )
    torch.istft = lambda x, **options: inverse(
        torch.view_as_complex(x.contiguous()), **options
    )
    return mdxnet


def original_network(module: ModuleType, sizes: dict, stem: str) -> nn.Module:
    network = module.ConvTDFNet(
        target_name=stem,
        lr=0.0,
        optimizer="rmsprop",
        dim_c=4,
        dim_f=sizes["bins"],
        dim_t=sizes["frames"],
        n_fft=N_FFT[stem],
        hop_length=HOP,
        num_blocks=2 * sizes["depth"] + 1,
        l=LAYERS,
        g=sizes["growth"],
        k=KERNEL,
        bn=sizes["compress"],
        bias=False,
        overlap=N_FFT[stem] // 2,
        ckpt=None,
    )
    state = {n: torch.from_numpy(v) for n, v in weights(sizes, stem).items()}
    network.load_state_dict(state)
    for part in network.us:  # its output is changed in place, and gradients need it
        part.register_forward_hook(lambda layer, inputs, output: output.clone())
    return network


def original_mixer(module: ModuleType, samples: int) -> nn.Module:
    """Without the checkpoints of U-Nets, which its constructor would read."""
    mixer = module.Mixer.__new__(module.Mixer)
    nn.Module.__init__(mixer)
    mixer.dim_s, mixer.chunk_size = 4, samples
    mixer.mixing_layer = nn.Linear(10, 8, bias=False)
    mixer.mixing_layer.weight.data = torch.from_numpy(mixer_weights())
    return mixer


def separate(module: ModuleType, sizes: dict, stems: tuple, training: bool) -> tuple:
    """The original's estimate, (2 items, stems, channels, samples), and its U-Nets."""
    mixture = torch.from_numpy(noise(sizes))
    networks = [original_network(module, sizes, stem).train(training) for stem in stems]
    stacked = [n.istft(n(n.stft(mixture))) for n in networks]
    if len(stems) == 1:
        return stacked[0][:, None], networks
    mixer = original_mixer(module, mixture.shape[-1])
    x = torch.cat([torch.stack(stacked, 1), mixture[:, None]], 1)
    return mixer(x), networks


def record(estimate: torch.Tensor, networks: list[nn.Module]) -> dict:
    """What is stored of an estimate, and of the gradients of its energy."""
    estimate.square().mean().backward()
    trained = [
        {name: p for name, p in network.named_parameters() if p.requires_grad}
        for network in networks
    ]
    return {
        "parameters": [sum(p.numel() for p in names.values()) for names in trained],
        "samples": estimate.detach()[..., places(estimate.shape[-1])].tolist(),
        "energy": estimate.detach().double().square().sum(-1).tolist(),
        "gradients": {n: float(p.grad.norm()) for n, p in trained[0].items()},
    }


def main() -> None:
    module = import_original()
    golden = {}
    for name, (sizes, stems, training) in CASES.items():
        estimate, networks = separate(module, sizes, stems, training)
        golden[name] = record(estimate, networks)
    GOLDEN.write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
