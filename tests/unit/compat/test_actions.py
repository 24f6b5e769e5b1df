"""What ``step`` takes for actions, and what it says of the rest. Nothing here needs JAX."""

import array
from typing import Any

import numpy as np
import pytest

from ibal.compat._actions import joint_action, write_back


class Tensor:
    """What torch's tensors have in common with arrays as far as ibal uses it; no ``__array__``, as on a GPU."""

    def __init__(self, values: Any) -> None:
        self.values = np.array(values)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def tolist(self) -> Any:
        return self.values.tolist()

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: int) -> "Tensor":
        return Tensor(self.values[at])

    def __setitem__(self, at: Any, value: Any) -> None:
        if isinstance(value, list):
            raise TypeError("can't assign a list to a torch.LongTensor")
        self.values[at] = value


GOOD = {
    "list": [1, 2, 8],
    "tuple": (1, 2, 8),
    "generator": (action for action in (1, 2, 8)),
    "array": np.array([1, 2, 8]),
    "bytes of numbers": np.array([1, 2, 8], np.uint8),
    "column": np.array([[1], [2], [8]]),
    "more axes of length 1": np.array([[[1]], [[2]], [[8]]]),
    "whole floats": [1.0, 2.0, np.float32(8)],
    "array of floats": np.array([[1.0], [2.0], [8.0]]),
    "list of columns": [np.array([1]), [2], np.array([[8]])],
    "list of scalars": [np.int64(1), Tensor(2), np.array(8)],
    "tensor": Tensor([1, 2, 8]),
    "column tensor": Tensor([[1], [2], [8]]),
    "list of tensors": [Tensor(1), Tensor([2]), Tensor([[8]])],
    "standard array": array.array("i", [1, 2, 8]),
}


@pytest.mark.parametrize("actions", GOOD.values(), ids=GOOD)
def test_actions_may_be_anything_with_one_whole_number_an_agent(actions: Any):
    read = joint_action(actions, 3, "3m")
    assert read == [1, 2, 8]
    assert {type(action) for action in read} == {int}


HAS = "but 3m has 3 agents: pass one action for each agent, as a list or an array of shape \\(3,\\) or \\(3, 1\\)"
BAD = {
    "none": (None, "got a value of type NoneType: pass one action for each"),
    "one number": (1, "got a value of type int: pass one action for each"),
    "one scalar": (np.array(1), r"got a value of type ndarray of shape \(\): pass one"),
    "word": ("123", "got a value of type str: pass"),
    "table": ({0: 1, 1: 1, 2: 1}, "got a value of type dict: pass"),
    "set": ({1, 2, 3}, "got a value of type set: pass"),
    "few": ([1, 1], f"got 2 actions, {HAS}"),
    "many": (np.ones(4), f"got 4 actions, {HAS}"),
    "nothing": ([], f"got 0 actions, {HAS}"),
    "row": (np.array([[1, 1, 1]]), rf"got an array of shape \(1, 3\), {HAS}"),
    "row tensor": (Tensor([[1, 1, 1]]), rf"got an array of shape \(1, 3\), {HAS}"),
    "one-hot": (np.eye(3), "got 3 values for agent 0: pass one action for each agent"),
    "uneven": ([1, [1, 2], 1], "got 2 values for agent 1: pass one action"),
    "empty": ([1, 1, []], "got 0 values for agent 2: pass one action"),
    "part": ([1, 1.5, 1], r"got 1\.5 as the action of agent 1, not a whole number"),
    "nan": (np.array([1, 1, np.nan]), "got nan as the action of agent 2, not a whole number"),
    "infinite": ([np.inf, 1, 1], "got inf as the action of agent 0, not a whole number"),
    "truth": ([1, True, 1], "got True as the action of agent 1, not a whole number"),
    "mask": (np.array([True, False, True]), "got True as the action of agent 0, not a whole number"),
    "nobody": ([1, 1, None], "got None as the action of agent 2, not a whole number"),
    "letter": (["a", "b", "c"], "got 'a' as the action of agent 0, not a whole number"),
    "complex": (np.ones(3, complex), r"got \(1\+0j\) as the action of agent 0, not a whole number"),
}


@pytest.mark.parametrize(("actions", "sentence"), BAD.values(), ids=BAD)
def test_other_actions_are_refused_in_one_sentence(actions: Any, sentence: str):
    with pytest.raises(ValueError, match=f"step\\(\\) {sentence}") as caught:
        joint_action(actions, 3, "3m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "actions",
    [[1, 1, 1], [[1], [1], [1]], np.ones(3, int), np.ones((3, 1), np.int8), np.ones(3), Tensor([1, 1, 1]),
     Tensor([[1], [1], [1]]), array.array("i", [1, 1, 1]), [Tensor(1), Tensor(1), Tensor(1)]],
    ids=["list", "lists", "integers", "column", "floats", "tensor", "tensor column", "array", "tensors"],
)  # fmt: skip
def test_scripted_actions_are_written_into_anything_that_takes_them(actions: Any):
    shape = np.shape(getattr(actions, "values", actions) if not isinstance(actions, list) else actions)
    write_back(actions, [6, 7, 69])
    assert joint_action(actions, 3, "3m") == [6, 7, 69]
    if not (isinstance(actions, list) and isinstance(actions[0], Tensor)):
        assert np.shape(getattr(actions, "values", actions)) == shape


def _locked() -> np.ndarray:
    actions = np.ones(3, int)
    actions.flags.writeable = False
    return actions


@pytest.mark.parametrize("actions", [(1, 1, 1), iter([1, 1, 1]), _locked()], ids=["tuple", "iterator", "read-only"])
def test_scripted_actions_that_would_be_lost_are_refused(actions: Any):
    with pytest.raises(ValueError, match=r"heuristic_ai, step\(\) writes .* cannot be written into: pass a list"):
        write_back(actions, [6, 7, 8])
