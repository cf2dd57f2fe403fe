# %% [markdown]
# # 13 · Designing listening tests
#
# > 得分再高，最终仍要由人来听。本章讲如何根据问题选择测试方法：ABX、二选一、绝对类别评分或 MUSHRA；如何匹配响度，以及匹配之后掩盖了什么；如何制作没有延迟的锚点，并检验它对你的音轨是否真能起到锚点的作用。你将认识测试中的各种偏差及其对策，生成公平的播放顺序，估算所需的听众人数，然后用自己的两组分离结果做一次完整的听音测试，并查看程序保存了哪些数据。
#
# **Aim.** After this notebook you can
#
# - choose a test by its question: ABX, 2AFC, ACR or MUSHRA,
# - match loudness, and say what matching hides,
# - build anchors without delay, and measure whether they are anchors for *your* stems,
# - name the biases of a test, and what keeps each of them small,
# - draw fair orders and subsets, and say how many listeners you need,
# - make a test from two or more folders of stems, take it, and look at what it has stored.
#
# | | |
# |---|---|
# | Path | core, 45 minutes on the short path |
# | Before | 01 (loudness), 03 (masks), 04 (what SDR cannot hear) |
# | Time | 95 minutes in two sittings: Part A 50, Part B 45; the code runs in one to four minutes on two CPU cores, no GPU needed; Part B includes a test of ten minutes |
# | Data | the songs in `data/`: four to learn from, *Francium* and *Sodium* to judge; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [14 · What ratings say: statistics, and the gap between metric and ear](14_ratings_and_metrics.ipynb) |
#
# | Word | Name in the code | Meaning |
# |---|---|---|
# | trial | `Trial` | an excerpt of one song, with all its versions |
# | condition | `conditions` | a system under test |
# | stimulus | `stimuli` | whatever is rated: conditions, hidden reference, anchors |
# | reference | `"reference"` | the true stem |
# | anchor | `anchors` | a version that is bad on purpose |
# | $n$ | `trials_per_listener` | trials that one listener hears |

# %%
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from scipy.signal import firwin, oaconvolve

import mssedu as ms
from mssedu.audio import loudness_lufs, peak_db
from mssedu.course import Page, claim, exercise, setup, show_source

# %%
session = setup()
session

# %% [markdown]
# # Part A · The design
#
# ## Listen first
#
# Three systems are to be compared. `network` is a tiny Open-Unmix that learns from four
# songs in the next cell. `ratio` and `binary` are the ideal masks of notebook 03. They
# use the true stems, so they are no separators; but each of them has typical errors.
# Everything goes into a folder that is gone when the notebook is closed.

# %%
work = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(work.name)
for song in ("valid/Francium", "test/Sodium"):  # two that the network never hears
    shutil.copytree(ms.data.demo_data() / song, folder / "songs" / Path(song).name)
songs = {song.name: song for song in ms.load_dataset(folder / "songs")}
rate, seconds = songs["Sodium"].sample_rate, 8.0

network = ms.create_model("open_unmix", "tiny")
config = ms.training.TrainConfig(
    model="open_unmix",
    preset="tiny",
    steps=(steps := {"smoke": 10, "cpu": 60, "gpu": 1000}[session.profile]),
    batch_size=2,
    segment=2.0,
    loss="thresholded_snr",
    learning_rate=4e-3,
    schedule="cosine",
    ema_decay=0.95,
    level_db=-25.0,
    gain_db=(-8.0, 8.0),
    silence=0.1,
    valid_every=steps,
    seed=session.seed,
    device=session.device,
)
lessons = [song.in_memory() for song in ms.load_dataset(ms.data.demo_data(), "train")]
trained = ms.fit(network, lessons, None, config, folder / "training")


# %% [markdown]
# A **run** is a folder with the stems of every song, as `mssedu separate` writes it. Any
# other program can write one, too.


# %%
def oracle(name, song):
    return ms.evaluation.oracle_estimate(name, song.sources(), song.mixture(), rate)


systems = {
    "network": lambda song: ms.separate(network, song.mixture()),
    "ratio": lambda song: oracle("irm", song),
    "binary": lambda song: oracle("ibm", song),
}


def write_run(name, stems, estimate, song):
    (folder / "runs" / name / song.name).mkdir(parents=True)
    for stem, audio in zip(stems, estimate, strict=True):
        path = folder / "runs" / name / song.name / f"{stem}.wav"
        ms.audio.save_audio(path, audio, rate, subtype="float32")


for name, system in systems.items():
    for song in songs.values():
        write_run(name, song.stems, system(song), song)

# %% [markdown]
# Now listen to the voice of *Francium*, three times. Press space to start, 1, 2, 3 to
# switch. All versions run in step, so a switch changes the version and nothing else.
# The names are hidden.


# %%
def excerpt(song, stem):
    """Name -> the same seconds of the stem, true and by every system."""
    start = ms.listening.loudest_start(songs[song].stem(stem), rate, seconds)
    found = {"reference": songs[song].stem(stem, start, seconds)}
    for name in systems:
        path = folder / "runs" / name / song / f"{stem}.wav"
        found[name], _ = ms.audio.load_audio(
            path, start_seconds=start, duration_seconds=seconds
        )
    return found


voices = excerpt("Francium", "vocals")
matched, _ = ms.listening.widgets.match_loudness(voices, rate, to="reference")
ms.listening.ABSwitch(
    {name: matched[name] for name in systems}, rate, blind=True, seed=4
)

# %% [markdown]
# **Predict.** Write down your order, best first. Then guess: which letter has the highest SDR?
# After that press *Reveal* on the player, and not before.

# %%
my_order = "?"  # such as "BCA"
my_highest = "?"

# %% tags=["nbval-check-output"]
scores = {
    k: ms.metrics.usdr(reference=voices["reference"], estimate=voices[k])
    for k in systems
}
for name in ("ratio", "binary"):
    print(f"{name:7} usdr {scores[name]:.1f} dB")
below = scores["ratio"] - scores["network"]
print(claim("network, below ratio by", below, above=5, unit="dB"))
print("You said:", my_order, "and", my_highest)

# %% [markdown]
# `binary` has the highest SDR. Did you like it best, with all its gurgling? Whatever
# your answer was, it proves nothing. You have just taken part in a bad test:
#
# - Nobody told you what "best" means.
# - One excerpt, one listener, one answer.
# - You knew which three systems there were. Perhaps you recognized one, and rated its name.
# - There was no reference. Perhaps the true voice gurgles?
# - Was loudness matched? It was; but nobody told you, nor by how much.
#
# The rest of this notebook is about doing it better.
#
# ## A question before a test
#
# Four questions, four tests. Write the question down first, and choose the test by it.
#
# | Question | Test | On a page | Answer | Shows |
# |---|---|---|---|---|
# | Is a difference *heard*? | ABX | A, B, and X, which is one of them | X is A, or X is B | right or wrong: guessing shows |
# | Which is *preferred*? | 2AFC | A and B | A or B | a preference, not its reason |
# | *How good* is it, and how clean? | ACR | one version | 1 … 5 for each question | an absolute level, coarse |
# | How good, *against the reference*? | MUSHRA | all versions and the reference | a slider 0 … 100 each | fine differences |
#
# In MUSHRA the reference is open, and hidden among the versions once more. A listener
# who rates the hidden one low does not hear the differences, or does not try (notebook
# 14 counts that). Anchors mark the lower end. For ACR the package asks the two
# questions of the listening tests of the Demucs papers:

# %% tags=["nbval-check-output"]
for test, questions in ms.listening.test.QUESTIONS.items():
    for name, text in questions.items():
        print(f"{test:7} {name:14} {text}")

# %% [markdown]
# Two questions, because they have two answers. In the test of 2021 by Demucs' author,
# listeners gave Hybrid Demucs and KUIELab-MDX-Net the same quality, 2.83 and 2.86 of 5.
# Contamination told them apart: 3.04 and 2.55. And the *true* stems got 4.12 and 4.40
# (quoted from a secondary source). No one gives 5 all the time, so an ACR needs the
# true stems among the stimuli, or you do not know where the top is.
#
# ### What a question costs
#
# **Predict.** Three systems, six excerpts. How many pages does one listener see in each
# test? In ABX, each system is compared with the reference, 8 times each.

# %%
prediction_pages = {"mushra": "?", "acr": "?", "abx": "?", "2afc": "?"}

# %% tags=["nbval-check-output"]
files = {name: f"{name}.wav" for name in systems}
trials = tuple(
    ms.listening.Trial(f"excerpt {n}", files, reference="true.wav") for n in range(6)
)
for test in ms.listening.test.QUESTIONS:
    n_repetitions = 8 if test == "abx" else 1
    test_design = ms.listening.Design(
        "?", test, trials, n_replicates=0, n_repetitions=n_repetitions
    )
    pages = ms.listening.plan(test_design, 0)
    each = [
        1 if test in ms.listening.test.CHOICES else len(page.stimuli) for page in pages
    ]
    n_answers = sum(each) * len(pages[0].questions)
    print(f"{test:7}{len(pages):4} pages, {n_answers:4} answers")
print("You said:", prediction_pages)

# %% [markdown]
# ABX is expensive, and for a reason: one right answer proves nothing. How many
# answers must be right so that guessing reaches that number in fewer than 5 of 100 cases?

# %% tags=["nbval-check-output"]
for n in (4, 8, 10, 12, 16, 20):
    least = ms.listening.results.least_correct(n)
    print(f"{n:2} answers: {'not even all' if least is None else least}")

# %% [markdown]
# So: ABX for one small difference that matters, such as two windows in notebook 12.
# 2AFC for two systems and listeners with little time. MUSHRA for several systems that
# clearly differ; there a page gives six or more ratings at once, all on one scale. ACR
# where there is no reference, as with your own recordings.
#
# ## Loudness
#
# Two masters of the same voice. Which is clearer, more present, better sung? Decide,
# then press *Reveal*.

# %%
voice = voices["reference"]
masters = {"first": 0.8 * voice, "second": voice}
ms.listening.ABSwitch(masters, rate, blind=True, seed=1)

# %% tags=["nbval-check-output"]
levels = {name: loudness_lufs(sound, rate) for name, sound in masters.items()}
print(f"second: {levels['second'] - levels['first']:.1f} dB louder, and nothing else")

# %% [markdown]
# The louder of two versions is easily taken for the better one: what differs a little in level
# seems to differ in quality. So all versions of an excerpt get the loudness
# of the reference, measured as in notebook 01:


# %%
def toy_match(sounds, target_lufs):
    gains = {k: target_lufs - loudness_lufs(s, rate) for k, s in sounds.items()}
    return {k: s * 10 ** (gains[k] / 20) for k, s in sounds.items()}, gains


# %%
show_source("mssedu.listening.widgets.matching_gain")

# %% tags=["nbval-check-output"]
toy, toy_gains = toy_match(voices, loudness_lufs(voice, rate))
real, gains = ms.listening.widgets.match_loudness(voices, rate, to="reference")
for name in voices:
    assert torch.allclose(toy[name], real[name], atol=1e-5)
    assert abs(toy_gains[name] - gains[name].gain_db) < 1e-6
print("toy and real agree")
print(claim("network, too soft by", gains["network"].gain_db, above=5, unit="dB"))

# %%
for name, gain in gains.items():
    print(f"{name:10} {gain.gain_db:+5.1f} dB  {gain.note}")

# %% [markdown]
# `network` is too soft. It has learned that: a model in doubt scores best when it is silent
# (notebook 04).
#
# Why is the real one longer? Give both something difficult: a voice that is too soft, one
# that is almost not there, one that is not there at all.

# %% tags=["nbval-check-output"]
difficult = {
    "reference": voice,
    "soft": 0.5 * voice,
    "faint": 0.01 * voice,
    "nothing": 0 * voice,
}
broken, broken_gains = toy_match(difficult, loudness_lufs(voice, rate))
n_bad = (~broken["nothing"].isfinite()).sum().item()
print("toy, nothing: gain", broken_gains["nothing"], "dB,", n_bad, "samples not finite")
heard, difficult_gains = ms.listening.widgets.match_loudness(
    difficult, rate, to="reference"
)
for name, gain in difficult_gains.items():
    print(f"{name:10} {gain.gain_db:+5.1f} dB  {gain.note}")
_, all_db = ms.listening.widgets.with_headroom({"reference": 4 * voice, "soft": voice})
print(f"peak at {peak_db(4 * voice):+.1f} dBFS: all {all_db:+.1f} dB")

# %% [markdown]
# - Silence has no loudness. The gain would be infinite, the sound not a number.
# - A faint stem is mostly leakage. Raised by 40 dB it would be mostly noise. So the
#   gain ends at 20 dB, and the note says that it was not enough.
# - After matching something may clip. Then *all* versions are turned down by one gain
#   (`with_headroom`); to turn down one alone would undo the match.
#
# ### What matching hides

# %% tags=["nbval-check-output"]
before = ms.metrics.usdr(reference=voice, estimate=difficult["soft"])
after = ms.metrics.usdr(reference=voice, estimate=heard["soft"])
print(f"soft: usdr {before:.1f} dB; after matching", end=" ")
print(claim("usdr", after, above=60, unit="dB"))

# %% [markdown]
# > **What to notice.** A system that is 6 dB too soft scores 6.0 dB, and no listener will ever
# > find out: you have repaired it. Level errors *are* errors if the stems go back into a
# > mix. Therefore every gain is logged and belongs into the report. If level is what you ask
# > about, set `match_loudness = false`.
#
# ## Anchors
#
# Ratings on a slider are relative. Among good systems listeners spread a small
# difference over the whole scale; among bad ones the same difference vanishes. Anchors
# fix the lower end of the scale, as the reference fixes the upper end. MUSHRA's are
# made of the reference by low-pass filters, at 3.5 and 7 kHz, and for the first the
# standard says how steep: ±0.1 dB up to 3.5 kHz, -25 dB at 4 kHz, -50 dB from 4.5 kHz
# on.

# %%
filters = {
    f"{n} taps": torch.from_numpy(firwin(n, 3750, window=("kaiser", 6.5), fs=rate))
    for n in (401, 201, 101)
}
ms.figures.tolerance_figure(filters, rate)

# %% [markdown]
# The hatched areas are forbidden. A filter with 401 taps stays outside them. 201
# already fall at 3.4 kHz, on the left; 101 fall too early and too slowly. Steepness
# costs length, and length is delay.
#
# ### Anchors without delay
#
# A filter of $N$ taps gives $N - 1$ samples more than it gets. Which of them do you keep?


# %%
def toy_lowpass(sound, n_taps, first):
    taps = firwin(n_taps, 3750, window=("kaiser", 6.5), fs=rate)[None]
    full = oaconvolve(sound.double().numpy(), taps, axes=-1)
    kept = torch.from_numpy(full[:, first : first + sound.shape[-1]]).float()
    return torch.nn.functional.pad(kept, (0, sound.shape[-1] - kept.shape[-1]))


# %%
show_source("mssedu.listening.test.lowpass")

# %% tags=["nbval-check-output"]
sodium = excerpt("Sodium", "vocals")["reference"]
real = ms.listening.test.lowpass(sodium, rate)
assert torch.allclose(toy_lowpass(sodium, 401, 200), real, atol=1e-5)
print("toy with 401 taps, from sample 200 on, and real agree")

# %% [markdown]
# Now 192 taps. So long is the filter for 44.1 kHz in webMUSHRA, a test program that many
# labs use; and it keeps what comes from sample $N - 1 = 191$ on. (Look it up:
# `convolve` in its `MushraAudioControl.js`.) **Predict**: by how many samples is its
# anchor early, and what does that cost? The voice of *Sodium* has few high frequencies:
# without delay, its anchor has 40 dB.

# %%
prediction_early = {"samples": "?", "usdr": "? dB"}

# %% tags=["nbval-check-output"]
for n_taps, kept_from in ((401, 200), (192, 0), (192, 95), (192, 96), (192, 191)):
    anchor = toy_lowpass(sodium, n_taps, kept_from)
    apart = (n_taps - 1) / 2 - kept_from
    score = ms.metrics.usdr(reference=sodium, estimate=anchor)
    way = "late" if apart > 0 else "early" if apart else "off"
    text = f"{n_taps} taps, from {kept_from:3} on: {abs(apart):4.1f} samples {way:5}"
    print(f"{text} usdr {score:5.1f} dB")
print("You said:", prediction_early)

# %% [markdown]
# > **What to notice.** 95 samples, 2 ms, and a version that is almost the reference
# > scores below silence. With an even number of taps there is no right place at all:
# > half a sample costs 14 dB here. Take an odd number.
#
# Can one hear a delay of 2 ms? Not by itself. But listeners *switch*, and then they
# hear the step. It marks the anchor like a label.

# %%
in_time = {
    "reference": sodium,
    "in time": real,
    "early": toy_lowpass(sodium, 192, 191),
}
ms.listening.ABSwitch(in_time, rate)

# %% [markdown]
# ### Are they anchors?
#
# 40 dB is a strange score for something that is meant to be bad. Here is the anchor of a bass,
# which should be worse than everything else on the page:

# %%
bass = excerpt("Sodium", "bass")["reference"]
ms.figures.spectrogram_figure(
    {"reference": bass, "anchor35": ms.listening.test.lowpass(bass, rate)}, rate
)

# %%
ms.listening.ABSwitch(
    {"reference": bass, "anchor35": ms.listening.test.lowpass(bass, rate)}, rate
)

# %% [markdown]
# There is next to nothing above 3.5 kHz to take away. These anchors were invented for
# codecs and whole songs. For separation others were proposed, which do what separators
# do wrong:
#
# | Anchor | Made of | Source |
# |---|---|---|
# | `anchor35`, `anchor70` | low-pass of the reference | ITU-R BS.1534 |
# | `mixture` | the song as it was | Ward et al. 2018 |
# | `interference` | reference and all the rest, equally loud | Emiya et al. 2011 |
# | `artifacts` | reference and musical noise, equally loud | Emiya et al. 2011 |
# | `sound_quality` | a fifth of the frames lost, musical noise, low-pass 3.5 kHz | Ward et al. 2018 |
#
# How far from the reference is each? In every excerpt of the test to come:

# %% tags=["nbval-check-output"]
print(" " * 16 + "".join(f"{name:>14}" for name in ms.listening.test.ANCHORS))
for song in songs.values():
    for stem in ("vocals", "drums", "bass"):
        start = ms.listening.loudest_start(song.stem(stem), rate, seconds)
        parts = {
            "reference": song.stem(stem, start, seconds),
            "mixture": song.mixture(start, seconds),
        }
        row = f"{song.name} {stem}".ljust(16)
        for name in ms.listening.test.ANCHORS:
            anchor = ms.listening.test.make_anchor(name, rate, **parts)
            score = ms.metrics.usdr(reference=parts["reference"], estimate=anchor)
            row += f"{score:11.0f} dB"
        print(row)

# %% [markdown]
# > **What to notice.**
# >
# > - The low-pass anchors of *Sodium*'s bass and of its voice have 40 dB and more:
# >   hardly anything was taken away. The "bass" of *Francium* is a low sound with noise
# >   up to the highest frequencies, and there they work. The spectrum counts, not the
# >   name of the stem.
# > - The mixture is no anchor for *Sodium*'s drums, 13 dB: in these seconds little else
# >   plays. `interference`, which makes the rest as loud as the stem, is one everywhere.
# > - The last three lie between -2 and 5 dB on every line.
#
# SDR tells which anchor is *too good*. Which of two bad ones sounds worse, it cannot
# tell (notebook 04): listen to them.

# %%
start = ms.listening.loudest_start(songs["Sodium"].stem("bass"), rate, seconds)
mixture = songs["Sodium"].mixture(start, seconds)
kinds = ("anchor35", "interference", "artifacts", "sound_quality")
ms.listening.ABSwitch(
    {"reference": bass}
    | {
        name: ms.listening.test.make_anchor(name, rate, reference=bass, mixture=mixture)
        for name in kinds
    },
    rate,
)

# %% [markdown]
# ## Bias
#
# A test measures listeners *and* itself. What the test adds:
#
# | What is wrong | What is done about it here |
# |---|---|
# | Order: at first everybody is careful, at the end tired | trials in another order for each listener |
# | Place: the first version on a page becomes the standard for the others | versions shuffled on each page |
# | Labels: "ours", "v2", even a file name | letters; names never reach the page |
# | The letter A: listeners who do not know say A | X is A exactly as often as it is B |
# | Expectation: you hope that yours wins | you do not take your own test, or only blind, like all others |
# | Slider start: a slider is moved too little | starts at 0; does not count before it was moved |
# | Rating without listening | each sound must be heard for a second before it can be rated |
# | Unsteady ratings: nobody gives the same rating twice | one page comes again, a *replicate*: notebook 14 compares |
# | Range: the scale is stretched over what is there | reference and anchors; no numbers across tests |
#
# Look at three of them. First, a listener who hears nothing and always says A. ABX,
# three pairs, 16 times each:

# %% tags=["nbval-check-output"]
abx = ms.listening.Design("Heard?", "abx", trials[:1], n_repetitions=16)
for number in range(3):
    pages = ms.listening.plan(abx, number)
    right = sum(page.x == page.stimuli[0] for page in pages)
    print(f"listener {number}: {right} of {len(pages)} right")

# %% [markdown]
# Half, always, and in each pair 8 of 16. With a coin, X would be A in 12 or more of 16
# pages in 4 tests of 100, and our listener would pass.
#
# Second, the slider. Suppose that listeners move it most of the way to their opinion,
# and then let go:


# %% tags=["nbval-check-output"]
def lazy(opinion, start, effort=0.7):
    return start + effort * (opinion - start)


for start in (0, 50, 100):
    low, high = lazy(30, start), lazy(70, start)
    print(f"start {start:3}: {low:.0f} and {high:.0f} for 30 and 70")
try:
    replace(test_design, test="mushra", slider_start=100)
except ms.errors.InputError as error:
    print(error)

# %% [markdown]
# (A toy: nobody knows how lazy people are.) A slider that starts at the top gives high
# ratings, one that starts at the bottom low ones, and either way differences shrink.
# The order is the same. Programs differ in where they start, webMUSHRA at 100: one more
# reason not to compare numbers across tests.
#
# Third, ratings without listening. A **session** knows what was played:

# %% tags=["nbval-check-output"]
test_design = ms.listening.Design("Heard?", "mushra", trials)
store = ms.listening.ResultStore(":memory:", test_design)
hasty = ms.listening.Session(store)
try:
    hasty.rate("A", 90)
except ms.errors.InputError as error:
    print(error)
hasty.heard("A", seconds=3)
hasty.rate("A", 90)
print("after listening:", hasty.scores)

# %% [markdown]
# # Part B · The test
#
# *Optional: leave out on the short path.*
#
# This is a good place for a break. The exercises of Part A are at the end, under *Exercises*.
# If you come back another day, run all cells above first.
#
# ## Who hears what
#
# Six excerpts, eight sounds each: that takes half an hour, and tired listeners guess on
# the last pages. It is better if each listener hears some of the excerpts. With a free
# draw, one excerpt might be heard by everybody and another by nobody. So choose first
# the excerpts that were used least:


# %%
def toy_trials(design, number):
    names = [trial.name for trial in design.counted]
    count = dict.fromkeys(names, 0)
    for listener in range(number + 1):  # replay all who came before
        random.Random(f"{design.seed} subset {listener}").shuffle(names)
        names_by_count = sorted(names, key=count.get)  # equals stay shuffled
        chosen = names_by_count[: design.trials_per_listener]
        for name in chosen:
            count[name] += 1
    return chosen


# %%
show_source("mssedu.listening.chosen_trials")

# %% tags=["nbval-check-output"]
some = replace(test_design, trials_per_listener=4, seed=5)
for number in range(50):
    assert toy_trials(some, number) == ms.listening.chosen_trials(some, number)
names = [n for number in range(9) for n in ms.listening.chosen_trials(some, number)]
listeners = pd.Series(names).value_counts()  # of each excerpt
print("toy and real agree")
print("after 9 listeners:", sorted(listeners.tolist()))
draw = random.Random(session.seed)
excerpts = sorted(listeners.index)
freely = pd.Series([n for _ in range(9) for n in draw.sample(excerpts, 4)])
print("drawn freely:     ", sorted(freely.value_counts().tolist()))

# %% [markdown]
# Nothing has to be stored: the seed and the number of the listener determine
# everything. `plan` then shuffles, adds the replicate, and shuffles the versions on
# each page. Below, the numbers are pages: they show when each listener hears which
# excerpt.


# %% tags=["nbval-check-output"]
def order_table(design, n_listeners):
    names = [trial.name for trial in design.trials]
    rows = []
    for number in range(n_listeners):
        places = {name: [] for name in names}
        for place, page in enumerate(ms.listening.plan(design, number), 1):
            if page.trial:
                places[page.trial].append(f"{place}{'*' if page.replicate else ''}")
        rows.append((str(number), *(", ".join(places[name]) for name in names)))
    frame = pd.DataFrame(rows, columns=["listener", *names])
    return Page(ms.reports.render(frame, "markdown"))


order_table(some, 6)

# %% [markdown]
# (A star marks the replicate.) Change the seed, and all of it changes. Never change it
# after the first listener has come: results with two different orders cannot be
# combined, and the store refuses them.
#
# ## How many listeners?
#
# Ask before the test. Notebook 14 explains the statistics; here is what comes out.
# Three systems, each compared with each, by the means of the listeners:

# %% tags=["nbval-check-output"]
for n in (5, 12):
    print(ms.listening.results.power_note(n, n_systems=3))

# %%
sizes = (4, 6, 8, 10, 12, 16, 20, 24, 32)
effects = {"small, 0.3": 0.3, "medium, 0.5": 0.5, "large, 0.8": 0.8, "huge, 1.2": 1.2}
chances = {
    name: [
        100 * row.chance
        for row in ms.listening.results.power_table(3, sizes, d_z=effect)
    ]
    for name, effect in effects.items()
}
ms.figures.sweep_figure(
    sizes, chances, xlabel="Listeners", ylabel="Chance to find a difference (%)"
)

# %% [markdown]
# The effect is the mean difference over its standard deviation between listeners. A
# panel of five can prove nothing, however large the difference is:

# %% tags=["nbval-check-output"]
for n in (6, 12, 24):
    line = [f"{name} {chances[name][sizes.index(n)]:3.0f} %" for name in chances]
    print(f"{n:2} listeners:  " + "  ".join(line))

# %% [markdown]
# With twelve you miss every second large difference, and nearly all small ones. More
# excerpts help as well: they make the mean of each listener less noisy, which makes the
# effect larger. More ratings by the same five people are not a sixth person.
#
# ## Listeners are people
#
# - **Consent.** Say what happens, how long it takes, what is stored, who sees it; that
#   it is voluntary. Then ask. In many places an ethics board wants to see this text
#   before.
# - **No names.** A listener is a random code. Ask only what you will use: each question of a
#   questionnaire is data about a person.
# - **Withdrawal.** With the code anyone can have everything deleted, at any time.
# - **Ears.** Let listeners set a comfortable volume once, and begin softly.
# - **Training.** A few pages that do not count, with the best and the worst that will
#   come. A listener who hears the worst anchor for the first time on page 6 had no
#   scale on pages 1 to 5.
#
# ## Make the test
#
# In a shell it is one line, which writes `test.toml`; everything else is changed in
# that file:
#
# ```
# mssedu listen create runs/network runs/ratio runs/binary --data songs
#        --stems vocals drums bass other --anchors anchor35 interference sound_quality
#        --trials-per-listener 3 --out-dir test
# ```
#
# In Python it is the function behind it. "other" is for training here, so that vocals,
# drums and bass of both songs count.

# %%
consent = """You will compare versions of short pieces of music with a reference. It takes about
ten minutes. Your ratings, answers and listening times are stored under a random code, without your
name, and are used in this course only. It is voluntary: you can stop at any time, and whoever
tells us the code has all of it deleted. Set your volume so that the first page is comfortable."""
design = ms.listening.create_test(
    folder / "test",
    {name: folder / "runs" / name for name in systems},
    ms.listening.Excerpts(
        data=folder / "songs",
        stems=("vocals", "drums", "bass", "other"),
        seconds=seconds,
    ),
    title="How good are these stems?",
    anchors=("anchor35", "interference", "sound_quality"),
    training=("Francium other", "Sodium other"),
    trials_per_listener=3,
    consent=consent.replace("\n", " "),
    questionnaire={"headphones": ("yes", "no"), "years of music lessons": ()},
)

# %% tags=["nbval-check-output"]
print(len(design.trials), "trials,", len(design.counted), "of them count")
print("on each page:", ", ".join(design.stimuli))
text = (folder / "test" / "test.toml").read_text("utf-8")
settings, _, rest = text.partition("[[trials]]")
kept = [line for line in settings.splitlines() if not line.startswith("consent")]
print("\n".join(kept))
print("[[trials]]" + rest.partition("[[trials]]")[0].rstrip())

# %% [markdown]
# The excerpts were cut where each stem is loudest, and copied as they were: the folder
# can be carried to another machine. Anchors, levels and orders are made when a page is
# shown. What matching will do, you should know before:

# %%
logs = {
    trial.name: ms.listening.test.load_stimuli(design, trial.name).log()
    for trial in design.counted
}
shown = {
    name: {stimulus: f"{gain_db:+z.1f}" for stimulus, gain_db, _ in log}
    for name, log in logs.items()
}
pd.DataFrame(shown).T

# %% [markdown]
# These decibels include the headroom of the whole page as well. Within a line, versions that
# need more gain than `reference` were too soft.
#
# ## Take it
#
# Your turn. Headphones; ten minutes. Each click is stored on the disk at once. Should
# the page be reloaded, run the cell again with your code, `listener="…"`, and you are
# back where you were. (This folder is gone in the end. For a real test choose one that
# stays; then nothing is lost, even if the kernel dies.)

# %%
own = ms.listening.ListeningTest(folder / "test", folder / "mine.sqlite")
own

# %% [markdown]
# Listeners who should never see code take the same test elsewhere.
# `mssedu listen serve` shows it as a plain page for all browsers in your network, and
# `mssedu listen export --html` writes it into one file that you can send around; the
# files of answers that come back are taken in with `mssedu listen export --merge`.

# %%
mine = ms.listening.ratings_frame(own.store)
if len(mine):
    shown = mine.pivot_table(index="trial", columns="stimulus", values="score").round()
else:
    shown = Page(
        "Nobody has finished a page that counts yet. Run this cell again later."
    )
shown

# %% [markdown]
# ## A simulated panel
#
# Statistics need more listeners than you. So twelve more take the test: **simulated**
# ones, whose opinions we make up. They go through real sessions, page by page, and the
# store treats them like people. Their ratings say nothing about the three systems!

# %%
opinion = {
    **{"network": 35, "ratio": 70, "binary": 62},
    **{"reference": 100, "anchor35": 80, "interference": 30, "sound_quality": 12},
}
path = folder / "panel.sqlite"

# %% [markdown]
# ### A crash
#
# The first one gets as far as the fifth page, rates one version, and then the power
# fails. Nothing is closed, nothing saved.

# %% tags=["nbval-check-output"]
listener = ms.listening.Session(ms.listening.ResultStore(path, design))
code = listener.listener  # shown on every page
ms.listening.sit_through(listener, opinion, n_pages=4)
listener.heard("C", seconds=3)
listener.rate("C", 41)
print("pages done, and all:", listener.progress, listener.scores)
del listener  # the crash

again = ms.listening.Session(
    ms.listening.ResultStore(path), code
)  # the file knows its test
print("pages done, and all:", again.progress, again.scores)
print("still to do:", " ".join(again.missing[:3]), "…")

# %% [markdown]
# A session keeps no data in memory: it reads from the file what has been done. Now the
# rest of the panel.

# %% tags=["nbval-check-output"]
ms.listening.sit_through(again, opinion)
store = ms.listening.ResultStore(path)
for _ in range(11):
    ms.listening.sit_through(ms.listening.Session(store), opinion)
for name, log in logs.items():  # a page does this when it is shown; these have no ears
    store.log_gains(name, log)
ratings = ms.listening.ratings_frame(store)
first_time = ratings[~ratings.replicate.astype(bool)]
print(len(store.listeners()), "listeners,", len(ratings), "ratings that count")
print(
    "listeners per excerpt:", first_time.groupby("trial").listener.nunique().to_dict()
)
print("ratings of replicates:", int(ratings.replicate.sum()))

# %%
ms.listening.ratings_figure(store, ratings)

# %% [markdown]
# A point is a listener. That is what we put in: a made-up opinion, plus what makes
# people differ. In notebook 14 you find out how much of it one can rely on.
#
# ### What was stored
#
# The store is one SQLite file. For other programs it writes CSV, with the columns of
# webMUSHRA first and ours after them, and JSON, which holds everything.

# %% tags=["nbval-check-output"]
csv = ms.listening.results.write_csv(store, folder / "results")
table = pd.read_csv(csv)
print(csv.name, "with", len(table), "lines. Columns:")
columns = list(table.columns)
last = columns.index("rating_comment") + 1
print("webMUSHRA's:", ", ".join(columns[:last]))
print("ours:       ", ", ".join(columns[last:]))
everything = ms.listening.results.write_json(store, folder / "all.json")
print("JSON:", ", ".join(pd.read_json(everything, typ="series").index))

# %%
table.head(3).T

# %% [markdown]
# A line for every slider: who, what, how much; then which letter it had on which page,
# how long and how often it was heard, how often the slider was moved, and the gain. Why
# keep all that? Because one day you will ask whether those who listened longer rated
# lower.
#
# And if somebody withdraws?

# %% tags=["nbval-check-output"]
store.withdraw(code)
left = [len(store.rows(name)) for name in ("listeners", "pages", "ratings", "answers")]
print("rows of listeners, pages, ratings, answers:", left)
print("ratings of that code:", len(store.rows("ratings", code)))

# %% [markdown]
# Code, number and order stay, so that the orders of all others remain what they were.
# The ratings are gone.
#
# ## The published weights
#
# A tiny network against two oracles is an exercise, not a fair comparison. If you have
# the weights of HTDemucs, the next cell makes a second test with it. They are for
# personal and research use only, so they are not part of this book.

# %%
published = ms.weights.load_cached("htdemucs")
contest = None
if published is None:
    print(ms.weights.how_to_get("htdemucs"))
else:
    for song in songs.values():
        estimate = ms.separate(published, song.mixture())
        write_run("htdemucs", published.config.stems, estimate, song)
    ms.listening.create_test(
        folder / "contest",
        {name: folder / "runs" / name for name in (*systems, "htdemucs")},
        ms.listening.Excerpts(data=folder / "songs", stems=("vocals", "drums", "bass")),
        anchors=("interference", "sound_quality"),
    )
    contest = ms.listening.ListeningTest(folder / "contest")
contest

# %% [markdown]
# ## What to remember
#
# - First the question, then the test. ABX: is it heard? 2AFC: which? ACR: how good, how
#   clean? MUSHRA: how good, against the reference?
# - Match loudness, log the gains, and say in the report what they were.
# - An anchor must be bad and in time. Use filters with an odd number of taps, and cut
#   off half the length. Measure the anchor on your stems: a low-pass does nothing to a
#   stem without high frequencies.
# - Shuffle trials, versions and letters, by seed and number. Choose first what was
#   heard least.
# - Listeners must have listened; one page comes twice; training does not count.
# - Consent first, no names, and a code to withdraw.
# - Five listeners prove nothing. Ask how many you need before the test, not after it.
#
# **What this notebook does not show.** Whether you can hear anything: rooms, headphones
# and background noise matter more than most of the above. The panel was simulated, and
# behaves better than people. Two songs of one artist are no sample of music. A test
# with anchors of our own choice is *like* MUSHRA. To follow the standard you need both
# low-pass anchors, experienced listeners with a training before the test, and its
# post-screening (notebook 14).
#
# ## Exercises
#
# - Part A: `listening.anchor`, `listening.match`
# - Part B: `listening.order`, `listening.quiz`
#
# *Optional: leave out `listening.anchor`, `listening.order` and `listening.quiz` on the short path.*

# %%
exercise("listening.anchor")


# %% tags=["exercise"]
def low_anchor(sound, sample_rate, cutoff_hz):
    return ...  # your code here


exercise("listening.anchor").check(low_anchor)

# %%
exercise("listening.order")


# %% tags=["exercise"]
def my_trials(names, n, seed, listener):
    return ...  # your code here


exercise("listening.order").check(my_trials)

# %%
exercise("listening.match")


# %% tags=["exercise"]
def match(sounds, target_lufs, sample_rate):
    return ...  # your code here


exercise("listening.match").check(match)

# %%
exercise("listening.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("listening.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Make an ABX test of `ratio` against the reference with
# `create_test(…, test="abx", n_repetitions=10)`, for one excerpt, and take it. Before
# you begin, write down from how many right answers on you will believe yourself. Then
# invent an anchor that is bad for drums and for nothing else, and prove it with a table
# like ours.

# %% [markdown]
# ## Sources
#
# - MUSHRA, low-pass anchors: Recommendation ITU-R BS.1534-3, *Method for the subjective
#   assessment of intermediate quality level of audio systems*, 2015.
# - ACR: Recommendation ITU-T P.800, *Methods for subjective determination of transmission
#   quality*, 1996. Loudness: Recommendation ITU-R BS.1770-4, 2015.
# - Two questions on separated stems, ratings of Hybrid Demucs: A. Défossez, "Hybrid
#   spectrogram and waveform source separation", 2021,
#   [arXiv:2111.03600](https://arxiv.org/abs/2111.03600).
# - Anchors for separation: V. Emiya, E. Vincent, N. Harlander and V. Hohmann, "Subjective and
#   objective quality assessment of audio source separation", *IEEE TASLP* 19, 2011,
#   [doi:10.1109/TASL.2011.2109381](https://doi.org/10.1109/TASL.2011.2109381).
# - Anchors for singing voices: D. Ward, H. Wierstorf, R. Mason, E. Grais and M.
#   Plumbley, "BSS Eval or PEASS? Predicting the perception of singing-voice
#   separation", *ICASSP* 2018.
# - Bias: S. Zieliński, F. Rumsey and S. Bech, "On some biases encountered in modern
#   audio quality listening tests – a review", *J. Audio Eng. Soc.* 56, 2008.
# - webMUSHRA: M. Schoeffler et al., "webMUSHRA – a comprehensive framework for
#   web-based listening tests", *J. Open Research Software* 6, 2018,
#   [doi:10.5334/jors.187](https://doi.org/10.5334/jors.187).
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
