#!/bin/sh
# Sets up .venv for `make demo` (argument: demo) or `make test` (argument: test), on Debian or Ubuntu.
# Does nothing when that is done already. PYTHON names another interpreter than python3.
set -eu

purpose=${1:?demo or test}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
stop() { echo "setup: $*" >&2; exit 1; }

command -v "$python" >/dev/null || stop "no $python here; install Python 3.11 or newer, or name one: make $purpose PYTHON=python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$("$python" --version) is too old; install Python 3.11 or newer, or name one: make $purpose PYTHON=python3.12"

# What the state of this set-up depends on; a stamp that says the same means there is nothing to do.
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
wanted="$version $PWD $(cat pyproject.toml scripts/setup.sh | cksum)"
for done in "$purpose" test; do
    if [ "$(cat ".venv/.setup-$done" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
        exit 0
    fi
done

# Debian packages that are missing. hnswlib comes as source: it needs a C++ compiler and Python's headers.
missing=
need() { missing="$missing $*"; }
installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
debian_python=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2] if sys.base_prefix == "/usr" else "")')
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    [ -n "$debian_python" ] || stop "$python has no venv or ensurepip; name another one: make $purpose PYTHON=…"
    need "$debian_python-venv"
fi
command -v c++ >/dev/null || command -v g++ >/dev/null || need g++
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
if [ ! -e "$header" ]; then
    [ -n "$debian_python" ] || stop "$python has no headers ($header); name another one: make $purpose PYTHON=…"
    need "$debian_python-dev"
fi
if [ "$purpose" = test ]; then # a real broker, a real sound server, clocks that step
    for package in libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils mosquitto libfaketime; do
        installed "$package" || need "$package"
    done
    for tool in node:nodejs systemd-analyze:systemd openssl:openssl; do # command:package
        command -v "${tool%%:*}" >/dev/null || need "${tool##*:}"
    done
fi
if [ -n "$missing" ]; then
    install="apt-get install -y --no-install-recommends$missing"
    if ! command -v apt-get >/dev/null; then
        stop "needs what Debian calls$missing; install that, then call make $purpose again"
    elif [ "$(id -u)" = 0 ]; then
        as_root=
    elif sudo -n true 2>/dev/null; then
        as_root=sudo
    else
        stop "Debian packages are missing. Type this line, then make $purpose again:
    sudo $install"
    fi
    say "installing$missing (apt-get)"
    # RUNLEVEL=1: do not start a broker on this machine because the tests bring one of their own
    log=$(mktemp)
    # shellcheck disable=SC2086 # words
    $as_root env apt-get update -qq >"$log" 2>&1 &&
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $install >>"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        stop "apt-get failed (all of it: $log)"
    }
    rm -f "$log"
fi

say "making .venv ($("$python" --version))"
.venv/bin/python -c "import sys, pip; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null || {
    rm -rf .venv
    "$python" -m venv .venv
}
pip() { .venv/bin/python -m pip --disable-pip-version-check -qq "$@"; }

# Compiled here without -march=native, and not from a cached wheel: one built for another processor dies with SIGILL.
if ! .venv/bin/python -c 'import hnswlib' 2>/dev/null; then
    say "compiling hnswlib (a minute)"
    HNSWLIB_NO_NATIVE=1 pip install --no-cache-dir --no-binary hnswlib 'hnswlib>=0.8'
fi
say "installing edge-monitor and what it needs (a minute or two)"
pip install --editable ".[$purpose]"
rm -f .venv/.setup-*
echo "$wanted" >".venv/.setup-$purpose"
say "done: $(du -sm .venv | cut -f1) MB in .venv"
