"""Runs compiled programs: chains, training, evaluation, data, checkpoints, pictures."""
