"""Teams of which nothing is known but what they do, as ``HostPolicy``: a function, a torch module, a program.

    team = black_box(lambda obs, avail: actions, spec)                    # a function of what is seen
    team = with_memory(lambda obs, avail, memory: (actions, memory), spec)  # ... that remembers its episode
    team = torch_team(module, spec)                                       # obs [n, o] -> scores [n, a]
    team = program(["python", "my_team.py"], spec, seconds=5.0)           # JSON lines on its standard streams

``reveals`` says what an attacker may ask them: nothing of a function or a program, the scores of a torch module.
"""

from __future__ import annotations

import atexit
import json
import queue
import shlex
import subprocess
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ibal import reading
from ibal.contract import ContractError
from ibal.registry import quoted
from ibal.types import EnvSpec, HostPolicy


def black_box(act: Callable[[np.ndarray, np.ndarray], Any], spec: EnvSpec) -> HostPolicy:
    """Return the team of a function ``act(obs[n, o], avail[n, a]) -> actions[n]``. Nothing is known of it but what it
    does: its scores are 1 for the action it chose."""
    return with_memory(lambda obs, avail, memory: (act(obs, avail), memory), spec)


def with_memory(act: Callable[[np.ndarray, np.ndarray, Any], tuple[Any, Any]], spec: EnvSpec) -> HostPolicy:
    """Return the team of a function ``act(obs[n, o], avail[n, a], memory) -> (actions[n], memory)``; ``memory`` is None
    when an episode begins, and then whatever the function gave last."""

    def scores(carry: Any, obs: np.ndarray, avail: np.ndarray, last_action: np.ndarray) -> tuple[Any, np.ndarray]:
        given = act(obs, avail, carry)
        if not isinstance(given, tuple) or len(given) != 2:
            raise ContractError(f"the function gave a {type(given).__name__}; (actions, memory) was expected", "policy")
        chosen = legal(given[0], avail, spec, "the function")
        return given[1], np.eye(spec.n_actions, dtype=np.float32)[chosen]

    return HostPolicy(lambda: None, scores, _best)


def legal(actions: Any, avail: np.ndarray, spec: EnvSpec, who: str) -> np.ndarray:
    """Return the actions of a team [n]. Raises ContractError for anything that is not one legal action an agent."""
    chosen = np.asarray(actions)
    if chosen.shape != (spec.n_agents,) or not np.issubdtype(chosen.dtype, np.integer):
        got = f"{chosen.dtype}{list(chosen.shape)}"
        raise ContractError(f"{who} gave {got}; integers [{spec.n_agents}] were expected", "policy")
    for agent, action in enumerate(chosen.tolist()):
        if not 0 <= action < spec.n_actions or not avail[agent, action]:
            raise ContractError(f"{who} gave agent {agent} an action that is not available: {action}", "policy")
    return chosen


def torch_team(module: Any, spec: EnvSpec, start: Callable[[], Any] | None = None, kind: str = "logit") -> HostPolicy:
    """Return the team of a torch module: ``module(obs[n, o]) -> scores[n, a]``; with ``start() -> hidden`` it is
    ``module(obs, hidden) -> (scores, hidden)``.

    It acts greedily among what is legal. ``kind`` says what the scores are: "logit", or "value", expected returns.
    """
    import torch  # type: ignore[import-not-found]  (the user's)

    def scores(carry: Any, obs: np.ndarray, avail: np.ndarray, last_action: np.ndarray) -> tuple[Any, np.ndarray]:
        seen = torch.from_numpy(np.array(obs, np.float32))
        with torch.no_grad():
            out = module(seen) if start is None else module(seen, carry)
        if isinstance(out, tuple) and start is None:
            raise ContractError("the module gave two values; say with start=… how its hidden state begins", "policy")
        values, carry = out if isinstance(out, tuple) else (out, carry)
        return carry, values.detach().cpu().numpy().astype(np.float32)

    return HostPolicy(start or (lambda: ()), scores, _best, reveals="scores", kind=kind)


def torch_file(path: str, spec: EnvSpec) -> HostPolicy:
    """Return the team of a TorchScript file (``torch.jit.save``), which holds its own code and no pickled objects."""
    reading.existing(path)
    try:
        import torch  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(f"reading {path} needs the package torch: pip install torch") from error
    try:
        module = torch.jit.load(path, map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is no TorchScript file; save it with torch.jit.script(module).save(path)") from error
    return torch_team(module, spec)


def program(command: Sequence[str] | str, spec: EnvSpec, seconds: float = 10.0) -> HostPolicy:
    """Return the team of a program that answers lines of JSON on its standard streams, each within ``seconds``.

    It is sent ``{"episode": 3, "step": 0, "obs": [[…]], "mask": [[…]]}``, a line for each step, and answers with
    ``{"actions": […]}`` or the list alone; ``step`` 0 begins an episode. It is started for the first episode and
    stopped with this process; what it writes to standard error is shown. Raises ContractError where it is late, ends or
    answers with something else.
    """
    talk = _Program(shlex.split(command) if isinstance(command, str) else list(command), seconds)
    episodes = iter(range(2**62))

    def scores(carry: Any, obs: np.ndarray, avail: np.ndarray, last_action: np.ndarray) -> tuple[Any, np.ndarray]:
        episode, step = carry
        asked = {"episode": episode, "step": step, "obs": obs.tolist(), "mask": avail.astype(int).tolist()}
        given = talk.ask(asked)
        actions = given.get("actions") if isinstance(given, dict) else given
        try:
            chosen = legal(np.asarray(actions), avail, spec, "the program")
        except ValueError:  # lists of different lengths are no array
            raise ContractError(
                f"the program answered {str(given)[:60]}, which is no list of actions", "policy"
            ) from None
        return (episode, step + 1), np.eye(spec.n_actions, dtype=np.float32)[chosen]

    return HostPolicy(lambda: (next(episodes), 0), scores, _best)


class _Program:
    """A process that is asked a line and answers one."""

    def __init__(self, command: list[str], seconds: float) -> None:
        if not command or seconds <= 0:
            raise ValueError("a program needs a command, and more than 0 seconds for an answer")
        self._command, self._seconds = command, seconds
        self._process: subprocess.Popen[str] | None = None
        _started.add(self)

    def ask(self, question: Any) -> Any:
        """Send a line and return the answer. Raises ContractError."""
        process = self._process or self._begin()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except OSError:
            pass  # it is gone: the answer below says so
        try:
            line = self._lines.get(timeout=self._seconds)
        except queue.Empty:
            self.stop()
            raise ContractError(
                f"the program {self._name} gave no answer within {self._seconds:g} s", "policy"
            ) from None
        if line is None:
            status = process.wait()
            self.stop()
            raise ContractError(f"the program {self._name} ended with status {status} instead of answering", "policy")
        try:
            return reading.parsed(line, self._name)
        except reading.Unreadable:
            raise ContractError(
                f"the program {self._name} answered {line[:60]!r}, which is no JSON", "policy"
            ) from None

    @property
    def _name(self) -> str:
        return quoted(shlex.join(self._command))

    def _begin(self) -> subprocess.Popen[str]:
        try:
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
        except OSError as error:
            raise ContractError(f"the program {self._name} cannot be started: {error.strerror}", "policy") from error
        self._process, self._lines = process, queue.Queue[str | None]()
        threading.Thread(target=_read, args=(process, self._lines), daemon=True).start()
        return process

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            with suppress(OSError):  # what it has not read is lost
                if process.stdin is not None:
                    process.stdin.close()


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


_started: weakref.WeakSet[_Program] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for one in list(_started):
        one.stop()


def _best(generator: np.random.Generator, scores: np.ndarray, avail: np.ndarray) -> np.ndarray:
    return np.argmax(np.where(avail, scores, -np.inf), axis=1)


def of_program(command: str, spec: EnvSpec) -> HostPolicy:
    """Return the team of ``process:COMMAND``."""
    return program(command, spec)
