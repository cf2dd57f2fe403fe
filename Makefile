# Needs Python 3.11, git and make. Without make (Windows, conda): see README.md.

# The first Python that is new enough and can make environments (Debian splits that off)
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$python && break; done)
VENV ?= .venv
READY := $(VENV)/.ready
TESTABLE := $(VENV)/.testable
RUN := $(VENV)/bin/python -m
# Releases that the environment itself cannot hold: of demucs, whose 4.1.0 lacks some of
# their models, and of bytesep, which pins an old torch; tests/parity/peers.py
PEERS := demucs==2.0.3 demucs==3.0.6 bytesep==0.1.1
# One thread a worker: two workers already fill the two cores that CI has
PARALLEL := OMP_NUM_THREADS=1 $(RUN) pytest -n 2 --dist loadscope
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=180 \
	--nbval-sanitize-with=tests/nbval_sanitize.cfg

.PHONY: help setup demo test types quick lab left-out

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile

setup: $(READY)  ## create .venv and install mssedu into it; the targets below do so

demo: $(READY)  ## train a small model on real songs, separate one, write runs/demo
	$(VENV)/bin/mssedu demo

lab: $(READY)  ## open the notebooks in JupyterLab
	$(VENV)/bin/mssedu lab

test: $(TESTABLE) left-out  ## install the rest, then what CI runs, up to a failure
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(MAKE) --jobs 2 types quick
	$(PARALLEL) --no-loadscope-reorder -m slow $(NBVAL) tests notebooks/*.ipynb

# mypy has one process: beside it, the tests keep the other core busy
types:
	$(RUN) mypy

quick:
	$(PARALLEL) -m "not slow"

# A second call finds these two files younger than both lists and installs nothing
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 that can make environments. \
	On Debian: sudo apt-get install python3.11-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install -e . -c constraints.txt
	@touch $@

# The linters, the browser's driver and the packages that ours is compared with
$(TESTABLE): $(READY)
	$(RUN) pip install -e '.[dev,parity]' -c constraints.txt
	for peer in $(PEERS); do $(RUN) pip install --no-deps --upgrade --target \
	$(VENV)/peers/$$(echo $$peer | sed s/==/-/) $$peer || exit 1; done
	@touch $@

left-out:
	@command -v ffmpeg >/dev/null || echo "left out: the tests with museval, \
	because ffmpeg is missing (sudo apt-get install ffmpeg)"
	@command -v chromium >/dev/null || echo "left out: the tests in a browser, \
	because chromium is missing (sudo apt-get install chromium)"
