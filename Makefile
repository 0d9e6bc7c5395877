# Each target sets up its own environment; nothing has to be installed first but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_DIR := tests/node
# The suite starts very many daemons: where the environment forbids it, each would compile the code anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo demo-attacks test test-integration-1 test-integration-2 test-integration-3 test-programs test-client test-relay test-rest test-slow check conformance peers cuts kills faults bench clean

help:
	@echo "make demo         run relay, client and three real MCP servers (ONCE=1 ends by itself)"
	@echo "make demo-attacks attacks on it, and the proof that each failed"
	@echo "make test         everything CI runs"
	@echo "make test-slow    what takes long, or wants a quiet machine"
	@echo "make conformance  the MCP conformance suite, direct and through the tunnel"
	@echo "make peers        real MCP clients x real MCP servers through the tunnel"
	@echo "make cuts         the link cut 1,000 times under load"
	@echo "make kills        relay and client killed a hundred times under load (TIMES=20 for fewer)"
	@echo "make faults       what breaks around the programs, row by row (ROWS=R3,R6 for some)"
	@echo "make bench        calls/s, latency and memory against other tunnels"

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

$(NODE_DIR)/node_modules/.ready: $(NODE_DIR)/package.json $(VENV)/.ready
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.helpers.node_packages $(NODE_DIR)
	touch $@

demo: $(VENV)/.ready
	@$(BIN)/python -m tests.system.demo $(if $(ONCE),--once)

demo-attacks: $(VENV)/.ready
	@$(BIN)/python -m tests.system.demo_attacks

check: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Most tests wait for programs rather than compute: runs beside each other, each with programs and ports of its
# own, take far less time than one. Five at a time, the longest first: more of them only make each other wait.
INTEGRATION := $(sort $(wildcard tests/integration/test_*.py))
FIRST := $(filter $(foreach letter,a b ca cl cr,tests/integration/test_$(letter)%),$(INTEGRATION))
LAST := $(filter $(foreach letter,o p r s t,tests/integration/test_$(letter)%),$(INTEGRATION))
PROGRAMS := tests/system tests/logins tests/peers
ENDS := tests/tunnel_client tests/tunnel_relay
test: $(NODE_DIR)/node_modules/.ready
	@$(MAKE) --no-print-directory -j5 --output-sync=target test-programs test-relay test-integration-3 test-integration-2 \
		test-client test-rest test-integration-1 check

test-integration-1: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/pytest -m "not slow" $(FIRST)

test-integration-2: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/pytest -m "not slow" $(filter-out $(FIRST) $(LAST),$(INTEGRATION))

test-integration-3: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/pytest -m "not slow" $(LAST)

test-programs: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/pytest -m "not slow" $(PROGRAMS)

test-client: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/pytest -m "not slow" tests/tunnel_client

test-relay: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/pytest -m "not slow" tests/tunnel_relay

test-rest: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/pytest -m "not slow" tests $(addprefix --ignore=,tests/integration $(PROGRAMS) $(ENDS))

test-slow: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/pytest -m slow tests

conformance: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/python -m tests.system.conformance

peers: $(VENV)/.ready $(NODE_DIR)/node_modules/.ready
	$(BIN)/python -m tests.system.peers

cuts: $(VENV)/.ready
	CUTS=$(or $(CUTS),1000) $(BIN)/pytest tests/integration/test_resume.py -k over_and_over -s

kills: $(VENV)/.ready
	$(BIN)/python -m tests.system.kills $(if $(TIMES),--times $(TIMES))

faults: $(VENV)/.ready
	$(BIN)/python -m tests.system.faults --write-doc $(if $(ROWS),--rows $(ROWS))

bench: $(VENV)/.ready
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .venv-fastmcp $(NODE_DIR)/node_modules build *.egg-info
