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
)
def _verify_lstm_sizes(answer) -> None:
    cases = ((512, 256, 3, True), (8, 5, 1, False), (6, 4, 2, True), (3, 7, 2, False))
    for width, hidden, n_layers, bidirectional in cases:
        with torch.device("meta"):  # sizes only
            lstm = nn.LSTM(width, hidden, n_layers, bidirectional=bidirectional)
            output, (state, _) = lstm(torch.empty(10, 1, width))
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


def chunked(network, x, length):
    """Write `chunked(network, x, length)`. `x` is (features, frames), `network` keeps
    this shape, and `length` is a multiple of 4. Begin a chunk of `length` frames every
    `length // 2` frames, as long as it begins inside `x`; after the end of `x` there
    are zeros. Keep the frames of each chunk that are at least `length // 4` from its
    edges; the first chunk also keeps its beginning, the last its end. Return as many
    frames as `x` has.
    """
    stride, quarter = length // 2, length // 4
    frames = x.shape[-1]
    starts = range(0, frames, stride)
    x = torch.cat([x, x.new_zeros(len(x), length)], dim=-1)
    parts = []
    for start in starts:
        y = network(x[:, start : start + length])
        first = 0 if start == 0 else quarter
        last = length if start == starts[-1] else length - quarter
        parts.append(y[:, first:last])
    return torch.cat(parts, dim=-1)[:, :frames]


@checks(
    chunked,
    hints=(
        "Join `length` zeros to `x` first. Then every chunk is full.",
        "Collect `y[:, quarter : length - quarter]` of each chunk, join with "
        "`torch.cat`, and cut to `frames`.",
    ),
    noticed="Demucs and its successors do the same, in chunks of 200 frames.",
    wrong=(
        ("length // 2, length // 4", "length, 0", "farthest"),
        ("[:, :frames]", "", "the shape (3, 40)"),
        ("chunked = lambda network, x, length: network(x)", "have 16 frames"),
        ("x.new_zeros(", "x.new_ones(", "zeros after the end"),
    ),
)
def _verify_chunked(answer) -> None:
    for frames, length in ((40, 16), (37, 8), (64, 32)):
        x = expect.noise(3, frames)
        case = f"{frames} frames in chunks of {length}"
        edge = answer(_distance, x, length)
        expect.tensor(edge, (3, frames), f"the result for {case}")
        quarter = length // 4
        near = int(edge[0, quarter : frames - quarter].min())
        text = "a frame should come from the chunk in which it is farthest from the "
        text += f"edges: at least {quarter} frames, not {near} ({case})."
        expect.that(near >= quarter, text)
        far = int(edge.max())
        text = f"chunks should have {length} frames: none is {far} frames from an edge."
        expect.that(far < length // 2, text)
        whole, real = BiLSTM(3), BiLSTM(3, max_frames=length)
        real.load_state_dict(whole.state_dict())
        with torch.no_grad():
            wanted = real(x[None])[0]
            result = answer(lambda chunk, lstm=whole: lstm(chunk[None])[0], x, length)
        text = f"begin a chunk every {length // 2} frames, with zeros after the end"
        expect.close(result, wanted, f"{text} ({case}).", tolerance=1e-4)


def latency(n_fft, hop_length, ahead, sample_rate):
    """Write `latency(n_fft, hop_length, ahead, sample_rate)` in milliseconds. It is the
    delay of a sample at the output, if every window that covers the sample must be
    complete, and the network uses `ahead` more frames of the future. The computation
    itself takes no time.
    """
    return 1000 * (n_fft + ahead * hop_length) / sample_rate


@checks(
    latency,
    hints=(
        "The last window that covers a sample begins at it and ends n_fft later.",
        "Each frame ahead adds one hop.",
    ),
    noticed="With 4096 samples that is 93 ms, too much for singing along.",
    wrong=(
        ("n_fft +", "n_fft // 2 +", "it should be 92.9 ms"),
        ("* hop_length", "* n_fft", "10 frames ahead"),
        ("1000 * ", "", "not 0.1"),
    ),
)
def _verify_latency(answer) -> None:
    for n_fft, hop_length, ahead, sample_rate, wanted in (
        (4096, 1024, 0, 44100, 4096 / 44.1),
        (4096, 1024, 10, 44100, (4096 + 10240) / 44.1),
        (512, 128, 3, 16000, 56.0),
        (1024, 256, 1, 48000, 1280 / 48),
    ):
        got = expect.number(answer(n_fft, hop_length, ahead, sample_rate), "the delay")
        text = f"with n_fft {n_fft}, hop {hop_length} and {ahead} frames ahead at "
        text += f"{sample_rate} Hz it should be {wanted:.1f} ms, not {got:.1f}."
        expect.close(got, wanted, text, tolerance=0.05)
