"""One training run: its configuration, its experiment, its sessions and its records."""
