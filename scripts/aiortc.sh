#!/usr/bin/env bash
# Puts the Python stack aiortc into target/aiortc, for tests/interop/tests/aiortc.rs, unless it is there already.
#
#   scripts/aiortc.sh
#
# Needs python3 with venv. All versions are fixed by tests/interop/aiortc/requirements.txt. The last line of output is
# the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=tests/interop/aiortc/requirements.txt
place=${CARGO_TARGET_DIR:-target}/aiortc
if ! cmp -s "$wanted" "$place/requirements.txt"; then
    rm -rf "$place"
    python3 -m venv "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$place/requirements.txt"
fi
echo "$place/bin/python"
