"""The real structures and predictions of the tests of scores."""

from tests.score.conftest import pairs, predictions, scored, structures

__all__ = ["pairs", "predictions", "scored", "structures"]
