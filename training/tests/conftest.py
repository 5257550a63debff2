from training.engine.tests.conftest import data

__all__ = ["data"]
