"""What beat, the registry's readers and the tasks must not load."""

import subprocess
import sys

MODULES = ("inference.tasks", "inference.services", "inference.selectors", "inference.worker")
PROBE = """
import sys, importlib, django
django.setup()
for name in {modules!r}:
    importlib.import_module(name)
print(sorted({{"torch", "torchvision", "openvino", "safetensors"}} & set(sys.modules)))
"""


def test_worker_code_loads_no_engine_until_a_worker_starts():
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(modules=MODULES)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
