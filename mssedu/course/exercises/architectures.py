"""Exercises on architectures: bands that cover every bin, rotary positions, size."""

import torch

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.models.blocks.dense import DenseBlock


def band_bins(edges_hz, n_fft, sample_rate):
    """Write `band_bins(edges_hz, n_fft, sample_rate)`, which cuts a spectrogram into
    bands. `edges_hz` are the frequencies between neighboring bands, in Hz, from low to
    high. Bin f lies at f · sample_rate / n_fft Hz, and a bin on an edge belongs to the
    band above it. Return a list with the number of bins in each band. The first band
    begins with bin 0, the last one ends with bin n_fft / 2, and every bin is in exactly
    one band.
    """
    firsts = [-(-edge * n_fft // sample_rate) for edge in edges_hz]
    ends = [0, *firsts, n_fft // 2 + 1]
    return [ends[i + 1] - ends[i] for i in range(len(ends) - 1)]


@checks(
    band_bins,
    hints=(
        "The first bin of a band is the lowest whole number f with f · sample_rate / "
        "n_fft ≥ edge; -(-a // b) is a / b, rounded up.",
        "Write down where each band begins, add n_fft // 2 + 1 as the end of the last "
        "one, and subtract neighbors.",
    ),
    noticed="They sum to n_fft / 2 + 1: so nothing is lost, and nothing counts twice.",
    wrong=(
        (
            "-(-edge * n_fft // sample_rate)",
            "edge * n_fft // sample_rate",
            "a bin below an edge belongs to the band below",
        ),
        (
            "-(-edge * n_fft //",
            "(1 + edge * n_fft //",
            "a bin on an edge belongs to the band above",
        ),
        ("n_fft // 2 + 1]", "n_fft // 2]", "the highest bin, n_fft / 2, is missing"),
        ("[0, *firsts", "[1, *firsts", "bin 0 is in no band"),
        ("[0, *firsts, n_fft // 2 + 1]", "[0, *firsts]", "should have one band more"),
        ("ends[i + 1] - ends[i]", "ends[i + 1]", "together"),
    ),
    varied=lambda draw: (
        sorted(draw.sample(range(200, 7000), draw.randint(1, 5))),
        draw.choice((512, 1024, 2000, 2048)),
        16000,
    ),
)
def _verify_band_bins(answer) -> None:
    cases: tuple[tuple[list[int], int, int], ...] = (
        ([1000, 4000], 2000, 20000),  # both edges on a bin
        ([1005, 4002], 2000, 20000),
        ([], 16, 8000),
        ([500, 1500, 6000], 2048, 44100),
    )
    for edges, n_fft, rate in cases:
        about = f"band_bins({edges}, {n_fft}, {rate})"
        text = f"{about} should have one band more than edges: {len(edges) + 1}."
        bins = expect.items(answer(list(edges), n_fft, rate), len(edges) + 1, text)
        bins = [expect.number(n, "the number of bins in a band") for n in bins]
        wanted, total = band_bins(edges, n_fft, rate), n_fft // 2 + 1
        if bins == [*wanted[:-1], wanted[-1] - 1]:
            raise expect.Wrong(f"{about}: the highest bin, n_fft / 2, is missing.")
        if bins == [wanted[0] - 1, *wanted[1:]]:
            raise expect.Wrong(f"{about}: bin 0 is in no band.")
        text = f"{about} should give {total} bins together, not {sum(bins)}."
        expect.that(sum(bins) == total, text)
        low = "a bin below an edge belongs to the band below it"
        on = "a bin on an edge belongs to the band above it"
        rule = on if edges == [1000, 4000] else low
        expect.that(bins == wanted, f"{about} should be {wanted}, not {bins}: {rule}.")


def rotate_positions(x):
    """Write `rotate_positions(x)` for queries or keys `x` (positions, d), d even. It
    turns each pair of features, 2i and 2i + 1, at position m (from 0) by the angle
    m / 10000^(2i / d), in radians: (a, b) becomes (a cos − b sin, a sin + b cos).
    Return a tensor of the same shape.
    """
    positions, d = x.shape
    speeds = 10000 ** (-torch.arange(0, d, 2) / d)
    angles = torch.arange(positions)[:, None] * speeds
    cos, sin = angles.cos(), angles.sin()
    a, b = x[:, 0::2], x[:, 1::2]
    turned = [a * cos - b * sin, a * sin + b * cos]
    return torch.stack(turned, dim=-1).flatten(1)


@checks(
    rotate_positions,
    hints=(
        "`torch.arange(positions)[:, None] * speeds` has an angle for each position "
        "and each pair; `x[:, 0::2]` are the first features of all pairs.",
        "`torch.stack([first, second], dim=-1).flatten(1)` puts the features of a pair "
        "side by side again.",
    ),
    noticed="The product of a turned query and key depends on their distance alone.",
    wrong=(
        ("- b * sin", "+ b * sin", "keep the length"),
        (
            "return torch.stack(turned, dim=-1).flatten(1)",
            "return torch.cat(turned, 1)",
            "2i and 2i + 1",
        ),
        (
            "torch.arange(positions)",
            "torch.arange(1, positions + 1)",
            "position 0 should stay",
        ),
        ("(-torch.arange(0, d, 2) / d)", "(-torch.arange(0, d // 2) / d)", "slowest"),
        ("dim=-1).flatten(1)", "dim=-1)", "the shape"),
        (
            "angles = torch",
            "angles = -torch",
            "other way",
        ),
    ),
    varied=lambda draw: (
        expect.noise(
            draw.randint(2, 9), 2 * draw.randint(1, 8), seed=draw.randint(0, 99)
        ),
    ),
)
def _verify_rotate_positions(answer) -> None:
    for positions, d in ((6, 8), (3, 2), (9, 12)):
        x = expect.noise(positions, d)
        wanted = rotate_positions(x)
        turned = expect.tensor(answer(x), x.shape)
        pairs = torch.cat([wanted[:, 0::2], wanted[:, 1::2]], dim=1)
        text = "the features 2i and 2i + 1 should stay side by side."
        expect.that(d == 2 or not torch.allclose(turned, pairs, atol=1e-5), text)
        expect.close(turned[0], x[0], "position 0 should stay: its angle is 0.")
        length = x.unflatten(1, (-1, 2)).norm(dim=-1)
        text = "turning should keep the length of each pair: check the signs."
        expect.close(turned.unflatten(1, (-1, 2)).norm(dim=-1), length, text)
        back = torch.view_as_complex(x.unflatten(1, (-1, 2)))
        angle = torch.view_as_complex(wanted.unflatten(1, (-1, 2))) / back
        other = torch.view_as_real(back * angle.conj()).flatten(1)
        mistakes = {"Yours turns the other way.": other}
        text = f"positions 1 to {positions - 1} should turn by m / 10000^(2i / {d})."
        if d > 2 and torch.allclose(turned[:, :2], wanted[:, :2], atol=1e-5):
            text += " The first pair is right; look at the slowest ones."
        expect.close(turned, wanted, text, mistakes=mistakes)


def dense_size(n_in, growth, n_layers):
    """Write `dense_size(n_in, growth, n_layers)`: how many parameters does the
    `DenseBlock` of this notebook have? Layer i, from 0, reads `n_in` channels if it is
    the first and `growth` channels otherwise; it gives `growth` channels to each of the
    `n_layers` − i places after it. A layer is a batch norm of what it reads (a scale
    and a shift for each channel) and a 3 × 3 convolution with biases.
    """
    total = 0
    for layer in range(n_layers):
        reads = growth if layer else n_in
        gives = growth * (n_layers - layer)
        total += 2 * reads + 9 * reads * gives + gives
    return total


@checks(
    dense_size,
    hints=(
        "A 3 × 3 convolution from r to g channels has 9 · r · g weights and g biases.",
        "Sum over the layers 2 · r + 9 · r · g + g, with r = n_in or growth, and g = "
        "growth · (n_layers − i).",
    ),
    noticed="All layers after the first cost the same whatever comes in.",
    wrong=(
        ("2 * reads + ", "", "batch norm"),
        (" + gives\n", "\n", "biases"),
        ("(n_layers - layer)", "1", "each of the places after it"),
        ("growth if layer else n_in", "n_in + layer * growth", "does not grow"),
        ("9 * reads", "3 * reads", "9 weights"),
        ("growth if layer else n_in", "growth", "the first layer reads n_in"),
    ),
    varied=lambda draw: (draw.randint(1, 40), draw.randint(1, 20), draw.randint(1, 8)),
)
def _verify_dense_size(answer) -> None:
    for n_in, growth, n_layers in ((32, 14, 5), (2, 3, 1), (7, 7, 4), (5, 1, 3)):
        size = expect.number(answer(n_in, growth, n_layers), "the number of parameters")
        block = DenseBlock(n_in, growth, n_layers, dilated=True)
        wanted = sum(p.numel() for p in block.parameters())
        reads = [n_in] + [growth] * (n_layers - 1)
        gives = [growth * (n_layers - layer) for layer in range(n_layers)]
        grown = [n_in + layer * growth for layer in range(n_layers)]
        mistakes = {
            "Add the scale and the shift of the batch norm.": _total(reads, gives, 0),
            "Add the biases of the convolutions.": wanted - sum(gives),
            "A layer gives `growth` channels to each of the places after it.": _total(
                reads, [growth] * n_layers
            ),
            "What a layer reads does not grow: it is a sum.": _total(grown, gives),
            "A 3 × 3 kernel has 9 weights for each pair of channels.": _total(
                reads, gives, taps=3
            ),
            "Only the first layer reads n_in channels: the first layer reads n_in.": (
                _total([growth] * n_layers, gives)
            ),
        }
        text = (
            f"dense_size({n_in}, {growth}, {n_layers}) should be {wanted}, not {size}."
        )
        expect.close(size, wanted, text, mistakes=mistakes)


def _total(reads, gives, norms=2, taps=9):
    """Parameters of layers with these channels in and out."""
    pairs = zip(reads, gives, strict=True)
    return sum(norms * r + taps * r * g + g for r, g in pairs)
