"""Models in the registry without weights behind them, for pages that read the record alone."""

import hashlib
from itertools import count

from inference.models import ModelFile, ModelVersion

_numbers = count(1)
SHARE = {"value": 0.9, "low": 0.85, "high": 0.95, "hits": 90, "total": 100}


def make_model_record(version: str = "", **manifest) -> ModelVersion:
    version = version or str(next(_numbers))
    digest = hashlib.sha256(version.encode()).hexdigest()
    manifest = {
        "purpose": "research use",
        "operating_point": {"version": f"point-{version}", "referable_threshold": 0.5},
        "metrics": {"second_site": make_metrics()},
        "parity": {"engines": {"torch-cpu-fp32": {}}},
        **manifest,
    }
    model = ModelVersion(
        name="for-pages",
        version=version,
        architecture="tiny_cnn",
        sha256=digest,
        digest=digest,
        manifest=manifest,
        files=[ModelFile(name="weights", stored="nowhere", sha256=digest, size_bytes=2_000_000)],
    )
    model.save()
    return model


def make_metrics(sensitivity: float = 0.9) -> dict:
    found = {"auc": SHARE, "sensitivity": {**SHARE, "value": sensitivity}, "specificity": SHARE}
    return {
        "eyes": 352,
        "patients": 176,
        "referable": found,
        "vision_threatening": found,
        "kappa": {"value": 0.7, "low": 0.6, "high": 0.8},
    }
