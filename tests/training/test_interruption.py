"""Ctrl-C and SIGTERM wait for the end of a step and its checkpoint, and then do what they would have done."""

import signal
import threading

import pytest
import torch

from bathymetry.training import Measurement, checkpoint, train
from training import cases

SETTINGS = {"build": cases.with_dropout, "data": cases.regression(), "members": 2, "epochs": 6, "batch_size": 7}


def signals_at(epoch, *numbers):
    """A measurement that changes nothing and sends signals at an epoch, once."""
    left = list(numbers)

    def send(moment):
        if moment.epoch == epoch:
            while left:
                signal.raise_signal(left.pop(0))
        return torch.zeros(len(moment.members))

    return {"sent": Measurement(send)}


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_is_a_keyboard_interrupt_after_the_checkpoint_that_goes_on_bit_for_bit(handlers):
    whole = train(**SETTINGS, measurements=signals_at(0))
    kept = []
    with pytest.raises(KeyboardInterrupt):
        train(**SETTINGS, measurements=signals_at(3, signal.SIGINT), checkpoint=kept.append)
    assert [one.state["step"] for one in kept] == [3 * 4 + 1]
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    resumed = train(**SETTINGS, measurements=signals_at(0), resume=kept[0])
    assert resumed.record.identical(whole.record)
    assert torch.equal(resumed.theta, whole.theta)


def test_a_second_ctrl_c_does_not_wait():
    kept = []
    with pytest.raises(KeyboardInterrupt):
        train(**SETTINGS, measurements=signals_at(3, signal.SIGINT, signal.SIGINT), checkpoint=kept.append)
    assert kept == []


def test_without_a_checkpoint_nothing_is_held_back(handlers):
    during = []

    def look(moment):
        during.append({number: signal.getsignal(number) for number in handlers})
        return torch.zeros(len(moment.members))

    train(**SETTINGS, measurements={"look": look})
    assert all(one == handlers for one in during)


def test_a_handler_of_ones_own_is_called_after_the_checkpoint_and_training_goes_on(handlers):
    kept, received = [], []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append((number, len(kept))))
    trained = train(**SETTINGS, measurements=signals_at(2, signal.SIGTERM), checkpoint=kept.append)
    assert received == [(signal.SIGTERM, 1)]
    assert trained.record.identical(train(**SETTINGS, measurements=signals_at(0)).record)


def test_a_signal_that_is_ignored_stays_ignored(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kept = []
    train(**SETTINGS, measurements=signals_at(2, signal.SIGINT), checkpoint=kept.append)
    assert kept == []


def test_a_signal_after_the_last_step_waits_for_the_result(handlers):
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    train(**SETTINGS, measurements=signals_at(6, signal.SIGTERM), checkpoint=lambda one: received.append("kept"))
    assert received == [signal.SIGTERM]


def test_other_threads_leave_signals_alone(handlers):
    during = []

    def look(moment):
        during.append({number: signal.getsignal(number) for number in handlers})
        return torch.zeros(len(moment.members))

    given = {**SETTINGS, "measurements": {"look": look}, "checkpoint": print}
    thread = threading.Thread(target=lambda: train(**given))
    thread.start()
    thread.join()
    assert len(during) == 7
    assert all(one == handlers for one in during)


@pytest.mark.parametrize(("every", "steps"), [(60.0, [15, 75, 135]), (5.0, [5, 10, 15])])
def test_the_first_checkpoint_comes_after_fifteen_seconds_and_then_at_the_usual_rhythm(every, steps, monkeypatch):
    clock, kept = [0.0], []
    monkeypatch.setattr(checkpoint, "perf_counter", lambda: clock[0])

    def second(moment):
        clock[0] += 1.0
        return torch.zeros(len(moment.members))

    train(
        cases.perceptron, cases.regression(), members=2, epochs=150, measurements={"second": second},
        checkpoint=kept.append, checkpoint_every=every,
    )  # fmt: skip
    assert [one.state["step"] for one in kept][:3] == steps
