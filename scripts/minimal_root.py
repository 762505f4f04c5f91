"""Makes a minimal Debian root and runs commands in it: proof of what a machine with nothing on it can do.

    scripts/minimal_root.py make SUITE ROOT [PACKAGE…]      # bookworm (Debian 12) or trixie (13), in a new folder
    scripts/minimal_root.py run ROOT -- COMMAND…            # in a container, as root, with the host's network

Needs root, mmdebstrap and systemd-container. How this machine reaches its package sources is taken over, whatever it
is: apt's sources and their keys, its Acquire options, pip's configuration, certificates, the environment's variables
about them. Files and folders that those name are there too, read-only.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# The environment's variables that say how packages are reached, or what keeps arithmetic right on some processors.
_VARIABLES = re.compile(
    r"(PIP_|SSL_CERT_|OPENBLAS_|NVPL_).*|(CURL|REQUESTS)_CA_BUNDLE|(https?|ftp|all|no)_proxy|(HTTPS?|FTP|ALL|NO)_PROXY"
)
_PIP = ("/etc/pip.conf", "/etc/xdg/pip/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf", "~/.netrc")
_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/usr/local/share/ca-certificates")
_PATH = re.compile(r"(?:^|[\s=\"'\[]|file://)(/[^\s\"';,\]]+)", re.MULTILINE)
_COPIED = (Path("/etc"), Path("/usr"), Path.home())  # what lies here is copied: the root writes there itself
_OWN = ("/bin", "/dev", "/etc/ssl/certs", "/lib", "/proc", "/run", "/sbin", "/sys", "/tmp")  # noqa: S108 - the root has those itself


def main() -> int:
    """Do what the command line says; return what the command in the root ended with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    making = verbs.add_parser("make")
    making.add_argument("suite")
    making.add_argument("root", type=Path)
    making.add_argument("packages", nargs="*")
    running = verbs.add_parser("run")
    running.add_argument("root", type=Path)
    running.add_argument("--show", metavar="FOLDER:PLACE", action="append", default=[], help="a folder, read-only")
    running.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="a variable")
    running.add_argument("command", nargs="+")
    asked = parser.parse_args()
    if asked.verb == "make":
        make(asked.suite, asked.root, asked.packages)
        return 0
    # /tmp in memory, with room for what tests keep there: by itself the container gives it a tenth of the memory.
    options = [
        "--tmpfs=/tmp:mode=1777,size=40%",
        *(f"--bind-ro={each}" for each in asked.show),
        *(f"--setenv={each}" for each in asked.set),
    ]
    terminal = [] if sys.stdin.isatty() and sys.stdout.isatty() else ["--pipe"]
    return subprocess.run(
        [*nspawn(asked.root, *options, *terminal), "--as-pid2", *asked.command], check=False
    ).returncode


def make(suite: str, root: Path, packages: list[str] | None = None) -> None:
    """Make the root of a Debian release, with `packages` beyond the essential ones."""
    with tempfile.TemporaryDirectory() as scratch:
        options = Path(scratch) / "acquire"
        options.write_text(_acquire())
        include = [f"--include={','.join(packages)}"] if packages else []
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--aptopt={options}", *include, *_credentials()]
        subprocess.run([*command, suite, str(root), *_sources(suite, Path(scratch))], check=True)
    for path in _named():
        if _is_copied(path):
            _copy(path, root)


def nspawn(root: Path, *options: str) -> list[str]:
    """Return the command line that starts a container in the root, up to what is to run in it."""
    binds = [f"--bind-ro={path}" for path in _bound()]
    variables = [f"--setenv={key}={value}" for key, value in environment().items()]
    return [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        f"--directory={root}",
        *binds,
        *variables,
        *options,
    ]


def environment() -> dict[str, str]:
    """Return the variables of this process that say how packages are reached."""
    return {key: value for key, value in os.environ.items() if _VARIABLES.fullmatch(key)}


# --- apt ------------------------------------------------------------------------------------------------------------


def _acquire() -> str:
    """Return how apt is told to fetch here: proxies, certificates, checks."""
    dump = subprocess.run(["/usr/bin/apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return "".join(line for line in dump.splitlines(keepends=True) if line.startswith("Acquire::") and '""' not in line)


def _credentials() -> list[str]:
    """Return the options that bring apt's passwords and keys into the root, before anything is fetched."""
    hooks = [
        f"--setup-hook=copy-in {path} {path.parent}"
        for path in map(
            Path, ("/etc/apt/auth.conf", "/etc/apt/auth.conf.d", "/etc/apt/keyrings", "/etc/apt/trusted.gpg.d")
        )
        if path.is_file() or (path.is_dir() and any(path.iterdir()))
    ]
    return ['--setup-hook=mkdir -p "$1/etc/apt"', *hooks]


def _sources(suite: str, scratch: Path) -> list[str]:
    """Return this machine's package sources, for `suite` instead of its own; none on another distribution's machine.

    Then Debian's own are taken. Sources that do not name this machine's release serve it alone.
    """
    about = platform.freedesktop_os_release()
    if about.get("ID") != "debian":
        return []
    own, taken = about["VERSION_CODENAME"], []
    for path in _source_files():
        text = path.read_text()
        if suite == own:
            taken.append(str(path))
        elif own in text:
            taken.append(str(scratch / path.name))
            (scratch / path.name).write_text(re.sub(rf"\b{own}\b", suite, text))
    return taken


def _source_files() -> list[Path]:
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    return [path for path in files if path.is_file() and path.read_text().strip()]


# --- what settings name ---------------------------------------------------------------------------------------------


def _named() -> list[Path]:
    """Return the files and folders that this machine's settings about packages consist of, or name."""
    pip = [Path(each).expanduser() for each in _PIP if Path(each).expanduser().is_file()]
    own = [Path(os.environ["PIP_CONFIG_FILE"])] if Path(os.environ.get("PIP_CONFIG_FILE") or "/").is_file() else []
    texts = [path.read_text() for path in (*_source_files(), *pip, *own)] + [_acquire(), *environment().values()]
    named = [Path(each) for text in texts for each in _PATH.findall(text)]
    named = [path for path in named if path.exists() and not any(path.is_relative_to(own) for own in _OWN)]
    return sorted({*pip, *own, *named, *(path for path in map(Path, _CERTIFICATES) if path.exists())})


def _bound() -> list[Path]:
    """Return what the root is shown of this machine, read-only, and has no copy of."""
    found = [path for path in _named() if not _is_copied(path)]
    # An index's pages lead to files beside it: its parent is shown, unless that is a folder of the system.
    wide = [path.parent if path.is_dir() and len(path.parts) > 3 else path for path in found]  # noqa: PLR2004 - /a/b
    return sorted(set(wide))


def _is_copied(path: Path) -> bool:
    return str(path) in _CERTIFICATES or (path.is_file() and any(path.is_relative_to(folder) for folder in _COPIED))


def _copy(path: Path, root: Path) -> None:
    there = root / path.relative_to("/")
    if path.is_dir():
        shutil.copytree(path, there, dirs_exist_ok=True)
    elif str(path) in _CERTIFICATES or not there.exists():  # a package may have brought its own list of certificates
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)


if __name__ == "__main__":
    sys.exit(main())
