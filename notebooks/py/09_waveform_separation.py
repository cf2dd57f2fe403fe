# %% [markdown]
# # 09 · Waveform separation: Demucs
#
# > 不经过频谱图，也可以直接从波形分离。本章写出带步长的卷积与转置卷积，并在其中找到短时傅里叶变换的影子。你将计算声音要多长才能完整通过网络，训练一个小型 Demucs，把它的得分与静音、混音的得分放在一起比较。接着做一个出人意料的实验：输入只移动一个样本，输出会变多少？用多次平移取平均可以减小这种误差。最后说明模型为什么希望输入的电平保持一致。
#
# **Aim.** After this notebook you can
#
# - build strided and transposed convolutions, and show that the STFT is one of them,
# - say how long a sound must be to pass through a network, and why,
# - train a small Demucs, and read its scores beside silence and the mixture,
# - measure what happens when the input moves by one sample, and average it away,
# - show why a model wants its input at one level.
#
# | | |
# |---|---|
# | Path | optional, not on the short path; on the GPU path |
# | Before | 02 (overlap-add), 06 (U-Net, skips), 07 (gates), 08 (LSTM) |
# | Time | 70 minutes; the code runs in one to four minutes on two CPU cores, no GPU needed |
# | Data | the songs in `data/`: four to learn from, *Francium* and *Sodium* to be tested |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [10 · Hybrid: spectrogram and waveform together](10_hybrid_demucs.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $x_t$ | `mixture` | sample $t$ of the mixture |
# | $K$ | `kernel_size` | samples under a kernel |
# | $S$ | `stride` | samples from one frame to the next |
# | $n$ | `shift` | samples by which the music is moved |
# | $f$ | `model` | mixture in, stems out |

# %%
import math
import tempfile

import torch
import torch.nn.functional as F

import mssedu as ms
from mssedu.course import claim, exercise, play, reveal, setup, show_source

# %%
session = setup()
session

# %% [markdown]
# ## Listen first
#
# A few seconds of a song. And the same again, *one sample later*: a delay of 91
# millionths of a second. (So that a model can learn while you wait, this notebook works
# at a quarter of the usual sample rate. It sounds dull; the ideas are the same.)

# %%
rate = 44100 if session.profile == "gpu" else 11025  # Hz


def at_rate(track):
    sources = zip(track.stems, track.sources(), strict=True)
    moved = {
        stem: ms.audio.resample(audio, track.sample_rate, rate)
        for stem, audio in sources
    }
    return ms.data.Track.from_audio(track.name, moved, rate, split=track.split)


songs = {track.name: at_rate(track) for track in ms.load_dataset(ms.data.demo_data())}
song = songs["Francium"].mixture()
play(song[:, 24 * rate : 30 * rate], rate, "mixture")

# %%
play(song[:, 24 * rate - 1 : 30 * rate - 1], rate, "mixture, one sample later")

# %% [markdown]
# Nobody hears a difference. But a model gets numbers, and these have all changed.
#
# **Predict.** We give a separator the music one sample later. Will it return the same
# drums, one sample later? If not: how far below the drums does the difference lie?

# %%
prediction = "?"  # dB, or "no difference"

# %% [markdown]
# ## Build it: a convolution that takes steps
#
# All models so far looked at spectrograms. This one looks at samples. Its first layer
# lays a short kernel on the waveform, multiplies, adds up, moves on by a **stride** of
# $S$ samples, and does it again:
#
# $$ y_m = \sum_{k=0}^{K-1} w_k \, x_{k + m S} . $$


# %%
def toy_convolution(x, kernel, stride):
    n_frames = (len(x) - len(kernel)) // stride + 1
    frames = [x[m * stride : m * stride + len(kernel)] for m in range(n_frames)]
    return torch.stack([(kernel * frame).sum() for frame in frames])


# %% tags=["nbval-check-output"]
x, kernel = torch.randn(100), torch.randn(8)
toy = toy_convolution(x, kernel, stride=4)
real = F.conv1d(x[None], kernel[None, None], stride=4)[0]
assert torch.allclose(toy, real, atol=1e-5)
print(f"{len(x)} samples in, {len(toy)} frames out")

# %% [markdown]
# You know this from notebook 02. It also multiplies frames by something, every few
# samples: take a windowed cosine and a windowed sine for each frequency as kernels, and
# you have the STFT. In Demucs the kernels are learned instead. And nothing is thrown
# away first, neither phase nor high bins.

# %% tags=["nbval-check-output"]
n_fft, hop_length = 256, 64
turns = torch.arange(n_fft // 2 + 1)[:, None] * torch.arange(n_fft) / n_fft
angle = 2 * torch.pi * turns
waves = torch.cat([torch.cos(angle), -torch.sin(angle)]) * torch.hann_window(n_fft)
mono = song[:1, 24 * rate : 25 * rate]
padded = F.pad(mono, (n_fft // 2, n_fft // 2))
real_part, imaginary_part = F.conv1d(padded, waves[:, None], stride=hop_length).chunk(2)
spectrogram = ms.spectral.stft(mono, n_fft, hop_length)[0, :, : real_part.shape[-1]]
assert torch.allclose(torch.complex(real_part, imaginary_part), spectrogram, atol=1e-3)
print("an STFT is a strided convolution with", len(waves), "kernels")

# %% [markdown]
# ### And back: the transposed convolution
#
# Each frame number is multiplied by a kernel, and the kernels are laid down $S$ samples
# apart and added up. That is overlap-add, with learned pieces.


# %%
def toy_transposed(frames, kernel, stride):
    total = torch.zeros((len(frames) - 1) * stride + len(kernel))
    for m, value in enumerate(frames):
        total[m * stride : m * stride + len(kernel)] += value * kernel
    return total


# %% tags=["nbval-check-output"]
back = toy_transposed(real, kernel, stride=4)
real_back = F.conv_transpose1d(real[None], kernel[None, None], stride=4)[0]
assert torch.allclose(back, real_back, atol=1e-5)
print(f"{len(real)} frames in, {len(back)} samples out; there were {len(x)}")

# %% [markdown]
# The length came back, not the sound: "transposed" is not "inverse". The network has to
# learn kernels that fit.
#
# ## How long is valid?
#
# It came back because 24 frames cover all of the 100 samples. With 102, the last two would
# lie under no kernel. And Demucs does this six times in a row! A length is **valid** if no
# level leaves samples over. To find the next valid one, compute the lengths level by
# level on the way down, rounding up, and then on the way up.


# %%
def toy_valid_length(samples, depth, kernel_size=8, stride=4, context=3):
    for _ in range(depth):
        frames = math.ceil((samples - kernel_size) / stride) + 1
        samples = max(frames, 1) + context - 1  # the decoder's context loses these
    for _ in range(depth):
        samples = (samples - 1) * stride + kernel_size
    return samples


# %%
show_source("mssedu.models.demucs.valid_length")

# %% tags=["nbval-check-output"]
plain = ms.models.DemucsConfig(resample=False)
for samples in (1, 100, 44_100, 441_000, 441_001):
    assert toy_valid_length(samples, plain.depth) == ms.models.demucs.valid_length(
        plain, samples
    )
print(
    "10 s at 44100 Hz:",
    ms.models.demucs.valid_length(ms.models.DemucsConfig(), 441_000),
    "samples",
)
print(
    "what the decoder needs for one sample:",
    ms.models.demucs.valid_length(ms.models.DemucsConfig(), 1),
)

# %% [markdown]
# Demucs pads its input with zeros at both ends to a valid length, and keeps the middle
# of its result. The second number is a warning: ask for a single sample, and you still
# pay for thousands.
#
# ## The model
#
# Demucs is a U-Net (notebook 06) on samples: strided convolutions down, transposed ones
# up, skips between them, gates on each level (07), an LSTM at the bottom (08). Before the
# first level it doubles the sample rate, so that the kernels see the wave in more detail.

# %%
show_source("mssedu.models.demucs.Demucs.forward")

# %% [markdown]
# Leave out what is for special cases (doubling, levels, silence), and eight lines remain:


# %%
def toy_demucs(model, mixture):
    x = ms.models.demucs.center_pad(
        mixture, ms.models.demucs.valid_length(model.config, mixture.shape[-1])
    )
    skips = []
    for encode in model.encoder:
        x = encode(x)
        skips.append(x)
    x = model.lstm(x)
    for decode in model.decoder:
        x = decode(x + ms.models.demucs.center_trim(skips.pop(), x.shape[-1]))
    return ms.models.demucs.center_trim(x, mixture.shape[-1]).unflatten(
        1, (-1, mixture.shape[1])
    )


# %% tags=["nbval-check-output"]
small = ms.create_model("demucs", "tiny", resample=False)
noise = torch.randn(1, 2, 20_000)
with torch.no_grad():
    assert torch.allclose(toy_demucs(small, noise), small(noise), atol=1e-5)
print("mixture", tuple(noise.shape), "-> estimate", tuple(small(noise).shape))

# %% [markdown]
# ## Train it
#
# The tiny Demucs, at our small rate, on four songs: 300 steps of four times two
# seconds. The stems of an example come from different songs and places, at random
# loudness. It brings each mixture to one level first, `normalize=True`; you will see
# why.

# %%
steps = {"smoke": 10, "cpu": 300, "gpu": 3000}[session.profile]
full = session.profile == "gpu"
torch.manual_seed(session.seed)
model = ms.create_model(
    "demucs",
    "paper" if full else "tiny",
    sample_rate=rate,
    normalize=True,
    segment=10.0,
)
config = ms.training.TrainConfig(
    model="demucs",
    preset="paper" if full else "tiny",
    steps=steps,
    batch_size=8 if full else 4,
    segment=5.0 if full else 2.0,
    loss="thresholded_snr",
    learning_rate=3e-4 if full else 3e-3,
    schedule="cosine",
    level_db=-25.0,
    gain_db=(-8.0, 8.0),
    silence=0.1,
    valid_every=steps,
    seed=session.seed,
    device=session.device,
)
losses = []


def note(step, steps, loss, score):
    losses.append(loss)
    if step % max(steps // 6, 1) == 0:
        recent = losses[-max(steps // 6, 1) :]
        print(f"step {step} of {steps}: loss {sum(recent) / len(recent):.2f} dB")


train_songs = [track for track in songs.values() if track.split == "train"]
with tempfile.TemporaryDirectory() as folder:
    ms.fit(model, train_songs, None, config, folder, progress=note)
model.cpu().eval()
stems = model.config.stems

# %%
smooth = torch.tensor(losses).unfold(0, min(20, steps), 1).mean(1)
ms.figures.curves_figure(
    {"loss": smooth}, xlabel="Step", ylabel="Loss, mean of 20 steps (dB)"
)

# %% [markdown]
# The two songs that are new to it, in full:


# %%
@torch.no_grad()
def estimate_of(mixture):
    return model(mixture[None])[0]


rows = {}
for name in ("Francium", "Sodium"):
    sources, mixture = songs[name].sources(), songs[name].mixture()
    for row, estimate in (
        (f"{name}, mixture", mixture.expand_as(sources)),
        (f"{name}, model", estimate_of(mixture)),
    ):
        scores = ms.metrics.usdr(reference=sources, estimate=estimate)
        rows[row] = dict(zip(stems, scores.tolist(), strict=True))
ms.figures.scores_figure(rows)

# %% tags=["nbval-check-output"]
for name in ("Francium", "Sodium"):
    scores = rows[f"{name}, model"]
    before = rows[f"{name}, mixture"]
    print(
        f"{name}: better than silence on", sum(dB > 0 for dB in scores.values()), end=""
    )
    better = sum(scores[stem] > before[stem] for stem in stems)
    print(" stems of 4, better than the mixture on", better)

# %% [markdown]
# Better than doing nothing, on all stems of both songs. One cannot expect more from a
# minute of training. The published model was trained on 86 songs for 180 epochs, and
# one epoch uses each second about 20 times, as an excerpt of ten seconds begins at
# every second, and each is used twice. Hear the drums.

# %%
first, length = 24 * rate, 6 * rate
truth = songs["Francium"].sources()[:, :, first : first + length]
by_model = estimate_of(song)[1][:, first : first + length]
ms.listening.ABSwitch({"drums by the model": by_model, "drums, true": truth[1]}, rate)

# %% [markdown]
# ## One sample later
#
# If moving the input by $n$ samples moves the output by $n$ samples, and changes nothing
# else, the model is **shift equivariant**: $f(x_{t-n}) = f(x)_{t-n}$. A convolution with
# stride 1 is. With stride 4 the frames start elsewhere: the kernels see other samples, and
# only after a whole stride they see the same ones again.
#
# So cut out six seconds, and again with the music moved by $n$ samples in the window. Take
# the drums, move them back, compare.

# %%
edge = rate  # the ends of the window see other music: leave them out


def moved(shift):
    """Drums of the same four seconds, heard `shift` samples later."""
    window = song[:, first - shift : first - shift + length]
    return estimate_of(window)[1, :, edge + shift : length - edge + shift]


def agreement(one, other):  # dB
    return ms.metrics.usdr(reference=one, estimate=other).item()


start = moved(0)
shifts = [2**power for power in range(11)]
agreements = [agreement(start, moved(shift)) for shift in shifts]
ms.figures.sweep_figure(
    shifts,
    {"moved against not": agreements},
    xlabel="Shift (samples)",
    ylabel="Agreement, usdr (dB)",
    scale="log2",
)

# %% tags=["nbval-check-output"]
by_shift = dict(zip(shifts, agreements, strict=True))
one, more = by_shift[1], agreement(start, moved(511)) - by_shift[1]
print("The estimates differ, and the difference lies below them")
print(claim("after one sample by", one, above=10, below=30, unit="dB"))
print(claim("after 64 samples: louder by", one - by_shift[64], above=3, unit="dB"))
print(claim("after 512: softer by", by_shift[512] - one, above=10, unit="dB"))
print(claim("after 511: softer by", more, below=5, unit="dB"))
print("one sample later:", reveal(prediction, one, "dB"))

# %% [markdown]
# Each level has stride 4, on a doubled rate. So the first level finds its grid again
# after 2 samples, the second after 8, then 32, 128, 512. The figure shows which of them
# matter here: the curve falls up to 64, halfway between two places of the fourth grid,
# and jumps where that grid fits again, at 128. At 512 all five fit. The rest, which
# never goes away, has other causes: zeros at the ends, the level of the window, the
# LSTM that reaches all of it.
#
# Hear the difference of two estimates of the *same* music, one sample apart, as loud as it
# is.

# %%
play(moved(1) - start, rate, "drums: difference after one sample")

# %% [markdown]
# > **What to notice.** The estimate of a drum depends on the place of the drum in a
# > grid of 512 samples. The music has no such grid. So this part of the estimate is
# > certainly an error.
#
# ## The shift trick
#
# Error that depends on the shift can be averaged away: separate at several random shifts,
# move all results back, take the mean. Demucs calls it `shifts`.
#
# **Predict.** How much better will the score get with 16 shifts?

# %%
prediction_average = "?"  # dB

# %%
period = model.config.stride**model.config.depth // 2  # one whole grid: 512
generator = torch.Generator().manual_seed(session.seed)
drawn = torch.randint(period, (2, 16), generator=generator).tolist()
one, other = (torch.stack([moved(shift) for shift in row]) for row in drawn)
reference = truth[1, :, edge : length - edge]
counts = [1, 2, 4, 8, 16]
means = [one[:count].mean(0) for count in counts]
agree = [
    agreement(mean, other[:count].mean(0))
    for mean, count in zip(means, counts, strict=True)
]
ms.figures.sweep_figure(
    counts,
    {"two averages against each other": agree},
    xlabel="Shifts averaged",
    ylabel="Agreement, usdr (dB)",
    scale="log2",
)

# %% tags=["nbval-check-output"]
single = ms.metrics.usdr(reference=reference.expand_as(one), estimate=one).mean().item()
averaged = ms.metrics.usdr(reference=reference, estimate=means[-1]).mean().item()
print("means of 16 shifts")
print(
    claim("agree better than single ones by", agree[-1] - agree[0], above=6, unit="dB")
)
gain = averaged - single
print(claim("score better by", gain, above=0, below=0.5, unit="dB", digits=2))
print(reveal(prediction_average, gain, "dB"))

# %% [markdown]
# Two things are true at once. The part of the error that depends on the grid falls with
# the number of shifts, as independent errors do: by 3 dB with each doubling, so by 12 dB
# for 16 shifts. (The curve may rise by more or by less, since each of its points comes from
# a single random draw.) And the score hardly rises, because most of the error is *not* of
# this kind. The model mistakes a bass for a drum at any shift.
#
# What one shift costs is clear: one more separation. With 16 of them, 16 times the time.
# Whether so small a gain is worth it depends on what you do with the stems; in a table of
# scores, always say how many shifts there were.
#
# ## At what level?
#
# We told the model to bring every mixture to mean 0 and deviation 1, and to undo it on the
# estimates. **Change one thing**: the same weights without that, fed with the same music,
# louder and softer.

# %%
bare = ms.create_model(
    "demucs",
    "paper" if full else "tiny",
    sample_rate=rate,
    normalize=False,
)
bare.load_state_dict(model.state_dict())
bare.eval()


@torch.no_grad()
def toy_normalized(mixture):
    padded = ms.models.demucs.center_pad(
        mixture, ms.models.demucs.valid_length(bare.config, mixture.shape[-1])
    )
    level = padded.mean(0).std() + 1e-5  # of the mono mixture
    return level * bare((mixture / level)[None])[0]


window = song[:, first : first + length]
difference = (toy_normalized(window) - estimate_of(window)).abs().max()
assert difference < 1e-3

# %%
gains_db = [-40, -30, -20, -10, 0, 10, 20, 30, 40]
lines = {"normalized": [], "as it comes": []}
with torch.no_grad():
    for gain_db in gains_db:
        gain = 10 ** (gain_db / 20)
        for line, separator in (("normalized", model), ("as it comes", bare)):
            estimate = separator(gain * window[None])[0] / gain
            score = ms.metrics.usdr(reference=truth[1], estimate=estimate[1])
            lines[line].append(score.item())
ms.figures.sweep_figure(
    gains_db,
    lines,
    xlabel="Gain of the mixture (dB)",
    ylabel="usdr of the drums (dB)",
)

# %% tags=["nbval-check-output"]
flat = max(lines["normalized"]) - min(lines["normalized"])
print(claim("normalized: range over all levels", flat, below=0.1, unit="dB", digits=3))
bare_db = lines["as it comes"]
spread = max(bare_db) - min(bare_db)
print(claim("as it comes: range", spread, above=6, unit="dB"))
print(claim("40 dB softer; silence has 0", bare_db[0], below=0, unit="dB"))

# %% [markdown]
# A drum is a drum at any loudness. But a network with biases and gates works best at
# the levels that it was trained with. Far below them, its biases dominate. Far above
# them, nobody can predict the result: here, on this excerpt, louder is even better.
# That is luck; do not rely on it. Either show a model many levels in training, or bring
# all music to one level, as the published Demucs does, v2 like its successors.
#
# ## What it looks like

# %%
ms.figures.spectrogram_figure(
    {
        "mixture": window,
        "drums by the model": estimate_of(window)[1],
        "drums, true": truth[1],
    },
    rate,
    n_fft=1024,
    hop_length=256,
    range_db=60,
)

# %% [markdown]
# ## Three waveform models
#
# Demucs has two relatives in this package. **Wave-U-Net** (2018) is older: it halves the rate
# twelve times by leaving out every other sample, has no gates and no LSTM.
# **Conv-TasNet** (2019) came from speech: one short strided convolution, a mask on its
# frames, one transposed convolution; in between, dilated convolutions and norms over the
# whole segment.
#
# How much of its input does each use? Make one input sample NaN, and see which output
# samples become NaN (`mssedu.inspect.receptive_field` does so). Parameters are those of
# the paper's preset; the receptive field is that of the tiny one.

# %% tags=["nbval-check-output"]
tinies = {
    "wave_u_net": ms.create_model("wave_u_net", "tiny"),
    "conv_tasnet": ms.create_model("conv_tasnet", "tiny"),
    "demucs": ms.create_model("demucs", "tiny"),
    "demucs without LSTM": ms.create_model("demucs", "tiny", lstm_layers=0),
}
print(f"{'':20}{'paper':>12}{'tiny':>9}   tiny hears")
for name, tiny in tinies.items():
    with torch.device("meta"):  # shapes only: no memory, no numbers
        without = {"lstm_layers": 0} if "without" in name else {}
        paper = ms.create_model(name.split()[0], **without)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (paper, tiny)]
    field = ms.inspect.receptive_field(tiny, 3 * 44100).samples
    hears = "all it is given" if field is None else f"{field / 44100:.2f} s"
    print(f"{name:20}{sizes[0]:12,}{sizes[1]:9,}   {hears}")

# %% [markdown]
# Convolutions reach as far as their kernels and strides, and no farther. An LSTM, or a
# norm over the whole segment, reaches the whole input. In the Demucs of the paper the
# LSTM also holds two thirds of the weights.
#
# ## From v1 to v2
#
# All that you saw here is Demucs v2 (2021). Version 1 (2019) had the same parts:
# strided convolutions, gates, skips by addition, the LSTM. What changed, by the
# authors' own release notes:
#
# | | v1 (2019) | v2 (2021) |
# |---|---|---|
# | Channels of the first level | 100 | 64 |
# | Sample rate inside | that of the song | twice that; "almost 0.3" dB |
# | Loudness of each stem in training | as it is | random, a factor of 0.25 to 1.25 |
# | Pitch and tempo in training | as they are | changed at random, in a fifth of the songs |
# | Chunks in inference | side by side | overlap of 25 %, with a linear fade (notebook 12) |
# | csdr on MUSDB18, mean of four stems | 5.6 dB | 6.3 dB |
#
# How much smaller is v2? A parameter takes four bytes; the notes say 2.4 and 1 "GB", which are
# gibibytes of $2^{30}$ bytes.

# %% tags=["nbval-check-output"]
versions = {"v1": {"width": 100, "resample": False}, "v2": {}}
for version, changes in versions.items():
    with torch.device("meta"):
        paper = ms.create_model("demucs", **changes)
    n_parameters = sum(p.numel() for p in paper.parameters())
    size = 4 * n_parameters / 2**30
    print(f"{version}: {n_parameters:11,} parameters, {size:.2f} GiB")

# %% [markdown]
# So v2 has 0.7 dB more, with fewer than half of the weights. Two of the five changes are in
# the network: fewer channels, and the resampling, for which the notes claim less than half of
# the gain. The others are in the data that it learns from and in its use. When two versions
# differ in five things at once, the score alone cannot say which one helped: that takes an
# ablation for each (notebook 06).
#
# ## What to remember
#
# - A strided convolution is an STFT with learned kernels; a transposed one is overlap-add.
# - A length is valid if no level leaves samples over. Demucs pads to it and cuts back.
# - A model with strides is equivariant to whole grids only, here 512 samples. One sample
#   changes its answer.
# - Averaging over shifts removes that part of the error, and no other.
# - A model works at the level that it was trained at. Normalize its input.
#
# **What this notebook does not show.** A tiny model after a minute of training, at a quarter
# of the sample rate, on six seconds of one song. A good model has less error in all, so the
# part that depends on the shift may weigh more or less than here. And nothing was said about
# whether waveform models *sound* better than masks: for that you need a listening test.
#
# ## Exercises

# %%
exercise("waveform.valid_length")


# %% tags=["exercise"]
def input_length(samples, depth, kernel_size, stride, context, padding):
    return ...  # your code here


exercise("waveform.valid_length").check(input_length)

# %%
exercise("waveform.shift_average")


# %% tags=["exercise"]
def shift_average(model, mixture, shifts):
    return ...  # your code here


exercise("waveform.shift_average").check(shift_average)

# %%
exercise("waveform.normalized")


# %% tags=["exercise"]
def normalized(model, mixture):
    return ...  # your code here


exercise("waveform.normalized").check(normalized)

# %%
exercise("waveform.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("waveform.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Train with `resample=False`. Where does the curve jump now?
# And train a second model from another seed: does the average of two *models* gain more
# than that of two shifts?

# %% [markdown]
# ## Sources
#
# - Demucs: A. Défossez, N. Usunier, L. Bottou and F. Bach, "Music source separation in the
#   waveform domain", 2019, [arXiv:1911.13254](https://arxiv.org/abs/1911.13254); v1 and v2: the
#   release notes of version 2.0.0, `docs/release.md` in
#   [facebookresearch/demucs](https://github.com/facebookresearch/demucs), 2021.
# - Wave-U-Net: D. Stoller, S. Ewert and S. Dixon, "Wave-U-Net: a multi-scale neural network
#   for end-to-end audio source separation", *ISMIR* 2018,
#   [arXiv:1806.03185](https://arxiv.org/abs/1806.03185).
# - Conv-TasNet: Y. Luo and N. Mesgarani, "Conv-TasNet: surpassing ideal time-frequency
#   magnitude masking for speech separation", *IEEE/ACM TASLP* 27, 2019,
#   [arXiv:1809.07454](https://arxiv.org/abs/1809.07454).
# - Strides and shifts: R. Zhang, "Making convolutional networks shift-invariant again",
#   *ICML* 2019, [arXiv:1904.11486](https://arxiv.org/abs/1904.11486).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
