# %% [markdown]
# # 01 · Sound, stereo and mixing
#
# > 混音就是各音轨之和，这是音乐源分离的出发点。本章讲解采样率能记录哪些频率、超出范围时为何出现混叠，以及如何用分贝计算电平。你将亲手把四个音轨混合起来，测量混音与音轨之和相差多少，用声像把声音放到左右之间，并把立体声拆成中间声道与侧边声道。最后学习按 LUFS 匹配响度，包括音轨完全静音的情形。没有响度匹配，听音比较就不公平。
#
# **Aim.** After this notebook you can
#
# - say which frequencies a sample rate can represent, and hear what happens to higher
#   ones,
# - calculate in decibels without a table,
# - mix stems, and measure how well a mixture is the sum of its stems,
# - place a sound between left and right, and split a recording into mid and side,
# - bring two sounds to equal loudness, even if one of them is silent.
#
# | | |
# |---|---|
# | Path | optional, not on the short path |
# | Before | 00 · Setup and the listening loop |
# | Time | 65 minutes; the code runs in under a minute on two CPU cores, no GPU needed |
# | Data | two excerpts of *Lithium* from the songs in `data/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [02 · The STFT and perfect reconstruction](02_stft_and_reconstruction.ipynb) |

# %%
import math
import tempfile
from pathlib import Path

import torch

import mssedu as ms
from mssedu.audio import loudness_lufs
from mssedu.course import claim, exercise, play, setup, show_source

# %%
setup()

# %% [markdown]
# ## Listen first
#
# Eight seconds with a voice, drums, a bass that enters late, and all the rest.

# %%
track = ms.load_track(ms.data.demo_data() / "train" / "Lithium")
rate = track.sample_rate
mixture = track.mixture(start=33, duration=8)
sources = track.sources(start=33, duration=8)
stems = dict(zip(track.stems, sources, strict=True))
play(mixture, rate, "mixture")

# %% [markdown]
# **Predict.** Where is each stem: in the middle, to one side, or all around you? Write
# down one word for each before you read on. You will measure it below.

# %%
prediction = {"vocals": "?", "drums": "?", "bass": "?", "other": "?"}

# %% [markdown]
# ## Sampling: what 44100 numbers a second can represent
#
# A microphone gives a voltage at every moment. A recording keeps its value at $f_s$
# moments a second, the **sample rate**. Nyquist and Shannon showed: the sound can be
# rebuilt exactly from these samples if it has no frequency at or above $f_s / 2$.
#
# **Predict.** A tone of 3000 Hz is sampled only 4000 times a second. What will you hear?
# Silence, 3000 Hz, or something else?


# %%
def sampled_tone(frequency, sample_rate, seconds=1.0):
    moments = torch.arange(round(seconds * sample_rate)) / sample_rate
    return 0.2 * torch.cos(2 * math.pi * frequency * moments)


# %%
play(sampled_tone(3000, 4000)[None], 4000, "3000 Hz, sampled at 4000 Hz")

# %%
play(sampled_tone(1000, 4000)[None], 4000, "1000 Hz, sampled at 4000 Hz")

# %% tags=["nbval-check-output"]
difference = sampled_tone(3000, 4000) - sampled_tone(1000, 4000)
print(claim("largest difference", difference.abs().max(), below=1e-3, digits=5))

# %%
fine, coarse, seconds = 200_000, 4000, 0.003
tones = {f"{hz} Hz": sampled_tone(hz, fine, seconds) for hz in (3000, 1000)}
figure = ms.figures.curves_figure(
    tones, xlabel="Time (milliseconds)", ylabel="Amplitude", step=1000 / fine
)
points = sampled_tone(3000, coarse, seconds)
moments = torch.arange(len(points)) / coarse * 1000
figure.axes[0].plot(moments, points, "o", color="black")
apart = max(
    float((tone[:: fine // coarse] - points).abs().max()) for tone in tones.values()
)
ms.figures.describe(
    figure,
    "Amplitude by time in milliseconds of two tones; the dots are samples at 4000 Hz.",
    f"Both tones pass through all {len(points)} samples, to within {apart:.6f}.",
)

# %% [markdown]
# Both tones pass through the same points. Once sampled, nobody can tell them apart:
# 3000 Hz has become 4000 - 3000 = 1000 Hz. That is **aliasing**. So everything above
# half the sample rate must be filtered out *before* samples are left out.
#
# Hear it on drums, in two versions. The first keeps every fifth sample and does nothing
# else. The second filters first, with `mssedu.audio.resample`. Both end at 8820 Hz.

# %%
thinned = stems["drums"][:, ::5]
resampled = ms.audio.resample(stems["drums"], rate, 8820)
play(thinned, 8820, "drums, every fifth sample")

# %%
play(resampled, 8820, "drums, resampled")

# %% tags=["nbval-check-output"]
alias = thinned - resampled
print(
    f"drums: {ms.audio.rms_db(resampled):.0f} dB, aliases: {ms.audio.rms_db(alias):.0f} dB"
)

# %%
play(alias, 8820, "what aliasing added")

# %% [markdown]
# The cymbals were folded down to low frequencies, where no cymbal sounds, 14 dB below
# the drums. Models do this too: a network that leaves out samples without a filter
# makes aliases of its own.

# %% [markdown]
# ## Decibels
#
# Ears hear factors, not differences. So a level is the logarithm of a factor: $20
# \log_{10}$ of an amplitude ratio, or $10 \log_{10}$ of a power ratio, which is the
# same, as power is amplitude squared.

# %% tags=["nbval-check-output"]
for factor in (0.1, 0.5, 1 / math.sqrt(2), 1, 2, 10):
    print(f"amplitude × {factor:6.3f} = {20 * math.log10(factor):+6.2f} dB")

# %% [markdown]
# Two numbers are worth knowing by heart: twice the amplitude is +6 dB, ten times is
# +20 dB. The rest follows by adding: × 5 is 10 / 2, so 20 - 6 = 14 dB.
#
# The peak is one single sample. The **root mean square** (RMS) counts them all:


# %%
def toy_rms_db(audio):
    return 20 * math.log10(audio.square().mean().sqrt())


# %%
show_source("mssedu.audio.rms_db")

# %% [markdown]
# The real one takes the mean of the squares in double precision and needs no root, since
# $10 \log_{10} p^2 = 20 \log_{10} p$. They agree:

# %%
for stem in sources:
    assert abs(toy_rms_db(stem) - ms.audio.rms_db(stem)) < 1e-3

# %% tags=["nbval-check-output"]
print("stem      peak    RMS")
for stem, audio in stems.items():
    print(f"{stem:7} {ms.audio.peak_db(audio):6.1f} {ms.audio.rms_db(audio):6.1f} dBFS")

# %% [markdown]
# The drums have a peak of -5 dBFS and an RMS of -24 dBFS: their hits are short and
# high. The distance between peak and RMS, 19 dB, is the **crest factor**. A steady sine
# has 3 dB.

# %% [markdown]
# ## Mixing is a sum
#
# Air adds sounds, and so does a mixing desk. The mixture is
#
# $$ x = \sum_{j} g_j \, s_j $$
#
# with one factor $g_j$ for each stem $s_j$. This is *linear*: what you do to one stem
# never changes another. All of source separation is based on this equation.

# %%
show_source("mssedu.data.Track.mixture")

# %%
toy_mixture = sources.sum(0)
assert toy_mixture.allclose(mixture, atol=1e-6)

# %% [markdown]
# In these data the mixture *is* the sum, by definition. In practice it comes as a file.
# So save it, load it, and subtract the sum of the stems. The **residual** is what the
# file cannot explain.
#
# **Predict.** How far below full scale will it lie for a 16-bit wav file? And for mp3?


# %% tags=["nbval-check-output"]
def residual_of_file(suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mixture{suffix}"
        ms.audio.save_audio(path, mixture, rate)
        loaded, _ = ms.audio.load_audio(path)
    return loaded - sources.sum(0)


wav, mp3 = residual_of_file(".wav"), residual_of_file(".mp3")
print(f"mixture {ms.audio.rms_db(mixture):.0f} dB")
print(claim("residual of the 16-bit wav", ms.audio.rms_db(wav), below=-90, unit="dB"))
print(claim("residual of the mp3", ms.audio.rms_db(mp3), above=-60, unit="dB"))

# %%
print(f"wav {ms.audio.rms_db(wav):.1f} dB, mp3 {ms.audio.rms_db(mp3):.1f} dB")

# %% [markdown]
# A 16-bit sample has steps of $2^{-15}$. Rounding to them, with the dither that turns
# the error into even noise, leaves a residual of -96 dB, which is inaudible. The mp3
# file sounds the same too, but its residual has about twenty thousand times the power.
# Hear it, 20 dB louder:

# %%
play(10 * mp3, rate, "what mp3 changed, +20 dB")

# %% [markdown]
# You hear the song in it. The encoder hides its errors where the music covers them.
# Keep this in mind for data sets that are stored compressed: there the sum of the stems
# and the mixture differ, and even a perfect model cannot score infinitely well.

# %% [markdown]
# ### How levels add
#
# **Predict.** Two stems have the same RMS. How much louder is their sum: 6 dB, 3 dB, or
# 0 dB?

# %% tags=["nbval-check-output"]
vocals = stems["vocals"]
drums = stems["drums"] * 10 ** (
    (ms.audio.rms_db(vocals) - ms.audio.rms_db(stems["drums"])) / 20
)
for label, second in (("itself", vocals), ("drums", drums), ("its inverse", -vocals)):
    gain = ms.audio.rms_db(vocals + second) - ms.audio.rms_db(vocals)
    print(f"vocals + {label:11}: {gain:+.1f} dB")

# %% [markdown]
# All three can be right. Equal waves add in amplitude: +6 dB. Opposite ones cancel. Two
# *different* sounds meet in all phases, so their **powers** add: +3 dB. Stems of a song
# are different sounds. Then the powers of all four should add up to that of the mixture:

# %% tags=["nbval-check-output"]
powers = [10 ** (ms.audio.rms_db(stem) / 10) for stem in sources]
print(f"sum of the stems' powers: {10 * math.log10(sum(powers)):.1f} dB")
print(f"power of the mixture:     {ms.audio.rms_db(mixture):.1f} dB")

# %% [markdown]
# They do, to a tenth of a decibel. Remember it as: stems are nearly *orthogonal*.

# %% [markdown]
# ## Stereo
#
# Two loudspeakers make a stage. A sound that is equal in both seems to stand in the
# middle; a sound that is stronger in one moves there. **Panning** is a pair of
# gains. The usual law keeps the power constant from side to side, so that the sound
# does not seem to come nearer in the middle: $g_L = \cos\theta$, $g_R = \sin\theta$,
# and $\cos^2 + \sin^2 = 1$.


# %%
def pan(mono, position):
    """From -1 (left) over 0 (middle) to 1 (right)."""
    theta = (position + 1) * math.pi / 4
    return torch.stack([math.cos(theta) * mono, math.sin(theta) * mono])


# %%
positions = torch.linspace(-1, 1, 17).tolist()
one = torch.ones(1)
gains = torch.stack([pan(one, position) for position in positions])[..., 0]
ms.figures.sweep_figure(
    positions,
    {
        "left gain": gains[:, 0].tolist(),
        "right gain": gains[:, 1].tolist(),
        "power": gains.square().sum(1).tolist(),
    },
    xlabel="Position (-1 left, 1 right)",
    ylabel="Factor",
)

# %% tags=["nbval-check-output"]
middle = pan(one, 0)
print(f"in the middle each side is at {ms.audio.peak_db(middle):.1f} dB")

# %% [markdown]
# **Change one thing.** The voice again, as mono, placed half to the left; then the same
# with the opposite sign.

# %%
mono = stems["vocals"].mean(0)
play(pan(mono, -0.5), rate, "vocals, half left")

# %%
play(pan(mono, 0.5), rate, "vocals, half right")

# %% [markdown]
# ### Mid and side: a separator from 1931
#
# Write a stereo sound in another way: **mid** is what both sides share, **side** is how
# they differ.
#
# $$ m = \tfrac{1}{2}(l + r), \qquad s = \tfrac{1}{2}(l - r). $$
#
# A stem that stands exactly in the middle has no side at all. So the level of side
# relative to mid shows how wide a stem is.

# %% tags=["nbval-check-output"]
for stem, (left_channel, right_channel) in stems.items():
    mid, side = left_channel + right_channel, left_channel - right_channel
    print(
        f"{stem:7} side to mid {ms.audio.rms_db(side) - ms.audio.rms_db(mid):6.0f} dB"
    )

# %%
print("You said:", prediction)

# %% [markdown]
# The bass is in the middle: -43 dB. The voice is the widest stem, -5 dB, and the drums
# lie between. Now predict: what is left of the *mixture* if you keep only its side?

# %%
side = (mixture[0] - mixture[1]) / 2
play(side[None], rate, "side of the mixture")

# %% [markdown]
# The bass is gone and the drums are faint; voice and `other` are left. You have
# separated a mixture, with one subtraction! Old karaoke machines worked like this. They
# expected the opposite: a voice in the middle, which the subtraction removes. It works
# only if the engineer placed the stems in the right way. So we need better methods.

# %% [markdown]
# ## Loudness
#
# RMS treats all frequencies alike. Ears do not: they hear little of a low bass. **LUFS**,
# the loudness of broadcasting, filters first (K-weighting), takes the power of short
# blocks, leaves out blocks that are silent or far below the rest (gating), and then
# averages. A step of 1 LU is 1 dB.

# %%
show_source("mssedu.audio.loudness_lufs")

# %% [markdown]
# The filter is inside pyloudnorm. You need not open it: *measure* it. Send in tones, all
# at the same RMS, and see what comes out.

# %%
frequencies = [2**octave for octave in range(5, 15)]
tones = [sampled_tone(frequency, rate)[None] for frequency in frequencies]
weights = [loudness_lufs(tone, rate) - ms.audio.rms_db(tone) for tone in tones]
ms.figures.sweep_figure(
    frequencies,
    {"measured with tones": weights},
    xlabel="Frequency (Hz)",
    ylabel="LUFS minus RMS (dB)",
    scale="log2",
)

# %% tags=["nbval-check-output"]
for frequency in (30, 1000, 8000):
    tone = sampled_tone(frequency, rate)[None]
    weight = round(loudness_lufs(tone, rate) - ms.audio.rms_db(tone))
    print(f"{frequency:5} Hz: {weight:+} dB")

# %% [markdown]
# A tone of 30 Hz counts 9 dB less, one of 8000 Hz counts 3 dB more. Now a part of the
# song where bass and voice both sound.
#
# **Predict.** By RMS the bass is louder than the voice. Is it also louder by LUFS?

# %%
later = dict(zip(track.stems, track.sources(start=42, duration=8), strict=True))
play(later["bass"], rate, "bass")

# %%
play(later["vocals"], rate, "vocals")

# %% tags=["nbval-check-output"]
print("stem       RMS  loudness")
for stem, audio in later.items():
    print(
        f"{stem:7} {ms.audio.rms_db(audio):6.1f} {loudness_lufs(audio, rate):6.1f} LUFS"
    )

# %% [markdown]
# The bass is louder than the voice by 8 dB in RMS and by 2 in LUFS. And `other` is
# silent here, except for noise at -100 dB from its file format. Gating removes all of
# it, and the loudness of nothing is `-inf`.
#
# ### Before and after
#
# Match the loudness of sounds before you compare them: if two sounds differ only in
# level, people tend to prefer the louder one. Broadcasters in Europe agreed on -23 LUFS.

# %% tags=["nbval-check-output"]
matched = {}
for stem in ("vocals", "drums", "bass"):
    before = loudness_lufs(later[stem], rate)
    matched[stem] = later[stem] * 10 ** ((-23 - before) / 20)
    after = loudness_lufs(matched[stem], rate)
    print(f"{stem:7} before {before:6.1f} after {after:6.1f} LUFS")

# %%
play(matched["bass"], rate, "bass at -23 LUFS")

# %%
play(matched["vocals"], rate, "vocals at -23 LUFS")

# %% [markdown]
# Are they equally loud to you? On small loudspeakers the bass will seem quieter. A
# loudness value describes the file, not your room.
#
# ## A mixing desk
#
# All of this chapter in one place: a fader, a pan, mute and solo for each stem. The
# strip `residual` holds the mixture minus all stems; here it is silent.

# %%
ms.listening.StemMixer(stems, rate, mixture)

# %% [markdown]
# ## What this does not show
#
# Mixing is a sum, but a finished song is more: compressors and limiters act on the sum,
# so that one stem changes another. The songs here were summed without them. And panning
# by gains alone is the simplest case. Real recordings also differ in time between left
# and right.

# %% [markdown]
# ## What to remember
#
# - A sample rate represents the frequencies below half of it. Higher ones fold down.
# - Twice the amplitude is +6 dB, ten times +20 dB; equal powers of different sounds add
#   to +3 dB.
# - A mixture is a sum. What the sum does not explain is the residual.
# - Mid is what left and right share, side is how they differ.
# - Match loudness (LUFS) before you compare, and handle silence: its loudness is -inf.

# %% [markdown]
# ## Exercises

# %%
exercise("mixing.mix")


# %% tags=["exercise"]
def mix(sources, gains_db):
    return ...  # your code here


exercise("mixing.mix").check(mix)

# %% [markdown]
# Then listen: `play(mix(sources, [0.0, -6.0, 0.0, -math.inf]), rate)`.

# %%
exercise("mixing.mid_side")


# %% tags=["exercise"]
def to_mid_side(audio):
    mid = ...
    side = ...
    return mid, side


exercise("mixing.mid_side").check(to_mid_side)

# %%
exercise("mixing.match_loudness")


# %% tags=["exercise"]
def match_loudness(audio, sample_rate, target_lufs):
    return ...  # your code here


exercise("mixing.match_loudness").check(match_loudness)

# %%
exercise("mixing.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("mixing.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Choose another song and make the side of its mixture. Which
# stems are left? Can you find gains $a$ and $b$ such that $a\,l + b\,r$ removes a stem
# that is *not* in the middle?

# %% [markdown]
# ## Sources
#
# - C. E. Shannon, "Communication in the presence of noise", *Proc. IRE* 37, 1949,
#   [doi:10.1109/JRPROC.1949.232969](https://doi.org/10.1109/JRPROC.1949.232969).
# - A. D. Blumlein, British patent 394325, applied for in 1931: stereo, sum and difference.
# - ITU-R BS.1770-4, *Algorithms to measure audio programme loudness*, 2015; EBU R 128 for
#   -23 LUFS. Computed by pyloudnorm: C. J. Steinmetz and J. D. Reiss, AES 150, 2021.
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
