"""Every source of weights loads into a model that computes what the original does."""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from contextlib import ExitStack
from fractions import Fraction
from types import ModuleType, SimpleNamespace

import pytest
import safetensors.torch
import torch

import mssedu
from mssedu.errors import CheckpointError, DownloadError, InputError
from mssedu.models.registry import create_model
from mssedu.weights import loading as pretrained
from mssedu.weights.checkpoint import save_checkpoint
from mssedu.weights.ensemble import Bag
from mssedu.weights.loading import list_pretrained, load_model, table_rows
from mssedu.weights.published import PUBLISHED, SHIPPED, Published, WeightFile
from tests.file_server import serving
from tests.parity.peers import import_reference, load_peer

STEMS = ("drums", "bass", "other", "vocals")
TASNET = {"N": 8, "L": 20, "B": 6, "H": 8, "P": 3, "X": 2, "R": 2}
DEMUCS_2 = {"channels": 4, "depth": 3, "lstm_layers": 1}


def assert_close(ours, theirs):
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def mixture(samples=8000, channels=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, samples, generator=generator) / 5


@pytest.fixture
def demucs_2(monkeypatch):
    """The modules of demucs 2.0.3, findable by pickle."""
    diffq = ModuleType("diffq")
    diffq.DiffQuantizer = diffq.UniformQuantizer = None
    names = ["model", "tasnet", "utils"]
    modules = load_peer("demucs", "2.0.3", names, {"diffq": diffq})
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, f"demucs.{name}", module)
    return dict(zip(names, modules, strict=True))


def small_tasnet(seed=0, stems=STEMS):
    torch.manual_seed(seed)
    return create_model(
        "conv_tasnet",
        "paper",
        stems,
        n_filters=8,
        bottleneck=6,
        hidden=8,
        n_blocks=2,
        n_repeats=2,
    ).eval()


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Publish state dicts under a name, at addresses on this machine."""
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = ExitStack()

    def publish(name, *states, **facts):
        files = []
        for i, state in enumerate(states):
            path = tmp_path / f"{name}-{i}.th"
            torch.save(state, path)
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            server = servers.enter_context(serving(content))
            address = f"{server.address}/{path.name}"
            files.append(WeightFile(address, digest[:8], len(content)))
        facts = {"model": "conv_tasnet", "stems": STEMS, **facts}
        facts = {"license": "for tests", "trained_on": "noise", **facts}
        entry = Published(files=tuple(files), **facts)
        monkeypatch.setattr(pretrained, "PUBLISHED", {**PUBLISHED, name: entry})
        return entry

    with servers:
        yield publish


# ---- by name ------------------------------------------------------------------------


def test_a_name_is_fetched_once_checked_and_loaded(published, tmp_path):
    model = small_tasnet()
    (file,) = published("small", model.state_dict(), config={"segment": 3.0}).files
    lines, seen = [], []
    options = {"log": lines.append, "progress": lambda *counts: seen.append(counts)}
    loaded = load_model("small", **options)
    assert torch.equal(loaded(mixture()), model(mixture()))
    assert not loaded.training
    assert loaded.config == dataclasses.replace(model.config, segment=3.0)
    assert (tmp_path / "cache" / "weights" / file.name).exists()
    assert f"sha256 {file.sha256}" in lines[0]
    assert "8 published digits" in lines[0]
    assert lines[1:] == ["small: license for tests"]
    assert seen[-1][0] == seen[-1][1]
    load_model("small", log=lines.append)  # from the cache
    assert (len(seen), file.size) == (1, seen[0][1])
    assert lines[2:] == ["small: license for tests"]


def test_a_bag_has_its_weights_and_runs_half_precision_as_single(published, tmp_path):
    models = [small_tasnet(seed).half().float() for seed in range(2)]
    states = [{k: v.half() for k, v in m.state_dict().items()} for m in models]
    weights = ((1.0, 0.0, 3.0, 1.0), (0.0, 1.0, 1.0, 1.0))
    published("two", *states, weights=weights)
    bag, wanted = load_model("two"), Bag(models, weights)
    assert isinstance(bag, Bag)
    assert_close(bag(mixture()), wanted(mixture()))
    local = load_model("two", weights=tmp_path)  # the folder of both files
    assert torch.equal(local(mixture()), bag(mixture()))


def test_open_unmix_is_one_model_of_several_files(published):
    model = create_model("open_unmix", "tiny", ("speech", "noise"), sample_rate=16000)
    states = [network.state_dict() for network in model.eval().networks]
    config = {"sample_rate": 16000, "hop_length": 2048}
    published(
        "small", *states, model="open_unmix", stems=("speech", "noise"), config=config
    )
    loaded = load_model("small")
    assert loaded.config.input_bins == model.config.input_bins
    assert loaded.config.stems == ("speech", "noise")
    assert loaded.config.sample_rate == 16000


def test_local_weights_stand_in_for_a_download(published, tmp_path):
    model = small_tasnet()
    published("small", small_tasnet(1).state_dict(), stems=STEMS[::-1])
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    loaded = load_model("small", weights=tmp_path / "mine.pt")
    assert loaded.config.stems == STEMS[::-1]
    assert torch.equal(loaded(mixture()), model(mixture()))
    assert not (tmp_path / "cache").exists()


def test_weights_of_another_model_than_named_are_refused(published, tmp_path):
    published("small", small_tasnet().state_dict(), model="htdemucs")
    with pytest.raises(CheckpointError, match=r"conv_tasnet .*small is a htdemucs"):
        load_model("small")
    with pytest.raises(CheckpointError, match=r"no file .*none\.th"):
        load_model("small", weights=tmp_path / "none.th")


@pytest.mark.parametrize("name", [n for n, e in PUBLISHED.items() if e.refused])
def test_a_checkpoint_that_no_model_can_hold_says_why(name):
    assert name not in list_pretrained()
    with pytest.raises(CheckpointError, match=f"{name}.*{PUBLISHED[name].refused}"):
        load_model(name)


def test_offline_the_error_tells_what_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DownloadError) as caught:
        load_model("htdemucs")
    file = PUBLISHED["htdemucs"].files[0]
    path = tmp_path / "weights" / "955717e8-8726e21a.th"
    for words in (file.address, file.sha256, str(path), "another machine"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("htdemuc", r"'htdemuc'.*Did you mean 'htdemucs'\?.* umxl"),
        ("spleeter", r"spleeter is a model without weights\. Train it.* umxl"),
        ("runs/none/best.safetensors", r"runs/none/best\.safetensors.*path.* umxl"),
    ],
)
def test_what_is_neither_file_nor_name(name, match):
    with pytest.raises(InputError, match=match):
        load_model(name)


def test_weights_go_with_a_published_name_only(tmp_path):
    with pytest.raises(InputError, match="weights is only for"):
        load_model(tmp_path, weights=tmp_path)


def test_the_table_shows_all():
    head, rows = table_rows()
    for row, (name, entry) in zip(rows, PUBLISHED.items(), strict=True):
        assert len(row) == len(head)
        assert row[:2] == (name, entry.model)
        assert (entry.refused or "") in row[5]
    assert {row[0]: row[3] for row in rows}["htdemucs"] == "1, 84 MB"
    assert mssedu.load_model is load_model


# ---- files of other programs --------------------------------------------------------


def packages():
    """Modules, classes and arguments of demucs 2.0.3."""
    return [("tasnet", "ConvTasNet", TASNET), ("model", "Demucs", DEMUCS_2)]


@pytest.mark.parity
@pytest.mark.parametrize(("module", "klass", "arguments"), packages())
@pytest.mark.parametrize("by_name", [True, False])
def test_a_package_of_demucs_2(demucs_2, tmp_path, module, klass, arguments, by_name):
    arguments = {**arguments, "samplerate": 8000, "segment_length": 16000}
    build, path = getattr(demucs_2[module], klass), tmp_path / "a.th"
    sources = ["b", "a", "c"]
    given = ((), {"sources": sources}) if by_name else ((sources,), {})
    theirs = build(*given[0], **given[1], **arguments).eval()
    demucs_2["utils"].save_model(theirs, None, argparse.Namespace(lr=1), path)
    ours = load_model(path)
    assert ours.config.stems == ("b", "a", "c")
    assert (ours.config.sample_rate, ours.config.segment) == (8000, 2.0)
    for song in mixture():
        wanted = demucs_2["utils"].apply_model(theirs, song)
        assert_close(ours(song[None])[0].detach(), wanted)


@pytest.mark.parity
@pytest.mark.parametrize(("module", "klass", "arguments"), packages())
def test_a_state_of_demucs_2(demucs_2, tmp_path, module, klass, arguments):
    theirs = getattr(demucs_2[module], klass)(list(STEMS), **arguments).eval()
    torch.save(theirs.half().state_dict(), tmp_path / "a.th")
    ours, song = load_model(tmp_path / "a.th"), mixture()[0]
    assert ours.config.stems == STEMS
    wanted = demucs_2["utils"].apply_model(theirs.float(), song)
    assert_close(ours(song[None])[0].detach(), wanted)
    named = load_model(tmp_path / "a.th", stems=("dizi", "pipa", "erhu", "other"))
    assert named.config.stems == ("dizi", "pipa", "erhu", "other")


HTDEMUCS = {
    "channels": 8,
    "nfft": 1024,
    "depth": 3,
    "dconv_mode": 3,
    "dconv_comp": 4,
    "bottom_channels": 16,
    "t_layers": 3,
    "t_heads": 2,
    "t_hidden_scale": 2.0,
    "samplerate": 8000,
    "segment": Fraction(39, 5),
    "multi_freqs": [],
    "t_lr": None,
}
HDEMUCS = {"channels": 8, "samplerate": 8000, "segment": 20, "multi_freqs": []}


def hybrid(name, **changes):
    """A small model of demucs 4.1.0, with layer scales that do not hide mistakes."""
    module = import_reference(f"demucs.{name.lower()}")
    torch.manual_seed(0)
    small = {"HTDemucs": HTDEMUCS, "HDemucs": HDEMUCS}[name]
    model = getattr(module, name)(sources=["b", "a", "c"], **(small | changes))
    for key, value in model.state_dict().items():
        if key.endswith(".scale"):
            value.uniform_(0.5, 1.0)
    return model.half().float().eval()  # as they are saved


def save_package(model, path, monkeypatch):
    """Save a model as the training of demucs 4.1.0 does."""
    states = import_reference("demucs.states")
    omegaconf = ModuleType("omegaconf")
    omegaconf.OmegaConf = SimpleNamespace(to_container=lambda given, resolve: given)
    monkeypatch.setitem(sys.modules, "omegaconf", omegaconf)
    package = states.serialize_model(model, {"optim": {"lr": 3e-4}, "seed": 42})
    states.save_with_checksum(package, path)
    (saved,) = path.parent.glob(f"{path.stem}-*.th")
    return saved


def assert_same(ours, theirs, samples):
    """Outputs agree; the original wants mixtures of the length it was trained with."""
    with torch.no_grad():
        assert_close(ours(mixture(samples)), theirs(mixture(samples)))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["HTDemucs", "HDemucs"])
def test_a_package_of_demucs_4(tmp_path, monkeypatch, name):
    theirs = hybrid(name)
    ours = load_model(save_package(theirs, tmp_path / "955717e8.th", monkeypatch))
    config = ours.config
    assert (config.stems, config.sample_rate) == (("b", "a", "c"), 8000)
    assert config.segment == float(theirs.segment)
    assert_same(ours, theirs, 30_000)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["HTDemucs", "HDemucs"])
def test_safetensors_of_demucs_4_as_it_publishes_them(tmp_path, name):
    hub = import_reference("demucs.hf")
    theirs, path = hybrid(name), tmp_path / "955717e8.safetensors"
    args, kwargs = theirs._init_args_kwargs
    if name == "HTDemucs":
        fraction = {"_type": "fraction", "numerator": 39, "denominator": 5}
        kwargs = {**kwargs, "segment": fraction}
    facts = {
        "klass": f"{type(theirs).__module__}.{name}",
        "args": json.dumps(args),
        "kwargs": json.dumps(kwargs),
    }
    state = {key: value.half() for key, value in theirs.state_dict().items()}
    safetensors.torch.save_file(state, path, facts)
    again = hub.load_safetensors_model(path).eval()  # the original reads it too
    ours = load_model(path)
    assert ours.config.segment == float(again.segment)
    assert_same(ours, again, 30_000)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["HTDemucs", "HDemucs"])
def test_a_bare_state_of_demucs_4(tmp_path, name):
    changes = {"t_heads": 8} if name == "HTDemucs" else {}  # which leave no trace
    theirs = hybrid(name, samplerate=44100, segment=7.8, **changes)
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(theirs.half().state_dict(), path)
    with pytest.raises(CheckpointError, match=r"the 3 outputs.*stems=\("):
        load_model(path)
    ours = load_model(path, stems=("x", "y", "z"))
    assert ours.config.stems == ("x", "y", "z")
    assert ours.config.sample_rate == 44100
    if name == "HDemucs":
        assert_same(ours, theirs.float(), 30_000)
    else:  # a forward of 7.8 s takes a minute; the test above compares one of a package
        assert (ours.config.segment, ours.config.t_heads) == (7.8, 8)
        values = {float(v.sum()) for v in theirs.float().state_dict().values()}
        assert {float(v.sum()) for v in ours.state_dict().values()} == values


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("HTDemucs", {"t_emb": "cape"}, "t_emb='cape'"),
        ("HTDemucs", {"t_norm_first": False, "t_norm_out": False}, "t_norm_first=Fal"),
        (
            "HDemucs",
            {"wiener_iters": 1, "end_iters": 1, "cac": False},
            "wiener_iters=1",
        ),
        ("HDemucs", {"hybrid_old": True}, "hybrid_old=True"),
        ("HDemucs", {"multi_freqs": [0.5]}, r"multi_freqs=\[0\.5\]"),
    ],
)
def test_a_variant_that_no_model_has_is_named(
    tmp_path, monkeypatch, name, changes, match
):
    path = save_package(hybrid(name, **changes), tmp_path / "a.th", monkeypatch)
    with pytest.raises(CheckpointError, match=match):
        load_model(path)


@pytest.mark.parity
def test_hybrid_demucs_of_torchaudio(tmp_path):
    models = pytest.importorskip("torchaudio.models")
    torch.manual_seed(0)
    theirs = models.HDemucs(list(STEMS), channels=8, nfft=4096, depth=6).eval()
    torch.save(theirs.state_dict(), tmp_path / "a.pt")
    ours = load_model(tmp_path / "a.pt")
    assert ours.config.stems == STEMS
    assert_same(ours, theirs, 50_000)


@pytest.mark.parity
def test_a_time_only_demucs_of_version_3_is_refused(tmp_path, monkeypatch):
    demucs = import_reference("demucs.demucs")
    theirs = demucs.Demucs(["a", "b"], channels=4, depth=2)
    path = save_package(theirs, tmp_path / "a.th", monkeypatch)
    with pytest.raises(CheckpointError, match=r"class demucs\.demucs\.Demucs"):
        load_model(path)
    torch.save(theirs.state_dict(), tmp_path / "bare.th")
    with pytest.raises(CheckpointError, match="tensors named"):
        load_model(tmp_path / "bare.th")


@pytest.mark.skipif("MSSEDU_HTDEMUCS" not in os.environ, reason="needs the weights")
def test_the_published_htdemucs():
    path = os.environ["MSSEDU_HTDEMUCS"]
    model = load_model(path)
    assert sum(p.numel() for p in model.parameters()) == 41_984_456
    assert model.config.stems == STEMS
    named = load_model("htdemucs", weights=path)
    assert named.config == model.config
    assert (named.config.segment, named.config.segment_limit) == (7.8, 7.8)


@pytest.fixture
def umx_folder(tmp_path):
    """A folder as openunmix' training leaves it, and its separator."""
    original = import_reference("openunmix.model")
    utils = import_reference("openunmix.utils")
    settings = {"nfft": 1024, "nhop": 256, "sample_rate": 16000.0, "nb_channels": 2}
    (tmp_path / "separator.json").write_text(json.dumps(settings))
    for target in ("vocals", "drums"):
        network = original.OpenUnmix(513, 2, hidden_size=8, max_bin=400)
        arguments = {"nfft": 1024, "nb_channels": 2, "hidden_size": 8}
        (tmp_path / f"{target}.json").write_text(json.dumps({"args": arguments}))
        state = {"epoch": 3, "state_dict": network.state_dict()}
        utils.save_checkpoint(state, True, tmp_path, target)
    return tmp_path


def test_the_stem_of_a_file_of_open_unmix_can_be_named(tmp_path):
    state = create_model("open_unmix", "tiny", ("vocals",)).networks[0].state_dict()
    torch.save(state, tmp_path / "vocals-b62c91ce.pth")
    path = tmp_path / "vocals-b62c91ce.pth"
    assert load_model(path).config.stems == ("vocals",)
    assert load_model(path, stems=("dizi",)).config.stems == ("dizi",)
    with pytest.raises(CheckpointError, match=r"1 outputs .* got x, y"):
        load_model(path, stems=("x", "y"))


@pytest.mark.parity
def test_a_folder_of_open_unmix(umx_folder):
    utils = import_reference("openunmix.utils")
    targets = ["vocals", "drums"]
    theirs = utils.load_separator(umx_folder, targets).eval()
    with torch.no_grad():
        wanted = theirs(mixture(20_000))
        assert_close(load_model(umx_folder)(mixture(20_000)), wanted)
        swapped = load_model(umx_folder, stems=("drums", "vocals"))
        assert_close(swapped(mixture(20_000)), wanted.flip(1))
    config = load_model(umx_folder).config
    assert (config.stems, config.sample_rate) == (("vocals", "drums"), 16000)
    one = load_model(umx_folder / "drums.pth")
    assert one.config.stems == ("drums",)
    assert load_model(umx_folder / "drums.chkpnt").config == one.config
    with pytest.raises(CheckpointError, match=r"bass\*\.pth.*stems vocals"):
        load_model(umx_folder, stems=("bass",))


@pytest.mark.parity
def test_the_speech_model_of_open_unmix(tmp_path):
    """Umxse overlaps its frames by half; the sizes are those of the published one."""
    original = import_reference("openunmix.model")
    targets = {
        t: original.OpenUnmix(513, 1, 256, max_bin=513) for t in ("speech", "noise")
    }
    for target, network in targets.items():
        torch.save(network.eval().state_dict(), tmp_path / f"{target}_{'0' * 8}.pth")
    files = tuple(WeightFile(f"file:///{t}_{'0' * 8}.pth") for t in targets)
    entry = dataclasses.replace(PUBLISHED["umxse"], files=files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "PUBLISHED", {"umxse": entry})
        ours = load_model("umxse", weights=tmp_path)
    theirs = original.Separator(
        targets, niter=1, n_fft=1024, n_hop=512, nb_channels=1, sample_rate=16000.0
    )
    with torch.no_grad():
        audio = mixture(16384, channels=1)
        assert_close(ours(audio), theirs.eval()(audio))


def test_bare_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(small_tasnet().state_dict(), path)
    assert load_model(path).config.stems == STEMS


# ---- our own ------------------------------------------------------------------------


def test_stems_other_than_those_that_a_file_names(tmp_path):
    """They were left aside, and the user went on with other stems than asked for."""
    model = small_tasnet(stems=("dizi", "rest=-dizi"))
    path = save_checkpoint(tmp_path / "best.safetensors", model)
    for stems in (("dizi", "rest"), ["dizi", "rest=-dizi"], (), None):
        assert load_model(path, stems=stems).config.stems == ("dizi", "rest")
    for stems in (("rest", "dizi"), ("dizi",), ("pipa", "rest")):
        match = rf"names its stems itself: dizi, rest=-dizi.* {', '.join(stems)} were"
        with pytest.raises(InputError, match=match):
            load_model(path, stems=stems)
    assert load_model(SHIPPED, stems=load_model(SHIPPED).config.stems)
    with pytest.raises(InputError, match=f"{SHIPPED} names its stems itself"):
        load_model(SHIPPED, stems=("vocals", "other"))


def test_own_checkpoints_and_run_folders(tmp_path):
    model = small_tasnet(stems=("dizi", "pipa"))
    path = save_checkpoint(tmp_path / "best.safetensors", model)
    for source in (path, str(path), path.with_suffix(".json"), tmp_path):
        assert load_model(source).config == model.config
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match=r"Copy best\.json too"):
        load_model(path)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(CheckpointError, match="JSON of a checkpoint"):
        load_model(path)
