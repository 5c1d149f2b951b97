"""Beyond the paper, and off by default: entropy, scores in information, d without labels."""
