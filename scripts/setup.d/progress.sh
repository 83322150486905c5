# Progress lines with times, and failures that say what to do. Sourced, never run.
# shellcheck shell=bash

PROGRESS_START=$SECONDS

# step TEXT: a line about what happens now, with the seconds since the start.
step() {
  printf '[%3ds] %s\n' $((SECONDS - PROGRESS_START)) "$*"
}

# finish TEXT: the last line of a script that went well.
finish() {
  printf '[%3ds] %s.\n' $((SECONDS - PROGRESS_START)) "$*"
}

# fail WHAT WHAT_TO_DO...: one line about what went wrong, then lines about what to do; ends the script.
fail() {
  printf '\nSet-up failed: %s\n' "$1" >&2
  shift
  printf '  %s\n' "$@" >&2
  exit 1
}

# have COMMAND: is it on the PATH?
have() {
  command -v "$1" >/dev/null 2>&1
}

# is_root: may this script install Debian packages for the whole machine?
is_root() {
  [ "$(id -u)" = 0 ]
}
