# %% [markdown]
# # 15 · A map of architectures
#
# > 本章把十五个分离系统画成同一种图：它们处理频谱图还是波形，有几个分支，每一层在比较什么，各自又比前人多了什么。你将亲手写出较新模型共有的三个部件，即密集块、频带划分与旋转位置编码，并用数值检验它们的性质。随后把年份、得分、参数量与速度放进一张表，弄清哪些数字可以相互比较。最后让六个小模型在相同的数据、损失与时间下比赛，说明这样的比赛能证明什么，又不能证明什么。
#
# **Aim.** After this notebook you can
#
# - read the drawing of any separator: its domain, its branches, and what it compares,
# - say what each of fifteen systems added to those before it,
# - build the three parts that the newer ones share: dense blocks, band splits, rotary positions,
# - put year, score, size and speed side by side, and say which numbers may be compared,
# - run a fair race of small models, and say what it can and cannot show.
#
# | | |
# |---|---|
# | Path | optional, not on the short path; on the GPU path |
# | Before | 06 to 11; 04 for the scores |
# | Time | 65 minutes; the code runs in one to four minutes on two CPU cores, no GPU needed |
# | Data | the songs in `data/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [16 · Fourteen ways to change HTDemucs](16_htdemucs_lab.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $F, T$ | `bins`, `frames` | size of a spectrogram |
# | $K$ | `bands` | bands into which the bins are cut |
# | $g$ | `growth` | channels that each layer of a dense block adds |
# | $\theta_i$ | `speeds` | angle by which pair $i$ of the features turns from one position to the next |

# %%
import json
import tempfile
import time

import pandas as pd
import torch

import mssedu as ms
from mssedu.course import claim, exercise, play, setup, show_source
from mssedu.evaluation import published_scores

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
play(song.mixture(start=20, duration=10), rate, "mixture")

# %%
play(song.sources(start=20, duration=10)[0], rate, "drums, true")

# %% [markdown]
# Six small networks each learn for 20 seconds, on one core, to take these drums out of
# the mixture: a U-Net on the magnitude (`spleeter`), a BiLSTM on the magnitude
# (`open_unmix`), a mask on a learned code (`conv_tasnet`), a U-Net on the waveform
# (`demucs`), both with a transformer (`htdemucs`), and attention over bands
# (`bs_roformer`). The last two lead or have led the field.
#
# **Predict.** Which of the six separates best after 20 seconds?

# %%
prediction = "?"

# %% [markdown]
# ## How to read a drawing
#
# Every drawing of this notebook comes from one function. It runs the network on one second
# of noise, and writes down how large everything is. Signals go **down** on the left and
# **up** on the right. The edge of a box says what it *compares*: moments (↔), bins or bands
# (↕), or both. A white box compares neither: it treats each moment and each bin alone.
#
# Begin with a part. A **gated linear unit** computes values and gates from the same
# signal, and multiplies them.


# %%
def draw(name):
    return ms.figures.architecture_figure(
        name, "tiny" if session.profile == "smoke" else "paper"
    )


draw("glu")

# %% [markdown]
# The lines from left to right are **skips**. Their sign says how they join: `+`, `×`, or
# `beside`, as more channels.
#
# ## On the magnitude
#
# **Spleeter** (2019) is the U-Net of notebook 06: a picture becomes smaller, and larger
# again. Everything is local, but after six halvings one bin of the deepest level covers 64
# bins of the mixture.

# %%
draw("spleeter")

# %% [markdown]
# **Open-Unmix** (2019) has no pictures. A frame becomes 512 numbers, and an LSTM
# carries information along time, in both directions. What it adds: **unlimited context
# in time**.

# %%
draw("open_unmix")

# %% [markdown]
# **MMDenseLSTM** (2018) has both, and cuts the bins into three bands, each with kernels of
# its own: a bass line and a hi-hat do not look alike. What it adds: **bands**, and **dense
# blocks**, in which each layer reads all layers before it.

# %%
draw("mmdenselstm")

# %% [markdown]
# **D3Net** (2020) replaces the LSTMs by dense blocks *inside* dense blocks, whose
# kernels are dilated: it adds **dilation without gaps**.

# %%
draw("d3net")

# %% [markdown]
# ## Build it: a dense block
#
# In the papers, layer $i$ reads $n + i g$ channels: the $n$ of the input, and $g$ from each
# layer before. What does a convolution do with channels side by side? It adds them up, each
# with weights of its own. So a layer can also compute *at once* what each later layer
# gets from it, and the later layers add up these parts.


# %%
def toy_dense(layers, x, growth):
    given = {}  # (from layer, to layer): channels
    n = len(layers)
    for i, layer in enumerate(layers):
        if i > 0:
            x = sum(given[j, i] for j in range(i))
        parts = layer(x).split(growth, dim=1)
        for step, part in enumerate(parts, start=1):
            given[i, i + step] = part
    return sum(given[j, n] for j in range(n))


# %%
show_source("mssedu.models.blocks.connect")

# %% tags=["nbval-check-output"]
block = ms.models.blocks.DenseBlock(8, growth=3, n_layers=4, dilated=True).eval()
x = torch.randn(1, 8, 20, 30)
with torch.no_grad():
    assert torch.allclose(toy_dense(block.layers, x, 3), block(x), atol=1e-5)
for i, layer in enumerate(block.layers):
    kernel = layer[2]
    print(
        f"layer {i}: {kernel.in_channels} channels in, {kernel.out_channels} out,",
        end=" ",
    )
    print(f"spacing {kernel.dilation[0]}")

# %% [markdown]
# The channels that a layer puts out become fewer, since fewer layers come after it, and the
# whole block puts out $g$ of them. That is why the drawing above has 22 channels at most where
# Spleeter has 512, and D3Net does with three million parameters a stem what Spleeter does with
# ten.
#
# ## More than a mask
#
# A mask between 0 and 1 cannot make anything louder than the mixture, and it keeps the
# mixture's phase. **ResUNetDecouple+** (2021) puts out four maps: a mask, two that rotate the
# phase, and a magnitude to add. It adds **phase**, and depth: 143 layers.

# %%
draw("resunet_decouple_plus")

# %% [markdown]
# **MDX-Net** (2021) has no mask at all: it reads and puts out real and imaginary parts. And
# in each block a linear layer connects **all bins of a frame**, since the partials of a tone
# lie far apart. At the end, 80 weights mix what the four networks have found.

# %%
draw("mdx_net")

# %% [markdown]
# ## On the waveform
#
# **Wave-U-Net** (2018) needs no spectrogram: the U works on samples.

# %%
draw("wave_u_net")

# %% [markdown]
# **Conv-TasNet** (2019) keeps the mask but *learns* the transform. Its frames last 20 samples,
# half a millisecond. What it adds: a **learned code**, and dilations that cover seconds.

# %%
draw("conv_tasnet")

# %% [markdown]
# **Demucs** (2019, here v2) gives the U on the waveform gates at each level, a BiLSTM at the
# bottom, and far more channels.

# %%
draw("demucs")

# %% [markdown]
# ## Both
#
# **Hybrid Demucs** (2021) runs both U-Nets side by side and merges them at the bottom
# (notebook 10).

# %%
draw("hdemucs")

# %% [markdown]
# **HTDemucs** (2022) does not merge the branches at the bottom: it joins them by
# cross-attention (notebook 11).

# %%
draw("htdemucs")

# %% [markdown]
# ## Bands
#
# **Band-Split RNN** (2022) has no U, and so no skips from the way down to the way up. (Each
# LSTM has a short one, which the drawing leaves out: its result is added to its input.) It cuts
# the bins into bands, makes the *same number of features* of each, and then only does two
# things, in turn: along time, and across bands.

# %%
draw("bsrnn")

# %% [markdown]
# **BS-RoFormer** (2023) puts attention in place of the LSTMs.

# %%
draw("bs_roformer")

# %% [markdown]
# **Mel-Band RoFormer** (2023) lets the bands overlap, with widths on the mel scale,
# which follows the ear.

# %%
draw("mel_band_roformer")

# %% [markdown]
# **SCNet** (2024) is a U again, but shrinks the high bins more than the low ones, and has the
# two LSTMs of BSRNN at its bottom.

# %%
draw("scnet")

# %% [markdown]
# > **What to notice.** From 2018 to 2024, less and less is green. The U-Nets compare moments and
# > bins *at once*, by small kernels. The leaders take turns: blue, then red.
#
# ## Build it: taking turns over bands
#
# A band split is only a cut; what makes it work is the linear layer after each cut.
# Here are the bands of BS-RoFormer.


# %%
def toy_split(spectrogram, bins):  # (bins, frames) -> a list of bands
    bands, low = [], 0
    for n in bins:
        bands.append(spectrogram[low : low + n])
        low += n
    return bands


# %% tags=["nbval-check-output"]
bins = ms.models.model_config("bs_roformer").bands
spectrogram = ms.spectral.stft(song.mixture(start=20, duration=8), 2048, 441)[0]
bands = toy_split(spectrogram, bins)
assert torch.equal(torch.cat(bands), spectrogram)
assert [len(band) for band in bands] == [len(b) for b in spectrogram.split(list(bins))]
frames, n_bands = spectrogram.shape[-1], len(bands)
print(
    f"{sum(bins)} bins in {n_bands} bands, the narrowest {min(bins)} bins wide:",
    end=" ",
)
print(f"{min(bins) * rate / 2048:.0f} Hz, the widest {max(bins) * rate / 2048:.0f} Hz")
print(f"all with all:     {(n_bands * frames) ** 2:15,} scores a head")
in_turn = n_bands * frames**2 + frames * n_bands**2
print(f"time, then bands: {in_turn:15,} scores a head")
print(claim("saving", (n_bands * frames) ** 2 / in_turn, above=50, digits=0, unit="×"))

# %% [markdown]
# ## Build it: positions that turn
#
# Attention ignores order (notebook 11). HTDemucs *adds* sines to its features once. The
# RoFormers **turn** pairs of features of each query and key, by an angle that grows
# with the position. Two arrows that are turned by 5 and 3 steps have the same angle
# between them as two that are turned by 2 and 0. So a product depends on the
# **distance** alone.


# %%
def toy_turn(pair, angle):  # two features
    a, b = pair
    angle = torch.tensor(angle)
    return torch.stack(
        [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
    )


# %%
show_source("mssedu.models.blocks.rotate")

# %% tags=["nbval-check-output"]
query, key = torch.randn(2), torch.randn(2)
turns = ms.models.blocks.RotaryPositions(2)(1001)
turned = ms.models.blocks.rotate(query.expand(1001, 2), turns)
assert torch.allclose(turned[7], toy_turn(query, 7.0), atol=1e-5)
near = toy_turn(query, 5.0) @ toy_turn(key, 3.0)
far = toy_turn(query, 1000.0) @ toy_turn(key, 998.0)
difference = (near - far).abs()
print(claim("difference 5 − 3 and 1000 − 998", difference, below=1e-3, digits=4))
print("the values are not turned: what is taken home stays as it is")

# %% [markdown]
# ## Year, score, size, speed
#
# Now put them on a map. The scores are those that are **published**: each has a definition, a
# test set, and a source. Parameters are counted in our models with four stems. The time is
# measured here: processor seconds for one second of sound, one forward in the paper's size.
# Networks for one stem count four times; Spleeter and MDX-Net compute whole blocks of 11.9 s
# and 1.5 s, so theirs is divided by that.

# %%
SYSTEMS = {  # model: the beginning of its row in the published table
    "wave_u_net": "Wave-U-Net M6",
    "mmdenselstm": "MMDenseLSTM (TAK1)",
    "open_unmix": "Open-Unmix (umxhq)",
    "spleeter": "Spleeter, 4 stems, Wiener",
    "conv_tasnet": "Conv-TasNet",
    "demucs": "Demucs (v2)",
    "d3net": "D3Net",
    "resunet_decouple_plus": "ResUNetDecouple+",
    "mdx_net": "KUIELab-MDX-Net",
    "hdemucs": "Hybrid Demucs (v3)",
    "htdemucs": "HT Demucs f.t. (v4)",
    "bsrnn": "BSRNN",
    "bs_roformer": "BS-RoFormer (6 layers)",
    "mel_band_roformer": "Mel-Band RoFormer",
    "scnet": "SCNet",
}
PER_STEM = ("spleeter", "open_unmix", "mmdenselstm", "d3net", "resunet_decouple_plus")
PER_STEM += ("mdx_net", "bsrnn")
WHOLE_BLOCKS = {"spleeter": 11.8, "mdx_net": 1.45}  # seconds


def cost_of(name):
    preset = "tiny" if session.profile == "smoke" else "paper"
    chosen = ("vocals",) if name in PER_STEM else None
    changes = {"segment": 1.0} if name == "htdemucs" else {}
    model = ms.create_model(name, preset, stems=chosen, **changes).eval()
    seconds = WHOLE_BLOCKS.get(name, 1.0)
    noise = torch.randn(1, 2, round(seconds * model.config.sample_rate)) / 10
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        started = time.process_time()
        model(noise)
        spent = time.process_time() - started
    torch.set_num_threads(threads)
    return spent / seconds * (4 if chosen else 1)


def published_row(beginning):  # the first: without extra data where there is one
    rows = [
        row
        for row in published_scores()
        if row.system.startswith(beginning) and row.definition == "csdr"
    ]
    return min(rows, key=lambda row: (bool(row.extra), row.year), default=None)


def size_of(name):
    state = ms.models.outline(ms.models.class_of(name), ms.models.model_config(name))
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return sum(v.numel() for k, v in state.items() if not k.endswith(buffers))


lines = {}
for name, beginning in SYSTEMS.items():
    row = published_row(beginning)
    lines[name] = {
        "year": row.year if row else 2023,
        "score": row.mean if row else None,
        "test set": row.test if row else "",
        "extra data": (row.extra or "no") if row else "",
        "parameters": size_of(name),
        "seconds": round(cost_of(name), 2),
        "source": row.source if row else "no csdr of four stems is published",
    }
systems = pd.DataFrame(lines).T
table = systems.drop(columns="source").sort_values(["year", "score"])
table.assign(
    score=[f"{score:.2f}" if score else "none" for score in table["score"]],
    parameters=table["parameters"].map("{:,}".format),
    seconds=table["seconds"].map("{:.2f}".format),
)

# %%
ms.figures.map_figure(systems, definition="csdr")

# %% tags=["nbval-check-output"]
for name in ("spleeter", "htdemucs", "mel_band_roformer"):
    print(f"{name}: {systems.loc[name, 'extra data'] or 'no score'};", end=" ")
    print(f"{systems.loc[name, 'source']}")
with_score = systems.dropna(subset="score")
print(f"{len(with_score)} of {len(systems)} systems have a csdr of four stems")
small = round(with_score.loc["scnet", "parameters"] / 1e6)
large = round(with_score.loc["demucs", "parameters"] / 1e6)
better = with_score.loc["scnet", "score"] - with_score.loc["demucs", "score"]
print(f"SCNet ({small} million) is {better:.1f} dB above Demucs v2 ({large} million)")

# %% [markdown]
# > **What to notice.** The score goes up by some 6.5 dB in five years, and size does not explain
# > it: SCNet is among the best and among the smallest.
#
# Read the columns before you compare two rows. Spleeter has learned from 25,000 songs and
# HTDemucs from 800 more than the others; MUSDB18 ends at 16 kHz, its HQ version does not; and
# `csdr` is one definition of several. A difference of 0.3 dB between two rows can be all of
# that.
#
# And look up what was scored. Three scores are of more networks than we have counted and
# timed: HTDemucs was four, each fine-tuned for one stem; Hybrid Demucs was a weighted mean of
# four; MDX-Net was blended with Demucs.
#
# ## A fair race
#
# To compare *architectures*, all else must be equal: data, loss, steps or time, and chance.
# `benchmarks/six_models.py` has trained the six small models of the beginning on the same
# four songs with the same loss, each for 20 seconds of one core, three times. One
# choice cannot be made equal: a learning rate that suits one network is bad for
# another. So each has the better of two, chosen on a song that is not the test song.

# %%
file = ms.data.demo_data().parent / "benchmarks" / "six_models.json"
race = json.loads(file.read_text(encoding="utf-8"))
means = {
    name: [sum(run["usdr"].values()) / 2 for run in found["runs"]]
    for name, found in race["models"].items()
}
ms.figures.interval_figure(
    means, xlabel="usdr on the test song, mean of both stems (dB)"
)

# %% tags=["nbval-check-output"]
print(
    f"{race['budget']:.0f} s a run, {len(race['seeds'])} seeds; tested on {race['test']}"
)
print(f"{'':12} parameters  steps  rate   dB")
for name, found in race["models"].items():
    print(f"{name:12} {found['parameters']:10,} {found['steps']:6}", end=" ")
    print(f"{found['learning_rate']:6g} {sum(means[name]) / len(means[name]):5.2f}")
print(f"{'mixture':12} {'':10} {'':6} {'':6} {sum(race['mixture'].values()) / 2:5.2f}")
print(f"You said: {prediction}")

# %% [markdown]
# Is it real? Here is one of the runs again: same model, same songs, same steps, same seed.

# %%
name = "open_unmix"
found = race["models"][name]
settings = race["settings"] | {"gain_db": tuple(race["settings"]["gain_db"])}
config = ms.training.TrainConfig(
    model=name,
    preset="tiny",
    stems=stems,
    steps=4 if session.profile == "smoke" else found["steps"],
    learning_rate=found["learning_rate"],
    seed=0,
    device=session.device,
    **settings,
)
torch.manual_seed(0)
model = ms.create_model(name, "tiny", stems=stems)
with tempfile.TemporaryDirectory() as folder:
    ms.fit(model, train_songs, None, config, folder)
estimate = ms.separate(model, song.mixture())
again = ms.metrics.usdr(reference=song.sources(), estimate=estimate).mean()
play(estimate[0, :, 20 * rate : 30 * rate], rate, f"drums, {name} after 20 s")

# %% tags=["nbval-check-output"]
print(
    claim(
        "difference from the stored run",
        (again - means[name][0]).abs(),
        below=0.3,
        unit="dB",
    )
)

# %% [markdown]
# **What such a run can say.** At this size, after this time, on these four songs, with this
# loss, some networks have learned more than others, and the three points of a row show how much
# of that is chance.
#
# **What it cannot say.** Which architecture is best. On the map, 4.4 dB lie between
# Open-Unmix and BS-RoFormer; here the intervals of Open-Unmix, Demucs and BS-RoFormer
# overlap, and HTDemucs is behind all three. A step of a more complex model takes
# longer, so it gets fewer steps; and attention, which starts without information about
# neighbors, needs more examples than a convolution. The order of the map comes from
# sizes a hundred times larger, and from days on GPUs. One test song is not a test set,
# and three seeds give wide intervals. If you want to know at *your* size and budget,
# run the race there, with more songs: notebook 17 does it properly.
#
# **Change one thing.** Run `python benchmarks/six_models.py --budget 60` and see
# whether the order stays the same.
#
# ## What to remember
#
# - A separator is a domain, a shape, and a choice of what is compared with what.
# - U-Nets compare neighbors at many sizes; LSTMs and attention compare far moments.
# - The leaders take turns: along time, then across bands. Bands are narrow where music is dense.
# - Turned features make attention depend on distance, exactly.
# - A score without definition, test set, extra data and source is not a number.
# - A small race shows which model learns fast at a small size, not which one is best.
#
# ## Exercises

# %%
exercise("architectures.band_bins")


# %% tags=["exercise"]
def band_bins(edges_hz, n_fft, sample_rate):
    return ...  # your code here


exercise("architectures.band_bins").check(band_bins)

# %%
exercise("architectures.rotate_positions")


# %% tags=["exercise"]
def rotate_positions(x):
    return ...  # your code here


exercise("architectures.rotate_positions").check(rotate_positions)

# %%
exercise("architectures.dense_size")


# %% tags=["exercise"]
def dense_size(n_in, growth, n_layers):
    return ...  # your code here


exercise("architectures.dense_size").check(dense_size)

# %%
exercise("architectures.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("architectures.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Draw a model of your own: change a preset, such as
# `ms.create_model("bs_roformer", "tiny", n_layers=4)`, and hand it to
# `ms.figures.architecture_figure`. Which sizes change, and which do not?

# %% [markdown]
# ## Sources
#
# - U-Net: A. Jansson et al., "Singing voice separation with deep U-Net convolutional
#   networks", *ISMIR* 2017; Spleeter: R. Hennequin et al., *JOSS* 5(50), 2020,
#   [doi:10.21105/joss.02154](https://doi.org/10.21105/joss.02154).
# - Open-Unmix: F.-R. Stöter, S. Uhlich, A. Liutkus and Y. Mitsufuji, *JOSS* 4(41), 2019,
#   [doi:10.21105/joss.01667](https://doi.org/10.21105/joss.01667).
# - MMDenseLSTM: N. Takahashi, N. Goswami and Y. Mitsufuji, *IWAENC* 2018,
#   [arXiv:1805.02410](https://arxiv.org/abs/1805.02410); D3Net: N. Takahashi and Y. Mitsufuji,
#   [arXiv:2010.01733](https://arxiv.org/abs/2010.01733).
# - ResUNetDecouple+: Q. Kong et al., *ISMIR* 2021,
#   [arXiv:2109.05418](https://arxiv.org/abs/2109.05418); MDX-Net: M. Kim et al., 2021,
#   [arXiv:2111.12203](https://arxiv.org/abs/2111.12203).
# - Wave-U-Net: D. Stoller, S. Ewert and S. Dixon, *ISMIR* 2018; Conv-TasNet: Y. Luo and N.
#   Mesgarani, *IEEE/ACM TASLP* 27(8), 2019; Demucs: A. Défossez et al., 2019,
#   [arXiv:1911.13254](https://arxiv.org/abs/1911.13254).
# - Hybrid Demucs: A. Défossez, 2021, [arXiv:2111.03600](https://arxiv.org/abs/2111.03600);
#   HTDemucs: S. Rouard, F. Massa and A. Défossez, *ICASSP* 2023,
#   [arXiv:2211.08553](https://arxiv.org/abs/2211.08553).
# - Band-Split RNN: Y. Luo and J. Yu, 2022, [arXiv:2209.15174](https://arxiv.org/abs/2209.15174);
#   BS-RoFormer: W.-T. Lu, J.-C. Wang, Q. Kong and Y.-N. Hung,
#   [arXiv:2309.02612](https://arxiv.org/abs/2309.02612); Mel-Band RoFormer: J.-C. Wang, W.-T. Lu
#   and M. Won, *ISMIR* late-breaking demo 2023; SCNet: W. Tong et al.,
#   [arXiv:2401.13276](https://arxiv.org/abs/2401.13276).
# - Rotary positions: J. Su et al., "RoFormer: enhanced transformer with rotary position
#   embedding", 2021, [arXiv:2104.09864](https://arxiv.org/abs/2104.09864).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
