# %% [markdown]
# # 03 · Masks and oracles
#
# > 掩蔽是分离的基本工具：给混音的每个频点乘上一个数。本章依次实现理想二值掩蔽、理想比率掩蔽和相位敏感掩蔽，听它们各自留下的痕迹，例如二值掩蔽产生的音乐噪声。由于这些掩蔽由真实音轨算出，它们给出的是这类方法的上限，而不是所有分离方法的上限。你还将测量哪种窗长最适合哪种掩蔽，并学会在成绩表中始终列出静音与混音这两行作为参照。
#
# **Aim.** After this notebook you can
#
# - take a song apart with a mask, and hear what each kind of mask does to it,
# - build the ideal binary, ratio and phase-sensitive masks, and say what each can reach,
# - find the window length that suits a mask, by measuring,
# - read a score table honestly, with silence and the mixture beside the models.
#
# | | |
# |---|---|
# | Path | core, 45 minutes on the short path |
# | Before | 02 (the STFT, phase) |
# | Time | 80 minutes; the code runs in under a minute on two CPU cores, no GPU needed |
# | Data | four seconds each of *Francium* and *Lithium* from `data/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [04 · SDR and its traps](04_sdr_and_its_traps.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $S_j$ | `spectrograms[j]` | complex spectrogram of stem $j$ |
# | $X = \sum_j S_j$ | `mixed` | complex spectrogram of the mixture |
# | $M_j$ | `mask[j]` | mask of stem $j$: one number for every bin of every frame |
# | $\hat S_j = M_j X$ | `estimate` | what the mask leaves of the mixture |

# %%
import itertools

import torch

import mssedu as ms
from mssedu.course import claim, exercise, play, reveal, setup, show_source

# %%
setup()

# %% [markdown]
# ## Listen first
#
# Four seconds in which all four stems sound: a voice, drums, a booming bass, and a
# melody.

# %%
track = ms.load_track(ms.data.demo_data() / "valid" / "Francium")
rate, stems = track.sample_rate, track.stems
sources = track.sources(start=18, duration=4)  # (stems, channels, samples)
mixture = track.mixture(start=18, duration=4)
play(mixture, rate, "mixture")

# %% [markdown]
# **Predict.** Suppose someone knows the true stems. In every bin of the mixture's
# spectrogram they may lower the level or leave it, and nothing else. How clean can the
# voice get? Write a number of decibels of `usdr`, the energy of the voice over the energy
# of the error (notebook 04 defines it): 0 is as bad as silence, 10 means that a tenth of
# the energy is wrong, 20 a hundredth.

# %%
prediction = "?"  # dB

# %% [markdown]
# Someone who knows the answer is called an **oracle**. Oracles separate nothing; they
# measure. An oracle mask shows how good masks of its kind can get, before anyone trains
# a network to guess them.
#
# ## Cut with scissors: the binary mask
#
# Music fills few bins (notebook 02). So in most bins *one* stem is alone, or nearly. The
# **ideal binary mask** (IBM) gives each bin to its loudest stem:
#
# $$ M_j = 1 \text{ if } |S_j| \ge |S_i| \text{ for all } i, \text{ else } 0. $$

# %%
n_fft, hop_length = 2048, 512
spectrograms = ms.spectral.stft(
    sources, n_fft, hop_length
)  # (stems, channels, bins, frames)
mixed = ms.spectral.stft(mixture, n_fft, hop_length)


def toy_binary_mask(spectrograms):
    winner = spectrograms.abs().argmax(0)
    return torch.stack([winner == stem for stem in range(len(spectrograms))]).float()


binary = toy_binary_mask(spectrograms)
ms.figures.mask_figure(
    dict(zip(stems, binary, strict=True)), rate, hop_length=hop_length, columns=2
)

# %% [markdown]
# The brightest color is kept, black is removed; the colors between them mean that the left and
# the right channel differ, or that several bins share a pixel. The voice gets its overtones,
# the drums their hits. And why does the bass get everything above 10 kHz? Hardly anything
# sounds there, but the bass has most of the little that is there. A binary mask cannot say
# "nobody".

# %%
show_source("mssedu.masks.ideal_binary_mask")

# %%
assert torch.equal(
    toy_binary_mask(spectrograms), ms.masks.ideal_binary_mask(spectrograms)
)

# %% [markdown]
# Multiply, go back to a waveform, listen.


# %%
def separate_with(mask, mixed, hop_length, length):
    return ms.spectral.istft(
        ms.masks.apply_mask(mask, mixed), hop_length, length=length
    )


length = mixture.shape[-1]
by_binary = separate_with(binary, mixed, hop_length, length)
ms.listening.ABSwitch(
    {"vocals by the binary mask": by_binary[0], "vocals, true": sources[0]}, rate
)

# %%
ms.listening.ABSwitch(
    {"drums by the binary mask": by_binary[1], "drums, true": sources[1]}, rate
)

# %% tags=["nbval-check-output"]
score = ms.metrics.usdr(reference=sources, estimate=by_binary)
for stem, decibels in zip(stems, score, strict=True):
    print(f"{stem:6} {decibels:5.1f} dB")
print("vocals:", reveal(prediction, score[0].item(), "dB"))

# %% [markdown]
# Whole stems, with nothing but zeros and ones. But listen to the voice again: it
# gurgles. Bins that flip on and off from frame to frame are heard as tiny tones, called
# **musical noise**.
#
# ## Share instead of cut: the ratio mask
#
# The **ideal ratio mask** (IRM) gives each stem its share of a bin:
#
# $$ M_j = \frac{|S_j|^p}{\sum_i |S_i|^p}. $$
#
# With $p = 1$ it shares by amplitude, with $p = 2$ by power. The larger $p$, the closer
# to binary. All shares of a bin sum to one.


# %%
def toy_ratio_mask(spectrograms, exponent):
    power = spectrograms.abs() ** exponent
    return power / power.sum(0).clamp_min(1e-12)


# %%
show_source("mssedu.masks.soft_masks")

# %%
audible = spectrograms.abs().amax(0) > 1e-3  # toy and real differ in silent bins
for exponent in (1, 2):
    toy, real = (
        toy_ratio_mask(spectrograms, exponent),
        ms.masks.ideal_ratio_mask(spectrograms, exponent),
    )
    assert torch.allclose(toy[:, audible], real[:, audible], atol=1e-4)

# %% [markdown]
# Masks that sum to one have an advantage: the estimates add up to the mixture. Nothing
# is lost, nothing is invented.

# %% tags=["nbval-check-output"]
by_power = separate_with(
    ms.masks.ideal_ratio_mask(spectrograms, 2), mixed, hop_length, length
)
rest = (by_power.sum(0) - mixture).abs().max()
print(claim("sum of the estimates minus the mixture", rest, below=1e-5, digits=7))

# %%
play(by_power[0], rate, "vocals by the power ratio mask")

# %% [markdown]
# Now make masks yourself. The slider of the exponent goes from soft to binary. The
# brush keeps or removes what you paint, and you hear the result at once. Can you
# isolate the voice with the brush?

# %%
seconds_6 = slice(0, 6 * rate)
ms.listening.MaskLab(
    mixture[:, seconds_6],
    rate,
    {stem: source[:, seconds_6] for stem, source in zip(stems, sources, strict=True)},
    target="vocals",
)

# %% [markdown]
# ## Know the angle: the phase-sensitive mask
#
# In a bin, stem and mixture are two arrows in the plane. A real mask can make the
# mixture's arrow shorter; it cannot turn it. So the best it can reach is the projection
# of the stem's arrow on the mixture's. That is the **phase-sensitive mask** (PSM), cut
# to 0 … 1:
#
# $$ M_j = \frac{|S_j|}{|X|} \cos \theta_j, \qquad \theta_j = \text{angle between } S_j \text{ and } X. $$


# %%
def toy_phase_sensitive_mask(spectrograms, mixed):
    return (spectrograms / mixed).real.nan_to_num(0).clamp(0, 1)


# %%
show_source("mssedu.masks.phase_sensitive_mask")

# %% tags=["nbval-check-output"]
phase_sensitive = ms.masks.phase_sensitive_mask(spectrograms, mixed)
toy = toy_phase_sensitive_mask(spectrograms, mixed)
assert torch.allclose(toy[:, audible], phase_sensitive[:, audible], atol=1e-3)
total = phase_sensitive.sum(0)[audible]
print(f"sum over the stems: from {total.min():.1f} to {total.max():.1f}")

# %% [markdown]
# Note what the cut to 0 … 1 gave up. Before it, the masks of a bin sum to one. After it
# they do *not*, and the estimates do not add up to the mixture.
#
# And if a mask *could* turn the arrow? A **complex mask** is $S_j / X$. It multiplies
# to exactly $S_j$: the upper limit of all masks is the truth itself. That is why some
# networks guess complex masks. So the limit comes from the mask being *real*, not from
# its being a mask.
#
# ## The honest table
#
# A score alone says little. Two rows that cost nothing belong above the oracles:
# **silence** as the estimate, and the **mixture** as the estimate.

# %%
true_magnitude = spectrograms.abs() * mixed.sgn()  # with the mixture's phase
estimates = {
    "silence": torch.zeros_like(sources),
    "mixture": mixture.expand_as(sources),
    "IBM": by_binary,
    "IRM p=1": separate_with(
        ms.masks.ideal_ratio_mask(spectrograms, 1), mixed, hop_length, length
    ),
    "IRM p=2": by_power,
    "PSM": separate_with(phase_sensitive, mixed, hop_length, length),
    "true |S|": ms.spectral.istft(true_magnitude, hop_length, length=length),
}
table = {
    row: ms.metrics.usdr(reference=sources, estimate=estimate)
    for row, estimate in estimates.items()
}

# %% tags=["nbval-check-output"]
print(f"usdr, dB  {''.join(f'{stem:>8}' for stem in stems)}    mean")
for row, score in table.items():
    print(f"{row:10}{''.join(f'{dB:8.1f}' for dB in score)}{score.mean():8.1f}")

complex_mask = (spectrograms / mixed).nan_to_num(0)
by_complex = separate_with(complex_mask, mixed, hop_length, length)
score = ms.metrics.usdr(reference=sources, estimate=by_complex)
print(claim("complex mask, worst stem", score.min(), above=60, unit="dB"))

# %%
shown = ("mixture", "IBM", "IRM p=1", "IRM p=2", "PSM")
ms.figures.scores_figure(
    {row: dict(zip(stems, table[row].tolist(), strict=True)) for row in shown}
)

# %% [markdown]
# Read the two free rows first. For every stem the mixture scores *less than silence*: left
# alone, the other stems are a larger error than a missing voice. A model at -3 dB for
# drums is better than the mixture and worse than doing nothing. A single row, without
# these two, tells you neither.
#
# Then the oracles, on average: PSM 13.3, power ratio 12.3, binary 11.9, amplitude ratio
# 11.1 dB. Two things may surprise you.
#
# 1. The amplitude ratio mask, soft and careful, **loses to the binary mask**.
# 2. The true magnitude with the mixture's phase, 11.6 dB, loses to the PSM by 1.7 dB,
#    although its magnitude is perfect.
#
# Both have the same cause: the phase.
#
# ## Why soft can lose to binary
#
# *Optional: leave out on the short path.*
#
# Take one bin with two stems: one of length 1, one of length $r < 1$, at an angle that
# nobody knows. Try ten thousand angles, and measure the mean squared error on the louder
# stem.


# %%
def mean_errors(r, n_angles=10_000):
    angle = 2 * torch.pi * (torch.arange(n_angles) + 0.5) / n_angles
    loud, quiet = torch.ones(n_angles), torch.polar(torch.full((n_angles,), r), angle)
    mixed = loud + quiet
    masks = {
        "IBM": 1.0,
        "IRM p=1": 1 / (1 + r),
        "IRM p=2": 1 / (1 + r**2),
        "PSM": (loud / mixed).real,  # not cut
    }
    return {
        m: (loud - g * mixed).abs().square().mean().item() for m, g in masks.items()
    }


# %% [markdown]
# These four have closed forms, which you can derive in a few lines. Toy and formula agree:

# %%
for r in (0.05, 0.3, 0.9):
    formulas = {
        "IBM": r**2,
        "IRM p=1": 2 * r**2 / (1 + r) ** 2,
        "IRM p=2": r**2 / (1 + r**2),
        "PSM": r**2 / 2,
    }
    for name, error in mean_errors(r).items():
        assert abs(error / formulas[name] - 1) < 1e-3, name

# %%
quieter_db = list(range(-30, 1, 2))
curves = {name: [] for name in mean_errors(0.5)}
for decibels in quieter_db:
    errors = mean_errors(10 ** (decibels / 20))
    for name, error in errors.items():
        ratio = torch.tensor(error / errors["IBM"])
        curves[name].append(10 * ratio.log10().item())
ms.figures.sweep_figure(
    quieter_db,
    curves,
    xlabel="Level of the quieter stem (dB re louder)",
    ylabel="Error (dB re binary mask)",
)

# %% [markdown]
# Below is better. When one stem leads clearly (left), the amplitude ratio mask makes
# nearly **twice** the error of the binary mask, 3 dB more. It takes the right *amount*
# of the quiet stem away, but along a wrong angle, and an arrow of length $r$ in a wrong
# direction is worse than none. Sharing is better only if both are about equally loud
# (right). The lines cross at -7.7 dB.
#
# The power ratio is never worse than binary: with unknown angles it is the best there
# is, the **Wiener filter**. The PSM knows the angle and halves the error of the binary
# mask, -3 dB, at any level.
#
# Which side of the crossing is music on?

# %% tags=["nbval-check-output"]
loudest, second = spectrograms.abs().topk(2, dim=0).values
lead_db = 20 * torch.log10(loudest / second.clamp_min(1e-12))
energy = mixed.abs().square()
crossing_db = 20 * torch.tensor(2**0.5 - 1).log10().item()
share = energy[lead_db > -crossing_db].sum() / energy.sum()
print(f"the lines cross at {crossing_db:.1f} dB")
print(f"energy in bins where one stem leads by more: {100 * share:.0f} %")

# %% [markdown]
# On the left: nine tenths of the energy. Sparse music is separated well by a binary
# mask, and that explains the first surprise. The second has the same cause: the true
# magnitude is the right length in the wrong direction, and the PSM is shorter on
# purpose.
#
# Compare them by ear. Which of the two is cleaner, and which is fuller?

# %%
ms.listening.ABSwitch(
    {
        "drums, true magnitude, mixture phase": estimates["true |S|"][1],
        "drums, phase-sensitive mask": estimates["PSM"][1],
        "drums, true magnitude, true phase": sources[1],
    },
    rate,
)

# %% [markdown]
# Magnitude *and* phase give the true drums, without any error: the STFT is exact. So all
# that you hear between the first and the third sound is the phase.
#
# ## Which window?
#
# In notebook 02 drums were sharpest with short windows and voices with long ones. A mask
# needs one window for all. **Predict**: which one will win, on average over the stems?

# %%
prediction_window = "?"  # 256, 512, 1024, 2048, 4096, 8192 or 16384


# %%
def oracle_scores(sources, n_fft):
    """usdr of each stem, for each mask, at one window length."""
    spectrograms = ms.spectral.stft(sources, n_fft, n_fft // 4)
    mixed = spectrograms.sum(0)
    masks = {
        "IBM": ms.masks.ideal_binary_mask(spectrograms),
        "IRM p=1": ms.masks.ideal_ratio_mask(spectrograms, 1),
        "IRM p=2": ms.masks.ideal_ratio_mask(spectrograms, 2),
        "PSM": ms.masks.phase_sensitive_mask(spectrograms, mixed),
    }
    return {
        name: ms.metrics.usdr(
            reference=sources,
            estimate=separate_with(mask, mixed, n_fft // 4, sources.shape[-1]),
        )
        for name, mask in masks.items()
    }


# %%
sizes = [256, 512, 1024, 2048, 4096, 8192, 16384]
lithium = ms.load_track(ms.data.demo_data() / "train" / "Lithium").sources(
    start=36, duration=4
)
songs = {"Francium": sources, "Lithium": lithium}
results = {
    song: [oracle_scores(audio, size) for size in sizes]
    for song, audio in songs.items()
}
both = {
    mask: [
        sum(results[song][i][mask].mean().item() for song in songs) / len(songs)
        for i in range(len(sizes))
    ]
    for mask in results["Francium"][0]
}
ms.figures.sweep_figure(
    sizes,
    both,
    xlabel="n_fft (samples)",
    ylabel="usdr, mean (dB)",
    scale="log2",
    mark="highest",
)

# %% tags=["nbval-check-output"]
for mask, line in both.items():
    best = max(line)
    print(f"{mask:7} best {best:.1f} dB at n_fft {sizes[line.index(best)]}")
order = ("PSM", "IRM p=2", "IBM", "IRM p=1")
steps = [
    (row[better].mean() - row[worse].mean()).item()
    for song in songs
    for row in results[song]
    for better, worse in itertools.pairwise(order)
]
print(" > ".join(order), "in both songs at every window; the smallest step")
print(claim("from one mask to the next", min(steps), above=0, unit="dB", digits=2))
print(
    "best window of the last mask:", reveal(prediction_window, sizes[line.index(best)])
)

# %% [markdown]
# The best window lies inside the range, not at an end. Too short, and neighboring notes
# share a bin. Too long, and drum hits are smeared over everything else. Now stem by
# stem, for the PSM:

# %%
per_stem = {
    stem: [
        sum(results[song][i]["PSM"][j].item() for song in songs) / len(songs)
        for i in range(len(sizes))
    ]
    for j, stem in enumerate(stems)
}
ms.figures.sweep_figure(
    sizes,
    per_stem,
    xlabel="n_fft (samples)",
    ylabel="usdr of the PSM (dB)",
    scale="log2",
    mark="highest",
)

# %% tags=["nbval-check-output"]
for song in songs:
    best = []
    for j, stem in enumerate(stems):
        line = [scores["PSM"][j].item() for scores in results[song]]
        best.append(f"{stem} {sizes[line.index(max(line))]}")
    print(f"{song}: {', '.join(best)}")

# %% [markdown]
# In *Francium* the windows differ: 512 for the bass, whose low notes begin with a short
# click, 2048 for the melody. In *Lithium* 4096 is best for all four, even for the
# drums, which were sharpest at 512 in notebook 02! For a mask it does not matter how
# sharp a stem is by itself. What matters is how little the stem *shares its bins with
# the others*. Beside a held voice, drums are separated best where the voice is a thin
# line.
#
# Look at the figure before you take this too seriously: from 2048 to 4096 the scores
# hardly change. Most separators use one of these two.
#
# **Change one thing**: the overlap. More overlap costs computing time. Is it worth it?

# %% tags=["nbval-check-output"]
for hop in (1024, 512, 256):
    spectra = ms.spectral.stft(sources, 2048, hop)
    mask = ms.masks.ideal_binary_mask(spectra)
    estimate = separate_with(mask, spectra.sum(0), hop, length)
    mean = ms.metrics.usdr(reference=sources, estimate=estimate).mean()
    print(f"overlap {100 * (1 - hop / 2048):.1f} %: IBM {mean:.1f} dB")

# %%
spectra = ms.spectral.stft(sources, 2048, 1024)
estimate = separate_with(
    ms.masks.ideal_binary_mask(spectra), spectra.sum(0), 1024, length
)
play(estimate[0], rate, "vocals by the binary mask, half a window of overlap")

# %% [markdown]
# From one half to three quarters it gains 0.8 dB: the errors of neighboring frames
# average out. Doubling the work once more gains 0.1 dB. That is why `hop_length = n_fft
# // 4` is usual.
#
# ## What it looks like

# %%
ms.figures.spectrogram_figure(
    {
        "mixture": mixture,
        "drums by the PSM": estimates["PSM"][1],
        "drums, true": sources[1],
    },
    rate,
    n_fft=2048,
    hop_length=512,
    range_db=60,
)

# %% [markdown]
# Bass, voice and melody cross the drums everywhere in this mixture. The mask still
# returns all loud parts of the drums. Faint parts have holes where another stem was
# louder.
#
# ## What to remember
#
# - A mask multiplies the mixture's spectrogram. An oracle mask knows the answer and
#   measures what masks of its kind can reach.
# - Here: PSM > power ratio > binary > amplitude ratio, in both songs, at every window.
# - A soft mask can lose to a binary one: the right amount at the wrong angle is worse
#   than nothing, unless both stems are about equally loud (within 7.7 dB).
# - The best window lies inside the range, and differs from stem to stem.
# - Complex masks have no limit below the truth.
# - Never read a score without silence and mixture beside it.
#
# **What this notebook does not show.** An oracle is a bound on *one kind of mask* at
# *one STFT*, on four seconds of two songs, and only by `usdr`. It is no bound on
# separation: a model that makes its own waveform, or its own phase, may be better. The
# ideal binary mask is not even the best binary one: keep a bin if its PSM is above one
# half, and the score is a little higher (try it). An oracle also says nothing about how
# hard its mask is to guess. And your ear may order these masks
# in another way: the binary mask gurgles more than its 11.9 dB suggest.
#
# ## Exercises
#
# *Optional: leave out `masks.phase_sensitive`, `masks.share_out` and `masks.crossing` on the short path.*

# %%
exercise("masks.ratio")


# %% tags=["exercise"]
def ratio_mask(sources, exponents):
    return ...  # your code here


exercise("masks.ratio").check(ratio_mask)

# %%
exercise("masks.phase_sensitive")


# %% tags=["exercise"]
def limited_mask(sources, mixture, highest):
    return ...  # your code here


exercise("masks.phase_sensitive").check(limited_mask)

# %%
exercise("masks.share_out")


# %% tags=["exercise"]
def share_out(magnitudes, mixture):
    return ...  # your code here


exercise("masks.share_out").check(share_out)

# %%
exercise("masks.crossing")

# %% tags=["exercise"]
crossing = ...

exercise("masks.crossing").check(crossing)

# %%
exercise("masks.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("masks.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Use one window for the drums and another for the rest. The
# estimates then no longer come from one STFT: how would you make them add up to the
# mixture again?

# %% [markdown]
# ## Sources
#
# - Binary mask: D. Wang, "On ideal binary mask as the computational goal of auditory
#   scene analysis", in *Speech Separation by Humans and Machines*, 2005,
#   [doi:10.1007/0-387-22794-6_12](https://doi.org/10.1007/0-387-22794-6_12).
# - Ratio masks: A. Liutkus and R. Badeau, "Generalized Wiener filtering with fractional
#   power spectrograms", *ICASSP* 2015,
#   [doi:10.1109/ICASSP.2015.7177973](https://doi.org/10.1109/ICASSP.2015.7177973).
# - Phase-sensitive mask: H. Erdogan, J. R. Hershey, S. Watanabe and J. Le Roux,
#   "Phase-sensitive and recognition-boosted speech separation using deep recurrent
#   neural networks", *ICASSP* 2015,
#   [doi:10.1109/ICASSP.2015.7178061](https://doi.org/10.1109/ICASSP.2015.7178061).
# - Complex masks: D. S. Williamson, Y. Wang and D. Wang, "Complex ratio masking for
#   monaural speech separation", *IEEE/ACM TASLP* 24, 2016,
#   [doi:10.1109/TASLP.2015.2512042](https://doi.org/10.1109/TASLP.2015.2512042).
# - Oracles as bounds: E. Vincent, R. Gribonval and M. D. Plumbley, "Oracle estimators for
#   the benchmarking of source separation algorithms", *Signal Processing* 87, 2007,
#   [doi:10.1016/j.sigpro.2007.01.016](https://doi.org/10.1016/j.sigpro.2007.01.016).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
