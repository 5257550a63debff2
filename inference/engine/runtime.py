"""Import OpenVINO without its telemetry.

OpenVINO reports every import to its maker over the network when `openvino_telemetry` is there.
A clinic's machine must not: hiding that package makes OpenVINO use its own silent stub.
Import OpenVINO from here, never directly.
"""

import sys
from functools import cache

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402
from openvino import opset13 as operations  # noqa: E402

__all__ = ["core", "openvino", "operations"]


@cache
def core() -> openvino.Core:
    """Return the one core of this process, which is never let go.

    OpenVINO's CPU plugin gives the thread a stack of its own for signals (sigaltstack); unloading
    the plugin with its last core would take it away under a handler that needs it.
    """
    return openvino.Core()
