"""Mixers: how the agents' values become the team's. A mixer is a module with

``init(key, n_agents, state_size) -> params`` and ``apply(params, q[n], state[s]) -> q_tot[]``.
"""
