"""Read our own code, templates, scripts and tracked files for what must never stand in them.

Each rule is shown a planted fault as well, so that a rule which has stopped biting is noticed.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drservice.settings.env import BASE_DIR

PACKAGES = ("accounts", "drservice", "inference", "training", "workspace")
NOT_OURS = {".git", ".venv", "var", "node_modules", "__pycache__"}

# What runs text as code, believes bytes that say what they are, or can't be told apart from that.
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "numpy.fromfile",
    "django.utils.safestring.mark_safe", "django.utils.safestring.SafeString",
    "hashlib.md5", "hashlib.sha1", "hashlib.new", "tempfile.mktemp",
    "ssl._create_unverified_context",
}  # fmt: skip
BANNED_MODULES = {
    "pickle", "cPickle", "dill", "marshal", "shelve", "jsonpickle",
    "xml", "lxml", "telnetlib", "ftplib", "ldap", "ldap3",
}  # fmt: skip
BANNED_ARGUMENTS = {"shell": True, "verify": False, "weights_only": False, "allow_pickle": True}
# MongoDB runs what stands under these as JavaScript.
BANNED_OPERATORS = {"$where", "$function", "$accumulator", "mapReduce"}

NETWORK_MODULES = {
    "aiohttp", "http.client", "httpx", "requests", "smtplib", "socket", "urllib.request", "urllib3",
    "websockets",
}  # fmt: skip
# Who may open a connection by hand. All of these speak to this machine alone, but for the directory
# that whoever runs the service has named.
MAY_CONNECT = {
    "accounts/sign_in/oidc.py": "knows the errors of the requests to the directory at OIDC_ISSUER",
    "accounts/people/mail.py": "knows the errors of the mail server at EMAIL_URL",
    "drservice/embedded/ports.py": "finds a free port on loopback",
    "drservice/embedded/redis_server.py": "asks the redis that it started itself",
    "drservice/supervisor/http.py": "asks the web process that it started itself",
    "drservice/supervisor/web_session.py": "walks through the pages of the demo on loopback",
}

# `random` can be predicted. Only pictures, shuffles and trial plans may hang on it.
MAY_BE_PREDICTABLE = re.compile(r"(inference|training)/|drservice/supervisor/|workspace/demo\.py")


def code_files() -> list[Path]:
    return sorted(
        path
        for package in PACKAGES
        for path in (BASE_DIR / package).rglob("*.py")
        if "tests" not in path.parts and "testing" not in path.parts
    )


def name_of(path: Path) -> str:
    return str(path.relative_to(BASE_DIR))


def imported(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name of a module stands for, in full."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.asname or one.name.partition(".")[0]: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return names


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """Return the full name of what is called, for instance `os.system`, or nothing."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = full_name(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def dangers(code: str) -> Iterator[str]:
    """Yield every banned call, argument, module and operator of a module with its line."""
    tree = ast.parse(code)
    names = imported(tree)
    for module in names.values():
        if module.partition(".")[0] in BANNED_MODULES:
            yield f"import {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = full_name(node.func, names)
            if called in BANNED_CALLS or _is_unsafe_load(called, node):
                yield f"{node.lineno}: {called}"
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg in BANNED_ARGUMENTS and value is BANNED_ARGUMENTS[keyword.arg]:
                    yield f"{node.lineno}: {keyword.arg}={value}"
        elif isinstance(node, ast.Constant) and node.value in BANNED_OPERATORS:
            yield f"{node.lineno}: {node.value}"


def _is_unsafe_load(called: str, node: ast.Call) -> bool:
    """Tell whether torch would run what a file says; asked for weights alone it doesn't."""
    options = {one.arg: getattr(one.value, "value", None) for one in node.keywords}
    return called == "torch.load" and options.get("weights_only") is not True


def connections(code: str) -> set[str]:
    """Return the modules for connections that a module imports."""
    modules = {f"{name}." for name in imported(ast.parse(code)).values()}
    return {
        known for known in NETWORK_MODULES if any(name.startswith(f"{known}.") for name in modules)
    }


@pytest.mark.parametrize(
    "fault",
    [
        "eval('1')",
        "exec(text)",
        "import os\nos.system('ls')",
        "from os import popen as run\nrun('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import pickle",
        "from pickle import loads",
        "import yaml\nyaml.load(text)",
        "import torch\ntorch.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "from django.utils.safestring import mark_safe\nmark_safe(text)",
        "import hashlib\nhashlib.md5(text)",
        "import xml.etree.ElementTree",
        "cases.find({'$where': text})",
        "client.get(address, verify=False)",
    ],
)
def test_code_scan_catches(fault):
    assert list(dangers(fault))


@pytest.mark.parametrize("path", code_files(), ids=name_of)
def test_code_runs_no_text_and_believes_no_bytes(path):
    assert list(dangers(path.read_text())) == []


@pytest.mark.parametrize(
    "fault",
    ["import requests", "import urllib.request", "from http import client", "import socket"],
)
def test_connection_scan_catches(fault):
    assert connections(fault)
    assert not connections("import urllib.parse\nfrom http import HTTPStatus")


def test_code_opens_no_connection_by_hand_but_to_this_machine():
    found = {name_of(path) for path in code_files() if connections(path.read_text())}
    assert found <= MAY_CONNECT.keys()


def test_secret_values_never_come_from_a_predictable_source():
    predictable = {
        name_of(path)
        for path in code_files()
        if "random" in {name.partition(".")[0] for name in imported(tree_of(path)).values()}
    }
    wrong = {name for name in predictable if not MAY_BE_PREDICTABLE.match(name)}
    assert not wrong, "use the module secrets"


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def foreign_formats(code: str) -> list[int]:
    """Return the lines where a text that isn't a constant of the code is a format."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("format", "format_map")
        and not isinstance(node.func.value, ast.Constant)
        and not ast.unparse(node.func.value).rpartition(".")[2].isupper()
    ]


# The words of its own table of causes.
OWN_FORMATS = {"drservice/embedded/diagnosis.py"}


def test_texts_are_formatted_by_constants_alone():
    assert foreign_formats("told.format(user)")
    assert not foreign_formats("TOLD.format(user)\n'{}'.format(user)")
    found = {name_of(path) for path in code_files() if foreign_formats(path.read_text())}
    assert found <= OWN_FORMATS


def fixed_passwords(code: str) -> list[str]:
    """Return the constants that a call in the code sets as somebody's password."""
    calls = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    given = [
        argument
        for node in calls
        for argument in [
            *(keyword.value for keyword in node.keywords if "password" in (keyword.arg or "")),
            *(node.args if getattr(node.func, "attr", "") == "set_password" else ()),
        ]
    ]
    return [one.value for one in given if isinstance(one, ast.Constant) and _is_text(one)]


def _is_text(node: ast.Constant) -> bool:
    return isinstance(node.value, str) and node.value != ""


def test_no_password_stands_in_the_code():
    assert fixed_passwords("user_create(email=email, password='demo-demo')")
    assert fixed_passwords("user.set_password('demo-demo')")
    assert not fixed_passwords("user_create(password=secrets.token_urlsafe())")
    assert not [name_of(path) for path in code_files() if fixed_passwords(path.read_text())]


def test_every_connection_to_redis_has_a_time_out():
    calls = [
        (name_of(path), {keyword.arg for keyword in node.keywords})
        for path in code_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_url"
    ]
    assert calls
    assert not [name for name, arguments in calls if "socket_connect_timeout" not in arguments]


RAW_MARKUP = re.compile(r"\|\s*(?:safe|safeseq)\b|autoescape\s+off|\{%\s*debug\b")


@pytest.mark.parametrize("fault", ["{{ name|safe }}", "{% autoescape off %}", "{{ a| safeseq }}"])
def test_template_scan_catches(fault):
    assert RAW_MARKUP.search(fault)


def test_templates_escape_everything():
    templates = sorted((BASE_DIR / "templates").rglob("*.html"))
    found = {name_of(path) for path in templates if RAW_MARKUP.search(path.read_text())}
    assert templates
    assert not found


# An address from a template variable could begin with `javascript:`; ours come from {% url %}.
# The names here hold addresses that the service made itself.
LINK_TO_VARIABLE = re.compile(r"""(?:href|src|action|hx-\w+)="\{\{\s*([\w.]+)""")
OUR_ADDRESSES = re.compile(
    r"\w+_url|result\.case_url|request\.(?:get_full_path|path)|act\.back|totp_svg_data_uri"
)


def test_links_lead_to_addresses_that_the_service_made():
    found = {
        f"{name_of(path)}: {variable}"
        for path in (BASE_DIR / "templates").rglob("*.html")
        for variable in LINK_TO_VARIABLE.findall(path.read_text())
        if not OUR_ADDRESSES.fullmatch(variable)
    }
    assert LINK_TO_VARIABLE.search('<a href="{{ patient.website }}">')
    assert not found


# What turns text into markup or code, keeps it in the browser, or hands it to another window.
SCRIPT_DANGERS = re.compile(
    r"\.(?:inner|outer)HTML\s*[+]?=|insertAdjacentHTML|document\.write|\beval\(|new Function"
    r"|localStorage|sessionStorage|indexedDB|document\.cookie|postMessage|serviceWorker|\$\.extend"
)


@pytest.mark.parametrize(
    "fault",
    ["row.innerHTML = name", "eval(text)", "localStorage.token = 1", "document.write(name)"],
)
def test_script_scan_catches(fault):
    assert SCRIPT_DANGERS.search(fault)


def test_our_scripts_show_text_as_text_and_keep_nothing():
    scripts = sorted((BASE_DIR / "static" / "js").rglob("*.js"))
    assert scripts
    assert not {name_of(path): found for path in scripts
                if (found := SCRIPT_DANGERS.findall(path.read_text()))}  # fmt: skip


SECRETS = {
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "cloud key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}\b"),
    "service token": re.compile(r"\b(?:gh[pousr]_|glpat-|xox[abpr]-|sk_live_)[0-9A-Za-z_-]{16,}"),
    "signed token": re.compile(r"\beyJ[0-9A-Za-z_-]{16,}\.eyJ[0-9A-Za-z_-]{16,}\."),
    "password in an address": re.compile(r"\w+://[^/\s:@'\"`]+:[^/\s:@'\"`$<{]{6,}@"),
    "secret in a setting": re.compile(
        r"""(?i)(?:secret|password|passwd|token|api_?key|master_?key)\w*["']?\s*[:=]\s*["']"""
        r"""(?=[^"']*\d)[0-9A-Za-z+/_=-]{24,}["']"""
    ),
}
# File and kind of what looks like a secret and is none, with the reason.
NO_SECRET = {
    ("docs/settings.md", "password in an address"): "an example that says so",
    ("drservice/settings/mail.py", "password in an address"): "an example that says so",
    ("accounts/services.py", "secret in a setting"): "the letters that first passwords are made of",
}


def tracked_files() -> list[Path]:
    """Return what the repository holds; without git, what lies in the folder."""
    if not (BASE_DIR / ".git").exists():
        return [
            path
            for path in BASE_DIR.rglob("*")
            if path.is_file() and not NOT_OURS & set(path.relative_to(BASE_DIR).parts)
        ]
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=BASE_DIR, capture_output=True, text=True, check=True
    )
    return [BASE_DIR / name for name in listed.stdout.split("\0") if name]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("private key", "-----BEGIN " + "RSA PRIVATE KEY-----"),
        ("cloud key", "AKIA" + "A1B2C3D4E5F6G7H8"),
        ("service token", "ghp_" + "a1" * 18),
        ("signed token", "eyJ" + "hbGciOiJIUzI1NiIsInR5" + ".eyJ" + "zdWIiOiIxMjM0NTY3ODkw" + ".x"),
        ("password in an address", "mongodb://" + "root:hunter42@db/"),
        ("secret in a setting", "API_KEY = '" + "a1b2c3d4" * 4 + "'"),
        ("secret in a setting", '"master_key": "' + "Zm9vYmFy1" * 4 + '"'),
    ],
)
def test_secret_scan_catches(kind, fault):
    assert SECRETS[kind].search(fault)


def test_repository_holds_no_secret():
    found = {
        (name_of(path), kind)
        for path in tracked_files()
        if path.is_file() and path.suffix not in {".safetensors", ".png", ".jpg"}
        for kind, pattern in SECRETS.items()
        if pattern.search(path.read_text(errors="replace"))
    }
    assert found <= NO_SECRET.keys()


def test_repository_and_images_leave_out_what_is_private():
    tracked = {name_of(path) for path in tracked_files()}
    assert not {
        name for name in tracked if name.startswith(("var/", ".env")) and name != ".env.example"
    }
    kept_out_of_git = (BASE_DIR / ".gitignore").read_text().split()
    kept_out_of_images = (BASE_DIR / ".dockerignore").read_text().split()
    assert {"/var/", "/.env"} <= set(kept_out_of_git)
    assert {".git", "var", ".env", "**/tests"} <= set(kept_out_of_images)
