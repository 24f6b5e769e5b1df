"""One game under an adversary: how everybody decides, how the world goes on, which key each of them draws from.

``decide`` is one decision and knows no environment; ``turn`` plays it in a compiled one, for rollouts, evaluation,
recordings and checks; ``host`` in anybody's, step by step in Python; ``keys`` says who draws from what; ``referee``
holds all of them to their contracts.
"""
