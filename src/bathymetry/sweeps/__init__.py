"""Sweeps: a study whose settings are a specification, with an ensemble at every point of its axes."""
