# A browser for pictures and for the browser test: Debian's Chromium. Sourced, never run.
# shellcheck shell=bash

CHROMIUM=/usr/bin/chromium

# Installs it where this script may; else says what to do, and fails.
need_chromium() {
  have "$CHROMIUM" && return
  if ! is_root || ! have apt-get; then
    fail "$CHROMIUM is missing." "On Debian: sudo apt-get install chromium" "Then run this again."
  fi
  step "Installing Chromium (apt-get install chromium)"
  apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null ||
    fail "Chromium could not be installed." "Try: apt-get install chromium"
}
