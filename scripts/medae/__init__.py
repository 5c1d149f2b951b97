"""What the scripts of the workflow share; no module here knows about Snakemake's rules."""

__version__ = "0.1.0"
