# Builds llama-cpp-python once per version, CPU and build options, and keeps the wheel. Sets LLAMA_WHEEL. Sourced, never run.
# shellcheck shell=bash

# A native build uses AMX where the CPU names it, and on virtual machines that offer AMX without letting programs enable
# its tile registers, the first evaluation dies with SIGILL. Without it the AVX-512 paths stay.
_NO_AMX='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'

# What computes: ZOE_LLAMA_BACKEND says cpu, cuda or vulkan; else CUDA where there are a GPU of NVIDIA and its compiler.
# A compiler alone is none: a build for CUDA takes half an hour, and is of no use to a machine without a GPU.
llama_backend() {
  case ${ZOE_LLAMA_BACKEND:-auto} in
    auto) if _has_nvidia_gpu && [ -n "$(_find_nvcc)" ]; then echo cuda; else echo cpu; fi ;;
    cpu | cuda | vulkan) echo "$ZOE_LLAMA_BACKEND" ;;
    *) fail "ZOE_LLAMA_BACKEND is '$ZOE_LLAMA_BACKEND'." "It may be cpu, cuda or vulkan, or left out." ;;
  esac
}

# ZOE_MACHINE_ROOT is for tests: where the files of a machine are.
_has_nvidia_gpu() {
  [ -e "${ZOE_MACHINE_ROOT:-}/dev/nvidia0" ] || [ -e "${ZOE_MACHINE_ROOT:-}/etc/nv_tegra_release" ]
}

# JetPack and NVIDIA's packages leave the compiler outside of PATH.
_find_nvcc() {
  command -v nvcc || ls "${ZOE_MACHINE_ROOT:-}"/usr/local/cuda/bin/nvcc 2>/dev/null || true
}

# What is found out about the machine, in a sentence.
llama_backend_reason() {
  case $(llama_backend) in
    cuda) echo "for CUDA ($(_find_nvcc))" ;;
    vulkan) echo "for Vulkan" ;;
    cpu)
      if _has_nvidia_gpu; then
        echo "for the CPU: there is a GPU of NVIDIA, but no nvcc; install the CUDA toolkit and run this again to use it"
      else
        echo "for the CPU"
      fi
      ;;
  esac
}

# ZOE_LLAMA_CMAKE_ARGS comes last and so wins.
_llama_cmake_args() {
  if [ "$(uname -m)" = x86_64 ]; then
    printf -- "-DCMAKE_C_FLAGS='%s' -DCMAKE_CXX_FLAGS='%s' " "$_NO_AMX" "$_NO_AMX"
  fi
  case $(llama_backend) in
    cuda) printf -- '-DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native -DCMAKE_CUDA_COMPILER=%s ' "$(_find_nvcc)" ;;
    vulkan) printf -- '-DGGML_VULKAN=ON ' ;;
  esac
  printf '%s' "${ZOE_LLAMA_CMAKE_ARGS:-}"
}

# The folder of the wheel: a build is good for one version, one set of instructions and one set of options.
llama_wheel_folder() {
  local version features
  version=$(sed -n 's/^llama-cpp-python==\([^ ]*\).*/\1/p' scripts/locks/llama.txt)
  features=$(grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null | tr ' ' '\n' |
    grep -E '^(sse|ssse|avx|fma|f16c|bmi|asimd|sve|sme|i8mm|bf16|fphp)' | sort -u | tr '\n' ' ')
  printf '%s/wheels/%s-%s-%s' "$ZOE_CACHE" "$version" "$(uname -m)" \
    "$(printf '%s|%s' "$features" "$(_llama_cmake_args)" | sha256sum | cut -c1-12)"
}

# Sets LLAMA_WHEEL if the wheel is there.
find_llama_wheel() {
  LLAMA_WHEEL=$(ls "$(llama_wheel_folder)"/llama_cpp_python-*.whl 2>/dev/null | head -1)
  [ -n "$LLAMA_WHEEL" ]
}

# Before anything long begins: can it be compiled here?
check_compiler() {
  local compiler=${CXX:-c++}
  llama_backend >/dev/null
  have "$compiler" && return
  if is_root && have apt-get; then
    step "Installing a C++ compiler (apt-get install g++)"
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends g++ libc6-dev; } >"$ZOE_CACHE/apt.log" 2>&1 &&
      have "$compiler" && return
  fi
  fail "a C++ compiler is needed to build llama.cpp, and there is no $compiler." \
    "On Debian and Ubuntu: sudo apt-get install g++    On Fedora: sudo dnf install gcc-c++" \
    "Then run this again; what is already done is kept."
}

# start_llama_build: compiles in the background (4 to 7 minutes on two cores) while packages are downloaded.
start_llama_build() {
  local folder
  folder=$(llama_wheel_folder)
  LLAMA_LOG="$ZOE_CACHE/llama-build.log"
  step "Building llama.cpp $(llama_backend_reason), in the background, once (log: $LLAMA_LOG)"
  case $(llama_backend) in
    cpu) step "  It takes about 5 minutes" ;;
    *) step "  It takes up to half an hour" ;;
  esac
  rm -rf "$folder" "$ZOE_CACHE/llama-build"
  mkdir -p "$ZOE_CACHE/llama-build/tmp" "$(dirname "$folder")"
  set -m # a process group of its own, so that all of the build can be stopped
  _build_llama_wheel "$folder" >"$LLAMA_LOG" 2>&1 9>&- &
  LLAMA_BUILD_PID=$!
  set +m
  trap stop_llama_build EXIT
}

stop_llama_build() {
  kill -TERM -- "-$LLAMA_BUILD_PID" 2>/dev/null || true
}

# The wheel is moved to its place last, so that a build that was interrupted leaves nothing that looks finished. /tmp may be
# in memory and too small for the build's files.
_build_llama_wheel() {
  local work="$ZOE_CACHE/llama-build"
  # pip comes with its own environment: a Python unpacked from Debian packages has none
  "$UV" venv --quiet --python "$PYTHON" "$work/venv" &&
    "$UV" pip install --quiet --python "$work/venv" pip &&
    TMPDIR="$work/tmp" CMAKE_ARGS=$(_llama_cmake_args) "$work/venv/bin/python" -m pip wheel --verbose --no-deps --no-binary llama-cpp-python \
      --require-hashes -r scripts/locks/llama.txt -w "$work/wheel" &&
    mv "$work/wheel" "$1"
}

# Shows the compiler's progress, a line per tenth, until the build is done.
wait_for_llama_build() {
  local shown=-1 done_files all_files
  while kill -0 "$LLAMA_BUILD_PID" 2>/dev/null; do
    if IFS='/' read -r done_files all_files < <(grep -aoE '\[[0-9]+/[0-9]+\]' "$LLAMA_LOG" | tail -1 | tr -d '[]') &&
      [ $((done_files * 10 / all_files)) != "$shown" ]; then
      shown=$((done_files * 10 / all_files))
      step "  llama.cpp: $done_files of $all_files files compiled"
    fi
    sleep 1
  done
  if ! wait "$LLAMA_BUILD_PID" || ! find_llama_wheel; then
    tail -n 15 "$LLAMA_LOG" >&2
    fail "llama.cpp could not be built (log: $LLAMA_LOG)." \
      "If the log names a missing tool, install it and run this again." \
      "If memory ran out, build with one job: CMAKE_BUILD_PARALLEL_LEVEL=1 $0"
  fi
  trap - EXIT
  rm -rf "$ZOE_CACHE/llama-build"
}

# The library may be built and yet crash on this CPU: run one evaluation in a child process.
test_llama() {
  step "Testing the llama.cpp build"
  local log="$ZOE_CACHE/llama-test.log" status=0
  PYTHONPATH=. .venv/bin/python scripts/setup.d/llama_selftest.py >"$log" 2>&1 || status=$?
  [ "$status" = 0 ] && return
  tail -n 15 "$log" >&2
  if [ "$status" -gt 128 ]; then
    fail "this build of llama.cpp crashes on this CPU (signal $((status - 128)))." \
      "Build one without CPU-specific instructions: ZOE_LLAMA_CMAKE_ARGS=-DGGML_NATIVE=OFF $0"
  fi
  fail "llama.cpp does not work here (log: $log)." "Build it again: rm -r '$(llama_wheel_folder)' and run $0"
}
