# Every target is a thin line over snakemake; the README shows the plain commands.
PYTHON ?= python3
ENV ?= .venv
CORES ?= all
BIN := $(ENV)/bin
READY := $(ENV)/.ready
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

define show
printf '\nLook first at $(1)/figures/latent_dimension.png, then open $(1)/report.html in a browser.\n'
endef

.PHONY: help env demo run paper options test test-faults test-slurm score redraw bench lint format clean

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
	@printf '\nPCA beats the autoencoder here: all phantoms come from one head, whose variation is nearly linear.\n'
	@$(call show,results/demo)

run: $(READY) ## your own configuration: CONFIG=config/mine.yaml [OPTIONS="--dry-run …"]
	@test -n "$(CONFIG)" || { echo "Name a configuration: make run CONFIG=config/mine.yaml" >&2; exit 2; }
	@$(BIN)/python workflow/progress.py $(SNAKEMAKE) $(OPTIONS) --configfile "$(CONFIG)"

paper: $(READY) ## the paper's full grid; downloads its datasets
	$(SNAKEMAKE) --keep-going --report results/paper/report.html --report-after-run
	@$(call show,results/paper)

options: $(READY) ## print every key of the configuration: type, range, default, meaning
	@PYTHONPATH=scripts $(BIN)/python -m medae.workflow.options

test: $(READY) ## all tests; real data too where MEDAE_DATA names its folder
	$(BIN)/python -m pytest --numprocesses auto

# As they are: to make and to the shell `$` and quotes in a path would mean something.
export SCORE_IMAGES := $(value IMAGES)
export SCORE_MODEL := $(value MODEL)
export SCORE_OUT := $(value OUT)

score: $(READY) ## score a folder of images: IMAGES=folder MODEL=…/checkpoint.safetensors [OUT=folder]
	@test -n "$$SCORE_IMAGES" -a -n "$$SCORE_MODEL" || \
		{ echo "Name both: make score IMAGES=folder MODEL=results/<run>/models/…/checkpoint.safetensors" >&2; exit 2; }
	$(BIN)/python scripts/score_folder.py $${SCORE_OUT:+--out "$$SCORE_OUT"} -- "$$SCORE_IMAGES" "$$SCORE_MODEL"

# What is drawn from metrics and intervals alone; contact sheets and histograms need the images.
DRAWN := tabulate_latent_dimension tabulate_methods tabulate_scores tabulate_training_sets \
	compare_with_paper plot_latent_dimension plot_methods plot_scores plot_reconstruction_error
KEPT := $(wildcard $(foreach name,latent_dimension methods training_sets paper_comparison \
	reconstruction_error $(if $(wildcard results/reference/$(RUN)/tests),scores),results/reference/$(RUN)/tables/$(name).tsv results/reference/$(RUN)/figures/$(name).png))
REDRAWN := results/redrawn

redraw: $(READY) ## draw tables and figures of results/reference/RUN again: RUN=rsna
	@test -n "$(KEPT)" || { echo "Name a run of results/reference with tables of metrics: make redraw RUN=rsna" >&2; exit 2; }
	mkdir -p $(REDRAWN) && cd results/reference/$(RUN) && \
		cp -r metrics.tsv intervals $$(ls -d selection tests 2>/dev/null) $(CURDIR)/$(REDRAWN)/
	$(SNAKEMAKE) $(KEPT:results/reference/$(RUN)/%=$(REDRAWN)/%) --configfile config/$(RUN).yaml \
		--config run=redrawn --allowed-rules $(DRAWN)
	cd $(REDRAWN) && for file in $$(find tables figures -type f); do \
		kept=$(CURDIR)/results/reference/$(RUN)/$$file; test ! -e $$kept || cp $$file $$kept || exit; done
	rm -r $(REDRAWN)

bench: $(READY) ## time this project against a plain loop, side by side (BENCH=--help: options)
	$(BIN)/python benchmarks/run.py $(BENCH)

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

clean: ## remove results and caches; says what it keeps
	rm -rf .snakemake .pytest_cache .ruff_cache .hypothesis
	find results/ -mindepth 1 -maxdepth 1 ! -name reference ! -name README.md -exec rm -rf {} +
	@echo "Kept: $(ENV)/ (the environment), data/ (downloads), results/reference/ (committed results)."
