"""Columns of the tables that the scripts of theory hand on to each other."""

ENTROPY_COLUMNS = ["dataset", "method", "latent_dim", "seed", "quantity", "value"]
"""Of measure_entropy.py: a row per seed and quantity."""

SELECTION_COLUMNS = ["dataset", "family", "selector", "score", "method", "latent_dim", "criterion"]
"""Of select_latent_dim.py's choices."""

CURVE_COLUMNS = ["dataset", "family", "method", "latent_dim", "quantity", "value"]
"""Of select_latent_dim.py's table of what was compared."""
