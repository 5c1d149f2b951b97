"""What the Snakefile knows: the configuration, the grid of runs, which modules a rule uses."""
