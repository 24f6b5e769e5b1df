"""How the functions of ``import ibal`` say what they are doing: one line on standard error that is drawn over itself in
a terminal or a notebook, one line each elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ibal.training.console import Losable

Note = Callable[[str], None]


@contextmanager
def telling(quiet: bool, note: Note | None = None) -> Generator[Note]:
    """Give the function that messages go to: ``note`` if there is one, nowhere if ``quiet``, else standard error.

    Messages that end with "…" say what is being done now; they are not kept where a line can be drawn over.
    """
    if note is not None or quiet:
        yield note or (lambda message: None)
        return
    if sys.stderr is None or not sys.stderr.isatty():
        yield _say
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("") as line:

        def show(message: str) -> None:
            if message.endswith("…"):
                line.update(message.replace("[", "\\["))
            else:
                console.print(message, markup=False, highlight=False, soft_wrap=True)

        yield show


def _say(message: str) -> None:
    Losable(sys.stderr).write(f"{message}\n")
