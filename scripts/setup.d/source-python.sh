# Python 3.14 built from source: the last resort, 4 to 6 minutes on two cores. Sets PYTHON. Sourced, never run.
# shellcheck shell=bash

SOURCE_PYTHON_VERSION=3.14.2

source_python() {
  local work="$ZOE_CACHE/source" root="$ZOE_CACHE/python-source" log="$ZOE_CACHE/source-python.log" archive
  step "Building Python $SOURCE_PYTHON_VERSION from source into $root"
  if ! have make || ! have "${CC:-cc}"; then
    step "  not possible here: make or a C compiler is missing (on Debian: apt-get install build-essential)"
    return 1
  fi
  rm -rf "$work"
  mkdir -p "$work"
  archive=${ZOE_PYTHON_SOURCE:-$work/python.tar.xz}
  if [ ! -r "$archive" ] && ! _source_download "$archive" >"$log" 2>&1; then
    step "  not possible here: no source archive ($(tail -1 "$log"))"
    return 1
  fi
  tar -xf "$archive" -C "$work" --strip-components=1 || return 1
  step "  compiling, about 5 minutes (log: $log)"
  if (cd "$work" && ./configure --prefix="$root" && make -j"$(nproc)" && make install) >"$log" 2>&1 &&
    python_is_good "$root/bin/python3.14"; then
    PYTHON="$root/bin/python3.14"
    rm -rf "$work"
    return
  fi
  step "  did not work (log: $log); headers of OpenSSL, SQLite, libffi and zlib are needed:"
  step "  apt-get install libssl-dev libsqlite3-dev libffi-dev zlib1g-dev libbz2-dev liblzma-dev"
  return 1
}

_source_download() {
  local url="https://www.python.org/ftp/python/$SOURCE_PYTHON_VERSION/Python-$SOURCE_PYTHON_VERSION.tar.xz"
  if have curl; then
    curl -fsSL --connect-timeout 10 --max-time 300 -o "$1" "$url"
  elif have wget; then
    wget -q --timeout=10 --tries=1 -O "$1" "$url"
  else
    echo "neither curl nor wget is installed"
    return 1
  fi
}
