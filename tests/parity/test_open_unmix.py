"""Open-Unmix and its Wiener filter against the package openunmix, same weights."""

import pytest
import torch

from mssedu.masks import wiener
from mssedu.models.registry import create_model, model_config
from mssedu.weights.convert import port_open_unmix
from tests.parity.peers import assert_close, import_reference, mixture

original = import_reference("openunmix.model")
filtering = import_reference("openunmix.filtering")

pytestmark = pytest.mark.parity


def original_targets(config, stems):
    """The original's networks, no parameter and no statistic left at its default."""
    generator = torch.Generator().manual_seed(0)
    targets = {}
    for stem in stems:
        network = original.OpenUnmix(
            config.bins, config.channels, config.hidden, max_bin=config.input_bins
        )
        for name, value in network.state_dict().items():
            if name.endswith(("scale", "var")):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.ndim == 1:
                value.normal_(0.0, 0.1, generator=generator)
            elif value.ndim == 2:
                value.normal_(0.0, value.shape[1] ** -0.5, generator=generator)
        targets[stem] = network.eval()
    return targets


def load_original(model, targets):
    states = {stem: network.state_dict() for stem, network in targets.items()}
    model.load_state_dict(port_open_unmix(states, "openunmix").state)


@pytest.mark.parametrize("preset", ["tiny", "paper"])
def test_one_network(preset):
    model = create_model("open_unmix", preset, stems=("vocals",)).eval()
    targets = original_targets(model.config, ("vocals",))
    load_original(model, targets)
    magnitude = torch.rand(2, 2, model.config.bins, 20) * 10
    with torch.no_grad():
        ours = model.networks[0](magnitude.mT).mT  # ours takes frames before bins
        assert_close(ours, targets["vocals"](magnitude))


@pytest.mark.parametrize(
    ("preset", "channels", "n_iterations", "samples", "residual"),
    [
        ("paper", 2, 1, 44100, False),
        ("tiny", 2, 0, 44100, False),
        ("tiny", 2, 1, 160_000, False),  # more than two windows of 30 frames
        ("tiny", 2, 2, 44100, False),
        ("tiny", 1, 1, 6000, False),
        ("tiny", 2, 1, 44100, True),
    ],
)
def test_whole_separator(preset, channels, n_iterations, samples, residual):
    # With frames that overlap by 75 %: mssedu.spectral adds a frame if by less.
    hop_length = model_config("open_unmix", preset).n_fft // 4
    model = create_model(
        "open_unmix",
        preset,
        hop_length=hop_length,
        channels=channels,
        wiener_iterations=n_iterations,
        wiener_frames=30,
        residual=residual,
    ).eval()
    config = model.config
    targets = original_targets(config, config.stems)
    load_original(model, targets)
    separator = original.Separator(
        targets,
        niter=n_iterations,
        n_fft=config.n_fft,
        n_hop=config.hop_length,
        nb_channels=channels,
        wiener_win_len=30,
        residual=residual,
    ).eval()
    audio = mixture(samples, channels)
    with torch.no_grad():
        assert_close(model(audio), separator(audio)[:, : len(config.stems)])


def test_one_stem_equals_the_original_with_its_residual():
    model = create_model(
        "open_unmix", "tiny", ("vocals",), n_fft=2048, hop_length=512
    ).eval()
    targets = original_targets(model.config, ("vocals",))
    load_original(model, targets)
    separator = original.Separator(
        targets, niter=1, residual=True, n_fft=2048, n_hop=512
    ).eval()
    with torch.no_grad():
        assert_close(model(mixture(30_000)), separator(mixture(30_000))[:, :1])


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("n_iterations", [0, 1, 3])
def test_wiener(n_iterations, residual):
    generator = torch.Generator().manual_seed(2)
    magnitude = torch.rand(3, 2, 17, 40, generator=generator, dtype=torch.float64)
    spectrogram = 30 * torch.randn(2, 17, 40, generator=generator, dtype=torch.cdouble)
    theirs = filtering.wiener(
        magnitude.permute(3, 2, 1, 0),
        torch.view_as_real(spectrogram.permute(2, 1, 0)).clone(),
        n_iterations,
        residual=residual,
    )
    theirs = torch.view_as_complex(theirs.movedim(3, -1).contiguous())
    ours = wiener(magnitude, spectrogram, n_iterations, residual=residual)
    assert_close(ours, theirs.permute(3, 2, 1, 0))
