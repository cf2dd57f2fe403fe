# %% [markdown]
# # 00 · Setup and the listening loop
#
# > 本章介绍全书的学习方式：先听，再预测，然后运行代码，最后与结果对照。你将打开一首歌及其各个音轨，按原有电平播放任意片段，用相减的方法听出两段声音的差别，并学会读写 dBFS 电平。章末的练习会自动检查答案：先看提示，实在不会再看解答。全部代码只需几秒即可运行完毕，不需要 GPU，也不需要下载数据。请戴上耳机，因为后面讨论的大多是细微的差别。
#
# **Aim.** After this notebook you can
#
# - open a song and its stems, and play any part of them at its true level,
# - subtract two sounds and hear what differs,
# - read a level in dBFS, and change it on purpose,
# - work through the exercises: check, hint, solution.
#
# | | |
# |---|---|
# | Path | core, 30 minutes on the short path |
# | Before | a little Python; an hour with tensors, such as PyTorch's "Tensors" tutorial |
# | Time | 40 minutes; the code runs in under a minute on two CPU cores, no GPU needed |
# | Data | eight seconds of *Lithium* from the songs in `data/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [01 · Sound, stereo and mixing](01_sound_stereo_mixing.ipynb); on the short path [02 · The STFT and perfect reconstruction](02_stft_and_reconstruction.ipynb) |
#
# Wear headphones. Most of what follows is about small differences.

# %% [markdown]
# ## Ready?
#
# The table above stands at the top of every notebook. It says whether the notebook is core
# or optional, how long it takes, and what to read before. The short path goes through the
# whole workbook in eight and a half hours. A section with *Optional* under its heading is
# not part of it.
#
# Every notebook begins with the same two cells: the names it uses, and `setup`. It seeds
# the random numbers and sets the style of the figures. The *profile* says how much may
# be computed: `smoke` (a minute), `cpu` (five minutes) or `gpu` (fifteen). The
# environment variable `MSSEDU_PROFILE` chooses it.
#
# If a cell complains about your installation, type `mssedu doctor` in a terminal. It
# names what is wrong and the command that repairs it.

# %%
import torch

import mssedu as ms
from mssedu.course import exercise, play, setup, show_source

# %%
setup()

# %% [markdown]
# ## Listen first
#
# A song is a **track**. A track has **stems**: the parts that were recorded one by one
# and can be heard one by one. What the radio plays is their sum, the **mixture**. Music
# source separation goes the other way, from the mixture back to the stems. It is the
# subject of this workbook.

# %% tags=["nbval-check-output"]
track = ms.load_track(ms.data.demo_data() / "train" / "Lithium")
track

# %% [markdown]
# Audio is a tensor of shape `(channels, samples)`. Two channels are left and right. A
# second has 44100 samples for each.

# %% tags=["nbval-check-output"]
mixture = track.mixture(start=33, duration=8)
print("mixture:", tuple(mixture.shape))

# %%
play(mixture, track.sample_rate, "mixture")

# %% [markdown]
# **Predict.** One of the four stems is silent for most of these eight seconds. Which
# one is it, and when does it enter? Write your answer before you go on. A wrong
# prediction teaches more than none.

# %%
prediction = "?"  # "vocals", "drums", "bass" or "other"

# %% [markdown]
# Now look. Each panel is one stem, drawn on the same scale.

# %%
sources = track.sources(start=33, duration=8)
stems = dict(zip(track.stems, sources, strict=True))
ms.figures.waveform_figure(stems, track.sample_rate, start=33)

# %% tags=["nbval-check-output"]
sounding = sources.abs().amax(1) > 0.01  # (stems, samples): louder than -40 dBFS
first = sounding.int().argmax(1) / track.sample_rate
for stem, seconds in zip(track.stems, first, strict=True):
    print(f"{stem:7} first sounds after {seconds:.1f} s")

# %%
print("You said:", prediction)

# %% [markdown]
# The bass enters after 6.1 seconds. If you heard it, your ear did a separation: it
# followed one source in a mixture of four. Play the bass alone, then the mixture again.
# Once you know what to listen for, you cannot miss it.

# %%
play(stems["bass"], track.sample_rate, "bass")

# %% [markdown]
# ## The listening loop
#
# You just went once around the loop that every notebook here follows:
#
# > listen → predict → build → compare with the real one → change one thing → listen again
#
# ### A and B
#
# The usual question is: *do these two sound the same?* Here is one that is harder than
# it looks. A is the mixture. B is the mixture with one small change. Both play at once,
# and the keys 1 and 2 switch between them without a gap.

# %%
a = mixture
b = mixture - 0.3 * stems["other"]
ms.listening.ABSwitch({"A": a, "B": b}, track.sample_rate)

# %% [markdown]
# **Predict.** What changed? (You may have read it in the code. Can you also hear it?)
#
# Ears forget in seconds, measurements do not. The simplest one is **the difference**.
# Subtract B from A, sample by sample. Everything that both have in common cancels. Only
# the change is left.

# %%
difference = a - b
play(difference, track.sample_rate, "A minus B")

# %% tags=["nbval-check-output"]
print(f"peak of A:         {ms.audio.peak_db(a):6.1f} dBFS")
print(f"peak of A minus B: {ms.audio.peak_db(difference):6.1f} dBFS")
print(f"peak of A minus A: {ms.audio.peak_db(a - a):6.1f} dBFS")

# %% [markdown]
# It is the stem `other`, at 0.3 of its level. Remember this trick. The difference
# between a true stem and an estimate holds every mistake the estimate makes, and most
# scores of separation simply measure the level of that difference.

# %% [markdown]
# ## How loud is that? Peak level in dBFS
#
# The line above each player ends in a **peak level**. Samples lie between -1 and 1, the
# **full scale** (FS). The level of the largest sample $p$ is
#
# $$ L = 20 \log_{10} |p| \ \text{dBFS}. $$
#
# Full scale is 0 dBFS, everything below it is negative. Build it in one line:


# %%
def toy_peak_db(audio):
    return 20 * torch.log10(audio.abs().max()).item()


# %% [markdown]
# And here is the real one, directly from the package. `show_source` prints the code
# that runs, so what you read is what you use.

# %%
show_source("mssedu.audio.peak_db")

# %% [markdown]
# Do they agree? An `assert` says nothing if the claim holds, and stops the notebook if
# it does not.

# %%
for audio in (mixture, *sources):
    assert abs(toy_peak_db(audio) - ms.audio.peak_db(audio)) < 1e-4

# %% [markdown]
# **Change one thing.** Halve the samples. Predict first: how many decibels less?

# %% tags=["nbval-check-output"]
half = 0.5 * mixture
print(f"{ms.audio.peak_db(half) - ms.audio.peak_db(mixture):.2f} dB")

# %%
play(half, track.sample_rate, "half the amplitude")

# %% [markdown]
# Half the amplitude is -6.02 dB, at any level. It does not sound half as loud: for most
# people that takes about 10 dB.
#
# ### Full scale is a wall
#
# Twice the amplitude is +6.02 dB. But a 16-bit sound has no numbers above 0 dBFS:
# larger samples are cut off, they **clip**. The player counts them and lets you hear
# it. Turn your volume down a little first.

# %%
play(4 * mixture, track.sample_rate, "four times the amplitude")

# %% [markdown]
# Many players bring every sound to the same level before you hear it. `play` does not:
# it plays what is there. So you can compare levels by ear, but you have to watch them
# yourself.

# %% [markdown]
# ## How the exercises work
#
# An exercise is looked up by name. Write your answer into the cell below it, and run
# that cell: it ends with a check, which says ✔ passed, ✘ failed and why, ○ not attempted
# yet, or ⚠ your code raised an error. If you are stuck, ask for `exercise("…").hint(1)`,
# then `hint(2)`. Last of all comes `exercise("…").solution()`.

# %% tags=["nbval-check-output"]
exercise("setup.safe_gain").check()

# %% [markdown]
# ## What to remember
#
# - A mixture is the sum of its stems. Separation goes the other way.
# - Audio is `(channels, samples)`, between -1 and 1.
# - The difference of two sounds holds all that differs, and nothing else.
# - Half the amplitude is -6.02 dB. Above 0 dBFS samples clip.
# - Predict before you run a cell.

# %% [markdown]
# ## Exercises
#
# *Optional: leave out `setup.settings` on the short path.*

# %%
exercise("setup.settings")

# %% tags=["exercise"]
settings = {
    "sample_rate": ...,  # Hz
    "stems": ...,  # a tuple of names
    "segment": ...,  # seconds
}

exercise("setup.settings").check(settings)

# %%
exercise("setup.safe_gain")


# %% tags=["exercise"]
def safe_gain(audio):
    return ...  # your code here


exercise("setup.safe_gain").check(safe_gain)

# %% [markdown]
# Use your function on the clipped sound from above: `play(safe_gain(4 * mixture) * 4 *
# mixture, track.sample_rate)`. Does it still distort?

# %%
exercise("setup.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("setup.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Load another song from `data/`, choose eight seconds, and
# make an A and a B that a friend cannot tell apart, although their difference is not
# silent. How loud can you make the difference?

# %% [markdown]
# ## Sources
#
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
#   `data/README.md` says how the stems were made.
# - dBFS: AES17-2020, *AES standard method for digital audio engineering*. It adds 3 dB,
#   so that a full-scale sine reads 0 dBFS in root mean square; this workbook does not.
# - Ten decibels for twice the loudness: S. S. Stevens, "The measurement of loudness",
#   *J. Acoust. Soc. Am.* 27, 1955, [doi:10.1121/1.1908048](https://doi.org/10.1121/1.1908048).
