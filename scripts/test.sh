#!/bin/sh
# Runs all tests on a Debian or Ubuntu that may have nothing on it, four files at a time: they wait more than they work.
# What is missing is installed first. Arguments go to pytest; PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
exec .venv/bin/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --durations=25 "$@"
