"""Interventions: what happens to the answer when a thought is replaced."""
