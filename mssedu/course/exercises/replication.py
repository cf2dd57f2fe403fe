"""Exercises on claims: one difference, paired songs, variances, equality, verdicts."""

import random
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.evaluation.claims import verdict_word
from mssedu.evaluation.statistics import equivalence_p
from mssedu.evaluation.variance import split_variance


def differing(old, new):
    """`old` and `new` are the settings of two runs: dictionaries, whose values may be
    dictionaries again, and so on. Write `differing(old, new)`. It returns the sorted
    list of all names whose values differ. An inner name has the outer one and a dot in
    front, such as "model.hidden" or "model.stft.n_fft". A name that only one of the two
    has differs, too, whatever its value is; the same holds inside.
    """
    names = []
    for name in {*old, *new}:
        if name not in old or name not in new:
            names.append(name)
        elif isinstance(old[name], dict) and isinstance(new[name], dict):
            inner = differing(old[name], new[name])
            names += [f"{name}.{one}" for one in inner]
        elif old[name] != new[name]:
            names.append(name)
    return sorted(names)


_ONE_LEVEL = """
    def differing(old, new):
        names = []
        for name in {*old, *new}:
            if name not in old or name not in new:
                names.append(name)
            elif isinstance(old[name], dict):
                a, b = old[name], new[name]
                names += [f"{name}.{n}" for n in {*a, *b} if a.get(n) != b.get(n)]
            elif old[name] != new[name]:
                names.append(name)
        return sorted(names)
    """

_COMMON = """a, b = old[name], new[name]
            both = {*a} & {*b}
            inner = differing({n: a[n] for n in both}, {n: b[n] for n in both})"""


@checks(
    differing,
    hints=(
        "`{*old, *new}` are the names of both.",
        "For two dictionaries, call the function itself and put the name in front.",
    ),
    noticed="The second difference is the one that nobody wrote down.",
    wrong=(
        ("{*old, *new}", "old", "that only one of the two has"),
        ("isinstance(old[name], dict) and ", "False and ", "the names inside"),
        ('f"{name}.{one}"', "one", "and a dot in front"),
        (
            "differing = lambda a, b: sorted(n for n in a if str(a[n]) != str(b[n]))",
            "the names inside",
        ),
        ("sorted(names)", "sorted(names)[:1]", "and there is a second difference"),
        (_ONE_LEVEL, "a model may have dictionaries inside"),
        ("inner = differing(old[name], new[name])", _COMMON, "a name inside that only"),
    ),
)
def _verify_difference(answer) -> None:
    draw = random.Random(expect.variant())
    steps = draw.randint(100, 900)
    model = {"hidden": 22, "bidirectional": False, "stft": {"n_fft": 4096}}
    base: dict[str, Any] = {"steps": steps, "seed": 0, "model": model}
    wide = {**base, "model": {**model, "bidirectional": True}}
    planted = {**wide, "seed": draw.randint(1, 99)}
    extra = {**wide, "level_db": None}
    deep = {**base, "model": {**model, "stft": {"n_fft": 2048}}}
    inner = {**base, "model": {**model, "dropout": None}}
    fields = ["model.bidirectional"]
    cases: tuple[tuple[Any, Any, list[str], str], ...] = (
        (base, base, [], "two equal runs do not differ"),
        (base, wide, fields, "compare the names inside the model, too"),
        (base, planted, [*fields, "seed"], "and there is a second difference"),
        (base, extra, ["level_db", *fields], "a name that only one of the two has"),
        (extra, base, ["level_db", *fields], "a name that only one of the two has"),
        (base, deep, ["model.stft.n_fft"], "a model may have dictionaries inside, too"),
        (base, inner, ["model.dropout"], "a name inside that only one of the two has"),
        (inner, base, ["model.dropout"], "a name inside that only one of the two has"),
    )
    for old, new, wanted, why in cases:
        result = answer(old, new)
        text = f"return a list of names, not {result!r}."
        expect.that(isinstance(result, list), text)
        bare = [name.rpartition(".")[2] for name in wanted]
        text = "an inner name has the outer one and a dot in front: model.bidirectional"
        expect.that(result == wanted or sorted(result) != sorted(bare), f"{text}.")
        expect.that(result == wanted, f"it should be {wanted}, not {result}: {why}.")


def _tables(n_songs: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Two variants, (3 seeds, songs), and songs that are drawn, (400, songs)."""
    songs, noise = 4 * expect.noise(n_songs), expect.noise(2, 3, n_songs, seed=1)
    generator = torch.Generator().manual_seed(expect.variant())
    draws = torch.randint(n_songs, (400, n_songs), generator=generator)
    return songs + 0.5 * noise[0], songs + 0.5 * noise[1] + 0.4, draws


def paired_interval(a, b, draws):
    """`a` and `b` are the scores of two variants, (seeds, songs), in the same order.
    `draws` is (n, songs): each row has the numbers of the songs that one resampling of
    the bootstrap takes. Write `paired_interval(a, b, draws)`. It returns a tensor of
    two numbers: the 2.5 % and the 97.5 % quantile (`torch.quantile`) of the mean
    difference `b - a` of those songs. A song is one unit, so take the mean over its
    seeds first.
    """
    difference = (b - a).mean(0)
    means = difference[draws].mean(1)
    return torch.quantile(means, torch.tensor([0.025, 0.975]))


@checks(
    paired_interval,
    hints=(
        "The difference of a song is `(b - a).mean(0)`.",
        "`difference[draws]` has the differences of all resamplings.",
    ),
    noticed="Pairing takes the difficulty of the songs out of the interval.",
    wrong=(
        ("b - a", "a - b", "b - a, not a - b"),
        ("(b - a).mean(0)", "(b - a)[0]", "You use the first seed only"),
        (
            "difference[draws]",
            "(b.mean(0)[draws] - a.mean(0)[draws.flip(0)])",
            "You draw other songs for a than for b",
        ),
        ("[0.025, 0.975]", "[0.05, 0.95]", "That is a 90 % interval"),
        ("means = difference[draws].mean(1)", "means = difference", "of the songs"),
        ("difference[draws].mean(1)", "difference[draws].median(1).values", "2.5 %"),
    ),
    varied=lambda draw: (
        torch.tensor([[draw.gauss(3, 4) for _ in range(5)] for _ in range(2)]),
        torch.tensor([[draw.gauss(4, 4) for _ in range(5)] for _ in range(2)]),
        torch.tensor([[draw.randrange(5) for _ in range(5)] for _ in range(50)]),
    ),
)
def _verify_bootstrap(answer) -> None:
    a, b, draws = _tables()
    result = answer(a, b, draws)
    wanted = paired_interval(a, b, draws)
    alone = paired_interval(a[:1], b[:1], draws)
    ends = torch.tensor([0.025, 0.975])
    apart = (b.mean(0)[draws] - a.mean(0)[draws.flip(0)]).mean(1)
    narrow = (b - a).mean(0)[draws].mean(1).quantile(torch.tensor([0.05, 0.95]))
    mistakes = {
        "It is b - a, not a - b.": -wanted.flip(0),
        "You use the first seed only.": alone,
        "You draw other songs for a than for b.": apart.quantile(ends),
        "That is a 90 % interval.": narrow,
        "Those are quantiles of the songs, not of their means.": (b - a)
        .mean(0)
        .quantile(ends),
    }
    shown = ", ".join(f"{value:.3f}" for value in wanted)
    text = f"the 2.5 % and 97.5 % quantiles should be {shown}."
    what = "the interval"
    expect.close(result, wanted, text, what=what, tolerance=1e-4, mistakes=mistakes)


def three_variances(scores):
    """`scores` is a table (songs, seeds) in dB. Write `three_variances(scores)`. It
    returns a tensor of three variances: of songs, of seeds, and the residual. The
    residual is Σ r² / ((songs - 1)(seeds - 1)), where r is what remains of each score
    after its song's mean and its seed's mean are taken away and the total mean is
    added. The variance of the means of the songs contains residual / seeds, and that of
    the means of the seeds contains residual / songs: take that away. (The variance of n
    means divides by n - 1, as `var()` of a tensor does.) No variance is below 0.
    """
    n_songs, n_seeds = scores.shape
    songs, seeds = scores.mean(1, keepdim=True), scores.mean(0, keepdim=True)
    rest = scores - songs - seeds + scores.mean()
    residual = rest.square().sum() / ((n_songs - 1) * (n_seeds - 1))
    song = (songs.var() - residual / n_seeds).clamp(min=0)
    seed = (seeds.var() - residual / n_songs).clamp(min=0)
    return torch.stack([song, seed, residual])


@checks(
    three_variances,
    hints=(
        "`scores.mean(1, keepdim=True)` has the mean of each song.",
        "`x.var()` divides by n - 1, which is right here; `clamp(min=0)` at the end.",
    ),
    noticed="More songs do not help against a spread that the seeds cause.",
    wrong=(
        ("residual / n_seeds", "0", "take residual / seeds away"),
        ("residual / n_songs", "0", "take residual / songs away"),
        ("residual / n_seeds", "residual / n_songs", "take residual / seeds away"),
        (".clamp(min=0)", "", "no variance is below 0"),
        ("((n_songs - 1) * (n_seeds - 1))", "(n_songs * n_seeds)", "the residual"),
        (" + scores.mean()", "", "the residual"),
        ("[song, seed, residual]", "[seed, song, residual]", "take residual / seeds"),
        (".var()", ".var(correction=0)", "The variance of n means divides by n - 1"),
    ),
    varied=lambda draw: (
        torch.tensor([[draw.gauss(0, 3) for _ in range(3)] for _ in range(5)]),
    ),
)
def _verify_variances(answer) -> None:
    noise = expect.noise(8, 3)
    seeds = torch.tensor([-1.0, 0.0, 1.2])
    usual = 5 + 3 * expect.noise(8, 1, seed=1) + seeds + 0.4 * noise
    flat = noise - noise.mean(0) - noise.mean(1, keepdim=True) + noise.mean()
    for scores, kind in ((usual, "usual"), (flat, "flat")):
        split = split_variance(scores.double().numpy())
        result = answer(scores)
        expect.tensor(result, (3,), "the variances")
        song, seed, residual = result.tolist()
        text = f"the residual should be {split.residual:.4f}, not {residual:.4f}."
        expect.close(residual, split.residual, text, tolerance=1e-3)
        if kind == "flat":
            text = f"no variance is below 0, not {min(song, seed):.4f}."
            expect.that(min(song, seed) >= 0, text)
        text = f"the songs should have {split.song:.4f}, not {song:.4f}: take residual "
        other = float(scores.mean(1).var(correction=0)) - split.residual / 3
        population = {"The variance of n means divides by n - 1, not by n.": other}
        expect.close(
            song,
            split.song,
            f"{text}/ seeds away.",
            tolerance=1e-3,
            mistakes=population,
        )
        text = f"the seeds should have {split.seed:.4f}, not {seed:.4f}: take "
        expect.close(seed, split.seed, f"{text}residual / songs away.", tolerance=1e-3)


def equality_p(differences, margin):
    """`differences` is a tensor with one difference per song, in dB. Write
    `equality_p(differences, margin)`. It returns the p-value of two one-sided t tests
    (TOST): the *larger* one of P(T > (margin + m) / e) and P(T > (margin - m) / e),
    where m is the mean, e its standard error, and T has Student's t distribution with
    n - 1 degrees of freedom. `stats.t.sf(x, n - 1)` of SciPy is P(T > x).
    """
    n = len(differences)
    mean, error = differences.mean(), differences.std() / n**0.5
    sides = [float((margin + mean) / error), float((margin - mean) / error)]
    return max(stats.t.sf(side, n - 1) for side in sides)


@checks(
    equality_p,
    hints=(
        "The standard error is `differences.std() / n**0.5`.",
        "Compute both probabilities, and return the larger one.",
    ),
    noticed="Few songs never prove equality: the error is too large for it.",
    wrong=(
        ("max(", "min(", "the larger one"),
        ("return max(", "return 2 * max(", "not twice"),
        (" / n**0.5", "", "the standard error of the mean"),
        ("stats.t.sf", "stats.t.cdf", "P(T > x), not P(T < x)"),
        ("(side, n - 1)", "(side, n)", "n - 1 degrees of freedom"),
        (
            "equality_p = lambda d, m: float(stats.ttest_1samp(d, 0).pvalue)",
            "That tests for a difference",
        ),
    ),
    varied=lambda draw: (
        torch.tensor([draw.gauss(0.1, 0.4) for _ in range(draw.randint(4, 12))]),
        draw.uniform(0.2, 0.6),
    ),
)
def _verify_equality(answer) -> None:
    for shift, margin in ((0.1, 0.5), (-0.2, 0.5), (0.6, 0.5)):
        values = 0.5 * expect.noise(9) - 0.5 * expect.noise(9).mean() + shift
        p = expect.number(answer(values, margin), "the p-value")
        wanted = equivalence_p(values.tolist(), margin)
        n, mean, error = len(values), values.mean(), values.std() / 3
        other = float(stats.t.sf(float((margin + mean.abs()) / error), n - 1))
        wide = float(stats.t.sf(float((margin - mean.abs()) / error / 3), n - 1))
        normal = float(stats.t.sf(float((margin - mean.abs()) / error), n))
        mistakes = {
            "Take the larger one: both tests must reject.": other,
            "It is the larger one, not twice that.": 2 * wanted,
            "Divide by the standard error of the mean.": wide,
            "It is P(T > x), not P(T < x).": 1 - other,
            "There are n - 1 degrees of freedom.": normal,
            "That tests for a difference, and not for equality.": float(
                stats.ttest_1samp(values.double(), 0).pvalue
            ),
        }
        text = f"for a mean of {mean:.2f} dB and a margin of {margin} dB p should be "
        text += f"{wanted:.5f}, not {p:.5f}."
        expect.close(p, wanted, text, tolerance=1e-5, mistakes=mistakes)


def false_alarms(p_values):
    """Two systems are equally good. `p_values` is a tensor (games, excerpts): in each
    game they are compared on 20 excerpts, with one p-value for each. Write
    `false_alarms(p_values)`. It returns a tensor of three shares of the games: those
    with p < 0.05 (1) on the first excerpt, which was chosen before; (2) on the excerpt
    with the smallest p, which was picked afterwards; (3) the same, with that p
    multiplied by the number of excerpts.
    """
    best = p_values.min(1).values
    corrected = best * p_values.shape[1]
    shares = [(p < 0.05).double().mean() for p in (p_values[:, 0], best, corrected)]
    return torch.stack(shares).float()


@checks(
    false_alarms,
    hints=(
        "`p_values.min(1).values` is the smallest p of each game.",
        "`(p < 0.05).double().mean()` is the share of games.",
    ),
    noticed="1 - 0.95²⁰ is 64 %: if you may pick, you find what was never there.",
    wrong=(
        ("p_values[:, 0]", "p_values", "one excerpt, chosen before"),
        (".min(1)", ".max(1)", "the smallest p"),
        ("p_values.shape[1]", "1", "times the number of excerpts"),
        ("p_values.shape[1]", "p_values.shape[0]", "times the number of excerpts"),
        (
            "best = p_values.min(1).values",
            "best = p_values.mean(1)",
            "the smallest p",
        ),
        ("< 0.05", "< 0.1", "p < 0.05"),
    ),
    varied=lambda draw: (
        torch.tensor([[draw.random() for _ in range(8)] for _ in range(60)]),
    ),
)
def _verify_picking(answer) -> None:
    p_values = torch.special.ndtr(expect.noise(2000, 20))
    result = answer(p_values)
    expect.tensor(result, (3,), "the three shares")
    wanted = false_alarms(p_values).tolist()
    reasons = (
        "take one excerpt, chosen before, with p < 0.05",
        "take the smallest p of each game",
        "take the smallest p times the number of excerpts",
    )
    for got, right, why in zip(result.tolist(), wanted, reasons, strict=True):
        text = f"{right:.1%} of the games, not {got:.1%}: {why}."
        expect.close(got, right, text, tolerance=1e-4)


def verdict(low, high, margin):
    """`low` and `high` are the ends of an interval of a mean difference in dB. Write
    `verdict(low, high, margin)`. It returns "equal" if the interval is inside ± margin,
    without touching it; else "better" if all of it is above 0, "worse" if all of it is
    below 0, and "unknown" otherwise.
    """
    if -margin < low and high < margin:
        return "equal"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "unknown"


@checks(
    verdict,
    hints=(
        'Test for "equal" first: by the protocol such a difference counts as none.',
        'An interval that contains 0 and leaves the margin is "unknown".',
    ),
    noticed='"No significant difference" is "unknown" until a margin says otherwise.',
    wrong=(
        ('else "unknown"', 'else "equal"', "nor was it excluded"),
        ("-margin < low and high < margin", "low < 0 < high", "counts as none"),
        (
            "-margin < low and high < margin",
            "abs(low + high) / 2 < margin",
            "nor was it excluded",
        ),
        ("low > 0", "low >= 0", "0 itself is not above 0"),
        ("high < 0", "high <= 0", "0 itself is not below 0"),
        ("high < margin", "high <= margin", "it touches the margin"),
        ("-margin < low", "-margin <= low", "it touches the margin"),
        ('"worse" if high < 0 else ', "", "all of it is below 0"),
        (
            'verdict = lambda low, high, margin: "better" if low > 0 else "unknown"',
            "counts as none",
        ),
    ),
)
def _verify_verdict(answer) -> None:
    unit = 1 + 0.1 * (expect.variant() % 50)
    cases = (
        (0.1, 0.2, 0.25, "a difference inside the margin counts as none"),
        (-0.1, 0.2, 0.25, "it is inside the margin"),
        (-0.3, 0.2, 0.25, "no difference was found, nor was it excluded"),
        (-0.4, 0.5, 0.25, "no difference was found, nor was it excluded"),
        (0.1, 0.9, 0.25, "all of it is above 0"),
        (-0.9, -0.1, 0.25, "all of it is below 0"),
        (0.0, 0.9, 0.25, "0 itself is not above 0"),
        (-0.9, 0.0, 0.25, "0 itself is not below 0"),
        (-0.1, 0.25, 0.25, "it touches the margin"),
        (-0.25, 0.1, 0.25, "it touches the margin"),
        (0.3, 0.4, 0.25, "all of it is above 0"),
    )
    for *numbers, why in cases:
        low, high, margin = (unit * number for number in numbers)
        wanted, got = verdict_word(low, high, margin), answer(low, high, margin)
        text = f"{low:.2f}…{high:.2f} dB with a margin of {margin:.2f} dB should be "
        expect.that(got == wanted, f"{text}{wanted!r}, not {got!r}: {why}.")
