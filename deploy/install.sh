#!/bin/sh
# Installs edge-monitor as a systemd service on Debian or Ubuntu, or takes it away again. Run it as root, again and again
# if you like: what is there already is brought up to date, and a configuration is never written over.
# Whatever it refuses it refuses before it changes anything.
set -eu
umask 022 # root's own may be 077: the service's user must be able to read and run what lies here

usage() {
    cat <<'END'
usage: deploy/install.sh [--wheels FOLDER] [--extras NAMES] [--root IMAGE] [--dry-run]
       deploy/install.sh --uninstall [--purge] [--root IMAGE] [--dry-run]

  --wheels FOLDER  install from wheels in this folder only, without a network (make it with `pip wheel`)
  --extras NAMES   e.g. llm: what else to install
  --root IMAGE     install into the system in this folder, with its own Python: it runs when that system boots
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
        [ $# -ge 2 ] && [ -n "$2" ] || stop "$1 needs a value"
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

here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
# Where things are; with --root, within the image.
program=/opt/edge-monitor
settings=/etc/edge-monitor
units=/etc/systemd/system
unit=$units/edge-monitor.service
enabled=$units/multi-user.target.wants/edge-monitor.service # what `systemctl enable` makes
users=/usr/lib/sysusers.d/edge-monitor.conf
modes=/usr/lib/tmpfiles.d/edge-monitor.conf
state=/var/lib/edge-monitor
link=/usr/local/bin/edge-monitor

# Run a command in the image, or here when there is none. The image sees our folders, and keeps nothing of that.
inside() {
    [ -n "$root" ] || { "$@"; return; }
    unshare --mount --propagation private sh -euc '
        root=$1 here=$2 wheels=$3
        shift 3
        mount --rbind /dev "$root/dev"
        mount --rbind /proc "$root/proc"
        mount -t tmpfs tmpfs "$root/run"
        mount -t tmpfs tmpfs "$root/tmp"
        mkdir "$root/run/source" "$root/run/wheels"
        mount --bind "$here" "$root/run/source"
        [ -z "$wheels" ] || mount --bind "$wheels" "$root/run/wheels"
        cd /
        exec chroot "$root" "$@"' sh "$root" "$here" "$wheels" "$@"
}
do_() { if [ -n "$dry" ]; then echo "would: $*"; else "$@"; fi; }
do_inside() { if [ -n "$dry" ]; then echo "would: $*${root:+ (in $root)}"; else inside "$@"; fi; }
put() { do_ install -D -m 644 "$1" "$root$2"; } # readable whatever the source's mode
systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ]; } # sd_booted(3)
manage() { if systemd_runs; then do_ systemctl "$@"; fi; }
has() { inside sh -c 'command -v "$1" >/dev/null' sh "$1"; }

# --- refusals ---
[ -z "$purge" ] || [ -n "$uninstall" ] || stop "--purge goes with --uninstall"
if [ -n "$wheels" ]; then
    [ -d "$wheels" ] || stop "$wheels: no such folder"
    wheels=$(cd "$wheels" && pwd)
    [ -n "$(find "$wheels" -maxdepth 1 -name 'edge_monitor-*.whl')" ] || stop "$wheels: no wheel of edge-monitor in there; make it with pip wheel"
fi
if [ -n "$root" ]; then
    [ -d "$root" ] || stop "$root: no such folder"
    root=$(cd "$root" && pwd)
    [ "$root" != / ] || root=
fi
# A dry run looks into an image as a real one does.
{ [ -n "$dry" ] && [ -z "$root" ]; } || [ "$(id -u)" = 0 ] || stop "run it as root: sudo deploy/install.sh"

if [ -z "$uninstall" ]; then
    system=${root:-"this system"}
    [ -z "$root" ] || [ -x "$root/bin/sh" ] || stop "$root: no system in there"
    inside true || stop "$root: cannot be entered with chroot, or mounts are not allowed here"
    has "$python" || stop "no $python in $system; install Python 3.11 or newer there, or name one with PYTHON="
    new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
    inside "$python" -c "$new_enough" || stop "$(inside "$python" --version) in $system is too old; Python 3.11 or newer is needed"
    inside "$python" -c 'import ensurepip, venv' 2>/dev/null || stop "$python in $system has no venv; install python3-venv there"
    base=$(inside "$python" -c 'import sys; print(sys.base_prefix)')
    case $base/ in
    /home/* | /root/* | /run/* | /tmp/* | /var/tmp/*) stop "the service cannot see $base; name a Python outside of home and temporary folders with PYTHON=" ;;
    esac
    if [ -z "$wheels" ] && ! inside "$program/bin/python" -c 'import hnswlib' 2>/dev/null; then # it is compiled
        has c++ || stop "no C++ compiler in $system; install g++ there, or give --wheels"
        header='import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
        inside "$python" -c "$header" || stop "$python in $system has no headers; install python3-dev there, or give --wheels"
    fi
fi

# --- removal ---
if [ -n "$uninstall" ]; then
    if [ -e "$root$unit" ]; then manage disable --now edge-monitor.service; fi
    do_ rm -rf "$root$program" "$root$unit" "$root$enabled" "$root$users" "$root$modes" "$root$link"
    own="$settings $state"
    [ ! -d "$root$unit.d" ] || own="$own $unit.d"
    if [ -n "$purge" ]; then for each in $own; do do_ rm -rf "$root$each"; done; fi
    manage daemon-reload
    systemd_runs || say "no systemd runs in ${root:-here}: only files were removed"
    if [ -n "$purge" ]; then
        say "removed, with $own; the user and group edge-monitor and the journal stay"
    else
        say "removed; $own stay (--purge removes them), and so do the user and group edge-monitor and the journal"
    fi
    exit 0
fi

# --- the program, in an environment of its own ---
if ! inside ldconfig -p 2>/dev/null | grep -q libportaudio.so.2; then
    say "microphones need PortAudio, which is missing: apt-get install libportaudio2"
fi
say "the program: $root$program"
works() { inside "$program/bin/python" -m pip --version && inside "$program/bin/python" -c "$new_enough"; }
new=
if ! works >/dev/null 2>&1; then # missing, half-made or of an older Python
    [ -e "$root$program" ] || new=yes
    do_inside "$python" -m venv --clear "$program"
fi
if [ -n "$wheels" ]; then
    [ -n "$root" ] && folder=/run/wheels || folder=$wheels # an image sees ours there
    set -- --no-index --find-links "$folder" "edge-monitor$extras"
else
    [ -n "$root" ] && folder=/run/source || folder=$here
    set -- "$folder$extras"
fi
# hnswlib is compiled for this processor's family, not for this very processor, and not taken from a cache.
export HNSWLIB_NO_NATIVE=1
do_inside "$program/bin/python" -m pip --disable-pip-version-check -q install --no-cache-dir --upgrade "$@" || {
    [ -z "$new" ] || rm -rf "$root$program"
    stop "pip could not install it: see above; nothing else was changed"
}
do_ chmod -R a+rX "$root$program" # also what an earlier run left closed
put "$here/README.md" "$program/share/README.md"
do_ mkdir -p "$root$(dirname "$link")"
do_ ln -sfn "$program/bin/edge-monitor" "$root$link"

# --- user, settings, secrets ---
put "$here/deploy/systemd/edge-monitor.sysusers" "$users"
put "$here/deploy/systemd/edge-monitor.tmpfiles" "$modes"
do_ mkdir -p "$root$settings/credentials"
do_ chmod 750 "$root$settings"
do_ chmod 700 "$root$settings/credentials"
if [ -e "$root$settings/edge-monitor.toml" ]; then
    say "the settings stay as they are: $root$settings/edge-monitor.toml"
else
    say "settings to fill in: $root$settings/edge-monitor.toml"
    do_ sh -c "sed 's/^# runtime_dir/runtime_dir/' '$here/deploy/systemd/edge-monitor.toml' >'$root$settings/edge-monitor.toml'"
fi
do_ chmod 640 "$root$settings/edge-monitor.toml"
if has systemd-sysusers && has systemd-tmpfiles; then
    do_inside systemd-sysusers "$users"
    do_inside systemd-tmpfiles --create "$modes"
fi

# --- the service ---
put "$here/deploy/systemd/edge-monitor.service" "$unit"
do_ mkdir -p "$root$(dirname "$enabled")"
do_ ln -sfn "$unit" "$root$enabled"
manage daemon-reload
if ! systemd_runs; then
    say "done. No systemd runs in ${root:-here}: the service starts when one boots. Fill in the settings before"
elif systemctl is-active --quiet edge-monitor.service 2>/dev/null; then
    manage restart edge-monitor.service
    say "done; the service was running, so it is restarted"
else
    say "done. Fill in the settings, check them with 'edge-monitor config check', then: systemctl start edge-monitor"
fi
