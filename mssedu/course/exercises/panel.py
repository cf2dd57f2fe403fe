"""Exercises on ratings: screening of listeners, many p-values, a test for abx."""

import math

import torch
from torch import Tensor

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.evaluation.statistics import holm


def _pages(misses: int, high: int, n: int = 10) -> tuple[Tensor, Tensor]:
    """Reference and mid anchor, (4 listeners, n items); the last listener errs."""
    reference, anchor = torch.full((4, n), 100.0), torch.full((4, n), 40.0)
    reference[3, n - misses :] = 80  # at the end, where the replicates are
    anchor[3, :high] = 95
    return reference, anchor


def stays(reference, anchor):
    """`reference` and `anchor` are tensors (listeners, items): the ratings of the
    hidden reference and of the mid anchor; some items are replicates. Write
    `stays(reference, anchor)`. It returns a tensor (listeners,), True for those who
    stay. A listener who rates the reference *below* 90 in *more than* 15 % of the items
    does not stay. The same holds for the anchor *above* 90 in more than 15 %; for this
    rule, drop the items in which more than 25 % of all listeners rate the anchor above
    90.
    """
    faulty = (anchor > 90).double().mean(0) > 0.25
    misses = (reference < 90).double().mean(1)
    fooled = (anchor[:, ~faulty] > 90).double().mean(1)
    return ~(misses > 0.15) & ~(fooled > 0.15)


@checks(
    stays,
    hints=(
        "`(reference < 90).double().mean(1)` is each listener's share of misses.",
        "Find the items to drop first, and leave them out in the second rule.",
    ),
    noticed="One miss in ten stays. Not every program for this gets it right.",
    wrong=(
        ("(misses > 0.15)", "(misses > 0)", "one miss in ten items"),
        ("(misses > 0.15)", "(misses > 0.2)", "two misses in ten"),
        ("(reference <", "(reference[:, :-2] <", "replicates count"),
        ("(misses > ", "(misses >= ", "three misses in twenty"),
        ("> 90", ">= 90", "90 is neither"),
        ("< 90", "<= 90", "90 is neither"),
        (" & ~(fooled > 0.15)", "", "in two of ten items"),
        ("> 0.25", "> 1", "do not count"),
        ("[:, ~faulty]", " * ~faulty", "is 20 %"),
        ("(reference < 90)", "(reference[:, ~faulty] < 90)", "the first rule counts"),
    ),
    varied=lambda draw: (
        torch.tensor([[float(draw.randint(84, 100)) for _ in range(9)]] * 4),
        torch.tensor(
            [[float(draw.choice([40, 95])) for _ in range(9)] for _ in "abcd"]
        ),
    ),
)
def _verify_screen(answer) -> None:
    at_90, bass, half, both = (_pages(0, n) for n in (0, 5, 6, 5))
    at_90[0][3] = at_90[1][3] = 90
    bass[1][:3, :5] = half[1][:3, :5] = both[1][:3, :5] = 95
    both[0][3, :2] = 80
    cases = (
        (_pages(1, 0), True, "one miss in ten items is 10 %, not over 15 %"),
        (_pages(2, 0), False, "two misses in ten items are 20 %; replicates count too"),
        (_pages(3, 0, 20), True, "three misses in twenty are 15 %, not more"),
        (at_90, True, "90 is neither below 90 nor above 90"),
        (_pages(0, 2), False, "the anchor is above 90 in two of ten items"),
        (bass, True, "items in which all rate the anchor above 90 do not count"),
        (half, False, "one miss in the five items that count is 20 %"),
        (both, False, "the first rule counts all items, and two of ten are 20 %"),
    )
    for (reference, anchor), wanted, why in cases:
        result = answer(reference, anchor)
        expect.tensor(result, (4,), "the result for four listeners")
        text = f"the last listener should {'stay' if wanted else 'go'}: {why}."
        expect.that(bool(result[3]) == wanted, text)
        expect.that(bool(result[:3].all()), f"the first three should stay: {why}.")


def adjusted(p_values):
    """Write `adjusted(p_values)`. It returns the list of Holm's adjusted p-values of n
    tests, in the same order. The smallest p-value is multiplied by n, the second
    smallest by n - 1, and so on to 1. By size, none may become smaller than the one
    before it, and none may be larger than 1.
    """
    n, highest = len(p_values), 0.0
    result = [0.0] * n
    order = sorted(range(n), key=lambda index: p_values[index])
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (n - rank) * p_values[index]))
        result[index] = highest
    return result


@checks(
    adjusted,
    hints=(
        "`sorted(range(n), key=lambda index: p_values[index])`: indices by size.",
        "Keep the highest value so far, and use that one.",
    ),
    noticed="Holm controls the same error as Bonferroni, and never finds less.",
    wrong=(
        ("(n - rank)", "n", "gives ["),
        ("max(highest, ", "max(0, ", "none may be smaller"),
        ("min(1.0, ", "min(9.0, ", "no p-value is above 1"),
        ("result[index]", "result[rank]", "keep the order"),
        ("(n - rank)", "(rank + 1)", "gives ["),
    ),
    varied=lambda draw: ([draw.random() ** 3 for _ in range(draw.randint(2, 6))],),
)
def _verify_holm(answer) -> None:
    for p_values in ([0.01, 0.04, 0.03], [0.2, 0.001, 0.9, 0.6], [0.021, 0.01, 0.02]):
        n, case = len(p_values), f"for {p_values}"
        text = f"return a list of {n} p-values {case}."
        result = expect.items(answer(list(p_values)), n, text)
        result = [round(float(p), 6) for p in result]
        right = [round(p, 6) for p in holm(p_values)]
        text = f"no p-value is above 1, not {max(result)} {case}."
        expect.that(max(result) <= 1, text)
        shuffled = result != right and sorted(result) == sorted(right)
        text = f"keep the order of the p-values, not {result} {case}."
        expect.that(not shuffled, text)
        by_size = [p for _, p in sorted(zip(p_values, result, strict=True))]
        text = f"none may be smaller than the one before it, as in {by_size}, {case}."
        expect.that(by_size == sorted(by_size), text)
        text = f"times n, times n - 1 … gives {right}, not {result}, {case}."
        expect.close(result, right, text)


def abx_p(correct, n):
    """Write `abx_p(correct, n)`, the probability that a listener who guesses has
    `correct` *or more* of `n` right answers in an abx test. Compute it exactly, without
    a normal distribution and without a table.
    """
    return sum(math.comb(n, k) for k in range(correct, n + 1)) / 2**n


@checks(
    abx_p,
    hints=(
        "There are 2**n ways to answer, and guessing gives each as often.",
        "`math.comb(n, k)` of them have k right answers.",
    ),
    noticed="9 of 10 are significant (p = 0.011), 8 of 10 are not (p = 0.055).",
    wrong=(
        ("range(correct, ", "range(correct + 1, ", "You count only more"),
        ("n + 1)", "correct + 1)", "this number alone"),
        ("return sum", "return 2 * sum", "one-sided"),
        ("range(correct, n + 1)", "range(correct + 1)", "or fewer"),
        ("abx_p = lambda k, n: math.erfc((2 * k - n) / (2 * n) ** 0.5) / 2", "add the"),
    ),
    varied=lambda draw: (draw.randint(0, 9), draw.randint(9, 30)),
)
def _verify_abx(answer) -> None:
    for correct, n in ((9, 10), (8, 10), (5, 5), (0, 6), (12, 16), (2, 10)):
        p = expect.number(answer(correct, n), f"the p-value of {correct} of {n}")
        wanted, alone = abx_p(correct, n), math.comb(n, correct) / 2**n
        fewer = 1 - wanted + alone
        two_sided = 2 * min(wanted, fewer)
        text = f"{correct} of {n} should give {wanted:.4f}, not {p:.4f}: "
        mistakes = {
            "You count only more.": wanted - alone,
            "You count this number alone.": alone,
            "The test is one-sided: many wrong answers are no evidence.": two_sided,
            "You count as many or fewer.": fewer,
        }
        text += "add the probabilities of as many or more."
        expect.close(p, wanted, text, tolerance=1e-6, mistakes=mistakes)
