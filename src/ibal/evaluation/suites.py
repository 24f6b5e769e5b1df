"""Lists of attacks that are known by one word. Imports no jax."""

from __future__ import annotations

PAPER = ("natural", "random", "fgsm", "ega", "wolfpack", "interaction")  # the columns of its Tables 7 and 8
# A list under this name never changes: whoever wants another one makes standard-2. Attacks of every kind of knowledge,
# those that learn (fitted to other teams: unseen; or to this very team: refitted), and what breaks without an attacker.
STANDARD_1 = (
    "natural", "random", "fgsm", "pgd", "wolfpack-random", "random-group", "ega", "wolfpack", "interaction",
    "noise-10", "lost-30", "burst-30", "delay-1", "drop-20", "late-1", "stop-1", "subset-1",
)  # fmt: skip
