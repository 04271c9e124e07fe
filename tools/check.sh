#!/bin/sh
# Everything `make check` checks: each step says its name, its seconds, and on failure its output.
set -u
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
output=$(mktemp)
trap 'rm -f "$output"' EXIT
failed=0

step() { # step NAME COMMAND...
  name=$1
  shift
  begun=$(date +%s)
  if "$@" >"$output" 2>&1; then
    printf '  ok    %-10s %3d s\n' "$name" $(($(date +%s) - begun))
  else
    printf '  FAIL  %-10s %3d s: %s\n' "$name" $(($(date +%s) - begun)) "$*"
    cat "$output"
    failed=1
  fi
}

echo "==> checks"
step protos python protos/compile_protos.py
step proto-lint buf lint protos/gen/chorale.binpb --config protos/buf.yaml
step proto-form buf format -d --exit-code protos
step format ruff format --check .
step lint ruff check .
step imports lint-imports
step locks python tools/lock.py --check
step docs python tools/docs.py --check
step types mypy $(ls -d protos/*.py runtime/src client/src mesh/src audio/src services/*/src tools bench tests */tests services/*/tests conftest.py 2>/dev/null)
exit $failed
