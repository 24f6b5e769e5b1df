"""The functions and records of ``import ibal``: what a notebook or a program of the user's calls."""
