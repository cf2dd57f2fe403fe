# %% [markdown]
# # 06 · U-Net on spectrograms
#
# **Aim.** After this notebook you can
#
# - build a U-Net in ten lines, and show that it is the one of Spleeter,
# - say what size is left after each layer, and why some pictures do not fit,
# - turn what a network puts out into masks, and choose where the loss looks,
# - train a small one on two stems, and measure what its skips are worth.
#
# | | |
# |---|---|
# | Before | 02 (spectrograms), 03 (masks, silence and mixture as rows of a table) |
# | Time | one hour; the code runs in two minutes on two CPU cores, no GPU needed |
# | Data | the songs in `data/`: four to learn from, *Sodium* to be tested; nothing to download |
# | Licence | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $X$ | `spectrogram` | complex spectrogram of the mixture |
# | $\lvert X \rvert$ | `blocks` | its magnitude, cut into pictures of equal width |
# | $z_j$ | `logits` | what the network of stem $j$ puts out: any number for each bin |
# | $\sigma(z) = 1 / (1 + e^{-z})$ | `sigmoid` | brings any number between 0 and 1 |
# | $M_j$ | `mask` | share of stem $j$ in a bin |

# %%
import tempfile

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

import mssedu as ms
from mssedu.course import claim, exercise, play, reveal, setup, show_source

# %%
session = setup()
session

# %% [markdown]
# ## Listen first
#
# Two stems make it simple: the drums, and the **rest** of the song, which is everything
# else together.

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
# **Predict.** The mixture itself, taken for the drums, makes as much error as the rest
# is loud. A small network will learn from four songs for less than a minute, then
# separate this one, which it has never heard. By how many decibels will it be better
# than the mixture? And by how many if we take away its *skips*, which you will get to
# know in a moment?

# %%
prediction = {"with skips": "?", "without": "?"}  # dB better than the mixture

# %% [markdown]
# ## A spectrogram is a picture
#
# In notebook 03 someone who knew the answer made the masks. Now nobody does. A network
# looks at the mixture's magnitude, a picture with a height of `bins`, a width of
# `frames` and two channels, and paints a mask of the same size.
#
# A single bin tells nothing. Whether it belongs to a drum shows in what lies *around*
# it: a vertical line is a hit, a horizontal one a note. So the network must look far.
# And it must paint finely, bin by bin. Far *and* fine: that is the problem that the
# **U-Net** solves.
#
# 1. **Encoder**: halve the picture, again and again. The pixels of a small picture see a
#    large part of the sound.
# 2. **Decoder**: double it back to full size.
# 3. **Skips** (also called shortcuts): beside each doubled picture, put the one of the
#    same size from the way down. It holds the fine lines that the small one has lost.
#
# Drawn on paper, down on the left and up on the right, it looks like a U.
#
# ## What is left of 1024 bins?
#
# A convolution lays its kernel of $k$ weights on the picture, multiplies, adds up, and
# goes on by `stride` steps. With $p$ zeros at both ends together, a picture of size $n$
# becomes
#
# $$ n' = \left\lfloor \frac{n + p - k}{\text{stride}} \right\rfloor + 1 . $$
#
# Spleeter's kernels are 5 · 5, the stride is 2. With $p = 3$, one zero in front and two
# behind, every even size is exactly halved. The way up uses a **transposed convolution**:
# each value stamps a whole kernel onto the larger picture, 2 steps apart, and what
# overlaps is added up. Of $n$ values it makes $2 (n - 1) + k$; what lies beyond $2n$ is
# cut off.

# %% tags=["nbval-check-output"]
down, up = nn.Conv1d(1, 1, 5, stride=2), nn.ConvTranspose1d(1, 1, 5, stride=2)


def halved(n, kernel=5, stride=2, padding=3):
    return (n + padding - kernel) // stride + 1


for n in (1024, 512, 100, 25):
    x = down(F.pad(torch.zeros(1, 1, n), (1, 2)))
    assert x.shape[-1] == halved(n) == n // 2
    assert up(x).shape[-1] == 2 * (halved(n) - 1) + 5
    print(f"{n:4} values: {halved(n):3} after the encoder, {2 * halved(n):4} again")

# %% [markdown]
# 25 values come back as 24. Then the doubled picture and its shortcut do not fit
# together, and `torch.cat` refuses:

# %% tags=["nbval-check-output"]
x = torch.zeros(1, 1, 25)
try:
    torch.cat([x, torch.zeros(1, 1, 2 * halved(25))], dim=1)
except RuntimeError as error:
    print("refused:", str(error).partition(".")[0])

# %% [markdown]
# With six levels, all sizes must be multiples of $2^6 = 64$. That is why Spleeter reads
# 1024 of its 2049 bins, up to 11 kHz, and cuts the song into **blocks** of 512 frames;
# zeros fill up the last one. Here are all its pictures.

# %% tags=["nbval-check-output"]
config = ms.create_model("spleeter").config
bins, frames = config.bins, config.frames
for level, filters in enumerate(config.filters, 1):
    bins, frames = halved(bins), halved(frames)
    print(f"level {level}: {filters:3} channels of {bins:3} bins x {frames:3} frames")
print(f"one pixel of level {level}: {2**level * rate / config.n_fft:.0f} Hz high and")
print(f"{2**level * config.hop_length / rate:.1f} s wide")

# %% [markdown]
# ## Build it: a U-Net in ten lines
#
# A U-Net contains a smaller U-Net. So the shortest way to write one is a function that
# calls itself: halve, let the rest of the U work on the small picture, double, done.
# The layers with their weights are those of the package, so that we can compare.


# %%
def toy_unet(x, network, level=0, skips=True):
    shortcut = network.encoder[level](F.pad(x, (1, 2, 1, 2)))  # half the size
    x = shortcut
    if level + 1 < len(network.encoder):
        x = F.elu(network.encoder_norms[level](shortcut))
        below = toy_unet(x, network, level + 1, skips)
        x = torch.cat([shortcut if skips else below, below], dim=1)
    doubled = network.decoder[-1 - level](x)[..., :-1, :-1]
    return network.decoder_norms[-1 - level](F.elu(doubled))


# %% [markdown]
# `skips=False` will be our experiment: instead of the shortcut, the picture from below is
# given twice. Every layer keeps its size and its number of weights, and only the
# shortcut is missing.
#
# The real one writes the same as two loops, down and up.

# %%
show_source("mssedu.models.spleeter.UNet.forward")

# %% tags=["nbval-check-output"]
small = {
    "n_fft": 4096,
    "hop_length": 2048,  # half the work of the customary 1024
    "bins": 512,  # up to 5.5 kHz
    "mask_extension": "average",  # above, the mean of the mask below
    "frames": 64,
    "filters": (8, 16, 32, 64, 64),
}
model = ms.create_model("spleeter", "tiny", stems=stems, **small).eval()
network = model.networks[0]
picture = torch.rand(1, 2, 512, 64)
with torch.no_grad():
    toy, real = network.output(toy_unet(picture, network)), network(picture)
assert torch.allclose(toy, real, atol=1e-4)
print("picture in and out:", tuple(picture.shape), tuple(real.shape))

# %% [markdown]
# After the last doubling there is one channel left. The layer `output` turns it into one
# picture for the left and one for the right channel.
#
# How large is such a network? A layer with kernels of $k \times k$ has
# $k^2 \cdot \text{in} \cdot \text{out}$ weights, and `out` biases. Note that skips double
# the `in` of the decoder's layers.

# %% tags=["nbval-check-output"]
for name, net in {
    "ours": network,
    "Spleeter's": ms.models.spleeter.UNet(config),
}.items():
    weights = [layer.weight.numel() for layer in (*net.encoder, *net.decoder)]
    n_parameters = sum(p.numel() for p in net.parameters())
    levels = len(net.encoder)
    share = sum(weights[levels - 1 : levels + 1]) / n_parameters
    print(f"{name:10}: {n_parameters:9,} parameters a stem, {100 * share:.0f} % of")
    print(f"{'':12}them in the two deepest layers")

# %% [markdown]
# ## The mask head
#
# The network puts out any numbers: **logits**. Two steps turn them into masks.
#
# 1. A sigmoid brings each logit between 0 and 1. Times the mixture, that is a guess of
#    the stem's magnitude: $\hat S_j = \sigma(z_j) \, |X|$. It can never be larger than the mixture's.
# 2. Each stem has its own network, and the guesses do not add up. So they are used
#    as in notebook 03, to share out: $M_j = \hat S_j^2 / \sum_i \hat S_i^2$.


# %%
def toy_masks(logits, blocks):
    magnitude = logits.sigmoid() * blocks.unsqueeze(1)  # a stem axis
    power = magnitude**2 + 0.5e-10  # two guesses of zero share equally
    return power / power.sum(1, keepdim=True)


# %%
show_source("mssedu.models.spleeter.Spleeter.stem_magnitudes")

# %%
show_source("mssedu.models.spleeter.Spleeter.ratio_masks")

# %% tags=["nbval-check-output"]
with torch.no_grad():
    logits = torch.stack([net(picture) for net in model.networks], dim=1)
    masks = model.ratio_masks(model.stem_magnitudes(picture))
assert torch.allclose(toy_masks(logits, picture), masks, atol=1e-4)
print("masks:", tuple(masks.shape), "= (batch, stems, channels, bins, frames)")
print(f"sum of the masks: {masks.sum(1).min():.4f} to {masks.sum(1).max():.4f}")

# %% [markdown]
# Because the masks sum to one, what the drums lack the rest has too much. With two stems
# both errors are *the same sound* with opposite signs. Whichever stem is louder has the
# higher score, for no other reason. So we will quote the mean of both.
#
# ## Where the loss looks
#
# What should training make small? Spleeter compares **magnitudes** with the true ones.
# One can as well go back to the **waveform** and compare samples; the gradient then
# passes the inverse STFT and the mask on its way to the network. Try both on faults that
# you can hear or not. Silence as the estimate counts 100 %.

# %% tags=["nbval-check-output"]
true = sources[None, :1]
faults = {
    "silence": torch.zeros_like(true),
    "half as loud": 0.5 * true,
    "sign flipped": -true,
    "1 ms late": F.pad(true, (44, 0))[..., :-44],
}
print(f"{'':14}magnitude_l1  waveform_l1")
for name, estimate in faults.items():
    values = []
    for loss in (ms.training.magnitude_l1, ms.training.waveform_l1):
        silence = loss(estimate=torch.zeros_like(true), reference=true)
        values.append(100 * loss(estimate=estimate, reference=true) / silence)
    print(f"{name:14}{values[0]:10.0f} % {values[1]:10.0f} %")

# %%
play(faults["1 ms late"][0, 0], rate, "drums, 1 ms late")

# %% [markdown]
# A loss on magnitudes forgives what your ear forgives: a flipped sign, a small delay. It
# also forgives what no mask can repair, as the phase stays that of the mixture. A loss on
# the waveform forgives nothing. It asks for the *phase-sensitive* mask: where the
# phases disagree, the bin is better turned down. And it follows the score. We train
# with `thresholded_snr`, the energy of the error in the waveform, in decibels.
#
# ## Train it
#
# `fit` draws short excerpts of the four training songs, mixes drums of one with the rest
# of another, and corrects the weights after every two of them.
#
# One trap is worth a comment. Batch norm learns a running average of what passes it, to be
# used afterwards, when we separate. In Spleeter this average moves by 1 % a step. After a
# hundred steps it would still remember the untrained network! So ours moves faster. And
# all masks begin at one half: the last layer starts with weights of zero.

# %%
amounts = {
    "smoke": {"steps": 4, "batch_size": 2},
    "cpu": {"steps": 120, "batch_size": 2},
    "gpu": {"steps": 6000, "batch_size": 8},  # with Spleeter's own sizes
}


def build():
    torch.manual_seed(session.seed)
    if session.profile == "gpu":
        return ms.create_model("spleeter", stems=stems, mask_extension="average")
    model = ms.create_model("spleeter", "tiny", stems=stems, **small)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 0.1
    for network in model.networks:
        nn.init.zeros_(network.output.weight)
    return model


def train(model):
    rate = 1e-3 if session.profile == "gpu" else 1e-2
    config = ms.training.TrainConfig(
        stems=stems,
        segment=model.config.segment,
        loss="thresholded_snr",
        learning_rate=rate,
        schedule="cosine",
        level_db=-25.0,
        gain_db=(-8.0, 8.0),
        seed=session.seed,
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


# %%
with_skips = build()
losses = {"with skips": train(with_skips)}

# %% [markdown]
# ## Take the skips away
#
# The same network, the same weights to begin with, the same excerpts in the same order.
# Only the toy's `skips=False`. In science this is called an **ablation**: remove one
# part, train again, and see what it was good for.


# %%
class NoSkips(ms.models.spleeter.UNet):
    def forward(self, magnitude):
        return self.output(toy_unet(magnitude, self, skips=False))


without = build()
for network in without.networks:
    network.__class__ = NoSkips  # same weights, another way through them
losses["without"] = train(without)


# %%
def smooth(values, width):
    width = min(width, len(values))
    return torch.tensor(values).unfold(0, width, 1).mean(1)


lines = {name: smooth(values, 30) for name, values in losses.items()}
ms.figures.curves_figure(lines, xlabel="Step", ylabel="Loss, mean of 30 (dB)", start=30)

# %% [markdown]
# The curves run side by side, because both saw the same excerpts: where one found it
# hard, so did the other. The distance between them is what the skips do. Now the song that neither has
# heard.

# %%
estimates = {
    "silence": torch.zeros_like(sources),
    "mixture": mixture.expand_as(sources),
    "without skips": ms.separate(without, mixture),
    "with skips": ms.separate(with_skips, mixture),
}
table = {
    row: ms.metrics.usdr(reference=sources, estimate=estimate)
    for row, estimate in estimates.items()
}
ms.figures.scores_figure(
    {row: dict(zip(stems, score.tolist(), strict=True)) for row, score in table.items()}
)

# %% tags=["nbval-check-output"]
total = estimates["with skips"].sum(0)
rest = (total - mixture).abs().max()
print(claim("sum of the estimates minus the mixture", rest, below=1e-4, digits=6))
gain = {row: (score - table["mixture"]).mean() for row, score in table.items()}
best, plain = gain["with skips"], gain["without skips"]
worst = table["with skips"].min()
print(claim("mean gain over the mixture", best, above=3, unit="dB"))
print(claim("the worse stem; silence has 0", worst, above=0, unit="dB"))
print(claim("due to the skips", best - plain, above=0.5, unit="dB"))
late = {name: sum(values[-50:]) / 50 for name, values in losses.items()}
worse = late["without"] - late["with skips"]
print(claim("loss of the last 50 steps, lower by", worse, above=0.5, unit="dB"))
for row, decibels in {"with skips": best, "without": plain}.items():
    print(f"{row}:", reveal(prediction[row], decibels.item(), "dB"))

# %% [markdown]
# > **What to notice.** In less than a minute of training the small U-Net is more than 3 dB
# > better than the mixture, and better than silence on both stems. Take the skips away, and
# > at least half a decibel of that is lost, with the same number of weights. All of this
# > holds for *these* twenty seconds; we will come back to that.
#
# Listen to what that means. Which of the two has blurred edges?

# %%
ms.listening.ABSwitch(
    {
        "drums, without skips": estimates["without skips"][0],
        "drums, with skips": estimates["with skips"][0],
        "drums, true": sources[0],
    },
    rate,
)

# %%
play(estimates["with skips"][1], rate, "rest, with skips")

# %%
excerpt = slice(8 * rate, round(13.5 * rate))
shown = {
    "mixture": mixture[:, excerpt],
    "drums, true": sources[0][:, excerpt],
    "drums, without skips": estimates["without skips"][0][:, excerpt],
    "drums, with skips": estimates["with skips"][0][:, excerpt],
}
ms.figures.spectrogram_figure(shown, rate, columns=2, range_db=60)

# %% [markdown]
# ## What passes across the skips
#
# `look_inside` runs a model and keeps what its parts gave out. The outputs of the
# encoder are the shortcuts. Here are two channels of each level, those that vary most,
# over the same seconds.

# %%
heard = mixture[None, :, excerpt]


def side_by_side(blocks):
    return rearrange(blocks, "block c f m -> c f (block m)")


inside = ms.look_inside(with_skips.cpu(), heard, "networks.0.encoder.*")
maps = {}
for level, blocks in enumerate(inside.values(), 1):
    picture = side_by_side(blocks)
    ends = picture.flatten(1).quantile(torch.tensor([0.02, 0.98]), dim=1)[
        ..., None, None
    ]
    picture = picture.clamp(*ends)  # or a few loud bins would outshine all others
    for channel in picture.flatten(1).std(1).topk(2).indices.tolist():
        bins, frames = picture[channel].shape
        name = f"level {level}, channel {channel}: {bins} x {frames}"
        maps[name] = picture[channel]
ms.figures.maps_figure(maps, xlabel="Frame", ylabel="Bin", columns=2, height=1.3)

# %% [markdown]
# The first levels hand the fine lines across: overtones as horizontal, hits as vertical
# ones. From level to level the picture gets coarser, and its pixels say less about
# *where* and more about *what*. The decoder needs both.
#
# And the masks that come of it?


# %%
def drum_mask(model):
    inside = ms.look_inside(model.cpu(), heard, ["networks.0", "networks.1"])
    drums, rest = (inside[f"networks.{n}"].sigmoid() ** 2 for n in (0, 1))
    mask = side_by_side(drums / (drums + rest))  # |X| cancels
    mask = mask[..., : heard.shape[-1] // model.config.hop_length]
    return F.pad(mask, (0, 0, 0, model.config.n_fft // 2 + 1 - mask.shape[-2]))


masks = {"without skips": drum_mask(without), "with skips": drum_mask(with_skips)}
hop_length = with_skips.config.hop_length
ms.figures.mask_figure(masks, rate, hop_length=hop_length, max_hz=5000, columns=2)

# %% [markdown]
# Without skips the mask is painted with a broad brush. With them, notes are cut out along
# their lines.
#
# Is that so everywhere? Score both networks on two more excerpts: the beginning of the
# same song, where a bass plays that later stops, and another song.

# %%
(other_song,) = [song for song in songs if song.split == "valid"]
for each, start in ((song, 0), (other_song, 20)):
    true, mixed = each.sources(start, 20), each.mixture(start, 20)
    rows = {
        "mixture": mixed.expand_as(true),
        "without skips": ms.separate(without, mixed),
        "with skips": ms.separate(with_skips, mixed),
    }
    for row, estimate in rows.items():
        score = ms.metrics.usdr(reference=true, estimate=estimate).mean()
        print(f"{each.name:8} {row:13} {score:5.1f} dB")

# %% [markdown]
# These numbers are not checked, because they depend on chance. But look at them well. The
# gain over the mixture is smaller, and the network *without* skips may even come out
# ahead! Its mask is blurred, and where the guess is wrong, a blurred mistake costs less than a
# sharp one. A kick drum and a bass note look alike, and four songs are too few to learn
# the difference.
#
# So what have we shown? The loss, on new mixtures of the *training* songs, is clear: with
# skips the network can fit more. That it also *generalizes* better was shown on twenty
# seconds without a loud bass, and they were chosen because it shows there. **A result on one excerpt is
# an anecdote**, and choosing the excerpt afterwards is worse. Notebook 14 tells how many songs
# one needs.
#
# **Change one thing.** Train on magnitudes, with `loss="magnitude_l1"`, or give the
# network two levels more or fewer. Do skips matter more in a deeper U-Net?
#
# ## What to remember
#
# - Separation by mask is painting: a picture of magnitudes in, a picture of shares out.
# - The encoder sees far, the decoder paints, the skips keep the lines fine.
# - $n' = \lfloor (n + p - k) / \text{stride} \rfloor + 1$. Sizes must be multiples of
#   two to the number of levels.
# - A sigmoid guesses magnitudes, ratio masks share out; the estimates add up.
# - A loss on magnitudes is blind to the phase, a loss on the waveform is not.
# - An ablation changes one thing and trains again.
#
# **What this notebook does not show.** The headline is twenty seconds of one song, with one
# seed, on music by a single artist. On other excerpts the gain is smaller and the skips
# do not pay; shallower U-Nets miss them less, too. A thesis would train each of the two with
# several seeds, and report the spread. Spleeter itself was trained on thousands of songs.
# And half a decibel of `usdr` does not tell how it sounds: that is what your ears are for.
#
# ## Exercises

# %%
exercise("unet.conv_sizes")


# %% tags=["exercise"]
def conv_sizes(size, kernel, stride, padding, n_levels):
    return ...  # your code here


exercise("unet.conv_sizes").check(conv_sizes)

# %%
exercise("unet.add_skips")


# %% tags=["exercise"]
def decode(deepest, shortcuts, layers):
    return ...  # your code here


exercise("unet.add_skips").check(decode)

# %%
exercise("unet.n_weights")


# %% tags=["exercise"]
def n_weights(channels, filters, kernel):
    return ...  # your code here


exercise("unet.n_weights").check(n_weights)

# %%
exercise("unet.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("unet.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Do not retrain: take the U-Net *with* skips and replace one
# shortcut at a time by zeros, in `toy_unet`. Which level is missed most? And why does that
# not tell what a network would do that never had it?

# %% [markdown]
# ## Sources
#
# - U-Net: O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for
#   biomedical image segmentation", *MICCAI* 2015,
#   [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28).
# - For voices: A. Jansson, E. Humphrey, N. Montecchio, R. Bittner, A. Kumar and T. Weyde,
#   "Singing voice separation with deep U-Net convolutional networks", *ISMIR* 2017.
# - Spleeter: R. Hennequin, A. Khlif, F. Voituret and M. Moussallam, "Spleeter: a fast and
#   efficient music source separation tool with pre-trained models", *JOSS* 5, 2020,
#   [doi:10.21105/joss.02154](https://doi.org/10.21105/joss.02154).
# - The loss: S. Wisdom et al., "Unsupervised sound separation using mixture invariant
#   training", *NeurIPS* 2020, [arXiv:2006.12701](https://arxiv.org/abs/2006.12701).
# - Convolution arithmetic: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for
#   deep learning", 2016, [arXiv:1603.07285](https://arxiv.org/abs/1603.07285).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
