"""Ctrl-C and SIGTERM while something is under way that had better be finished first, such as a step of training.

The first signal is held back until the work says that it can stop, or until the block ends; then what would have
happened without the block happens: KeyboardInterrupt, the end of the process, or a handler of the user's own. A second
signal does not wait.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): like Ctrl-C, with another exit status."""


class HeldSignals:
    """Holds back the first signal that asks to stop; in the main thread only, and only the outermost block does."""

    _outermost: "HeldSignals | None" = None

    def __init__(self) -> None:
        self.received: int | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "HeldSignals":
        if HeldSignals._outermost is not None and threading.current_thread() is threading.main_thread():
            return HeldSignals._outermost
        if threading.current_thread() is threading.main_thread():
            HeldSignals._outermost = self
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before is not None and before is not signal.SIG_IGN:
                    self._handlers[number] = before
                    signal.signal(number, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if HeldSignals._outermost is self:
            self.release()

    def release(self) -> None:
        """Let go: restore the handlers, and let a signal that came do what it would have done."""
        for number, before in self._handlers.items():
            signal.signal(number, before)
        self._handlers = {}
        if HeldSignals._outermost is self:
            HeldSignals._outermost = None
        received, self.received = self.received, None
        if received is not None:
            signal.raise_signal(received)

    def _hold(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signals call it
        second, self.received = self.received is not None, number
        if second:
            self.release()
