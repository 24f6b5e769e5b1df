"""Runs on many processes and machines: the store, the worker, and what starts workers."""
