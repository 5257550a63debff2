"""The lines between the parts: held by contracts and the linter, and seen to be held.

Each contract and each banned import gets a fault planted in a copy of the code, so that a rule
that has stopped biting is noticed.
"""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from drservice.settings.env import BASE_DIR

PACKAGES = ("drservice", "accounts", "workspace", "inference", "training")
HEAVY = ("torch", "torchvision", "openvino", "safetensors")
TOOLS = Path(sys.executable).parent
RULES = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["tool"]
BANNED = RULES["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]

# Contract, the file that gets the fault, the fault, and the line by which it is reported.
FAULTS = [
    (
        "Apps import in one direction",
        "accounts/planted.py",
        "import workspace.models",
        "accounts.planted -> workspace.models",
    ),
    (
        "Inside an app, modules import downwards",
        "workspace/schemas.py",
        "import workspace.services",
        "workspace.schemas -> workspace.services",
    ),
    (
        "Operators' pages reach hospitals' records through figures alone",
        "drservice/operators/views/planted.py",
        "import workspace.selectors",
        "drservice.operators.views.planted -> workspace.selectors",
    ),
    (
        "Engines know neither Django nor Celery",
        "training/engine/planted.py",
        "import django.conf",
        "training.engine.planted -> django",
    ),
    (
        "The web process never loads torch",
        "workspace/views/planted.py",
        "import torch",
        "workspace.views.planted -> torch",
    ),
]


@pytest.fixture(scope="module")
def planted_report(tmp_path_factory) -> str:
    """Return what the contracts say of a copy of the code that breaks each of them once."""
    copy = tmp_path_factory.mktemp("planted")
    shutil.copy(BASE_DIR / "pyproject.toml", copy)
    for package in PACKAGES:
        only_code = shutil.ignore_patterns("__pycache__", "shipped", "tests", "*.safetensors")
        shutil.copytree(BASE_DIR / package, copy / package, ignore=only_code)
    for _, file, fault, _ in FAULTS:
        with (copy / file).open("a") as code:
            code.write(f"\n{fault}\n")
    done = run(str(TOOLS / "lint-imports"), "--no-cache", cwd=copy)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def run(*command: str, cwd: Path = BASE_DIR, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, **options)


def test_every_contract_has_a_fault_here():
    contracts = RULES["importlinter"]["contracts"]
    assert [contract["name"] for contract in contracts] == [name for name, *_ in FAULTS]


@pytest.mark.parametrize(("contract", "file", "fault", "reported"), FAULTS)
def test_contract_catches_its_fault(planted_report, contract, file, fault, reported):
    assert f"{contract} BROKEN" in planted_report
    details = planted_report.partition("Broken contracts")[2].partition(f"\n{contract}\n")[2]
    assert reported in details


@pytest.mark.parametrize("file", ["accounts/planted.py", "workspace/views/planted.py"])
def test_linter_catches_banned_imports_and_names_the_cure(file):
    faults = [_import_of(name) for name in BANNED]
    found = linted(file, "\n".join(faults))
    said = " ".join(one["message"] for one in found if one["code"] == "TID251")
    assert len([one for one in found if one["code"] == "TID251"]) >= len(BANNED)
    for rule in BANNED.values():
        assert rule["msg"] in said


def _import_of(name: str) -> str:
    module, _, what = name.rpartition(".")
    return f"from {module} import {what}" if module else f"import {what}"


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("from . import models\n", "TID252"),
        ("def late():\n    import json\n\n    return json\n", "PLC0415"),
        ("def shout():\n    print('x')\n", "T201"),
        ("import datetime\n\nNOW = datetime.datetime.now()\n", "DTZ005"),
        ("KEY = eval('1')\n", "S307"),
    ],
)
def test_linter_catches(code, rule):
    assert rule in {one["code"] for one in linted("workspace/planted.py", code)}


def test_linter_lets_engines_load_torch():
    assert linted("inference/engine/planted.py", "import torch\n\nZERO = torch.zeros(1)\n") == []


def linted(file: str, code: str) -> list[dict]:
    command = [str(TOOLS / "ruff"), "check", "--output-format=json", "--stdin-filename", file, "-"]
    return json.loads(run(*command, input=code).stdout)


def test_web_process_loads_nothing_heavy():
    """Load all of the web process, answer a page, and look at what was imported on the way."""
    program = """
import pkgutil, sys
import drservice.asgi
import accounts, workspace
from importlib import import_module
from django.test import Client

for app in (accounts, workspace):
    for module in pkgutil.walk_packages(app.__path__, f"{app.__name__}."):
        if ".tests" not in module.name and ".migrations" not in module.name:
            import_module(module.name)
assert Client().get("/accounts/sign-in/").status_code == 200
assert Client().get("/no/such/page").status_code == 404
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""
    done = run(sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.replace("'", '"')))
    assert {"accounts", "workspace", "django"} <= loaded
    assert not loaded & set(HEAVY)
