"""The packages that ours is compared with, and old releases of one of them.

The packages are the extra `parity`; without it, the tests that need them are skipped.
One environment holds one release of demucs; its models v2 and Conv-TasNet are in 2.0.3
alone. `make setup` puts such releases below <environment>/peers, from where `load_peer`
imports them without a trace in sys.modules.
"""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from torch import Tensor

INSTALL = 'pip install -e ".[parity]"'


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    """What every port promises: at most 1e-5 of the loudest sample apart."""
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def import_reference(module: str) -> ModuleType:
    """Import a module of the extra `parity`; skip what needs it if it is not there."""
    return pytest.importorskip(module, reason=f"needs {module}: {INSTALL}")


def load_peer(
    package: str, version: str, modules: list[str], stubs: Mapping[str, ModuleType]
) -> list[ModuleType]:
    """Import modules of an old release; skip what needs it if it is not installed.

    Args:
        package: name, e.g. "demucs".
        version: release, e.g. "2.0.3".
        modules: below the package, e.g. ["model", "tasnet"].
        stubs: stand-ins for packages that the release imports and does not need here.
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
