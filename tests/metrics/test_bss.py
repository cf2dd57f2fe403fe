"""BSS Eval against museval, mir_eval, and a matrix that is written out in full."""

import warnings

import numpy as np
import pytest
import torch

import mssedu
from mssedu.data.loading import demo_data
from mssedu.errors import InputError
from mssedu.masks import apply_mask, ideal_ratio_mask
from mssedu.metrics.bss import bss_eval, bss_eval_images, bss_eval_sources
from mssedu.spectral import istft, stft
from tests.parity.peers import import_reference

NAMES = ("sdr", "isr", "sir", "sar")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def estimate_of(references):
    """Some of everything: spatial error, interference, noise."""
    shifted = references.roll(3, -1) * 0.3
    return references + shifted + 0.2 * references.roll(1, 0) + 0.1 * references.flip(1)


def museval_scores(references, estimates, **options):
    metrics = pytest.importorskip("museval.metrics")
    signals = [audio.mT.double().numpy() for audio in (references, estimates)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        *scores, order = metrics.bss_eval(*signals, **options)
    scores = {n: torch.as_tensor(s) for n, s in zip(NAMES, scores, strict=True)}
    return scores, torch.as_tensor(order)


def assert_like(ours, theirs, tolerance=1e-6):
    """The same numbers where theirs are finite, the same gaps."""
    for name in NAMES:
        got, want = getattr(ours, name), theirs[name]
        assert torch.equal(got.isnan(), want.isnan()), name
        finite = want.isfinite()
        assert (got - want)[finite].abs().max() <= tolerance, name


@pytest.mark.parametrize("framewise", [False, True], ids=["v4", "v3"])
@pytest.mark.parametrize(
    ("samples", "window", "hop"),
    [(9000, 4000, 4000), (9000, 4000, 1500), (3000, 4000, 4000), (600, 600, 600)],
)
def test_equals_museval_on_noise(framewise, samples, window, hop):
    references = noise(3, 2, samples)
    estimates = estimate_of(references) + 0.1 * noise(3, 2, samples, seed=1)
    ours = bss_eval(
        references=references,
        estimates=estimates,
        window_length=window,
        hop_length=hop,
        filter_length=64,
        framewise=framewise,
        museval=True,
    )
    theirs, _ = museval_scores(
        references,
        estimates,
        window=window,
        hop=hop,
        filters_len=64,
        framewise_filters=framewise,
    )
    assert_like(ours, theirs, 1e-9)


def test_correlated_stems_equal_museval():
    references = noise(3, 2, 8000)
    references[1:] += 0.9 * references[:1]
    references[:, 1] += 0.9 * references[:, 0]
    estimates = estimate_of(references) + 0.1 * noise(3, 2, 8000, seed=1)
    theirs, _ = museval_scores(
        references, estimates, window=2000, hop=2000, filters_len=64
    )
    ours = bss_eval(
        references=references,
        estimates=estimates,
        window_length=2000,
        filter_length=64,
    )
    assert_like(ours, theirs)


@pytest.mark.parametrize("framewise", [False, True], ids=["v4", "v3"])
def test_permutation_equals_museval(framewise):
    references = noise(3, 1, 8000)
    estimates = (estimate_of(references) + 0.3 * noise(3, 1, 8000, seed=1))[[1, 2, 0]]
    options = {"filters_len": 32, "compute_permutation": True}
    theirs, order = museval_scores(
        references,
        estimates,
        window=4000,
        hop=4000,
        framewise_filters=framewise,
        **options,
    )
    ours = bss_eval(
        references=references,
        estimates=estimates,
        window_length=4000,
        filter_length=32,
        framewise=framewise,
        permute=True,
    )
    assert_like(ours, theirs)
    assert torch.equal(ours.permutation, order.expand(3, 2))
    assert ours.permutation[:, 0].tolist() == [2, 0, 1]


def test_silent_frames_as_museval_has_them():
    references = noise(2, 2, 12_000)
    references[0, :, 4000:8000] = 0
    estimates = estimate_of(references) + 0.1 * noise(2, 2, 12_000, seed=1)
    options = {"references": references, "estimates": estimates, "filter_length": 32}
    theirs, _ = museval_scores(
        references, estimates, window=4000, hop=4000, filters_len=32
    )
    assert theirs["sdr"].isnan().tolist() == [[False, True, False]] * 2
    assert_like(bss_eval(**options, window_length=4000, museval=True), theirs)
    ours = bss_eval(**options, window_length=4000)
    for name in NAMES:
        scores = getattr(ours, name)
        assert scores.isfinite().tolist() == [[True, False, True], [True] * 3]
        assert scores[0, 1].isnan()
    assert torch.equal(ours.sdr[1, [0, 2]], theirs["sdr"][1, [0, 2]])


def test_a_silent_stem_costs_only_itself():
    references, taps = noise(3, 2, 6000), 16
    references[1] = 0
    estimates = estimate_of(references) + 0.1 * noise(3, 2, 6000, seed=1)
    ours = bss_eval(references=references, estimates=estimates, filter_length=taps)
    others = bss_eval(
        references=references[[0, 2]], estimates=estimates[[0, 2]], filter_length=taps
    )
    for name in NAMES:
        got, want = getattr(ours, name), getattr(others, name)
        torch.testing.assert_close(got[[0, 2]], want, rtol=0, atol=1e-9)
        assert got[1].isnan()
    estimates[1] = 0
    silent = bss_eval(references=references, estimates=estimates, filter_length=taps)
    assert silent.sdr[1].isnan().all()


def test_perfect_and_silent_estimates():
    references = noise(2, 2, 3000)
    estimates = torch.stack([references[0], torch.zeros(2, 3000)])
    ours = bss_eval(references=references, estimates=estimates, filter_length=16)
    assert ours.sdr.flatten().tolist() == [np.inf, 0.0]
    assert (ours.sir[0] > 150).all()
    assert (ours.sar[0] > 150).all()


def ideal_estimate(sources):
    spectrograms = stft(sources, 2048, 512)
    mask = ideal_ratio_mask(spectrograms, 2)
    masked = apply_mask(mask, spectrograms.sum(0))
    return istft(masked, 512, length=sources.shape[-1])


def music():
    """Four seconds with the noise floor of a CD: what scores are usually taken on."""
    track = mssedu.load_track(demo_data() / "valid" / "Francium")
    return (track.sources(start=18, duration=4) * 32767).round() / 32767


def test_equals_museval_on_music():
    references = music()
    estimates = ideal_estimate(references)
    ours = bss_eval(references=references, estimates=estimates, window_length=44100)
    theirs, _ = museval_scores(references, estimates, window=44100, hop=44100)
    assert_like(ours, theirs)


def test_estimate_shorter_than_the_filters():
    references = noise(2, 2, 40)
    ours = bss_eval(references=references, estimates=noise(2, 2, 40, seed=1))
    assert ours.sdr.isfinite().all()
    assert (ours.sar > 50).all()  # so many taps explain anything


# ---- the algebra, with the matrix of delayed copies written out ----------------------


def written_out(references, estimates, taps):
    """SDR, ISR, SIR, SAR of whole signals by numpy's own least squares."""
    n_stems, _, samples = references.shape
    length = samples + taps - 1

    def copies(audio):
        columns = np.zeros((length, len(audio) * taps))
        for channel, sound in enumerate(audio):
            for delay in range(taps):
                columns[delay : delay + samples, channel * taps + delay] = sound
        return columns

    def projected(audio, target):
        matrix = copies(audio)
        return matrix @ np.linalg.lstsq(matrix, target, rcond=1e-10)[0]

    scores = []
    for stem in range(n_stems):
        target, heard = (
            np.pad(audio[stem].double().numpy(), ((0, 0), (0, taps - 1))).T
            for audio in (references, estimates)
        )
        alone = projected(references[stem].double().numpy(), heard)
        every = projected(references.flatten(0, 1).double().numpy(), heard)
        pairs = (
            (target, heard - target),
            (target, alone - target),
            (alone, every - alone),
            (every, heard - every),
        )
        scores.append([10 * np.log10((a**2).sum() / (b**2).sum()) for a, b in pairs])
    return dict(zip(NAMES, torch.tensor(scores).T[..., None], strict=True))


@pytest.mark.parametrize("kind", ["independent", "correlated", "dual mono", "twice"])
def test_equals_the_matrix_written_out(kind):
    references = noise(2, 2, 400)
    if kind == "correlated":
        references[1] += 0.9 * references[0]
    if kind == "dual mono":
        references[:, 1] = references[:, 0]
    if kind == "twice":
        references[1] = references[0]
    estimates = estimate_of(noise(2, 2, 400, seed=2)) + references
    ours = bss_eval(references=references, estimates=estimates, filter_length=12)
    theirs = written_out(references, estimates, 12)
    if kind == "twice":  # the other stem explains nothing more: the rest is rounding
        assert (ours.sir > 150).all()
        theirs["sir"] = ours.sir
    assert_like(ours, theirs)


def test_singular_answers_are_stable():
    """The order of the stems, and a last digit, change nothing."""
    references = noise(3, 2, 4000)
    references[:, 1] = references[:, 0]  # each stem is mono on two channels
    estimates = estimate_of(references) + 0.1 * noise(3, 2, 4000, seed=1)
    options = {"window_length": 1000, "filter_length": 32}
    ours = bss_eval(references=references, estimates=estimates, **options)
    order = [2, 0, 1]
    again = bss_eval(
        references=references[order] * (1 + 1e-7),
        estimates=estimates[order] * (1 + 1e-7),
        **options,
    )
    for name in NAMES:
        got, want = getattr(again, name), getattr(ours, name)[order]
        torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def test_long_frames_are_computed_in_blocks(monkeypatch):
    references = noise(2, 2, 5000)
    estimates = estimate_of(references)
    options = {"references": references, "estimates": estimates, "filter_length": 16}
    whole = bss_eval(**options)
    monkeypatch.setattr("mssedu.metrics.bss.PROJECTION_BLOCK", 700)
    monkeypatch.setattr("mssedu.metrics.bss.CORRELATION_BLOCK", 256)
    blocks = bss_eval(**options)
    for name in NAMES:
        torch.testing.assert_close(getattr(blocks, name), getattr(whole, name))


# ---- version 3 ----------------------------------------------------------------------


@pytest.mark.parity
def test_equals_mir_eval():
    separation = import_reference("mir_eval.separation")
    references = noise(3, 5000)
    estimates = references[[1, 0, 2]] + 0.3 * noise(3, 5000, seed=1)
    signals = [audio.double().numpy() for audio in (references, estimates)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sdr, sir, sar, order = separation.bss_eval_sources(*signals)
        pictures = [
            np.stack([s, 0.5 * s + noise(3, 5000, seed=5).numpy()], axis=-1)
            for s in signals
        ]
        images = separation.bss_eval_images(*pictures)
    ours = bss_eval_sources(references=references, estimates=estimates)
    for got, want in ((ours.sdr, sdr), (ours.sir, sir), (ours.sar, sar)):
        np.testing.assert_allclose(got[:, 0], want, atol=1e-6)
    assert ours.permutation[:, 0].tolist() == order.tolist()
    assert ours.isr.isnan().all()
    ours = bss_eval_images(
        references=torch.from_numpy(pictures[0]).mT,
        estimates=torch.from_numpy(pictures[1]).mT,
    )
    for name, want in zip(NAMES, images, strict=False):
        np.testing.assert_allclose(getattr(ours, name)[:, 0], want, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_scores():
    references = music()
    estimates = ideal_estimate(references)
    signals = {"references": references, "estimates": estimates}
    there = {name: audio.cuda() for name, audio in signals.items()}
    ours = bss_eval(**there, window_length=44100)
    want = bss_eval(**signals, window_length=44100)
    for name in NAMES:
        got = getattr(ours, name).cpu()
        torch.testing.assert_close(got, getattr(want, name), rtol=0, atol=1e-6)


# ---- bad input ----------------------------------------------------------------------


def test_bad_input_is_named():
    good = noise(2, 2, 100)
    wrong = good.clone()
    wrong[0, 1, 70], wrong[1, 0, 9] = torch.nan, torch.inf
    for references, estimates, options, text in (
        (good, good[:, :1], {}, r"one shape .*\(2, 2, 100\) and \(2, 1, 100\)"),
        (good[0], good[0], {}, "one shape"),
        (good[..., :0], good[..., :0], {}, "are empty"),
        (good, good, {"filter_length": 0}, "filter_length must"),
        (good, good, {"window_length": 0}, "window_length must"),
        (good, good, {"hop_length": 0}, "hop_length must"),
        (good, wrong, {}, r"estimates have 2 NaN .* stem 0, channel 1, at sample 70"),
        (
            good,
            good * 0,
            {"museval": True},
            r"estimates: the stems \[0, 1\] are silent",
        ),
    ):
        with pytest.raises(InputError, match=text):
            bss_eval(references=references, estimates=estimates, **options)
