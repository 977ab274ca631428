"""Predictions from queries."""


def fold() -> None:
    """Placeholder until the runner lands."""
    raise NotImplementedError
