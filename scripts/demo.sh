#!/bin/sh
# Shows edge-monitor at work on a Debian or Ubuntu that may have nothing on it: a simulated machine, a fault, the alert.
# What is missing is installed first. Arguments go to `edge-monitor demo`; PYTHON names another interpreter.
set -eu
checkout=$(cd "$(dirname "$0")/.." && pwd)
"$checkout/scripts/setup.sh" demo
exec "$checkout/.venv/bin/edge-monitor" demo "$@"
