"""Exercises on data: split by artist, remix stems, seed the items of a data set."""

import random

import torch
from torch import Tensor

from mssedu.course.exercises.kinds import Exercise, expect, expect_pair, expect_tensor

# three songs by each of three artists, then one song by each of six
_CATALOG = {f"song {n}": f"artist {n // 3 if n < 9 else n}" for n in range(15)}
_SONGS = torch.arange(6)[:, None].expand(
    6, 3
)  # the song of each stem: six examples of three stems


def _verify_split(split) -> None:
    state = random.getstate()
    splits = [_checked_split(split, _CATALOG, seed) for seed in range(8)]
    text = "split uses or seeds the global generator: use random.Random(seed)."
    expect(random.getstate() == state, text)
    reordered = _checked_split(split, dict(reversed(_CATALOG.items())), 0)
    text = "the same songs in another order give another split: sort before shuffling."
    expect(reordered == splits[0], text)
    text = "eight seeds give one and the same split: use the seed."
    expect(any(other != splits[0] for other in splits), text)


def _checked_split(split, artist_of: dict[str, str], seed: int) -> list[list[str]]:
    """Train and test, sorted, of a split that passes the checks of a single split."""
    result = split(artist_of, 4, seed)
    train, test = expect_pair(result, "return two lists, train and test.")
    once = sorted([*train, *test]) == sorted(artist_of)
    expect(once, "each song should be in train or in test, exactly once.")
    shared = sorted({artist_of[s] for s in train} & {artist_of[s] for s in test})
    expect(not shared, f"{shared[:1]} is in train and test: choose whole artists.")
    text = f"test has {len(test)} songs: stop as soon as it has 4 or more."
    expect(4 <= len(test) <= 6, text)  # no artist has more than three
    text = "the same seed gives another split: use random.Random(seed)."
    expect(split(artist_of, 4, seed) == result, text)
    return [sorted(train), sorted(test)]


def _verify_remix(remix_songs) -> None:
    # the value of a sample is 100 · song + stem
    marks = 100 * _SONGS + torch.arange(3)
    batch = marks[..., None, None].expand(6, 3, 2, 5).float()
    remixes = []
    for seed in (*range(20), 0):
        result = remix_songs(batch.clone(), torch.Generator().manual_seed(seed))
        text = "return two tensors, sources and mixture."
        sources, mixture = expect_pair(result, text)
        expect_tensor(sources, (6, 3, 2, 5), "sources")
        _check_places(sources[..., 0, 0].round().long())
        text = "the mixture should be exactly the sum of the new sources: sum last."
        expect(torch.equal(mixture, sources.sum(1)), text)
        remixes.append(sources)
    text = "the same generator gives another remix: use no other source of chance."
    expect(torch.equal(remixes[0], remixes[-1]), text)
    text = "twenty generators give the same remix: take the order from the generator."
    expect(any(not torch.equal(remixes[0], other) for other in remixes), text)


def _check_places(marks: Tensor) -> None:
    text = "stem j should be stem j of one of the songs, unchanged."
    expect(torch.equal(marks % 100, torch.arange(3).expand(6, 3)), text)
    text = "one stem occurs twice and another is missing: use each stem once."
    expect(torch.equal(marks.sort(0).values // 100, _SONGS), text)
    for row in (marks // 100).tolist():
        expect(
            len(set(row)) == 3,
            f"an example has two stems of one song: its songs are {row}.",
        )


def _verify_generator(generator_of) -> None:
    def numbers(seed: int, epoch: int, item: int, worker: int = 0) -> tuple[int, ...]:
        generator = generator_of(seed, epoch, item, worker)
        known = isinstance(generator, torch.Generator)
        expect(known, f"return a torch.Generator, not {type(generator)}.")
        return tuple(torch.randint(2**40, (4,), generator=generator).tolist())

    first = numbers(0, 0, 0)
    text = "the same arguments give other numbers: use nothing global."
    expect(numbers(0, 0, 0) == first, text)
    text = "another worker gives other numbers: the data depend on n_workers."
    expect(numbers(0, 0, 0, 1) == first, text)
    seen: dict[tuple[int, ...], tuple[int, int, int]] = {}
    for n in range(1200):
        place = (n // 600, n // 200 % 3, n % 200)
        drawn = numbers(*place)
        text = f"{place} repeats {seen.get(drawn)}: mix seed, epoch and item."
        expect(drawn not in seen, text)
        seen[drawn] = place


EXERCISES = (
    Exercise(
        id="data.split",
        question="""
            `artist_of` is a dict, song -> artist. Write
            `split(artist_of, n_test, seed)`. It returns two lists of songs, train and
            test, which have no artist in common. Choose one artist after another at
            random for the test, until it has `n_test` songs or more. The split depends
            on the songs and the seed alone, not on the order of the dict. The global
            generators must not change.
            """,
        solution_source="""
            def split(artist_of, n_test, seed):
                artists = sorted(set(artist_of.values()))
                random.Random(seed).shuffle(artists)
                test = []
                while len(test) < n_test:
                    artist = artists.pop()
                    songs = [song for song in artist_of if artist_of[song] == artist]
                    test += sorted(songs)
                return sorted(set(artist_of) - set(test)), test
            """,
        verify=_verify_split,
        hints=(
            "`random.Random(seed)` is a generator of your own with `.shuffle(list)`.",
            "Shuffle `sorted(set(artist_of.values()))`; then add one artist at a time.",
        ),
        noticed="`hash(song)` would not work: it differs in every Python process.",
        wrong=(
            ("sorted(songs)", "sorted(songs)[:1]", "is in train and test"),
            ("= sorted(set(", "= list(dict.fromkeys(", "sort before"),
            (".Random(seed)", "", "the same seed gives another split"),
            (".Random(seed)", ".seed(seed); random", "the global"),
            ("Random(seed)", "Random(0)", "one and the same split"),
            (" - set(test)", "", "exactly once"),
            ("< n_test", "< 2 * n_test", "stop as soon as"),
        ),
        imports="import random\n\nimport torch",
    ),
    Exercise(
        id="data.remix",
        question="""
            `sources` is (batch, stems, channels, samples); example n is song n, and
            batch ≥ stems. Write `remix_songs(sources, generator)`. It returns new
            sources and their mixture (batch, channels, samples). Each stem is used once
            and keeps its index; no two stems of an example come from one song; the
            mixture is exactly the sum. All random numbers come from `generator`.
            """,
        solution_source="""
            def remix_songs(sources, generator):
                batch, stems = sources.shape[:2]
                songs = torch.randperm(batch, generator=generator)
                shift = torch.arange(batch)[:, None] + torch.arange(stems)
                new = sources[songs[shift % batch], torch.arange(stems)]
                return new, new.sum(1)
            """,
        verify=_verify_remix,
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
    ),
    Exercise(
        id="data.generator",
        question="""
            A data set takes the random numbers of an item from the `torch.Generator`
            that `generator_of(seed, epoch, item, worker)` returns. Write this function.
            The items must not depend on the number of workers, and no two triples
            (seed, epoch, item) may give the same numbers.
            """,
        solution_source="""
            def generator_of(seed, epoch, item, worker):
                sequence = np.random.SeedSequence((seed, epoch, item))
                state = sequence.generate_state(1, np.uint64)
                return torch.Generator().manual_seed(int(state[0]))
            """,
        verify=_verify_generator,
        hints=(
            "It need not use all of its arguments.",
            "`np.random.SeedSequence((1, 2)).generate_state(1)[0]` mixes two numbers.",
        ),
        noticed="It is a function of three numbers, so there is no state to save.",
        wrong=(
            ("def generator_of(*place):\n    return torch.default_generator", "global"),
            ("int(state[0])", "seed + worker", "another worker"),
            ("int(state[0])", "seed", "(0, 0, 1) repeats (0, 0, 0)"),
            ("int(state[0])", "seed + epoch + item", "(0, 1, 0) repeats (0, 0, 1)"),
            ("int(state[0])", "hash((epoch, item))", "(1, 0, 0) repeats (0, 0, 0)"),
            ("(seed, epoch, item)", "None", "use nothing global"),
        ),
        imports="import numpy as np\n\nimport torch",
    ),
)
