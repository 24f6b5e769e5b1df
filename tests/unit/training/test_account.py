from __future__ import annotations

import math
import re

import pytest

from ibal import make
from ibal.learners.config import ValueConfig
from ibal.training import account, bench
from ibal.training.bench import step_flops
from ibal.training.config import TrainConfig

ENV = make("toy/two-step")
LEARNER = ValueConfig(hidden=8, batch=8)


def test_a_table_sums_to_the_whole_with_what_the_parts_leave_over() -> None:
    found = account.Account({"engine": 2.0, "forward": 5.0}, 10.0, {"forward": 1000.0})
    lines = account.table("8m", found, 4.0)
    assert sum(float(re.findall(r"([\d.]+) us", line)[0]) for line in lines[1:]) == pytest.approx(10.0)
    assert lines[3].split() == ["rest", "3.00", "us", "30.0", "%"]
    assert "0.2 GFLOP/s   5.0 % of peak" in lines[2]  # 1000 operations in 5 us


def test_operations_of_the_parts_are_those_of_a_step() -> None:
    assert sum(account._operations(ENV, LEARNER).values()) == step_flops(ENV.spec, LEARNER)


def test_every_part_of_a_training_is_timed() -> None:
    train = TrainConfig(envs=8, replay=32, learn_from=8, chunk=2, updates_per_episode=0.5)
    found = account.measure(ENV, LEARNER, train, warm_up=2, repeats=1)
    assert set(found.parts) == set(account.PARTS)
    assert all(math.isfinite(span) for span in found.parts.values())  # differences of two times may be negative here
    assert min(found.whole, found.parts["sampling"], found.parts["layout"]) > 0  # these are timed by themselves
    assert found.parts["waiting"] == pytest.approx(0, abs=1e-9)  # every game lasts two steps


def test_calls_take_turns_after_each_has_been_made_once() -> None:
    made: list[str] = []
    spans = bench.shortest({name: lambda name=name: made.append(name) for name in ("a", "b")}, rounds=2)
    assert made == ["a", "b", "a", "b", "a", "b"]
    assert set(spans) == {"a", "b"}
    assert all(span >= 0 for span in spans.values())
