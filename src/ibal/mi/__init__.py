"""Estimates of mutual information: observation dimensions and actions, actions and actions; exact values for tests."""
