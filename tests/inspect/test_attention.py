"""Operations of attention against length, and the exponent that fits them."""

import pytest

from mssedu.errors import InputError
from mssedu.inspect.attention import attention_costs, exponent

WIDTH = 32


def test_operations_are_those_of_the_formulas():
    lengths = (100, 200)
    costs = attention_costs(lengths, WIDTH, 4, timed=False)
    for place, n in enumerate(lengths):
        shared = 2 * n * WIDTH * 12 * WIDTH  # 4 projections, 2 layers of 4 · WIDTH
        quadratic = shared + 2 * 2 * n * n * WIDTH  # scores, and weighted values
        # for each head of 8 features: k v, q k v, and q times the sum of k
        linear = shared + 4 * 2 * (2 * n * 8 * 8 + n * 8)
        assert costs["quadratic"].flops[place] == quadratic
        assert costs["linear"].flops[place] == linear


def test_the_exponent_of_long_sequences_is_two_and_one():
    costs = attention_costs([10**6, 2 * 10**6], WIDTH, 4, timed=False)
    found = {name: exponent(cost.lengths, cost.flops) for name, cost in costs.items()}
    assert found["linear"] == pytest.approx(1.0, abs=1e-9)
    assert found["quadratic"] == pytest.approx(2.0, abs=0.01)


def test_time_is_measured_on_request(monkeypatch):
    monkeypatch.setattr("mssedu.inspect.complexity.TIMED_SECONDS", 0.0)
    costs = attention_costs([10, 400], WIDTH, 4)
    for cost in costs.values():
        assert len(cost.seconds) == 2
        assert min(cost.seconds) > 0
    assert not attention_costs([10, 20], WIDTH, 4, timed=False)["linear"].seconds


@pytest.mark.parametrize(
    ("lengths", "text"),
    [
        ([10], "at least two different"),
        ([5, 5], "at least two"),
        ([0, 5], "at least 1"),
    ],
)
def test_a_growth_needs_two_lengths(lengths, text):
    with pytest.raises(InputError, match=text):
        attention_costs(lengths)
    with pytest.raises(InputError, match=text):
        exponent(lengths, [1.0] * len(lengths))
