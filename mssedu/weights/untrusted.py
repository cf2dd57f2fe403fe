"""Read files that may be damaged or hostile: their sizes first, then what they hold.

    .json          length ─▶ text ─▶ document
    .safetensors   length of the header ─▶ names, types and shapes ─▶ tensors, mapped
    .th, .pt …     directory of the zip ─▶ nothing compressed, as torch.save writes it

A mapped tensor is read from the disk when its values are used, so a file that claims
terabytes takes no memory until its shapes are those of a model. Whatever odd content
raises becomes a CheckpointError that names the file.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from mssedu.errors import CheckpointError, MssEduError

DAMAGED = "The file is damaged. Copy or download it again."
LONGEST = 16 * 2**20  # bytes of a JSON, of a header or of a pickle without its tensors
SHOWN = 200  # characters of an error of Python that a message quotes
ODD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def odd_content(
    where: str | Path, kind: str = "weights", remedy: str = DAMAGED
) -> Iterator[None]:
    """Raise a CheckpointError where the content of a file makes our code fail.

    Args:
        where: the file, with which the message begins.
        kind: what it should be.
        remedy: the end of the message.
    """
    try:
        yield
    except MssEduError:
        raise
    except OSError as error:  # such as a file that must not be read
        raise CheckpointError(
            f"{where} cannot be read: {error.strerror or error}. Check the file."
        ) from error
    except ODD as error:
        reason = " ".join(f"{type(error).__name__}: {error}"[:SHOWN].split())
        raise CheckpointError(f"{where} is not {kind} ({reason}). {remedy}") from error


def read_json(path: Path) -> Any:
    """The document in a JSON file; use it inside of `odd_content`.

    Raises:
        CheckpointError: no such file, or too long.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path.absolute()}. Copy it too.")
    _check_length(f"{path} cannot be read: it", path.stat().st_size)
    return json.loads(path.read_bytes())


@contextmanager
def open_safetensors(path: Path) -> Iterator["Tensors"]:
    """The tensors of a safetensors file, which are not read before they are used.

    Raises:
        CheckpointError: no such file, or a header that does not fit the file.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path.absolute()}. Copy it again.")
    with odd_content(path, "safetensors"):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        _check_length(f"{path} cannot be read as safetensors: its header", length)
        try:
            opened = safetensors.safe_open(path, framework="pt")
        except safetensors.SafetensorError as error:
            raise CheckpointError(
                f"{path} cannot be read as safetensors ({error}). {DAMAGED}"
            ) from error
        with opened as tensors:
            yield Tensors(tensors)


class Tensors(Mapping[str, Tensor]):
    """Tensors of an open safetensors file by name, and the facts in its header."""

    def __init__(self, file: Any) -> None:
        self._file, self.facts = file, dict(file.metadata() or {})
        self._names = dict.fromkeys(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def check_archive(path: Path) -> bool:
    """Whether a file of torch.save is a zip, as of today, or a pickle, as before 2020.

    Raises:
        CheckpointError: neither, or a zip that holds more than its own size, when it is
            inflated.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(b"\x80"):
        return False
    if start != b"PK\x03\x04":
        raise _no_weights(path, "" if start else ": it is empty")
    try:
        with zipfile.ZipFile(path) as archive:
            files = archive.infolist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is no whole zip ({error}). {DAMAGED}") from error
    pickled = [file.file_size for file in files if file.filename.endswith(".pkl")]
    if not pickled:
        raise _no_weights(path, ": it is a zip of other files")
    held = sum(file.file_size for file in files)
    if held > path.stat().st_size or any(file.compress_type for file in files):
        raise CheckpointError(
            f"{path} is compressed, and would take {held / 1e9:.3g} GB. torch.save "
            "compresses nothing. Get the weights from their authors."
        )
    _check_length(f"{path} cannot be read: its pickle", sum(pickled))
    return True


def _no_weights(path: Path, fault: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is no file of weights{fault}. Give a file of torch.save (.th, .pth, "
        ".pt or .ckpt), or one whose name ends in .safetensors or .onnx. If it should "
        "be such a file, copy or download it again."
    )


def _check_length(what: str, length: int) -> None:
    if length > LONGEST:
        raise CheckpointError(
            f"{what} has {length / 1e6:.4g} MB, and may have {LONGEST / 1e6:.0f} MB. "
            f"{DAMAGED}"
        )
