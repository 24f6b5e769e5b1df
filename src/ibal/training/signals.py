"""Ctrl-C, SIGTERM and SIGHUP as a wish to stop, which a training grants when it is safe."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP: the terminal is gone; not on Windows


@contextmanager
def asked_to_stop(tell: Callable[[str], None]) -> Generator[Callable[[], bool]]:
    """Give a function that says whether the user wants an end. A second Ctrl-C interrupts as usual.

    ``tell`` gets one sentence at once, from another thread: Python calls its own handlers only after the compiled
    program that it waits for. A signal that this process was started to ignore (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are somebody else's
        yield lambda: False
        return
    asked: list[int] = []

    def wish(number: int, _: Any) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    old = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in SIGNALS if hasattr(signal, name)}
    old = {number: handler for number, handler in old.items() if handler not in (signal.SIG_IGN, None)}
    with _listening(set(old), tell):
        for number in old:
            signal.signal(number, wish)
        try:
            yield lambda: bool(asked)
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


@contextmanager
def _listening(numbers: set[int], tell: Callable[[str], None]) -> Generator[None]:
    """Tell of the first signal as soon as the system delivers it."""
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)

    def listen() -> None:
        told = False
        while number := ear.recv(1):
            if not told and number[0] in numbers:
                told = True
                with suppress(Exception):  # nothing that goes wrong here may stop a training
                    tell(_sentence(number[0]))

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        mouth.close()  # which ends the thread
        thread.join()
        ear.close()


def _sentence(number: int) -> str:
    if number == signal.SIGINT:
        return "finishing this chunk, then saving; Ctrl-C again to abandon"
    return f"{signal.Signals(number).name}: finishing this chunk, then saving"
