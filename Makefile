# Every target is a thin line over snakemake; the README shows the plain commands.
PYTHON ?= python3
ENV ?= .venv
CORES ?= all
BIN := $(ENV)/bin
READY := $(ENV)/.ready
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

define show
printf '\nTable:   $(1)/tables/latent_dimension.md\nPaper:   $(1)/tables/paper_comparison.md\nFigures: $(1)/figures/\nReport:  $(1)/report.html\n'
endef

.PHONY: help env demo paper test test-faults test-slurm score bench lint format dag clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(READY) ## create the environment from the lock

$(READY): envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older. Use: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(ENV)
	$(BIN)/python -m pip install --quiet --requirement envs/requirements.txt
	@touch $@

demo: $(READY) ## the whole workflow on the embedded dataset, minutes on two cores
	@$(BIN)/python workflow/progress.py $(SNAKEMAKE) --configfile config/demo.yaml --report results/demo/report.html --report-after-run
	@$(call show,results/demo)

paper: $(READY) ## the paper's full grid; downloads its datasets
	$(SNAKEMAKE) --keep-going --report results/paper/report.html --report-after-run
	@$(call show,results/paper)

test: $(READY) ## all tests; real data too where MEDAE_DATA names its folder
	$(BIN)/python -m pytest --numprocesses auto

score: $(READY) ## score a folder of images: IMAGES=folder MODEL=…/checkpoint.safetensors [OUT=folder]
	@test -n "$(IMAGES)" -a -n "$(MODEL)" || \
		{ echo "Name both: make score IMAGES=folder MODEL=results/<run>/models/…/checkpoint.safetensors" >&2; exit 2; }
	$(BIN)/python scripts/score_folder.py "$(IMAGES)" "$(MODEL)" \
		$(if $(OUT),--out "$(OUT)") $(if $(RANGE),--intensity-range '$(RANGE)')

bench: $(READY) ## time this project against a plain loop, side by side (BENCH=--help: options)
	$(BIN)/python benchmarks/run.py $(BENCH)
	$(BIN)/python benchmarks/cost.py

test-faults: $(READY) ## kill -9 in every stage, 20 times; faults that take minutes
	MEDAE_KILLS=20 $(BIN)/python -m pytest --numprocesses auto tests/workflow/test_faults.py

test-slurm: $(READY) ## as root: install a Slurm of one node, test the slurm profile on it, end it
	$(BIN)/python -m pytest tests/slurm

lint: $(READY) ## ruff, snakefmt and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint

format: $(READY) ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow

dag: $(READY) ## draw docs/rulegraph.md from the rules
	$(BIN)/python tests/rule_graph.py

clean: ## remove results and caches; says what it keeps
	rm -rf .snakemake .pytest_cache .ruff_cache .hypothesis
	find results -mindepth 1 -maxdepth 1 ! -name reference ! -name README.md -exec rm -rf {} +
	@echo "Kept: $(ENV)/ (the environment), data/ (downloads), results/reference/ (committed results)."
