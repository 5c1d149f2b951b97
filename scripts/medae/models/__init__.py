"""What scores an image: the methods, their networks, training, checkpoints, scoring, baselines."""
