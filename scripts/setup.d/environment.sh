# Makes and keeps .venv: the locked packages, the llama.cpp wheel and this repository. Sourced, never run.
# shellcheck shell=bash

_STAMP=.venv/.zoe-setup

# What .venv must hold, as one hash: the locks, the packaging details and the build of llama.cpp.
_environment_key() {
  { cat scripts/locks/dev.txt scripts/locks/llama.txt pyproject.toml server/*/pyproject.toml; llama_wheel_folder; pwd; } | sha256sum | cut -c1-32
}

environment_is_ready() {
  [ -r "$_STAMP" ] && [ "$(cat "$_STAMP")" = "$(_environment_key)" ] && .venv/bin/python -c '' 2>/dev/null
}

# An environment that works is kept, whoever made it; only one whose Python is gone or too old is made anew.
_make_environment() {
  if python_is_good .venv/bin/python; then
    PYTHON=.venv/bin/python
    return
  fi
  find_python
  step "Making .venv"
  "$UV" venv --quiet --clear --python "$PYTHON" .venv
}

_install_packages() {
  step "Installing $(grep -c '==' scripts/locks/dev.txt) pinned packages (Home Assistant, its frontend, tests)"
  # Two of them are compiled here; the headers may lie in a private folder. Byte code is made now and not at every start,
  # where the environment forbids Python to keep it.
  if ! CPATH=$(python_include .venv/bin/python) "$UV" pip install --quiet --compile-bytecode --python .venv/bin/python \
    --require-hashes -r scripts/locks/dev.txt; then
    fail "the packages could not be installed (see above)." \
      "Check the network (packages come from the Python package index; set UV_DEFAULT_INDEX for a mirror) and run this again."
  fi
}

# The repository's own distributions, editable: the command `zoe` and all imports follow the working tree.
_install_zoe() {
  "$UV" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation \
    --editable . --editable server/zoe_eval --editable server/zoe_train
}

_install_llama() {
  local installed
  installed=$(cat .venv/.zoe-llama 2>/dev/null || true)
  if [ "$installed" != "$LLAMA_WHEEL" ] || ! .venv/bin/python -c 'import importlib.metadata as m; m.version("llama-cpp-python")' 2>/dev/null; then
    "$UV" pip install --quiet --python .venv/bin/python --no-deps --reinstall-package llama-cpp-python "$LLAMA_WHEEL"
    test_llama
    printf '%s' "$LLAMA_WHEEL" >.venv/.zoe-llama
  fi
}

make_environment() {
  find_uv
  _make_environment
  LLAMA_BUILD_PID=""
  if ! find_llama_wheel; then
    check_compiler
    start_llama_build
  fi
  _install_packages
  _install_zoe
  [ -z "$LLAMA_BUILD_PID" ] || wait_for_llama_build
  _install_llama
  _environment_key >"$_STAMP"
}
