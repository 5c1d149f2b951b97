# Choosing d, the weight of the rate and the score without labels: a held-out part of the training
# images becomes a dataset of its own, on which every candidate is trained and judged.

SELECTION_RESULTS = []
if SELECTIONS:
    SELECTION_RESULTS = [
        *expand(f"{TABLES}/selection.{{end}}", end=["md", "tsv", "html"]),
        *expand(f"{FIGURES}/selection.{{end}}", end=["pdf", "png"]),
    ]


rule make_validation_set:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        modules=modules("theory/make_validation_set"),
    output:
        packed=PACKED.replace("{dataset}", f"{{dataset}}{SUFFIX}"),
    log:
        f"{LOGS}/make_validation_set/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/make_validation_set/{{dataset}}.tsv"
    wildcard_constraints:
        dataset="|".join(config["datasets"]),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        group_pattern=group_pattern,
        share=config["selection"]["share"],
        seed=config["selection"]["seed"],
        kinds=anomaly_kinds,
    message:
        "Holding out a part of the training images of {wildcards.dataset}"
    script:
        "../../scripts/theory/make_validation_set.py"


rule select_settings:
    input:
        scores=files_of(validated, f"{SCORES}/scores.tsv"),
        variants=files_of(validated, f"{SCORES}/variants.tsv"),
        packed=PACKED.replace("{dataset}", f"{{dataset}}{SUFFIX}"),
        audit=f"{AUDIT}/images.tsv".replace("{dataset}", f"{{dataset}}{SUFFIX}"),
        dimension=IMAGE_DIMENSION,
        modules=modules("theory/select_settings"),
    output:
        selection=SELECTION,
        curves=SELECTION_CURVES,
    log:
        f"{LOGS}/select_settings/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/select_settings/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        dataset="{dataset}",
        candidates=dataset_candidates,
        scores=[s for s in config["scores"] if not s.startswith(CONTROL)],
        group_pattern=group_pattern,
        replicates=config["bootstrap"]["replicates"],
        seed=config["bootstrap"]["seed"],
    message:
        "Choosing among the models of {wildcards.dataset} without labels"
    script:
        "../../scripts/theory/select_settings.py"


rule tabulate_selection:
    input:
        selections=SELECTIONS,
        curves=expand(SELECTION_CURVES, dataset=config["selection"]["datasets"]),
        scores=ALL_SCORE_METRICS,
        modules=modules("theory/tabulate_selection"),
    output:
        markdown=f"{TABLES}/selection.md",
        table=f"{TABLES}/selection.tsv",
        html=report(
            f"{TABLES}/selection.html",
            caption="../report/selection_table.rst",
            category="Theory",
            labels={"result": "choice without labels (table)"},
        ),
    log:
        f"{LOGS}/tabulate_selection.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_selection.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
        methods=METHOD_NAMES,
        recommended=config["selection"]["recommended"],
    message:
        "Tabulating the choices"
    script:
        "../../scripts/theory/tabulate_selection.py"


rule plot_selection:
    input:
        selections=SELECTIONS,
        curves=expand(SELECTION_CURVES, dataset=config["selection"]["datasets"]),
        scores=ALL_SCORE_METRICS,
        modules=modules("theory/plot_selection"),
    output:
        pdf=f"{FIGURES}/selection.pdf",
        png=report(
            f"{FIGURES}/selection.png",
            caption="../report/selection_figure.rst",
            category="Theory",
            labels={"result": "choice without labels"},
        ),
    log:
        f"{LOGS}/plot_selection.log",
    benchmark:
        f"{BENCHMARKS}/plot_selection.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
    message:
        "Plotting the choices"
    script:
        "../../scripts/theory/plot_selection.py"
