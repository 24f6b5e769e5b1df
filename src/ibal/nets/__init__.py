"""Networks of agents and mixers: pure functions over NamedTuples of weights."""
