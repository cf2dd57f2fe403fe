"""Exercises on recurrence: one step by hand, chunks that keep the middle, latency."""

import torch
from torch import Tensor, nn

from mssedu.course.exercises.exercise import (
    Exercise,
    expect,
    expect_close,
    expect_number,
    expect_tensor,
)
from mssedu.course.exercises.quiz import Question, make_quiz
from mssedu.models.blocks.dconv import BiLSTM

_STUB = "    return ...  # your code here"


def _verify_lstm_sizes(lstm_sizes) -> None:
    for width, hidden, n_layers, bidirectional in (
        (512, 256, 3, True),
        (8, 5, 1, False),
        (6, 4, 2, True),
        (3, 7, 2, False),
    ):
        with torch.device("meta"):  # sizes only
            lstm = nn.LSTM(width, hidden, n_layers, bidirectional=bidirectional)
            output, (state, _) = lstm(torch.empty(10, 1, width))
        right = {
            "features out": output.shape[-1],
            "numbers in the hidden state": state.numel(),
            "parameters": sum(p.numel() for p in lstm.parameters()),
        }
        got = lstm_sizes(width, hidden, n_layers, bidirectional)
        listed = isinstance(got, list | tuple) and len(got) == 3
        text = "the result should be (features out, numbers in the state, parameters)."
        expect(listed, text)
        case = f"LSTM({width}, {hidden}, {n_layers}, bidirectional={bidirectional})"
        for (what, number), mine in zip(right.items(), got, strict=True):
            expect_number(mine, what)
            text = f"{case} should have {number:,} {what}, not {mine:,}."
            expect_close(mine, number, text)


def _distance(chunk: Tensor) -> Tensor:
    """A stand-in for a network: how far each frame is from the edges of its chunk."""
    forward = torch.arange(chunk.shape[-1])
    return torch.minimum(forward, forward.flip(0)).expand(chunk.shape)


def _verify_chunked(chunked) -> None:
    generator = torch.Generator().manual_seed(0)
    for frames, length in ((40, 16), (37, 8), (64, 32)):
        x = torch.randn(3, frames, generator=generator)
        edge = chunked(_distance, x, length)
        case = f"{frames} frames in chunks of {length}"
        expect_tensor(edge, (3, frames), f"the result for {case}")
        quarter = length // 4
        near = int(edge[0, quarter : frames - quarter].min())
        text = "a frame should come from the chunk in which it lies farthest from an"
        expect(near >= quarter, f"{text} edge: {quarter} frames, not {near} ({case}).")
        near = int(edge.max())
        text = f"chunks should have {length} frames, so {length // 2 - 1} at most lie"
        expect(near < length // 2, f"{text} between a frame and an edge, not {near}.")
        whole, real = BiLSTM(3), BiLSTM(3, max_frames=length)
        real.load_state_dict(whole.state_dict())
        with torch.no_grad():
            wanted = real(x[None])[0]
            result = chunked(
                lambda chunk, whole=whole: whole(chunk[None])[0], x, length
            )
        text = f"begin a chunk every {length // 2} frames, with zeros behind the end"
        expect_close(result, wanted, f"{text} ({case}).", tolerance=1e-4)


def _verify_latency(latency) -> None:
    for n_fft, hop_length, ahead, sample_rate, right in (
        (4096, 1024, 0, 44100, 4096 / 44.1),
        (4096, 1024, 10, 44100, (4096 + 10240) / 44.1),
        (512, 128, 3, 16000, 56.0),
        (1024, 256, 1, 48000, 1280 / 48),
    ):
        got = latency(n_fft, hop_length, ahead, sample_rate)
        expect_number(got, "the latency")
        text = (
            f"n_fft {n_fft}, hop {hop_length}, {ahead} frames ahead at {sample_rate} "
        )
        text += f"Hz should wait for {right:.1f} ms, not {float(got):.1f}."
        expect_close(got, right, text, tolerance=0.05)


_LSTM_SIZES = """
    def lstm_sizes(width, hidden, n_layers, bidirectional):
        directions = 2 if bidirectional else 1
        parameters = 0
        for _ in range(n_layers):
            weights = 4 * hidden * (width + hidden)
            biases = 2 * 4 * hidden
            parameters += directions * (weights + biases)
            width = directions * hidden
        return width, n_layers * directions * hidden, parameters
    """
_CHUNKED = """
    def chunked(network, x, length):
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
    """
_LATENCY = """
    def latency(n_fft, hop_length, ahead, sample_rate):
        return 1000 * (n_fft + ahead * hop_length) / sample_rate
    """

_QUIZ = (
    Question(
        "What does an LSTM carry from one frame to the next?",
        {
            "All frames that it has seen.": "it has room for a few numbers only.",
            "Its hidden and its cell state, of a fixed size.": None,
            "Its weights.": "these are the same in every frame, and fixed.",
        },
    ),
    Question(
        "A causal network is trained to tell long notes from short ones. Where must it "
        "guess?",
        {
            "In the first moments of every note.": None,
            "At the end of a long note.": "by then it has heard how long it is.",
            "Nowhere, if it is large enough.": "no size lets it hear the future.",
        },
    ),
    Question(
        "Why does the chunked BiLSTM throw half of what it computes away?",
        {
            "To save time.": "it costs time: most frames are computed twice.",
            "Near the edge of a chunk, one direction has heard next to nothing.": None,
            "Because of the STFT.": "its windows have overlapped long before.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="recurrence.lstm_sizes",
        notebook="08",
        question="""
            Write `lstm_sizes(width, hidden, n_layers, bidirectional)`: for an `nn.LSTM`
            of these sizes the tuple (features that it puts out for a frame, numbers in
            the hidden state of a song, parameters). Each of the four gates of a layer
            has a weight for each of its inputs, one for each number of its hidden
            state, and two biases.
            """,
        answer="lstm_sizes",
        starter_source=_LSTM_SIZES.split(":")[0].lstrip() + ":\n" + _STUB,
        solution_source=_LSTM_SIZES,
        verify=_verify_lstm_sizes,
        hints=(
            "Two directions are two LSTMs side by side.",
            "A direction of a layer has 4 · hidden · (inputs + hidden + 2) parameters.",
            "Behind the first layer, the inputs are what the layer below puts out.",
        ),
        noticed="None of the three depends on the length of the song.",
        wrong_answers=(
            (_LSTM_SIZES.replace("2 * 4 * hidden", "4 * hidden"), "parameters, not"),
            (_LSTM_SIZES.replace("n_layers * directions", "directions"), "the hidden"),
            (_LSTM_SIZES.replace("width = directions * hidden", "pass"), "features"),
            (_LSTM_SIZES.replace("width, n_", "hidden, n_"), "features out"),
            ("def lstm_sizes(*sizes):\n    return 5", "should be (features out"),
        ),
    ),
    Exercise(
        id="recurrence.chunked",
        notebook="08",
        question="""
            Write `chunked(network, x, length)`. `x` is (features, frames), `network`
            makes (features, frames) of as many frames, and `length` is a multiple of 4.
            Begin a chunk of `length` frames every `length // 2` frames, as long as it
            begins inside `x`; behind the end lie zeros. Of each chunk keep what lies at
            least `length // 4` from its edges; the first also keeps its beginning, the
            last its end. Return as many frames as `x` has.
            """,
        answer="chunked",
        starter_source="def chunked(network, x, length):\n" + _STUB,
        solution_source=_CHUNKED,
        verify=_verify_chunked,
        hints=(
            "Join `length` zeros to `x` first. Then every chunk is full.",
            "Collect `y[:, quarter : length - quarter]` of each chunk, join with "
            "`torch.cat`, and cut to `frames`.",
        ),
        noticed="So do Demucs and its successors, in chunks of 200 frames.",
        wrong_answers=(
            (_CHUNKED.replace("length // 2, length // 4", "length, 0"), "farthest"),
            (_CHUNKED.replace("[:, :frames]", ""), "the shape (3, 40)"),
            ("def chunked(network, x, length):\n    return network(x)", "have 16 f"),
            (_CHUNKED.replace("x.new_zeros(", "x.new_ones("), "zeros behind the end"),
        ),
    ),
    Exercise(
        id="recurrence.latency",
        notebook="08",
        question="""
            Write `latency(n_fft, hop_length, ahead, sample_rate)` in milliseconds: how
            much later than its own time a sample can be put out, if it must first be
            heard by every window that covers it, and the network looks `ahead` more
            frames into the future. The computer itself takes no time.
            """,
        answer="latency",
        starter_source="def latency(n_fft, hop_length, ahead, sample_rate):\n" + _STUB,
        solution_source=_LATENCY,
        verify=_verify_latency,
        hints=(
            "The last window that covers a sample begins at it, and ends n_fft later.",
            "Each frame ahead adds one hop.",
        ),
        noticed="At 4096 samples that is 93 ms: too late to sing along with.",
        wrong_answers=(
            (_LATENCY.replace("n_fft +", "n_fft // 2 +"), "should wait for 92.9 ms"),
            (_LATENCY.replace("* hop_length", "* n_fft"), "10 frames ahead"),
            (_LATENCY.replace("1000 * ", ""), "not 0.1"),
        ),
    ),
    make_quiz("recurrence.quiz", "08", _QUIZ),
)
