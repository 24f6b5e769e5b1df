"""Numerical building blocks of the learners: pure functions of arrays, free of networks and environments."""
