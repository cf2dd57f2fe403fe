"""Every exercise: starter not attempted, solution passes, wrong answers fail."""

import ast
import importlib
import math
import re
import tomllib
from pathlib import Path

import jupytext
import pytest
import torch
import torch.nn.functional as F

import mssedu
from mssedu.course import exercises
from mssedu.course.build import texts
from mssedu.course.exercises import (
    EXERCISES,
    Exercise,
    Status,
    exercise,
    list_exercises,
)
from mssedu.errors import InputError

ALL = [exercise(id) for id in list_exercises()]
WRONG = [
    pytest.param(each, source, text, id=f"{each.id}-{number}")
    for each in ALL
    for number, (source, text) in enumerate(each.wrong_answers)
]


def answer_of(each: Exercise, source: str):
    """What the name of the answer means after this source ran in its topic file."""
    namespace = {**vars(importlib.import_module(each.verify.__module__))}
    exec(source, namespace)
    return namespace[each.answer]


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.id)
def test_starter_is_not_attempted(each):
    outcome = each.check(answer_of(each, each.starter_source))
    assert outcome.status is Status.NOT_ATTEMPTED, outcome


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.id)
def test_solution_passes(each):
    outcome = each.check(answer_of(each, each.solution_source))
    assert outcome.status is Status.PASS, outcome
    assert repr(outcome) == f"✔ {each.id}: correct. {each.noticed}"


@pytest.mark.parametrize(("each", "source", "text"), WRONG)
def test_wrong_answer_fails_with_its_message(each, source, text):
    outcome = each.check(answer_of(each, source))
    assert outcome.status is Status.FAIL, outcome
    assert text in outcome.text


OTHER_RIGHT = {
    "setup.safe_gain": """
def safe_gain(audio):  # in decibels, and a gain of one as a whole number
    above = 20 * math.log10(float(audio.abs().max()) + 1e-12) + 1
    return 10 ** (-above / 20) if above > 0 else 1
""",
    "mixing.match_loudness": """
def match_loudness(audio, sample_rate, target_lufs):  # below the gate: zeros
    loudness = loudness_lufs(audio, sample_rate)
    heard = math.isfinite(loudness)
    return 10 ** ((target_lufs - loudness) / 20) * audio if heard else 0 * audio
""",
    "masks.phase_sensitive": """
def limited_mask(sources, mixture, highest):  # a projection, and no division by zero
    power = mixture.abs().square().clamp_min(1e-30)
    return ((sources * mixture.conj()).real / power).clamp(0, highest)
""",
    "data.split": """
def split_songs(artist_of, n_test, seed):  # the order of numbers that are drawn
    draw = np.random.default_rng(seed)
    order = {artist: draw.random() for artist in sorted(set(artist_of.values()))}
    test = []
    for artist in sorted(order, key=order.get):
        if len(test) < n_test:
            test += [song for song in artist_of if artist_of[song] == artist]
    return [song for song in artist_of if song not in test], test
""",
    "waveform.normalized": """
def normalized(model, mixture):  # the deviation of NumPy, which divides by n
    level = mixture.mean(0).std(correction=0) + 1e-5
    return level * model(mixture / level)
""",
    "waveform.shift_average": """
def shift_average(model, mixture, shifts):
    zeros = [mixture.new_zeros(len(mixture), shift) for shift in shifts]
    estimates = [model(torch.cat([zero, mixture], 1)) for zero in zeros]
    return sum(one[..., -mixture.shape[-1] :] for one in estimates) / len(shifts)
""",
    "chunking.faded": """
def repaired(model, mixture, sample_rate, segment, overlap):  # weights, then a mean
    samples, length = mixture.shape[-1], int(segment * sample_rate)
    shared, total, weights = int(overlap * length), 0 * mixture, torch.zeros(samples)
    starts = range(0, max(samples - shared, 1), length - shared)
    for start in starts:
        weight = torch.ones(min(length, samples - start))
        if start:
            weight[:shared] = (torch.arange(shared) + 0.5) / shared
        if start != starts[-1]:
            weight[-shared:] = (torch.arange(shared, 0, -1) - 0.5) / shared
        span = slice(start, start + length)
        total[:, span] += weight * model(mixture[:, span])
        weights[span] += weight
    return total / weights
""",
    "listening.order": """
def my_trials(names, n, seed, listener):  # once around a ring, then shuffled
    ring = random.Random(seed).sample(names, len(names))
    chosen = [ring[(listener * n + i) % len(ring)] for i in range(n)]
    return random.Random(f"{seed} {listener}").sample(chosen, n)
""",
    "panel.screen": """
def stays(reference, anchor):
    n, items = reference.shape
    kept = [i for i in range(items) if (anchor[:, i] > 90).sum() <= n / 4]
    few = (reference < 90).sum(1) <= 0.15 * items
    return few & ((anchor[:, kept] > 90).sum(1) <= 0.15 * len(kept))
""",
}


@pytest.mark.parametrize("id", OTHER_RIGHT)
def test_another_right_answer_passes(id):
    outcome = exercise(id).check(answer_of(exercise(id), OTHER_RIGHT[id]))
    assert outcome.status is Status.PASS, outcome


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.id)
def test_exercise_is_complete(each):
    assert each.question
    assert each.noticed
    assert each.hints
    assert len(each.wrong_answers) >= 2
    assert each.id.partition(".")[0] in EXERCISES
    assert each.check().status is Status.NOT_ATTEMPTED
    alone = re.search(r":\n\s+\.\.\.", each.starter_source)
    assert not alone, "write `return ...`: ruff joins a lone `...` to the line above"


def test_ids_are_unique():
    ids = list_exercises()
    assert len(set(ids)) == len(ids)


def test_the_table_names_every_file_and_every_quiz():
    folder = Path(exercises.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "expect",
        "kinds",
        "limits",
        "quizzes",
        "sealed",
    }
    quizzes = tomllib.loads((folder / "quizzes.toml").read_text("utf-8"))
    assert files == {*EXERCISES} >= {*quizzes}


def test_exercises_of_one_notebook():
    assert list_exercises("00") == ["setup.settings", "setup.safe_gain", "setup.quiz"]
    with pytest.raises(InputError, match="notebook '99'"):
        list_exercises("99")


def test_unknown_id_names_the_nearest():
    with pytest.raises(InputError, match=r"'mixing\.mx'\. Did you mean 'mixing\.mix'"):
        exercise("mixing.mx")
    with pytest.raises(InputError, match=r"Did you mean 'mixing\.mix'"):
        exercise("mixin.mix")


# ---- names and numbers --------------------------------------------------------------


def names_outside_exercises(text):
    """Names that the cells of a notebook use or set, those of exercises left out."""
    names = set()
    for cell in jupytext.read(text, fmt="py:percent").cells:
        if cell.cell_type == "code" and "exercise" not in cell.metadata.get("tags", []):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Name):
                    names.add(node.id)
                elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                    names.add(node.name)
                elif isinstance(node, ast.alias):
                    names.add(node.asname or node.name)
    return names


@pytest.mark.parametrize("text", texts(), ids=lambda text: text.stem)
def test_no_answer_shadows_a_name_of_the_notebook(text):
    asked = [exercise(id) for id in list_exercises(text.name[:2])]
    answers = {each.answer for each in asked}
    assert not answers & names_outside_exercises(text)
    assert len(answers) == len(asked)


def toys_of(text):
    """The small functions that a notebook builds, by name; each runs by itself."""
    for cell in jupytext.read(text, fmt="py:percent").cells:
        if cell.cell_type == "code" and "def toy_" in cell.source:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef) and node.name.startswith("toy_"):
                    names = {"torch": torch, "math": math, "F": F, "ms": mssedu}
                    exec(ast.unparse(node), names)
                    yield names[node.name]


@pytest.mark.parametrize("text", texts(), ids=lambda text: text.stem)
def test_no_toy_of_the_notebook_solves_an_exercise(text):
    asked = [exercise(id) for id in list_exercises(text.name[:2])]
    solved = [
        (toy.__name__, each.id)
        for toy in toys_of(text)
        for each in asked
        if each.solve is not None and each.check(toy)
    ]
    assert not solved


CODE = [each for each in ALL if each.solve is not None]


def arguments_of(each, answer):
    """What the check calls an answer with, in words."""
    seen = []

    def call(*arguments):
        seen.append([words(argument) for argument in arguments])
        return answer(*arguments)

    outcome = each.check(call)
    assert outcome.status is Status.PASS, outcome
    return str(seen)


def words(value):
    if isinstance(value, torch.Tensor):
        places = torch.arange(1.0, value.numel() + 1)
        return f"{(value.detach().cfloat().abs().flatten() * places).nansum():.6f}"
    if isinstance(value, torch.Generator):
        return str(value.initial_seed())
    if isinstance(value, list | tuple):
        return str([words(item) for item in value])
    is_plain = isinstance(value, str | int | float | dict)
    return str(value) if is_plain else type(value).__name__


@pytest.mark.parametrize("each", CODE, ids=lambda each: each.id)
def test_a_course_has_numbers_of_its_own(each, monkeypatch):
    answer = answer_of(each, each.solution_source)
    public = arguments_of(each, answer)
    assert public == arguments_of(each, answer)
    monkeypatch.setenv("MSSEDU_VARIANT", "7")
    assert arguments_of(each, answer) != public


VARIED = [each for each in CODE if each.varied is not None]


@pytest.mark.parametrize("each", VARIED, ids=lambda each: each.id)
def test_results_learned_by_heart_fail_with_other_numbers(each, monkeypatch):
    known, right = {}, answer_of(each, each.solution_source)

    def by_heart(*arguments):
        key = str([words(argument) for argument in arguments])
        if not other_numbers:
            known[key] = right(*arguments)
        return known.get(key, 0)

    other_numbers = False
    assert each.check(by_heart).status is Status.PASS
    other_numbers = True
    monkeypatch.setenv("MSSEDU_VARIANT", "7")
    assert each.check(by_heart).status is not Status.PASS


@pytest.mark.slow
@pytest.mark.parametrize("each", CODE, ids=lambda each: each.id)
def test_wrong_answers_fail_with_other_numbers(each, monkeypatch):
    monkeypatch.setenv("MSSEDU_VARIANT", "7")
    for source, _ in each.wrong_answers:
        outcome = each.check(answer_of(each, source))
        assert outcome.status in (Status.FAIL, Status.ERROR), source


def test_a_variant_is_a_whole_number(monkeypatch):
    monkeypatch.setenv("MSSEDU_VARIANT", "-3")
    with pytest.raises(InputError, match="MSSEDU_VARIANT must be a whole number"):
        exercise("setup.quiz")
