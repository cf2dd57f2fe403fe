# %% [markdown]
# # 16 · Fourteen ways to change HTDemucs
#
# > 一张论文表格里的数字是怎样数出来的？本章研究一份公开记录中改造 HTDemucs 的十四种方法：把每个变体写成与基线配置的差异并画出来，重现记录中错误的参数量与计算量，再数出正确的；检查卷积核、步长与帧移是否对齐；在代码中找出训练与评估不一致的地方。随后在相同步数、相同时间与相同运算量三种预算下比较各变体，用三个随机种子和成对区间判断结论，说明平均值为何比中位数升得更多，最后用三十行代码写出自己的变体。
#
# **Aim.** After this notebook you can
#
# - read a variant of a network as the difference from its baseline,
# - count parameters and operations, and find out how a wrong number in a table was made,
# - check that kernels, strides and hops fit together before you train,
# - find a difference between training and evaluation in the code of others,
# - compare variants at equal steps, seconds and operations, with intervals, and judge a claim,
# - write a variant of your own in 30 lines.
#
# | | |
# |---|---|
# | Path | optional, not on the short path; on the GPU path |
# | Before | 10 and 11 (HTDemucs), 04 (scores), 15 (drawings) |
# | Time | 75 minutes; the code runs in one to four minutes on two CPU cores, no GPU needed |
# | Data | the songs in `data/`, and results in `recipes/htdemucs_lab/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [17 · A claim, tested and replicated](17_replication.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $K, S$ | `kernels`, `strides` | length and step of the convolution of each level |
# | $H$ | `hop_length` | samples from one frame of an STFT to the next |
# | $w_{sr}$ | `shares` | share of resolution $r$ in the estimate of stem $s$ |
# | $\alpha$ | `momentum` | how much of a moving average stays at each step |

# %%
import dataclasses
import math

import pandas as pd
import torch

import mssedu as ms
from mssedu.course import claim, exercise, play, reveal, setup, show_source
from mssedu.evaluation.statistics import bootstrap_interval, holm, paired_test
from mssedu.inspect import attention_costs, count_costs, exponent
from mssedu.models.htdemucs_resolutions import MixingWeights, Weights

# %%
session = setup()
session

# %% [markdown]
# ## Listen first
#
# In 2025 an author published a record of a redesign of HTDemucs: fourteen variants, each
# with its code and some numbers, no paper. Most of them estimate one stem, the
# instrumental: all that is not vocals. This notebook reads the record as a reviewer does.

# %%
(song,) = ms.load_dataset(ms.data.demo_data(), split="test")
song = song.in_memory()
rate = song.sample_rate
play(song.mixture(start=20, duration=10), rate, "mixture")

# %%
parts = dict(zip(song.stems, song.sources(start=20, duration=10), strict=True))
instrumental = parts["drums"] + parts["bass"] + parts["other"]
play(instrumental, rate, "instrumental, true")

# %% [markdown]
# A window of an STFT is a compromise (notebook 02): a short one shows *when* a drum is hit,
# a long one *which* note a bass plays. HTDemucs has one window of 93 ms. Several variants
# have three or five windows, with a U-Net for each, and join their results.
#
# **Predict.** Two networks train for 100 steps on the same examples, one with a single
# spectrogram and one with three. By how many decibels does the second one separate better?
# And if both get the same *time* in place of the same steps?

# %%
prediction = {"equal steps": "? dB", "equal time": "? dB"}

# %% [markdown]
# ## Fourteen differences
#
# Every variant is a class of this package with a config of its own. Their names follow
# the record. The baseline is not the published HTDemucs of notebook 11, but what its code
# builds by default: the preset `lab`.

# %%
IDEAS = {
    "c": "no transformer; the branches merge at one bin and share two levels",
    "d": "kernels halve from level to level: first coarse, then fine",
    "d2": "as d, but the width grows in three steps",
    "d3": "very wide kernels, few channels, no transformer",
    "d4": "kernels double: the deeper, the longer the time that they cover",
    "dn": "as n, but a small U-Net joins the three results",
    "dnf": "as nf, but a small U-Net joins the five results",
    "i": "four transformers; learned weights decide how much each one changes",
    "n": "three spectrograms and a waveform; linear attention; a convolution joins",
    "nc": "a waveform alone: one deep U-Net without a transformer",
    "nf": "five spectrograms, no waveform, no transformer",
    "nn": "as n, but one weight for each stem and window joins the results",
    "p": "cross-attention before the merge, self-attention behind it",
    "s": "three steep levels with stride 8; a weight for the transformer",
}
NAMES = ["htdemucs", *(f"htdemucs_{short}" for short in IDEAS)]


def preset_of(name):
    return "lab" if name == "htdemucs" else "paper"


def changes(name):
    """Fields of the config that the baseline does not have, or has with other values."""
    base = dataclasses.asdict(ms.models.model_config("htdemucs", "lab"))
    own = dataclasses.asdict(ms.models.model_config(name))
    return {key: value for key, value in own.items() if base.get(key, ...) != value}


for short in ("s", "d4", "nn"):
    print(f"htdemucs_{short}: {IDEAS[short]}")
    for key, value in changes(f"htdemucs_{short}").items():
        print(f"    {key} = {value}")

# %%
pd.options.display.max_colwidth = 90


def rounded(table):
    """Two digits after the point, and nothing where there is no number."""
    return table.map(lambda x: f"{x:.2f}" if isinstance(x, float) else x).replace(
        "nan", ""
    )


table = pd.DataFrame({"idea": IDEAS})
table["fields that differ"] = [len(changes(f"htdemucs_{short}")) for short in IDEAS]
table

# %% [markdown]
# None of them changes one thing only. If `d4` is better than the baseline, is it because of
# the kernels, of the widths, or of the longer window? Its name does not say, and one run
# cannot. A study that wants to know *why* changes one field at a time.
#
# The drawings are read from the layers. A column is a branch, a bar is a level, and
# `16/8` means a kernel of 16 and a stride of 8.

# %%
with torch.device("meta"):  # nothing is computed, no memory is taken
    models = {name: ms.create_model(name, preset_of(name)) for name in NAMES}
ms.figures.levels_figure(
    {name: models[name] for name in NAMES if not name.startswith("htdemucs_n")}
)

# %%
ms.figures.levels_figure(
    {name: models[name] for name in NAMES if name.startswith("htdemucs_n")}
)

# %% [markdown]
# ## Which window for which stem?
#
# Before any network learns: in which picture is a sound *compact*? Here is the share of
# the energy that lies in the strongest thousandth of all cells of the spectrogram, for five
# windows. The higher, the fewer cells a mask has to get right.


# %%
def compactness(sound, n_fft):
    energy = ms.spectral.stft(sound, n_fft, n_fft // 4).abs().square().flatten()
    strongest = energy.topk(len(energy) // 1000).values
    return 100 * (strongest.sum() / energy.sum()).item()


windows = [512, 1024, 2048, 4096, 8192]
compact = {stem: [compactness(x, n) for n in windows] for stem, x in parts.items()}
ms.figures.sweep_figure(
    windows,
    compact,
    xlabel="Window (samples)",
    ylabel="Energy in 0.1 % of the cells (%)",
    scale="log2",
    mark="highest",
)

# %% tags=["nbval-check-output"]
for stem in ("drums", "vocals", "other"):
    best = windows[compact[stem].index(max(compact[stem]))]
    print(f"{stem}: most compact with a window of {best} samples")

# %% [markdown]
# Drums are compact in short windows, voices and chords in long ones; no window is best for
# all. That is the idea behind the variants with several resolutions. How do they join what the
# windows give? In `nn`, with a weighted sum, whose weights are a softmax and are learned.


# %%
def toy_sum(waveforms, raw):  # (stems, resolutions, channels, samples)
    total = torch.zeros_like(waveforms[:, 0])
    for s, row in enumerate(raw):
        shares = row.exp() / row.exp().sum()
        for r, share in enumerate(shares):
            total[s] += share * waveforms[s, r]
    return total


# %%
show_source("mssedu.models.htdemucs_resolutions.Weights.forward")

# %% tags=["nbval-check-output"]
config = ms.models.model_config("htdemucs_nn", "tiny", mended=True)
real = Weights(config)
torch.nn.init.normal_(real.weights.raw)
waveforms = torch.randn(1, len(config.stems), len(config.n_ffts), 2, 100)
with torch.no_grad():
    apart = (toy_sum(waveforms[0], real.weights.raw) - real(waveforms)[0]).abs().max()
print(claim("toy and real differ by", apart, below=1e-5, digits=7))

# %% [markdown]
# ## Counting honestly
#
# The record says that the baseline has 137.52 G "FLOPs" and 20.93 M parameters, "for 10 s of
# one instrumental". Count again.

# %%
counts = {name: count_costs(name, segment=10.0) for name in NAMES}
lines = {}
for name, one in counts.items():
    quoted = one.quoted
    lines[name] = {
        "million parameters": one.n_parameters / 1e6,
        "thop's": one.thop_parameters / 1e6,
        "record's": quoted.million,
        "GMAC": one.flops / 2e9,
        "thop's G": one.thop_macs / 1e9,
        "record's G": quoted.giga,
        "of, s": quoted.segment if quoted.giga else None,
        "thop's G of that": one.thop_macs_of_record / 1e9,
    }
rounded(pd.DataFrame(lines).T)

# %% tags=["nbval-check-output"]
base = counts["htdemucs"]
print(f"parameters: {base.n_parameters:,}, and thop counts {base.thop_parameters:,}")
print(f"for 10 s: {base.thop_macs / 1e9:.2f} G by thop, and the record says", end=" ")
print(f"{base.quoted.giga}; in truth {base.flops / 2e9:.1f} G multiply-adds,")
print(f"which are {base.flops / 1e9:.1f} G operations")
alone = count_costs("htdemucs", segment=10.0, stems=("instrumental",))
print(f"with one stem, thop counts {alone.thop_macs / 1e9:.2f} G")
for name in ("htdemucs_p", "htdemucs_d", "htdemucs_i"):
    one = counts[name]
    print(
        f"{name}: {one.quoted.giga} G are those of {one.quoted.segment:g} s, and",
        end=" ",
    )
    print(
        f"10 s take {one.thop_macs / 1e9:.2f} G by thop, {one.flops / 2e9:.1f} in truth"
    )

# %% [markdown]
# Every figure of the record is reproduced, to its last digit, and none is what its heading
# says:
#
# - They are multiply-adds, not operations; an operation count is twice as high.
# - They are those of four stems, not of one.
# - Three of the rows were counted for 8, 4 and 4 seconds, the others for 10. So `p` and `d`
#   look cheaper than the baseline, and take more. `i` looks cheaper and is, because two errors
#   cancel each other.
# - The program, thop, knows layers by their class. The projections in the attention and the
#   layer scales are bare parameters of no class that it knows, and so is the product of
#   queries and keys. Where it errs in the other direction is the first exercise.
#
# > **What to notice.** A wrong number with five digits looks more certain than a right one
# > with two. Ask of each cost: of what input, with how many outputs, counted how?

# %%
ms.figures.costs_figure(
    {
        name.removeprefix("htdemucs_"): {
            "record's G": one.quoted.giga,
            "true G multiply-adds of 10 s": one.flops / 2e9,
        }
        for name, one in counts.items()
    },
    xlabel="Billions",
)

# %% [markdown]
# ## Kernels, strides and hops
#
# Two branches can be *added* only where they have the same number of steps in a second.
# The hop of the STFT gives the frames; the strides give the steps of the waveform. HTDemucs
# does not add: its transformer relates two sequences of any lengths. Variant `c` has no
# transformer, so its branches must meet.

# %% tags=["nbval-check-output"]
for name, preset in (("htdemucs", "lab"), ("htdemucs_c", "paper")):
    config = ms.models.model_config(name, preset)
    hop_length = config.n_fft // config.hops
    if name == "htdemucs":
        kernel, stride, levels = 8, 4, config.depth
    else:
        kernel, stride, levels = config.kernel_size, config.stride, config.n_apart
    bins = config.n_fft // 2 // stride**levels
    print(
        f"{name}: window {config.n_fft}, hop {hop_length}; after {levels} levels",
        end=" ",
    )
    print(f"{bins} bins, and {hop_length / stride**levels:g} steps in a frame")

# %% [markdown]
# With 16 bins left and a kernel of 16, the next level of `c` covers all of them, and a
# stride of 4 leaves one step in a frame: now both branches can be added. With a hop of
# n_fft / 4, as in HTDemucs, it would be two steps in a frame, and the sum would fail.
#
# In the stock code it fails one line earlier. There the padding of a level is kernel / 4,
# which is right for a kernel of 8 and a stride of 4 only. With a kernel of 16, each level
# loses a bin or two, 14 are left in place of 16, and the kernel does not fit. Our config
# says so before anything is built:

# %% tags=["nbval-check-output"]
for wrong in ({"n_fft": 6144}, {"kernel_size": 15}):
    try:
        ms.create_model("htdemucs_c", **wrong)
    except ms.errors.InputError as error:
        print(error)

# %% [markdown]
# ## Find the flaw
#
# A network without dropout and without batch norm computes the same in `train()` and in
# `eval()`. Here is `nn` after its weights have moved. Give it one segment of the song in both
# modes:

# %%
piece = song.mixture(start=20, duration=2)[None]


def difference_db(mended):
    torch.manual_seed(0)
    model = ms.create_model("htdemucs_nn", "tiny", mended=mended)
    torch.nn.init.normal_(model.fusion.weights.raw)  # as after some training
    with torch.no_grad():
        trained, evaluated = model.train()(piece), model.eval()(piece)
    error = (trained - evaluated).square().sum() / evaluated.square().sum()
    return 10 * math.log10(error.item() + 1e-20)


before = difference_db(mended=False)
print(f"difference: {before:.1f} dB")

# %% [markdown]
# Something differs. Which line is it? Read:

# %%
show_source("mssedu.models.htdemucs_resolutions.MixingWeights.forward")

# %% tags=["nbval-check-output"]
print(claim("the difference, against the estimate", before, above=-40, unit="dB"))
text = "with mended=True, without the average"
print(claim(text, difference_db(mended=True), below=-100, unit="dB"))

# %% [markdown]
# In training, nine tenths of the weights come from a moving average, and a tenth from what is
# learned; in evaluation all of it is what is learned. As long as the weights move, the
# network that is trained is not the one that is scored. The third exercise follows this.
#
# Does it also slow the learning down, since the gradient is only a tenth? **Predict** before
# you run the cell. A weight shall become large, by gradient descent and by Adam.


# %% tags=["nbval-check-output"]
def learned(optimizer, mended, steps=30):
    weights = MixingWeights((3,), mended)
    moves = optimizer(weights.parameters())
    for _ in range(steps):
        moves.zero_grad()
        (weights() - torch.tensor([1.0, 0.0, 0.0])).square().sum().backward()
        moves.step()
    return weights.eval()().max().item()


for name, optimizer in {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.3),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.03),
}.items():
    as_it_is, mended = (learned(optimizer, one) for one in (False, True))
    print(f"{name:4}: from 0.333 to {as_it_is:.3f}, mended to {mended:.3f}")

# %% [markdown]
# Gradient descent is slowed down, Adam is not: it divides each gradient by its usual size.
# The record uses Adam. So "a tenth of the gradient" is true, and explains nothing here. A flaw
# that you have found is not yet a reason for a result.
#
# ## Equal budgets
#
# Now the study. `recipes/htdemucs_lab/` has four grids for `mssedu ablate`: the same songs
# (MUSDB18-7s at 16 kHz, 80 to learn from, 25 to be tested), optimizer, loss, segment
# and seeds; small presets of the variants. What is equal differs:
#
# - `equal_steps`: 100 steps for each run,
# - `equal_seconds`: 12 processor seconds,
# - `equal_operations`: as many operations as the baseline has in 100 steps.
#
# These three have all variants, `n` and `nn` also without their flaws (`n_mended`,
# `nn_mended`). The fourth has four stems. The commands are in its README; on one core they
# take an hour and a half. The results are stored:

# %%
lab = ms.data.demo_data().parent / "recipes" / "htdemucs_lab"


def scores_of(grid):
    """A row for each song and stem, a column for each run, variant/seed."""
    return pd.read_csv(lab / f"{grid}.csv", index_col=["song", "stem"])


def by_variant(table):
    """Variant -> its columns, the seeds."""
    columns = table.columns.drop("mixture")
    names = dict.fromkeys(column.rpartition("/")[0] for column in columns)
    return {
        name: table[[c for c in columns if c.startswith(f"{name}/")]] for name in names
    }


runs = pd.read_csv(lab / "runs.csv")
one_stem = runs[runs["grid"] != "four_stems"]
spent = one_stem.pivot_table(
    index="variant", columns="grid", values=["steps", "processor_seconds"], sort=False
)
of_variants = one_stem.groupby("variant", sort=False)
budgets = pd.DataFrame(
    {
        "parameters": of_variants["parameters"].first(),
        "GFLOP of 1 s": of_variants["gflop_per_second"].first(),
        "s, 100 steps": spent["processor_seconds", "equal_steps"],
        "steps in 12 s": spent["steps", "equal_seconds"].round().astype(int),
        "steps, equal operations": spent["steps", "equal_operations"].astype(int),
        "s of them": spent["processor_seconds", "equal_operations"],
    }
)
rounded(budgets)

# %% [markdown]
# The seconds are those of processors that had other work, too: the same 100 steps of the
# baseline took 9.8 s in one grid, and 12.1 s in another. Here are the scores: a dot for each
# seed, and the mean with its 95 % interval over seeds.

# %%
equal_steps = scores_of("equal_steps")
ms.figures.interval_figure(
    {name: one.mean().tolist() for name, one in by_variant(equal_steps).items()},
    xlabel="usdr of the instrumental after equal steps, mean of songs (dB)",
)

# %%
equal_seconds = scores_of("equal_seconds")
ms.figures.interval_figure(
    {name: one.mean().tolist() for name, one in by_variant(equal_seconds).items()},
    xlabel="usdr of the instrumental after equal seconds, mean of songs (dB)",
)

# %%
equal_operations = scores_of("equal_operations")
ms.figures.interval_figure(
    {name: one.mean().tolist() for name, one in by_variant(equal_operations).items()},
    xlabel="usdr of the instrumental after equal operations, mean of songs (dB)",
)


# %%
def verdict(table):
    """Mean, median and paired differences from the first variant, seeds averaged."""
    songs = {name: one.mean(axis=1) for name, one in by_variant(table).items()}
    first = next(iter(songs))
    lines, tests = {}, {}
    for name, own in {"mixture": table["mixture"], **songs}.items():
        difference = own - songs[first]
        line = {"mean": own.mean(), "median": own.median()}
        if name != first:
            line["mean difference"] = difference.mean()
            line["95 %"] = "{:+.2f} … {:+.2f}".format(
                *bootstrap_interval([*difference])
            )
            line["median difference"] = difference.median()
            ends = bootstrap_interval([*difference], "median")
            line["of the median"] = "{:+.2f} … {:+.2f}".format(*ends)
            tests[name] = paired_test([*songs[first]], [*own]).p
        lines[name] = line
    for name, p in zip(tests, holm([*tests.values()]), strict=True):
        lines[name]["p (Holm)"] = f"{p:.2g}"
    return pd.DataFrame(lines).T


rounded(verdict(equal_steps))

# %% [markdown]
# And the differences from the baseline in all three budgets, side by side, with their
# intervals over songs:

# %%
grids = {
    "equal steps": equal_steps,
    "equal seconds": equal_seconds,
    "equal operations": equal_operations,
}
side_by_side = {}
for budget, scored in grids.items():
    judged = verdict(scored)
    side_by_side[budget] = judged["mean difference"]
    side_by_side[f"95 %, {budget.removeprefix('equal ')}"] = judged["95 %"]
rounded(pd.DataFrame(side_by_side).drop(["mixture", "htdemucs"]))

# %% [markdown]
# What does a score cost once the network is trained? Each panel has another price. The gray
# line joins the variants that no cheaper one beats; all others are never the best choice.

# %%
costs = {
    "GFLOP for a second of sound": "gflop_per_second",
    "Parameters": "parameters",
    "Memory of a segment (MB)": "memory_mb",
    "Computing time of a second (s, one core)": "processor_factor",
}
of_variants = runs[runs["grid"] == "equal_steps"].groupby("variant")
ms.figures.pareto_figure(
    {name: one.mean().tolist() for name, one in by_variant(equal_steps).items()},
    {label: of_variants[column].mean().to_dict() for label, column in costs.items()},
    ylabel="usdr of the instrumental (dB)",
)

# %% [markdown]
# The prices do not agree. Parameters say little about time: a convolution uses each of its
# weights at every frame, and a U-Net for each window means every frame again.
#
# ## Mean or median?
#
# These are the record's scores on the 50 test songs of MUSDB18-HQ: SDR of the instrumental,
# mean and median of songs, after 10 epochs, and after a restart with 3 more.

# %%
RECORD = pd.DataFrame(
    {
        "mean, 10 epochs": {"htdemucs": 14.219, "n": 17.454, "nn": 18.323},
        "median, 10 epochs": {"htdemucs": 11.140, "n": 12.470, "nn": 12.435},
        "mean, 13 epochs": {"htdemucs": 14.675, "n": 18.183, "nn": 18.474},
        "median, 13 epochs": {"htdemucs": 11.198, "n": 12.556, "nn": 12.561},
    }
)
RECORD

# %% tags=["nbval-check-output"]
gain = RECORD.loc["n"] - RECORD.loc["htdemucs"]
for column, value in gain.items():
    print(f"{column}: n is {value:+.2f} dB above htdemucs")

# %% [markdown]
# The mean rises by 3.5 dB and the median by 1.4 dB. Half of the songs gain about a decibel,
# so some others must gain a lot. Which ones? Look at single songs of our own runs, sorted by
# the score that the *mixture* has as an estimate of the instrumental. It is high where
# the vocals are soft, or pause.

# %%
variants = by_variant(equal_steps)
songs = pd.DataFrame({name: one.mean(axis=1) for name, one in variants.items()})
songs = songs.assign(mixture=equal_steps["mixture"]).sort_values("mixture")
ms.figures.sweep_figure(
    songs["mixture"].tolist(),
    {name: songs[name].tolist() for name in ("mixture", "htdemucs", "n")},
    xlabel="usdr of the mixture (dB)",
    ylabel="usdr (dB)",
)

# %% tags=["nbval-check-output"]
easy = songs.iloc[-1]  # the song with the softest vocals
print(f"the mixture of one song has {easy['mixture']:.1f} dB,", end=" ")
print(f"htdemucs makes {easy['htdemucs']:.1f} dB of it")
gain = songs["htdemucs"] - songs["mixture"]
for text, some in {"all 25 songs": gain, "without this song": gain.iloc[:-1]}.items():
    print(f"{text}: gain over the mixture, mean {some.mean():+.2f} dB,", end=" ")
    print(f"median {some.median():+.2f} dB")

# %% [markdown]
# One song of 25 moves the mean by 0.6 dB, and the median by 0.1 dB. On the right of the
# figure little is left to separate. There a score says how well a
# network *copies* its input. A network that copies well can have 30 or 50 dB in such a song,
# and nothing limits it. In the other songs a score says how much of the vocals is removed, and
# 15 dB is a lot.
#
# Is that enough to make the pattern of the record? Here is a simulation, not data: 50
# songs, six of them almost without vocals. Two made-up systems remove vocals by 6 and
# by 7.4 dB, and copy with 28 and with 50 dB.


# %%
def simulated(mixture, removed, copied):
    """usdr if the vocals get softer by `removed` dB and the copy has `copied` dB."""
    error = 10 ** (-(mixture + removed) / 10) + 10 ** (-copied / 10)
    return -10 * error.log10()


generator = torch.Generator().manual_seed(0)
usual = 5 + 2.5 * torch.randn(44, generator=generator)
soft = 45 + 8 * torch.randn(6, generator=generator)
mixtures = torch.cat([usual, soft])
first, second = simulated(mixtures, 6.0, 28.0), simulated(mixtures, 7.4, 50.0)
change = second - first

# %% tags=["nbval-check-output"]
print(f"means {first.mean():.1f} and {second.mean():.1f} dB,", end=" ")
print(f"medians {first.median():.1f} and {second.median():.1f} dB")
without = change[:44].mean()
print(claim("the mean rises by", change.mean(), above=3, unit="dB"))
print(
    claim("the median rises by", second.median() - first.median(), below=1.6, unit="dB")
)
print(claim("without the six songs, the mean by", without, below=1.6, unit="dB"))
unpaired = 1.96 * ((first.var() + second.var()) / 50).sqrt()
print(
    claim(
        "half a 95 % interval of two means, songs not paired",
        unpaired,
        above=2,
        unit="dB",
    )
)
low, high = bootstrap_interval(change.tolist())
print(f"the same, paired: {low:+.1f} … {high:+.1f} dB")

# %% [markdown]
# The pattern appears: 3.4 and 1.5 dB, from six songs of fifty. It does not prove that
# this is what happened, only that a better *copy* of six songs is enough. The record gives
# no scores of single songs, and that is all that would be needed to decide.
#
# **The verdict.** What may be said of "several resolutions beat the baseline"?
#
# - *Of the record*: medians of two runs with one seed differ by 1.3 dB, without an interval.
#   Its means depend on few songs, and an interval of unpaired means is wider than their
#   difference. All models are far from the published htdemucs, which has a median of
#   16.35 dB, so the comparison is one of short trainings.
# - *Of our runs*: at equal steps `nn` is 0.4 dB above the baseline, but `n`, `nf`, `dn` and
#   `dnf`, which have several resolutions too, are not above it; and `c`, which has one, is as good
#   as `nn`. Each step of theirs costs more. At equal seconds and at equal operations, *all*
#   variants with several spectrograms are below the baseline.
# - *Of the budgets*: they do not crown the same variant. At equal steps and seconds it is `nc`, which has
#   neither spectrogram nor transformer. At equal operations it is `d`, closely followed by `d2` and
#   `i`, whose steps are so cheap that they get 234 to 427 of them. But `i` needs four times the
#   seconds of the baseline for the same operations: a count of operations is not a time. Only
#   `s` and `nc` are above the baseline in all three.
# - *Of the seeds*: with three of them, a difference of 0.2 dB may be luck: the seeds of the baseline
#   itself lie so far apart. And all of it holds for small networks after less than a minute,
#   one learning rate, and songs like these: a large network learns slowly at first.
# - *Of the flaw*: `nn` and `nn_mended` differ by less than 0.02 dB in every song. The flaw is
#   real, and explains nothing here, as the cell with Adam has said.
# - *What nobody has shown*: that several resolutions are better, or worse, in general. That takes
#   the full size, songs, steps and three seeds. The grids are ready: change `preset` and `steps`,
#   and start them on a GPU.

# %% tags=["nbval-check-output"]
means = {
    budget: pd.Series({n: one.mean(axis=None) for n, one in by_variant(scored).items()})
    for budget, scored in grids.items()
}
gains = pd.DataFrame(means).sub(pd.DataFrame(means).loc["htdemucs"])
for budget, gain in gains.items():
    best = gain.idxmax()
    print(f"{budget}: best is {best}, {gain[best]:+.2f} dB;", end=" ")
    print(
        ", ".join(
            f"{name} {gain[name]:+.2f}" for name in ("n", "nn", "nf", "dn", "dnf")
        )
    )
always = gains.index[(gains > 0).all(axis=1)]
print(f"above the baseline in all three: {', '.join(always)}")
apart = (songs["nn"] - songs["nn_mended"]).abs().max()
print(claim("nn and nn_mended", apart, below=0.02, unit="dB", digits=3))
print(reveal(prediction["equal steps"], gains.loc["n", "equal steps"], "dB"))
print(reveal(prediction["equal time"], gains.loc["n", "equal seconds"], "dB"))

# %% [markdown]
# ## What the fusion learned
#
# Does a network that may choose prefer the short window for drums? The runs with four stems
# have learned a share of each window for each stem. This is the mean of three seeds of `nn`;
# its windows of 512, 1024 and 2048 samples last 32, 64 and 128 ms at 16 kHz.

# %%
learned_shares = pd.read_csv(lab / "fusion.csv")
chosen = learned_shares[
    (learned_shares["grid"] == "four_stems") & (learned_shares["variant"] == "nn")
]
mean_shares = chosen.groupby(["stem", "n_fft"], sort=False)["share"].mean()
ms.figures.fusion_figure(
    {
        stem: mean_shares[stem].to_dict()
        for stem in mean_shares.index.get_level_values(0).unique()
    }
)

# %% tags=["nbval-check-output"]
seeds = chosen.groupby(["stem", "n_fft"], sort=False)["share"].agg(
    ["mean", "min", "max"]
)
for n_fft, row in (100 * seeds.loc["drums"]).iterrows():
    print(f"drums, {n_fft} samples: {row['mean']:.1f} %,", end=" ")
    print(f"seeds from {row['min']:.1f} to {row['max']:.1f} %")
four = by_variant(scores_of("four_stems"))
change = (
    (four["nn"].mean(axis=1) - four["htdemucs"].mean(axis=1)).groupby("song").mean()
)
ends = "{:+.2f} … {:+.2f}".format(*bootstrap_interval([*change]))
print(f"four stems, 60 steps: nn is {change.mean():+.2f} dB above htdemucs ({ends})")

# %% [markdown]
# No. After 60 steps all shares lie near a third, and the seeds of one window differ more than
# the windows: a preference is *not shown*. (It is not refuted either; the weights had little
# time to move.) And a weight is not all: each window has a U-Net of its own, which can make
# its waveform louder or softer before it is weighted. A control would switch a window off and
# measure what is lost, as in notebook 11.
#
# ## Attention that grows slowly
#
# `n`, `nn` and `dn` use *linear* attention: it sums keys and values once for all positions, so
# its cost grows with the length and not with its square (Katharopoulos et al. 2020). Measured,
# for one layer of 192 features, at lengths up to those of 12 s:

# %%
lengths = [500, 1000, 2000] if session.profile == "smoke" else [500, 1000, 2000, 4000]
attention = attention_costs(lengths, width=192, n_heads=8)
ms.figures.attention_figure(attention)

# %% tags=["nbval-check-output"]
for kind, cost in attention_costs([500, 1000, 2000, 4000], 192, timed=False).items():
    print(f"{kind}: operations grow as length to the power", end=" ")
    print(f"{exponent(cost.lengths, cost.flops):.2f}")
long = attention_costs([10**6, 2 * 10**6], 192, timed=False)["quadratic"]
print(f"from one to two million positions: {exponent(long.lengths, long.flops):.2f}")

# %% [markdown]
# Why not 2 from the start? A layer also has projections and a feed-forward part, which are
# linear. At the lengths of music they still take a large part. So linear attention saves
# little here, and a power that was fitted over one range says nothing about another.
#
# ## Your own variant, in 30 lines
#
# An idea of ours: in `nn` the shares of the windows are the same at each moment. But a song
# has moments of attacks and moments of tones. Let a small convolution choose the shares from
# the levels of the waveforms. A file with a config and a class is enough; the first line of a
# variant is its baseline.

# %%
file = lab / "gated.py"
text = file.read_text(encoding="utf-8")
print(text)

# %% tags=["nbval-check-output"]
n_lines = len([line for line in text.splitlines() if line])
print(claim("lines", n_lines, below=31, digits=0))

# %% [markdown]
# `create_model` runs the file, and checks the contract on the way: two mixtures of noise, one
# of a single sample. Check some more of it, as `tests/models/test_contract.py` does for every
# model of the package.

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
own = ms.create_model(f"{file}:HTDemucsGated", "tiny").eval()
with torch.no_grad():
    for samples in (1, 999, 44100):
        print(tuple(own(torch.randn(2, 2, samples)).shape))
    silence = own(torch.zeros(1, 2, 20000)).abs().max()
    double = own.double()(torch.randn(1, 2, 9999, dtype=torch.float64)).dtype
print(claim("silence gives", silence, below=1e-6, digits=8), double)
before = ms.create_model("htdemucs_nn", "tiny")
sizes = [sum(p.numel() for p in model.parameters()) for model in (before, own)]
print(f"parameters: nn {sizes[0]:,}, yours {sizes[1]:,}")

# %% [markdown]
# Both have equally many parameters: 4 stems · 3 windows are 12 weights, and so are the 3 · 3 +
# 3 numbers of the convolution. So a comparison of the two is about the idea, not about the
# size.
#
# The variant has an entry in no table yet, and needs none: `mssedu train SONGS --model
# gated.py:HTDemucsGated --preset tiny` trains it. A grid compares it with its baseline, with
# one line for each, and the result is one more row of the tables above:
#
# ```toml
# [variants.nn]
# model = "htdemucs_nn"
#
# [variants.gated]
# model = "gated.py:HTDemucsGated"
# ```
#
# ## Any stems
#
# Nothing in a variant names vocals or drums. What changes with other stems?

# %% tags=["nbval-check-output"]
chinese = ("dizi", "yangqin", "pipa", "other")
with torch.device("meta"):
    for name in ("htdemucs_n", "htdemucs_nn", "htdemucs_nf"):
        four = ms.create_model(name, stems=chinese)
        one = ms.create_model(name, stems=("instrumental",))
        shapes = {key: value.shape for key, value in one.state_dict().items()}
        other = [k for k, v in four.state_dict().items() if v.shape != shapes[k]]
        heads = sorted({key.split(".")[0] for key in other})
        sizes = [sum(p.numel() for p in m.parameters()) for m in (four, one)]
        print(f"{name}: {sizes[0]:,} and {sizes[1]:,}; differ in {', '.join(heads)}")

# %% [markdown]
# Only the last layers and the fusion. The rest of the study changes with the stems, too:
#
# - With one stem all weights serve it; with four they share the work, and the loss is a mean
#   over stems of different loudness. `stem_weights` in a recipe changes their balance.
# - Oracles and the mixture as an estimate have other scores: the mixture is a good instrumental
#   and a bad pipa. So compare gains over the mixture, not decibels of different stems.
# - `mssedu train MIXES --stems dizi yangqin pipa other --model htdemucs_nn --preset tiny` is the
#   same lab on your own mixes; the README shows how to build them.
#
# ## And by ear
#
# A score chose the best variant; do listeners agree? Three systems, hidden reference and
# anchors make a MUSHRA test of notebook 13. With the stems of three runs on the disk:
#
# ```sh
# mssedu evaluate SONGS --split test -m runs/lab/equal_steps/n/seed0 --save-stems runs/n
# mssedu listen create runs/htdemucs runs/n runs/nf --data SONGS --split test
# mssedu listen serve
# ```
#
# ## What to remember
#
# - A variant is a difference of configs. If ten fields differ, a better score has ten causes.
# - A count needs its input, its outputs and its rules. Reproduce a number before you quote it.
# - Branches that are added need equal frames: hop, strides, kernels and padding decide.
# - `train()` and `eval()` must compute the same, but for dropout and batch norm.
# - Equal steps, equal seconds and equal operations are three questions, and often have three
#   answers. Say which one you asked.
# - If a mean rises more than a median, look at single songs: few of them made it.
# - A flaw that you found, and a pattern that you can simulate, are not yet causes.
#
# ## Exercises

# %%
exercise("htdemucs_lab.layer_macs")


# %% tags=["exercise"]
def layer_macs(n_in, n_out, kernel, stride, length):
    return ...  # your code here


exercise("htdemucs_lab.layer_macs").check(layer_macs)

# %%
exercise("htdemucs_lab.align_levels")


# %% tags=["exercise"]
def align_levels(n_fft, hop_length, kernels, strides, pads):
    return ...  # your code here


exercise("htdemucs_lab.align_levels").check(align_levels)

# %%
exercise("htdemucs_lab.mixing_weights")


# %% tags=["exercise"]
def mixing_weights(raws, momentum):
    return ...  # your code here


exercise("htdemucs_lab.mixing_weights").check(mixing_weights)

# %%
exercise("htdemucs_lab.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("htdemucs_lab.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Add your variant to `recipes/htdemucs_lab/equal_steps.toml`, run
# the grid again, and write the verdict in three sentences: one on the mean, one on the
# median, one on what your runs cannot show.

# %% [markdown]
# ## Sources
#
# - The record: repository `piusssss/demucs_learn` on GitHub, 2025, MIT license; no paper.
#   Our variants are written anew, and equal in weights and waveforms.
# - HTDemucs: S. Rouard, F. Massa and A. Défossez, "Hybrid transformers for music source
#   separation", *ICASSP* 2023, [arXiv:2211.08553](https://arxiv.org/abs/2211.08553).
# - Hybrid Demucs: A. Défossez, 2021, [arXiv:2111.03600](https://arxiv.org/abs/2111.03600).
# - Linear attention: A. Katharopoulos, A. Vyas, N. Pappas and F. Fleuret, "Transformers are
#   RNNs: fast autoregressive transformers with linear attention", *ICML* 2020.
# - The counter: thop, repository `Lyken17/pytorch-OpCounter` on GitHub, release 0.1.1.
# - Test songs: Z. Rafii, A. Liutkus, F.-R. Stöter, S. I. Mimilakis and R. Bittner, MUSDB18,
#   2017; its 7-second excerpts.
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
