"""Duplicates and train-test leakage: similar pairs, their groups, training sets without them."""
