"""Damaged and hostile files: one clear error, at once, and with next to no memory."""

import contextlib
import json
import os
import pickle
import resource
import struct
import warnings
import zipfile
from fractions import Fraction

import pytest
import safetensors.torch
import torch

from mssedu.audio.files import file_sha256
from mssedu.audio.tensors import save_audio
from mssedu.errors import CheckpointError, MssEduError
from mssedu.models.registry import create_model
from mssedu.separation.files import separate_file
from mssedu.weights import foreign, untrusted
from mssedu.weights.checkpoint import load_checkpoint, save_checkpoint
from mssedu.weights.foreign import read_weights
from mssedu.weights.loading import load_model

KLASS = "demucs.htdemucs.HTDemucs"
TASNET = {"N": 8, "L": 20, "B": 6, "H": 8, "P": 3, "X": 2, "R": 2}
MOST_MEMORY = 200_000  # kB


def tasnet():
    return create_model(
        "conv_tasnet",
        n_filters=8,
        bottleneck=6,
        hidden=8,
        n_blocks=2,
        n_repeats=2,
    )


def refused(path, match=None):
    """The error of loading a file, which is short and takes no memory to find."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MssEduError, match=match) as caught:
        load_model(path)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < MOST_MEMORY
    text = str(caught.value)
    assert len(text) < 1000
    assert path.stem in text
    for advice in ("weights_only", "safe_globals", "torch.load", "trust"):
        assert advice not in text
    return text


@pytest.fixture
def path(tmp_path):
    return tmp_path / "odd.th"


@pytest.fixture
def safe(tmp_path):
    return tmp_path / "odd.safetensors"


def save_safe(path, tensors, facts=None):
    safetensors.torch.save_file(tensors, path, facts)
    return path


def write_header(path, header, n_bytes=0):
    """A safetensors file of zeros, which takes no room on the disk."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + n_bytes)
    return path


# ---- pickles ------------------------------------------------------------------------


def test_a_compressed_archive_is_not_inflated(path):
    torch.save({"a": torch.zeros(10**6)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    assert path.stat().st_size < 20_000
    refused(path, r"compressed, and would take 0\.004 GB")


def test_files_that_share_their_bytes_are_not_read_twice(path):
    torch.save({"a": torch.zeros(10**5)}, path)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")  # the first of the directory
    sizes = slice(entry + 20, entry + 28)
    content[sizes] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(content)
    refused(path, "compressed, and would take")


def test_a_pickle_is_not_longer_than_one_of_tensors(path, monkeypatch):
    torch.save({"a": torch.zeros(1), "b": "x" * 10_000}, path)
    monkeypatch.setattr(untrusted, "LONGEST", 9_000)
    refused(path, "its pickle has .* MB, and may have")


@pytest.mark.parametrize("n", [4 * 10**8, 10**13])
@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.int8])
def test_a_tensor_that_repeats_one_value_is_refused(path, n, kind):
    torch.save({"a": torch.zeros(1, dtype=kind).expand(n)}, path)
    assert path.stat().st_size < 2000
    refused(path, f"'a' has {n} values, and the file has fewer")
    with pytest.raises(CheckpointError, match="the file has fewer"):
        read_weights(path)


def test_a_storage_shorter_than_its_tensor_is_refused(path):
    torch.save({"a": torch.arange(1000.0)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text[:40] if "/data/" in name else text)
    refused(path, "cannot be read as a file of torch.save|not weights")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.zeros(3, device="meta"),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    ],
    ids=["sparse", "meta", "quantized"],
)
def test_what_is_no_plain_tensor_is_refused(path, tensor):
    torch.save({"a": tensor}, path)
    refused(path, "'a' is no plain tensor|cannot be read|plain values")


def test_a_name_that_is_no_text_is_refused(path):
    torch.save({3: torch.zeros(3)}, path)
    refused(path, "3 is no plain tensor")


class Call:
    """A pickle of this calls a function where it is unpickled carelessly."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize("suffix", [".th", ".pt", ".ckpt", ".pth", ".bin"])
@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_no_suffix_makes_code_run(tmp_path, suffix, how):
    mark, path = tmp_path / "ran", tmp_path / f"odd{suffix}"
    content = {"klass": Call(os.system, f"touch '{mark}'"), "state": {}}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    refused(path, "No code")
    assert not mark.exists()


@pytest.mark.parametrize("text", ["1e999999999", "1/0", "9" * 4000, "-1/3", "x"])
def test_a_fraction_is_one_of_few_digits(tmp_path, text):
    package = {
        "klass": KLASS,
        "args": (),
        "kwargs": {"sources": ["a"], "segment": Call(Fraction, text)},
        "state": {"x": torch.zeros(1)},
    }
    klass = type("HTDemucs", (), {"__module__": "demucs.htdemucs"})
    module = type(os)("demucs.htdemucs")
    module.HTDemucs = package["klass"] = klass
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.sys.modules, "demucs.htdemucs", module)
        torch.save(package, tmp_path / "odd.th")
    refused(tmp_path / "odd.th")


def test_a_class_that_is_none_is_named(path):
    for klass in ("x" * 10**6, 3, ["demucs.htdemucs.HTDemucs"], None):
        package = {"klass": klass, "args": (), "kwargs": {}, "state": {}}
        torch.save(package, path)
        refused(path, "must name the class of its model")
    torch.save({"klass": 3}, path)
    refused(path, "odd.th")


def test_torchscript_is_refused_without_its_advice(path):
    path = path.with_suffix(".pt")
    with warnings.catch_warnings(action="ignore"):  # PyTorch has newer formats
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    refused(path, "compressed")


@pytest.mark.parametrize("n_bytes", [0, 1, 4, 100, 1000])
def test_a_file_that_ends_early_is_refused(path, n_bytes):
    torch.save(tasnet().state_dict(), path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    refused(path, "no whole zip" if n_bytes >= 4 else "no file of weights")


# ---- safetensors --------------------------------------------------------------------


def test_a_huge_file_is_not_read(safe):
    n = 3 * 10**9
    tensor = {"dtype": "F32", "shape": [n], "data_offsets": [0, 4 * n]}
    write_header(safe, {"encoder.conv1d_U.weight": tensor}, 4 * n)
    refused(safe, "is not weights")
    names = tasnet().state_dict().keys()
    header = {
        name: {"dtype": "F32", "shape": [], "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    name = "separator.network.1.weight"
    end = 4 * len(header)
    header[name] = {"dtype": "F16", "shape": [n], "data_offsets": [end, end + 2 * n]}
    del header["encoder.conv1d_U.weight"]
    write_header(safe, header)
    refused(safe, "cannot be read as safetensors")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[",
        b"[]",
        b"[" * 100_000,
        {"a": 3},
        {"a": {}},
        {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4000]}},
        {"a": {"dtype": "F32", "shape": [2**63, 2], "data_offsets": [0, 4]}},
        {"__metadata__": {"klass": 3}},
    ],
    ids=lambda header: str(header)[:40],
)
def test_a_header_that_lies_is_refused(safe, header):
    refused(write_header(safe, header, 4), "safetensors")


def test_a_header_is_not_longer_than_one_of_tensors(safe):
    write_header(safe, b" " * 17_000_000)
    refused(safe, "its header has 17 MB, and may have")
    safe.write_bytes(b"\xff" * 8)
    refused(safe, "its header has .* MB")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ("[", "{}"),
        ("[]", "nope"),
        ("[]", "[]"),
        ("{}", "{}"),
        ("3", "{}"),
        ('[["a"], 5]', "{}"),
        ("[1, 2, 3]", "{}"),
        ("[]", "[" * 100_000),
        ("[]", "{}"),
        ("[]", '{"sources": "abc"}'),
        ("[]", '{"sources": 3}'),
        ("[]", '{"sources": [3]}'),
        ("[]", '{"sources": ["../../x"]}'),
        ("[]", '{"sources": ["a"], "depth": 1000000}'),
        ("[]", '{"sources": ["a"], "t_layers": 1000000000}'),
        ("[]", '{"sources": ["a"], "nfft": 1000000000}'),
        ("[]", '{"sources": ["a"], "channels": 1e400}'),
        ("[]", '{"sources": ["a"], "channels": []}'),
        ("[]", '{"sources": ["a"], "segment": "long"}'),
        ("[]", '{"sources": ["a"], "segment": {"a": 1}}'),
        ("[]", '{"sources": ["a"], "segment": {"_type": "fraction"}}'),
        ("[]", '{"sources": ["a"], "segment_length": 3, "samplerate": 0}'),
        (
            "[]",
            '{"sources": ["a"], "segment": {"_type": "fraction", "numerator": 1, '
            '"denominator": 0}}',
        ),
        (
            "[]",
            '{"sources": ["a"], "segment": {"_type": "fraction", "numerator": '
            '"1e999999999", "denominator": null}}',
        ),
    ],
    ids=lambda text: text[:60],
)
def test_arguments_that_no_model_has_are_refused(safe, args, kwargs):
    facts = {"klass": KLASS, "args": args, "kwargs": kwargs}
    refused(save_safe(safe, {"x": torch.zeros(1)}, facts))
    for missing in ("args", "kwargs"):
        rest = {name: text for name, text in facts.items() if name != missing}
        refused(save_safe(safe, {"x": torch.zeros(1)}, rest), "odd")


@pytest.mark.parametrize(
    "sign",
    [
        "crosstransformer.norm_in.weight",
        "tencoder.0.conv.weight",
        "encoder.0.2.weight",
        "encoder.conv1d_U.weight",
        "freq_encoder.0.conv.weight",
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 0, 0), (2, 2, 2, 2)], ids=str)
def test_a_name_alone_makes_no_architecture(safe, sign, shape):
    refused(save_safe(safe, {sign: torch.zeros(shape)}))


def test_many_levels_are_counted_in_one_pass(path):
    one = torch.zeros(1)
    state = {f"encoder.{i}.conv.weight": one for i in range(20_000)}
    torch.save(state | {"tencoder.0.conv.weight": one}, path)
    refused(path, "is not weights")


def test_open_unmix_of_odd_sizes_is_refused(safe):
    one = {"fc1.weight": torch.zeros(2, 2), "input_mean": torch.zeros(1)}
    for mean in (torch.zeros(()), torch.zeros(0), torch.zeros(1), torch.zeros(3)):
        refused(save_safe(safe, {**one, "output_mean": mean}))
    state = {f"lstm.weight_ih_l{i}": torch.zeros(1) for i in range(5000)}
    state |= {**one, "output_mean": torch.zeros(513)}
    refused(save_safe(safe, state))


@pytest.mark.parametrize(
    "settings", ["", "[]", "{}", '{"sample_rate": [], "nhop": 3}', "[" * 100_000]
)
def test_the_settings_of_a_damaged_folder_of_open_unmix(tmp_path, settings):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "separator.json").write_text(settings)
    refused(folder, "the JSON of an Open-Unmix separator")


def test_whole_numbers_do_not_stand_in_for_weights(path):
    state = {
        name: value.to(torch.int8) for name, value in tasnet().state_dict().items()
    }
    torch.save(state, path)
    refused(path, r"of another type \d+ \(")


def test_tensors_stay_as_they_are_stored_or_become_single(path, monkeypatch):
    torch.save({"a": torch.ones(3).half(), "b": torch.ones(3).int()}, path)
    stored = read_weights(path, as_stored=True).state
    assert (stored["a"].dtype, stored["b"].dtype) == (torch.float16, torch.int32)
    single = read_weights(path).state
    assert (single["a"].dtype, single["b"].dtype) == (torch.float32, torch.int32)
    monkeypatch.setattr(foreign, "MOST_PARAMETERS", 5)
    with pytest.raises(CheckpointError, match=r"more than 5e\+00 numbers"):
        read_weights(path)


# ---- our own ------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    """A function that saves a checkpoint, and changes its JSON."""

    def write(change):
        path = save_checkpoint(tmp_path / "own.safetensors", tasnet())
        json_path = path.with_suffix(".json")
        document = change(json.loads(json_path.read_text("utf-8")))
        text = document if isinstance(document, str) else json.dumps(document)
        json_path.write_text(text)
        return json_path

    return write


def with_field(name, value):
    """A document with another value in its config."""
    return lambda document: document | {"config": document["config"] | {name: value}}


ABSURD = (10**9, -1, 10**400, 1e300, "x", None, [], [[]], {}, True, 2.5)


@pytest.mark.parametrize("name", ["n_filters", "n_blocks", "n_repeats", "sample_rate"])
@pytest.mark.parametrize("value", ABSURD, ids=lambda value: str(value)[:9])
def test_an_absurd_config_ends_before_the_model(own, name, value):
    refused(own(with_field(name, value)), f"{name} must|finite|4300 digits")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: "[" * 100_000,
        lambda d: "",
        lambda d: "3",
        lambda d: '{"format": 1, "config": ' + "[" * 100_000,
        lambda d: d | {"config": []},
        lambda d: d | {"config": "x"},
        lambda d: d | {"model": []},
        lambda d: d | {"model": "../../x"},
        lambda d: d | {"model": "x" * 10**6},
        lambda d: d | {"sha256": 3},
        lambda d: d | {"sha256": "0" * 10**6},
        lambda d: d | {"format": [1]},
        lambda d: d | {"facts": 3},
        lambda d: d | {"grouping": 5},
        lambda d: d | {"grouping": "ab"},
        lambda d: d | {"grouping": [1, 2, 3, 4]},
        lambda d: d | {"grouping": ["a", "b", "c", "d"]},
        lambda d: d | {"grouping": None},
        *(
            lambda d, k=k: {n: v for n, v in d.items() if n != k}
            for k in ("model", "config", "sha256", "facts")
        ),
        with_field("stems", 5),
        with_field("stems", "vocals"),
        with_field("stems", ["a", "b"]),
        with_field("stems", {"a": 1}),
        with_field("name", "spleeter"),
        with_field("preset", "tiny"),
        with_field("x" * 10**6, 1),
        with_field("mask", "x" * 10**6),
    ],
)
def test_a_changed_json_is_refused(own, change):
    refused(own(change))


def test_stems_of_another_name_than_in_the_grouping_are_refused(own):
    change = with_field("stems", ["a", "b", "c", "d"])
    refused(own(change), "the stems are a, b, c, d in config, and vocals, .* grouping")


def test_a_config_that_leaves_no_trace_in_the_tensors_must_not_change(own):
    assert load_model(own(lambda document: document)).config.hop_length == 10
    refused(own(with_field("hop_length", 11)), "was changed after it was saved: its")


def test_a_json_is_not_longer_than_a_config(own, monkeypatch):
    monkeypatch.setattr(untrusted, "LONGEST", 500)
    refused(own(lambda document: document), "MB, and may have")


def test_a_checkpoint_of_version_0_1_still_loads(tmp_path):
    """It has no grouping, and no hash of its config in the tensors."""
    model = tasnet()
    path = save_checkpoint(tmp_path / "own.safetensors", model)
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    safetensors.torch.save_file(model.state_dict(), path, {"mssedu": "0.1.0"})
    digest = file_sha256(path)
    del document["grouping"]
    path.with_suffix(".json").write_text(json.dumps(document | {"sha256": digest}))
    assert load_checkpoint(path).config == model.config


def test_a_checkpoint_is_weighed_before_it_is_hashed(tmp_path):
    path = save_checkpoint(tmp_path / "own.safetensors", tasnet())
    tensors = safetensors.torch.load_file(path)
    header, n = {}, 0
    for name, tensor in tensors.items():
        offsets = [n, n + tensor.nbytes]
        header[name] = {
            "dtype": "F32",
            "shape": [*tensor.shape],
            "data_offsets": offsets,
        }
        n += tensor.nbytes
    size = 12 * 10**9
    extra = {"dtype": "U8", "shape": [size], "data_offsets": [n, n + size]}
    write_header(path, header | {"extra/optimizer/0/x": extra}, n + size)
    refused(path, "has 12 GB, and a training with its config keeps at most")
    name = next(iter(header))
    wrong = {"dtype": "F32", "shape": [size // 4], "data_offsets": [n, n + size]}
    header[name] = {
        "dtype": "F32",
        "shape": [*tensors[name].shape],
        "data_offsets": [0, tensors[name].nbytes],
    }
    write_header(path, header | {"separator.more": wrong}, n + size)
    refused(path, r"unexpected 1 \(separator: 1\)")


def test_a_folder_in_place_of_a_file(tmp_path):
    folder = tmp_path / "odd"
    (folder / "best.json").mkdir(parents=True)
    refused(folder, "there is no file")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"RIFF\x24\xac\x02\x00WAVEfmt \x10\x00\x00\x00", "weights. Give"),
        (b"ID3\x03\x00\x00\x00\x00\x00\x00", "weights. Give"),
        (b"a text\nof two lines\n", "weights. Give"),
        (b"<!DOCTYPE html><html>404</html>", "weights. Give"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}", "weights. Give"),
        (b"\x1f\x8b\x08\x00", "weights. Give"),
        (b"PK\x05\x06" + bytes(18), "weights. Give"),
        (bytes(1000), "weights. Give"),
        (b"", "weights: it is empty"),
    ],
    ids=["wav", "mp3", "text", "page", "npy", "gz", "no files", "zeros", "nothing"],
)
@pytest.mark.parametrize("suffix", [".wav", ".th", ""])
def test_what_is_no_file_of_weights(tmp_path, suffix, content, match):
    """A wav was said to have an IndexError."""
    file = tmp_path / f"song{suffix}"
    file.write_bytes(content)
    refused(file, rf"is no file of {match}.*copy or download it again")


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_of_other_files(path, kind):
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("song.txt", "words " * 1000)
    refused(path, "no file of weights: it is a zip of other files")


@pytest.mark.parametrize("name", ["a", "a.onnx", "a.safetensors", "a.wav"])
def test_a_folder_without_a_model(tmp_path, name):
    (tmp_path / name).mkdir()
    refused(tmp_path / name, "no folder of a run: .* Give the folder")


@pytest.mark.parametrize("name", ["a\x00b", "x" * 5000, "a/" * 3000], ids=len)
def test_a_path_that_no_file_can_have_is_an_error_of_ours(name):
    with pytest.raises(MssEduError, match=r"no file|unknown file"):
        load_model(name)


@pytest.mark.parametrize("stem", ["../../x", "a/b", "..", "a\x00", "x" * 300])
def test_no_checkpoint_writes_outside_of_the_output_folder(own, tmp_path, stem):
    def change(document):
        config = document["config"] | {"stems": [stem, "b", "c", "d"]}
        return document | {"config": config, "grouping": config["stems"]}

    path = own(change)
    refused(path, "cannot name files")
    safe = tmp_path / "odd.safetensors"
    kwargs = json.dumps({"sources": [stem, "b", "c", "d"], **TASNET})
    facts = {"klass": "demucs.tasnet.ConvTasNet", "args": "[]", "kwargs": kwargs}
    refused(save_safe(safe, tasnet().state_dict(), facts), "cannot name files")


@pytest.mark.parametrize("stem", ["../../x", "/tmp/x", "...", "CON", "a: b"])
def test_no_stem_is_written_outside_of_the_output_folder(tmp_path, stem):
    """Also of a model whose config did not go through our checks."""
    model = create_model("wave_u_net", "tiny", ("a", "b"))
    object.__setattr__(model.config, "stems", (stem, "b"))
    out = tmp_path / "deep" / "down" / "out"
    audio = torch.rand(2, 8000, generator=torch.Generator().manual_seed(0)) - 0.5
    save_audio(tmp_path / "song.wav", audio, 44100)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with contextlib.suppress(MssEduError):
        separate_file(model, tmp_path / "song.wav", out)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(out) for path in written)


def test_a_file_that_must_not_be_read_is_not_called_damaged(path, monkeypatch):
    path.write_bytes(b"PK")

    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", forbidden)
    text = refused(path, match="cannot be read: Permission denied")
    assert "damaged" not in text
