"""What `processes` imports before it forks."""

import torch._dynamo  # noqa: F401 -- the first optimiser would

import training.engine.tests.conftest
import training.engine.tuning  # noqa: F401
