# make demo   see it work: a simulated machine, a fault, an alert over MQTT
# make test   all tests
# Both set up what they need (.venv, Debian packages) the first time. PYTHON=python3.12 chooses an interpreter.

PYTHON ?= python3
export PYTHON
SOURCES = edge_monitor tests $(wildcard bench)

.PHONY: demo test lint format bench docs clean

demo:
	@scripts/setup.sh demo
	@.venv/bin/edge-monitor demo $(ARGS)

test:
	@scripts/setup.sh test
	@.venv/bin/python -m pytest $(ARGS)

lint:
	@scripts/setup.sh test
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy

format:
	@scripts/setup.sh test
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

bench:
	@scripts/setup.sh test
	@for script in bench/*.py; do echo "== $$script"; .venv/bin/python "$$script" || exit 1; done

docs:
	@scripts/setup.sh test
	.venv/bin/edge-monitor config reference > docs/configuration.md

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
