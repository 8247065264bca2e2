"""Leaves that every room may use: checks, files, noise, replicas, precision, XLA, the scale of images, figures."""
