"""Effects: shape, purity, and what each one does to a sound, measured."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from mssedu.data import Effect
from mssedu.data.effects import (
    EFFECTS,
    apply_effects,
    mixup,
    random_clip,
    random_codec,
    random_eq,
    random_noise,
    random_reverb,
    random_shift,
)
from mssedu.data.filters import biquad, biquad_response
from mssedu.data.playing import FASTEST, random_pitch, random_speed, random_tempo
from mssedu.errors import InputError

RATE = 22050  # Hz
ON_DEVICE = [random_eq, random_reverb, random_clip, random_noise, random_shift]
ONE_BY_ONE = [random_pitch, random_tempo, random_speed, random_codec]
ALL = list(EFFECTS.values())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=seeded(seed))


def tone(hertz: float, samples: int = 2 * RATE) -> torch.Tensor:
    """A sine on two channels, (1, 2, samples)."""
    return 0.5 * (2 * math.pi * hertz * torch.arange(samples) / RATE).sin().expand(
        1, 2, -1
    )


def loudest_hz(audio: torch.Tensor) -> float:
    magnitude = torch.fft.rfft(audio * torch.hann_window(audio.shape[-1])).abs()
    return magnitude.argmax().item() * RATE / audio.shape[-1]


def rms(audio: torch.Tensor) -> torch.Tensor:
    return audio.square().mean((-2, -1)).sqrt()


# ---- what holds for all --------------------------------------------------------------


@pytest.mark.parametrize("effect", ALL)
def test_pure_function_of_the_generator(effect) -> None:
    sources = noise(2, 2, 2, 6000)
    before = sources.clone()
    first = effect(sources, RATE, generator=seeded(1))
    assert torch.equal(sources, before)
    assert first.shape == sources.shape
    assert first.isfinite().all()
    changed = (first != sources).any(-1).any(-1)
    assert changed.all()
    assert torch.equal(first, effect(sources, RATE, generator=seeded(1)))
    assert not torch.equal(first, effect(sources, RATE, generator=seeded(2)))


@pytest.mark.parametrize("effect", ALL)
def test_only_chosen_stems_change(effect) -> None:
    sources = noise(3, 3, 1, 3000)
    assert torch.equal(
        effect(sources, RATE, probability=0, generator=seeded()), sources
    )
    some = effect(sources, RATE, probability=0.5, generator=seeded(3))
    changed = (some != sources).any(-1).any(-1)
    assert changed.any()
    assert not changed.all()


@pytest.mark.parametrize("effect", ALL)
def test_a_silent_stem_stays_silent(effect) -> None:
    sources = noise(4, 2, 4000)
    sources[1] = 0
    out = effect(sources, RATE, generator=seeded())
    assert out[1].abs().max() == 0
    assert out.isfinite().all()


@pytest.mark.parametrize("effect", ALL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_type_stays(effect, dtype) -> None:
    sources = noise(2, 1, 3000)
    out = effect(sources.to(dtype), RATE, generator=seeded(1))
    assert out.dtype == dtype
    exact = effect(sources, RATE, generator=seeded(1))
    # The limit is the precision of bfloat16, except where an encoder amplifies it
    near = 0.03 if effect is not random_codec else 0.3
    error = (out.float() - exact).norm() / exact.norm()
    assert error < (1e-4 if dtype == torch.float64 else near)


@pytest.mark.parametrize("effect", ON_DEVICE)
def test_any_number_of_leading_axes(effect) -> None:
    sources = noise(2, 3, 4, 2, 500)
    flat = effect(sources.reshape(24, 2, 500), RATE, generator=seeded(1))
    whole = effect(sources, RATE, generator=seeded(1))
    torch.testing.assert_close(whole.reshape(24, 2, 500), flat)


@pytest.mark.parametrize("effect", ALL)
def test_wrong_sources(effect) -> None:
    with pytest.raises(InputError, match=r"sources .*\(2, 100\)"):
        effect(torch.ones(2, 100), RATE, generator=seeded())
    with pytest.raises(InputError, match=r"float type, got torch.int16"):
        effect(torch.ones(1, 2, 9, dtype=torch.int16), RATE, generator=seeded())
    with pytest.raises(InputError, match=r"probability .*got 2"):
        effect(torch.ones(1, 2, 9), RATE, probability=2, generator=seeded())
    with pytest.raises(InputError, match=r"sample_rate .*got 0"):
        effect(torch.ones(1, 2, 9), 0, generator=seeded())


@pytest.mark.parametrize(
    ("effect", "name", "limits"),
    [
        (random_eq, "gain_db", (3, -3)),
        (random_eq, "gain_db", 3.0),
        (random_reverb, "decay_seconds", (0.0, 1.0)),
        (random_reverb, "wet_db", (-6, math.nan)),
        (random_clip, "drive_db", [0.0, 3.0]),
        (random_noise, "snr_db", (0, math.inf)),
        (random_shift, "max_seconds", -1),
        (random_pitch, "semitones", (0, 99)),
        (random_tempo, "rate", (0.0, 1.0)),
        (random_speed, "rate", (1.0, 5.0)),
        (random_codec, "kbps", (320, 64)),
    ],
)
def test_limits_out_of_range(effect, name, limits) -> None:
    wrong = {name: limits}
    with pytest.raises(InputError, match=rf"{name}(\[.\])? must be"):
        effect(torch.ones(1, 2, 9), RATE, generator=seeded(), **wrong)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["eq", "reverb", "clip", "noise", "shift"]),
    samples=st.integers(1, 3000),
    channels=st.integers(1, 3),
    sample_rate=st.sampled_from([4000, 8000, 44100, 96000]),
    seed=st.integers(0, 99),
)
def test_any_length_and_rate(name, samples, channels, sample_rate, seed) -> None:
    sources = noise(2, channels, samples, seed=seed)
    out = EFFECTS[name](sources, sample_rate, generator=seeded(seed))
    assert out.shape == sources.shape
    assert out.isfinite().all()


@pytest.mark.parametrize("effect", ONE_BY_ONE)
@pytest.mark.parametrize("samples", [1, 700, 2048, 5001])
def test_any_length_in_libraries(effect, samples) -> None:
    sources = noise(2, 2, samples)
    out = effect(sources, RATE, generator=seeded())
    assert out.shape == sources.shape
    assert out.isfinite().all()


@pytest.mark.parametrize("effect", ONE_BY_ONE)
def test_nan_is_named_before_a_library_gets_it(effect) -> None:
    sources = noise(1, 1, 4000)
    sources[0, 0, 7] = math.nan
    with pytest.raises(InputError, match="sources has 1 NaN"):
        effect(sources, RATE, generator=seeded())


# ---- filters -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["low_shelf", "peak", "high_shelf"])
@pytest.mark.parametrize("gain_db", [-12.0, 6.0])
def test_filters_have_their_gain_and_the_response_of_scipy(kind, gain_db) -> None:
    hertz = torch.tensor([50.0, 1000.0, 9000.0])
    like = torch.ones(3)
    b, a = biquad(kind, 44100, hertz, gain_db * like, 0.8 * like)
    ours = biquad_response(b, a, 2**16)
    for row in range(3):
        _, theirs = signal.freqz(
            b[row].numpy(), a[row].numpy(), worN=2**15 + 1, include_nyquist=True
        )
        torch.testing.assert_close(
            ours[row], torch.tensor(theirs, dtype=torch.complex64), rtol=1e-4, atol=1e-5
        )
        db = 20 * ours[row].abs().log10()
        here = {"low_shelf": 0, "high_shelf": -1}.get(
            kind, round(hertz[row].item() / 44100 * 2**16)
        )
        assert db[here].item() == pytest.approx(gain_db, abs=0.1)
        far = -1 if kind == "low_shelf" else 0
        assert db[far].item() == pytest.approx(0, abs=0.1)


def test_unknown_kind_of_filter() -> None:
    one = torch.ones(())
    with pytest.raises(InputError, match=r"kind 'peek'. Did you mean 'peak'"):
        biquad("peek", RATE, one, one, one)


def test_eq_is_a_causal_filter_and_does_not_wrap_around() -> None:
    """An impulse at the end must not come back at the beginning."""
    impulse = torch.zeros(1, 1, 4000)
    impulse[..., 3000] = 1
    out = random_eq(impulse, RATE, generator=seeded(4))[0, 0]
    assert out[:3000].abs().max() < 1e-3 * out.abs().max()
    # In the time domain scipy filters with the same coefficients, drawn once more
    generator = seeded(4)
    torch.rand(1, 1, 1, generator=generator)  # the choice
    expected = impulse[0, 0].double().numpy()
    for kind, low, high in (
        ("low_shelf", 40.0, 300.0),
        ("peak", 100.0, 800.0),
        ("peak", 400.0, 3000.0),
        ("peak", 1500.0, 8000.0),
        ("high_shelf", 3000.0, 0.45 * RATE),
    ):
        draws = [torch.rand(1, 1, 1, generator=generator).item() for _ in range(3)]
        hertz = low * (high / low) ** draws[0]
        quality = 2 ** (2 * draws[1] - 1) if kind == "peak" else 0.5**0.5
        values = (torch.tensor(v) for v in (hertz, 18 * draws[2] - 9, quality))
        b, a = biquad(kind, RATE, *values)
        expected = signal.lfilter(b.numpy(), a.numpy(), expected)
    torch.testing.assert_close(out, torch.tensor(expected).float(), atol=1e-4, rtol=0)


def test_eq_of_zero_db_is_the_identity() -> None:
    sources = noise(3, 2, 5000)
    same = random_eq(sources, RATE, gain_db=(0, 0), generator=seeded())
    torch.testing.assert_close(same, sources, atol=1e-6, rtol=0)


# ---- reverberation, distortion, noise, shift -----------------------------------------


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_reverberation_decays_by_60_db_in_its_time(seconds) -> None:
    impulse = torch.zeros(1, 2, 2 * RATE)
    impulse[..., 0] = 1
    out = random_reverb(
        impulse,
        RATE,
        decay_seconds=(seconds, seconds),
        wet_db=(-10, -10),
        generator=seeded(),
    )
    assert torch.allclose(out[..., 0], torch.ones(2), atol=1e-5)
    tail = out[0, :, 1:].double()
    energy = tail.square().sum(-1)
    assert (10 * energy.log10()).tolist() == pytest.approx([-10, -10], abs=1e-3)
    # Schroeder's backward integral, from -5 to -35 dB
    left = tail.square().flip(-1).cumsum(-1).flip(-1).sum(0)
    db = 10 * (left / left[0]).log10()
    span = (db < -35).nonzero()[0].item() - (db < -5).nonzero()[0].item()
    assert span / RATE == pytest.approx(seconds / 2, rel=0.05)
    assert abs(torch.corrcoef(tail)[0, 1]) < 0.1  # two channels, two rooms' walls


def test_reverberation_does_not_come_before_the_sound() -> None:
    late = torch.zeros(1, 1, 3000)
    late[..., 2500] = 1
    out = random_reverb(late, RATE, generator=seeded())
    assert out[..., :2500].abs().max() < 1e-5


@settings(max_examples=30, deadline=None)
@given(drive=st.floats(-20, 40), level=st.floats(-60, 20), seed=st.integers(0, 99))
def test_clipping_keeps_rms_and_never_raises_the_peak(drive, level, seed) -> None:
    sources = noise(2, 2, 400, seed=seed) * 10 ** (level / 20)
    out = random_clip(sources, RATE, drive_db=(drive, drive), generator=seeded(seed))
    torch.testing.assert_close(rms(out), rms(sources), rtol=1e-4, atol=0)
    assert (out.abs().amax((-2, -1)) <= 1.0001 * sources.abs().amax((-2, -1))).all()
    # The tangent is monotone: louder samples stay louder
    order = sources[0, 0].argsort()
    assert (out[0, 0][order].diff() >= -1e-6 * out.abs().max()).all()


def test_clipping_adds_odd_harmonics() -> None:
    clipped = random_clip(tone(441), RATE, drive_db=(20, 20), generator=seeded())
    magnitude = torch.fft.rfft(clipped[0, 0]).abs()
    first, second, third = (magnitude[2 * 441 * n].item() for n in (1, 2, 3))
    assert third > 0.2 * first
    assert second < 1e-3 * first


@pytest.mark.parametrize("color", ["white", "pink"])
def test_noise_has_its_exact_ratio(color) -> None:
    sources = noise(4, 2, 3000) * torch.tensor([1.0, 0.1, 1e-4, 3.0])[:, None, None]
    noisy = random_noise(
        sources, RATE, snr_db=(20, 20), color=color, generator=seeded()
    )
    ratio = 20 * (rms(sources) / rms(noisy - sources)).log10()
    torch.testing.assert_close(ratio, torch.full((4,), 20.0), atol=0.05, rtol=0)


@pytest.mark.parametrize(("color", "slope"), [("white", 3.0), ("pink", 0.0)])
def test_color_of_noise_is_its_power_per_octave(color, slope) -> None:
    sources = noise(1, 2, 8 * RATE)
    noisy = random_noise(sources, RATE, snr_db=(0, 0), color=color, generator=seeded())
    power = torch.fft.rfft((noisy - sources).double()).abs().square().mean((0, 1))
    octaves = [power[8 * hz : 16 * hz].sum().log10().item() for hz in (250, 500, 4000)]
    steps = [10 * (octaves[1] - octaves[0]), 10 * (octaves[2] - octaves[0]) / 4]
    assert steps == pytest.approx([slope, slope], abs=0.3)


def test_unknown_color() -> None:
    with pytest.raises(InputError, match="unknown color 'brown'"):
        random_noise(noise(1, 1, 9), RATE, color="brown", generator=seeded())


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 400), seed=st.integers(0, 999))
def test_shift_rolls_each_stem_by_its_own_number(samples, seed) -> None:
    sources = torch.arange(samples).float().expand(3, 2, -1) + 1
    out = random_shift(sources, 100, max_seconds=1.5, generator=seeded(seed))
    for stem in out:
        by = int((stem[0] == 1).nonzero()[0])
        assert torch.equal(stem, sources[0].roll(by, -1))
    assert torch.equal(
        random_shift(sources, 100, max_seconds=0, generator=seeded(seed)), sources
    )


def test_shift_stays_within_its_limit() -> None:
    impulse = torch.zeros(500, 1, 1, 1001)
    impulse[..., 500] = 1
    out = random_shift(impulse, 1000, max_seconds=0.1, generator=seeded())
    moves = out.argmax(-1).flatten() - 500
    assert (moves.min(), moves.max()) == (-100, 100)


# ---- two recordings of one stem ------------------------------------------------------


def test_mixup_adds_the_same_stem_of_another_example() -> None:
    song, stem = torch.arange(1, 5)[:, None], torch.arange(3)
    sources = (10 ** (2 * stem) * song).float()[..., None, None].expand(4, 3, 2, 5)
    mixed = mixup(
        sources, sources.roll(1, 0), probability=1, gain_db=(0, 0), generator=seeded()
    )
    assert torch.equal(mixed, sources + sources.roll(1, 0))
    for number in range(3):  # each stem has its own decimal places
        share = mixed[:, number] / 10 ** (2 * number)
        assert ((share >= 3) & (share <= 7)).all()


def test_mixup_draws_its_gain_and_its_stems() -> None:
    sources, others = torch.zeros(4000, 2, 1, 1), torch.ones(4000, 2, 1, 1)
    gains = mixup(sources, others, generator=seeded())
    added = gains[gains > 0]
    assert abs(added.numel() / 8000 - 0.2) < 0.02
    db = 20 * added.log10()
    assert -6.001 <= db.min() < -5.9
    assert 3.4 < db.max() <= 3.501
    assert torch.equal(gains, mixup(sources, others, generator=seeded()))
    assert not sources.any()
    assert others.all()


def test_mixup_of_other_shapes() -> None:
    with pytest.raises(InputError, match=r"others .*\(2, 2, 9\), got \(2, 2, 8\)"):
        mixup(torch.ones(2, 2, 9), torch.ones(2, 2, 8), generator=seeded())
    sources = torch.ones(2, 2, 9)
    with pytest.raises(InputError, match=r"gain_db\[1\]"):
        mixup(sources, sources, gain_db=(3, 0), generator=seeded())


# ---- pitch, tempo, codecs ------------------------------------------------------------


@pytest.mark.parametrize("semitones", [-12, 0, 4])
def test_pitch_of_a_tone(semitones) -> None:
    limits = (float(semitones), float(semitones))
    higher = random_pitch(tone(440), RATE, semitones=limits, generator=seeded())
    expected = 440 * 2 ** (semitones / 12)
    middle = higher[0, 0, RATE // 2 : -RATE // 2]
    assert loudest_hz(middle) == pytest.approx(expected, abs=2)
    assert rms(higher).item() == pytest.approx(rms(tone(440)).item(), rel=0.01)


@pytest.mark.parametrize("effect", [random_pitch, random_tempo])
def test_the_phase_vocoder_keeps_the_level(effect) -> None:
    sources = noise(2, 2, 3 * RATE)
    out = effect(sources, RATE, generator=seeded(1))
    sounding = [stem[:, : int(stem.any(0).nonzero().max()) + 1] for stem in out]
    levels = [rms(stem).item() for stem in sounding]
    assert levels == pytest.approx(rms(sources).tolist(), rel=0.03)


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.25])
def test_tempo_of_a_tone_with_a_pulse(rate) -> None:
    """The tone keeps its pitch, and a pulse after one second comes at 1 / rate."""
    sources = 0.1 * tone(440)
    sources[..., RATE : RATE + 50] += 0.9 * noise(2, 50).sign()
    out = random_tempo(sources, RATE, rate=(rate, rate), generator=seeded())
    assert loudest_hz(out[0, 0, : RATE // 2]) == pytest.approx(440, abs=2)
    pulse = out[0, 0].abs().argmax().item() / RATE
    assert pulse == pytest.approx(1 / rate, abs=0.03)
    end = round(sources.shape[-1] / rate)
    assert not out[..., end + 1 :].any()


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.25])
def test_speed_of_a_tone_with_a_pulse(rate) -> None:
    """Pitch and tempo change by the same factor, and the level stays."""
    sources = 0.1 * tone(440)
    sources[..., RATE : RATE + 5] += 0.9
    out = random_speed(sources, RATE, rate=(rate, rate), generator=seeded())
    start = out[..., : RATE // 2]
    assert loudest_hz(start[0, 0]) == pytest.approx(440 * rate, abs=2)
    assert rms(start).item() == pytest.approx(0.05 * 0.5**0.5, rel=0.01)
    assert out[0, 0].argmax().item() == pytest.approx((RATE + 2) / rate, abs=3)
    end = round(sources.shape[-1] / rate)
    assert not out[..., end + 1 :].any()


def test_the_speed_of_a_tone_takes_nothing_from_other_frequencies() -> None:
    out = random_speed(tone(440), RATE, rate=(1.1, 1.1), generator=seeded())
    n = 2**15
    start = out[0, 0, 1000 : 1000 + n] * torch.hann_window(n)
    power = torch.fft.rfft(start).abs().square()
    hertz = torch.fft.rfftfreq(n, 1 / RATE)
    near = (hertz - 484).abs() < 5
    assert 10 * (power[~near].sum() / power.sum()).log10() < -60


@pytest.mark.parametrize("effect", [random_tempo, random_speed])
def test_the_fastest_tempo_fills_a_longer_excerpt(effect) -> None:
    wanted = 10000
    sources = noise(1, 1, math.ceil(wanted * FASTEST))
    out = effect(sources, RATE, rate=(FASTEST, FASTEST), generator=seeded())
    assert out[..., :wanted].unfold(-1, 100, 100).abs().amax(-1).min() > 0


@pytest.mark.parametrize("codec", ["mp3", "aac"])
@pytest.mark.parametrize("sample_rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_codec_keeps_place_and_length(codec, sample_rate, channels) -> None:
    sources = noise(1, channels, sample_rate)
    slow = torch.ones(1, 1, 21) / 21  # smooth, so that a codec keeps the waveform
    sources = torch.nn.functional.conv1d(sources.transpose(0, 1), slow, padding="same")
    sources = sources.transpose(0, 1)
    out = random_codec(
        sources, sample_rate, kbps=(128, 128), codecs=(codec,), generator=seeded()
    )
    assert out.shape == sources.shape
    a, b = (torch.fft.rfft(x[0, 0], 2 * sample_rate) for x in (sources, out))
    lag = torch.fft.irfft(b * a.conj()).argmax().item()
    assert lag == 0
    assert (out - sources).norm() < 0.3 * sources.norm()
    assert not torch.equal(out, sources)


def test_a_lower_bitrate_loses_more() -> None:
    sources = noise(1, 2, 44100)
    errors = [
        (
            random_codec(
                sources, 44100, kbps=(k, k), codecs=("mp3",), generator=seeded()
            )
            - sources
        ).norm()
        for k in (64.0, 128.0, 320.0)
    ]
    assert errors[0] > 1.1 * errors[1] > 1.2 * errors[2]


def test_a_codec_takes_peaks_above_full_scale() -> None:
    sources = 4 * tone(441)
    out = random_codec(sources, RATE, kbps=(160, 160), generator=seeded())
    inside = slice(2000, -2000)
    assert (out - sources)[..., inside].abs().max() < 0.1
    assert out.abs().max() > 1.9


def test_what_a_codec_does_not_have() -> None:
    sources = noise(1, 3, 3000)
    with pytest.raises(InputError, match=r"mp3 cannot store 3 channels at 22050"):
        random_codec(sources, RATE, codecs=("mp3",), generator=seeded())
    with pytest.raises(InputError, match=r"mp3 cannot store 1 channels at 22051"):
        random_codec(sources[:, :1], 22051, codecs=("mp3",), generator=seeded())
    with pytest.raises(InputError, match=r"unknown codec 'mp4'. Did you mean 'mp3'"):
        random_codec(sources, RATE, codecs=("mp4",), generator=seeded())
    with pytest.raises(InputError, match=r"codecs .*at least one"):
        random_codec(sources, RATE, codecs=(), generator=seeded())


# ---- by name -------------------------------------------------------------------------


def test_the_names_of_effects_are_those_of_the_flag() -> None:
    assert {*EFFECTS} == {*Effect.__args__}


def test_effects_follow_each_other() -> None:
    sources = noise(3, 2, 3000)
    both = apply_effects(
        sources, RATE, ("clip", "reverb"), probability=1, generator=seeded(5)
    )
    generator = seeded(5)
    clipped = random_clip(sources, RATE, generator=generator)
    assert torch.equal(both, random_reverb(clipped, RATE, generator=generator))
    none = apply_effects(sources, RATE, (), probability=1, generator=seeded())
    assert torch.equal(none, sources)


def test_unknown_effect() -> None:
    with pytest.raises(InputError, match=r"effect 'revert'. Did you mean 'reverb'"):
        apply_effects(
            noise(1, 1, 9), RATE, ("revert",), probability=1, generator=seeded()
        )
