# %% [markdown]
# # 10 · Hybrid: spectrogram and waveform together
#
# > 频谱图擅长表现音高，波形擅长表现瞬态，混合 Demucs 让两个分支同时工作。本章说明如何把复数谱的实部与虚部作为通道送入实数网络，它能做到掩蔽做不到的什么；如何选择步长与帧移，使两个分支在时间上对齐；卷积为何不知道自己处在哪个频率，以及频率嵌入怎样告诉它。你还将读懂 DConv 残差支路，并用两种方法拆开混合模型：训练之后关掉一个分支，或者从一开始就不用它。
#
# **Aim.** After this notebook you can
#
# - give a complex spectrogram to a real network, and say what it can do that a mask
#   cannot,
# - choose strides and hop so that two branches agree in time,
# - show that a convolution over bins has no information about its position, and add it,
# - read a DConv: a narrow residual branch, with a BiLSTM and local attention inside,
# - take a hybrid apart: silence a branch after training, or train without it.
#
# | | |
# |---|---|
# | Path | core, 55 minutes on the short path; on the GPU path |
# | Before | 06 (U-Net, ablation), 08 (BiLSTM), 09 (Demucs on the waveform) |
# | Time | 80 minutes; the code runs in one to four minutes on two CPU cores, no GPU needed |
# | Data | the songs in `data/`: four to learn from, *Sodium* to be tested; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [11 · Hybrid transformer: HTDemucs](11_hybrid_transformer.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $T$ | `samples` | length of the waveform |
# | $4$ | `stride` | how much shorter a layer makes its axis |
# | $4^5 = 1024$ | `hop_length` | samples between two frames, and between two steps |
# | $\hat s = \text{iSTFT}(\hat S) + \hat w$ | `by_freq`, `by_time` | sum of the outputs of both branches |

# %%
import copy
import math
import tempfile
from types import MethodType

import torch
import torch.nn.functional as F
from torch import nn

import mssedu as ms
from mssedu.course import claim, exercise, play, reveal, setup, show_source

# %%
session = setup()
session

# %% [markdown]
# ## Listen first
#
# Drums and the rest of the song again, as in notebook 06. To learn twice as much in the
# same time, we work at half the sample rate: nothing above 11 kHz.

# %%
stems = ("drums", "rest")
groups = {"drums": ["drums"], "rest": ["vocals", "bass", "other"]}
rate = 44100 if session.profile == "gpu" else 22050


def at_rate(song, rate):
    song = song.in_memory().with_stems(groups)
    sources = {
        stem: ms.audio.resample(song.stem(stem), song.sample_rate, rate)
        for stem in stems
    }
    return ms.data.Track.from_audio(song.name, sources, rate, split=song.split)


songs = [at_rate(song, rate) for song in ms.load_dataset(ms.data.demo_data())]
train_songs = [song for song in songs if song.split == "train"]
(song,) = [song for song in songs if song.split == "test"]
mixture = song.mixture(start=20, duration=20)
sources = song.sources(start=20, duration=20)  # (stems, channels, samples)
play(mixture, rate, "mixture")

# %%
play(sources[0], rate, "drums, true")

# %% [markdown]
# A network can look at this sound in two ways. In the spectrogram a held note is a thin
# line, easy to follow; but a frame is blind to what happens within it. In the waveform
# a drum hit stands out sample by sample; but a note is many oscillations. **Hybrid
# Demucs** has a U-Net for each. Both estimate all stems, and the two estimates are
# *added*.
#
# **Predict.** We will train three small networks for the same time: one with both
# branches, one that sees only the spectrogram, one that sees only the waveform. In
# which order will their scores be?

# %%
prediction = ("?", "?", "?")  # best first: "both", "spectrogram", "waveform"

# %% [markdown]
# ## Complex as channels
#
# The output of the waveform's branch is samples. So the spectrogram's branch must end
# with samples too, so that they can be added: it ends with an inverse STFT, which needs
# magnitude *and* phase. Masks take the phase of the mixture. Here the network makes its
# own: the real and the imaginary part become two channels, in and out.

# %%
show_source("mssedu.spectral.complex_as_channels")


# %%
def toy_complex_as_channels(spectrogram):
    parts = torch.stack([spectrogram.real, spectrogram.imag], dim=-3)
    return parts.flatten(-4, -3)


spectrogram = ms.spectral.stft(mixture, 1024, 256)
assert torch.equal(
    toy_complex_as_channels(spectrogram), ms.spectral.complex_as_channels(spectrogram)
)

# %% [markdown]
# What does a network gain by this? In notebook 03 a real mask could make an arrow shorter
# and not turn it. Two real channels in and two out are a matrix of 2 · 2 weights. With the
# rows $(a, -b)$ and $(b, a)$ it turns $x$ and $y$ into $ax - by$ and $bx + ay$, and
#
# $$ (a + ib)(x + iy) = (ax - by) + i\,(bx + ay) $$
#
# is a multiplication by a complex number. So the smallest of all convolutions, 1 · 1,
# can already turn every arrow. Half a turn is a flipped sign:

# %% tags=["nbval-check-output"]
left = spectrogram[:1]
turn = torch.polar(torch.tensor(0.8), torch.tensor(1.2))  # shorter, and turned
a, b = turn.real.item(), turn.imag.item()
matrix = torch.tensor([[a, -b], [b, a]])[:, :, None, None]
by_convolution = ms.spectral.channels_as_complex(
    F.conv2d(ms.spectral.complex_as_channels(left), matrix)
)
assert torch.allclose(by_convolution, turn * left, atol=1e-4)
channels = ms.spectral.complex_as_channels(
    ms.spectral.stft(torch.stack([mixture, -mixture]), 1024, 256)
)
print("channels of stereo:", channels.shape[1])
apart = (channels[0] - channels[1]).abs().max()
print(claim("a flipped sign changes the channels by", apart, above=1))

# %% [markdown]
# The price: there is no guarantee any more that the estimates are parts of the mixture,
# or add up to it. Masks divide the mixture; this network *generates*.
#
# ## Two branches in step
#
# At some level the two branches have to exchange information. A U-Net is made of layers
# that shorten an axis.
#
# - In the **waveform's** branch a layer of stride 4 makes *time* four times shorter, and
#   the bins do not exist: $T, T/4, T/16, \dots$
# - In the **spectrogram's** branch a layer of stride 4 makes the *bins* four times fewer,
#   and time stays: 2048, 512, 128, 32, 8 bins.
#
# After five layers the waveform has $T / 4^5 = T / 1024$ steps. The spectrogram has $T
# / \text{hop}$ frames, at any level. So with a hop of **1024** both have a step for the
# same moment. And as the STFT's hop is a quarter of its window, the window is 4096:
# with 2048 bins, four layers leave 8 of them, and a last kernel of 8 combines these.
# One bin is left, so the picture has become a sequence. The shapes agree, so the two
# can be added.

# %% tags=["nbval-check-output"]
config = ms.models.HDemucsConfig()  # the published one
bins, steps = config.n_fft // 2, config.sample_rate
print(f"a second: {bins} bins and {steps} samples")
for level, width in enumerate(config.widths[:5], 1):
    bins = bins // 4 if level < 5 else 1
    steps = math.ceil(steps / 4)
    frames = math.ceil(config.sample_rate / (config.n_fft // 4))
    sizes = f"{bins:3} bins x {frames} frames, {steps:5} steps"
    print(f"level {level}: {width:3} channels of {sizes}")

# %% [markdown]
# The small model of this notebook has a window of 1024 and a hop of $256 = 4^4$: one
# level less. Where do its branches meet?

# %%
sizes = {"sample_rate": rate}
if session.profile != "gpu":
    sizes["dconv_depth"] = 1  # half of each DConv, which you will meet below
preset = "paper" if session.profile == "gpu" else "tiny"


def build():
    torch.manual_seed(session.seed)
    return ms.create_model("hdemucs", preset, stems=stems, **sizes)


# %% tags=["nbval-check-output"]
small = ms.create_model("hdemucs", "tiny", stems=stems, sample_rate=22050)
shapes = ms.inspect.inside_names(small, torch.zeros(1, 2, 22050))
for level in range(5):
    time = shapes.get(f"tencoder.{level}", "")
    print(f"level {level + 1}: {shapes[f'encoder.{level}']!s:19} {time}")

# %% [markdown]
# At level 4 they meet, 87 and 87; level 5 is shared by both.
#
# ### Half a hop too early
#
# Equal numbers are not enough. Step 3 of one branch must be the same *moment* as frame
# 3 of the other. Which samples does a step see, and how much of each? All of this is
# linear, so the gradient gives the answer: it is the weight of every sample in step 3.


# %%
def weights(layer, step=3):
    audio = torch.zeros(1, 1, 8192, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(audio)[..., step].sum(), audio)
    return gradient.flatten()


def strided(audio):  # five layers as in Demucs, all weights equal
    for _ in range(5):
        audio = F.conv1d(audio, torch.full((1, 1, 8), 1 / 8), stride=4, padding=2)
    return audio


clocks = {
    "waveform, 5 layers": strided,
    "plain STFT": lambda audio: ms.spectral.stft(audio, 4096, 1024)[..., 0, :].real,
    "hybrid_stft": lambda audio: (
        ms.models.blocks.hybrid_stft(audio, 4096)[..., 0, :].real
    ),
}

# %% tags=["nbval-check-output"]
seen = {name: weights(layer) for name, layer in clocks.items()}
for name, layer in clocks.items():
    steps = layer(torch.zeros(1, 1, 8192)).shape[-1]
    middle = (seen[name] * torch.arange(8192)).sum() / seen[name].sum()
    print(f"{name:18}: {steps} steps of 8192 samples, no. 3 looks at {middle:.1f}")

# %%
lines = {name: weight / weight.max() for name, weight in seen.items()}
ms.figures.curves_figure(lines, xlabel="Sample", ylabel="Weight in step 3")

# %% [markdown]
# A layer of kernel 8 and stride 4, with 2 zeros before, has the middle of its step $m$
# at $4m + 1.5$. Five of them: $1024 m + 511.5$, the middle of the span of 1024 samples
# that the step stands for. A plain STFT has the middle of frame $m$ at $1024 m$, where
# that span *begins*: half a hop, 12 ms, too early, and there is a frame too many.
# `hybrid_stft` pads the sound by one and a half hops and drops two frames at both ends.
# Now it looks at $1024 m + 512$, and both branches agree within half a sample.

# %%
show_source("mssedu.models.blocks.hybrid_stft")

# %% tags=["nbval-check-output"]
back = ms.models.blocks.hybrid_istft(
    ms.models.blocks.hybrid_stft(mixture[None], 4096), mixture.shape[-1]
)[0]
ends = slice(0, 4096)
inner = slice(8192, -8192)
for name, span in {"inside": inner, "the first 4096 samples": ends}.items():
    score = ms.metrics.usdr(reference=mixture[:, span], estimate=back[:, span])
    print(claim(f"there and back, {name}", score.min(), above=60, unit="dB"))

# %% [markdown]
# One bin and two frames at each end were left out. Inside, the sound comes back; at the
# ends it does not, and the other branch has to fill the gap. It is one more reason to
# cut long songs into chunks that *overlap* (notebook 12).
#
# ## A convolution does not know where it is
#
# Convolutions over *time* are natural: a drum is a drum, now or later. The
# spectrogram's branch also convolves over *bins*. Move a sound by four bins, and the
# first layer of stride 4 gives the same output, one step higher:

# %% tags=["nbval-check-output"]
first = small.encoder[0].conv
picture = torch.randn(1, 4, 512, 10)
moved = first(picture.roll(4, dims=2))
apart = (moved[:, :, 2:-1] - first(picture)[:, :, 1:-2]).abs().max()
print(claim("the same answer, one step higher, up to", apart, below=1e-4, digits=6))

# %% [markdown]
# But a line at 60 Hz is a bass and a line at 6 kHz is a cymbal. Here is the simplest
# task that needs to know: *keep what lies in the lower half, remove the upper half.*
# The input is noise in 64 bins, and the network has two convolutions over the bins.


# %%
class Place(ms.models.blocks.FrequencyEmbedding):  # without frames
    def forward(self, x):
        return super().forward(x[..., None])[..., 0]


def learn_lower_half(place, bins=64, width=16):
    torch.manual_seed(session.seed)
    first = nn.Conv1d(1, width, 5, padding=2)
    last = nn.Conv1d(width, 1, 5, padding=2)
    network = nn.Sequential(first, place(bins, width), nn.GELU(), last)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    lower = (torch.arange(bins) < bins // 2).float()
    errors = []
    for _ in range(200):
        x = torch.randn(16, 1, bins)
        error = (network(x) - lower * x).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(100 * error.item() / 0.5)  # silence as the answer: 100 %
    return errors


def nowhere(bins, width):
    return nn.Identity()


# %%
errors = {"told": learn_lower_half(Place), "not told": learn_lower_half(nowhere)}
ms.figures.curves_figure(errors, xlabel="Step", ylabel="Error (% of silence)")

# %% tags=["nbval-check-output"]
final = {name: sum(error[-20:]) / 20 for name, error in errors.items()}
print(claim("not told where it is: error", final["not told"], above=40, unit="%"))
print(claim("told: error", final["told"], below=5, unit="%"))

# %% [markdown]
# Half of the error stays: without a position, the best that the network can do is to
# pass half of every bin. (The zeros at the edges show where the outermost bins are, but
# this does not reach far.)
#
# The remedy is one learned vector for each bin, added once, after the first level: the
# **frequency embedding**. It starts as a random walk, so that neighboring bins begin
# with similar vectors.


# %%
def toy_place(x, bins, width):
    walk = torch.randn(bins, width).cumsum(0)
    walk = walk / torch.arange(1, bins + 1)[:, None].sqrt()  # as far at any bin
    return x + 0.2 * walk.T[:, :, None]  # the same in every frame


# %%
show_source("mssedu.models.blocks.FrequencyEmbedding")

# %%
x = torch.randn(2, 48, 512, 3)  # after the first level: 2048 / 4 bins
torch.manual_seed(7)
real = ms.models.blocks.FrequencyEmbedding(512, 48)(x)
torch.manual_seed(7)
assert torch.allclose(toy_place(x, 512, 48), real, atol=1e-5)

# %%
vectors = F.normalize(
    ms.models.blocks.FrequencyEmbedding(512, 48).embedding.weight.detach(), dim=1
)
alike = {"512 bins against each other": vectors @ vectors.T}
ms.figures.maps_figure(alike, xlabel="Bin", ylabel="Bin", unit="Cosine", height=2.6)

# %% [markdown]
# Before any training, neighboring bins are already similar (bright). The higher the
# bin, the wider is the range of similar bins, because one more step changes a long walk
# only a little. As with pitch, a step at the bottom counts more than one at the top.
#
# ## DConv: look around, cheaply
#
# In the spectrogram's branch a kernel is 8 bins high and *one* frame wide. Which part
# combines frames? **DConv**, which is in every level of both encoders. It adds to a
# signal the output of a narrow network:
#
# $$ x \leftarrow x + \lambda \cdot \text{GLU}(\text{wide}(\text{GELU}(\text{narrow}(x)))). $$
#
# *Narrow* has a quarter of the channels; that makes it cheap. It is done twice, the second
# time with a dilation of 2: the kernel leaves out every other frame, and sees further.


# %%
def toy_dconv(x, dconv):
    for dilation, parts in zip((1, 2), dconv.layers, strict=True):
        narrow, norm, _, wide, wide_norm, _, scale = parts
        settings = {"padding": dilation, "dilation": dilation}
        y = F.conv1d(x, narrow.weight, narrow.bias, **settings)
        y = wide_norm(wide(F.gelu(norm(y))))
        values, gates = y.chunk(2, dim=1)
        x = x + scale.scale[:, None] * values * gates.sigmoid()
    return x


# %%
show_source("mssedu.models.blocks.DConv")

# %% tags=["nbval-check-output"]
dconv, x = ms.models.blocks.DConv(384, init=1e-3), torch.randn(1, 384, 50)
assert torch.allclose(toy_dconv(x, dconv), dconv(x), atol=1e-5)
plain = nn.Sequential(*(nn.Conv1d(384, 2 * 384, 3) for _ in range(2)))  # then a GLU
for name, part in {"DConv": dconv, "two full convolutions": plain}.items():
    print(f"{name:22}{sum(p.numel() for p in part.parameters()):9,} parameters")
change = (dconv(x) - x).norm() / x.norm()
print(
    claim("a new DConv changes its input by", 100 * change, below=1, unit="%", digits=2)
)

# %% [markdown]
# The factor $\lambda$ is a **LayerScale**: one number a channel, a thousandth at the
# start. A new network behaves as if no DConv were there, and each one grows only as far
# as it is useful.
#
# Two convolutions see three frames to either side. From the level on where the branches
# meet, the narrow network gets two more parts, to see further:
#
# - a **BiLSTM** of two layers (notebook 08), over spans of 200 steps that overlap;
# - **local attention**: each frame looks at all others, weighs them by how well they
#   fit, and takes a weighted mean. It is "local" because distance is penalized: each
#   score is reduced by a rate times the distance in frames, and each frame has its own
#   rate.

# %%
show_source("mssedu.models.blocks.LocalAttention.inside")

# %% [markdown]
# `masked_fill` does not let a frame look at itself: it has that information already. We
# will see such a map once there is a trained model. (Attention is the whole of notebook
# 11.)
#
# ## The whole, and how to silence a branch
#
# Now we have all parts. This is their order in Hybrid Demucs:

# %%
show_source("mssedu.models.hdemucs.HDemucs.forward")


# %% [markdown]
# The toy below does the same, with one addition: it can silence the input of a branch.
# If its input is all zeros, its deviation is 0; and as this deviation is multiplied
# back at the end, the output of the branch is zero, too. Silence in, silence out, and
# all weights stay as they are.


# %%
def toy_hybrid(model, mixture, use=("spectrogram", "waveform")):
    blocks = ms.models.blocks
    spectrogram = blocks.hybrid_stft(mixture, model.config.n_fft)
    spectrogram = ms.spectral.complex_as_channels(spectrogram)
    freq, (mean, std) = blocks.normalize(spectrogram * ("spectrogram" in use))
    time, (time_mean, time_std) = blocks.normalize(mixture * ("waveform" in use))
    n, first = model.config.n_apart, model.freq_emb(model.encoder[0](freq))
    freqs = [freq, *blocks.descend(model.encoder[1:n], first)]
    times = blocks.descend(model.tencoder[:-1], time)
    freq, time = model.merge(freqs[-1], times[-1])
    freq = blocks.climb(model.decoder[-n:], freq, freqs) * std + mean
    time = blocks.climb(model.tdecoder[1:], time, times) * time_std + time_mean
    freq, time = (x.unflatten(1, (len(model.config.stems), -1)) for x in (freq, time))
    spectrogram = ms.spectral.channels_as_complex(freq)
    return blocks.hybrid_istft(spectrogram, mixture.shape[-1]), time  # two drawings


# %% tags=["nbval-check-output"]
model, heard = build(), mixture[None, :, : 2 * rate]
with torch.no_grad():
    by_freq, by_time = toy_hybrid(model, heard)
    assert torch.allclose(by_freq + by_time, model(heard), atol=1e-5)
    for use in ("spectrogram", "waveform"):
        drawings = toy_hybrid(model, heard, [use])
        drawn = ["something" if d.any() else "nothing" for d in drawings]
        print(f"only the {use} is seen: by_freq {drawn[0]}, by_time {drawn[1]}")

# %% [markdown]
# ## Train three of them
#
# The same first weights, the same excerpts in the same order. Only the visible input
# differs.

# %%
amounts = {
    "smoke": {"steps": 4, "batch_size": 2, "segment": 2.0},
    "cpu": {"steps": 120, "batch_size": 2, "segment": 2.0},
    "gpu": {"steps": 4000, "batch_size": 8, "segment": 6.0},  # the published sizes
}
looks = {
    "both": ("spectrogram", "waveform"),
    "spectrogram": ("spectrogram",),
    "waveform": ("waveform",),
}


def seeing(model, *use):
    """The model, from now on blind but for the branches in `use`."""

    def forward(self, mixture):
        return sum(toy_hybrid(self, mixture, use))

    model.forward = MethodType(forward, model)
    return model


def train(model):
    config = ms.training.TrainConfig(
        model="hdemucs",
        preset=preset,
        stems=stems,
        loss="thresholded_snr",
        learning_rate=3e-4 if session.profile == "gpu" else 1e-2,
        schedule="cosine",
        level_db=-25.0,
        gain_db=(-8.0, 8.0),
        seed=session.seed,
        device=session.device,
        **amounts[session.profile],
    )
    losses = []

    def note(step, steps, loss, score):
        losses.append(loss)
        if step % max(steps // 4, 1) == 0:
            recent = losses[-max(steps // 4, 1) :]
            print(f"step {step} of {steps}: loss {sum(recent) / len(recent):.2f} dB")

    with tempfile.TemporaryDirectory() as folder:
        ms.fit(model, train_songs, None, config, folder, progress=note)
    return model.cpu(), losses


# %%
both, loss_both = train(seeing(build(), *looks["both"]))

# %%
spectrogram_only, loss_spectrogram = train(seeing(build(), *looks["spectrogram"]))

# %%
waveform_only, loss_waveform = train(seeing(build(), *looks["waveform"]))

# %%
curves = {"both": loss_both, "spectrogram": loss_spectrogram, "waveform": loss_waveform}


def smooth(values, width):
    width = min(width, len(values))
    return torch.tensor(values).unfold(0, width, 1).mean(1)


ms.figures.curves_figure(
    {name: smooth(values, 20) for name, values in curves.items()},
    xlabel="Step",
    ylabel="Loss, mean of 20 (dB)",
    start=20,
)

# %% [markdown]
# Lower is better. All three rise and fall together, as they get the same excerpts. Now
# the song that is new to all of them.

# %%
estimates = {
    "mixture": mixture.expand_as(sources),
    "waveform": ms.separate(waveform_only, mixture),
    "spectrogram": ms.separate(spectrogram_only, mixture),
    "both": ms.separate(both, mixture),
}
table = {
    row: ms.metrics.usdr(reference=sources, estimate=estimate)
    for row, estimate in estimates.items()
}
ms.figures.scores_figure(
    {row: dict(zip(stems, score.tolist(), strict=True)) for row, score in table.items()}
)

# %% tags=["nbval-check-output"]
late = {name: sum(values[-40:]) / len(values[-40:]) for name, values in curves.items()}
alone = min(late["spectrogram"], late["waveform"])
lead = alone - late["both"]
print(claim("in training, both together lead by", lead, above=0, unit="dB"))
mean = {row: score.mean().item() for row, score in table.items()}
drums = {row: score[0].item() for row, score in table.items()}
worst = min(table[row].min().item() for row in looks)
print(claim("the worst stem of all three; silence has 0", worst, above=0, unit="dB"))
behind = min(drums["both"], drums["spectrogram"]) - drums["waveform"]
print(claim("drums: the waveform alone is behind by", behind, above=0.3, unit="dB"))
apart = mean["both"] - mean["spectrogram"]
text = "both, above the spectrogram alone by"
print(claim(text, apart, above=-0.7, below=0.7, unit="dB"))
print("You said:", prediction)

# %% [markdown]
# > **What to notice.** While training, on new mixtures of songs that it knows, the hybrid is
# > the best of the three. On the song that it does not know, the spectrogram alone does as
# > well, within 0.7 dB. The waveform alone falls behind on the drums, by 0.3 dB or more.
#
# So a fair report says: after half a minute of training, on twenty seconds of one song,
# the second branch did not help. It does not say that it never helps. The published
# hybrid learned for far longer, from far more songs; it beat its predecessor, which
# sees the waveform only, and won leaderboard A of the challenge that it was made for
# (Music Demixing Challenge 2021). But that result is quoted here, and this one is
# measured.
#
# ## What each branch contributes
#
# Now open the hybrid and listen to the outputs of its two branches. **Predict**: which
# branch has the drums?

# %%
prediction_drums = "?"  # "by_freq" or "by_time"


# %%
def drawn(model, number, use=looks["both"]):
    """One drawing of a trained model: 0 by_freq, 1 by_time."""

    def forward(self, mixture):
        return toy_hybrid(self, mixture, use)[number]

    model.forward = MethodType(forward, model)
    return ms.separate(model, mixture)


drawings = {"by_freq": drawn(both, 0), "by_time": drawn(both, 1)}
drawings["sum"] = drawings["by_freq"] + drawings["by_time"]
blind = drawn(both, 0, looks["spectrogram"])  # by_freq, the waveform not seen
both = seeing(both, *looks["both"])  # as it was

# %%
ms.listening.ABSwitch(
    {
        "drums, by_freq alone": drawings["by_freq"][0],
        "drums, by_time alone": drawings["by_time"][0],
        "drums, the sum": drawings["sum"][0],
    },
    rate,
)

# %%
excerpt = slice(13 * rate, 17 * rate)
shown = {"drums, true": sources[0][:, excerpt]}
for name, drawing in drawings.items():
    shown[f"drums, {name}"] = drawing[0][:, excerpt]
ms.figures.spectrogram_figure(
    shown, rate, n_fft=2048, hop_length=512, columns=2, range_db=60
)

# %% [markdown]
# `by_freq` has the hits from bottom to top. `by_time` has their lower part only, among
# notes (the long lines) that are no drums at all. Both are soft: a model in doubt stays
# quiet.

# %%
scores = {
    name: ms.metrics.usdr(reference=sources, estimate=drawing)
    for name, drawing in drawings.items()
}
ms.figures.scores_figure(
    {
        row: dict(zip(stems, score.tolist(), strict=True))
        for row, score in scores.items()
    }
)

# %% tags=["nbval-check-output"]
freq, time, total = (scores[name] for name in ("by_freq", "by_time", "sum"))
print(claim("drums: by_freq leads by", freq[0] - time[0], above=0, unit="dB"))
print(claim("the rest: by_time leads by", time[1] - freq[1], above=0, unit="dB"))
gain = (total - torch.maximum(freq, time)).min()
print(claim("the sum gains, worse stem", gain, above=0, unit="dB"))
cut_out = table["spectrogram"].mean() - freq.mean()
print(claim("spectrogram, trained alone: above by_freq", cut_out, above=0.5, unit="dB"))
same = ms.metrics.usdr(reference=drawings["by_freq"], estimate=blind).min()
print(claim("by_freq with and without the waveform agree", same, above=10, unit="dB"))
print("drums:", reveal(prediction_drums, "by_freq"))

# %% [markdown]
# Drums are attacks, and attacks are sharp in the waveform; still it is the
# spectrogram's branch that contributes more of them. The waveform's branch has more of
# the rest, which is loud and low. So the division of labor is *learned*, not built in,
# and not always the one that you would expect.
#
# Two more lessons.
#
# 1. **Silenced is not untrained.** Cut out of the hybrid, the spectrogram's branch is
#    far worse than the model that never had another. It has learned its part of a sum.
#    Silencing a part shows what *this* model relies on. Only training without the part
#    shows what it is worth.
# 2. They **hardly talk** yet. If the waveform is hidden, `by_freq` stays nearly the same.
#    The shared level is deep down; after so few steps the skips carry nearly all.
#
# ## Local attention that is not local
#
# *Optional: leave out on the short path.*
#
# One last look, where the branches meet: the local attention, on a second of sound. Is it
# local? For comparison, the same part with its initial rates. (All four heads of a
# freshly initialized one have the same rates; two of each are shown.)

# %%
path, part = next(
    (name, part)
    for name, part in both.named_modules()
    if isinstance(part, ms.models.blocks.LocalAttention)
)
level, index = path.rsplit(".", 1)
given = f"{level}.{int(index) - 1}"  # the BiLSTM, whose output it is given
second = mixture[None, :, 13 * rate : 14 * rate]
x = ms.look_inside(both, second, given)[given]
fresh = copy.deepcopy(part)
nn.init.constant_(
    fresh.query_decay.bias, ms.models.blocks.LocalAttention(32).query_decay.bias[0]
)
with torch.no_grad():
    attention = {
        "fresh": fresh.inside(x)["attention"][0],  # (heads, queries, keys)
        "hybrid": part.inside(x)["attention"][0],
    }
ms.figures.maps_figure(
    {f"{k}, head {n + 1}": heads[n] for k, heads in attention.items() for n in (0, 1)},
    xlabel="Frame looked at",
    ylabel="Frame that asks",
    height=2.2,
)

# %% tags=["nbval-check-output"]
frames = torch.arange(x.shape[-1])
near = (frames[:, None] - frames).abs() <= 10
share = {k: (heads * near).sum(-1).mean() for k, heads in attention.items()}
print("share of the weight within 10 frames")
print(claim("fresh", 100 * share["fresh"], above=80, unit="%"))
print(claim("hybrid", 100 * share["hybrid"], below=40, unit="%"))
fresh = build().get_submodule(path)
for name, attend in {
    "alone": ms.models.blocks.LocalAttention(32),
    "in a new hybrid": fresh,
}.items():
    bias = attend.query_decay.bias.mean().item()
    print(claim(f"bias of the rate, {name}", bias, below=-10))
print(f"sigmoid(-2) = {torch.tensor(-2.0).sigmoid():.2f}", end=", ")
print(f"sigmoid(-10) = {torch.tensor(-10.0).sigmoid():.5f}")

# %% [markdown]
# It is not. A freshly initialized local attention has a bias of -2 for its rates, and looks around
# itself (bright beside the diagonal). But building an HDemucs ends with **rescaling** all
# its convolutions, weights and biases, so that all are about equally loud. The weights of
# the rates are tiny on purpose. So they are scaled up, and the bias goes with them, far
# below -10. There the sigmoid is nearly 0, and distance costs nothing. And as it is flat
# there, hardly a gradient comes through to change that: the attention looks *everywhere*.
# The stripes are frames that all others look at.
#
# The published code does the same. The name of a part says what its author intended.
# What the part does in a trained model has to be measured.
#
# **Change one thing.** Take another `seed` in `setup`, and train again: does the order of
# the three stay? Or give the models four times the steps.
#
# ## What to remember
#
# - A hybrid estimates every stem twice, from the spectrogram and from the waveform, and
#   adds the waveforms.
# - Complex as channels: real and imaginary part in and out. The network makes its own
#   phase, and the estimates need not add up to the mixture.
# - Strides and hop must agree: five layers of 4 make 1024, so the hop is 1024. The STFT is
#   padded so that frames and steps look at the same samples, within half a sample.
# - A convolution over bins has no information about its position; the frequency
#   embedding adds it.
# - DConv is a narrow residual branch that starts with almost no effect; in the deep
#   levels it contains a BiLSTM and local attention, which need not be local.
# - Silencing a part of a trained model and training without it are two different
#   questions.
#
# **What this notebook does not show.** The models here have half a million parameters
# and were trained on minutes of one artist; the published one has 84 million and was
# trained on a hundred songs or more. One seed, twenty seconds of one song and two stems
# decide nothing about architectures. Which branch has which part of the sound may differ
# for another seed, and will for other music.
#
# ## Exercises
#
# *Optional: leave out `hybrid.to_stems` and `hybrid.add_place` on the short path.*

# %%
exercise("hybrid.align")


# %% tags=["exercise"]
def align(n_samples, strides):
    return ...  # your code here


exercise("hybrid.align").check(align)

# %%
exercise("hybrid.to_stems")


# %% tags=["exercise"]
def to_stems(x, stems):
    return ...  # your code here


exercise("hybrid.to_stems").check(to_stems)

# %%
exercise("hybrid.add_place")


# %% tags=["exercise"]
def add_place(x, embedding, strength):
    return ...  # your code here


exercise("hybrid.add_place").check(add_place)

# %%
exercise("hybrid.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("hybrid.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Let the network estimate a mask instead: replace the last
# step of the spectrogram's branch by a sigmoid times the mixture's spectrogram, and
# train again. What do you gain at the start of training, and what could you never
# reach?

# %% [markdown]
# ## Sources
#
# - Hybrid Demucs: A. Défossez, "Hybrid spectrogram and waveform source separation", *MDX
#   workshop at ISMIR* 2021, [arXiv:2111.03600](https://arxiv.org/abs/2111.03600).
# - Its predecessor: A. Défossez, N. Usunier, L. Bottou and F. Bach, "Music source separation in
#   the waveform domain", 2019, [arXiv:1911.13254](https://arxiv.org/abs/1911.13254).
# - Complex as channels: W. Choi, M. Kim, J. Chung, D. Lee and S. Jung, "Investigating
#   U-Nets with various intermediate blocks for spectrogram-based singing voice
#   separation", *ISMIR* 2020, [arXiv:1912.02591](https://arxiv.org/abs/1912.02591).
# - Where a convolution is: R. Liu et al., "An intriguing failing of convolutional neural
#   networks and the CoordConv solution", *NeurIPS* 2018,
#   [arXiv:1807.03247](https://arxiv.org/abs/1807.03247).
# - LayerScale: H. Touvron, M. Cord, A. Sablayrolles, G. Synnaeve and H. Jégou, "Going
#   deeper with image transformers", *ICCV* 2021,
#   [arXiv:2103.17239](https://arxiv.org/abs/2103.17239).
# - The challenge: Y. Mitsufuji et al., "Music demixing challenge 2021", *Frontiers in
#   Signal Processing* 1, 2022,
#   [doi:10.3389/frsip.2021.808395](https://doi.org/10.3389/frsip.2021.808395).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
