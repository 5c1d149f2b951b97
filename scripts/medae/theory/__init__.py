"""Beyond the paper, and off by default: entropy, d without labels."""
