"""Helpers that every room may import: checks, files, noise, replicas, precision, XLA, image scales, figures."""
