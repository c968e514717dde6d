# Everything runs in a virtual environment inside the project; the first call of any target sets it up.
# The same commands for Windows are in README.md.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
HOST_PORT ?= 8501
# Where the machine forbids to keep what Python compiles, each of the many processes would compile the project anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: app test devmode check demo bench clean-venv

app: $(VENV)/.app
	$(RUN) -m mammo_core app --port $(HOST_PORT)

demo: $(VENV)/.app
	$(RUN) -m mammo_core demo --fast

test: $(VENV)/.dev
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -p tests.longest_first --ignore tests/e2e
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -p tests.longest_first tests/e2e

# Python's development mode: what is not closed, not joined or not waited for is an error.
devmode: $(VENV)/.dev
	PYTHONDEVMODE=1 $(RUN) -m pytest -n 1 --dist loadfile --ignore tests/e2e

check: $(VENV)/.dev
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) .ci/audit.py

bench: $(VENV)/.dev
	$(RUN) -m bench.demo
	$(RUN) -m bench.pages
	$(RUN) -m bench.analysis
	$(RUN) -m bench.viewer
	$(RUN) -m bench.data
	$(RUN) -m bench.predict
	$(RUN) -m bench.unfamiliar
	$(RUN) -m bench.train_speed --device cpu
	$(RUN) -m bench.reliability

$(VENV)/.app: requirements.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt requirements-lab.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements.txt -r requirements-dev.txt -r requirements-lab.txt
	touch $@ $(VENV)/.app

clean-venv:
	rm -rf $(VENV)
