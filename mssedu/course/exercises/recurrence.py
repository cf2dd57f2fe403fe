"""Exercises on recurrence: sizes of an LSTM, chunks that keep their middle, latency."""

import torch
from torch import Tensor, nn

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.models.blocks.dconv import BiLSTM


def lstm_sizes(width, hidden, n_layers, bidirectional):
    """Write `lstm_sizes(width, hidden, n_layers, bidirectional)`. For an `nn.LSTM` of
    these sizes, it returns a tuple: the features of an output frame, the numbers in the
    hidden state of one song, and the parameters. Each of the four gates of a layer has,
    for each number of its hidden state, a weight for each input, a weight for each
    number of the hidden state, and two biases.
    """
    directions = 2 if bidirectional else 1
    parameters = 0
    for _ in range(n_layers):
        weights = 4 * hidden * (width + hidden)
        biases = 2 * 4 * hidden
        parameters += directions * (weights + biases)
        width = directions * hidden
    return width, n_layers * directions * hidden, parameters


@checks(
    lstm_sizes,
    hints=(
        "Two directions are two LSTMs side by side.",
        "A direction of a layer has 4 · hidden · (inputs + hidden + 2) parameters.",
        "After the first layer, the inputs are the outputs of the layer below.",
    ),
    noticed="None of the three depends on the length of the song.",
    wrong=(
        ("2 * 4 * hidden", "4 * hidden", "parameters, not"),
        ("n_layers * directions", "directions", "the hidden"),
        ("width = directions * hidden", "pass", "features"),
        ("width, n_", "hidden, n_", "features out"),
        ("lstm_sizes = lambda *_: 5", "should be (features out"),
    ),
    varied=lambda draw: (
        draw.randint(1, 300),
        draw.randint(1, 300),
        draw.randint(1, 5),
        draw.random() < 0.5,
    ),
)
def _verify_lstm_sizes(answer) -> None:
    cases = ((512, 256, 3, True), (8, 5, 1, False), (6, 4, 2, True), (3, 7, 2, False))
    for width, hidden, n_layers, bidirectional in cases:
        lstm = nn.LSTM(width, hidden, n_layers, bidirectional=bidirectional)
        output, (state, _) = lstm(torch.zeros(1, 1, width))
        right = {
            "features out": output.shape[-1],
            "numbers in the hidden state": state.numel(),
            "parameters": sum(p.numel() for p in lstm.parameters()),
        }
        text = "the result should be (features out, numbers in the state, parameters)."
        got = expect.items(answer(width, hidden, n_layers, bidirectional), 3, text)
        case = f"LSTM({width}, {hidden}, {n_layers}, bidirectional={bidirectional})"
        for (what, wanted), mine in zip(right.items(), got, strict=True):
            number = expect.number(mine, what)
            text = f"{case} should have {wanted:,} {what}, not {number:,}."
            expect.close(number, wanted, text)


def _distance(chunk: Tensor) -> Tensor:
    """A stand-in for a network: how far each frame is from the edges of its chunk."""
    forward = torch.arange(chunk.shape[-1])
    return torch.minimum(forward, forward.flip(0)).expand(chunk.shape)


def chunked(network, x, length, keep):
    """Write `chunked(network, x, length, keep)`. `x` is (features, frames), `network`
    keeps this shape, and `length - keep` is an even number.

    - Begin a chunk of `length` frames every `keep` frames, as long as it begins inside
      `x`. After the end of `x` there are zeros.
    - Of each chunk keep the `keep` frames in its middle. The first chunk also keeps its
      beginning, the last one its end.
    - Return as many frames as `x` has.
    """
    margin = (length - keep) // 2
    frames = x.shape[-1]
    starts = range(0, frames, keep)
    x = torch.cat([x, x.new_zeros(len(x), length)], dim=-1)
    parts = []
    for start in starts:
        y = network(x[:, start : start + length])
        first = 0 if start == 0 else margin
        last = length if start == starts[-1] else margin + keep
        parts.append(y[:, first:last])
    return torch.cat(parts, dim=-1)[:, :frames]


_HALVES = """
    def chunked(network, x, length, keep):
        stride, quarter, frames = length // 2, length // 4, x.shape[-1]
        padded = torch.cat([x, x.new_zeros(len(x), length)], dim=-1)
        result = torch.zeros_like(padded)
        for start in range(0, frames, stride):
            y = network(padded[:, start : start + length])
            first = quarter if start else 0
            result[:, start + first : start + length] = y[:, first:]
        return result[:, :frames]
    """


@checks(
    chunked,
    hints=(
        "Join `length` zeros to `x` first. Then every chunk is full.",
        "Collect `y[:, margin : margin + keep]` of each chunk, join with "
        "`torch.cat`, and cut to `frames`.",
    ),
    noticed="Hybrid Demucs (v3) and its successors keep the middle half of 200 frames.",
    wrong=(
        ("margin = (length - keep) // 2", "margin, keep = 0, length", "farthest"),
        ("[:, :frames]", "", "the shape (3, 40)"),
        ("chunked = lambda network, x, length, keep: network(x)", "have 16 frames"),
        ("x.new_zeros(", "x.new_ones(", "zeros after the end"),
        (_HALVES, "every 8 frames"),
        ("margin = (length - keep) // 2", "margin = length - keep", "farthest"),
    ),
)
def _verify_chunked(answer) -> None:
    for frames, length, keep in ((40, 16, 8), (37, 8, 4), (41, 12, 8), (30, 10, 2)):
        x = expect.noise(3, frames)
        case = f"{frames} frames in chunks of {length}, of which {keep} are kept"
        edge = answer(_distance, x, length, keep)
        expect.tensor(edge, (3, frames), f"the result for {case}")
        margin = (length - keep) // 2
        near = int(edge[0, margin : frames - margin].min())
        text = "a frame should come from the chunk in which it is farthest from the "
        text += f"edges: at least {margin} frames, not {near} ({case})."
        expect.that(near >= margin, text)
        far = int(edge.max())
        text = f"chunks should have {length} frames: none is {far} frames from an edge."
        expect.that(far < length // 2, text)
        lstm = BiLSTM(3)

        def network(chunk: Tensor, lstm: BiLSTM = lstm) -> Tensor:
            return lstm(chunk[None])[0]

        with torch.no_grad():
            wanted = chunked(network, x, length, keep)
            result = answer(network, x, length, keep)
        text = f"begin a chunk every {keep} frames, with zeros after the end"
        expect.close(result, wanted, f"{text} ({case}).", tolerance=1e-4)


def latency(stages, sample_rate):
    """A live separator has several stages, one after the other: the output of a stage
    is the input of the next. Each is a tuple (n_fft, hop_length, ahead). Write
    `latency(stages, sample_rate)`. It returns the delay of a sample at the last output
    in milliseconds. In each stage, every window that covers the sample must be
    complete, and the network uses `ahead` more frames of the future. The computation
    itself takes no time.
    """
    samples = sum(n_fft + ahead * hop_length for n_fft, hop_length, ahead in stages)
    return 1000 * samples / sample_rate


@checks(
    latency,
    hints=(
        "The last window that covers a sample begins at it and ends n_fft later.",
        "Each frame ahead adds one hop. The delays of the stages add up.",
    ),
    noticed="One stage with 4096 samples takes 93 ms, too much for singing along.",
    wrong=(
        ("(n_fft +", "(n_fft // 2 +", "it should be 92.9 ms"),
        ("* hop_length", "* n_fft", "(4096, 1024, 10)"),
        ("1000 * ", "", "not 0.1"),
        ("sum(", "max(", "(512, 128, 3), (256, 64, 0)"),
    ),
    varied=lambda draw: (
        [
            (draw.randint(64, 4096), draw.randint(16, 1024), draw.randint(0, 9))
            for _ in range(draw.randint(1, 4))
        ],
        draw.choice([16000, 44100, 48000]),
    ),
)
def _verify_latency(answer) -> None:
    for stages, sample_rate, wanted in (
        ([(4096, 1024, 0)], 44100, 4096 / 44.1),
        ([(4096, 1024, 10)], 44100, (4096 + 10240) / 44.1),
        ([(512, 128, 3), (256, 64, 0)], 16000, 72.0),
        ([(1024, 256, 1), (1024, 256, 1), (64, 16, 2)], 48000, 2656 / 48),
    ):
        got = expect.number(answer(stages, sample_rate), "the delay")
        listed = ", ".join(str(stage) for stage in stages)
        text = f"with the stages {listed} at {sample_rate} Hz it should be "
        text += f"{wanted:.1f} ms, not {got:.1f}."
        expect.close(got, wanted, text, tolerance=0.05)
