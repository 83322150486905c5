# Finds or gets `uv`, the installer of Python packages. Sets UV. Sourced, never run.
# shellcheck shell=bash

# A command may be there and not work (a pyenv shim without a version behind it), so it is tried.
_uv_works() {
  [ -n "$1" ] && "$1" --version >/dev/null 2>&1
}

find_uv() {
  local candidate
  # Networks that open TLS have their own certificate authority, which the machine knows and uv's own list does not.
  if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
    export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true} UV_NATIVE_TLS=${UV_NATIVE_TLS:-true}
  fi
  for candidate in "$(command -v uv || true)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv" "$ZOE_CACHE/uv/bin/uv"; do
    if _uv_works "$candidate"; then
      UV=$candidate
      return
    fi
  done
  _install_uv
}

# uv is on PyPI; it goes into a folder of ours, so that no Python of the machine is touched.
_install_uv() {
  local folder="$ZOE_CACHE/uv" log="$ZOE_CACHE/uv.log" python
  mkdir -p "$ZOE_CACHE"
  : >"$log"
  for python in python3 python; do
    have "$python" || continue
    step "Installing uv with $python's pip into $folder"
    rm -rf "$folder"
    if "$python" -m venv "$folder" >>"$log" 2>&1 && "$folder/bin/pip" install -q uv >>"$log" 2>&1; then
      :
    else # Debian's python3 without python3-venv still may have pip
      rm -rf "$folder"
      "$python" -m pip install -q --target "$folder" uv >>"$log" 2>&1 || continue
    fi
    if _uv_works "$folder/bin/uv"; then
      UV="$folder/bin/uv"
      return
    fi
  done
  fail "uv was not found and could not be installed (log: $log)." \
    "Install it, then run this again:" \
    "  curl -LsSf https://astral.sh/uv/install.sh | sh" \
    "or, on Debian and Ubuntu, give Python the means to do it: apt-get install python3-venv python3-pip"
}
