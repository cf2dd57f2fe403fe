"""The packages to compare with, releases that need a place apart, and common inputs.

The packages are the extra `parity`; without it, the tests that need them are skipped.
An environment can hold one release of demucs, and only 2.0.3 has its models v2 and
Conv-TasNet; bytesep asks for a torch of 2021. `make test` installs such releases in
<environment>/peers; `load_peer` imports them from there and restores sys.modules.
"""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

INSTALL = 'pip install -e ".[parity]"'


def mixture(samples: int, channels: int = 2, batch: int = 2) -> Tensor:
    """The same noise in every call, (batch, channels, samples)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, samples, generator=generator) / 5


def randomize(model: nn.Module, bias: float) -> nn.Module:
    """Set every parameter to a random value, so that each scale and bias matters.

    Args:
        model: ours or theirs.
        bias: deviation of the biases.
    """
    generator = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        if not value.requires_grad:  # a constant
            continue
        is_scale = name.endswith(("scale", "gamma"))
        if is_scale or ("norm" in name and name.endswith("weight")):
            value.data.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim > 1 and "embedding" not in name:
            value.data.normal_(0.0, value[0].numel() ** -0.5, generator=generator)
        else:
            value.data.normal_(0.0, bias, generator=generator)
    return model


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    """Raise AssertionError unless all samples differ by at most 1e-5 of the peak."""
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def import_reference(module: str) -> ModuleType:
    """Import a module of the extra `parity`; skip what needs it if it is not there."""
    return pytest.importorskip(module, reason=f"needs {module}: {INSTALL}")


def diffq_stub() -> ModuleType:
    """A stand-in for diffq, which old releases of demucs import."""
    diffq = ModuleType("diffq")
    for name in ("DiffQuantizer", "UniformQuantizer", "restore_quantized_state"):
        setattr(diffq, name, None)
    return diffq


def load_peer(
    package: str, version: str, modules: list[str], stubs: Mapping[str, ModuleType]
) -> list[ModuleType]:
    """Import modules of an old release; skip what needs it if it is not installed.

    Args:
        package: name, e.g. "demucs".
        version: release, e.g. "2.0.3".
        modules: below the package, e.g. ["model", "tasnet"].
        stubs: stand-ins for packages that the release imports but does not need here.
    """
    folder = Path(sys.prefix) / "peers" / f"{package}-{version}"
    if not folder.is_dir():
        command = f"pip install --no-deps --target {folder} {package}=={version}"
        pytest.skip(f"needs: {command}", allow_module_level=True)
    before = dict(sys.modules)
    _forget(package, *stubs)
    sys.modules.update(stubs)
    sys.path.insert(0, str(folder))
    try:
        return [importlib.import_module(f"{package}.{name}") for name in modules]
    except ModuleNotFoundError as error:  # --no-deps: the extra brings what it needs
        if error.name is None or error.name.partition(".")[0] == package:
            raise
        pytest.skip(f"needs {error.name}: {INSTALL}", allow_module_level=True)
    finally:
        sys.path.remove(str(folder))
        _forget(package, *stubs)
        sys.modules.update({n: before[n] for n in before if n not in sys.modules})


def _forget(*packages: str) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] in packages]:
        del sys.modules[name]
