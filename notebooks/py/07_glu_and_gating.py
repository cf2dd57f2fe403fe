# %% [markdown]
# # 07 · GLU and gating
#
# > 门控线性单元（GLU）让网络自己决定每个值可以通过多少，Demucs 系列模型中到处都有它。本章从两行代码的玩具版本开始，观察门何时饱和、饱和之后还能学到什么。更重要的是学会公平地比较两个网络：参数量相同、使用多个随机种子、给出置信区间。你会看到，一次训练的胜负说明不了问题。最后观察一个训练好的模型在处理音乐时，它的门如何开合。
#
# **Aim.** After this notebook you can
#
# - build a gated linear unit (GLU), and say what its two halves do,
# - say when a gate saturates, and how much it then learns,
# - compare two networks fairly: equal parameters, several seeds, an interval,
# - look at the gates of a model while it works.
#
# | | |
# |---|---|
# | Path | optional, not on the short path |
# | Before | 03 (masks), 06 (a network and its training) |
# | Time | 65 minutes; the code runs in one to four minutes on two CPU cores, no GPU needed |
# | Data | the songs in `data/`: four to learn from, two to be tested on |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [08 · BiLSTM and context](08_bilstm_and_context.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $a$ | `values` | what may pass |
# | $b$ | `gates` | what decides about it, any number |
# | $\sigma(b) = 1 / (1 + e^{-b})$ | `.gate` | the gate: 0 is shut, 1 is open |
# | $y = a \, \sigma(b)$ | | what passes |

# %%
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
# Put your hand on a fader. Pull it down when there is no drum, push it up when there is.
# Someone who knows the drums does it here, a hundred times a second: the fader stands at
# the share of the energy that the drums have at that moment.

# %%
track = ms.load_track(ms.data.demo_data() / "valid" / "Francium")
rate = track.sample_rate
sources = track.sources(start=18, duration=4)
drums, mixture = sources[1], sources.sum(0)


def energy(audio, step=441):  # of each hundredth of a second
    return audio.mean(0).unfold(0, step, step).square().mean(1)


share = energy(drums) / (energy(drums) + energy(mixture - drums) + 1e-9)
fader = share.repeat_interleave(441)[None]
ms.figures.waveform_figure(
    {"mixture": mixture, "fader": fader, "drums": fader * mixture}, rate
)

# %%
play(mixture, rate, "mixture")

# %%
play(fader * mixture, rate, "mixture through the fader")

# %% tags=["nbval-check-output"]
before = ms.metrics.usdr(reference=drums, estimate=mixture).item()
after = ms.metrics.usdr(reference=drums, estimate=fader * mixture).item()
print(f"drums: {before:.1f} dB in the mixture, {after:.1f} dB through the fader")

# %% [markdown]
# The score rises from -6.2 to 3.6 dB: one fader removes what sounds between the hits,
# but nothing of what sounds during them. To do better you need many faders, each on a
# sound of its own. In notebook 03 there was one for each bin, and it was called a mask.
#
# A fader **multiplies**. The usual layer of a network does not: it adds up inputs, and
# lets only positive values through (ReLU). Can it do without faders?
#
# **Predict.** Two networks learn to take the drums out of a mixture. They have the same
# number of parameters and the same examples. One has faders in each layer, the
# other has ReLUs. Which one wins, and by how many dB?

# %%
prediction = ("?", "?")  # "faders", "ReLU" or "neither"; dB

# %% [markdown]
# ## Build it: the gated linear unit
#
# A layer makes two numbers where it used to make one. The first is the **value** $a$.
# The second, $b$, becomes the fader: mapped to 0 … 1 by the sigmoid $\sigma$.
#
# $$ y = a \, \sigma(b) $$


# %%
def toy_glu(x, dim):
    values, gates = x.chunk(2, dim)
    return values * torch.sigmoid(gates)


# %% [markdown]
# Every separator of the Demucs family is full of these. This is a level of its encoder,
# as the package has it; `nn.GLU` is PyTorch's name for the toy.

# %%
show_source("mssedu.models.demucs.encoder_layer")

# %%
show_source("mssedu.models.demucs._gated")

# %% tags=["nbval-check-output"]
demucs = ms.create_model("demucs", "tiny")
layer = demucs.encoder[0]


def toy_encoder_layer(x):
    first, second = layer[0], layer[2]
    x = F.conv1d(x, first.weight, first.bias, stride=4).relu()
    return toy_glu(F.conv1d(x, second.weight, second.bias), dim=1)


x = mixture[None]
assert torch.allclose(toy_encoder_layer(x), layer(x), atol=1e-6)
print("channels: 2, then", layer[0].out_channels, "then", layer[2].out_channels, end="")
print(", after the GLU", layer(x).shape[1])

# %% [markdown]
# The GLU halves the number of channels. Keep this in mind: the layer before it has to
# make **twice** as many, and that costs parameters.
#
# Is a ReLU not a gate as well? It is: $y = a \cdot [a > 0]$. But it decides by the same
# number that it lets through. It can never shut out a large positive number, and never
# let a negative one through. A GLU decides by *another* sum of its inputs.
#
# ## What a gate learns
#
# How does $y$ change with $a$, and with $b$?
#
# $$ \frac{\partial y}{\partial a} = \sigma(b), \qquad
#    \frac{\partial y}{\partial b} = a \, \sigma(b) \, (1 - \sigma(b)). $$

# %%
b = torch.linspace(-8, 8, 33)
gate = torch.sigmoid(b)
ms.figures.sweep_figure(
    b.tolist(),
    {"to a: σ(b)": gate.tolist(), "to b, for a = 1": (gate * (1 - gate)).tolist()},
    xlabel="b",
    ylabel="Derivative of y",
)

# %% tags=["nbval-check-output"]
a, b = torch.full((4,), 1.0), torch.tensor([0.0, 3.0, 6.0, -6.0])
a.requires_grad_(), b.requires_grad_()
toy_glu(torch.cat([a, b]), 0).sum().backward()
gate = torch.sigmoid(b.detach())
assert torch.allclose(a.grad, gate)
assert torch.allclose(b.grad, gate * (1 - gate))
for at, to_a, to_b in zip(b.tolist(), a.grad, b.grad, strict=True):
    print(f"b = {at:4.1f}: gate {to_a:.3f}, gradient to a {to_a:.3f}, to b {to_b:.3f}")

# %% [markdown]
# Half open ($b = 0$), a gate learns fastest. If it is fully open, it passes the whole
# gradient on to $a$, but its own gradient is nearly zero: it is **saturated**. If it is
# shut, it passes nothing on, and hardly learns either. A gate that is shut for every
# sound is a dead channel. Let us say saturated where the gate is below 0.05 or above
# 0.95. There, its slope is below a fifth of the largest.
#
# An open gate leaves the gradient as it is: that was the main idea of its authors. Older
# units had gates as well, but also a tanh on the values, $\tanh(a) \, \sigma(b)$. If
# $a$ is large, its gradient is then nearly zero, even if the gate is open.
#
# ## The two networks
#
# Both work on the waveform, mono and at a quarter of the sample rate, so that they
# learn while you wait. A convolution turns the sound into channels, 345 times a second;
# three layers combine neighboring times; a transposed convolution turns the channels
# back into sound (notebook 09 explains it). Only the unit differs.


# %%
def toy_layers(unit, width, first):
    n_out = 2 * width if unit is nn.GLU else width
    layers = [first(n_out)]
    for dilation in (1, 3, 9):
        layers += [unit(dim=1) if unit is nn.GLU else unit()]
        layers += [nn.Conv1d(width, n_out, 5, padding="same", dilation=dilation)]
    return [*layers, unit(dim=1) if unit is nn.GLU else unit()]


def toy_separator(unit, width):
    sizes = {"kernel_size": 128, "stride": 32, "padding": 48}
    layers = toy_layers(unit, width, lambda n_out: nn.Conv1d(1, n_out, **sizes))
    return nn.Sequential(*layers, nn.ConvTranspose1d(width, 1, **sizes))


# %% [markdown]
# ### Fair means: equal parameters
#
# With the same width the gated network would be nearly twice as large. If it then wins,
# you have learned that large networks win. So look for the width that matches.


# %%
def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def matched_width(make, unit, budget):
    """The width at which make(unit, width) is nearest to that many parameters."""
    with torch.device("meta"):  # shapes only: no memory, no numbers
        counts = {width: n_parameters(make(unit, width)) for width in range(8, 513)}
    return min(counts, key=lambda width: abs(counts[width] - budget))


# %% tags=["nbval-check-output"]
budget = n_parameters(toy_separator(nn.ReLU, 64))
matched = matched_width(toy_separator, nn.GLU, budget)
for unit, width in ((nn.ReLU, 64), (nn.GLU, 64), (nn.GLU, matched)):
    print(
        f"{unit.__name__:4} {width}: {n_parameters(toy_separator(unit, width)):7,} parameters"
    )

# %% [markdown]
# The gated network gets 45 channels, the other one 64.
#
# ### Fair means: more than one seed
#
# A seed fixes the first weights and the order of the examples. Another seed gives another
# score. So each network is trained three times, and we look at the mean and at its **95 %
# confidence interval**, which three runs make wide: $\pm 4.3$ times the deviation over
# $\sqrt 3$.
#
# Each example lasts one second. Its stems come from places drawn at random in the four
# songs, at random loudness.

# %%
steps, width, seeds = {
    "smoke": (10, 16, 2),
    "cpu": (200, 64, 3),
    "gpu": (2000, 256, 5),
}[session.profile]
small_rate, length = 11025, 11008  # Hz, samples
stems = ("drums", "vocals", "bass", "other")


def read(track):  # (stems, samples): mono, at the small rate
    audio = torch.stack([track.stem(stem).mean(0) for stem in stems])
    return ms.audio.resample(audio, track.sample_rate, small_rate)


tracks = ms.load_dataset(ms.data.demo_data())
songs = {track.name: read(track) for track in tracks if track.split != "train"}
pool = [read(track) for track in tracks if track.split == "train"]
levels = [audio.square().mean(1, keepdim=True).sqrt() for audio in pool]
pool = torch.cat([a / r.clamp_min(1e-3) for a, r in zip(pool, levels, strict=True)], 1)
print(f"{pool.shape[1] / small_rate:.0f} s to learn from; tested on", *songs)


# %%
def examples(generator, batch_size=4):  # (batch, stems, 1, samples)
    starts = torch.randint(pool.shape[1] - length, (batch_size, 4), generator=generator)
    gains_db = 16 * torch.rand(batch_size, 4, 1, generator=generator) - 8
    rows = [[pool[j, s : s + length] for j, s in enumerate(row)] for row in starts]
    sources = torch.stack([torch.stack(row) for row in rows])
    return (sources * 10 ** (gains_db / 20))[:, :, None]


def estimate_drums(model, mixture):  # (batch, 1, samples), brought to deviation 1
    level = mixture.std((1, 2), keepdim=True)
    return model(mixture / level) * level


def train(model, seed):
    model.to(session.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        sources = examples(generator).to(session.device)
        mixture = sources.sum(1)
        estimate = estimate_drums(model, mixture)
        loss = ms.training.thresholded_snr(  # of the drums, and of the rest
            estimate=torch.stack([estimate, mixture - estimate], 1),
            reference=torch.stack([sources[:, 0], sources[:, 1:].sum(1)], 1),
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        cosine.step()


# %%
@torch.no_grad()
def separate_drums(model, song):
    mixture = song.sum(0)[: song.shape[1] // 32 * 32]  # whole steps
    return estimate_drums(model.cpu(), mixture[None, None])[0]


def score(model):  # dB, mean over the songs that were not trained on
    each = []
    for song in songs.values():
        estimate = separate_drums(model, song)
        reference = song[:1, : estimate.shape[1]]
        each.append(ms.metrics.usdr(reference=reference, estimate=estimate).item())
    return sum(each) / len(each)


def runs(make, unit, width):
    models, scores = [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = make(unit, width)
        train(model, seed)
        models.append(model)
        scores.append(score(model))
        print(f"{unit.__name__} {width}, seed {seed}: {scores[-1]:.2f} dB")
    return models, scores


# %%
relu_models, relu = runs(toy_separator, nn.ReLU, width)

# %%
matched = matched_width(
    toy_separator, nn.GLU, n_parameters(toy_separator(nn.ReLU, width))
)
glu_models, glu = runs(toy_separator, nn.GLU, matched)

# %%
both = {"ReLU": relu, "GLU": glu}
ms.figures.interval_figure(both, xlabel="usdr of the drums, mean of two songs (dB)")

# %% [markdown]
# Each ring is a run, each square the mean with its interval. The intervals are wide.
# But look closer: run number 0 of both networks got *the same* examples in the same
# order, and so did runs 1 and 2. Part of the scatter is common to both. Take it away,
# and look at the **differences**, seed by seed.

# %%
gain = [g - r for g, r in zip(glu, relu, strict=True)]
ms.figures.interval_figure({"GLU - ReLU": gain}, xlabel="Difference (dB)", zero=True)

# %% tags=["nbval-check-output"]
mean, half_width = ms.evaluation.mean_interval(gain)
print(claim("lead of the GLU, worst seed", min(gain), above=0, unit="dB"))
print(claim("on average", mean, above=1, unit="dB"))
print("You said:", prediction)

# %% [markdown]
# > **What to notice.** At equal parameters the gates win with every seed, on average by at
# > least 1 dB.
#
# Hear it: six seconds of a song that neither has learned from.


# %%
def excerpt(name, start, seconds=6):
    first = round(start * small_rate)
    return songs[name][:, first : first + seconds * small_rate // 32 * 32]


song = excerpt("Francium", 18)
play(song.sum(0)[None], small_rate, "mixture")

# %%
ms.listening.ABSwitch(
    {
        "drums by the ReLU network": separate_drums(relu_models[0], song),
        "drums by the GLU network": separate_drums(glu_models[0], song),
        "drums, true": song[:1],
    },
    small_rate,
)

# %% [markdown]
# Neither is good; each has learned for a few seconds. One difference is easy to
# measure: how loud the estimated drums are.

# %% tags=["nbval-check-output"]
energies = {
    "ReLU": separate_drums(relu_models[0], song).square().sum(),
    "GLU": separate_drums(glu_models[0], song).square().sum(),
    "true": song[0].square().sum(),
}
level_db = {k: 10 * (e / energies["true"]).log10().item() for k, e in energies.items()}
apart = level_db["GLU"] - level_db["ReLU"]
print(claim("GLU, level beside the true drums", level_db["GLU"], below=0, unit="dB"))
print(claim("ReLU, softer than GLU by", apart, above=3, unit="dB"))

# %% [markdown]
# A model in doubt stays quiet: an estimate that is too soft costs less than a wrong
# one. The ReLU network is more in doubt.
#
# ### The unfair comparison
#
# And if we had kept the width? **Change one thing**: the GLU network gets 64 channels as
# well, and with them nearly twice the parameters.

# %%
wide_models, wide = runs(toy_separator, nn.GLU, width)

# %% tags=["nbval-check-output"]
more = ms.evaluation.mean_interval([w - g for w, g in zip(wide, glu, strict=True)])[0]
sizes = [n_parameters(models[0]) for models in (glu_models, wide_models)]
print("parameters:", " and ".join(f"{size:,}" for size in sizes))
print(claim("the larger one is better by", more, above=-0.5, below=0.5, unit="dB"))

# %% [markdown]
# Here the extra parameters change less than 0.5 dB, and the unfair table would have
# looked nearly the same. But you know that only because you made the fair one.
#
# ## When there is a gate already
#
# Why do gates help? One guess: a separator has to *multiply*, to turn the sound down where
# it is not drums. ReLUs can only imitate a product. Then a network that ends with a mask
# should not need them: its last step is a product.
#
# Test the guess. The same three layers, with either unit, now look at a spectrogram and
# return a mask for it (notebook 03).
#
# **Predict.** How much do gates gain here?

# %%
prediction_mask = "?"  # dB


# %%
class ToyMaskNet(nn.Module):
    def __init__(self, unit, width, n_fft=512):
        super().__init__()
        bins = n_fft // 2 + 1
        layers = toy_layers(unit, width, lambda n_out: nn.Conv1d(bins, n_out, 1))
        self.network = nn.Sequential(*layers, nn.Conv1d(width, bins, 1))
        self.n_fft = n_fft

    def forward(self, mixture):
        spectrogram = ms.spectral.stft(mixture, self.n_fft, self.n_fft // 4)
        loudness = torch.log(spectrogram.abs()[:, 0] + 0.1)
        mask = torch.sigmoid(self.network(loudness))[:, None]
        return ms.spectral.istft(
            mask * spectrogram, self.n_fft // 4, length=mixture.shape[-1]
        )


# %%
_, relu_mask = runs(ToyMaskNet, nn.ReLU, width)

# %%
mask_budget = n_parameters(ToyMaskNet(nn.ReLU, width))
mask_width = matched_width(ToyMaskNet, nn.GLU, mask_budget)
_, glu_mask = runs(ToyMaskNet, nn.GLU, mask_width)

# %%
gain_mask = [g - r for g, r in zip(glu_mask, relu_mask, strict=True)]
both = {"waveform": gain, "mask": gain_mask}
ms.figures.interval_figure(
    both, xlabel="GLU - ReLU, at equal parameters (dB)", zero=True
)

# %% tags=["nbval-check-output"]
print("parameters:", mask_budget, "and", n_parameters(ToyMaskNet(nn.GLU, mask_width)))
mean_mask, half_width_mask = ms.evaluation.mean_interval(gain_mask)
print(claim("gain of the gates", mean_mask, below=0.4, unit="dB"))
print(claim("less than without the mask by", mean - mean_mask, above=1, unit="dB"))
print(reveal(prediction_mask, mean_mask, "dB"))

# %% [markdown]
# Nothing gained, as the guess predicted. That does not *prove* the guess: the two kinds
# of network differ in more than the mask. But it could have refuted it. And it is a
# warning: gates do not help everywhere.
#
# ## Look inside
#
# `look_inside` runs a model once and returns what its parts computed, by name. The gates
# of each `nn.GLU` have the name of the module, and `.gate`.

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
song = excerpt("Sodium", 12)
x = song.sum(0)[None, None] / song.sum(0).std()
gates = {
    "fresh": ms.look_inside(toy_separator(nn.GLU, matched), x, "*.gate"),
    "trained": ms.look_inside(glu_models[0], x, "*.gate"),
}
for name, values in gates["fresh"].items():
    print(name, tuple(values.shape), "= (batch, channels, frames)")

# %%
ms.figures.histogram_figure(
    {
        f"{state}, layer {number}": values
        for state, found in gates.items()
        for number, values in enumerate(found.values(), 1)
    },
    xlabel="Gate",
    columns=4,
)

# %% tags=["nbval-check-output"]
for state, found in gates.items():
    deep = torch.stack([*found.values()][1:])  # layers 2 to 4
    moved = 100 * ((deep - 0.5).abs() > 0.2).float().mean()
    saturated = 100 * ((deep - 0.5).abs() > 0.45).float().mean()
    print(claim(f"{state}: under 0.3 or over 0.7", moved, above=10, unit="%"), end="; ")
    print(claim("saturated", saturated, below=10, unit="%"))

# %% [markdown]
# Untrained gates are half open. Training moves them, some as far as the ends, but less
# than a tenth saturate: they are faders rather than switches. What do they follow? For
# each layer, find the channel whose gate correlates most with the loudness of the true
# drums, positively or negatively.

# %%
loudness = song[0].unfold(0, 32, 32).square().mean(1).sqrt()
loudness = F.avg_pool1d(loudness[None], 11, 1, 5)  # (1, frames), over 32 ms


def follows(values):  # correlation of each channel's gate with the drums
    return torch.corrcoef(torch.cat([loudness, values[0]]))[0, 1:]


# %% tags=["nbval-check-output"]
for number, name in enumerate(gates["fresh"], 1):
    fresh, trained = (follows(gates[state][name]).abs().max() for state in gates)
    print(claim(f"layer {number}: fresh", fresh, above=0.6, digits=2), end="; ")
    print(claim("trained", trained, above=0.6, digits=2))

# %%
values = gates["trained"]["3.gate"]  # of layer 2
channel = follows(values).argmax().item()
loudest = song.sum(0).abs().max()
shown = {"mixture": song.sum(0)[None] / loudest, "drums": song[:1] / loudest}
shown["gate"] = values[0, channel].repeat_interleave(32)[None]
ms.figures.waveform_figure(shown, small_rate)

# %% [markdown]
# Nothing in the training asks for a fader. Still, this gate is half open between the
# hits, and opens further at each hit. It is not as good as the fader of the beginning:
# at the very left it opens for a loud sound that is not a drum, and it never shuts. The
# next layers have to do the rest.
#
# The first layer has no such gate. Its $b$ is one sum over 128 samples of the wave, and
# goes up and down with the wave. Loudness is never negative; a second layer is needed
# to compute it.
#
# ### In a real model
#
# A tiny Demucs has ten GLUs, one in each level of the encoder and of the decoder. All of
# them can be seen in the same way.

# %% tags=["nbval-check-output"]
names = [name for name in ms.inspect.inside_names(demucs) if name.endswith(".gate")]
print(*names, sep="\n")

# %%
found = ms.look_inside(demucs, mixture[None], ["encoder.*.gate", "decoder.*.gate"])
ms.figures.histogram_figure(found, xlabel="Gate", columns=5)

# %% tags=["nbval-check-output"]
values = torch.cat([value.flatten() for value in found.values()])
farthest = (values - 0.5).abs().max()
print(claim("farthest from half open", farthest, below=0.1, digits=3))

# %% [markdown]
# In this untrained Demucs every gate is half open, and halves its values. In notebook
# 09 the same model is trained, and you can come back and look.
#
# ## What to remember
#
# - A GLU makes two numbers of its input, and multiplies one by the sigmoid of the other.
#   It costs twice the channels.
# - An open gate passes the gradient on unchanged. A saturated one hardly learns.
# - Compare at equal parameters, with several seeds, and seed by seed.
# - Where a network has to make a waveform, gates gained at least 1 dB at equal parameters.
#   In front of a mask, which is a gate itself, they gained nothing.
# - Trained gates are faders, not switches, and some of them follow an instrument.
#
# **What this notebook does not show.** Three seeds, two songs of one artist, two
# hundred steps, networks of 78,000 parameters, one stem, one learning rate for both. A
# ReLU network might do better at another rate or depth, and the gap may shrink with
# longer training. The interval tells about other seeds only; it says nothing about
# other songs. And another machine rounds differently, which acts like another seed: its
# scores may end elsewhere.
#
# ## Exercises

# %%
exercise("gating.glu")


# %% tags=["exercise"]
def soft_glu(x, dim, sharpness):
    return ...  # your code here


exercise("gating.glu").check(soft_glu)

# %%
exercise("gating.gradient")


# %% tags=["exercise"]
def gate_gradient(a, b):
    return ...  # your code here


exercise("gating.gradient").check(gate_gradient)

# %%
exercise("gating.matched_width")


# %% tags=["exercise"]
def equal_width(relu_width, n_in, n_out, kernel_size):
    return ...  # your code here


exercise("gating.matched_width").check(equal_width)

# %%
exercise("gating.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("gating.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Put `nn.GELU` in place of `nn.ReLU`, a smooth ReLU without a
# second half: does it come nearer to the gates? And replace $a \, \sigma(b)$ by $a \,
# b$: is a product enough, or is the sigmoid needed? Run both with three seeds before
# you believe your answer.

# %% [markdown]
# ## Sources
#
# - GLU: Y. N. Dauphin, A. Fan, M. Auli and D. Grangier, "Language modeling with gated
#   convolutional networks", *ICML* 2017, [arXiv:1612.08083](https://arxiv.org/abs/1612.08083).
# - Gates with tanh: A. van den Oord et al., "Conditional image generation with PixelCNN
#   decoders", *NeurIPS* 2016, [arXiv:1606.05328](https://arxiv.org/abs/1606.05328).
# - GLU in separation: A. Défossez, N. Usunier, L. Bottou and F. Bach, "Music source
#   separation in the waveform domain", 2019, [arXiv:1911.13254](https://arxiv.org/abs/1911.13254).
# - Other gates, compared at equal parameters: N. Shazeer, "GLU variants improve
#   transformer", 2020, [arXiv:2002.05202](https://arxiv.org/abs/2002.05202).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
