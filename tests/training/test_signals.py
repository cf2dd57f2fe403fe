"""Signals wait for the end of a step, act at once elsewhere, and leave no trace."""

import contextlib
import signal
import subprocess
import sys
import threading

import pytest

from mssedu.training.signals import STOPS, StopSignals, signals_wait

ENDS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]


def work(done, *numbers, is_step):
    """Signals arrive between two pieces of work, in a step or elsewhere."""
    with StopSignals() as signals:
        done.append(signals)
        with signals.finish_first():
            pass  # the run has begun
        with signals.finish_first() if is_step else contextlib.nullcontext():
            for number in numbers:
                signal.raise_signal(number)
                done.append("piece")
        done.append("next step")


@pytest.mark.parametrize(("number", "end"), ENDS)
def test_a_signal_waits_until_the_step_is_finished(number, end):
    done = []
    with pytest.raises(end):
        work(done, number, is_step=True)
    assert done[1:] == ["piece"]
    assert done[0].is_whole


@pytest.mark.parametrize(("number", "end"), ENDS)
def test_a_signal_elsewhere_acts_at_once(number, end):
    done = []
    with pytest.raises(end):
        work(done, number, is_step=False)
    assert done[1:] == []
    assert done[0].is_whole


def test_the_second_signal_acts_at_once_and_leaves_the_state_in_doubt():
    done = []
    with pytest.raises(SystemExit):
        work(done, signal.SIGINT, signal.SIGTERM, is_step=True)
    assert done[1:] == ["piece"]
    assert not done[0].is_whole


def test_an_error_in_a_step_leaves_the_state_in_doubt():
    with StopSignals() as signals:
        with signals.finish_first():
            pass
        with pytest.raises(ZeroDivisionError), signals.finish_first():
            raise ZeroDivisionError
        assert not signals.is_whole


def test_a_signal_waits_until_the_run_has_begun():
    done = []

    def begin():
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGINT)
            done.append("begun")
            with signals.finish_first():
                done.append("ready")
            done.append("first step")

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert done == ["begun", "ready"]


def test_sigterm_has_the_exit_code_of_shells():
    with pytest.raises(SystemExit) as end:
        work([], signal.SIGTERM, is_step=True)
    assert end.value.code == 143


def test_handlers_come_back():
    before = [signal.getsignal(number) for number in STOPS]
    with StopSignals():
        assert [signal.getsignal(number) for number in STOPS] != before
    assert [signal.getsignal(number) for number in STOPS] == before
    with pytest.raises(ZeroDivisionError), StopSignals():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in STOPS] == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGINT)
        assert signals.received is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_the_handlers_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with StopSignals() as signals, signals.finish_first():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.skipif(sys.platform == "win32", reason="no such masks on Windows")
def test_signals_wait_while_processes_start():
    done = []

    def begin():
        with signals_wait():
            signal.raise_signal(signal.SIGINT)
            done.append("started")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert done == ["started"]


@pytest.mark.skipif(sys.platform == "win32", reason="other signals on Windows")
@pytest.mark.parametrize(("number", "lines"), [("SIGINT", "a b"), ("SIGTERM", "a")])
def test_a_process_that_reads_data_says_nothing(number, lines):
    program = (
        "import signal\n"
        "from mssedu.training.signals import leave_signals, signals_wait\n"
        "with signals_wait():\n"
        "    leave_signals(0)\n"
        "    print('a', flush=True)\n"
        f"    signal.raise_signal(signal.{number})\n"
        "    print('b')\n"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == lines.split()
