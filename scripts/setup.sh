#!/bin/sh
# Sets up .venv for scripts/demo.sh (argument: demo) or scripts/test.sh (argument: test): Debian packages that are
# missing, Python among them, then what comes from PyPI. Does nothing when that is done already.
# PYTHON names another interpreter than python3.
set -eu

purpose=${1:?demo or test}
again=scripts/$purpose.sh
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
stop() { echo "setup: $*" >&2; exit 1; }

# --- Debian packages ---
# hnswlib comes as source: it needs a C++ compiler and Python's headers. PortAudio hears microphones.
packages="g++ libportaudio2"
# What tests use beside that: a real broker, a real sound server, clocks that step, the unit's and the pages' checks.
for_tests="libasound2-plugins pulseaudio pulseaudio-utils mosquitto libfaketime nodejs openssl systemd"
[ "$purpose" = demo ] || packages="$packages $for_tests"
python=${PYTHON:-python3}
about() { "$python" -c "import sys, sysconfig; print($1)" 2>/dev/null; }
new_enough() { [ "$(about 'sys.version_info >= (3, 11)')" = True ]; }
debian=$(command -v apt-get || true)
if ! command -v "$python" >/dev/null; then
    [ -z "${PYTHON:-}" ] || stop "no $python here; PYTHON=… names another one"
    packages="$packages python3 python3-dev python3-venv"
elif ! new_enough; then
    stop "$("$python" --version 2>&1) is too old: Python 3.11 or newer is needed. Name one: PYTHON=python3.12 $again"
elif [ "$(about 'sys.base_prefix == "/usr"')" = True ]; then # Debian's own, in parts
    version=$(about '"python%d.%d" % sys.version_info[:2]')
    packages="$packages $version-dev $version-venv"
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null || [ ! -e "$(about 'sysconfig.get_path("include")')/Python.h" ]; then
    stop "$python has no venv, ensurepip or headers. Name another one: PYTHON=python3.12 $again"
fi

missing() {
    for package in $packages; do
        case $package in g++) ! command -v c++ >/dev/null || continue ;; nodejs) ! command -v node >/dev/null || continue ;; esac
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf ' %s' "$package"
    done
}
if [ -n "$debian" ]; then missing=$(missing); else missing= ; fi
if [ -n "$missing" ]; then
    install="apt-get install -y --no-install-recommends$missing"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif sudo -n true 2>/dev/null; then
        as_root=sudo
    elif command -v sudo >/dev/null; then
        stop "Debian packages are missing. Type this line, then $again again:
    sudo apt-get update && sudo $install"
    else
        stop "Debian packages are missing. Type this line as root, then $again again:
    apt-get update && $install"
    fi
    say "installing$missing (apt-get)"
    log=$(mktemp)
    # What an interruption left half-configured first. RUNLEVEL=1: starts no broker because the tests bring their own.
    # shellcheck disable=SC2086 # words
    $as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a >"$log" 2>&1 &&
        $as_root env apt-get update -qq -o APT::Update::Error-Mode=any >>"$log" 2>&1 &&
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $install >>"$log" 2>&1 || {
        grep -E '^(E|W|dpkg):' "$log" | head -n 5 >&2 || true
        stop "apt-get failed (all it said: $log). Is the network there? Needed are:$missing"
    }
    rm -f "$log"
fi
if [ -z "$debian" ]; then
    commands="$python c++"
    [ "$purpose" = demo ] || commands="$commands mosquitto pulseaudio pactl node openssl systemd-analyze"
    for command in $commands; do
        PATH=$PATH:/usr/sbin command -v "$command" >/dev/null ||
            stop "no $command here, and no apt-get to install it. Needed is what Debian calls $packages; then $again again"
    done
fi
new_enough || stop "this Debian has no Python 3.11 or newer. Name one: PYTHON=python3.12 $again"

# --- .venv ---
# What it depends on. A stamp that says the same means it is done; a file `begun`, that somebody was interrupted.
version=$(about '"%d.%d" % sys.version_info[:2]')
wanted="$version $PWD $(cat pyproject.toml scripts/setup.sh | cksum)"
for done in "$purpose" test; do
    if [ "$(cat ".venv/.setup-$done" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
        exit 0
    fi
done
if [ -e .venv/begun ] || [ "$(.venv/bin/python -c 'import sys, pip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$version" ]; then
    say "making .venv ($("$python" --version))"
    rm -rf .venv
    mkdir .venv
    touch .venv/begun
    "$python" -m venv .venv
fi
touch .venv/begun
rm -f .venv/.setup-*
log=$(mktemp)
pip() {
    .venv/bin/python -m pip --disable-pip-version-check -qq "$@" >"$log" 2>&1 || {
        grep -v '^WARNING: Retrying' "$log" | tail -n 5 >&2 || true
        stop "pip could not install that (all it said: $log). It needs PyPI, or a folder of wheels: PIP_FIND_LINKS=…"
    }
}
# Compiled here without -march=native, and not from a cached wheel: one built for another processor dies with SIGILL.
if ! .venv/bin/python -c 'import hnswlib' 2>/dev/null; then
    say "compiling hnswlib (a minute)"
    HNSWLIB_NO_NATIVE=1 pip install --no-cache-dir --no-binary hnswlib 'hnswlib>=0.8'
fi
say "installing edge-monitor and what it needs (a minute or two)"
pip install --editable ".[$purpose]"
rm -f "$log" .venv/begun
echo "$wanted" >".venv/.setup-$purpose"
say "done: $(du -sm .venv | cut -f1) MB in .venv"
