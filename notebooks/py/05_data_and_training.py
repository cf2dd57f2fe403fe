# %% [markdown]
# # 05 · Data, remixing and training hygiene
#
# > 数据与训练流程上的错误，往往比模型结构更能左右结果。本章讲数据集在硬盘上的形式、按艺人划分训练集与测试集的理由，并实际测量划分错误会使成绩虚高多少。你将用少数几首歌生成取之不尽、且在任何机器上都相同的训练样本，检验每种数据增强是否真的有用，学会用一个批次在几秒内测试训练循环，读懂验证曲线，并从中断处精确地继续训练。
#
# **Aim.** After this notebook you can
#
# - say what a data set is on disk, and open yours,
# - split it so that a score means something, and measure how much a wrong split flatters a model,
# - make any number of training examples from a few songs, the same ones on any machine,
# - say what each augmentation changes, and find out whether it helps,
# - test a training loop in seconds before it runs for days,
# - say what changes on a GPU, and estimate how long a run will take and what it costs,
# - read a validation curve, and resume a run exactly.
#
# | | |
# |---|---|
# | Path | core, 70 minutes on the short path; on the GPU path |
# | Before | 00 (decibels), 04 (usdr); 01 helps; networks come in 06, here one is a black box |
# | Time | 115 minutes in two sittings: Part A 65, Part B 50; the code runs in one to four minutes on two CPU cores, no GPU needed |
# | Data | the six songs in `data/`; nothing to download |
# | License | music: Software-Entwicklungskit, "Everything is Free", CC0 1.0; text and code: MIT |
# | Next | [06 · U-Net on spectrograms](06_u_net.ipynb) |
#
# | Symbol | Name in the code | Meaning |
# |---|---|---|
# | $s_j$ | `sources` | true stems, (stems, channels, samples) |
# | $x = \sum_j s_j$ | `mixture` | what the model gets |
# | $i$ | `item` | number of a training example, 0, 1, 2 … |
# | | `seed` | a number that fixes all random choices |
# | | split | the group of a song: train, valid or test |

# %%
import copy
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

import mssedu as ms
from mssedu.course import claim, exercise, play, reveal, setup, show_source

# %%
session = setup()
session

# %% [markdown]
# # Part A · Data
#
# ## Listen first
#
# Eight seconds of a song, and three more excerpts. In each of the three, every stem
# comes from another place in one of four songs, drawn at random.

# %%
songs = {song.name: song.in_memory() for song in ms.load_dataset(ms.data.demo_data())}
train_songs = [song for song in songs.values() if song.split == "train"]
stems, full_rate = train_songs[0].stems, train_songs[0].sample_rate
play(songs["Lithium"].mixture(start=33, duration=8), full_rate, "Lithium")

# %%
lottery = ms.data.RandomSegments(train_songs, stems, 8.0, 3, seed=12, level_db=-32.0)
play(lottery[0].sources.sum(0), full_rate, "drawn at random, 1")

# %%
play(lottery[1].sources.sum(0), full_rate, "drawn at random, 2")

# %% [markdown]
# The third one at the mixing desk of notebook 01. Solo each stem: do they fit together?

# %%
ms.listening.StemMixer(dict(zip(stems, lottery[2].sources, strict=True)), full_rate)

# %% [markdown]
# **Predict.** Is it music? If a model must separate *real* songs, would you train it on real
# excerpts only, or on these?
#
# And a second one. A model has learned from the first minutes of a song. You test it on
# another minute of the same song, or on a song that is new to it. By how many decibels do the
# two scores differ?

# %%
prediction_train_on = "?"  # "real" or "random"
prediction_leak = "?"  # dB

# %% [markdown]
# ## What a data set is
#
# On disk: a folder for each song, a file for each stem, and the songs in three folders.


# %%
def tree(folder, depth=0):
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            print("    " * depth + path.name + "/")
            tree(path, depth + 1)
        elif path.suffix == ".ogg":
            print("    " * depth + path.name)


tree(ms.data.demo_data() / "test")

# %% [markdown]
# In Python: a list of `Track`s. A track knows its name, its stems, its length and its split,
# and reads audio only where you ask for it. The mixture is the sum of the stems.

# %% tags=["nbval-check-output"]
for song in ms.load_dataset(ms.data.demo_data()):
    print(song)
song = songs["Sodium"]
assert torch.equal(song.sources(30, 5).sum(0), song.mixture(30, 5))

# %% [markdown]
# Faults of the data show in the scores weeks later, or never. So opening a data set looks at
# every file's header and lists **all** that is wrong at once. Here is a data set with two
# careless songs:

# %% tags=["nbval-check-output"]
sound = torch.rand(2, 44100) - 0.5
with tempfile.TemporaryDirectory() as folder:
    for name, length, sample_rate in (
        ("A/vocals", 44100, 44100),
        ("A/drums", 44000, 44100),
        ("B/vocals", 44100, 44100),
        ("B/drums", 44100, 48000),
    ):
        path = Path(folder, f"{name}.wav")
        path.parent.mkdir(exist_ok=True)
        ms.audio.save_audio(path, sound[:, :length], sample_rate)
    try:
        ms.load_dataset(folder)
    except ms.errors.DatasetError as error:
        print(str(error).replace(folder, "MY_SONGS"))

# %% [markdown]
# ## Train, valid and test
#
# | split | for | may you look at its scores? |
# |---|---|---|
# | train | the weights | all the time |
# | valid | choices: which step, which loss, which size | yes, that is what it is for |
# | test | the number in your thesis | once, at the end |
#
# Each choice fits your model a little to the songs that you choose by. That is why
# valid and test are two groups.
#
# Now, what should be divided: seconds, songs, albums or artists? Two verses of a song
# share the singer, the loops, the synthesizer, the mix. If one verse is in train and
# the other in test, the test has **leaked**: a model that learned the song by heart
# looks like one that learned to separate. The same holds, less so, for two songs of one
# album and two albums of one artist. In genre classification, keeping artists apart has
# taken a score from 71 % to 27 % (Pampalk, Flexer and Widmer, see Sources).
#
# > Split by the **largest** unit that your question is about. "New songs by anyone" asks for
# > a split by artist.
#
# Our six songs are from one album by one artist. They can be split by song, and no
# further. So every score in this workbook that was trained on `data/` says at best:
# this is what happens at a *new song of the same album*. It says nothing about other
# music.
#
# We will measure a leak below. First, we need examples to learn from.
#
# ## Endless examples
#
# A model learns from short segments. `RandomSegments` draws them. For each stem it
# chooses a song (a long one more often) and a first sample, and reads from there. All
# randomness comes from one generator per item, made from the seed and the item's
# number.


# %%
def toy_segment(tracks, stems, seconds, seed, item):
    generator = ms.data.item_generator(seed, item)
    sizes = torch.tensor([track.n_samples for track in tracks]).double()
    parts = []
    for stem in stems:
        track = tracks[torch.multinomial(sizes, 1, generator=generator)]
        starts = track.n_samples - round(seconds * track.sample_rate) + 1
        first = torch.randint(starts, (1,), generator=generator).item()
        parts.append(track.stem(stem, first / track.sample_rate, seconds))
    return torch.stack(parts)


# %%
show_source("mssedu.data.RandomSegments.__getitem__")

# %%
show_source("mssedu.data.RandomSegments._places")

# %%
show_source("mssedu.data.item_generator")

# %% tags=["nbval-check-output"]
as_drawn = {"gain_db": None, "channel_flip": 0.0, "sign_flip": 0.0}
segments = ms.data.RandomSegments(train_songs, stems, 3.0, 100, seed=1, **as_drawn)
for item in (0, 7, 99):
    toy = toy_segment(train_songs, stems, 3.0, 1, item)
    assert torch.equal(toy, segments[item].sources)
print("items 0, 7 and 99: toy and real agree, sample by sample")
print("an item:", tuple(segments[7].sources.shape), "= (stems, channels, samples)")
again = (segments[7].sources - segments[7].sources).abs().max().item()
print("item 7, read twice: largest difference", again)

# %% [markdown]
# There may be few songs, but there are many places. How many mixtures of three seconds
# are possible?

# %% tags=["nbval-check-output"]
places = sum(song.n_samples - 3 * full_rate + 1 for song in train_songs)
print(f"places where three seconds begin: {places:,}")
print(
    f"real excerpts: 10^{np.log10(places):.0f}, at random: 10^{4 * np.log10(places):.0f}"
)

# %% [markdown]
# ## The same on any machine
#
# *Optional: leave out on the short path.*
#
# Reading takes time, so a `DataLoader` uses **workers**: separate processes that read
# ahead. It gives each a *copy* of the data set, and they take turns: the first batch
# comes from the first worker, the second from the second. For each epoch it makes new
# copies. That is all we need for a toy:


# %%
def toy_loader(dataset, n_workers, n_items=8, batch_size=2):
    copies = [copy.deepcopy(dataset) for _ in range(n_workers)] or [dataset]
    batches = [range(n, n + batch_size) for n in range(0, n_items, batch_size)]
    return [
        copies[number % len(copies)][item]
        for number, batch in enumerate(batches)
        for item in batch
    ]


# %% [markdown]
# And here is a data set like those in many repositories. It keeps a random generator of
# its own, with a seed, to be "reproducible". Instead of audio it returns the number
# that it draws.


# %%
class Careless:
    def __init__(self, seed):
        self.generator = random.Random(seed)

    def __len__(self):
        return 8

    def __getitem__(self, item):
        return self.generator.randrange(100)


class Careful:
    def __init__(self, seed):
        self.seed = seed

    def __getitem__(self, item):
        generator = ms.data.item_generator(self.seed, item)
        return torch.randint(100, (1,), generator=generator).item()


# %% [markdown]
# **Predict.** Two epochs, of eight items each, without workers and with two of them. What will be
# wrong with `Careless`?

# %%
prediction_careless = "?"

# %% tags=["nbval-check-output"]
for kind in (Careless, Careful):
    for n_workers in (0, 2):
        dataset = kind(seed=0)
        for epoch in (1, 2):
            numbers = toy_loader(dataset, n_workers)
            row = " ".join(f"{number:3}" for number in numbers)
            print(f"{kind.__name__:9}{n_workers} workers, epoch {epoch}: {row}")
print("You said:", prediction_careless)

# %% [markdown]
# > **What to notice.** With two workers `Careless` draws every pair **twice**, because
# > both copies begin with the same generator. And the second epoch is the first one
# > again. Half of the draws are wasted, and nothing raised an error. `Careful` always
# > gives the same list.
#
# - Without workers `Careless` is fine. So a test without workers finds nothing.
# - The real loader does the same. On Linux, where a worker can copy a class that stands in a
#   notebook, the next cell proves it.
# - The *global* generators, `random`, `numpy.random` and `torch.rand`, are seeded by
#   PyTorch in each worker, NumPy's only since 2021. Workers that draw from them differ;
#   but which item gets which number then depends on the number of workers.
# - `Careful` repeats its items in epoch two as well, and that is intended:
#   `RandomSegments` has no epochs. A run of 10,000 steps asks for items 0, 1, 2 … and
#   never for the same item twice.

# %%
if sys.platform == "linux":
    loader = DataLoader(
        Careless(seed=0), 2, num_workers=2, multiprocessing_context="fork"
    )
    real = [torch.cat(list(loader)).tolist() for epoch in (1, 2)]
    assert real[0] == real[1] == toy_loader(Careless(seed=0), 2)

# %% tags=["nbval-check-output"]
few = ms.data.RandomSegments(train_songs, stems, 1.0, 8, seed=1)
read = {n: list(DataLoader(few, 2, num_workers=n)) for n in (0, 2)}
pairs = zip(read[0], read[2], strict=True)
apart = [(one.sources - two.sources).abs().max().item() for one, two in pairs]
print("RandomSegments, four batches, with 0 and with 2 workers: they differ by", apart)

# %% [markdown]
# ## Augmentations, by ear
#
# Each changes the stems at random, and *then* the mixture is summed. Lithium again:

# %%
excerpt = songs["Lithium"].sources(start=35, duration=5)
chance = torch.Generator().manual_seed(5)
louder = ms.data.random_gain(excerpt, -10, 6, generator=chance)
swapped = ms.data.flip_channels(excerpt, 0.5, generator=chance)
flipped = ms.data.flip_sign(excerpt, 0.5, generator=chance)
quieter = ms.data.random_silence(excerpt, 0.5, generator=chance)
versions = {"as it is": excerpt, "random_gain": louder, "flip_channels": swapped}
versions |= {"flip_sign": flipped, "random_silence": quieter}
play(louder.sum(0), full_rate, "random_gain: another balance")

# %%
play(swapped.sum(0), full_rate, "flip_channels: other places")

# %%
play(flipped.sum(0), full_rate, "flip_sign: what is different?")

# %%
play(quieter.sum(0), full_rate, "random_silence: instruments rest")

# %% tags=["nbval-check-output"]


def level(audio):
    return 10 * audio.square().mean((-2, -1)).log10()


print(f"{'RMS, dBFS':15}" + "".join(f"{stem:>8}" for stem in stems) + " mixture")
for name, version in versions.items():
    levels = [*level(version).clamp(min=-99).tolist(), level(version.sum(0)).item()]
    print(f"{name:15}" + "".join(f"{dB:8.1f}" for dB in levels))

# %% [markdown]
# - `random_gain` is the only one that changes the **balance**: the levels of the stems move
#   against each other, by up to 16 dB.
# - Flips leave each stem as loud as it was. You cannot hear the sign of a stem; but
#   other samples are added, so the mixture is a new one.
# - `random_silence` teaches that an instrument may be absent. Otherwise a model finds a singer
#   in every second.
#
# **Remixing** exchanges stems between the examples of a batch. One order for each stem:


# %%
def toy_remix(sources, generator):
    draws = torch.rand(*sources.shape[:2], generator=generator)  # (batch, stems)
    mixed = torch.empty_like(sources)
    for j in range(sources.shape[1]):
        mixed[:, j] = sources[draws[:, j].argsort(), j]
    return mixed


# %%
show_source("mssedu.data.remix")

# %% tags=["nbval-check-output"]
batch = torch.stack([song.sources(20, 4) for song in train_songs])
toy = toy_remix(batch, torch.Generator().manual_seed(2))
real = ms.data.remix(batch, generator=torch.Generator().manual_seed(2))
assert torch.equal(toy, real)
print("toy and real agree:", tuple(real.shape), "= (batch, stems, channels, samples)")
moved = (real.sum(0) - batch.sum(0)).abs().max()
print(claim("sum of each stem, before and after", moved, below=1e-5, digits=7))
right, wrong = real.sum(1), batch.sum(1)
for name, mixture in {"summed after": right, "summed before": wrong}.items():
    rest = (mixture - real.sum(1)).square().sum() / mixture.square().sum()
    print(f"mixture {name:6} remixing: {100 * rest:.0f} % of its energy is no stem's")

# %% [markdown]
# The last line shows a mistake that runs without an error: mix first, augment
# afterwards. The model is then asked for stems that are not in its input.
#
# `RandomSegments` goes further: it takes each stem from any song *and any time*. Beat
# and key no longer fit. You heard it above.
#
# **Levels.** In which song is the bass loud? A model that sees four songs may learn that by heart.

# %% tags=["nbval-check-output"]
leveled = ms.data.RandomSegments(train_songs, stems, 3.0, 1, seed=0, level_db=-25.0)
print(
    f"{'RMS, dBFS':10}" + "".join(f"{stem:>8}" for stem in stems) + "    gain to -25:"
)
for number, song in enumerate(train_songs):
    levels = level(song.sources()).clamp(min=-99).tolist()
    gains = [20 * np.log10(leveled.leveling[number, stem]) for stem in stems]
    row = "".join(f"{dB:8.1f}" for dB in levels) + "   "
    print(f"{song.name:10}" + row + "".join(f"{dB:6.1f}" for dB in gains))

# %% [markdown]
# `level_db=-25` brings every stem of every song to one level first. Then only
# `random_gain` decides about the balance. Caesium has no bass: silence is left as it
# is, because otherwise its noise would be raised as if it were an instrument.
#
# ### Rooms, desks and codecs
#
# *Optional: leave out on the short path.*
#
# Songs do not only differ in balance. They are recorded in rooms, mixed on desks, and
# stored as MP3. Nine **effects** do that to a stem, at random. Here are five seconds
# of Sodium's voice and one of silence, with each effect at one end of its limits. Keys
# 1 … 9 switch. The ninth effect, a shift in time, sounds like the voice as it is.

# %%
voice = torch.nn.functional.pad(songs["Sodium"].stem("vocals", 33, 5), (0, full_rate))
limits = {
    "eq": {"gain_db": (-9.0, 9.0)},
    "reverb": {"decay_seconds": (1.5, 1.5), "wet_db": (-6.0, -6.0)},
    "clip": {"drive_db": (20.0, 20.0)},
    "noise": {"snr_db": (20.0, 20.0)},
    "shift": {"max_seconds": 1.0},
    "pitch": {"semitones": (2.0, 2.0)},
    "tempo": {"rate": (0.88, 0.88)},
    "speed": {"rate": (0.88, 0.88)},
    "codec": {"kbps": (64.0, 64.0), "codecs": ("mp3",)},
}
changed = {"as it is": voice}
for name, effect in ms.data.EFFECTS.items():
    chance = torch.Generator().manual_seed(4)
    stem = effect(voice[None], full_rate, generator=chance, **limits[name])
    changed[name] = stem[0]
heard = {name: version for name, version in changed.items() if name != "shift"}
ms.listening.ABSwitch(heard, full_rate)

# %% [markdown]
# **Predict.** `usdr` compares each version with the voice as it is. Silence would get 0 dB. Which
# versions get less than silence, and can you hear why?

# %%
prediction_below_silence = "?"  # names

# %% tags=["nbval-check-output"]
hertz = torch.fft.rfftfreq(voice.shape[-1], 1 / full_rate)
last = slice(-full_rate, None)  # the second after the song


def power_db(audio, above, below):
    power = torch.fft.rfft(audio).abs().square().sum(0)
    return 10 * power[(hertz >= above) & (hertz < below)].sum().log10().item()


print(f"{'':10}< 300 Hz  > 4 kHz  peak/RMS  loudest  last second    usdr")
print(f"{'':10}      dB       dB        dB       Hz         dBFS      dB")
for name, version in changed.items():
    low = power_db(version, 0, 300) - power_db(voice, 0, 300)
    high = power_db(version, 4000, 22050) - power_db(voice, 4000, 22050)
    crest = 20 * version.abs().max().log10() - level(version)
    loudest = hertz[torch.fft.rfft(version).abs().sum(0).argmax()]
    after = level(version[:, last]).clamp(min=-99)
    score = ms.metrics.usdr(reference=voice[None], estimate=version[None]).item()
    print(f"{name:10}{low:8.0f}{high:9.0f}{crest:10.0f}{loudest:9.0f}", end="")
    print(f"{after:13.0f}{min(score, 99):8.0f}")
print("You said:", prediction_below_silence)

# %% [markdown]
# > **What to notice.** Each row has its own trace. The filter moves the bands. The room and the
# > noise go on in the last second. The soft clip takes the peaks off and adds overtones. Two
# > semitones multiply the loudest frequency by 1.12, a slow tempo does not change it, and a slow
# > speed, as of a tape, multiplies it by 0.88. But `usdr` says little about what you hear: a shifted
# > voice sounds the same, and gets 3 dB less than silence.
#
# Each effect changes a *stem*, and the mixture is summed afterwards. Take the clip: it is not
# linear, so a clipped mixture is not the sum of clipped stems. What the sum lacks belongs to
# no stem.


# %%
def toy_clip(audio, drive_db):
    drive = 10 ** (drive_db / 20) / audio.abs().max()
    clipped = (drive * audio).tanh()
    return clipped * (audio.square().mean() / clipped.square().mean()).sqrt()


# %%
show_source("mssedu.data.random_clip")

# %% tags=["nbval-check-output"]
assert torch.allclose(toy_clip(voice, 20), changed["clip"], atol=1e-5)
parts = songs["Sodium"].sources(start=33, duration=5)
after = toy_clip(parts.sum(0), 20)
before = torch.stack([toy_clip(part, 20) if part.any() else part for part in parts])
score = ms.metrics.usdr(reference=after[None], estimate=before.sum(0)[None]).item()
print(f"the clipped mixture, and the sum of clipped stems: {score:.0f} dB")

# %% [markdown]
# In a run, `mssedu train --effects eq reverb clip` changes each stem with a probability
# of 0.1, or of `--effect-probability`. Which of the other effects help is a question
# for an experiment like the one below. `--mixup 0.2` adds a second recording to a stem:
# one voice becomes a duet, and the model learns that "vocals" may be two people.

# %%
two = torch.stack(
    [songs[name].sources(start=33, duration=5)[:1] for name in ("Sodium", "Lithium")]
)
chance = torch.Generator().manual_seed(0)
duet = ms.data.mixup(two, two.roll(1, 0), probability=1.0, generator=chance)
play(duet[0, 0], full_rate, "mixup: two voices, one stem")

# %% [markdown]
# **Can a random mixture be music?** At the beginning you heard three that are not. An
# analysis of tempo, key and beats finds songs that fit: the tempo is the same, the
# double or the half, up to 4 %, and the keys are neighbors on the circle of fifths.

# %% tags=["nbval-check-output"]
analyses = {name: ms.data.analyze_music(song) for name, song in songs.items()}
for name, music in sorted(analyses.items()):
    partners = [n for n, other in analyses.items() if ms.data.songs_fit(music, other)]
    others = ", ".join(sorted({*partners} - {name})) or "none"
    print(f"{name:10}{music.tempo:5.0f} BPM  {music.key:9} fits: {others}")

# %%
matched = ms.data.RandomSegments(
    [*songs.values()], stems, 8.0, 20, seed=4, level_db=-32.0, matched=True
)
play(matched[0].sources.sum(0), full_rate, "drawn at random, from songs that fit")

# %% [markdown]
# All stems begin on a beat. `mssedu train --matched` does that. It has a price: a song
# that fits no other is combined only with itself. There are fewer mixtures, and they
# are more like real ones.
#
# # Part B · Training
#
# This is a good place for a break. The exercises of Part A are at the end, under *Exercises*.
# If you come back another day, run all cells above first.
#
# ## First, overfit one batch
#
# Before a run of hours, give the loop four seconds of music and let it learn them by heart. It
# must succeed. If it does not, more data will not help.
#
# From here on we use two stems, mono at 8 kHz, and small models. They sound poor and learn
# fast.

# %%
rate = 8000  # Hz
pair = {"drums": ["drums"], "rest": ["vocals", "bass", "other"]}


def small(song):
    song = song.with_stems(pair)
    audio = {stem: song.stem(stem).mean(0, keepdim=True) for stem in pair}
    audio = {
        stem: ms.audio.resample(sound, full_rate, rate) for stem, sound in audio.items()
    }
    return ms.data.Track.from_audio(song.name, audio, rate)


small_songs = {name: small(songs[name]) for name in sorted(songs)}
pieces = ms.data.RandomSegments(
    [small_songs[song.name] for song in train_songs],
    tuple(pair),
    1.0,
    4,
    seed=0,
    level_db=-25.0,
    gain_db=None,
)
# Four examples, and never another
batch = torch.stack([piece.sources for piece in pieces])


def build(**size):
    torch.manual_seed(session.seed)
    shape = {"sample_rate": rate, "channels": 1, "bandwidth_hz": rate / 2}
    size |= {"n_layers": 1, "wiener_iterations": 0}
    return ms.create_model("open_unmix", "tiny", stems=tuple(pair), **shape, **size)


def overfit(loss_of, steps=100):
    model = build(n_fft=512, hop_length=128, hidden=64)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        score = ms.metrics.usdr(reference=batch, estimate=model(batch.sum(1)))
    return torch.tensor(losses), score.mean().item()


# %% [markdown]
# That is all there is to training. The real step adds three precautions: it skips
# numbers that are not finite, it shortens gradients that are too large, and it takes
# care of low precision.

# %%
show_source("mssedu.training.train_step")

# %% tags=["nbval-check-output"]


def correct(model, sources):
    return ms.training.waveform_mse(estimate=model(sources.sum(1)), reference=sources)


toy, _ = overfit(correct, steps=5)
model = build(n_fft=512, hop_length=128, hidden=64)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
config = ms.training.TrainConfig(
    stems=tuple(pair), clip_norm=0.0, device=session.device
)
real = [
    ms.training.train_step(model, batch, optimizer, config, ms.training.waveform_mse)
    for _ in range(5)
]
assert torch.allclose(toy, torch.tensor(real))
print("five steps, toy and real:", len(real), "equal losses")

# %% [markdown]
# Now four loops that somebody wrote in a hurry. All run without an error.


# %%
def shuffled(model, sources):  # the stems are drawn anew after the mixture was made
    order = torch.randperm(len(sources))
    return ms.training.waveform_mse(
        estimate=model(sources.sum(1)), reference=sources[order]
    )


def cut_off(model, sources):  # "element 0 of tensors does not require grad" – silenced
    estimate = model(sources.sum(1)).detach().requires_grad_()
    return ms.training.waveform_mse(estimate=estimate, reference=sources)


def wrong_axis(model, sources):  # (b, 1, s, c, t) - (b, s, 1, c, t): all against all
    estimate = model(sources.sum(1))
    return (estimate[:, None] - sources[:, :, None]).square().mean()


def exchanged(model, sources):  # drums are called rest, and the rest drums
    return ms.training.waveform_mse(
        estimate=model(sources.sum(1)), reference=sources.flip(1)
    )


# %% [markdown]
# **Predict.** Which of the four will the test find? 100 % is the loss of silence.

# %%
prediction_found = "?"  # names

# %%
silence = batch.square().mean()
results = {
    loss_of.__name__: overfit(loss_of)
    for loss_of in (correct, shuffled, cut_off, wrong_axis, exchanged)
}
shares = {name: 100 * losses / silence for name, (losses, _) in results.items()}
later = {name: share[5:] for name, share in shares.items()}
ms.figures.curves_figure(later, xlabel="Step", ylabel="Loss (% of silence)", start=5)

# %% tags=["nbval-check-output"]
for name, share in shares.items():
    print(claim(f"{name:10}: loss left", share[-1], below=10, unit="%"), end="; ")
    print(claim("usdr of the batch", results[name][1], above=5, unit="dB"))
print("You said:", prediction_found)

# %% [markdown]
# > **What to notice.** The right loop gets below a tenth. `shuffled`, `cut_off` and
# > `wrong_axis` do not, and the test found in seconds what a night of training would
# > have shown. `exchanged` passes! The model just learned the wrong names.
#
# So also compute a *score* on that batch, as here, and listen. And some faults cannot
# be seen on a single batch, not even in its score: a split that leaks, songs that occur
# twice, workers that repeat, a mixture that clips, too little data. For those you need
# the rest of this notebook.
#
# ### `fit`, and its gates
#
# You need not write this test again for each project. `fit` is the loop of this
# package, the one behind `mssedu train`. Before its first step it passes *gates*, on a
# copy of the model: one real step, its memory and its time, one validation song, the
# weights written and read back. An error that would end a run in its third hour then
# ends it in its third second.

# %%
show_source("mssedu.training.gates.rehearse")

# %% [markdown]
# And this is the loop itself. The five lines of the toy above are behind one name,
# `_step`, which calls the `train_step` that you have read. All other lines save, validate,
# stop, and report what happens.

# %%
show_source("mssedu.training.loop._loop")

# %% [markdown]
# With `overfit=1`, or `mssedu train --overfit 1`, the loop must learn one example by heart, or
# the run ends with an error. Here is what it logs. Look at the line "a step takes": from it
# you know how long your run will take, before it has begun.

# %%
tiny = {"n_fft": 512, "hop_length": 128, "hidden": 64}


def by_heart(**changes):
    return ms.training.TrainConfig(
        model="open_unmix",
        preset="tiny",
        stems=tuple(pair),
        segment=1.0,
        loss="thresholded_snr",
        overfit=1,
        seed=session.seed,
        device=session.device,
        **changes,
    )


lessons = [small_songs[song.name] for song in train_songs]
with tempfile.TemporaryDirectory() as folder:
    ms.fit(
        build(**tiny), lessons, None, by_heart(learning_rate=3e-3), folder, log=print
    )

# %% [markdown]
# Now the same with a learning rate that somebody mistyped:

# %% tags=["nbval-check-output"]
mistyped = by_heart(learning_rate=3e-9, steps=20)
with tempfile.TemporaryDirectory() as folder:
    try:
        ms.fit(build(**tiny), lessons, None, mistyped, folder)
    except ms.errors.MssEduError as error:
        print("stopped:", str(error).partition(":")[0])

# %% [markdown]
# ## A leak, measured
#
# Cut every song into pieces of five seconds. Every third piece is for testing; the
# model never trains on one. The songs form two groups of three: every other name.

# %%
medium = {"n_fft": 2048, "hop_length": 1024, "hidden": 32}
n_steps = {"smoke": 4, "cpu": 250, "gpu": 2500}[session.profile]


def take(song, testing):
    pieces = song.sources().split(5 * rate, dim=-1)
    taken = [piece for n, piece in enumerate(pieces) if (n % 3 == 2) == testing]
    audio = torch.cat(taken, dim=-1)
    return ms.data.Track.from_audio(
        song.name, dict(zip(pair, audio, strict=True)), rate
    )


for_training = {name: take(song, False) for name, song in small_songs.items()}
for_testing = {name: take(song, True) for name, song in small_songs.items()}
names = list(small_songs)
groups = (names[::2], names[1::2])
for group in groups:
    print(", ".join(group))

# %% [markdown]
# Train a small model on the training pieces of each group, and test both models on all
# test pieces. Each piece is then scored twice: by the model that knows the song (not
# this piece!), and by the model that was not trained on the song. Same pieces, same
# model, same steps. The first is what a split by seconds would report, the second what
# a split by song reports. (The loss, `thresholded_snr`, is the energy of the error in
# decibels; notebook 06 says more about losses. With `schedule="cosine"` the learning rate
# falls to zero along half a period of a cosine.)


# %%
def settings(**changes):
    chosen = {"steps": n_steps, "valid_every": n_steps, "schedule": "cosine"} | changes
    return ms.training.TrainConfig(
        model="open_unmix",
        preset="tiny",
        stems=tuple(pair),
        batch_size=4,
        segment=2.0,
        loss="thresholded_snr",
        learning_rate=4e-3,
        level_db=-25.0,
        gain_db=(-8.0, 8.0),
        seed=session.seed,
        device=session.device,
        **chosen,
    )


def train(group, config):
    model = build(**medium)
    with tempfile.TemporaryDirectory() as folder:
        ms.fit(model, [for_training[name] for name in group], None, config, folder)
    return model.eval()


def two_scores(**changes):
    """Song -> usdr by the model that knows the song, and by the one that does not."""
    models = [train(group, settings(**changes)) for group in groups]
    known, new = {}, {}
    for name, track in for_testing.items():
        scores = [
            ms.metrics.usdr(
                reference=track.sources(), estimate=ms.separate(model, track.mixture())
            ).mean()
            for model in models
        ]
        mine = 0 if name in groups[0] else 1
        known[name], new[name] = scores[mine].item(), scores[1 - mine].item()
    return known, new


known, new = two_scores(remix=False)
ms.figures.scores_figure(
    {"split by seconds": known, "split by song": new}, place="song"
)

# %%
for label, scores in {"split by seconds": known, "split by song": new}.items():
    print(f"{label}: {sum(scores.values()) / 6:.1f} dB on average")

# %% tags=["nbval-check-output"]


def mean(scores):
    return sum(scores.values()) / len(scores)


higher = sum(known[name] > new[name] for name in names)
leak = mean(known) - mean(new)
print(claim("songs of six with more if known", higher, above=4, digits=0))
print(claim("the mean is higher by", leak, above=4, unit="dB"))
print(reveal(prediction_leak, leak, "dB"))

# %% [markdown]
# > **What to notice.** Not one tested second was in training. Still, a split by seconds
# > adds more than 4 dB that no new song would give you. For comparison: Open-Unmix and
# > HTDemucs, years apart, differ by 3.7 dB in the table of notebook 04. Loops repeat,
# > sounds come again, and the model knows them.
#
# The gap is large because three songs are soon learned by heart, and a new song may be unlike
# them: in *Potassium* the bass is 17 dB louder than the drums. With more songs the gap may be
# smaller. Only an honest split can tell.
#
# ## Does remixing help?
#
# The same once more, with one setting changed: `remix=True`. Each stem of an example
# now comes from another place, of any of the three songs. Both splits are scored.
#
# **Predict.** What will each of the two splits say?

# %%
prediction_remix = {"split by seconds": "?", "split by song": "?"}  # better, worse

# %%
known_remix, new_remix = two_scores(remix=True)
ms.figures.scores_figure(
    {"new song, without remixing": new, "new song, remixed": new_remix},
    place="song",
)

# %% tags=["nbval-check-output"]
by_seconds = mean(known_remix) - mean(known)
by_song = mean(new_remix) - mean(new)
print("split by seconds: remixing makes it", "worse" if by_seconds < 0 else "better")
print(claim("split by song: remixing gains", by_song, above=0.5, unit="dB"))
print("You said:", prediction_remix, "and before:", prediction_train_on)

# %%
print(f"split by seconds: {by_seconds:+.1f} dB, split by song: {by_song:+.1f} dB")

# %% [markdown]
# > **What to notice.** The two splits **disagree**. With the leaked one you would
# > reject remixing: it keeps the model from learning songs by heart, and learning by
# > heart is what that split rewards. With the honest one you keep it. A leak does not
# > just raise all scores; it can choose the wrong method.
#
# So yes: train on what hardly sounds like music. Two words of caution. These are three songs
# for each model, small models, seconds of training and one seed. Repeat it with
# `setup(seed=1)`. And with many songs the effect may shrink; why it works at all was still a
# question in 2024 (Jeon and others, see Sources).
#
# ## The validation curve
#
# Now watch one run. Every 20 steps we score the second group's songs, new to the model,
# and the test pieces of the first group's, known to it. The learning rate stays as it
# is to the end, and beside the weights we keep their **average** (EMA, exponential
# moving average): after each step it moves a twentieth of the way towards the weights.

# %%
every = max(n_steps // 12, 1)
curves = {"known songs": [], "new songs": []}
judges = {
    "known songs": [for_testing[name] for name in groups[0]],
    "new songs": [for_testing[name] for name in groups[1]],
}


def note(step, steps, loss, score):
    if step % every == 0:
        for label, tracks in judges.items():
            curves[label].append(
                ms.training.validate(watched, tracks, tuple(pair)).mean().item()
            )


watched = build(**medium)
config = settings(remix=False, schedule="constant", ema_decay=0.95, valid_every=every)
with tempfile.TemporaryDirectory() as folder:
    learned = [for_training[name] for name in groups[0]]
    result = ms.fit(
        watched, learned, judges["new songs"], config, folder, progress=note
    )
history = [line for line in result.history if line["step"] % every == 0]
curves["new songs, average"] = [line["usdr"] for line in history]
ms.figures.curves_figure(
    curves, xlabel="Step", ylabel="usdr (dB)", start=every, step=every
)

# %%
losses = {"loss": [line["loss"] for line in history]}
ms.figures.curves_figure(
    losses, xlabel="Step", ylabel="Loss (dB)", start=every, step=every
)

# %%
print(f"best average: {result.score:.1f} dB at step {result.step}", end=", ")
print(f"last: {curves['new songs, average'][-1]:.1f} dB")


# %% tags=["nbval-check-output"]
def rise(label):
    return curves[label][-1] - curves[label][0]


def wobble(label):
    steps = zip(curves[label], curves[label][1:], strict=False)
    return sum(abs(later - earlier) for earlier, later in steps)


fall = losses["loss"][0] - losses["loss"][-1]
print(claim("the loss fell by", fall, above=4, unit="dB"))
print(claim("known songs rose by", rise("known songs"), above=4, unit="dB"))
share = 100 * rise("new songs, average") / rise("known songs")
print(claim("of which the average on new songs", share, below=50, unit="%"))
share = 100 * wobble("new songs, average") / wobble("new songs")
print(claim("its ups and downs, of those without it", share, below=100, unit="%"))

# %% [markdown]
# - The loss falls, the known songs rise, and the new songs gain less than half of that,
#   most of it early. The loss alone shows none of this.
# - The curve of the new songs jumps from one validation to the next. Which score is the
#   last one is a matter of luck; the average is steadier. It costs a second copy of the
#   weights.
# - `fit` keeps the **best** weights beside the last. The best of twelve validations is
#   partly luck: its score is too high on average. For an honest number use songs that
#   took no part in the choice: the test set.
#
# ## The record of a run
#
# *Optional: leave out on the short path.*
#
# What did I train, three weeks ago? `fit` writes it down.

# %% tags=["nbval-check-output"]
workplace = tempfile.TemporaryDirectory()
folder = Path(workplace.name)
brief = settings(steps=8, valid_every=4, ema_decay=0.95)
data = ([for_training[name] for name in groups[0]], judges["new songs"], brief)
ms.fit(build(**medium), *data, folder / "in one go")
for path in sorted((folder / "in one go").iterdir()):
    if ".previous" not in path.name:  # a spare, in case the disk fails while writing
        print(path.name)
record = json.loads((folder / "in one go" / "config.json").read_text())
print("config.json:", ", ".join(record))
print("train_tracks:", record["train_tracks"])
lines = (folder / "in one go" / "history.jsonl").read_text().splitlines()
print("history.jsonl:", len(lines), "lines of", ", ".join(json.loads(lines[0])))

# %% [markdown]
# The record has the names of the training songs, the scores of *doing nothing*,
# versions and the commit: what a reader would ask. It also has the phases of a run
# whose settings were changed. And a run can continue where it stopped. Interrupt it
# after step 6, between two validations; `fit` saves its state before it ends. Then
# resume:

# %% tags=["nbval-check-output"]


def interrupt(step, steps, loss, score):
    if step == 6:
        raise KeyboardInterrupt


try:
    ms.fit(build(**medium), *data, folder / "resumed", progress=interrupt)
except KeyboardInterrupt:
    print("interrupted after step 6")
ms.fit(build(**medium), *data, folder / "resumed", resume=True)
one, two = (
    ms.weights.load_checkpoint(folder / run / "last.safetensors").state_dict()
    for run in ("in one go", "resumed")
)
unequal = sum(not torch.equal(one[name], two[name]) for name in one)
print(f"{unequal} of {len(one)} tensors differ, compared bit by bit")
workplace.cleanup()

# %% [markdown]
# It is exact, because everything that changes is saved: weights, their average, the
# optimizer's memory, the step, the random state. The data need not be saved: item 16
# follows from the seed and the number 16.
#
# **Change one thing.** Save the weights only, and begin a new optimizer at step 4. How far
# are the weights apart at step 8? And the scores, after 250 steps?
#
# ## From this laptop to a GPU
#
# *Optional: leave out on the short path.*
#
# Your code stays the same: `fit` takes the device from its config, and `device="auto"`
# takes a GPU if there is one. Only five settings change.
#
# | setting | on this laptop | on a GPU |
# |---|---|---|
# | `device` | `cpu` | `auto`, or `cuda` |
# | `precision` | `float32` | `bfloat16`, on cards since 2020 |
# | `batch_size` | 2 … 8 | as large as fits; the gates of `fit` find it and log it |
# | `n_workers` | 0: reading is fast compared with the step | enough that the card never waits |
# | `compile` | no | for long runs; compiling takes minutes |
#
# If a batch is too large for the card, `accumulate=4` computes it in four parts, for the same
# gradient. Several cards: `torchrun --nproc-per-node 8 -m mssedu train …` trains one model
# with a part of each batch on every card; `recipes/slurm` has the file for a cluster.
#
# ### bfloat16
#
# It has the range of float32 and fewer digits. Activations take half of the memory, and
# matrix products are several times as fast. What is lost?

# %% tags=["nbval-check-output"]
print("            largest   smallest step above 1   1 + 0.003")
for kind in (torch.float32, torch.bfloat16, torch.float16):
    facts = torch.finfo(kind)
    added = (torch.ones((), dtype=kind) + 0.003).item()
    name = str(kind).removeprefix("torch.")
    print(f"{name:10}{facts.max:9.1e}{facts.eps:18.7f}{added:16.4f}")

# %% [markdown]
# In bfloat16, 1 + 0.003 is 1. A weight of 1 that gets an update of 0.003 would never move. So
# the *weights* and their sums stay float32, and only the products inside a layer are computed
# in bfloat16: that is what `torch.autocast` does in `train_step`, above. float16 has more
# digits, but its largest number is 65504: gradients overflow, and need a scale.
#
# ### Batch and workers
#
# Measure a step and the reading of its batch, here and now. The card must not wait: with $r$
# seconds to read a batch and $s$ seconds for a step, you need at least $r / s$ workers.

# %%
pieces = ms.data.RandomSegments(lessons, tuple(pair), 2.0, 64, seed=0, level_db=-25.0)
config = settings(steps=1)
print("batch   read (ms)   step (ms)   step per example (ms)")
for batch_size in (1, 2, 4, 8, 16):
    started = time.perf_counter()
    batch = torch.stack([pieces[item].sources for item in range(batch_size)])
    read_ms = 1000 * (time.perf_counter() - started)
    model = build(**medium).to(session.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    runs = []
    for _ in range(3):
        started = time.perf_counter()
        loss = ms.training.train_step(
            model,
            batch.to(session.device),
            optimizer,
            config,
            ms.training.thresholded_snr,
        )
        float(loss)  # waits for the device
        runs.append(1000 * (time.perf_counter() - started))
    step_ms = min(runs)
    print(f"{batch_size:5}{read_ms:12.1f}{step_ms:12.1f}{step_ms / batch_size:20.1f}")

# %% [markdown]
# On a CPU, a step of twice the batch soon takes twice as long. A GPU does thousands of
# products at once: up to some size, a larger batch costs *nothing*. Make it as large as that,
# then raise the learning rate with care, and compare runs by examples or by hours, never by
# steps.
#
# ### How long, and what does it cost?
#
# Before you rent a card, count. The backward pass costs twice the forward pass, so a step
# takes three forward passes for each example. HTDemucs takes 335 GFLOP for 7.8 s
# (`benchmarks/RESULTS.md`). The settings of its paper are a recipe:


# %% tags=["nbval-check-output"]
def toy_days(recipe, gflop, tflops):
    """Days on a device that does so many TFLOP/s all the time."""
    examples = recipe.config.steps * recipe.config.batch_size
    return 3 * examples * gflop / (1000 * tflops) / 86400


recipe = ms.training.read_recipe(ms.training.find_recipe("htdemucs.toml"))
print(f"{recipe.config.steps:,} steps of {recipe.config.batch_size} examples")
for device_name, tflops in (("two cores", 0.2), ("a card", 20), ("8 cards", 160)):
    days = toy_days(recipe, gflop=335, tflops=tflops)
    print(f"{device_name:10}{tflops:6g} TFLOP/s: {days:8,.0f} days")

# %%
price = 2.0  # of one card for an hour: put in what yours costs
hours = 24 * toy_days(recipe, gflop=335, tflops=20)
print(
    f"{hours:.0f} hours of one card, {hours * price:.0f} in the currency of the price"
)

# %% [markdown]
# Two cores do 0.2 TFLOP/s (`benchmarks/RESULTS.md`, AMD EPYC, 2026-11-21). The 20
# TFLOP/s of a card are an *assumption*. What yours really does is far below its data
# sheet if layers are small or the card waits, and this text cannot know it: `python
# benchmarks/gpu.py` measures it in ten minutes, and the gates of `fit` print the
# seconds of a step.
#
# So the full HTDemucs is too large for a thesis with one card. A model of a few million
# weights on 7-second excerpts is not: it trains for hours and not for weeks, and you
# can compare two of them. Begin with `overfit`, then a hundredth of the steps, look at
# the curve, and only then start the long run, with `resume="auto"`: on a rented card
# runs are interrupted.
#
# ## The hour race
#
# *Optional: leave out on the short path.*
#
# How far do these rules lead with real songs? `recipes/races` asks: which recipe separates
# best after **one hour of training on two cores**? All entries learn from the same 87 excerpts
# of 7 s of MUSDB18 and four CC0 songs. They choose their settings and their best step on seven
# other excerpts, and are scored once on 25 test excerpts. Processor seconds are counted, 7200,
# because the clock of a shared machine says little.
#
# The first recipe is a small Mel-Band RoFormer (notebook 15). What was tried before, and what
# it gave, is a table in the README of the race. Here are the learning curves of its runs with
# seeds 1 and 2, and the table:

# %%
results = ms.data.demo_data().parent / "recipes" / "races" / "results"
kept = sorted(path.parent for path in results.glob("*/history.jsonl"))
ms.figures.learning_figure(kept)

# %% tags=["nbval-check-output"]
race = ms.reports.race_table(ms.reports.read_races(results))
columns = ["recipe", "usdr, dB", "songs", "±", "seeds", "steps"]
print(race[columns].round(2).to_string(index=False, na_rep=""))

# %% tags=["nbval-check-output"]
for folder in kept:
    curve = ms.figures.read_curves(folder)
    usdr = curve.usdr["mean"]
    early = next(
        s for s, y in zip(curve.steps, usdr, strict=True) if y > max(usdr) - 0.3
    )
    print(f"{folder.name}: best {max(usdr):.2f} dB in validation;", end=" ")
    print(f"within 0.3 dB of it after {early} of {curve.steps[-1]} steps")

# %% [markdown]
# The column *songs* is the 95 % interval over songs: other songs of this kind could give any
# of these scores. The column ± is half the interval over seeds: what another seed would
# change. The three runs have 2.97, 2.57 and 2.67 dB, and from three numbers Student's t makes
# ±0.5 dB; from the first two alone it made ±2.5 dB. To show that another recipe is better,
# compare it song by song (notebook 14), with as many seeds.
#
# Look at the curves, too. The loss of training falls to the end, and the validation stands still
# after a quarter of the steps, or falls: from then on the network learns thirteen minutes of
# music by heart. A larger network with more augmentation (`mel_band_roformer_augmented`) was stopped
# half-way: 2.99 dB in validation after 1200 steps, and 2.89 after 2000. It learned faster, and
# soon by heart, too.
#
# The distance to the ideal mask (irm) is large. Thirteen minutes of music and an hour are
# little: the published HTDemucs has 7.73 dB on the same excerpts, and has learned from 800
# songs more. The model of seed 0 comes with the package: it is what `mssedu separate
# SONG` uses. Can you do better with the same songs and the same hour? `mssedu race RECIPE
# musdb18-7s` trains, scores and writes the row.
#
# ## Your own instruments
#
# *Optional: leave out on the short path.*
#
# Perhaps you have no songs, but a folder of recordings for each instrument, made at
# different times. Here are two such folders, synthesized: a bamboo flute and a plucked
# lute, four recordings each, on a pentatonic scale, each in a key and a tempo of its
# own.

# %%
rate, scale = 8000, (0, 2, 4, 7, 9, 12)  # Hz, semitones


def flute(rng, hz, length):
    time = np.arange(length) / rate
    phase = 2 * np.pi * hz * time + 0.2 * np.sin(2 * np.pi * 5 * time)
    tone = (
        np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.05 * rng.standard_normal(len(time))
    )
    return tone * np.minimum(1, np.minimum(time, time[::-1]) / 0.05)


def pluck(rng, hz, length):  # Karplus and Strong 1983: noise in a loop that damps it
    loop, periods = rng.uniform(-1, 1, round(rate / hz)), []
    loop -= loop.mean()
    for _ in range(length // len(loop) + 1):
        periods.append(loop)
        loop = 0.495 * (loop + np.roll(loop, 1))
    return np.concatenate(periods)[:length]


studio = tempfile.TemporaryDirectory()
recordings, mixes = Path(studio.name, "recordings"), Path(studio.name, "mixes")
for stem, play_note, root in (("dizi", flute, 880.0), ("pipa", pluck, 220.0)):
    (recordings / stem).mkdir(parents=True)
    for number in range(4):
        rng = np.random.default_rng((number, int(root)))
        key, length = (
            5 * number % 12,
            rate * (4 + number) // 12,
        )  # its key and its tempo
        melody = rng.choice(scale, 4 * rate * 4 // length) + key
        notes = [play_note(rng, root * 2 ** (s / 12), length) for s in melody]
        sound = torch.from_numpy(0.3 * np.concatenate(notes)).float()[None]
        ms.audio.save_audio(recordings / stem / f"{stem} {number}.wav", sound, rate)

# %% [markdown]
# `mssedu data build recordings mixes` makes mixtures with known stems of them: random
# excerpts, each recording brought to one loudness, a random gain for each stem. The
# split is **by recording**: no recording is in both train and test. `mssedu data check`
# then looks for faults, from a wrong sample rate to one recording in two splits.

# %% tags=["nbval-check-output"]
recipe = ms.data.BuildConfig(
    mixes=16,
    seconds=4,
    split=(0.5, 0.25, 0.25),
    sample_rate=rate,
    channels=1,
    license=("dizi=CC0", "pipa=CC0"),
)
ms.data.build_dataset(recordings, mixes, recipe)
built = {s: ms.load_dataset(mixes, s) for s in ("train", "valid", "test")}
print({split: len(songs) for split, songs in built.items()})
manifest = json.loads((mixes / "build.json").read_text())
used = {s: {c["path"] for c in manifest["sources"] if c["split"] == s} for s in built}
print("recordings in train and test:", len(used["train"] & used["test"]))
audit = ms.data.audit_dataset(mixes)
print("errors:", audit.count("error"))

# %%
play(built["test"][0].mixture(), rate, "a mix of two recordings")

# %% [markdown]
# From here on it is a data set like any other: train, separate, evaluate. Sixty steps of a
# small Open-Unmix:

# %% tags=["nbval-check-output"]
network = ms.create_model(
    "open_unmix", "tiny", stems=("dizi", "pipa"), sample_rate=rate, channels=1
)
short = ms.training.TrainConfig(
    model="open_unmix",
    preset="tiny",
    stems=("dizi", "pipa"),
    steps=60,
    segment=2.0,
    learning_rate=3e-3,
    loss="thresholded_snr",
    valid_every=60,
    device=session.device,
)
ms.fit(network, built["train"], built["valid"], short, Path(studio.name, "run"))
for song in built["test"][:1]:
    estimate = ms.separate(network, song.mixture())
    gain = ms.metrics.usdr(reference=song.sources(), estimate=estimate)
    gain -= ms.metrics.usdr(
        reference=song.sources(), estimate=song.mixture().expand_as(estimate)
    )
    print(
        claim("gain over the mixture, the worse stem", gain.min(), above=1, unit="dB")
    )
studio.cleanup()

# %%
play(estimate[0], rate, "the dizi, as the network hears it")

# %% [markdown]
# The same five commands work with real recordings; `docs/own_instruments.sh` runs them
# with four instruments in two minutes. `build.json` names every excerpt, gain, seed,
# source and license: mixes of recordings under a "no derivatives" license must not be
# passed on.
#
# ## A checklist
#
# | before | |
# |---|---|
# | data | all headers read; levels and silent stems looked at; ten examples heard |
# | split | by artist if there are several, else by song; written down as names |
# | your own | split by recording; `data check` finds no errors; licenses named |
# | loader | same items for 0 and 2 workers; mixture = sum of the stems, after augmenting |
# | loop | one batch overfits, in loss *and* in score |
# | baseline | scores of silence and of the mixture are known |
# | **during** | |
# | curve | validation on new songs, whole, in the score that will be reported |
# | record | config, names of songs, versions, seed, beside the weights |
# | **after** | |
# | choice | best step chosen on valid, never on test |
# | claim | one thing changed at a time; more than one seed; the test set asked once |
#
# ## What to remember
#
# - A score belongs to a split. Seconds of known songs are no test, even if they are new.
# - Keep together what belongs together: song, album, artist.
# - Item $i$ is a function of the seed and of $i$: then workers, resuming and other machines
#   change nothing.
# - Augment the stems, then sum.
# - First overfit one batch. It finds broken loops, but not wrong names nor wrong splits.
# - On a GPU the loop stays the same; device, precision, batch and workers change.
#   Estimate the cost before you rent.
# - A leak does not only raise the scores; it can choose the wrong method.
#
# **What this notebook does not show.** Six songs of one album by one artist, in two
# stems and in mono at 8 kHz, small networks, seconds of training, one seed. The *signs*
# of the gap and of the gain by remixing were the same with five seeds; the decibels are
# those of this toy. Nothing here says how much remixing gains with a hundred songs.
#
# ## Exercises
#
# - Part A: `data.split`, `data.remix`, `data.generator`
# - Part B: `data.quiz`
#
# *Optional: leave out `data.remix` and `data.generator` on the short path.*

# %%
exercise("data.split")


# %% tags=["exercise"]
def split_songs(artist_of, n_test, seed):
    return ...  # your code here


exercise("data.split").check(split_songs)

# %%
exercise("data.remix")


# %% tags=["exercise"]
def remix_songs(sources, generator):
    return ...  # your code here


exercise("data.remix").check(remix_songs)

# %%
exercise("data.generator")


# %% tags=["exercise"]
def generator_of(seed, epoch, item, worker):
    return ...  # your code here


exercise("data.generator").check(generator_of)

# %%
exercise("data.quiz")

# %% tags=["exercise"]
answers = [..., ..., ...]  # letters, such as "a"

exercise("data.quiz").check(answers)

# %% [markdown]
# **Further, not checked.** Plan the split of a data set of your own, ten songs or more.
# Who sings in two songs? Which songs share a recording day, a sample, a drum machine?
# Write down what your test score will then be about, in one sentence, before you train.

# %% [markdown]
# ## Sources
#
# - Augmentation: S. Uhlich et al., "Improving music source separation based on deep neural
#   networks through data augmentation and network blending", *ICASSP* 2017.
# - Signs and remixing in groups: A. Défossez, N. Usunier, L. Bottou and F. Bach, "Music source
#   separation in the waveform domain", 2019,
#   [arXiv:1911.13254](https://arxiv.org/abs/1911.13254).
# - Why it works: C.-B. Jeon, G. Wichern, F. G. Germain and J. Le Roux, "Why does music source
#   separation benefit from cacophony?", 2024,
#   [arXiv:2402.18407](https://arxiv.org/abs/2402.18407).
# - Artists on both sides: E. Pampalk, A. Flexer and G. Widmer, "Improvements of audio-based
#   music similarity and genre classification", *ISMIR* 2005; the 71 and 27 % are quoted in
#   A. Flexer and D. Schnitzer, "Effects of album and artist filters in audio similarity computed
#   for very large music databases", *Computer Music Journal* 34, 2010.
# - Workers that repeat: PyTorch issue
#   [#5059](https://github.com/pytorch/pytorch/issues/5059), and
#   [#56488](https://github.com/pytorch/pytorch/pull/56488), which seeds NumPy.
# - Overfit first: A. Karpathy, ["A recipe for training neural
#   networks"](https://karpathy.github.io/2019/04/25/recipe/), 2019.
# - Music: Software-Entwicklungskit, *Everything is Free*, 2025, CC0 1.0.
