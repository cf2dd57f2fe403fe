# %% [markdown]
# # 11 · Hybrid transformer: HTDemucs
#
# > HTDemucs 在两个分支之间加入了 Transformer。本章用十行代码写出注意力，并证明它与 HTDemucs 中的实现相同；说明注意力为什么必须被告知位置，正弦和余弦又如何表达位置。你将跟踪两个序列怎样审视自己、又怎样相互参照，测量计算量随长度增长的速度，从而理解模型为何只看 7.8 秒。最后关闭训练好的模型中的某些部分，并分清这样的实验能证明什么、不能证明什么。
#
# **Aim.** After this notebook you can
#
# - build attention in ten lines, and show that it is the one of HTDemucs,
# - say why attention needs positions, and how sines provide them,
# - follow two sequences through self-attention and cross-attention,
# - say what it costs to look at everything, and why HTDemucs stops at 7.8 seconds,
# - switch parts of a trained model off, and say what that proves and what it does not.
#
# | | |
# |---|---|
# | Path | core, 55 minutes on the short path; on the GPU path |
# | Before | 06 (training, ablation), 08 (recurrence), 10 (two branches) |
# | Time | 85 minutes; the code runs in one to four minutes on two CPU cores, no GPU needed |
# | Data | the songs in `data/`: four to learn from, *Sodium* to be tested; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [12 · Chunked inference](12_chunked_inference.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $q_m$ | `q` | query: what position $m$ is looking for |
# | $k_n$ | `k` | key: what position $n$ offers to be found by |
# | $v_n$ | `v` | value: what position $n$ holds |
# | $d$ | `d` | features: numbers in each query and each key |
# | $a_{mn}$ | `weights` | how much of its attention $m$ gives to $n$; sums to 1 over $n$ |

# %%
import copy
import math
import tempfile
import time

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

import mssedu as ms
from mssedu.course import claim, exercise, play, setup, show_source

# %%
session = setup()
session

# %% [markdown]
# ## Listen first

# %%
stems = ("drums", "rest")
groups = {"drums": ["drums"], "rest": ["vocals", "bass", "other"]}
songs = [
    song.in_memory().with_stems(groups) for song in ms.load_dataset(ms.data.demo_data())
]
train_songs = [song for song in songs if song.split == "train"]
(song,) = [song for song in songs if song.split == "test"]
rate = song.sample_rate
mixture = song.mixture(start=20, duration=20)
sources = song.sources(start=20, duration=20)  # (stems, channels, samples)
play(mixture, rate, "mixture")

# %%
play(sources[0], rate, "drums, true")

# %% [markdown]
# The drummer plays the same bar again and again, while the rest of the music changes.
# If a hit is hard to recognize in this bar, look for it in another! A convolution
# cannot do that: it sees its neighborhood only. A recurrent layer has to keep the first
# bar in its state until the second one comes. **Attention** looks everywhere at once.
#
# **Predict.** A program that has learned *nothing* compares each moment of this mixture
# with all others, and replaces it by a mean of those that are similar to it. As an
# estimate of the drums, by how many decibels is that better than the mixture? And after
# how many seconds is the song most similar to itself?

# %%
prediction = {"better by": "? dB", "repeats after": "? s"}

# %% [markdown]
# ## Build it: attention in ten lines
#
# Think of a library. You come with a question (**query**), compare it with the labels on
# the spines (**keys**), and take home what is in the books (**values**): much of those
# that match, little of the others. Every position of a sequence does so.
#
# 1. Score: the dot product of query and key is large if both point the same way.
#    Of $d$ features it is about $\sqrt d$ times as large as of one, so divide by that.
# 2. Weights: a softmax makes the scores of each query positive and sum to 1.
# 3. Take the mean of the values with these weights.
#
# $$ a_{mn} = \frac{e^{q_m \cdot k_n / \sqrt d}}{\sum_i e^{q_m \cdot k_i / \sqrt d}},
# \qquad y_m = \sum_n a_{mn} v_n $$


# %%
def toy_weights(q, k):  # (queries, d), (keys, d) -> (queries, keys)
    scores = q @ k.T / math.sqrt(q.shape[-1])
    return scores.softmax(dim=-1)


def toy_attention(q, k, v):
    return toy_weights(q, k) @ v


# %% tags=["nbval-check-output"]
q, k, v = torch.randn(5, 16), torch.randn(7, 16), torch.randn(7, 16)
assert torch.allclose(
    toy_attention(q, k, v), F.scaled_dot_product_attention(q, k, v), atol=1e-6
)
print("weights:", tuple(toy_weights(q, k).shape), "= (queries, keys)")
print("sums:", *(f"{total:.4f}" for total in toy_weights(q, k).sum(1).tolist()))
print("taken:", tuple(toy_attention(q, k, v).shape), "= (queries, features)")

# %% [markdown]
# Five queries may look at seven keys: the two sequences need not be equally long. We will need
# that.
#
# `F.scaled_dot_product_attention` is PyTorch's own. In a network the queries, keys and
# values are *learned*: three linear layers make them. And there are several **heads**. Each
# looks with its own share of the features, so one may look for the beat
# and another for the chord. This is the attention of HTDemucs:

# %%
show_source("mssedu.models.blocks.Attention.project")

# %%
show_source("mssedu.models.blocks.Attention.forward")


# %%
def toy_heads(x, other, module):
    q, k, v = module.project(x[None], other[None])
    heads = [toy_attention(*head) for head in zip(q[0], k[0], v[0], strict=True)]
    return module.out_proj(torch.cat(heads, dim=-1))


# %% tags=["nbval-check-output"]
real = ms.models.blocks.Attention(width=16, n_heads=4)
x, other = torch.randn(5, 16), torch.randn(7, 16)
with torch.no_grad():
    assert torch.allclose(
        toy_heads(x, other, real), real(x[None], other[None])[0], atol=1e-5
    )
n_weights = sum(p.numel() for p in real.parameters())
print(f"4 heads of {16 // 4} features, {n_weights} = 4 · (16² + 16) parameters")

# %% [markdown]
# ## A song looks at itself
#
# No training yet. Let queries and keys both be the frames of the mixture's spectrogram, the
# magnitudes of all bins, each frame brought to length 1. Then the score of two frames
# tells how much alike they sound, whatever their level.

# %%
hop_length = 2048
spectrogram = ms.spectral.stft(mixture, 4096, hop_length)
magnitude = spectrogram.abs()  # (channels, bins, frames)
frames = magnitude.mean(0).T
frames = frames / frames.norm(dim=1, keepdim=True)
n_frames, d = frames.shape

# %% tags=["nbval-check-output"]
even = 1 / n_frames  # what each frame gets if all get the same
for loudness in (1, 20 * math.sqrt(d)):
    strongest = toy_weights(loudness * frames, frames).max()
    print(f"queries {loudness:4.0f} times as long: at most", end=" ")
    print(f"{strongest / even:3.0f} times the even share")

# %% [markdown]
# With queries of length 1, each frame attends to all frames: the softmax hardly sees a
# difference. The longer the queries, the more selective the weights are. A network
# learns how long to make them; here we choose 20 · √d.

# %%
weights = toy_weights(20 * math.sqrt(d) * frames, frames)
seconds = hop_length / rate
first = round(10 / seconds)
maps = {
    "each frame attends to those that sound like it": weights[:first, :first].sqrt()
}
ms.figures.maps_figure(
    maps,
    xlabel=f"Key: frame, {1000 * seconds:.0f} ms each",
    ylabel="Query: frame",
    unit="√ weight",
    columns=1,
    height=4.5,
)

# %% [markdown]
# The bright diagonal is each frame finding itself. The lines **beside** it run parallel:
# what sounds at moment $m$ sounds again a fixed time later, and again. How much later?
# Take the mean of the weights along each parallel.

# %%
lags = torch.stack([weights.diagonal(lag).mean() for lag in range(200)]) / even
ms.figures.curves_figure(
    {"attention": lags[7:]},
    xlabel="Distance of key and query (seconds)",
    ylabel="Times the even share",
    start=7 * seconds,
    step=seconds,
)

# %% tags=["nbval-check-output"]
best = 7 + lags[7:].argmax().item()
second = 7 + lags[7:].clone().index_fill_(0, torch.tensor(best - 7), 0).argmax().item()
print(f"beside its neighbors, a frame attends most to {best * seconds:.2f} s away,")
print(f"then to {second * seconds:.2f} s, which is {second / best:.0f} times as far")
print(f"four beats at 140 a minute last {4 * 60 / 140:.2f} s")

# %% [markdown]
# Attention has found the length of the bar without any information about bars.
#
# ## Take home the values
#
# Now let the values be the magnitudes too, and forbid each frame to look at anything
# nearer than 0.9 s, so that it cannot simply take itself: a score of $-\infty$ is a
# weight of zero. A frame takes home what the frames similar to it have in common. Where
# the mixture is louder than that, something else is sounding: lower it there.


# %%
def what_repeats(weights):
    values = rearrange(magnitude, "c f m -> m (c f)")
    taken = rearrange(weights @ values, "m (c f) -> c f m", c=len(magnitude))
    mask = (taken / magnitude.clamp_min(1e-8)).clamp(max=1)
    return ms.spectral.istft(mask * spectrogram, hop_length, length=mixture.shape[-1])


place = torch.arange(n_frames)
near = (place[:, None] - place).abs() < 20
scores = (20 * frames @ frames.T).masked_fill(near, -math.inf)
repeated = what_repeats(scores.softmax(dim=-1))
play(repeated, rate, "what repeats")

# %%
play(mixture - repeated, rate, "what does not")

# %% tags=["nbval-check-output"]
before = ms.metrics.usdr(reference=sources[0], estimate=mixture).item()
after = ms.metrics.usdr(reference=sources[0], estimate=repeated).item()
print(f"drums: {before:.1f} dB in the mixture, {after:.1f} dB in what repeats")
print(f"looking at nothing nearer than {20 * seconds:.1f} s. You said:", prediction)

# %% [markdown]
# From -1.3 to 2.3 dB, without a single learned weight. (The idea is older than
# transformers: it is called REPET-SIM.) Of course it only works if the drums are the
# part that repeats. A transformer learns for itself what to look for and what to take.
#
# **Change one thing.** Put 2 in place of 20 as the length of the queries, then 200, and
# listen again. With which length do all frames get the same mean, and with which does
# each get only its best copy?
#
# ## Attention ignores order
#
# Shuffle the keys, and the values in the same way. What changes?

# %% tags=["nbval-check-output"]
shuffled = torch.randperm(7)
taken = toy_attention(q, k, v)
again = toy_attention(q, k[shuffled], v[shuffled])
apart = (taken - again).abs().max()
print(claim("shuffled keys and values change it by", apart, below=1e-6, digits=8))

# %% [markdown]
# A sum has no order. For attention, a song is a set of frames. A convolution uses which
# frames are neighbors; attention uses only which frames are similar. If time and
# frequency are to matter, each position has to carry them **in itself**, as part of its
# features.
#
# HTDemucs adds to each frame a pattern of cosines and sines, from fast to slow, like the
# hands of a clock with very many hands. The fastest turns by one radian a frame, the slowest
# ten thousand times slower.


# %%
def toy_sines(frames, width):
    half = width // 2
    table = torch.zeros(frames, width)
    for m in range(frames):
        for i in range(half):
            phase = m / 10000 ** (i / (half - 1))
            table[m, i], table[m, half + i] = math.cos(phase), math.sin(phase)
    return table


# %%
show_source("mssedu.models.blocks.sines_1d")

# %% tags=["nbval-check-output"]
clock = ms.models.blocks.sines_1d(200, 64)
assert torch.allclose(toy_sines(200, 64), clock, atol=1e-4)
alike = clock @ clock.T / 32
pairs = alike[10, 13].item(), alike[100, 103].item()
print("alike: frames 10 and 13 by {:.3f}, 100 and 103 by {:.3f}".format(*pairs))
print("most alike to frame 100 is frame", alike[100].argmax().item())

# %% [markdown]
# Why both, cosine and sine? Because $\cos a \cos b + \sin a \sin b = \cos(a - b)$: the dot
# product of two clocks depends on their *distance* only. A head that compares clocks can
# look "three frames back", wherever it stands.
#
# In the spectrogram a position has two coordinates. Half of the features tell the frame,
# the other half the bin.

# %%
show_source("mssedu.models.blocks.sines_2d")

# %%
plane = ms.models.blocks.sines_2d(8, 200, 64)  # (frames, bins, width)
here = plane[100, 3]
maps = {
    "sines_1d: 64 features of 200 frames": clock.T,
    "alike to which frame?": alike,
    "sines_2d: alike to frame 100, bin 3?": (plane @ here / 32).T,
}
ms.figures.maps_figure(
    maps,
    xlabel="Frame",
    ylabel="Feature, frame, bin",
    columns=3,
    height=2.6,
)

# %% [markdown]
# On the left, the clock: below the fast cosines, then the slow ones, above them the
# sines. In the middle, the bright diagonal: near positions are similar. On the right,
# the position at bin 3 and frame 100 is most like itself, then like the same frame in
# other bins and the same bin in other frames.
#
# ## Self-attention and cross-attention
#
# Notebook 10 had two branches, one on the spectrogram, one on the waveform, and added
# them up at the bottom. That requires the same rate in both, and it cannot choose
# *what* is useful in the other branch. HTDemucs keeps the two sequences apart and lets
# them **look at each other**. Two kinds of layers take turns. In the even ones, each
# sequence attends to itself: query, key and value come from the same sequence.

# %%
show_source("mssedu.models.blocks.SelfAttentionLayer.forward")

# %% [markdown]
# In the odd ones the query comes from one sequence, key and value from the other.

# %%
show_source("mssedu.models.blocks.CrossAttentionLayer.forward")

# %% [markdown]
# Around each attention are two things that you may know: a skip, `x + …`, so that
# nothing is lost; and a **feed-forward** part, a small network that works on each
# position alone. New is `gamma`, a **layer scale**: one learned factor for each
# feature, 0.0001 at first. So at first a deep stack has almost no effect, and its
# effect grows in training.
#
# And this is all of it:

# %%
show_source("mssedu.models.blocks.CrossDomainTransformer.forward")

# %% [markdown]
# Note `layer(x, y), layer_t(y, x)` in one line: both look at the other as it was *before*
# this layer.
#
# How long are the two sequences? The spectrogram branch divides its 2048 bins by 4, four
# times; its frames stay, one each 1024 samples. The waveform branch shortens time by 4, four
# times. Count for the 7.8 s of a published model, then ask a real one; the sequences do not
# depend on its width.

# %% tags=["nbval-check-output"]
samples = round(7.8 * rate)
n_bins, n_columns = 2048 // 4**4, math.ceil(samples / 1024)
print(f"{samples} samples")
print(
    f"spectrogram: {n_bins} bins · {n_columns} frames = {n_bins * n_columns} positions"
)
print(f"waveform: {samples} / 256 = {math.ceil(samples / 256)} positions")
ends = ["crosstransformer[0]", "crosstransformer[1]"]
seen = ms.look_inside(
    ms.create_model("htdemucs", "tiny"), torch.zeros(1, 2, samples), ends
)
print("a real one:", *(tuple(value.shape) for value in seen.values()))

# %% [markdown]
# ## What it costs
#
# Every position looks at every other: the number of scores is positions². Twice as long
# a piece has four times as many. Here for the paper's eight heads, if each score were
# stored as a float32 of 4 bytes:

# %% tags=["nbval-check-output"]
print("seconds  spectrogram²  waveform²  stored, one self-attention each")
for length in (2, 4, 7.8, 16):
    m = math.ceil(length * rate / 1024)
    n_scores = (8 * m) ** 2, math.ceil(length * rate / 256) ** 2
    megabytes = 8 * 4 * sum(n_scores) / 1e6
    print(f"{length:7} {n_scores[0]:13,} {n_scores[1]:10,}  {megabytes:8,.0f} MB")
with torch.device("meta"):  # shapes only, no memory
    paper = ms.create_model("htdemucs")
n_parameters = sum(p.numel() for p in paper.parameters())
inner = sum(p.numel() for p in paper.crosstransformer.parameters())
share = 100 * inner / n_parameters
print(f"{n_parameters:,} parameters, {share:.0f} % of them in the transformer")

# %% [markdown]
# Storing is avoidable: PyTorch computes the scores piece by piece and forgets them, and
# then memory grows only with the length. The *time* does not get shorter by that. Measure it:

# %%
counts = [1000, 2000, 4000, 8000]
times = []
for count in counts:
    q = torch.randn(1, 1, count, 64)  # one head
    runs = []
    for _ in range(3):
        started = time.perf_counter()
        F.scaled_dot_product_attention(q, q, q)
        runs.append(1000 * (time.perf_counter() - started))
    times.append(min(runs))  # the one that was disturbed least
lines = {
    "positions": [times[-1] * (count / counts[-1]) for count in counts],
    "positions²": [times[-1] * (count / counts[-1]) ** 2 for count in counts],
    "measured": times,
}
ms.figures.sweep_figure(
    counts, lines, xlabel="Positions", ylabel="Time of one head (ms)"
)

# %% tags=["nbval-check-output"]
x, y = torch.tensor(counts).log(), torch.tensor(times).log()
exponent = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
print(claim("time grows as positions to the power", exponent, above=1.5, digits=2))

# %% [markdown]
# That is why HTDemucs gets 7.8 s at a time (`segment`), and `separate` gives it no more
# at once. There is a second reason: later positions never occurred in training.
#
# ## Train it
#
# The smallest preset, three layers of 64 features, on chunks of three seconds. The rest is
# as in notebook 06: remixed excerpts of four songs, `thresholded_snr`, and about a minute.

# %%
amounts = {
    "smoke": {"steps": 4, "batch_size": 1, "learning_rate": 3e-3},
    "cpu": {"steps": 80, "batch_size": 1, "learning_rate": 3e-3},
    "gpu": {"steps": 6000, "batch_size": 4, "learning_rate": 3e-4},
}


def build():
    torch.manual_seed(session.seed)
    if session.profile == "gpu":  # the size of the published one
        return ms.create_model("htdemucs", stems=stems)
    return ms.create_model("htdemucs", "tiny", stems=stems, segment=3.0)


def train(model):
    config = ms.training.TrainConfig(
        model="htdemucs",
        preset="paper" if session.profile == "gpu" else "tiny",
        stems=stems,
        segment=model.config.segment,
        loss="thresholded_snr",
        schedule="cosine",
        warmup_steps=2,
        level_db=-25.0,
        gain_db=(-8.0, 8.0),
        seed=session.seed,
        device=session.device,
        **amounts[session.profile],
    )
    losses = []

    def note(step, steps, loss, score):
        losses.append(loss)
        if step % max(steps // 5, 1) == 0:
            recent = losses[-max(steps // 5, 1) :]
            print(f"step {step} of {steps}: loss {sum(recent) / len(recent):.2f} dB")

    with tempfile.TemporaryDirectory() as folder:
        ms.fit(model, train_songs, None, config, folder, progress=note)
    return losses


model = build()
losses = train(model)


# %%
def smooth(values, width):
    width = min(width, len(values))
    return torch.tensor(values).unfold(0, width, 1).mean(1)


ms.figures.curves_figure(
    {"training": smooth(losses, 20)},
    xlabel="Step",
    ylabel="Loss, mean of 20 (dB)",
    start=20,
)

# %%
estimate = ms.separate(model, mixture)
play(estimate[0], rate, "drums, HTDemucs after a minute")

# %% [markdown]
# ## Switch it off
#
# Three quarters of the weights of the published model lie in its transformer. What did
# ours do for the result? A layer scale of zero switches off the part that it
# multiplies. So we can ask this without training again: set the scales to zero in the
# *odd* layers, where the branches look at each other; then in all. What is left is two
# U-Nets with norms and clocks between them.


# %%
def switched_off(model, layers):
    changed = copy.deepcopy(model)
    for branch in (changed.crosstransformer.layers, changed.crosstransformer.layers_t):
        for layer in branch[layers]:
            nn.init.zeros_(layer.gamma_1.scale)
            nn.init.zeros_(layer.gamma_2.scale)
    return changed


def score(model):
    return ms.metrics.usdr(reference=sources, estimate=ms.separate(model, mixture))


table = {
    "mixture": ms.metrics.usdr(reference=sources, estimate=mixture.expand_as(sources)),
    "cross off": score(switched_off(model, slice(1, None, 2))),
    "all off": score(switched_off(model, slice(None))),
    "trained": ms.metrics.usdr(reference=sources, estimate=estimate),
    "repeats": ms.metrics.usdr(
        reference=sources, estimate=torch.stack([repeated, mixture - repeated])
    ),
}
ms.figures.scores_figure(
    {row: dict(zip(stems, score.tolist(), strict=True)) for row, score in table.items()}
)

# %% tags=["nbval-check-output"]
gain = table["trained"] - table["mixture"]
print(claim("drums, above the mixture by", gain[0], above=2, unit="dB"))
worst = table["trained"].min()
print(claim("the worse stem; silence has 0", worst, above=0, unit="dB"))
for row in ("cross off", "all off"):
    change = (table["trained"] - table[row]).abs().max()
    print(claim(f"{row} changes the scores by", change, below=0.1, unit="dB", digits=3))

# %% [markdown]
# Training has gained more than 2 dB on the drums, and switching the transformer off
# costs nothing. ("repeats" is the program of the beginning that has learned nothing.
# Which one is better?) Is it the layer scales? They began at 0.0001.

# %%
transformer = model.crosstransformer
for name, branch in {"freq": transformer.layers, "time": transformer.layers_t}.items():
    for index, layer in enumerate(branch):
        of_attention = layer.gamma_1.scale.abs().mean().item()
        of_rest = layer.gamma_2.scale.abs().mean().item()
        kind = ("self", "cross")[index % 2]
        print(f"{name} {index} {kind:5}: attention {of_attention:.4f}", end="")
        print(f", feed-forward {of_rest:.4f}")

# %% tags=["nbval-check-output"]
state = model.state_dict()
scales = torch.cat([state[n] for n in state if "transformer" in n and "gamma" in n])
at_first = build().crosstransformer.layers[0].gamma_1.scale.mean()
now = scales.abs().mean()
print(f"layer scales, at first: {at_first:.4f}")
print(claim("now, in the mean", now, above=1e-3, below=0.05, digits=4))

# %% [markdown]
# They have grown a lot and are still small. That is a tempting explanation. Before you
# write it down, do a **control**: open all scales to 1. If they were what keeps the
# transformer out, now the scores should change, for better or worse. And a second one:
# silence what comes up from the bottom of both U-Nets, transformer included ("top 4"),
# then all that comes from below the second level, and the first. How many levels does
# this model use?


# %%
def opened(model):
    changed = copy.deepcopy(model)
    for name, scale in changed.crosstransformer.named_parameters():
        if "gamma" in name:
            nn.init.ones_(scale)
    return changed


def only(model, levels):  # of the U-Nets, from the top; nothing comes from below
    changed = copy.deepcopy(model)
    below = [changed.channel_downsampler, changed.channel_downsampler_t]
    if levels < model.config.depth:
        below = [part[-1 - levels] for part in (changed.decoder, changed.tdecoder)]
    for part in below:
        part.register_forward_hook(lambda part, inputs, output: 0 * output)
    return changed


table = {"trained": table["trained"], "opened": score(opened(model))}
table |= {f"top {n}": score(only(model, n)) for n in (4, 2, 1)}
ms.figures.scores_figure(
    {row: dict(zip(stems, score.tolist(), strict=True)) for row, score in table.items()}
)

# %% tags=["nbval-check-output"]
limits = {"opened": 0.1, "top 4": 0.1, "top 1": 0.5}
for row, limit in limits.items():
    change = (table[row] - table["trained"]).abs().max()
    text = f"{row} changes the scores by"
    print(claim(text, change, below=limit, unit="dB", digits=3))

# %% [markdown]
# > **What to notice.** It was *not* the layer scales. Nothing that comes from the
# > bottom changes the result, with or without a transformer. After a minute this deep
# > model is a shallow one: almost everything goes through the outermost skips.
#
# Without the controls we would have told you a nice story about layer scales. And what
# does it prove about transformers? Nothing. It proves that *this* model, after *this*
# minute, does not use its own. The gradient first improves what helps at once: the
# short path. Attention starts without any information about neighborhoods, so it needs
# more examples than other layers. The authors of HTDemucs saw this too, at full size:
# trained on the songs of MUSDB18 alone it "performs poorly"; with 800 songs more it is
# 0.45 dB better than Hybrid Demucs (notebook 10), trained on the same songs.
#
# Nor would a large loss prove that a part was needed: a model trained without it might
# have learned to do without. The fair ablation trains twice, as in notebook 06.
#
# ## Where it looks
#
# *Optional: leave out on the short path.*
#
# `forward` never holds the weights of an attention as a whole. To show them,
# `look_inside` makes the module compute them again. Three seconds of the test song; in
# the waveform branch a position is 256 samples, 6 ms. Here are four heads of its first
# layer, and below them the same heads of a model that has not been trained at all:

# %%
excerpt = slice(4 * rate, 7 * rate)
heard = mixture[None, :, excerpt]
inside = ms.look_inside(model.cpu(), heard, "crosstransformer.*attn.attention")
name = "crosstransformer.layers_t.0.self_attn.attention"
untrained = ms.look_inside(build(), heard, name)
maps = {f"head {n}": head for n, head in enumerate(inside[name][0, :4])}
maps |= {f"head {n}, untrained": head for n, head in enumerate(untrained[name][0, :4])}
ms.figures.maps_figure(maps, xlabel="Key", ylabel="Query", columns=4, height=2.0)

# %% [markdown]
# And the odd layer, where they look across, averaged over heads and bins:

# %%
cross = inside["crosstransformer.layers.1.cross_attn.attention"][0].mean(0)
crossed = inside["crosstransformer.layers_t.1.cross_attn.attention"][0].mean(0)
maps = {
    "spectrogram asks waveform": rearrange(cross, "(m f) n -> f m n", f=8).mean(0),
    "waveform asks spectrogram": rearrange(crossed, "n (m f) -> f n m", f=8).sum(0),
}
ms.figures.maps_figure(maps, xlabel="Key", ylabel="Query", columns=2, height=2.8)

# %% tags=["nbval-check-output"]
print("(heads, queries, keys)")
for name, weights in inside.items():
    print(tuple(weights.shape[1:]), name.removeprefix("crosstransformer."))
beat = 60 / 140
print(f"a beat is {beat:.2f} s or {beat * rate / 256:.0f} positions of the waveform")

# %% [markdown]
# Stripes mean that all queries prefer the same moments. The untrained maps have them
# too, so they are no sign of learning. Spots on a grid are more: certain moments look
# at each other. If they lie 74 positions apart, they are the beats, and hits look at
# hits.
#
# Do not conclude too much. A map shows where a layer looks. It does not show whether
# this changes the result. The controls have answered that: in this model, not yet.

# %% [markdown]
# ## The published weights
#
# *Optional: leave out on the short path.*
#
# The published model learned from MUSDB18 and 800 songs more, on eight GPUs. Does *it* use its
# transformer? And does it look at the bar?
#
# The weights are for personal and research use only, so they are not part of this book.
# The outputs below were made with them. If they are on your machine, because
# `ms.load_model("htdemucs")` has fetched them once, the cells find them and compute all
# of this again.

# %%
published = ms.weights.load_cached("htdemucs")
if published is None:
    print(ms.weights.how_to_get("htdemucs"))

# %% [markdown]
# ### Switch it off again
#
# The same experiment, with a model that was trained for long: 7.8 s of the test song,
# with drums, bass and other, and no voice. First the odd layers, where the branches
# look at each other, then all five layers.

# %%
figure = None
if published is not None:
    original = [s for s in ms.load_dataset(ms.data.demo_data()) if s.name == song.name]
    parts = original[0].with_stems(published.config.stems).sources(start=12, duration=8)
    parts = parts[..., : round(7.8 * rate)]
    versions = {
        "published": published,
        "cross off": switched_off(published, slice(1, None, 2)),
        "all off": switched_off(published, slice(None)),
    }
    found = {"mixture": parts.sum(0).expand_as(parts)}
    with torch.no_grad():
        found |= {row: net(parts.sum(0)[None])[0] for row, net in versions.items()}
    present = ("drums", "bass", "other")
    rows = {
        row: ms.metrics.usdr(reference=parts, estimate=estimate).tolist()
        for row, estimate in found.items()
    }
    stem_names = published.config.stems
    table = {
        row: {s: v for s, v in zip(stem_names, values, strict=True) if s in present}
        for row, values in rows.items()
    }
    for row, scores in table.items():
        print(f"{row:10}", *(f"{stem} {dB:6.1f} dB" for stem, dB in scores.items()))
    figure = ms.figures.scores_figure(table)
figure

# %% [markdown]
# | usdr, dB | drums | bass | other |
# |---|---|---|---|
# | mixture | -3.3 | 2.6 | -14.5 |
# | published | 13.8 | 16.8 | 19.1 |
# | cross off | 14.4 | 16.6 | 16.5 |
# | all off | -21.5 | -17.9 | -38.8 |
#
# (Made by the cell above, AMD EPYC, 2026-11-30.) Here the transformer *matters*:
# without it, every estimate is far worse than silence, which has 0 dB. Is that what it
# is worth? No. The decoders get an input at the bottom that never occurred in training,
# and their output is noise. It proves that this model *uses* its transformer, and ours
# did not.
#
# "Cross off" is the finer question. Without the two layers in which the branches look at
# each other, `other` loses 2.6 dB, and the drums *gain* 0.6. On these eight seconds the
# layers of self-attention carry most of it.
#
# ### Does it look at the bar?
#
# The eight heads of the third layer of the waveform branch, 7.8 s by 7.8 s. If a head looked
# for the same place in another bar, its map would have lines parallel to the diagonal, as the
# one at the beginning of this notebook has.

# %%
figure = None
if published is not None:
    name = "crosstransformer.layers_t.2.self_attn.attention"
    heads = ms.look_inside(published, parts.sum(0)[None], name)[name][0]
    maps = {f"head {index}": head.sqrt() for index, head in enumerate(heads)}
    figure = ms.figures.maps_figure(
        maps, xlabel="Key", ylabel="Query", columns=4, height=2.2
    )
figure

# %% [markdown]
# Look again in numbers. Which share of its attention does a head give to what lies
# within half a second of the query? With equal attention to all moments it would be 12
# %. And how much does it give to positions two beats and one bar away, compared with
# the quarter of a second around these? 1.0 means equally much.


# %%
def at_distance(head, seconds_away):
    """Attention at a distance, over the median of the quarter second on each side."""
    place, reach = round(seconds_away * rate / 256), 40
    means = [head.diagonal(n).mean() for n in range(place - reach, place + reach + 1)]
    means = torch.stack(means)
    return (means[reach - 2 : reach + 3].max() / means.median()).item()


if published is not None:
    apart = (torch.arange(len(heads[0]))[:, None] - torch.arange(len(heads[0]))).abs()
    near = apart <= 0.5 * rate / 256
    for index, head in enumerate(heads):
        share = 100 * (head * near).sum(1).mean().item()
        print(f"head {index}: within half a second {share:3.0f} %", end="")
        print(f", two beats away {at_distance(head, 2 * beat):5.1f}", end="")
        print(f", one bar away {at_distance(head, 4 * beat):5.1f}")

# %% [markdown]
# | head | within half a second | two beats away | one bar away |
# |---|---|---|---|
# | 0 | 20 % | 9.1 | 40.6 |
# | 1 | 8 % | 30.0 | 6.9 |
# | 2 | 16 % | 1.8 | 1.4 |
# | 3 | 96 % | 0.3 | 0.2 |
# | 4 | 9 % | 110.8 | 12.1 |
# | 5 | 85 % | 0.9 | 0.9 |
# | 6 | 52 % | 2.0 | 1.0 |
# | 7 | 98 % | 12.0 | 1.0 |
#
# (Made by the cell above, AMD EPYC, 2026-11-30.) **Yes, three of the eight do.** Heads
# 0, 1 and 4 leave the neighborhood: they attend to the same place in another beat or
# bar, where a loop plays again, without any information about the length of a bar.
# Their maps show spots and not lines: single moments, such as hits, look at their
# copies, and most moments look nowhere in particular.
# Heads 3, 5 and 7 are local, as a convolution is: almost all of their attention stays
# within half a second, and where a head gives almost no attention, a ratio such as the
# 12.0 of head 7 means nothing. Heads 2 and 6 are in between.
#
# Two warnings. These seconds are drums and bass that a machine repeats exactly; ask
# again where a voice sings without drums. And a map shows where a head looks, not for
# what purpose.

# %% [markdown]
# ## Sidebar: bands, and positions that rotate
#
# *Optional: leave out on the short path.*
#
# What came after HTDemucs keeps the attention and changes what it looks at.
#
# **Bands.** A band-split model works on the spectrogram alone. It cuts each frame into
# some sixty bands, narrow below, wide above, and makes *one* position of each band,
# with a layer of its own. Attention then takes turns: along time, each band for itself;
# across bands, each frame for itself. With $T$ frames and $K$ bands, that is $K T^2 + T
# K^2$ scores instead of $(T K)^2$. HTDemucs saves in another way: its convolutions
# leave only 8 bins.
#
# **RoPE**, rotary position embedding. HTDemucs *adds* its clocks once, before the first
# layer, where they mix with the sound. RoPE rotates instead: in *each* attention, pairs
# of features of $q$ and $k$ are rotated by an angle that grows with the position, and
# each pair has its own speed. Rotating both by the same angle leaves a dot product as
# it was. So the score depends on the distance alone, exactly, and the values stay
# untouched.
#
# Both together are BS-RoFormer (2023). Its large version won that year's Sound Demixing
# Challenge. A smaller one reaches 9.8 dB (csdr, MUSDB18-HQ) without any extra song, where
# HTDemucs with 800 more songs, fine-tuned for each stem, reaches 9.0 dB, and 9.2 dB in a
# version with sparse attention. With overlapping bands on the mel scale, which
# follows the ear, it is called Mel-Band RoFormer. And you have all the parts: take the
# toy, and rotate `q` and `k` before the scores.

# %% tags=["nbval-check-output"]


def rotate(x, speed=0.1):  # (positions, 2): one pair of features
    turn = torch.polar(torch.ones(len(x)), speed * torch.arange(len(x)))
    return torch.view_as_real(torch.view_as_complex(x) * turn)


one, two = torch.randn(1, 2).expand(200, 2), torch.randn(1, 2).expand(200, 2)
scores = rotate(one.contiguous()) @ rotate(two.contiguous()).T
apart = (scores[10, 13] - scores[100, 103]).abs()
print(claim("scores at the same distance differ by", apart, below=1e-4, digits=6))

# %% [markdown]
# ## What to remember
#
# - Attention: compare a query with all keys, softmax, take the mean of the values.
# - It ignores order. Positions must be added, by sines or by rotation.
# - Self-attention looks at the same sequence, cross-attention at another one, of
#   another length if need be.
# - Positions² scores: twice as long costs four times as much.
# - A layer scale near zero lets a deep stack start with almost no effect. It also shows
#   how much passes.
# - Switching a part off shows whether *this* model uses it, not what the part is worth.
# - Before you explain a result, do a control. Ours refuted the obvious explanation.
#
# **What this notebook does not show.** What a transformer gains: to show that takes
# hundreds of songs and days on GPUs. One minute, one seed, one test song by the same
# artist tell next to nothing about HTDemucs; the scores of our own model are those of
# its outermost convolutions. The published one was asked about eight seconds of one
# song. The song of the map at the beginning is played by a machine, with exact repeats;
# a live band gives weaker lines.
#
# ## Exercises
#
# *Optional: leave out `transformer.positions` and `transformer.cross_attention` on the short path.*

# %%
exercise("transformer.attention")


# %% tags=["exercise"]
def attention(q, k, v):
    return ...  # your code here


exercise("transformer.attention").check(attention)

# %%
exercise("transformer.positions")


# %% tags=["exercise"]
def positions(moments, width):
    return ...  # your code here


exercise("transformer.positions").check(positions)

# %%
exercise("transformer.cross_attention")


# %% tags=["exercise"]
def cross_attention(x, other, padding):
    return ...  # your code here


exercise("transformer.cross_attention").check(cross_attention)

# %%
exercise("transformer.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("transformer.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Begin with open layer scales: after `build`, set all `gamma`
# scales to 1 and train. Does the loss fall as fast? What does switching off cost
# now? Or train once with `t_layers=1`, which has no cross-attention, three seeds each: that
# is the fair ablation.

# %% [markdown]
# ## Sources
#
# - HTDemucs: S. Rouard, F. Massa and A. Défossez, "Hybrid transformers for music source
#   separation", *ICASSP* 2023, [arXiv:2211.08553](https://arxiv.org/abs/2211.08553).
# - Attention, sines: A. Vaswani et al., "Attention is all you need", *NeurIPS* 2017,
#   [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
# - Layer scale: H. Touvron, M. Cord, A. Sablayrolles, G. Synnaeve and H. Jégou, "Going
#   deeper with image transformers", *ICCV* 2021, [arXiv:2103.17239](https://arxiv.org/abs/2103.17239).
# - Attention piece by piece: T. Dao, D. Fu, S. Ermon, A. Rudra and C. Ré, "FlashAttention",
#   *NeurIPS* 2022, [arXiv:2205.14135](https://arxiv.org/abs/2205.14135).
# - What repeats: Z. Rafii and B. Pardo, "Music/voice separation using the similarity
#   matrix", *ISMIR* 2012.
# - RoPE: J. Su et al., "RoFormer: enhanced transformer with rotary position embedding",
#   2021, [arXiv:2104.09864](https://arxiv.org/abs/2104.09864).
# - Bands: Y. Luo and J. Yu, "Music source separation with band-split RNN", 2022,
#   [arXiv:2209.15174](https://arxiv.org/abs/2209.15174); W.-T. Lu, J.-C. Wang, Q. Kong and
#   Y.-N. Hung, "Music source separation with band-split RoPE transformer", *ICASSP* 2024,
#   [arXiv:2309.02612](https://arxiv.org/abs/2309.02612).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
