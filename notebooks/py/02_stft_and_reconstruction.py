# %% [markdown]
# # 02 · The STFT and perfect reconstruction
#
# > 大多数分离模型都工作在频谱图上。本章用十行代码写出短时傅里叶变换，再写出它的精确逆变换，并证明二者与程序库中的实现一致。你会看到窗长如何在时间分辨率与频率分辨率之间取舍，哪些窗与帧移的组合没有逆变换（COLA 与 NOLA 条件），也会听到丢掉相位之后声音变成什么样。章末用 Griffin-Lim 算法从幅度谱恢复相位，并说明它的局限。
#
# **Aim.** After this notebook you can
#
# - read a spectrogram, and say what its window length hides,
# - build a short-time Fourier transform (STFT) in ten lines, and its exact inverse,
# - choose a window and a hop, and tell when no inverse exists,
# - hear what the phase is for, and predict what happens without it.
#
# | | |
# |---|---|
# | Path | core, 45 minutes on the short path |
# | Before | 00 (the listening loop, decibels); complex numbers; 01 (mixing) helps |
# | Time | 70 minutes; the code runs in under a minute on two CPU cores, no GPU needed |
# | Data | five seconds of *Lithium* from the songs in `data/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [03 · Masks and oracles](03_masks_and_oracles.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $x_n$ | `audio` | sample $n$ of the sound |
# | $w_n$ | `window` | window, `n_fft` samples long |
# | $N$ | `n_fft` | samples in one frame |
# | $h$ | `hop_length` | samples from one frame to the next |
# | $X_{k,m}$ | `spectrogram` | complex value of bin $k$ in frame $m$ |

# %%
import torch
import torch.nn.functional as F

import mssedu as ms
from mssedu.course import claim, exercise, play, setup, show_source
from mssedu.spectral import n_frames

# %%
setup()

# %% [markdown]
# ## Listen first
#
# Two stems of one song: a drum pattern, and a singing voice that holds its notes.

# %%
track = ms.load_track(ms.data.demo_data() / "train" / "Lithium")
rate = track.sample_rate
sources = dict(zip(track.stems, track.sources(start=34, duration=5), strict=True))
drums, vocals = sources["drums"], sources["vocals"]
play(drums, rate, "drums")

# %%
play(vocals, rate, "vocals")

# %% [markdown]
# **Predict.** We will cut the sound into short pieces and measure which frequencies
# each piece contains. Which stem looks sharper with *short* pieces, and which with
# *long* ones? Write your answer before you go on.

# %%
prediction = {"drums": "?", "vocals": "?"}  # "short" or "long"

# %% [markdown]
# ## One frame
#
# Take 4096 samples out of the voice: one **frame**, 93 ms. The Fourier transform finds
# the sine waves that add up to it. But it treats the frame as one period of an endless
# sound. The cut edges do not fit together, and the jump between them appears as energy
# at all frequencies. So we fade the frame in and out first. The **window** does that.

# %%
n_fft, hop_length = 4096, 1024
window = torch.hann_window(n_fft)
frame = vocals[:, 44100 : 44100 + n_fft]
ms.figures.waveform_figure(
    {"cut out": frame, "times the window": window * frame}, rate, start=1
)

# %% [markdown]
# What does the window improve? Take a sine wave of 1000 Hz, which should give one line,
# and compare both ways.

# %%
tone = torch.sin(2 * torch.pi * 1000 * torch.arange(n_fft) / rate)
levels = {}
for name, piece in {"cut out": tone, "windowed": window * tone}.items():
    magnitude = torch.fft.rfft(piece).abs()
    levels[name] = 20 * torch.log10(magnitude / magnitude.max())
bins = torch.arange(73, 114)
ms.figures.sweep_figure(
    (bins * rate / n_fft).tolist(),
    {name: level[bins].tolist() for name, level in levels.items()},
    xlabel="Frequency (Hz)",
    ylabel="Level (dB re loudest)",
)

# %% tags=["nbval-check-output"]
for name, level in levels.items():
    print(f"{name:9} leaks {level[113].item():.0f} dB into a bin 217 Hz away")

# %% [markdown]
# Without the window a quiet stem can be hidden by the leakage of a loud one, at a
# frequency where the loud stem has nothing at all. The price of the window is a wider
# line: look at the bins next to 1000 Hz.
#
# ## Build it: the STFT in ten lines
#
# Now slide the frame along the sound, by `hop_length` samples each time:
#
# $$ X_{k,m} = \sum_{n=0}^{N-1} w_n \, x_{n + m h - N/2} \, e^{-2\pi i k n / N}. $$
#
# The $-N/2$ centers frame $m$ on sample $mh$. Beyond both ends of the sound lie zeros.


# %%
def toy_stft(audio, n_fft, hop_length):
    window = torch.hann_window(n_fft)
    padded = F.pad(audio, (n_fft // 2, n_fft // 2))
    columns = []
    for first in range(0, padded.shape[-1] - n_fft + 1, hop_length):
        frame = window * padded[..., first : first + n_fft]
        columns.append(torch.fft.rfft(frame))
    return torch.stack(columns, dim=-1)


# %% [markdown]
# The real one does the same for any number of channels, checks what it is given, and
# takes care of the last samples.

# %%
show_source("mssedu.spectral.stft")

# %% [markdown]
# Do they agree, in every bin and frame?

# %% tags=["nbval-check-output"]
spectrogram = ms.spectral.stft(drums, n_fft, hop_length)
assert torch.allclose(toy_stft(drums, n_fft, hop_length), spectrogram, atol=1e-4)
print("shape:", tuple(spectrogram.shape), "= (channels, bins, frames)")
print("bins:", n_fft // 2 + 1, "from 0 Hz to", rate / 2, "Hz")
print("frames:", n_frames(drums.shape[-1], n_fft, hop_length))

# %% [markdown]
# Bin $k$ stands for the frequency $k \cdot$ `sample_rate` / `n_fft`, frame $m$ for the
# time $m \cdot$ `hop_length` / `sample_rate`. The picture of $|X|^2$ in decibels is also
# called a spectrogram.

# %%
ms.figures.spectrogram_figure({"drums": drums, "vocals": vocals}, rate)

# %% [markdown]
# Drums are vertical: short, and spread over all frequencies. The voice is horizontal: a
# note is a stack of lines, the fundamental and its overtones, and it lasts. Separators
# use this difference.
#
# ## Time against frequency
#
# A window of $N$ samples averages over $N$ / `sample_rate` seconds. It can distinguish
# two frequencies that differ by about `sample_rate` / $N$. One is the inverse of the
# other, so you cannot have both.

# %% tags=["nbval-check-output"]
for size in (256, 1024, 4096, 16384):
    print(f"n_fft {size:5}: {1000 * size / rate:6.1f} ms, {rate / size:6.1f} Hz")

# %% [markdown]
# **Change one thing**: the window length, 6 ms or 370 ms. The hop stays a quarter of it.

# %%
both = {"drums": drums, "vocals": vocals}
look = {"columns": 2, "range_db": 60}
ms.figures.spectrogram_figure(
    both, rate, n_fft=256, hop_length=64, max_hz=10000, **look
)

# %%
ms.figures.spectrogram_figure(
    both, rate, n_fft=16384, hop_length=4096, max_hz=10000, **look
)

# %% [markdown]
# With short windows each drum hit has a sharp left edge, and the overtones of the voice
# merge into one cloud. With long windows the voice is a set of fine lines, and the drum
# hits are blurred in time.
#
# Can we measure "sharp"? Count the bins that are needed to hold 95 % of the energy. The
# fewer, the sharper the picture, and the easier it is to take apart.


# %%
def bins_needed(audio, n_fft):
    power = ms.spectral.stft(audio, n_fft, n_fft // 4).abs().square().flatten()
    power = power.sort(descending=True).values
    held = power.double().cumsum(0) / power.double().sum()
    return 100 * (held < 0.95).double().mean().item()


# %%
sizes = [256, 512, 1024, 2048, 4096, 8192, 16384]
stems = ("vocals", "drums", "other")  # the bass is silent here
needed = {s: [bins_needed(sources[s], size) for size in sizes] for s in stems}
ms.figures.sweep_figure(
    sizes,
    needed,
    xlabel="n_fft (samples)",
    ylabel="Bins for 95 % of the energy (%)",
    scale="log2",
    mark="lowest",
)

# %% tags=["nbval-check-output"]
for stem, line in needed.items():
    best = min(line)
    size = sizes[line.index(best)]
    print(f"{stem:6}: sharpest at n_fft {size}, where {best:.1f} % of the bins suffice")
print("You said:", prediction)

# %% [markdown]
# The drums are sharpest at 512 samples (12 ms), the voice at 4096 (93 ms). No window is
# right for both. Keep the other number in mind too: **two percent of the bins hold 95
# percent of the voice**. A picture that is almost empty can be cut into stems. The next
# notebook does that.
#
# ## And back: overlap-add
#
# Each frame can be turned back by the inverse Fourier transform. Where frames overlap,
# they are added. What is the weight of a sample then? It is the sum of all windows at
# this sample. Here is the sum of Hann windows of 1024 samples, for four hops.


# %%
def window_sum(window, hop_length, n_frames=12):
    total = torch.zeros((n_frames - 1) * hop_length + len(window))
    for first in range(0, n_frames * hop_length, hop_length):
        total[first : first + len(window)] += window
    middle = (len(total) - 1500) // 2
    return total[None, middle : middle + 1500]


# %%
hann = torch.hann_window(1024)
hops = (256, 512, 700, 1024)
sums = {f"hop {hop}": window_sum(hann, hop) for hop in hops}
ms.figures.waveform_figure(sums, rate)

# %% tags=["nbval-check-output"]
for hop in hops:
    total = window_sum(hann, hop)
    least, most = total.min().item(), total.max().item()
    print(f"hop {hop:4}: the sum is from {least:.2f} to {most:.2f}")

# %% [markdown]
# Two conditions have names.
#
# - **Constant overlap-add (COLA)**: the sum is constant. Then adding up the frames is
#   enough, up to this constant. Hops of 256 and 512 satisfy it.
# - **Nonzero overlap-add (NOLA)**: the sum is nowhere zero. Then we can divide by it. A
#   hop of 700 satisfies it, too. A hop of 1024 does not: where two windows meet, the
#   sound was multiplied by zero. That part of the sound is lost.
#
# The inverse windows each frame a second time, so that errors at its edges are faded
# out, and divides by the sum of the *squared* windows:
#
# $$ x_n = \frac{\sum_m w_j \, y_{j,m}}{\sum_m w_j^2} , \qquad j = n - mh + N/2, $$
#
# where $y_{\cdot,m}$ is the inverse transform of frame $m$, and $j$ is the place of
# sample $n$ in this frame, which begins at sample $mh - N/2$. Outside the frame $w_j = 0$.


# %%
def toy_istft(spectrogram, hop_length, length):
    frames = torch.fft.irfft(spectrogram, dim=-2)  # (channels, n_fft, frames)
    n_fft = frames.shape[-2]
    window = torch.hann_window(n_fft)
    total = torch.zeros(len(frames), length + 2 * n_fft)
    weight = torch.zeros(length + 2 * n_fft)
    for m in range(frames.shape[-1]):
        here = slice(m * hop_length, m * hop_length + n_fft)
        total[:, here] += window * frames[..., m]
        weight[here] += window**2
    inside = slice(n_fft // 2, n_fft // 2 + length)
    return total[:, inside] / weight[inside]


# %%
show_source("mssedu.spectral.istft")

# %% tags=["nbval-check-output"]
length = drums.shape[-1]
back = ms.spectral.istft(spectrogram, hop_length, length=length)
assert torch.allclose(toy_istft(spectrogram, hop_length, length), back, atol=1e-5)
print(claim("largest error", (back - drums).abs().max(), below=1e-6, digits=8))

# %% [markdown]
# Nothing was lost: the difference is the rounding of 32-bit numbers. Does that depend
# on the window and the hop? Try sixteen pairs.

# %% tags=["nbval-check-output"]
fractions = {"1/8": 8, "1/4": 4, "1/2": 2, "1": 1}
print("hop / n_fft" + "".join(f"{name:>9}" for name in fractions))
for size in (256, 1024, 4096, 16384):
    row = []
    for fraction in fractions.values():
        hop = size // fraction
        try:
            again = ms.spectral.istft(
                ms.spectral.stft(drums, size, hop), hop, length=length
            )
            row.append("exact" if (again - drums).abs().max() < 1e-6 else "inexact")
        except ms.errors.InputError:
            row.append("refused")
    print(f"n_fft {size:5}" + "".join(f"{cell:>9}" for cell in row))

# %% [markdown]
# All pairs with overlap are exact. Without overlap there is no inverse, and the library
# says so instead of returning something:

# %% tags=["nbval-check-output"]
try:
    ms.spectral.istft(ms.spectral.stft(drums, 1024, 1024), 1024, length=length)
except ms.errors.InputError as error:
    print(error)

# %% [markdown]
# > **What to notice.** The STFT loses nothing, whatever the length of the window, as long as
# > neighboring windows overlap so that each sample is under one. The window length
# > does not decide *what* is kept, but how it is arranged: which sounds share a bin and
# > which do not.
#
# If half a window of overlap is enough, why is three quarters usual? Because we will
# not invert the STFT as it was. We will *change* the spectrogram, and neighboring
# frames then disagree. With more overlap their errors average out.
#
# ## What the phase is for
#
# A complex number has a magnitude and an angle, the **phase**. All pictures so far
# showed magnitudes only. Is the phase needed?
#
# **Predict.** We keep every magnitude of the drums and of the voice, and choose all
# phases at random. What will be left of the hits, and of the words?

# %%
prediction_phase = "?"  # a few words


# %%
def with_phase(audio, phase, n_fft=4096):
    magnitude = ms.spectral.stft(audio, n_fft, n_fft // 4).abs()
    if phase == "random":
        generator = torch.Generator().manual_seed(0)
        angle = 2 * torch.pi * torch.rand(magnitude.shape, generator=generator)
    else:  # "aligned": all sines of a frame peak in its middle
        turns = torch.arange(magnitude.shape[-2]) / 2
        angle = (2 * torch.pi * turns)[:, None].expand_as(magnitude)
    changed = torch.polar(magnitude, angle)
    return ms.spectral.istft(changed, n_fft // 4, length=audio.shape[-1])


# %%
ms.listening.ABSwitch(
    {"drums": drums, "drums, random phase": with_phase(drums, "random")}, rate
)

# %%
ms.listening.ABSwitch(
    {"vocals": vocals, "vocals, random phase": with_phase(vocals, "random")}, rate
)

# %% [markdown]
# You still recognize both: pitch, timbre and rough rhythm are in the magnitudes. But
# the edges are gone. Hits and syllables begin softly and run into each other.
#
# Why the edges? Look at a click, the shortest sound there is.

# %% tags=["nbval-check-output"]
early, late = torch.zeros(2, 64)
early[10] = late[30] = 1.0
early, late = torch.fft.rfft(early), torch.fft.rfft(late)
apart = (early.abs() - late.abs()).abs().max()
print(claim("magnitudes, largest difference", apart, below=1e-5, digits=7))
turn = (late / early).angle()[1].item() / (2 * torch.pi)
print(f"turn from one bin to the next: {turn:.4f} of a circle")
print(f"times 64 samples: {turn * 64:.0f} samples")

# %% [markdown]
# Two clicks, twenty samples apart, have *the same* magnitudes. Only the phase shows
# when the click was: a delay of $d$ samples turns bin $k$ by $-2\pi k d / N$. Inside a
# frame, **time is in the phase**. Between frames, time is in the frame's number.
#
# So random phases should hurt more, the longer the frames are. Measure it: compare how
# loud the sound is in each hundredth of a second, before and after.


# %%
def loudness_course(audio):
    pieces = audio.mean(0).unfold(0, 441, 441)  # 10 ms each
    return pieces.square().mean(1).sqrt()


def course_kept(audio, n_fft):
    changed = with_phase(audio, "random", n_fft)
    courses = torch.stack([loudness_course(audio), loudness_course(changed)])
    return torch.corrcoef(courses)[0, 1].item()


# %%
kept = {
    s: [course_kept(sources[s], size) for size in sizes] for s in ("vocals", "drums")
}
ms.figures.sweep_figure(
    sizes,
    kept,
    xlabel="n_fft (samples)",
    ylabel="Correlation of loudness over time",
    scale="log2",
)

# %% tags=["nbval-check-output"]
for stem, line in kept.items():
    ends = {sizes[i]: round(line[i], 2) for i in (0, -1)}
    print(f"{stem:6}: correlation by n_fft {ends}")

# %% [markdown]
# With frames of 6 ms the loudness over time stays nearly the same, a correlation of
# 0.96 for both. With frames of 370 ms the correlation is 0.73 for the voice and 0.51
# for the drums. **Change one thing** and hear it: the window.

# %%
play(with_phase(drums, "random", n_fft=256), rate, "drums, random phase, n_fft 256")

# %%
play(with_phase(drums, "random", n_fft=16384), rate, "drums, random phase, n_fft 16384")

# %% [markdown]
# And the opposite of random? Turn every bin by half a circle more than the one before:
# a delay of $N/2$. Then all sines peak in the middle of their frame, and the sound
# becomes a row of pulses, one for each hop, 43 a second. You may know this robot voice
# from films.

# %%
play(with_phase(vocals, "aligned"), rate, "vocals, aligned phase")

# %% [markdown]
# ### Can the phase be guessed?
#
# *Optional: leave out on the short path.*
#
# Overlapping frames contain the same samples. So the phases of neighboring frames
# usually contradict each other: the STFT of what they give is not what we started from.
# Griffin and Lim turned this into a method. Go to the sound and back, keep the new
# phases, put the old magnitudes in again, repeat.


# %%
def griffin_lim(magnitude, hop_length, length, n_steps):
    generator = torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * torch.rand(magnitude.shape, generator=generator)
    phase = torch.polar(torch.ones_like(magnitude), angle)
    for _ in range(n_steps):
        audio = ms.spectral.istft(magnitude * phase, hop_length, length=length)
        phase = ms.spectral.stft(audio, 2 * (magnitude.shape[-2] - 1), hop_length).sgn()
    return ms.spectral.istft(magnitude * phase, hop_length, length=length)


# %% tags=["nbval-check-output"]
magnitude = spectrogram.abs()
guesses = {n: griffin_lim(magnitude, hop_length, length, n) for n in (0, 1, 16)}
for n_steps, guess in guesses.items():
    wrong = (ms.spectral.stft(guess).abs() - magnitude).norm() / magnitude.norm()
    score = ms.metrics.usdr(reference=drums, estimate=guess)
    print(
        f"{n_steps:2} steps: magnitudes off by {100 * wrong:.0f} %, usdr {score:.1f} dB"
    )

# %%
play(guesses[16], rate, "drums, phase guessed in 16 steps")

# %% [markdown]
# The magnitudes now fit much better, and the hits get their edges back. But look at the
# last column. `usdr` compares sample by sample (0 dB is what silence scores, and
# notebook 04 tells the rest). It *fell* although the sound got better, because the
# guessed phases give another waveform that sounds similar. Remember this when you read
# a table of scores.
#
# ## What to remember
#
# - A frame is windowed, then transformed. Bin $k$ is $k \cdot$ `sample_rate` / `n_fft`
#   Hz; frame $m$ is centered on sample $m \cdot$ `hop_length`.
# - Short windows are sharp in time, long ones in frequency. Drums are sharpest with 512
#   samples, this voice with 4096.
# - Music fills few bins: two percent hold 95 % of this voice.
# - Overlap-add is exact as long as no sample lies under zero weight.
# - Inside a frame, time is in the phase. Without the phase, edges disappear.
#
# **What this notebook does not show.** It looks at one song, for five seconds. Other
# voices and other drums have other sharpest windows. And sharpness is not yet
# separation: notebook 03 measures that.
#
# ## Exercises
#
# *Optional: leave out `stft.frame_count` and `stft.breaking_hop` on the short path.*

# %%
exercise("stft.frame_count")


# %% tags=["exercise"]
def frame_count(n_samples, n_fft, hop_length, centered):
    return ...  # your code here


exercise("stft.frame_count").check(frame_count)

# %%
exercise("stft.overlap_add")


# %% tags=["exercise"]
def overlap_add(frames, window, hop_length, length):
    return ...  # your code here


exercise("stft.overlap_add").check(overlap_add)

# %%
exercise("stft.breaking_hop")


# %% tags=["exercise"]
def breaking_hop(window, tolerance):
    return ...  # your code here


exercise("stft.breaking_hop").check(breaking_hop)

# %%
exercise("stft.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("stft.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Give the drums the phases of the voice, and the voice those of
# the drums. Which do you recognize, the magnitudes or the phases? Does the answer change
# with the window length?

# %% [markdown]
# ## Sources
#
# - J. B. Allen and L. R. Rabiner, "A unified approach to short-time Fourier analysis and
#   synthesis", *Proc. IEEE* 65, 1977,
#   [doi:10.1109/PROC.1977.10770](https://doi.org/10.1109/PROC.1977.10770).
# - F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier
#   transform", *Proc. IEEE* 66, 1978,
#   [doi:10.1109/PROC.1978.10837](https://doi.org/10.1109/PROC.1978.10837).
# - D. W. Griffin and J. S. Lim, "Signal estimation from modified short-time Fourier
#   transform", *IEEE Trans. ASSP* 32, 1984,
#   [doi:10.1109/TASSP.1984.1164317](https://doi.org/10.1109/TASSP.1984.1164317).
# - A. V. Oppenheim and J. S. Lim, "The importance of phase in signals", *Proc. IEEE* 69,
#   1981, [doi:10.1109/PROC.1981.12022](https://doi.org/10.1109/PROC.1981.12022).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
