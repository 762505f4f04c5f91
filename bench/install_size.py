"""Install size: the product and everything it needs at run time, beside an environment with torch.

python -m bench.install_size [--beside FOLDER]

Counted as installed, from each package's own list of files, the compiled .pyc left out; without Python itself.
"""

from __future__ import annotations

import argparse
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from bench.pairs import Ratio
from bench.rows import Row, markdown

ROOT = Path(__file__).parent.parent
EXPORT = ROOT / ".venv-export"
PRODUCT = ("edge_monitor", "models/spectral", "models/spectral-1")  # what the wheel carries


def needed(name: str) -> set[str]:
    """Return the names of the packages that `name` needs here, without extras, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        if (package := waiting.pop().lower().replace("_", "-")) in found:
            continue
        found.add(package)
        requirements = (Requirement(line) for line in distribution(package).requires or ())
        waiting += [each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def package_mb(name: str) -> float:
    """Return the size of an installed package's files, MB."""
    files = (Path(str(path.locate())) for path in distribution(name).files or () if path.suffix != ".pyc")
    return sum(path.stat().st_size for path in files if path.exists()) / 1e6


def folder_mb(folder: Path) -> float:
    """Return the size of a folder's files, MB, compiled .pyc left out."""
    files = (path for path in folder.rglob("*") if path.suffix != ".pyc" and not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def measure(seconds: float, beside: Path = EXPORT) -> list[Row]:
    """Return the base install, beside the export environment where there is one; nothing here takes `seconds`."""
    del seconds
    own_mb = sum(folder_mb(ROOT / folder) for folder in PRODUCT)
    packages = {name: package_mb(name) for name in needed("edge-monitor") - {"edge-monitor"}}
    total_mb = own_mb + sum(packages.values())
    largest = max(packages, key=lambda name: packages[name])
    note = f"{len(packages)} packages, of which {largest} {packages[largest]:.0f} MB; itself {own_mb:.1f} MB"
    if not beside.is_dir():
        return [Row("install size", total_mb, "MB", note=note)]
    torch_mb = folder_mb(beside / "lib")
    name = "the environment with torch"
    return [Row("install size", total_mb, "MB", name, torch_mb, Ratio.of([torch_mb], [total_mb]), note)]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, default=EXPORT, help="an environment's folder")
    print(markdown(measure(0.0, parser.parse_args().beside)))


if __name__ == "__main__":
    main()
