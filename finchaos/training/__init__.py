"""Training: simulated and real examples, the optimisation loop, checkpoints."""
