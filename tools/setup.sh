#!/bin/sh
# Sets up .venv for the services named in $SERVICES (all five when empty).
#
# Every Python package comes from a lock (exact versions, no resolving). The few system
# packages are installed when this runs as root on Debian or Ubuntu, else named.
set -eu
cd "$(dirname "$0")/.."

ALL="ingest analysis fingerprint mastering generation"
SERVICES="${SERVICES:-$ALL}"
PYTHON="${PYTHON:-python3.11}"
SYSTEM_PACKAGES="gcc curl libchromaprint1"

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

for service in $SERVICES; do
  case " $ALL " in *" $service "*) ;; *) fail "there is no service '$service'; there are: $ALL" ;; esac
done

command -v "$PYTHON" >/dev/null || PYTHON=python3
command -v "$PYTHON" >/dev/null || fail "Python 3.11 is needed. Debian, Ubuntu: apt-get install python3 python3-venv"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
  || fail "Python 3.11 is needed, $("$PYTHON" --version) was found. Say where it is: make setup PYTHON=/path/to/python3.11"

missing=""
if command -v dpkg >/dev/null; then
  for package in $SYSTEM_PACKAGES; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
  done
fi
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ]; then
    say "installing system packages:$missing"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing; } >/dev/null
  else
    say "some engines will be unavailable until you run: sudo apt-get install -y$missing"
  fi
fi

if [ ! -x .venv/bin/python ]; then
  say "making .venv with $("$PYTHON" --version)"
  "$PYTHON" -m venv .venv || fail "no virtual environment could be made. Debian, Ubuntu: apt-get install python3-venv"
fi
pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input "$@"; }

locks="-r requirements-dev.lock -r mesh/requirements.lock"
packages="-e protos -e runtime -e client -e audio -e mesh"
sources=""
for service in $SERVICES; do
  locks="$locks -r services/$service/requirements.lock"
  packages="$packages -e services/$service"
  source="services/$service/requirements-source.lock"
  [ ! -f "$source" ] || sources="$sources -r $source"
done

say "installing locked packages for: $SERVICES (the first time takes some minutes)"
pip install --no-deps $locks
torch=$(cat services/*/requirements.lock | grep '^torch==' | sort -u)
if .venv/bin/python -m pip show --quiet torch 2>/dev/null && ! .venv/bin/python -c 'import torch' 2>/dev/null; then
  # The locks are those of the CPU build. Where the build on offer is another, it names what it needs.
  say "installing what this build of $torch asks for"
  pip install "$torch"
fi
if [ -n "$sources" ] && ! pip show $(sed -n 's/==.*//p' $(echo "$sources" | sed 's/ -r / /g')) >/dev/null 2>&1; then
  say "compiling what is only published as source"
  # The published C files are of 2018: Cython writes them anew. The cache may hold a build for another numpy.
  CYTHON_FORCE_REGEN=1 pip install --no-deps --no-build-isolation --no-cache-dir $sources
fi
say "compiling the contract and linking the packages"
pip install --no-deps --no-build-isolation $packages
say "compiling the kernels of the services, which numba keeps"
for kernels in analysis.worker analysis.live.room mastering.worker; do
  case " $SERVICES " in *" ${kernels%%.*} "*) .venv/bin/python -c "from chorale_$kernels import warm; warm()" ;; esac
done
# librosa compiles half a minute at its first import.
case " $SERVICES " in *" analysis "*) .venv/bin/python -W ignore -c "import librosa; librosa.feature.chroma_stft, librosa.sequence.viterbi" ;; esac
say "ready: $(.venv/bin/python -c 'import sys; print(sys.prefix)')"
