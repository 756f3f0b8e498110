#!/usr/bin/env bash
# Creates .venv and installs the hashed lock named by $1 (runtime or dev), then this checkout itself.
# For dev, also the servers that the tests start: Debian's PostgreSQL and Redis, where this runs as root.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=${1:?usage: setup.sh runtime|dev}

find_python() {
  for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  echo "flumegate needs Python 3.11 or newer; none was found on PATH." >&2
  exit 1
}

make_venv() {
  local python
  python=$(find_python)
  if ! "$python" -m venv .venv 2>.venv.log; then
    # Debian splits venv off; as root it can be fetched, else the user is told.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
      "$python" -m venv .venv
    else
      cat .venv.log >&2
      rm -f .venv.log
      echo "Install your distribution's python3-venv package, then run this again." >&2
      exit 1
    fi
  fi
  rm -f .venv.log
}

# The tests start their own servers of these; a machine that cannot have them skips those tests.
install_servers() {
  local missing=()
  command -v redis-server >/dev/null || missing+=(redis-server)
  command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed: ${missing[*]}; the tests that need them will be skipped." >&2
    return 0
  fi
  echo "installing ${missing[*]} for the tests …"
  # Debian starts what it installs unless this file says no (101); one that is there already is the machine's own.
  local policy=/usr/sbin/policy-rc.d ours=no
  if [ ! -e "$policy" ]; then
    ours=yes
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
    >.servers.log 2>&1; then
    tail -n 5 .servers.log >&2
    echo "could not install ${missing[*]}; the tests that need them will be skipped." >&2
  fi
  rm -f .servers.log
  [ "$ours" = no ] || rm -f "$policy"
}

[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || { rm -rf .venv; make_venv; }
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
echo "installing the $lock lock into .venv …"
if [ "$lock" = runtime ]; then
  "${pip[@]}" install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
else
  "${pip[@]}" install --require-hashes -r requirements/dev.txt
  install_servers
fi
"${pip[@]}" install --no-deps --no-build-isolation --editable .
