#!/usr/bin/env bash
# Installs the gateways that `make bench` compares with, each into a throw-away folder under .venv-peers/.
#
# Versions are pinned, and install scripts and source builds are off: a peer is measured, not trusted. LiteLLM stays
# at 1.106 (1.107 was withdrawn as compromised); within it pip takes the newest whose requirements can be met. Whatever cannot be installed is reported and left
# out; the comparison then runs without it. Run it again to repair a half-finished install; delete the folder to start over.
set -u
cd "$(dirname "$0")/.."

PEERS=.venv-peers
PYTHON=${PYTHON:-.venv/bin/python}
LITELLM_VERSION=">=1.106,<1.107"
PORTKEY_VERSION=1.15.2
# From 1.14 on its streams fail (Portkey-AI/gateway issue 1389).
PORTKEY_SERVER_VERSION=1.13.7
TENSORZERO_VERSION=2026.6.0
PY_SPY_VERSION=0.4.3

mkdir -p "$PEERS"
summary=()

note() {
  summary+=("$1")
  printf '%s\n' "$1"
}

# install_wheels FOLDER REQUIREMENT...: a virtual environment with these requirements, from wheels alone.
install_wheels() {
  local folder=$1
  shift
  [ -x "$PEERS/$folder/bin/python" ] || "$PYTHON" -m venv "$PEERS/$folder" || return 1
  "$PEERS/$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --only-binary :all: "$@" >"$PEERS/$folder.log" 2>&1
}

install_litellm() {
  if install_wheels litellm "litellm[proxy]$LITELLM_VERSION"; then
    note "litellm $("$PEERS/litellm/bin/python" -m pip show litellm 2>/dev/null | sed -n 's/^Version: //p'): installed"
  else
    note "litellm $LITELLM_VERSION: not installed, see $PEERS/litellm.log"
  fi
}

install_portkey() {
  rm -rf "$PEERS/portkey" # npm would keep a version that it once chose
  if ! command -v npm >/dev/null; then
    note "portkey $PORTKEY_VERSION: not installed, it needs Node.js with npm (apt-get install nodejs npm)"
  elif mkdir -p "$PEERS/portkey" &&
    printf '{"private": true, "dependencies": {"@portkey-ai/gateway": "%s"}, "overrides": {"@hono/node-server": "%s"}}\n' \
      "$PORTKEY_VERSION" "$PORTKEY_SERVER_VERSION" >"$PEERS/portkey/package.json" &&
    npm install --prefix "$PEERS/portkey" --ignore-scripts --no-audit --no-fund >"$PEERS/portkey.log" 2>&1; then
    note "portkey $PORTKEY_VERSION: installed"
  else
    note "portkey $PORTKEY_VERSION: not installed, see $PEERS/portkey.log"
  fi
}

# TensorZero's gateway is a Rust program. Of the package registries only the Python one has a package of any substance
# (the crate is an empty place-holder), so this looks whether that package brings the program along.
install_tensorzero() {
  if ! install_wheels tensorzero "tensorzero==$TENSORZERO_VERSION"; then
    note "tensorzero $TENSORZERO_VERSION: not installable here, see $PEERS/tensorzero.log"
    return
  fi
  local program
  program=$(find "$PEERS/tensorzero" -type f -perm -u+x \( -name 'tensorzero-gateway' -o -name 'gateway' \) -print -quit)
  if [ -n "$program" ]; then
    ln -sf "$(realpath "$program")" "$PEERS/tensorzero/bin/tensorzero-gateway"
    note "tensorzero $TENSORZERO_VERSION: installed"
  else
    rm -rf "$PEERS/tensorzero"
    note "tensorzero $TENSORZERO_VERSION: not installable here, its Python package holds the client library and no gateway program"
  fi
}

# No peer, but what `make profile` samples the worker with.
install_py_spy() {
  if install_wheels py-spy "py-spy==$PY_SPY_VERSION"; then
    note "py-spy $PY_SPY_VERSION (for make profile): installed"
  else
    note "py-spy $PY_SPY_VERSION (for make profile): not installed, see $PEERS/py-spy.log"
  fi
}

# `bench/peers.sh NAME…` installs these alone: make profile asks for py_spy so.
for name in "${@:-litellm portkey tensorzero py_spy}"; do
  for one in $name; do
    if ! declare -F "install_$one" >/dev/null; then
      echo "bench/peers.sh: \"$one\" is no peer; choose from litellm portkey tensorzero py_spy" >&2
      exit 2
    fi
    "install_$one"
  done
done

printf '\n%s\n' "Summary:"
printf '  %s\n' "${summary[@]}"
