# Two commands do everything: `make demo` and `make test`. Each sets up what it needs.
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: demo test attack lab apps setup export clean hooks bench docs pictures
.DEFAULT_GOAL := help

help:
	@echo "make demo    draw a city and landmarks, train CosPlace, D-CosPlace and a landmark model, write reports (some 15 minutes on 2 cores, once installed)"
	@echo "make test    every check: notebooks, tests, command lines"
	@echo "make attack  the attacks that take long, or gigabytes"
	@echo "make lab     open JupyterLab at the tutorials"
	@echo "make apps    serve the explorers without their code, on this machine alone (APPS=folder for your own notebooks)"
	@echo "make hooks   git hooks: notebooks are clean and formatted, merges readable"
	@echo "make bench   the benchmarks"
	@echo "make docs    the documentation site, from the notebooks as they run here, in _site/"
	@echo "make clean   remove what the commands above made, but for .venv"

.venv/.ready: settings.ini setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed (on Debian: apt install python3.11 python3.11-venv; or name another one of at least 3.11: make PYTHON=python3.12 ...)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "error: could not make .venv (on Debian: apt install python3.11-venv)"; rm -rf .venv; exit 1; }
	@echo "installing (PyTorch is several GB; once)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[cpu,dev]"
	@touch $@

setup: .venv/.ready

RUN = papermill nbs/train.ipynb
# two workers share the demo's groups where there is no GPU
WORKERS = $(shell $(BIN)/python -c "import torch; print(0 if torch.cuda.is_available() else 2)")
QUIET = --no-progress-bar --log-level WARNING --stdout-file >(cat) --stderr-file >(cat >&2)
demo: setup
	@mkdir -p runs/demo-cosplace runs/demo-dcosplace runs/demo-landmark
	$(RUN) runs/demo-cosplace/train.ipynb -p data demo -p out runs/demo-cosplace $(QUIET)
	$(RUN) runs/demo-dcosplace/train.ipynb -p data demo -p out runs/demo-dcosplace -p recipe dcosplace -p workers $(WORKERS) -p beside runs/demo-cosplace $(QUIET)
	$(RUN) runs/demo-landmark/train.ipynb -p data demo -p out runs/demo-landmark -p recipe landmark $(QUIET)
	@python -c 'from landmark_nb.viz.report import front_page; print("report:", front_page("runs/demo/report.html", [f"runs/demo-{r}/report.html" for r in ("cosplace", "dcosplace", "landmark")], "landmark_nb: the demo", "Place recognition in a drawn city, one group after the other and side by side, and a collection of drawn landmarks."))'

test: setup
	@.ci/checks

attack: setup
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} python -m pytest tests -q -rs -s -m attack --durations=0

lab: setup
	jupyter lab --notebook-dir=nbs --LabApp.default_url=/lab/tree/tutorials/places.ipynb --ip=127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root)

# voila over a folder of notebooks: loopback, a token in the address that it prints, and a template that asks no other host
APPS ?= nbs/tutorials
apps: setup
	JUPYTER_PATH=$(CURDIR)/tools/share voila $(APPS) --template=offline --token --no-browser --Voila.ip=127.0.0.1

# the pictures of the explorers that site and README show, taken by the browser tests
pictures: setup
	PICTURES=docs/widgets REQUIRE_BROWSER=1 python -m pytest -q tests/test_explorers.py

# nbdev's hooks (clean notebooks, readable merges), and one that checks what is staged
HOOK = $(shell git rev-parse --git-path hooks)/pre-commit
hooks: setup
	nbdev_install_hooks
	@test -L "$(HOOK)" -o ! -e "$(HOOK)" || { echo "error: $(HOOK) is there already; let it call tools/pre-commit"; exit 1; }
	ln -sf "$(CURDIR)/tools/pre-commit" "$(HOOK)"

export: setup
	nbdev_export && nbdev_clean && python -m tools.readme

bench: setup
	@for b in benchmarks/*.py; do echo "== $$b"; python $$b || exit 1; done

docs: setup
	@python -m tools.site

clean:
	rm -rf runs worlds build dist *.egg-info .pytest_cache .hypothesis test-artefacts _site site_src _proc
