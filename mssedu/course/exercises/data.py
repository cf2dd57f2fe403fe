"""Exercises on data: split by artist, remix stems, seed the items of a data set."""

import itertools
import random

import numpy as np
import torch

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks

# three songs by each of three artists, then one song by each of six
_CATALOG = {f"song {n}": f"artist {n // 3 if n < 9 else n}" for n in range(15)}


def _seeds(n: int) -> range:
    """Seeds for a check: 0, 1, 2, …, and others for the numbers of a course."""
    first = 100 * expect.variant()
    return range(first, first + n)


def _global_states() -> dict[str, str]:
    """The states of the generators that a whole program shares."""
    numpy_state = np.random.get_state(legacy=False)["state"]
    return {
        "random": str(random.getstate()),
        "NumPy": str((numpy_state["pos"], numpy_state["key"].tolist())),
        "PyTorch": str(torch.get_rng_state().tolist()),
    }


def _checked_split(split, artist_of: dict[str, str], seed: int) -> list[list[str]]:
    """Train and test, sorted, of a split that passes the checks of a single split."""
    result = split(artist_of, 4, seed)
    train, test = expect.items(result, 2, "return two lists, train and test.")
    once = sorted([*train, *test]) == sorted(artist_of)
    expect.that(once, "each song should be in train or in test, exactly once.")
    shared = sorted({artist_of[s] for s in train} & {artist_of[s] for s in test})
    expect.that(not shared, f"{shared[:1]} is in train and test: choose whole artists.")
    text = f"test has {len(test)} songs: stop as soon as it has 4 or more."
    expect.that(4 <= len(test) <= 6, text)  # no artist has more than three
    text = "the same seed gives another split: use random.Random(seed)."
    expect.that(split(artist_of, 4, seed) == result, text)
    return [sorted(train), sorted(test)]


def split_songs(artist_of, n_test, seed):
    """`artist_of` is a dict, song -> artist. Write `split_songs(artist_of, n_test,
    seed)`. It returns two lists of songs, train and test.

    - No artist is in both lists.
    - Choose one artist after another at random for the test, until it has `n_test`
      songs or more.
    - The split depends on the songs and the seed alone, not on the order of the dict.
    - The global generators must not change.
    """
    artists = sorted(set(artist_of.values()))
    random.Random(seed).shuffle(artists)
    test: list[str] = []
    while len(test) < n_test:
        artist = artists.pop()
        songs = [song for song in artist_of if artist_of[song] == artist]
        test += sorted(songs)
    return sorted(set(artist_of) - set(test)), test


_BY_TORCH = """
    def split_songs(artist_of, n_test, seed):
        torch.manual_seed(seed)
        artists = sorted(set(artist_of.values()))
        test = []
        for index in torch.randperm(len(artists)):
            if len(test) < n_test:
                test += [s for s in artist_of if artist_of[s] == artists[index]]
        return sorted(set(artist_of) - set(test)), test
    """


@checks(
    split_songs,
    hints=(
        "`random.Random(seed)` is a generator of your own with `.shuffle(list)`.",
        "Shuffle `sorted(set(artist_of.values()))`; then add one artist at a time.",
    ),
    noticed="`hash(song)` would not work: it differs in every Python process.",
    wrong=(
        ("sorted(songs)", "sorted(songs)[:1]", "is in train and test"),
        ("= sorted(set(", "= list(dict.fromkeys(", "sort before"),
        (".Random(seed)", "", "the same seed gives another split"),
        (".Random(seed)", ".seed(seed); random", "the global generator of random"),
        ("random.Random(seed)", "np.random.seed(seed); np.random", "of NumPy"),
        (_BY_TORCH, "the global generator of PyTorch"),
        ("Random(seed)", "Random(0)", "one and the same split"),
        (" - set(test)", "", "exactly once"),
        ("< n_test", "< 2 * n_test", "stop as soon as"),
    ),
)
def _verify_split(answer) -> None:
    before = _global_states()
    splits = [_checked_split(answer, _CATALOG, seed) for seed in _seeds(8)]
    for name, state in _global_states().items():
        text = f"your function uses or seeds the global generator of {name}: use "
        expect.that(state == before[name], f"{text}random.Random(seed).")
    reordered = _checked_split(answer, dict(reversed(_CATALOG.items())), _seeds(1)[0])
    text = "the same songs in another order give another split: sort before shuffling."
    expect.that(reordered == splits[0], text)
    text = "eight seeds give one and the same split: use the seed."
    expect.that(any(other != splits[0] for other in splits), text)


def remix_songs(sources, generator):
    """`sources` is (batch, stems, channels, samples); example n is song n, and batch ≥
    stems. Write `remix_songs(sources, generator)`. It returns new sources and their
    mixture (batch, channels, samples). Each stem is used once and keeps its index; no
    two stems of an example come from one song; the mixture is exactly the sum. All
    random numbers come from `generator`.
    """
    batch, stems = sources.shape[:2]
    songs = torch.randperm(batch, generator=generator)
    shift = torch.arange(batch)[:, None] + torch.arange(stems)
    new = sources[songs[shift % batch], torch.arange(stems)]
    return new, new.sum(1)


@checks(
    remix_songs,
    hints=(
        "One `torch.randperm(batch, generator=generator)` is enough.",
        "Example n takes its stem j from song `songs[(n + j) % batch]`.",
    ),
    noticed="`augment.remix` does allow two stems of one song, by chance.",
    wrong=(
        ("new.sum(1)", "sources.sum(1)", "sum last"),
        ("(stems)\n", "(1)\n", "two stems of one song"),
        ("perm(batch", "int(batch, (batch,)", "occurs twice"),
        ("generator=generator", "", "the same generator"),
        ("songs[shift % batch]", "shift % batch", "twenty"),
    ),
)
def _verify_remix(answer) -> None:
    songs = torch.arange(6)[:, None].expand(6, 3)  # six examples of three stems
    marks = 100 * songs + torch.arange(3)  # the value of a sample: 100 · song + stem
    batch = marks[..., None, None].expand(6, 3, 2, 5).float()
    remixes = []
    for seed in (*_seeds(20), _seeds(1)[0]):
        result = answer(batch.clone(), torch.Generator().manual_seed(seed))
        text = "return two tensors, sources and mixture."
        sources, mixture = expect.items(result, 2, text)
        expect.tensor(sources, (6, 3, 2, 5), "sources")
        marks = sources[..., 0, 0].round().long()
        text = "stem j should be stem j of one of the songs, unchanged."
        expect.close(marks % 100, torch.arange(3).expand(6, 3), text)
        text = "one stem occurs twice and another is missing: use each stem once."
        expect.close(marks.sort(0).values // 100, songs, text)
        for row in (marks // 100).tolist():
            text = f"an example has two stems of one song: its songs are {row}."
            expect.that(len(set(row)) == 3, text)
        text = "the mixture should be exactly the sum of the new sources: sum last."
        expect.close(mixture, sources.sum(1), text, what="the mixture", tolerance=0)
        remixes.append(sources)
    text = "the same generator gives another remix: use no other source of chance."
    expect.that(remixes[0].equal(remixes[-1]), text)
    text = "twenty generators give the same remix: take the order from the generator."
    expect.that(any(not remixes[0].equal(other) for other in remixes), text)


def generator_of(seed, epoch, item, worker):
    """A data set takes the random numbers of an item from the `torch.Generator` that
    `generator_of(seed, epoch, item, worker)` returns. Write this function.

    - The items must not depend on the number of workers.
    - No two triples (seed, epoch, item) may give the same numbers, however many epochs
      and items there are.
    """
    sequence = np.random.SeedSequence((seed, epoch, item))
    state = sequence.generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


@checks(
    generator_of,
    hints=(
        "It need not use all of its arguments.",
        "`np.random.SeedSequence((1, 2)).generate_state(1)[0]` mixes two numbers.",
    ),
    noticed="It is a function of three numbers, so there is no state to save.",
    wrong=(
        ("generator_of = lambda *_: torch.default_generator", "global"),
        ("int(state[0])", "seed + worker", "another worker"),
        ("int(state[0])", "seed", "(0, 0, 1) repeats (0, 0, 0)"),
        ("int(state[0])", "seed + epoch + item", "(0, 1, 0) repeats (0, 0, 1)"),
        ("int(state[0])", "hash((epoch, item))", "(1, 0, 0) repeats (0, 0, 0)"),
        ("(seed, epoch, item)", "None", "use nothing global"),
        (
            "int(state[0])",
            "seed * 10**6 + epoch * 1000 + item",
            "(0, 0, 1000) repeats (0, 1, 0)",
        ),
    ),
)
def _verify_generator(answer) -> None:
    def numbers(seed: int, epoch: int, item: int, worker: int = 0) -> tuple[int, ...]:
        generator = answer(seed, epoch, item, worker)
        known = isinstance(generator, torch.Generator)
        expect.that(known, f"return a torch.Generator, not {type(generator)}.")
        return tuple(torch.randint(2**40, (4,), generator=generator).tolist())

    first = numbers(0, 0, 0)
    text = "the same arguments give other numbers: use nothing global."
    expect.that(numbers(0, 0, 0) == first, text)
    text = "another worker gives other numbers: the data depend on n_workers."
    expect.that(numbers(0, 0, 0, 1) == first, text)
    places: dict[tuple[int, ...], tuple[int, ...]] = {}
    near = itertools.product(range(2), range(3), range(200))
    steps = (1000, 1024, 10**4, 10**5, 10**6)  # where a weighted sum may repeat itself
    far = [place for step in steps for place in ((0, 0, step), (0, step, 0))]
    draw = random.Random(expect.variant())
    for _ in range(50):
        far.append((draw.randint(2, 9), draw.randint(3, 999), draw.randint(200, 10**5)))
    for place in dict.fromkeys((*near, *far)):
        before = places.setdefault(numbers(*place), place)
        text = f"{place} repeats {before}: mix seed, epoch and item."
        expect.that(before == place, text)
