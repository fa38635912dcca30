"""Ctrl-C, or a scheduler's SIGTERM, ends a run where it can go on: after a whole step."""

import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """While entered, the first of these signals is only noted; a second Ctrl-C acts at once.

    Signals that are ignored stay so, and outside of the main thread, where Python takes none,
    nothing changes. patient: further ones are only noted too, since what launches many processes
    passes each on several times.
    """

    def __init__(self, patient: bool = False):
        self.patient = patient
        self.noted = 0  # the signal's number
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def __exit__(self, *error):
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number, frame):
        again, self.noted = self.noted, number
        if again and not self.patient:
            self.act()

    def act(self) -> None:
        """Let the noted signal do what it would have done without us; does not return."""
        self.__exit__()
        signal.raise_signal(self.noted or signal.SIGINT)
        raise KeyboardInterrupt
