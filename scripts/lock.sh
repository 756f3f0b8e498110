#!/usr/bin/env bash
# Recompiles requirements/*.txt: hashes, no download address, valid for every supported Python.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
python3 -m venv "$tool" && "$tool/bin/pip" --quiet install uv
compile() { "$tool/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate "$@"; }
# With the extra: a gateway that was set up by this lock can have several workers.
compile pyproject.toml --extra redis --output-file requirements/runtime.txt
echo $'hatchling>=1.27\neditables>=0.5' | compile - --output-file requirements/build.txt
compile pyproject.toml --group dev --output-file requirements/dev.txt
