# make demo   scripts/demo.sh: see it work, a simulated machine, a fault, an alert over MQTT
# make test   scripts/test.sh: all tests
# make test-export   the tests that need torch: MS-CLAP's export beside msclap itself
# make test-systemd   the service on a Debian that boots in a container, as root; SUITE=trixie for another
# make bench  what it costs beside what one knows: one table, ten minutes; more of it where .venv-export is
# make soak   7 days of sound with outages, alarms beside long work, 20 kills in each operation, 2 h of the deaf drill,
#             faults at the levels that are printed over three hours: five to ten hours
# All set up what they need (.venv, Debian packages) the first time. PYTHON=python3.12 chooses an interpreter.

PYTHON ?= python3
export PYTHON
SOURCES = edge_monitor tests scripts $(wildcard bench)
TORCH_TESTS = tests/export tests/runtime/test_msclap_bundle.py tests/evaluate/test_autoencoder.py

.PHONY: demo test test-export test-systemd soak lint format bench docs clean

demo:
	@scripts/demo.sh $(ARGS)

test:
	@scripts/test.sh $(ARGS)

test-export:
	@scripts/setup.sh test
	@.venv/bin/python scripts/export_environment.py .venv-export
	@.venv-export/bin/python -m pytest -m torch -n 2 --dist loadfile --durations=15 $(TORCH_TESTS) $(ARGS)

test-systemd:
	@scripts/setup.sh test
	@.venv/bin/python -m pytest -m systemd -v -x --durations=0 --durations-min=0.5 tests/systemd $(ARGS)

soak:
	@scripts/setup.sh test
	@EDGE_MONITOR_SOAK_DAYS=$${EDGE_MONITOR_SOAK_DAYS:-7} EDGE_MONITOR_SOAK_PACE=$${EDGE_MONITOR_SOAK_PACE:-'"max"'} \
	 EDGE_MONITOR_SOAK_KILLS=$${EDGE_MONITOR_SOAK_KILLS:-20} EDGE_MONITOR_SOAK_SIZES=$${EDGE_MONITOR_SOAK_SIZES:-full} \
	 EDGE_MONITOR_SOAK_DEAF_MIN=$${EDGE_MONITOR_SOAK_DEAF_MIN:-120} \
	 .venv/bin/python -m pytest -s -o timeout=0 tests/soak $(ARGS)

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
	@.venv/bin/python -m bench $(ARGS)

docs:
	@scripts/setup.sh test
	.venv/bin/edge-monitor config reference > docs/configuration.md
	.venv/bin/python -m edge_monitor.deliver.schemas docs/mqtt
	.venv/bin/python -m edge_monitor.api.document docs/api/openapi.json

clean:
	rm -rf .venv .venv-export dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
