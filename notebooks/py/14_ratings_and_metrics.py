# %% [markdown]
# # 14 · What ratings say: statistics, and the gap between metric and ear
#
# > 拿到评分之后，应当怎样下结论？本章先用事先规定的规则筛选听众，再讨论分析单位：把同一位听众的许多评分当作独立观测，就是伪重复，本章会演示它造成多少误报。你将给出置信区间并检查其覆盖率，对成对系统、ABX 答案和偏好进行检验，也会看到五位听众在原则上永远无法证明的事情。最后把主观评分与客观指标对照，说明只有三四个系统时，二者的相关性几乎证明不了什么。
#
# **Aim.** After this notebook you can
#
# - decide whose ratings count, by rules that were fixed before the test,
# - choose the unit of analysis, and show what the wrong one does,
# - give an interval, and say what it covers and what it does not,
# - test pairs of systems, abx answers and preferences, and say beforehand what a panel of
#   five can never show,
# - compare ratings with a metric, and say how little a few systems prove.
#
# | | |
# |---|---|
# | Path | optional, not on the short path |
# | Before | 04 (SDR and its traps), 13 (how a test is made) |
# | Time | 100 minutes in two sittings: Part A 50, Part B 50; the code runs in under a minute on two CPU cores, no GPU needed; Part B includes ten minutes of a test |
# | Data | *Lithium*, *Potassium*, *Rubidium*, *Sodium* and *Francium* from `data/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [15 · A map of architectures](15_map_of_architectures.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $n$ | `n_listeners` | number of listeners |
# | $p$ | `p` | how often luck alone would do as well, or better |
# | $\alpha$ | 0.05 | rate of false alarms that we accept |
# | $d'$ | `d_prime` | distance of two sounds, in units of a listener's uncertainty |
# | $\tau$, $\rho$ | `kendall`, `spearman` | do two orders agree? 1 the same, -1 reversed |

# %%
import itertools
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy import stats

import mssedu as ms
from mssedu.course import Page, exercise, setup, show_source
from mssedu.course.progress import progress_file

# %%
setup()

# %% [markdown]
# # Part A · What a panel can show
#
# ## Listen first
#
# Two estimates of one voice, six seconds. You are not told which is which: switch with the
# keys 1 and 2, or click.

# %%
songs = {song.name: song for song in ms.load_dataset(ms.data.demo_data())}
francium = songs["Francium"]
rate = francium.sample_rate
voice = francium.stem("vocals", 29, 6)
rest = francium.mixture(29, 6) - voice
length = voice.shape[-1]
spectrogram = ms.spectral.stft(voice, 2048, 512)


def gurgle(amount):  # only the loudest bins are left
    loud = spectrogram.abs() > amount * spectrogram.abs().max()
    return ms.spectral.istft(spectrogram * loud, 512, length=length)


def late(samples):
    return voice.roll(samples, dims=-1)


def score(estimate):
    return ms.metrics.usdr(reference=voice, estimate=estimate).item()


switch = ms.listening.ABSwitch(
    {"gurgle": gurgle(0.08), "late": late(4)}, rate, blind=True, seed=1
)
switch

# %% [markdown]
# **Predict.** Which of the two has the higher `usdr`, A or B? And which one would you rather
# keep?

# %%
prediction_usdr = "?"
prediction_better = "?"

# %% tags=["nbval-check-output"]
for letter, name in zip("AB", switch.order, strict=True):
    print(f"{letter} {name:6} usdr {score(switch.sounds[name]):5.1f} dB")
print("You said:", prediction_usdr, "and", prediction_better)

# %% [markdown]
# The one with the higher score has lost all but its loudest bins. The other is the true
# voice and nothing else, four samples late: as if you had leaned back by three centimeters.
#
# A score makes a claim about ears. Whether it holds, only ears can tell. But listeners
# disagree, get tired, guess and are polite, so *their* answers need statistics. This
# notebook is about these statistics, and then about the gap between metric and ear.
#
# ## A test, and a panel whose truth we know
#
# Eight excerpts, the loudest six seconds of voice or bass in four songs, go through four
# separators. All four know the true stems, so there is nothing to train:
#
# | system | what it is |
# |---|---|
# | `ratio` | ideal ratio mask, window of 4096 samples |
# | `coarse` | the same with a window of 256 samples |
# | `leaky` | the ratio mask, and a fifth of the mixture that leaks in |
# | `binary` | ideal binary mask |
#
# `mssedu listen create` makes a test from folders of any separated stems. Here the files are
# written by hand, so that you see what is in them.

# %%
stems = francium.stems


def masked(sources, mask, n_fft):
    shown = ms.spectral.stft(sources, n_fft, n_fft // 4)
    estimate = ms.masks.apply_mask(mask(shown), shown.sum(0))
    return ms.spectral.istft(estimate, n_fft // 4, length=sources.shape[-1])


def ratio(sources):
    return masked(sources, ms.masks.ideal_ratio_mask, 4096)


systems = {
    "ratio": ratio,
    "coarse": lambda sources: masked(sources, ms.masks.ideal_ratio_mask, 256),
    "leaky": lambda sources: 0.8 * ratio(sources) + 0.2 * sources.sum(0),
    "binary": lambda sources: masked(sources, ms.masks.ideal_binary_mask, 4096),
}
folder = Path(tempfile.mkdtemp())  # or Path("runs/my_test"), to keep your answers
folder.mkdir(parents=True, exist_ok=True)


def write_trial(song, stem, seconds=6):
    """The loudest seconds of a stem, in all versions, as files of one trial."""
    start = ms.listening.loudest_start(song.stem(stem), rate, seconds)
    sources = song.sources(start, seconds)
    index = stems.index(stem)
    sounds = {name: system(sources)[index] for name, system in systems.items()}
    files = {}
    for name, sound in (sounds | {"reference": sources[index]}).items():
        files[name] = f"{song.name}-{stem}-{name}.wav"
        ms.audio.save_audio(folder / files[name], sound, rate, subtype="float32")
    return ms.listening.Trial(f"{song.name} {stem}", files, files.pop("reference"))


names = ("Lithium", "Potassium", "Rubidium", "Sodium")
trials = tuple(
    write_trial(songs[name], stem) for name in names for stem in ("vocals", "bass")
)
design = ms.listening.Design(
    "Four masks", "mushra", trials, n_replicates=2, folder=folder
)
ms.listening.save_design(folder / "test.toml", design)
print(len(design.trials), "trials of", ", ".join(design.stimuli))

# %% [markdown]
# Two of the ten pages of each listener are *replicates*: shown again, to see how steady a
# listener is. Two low-passed anchors and a hidden reference are among the sounds.
#
# Who listens? At the end, you. Until then, a **simulated panel**. The true opinions of
# a real panel are unknown, so you cannot check a method on it. For a simulated one we
# choose the truth, and then see which methods find it. **The numbers below are
# invented.** They show what methods do. They say nothing about ears, and nothing about
# these four masks.

# %%
show_source("mssedu.listening.results.draw_ratings")

# %% [markdown]
# A rating is the quality of the system, plus what makes a listener strict or kind, plus what
# makes a song hard, plus **a taste: what one listener thinks of one system, on every page**,
# plus noise. Remember the taste.
#
# The mid anchor is the reference without what lies above 7 kHz. Where that is less than a
# thousandth of the energy, -30 dB, our panel does not hear the filter. And three of our 14
# listeners are odd. L04 does not listen on one page, L07 on three. L10 hears no treble.

# %%
truth = {"ratio": 75.0, "coarse": 60.0, "leaky": 60.0, "binary": 50.0}
controls = {"reference": 100.0, "anchor35": 20.0, "anchor70": 45.0}


def treble_db(trial):
    """What the filter of the mid anchor takes away, against the whole sound."""
    reference = ms.listening.test.load_stimuli(design, trial).sounds["reference"]
    anchor = ms.listening.test.lowpass(reference, rate, 7000)
    return -ms.metrics.usdr(reference=reference, estimate=anchor).item()


treble = {trial.name: treble_db(trial.name) for trial in trials}


def opinion(session):
    """What this listener thinks of the sounds on this page, but for chance."""
    number, page = session.number, session.progress[0]
    quality = truth | controls
    if treble[session.page.trial] < -30:
        quality["anchor70"] = 97.0
    if number == 10:
        quality["anchor70"] = 110.0  # does not hear treble
    if (number, page) == (4, 2) or (number == 7 and page in (1, 5, 6)):
        quality["reference"] = 75.0  # was not listening
    return quality


def sit(store, n_listeners, opinion, panel=None):
    """Listeners L00, L01 … take the test; all their ratings."""
    for _ in range(n_listeners):
        session = ms.listening.Session(store)
        while session.page:
            ms.listening.sit_through(session, opinion(session), panel, n_pages=1)
    frame = ms.listening.ratings_frame(store)
    codes = {who: f"L{n:02}" for n, who in enumerate(store.listeners())}
    return frame.assign(listener=frame.listener.map(codes))


store = ms.listening.ResultStore(":memory:", design)
ratings = sit(store, 14, opinion, ms.listening.Panel(seed=14))

# %% tags=["nbval-check-output"]
print(len(ratings), "ratings")
one = ratings[(ratings.listener == "L00") & (ratings.page < 2)]
shown = ["listener", "page", "trial", "stimulus", "score"]
print(one[shown].round(1).to_string(index=False))

# %% [markdown]
# Four systems make six pairs. `ratio` is truly better by 15 points than `coarse` and
# `leaky`, which are equal, and these by 10 than `binary`.
#
# **Predict.** Of the five true differences, how many will twelve listeners prove? And how
# many five listeners?

# %%
prediction_found = {"12 listeners": "?", "5 listeners": "?"}

# %% [markdown]
# ## Look before you count
#
# A point is a listener: the mean of eight songs.

# %%
ms.listening.ratings_figure(store, ratings)

# %% [markdown]
# The reference is clearly above the rest, as it should be. The mid anchor, `anchor70`,
# is strange: its ratings are as high as those of the best system. Look at its ratings
# song by song.

# %% tags=["nbval-check-output"]
anchor = ratings[ratings.stimulus == "anchor70"]
for trial, rows in anchor.groupby("trial"):
    above = (rows.score > 90).mean()
    print(f"{trial:17} above 7 kHz {treble[trial]:4.0f} dB", end=", ")
    print(f"anchor: median {rows.score.median():3.0f}, above 90 in {above:.0%}")

# %% [markdown]
# The levels are real. A bass has almost no energy above 7 kHz, so nothing is missing,
# and the anchor is not one. The same is true for the voice in this excerpt of *Sodium*.
# No mean over songs would have shown this.
#
# ## Whose ratings count
#
# Some listeners cannot hear the differences, or do not try. The standard for MUSHRA, ITU-R
# BS.1534-3, has two rules, here as they are quoted in public code:
#
# 1. A listener is excluded who rates the hidden reference below 90 in *more than* 15 % of the items.
# 2. A listener is excluded who rates the mid anchor above 90 in more than 15 % of the
#    items. But where more than a quarter of all listeners do so, the item is the
#    problem and not the listeners: it does not count.
#
# An item is a page, replicates too.

# %% tags=["nbval-check-output"]
hidden = ratings[ratings.stimulus == "reference"]
misses = (hidden.score < 90).groupby(hidden.listener).mean()
for listener, share in misses[misses > 0].items():
    print(f"{listener}: hidden reference missed in {share:.0%} of the items")
screening = ms.listening.screen(ratings)
for listener, why in screening.excluded.items():
    print(f"{listener} goes: {why}")
faulty = [item.removesuffix(" (quality)") for item in screening.faulty_items]
print("items at fault:", ", ".join(faulty))

# %% [markdown]
# L04 stays: one miss in ten is 10 %. (The code of `screen` is not shown: you will write it.)
# Now two easy ways to get it wrong.

# %% tags=["nbval-check-output"]
fooled = (anchor.score > 90).groupby(anchor.listener).mean()
excluded = {
    "the standard": {*screening.excluded},
    "any miss is one too many": {*misses[misses > 0].index},
    "no exception at all": {*fooled[fooled > 0.15].index},
}
for name, who in excluded.items():
    print(f"{name:24} {len(who)} of 14 go:", *sorted(who))

# %% [markdown]
# > **What to notice.**
# >
# > - The second line is what `pymushra` 0.5 does, which evaluates results of webMUSHRA. It
# >   computes who missed too often, and then removes everyone it computed that for, that is
# >   everyone with a miss. It never asks for the mid anchor, so L10 stays. *Test your
# >   statistics like any other code.*
# > - Without the exception most of the panel is excluded, because they heard correctly.
# > - Rules are fixed **before** the results are known, and a report names who was
# >   excluded and why. If you look at the means first, you will always find a reason.

# %%
counted = screening.apply(ratings)
means = ms.listening.results.listener_means(counted)[list(truth)]
ms.figures.interval_figure(
    {name: means[name].tolist() for name in means}, xlabel="Listener means (points)"
)

# %% [markdown]
# ## How sure is a mean?
#
# From here on a listener is *one number a system*, the mean of all songs, and there are
# twelve independent values. The interval says where the mean of other such listeners
# would lie: by Student's t, or by drawing listeners again with replacement, the
# bootstrap of notebook 04.

# %% tags=["nbval-check-output"]
formats = ms.listening.results.FORMATS
table = ms.listening.results.rating_table(means)
Page(ms.reports.render(table, "markdown", formats=formats))

# %% tags=["nbval-check-output"]
for one in ms.listening.results.summarize(means):
    low, high = one.t_interval
    held = "inside" if low <= truth[one.stimulus] <= high else "outside"
    print(f"{one.stimulus:7} truth {truth[one.stimulus]:.0f}: {held} the t interval")
for one in ms.listening.results.compare(means):
    difference = truth[one.second] - truth[one.first]
    low, high = one.test.interval
    held = "inside" if low <= difference <= high else "outside"
    print(f"{one.second:7}-{one.first:7} truth {difference:+.0f}: {held}")

# %% [markdown]
# Two of four means miss the truth, though these are 95 % intervals; all six differences
# are right. Is that bad luck? One panel cannot answer this. So simulate two thousand,
# all with the truth 50, and count how many intervals contain it: their **coverage**.
#
# **Predict.** What is the coverage of a 95 % bootstrap interval of five listeners?

# %%
prediction_coverage = "? %"

# %%
RUNS = 2000


def panels(n_listeners, n_trials, quality=None, runs=RUNS, **spreads):
    """Simulated panels, (runs, listeners, trials, systems)."""
    quality = quality or dict.fromkeys("abcd", 50.0)
    return np.stack(
        [
            ms.listening.draw_ratings(
                quality, n_listeners, n_trials, ms.listening.Panel(seed=seed, **spreads)
            )
            for seed in range(runs)
        ]
    )


def t_intervals(means):  # (runs, listeners)
    n = means.shape[1]
    half = stats.t.ppf(0.975, n - 1) * means.std(1, ddof=1) / n**0.5
    return np.stack([means.mean(1) - half, means.mean(1) + half], axis=1)


def bootstrap_intervals(means, draws=1000):
    n = means.shape[1]
    counts = np.random.default_rng(0).multinomial(n, [1 / n] * n, size=draws)
    return np.percentile(means @ counts.T / n, [2.5, 97.5], axis=1).T


def held(intervals, truth=50.0):
    low, high = intervals.T
    return ((low <= truth) & (truth <= high)).mean()


# %% tags=["nbval-check-output"]
intervals = {}
for n in (5, 20):
    for songs_vary, spread in (("same songs", 0.0), ("other songs", 8.0)):
        drawn = panels(n, 8, trial=spread)[..., 0].mean(2)
        for kind, make in (("t", t_intervals), ("bootstrap", bootstrap_intervals)):
            found = make(drawn)
            intervals[n, songs_vary, kind] = found
            print(f"{n:2} listeners, {songs_vary:11} {kind:9} {held(found):.0%}")
print("You said:", prediction_coverage)

# %%
ms.figures.coverage_figure(
    {
        f"{kind}, 5 listeners": intervals[5, "same songs", kind][:100]
        for kind in ("t", "bootstrap")
    },
    50.0,
    xlabel="Mean rating (points)",
)

# %% [markdown]
# > **What to notice.**
# >
# > - With the same songs t covers what it promises. The bootstrap of five listeners is
# >   too narrow: 83 % instead of 95 %. Five listeners do not show what a sixth is like.
# >   At twenty the two almost agree.
# > - With *other* songs both promise too much, and **more listeners make it worse**: 78 % at
# >   twenty. The interval speaks about other listeners, not about other songs. All listeners
# >   share these eight, and if they are hard, all means are low.
# >
# > So above it was more than bad luck. A mean rating is a fact about these songs. A
# > difference on the same songs is more: what makes a song hard cancels.
#
# ## What is the unit of analysis?
#
# The panel has made hundreds of ratings. Why reduce them to twelve numbers? Test it:
# four **equal** systems, 12 listeners, 10 songs, and three ways to ask whether the
# systems differ. At $p < 0.05$, each should find a difference in one panel of twenty.
#
# - Analysis of variance of all rows: 120 ratings a system.
# - Friedman's test of all rows: it ranks the four systems within each of 120 blocks, a
#   listener with a song. It needs no normal distribution, so it is often recommended.
# - Friedman's test of listener means: 12 blocks.
#
# **Predict.** In how many percent of the panels will each find a difference?

# %%
prediction_alarms = {"ANOVA, rows": "? %", "Friedman, rows": "? %", "means": "? %"}

# %% [markdown]
# Friedman's test in five lines:


# %%
def toy_friedman(ratings):  # (runs, blocks, systems) -> p
    _, blocks, k = ratings.shape
    ranks = stats.rankdata(ratings, axis=2)
    spread = ((ranks.mean(1) - (k + 1) / 2) ** 2).sum(1)
    return stats.chi2.sf(12 * blocks * spread / (k * (k + 1)), k - 1)


def anova(ratings):  # (runs, rows, systems) -> p
    return stats.f_oneway(*np.moveaxis(ratings, 2, 0), axis=1).pvalue


# %%
show_source("mssedu.listening.results.friedman")

# %% tags=["nbval-check-output"]
ours = toy_friedman(means.to_numpy()[None])[0]
assert math.isclose(ours, ms.listening.results.friedman(means).p)
print("toy and real agree")

# %% tags=["nbval-check-output"]
null = panels(12, 10, runs=10_000)
rows = null.reshape(len(null), 120, 4)
alarms = {
    "analysis of variance, all rows": anova(rows),
    "Friedman, all rows": toy_friedman(rows),
    "Friedman, listener means": toy_friedman(null.mean(2)),
}
for name, p in alarms.items():
    print(f"{name:31} {(p < 0.05).mean():4.0%} false alarms")
print("You said:", prediction_alarms)

# %% [markdown]
# There is no difference, and the test that "assumes nothing" finds one in almost every
# second panel. Ranks help against unusual distributions. They do not help against
# **pseudo-replication**, which comes from the taste. A listener who likes a system
# likes it ten times, and ten rows look like ten listeners. The more songs, the more
# false alarms:

# %%
lines = {"ANOVA, all rows": [], "Friedman, all rows": [], "Friedman, means": []}
n_trials = [1, 2, 5, 10, 20]
for n in n_trials:
    drawn = panels(12, n, runs=1000)
    flat = drawn.reshape(len(drawn), -1, 4)
    found = anova(flat), toy_friedman(flat), toy_friedman(drawn.mean(2))
    for line, p in zip(lines.values(), found, strict=True):
        line.append(100 * (p < 0.05).mean())
ms.figures.sweep_figure(
    n_trials,
    lines,
    xlabel="Songs that each of 12 listeners rates",
    ylabel="False alarms (%)",
)

# %% [markdown]
# With one song, rows *are* listeners. With more songs the false alarms of the rows rise
# fast, and those of the means stay at 5 %. (Analysis of variance begins below 5 %: it
# ignores that the same people rate all four systems. So it finds too little at first,
# and too much later.) The remedy is not another test. It is another **unit of
# analysis**:

# %%
show_source("mssedu.listening.results.listener_means")

# %% [markdown]
# ## Which two differ?
#
# Friedman's test says that some system differs. Which? Compare pairs, by Wilcoxon's
# signed-rank test over listeners. But six tests are six chances of a false alarm.


# %% tags=["nbval-check-output"]
def pair_p(drawn):
    """p of the six pairs, (runs, 6), of panels (runs, listeners, trials, systems)."""
    means = drawn.mean(2)
    return np.stack(
        [
            stats.wilcoxon(means[..., a], means[..., b], axis=1).pvalue
            for a, b in itertools.combinations(range(4), 2)
        ],
        axis=1,
    )


def holm_first(p):  # whether anything is found at all
    return (p.min(1) * p.shape[1] < 0.05).mean()


p = pair_p(null[:2000])
print(f"one pair:                  {(p[:, 0] < 0.05).mean():.0%} false alarms")
print(f"any of six, as they are:   {(p < 0.05).any(1).mean():.0%}")
print(f"any of six, after Holm:    {holm_first(p):.0%}")

# %% [markdown]
# **Holm's** method: the smallest p times six, the next times five, and so on. Then
# *any* false alarm in the whole table comes in at most one panel of twenty. (You will
# write it.) With Holm, our panel says:

# %% tags=["nbval-check-output"]
pairs = ms.listening.results.pair_table(means)
shown = ms.reports.render(pairs, "markdown", formats=formats)
Page(f"{shown}\n\n{ms.listening.results.pair_note(means)}")

# %% [markdown]
# Compare with the truth: 15, 15, 25, 0, 10, 10 points. It found all five true differences
# and not the sixth. Was that to be expected? Five hundred panels of each size:


# %% tags=["nbval-check-output"]
def holm_found(p):  # (runs, pairs) -> how often each is below 0.05 after Holm
    return (np.array([ms.evaluation.holm(row) for row in p.tolist()]) < 0.05).mean(0)


chances = {n: holm_found(pair_p(panels(n, 8, truth, runs=500))) for n in (5, 8, 12, 24)}
print(f"{'':15} truth" + "".join(f"{n:6}" for n in chances) + "  listeners")
for row, (a, b) in enumerate(itertools.combinations(truth, 2)):
    cells = "".join(f"{chances[n][row]:6.0%}" for n in chances)
    print(f"{a:6} - {b:6} {truth[a] - truth[b]:+5.0f}{cells}")
print("You said:", prediction_found)

# %% [markdown]
# ## What five listeners can never show
#
# The column of zeros is no accident. If all five agree, the signs of their differences
# are five equal tosses of a coin: two of 32, $p = 0.0625$. No difference, however
# large, gives a smaller $p$. You can know this *before* you invite anyone:

# %% tags=["nbval-check-output"]
print(ms.listening.results.power_note(5, 2))
print(ms.listening.results.power_note(5, 4))
for power in ms.listening.results.power_table(4, (5, 7, 8, 12, 20, 24)):
    print(f"{power.n:2} listeners: p can fall to {power.smallest_p:.2g}", end=", ")
    print(f"a large difference is found in {power.chance:.0%}")

# %%
sizes = [5, 6, 8, 10, 12, 16, 20, 24]
ms.figures.sweep_figure(
    sizes,
    {
        f"d_z = {d_z}": [
            100 * power.chance
            for power in ms.listening.results.power_table(4, sizes, d_z=d_z)
        ]
        for d_z in (0.5, 0.8, 1.2)
    },
    xlabel="Listeners",
    ylabel="Chance to find it (%)",
)

# %% [markdown]
# $d_z$ is the mean difference over its standard deviation between listeners; 0.8 is
# customarily called large. (Our 15 points are more: see below.) Twelve listeners, a
# number that is common in papers, miss a large difference of four systems in two panels
# of three. "Not significant" then means that the test could not have found the
# difference.
#
# ## Points, not stars
#
# The other side: with enough listeners everything is significant.

# %% tags=["nbval-check-output"]
for n, other in ((12, 75.0), (1000, 61.0)):
    quality = {"old": 60.0, "new": other}
    drawn = ms.listening.draw_ratings(quality, n, 8, ms.listening.Panel(seed=1)).mean(1)
    found = ms.evaluation.paired_test(*drawn.T.tolist())
    low, high = found.interval
    p_shown = f"p = {found.p:.4f}" if found.p >= 0.0001 else "p < 0.0001"
    print(f"{n:4} listeners: {found.difference:4.1f} points", end=" ")
    print(f"[{low:.1f}, {high:.1f}], {p_shown}, d_z {found.d_z:.1f}")

# %% [markdown]
# Both would get stars in a table. But the second is a difference of one point of a
# hundred. Report the difference in points, with its interval. That is the result. The
# p-value only says that the difference is not zero.
#
# # Part B · Answers, preferences, and metrics
#
# This is a good place for a break. The exercises of Part A are at the end, under *Exercises*.
# If you come back another day, run all cells above first.
#
# ## Do listeners agree with themselves?
#
# The replicates tell. Correlation is not enough: a listener who rates everything ten
# points higher the second time correlates perfectly. **Concordance** wants the same
# *values*.

# %% tags=["nbval-check-output"]
first = [20, 40, 60, 80]
for name, again in {
    "the same": first,
    "10 points up": [x + 10 for x in first],
    "half the range": [x / 2 + 25 for x in first],
}.items():
    r = np.corrcoef(first, again)[0, 1]
    print(
        f"{name:15} correlation {r:.2f}, concordance {ms.listening.results.concordance(first, again):.2f}"
    )
steady = ms.listening.results.replicate_agreement(counted, list(truth))
quartiles = np.percentile(list(steady.values()), [25, 50, 75])
print("our panel, quartiles:", *(f"{q:.2f}" for q in quartiles))

# %% [markdown]
# Our listeners come to 0.68 in the median, with noise of 8 points by construction. For
# comparison, 24 real ones: 0.79 for sound quality and 0.82 for interference (Ward and
# others, 2018).
#
# ## Right or wrong: abx
#
# Is X the same as A or as B? Here an answer is right or wrong, and luck can be computed
# exactly: a listener who guesses is like a coin. If $k$ or more of $n$ are right, $p =
# \sum_{i \ge k} \binom{n}{i} / 2^n$.

# %% tags=["nbval-check-output"]
for correct in (8, 9):
    found = ms.listening.results.count_choices(correct, 10, "abx")
    low, high = found.interval
    print(f"{correct} of 10: p = {found.p:.3f}, d' = {found.d_prime:.1f}", end=", ")
    print(f"share {low:.2f} to {high:.2f}")
print(
    "needed:", {n: ms.listening.results.least_correct(n) for n in (4, 5, 8, 10, 16, 20)}
)
lucky = 1 - (1 - ms.listening.results.count_choices(9, 10, "abx").p) ** 12
print(f"one of 12 who guess reaches 9 of 10: {lucky:.0%}")

# %% [markdown]
# - 9 of 10 are significant, 8 of 10 are not. With four questions nothing ever is.
# - "Not significant" is no proof of "inaudible": after 8 of 10, a true share of 97 % is as
#   possible as one of 44 %. Look at the interval.
# - The best of twelve guessers is impressive in one panel of eight. So p-values of several
#   listeners go through Holm as well.
#
# **How far apart** are the sounds? A share of right answers depends on the kind of question.
# $d'$ does not: the distance in units of the listener's own uncertainty.

# %% tags=["nbval-check-output"]
draw = np.random.default_rng(0)
guessed = draw.binomial(10, 0.5, size=(10_000, 12)).max(1) >= 9
print(f"counted in 10000 panels: {guessed.mean():.0%}")
for share in (0.6, 0.75, 0.9):
    print(
        f"{share:.0%} right: d' {ms.listening.results.abx_d_prime(share):.1f} in abx",
        end=", ",
    )
    print(f"{ms.listening.results.afc_d_prime(share):.1f} if it were a choice of two")

# %% [markdown]
# 75 % right in abx needs twice the distance that it needs in a choice of two, because
# three uncertain sounds are compared, and not two. (This is the *differencing* model:
# the listener compares X with A and with B. A listener who judges each sound by itself
# needs less, 1.8.) Never compare shares across kinds of test.
#
# ## Which one do you prefer?
#
# In a choice of two (2AFC) there is no right answer, so the test is two-sided, and what
# counts is the share of votes, with its interval.

# %% tags=["nbval-check-output"]
for votes, n in ((7, 10), (70, 100), (108, 120)):
    found = ms.listening.results.count_choices(votes, n, "2afc")
    low, high = found.interval
    print(f"{votes} of {n} votes: {low:.2f} to {high:.2f}, p = {found.p:.2g}")
fans = [9] * 6 + [1] * 6  # votes of ten for the second, of 12 listeners
alone = [ms.listening.results.count_choices(votes, 10, "2afc").p for votes in fans]
together = ms.listening.results.count_choices(sum(fans), 120, "2afc")
print(f"each of them: p = {max(alone):.3f}; all together: p = {together.p:.1f}")

# %% [markdown]
# 7 of 10 votes prove nothing, 70 of 100 are a clear preference. But look who votes. In
# the last line six listeners clearly prefer one system, and six the other. Pooled, 60
# of 120: "no preference", $p = 1$. In truth *everyone* has one. It is the same mistake
# as before: votes of one listener are not independent.
#
# ## The gap between metric and ear
#
# Now compare the ratings with `usdr`, of exactly the excerpts that were heard.

# %%
scores = ms.listening.results.excerpt_scores(design)


def beside(frame, scores):
    """System -> (usdr, mean rating) of each trial."""
    by_sound = frame.groupby(["trial", "stimulus"]).score.mean()
    groups = {}
    for (trial, system), dB in scores.items():
        groups.setdefault(system, []).append((dB, by_sound[trial, system]))
    return groups


ms.figures.agreement_figure(
    beside(counted, scores), xlabel="usdr (dB)", ylabel="Mean rating (points)"
)


# %% [markdown]
# Ratings are not in decibels, so only the *order* can be compared. **Kendall's**
# $\tau$: of all pairs of sounds, the share in the same order minus the share in
# reverse. **Spearman's** $\rho$: the correlation of ranks. Over all sounds, some songs
# are hard for everyone, which flatters or hides a metric. Within a song is the fair
# question: does it order the *systems*?
#
# For comparison, a panel that rates by `usdr` and nothing else.


# %% tags=["nbval-check-output"]
def print_agreement(name, found):
    print(f"{name:22} all sounds: tau {found.kendall:5.2f}", end=", ")
    print(f"rho {found.spearman:5.2f}; within a song: tau {found.kendall_within:5.2f}")


def by_metric(session):
    """A panel that hears nothing but usdr."""
    trial = session.page.trial
    heard = {name: 20 + 2 * scores[trial, name] for name in truth}
    return truth | controls | heard


obedient = sit(ms.listening.ResultStore(":memory:", design), 12, by_metric)
print_agreement(
    "truth as we chose it", ms.listening.results.rank_agreement(counted, scores)
)
print_agreement("truth is usdr", ms.listening.results.rank_agreement(obedient, scores))

# %% [markdown]
# The first line is what we put in: we *decided* that `binary` is worst, and it has the
# highest `usdr` of most songs. So the method works, and no more is shown. The second line is
# a ceiling: a metric that *is* the truth reaches 0.75, not 1, because listeners are noisy.
# Judge a metric against what is possible.
#
# ### Where a metric must be wrong
#
# Can it be shown without inventing an opinion? Yes. Take five errors of notebook 04, all
# tuned to 10 dB, and load them as a listening test does.

# %%
spectrum = torch.fft.rfft(voice)
hz = torch.fft.rfftfreq(length, 1 / rate)


def dull(amount):
    cutoff_hz = 20_000 * 0.001**amount
    return torch.fft.irfft(spectrum / (1 + (hz / cutoff_hz) ** 16).sqrt(), length)


def delayed(amount, longest=0.002):
    turn = torch.polar(torch.ones(()), -2 * torch.pi * hz * amount * longest)
    return torch.fft.irfft(spectrum * turn, length)


spoilers = {
    "soft": lambda amount: (1 - amount) * voice,
    "late": delayed,
    "bleed": lambda amount: voice + amount * rest,
    "gurgle": gurgle,
    "dull": dull,
}


def tuned(spoil, wanted):
    """Spoil by the amount, found by halving, at which usdr is as wanted."""
    low, high = 0.0, 1.0
    for _ in range(30):
        amount = (low + high) / 2
        found = score(spoil(amount))
        if abs(found - wanted) < 0.005:
            break
        low, high = (amount, high) if found > wanted else (low, amount)
    return spoil(amount)


def constructed(name, wanted):
    """A test of one song with the five versions, each at its usdr in dB."""
    files = {}
    sounds = {k: tuned(spoil, wanted[k]) for k, spoil in spoilers.items()}
    for label, sound in (sounds | {"reference": voice}).items():
        files[label] = f"{name}-{label}.wav"
        ms.audio.save_audio(folder / files[label], sound, rate, subtype="float32")
    trial = ms.listening.Trial("Francium vocals", files, files.pop("reference"))
    return ms.listening.Design(name, "mushra", (trial,), n_replicates=0, folder=folder)


equal = constructed("equal", dict.fromkeys(spoilers, 10.0))
upside_down = constructed(
    "upside-down", dict.fromkeys(spoilers, 10.0) | {"soft": 3.0, "late": 5.0}
)

# %% tags=["nbval-check-output"]
heard = ms.listening.test.load_stimuli(equal, "Francium vocals")
for name in spoilers:
    file = ms.listening.results.excerpt_scores(equal)["Francium vocals", name]
    estimate = heard.sounds[name]
    level = ms.metrics.usdr(
        reference=heard.sounds["reference"], estimate=estimate
    ).item()
    gain = heard.gains[name].gain_db - heard.gains["reference"].gain_db
    print(
        f"{name:7} file {file:4.1f} dB, turned by {gain:+4.1f} dB, heard: {min(level, 99):4.1f} dB"
    )

# %% [markdown]
# > **What to notice.** `soft` and the reference are *the same sound* once the test has
# > matched the loudness. `late` is the same sound 25 microseconds later: lean back by 9
# > millimeters. And yet the files score 10 dB, like a voice without treble. Here the
# > metric is not inaccurate. It measures something that is not heard. (If levels are to
# > be heard, turn the matching off: then a wrong level is an error. Decide it before
# > the test.)
#
# What does a rank correlation make of it? The first test has all five at 10.0 dB. In the
# second, `soft` and `late` have only 3 and 5 dB, by a bit more gain and delay.

# %% tags=["nbval-check-output"]
ears = {"soft": 100.0, "late": 100.0, "bleed": 70.0, "gurgle": 45.0, "dull": 55.0}
for test in (equal, upside_down):
    said = sit(
        ms.listening.ResultStore(":memory:", test), 12, lambda _: ears | controls
    )
    rounded = {
        place: round(dB, 1)
        for place, dB in ms.listening.results.excerpt_scores(test).items()
    }
    print_agreement(test.title, ms.listening.results.rank_agreement(said, rounded))

# %% [markdown]
# At equal scores there is no order, and $\tau$ is not a number. (In `ears` the first value
# is a fact: nobody can tell a sound from itself. The second is as good as one. The others
# are invented.) In the second test the metric is upside down.
#
# ### Your own ears
#
# The first five were the sounds of the test in notebook 04: five pages, no names, one
# loudness, two questions. Here are more metrics of them; `mrstft` with a minus, because less
# of it is better.
#
# **Predict.** Which metric orders the five as your ears do?

# %%
prediction_metric = "?"  # such as "fullness"

# %% tags=["nbval-check-output"]
parts, _ = ms.listening.test.load_excerpts(equal, equal.trials[0])
measured = {}
for name in spoilers:
    pair = {"reference": parts["reference"], "estimate": parts[name]}
    measured[name] = {
        "usdr": ms.metrics.usdr(**pair),
        "si_sdr": ms.metrics.si_sdr(**pair),
        "-mrstft": -ms.metrics.mrstft(**pair),
        "bleedless": ms.metrics.bleedless(**pair),
        "fullness": ms.metrics.fullness(**pair),
    }
print(" " * 7 + "".join(f"{metric:>10}" for metric in measured["soft"]))
whole = ("bleedless", "fullness")  # of 100
for name, row in measured.items():
    digits = {metric: 0 if metric in whole else 1 for metric in row}
    print(f"{name:7}" + "".join(f"{row[m].item():10.{digits[m]}f}" for m in row))

# %% [markdown]
# The next cell shows your marks, if you have given them; if you took the test twice, their
# mean. Else a simulated panel takes the same test, and its opinions are invented once more.
# Then come the mean marks, and how well each metric orders them.

# %%
answers_file = progress_file().parent / "equal_sdr" / "results.sqlite"
rated, who = None, "your marks"
if answers_file.exists():
    with ms.listening.ResultStore(answers_file) as own_store:
        rated = ms.listening.ratings_frame(own_store)
if rated is None or not {*spoilers} <= {*rated.stimulus}:
    print("No marks of yours: rate the five in notebook 04, then run this cell again.")
    who = "a simulated panel"
    clean = {"soft": 100, "late": 100, "bleed": 30, "gurgle": 90, "dull": 85}
    acr = ms.listening.Design(
        "equal", "acr", equal.trials, reference=False, n_replicates=0
    )
    invented = {"quality": ears, "contamination": clean}
    rated = sit(ms.listening.ResultStore(":memory:", acr), 12, lambda _: invented)

# %%
questions = ("quality", "contamination")
marks = rated.groupby(["question", "stimulus"]).score.mean()
print(f"{who:18}" + "".join(f"{question:>15}" for question in questions))
for name in spoilers:
    print(f"{name:18}" + "".join(f"{marks[q, name]:15.1f}" for q in questions))
for metric in measured["soft"]:
    values = {(equal.trials[0].name, n): row[metric] for n, row in measured.items()}
    values = {place: round(value.item(), 1) for place, value in values.items()}
    found = [ms.listening.results.rank_agreement(rated, values, q) for q in questions]
    print(f"tau of {metric:11}" + "".join(f"{one.kendall:15.2f}" for one in found))
print("You said:", prediction_metric)

# %% [markdown]
# > **What to notice.**
# >
# > - `usdr` is 10.0 dB for all five, so it has no order and no $\tau$. If your marks differ,
# >   you heard something that it cannot tell.
# > - `soft` and `late` sound like the true voice. Two different marks for them are your own
# >   noise, and a mark below 5 says how far up your scale went.
# > - The two questions need different metrics: the bleed harms one answer more than the other.
# > - One listener and five sounds say something about this listener and these sounds.
# >   The next section counts how little five can prove.
#
# ## Real listeners
#
# Enough of simulation. Two listening tests from the papers of Demucs have 5-point scores
# (ACR) by real people, who answered two questions: **quality**, how natural, how free of
# artifacts; and **contamination**, 5 for no trace of other sources. In the first, 38 people
# rated 20 excerpts each. The numbers are those that the authors print in the READMEs of
# Demucs v1 and v4; `mssedu.evaluation.published_scores` has them.
#
# **Predict.** Does the order of SDR match that of quality? That of contamination?

# %%
prediction_orders = {"quality": "?", "contamination": "?"}

# %% tags=["nbval-check-output"]
published = {}
for row in ms.evaluation.published_scores():
    if row.mos:
        opinions, year = row.mos.rstrip(")").split(" (")
        quality, contamination = map(float, opinions.split(" / "))
        line = (row.system, row.mean, quality, contamination)
        published.setdefault(year, []).append(line)
for year, lines in published.items():
    print(f"test of {year:10} csdr  quality  contamination")
    for system, *numbers in sorted(lines, key=lambda line: -line[1]):
        print(f"  {system:17}{numbers[0]:5.1f}{numbers[1]:9.2f}{numbers[2]:11.2f}")

# %%
ms.figures.agreement_figure(
    {
        f"{name}, {year}": [(line[1], line[place]) for line in lines]
        for year, lines in published.items()
        for place, name in ((2, "quality"), (3, "contamination"))
    },
    xlabel="csdr, mean of stems (dB)",
    ylabel="MOS (1 … 5)",
    point="system",
)

# %% tags=["nbval-check-output"]
for year, lines in published.items():
    csdr, quality, contamination = np.array([line[1:] for line in lines]).T
    pairs = {
        "csdr, quality": (csdr, quality),
        "csdr, contamination": (csdr, contamination),
        "quality, contamination": (quality, contamination),
    }
    for name, pair in pairs.items():
        found = stats.kendalltau(*pair)
        print(f"{year}  {name:22} tau {found.statistic:5.2f}")
print("You said:", prediction_orders)

# %% [markdown]
# > **What to notice.**
# >
# > - 2019: Conv-TasNet has the highest SDR and the *lowest* quality. It removes most of the
# >   other sources, and makes the most artifacts. The two questions have almost opposite
# >   orders.
# >   (The paper's second version keeps these ratings and gives Demucs 6.3 dB, after longer
# >   training: then Demucs leads both. Always say which version a number is from.)
# > - 2021: SDR and contamination agree. In quality KUIELab-MDX-Net and Hybrid Demucs change
# >   places, by 0.03: that is nothing.
# > - So "which is better?" has no answer until somebody says in which respect.
# > - Two tests cannot be compared. 3.2 in 2019 and 2.83 in 2021 do not mean that Demucs
# >   got worse: the listeners, the excerpts and the other systems were different.
# > - And the true stems? In the test of 2021 they were hidden among the others, and got
# >   4.12 for quality and 4.40 for contamination, not 5.0 (quoted from a secondary
# >   source: look it up before you cite it). Listeners may never use the end of a
# >   scale. Always have the reference rated.
#
# Is $\tau = 1$, SDR and contamination in 2021, a proof? Three systems have six orders. Go
# through all of them:

# %% tags=["nbval-check-output"]
for n in (3, 4, 5, 6):
    order = list(range(n))
    taus = np.array(
        [
            stats.kendalltau(order, other).statistic
            for other in itertools.permutations(order)
        ]
    )
    smallest = (np.abs(taus) > 0.999).mean()
    print(f"{n} systems, {len(taus):3} orders: tau = 1 has p = {smallest:.3f}")

# %% [markdown]
# With three or four systems **no** rank correlation can be significant, not even a
# perfect one; with five only a perfect one. And what counts is the number of systems.
# More songs do not make more systems.
#
# What larger studies say:

# %% tags=["nbval-check-output"]
for stem, tau in {"drums": 0.25, "bass": 0.19}.items():
    print(f"{stem}: tau {tau} orders {(1 + tau) / 2:.0%} of the pairs as listeners do")
rhos = np.array(
    [
        stats.spearmanr(range(5), other).statistic
        for other in itertools.permutations(range(5))
    ]
)
print(
    f"five systems: |rho| of 0.9 or more by luck: {(np.abs(rhos) > 0.899).mean():.0%}"
)

# %% [markdown]
# - Jaffe and Burgoyne (2025) collected about thirty ratings per track, on the test set of
#   MUSDB18. Of all metrics SDR was the best for vocals, SI-SAR was better for drums and
#   bass. A metric of embeddings, FAD with CLAP, did as well there, with $\tau$ of 0.25 and
#   0.19: the first two lines. A coin has 50 %. For vocals no embedding had a positive
#   $\tau$.
# - Ward and others (2018) asked the two questions about singing voices. For interference,
#   SIR ordered the five systems of a song as listeners did, with a median $\rho$ of 1.00
#   over 16 songs. For sound quality the best was APS of PEASS, which was trained on
#   listeners, with 0.90. In one song, 0.9 comes by luck in one case of twelve, the third
#   line; in most of 16 songs it does not.
#
# So a metric may serve, for *one* question, *one* stem, and systems like those it was tested
# with.
#
# ## Now you
#
# The test from the beginning, for a real listener. Ten pages take about twenty minutes;
# the time at the top of this notebook counts half of them. Stop when you like; with the
# code at the bottom you can continue later. Listen to each sound, rate it, go on.

# %%
seat = ms.listening.ListeningTest(folder)
seat

# %%
mine = ms.listening.ratings_frame(seat.store)
if mine.empty:
    print("Nobody has listened yet. Finish a page above, then run this cell again.")
else:
    print(mine.groupby("stimulus").score.agg(["count", "mean"]).round(0))
    print(ms.listening.results.rank_agreement(mine, scores))

# %% [markdown]
# The report, with tables for a paper and the figure, comes from `mssedu listen report
# FOLDER --usdr`, where FOLDER is that of the test. (Give `folder` a permanent path at
# the top of the notebook, and let friends take the test.) Here is that of the simulated
# panel:

# %% tags=["nbval-check-output"]
report = ms.listening.write_report(store, folder / "report", scores)
print(*sorted(path.name for path in report.parent.iterdir()))

# %% [markdown]
# ## What to remember
#
# - Look at the points first. A summary hides an anchor that is not one.
# - Post-screening by rules fixed beforehand: more than 15 % of the items, and items may
#   be at fault too. Say who was excluded.
# - The unit of analysis is the listener. Tests on raw rows find differences that are
#   not there.
# - An interval over listeners speaks about other listeners, on these songs.
# - Correct several tests by Holm's method. Five listeners can never show a difference.
#   Say beforehand what your panel can show.
# - Report points with an interval, not stars.
# - "Not significant" is not "inaudible".
# - A metric can be compared with ratings by order only, within songs, and its best
#   value is a ceiling below 1. With fewer than five systems no order proves anything.
# - Quality and contamination are two questions.
#
# **What this notebook does not show.** The panel is simulated: it has no order effects, does
# not tire and does not use the scale in its own way. Real panels do. Models that take
# listeners *and* songs as random (mixed models) answer more, and are not treated here. And
# nothing here tells which of the four masks sounds best. You may find out.
#
# ## Exercises
#
# - Part A: `panel.screen`, `panel.holm`
# - Part B: `panel.abx`, `panel.quiz`

# %%
exercise("panel.screen")


# %% tags=["exercise"]
def stays(reference, anchor):
    return ...  # your code here


exercise("panel.screen").check(stays)

# %%
exercise("panel.holm")


# %% tags=["exercise"]
def adjusted(p_values):
    return ...  # your code here


exercise("panel.holm").check(adjusted)

# %%
exercise("panel.abx")


# %% tags=["exercise"]
def abx_p(correct, n):
    return ...  # your code here


exercise("panel.abx").check(abx_p)

# %%
exercise("panel.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("panel.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Give the panel a learning effect: everyone rates five points
# higher on the second half of the pages. Which of the methods above notice, if all see the
# songs in the same order, and which if the order is drawn anew for everyone? Then take the
# test yourself, and have two friends take it. Write the three sentences that your results
# allow.

# %% [markdown]
# ## Sources
#
# - MUSHRA and its post-screening: ITU-R, Recommendation BS.1534-3, 2015.
# - C. Mendonça and S. Delikaris-Manias, "Statistical tests with MUSHRA data", *AES
#   Convention* 144, 2018: why not analysis of variance, and what instead.
# - S. Holm, "A simple sequentially rejective multiple test procedure", *Scandinavian Journal
#   of Statistics* 6, 1979. F. Wilcoxon, "Individual comparisons by ranking methods",
#   *Biometrics Bulletin* 1, 1945.
# - L. I. Lin, "A concordance correlation coefficient to evaluate reproducibility",
#   *Biometrics* 45, 1989.
# - N. A. Macmillan and C. D. Creelman, *Detection theory: a user's guide*, 2nd edition,
#   2005.
# - Listening tests: A. Défossez, N. Usunier, L. Bottou and F. Bach, "Music source separation
#   in the waveform domain", 2019, [arXiv:1911.13254](https://arxiv.org/abs/1911.13254); A.
#   Défossez, "Hybrid spectrogram and waveform source separation", 2021,
#   [arXiv:2111.03600](https://arxiv.org/abs/2111.03600); READMEs of
#   [Demucs](https://github.com/facebookresearch/demucs), v1 and v4.
# - N. Jaffe and J. A. Burgoyne, "Musical source separation bake-off: comparing objective
#   metrics with human perception", 2025,
#   [arXiv:2507.06917](https://arxiv.org/abs/2507.06917).
# - D. Ward, H. Wierstorf, R. D. Mason, E. M. Grais and M. D. Plumbley, "BSS Eval or PEASS?
#   Predicting the perception of singing-voice separation", *ICASSP* 2018; with ratings and
#   code:
#   [perceptual-study-source-separation](https://github.com/CVSSP/perceptual-study-source-separation).
# - [pymushra](https://github.com/nils-werner/pymushra), function `detect_outliers`.
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
