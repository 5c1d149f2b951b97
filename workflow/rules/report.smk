# From metrics, scores and maps to what a reader sees, and the record of how it was made.

NOTED = NAMED | {"dataset_notes": dataset_notes(config)}
ONE = {"name": of_dataset("name")}
OWN_MAPS = [key for key, method in METHODS.items() if method.own_map]
SNAPSHOT_RUNS = "network & training_set == 'all'"

# Tables and figures that are made from others' files: each has a script of its name in
# scripts/report/.
DRAWN = {
    "tabulate_methods": {
        "input": {
            "metrics": METRICS,
            "intervals": expand(INTERVALS, dataset=config["datasets"]),
            "selections": SELECTIONS,
        },
        "output": table("methods", "methods_table", "methods (Table 2)", "latex"),
        "params": NOTED
        | SELECTOR
        | {
            "reference": REFERENCE,
            "methods": INFORMED_NAMES,
            "notes": lambda wildcards: method_notes(config, METHOD_NAMES),
        },
        "message": "Tabulating the methods",
    },
    "compare_with_paper": {
        "input": {
            "metrics": METRICS,
            "paper": PAPER_VALUES,
            "reference_code": REFERENCE_VALUES,
        },
        "output": table(
            "paper_comparison", "paper_comparison", "comparison with the paper"
        ),
        "params": NAMED | {"papers": PAPERS},
        "message": "Comparing with the paper's tables",
    },
    "plot_methods": {
        "input": {
            "metrics": METRICS,
            "intervals": expand(INTERVALS, dataset=config["datasets"]),
            "paper": PAPER_VALUES,
        },
        "output": figure("methods", "methods_figure", "methods with intervals"),
        "params": NOTED | {"latent_dim": REFERENCE["latent_dim"], "papers": PAPERS},
        "message": "Plotting the methods",
    },
    "plot_latent_dimension": {
        "input": {"metrics": METRICS, "paper": PAPER_VALUES},
        "output": figure(
            "latent_dimension", "latent_dimension_figure", "metrics against d"
        ),
        "params": NOTED | {"papers": PAPERS},
        "message": "Plotting the metrics against the latent dimension",
    },
    "tabulate_scores": {
        "input": {
            "metrics": METRICS,
            "tests": expand(TESTS, dataset=config["datasets"]),
            "selections": SELECTIONS,
        },
        "output": table("scores", "scores_table", "scores of the same models"),
        "params": NOTED
        | {
            "own_maps": OWN_MAPS,
            "latent_dim": REFERENCE["latent_dim"],
        },
        "message": "Tabulating the scores",
    },
    "plot_reconstruction_error": {
        "input": {"metrics": METRICS},
        "output": figure(
            "reconstruction_error",
            "reconstruction_error",
            "reconstruction error against d",
        ),
        "params": NAMED,
        "message": "Plotting the reconstruction error against the latent dimension",
    },
    "plot_score_histograms": {
        "input": {
            "scores": lookup(RANKED, within=RUNS, cols="scores"),
            "metrics": METRICS,
            "audit": f"{AUDIT}/images.tsv",
            "decisions": (
                lookup(f"{RANKED} & network", within=RUNS, cols="decision")
                if HELD_OUT_SHARE
                else []
            ),
        },
        "output": figure(
            "score_histograms_{dataset}", "score_histograms", "score histograms"
        ),
        "params": ONE | {"methods": METHOD_NAMES, "settings": runs(RANKED)},
        "message": "Plotting the scores of {wildcards.dataset}",
    },
    "plot_examples": {
        "input": {"examples": EXAMPLES},
        "output": figure("examples_{view}_{dataset}", "examples", "examples by {view}"),
        "params": ONE
        | {"methods": METHOD_NAMES, "settings": examples_shown, "own_maps": OWN_MAPS},
        "message": "Plotting example images of {wildcards.dataset}",
    },
    "tabulate_audit": {
        "input": {
            "images": expand(f"{AUDIT}/images.tsv", dataset=config["datasets"]),
            "thresholds": expand(f"{AUDIT}/thresholds.tsv", dataset=config["datasets"]),
        },
        "output": table(
            "audit", "audit_table", "audit of the datasets", category="Audit"
        ),
        "params": {
            "names": NAMES,
            # A function, as are the notes above: Snakemake takes braces in a list for wildcards.
            "group_patterns": lambda wildcards: [
                config["registry"][key].get("group_pattern") for key in NAMES
            ],
            "moved": config["audit"]["moved"],
        },
        "message": "Tabulating the audits",
    },
    "plot_audit": {
        "input": {
            "images": f"{AUDIT}/images.tsv",
            "thresholds": f"{AUDIT}/thresholds.tsv",
        },
        "output": figure(
            "audit_{dataset}", "audit_figure", "similarity to training", "Audit"
        ),
        "params": ONE | {"moved": config["audit"]["moved"]},
        "message": "Plotting the audit of {wildcards.dataset}",
    },
    "plot_duplicates": {
        "input": {
            "packed": PACKED,
            "images": f"{AUDIT}/images.tsv",
            "thresholds": f"{AUDIT}/thresholds.tsv",
        },
        "output": figure(
            "copies_{dataset}", "copies", "duplicates of test images", "Audit"
        ),
        "params": ONE,
        "message": "Plotting duplicates in {wildcards.dataset}",
    },
    "tabulate_training_sets": {
        "input": {"metrics": METRICS},
        "output": table(
            "training_sets",
            "training_sets_table",
            "retraining control",
            category="Audit",
        ),
        "params": NAMED,
        "message": "Tabulating the training sets",
    },
}
if "ae" in set(RUNS.query("shown")["method"]):  # Table 1 is the autoencoder's
    DRAWN["plot_scores"] = {
        "input": {"metrics": METRICS, "paper": PAPER_VALUES},
        "output": figure("scores", "scores_figure", "scores against d"),
        "params": NOTED | {"papers": PAPERS},
        "message": "Plotting the scores against the latent dimension",
    }
    DRAWN["tabulate_latent_dimension"] = {
        "input": {"metrics": METRICS},
        "output": table(
            "latent_dimension",
            "latent_dimension_table",
            "latent dimension (Table 1)",
            "latex",
        ),
        "params": NOTED | {"methods": INFORMED_NAMES},
        "message": "Tabulating the latent dimensions",
    }

LAST_EPOCHS = table("snapshots", "snapshots_table", "metrics over the last epochs")
GALLERIES = expand(GALLERY, dataset=config["datasets"] if config["gallery"] else [])
RESULTS = [
    *expand(
        [str(file) for item in DRAWN.values() for file in item["output"].values()],
        dataset=config["datasets"],
        view=EXAMPLE_VIEWS,
    ),
    *GALLERIES,
    *(LAST_EPOCHS.values() if config["training"]["snapshots"] else []),
    *ADDITIONS,
]

for rule_name, item in DRAWN.items():
    keys = [
        key for key in ("{view}", "{dataset}") if key in item["output"].get("png", "")
    ]
    job = "/".join([rule_name, *keys])

    rule:
        name:
            rule_name
        input:
            **item["input"],
            modules=modules(f"report/{rule_name}"),
        output:
            **item["output"],
        log:
            f"{LOGS}/{job}.log",
        benchmark:
            f"{BENCHMARKS}/{job}.tsv"
        conda:
            "../../envs/environment.yaml"
        params:
            **item["params"],
            script=rule_name,  # an f-string in `script:` would be read after the loop
        message:
            item["message"]
        script:
            "../../scripts/report/{params.script}.py"


rule select_examples:
    input:
        packed=PACKED,
        scores=lookup(RECONSTRUCTING, within=RUNS, cols="scores"),
        maps=lookup(RECONSTRUCTING, within=RUNS, cols="maps"),
        training_rows=ROWS_OF_ALL,
        modules=modules("report/select_examples"),
    output:
        examples=EXAMPLES,
    log:
        f"{LOGS}/select_examples/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/select_examples/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    params:
        settings=runs(RECONSTRUCTING),
        reference=REFERENCE,
        information=INFORMATION in config["scoring"]["scores"],
    message:
        "Selecting example images of {wildcards.dataset}"
    script:
        "../../scripts/report/select_examples.py"


GALLERY_TEMPLATE = os.path.relpath(Path(workflow.basedir, "resources/gallery.html"))


rule write_gallery:
    input:
        packed=PACKED,
        scores=lookup(RECONSTRUCTING, within=RUNS, cols="scores"),
        maps=lookup(RECONSTRUCTING, within=RUNS, cols="maps"),
        audit=f"{AUDIT}/images.tsv",
        training_rows=ROWS_OF_ALL,
        template=GALLERY_TEMPLATE,
        modules=modules("report/write_gallery"),
    output:
        page=report(
            GALLERY,
            caption="../report/gallery.rst",
            category="Gallery",
            labels={"page": "images, maps and d", "dataset": "{dataset}"},
        ),
    log:
        f"{LOGS}/write_gallery/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/write_gallery/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    params:
        **ONE,
        methods=METHOD_NAMES,
        settings=runs(RECONSTRUCTING),
        reference=REFERENCE,
        information=INFORMATION in config["scoring"]["scores"],
    message:
        "Writing the gallery of {wildcards.dataset}"
    script:
        "../../scripts/report/write_gallery.py"


rule record_provenance:
    input:
        results=RESULTS,
        audits=expand(f"{AUDIT}/images.tsv", dataset=config["datasets"]),
        metrics=METRICS,
        checkpoints=RUNS.query("network")["checkpoint"].to_list(),
        modules=modules("report/record_provenance"),
    output:
        provenance=report(
            f"{RUN}/provenance.json",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"table": "provenance", "format": "json"},
        ),
    log:
        f"{LOGS}/record_provenance.log",
    conda:
        "../../envs/environment.yaml"
    params:
        benchmarks=BENCHMARKS,
        configuration=used_configuration(config),
        configfiles=OWNER,
    message:
        "Recording how the results were made"
    script:
        "../../scripts/report/record_provenance.py"


# Where `training: snapshots:` kept weights.
rule score_snapshots:
    input:
        packed=expand(PACKED, dataset=config["datasets"]),
        snapshots=lookup(SNAPSHOT_RUNS, within=RUNS, cols="snapshots"),
        modules=modules("report/score_snapshots"),
    output:
        **LAST_EPOCHS,
    log:
        f"{LOGS}/score_snapshots.log",
    benchmark:
        f"{BENCHMARKS}/score_snapshots.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: config["training"]["torch_threads"]
    params:
        **NAMED,
        runs=runs(SNAPSHOT_RUNS),
        device=config["training"]["device"],
        torch_threads=config["training"]["torch_threads"],
    message:
        "Scoring the weights of the last epochs"
    script:
        "../../scripts/report/score_snapshots.py"
