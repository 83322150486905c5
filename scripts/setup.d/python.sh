# Finds or gets a Python that Home Assistant accepts. Sets PYTHON. Sourced, never run.
# shellcheck shell=bash

# python_is_good PYTHON: new enough, with the headers that building extensions needs? (In a subshell, so that bash stays
# silent about one that crashes.)
python_is_good() {
  [ -n "$1" ] && ( "$1" -c '
import pathlib, sys, sysconfig, ssl, sqlite3
good = sys.version_info >= (3, 14, 2) and sys.version_info < (3, 15) and sys.implementation.name == "cpython"
sys.exit(not (good and pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()))
' || exit 1 ) >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in "${ZOE_PYTHON:-}" "$(command -v python3.14 || true)" "$ZOE_CACHE/python-debian/usr/bin/python3.14" \
    "$ZOE_CACHE/python-source/bin/python3.14" "$("$UV" python find --no-python-downloads '>=3.14.2,<3.15' 2>/dev/null || true)"; do
    if python_is_good "$candidate"; then
      PYTHON=$candidate
      step "Python: $("$PYTHON" --version) ($PYTHON)"
      return
    fi
  done
  if ! _uv_python && ! debian_python && ! source_python; then
    fail "no Python >= 3.14.2 was found, and none of three ways to get one worked (see above)." \
      "Install Python 3.14 with its headers and put python3.14 on the PATH, or name it: ZOE_PYTHON=/path/python3.14 $0" \
      "A source archive will do as well: ZOE_PYTHON_SOURCE=/path/Python-3.14.2.tar.xz $0"
  fi
  step "Python: $("$PYTHON" --version) ($PYTHON)"
}

# The normal way for most machines: a build that uv downloads. Where the network forbids it, it must fail quickly.
_uv_python() {
  step "Getting Python 3.14 with uv"
  if UV_HTTP_TIMEOUT=15 UV_HTTP_RETRIES=1 timeout 300 "$UV" python install 3.14 >"$ZOE_CACHE/uv-python.log" 2>&1; then
    PYTHON=$("$UV" python find --no-python-downloads --managed-python '>=3.14.2,<3.15' 2>/dev/null || true)
    python_is_good "$PYTHON" && return
  fi
  step "  not possible here: uv could not download one (log: $ZOE_CACHE/uv-python.log)"
  return 1
}

# python_include PYTHON: the folder to put on CPATH so that its headers are found wherever it lies.
python_include() {
  "$1" -c 'import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path("include")).parent)'
}
