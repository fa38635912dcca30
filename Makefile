# Everything a newcomer types. `make` alone lists the targets; each does all that it needs.
PYTHON ?= python3
VENV ?= .venv
# The one exact pin: installed first and by itself, so that pip takes a CPU build where it finds one.
TORCH ?= torch==2.13.0
# Only its pure-Python reference scan is used, by the tests; hence no CUDA build, no dependencies.
MAMBA_SSM ?= mamba-ssm==2.3.2.post1
# GPU builds of torch bring their own triton; with the CPU build its interpreter runs the GPU kernels.
TRITON ?= triton==3.7.1
# Drives the Chromium that the machine has; its own browsers are not fetched.
PLAYWRIGHT ?= playwright>=1.50
NOTEBOOKS ?= notebooks
DATA ?=
NOISE ?=
TIMES ?= 20
PORT ?=
# CPU=1 takes PyTorch's build for CPUs where pip would choose one for GPUs; uv knows where it lies.
CPU ?=
UV ?= uv>=0.9
ARGS ?=

PY := $(VENV)/bin/python
# --no-compile: Python compiles what it imports, which is a small part of what is installed.
PIP := $(PY) -m pip install --no-compile --quiet --disable-pip-version-check
# The stamp holds the folder it was made in: a copied or moved checkout installs itself again.
INSTALLED := $(VENV)/.installed
REFERENCE := $(VENV)/.mamba-reference
INTERPRETER := $(VENV)/.triton
BROWSER := $(VENV)/.playwright
ifneq ($(shell cat $(INSTALLED) 2>/dev/null),$(CURDIR))
.PHONY: $(INSTALLED)
endif
CPU_BUILD := $(VENV)/.cpu
ifneq ($(CPU),)
ifeq ($(wildcard $(CPU_BUILD)),)
.PHONY: $(INSTALLED)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install lab test fuzz lint check notebooks material format clean

help: ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-12s%s\n", $$1, $$2}'
	@echo "Settings: PYTHON=$(PYTHON) VENV=$(VENV) CPU= PORT= ARGS= (as in: make lab PORT=8899 ARGS=--no-browser)"

install: $(INSTALLED) ## create the environment (.venv) and install the course into it

lab: $(INSTALLED) ## open the first lesson in JupyterLab (CPU=1: with PyTorch's build for CPUs)
	@$(PY) -m rwsa_tutorial.commands.warm_up  # so that no lesson waits for it
	$(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
		--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb \
		--ServerApp.tornado_settings="{'websocket_max_message_size': 209715200}" \
		$(if $(PORT),--port=$(PORT)) $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

# A process for each core, a lesson or a file of tests at a time, and each with one thread.
test: $(INSTALLED) $(REFERENCE) $(INTERPRETER) $(BROWSER) lint ## lint, then run every test and every notebook
	@$(PY) -m rwsa_tutorial.commands.warm_up  # before tests in several processes do it at once
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(PY) -m pytest \
		-n auto --maxprocesses=4 --dist=loadscope --no-loadscope-reorder \
		$(ARGS) tests/test_lessons.py tests

# The property tests alone; Triton's kernels in its interpreter, in which the scan tests see nothing else.
fuzz: $(INSTALLED) $(INTERPRETER) ## draw new random cases for the property tests, TIMES=20 times as many
	@FUZZ=$(TIMES) $(PY) -m pytest -v -m hypothesis $(ARGS) tests
	@! $(PY) -c 'import triton' 2>/dev/null || TRITON_INTERPRET=1 FUZZ=$(TIMES) $(PY) -m pytest -v \
		-m "hypothesis and engine" $(ARGS) tests/test_scan.py

lint: $(INSTALLED) ## ruff (lint and format, notebooks too) and the quick notebook gates
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) tests/notebook_gates.py notebooks

check: $(INSTALLED) ## say in words whether the course can run on this machine
	@$(PY) -m rwsa_tutorial.cli check

notebooks: $(INSTALLED) ## re-run the notebooks and store what they show (NOTEBOOKS=... for some)
	@$(PY) -m rwsa_tutorial.making.notebooks $(NOTEBOOKS)

material: $(INSTALLED) ## gather, on Debian or Ubuntu, what the weights were trained on: DATA=folder [NOISE=folder]
	@test -n "$(DATA)" || { echo "Say where it goes: make material DATA=folder (and NOISE=folder, of ambience recordings)."; exit 2; }
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[recorded,render]'
	$(PY) -m rwsa_tutorial.making.recorded "$(DATA)" $(if $(NOISE),--noise "$(NOISE)")
	$(PY) -m rwsa_tutorial.making.spoken "$(DATA)" --engine pico --minutes 20
	$(PY) -m rwsa_tutorial.making.spoken "$(DATA)" --engine kokoro --minutes 10

format: $(INSTALLED) ## let ruff mend and format all code
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

clean: ## remove the environment and all caches; your recordings, runs and notebooks stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +

$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "No '$(PYTHON)' on this machine. Install Python 3.11 or newer, or name yours: make PYTHON=/path/to/python3 ..."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1), and the course needs Python 3.11 or newer."; \
		echo "Install a newer one and name it: make PYTHON=python3.12 ..."; exit 1; }
	@test "$$(uname -s) $$("$(PYTHON)" -c 'import platform; print(platform.machine())')" != "Darwin x86_64" || { \
		echo "PyTorch has had no builds for Intel Macs since 2.2, and the course needs 2.8 or newer."; \
		echo "On a Mac with Apple silicon, take a Python built for arm64: make PYTHON=/path/to/python3 ..."; \
		echo "On an Intel Mac, use Linux: another machine, a virtual one, or a hosted notebook."; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot create environments: its venv module is missing."; \
		echo "On Debian and Ubuntu: sudo apt install python3-venv; then try again."; exit 1; }
	@echo "Creating $(VENV) ..."
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(INSTALLED): pyproject.toml Makefile | $(VENV)/.created
	@echo "Installing into $(VENV): one to several minutes the first time, about 1.5 GB (more with a GPU build of torch) ..."
	@{ $(if $(CPU),$(PIP) '$(UV)' \
		&& $(PY) -m uv pip install --quiet --python $(PY) --torch-backend=cpu --reinstall-package torch $(TORCH) \
		&& touch $(CPU_BUILD),$(PIP) $(TORCH)); } || { \
		echo "$(TORCH) could not be installed. Is there a network? Is there a torch for $$($(PY) --version)? See README, Troubleshooting."; exit 1; }
	@$(PIP) -e '.[dev]' || { \
		echo "Trying again without PESQ, which needs a C compiler ..."; \
		$(PIP) -e '.[tools]' && echo "PESQ could not be installed: its scores will be missing, all else works. README, Troubleshooting says what to do."; } || { \
		echo "The course could not be installed; pip says why above. README, Troubleshooting has the usual causes."; exit 1; }
	@printf '%s' "$(CURDIR)" > $@
	@echo "Installed."

# Without it the tests that compare with mamba-ssm are skipped and say so; CI=true makes that an error.
$(REFERENCE): $(INSTALLED)
	@echo "Installing the reference scan ($(MAMBA_SSM), pure Python) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check setuptools wheel packaging \
		&& MAMBA_SKIP_CUDA_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE $(PY) -m pip install --quiet \
			--disable-pip-version-check --no-build-isolation --no-deps $(MAMBA_SSM) \
		&& touch $@ || { \
		echo "$(MAMBA_SSM) could not be installed, so nothing will be compared with it."; test "$(CI)" != true; }

# Without it the tests of the GPU kernels are skipped and say so; CI=true makes that an error.
$(INTERPRETER): $(INSTALLED)
	@$(PY) -c 'import triton' 2>/dev/null && touch $@ || { \
		echo "Installing $(TRITON) to test the GPU kernels (0.2 GB to fetch, 0.7 GB installed) ..."; \
		$(PY) -m pip install --quiet --disable-pip-version-check --no-deps $(TRITON) && touch $@; } || { \
		echo "$(TRITON) could not be installed, so the GPU kernels will not be tested."; test "$(CI)" != true; }

# Without it, or without a Chromium, no lesson is opened in a browser, and the tests say so.
$(BROWSER): $(INSTALLED)
	@echo "Installing $(PLAYWRIGHT) to open lessons in a browser (50 MB to fetch, 0.2 GB installed) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check '$(PLAYWRIGHT)' && touch $@ || { \
		echo "$(PLAYWRIGHT) could not be installed, so no lesson will be opened in a browser."; test "$(CI)" != true; }
