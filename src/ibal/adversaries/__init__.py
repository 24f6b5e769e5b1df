"""Adversaries: whatever comes between a team, what it sees and what it does."""
