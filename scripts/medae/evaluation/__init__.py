"""From scores to numbers: test splits, metrics, the bootstrap over test images."""
