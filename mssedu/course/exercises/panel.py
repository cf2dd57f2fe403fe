"""Exercises on ratings: whose count, many p-values at once, right answers or luck."""

import math

import torch
from torch import Tensor

from mssedu.course.exercises.exercise import (
    Exercise,
    expect,
    expect_close,
    expect_number,
    expect_tensor,
)
from mssedu.course.exercises.quiz import Question, make_quiz
from mssedu.evaluation.statistics import holm


def _pages(misses: int, high: int, n: int = 10) -> tuple[Tensor, Tensor]:
    """Reference and mid anchor, (4 listeners, n items): the last listener is odd."""
    reference, anchor = torch.full((4, n), 100.0), torch.full((4, n), 40.0)
    reference[3, n - misses :] = 80  # from the end, where the replicates are
    anchor[3, :high] = 95
    return reference, anchor


def _verify_stays(stays) -> None:
    at, bass, half = _pages(0, 0), _pages(0, 5), _pages(0, 6)
    at[0][3] = at[1][3] = 90
    bass[1][:3, :5] = half[1][:3, :5] = 95
    cases = (
        (_pages(1, 0), True, "one miss in ten items is 10 %, not over 15 %"),
        (_pages(2, 0), False, "two misses in ten items are 20 %, replicates count too"),
        (_pages(3, 0, 20), True, "three misses in twenty are 15 %, and not more"),
        (at, True, "90 is neither below 90 nor above 90"),
        (_pages(0, 2), False, "the anchor lies above 90 in two of ten items"),
        (bass, True, "where all find the anchor excellent, the item is at fault"),
        (half, False, "one miss in the five items that are not at fault is 20 %"),
    )
    for (reference, anchor), wanted, why in cases:
        result = stays(reference, anchor)
        expect_tensor(result, (4,), "the result for four listeners")
        text = f"the last listener should {'stay' if wanted else 'go'}: {why}."
        expect(bool(result[3]) == wanted, text)
        expect(bool(result[:3].all()), f"the first three should stay: {why}.")


def _verify_adjusted(adjusted) -> None:
    for p_values in ([0.01, 0.04, 0.03], [0.2, 0.001, 0.9, 0.6], [0.021, 0.01, 0.02]):
        result, wanted = adjusted(list(p_values)), holm(p_values)
        n, case = len(p_values), f"for {p_values}"
        listed = isinstance(result, list | tuple) and len(result) == n
        expect(listed, f"return a list of {n} p-values {case}.")
        result = [round(float(p), 9) for p in result]
        expect(max(result) <= 1, f"no p-value is above 1, not {max(result)} {case}.")
        along = [p for _, p in sorted(zip(p_values, result, strict=True))]
        right = [round(p, 9) for p in wanted]
        shuffled = result != right and sorted(result) == sorted(right)
        expect(not shuffled, f"keep the order of those given, not {result} {case}.")
        text = f"none may be smaller than the one before it, as in {along}, {case}."
        expect(along == sorted(along), text)
        text = f"times n, times n - 1 … gives {right}, not {result}, {case}."
        expect_close(result, right, text)


def _verify_abx_p(abx_p) -> None:
    for correct, n in ((9, 10), (8, 10), (5, 5), (0, 6), (12, 16), (2, 10)):
        p = abx_p(correct, n)
        expect_number(p, f"the p-value of {correct} of {n}")
        chances = [math.comb(n, k) / 2**n for k in range(n + 1)]
        wanted = sum(chances[correct:])
        below = sum(chances[: correct + 1])
        mistakes = {
            "as many or more count, not only more.": wanted - chances[correct],
            "as many or more count, not this number alone.": chances[correct],
            "one-sided: the wrong answers are no evidence.": 2 * min(wanted, below),
            "as many or more count, not as many or fewer.": below,
        }
        found = [why for why, other in mistakes.items() if abs(float(p) - other) < 1e-9]
        why = [*found, "add up the chances of as many or more."][0]
        text = f"{correct} of {n} should give {wanted:.4f}, not {float(p):.4f}: {why}"
        expect_close(p, wanted, text, tolerance=1e-6)


_STUB = "    return ...  # your code here"
_STAYS = """
    def stays(reference, anchor):
        faulty = (anchor > 90).double().mean(0) > 0.25
        misses = (reference < 90).double().mean(1)
        fooled = (anchor[:, ~faulty] > 90).double().mean(1)
        return ~(misses > 0.15) & ~(fooled > 0.15)
    """
_ADJUSTED = """
    def adjusted(p_values):
        n, highest = len(p_values), 0.0
        result = [0.0] * n
        order = sorted(range(n), key=lambda index: p_values[index])
        for rank, index in enumerate(order):
            highest = max(highest, min(1.0, (n - rank) * p_values[index]))
            result[index] = highest
        return result
    """
_ABX = """
    def abx_p(correct, n):
        return sum(math.comb(n, k) for k in range(correct, n + 1)) / 2**n
    """
_QUIZ = (
    Question(
        "12 listeners rate 10 songs by 4 systems. How many independent witnesses are "
        "there for the difference of two systems?",
        {
            "480": "rows of one listener share that listener's taste.",
            "120": "ten songs do not make a listener into ten.",
            "12": None,
        },
    ),
    Question(
        "Five listeners compare two systems, and all five prefer the same one, by 30 "
        "points. What does the two-sided Wilcoxon test say?",
        {
            "p < 0.05, as all agree.": "five signs agree by chance once in sixteen.",
            "p = 0.0625: it can say no less with five.": None,
            "p = 0, as nobody disagrees.": "a rank test is blind to how large 30 is.",
        },
    ),
    Question(
        "Three systems, and usdr puts them in the same order as listeners do. "
        "What have you shown about usdr?",
        {
            "Next to nothing: one order of six is right by chance.": None,
            "That it predicts the ear, as Kendall's tau is 1.": "with three systems "
            "the two-sided p of tau = 1 is one third.",
            "That it predicts the ear for these three stems.": "a perfect order of "
            "three comes by chance once in six.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="panel.screen",
        notebook="14",
        question="""
            `reference` and `anchor` are tensors (listeners, items): the ratings of the
            hidden reference and of the mid anchor, replicates among the items. Write
            `stays(reference, anchor)`: a tensor (listeners,), True for those who stay.
            Whoever rates the reference *below* 90 in *more than* 15 % of the items
            goes. So does who rates the anchor *above* 90 in more than 15 %. But items
            in which more than 25 % of all listeners do so count for nobody here.
            """,
        answer="stays",
        starter_source="def stays(reference, anchor):\n" + _STUB,
        solution_source=_STAYS,
        verify=_verify_stays,
        hints=(
            "`(reference < 90).double().mean(1)` is each listener's share of misses.",
            "Find the items at fault; in the second rule they are no items at all.",
        ),
        noticed="One miss in ten stays. A program in use drops it: test yours.",
        wrong_answers=(
            (
                _STAYS.replace("(misses > 0.15)", "(misses > 0)"),
                "one miss in ten items",
            ),
            (_STAYS.replace("(misses > 0.15)", "(misses > 0.2)"), "two misses in ten"),
            (
                _STAYS.replace("(reference <", "(reference[:, :-2] <"),
                "replicates count",
            ),
            (_STAYS.replace("(misses > ", "(misses >= "), "three misses in twenty"),
            (_STAYS.replace("> 90", ">= 90"), "90 is neither"),
            (_STAYS.replace("< 90", "<= 90"), "90 is neither"),
            (_STAYS.replace(" & ~(fooled > 0.15)", ""), "in two of ten items"),
            (_STAYS.replace("> 0.25", "> 1"), "the item is at fault"),
            (_STAYS.replace("[:, ~faulty]", " * ~faulty"), "is 20 %"),
        ),
    ),
    Exercise(
        id="panel.holm",
        notebook="14",
        question="""
            Write `adjusted(p_values)`: Holm's adjusted p-values of several tests, a
            list in the order given. The smallest is multiplied by their number n, the
            second smallest by n - 1, and so on to 1. None may become smaller than the
            one before it, and none larger than 1.
            """,
        answer="adjusted",
        starter_source="def adjusted(p_values):\n" + _STUB,
        solution_source=_ADJUSTED,
        verify=_verify_adjusted,
        hints=(
            "`sorted(range(n), key=lambda index: p_values[index])`: indices by size.",
            "Keep the highest value so far, and write that one down.",
        ),
        noticed="Holm is never worse than Bonferroni, and promises the same.",
        wrong_answers=(
            (_ADJUSTED.replace("(n - rank)", "n"), "gives ["),
            (_ADJUSTED.replace("max(highest, ", "max(0, "), "none may be smaller"),
            (_ADJUSTED.replace("min(1.0, ", "min(9.0, "), "no p-value is above 1"),
            (_ADJUSTED.replace("result[index]", "result[rank]"), "keep the order"),
            (_ADJUSTED.replace("(n - rank)", "(rank + 1)"), "gives ["),
        ),
    ),
    Exercise(
        id="panel.abx",
        notebook="14",
        question="""
            Write `abx_p(correct, n)`: how likely somebody who guesses gets `correct`
            *or more* of `n` abx answers right. Exact: no normal curve, no table.
            """,
        answer="abx_p",
        starter_source="def abx_p(correct, n):\n" + _STUB,
        solution_source=_ABX,
        verify=_verify_abx_p,
        hints=(
            "There are 2**n ways to answer, and a guesser takes each as often.",
            "`math.comb(n, k)` of them have k right answers.",
        ),
        noticed="9 of 10 are significant, p = 0.011, and 8 of 10 are not, p = 0.055.",
        wrong_answers=(
            (_ABX.replace("range(correct, ", "range(correct + 1, "), "not only more"),
            (_ABX.replace("n + 1)", "correct + 1)"), "not this number alone"),
            (_ABX.replace("return sum", "return 2 * sum"), "one-sided"),
            (_ABX.replace("range(correct, n + 1)", "range(correct + 1)"), "or fewer"),
            (
                """
                def abx_p(correct, n):
                    z = (correct - n / 2) / math.sqrt(n / 4)
                    return math.erfc(z / math.sqrt(2)) / 2
                """,
                "add up the chances",
            ),
        ),
    ),
    make_quiz("panel.quiz", "14", _QUIZ),
)
