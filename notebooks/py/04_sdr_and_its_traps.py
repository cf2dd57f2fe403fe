# %% [markdown]
# # 04 · SDR and its traps
#
# > 同样叫 SDR 的指标至少有六种定义，彼此不能比较。本章说明信号失真比衡量什么、听不到什么：七个得分完全相同的估计信号，听起来却截然不同。你将看到增益、延迟和静音音轨如何影响各种得分，比较 usdr、csdr、si_sdr 与 nsdr，弄清 BSS Eval 的滤波器原谅了哪些错误。最后用自助法与配对检验回答一个常被忽略的问题：若干首歌的平均分到底有多可靠。
#
# **Aim.** After this notebook you can
#
# - say what the signal-to-distortion ratio (SDR) measures, and what it misses,
# - choose a score that ignores gain, and name what each score forgives,
# - handle stems that are silent, without spoiling a mean,
# - tell six definitions of "SDR" apart, and never compare across them,
# - say how sure a mean over songs is.
#
# | | |
# |---|---|
# | Path | core, 40 minutes on the short path |
# | Before | 00 (decibels), 03 (masks, oracles); 01 (mixing) helps |
# | Time | 95 minutes in two sittings: Part A 60, Part B 35; the code runs in under a minute on two CPU cores, no GPU needed |
# | Data | *Francium* and *Sodium* from `data/`, scores of real music from `benchmarks/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [05 · Data, remixing and training hygiene](05_data_and_training.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $s$ | `reference` | the true stem |
# | $\hat s$ | `estimate` | what a separator made of it |
# | $s - \hat s$ | `reference - estimate` | the distortion: all that is wrong |
# | $g$ | `gain` | a factor on the whole estimate |

# %%
import csv
import os

import torch

import mssedu as ms
from mssedu.course import Page, claim, exercise, play, setup, show_source
from mssedu.course.progress import progress_file

# %%
setup()

# %% [markdown]
# # Part A · Scores and their traps
#
# ## Listen first
#
# Six seconds of a song, and its voice alone.

# %%
francium = ms.load_track(ms.data.demo_data() / "valid" / "Francium")
rate, stems = francium.sample_rate, francium.stems
sources = francium.sources(start=29, duration=6)  # (stems, channels, samples)
mixture = francium.mixture(start=29, duration=6)
voice = sources[0]
length = voice.shape[-1]
play(mixture, rate, "mixture")

# %%
play(voice, rate, "vocals, true")

# %% [markdown]
# Now seven estimates of this voice. The next cell makes them; to be fair, read it later.

# %%
spectrogram, spectrum = ms.spectral.stft(voice, 2048, 512), torch.fft.rfft(voice)
hz = torch.fft.rfftfreq(length, 1 / rate)
noise = torch.randn(voice.shape)
rest = mixture - voice


def gurgle(amount):
    loud = spectrogram.abs() > amount * spectrogram.abs().max()
    return ms.spectral.istft(spectrogram * loud, 512, length=length)


def dull(amount):  # a low-pass filter
    cutoff_hz = 20_000 * 0.001**amount
    return torch.fft.irfft(spectrum / (1 + (hz / cutoff_hz) ** 16).sqrt(), length)


def gap(amount):
    silenced = voice.clone()
    silenced[:, 2 * rate : round((2 + 3 * amount) * rate)] = 0
    return silenced


def late(amount, longest=0.002):  # seconds
    turn = torch.polar(torch.ones(()), -2 * torch.pi * hz * amount * longest)
    return torch.fft.irfft(spectrum * turn, length)


spoilers = {
    "bleed": lambda amount: voice + amount * rest,
    "gurgle": gurgle,
    "soft": lambda amount: (1 - amount) * voice,
    "dull": dull,
    "hiss": lambda amount: voice + amount * noise,
    "gap": gap,
    "late": late,
}


def tuned(spoil, score, wanted=10.0):
    """The amount of spoiling, found by halving, at which the score is as wanted."""
    low, high = 0.0, 1.0
    for _ in range(40):
        amount = (low + high) / 2
        found = score(spoil(amount))
        if abs(found - wanted) < 0.005:
            break
        low, high = (amount, high) if found > wanted else (low, amount)
    return amount


def score(estimate):
    return ms.metrics.usdr(reference=voice, estimate=estimate).item()


amounts = {name: tuned(spoil, score) for name, spoil in spoilers.items()}
spoiled = {name: spoil(amounts[name]) for name, spoil in spoilers.items()}
shuffled = [list(spoiled)[i] for i in torch.randperm(len(spoiled)).tolist()]

# %%
ms.listening.ABSwitch(
    {letter: spoiled[name] for letter, name in zip("ABCDEFG", shuffled, strict=True)},
    rate,
)

# %% [markdown]
# **Predict.** Put them in order, best first. Then guess: by how many decibels of SDR do the
# best and the worst differ?

# %%
prediction_order = "?"  # such as "CABDGFE"
prediction_db = "?"

# %% [markdown]
# ### Five pages of a listening test
#
# *Optional: leave out on the short path.*
#
# Now rate five of the seven, before you know what they are. Each page has one sound, without
# its name, and two questions, with marks from 1 to 5: how natural it is, and how free of
# the other instruments. All five are brought to one loudness. It takes about four
# minutes, with headphones.
#
# Notebook 14 shows your marks beside the scores of the same five. They stay on this
# computer, in the folder `.mssedu/equal_sdr` of your home folder. Delete that folder,
# and they are gone. If you run the cell again, the test begins again.

# %%
folder = progress_file().parent / "equal_sdr"
folder.mkdir(parents=True, exist_ok=True)
kept = {name: spoiled[name] for name in ("soft", "late", "bleed", "gurgle", "dull")}
for name, sound in (kept | {"reference": voice}).items():
    ms.audio.save_audio(folder / f"{name}.flac", sound, rate)
files = {name: f"{name}.flac" for name in kept}
own_test = ms.listening.Design(
    "Five estimates of one voice",
    "acr",
    (ms.listening.Trial("Francium vocals", files, reference="reference.flac"),),
    reference=False,  # not among the sounds that are rated
    n_replicates=0,
    folder=folder,
)
ms.listening.ListeningTest(own_test, folder / "results.sqlite")

# %% [markdown]
# ## One number for all that is wrong
#
# SDR is the energy of the true stem over the energy of the error, in decibels. Over the
# whole track and all channels it is called `usdr` here:
#
# $$ \text{usdr} = 10 \log_{10} \frac{\sum s^2}{\sum (s - \hat s)^2}. $$


# %%
def toy_usdr(reference, estimate):
    error = reference - estimate
    return 10 * torch.log10(reference.square().sum() / error.square().sum())


# %%
show_source("mssedu.metrics.usdr")

# %% tags=["nbval-check-output"]
for label, name in zip("ABCDEFG", shuffled, strict=True):
    toy = toy_usdr(voice, spoiled[name]).item()
    assert abs(toy - score(spoiled[name])) < 1e-4
    print(f"{label}  {name:7} usdr {score(spoiled[name]):.1f} dB")
print("You said:", prediction_order, "and", prediction_db)

# %% [markdown]
# All seven are **equally good**: a tenth of the energy is wrong. They were tuned to it.
#
# | | what is wrong |
# |---|---|
# | bleed | drums and melody, softly |
# | gurgle | only the loudest bins are left: musical noise (notebook 03) |
# | soft | nothing but the volume |
# | dull | no high frequencies |
# | hiss | white noise |
# | gap | a part of the phrase is missing, the rest is perfect |
# | late | nothing but the time |

# %% tags=["nbval-check-output"]
print(f"soft: {20 * torch.tensor(1 - amounts['soft']).log10():.1f} dB")
print(f"dull: nothing above {20 * 0.001 ** amounts['dull']:.1f} kHz")
print(f"gap: {3 * amounts['gap']:.1f} s of 6 s")
print(f"late: {0.002 * rate * amounts['late']:.1f} samples")

# %% [markdown]
# Read the last line again. The whole voice, *one sample late*, costs as much as a voice
# without anything above a kilohertz. SDR subtracts sample by sample, and what does not
# line up does not cancel.

# %%
ms.figures.spectrogram_figure(
    {"vocals, true": voice}
    | {name: spoiled[name] for name in ("bleed", "gurgle", "dull")},
    rate,
    n_fft=2048,
    hop_length=512,
    columns=2,
)

# %% [markdown]
# ## Other scores
#
# Other scores measure other things. The package has many; each docstring gives its
# formula.
#
# | score | asks | best |
# |---|---|---|
# | `csdr` | `usdr` of each second, then the median | high |
# | `si_sdr` | `usdr`, after the best scaling of the true stem | high |
# | `si_sir` | only that part of the error which other stems explain | high |
# | `si_sar` | only that part which no stem explains: artifacts | high |
# | `log_wmse` | error, weighted as ears hear frequencies | high; +18.4 is 20 dB less error |
# | `mrstft` | how far are the magnitudes, whatever the phase | 0 |
# | `bleedless` | how little is there too much, in mel bands | 100 |
# | `fullness` | how little is missing, in mel bands | 100 |
#
# 100 dB stands for "no such error".

# %%
hearings = {}
for name, estimate in spoiled.items():
    pair = {"reference": voice, "estimate": estimate}
    everything = {
        "reference": sources,
        "estimate": torch.cat([estimate[None], sources[1:]]),
    }
    hearings[name] = {
        "usdr": ms.metrics.usdr(**pair),
        "csdr": ms.metrics.csdr(**pair),
        "si_sdr": ms.metrics.si_sdr(**pair),
        "si_sir": ms.metrics.si_sir(**everything)[0],
        "si_sar": ms.metrics.si_sar(**everything)[0],
        "log_wmse": ms.metrics.log_wmse(**pair, mixture=mixture),
        "mrstft": ms.metrics.mrstft(**pair),
        "bleedless": ms.metrics.bleedless(**pair),
        "fullness": ms.metrics.fullness(**pair),
    }

# %% tags=["nbval-check-output"]
print(" " * 7 + "".join(f"{column:>10}" for column in hearings["bleed"]))
places = {"bleedless": 0, "fullness": 0}  # points of 100; the others have one decimal
for name, row in hearings.items():
    cells = (f"{x.item():10.{places.get(column, 1)}f}" for column, x in row.items())
    print(f"{name:7}" + "".join(cells))

# %% [markdown]
# > **What to notice.**
# >
# > - The columns do not agree on an order. None of them is *the* quality.
# > - `csdr` finds the gap **perfect**: most seconds are perfect, and the median ignores
# >   the others.
# > - `si_sdr` finds only the soft one perfect.
# > - `si_sir` finds the bleed, 10 dB, and nothing else; `si_sar` does the opposite.
# > - `bleedless` is lowest for the hiss and forgives the dull one; `fullness` forgives
# >   much of the bleed. Each alone can be fooled: look at both. (Why has the gap so few
# >   points in `bleedless`? Its two hard edges are clicks: sound that the voice does not
# >   have.)
# > - `mrstft` finds the late one perfect. So, most likely, did you.
#
# What do listeners say? Listening tests ask two questions, one about natural sound and
# one about bleed, because the two give different orders of the systems. Notebooks 13
# and 14 do that, and 14 shows your own marks of five of these sounds beside the scores.
#
# ## Trap 1: scale
#
# Take an honest estimate, the ideal ratio mask of notebook 03, and change its volume.
# **Predict**: what does half the amplitude, -6 dB, cost?

# %%
prediction_gain = "?"  # dB

# %%
spectrograms = ms.spectral.stft(sources, 2048, 512)
mask = ms.masks.ideal_ratio_mask(spectrograms, 2)
masked = ms.spectral.istft(
    ms.masks.apply_mask(mask, spectrograms.sum(0)), 512, length=length
)
gains = [0.1, 0.25, 0.5, 0.7, 0.9, 1.0, 1.1, 1.4, 2.0]
turned = torch.stack([gain * masked[0] for gain in gains])
by_gain = {
    function.__name__: function(
        reference=voice.expand_as(turned), estimate=turned
    ).tolist()
    for function in (ms.metrics.usdr, ms.metrics.si_sdr)
}
ms.figures.sweep_figure(
    gains, by_gain, xlabel="Gain of the estimate", ylabel="Score (dB)"
)

# %% tags=["nbval-check-output"]
for gain in (1.0, 0.5):
    index = gains.index(gain)
    print(f"gain {gain}: usdr {by_gain['usdr'][index]:4.1f}", end=", ")
    print(f"si_sdr {by_gain['si_sdr'][index]:4.1f} dB")
perfect = ms.metrics.usdr(reference=voice, estimate=0.5 * voice)
print(f"the true voice at gain 0.5: usdr {perfect:.1f} dB")
print("You said:", prediction_gain)

# %% [markdown]
# At half volume not even the truth scores more than 6 dB: half of every sample is wrong. The
# better the estimate, the more a wrong gain costs. `si_sdr` first scales the reference,
# $\alpha = \langle s, \hat s\rangle / \lVert s\rVert^2$, and sees no gain at all:
#
# $$ \text{si\_sdr} = 10 \log_{10} \frac{\lVert \alpha s\rVert^2}{\lVert \alpha s - \hat s\rVert^2}. $$
#
# (Its code is not shown here. You will write it.)
#
# Which is right? If stems are to be put back into a mix, a wrong level is an error. If
# one stem is played alone, the listener sets its level. Decide before you look at the
# scores.
#
# **The other side of the trap.** A *bad* estimate scores better when it is softer. Take
# the worst of all, the mixture itself, as an estimate of the voice.

# %% tags=["nbval-check-output"]
best_gain = (voice * mixture).sum() / mixture.square().sum()
for gain in (1.0, best_gain.item()):
    value = ms.metrics.usdr(reference=voice, estimate=gain * mixture)
    print(f"mixture at gain {gain:.2f}: usdr {value:4.1f} dB", end=", ")
    print(
        f"si_sdr {ms.metrics.si_sdr(reference=voice, estimate=gain * mixture):4.1f} dB"
    )
ratio = 10 ** (ms.metrics.si_sdr(reference=voice, estimate=mixture) / 10)
print(f"10 log10(1 + si_sdr as a ratio) = {10 * torch.log10(1 + ratio):.1f} dB")

# %% [markdown]
# Nothing was separated, and the score rose by 7 dB: above 0, above silence. A model
# that is trained on SDR learns this trick first: to be soft when it is unsure. The last
# line is a rule without exceptions: the best `usdr` that a gain can reach, positive or
# negative, is never below 0 dB, and follows from `si_sdr`. Test it with any estimate.
#
# ## Trap 2: time
#
# Now move the true voice by a few samples, and change nothing else.

# %%
delays = [1, 2, 4, 8, 16, 32, 64, 128, 256]
moved = torch.stack([voice.roll(delay, dims=-1) for delay in delays])
by_delay = {
    function.__name__: function(
        reference=voice.expand_as(moved), estimate=moved
    ).tolist()
    for function in (ms.metrics.usdr, ms.metrics.si_sdr)
}
ms.figures.sweep_figure(
    delays,
    by_delay,
    xlabel="Delay (samples)",
    ylabel="Score (dB)",
    scale="log2",
)

# %% tags=["nbval-check-output"]
for delay in (1, 4, 16, 32, 256):
    index = delays.index(delay)
    print(f"{delay:3} samples, {1000 * delay / rate:4.2f} ms: ", end="")
    print(f"usdr {by_delay['usdr'][index]:5.1f}", end=", ")
    print(f"si_sdr {by_delay['si_sdr'][index]:5.1f} dB")

# %%
play(voice.roll(256, dims=-1), rate, "vocals, true, 256 samples late")

# %% [markdown]
# After 16 samples, a third of a millisecond, the true voice is no better than silence,
# and after 32 it is worse. `si_sdr` does not help: it forgives a gain, not a delay. If
# your scores look absurdly low, first look for a lag: an encoder, a resampler, a chunk
# that starts elsewhere. `evaluate(…, align=True)` finds the lag, reports it and removes
# it.
#
# ## What filters forgive
#
# **BSS Eval** wanted to forgive more. It looks for the short filter, 512 samples, that
# brings the true stem closest to the estimate, and then for filters of *all* true stems:
#
# $$ \hat s = \underbrace{s}_{\text{target}} + \underbrace{(P_1\hat s - s)}_{\text{spatial error}} + \underbrace{(P\hat s - P_1\hat s)}_{\text{interference}} + \underbrace{(\hat s - P\hat s)}_{\text{artifacts}}. $$
#
# What one filter of the stem can explain is neither interference nor an artifact. Two questions
# separate the forms that are in use:
#
# - What is right? *Sources*: any filtered $s$ (`bss_eval_sources`, as in `mir_eval`).
#   *Images*: only $s$ itself, and the filters only divide the error into kinds
#   (`bss_eval`, as in `museval`).
# - How many filters? Version 3 finds new ones for every frame, version 4 one set for the whole
#   song. This matters for `csdr`'s companions ISR, SIR and SAR, not for what is right.

# %%
show_source("mssedu.metrics.bss_eval_sources")

# %% [markdown]
# Voice against all the rest, in mono, to save time:

# %%
references = torch.stack([voice, rest]).mean(1, keepdim=True)  # (2, 1, samples)
sorted_errors = {}
for name in ("bleed", "gurgle", "soft", "dull", "late"):
    estimate = spoiled[name].mean(0, keepdim=True)
    estimates = torch.stack([estimate, references[1]])
    four = ms.metrics.bss_eval(references=references, estimates=estimates)
    three = ms.metrics.bss_eval_sources(
        references=references[:, 0], estimates=estimates[:, 0], permute=False
    )
    sorted_errors[name] = {
        "usdr": ms.metrics.usdr(reference=references[0], estimate=estimate),
        "si_sdr": ms.metrics.si_sdr(reference=references[0], estimate=estimate),
        "images": four.sdr[0, 0],
        "ISR": four.isr[0, 0],
        "SIR": four.sir[0, 0],
        "SAR": four.sar[0, 0],
        "sources": three.sdr[0, 0],
    }

# %% tags=["nbval-check-output"]
print(" " * 7 + "".join(f"{column:>8}" for column in sorted_errors["soft"]))
for name, row in sorted_errors.items():
    values = (value.clamp(max=99).item() for value in row.values())
    print(f"{name:7}" + "".join(f"{value:8.1f}" for value in values))

# %% [markdown]
# 99 stands for "at least 99".
#
# - Columns one and three are equal: over a whole sound, the SDR of images *is* `usdr`.
#   The filters only divide the error into kinds. (So `csdr` needs no filters, and is
#   computed in about a second.)
# - SIR is low for the bleed. ISR is low for everything that a filter can do: soft,
#   dull, late, and most of the gurgle.
# - The SDR of sources finds the soft and the late voice as good as perfect, and the
#   dull one 9 dB better than `usdr` does. By this score a separator loses little if it
#   removes the high frequencies. For this reason, and because gain is free, Le Roux and
#   others asked: "SDR – half-baked or well done?"
#
# ## Trap 3: silence
#
# In *Sodium*, our test song, nobody sings for 25 seconds. We make estimates like those
# of a good model: ideal ratio masks, plus a hundredth of the mixture, -40 dB, as
# leakage.

# %%
sodium = ms.load_track(ms.data.demo_data() / "test" / "Sodium")
truth, song = sodium.sources(), sodium.mixture()
by_mask = ms.evaluation.oracle_estimate("irm", truth, song, rate)
leaky = by_mask + 0.01 * song
begin = slice(0, 22 * rate)

# %% tags=["nbval-check-output"]
opening = {"reference": truth[..., begin], "estimate": leaky[..., begin]}
print("first 22 s" + "".join(f"{stem:>9}" for stem in stems))
for function in (ms.metrics.usdr, ms.metrics.nsdr):
    scores = function(**opening)
    print(f"{function.__name__:10}" + "".join(f"{dB:9.1f}" for dB in scores))
print(f"nsdr, mean of all four:      {ms.metrics.nsdr(**opening).mean():5.1f} dB")
print(f"nsdr, mean of three:         {ms.metrics.nsdr(**opening)[1:].mean():5.1f} dB")
level = ms.metrics.pes(**opening)[0] - 10 * torch.tensor(2 * rate).log10()
print(f"what leaks into the silence: {level:5.1f} dBFS")

# %% [markdown]
# The ratio of nothing to something has no value: `usdr` is NaN, not a number. `nsdr`,
# the "new SDR" of the Music Demixing Challenge, adds $10^{-7}$ above and below, so that
# it is always finite. That tiny number now *is* the score. Here it turns a mean of 15.7
# dB into -7.3 dB. And nobody chose the $10^{-7}$ by ear.
#
# Our rule: a silent stem has no ratio. Leave it out of the mean, *say how many* were
# left out, and report the level of what leaks in, `pes`: predicted energy at silence.
# (`pes` adds up the samples of a second. The cell divides by their number, two channels of
# 44100, which is a subtraction in decibels, and so gets a level in dBFS.)
#
# `museval`, the official program, cannot score such an excerpt at all. Our `bss_eval` can,
# and with `museval=True` it does as museval does:

# %% tags=["nbval-check-output"]
try:
    ms.metrics.bss_eval(
        references=truth[..., begin], estimates=leaky[..., begin], museval=True
    )
except ms.errors.InputError as error:
    print(error)

# %% [markdown]
# And where only some seconds are silent, it drops these seconds **for all stems**. So
# the score of the drums depends on whether the singer is silent:

# %% tags=["nbval-check-output"]
whole = {"reference": truth, "estimate": by_mask}
rows = {
    "csdr": ms.metrics.csdr(**whole),
    "as museval": ms.metrics.csdr(**whole, museval=True),
}
print("whole song" + "".join(f"{stem:>9}" for stem in stems))
for name, scores in rows.items():
    print(f"{name:10}" + "".join(f"{dB:9.1f}" for dB in scores))

# %% [markdown]
# Nothing about the drums has changed: 22.3 or 17.6 dB.
#
# ## Trap 4: frames and medians
#
# Most published numbers are `csdr`: `usdr` of every second, the median of the seconds, the
# median of the songs.


# %%
def toy_csdr(reference, estimate, sample_rate):
    scores = [
        toy_usdr(true, heard)
        for true, heard in zip(
            reference.split(sample_rate, -1),
            estimate.split(sample_rate, -1),
            strict=True,
        )
        if true.any() and true.shape[-1] == sample_rate
    ]
    return torch.stack(scores).quantile(0.5)


# %%
show_source("mssedu.metrics.csdr")

# %% tags=["nbval-check-output"]
for j, stem in enumerate(stems):
    toy = toy_csdr(truth[j], by_mask[j], rate)
    assert abs(toy - ms.metrics.csdr(**whole)[j]) < 1e-3
    print(f"{stem:7} csdr {toy:5.1f} dB")

# %% [markdown]
# **Predict.** For the bass, `csdr` is *below zero*. What will `usdr` of the very same estimate
# be?

# %%
prediction_bass = "?"  # dB

# %% tags=["nbval-check-output"]
seconds = truth.shape[-1] // rate


def by_second(audio):
    return audio[..., : seconds * rate].unflatten(-1, (seconds, rate)).movedim(-2, 1)


framed = ms.metrics.usdr(reference=by_second(truth), estimate=by_second(by_mask))
print("one estimate        " + "".join(f"{stem:>8}" for stem in stems))
for name, scores in {
    "global (usdr)": ms.metrics.usdr(**whole),
    "mean of seconds": framed.nanmean(1),
    "median of s. (csdr)": framed.nanquantile(0.5, 1),
}.items():
    print(f"{name:20}" + "".join(f"{dB:8.1f}" for dB in scores))
print("You said:", prediction_bass)

# %%
bass = stems.index("bass")
level = 10 * by_second(truth)[bass].square().mean((-2, -1)).log10()
ms.figures.sweep_figure(
    list(range(seconds)),
    {"true level": level.tolist(), "usdr": framed[bass].tolist()},
    xlabel="Second of the song",
    ylabel="Bass: level, usdr (dB)",
)

# %% tags=["nbval-check-output"]
faint = level < -50
print("seconds with the bass below -50 dBFS:", int(faint.sum()), "of", seconds)
print(f"median level there: {level[faint].quantile(0.5):.0f} dBFS")
print(f"median usdr there: {framed[bass][faint].quantile(0.5):5.1f} dB")
print(f"median usdr where it sounds: {framed[bass][~faint].quantile(0.5):5.1f} dB")
play(truth[bass][:, 23 * rate : 26 * rate], rate, "true bass, seconds 23 to 26")

# %% [markdown]
# In most seconds the bass plays nothing. But these seconds are not *digitally* silent:
# a little noise is left, 98 dB below full scale, which nobody hears. By definition
# these seconds count as much as any others. They are the majority, so they **are** the
# median. The same estimate is good by one definition and bad by the other, and both
# numbers are correct.
#
# Each way of averaging answers a different question.
#
# | | asks | is fooled by |
# |---|---|---|
# | global | how much of the *energy* is wrong? | one loud passage decides |
# | mean of seconds | how is a second, on average? | one extreme second changes it a lot |
# | median of seconds | how is an ordinary second? | almost half of the seconds may be bad; silence is ordinary |
#
# # Part B · Definitions, real music, and the mean
#
# *Optional: leave out on the short path.*
#
# This is a good place for a break. The exercises of Part A are at the end, under *Exercises*.
# If you come back another day, run all cells above first.
#
# ## Definitions side by side
#
# One estimate of one song. Every line is called "SDR" somewhere.

# %% tags=["nbval-check-output"]
definitions = {
    "usdr": ms.metrics.usdr(**whole),
    "nsdr": ms.metrics.nsdr(**whole),
    "snr": ms.metrics.snr(**whole),
    "si_sdr": ms.metrics.si_sdr(**whole),
    "csdr": ms.metrics.csdr(**whole),
    "csdr, museval": ms.metrics.csdr(**whole, museval=True),
}
print(" " * 14 + "".join(f"{stem:>9}" for stem in stems) + "     mean")
for name, scores in definitions.items():
    values = [*scores.tolist(), scores.mean().item()]
    print(f"{name:14}" + "".join(f"{dB:9.1f}" for dB in values))

# %% [markdown]
# (`snr` is new: `usdr` of each channel, then the mean of both channels.) The first four
# agree within a few tenths of a decibel here, and the last two are completely different.
# **Never compare across lines.** A number without its definition says nothing. So the
# published table of the field, `mssedu published`, names the definition in each row:

# %%
systems = (
    "Wave-U-Net M6",
    "Open-Unmix (umx)",
    "Demucs (v2)",
    "Hybrid Demucs (v3)",
    "HT Demucs f.t. (v4)",
    "KUIELab-MDX-Net, leaderboard A",
    "SCNet, open weights",
)
for row in ms.evaluation.published_scores():
    if row.system in systems:
        extra = f", + {row.extra}" if row.extra else ""
        print(f"{row.system:31}{row.definition:5}{row.mean:5.2f} dB", end="  ")
        print(f"{row.test}{extra}")

# %% [markdown]
# Lines 5 and 8 cannot be ranked among the others: `nsdr` of a hidden test set in line 5,
# `usdr` in line 8.
#
# ## Which window, by which score?
#
# Notebook 03 looked for the window in which a mask works best. Once more, on sixteen seconds
# of *Sodium* (bass at the start, voice at the end; in mono, to save time), and by two
# scores. **Predict**: will they agree on the window?

# %%
prediction_window = "?"

# %%
sizes = [512, 1024, 2048, 4096, 8192, 16384]
some = sodium.sources(start=18, duration=16).mean(1, keepdim=True)


def oracles_at(n_fft):
    """Oracle -> estimates, at one window length."""
    shown = ms.spectral.stft(some, n_fft, n_fft // 4)
    mixed = shown.sum(0)
    masks = {
        "IBM": ms.masks.ideal_binary_mask(shown),
        "IRM": ms.masks.ideal_ratio_mask(shown),
        "PSM": ms.masks.phase_sensitive_mask(shown, mixed),
    }
    return {
        name: ms.spectral.istft(
            ms.masks.apply_mask(mask, mixed), n_fft // 4, length=some.shape[-1]
        )
        for name, mask in masks.items()
    }


windows = {"usdr": {}, "csdr": {}}
for size in sizes:
    for name, estimate in oracles_at(size).items():
        for function in (ms.metrics.usdr, ms.metrics.csdr):
            column = windows[function.__name__].setdefault(name, [])
            column.append(function(reference=some, estimate=estimate))
ms.figures.sweep_figure(
    sizes,
    {name: [float(s.mean()) for s in line] for name, line in windows["usdr"].items()},
    xlabel="n_fft (samples)",
    ylabel="usdr, mean (dB)",
    scale="log2",
    mark="highest",
)

# %% tags=["nbval-check-output"]
print(" " * 10 + "".join(f"{stem:>8}" for stem in stems))
for metric, lines in windows.items():
    for name, line in lines.items():
        best = torch.stack(line).argmax(0)
        chosen = "".join(f"{sizes[i]:8}" for i in best.tolist())
        print(f"{metric} {name}  {chosen}")
steps = [
    (line[better][i].mean() - line[worse][i].mean()).item()
    for line in windows.values()
    for i in range(len(sizes))
    for better, worse in (("PSM", "IBM"), ("IBM", "IRM"))
]
print("on average PSM > IBM > IRM, by both scores, at every window; the smallest step")
print(claim("from one mask to the next", min(steps), above=0, unit="dB", digits=2))
print("You said:", prediction_window)

# %% [markdown]
# By `usdr` 4096 is best for every mask and every stem. By `csdr` 1024 or 2048 is best
# for the drums: `csdr` asks about ordinary seconds, `usdr` about the loud ones. And its
# bass column means nothing; it is about seconds without bass. **Even a design choice
# depends on the definition.** The order of the masks does not. ("IRM" is the amplitude
# ratio here.)
#
# ## The table, on real music
#
# So far we had one artist. Now we take 25 songs by 25 artists: clips of MUSDB18, the
# data set of the field, with the real *HTDemucs*. The data are for education and
# research, and the weights for personal and research use only, so neither is in
# `data/`; the scores are in `benchmarks/`. This is what `benchmarks/oracles.py` wrote,
# with the command, the machine and the day:

# %% tags=["nbval-check-output"]
benchmarks = ms.data.demo_data().parent / "benchmarks"
page = (benchmarks / "RESULTS.md").read_text("utf-8")
Page(page.partition("<!-- oracles -->\n")[2].partition("<!-- /oracles -->")[0])

# %% [markdown]
# `model` is HTDemucs; `mwf` is the multichannel Wiener filter with the true powers and
# directions.
#
# > **What to notice.**
# >
# > - HTDemucs, which has to guess, beats the ideal ratio mask, which knows the answer,
# >   on drums (10.3 against 8.7 dB `usdr`) and bass (8.2 against 6.5). It makes its own
# >   waveform; a mask has to keep the mixture's phase. **Oracles bound masks, not
# >   separators.** On vocals and other it does not reach the masks.
# > - Does it beat the Wiener filter on drums and bass? By `usdr` no, by `csdr` yes.
# >   Both sentences could stand in a paper.
# > - The same model on the same clips: 7.73, 7.95 or 5.49 dB, mean of stems.
# > - By `usdr` and `csdr` the mixture scores less than silence, on every stem. By `si_sdr`
# >   silence has the lowest score there is, shown as -100 dB: no gain makes a stem of it.
#
# The same on our own song, computed here and now. With MUSDB18's preview and the
# weights on your disk, the second cell computes the whole table again.

# %%
excerpt = ms.data.Track.from_audio(
    "Sodium, 16 s",
    dict(zip(stems, sodium.sources(start=18, duration=16), strict=True)),
    rate,
)
oracle_rows = ("silence", "mixture", "ibm", "irm", "mwf")
small = ms.evaluate(None, [excerpt], metrics=("usdr", "csdr"), rows=oracle_rows)

# %% tags=["nbval-check-output"]
for metric in small.metrics:
    print(f"{metric:8}" + "".join(f"{stem:>9}" for stem in small.stems))
    for row, scores in small.of_track(excerpt.name, metric).items():
        print(f"{row:8}" + "".join(f"{scores[stem]:9.1f}" for stem in small.stems))

# %%
musdb = os.environ.get("MSSEDU_MUSDB")
shown = """Not computed: set `MSSEDU_MUSDB` to the folder of MUSDB18's preview before you start
Jupyter. The row of HTDemucs is added if its weights are on this computer. It takes minutes."""
if musdb:
    model = ms.weights.load_cached("htdemucs")
    clips = ms.load_dataset(musdb, "test", stems=model.config.stems if model else None)
    anew = ms.evaluate(model, clips, rows=(*oracle_rows, *(["model"] if model else [])))
    shown = ms.reports.render(anew.table("usdr"), "markdown")
Page(shown)

# %% [markdown]
# Our own song has such contradictions too. For the other stem the mixture scores -10.8
# dB by `usdr` and 3.2 dB by `csdr`; for the drums the Wiener filter is level with the
# binary mask by one score and more than 9 dB behind it by the other.
#
# ## How sure is a mean?
#
# Every clip, a point:

# %%
with (benchmarks / "oracles.csv").open(encoding="utf-8", newline="") as file:
    lines = list(csv.DictReader(file))


def clips_of(metric, row, stem):
    """One score per clip."""
    return [
        float(line[row])
        for line in lines
        if line["metric"] == metric and line["stem"] == stem
    ]


compared = ("mixture", "model", "irm", "mwf")
ms.figures.boxes_figure(
    {
        "usdr (dB)": {
            row: {stem: clips_of("usdr", row, stem) for stem in stems}
            for row in compared
        }
    }
)

# %% [markdown]
# Songs differ far more than systems do. So a mean over songs depends on which songs were
# drawn. The **bootstrap** asks how much: draw as many songs again, with replacement, many
# times, and see where the means lie.
#
# **Predict.** Ten students test HTDemucs on three clips each. How far apart are the lowest and
# the highest mean for the vocals?

# %%
prediction_students = "?"  # dB

# %% tags=["nbval-check-output"]
vocals = torch.tensor(clips_of("usdr", "model", "vocals"))
drawn = torch.stack([torch.randperm(len(vocals))[:3] for _ in range(10)])
students = vocals[drawn].mean(1)
print(f"ten students: from {students.min():.1f} to {students.max():.1f} dB")
print("You said:", prediction_students)
for count in (3, 10, 25):
    low, high = ms.evaluation.bootstrap_interval(vocals[:count].tolist())
    print(f"{count:2} clips: {vocals[:count].mean():4.1f} dB", end=", ")
    print(f"95 % interval {low:4.1f} to {high:4.1f}")
half = (high - low) / 2
print(f"50 tracks, by the square root: about ± {half / 2**0.5:.1f} dB")

# %% [markdown]
# Three songs prove nothing. (And the interval of three is too narrow, because three
# songs do not show how different the others are.) Even with all 25 the mean is known to
# about a decibel and a half; the whole test set, 50 tracks, brings it to about one.
# Systems are ranked by less: in `mssedu published` the open weights of SCNet-large have
# 9.70 dB `usdr` and those of BS-RoFormer 9.65.
#
# Can so little be shown? Yes, by comparing **on the same songs**. A hard song is hard for
# both, and in the difference it cancels.

# %% tags=["nbval-check-output"]
for one, other in (("irm", "mwf"), ("irm", "model")):
    pair = [clips_of("usdr", row, "vocals") for row in (one, other)]
    for row, scores in zip((one, other), pair, strict=True):
        low, high = ms.evaluation.bootstrap_interval(scores)
        print(f"{row:6}{sum(scores) / len(scores):5.1f} [{low:4.1f}, {high:4.1f}]")
    test = ms.evaluation.paired_test(*pair)
    low, high = test.interval
    print(
        f"  {other} - {one}: {test.difference:4.1f} [{low:4.1f}, {high:4.1f}]", end=""
    )
    print(f", p {'<' if test.p < 0.001 else '='} {max(test.p, 0.001):.3f}")

# %% [markdown]
# The intervals of `irm` and `mwf` overlap, and still their difference is clear: 1.5 dB,
# known to 0.3 dB. Overlapping intervals are not a test; look at the interval of the
# difference.
#
# One more question: mean or median of the songs?

# %% tags=["nbval-check-output"]
for metric in ("usdr", "si_sdr"):
    scores = torch.tensor(clips_of(metric, "model", "bass"))
    print(f"{metric:7} of the bass, model: mean {scores.mean():4.1f}", end=", ")
    print(f"median {scores.quantile(0.5):4.1f}, lowest {scores.min():5.1f} dB")
print("clips with si_sdr below -10 dB:", int((scores < -10).sum()))
lowest = clips_of("usdr", "model", "bass")[scores.argmin()]
print(f"usdr of the clip with the lowest si_sdr: {abs(lowest):.1f} dB")

# %% [markdown]
# In three clips the model hardly finds the bass at all, and is nearly silent in one of
# them. By `usdr` that is 0 dB, like silence. But `si_sdr` has no floor: it scales up
# what little there is and finds no bass in it, -48 dB. One such clip of 25 costs the
# mean two decibels; the median does not notice. So neither is *right*: the median hides
# failures, and one failure can decide the mean. Look at the points.
#
# ## What to remember
#
# - SDR counts energy that is wrong, whatever it is. Seven estimates with equal scores
#   can sound very different.
# - `usdr` punishes gain and delay; `si_sdr` forgives gain; `bss_eval_sources` forgives filters.
# - A bad estimate scores better when it is softer. Keep silence and the mixture in the
#   table.
# - A silent stem has no ratio. Leave it out, count it, and report what leaks.
# - Frames, medians, means: different questions. Never compare across definitions.
# - Three songs prove nothing. Give an interval; compare on the same songs.
# - Oracles bound masks, not separators.
#
# **What this notebook does not show.** Which of the seven sounds best: that is a
# question for listeners, not for a formula. The seven errors are made by hand; real
# models make all of them at once. The clips of real music last seven seconds: long
# silences, which spoil `csdr` in our song, are rare in them. And an interval is about
# songs *like these*.
#
# ## Exercises
#
# - Part A: `metrics.nsdr`, `metrics.si_sdr`
# - Part B: `metrics.aggregate`, `metrics.quiz`
#
# *Optional: leave out `metrics.nsdr`, `metrics.aggregate` and `metrics.quiz` on the short path.*

# %%
exercise("metrics.nsdr")


# %% tags=["exercise"]
def new_sdr(reference, estimate):
    return ...  # your code here


exercise("metrics.nsdr").check(new_sdr)

# %%
exercise("metrics.si_sdr")


# %% tags=["exercise"]
def scale_invariant(reference, estimate):
    return ...  # your code here


exercise("metrics.si_sdr").check(scale_invariant)

# %%
exercise("metrics.aggregate")


# %% tags=["exercise"]
def aggregate(tracks):
    return ...  # your code here


exercise("metrics.aggregate").check(aggregate)

# %%
exercise("metrics.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("metrics.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Find an eighth way to spoil the voice that gets good scores
# in the big table and sounds bad. Then find one that gets bad scores and that you
# cannot hear.

# %% [markdown]
# ## Sources
#
# - BSS Eval: E. Vincent, R. Gribonval and C. Févotte, "Performance measurement in blind audio
#   source separation", *IEEE TASLP* 14, 2006,
#   [doi:10.1109/TSA.2005.858005](https://doi.org/10.1109/TSA.2005.858005).
# - Version 4, frames and medians: F.-R. Stöter, A. Liutkus and N. Ito, "The 2018 signal
#   separation evaluation campaign", *LVA/ICA* 2018,
#   [arXiv:1804.06267](https://arxiv.org/abs/1804.06267).
# - Scale: J. Le Roux, S. Wisdom, H. Erdogan and J. R. Hershey, "SDR – half-baked or well
#   done?", *ICASSP* 2019, [arXiv:1811.02508](https://arxiv.org/abs/1811.02508).
# - The names uSDR (one ratio a song) and cSDR (of chunks): Y. Luo and J. Yu, "Music source separation
#   with band-split RNN", *IEEE/ACM TASLP* 31, 2023, [arXiv:2209.15174](https://arxiv.org/abs/2209.15174).
# - The score of the challenge: Y. Mitsufuji et al., "Music Demixing Challenge 2021", *Frontiers in
#   Signal Processing* 1, 2022, [arXiv:2108.13559](https://arxiv.org/abs/2108.13559).
# - Energy at silence: K. Schulze-Forster, C. Doire, G. Richard and R. Badeau, "Weakly
#   informed audio source separation", *WASPAA* 2019.
# - Multichannel Wiener filter: N. Q. K. Duong, E. Vincent and R. Gribonval,
#   "Under-determined reverberant audio source separation using a full-rank spatial
#   covariance model", *IEEE TASLP* 18, 2010,
#   [doi:10.1109/TASL.2010.2050716](https://doi.org/10.1109/TASL.2010.2050716).
# - HTDemucs: S. Rouard, F. Massa and A. Défossez, "Hybrid transformers for music source
#   separation", *ICASSP* 2023, [arXiv:2211.08553](https://arxiv.org/abs/2211.08553).
# - MUSDB18: Z. Rafii, A. Liutkus, F.-R. Stöter, S. I. Mimilakis and R. Bittner, 2017,
#   [doi:10.5281/zenodo.1117372](https://doi.org/10.5281/zenodo.1117372).
# - Bootstrap: B. Efron and R. Tibshirani, *An Introduction to the Bootstrap*, 1993.
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
