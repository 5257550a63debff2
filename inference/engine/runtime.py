"""Import OpenVINO without its telemetry.

OpenVINO reports every import to its maker over the network when `openvino_telemetry` is there.
A clinic's machine must not: hiding that package makes OpenVINO use its own silent stub.
Import OpenVINO from here, never directly.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402
from openvino import opset13 as operations  # noqa: E402

__all__ = ["openvino", "operations"]
