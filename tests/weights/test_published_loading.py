"""Rows of the table of published weights, loaded from files like the published ones."""

import dataclasses
import hashlib
import re
import runpy
import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mssedu.errors import CheckpointError, DownloadError, MssEduWarning
from mssedu.models.registry import create_model
from mssedu.weights import loading
from mssedu.weights.foreign import read_weights
from mssedu.weights.loading import list_pretrained, load_model
from mssedu.weights.published import PUBLISHED, Published, WeightFile
from tests.file_server import serving
from tests.models.noise import noise
from tests.parity.peers import assert_close, import_reference, randomize

STEMS = ("drums", "bass", "other", "vocals")
TINY = {
    "n_filters": 8,
    "bottleneck": 6,
    "hidden": 8,
    "n_blocks": 2,
    "n_repeats": 2,
}


@pytest.fixture
def content(tmp_path):
    """A file of weights, as bytes."""
    torch.manual_seed(0)
    torch.save(
        create_model("conv_tasnet", "paper", STEMS, **TINY).state_dict(),
        tmp_path / "made.th",
    )
    return (tmp_path / "made.th").read_bytes()


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """Put an entry with these files under the name "small"."""
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def publish(*files, **facts):
        facts = {"model": "conv_tasnet", "stems": STEMS, "trained_on": "x", **facts}
        entry = Published(files=files, license="for tests", **facts)
        monkeypatch.setattr(loading, "PUBLISHED", {"small": entry})
        return tmp_path / "cache" / "weights"

    return publish


# ---- downloads ----------------------------------------------------------------------


def test_a_mirror_stands_in_for_an_address_that_is_gone(content, publish):
    digest = hashlib.sha256(content).hexdigest()
    with serving(content) as server:
        gone, good = f"{server.address}/absent/a.th", f"{server.address}/b.th"
        folder = publish(WeightFile(gone, digest, len(content), (good,)))
        assert load_model("small").config.stems == STEMS
        assert (folder / "a.th").read_bytes() == content  # the name of the first one


def test_a_mirror_with_other_bytes_is_refused_like_any_address(content, publish):
    with serving(content) as server:
        gone, bad = f"{server.address}/absent/a.th", f"{server.address}/b.th"
        folder = publish(WeightFile(gone, "0" * 64, len(content), (bad,)))
        match = r"(?s)none of the 2 addresses gives a\.th.*Not Found.*has the sha256"
        with pytest.raises(DownloadError, match=match):
            load_model("small")
        assert not (folder / "a.th").exists()


def test_without_a_hash_the_size_is_checked_and_the_log_says_so(content, publish):
    lines = []
    with serving(content) as server:
        publish(WeightFile(f"{server.address}/a.th", size=len(content)))
        with pytest.warns(MssEduWarning, match="no checksum is published"):
            load_model("small", log=lines.append)
        assert f"no published hash; it has the published {len(content)} b" in lines[0]
        publish(WeightFile(f"{server.address}/b.th", size=len(content) + 1))
        with (
            pytest.warns(MssEduWarning, match="no checksum"),
            pytest.raises(DownloadError, match=rf"{len(content) + 1} are published"),
        ):
            load_model("small")
        publish(WeightFile(f"{server.address}/c.th"))
        with pytest.warns(MssEduWarning, match="no checksum"):
            load_model("small", log=lines.append)
        assert "no published hash or size" in lines[-2]


def test_weights_that_saw_the_test_set_say_so(content, publish, tmp_path):
    lines = []
    publish(WeightFile("a.th"), trained_on="the test set", trained_on_test=True)
    load_model("small", weights=tmp_path / "made.th", log=lines.append)
    assert lines[1] == "small: trained on the test set, so no score on it counts"


def test_files_to_download_by_hand_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"zenodo.*weights=FOLDER") as caught:
        load_model("obsrnn")
    for words in ("vocals.ckpt, bass.ckpt", "load_model('obsrnn'"):
        assert words in str(caught.value)
    with pytest.raises(CheckpointError, match=r"no file .*vocals\.ckpt"):
        load_model("obsrnn", weights=tmp_path)


# ---- files of the reference packages ------------------------------------------------

SMALL = {"dim": 24, "depth": 2, "heads": 3, "dim_head": 8}
ONE = {"time_transformer_depth": 1, "freq_transformer_depth": 1, "stereo": True}
PLAIN = {"flash_attn": False, "attn_dropout": 0.0, "ff_dropout": 0.0}
ROWS = [
    name
    for name in list_pretrained()
    if "roformer" in PUBLISHED[name].model and not PUBLISHED[name].shipped
]
SCNETS = [n for n in list_pretrained() if PUBLISHED[n].model == "scnet"]


def written_by_pymss(name, path):
    """A small network with the form of a published one, and its file."""
    entry = PUBLISHED[name]
    pymss = import_reference("pymss_core.modules.bs_roformer")
    arguments = {**SMALL, **ONE, **PLAIN, "num_stems": len(entry.stems)}
    arguments["stft_hop_length"] = entry.config.get("hop_length", 441)
    arguments["zero_dc"] = True  # as all these are computed in public
    if entry.model == "mel_band_roformer":
        kind = pymss.MelBandRoformer
        arguments |= {"mlp_hidden_layers": 2, "match_input_audio_length": True}
    else:
        kind = pymss.BSRoformer
    with warnings.catch_warnings(action="ignore"):  # a probe of an STFT without window
        network = randomize(kind(**arguments), 0.1).eval()
    torch.save(network.state_dict(), path)
    return network


@torch.no_grad()
@pytest.mark.parity
@pytest.mark.parametrize("name", ROWS)
def test_a_roformer_gives_what_pymss_gives(name, tmp_path):
    theirs = written_by_pymss(name, tmp_path / "a.ckpt")
    ours = load_model(name, weights=tmp_path / "a.ckpt")
    assert ours.config.stems == PUBLISHED[name].stems
    audio = noise(1, 2, 16_000)
    wanted = theirs(audio).reshape(1, len(ours.config.stems), 2, -1)
    assert_close(ours(audio)[..., : wanted.shape[-1]], wanted)


@torch.no_grad()
@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:A window was not provided")
@pytest.mark.parametrize("name", SCNETS)
def test_an_scnet_gives_what_pymss_gives(name, tmp_path):
    pymss = import_reference("pymss_core.modules.scnet")
    sizes = {"dims": [4, 8, 12, 16], "num_dplayer": 2}
    if "large" in name:
        sizes |= {"dims": [4, 64, 8, 8], "band_SR": [0.225, 0.372, 0.403]}
    if "xl" in name:
        sizes |= {"num_dplayer": 8, "band_SR": [0.23, 0.37, 0.4]}
    if "ihf" in name:
        sizes |= {"band_stride": [1, 4, 4], "band_kernel": [3, 4, 4]}
        sizes |= {"conv_depths": [3, 3, 3]}
    theirs = randomize(pymss.SCNet(**sizes), 0.1).eval()
    assert tuple(theirs.sources) == PUBLISHED[name].stems
    content = {"state": {}, "best_state": theirs.state_dict(), "epoch": 130}
    torch.save(content, tmp_path / "checkpoint.th")
    ours = load_model(name, weights=tmp_path / "checkpoint.th")
    audio = noise(1, 2, 20_001)
    assert_close(ours(audio), theirs(audio))


# ---- a file per stem ----------------------------------------------------------------

AS_BSRNN = runpy.run_path(
    str(Path(__file__).parents[1] / "parity" / "test_bsrnn.py"),
)["as_original"]
OPTIMIZED = {"features": 8, "n_layers": 1, "attention_heads": 2}


def of_stem(stem, seed=0, **changes):
    torch.manual_seed(seed)
    changes = {"average_channels": True, "attention_features": 4, **changes}
    return create_model("bsrnn", stems=(stem,), **{**OPTIMIZED, **changes}).eval()


def save_lightning(model, path):
    """As a training with PyTorch Lightning and settings of OmegaConf saves it."""
    torch.save({"epoch": 3, "state_dict": AS_BSRNN(model), "callbacks": {}}, path)


@torch.no_grad()
def test_four_files_of_obsrnn_are_one_model(tmp_path):
    stems = PUBLISHED["obsrnn"].stems
    models = [of_stem(stem, seed) for seed, stem in enumerate(stems)]
    for stem, model in zip(stems, models, strict=True):
        save_lightning(model, tmp_path / f"{stem}.ckpt")
    joined = load_model("obsrnn", weights=tmp_path)
    assert joined.config.stems == stems
    assert joined.config.bands == "by_stem"
    mixture = noise(1, 2, 9000)
    wanted = torch.cat([model(mixture) for model in models], dim=1)
    assert_close(joined(mixture), wanted)


def test_networks_that_differ_are_not_joined(tmp_path):
    for stem in PUBLISHED["obsrnn"].stems:
        save_lightning(
            of_stem(stem, features=16 if stem == "drums" else 8),
            tmp_path / f"{stem}.ckpt",
        )
    with pytest.raises(CheckpointError, match=r"the same features, got 16 and 8"):
        load_model("obsrnn", weights=tmp_path)


@torch.no_grad()
def test_four_files_of_mdx_net_are_one_model(publish, tmp_path):
    sizes = {"bins": 64, "depth": 2, "n_convolutions": 1, "growth": 4, "mixer": False}
    torch.manual_seed(0)
    model = create_model("mdx_net", stems=STEMS, **sizes).eval()
    renamed = (
        (r"^first\.", "first_conv."),
        (r"^last\.", "final_conv.0."),
        (r"^encoder\.", "encoding_blocks."),
        (r"^decoder\.", "decoding_blocks."),
        (r"^middle\.", "bottleneck_block."),
        (r"^down\.", "ds."),
        (r"^up\.", "us."),
        (r"\.convolutions\.", ".tfc.H."),
    )
    for stem, network in zip(STEMS, model.networks, strict=True):
        state = {"window": torch.hann_window(network.n_fft)}
        for name, tensor in network.state_dict().items():
            for ours, theirs in renamed:
                name = re.sub(ours, theirs, name)
            state[name] = tensor
        safetensors.torch.save_file(state, tmp_path / f"{stem}.safetensors")
    files = [WeightFile(f"{stem}.safetensors") for stem in STEMS]
    publish(*files, model="mdx_net")
    joined = load_model("small", weights=tmp_path)
    assert joined.config == dataclasses.replace(
        model.config, segment=joined.config.segment
    )
    mixture = noise(1, 2, 9000)
    assert_close(joined(mixture), model(mixture))


def test_the_mixer_of_kuielab_goes_into_an_mdx_net(tmp_path):
    from mssedu.models.mdx_net import mixer_from_kuielab

    torch.manual_seed(0)
    torch.save({"linear.weight": torch.rand(8, 10)}, tmp_path / "mixer.ckpt")
    weight = read_weights(tmp_path / "mixer.ckpt").state["linear.weight"]
    model = create_model("mdx_net", "tiny", ("bass", "drums", "other", "vocals"))
    model.mixer.weight.data.copy_(mixer_from_kuielab(weight, model.config.stems))
    assert torch.equal(model.mixer.weight, weight)
