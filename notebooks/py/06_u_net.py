# %% [markdown]
# # 06 · U-Net on spectrograms
#
# > U-Net 是频谱分离的经典网络，Spleeter 即以它为基础。本章用十行代码写出一个 U-Net，并证明它与程序库中的模型完全相同。你将推算每一层之后的尺寸，明白为何有些长度放不进去，学习如何把网络输出变成相加等于混音的掩蔽，以及损失函数取在何处。最后在两个音轨上训练一个小网络，用消融实验测量跳跃连接究竟值多少分贝，并如实报告在哪些片段上它没有帮助。
#
# **Aim.** After this notebook you can
#
# - build a U-Net in ten lines, and show that it is the one of Spleeter,
# - say what size is left after each layer, and why some sizes do not fit,
# - turn the outputs of a network into masks, and choose what the loss compares,
# - train a small one on two stems, and measure what its skips are worth.
#
# | | |
# |---|---|
# | Path | core, 45 minutes on the short path; on the GPU path |
# | Before | 02 (spectrograms), 03 (masks, silence and mixture as rows of a table) |
# | Time | 70 minutes; the code runs in one to four minutes on two CPU cores, no GPU needed |
# | Data | the songs in `data/`: four to learn from, *Sodium* to be tested; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [07 · GLU and gating](07_glu_and_gating.ipynb); on the short path [08 · BiLSTM and context](08_bilstm_and_context.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $X$ | `spectrogram` | complex spectrogram of the mixture |
# | $\lvert X \rvert$ | `blocks` | its magnitude, cut into pictures of equal width |
# | $z_j$ | `logits` | output of the network of stem $j$: any number for each bin |
# | $\sigma(z) = 1 / (1 + e^{-z})$ | `sigmoid` | brings any number between 0 and 1 |
# | $M_j$ | `mask` | share of stem $j$ in a bin |

# %%
import csv
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
# **Predict.** If the mixture itself is the estimate of the drums, the error is the
# whole rest of the song. A small network will learn from four songs for less than a
# minute, then separate this one, which is new to it. By how many decibels will it be
# better than the mixture? And by how many if we take away its *skips*, which are
# explained below?

# %%
prediction = {"with skips": "?", "without": "?"}  # dB better than the mixture

# %% [markdown]
# ## A spectrogram is a picture
#
# In notebook 03 the masks were made from the true stems. Now these are unknown. The
# input of a network is the mixture's magnitude, a picture with a height of `bins`, a
# width of `frames` and two channels. Its output is a mask of the same size.
#
# A single bin is not enough. The bins *around* it show whether it belongs to a drum: a
# vertical line is a hit, a horizontal one a note. So the network needs a wide context.
# And it must decide finely, bin by bin. Wide *and* fine: that is the problem that the
# **U-Net** solves.
#
# 1. **Encoder**: halve the picture, again and again. The pixels of a small picture see a
#    large part of the sound.
# 2. **Decoder**: double it back to full size.
# 3. **Skips** (also called shortcuts): beside each doubled picture, put the one of the
#    same size from the encoder. It still has the fine lines that the small one has
#    lost.
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
# behind, every even size is exactly halved. The decoder uses a **transposed
# convolution**: each value stamps a whole kernel onto the larger picture, 2 steps
# apart, and what overlaps is added up. From $n$ values it makes $2 (n - 1) + k$, which is
# $2n + 3$ for $k = 5$. One value in front and two behind are cut off, so $2n$ are left.

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
# Between them stand an activation, here `F.elu`, which leaves positive values as they are
# and keeps negative ones above -1, and batch norm: it brings each channel to mean 0 and
# deviation 1, multiplies it by one weight, and adds another.


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
# The outputs of the network can be any numbers. They are called **logits**. Two steps
# turn them into masks.
#
# 1. A sigmoid brings each logit between 0 and 1. Multiplied by the mixture's magnitude,
#    it is a guess of the stem's magnitude: $\hat S_j = \sigma(z_j) \, |X|$. It can
#    never be larger than the mixture's.
# 2. Each stem has its own network, and the guesses do not add up. So they are used as
#    shares, as in notebook 03: $M_j = \hat S_j^2 / \sum_i \hat S_i^2$.


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
# Because the masks sum to one, whatever is missing in the drums is added to the rest.
# With two stems both errors are *the same sound* with opposite signs. Whichever stem is
# louder has the higher score, for no other reason. So we will quote the mean of both.
#
# ## What the loss compares
#
# What should training make small? Spleeter compares **magnitudes** with the true ones.
# One can as well go back to the **waveform** and compare samples; the gradient then
# passes the inverse STFT and the mask on its way to the network. Try both on some
# faults that you can hear, and some that you cannot. Silence as the estimate counts 100
# %.

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
# A loss on magnitudes forgives what your ear forgives: a flipped sign, a small delay.
# It also forgives what no mask can repair, as the phase stays that of the mixture. A
# loss on the waveform forgives nothing. Its best mask is the *phase-sensitive* one:
# where the phases disagree, a lower value is better. And it is close to the score. We
# train with `thresholded_snr`, the energy of the error in the waveform, in decibels.
#
# ## Train it
#
# `fit` draws short excerpts of the four training songs, mixes drums of one with the rest
# of another, and corrects the weights after every two of them.
#
# One trap is worth a comment. In training, batch norm measures mean and deviation in the
# batch. It also keeps a running average of both, which it uses later, in separation. In
# Spleeter this average moves by 1 % a step. After a hundred steps it would still remember
# the untrained network! So ours moves faster. And all masks begin at one half: the last
# layer starts with weights of zero.

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
# The curves run side by side, because both saw the same excerpts: an excerpt that is
# hard for one is hard for the other. The distance between them is what the skips do.
# Now the song that is new to both.

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
# > **What to notice.** In less than a minute of training the small U-Net is more than 3
# > dB better than the mixture, and better than silence on both stems. Take the skips
# > away, and at least half a decibel of that is lost, with the same number of weights.
# > All of this holds for *these* twenty seconds, and for one seed. Remember the number:
# > below, all other excerpts and two more seeds are tested.
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
# *Optional: leave out on the short path.*
#
# `look_inside` runs a model and keeps the outputs of its parts. The outputs of the
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
# The first levels pass on the fine lines: overtones as horizontal, hits as vertical
# ones. From level to level the picture gets coarser, and its pixels say less about
# *where* and more about *what*. The decoder needs both.
#
# And the masks that result?


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
# Without skips the mask is coarse. With them, notes are cut out along their lines.
#
# ## Stripes that nobody played
#
# *Optional: leave out on the short path.*
#
# Look at the masks again. There are fine regular stripes in them, and no instrument
# plays in such a pattern. They come from the transposed convolution. It stamps a kernel of 5
# values every 2 steps. How many stamps reach each place?

# %% tags=["nbval-check-output"]
for kernel in (5, 4):
    stamps = nn.ConvTranspose1d(1, 1, kernel, stride=2, bias=False)
    nn.init.ones_(stamps.weight)
    reached = stamps(torch.ones(1, 1, 8))[0, 0, 4:-4].int()
    print(f"kernel {kernel}, stride 2:", *reached.tolist())

# %% [markdown]
# Three, two, three, two: every other place is reached by one more stamp, because the
# stride does not divide the kernel. In two dimensions the counts are 9, 6, 6 and 4, a
# *checkerboard* (Odena and others 2016), and each level of the decoder adds one of its own. Training can find
# weights that remove the pattern, but nothing forces it to. Test ours: give it a
# picture in which every bin of every frame is the same. Away from the borders, a
# uniform picture should give a uniform mask.

# %%
even = torch.full((1, 2, 512, 512), 0.5)
with torch.no_grad():
    drums, rest = (net.cpu()(even).sigmoid() ** 2 for net in with_skips.networks)
board = (drums / (drums + rest))[0, 0, 224:288, 224:288]
ms.figures.maps_figure(
    {"mask of the drums for an even picture": board},
    xlabel="Frame",
    ylabel="Bin",
    unit="Mask",
    columns=1,
    height=3.0,
)

# %% tags=["nbval-check-output"]
repeats = (board[:32, :32] - board[32:, 32:]).abs().max()
print(
    claim(
        "32 bins and 32 frames further, the mask differs by",
        repeats,
        below=1e-3,
        digits=6,
    )
)
uneven = board.max() - board.min()
print(claim("highest minus lowest mask", uneven, above=0.05, digits=2))

# %% [markdown]
# All that you see there is made by the network: a pattern that repeats after $2^5 = 32$ bins
# and frames, one factor of 2 for each level. Two remedies are known: a kernel that is a
# multiple of the stride, such as 4, or doubling the picture first, by repeating its values,
# and then an ordinary convolution. Spleeter has neither. In a mask such a pattern is a fast
# modulation of the sound in time and pitch.
#
# ## Ask all excerpts, and three seeds
#
# Is the gain by skips the same everywhere? We *chose* the twenty seconds above because
# the gain is clear there. So take everything that was held out, both songs, cut into
# pieces of ten seconds. The only rule: both stems sound in it.


# %%
def gains(model):
    """Mean gain over the mixture for each excerpt of ten seconds."""
    found = {}
    for each in songs:
        if each.split == "train":
            continue
        estimate = ms.separate(model, each.mixture())
        for start in range(0, int(each.duration) - 9, 10):
            piece = slice(start * rate, (start + 10) * rate)
            true, mixed = each.sources()[..., piece], each.mixture()[..., piece]
            if true.square().mean((-2, -1)).min() < 1e-6:  # -60 dBFS
                continue
            after = ms.metrics.usdr(reference=true, estimate=estimate[..., piece])
            before = ms.metrics.usdr(reference=true, estimate=mixed.expand_as(true))
            found[f"{each.name} {start} s"] = (after - before).mean().item()
    return found


by_excerpt = {"without skips": gains(without), "with skips": gains(with_skips)}
for excerpt_name, plain_gain in by_excerpt["without skips"].items():
    skips_gain = by_excerpt["with skips"][excerpt_name]
    print(f"{excerpt_name:13} without {plain_gain:5.1f} dB, with {skips_gain:5.1f} dB")

# %% [markdown]
# The network *without* skips is ahead on some of them! Is it the excerpts, or the luck of this
# seed? Training six networks takes some minutes, so it was done before: `python
# benchmarks/skips.py` trains both networks with three seeds, as above, and writes the table
# that is read here (AMD EPYC, 2 cores shared with other work, 2026-11-30). Run it yourself,
# and compare.

# %%
table_file = ms.data.demo_data().parent / "benchmarks" / "skips.csv"
with table_file.open(encoding="utf-8", newline="") as file:
    lines = list(csv.DictReader(file))
networks = ("with skips", "without")
stored, last_losses = {name: {} for name in networks}, {name: {} for name in networks}
for line in lines:
    place = f"{line['song']} {line['start']} s"
    stored[line["network"]].setdefault(place, []).append(float(line["gain"]))
    last_losses[line["network"]][line["seed"]] = float(line["loss"])
ms.figures.boxes_figure({"Gain over the mixture, three seeds (dB)": stored})

# %% tags=["nbval-check-output"]
print("excerpt         with skips   without   difference, dB, mean of three seeds")
all_gaps = []
for place, values in stored["with skips"].items():
    both = torch.tensor([values, stored["without"][place]])
    all_gaps.append(both[0] - both[1])
    columns = (*both.mean(1).tolist(), all_gaps[-1].mean().item())
    print(f"{place:14}" + "".join(f"{value:11.1f}" for value in columns))
by_seed = torch.stack(all_gaps).mean(0)  # over the excerpts
middle, half = ms.evaluation.mean_interval(by_seed.tolist())
print("gained by skips, a number per seed:", *(f"{gap:.1f}" for gap in by_seed), "dB")
print(f"mean {middle:.1f} dB, give or take {half:.1f} dB (95 %, by the seeds)")
for name, values in last_losses.items():
    print(f"training loss, {name}:", *(f"{loss:.1f}" for loss in values.values()), "dB")

# %% [markdown]
# > **What to notice.** The skips gain on two excerpts and lose on five. The mean is -0.1 dB, give or take 1.0 dB: on
# > new songs, *nothing* is shown. Our twenty seconds, from 20 s to 40 s, came with seed 0, for which the skips gain
# > on both halves; with seed 1 they lose 2.7 dB on the second half. **A result on one excerpt is an anecdote**, and
# > choosing the excerpt afterwards is worse.
#
# What is left? The training loss: on new mixtures of the *training* songs it is lower
# with skips for two seeds of three, by half a decibel or more. With skips a network can
# fit more. That it *generalizes* better needs more songs to learn from.
#
# Why do the skips not pay everywhere? A kick drum and a bass note look alike, and four songs
# are too few to learn the difference. Where the guess is wrong, a blurred mistake costs less
# than a sharp one. Notebook 17 tells how many songs one needs.
#
# **Change one thing.** Train on magnitudes, with `loss="magnitude_l1"`, or give the
# network two levels more or fewer. Do skips matter more in a deeper U-Net?
#
# ## What to remember
#
# - Separation by masks turns a picture of magnitudes into a picture of shares.
# - The encoder collects context, the decoder makes the mask, the skips keep its lines
#   fine.
# - $n' = \lfloor (n + p - k) / \text{stride} \rfloor + 1$. Sizes must be multiples of
#   two to the number of levels.
# - A sigmoid guesses magnitudes, ratio masks share out; the estimates add up.
# - A loss on magnitudes ignores the phase, a loss on the waveform does not.
# - Transposed convolutions whose stride does not divide the kernel leave a checkerboard.
# - An ablation changes one thing, trains again, with several seeds, and asks all that was held out.
#
# **What this notebook does not show.** Two songs were held out, of the same album, and three
# seeds are few. Spleeter itself was trained on thousands of songs.
# And half a decibel of `usdr` does not tell how it sounds: that is what your ears are for.
#
# ## Exercises
#
# *Optional: leave out `unet.conv_sizes` and `unet.n_weights` on the short path.*

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
# shortcut at a time by zeros, in `toy_unet`. Which level matters most? And why does
# that not show what a network could do that was trained without it?

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
# - Checkerboards: A. Odena, V. Dumoulin and C. Olah, "Deconvolution and checkerboard artifacts",
#   *Distill* 2016, [doi:10.23915/distill.00003](https://doi.org/10.23915/distill.00003).
# - Convolution arithmetic: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for
#   deep learning", 2016, [arXiv:1603.07285](https://arxiv.org/abs/1603.07285).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
