"""The ids of the synthetic anomalies of a held-out dataset (`medae.theory.synthetic`)."""

PREFIX = "synthetic"


def synthetic_id(kind: str, name: str) -> str:
    """Return the id of the synthetic anomaly of one kind in the image `name`."""
    return f"{PREFIX}/{kind}/{name}"


def split_id(name: str) -> tuple[str, str]:
    """Return the kind and the original's id of a synthetic anomaly by its own id."""
    _, kind, original = name.split("/", 2)
    return kind, original
