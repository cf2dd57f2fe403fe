"""Exercises on chunks: shares that sum to one, the rest at the end, a wrong fade."""

import torch
from torch import Tensor

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.separation.chunks import Chunks


def shares(starts, length, weight, samples):
    """Write `shares(starts, length, weight, samples)`. It returns the share of each
    chunk in each sample of a song, a tensor (chunks, samples). Chunk i covers `length`
    samples from `starts[i]` on and has the `weight` (length,) there. A start may be
    negative; crop what is before the song or after it. Divide so that the shares of
    every sample sum to 1.
    """
    result = torch.zeros(len(starts), samples)
    for row, start in enumerate(starts):
        begin, end = max(start, 0), min(start + length, samples)
        result[row, begin:end] = weight[begin - start : end - start]
    return result / result.sum(0)


@checks(
    shares,
    hints=(
        "Begin with a row of zeros per chunk; fill it from `max(start, 0)` on.",
        "The weight of song sample t is `weight[t - start]`.",
        "At the end, divide by the sum over all rows.",
    ),
    noticed="With these shares, any window keeps what all chunks agree on.",
    wrong=(
        (" / result.sum(0)", "", "sum to 1 (starts [0, 4]"),
        ("result.sum(0)", "weight.sum()", "should sum to 1"),
        ("result.sum(0)", "len(starts)", "should sum to 1"),
        ("- start : end - start", "- begin : end - begin", "[-1, "),
        ("weight[begin - start : end - start]", "1", "its own"),
    ),
    varied=lambda draw: (
        list(range(-draw.randint(0, 3), 40, draw.randint(3, 5))),
        10,
        torch.tensor([draw.uniform(0.1, 1) for _ in range(10)]),
        40,
    ),
)
def _verify_shares(answer) -> None:
    weight = torch.tensor([0.5, 1.0, 1.0, 0.5])
    for starts, samples in (([0, 4], 8), ([0, 3, 6, 9], 10), ([-1, 0, 2, 3, 5], 6)):
        case = f"(starts {starts}, {samples} samples)"
        result = answer(starts, 4, weight, samples)
        expect.tensor(result, (len(starts), samples), f"the result {case}")
        expect.close(result.sum(0), 1.0, f"the shares should sum to 1 {case}.")
        text = f"each sample has its own weight, also where a chunk is cropped {case}."
        expect.close(result, shares(starts, 4, weight, samples), text)


def separated_rest(model, mixture, begin, length):
    """A model takes exactly `length` samples, but the song has only n samples from
    `begin` on, n ≤ `length`. Write `separated_rest(model, mixture, begin, length)`. It
    returns the estimate (stems, channels, n) of these last n samples of the `mixture`
    (channels, samples). Put them in the middle of a full chunk, with (length - n) // 2
    samples of the song before them and zeros after the end. The song is at least
    `length` samples long.
    """
    n = mixture.shape[-1] - begin
    first = begin - (length - n) // 2
    padded = torch.nn.functional.pad(mixture, (0, length))
    estimate = model(padded[:, first : first + length])
    return estimate[..., begin - first : begin - first + n]


@checks(
    separated_rest,
    hints=(
        "The chunk begins at `begin - (length - n) // 2`: call it `first`.",
        "Pad the end of the mixture with `length` zeros, then take the chunk.",
        "In the estimate the rest begins at `begin - first`.",
    ),
    noticed="After the end of a song, the model always gets zeros.",
    wrong=(
        ("begin - (length - n) // 2", "begin", "at sample 33"),
        ("(length - n) // 2", "(length - n)", "begin at sample 33"),
        ("- first + n]", "- first + n + 1]", "the estimate (begin"),
        ("begin - first : begin - first + n", ":n", "the rest only"),
        ("padded[:,", "mixture[:,", "shape (2, 10), not (2, 7)"),
    ),
    varied=lambda draw: (
        lambda chunk: torch.stack([chunk.cumsum(-1), -chunk]),
        torch.tensor([[draw.gauss(0, 1) for _ in range(60)]] * 2),
        draw.randint(40, 59),
        draw.randint(20, 50),
    ),
)
def _verify_rest(answer) -> None:
    mixture = torch.arange(1.0, 41.0).repeat(2, 1)
    inputs: list[Tensor] = []

    def model(chunk: Tensor) -> Tensor:
        inputs.append(chunk)
        return torch.stack([chunk, -chunk])

    for begin, length in ((36, 10), (35, 10), (31, 10), (4, 40), (20, 24)):
        case = f"(begin {begin}, length {length}, a song of 40)"
        inputs.clear()
        result = answer(model, mixture, begin, length)
        expect.items(inputs, 1, f"call the model once, not {len(inputs)} times {case}.")
        expect.tensor(inputs[0], (2, length), f"the input of the model {case}")
        plan = Chunks(40, length, [begin], torch.ones(length), length)
        first, end = plan.input_range(begin)
        wanted = torch.cat([mixture[:, first:], torch.zeros(2, end - 40)], dim=1)
        text = f"the chunk should begin at sample {first} of the song {case}."
        expect.close(inputs[0], wanted, text)
        expect.tensor(result, (2, 2, 40 - begin), f"the estimate {case}")
        text = f"return the samples of the rest only {case}."
        expect.close(result[0], mixture[:, begin:], text)


def repaired(model, mixture, sample_rate, segment, overlap):
    """Repair the function `faded` from above, under the name `repaired(model, mixture,
    sample_rate, segment, overlap)`.

    - It cuts the `mixture` (channels, samples) into chunks of `segment` seconds. The
      song may have any length.
    - `overlap` is a share of the segment, > 0 and < 0.5: neighboring chunks have that
      much in common, and there one fades into the other along a straight line.
    - An edge without a neighbor must not fade.
    """
    samples = mixture.shape[-1]
    length = round(segment * sample_rate)
    shared = round(overlap * length)
    rising = torch.linspace(0, 1, shared)
    total = torch.zeros_like(mixture)
    for start in range(0, max(samples - shared, 1), length - shared):
        estimate = model(mixture[:, start : start + length]).clone()
        if start > 0:
            estimate[:, :shared] *= rising
        if start + length < samples:
            estimate[:, -shared:] *= rising.flip(0)
        total[:, start : start + length] += estimate
    return total


@checks(
    repaired,
    hints=(
        "`overlap * sample_rate`: what is the unit of `overlap`?",
        "Does a chunk fade out where no other chunk follows?",
        "How many times does the loop run if the song is shorter than the overlap?",
    ),
    noticed="A unit in the name, overlap_seconds, would have shown the mistake.",
    wrong=(
        ("overlap * length", "overlap * sample_rate", "not 10."),
        ("if start + length < samples", "if True", "return the song"),
        ("if start +", "if start == 0 or start +", "the end (5 s)"),
        ("max(samples - shared, 1)", "samples - shared", "0.5 s"),
        ("(0, 1, shared)", "(0.5, 0.5, shared)", "straight line"),
        ("round(segment *", "round(1.1 * segment *", "not 1100"),
        ("round(segment * sample_rate)", "1000", "a chunk should have 400 samples"),
        ("round(overlap * length)", "100", "0.2 of 8 s, 80 samples"),
    ),
    varied=lambda draw: (
        torch.tanh,
        expect.noise(2, draw.randint(500, 3000)),
        100,
        draw.randint(3, 8),
        draw.choice([0.1, 0.2, 0.25]),
    ),
)
def _verify_faded(answer) -> None:
    spans: list[tuple[int, int]] = []

    def same(chunk: Tensor) -> Tensor:
        spans.append((int(chunk[0, 0]), int(chunk[0, -1])))
        return chunk.clone()

    def number(chunk: Tensor) -> Tensor:
        return torch.full_like(same(chunk), len(spans))

    long = ((2500, 100, 10.0, 0.1), (900, 50, 8.0, 0.2))
    short = [(samples, 100, 10.0, 0.1) for samples in (500, 1000, 1900, 50)]
    for samples, rate, segment, overlap in (*long, *short):
        spans.clear()
        song = torch.arange(float(samples)).repeat(2, 1)
        result = answer(same, song, rate, segment, overlap)
        case = f"{samples / rate:g} s"
        expect.tensor(result, (2, samples), f"the result for {case}")
        text = "a model that changes nothing should return the song, to the end"
        expect.close(result, song, f"{text} ({case}).", tolerance=0.01)
        length = round(segment * rate)
        if samples > 2 * length:
            longest = max(last - first + 1 for first, last in spans)
            text = f"a chunk should have {length} samples, not {longest}."
            expect.that(longest == length, text)
            wanted, shared = round(overlap * length), spans[0][1] - spans[1][0] + 1
            text = f"neighbors should share {overlap} of {segment:g} s, {wanted} "
            expect.that(shared == wanted, f"{text}samples, not {shared}.")
    spans.clear()
    result = answer(number, torch.zeros(2, 1500), 100, 10.0, 0.1)[:, 900:1000]
    text = "one chunk should fade into the next along a straight line."
    line = (1 + torch.linspace(0, 1, 100)).expand(2, 100)
    expect.close(result, line, text, tolerance=0.03)
