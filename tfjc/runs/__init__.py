"""One training run: configuration, experiment, sessions and records."""
