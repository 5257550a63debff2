#!/bin/sh
# Make .venv and install one locked set: `sh requirements/install.sh run` (or dev, which holds run).
# Does nothing when that very set is installed already, so it may be called at every start.
set -eu

set_name=$1
lock="requirements/$set_name.txt"
venv=.venv
installed="$venv/installed-$set_name.txt"

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "No Python 3.11 or newer was found." \
        "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: PYTHON=/path/to/python3 make run"
}

make_venv() {
    python=$(find_python)
    echo "Making $venv with $python"
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --no-python-downloads --python "$python" "$venv"
    elif ! "$python" -m venv "$venv"; then
        # A half-made directory would pass for a whole one at the next start.
        rm -rf "$venv"
        fail "The virtual environment could not be made." \
            "Debian and Ubuntu keep that part in a package of its own: apt-get install python3-venv. Or install uv."
    fi
}

install_lock() {
    echo "Installing $lock; the first time this fetches some gigabytes"
    if command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python "$venv/bin/python" --require-hashes -r "$lock"
    else
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    fi
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || echo "Only Linux on x86-64 is tried and tested; going on." >&2
if [ ! -x "$venv/bin/python" ]; then
    # Also when the Python that it was made from is gone.
    rm -rf "$venv"
    make_venv
fi
cmp -s "$lock" "$installed" && exit 0
install_lock || fail "The packages of $lock could not be installed." \
    "Is there a way to the package index (PIP_INDEX_URL, HTTPS_PROXY) and room for 6 GB on this disk? Then start again."
cp "$lock" "$installed"
[ "$set_name" != dev ] || cp requirements/run.txt "$venv/installed-run.txt"
