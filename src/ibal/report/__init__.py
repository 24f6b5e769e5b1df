"""Evaluations beside the numbers that the paper printed."""
