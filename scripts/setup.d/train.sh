# Makes .venv-train: Python 3.11 with PyTorch, apart from the product because PyTorch follows other Pythons. Sourced, never run.
# shellcheck shell=bash

_TRAIN_STAMP=.venv-train/.zoe-setup

_train_key() {
  cat scripts/locks/train.txt pyproject.toml server/zoe_train/pyproject.toml | sha256sum | cut -c1-32
}

train_environment_is_ready() {
  [ -r "$_TRAIN_STAMP" ] && [ "$(cat "$_TRAIN_STAMP")" = "$(_train_key)" ] && .venv-train/bin/python -c '' 2>/dev/null
}

_find_train_python() {
  TRAIN_PYTHON=$("$UV" python find --no-python-downloads 3.11 2>/dev/null || true)
  [ -n "$TRAIN_PYTHON" ] && return
  step "Getting Python 3.11 with uv"
  UV_HTTP_TIMEOUT=15 UV_HTTP_RETRIES=1 "$UV" python install --quiet 3.11 ||
    fail "no Python 3.11 was found for training, and uv could not download one." "Install Python 3.11 and run this again."
  TRAIN_PYTHON=$("$UV" python find --no-python-downloads 3.11)
}

make_train_environment() {
  local torch
  find_uv
  torch=$(sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' server/zoe_train/pyproject.toml)
  if ! .venv-train/bin/python -c '' 2>/dev/null; then
    _find_train_python
    step "Making .venv-train"
    "$UV" venv --quiet --clear --seed --python "$TRAIN_PYTHON" .venv-train
  fi
  step "Installing the training packages"
  "$UV" pip install --quiet --python .venv-train/bin/python --require-hashes -r scripts/locks/train.txt ||
    fail "the training packages could not be installed (see above)." "Check the network and run this again."
  step "Installing $torch (large)"
  # pip and not uv: a machine may name its own PyTorch builds in pip's configuration
  .venv-train/bin/python -m pip install --quiet --disable-pip-version-check "$torch" ||
    fail "PyTorch could not be installed (see above)." "Check the network and the free disk space and run this again."
  "$UV" pip install --quiet --python .venv-train/bin/python --no-deps --no-build-isolation \
    --editable . --editable server/zoe_train
  _train_key >"$_TRAIN_STAMP"
}
