"""The training loop: players, events, checkpoints, random streams."""
