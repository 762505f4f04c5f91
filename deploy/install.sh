#!/bin/sh
# Installs edge-monitor as a systemd service on Debian or Ubuntu, or takes it away again. Run it as root, again and again
# if you like: what is there already is brought up to date, and a configuration is never written over.
set -eu
umask 022 # root's own may be 077: the service's user must be able to read and run what lies here

usage() {
    cat <<'END'
usage: deploy/install.sh [--wheels FOLDER] [--extras NAMES] [--root FOLDER] [--dry-run]
       deploy/install.sh --uninstall [--purge] [--root FOLDER] [--dry-run]

  --wheels FOLDER  install from wheels in this folder only, without a network (make it with `pip wheel`)
  --extras NAMES   e.g. llm: what else to install
  --root FOLDER    install below this folder and leave users and services alone: for images and trials
  --uninstall      stop and remove the service and the program; settings, secrets and what was learnt stay
  --purge          with --uninstall: remove those too
  --dry-run        say what would be done, and do nothing
PYTHON names another interpreter than python3.
END
}

say() { echo "install: $*"; }
stop() { echo "install: $*" >&2; exit 1; }

root= wheels= extras= uninstall= purge= dry=
while [ $# -gt 0 ]; do
    case $1 in
    --wheels | --root | --extras)
        [ $# -ge 2 ] || stop "$1 needs a value"
        case $1 in --wheels) wheels=$2 ;; --root) root=$2 ;; --extras) extras="[$2]" ;; esac
        shift
        ;;
    --uninstall) uninstall=yes ;;
    --purge) purge=yes ;;
    --dry-run) dry=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; stop "unknown option $1" ;;
    esac
    shift
done
[ -z "$purge" ] || [ -n "$uninstall" ] || stop "--purge goes with --uninstall"
[ -z "$wheels" ] || [ -d "$wheels" ] || stop "$wheels: no such folder"

here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
case $root in '' | /*) ;; *) root=$PWD/$root ;; esac
program=$root/opt/edge-monitor
settings=$root/etc/edge-monitor
unit=$root/etc/systemd/system/edge-monitor.service
users=$root/usr/lib/sysusers.d/edge-monitor.conf
modes=$root/usr/lib/tmpfiles.d/edge-monitor.conf # an image gets user and owners when it boots
state=$root/var/lib/edge-monitor
link=$root/usr/local/bin/edge-monitor

do_() { if [ -n "$dry" ]; then echo "would: $*"; else "$@"; fi; }
put() { do_ install -D -m 644 "$1" "$2"; } # readable whatever the source's mode
manage() { [ -n "$root" ] || do_ systemctl "$@"; } # a scratch root has no services

[ -n "$dry" ] || [ -n "$root" ] || [ "$(id -u)" = 0 ] || stop "run it as root: sudo deploy/install.sh"
[ -n "$root" ] || [ -n "$dry" ] || command -v systemctl >/dev/null || stop "no systemd here; see README.md for running it by hand"

if [ -n "$uninstall" ]; then
    if [ -e "$unit" ]; then manage disable --now edge-monitor.service; fi
    do_ rm -rf "$program" "$unit" "$users" "$modes" "$link"
    manage daemon-reload
    if [ -n "$purge" ]; then
        do_ rm -rf "$settings" "$state"
        say "removed, with settings and what was learnt; the user edge-monitor stays"
    else
        say "removed; $settings and $state stay (--purge removes them)"
    fi
    exit 0
fi

command -v "$python" >/dev/null || stop "no $python here; install Python 3.11 or newer, or name one with PYTHON="
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
"$python" -c "$new_enough" || stop "$("$python" --version) is too old; Python 3.11 or newer is needed"
"$python" -c 'import ensurepip, venv' 2>/dev/null || stop "$python has no venv; install python3-venv"
if [ -z "$root" ] && ! ldconfig -p 2>/dev/null | grep -q libportaudio.so.2; then
    say "microphones need PortAudio, which is missing: apt-get install libportaudio2"
fi

# --- the program, in an environment of its own ---
say "the program: $program"
works() { "$program/bin/python" -m pip --version && "$program/bin/python" -c "$new_enough"; }
works >/dev/null 2>&1 || do_ "$python" -m venv --clear "$program" # missing, half-made or of an older Python
pip() { do_ "$program/bin/python" -m pip --disable-pip-version-check -q "$@"; }
# hnswlib is compiled for this processor's family, not for this very processor, and not taken from a cache.
export HNSWLIB_NO_NATIVE=1
if [ -n "$wheels" ]; then
    pip install --no-index --find-links "$wheels" --upgrade "edge-monitor$extras"
else
    pip install --upgrade --no-cache-dir "$here$extras"
fi
do_ chmod -R a+rX "$program" # also what an earlier run left closed
put "$here/README.md" "$program/share/README.md"
do_ mkdir -p "$(dirname "$link")"
do_ ln -sfn "${program#"$root"}/bin/edge-monitor" "$link"

# --- user, settings, secrets ---
put "$here/deploy/systemd/edge-monitor.sysusers" "$users"
if [ -z "$root" ]; then do_ systemd-sysusers "$users"; fi
do_ mkdir -p "$settings/credentials"
do_ chmod 750 "$settings"
do_ chmod 700 "$settings/credentials"
if [ -e "$settings/edge-monitor.toml" ]; then
    say "the settings stay as they are: $settings/edge-monitor.toml"
else
    say "settings to fill in: $settings/edge-monitor.toml"
    do_ sh -c "sed 's/^# runtime_dir/runtime_dir/' '$here/deploy/systemd/edge-monitor.toml' >'$settings/edge-monitor.toml'"
fi
do_ chmod 640 "$settings/edge-monitor.toml"
put "$here/deploy/systemd/edge-monitor.tmpfiles" "$modes"
if [ -z "$root" ]; then do_ systemd-tmpfiles --create "$modes"; fi

# --- the service ---
put "$here/deploy/systemd/edge-monitor.service" "$unit"
manage daemon-reload
manage enable edge-monitor.service
if [ -z "$root" ] && systemctl is-active --quiet edge-monitor.service 2>/dev/null; then
    manage restart edge-monitor.service
    say "done; the service was running, so it is restarted"
else
    say "done. Fill in the settings, check them with 'edge-monitor config check', then: systemctl start edge-monitor"
fi
