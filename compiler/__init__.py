"""Checked model to factor graph, blocks, schedule and torch.fx programs."""
