"""Exercises on data: a split by artist, a remix that keeps the sum, a fair loader."""

import random
from typing import Any

import torch
from torch import Tensor

from mssedu.course.exercises.exercise import Exercise, expect, expect_tensor
from mssedu.course.exercises.quiz import Question, make_quiz

_STUB = "    return ...  # your code here"
# Three songs each of three artists, then one each of six.
_CATALOG = {f"song {n}": f"artist {n // 3 if n < 9 else n}" for n in range(15)}
_SONGS = torch.arange(6)[:, None].expand(6, 3)  # of six examples of three stems


def _pair(result: Any, what: str) -> Any:
    pair = isinstance(result, tuple | list) and len(result) == 2
    expect(pair, f"return two {what}.")
    return result


def _verify_split(split) -> None:
    state = random.getstate()
    splits = [_checked_split(split, _CATALOG, seed) for seed in range(8)]
    text = "it draws from, or seeds, the global generator: use random.Random."
    expect(random.getstate() == state, text)
    backwards = _checked_split(split, dict(reversed(_CATALOG.items())), 0)
    text = "the same songs in another order give another split: sort before you draw."
    expect(backwards == splits[0], text)
    text = "eight seeds give one and the same split: draw by the seed."
    expect(any(other != splits[0] for other in splits), text)


def _checked_split(split, artist_of: dict[str, str], seed: int) -> list[list[str]]:
    """Train and test, sorted, after the checks that one split allows."""
    train, test = result = _pair(split(artist_of, 4, seed), "lists, train and test")
    once = sorted([*train, *test]) == sorted(artist_of)
    expect(once, "each song should be in train or in test, exactly once.")
    shared = sorted({artist_of[s] for s in train} & {artist_of[s] for s in test})
    expect(not shared, f"{shared[:1]} sings on both sides: draw artists.")
    text = f"{len(test)} songs in test: stop as soon as there are 4 or more."
    expect(4 <= len(test) <= 6, text)  # no artist has more than three
    again = split(artist_of, 4, seed)
    expect(
        again == result, "the same seed, another split: draw from random.Random(seed)."
    )
    return [sorted(train), sorted(test)]


def _verify_remix(remix_songs) -> None:
    # A stem's samples tell its song (hundreds) and its place (ones).
    marks = 100 * _SONGS + torch.arange(3)
    batch = marks[..., None, None].expand(6, 3, 2, 5).float()
    found = []
    for seed in (*range(20), 0):
        result = remix_songs(batch.clone(), torch.Generator().manual_seed(seed))
        sources, mixture = _pair(result, "tensors, sources and mixture")
        expect_tensor(sources, (6, 3, 2, 5), "sources")
        _check_places(sources[..., 0, 0].round().long())
        text = "the mixture should be exactly the sum of the new sources: sum last."
        expect(torch.equal(mixture, sources.sum(1)), text)
        found.append(sources)
    text = "the same generator gives another remix: draw from it, from nothing else."
    expect(torch.equal(found[0], found[-1]), text)
    text = "twenty generators give the same remix: draw the order from the generator."
    expect(any(not torch.equal(found[0], other) for other in found), text)


def _check_places(marks: Tensor) -> None:
    text = "stem j should be stem j of some song, as it was."
    expect(torch.equal(marks % 100, torch.arange(3).expand(6, 3)), text)
    text = "a stem occurs twice, another never: use each once."
    expect(torch.equal(marks.sort(0).values // 100, _SONGS), text)
    for row in (marks // 100).tolist():
        expect(len(set(row)) == 3, f"two stems of one song: an example has {row}.")


def _verify_generator(generator_of) -> None:
    def numbers(seed: int, epoch: int, item: int, worker: int = 0) -> tuple[int, ...]:
        generator = generator_of(seed, epoch, item, worker)
        known = isinstance(generator, torch.Generator)
        expect(known, f"return a torch.Generator, not {type(generator)}.")
        return tuple(torch.randint(2**40, (4,), generator=generator).tolist())

    first = numbers(0, 0, 0)
    text = "the same arguments give other numbers: nothing global may take part."
    expect(numbers(0, 0, 0) == first, text)
    text = "another worker gives other numbers: a run would hang on n_workers."
    expect(numbers(0, 0, 0, 1) == first, text)
    seen: dict[tuple[int, ...], tuple[int, int, int]] = {}
    for n in range(1200):
        place = (n // 600, n // 200 % 3, n % 200)
        drawn = numbers(*place)
        text = f"{place} repeats {seen.get(drawn)}: mix seed, epoch and item."
        expect(drawn not in seen, text)
        seen[drawn] = place


_SPLIT = """
    def split(artist_of, n_test, seed):
        artists = sorted(set(artist_of.values()))
        random.Random(seed).shuffle(artists)
        test = []
        while len(test) < n_test:
            artist = artists.pop()
            test += sorted(song for song in artist_of if artist_of[song] == artist)
        return sorted(set(artist_of) - set(test)), test
    """
_REMIX = """
    def remix_songs(sources, generator):
        batch, stems = sources.shape[:2]
        songs = torch.randperm(batch, generator=generator)
        shift = torch.arange(batch)[:, None] + torch.arange(stems)
        new = sources[songs[shift % batch], torch.arange(stems)]
        return new, new.sum(1)
    """
_GENERATOR = """
    def generator_of(seed, epoch, item, worker):
        state = np.random.SeedSequence((seed, epoch, item)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0]))
    """
_SEEDED = """
    def generator_of(seed, epoch, item, worker):
        return torch.Generator().manual_seed({})
    """

_QUIZ = (
    Question(
        "You cut 50 songs into pieces and draw a tenth for the test. Its score tells …",
        {
            "how the model does on new songs.": "it has heard every song of the test.",
            "how it does on other seconds of songs that it has learned.": None,
            "nothing at all.": "it does tell something: how it does on known songs.",
        },
    ),
    Question(
        "A model overfits one batch, the loss falls by 99 %. What is ruled out?",
        {
            "Test songs in the training set.": "a single batch knows no test set.",
            "Vocals and drums exchanged in every target.": "that is learned as well.",
            "A gradient that never reaches the weights.": None,
        },
    ),
    Question(
        "A data set keeps `self.rng = random.Random(0)`. With four workers …",
        {
            "each has a copy, and all four draw the same numbers.": None,
            "they share it: only the order is chance.": "processes share no objects.",
            "PyTorch seeds it anew in each.": "it seeds the global generators only.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="data.split",
        notebook="05",
        question="""
            `artist_of` is a dict, song -> artist. Write
            `split(artist_of, n_test, seed)`. It returns two lists of songs, train and
            test. No artist is on both sides.
            Draw one artist after another for the test, until it has `n_test` songs or
            more. The split follows from the songs and the seed alone: not from the
            order of the dict, and the global generators stay as they are.
            """,
        answer="split",
        starter_source="def split(artist_of, n_test, seed):\n" + _STUB,
        solution_source=_SPLIT,
        verify=_verify_split,
        hints=(
            "`random.Random(seed)` is a generator of your own, with `.shuffle(list)`.",
            "Shuffle `sorted(set(artist_of.values()))`; one artist's songs at a time.",
        ),
        noticed="`hash(song)` would not do either: it differs in every Python process.",
        wrong_answers=(
            (_SPLIT.replace("== artist)", "== artist)[:1]"), "sings on both sides"),
            (_SPLIT.replace("= sorted(set(", "= list(dict.fromkeys("), "sort before"),
            (_SPLIT.replace(".Random(seed)", ""), "the same seed, another split"),
            (_SPLIT.replace(".Random(seed)", ".seed(seed); random"), "the global"),
            (_SPLIT.replace("Random(seed)", "Random(0)"), "one and the same split"),
            (_SPLIT.replace(" - set(test)", ""), "exactly once"),
            (_SPLIT.replace("< n_test", "< 2 * n_test"), "stop as soon as"),
        ),
        imports="import random\n\nimport torch",
    ),
    Exercise(
        id="data.remix",
        notebook="05",
        question="""
            `sources` is (batch, stems, channels, samples); example n is song n, and
            batch ≥ stems. Write `remix_songs(sources, generator)`. It returns new
            sources and their mixture (batch, channels, samples). Each stem is used once
            and stays in its place; no two stems of an example come from one song; the
            mixture is exactly the sum. All chance comes from `generator`.
            """,
        answer="remix_songs",
        starter_source="def remix_songs(sources, generator):\n" + _STUB,
        solution_source=_REMIX,
        verify=_verify_remix,
        hints=(
            "One `torch.randperm(batch, generator=generator)` is enough.",
            "Example n takes its stem j from song `songs[(n + j) % batch]`.",
        ),
        noticed="`augment.remix` permits a chance meeting of two stems of one song.",
        wrong_answers=(
            (_REMIX.replace("new.sum(1)", "sources.sum(1)"), "sum last"),
            (_REMIX.replace("(stems)\n", "(1)\n"), "two stems of one song"),
            (_REMIX.replace("perm(batch", "int(batch, (batch,)"), "occurs twice"),
            (_REMIX.replace("generator=generator", ""), "the same generator"),
            (_REMIX.replace("songs[shift % batch]", "shift % batch"), "twenty"),
        ),
    ),
    Exercise(
        id="data.generator",
        notebook="05",
        question="""
            A data set draws the random numbers of an item from
            `generator_of(seed, epoch, item, worker)`. Write it: it returns a
            `torch.Generator`. Any number of workers must give the same items, each
            epoch others, and no two of (seed, epoch, item) the same numbers.
            """,
        answer="generator_of",
        starter_source="def generator_of(seed, epoch, item, worker):\n" + _STUB,
        solution_source=_GENERATOR,
        verify=_verify_generator,
        hints=(
            "It need not use all that it is given.",
            "`np.random.SeedSequence((1, 2)).generate_state(1)[0]` mixes two numbers.",
        ),
        noticed="The same function of three numbers, on any machine: no state to save.",
        wrong_answers=(
            ("def generator_of(*place):\n    return torch.default_generator", "global"),
            (_SEEDED.format("seed + worker"), "another worker"),
            (_SEEDED.format("seed"), "(0, 0, 1) repeats (0, 0, 0)"),
            (_SEEDED.format("seed + epoch + item"), "(0, 1, 0) repeats (0, 0, 1)"),
            (_SEEDED.format("hash((epoch, item))"), "(1, 0, 0) repeats (0, 0, 0)"),
            (_GENERATOR.replace("(seed, epoch, item)", "None"), "nothing global"),
        ),
        imports="import numpy as np\n\nimport torch",
    ),
    make_quiz("data.quiz", "05", _QUIZ),
)
