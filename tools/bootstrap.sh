#!/bin/sh
# Install what a target of the Makefile needs and this machine lacks.
#
#   tools/bootstrap.sh system                    Qt's system libraries, and Xvfb where no display is
#   tools/bootstrap.sh environment DIR EXTRAS    a virtual environment with the package, editable
#
# On Debian and its relatives, root gets missing packages through apt-get; everybody
# else gets one sentence that says what to install.
set -eu

QT_PACKAGES="libegl1 libgl1 libgl1-mesa-dri libxkbcommon0 libxkbcommon-x11-0 libdbus-1-3
  libfontconfig1 libglib2.0-0 fonts-dejavu-core libx11-xcb1 libxcb1 libxcb-cursor0
  libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
  libxcb-shape0 libxcb-sync1 libxcb-xfixes0 libxcb-xinerama0 libxcb-xkb1"
XVFB_PACKAGES="xvfb xauth"

fail() {
  echo "bootstrap: $*" >&2
  exit 1
}

is_debian() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null
}

has_package() {
  # Newer Debian and Ubuntu releases renamed some libraries with the suffix t64.
  dpkg-query -W -f '${db:Status-Status}\n' "$1" "$1t64" 2>/dev/null | grep -qx installed
}

install_packages() {
  if [ "$(id -u)" -ne 0 ]; then
    fail "please install the missing system packages first: sudo apt-get install $*"
  fi
  echo "bootstrap: installing system packages: $*"
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

install_system() {
  [ "$(uname -s)" = Linux ] || return 0 # elsewhere the Qt wheels bring all they need
  wanted=$QT_PACKAGES
  headless=$([ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || echo yes)
  [ -z "$headless" ] || wanted="$wanted $XVFB_PACKAGES"
  if is_debian; then
    missing=""
    for package in $wanted; do
      has_package "$package" || missing="$missing $package"
    done
    # shellcheck disable=SC2086 # one word per package
    [ -z "$missing" ] || install_packages $missing
  elif [ -n "$headless" ] && ! { command -v xvfb-run && command -v xauth; } >/dev/null; then
    fail "there is no display; please install xvfb-run and xauth with your package manager," \
      "and the X11 (xcb) and OpenGL libraries that Qt 6 needs."
  fi
}

find_python() {
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  if [ -n "${PYTHON:-}" ]; then
    fail "PYTHON=$PYTHON is no Python 3.11 or newer; please name one that is."
  fi
  fail "no Python 3.11 or newer was found; please install one, or name it: make PYTHON=/path/to/python3.11"
}

require_venv_module() {
  ! "$1" -c 'import ensurepip, venv' 2>/dev/null || return 0
  # Debian ships these two modules of the standard library apart from Python.
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  is_debian || fail "$1 lacks the modules venv and ensurepip; please install them, or name another Python with PYTHON=."
  install_packages "$package"
}

make_environment() {
  venv=$1
  extras=$2
  if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    python=$(find_python)
    require_venv_module "$python"
    "$python" -m venv --clear "$venv"
  fi
  echo "bootstrap: installing napari-neurobridge[$extras] into $venv;" \
    "the first time this takes some minutes and about 7 GB of disk"
  "$venv/bin/python" -m pip install --no-input --disable-pip-version-check \
    --progress-bar off --editable ".[$extras]" ||
    fail "pip could not install the package; its last lines above say why. Is the network reachable?"
}

case "${1:-}" in
system) install_system ;;
environment) make_environment "$2" "$3" ;;
*) fail "usage: tools/bootstrap.sh system | environment DIR EXTRAS" ;;
esac
