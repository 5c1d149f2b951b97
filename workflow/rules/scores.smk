# Scores by information, and relatives, beside the squared error.

SELECTIONS = expand(SELECTION, dataset=config["selection"]["datasets"])
SCORE_RESULTS = []
ALL_SCORE_METRICS = []
if config["scores"]:
    ALL_SCORE_METRICS = [SCORE_METRICS.format(**vars(s)) for s in TRAINED_ON_ALL]
    SCORE_RESULTS = [
        *expand(f"{TABLES}/scores.{{end}}", end=["md", "tsv", "html"]),
        *expand(f"{FIGURES}/scores.{{end}}", end=["pdf", "png"]),
        *expand(
            f"{FIGURES}/score_maps_{{dataset}}.{{end}}",
            dataset=config["datasets"],
            end=["pdf", "png"],
        ),
    ]


rule measure_scores:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        scores=expand(f"{SCORES}/scores.tsv", seed=config["seeds"], allow_missing=True),
        maps=expand(f"{SCORES}/maps.h5", seed=config["seeds"], allow_missing=True),
        modules=modules("theory/measure_scores"),
    output:
        variants=expand(
            f"{SCORES}/variants.tsv", seed=config["seeds"], allow_missing=True
        ),
        metrics=SCORE_METRICS,
    log:
        f"{LOGS}/measure_scores/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/measure_scores/{SETTING}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        seeds=config["seeds"],
        variants=config["scores"],
        group_pattern=group_pattern,
        replicates=config["bootstrap"]["replicates"],
        seed=config["bootstrap"]["seed"],
        pixels=measured_pixels,
    message:
        "Comparing scores of {wildcards.method}, d = {wildcards.latent_dim}, on {wildcards.dataset}"
    script:
        "../../scripts/theory/measure_scores.py"


rule tabulate_scores:
    input:
        scores=ALL_SCORE_METRICS,
        metrics=METRICS,
        intervals=expand(INTERVALS, dataset=config["datasets"]),
        selections=SELECTIONS,
        modules=modules("theory/tabulate_scores"),
    output:
        markdown=f"{TABLES}/scores.md",
        table=f"{TABLES}/scores.tsv",
        html=report(
            f"{TABLES}/scores.html",
            caption="../report/scores_table.rst",
            category="Theory",
            labels={"result": "scores by information (table)"},
        ),
    log:
        f"{LOGS}/tabulate_scores.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_scores.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
        methods=METHOD_NAMES,
        latent_dim=config["figures"]["reference"]["latent_dim"],
    message:
        "Tabulating the scores"
    script:
        "../../scripts/theory/tabulate_scores.py"


rule plot_scores:
    input:
        scores=ALL_SCORE_METRICS,
        metrics=METRICS,
        selections=SELECTIONS,
        modules=modules("theory/plot_scores"),
    output:
        pdf=f"{FIGURES}/scores.pdf",
        png=report(
            f"{FIGURES}/scores.png",
            caption="../report/scores_figure.rst",
            category="Theory",
            labels={"result": "scores by information"},
        ),
    log:
        f"{LOGS}/plot_scores.log",
    benchmark:
        f"{BENCHMARKS}/plot_scores.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
        latent_dim=config["figures"]["reference"]["latent_dim"],
    message:
        "Plotting the scores"
    script:
        "../../scripts/theory/plot_scores.py"


rule plot_score_maps:
    input:
        packed=PACKED,
        scores=expand(f"{SCORES}/scores.tsv", **REFERENCE_RUN, allow_missing=True),
        maps=expand(f"{SCORES}/maps.h5", **REFERENCE_RUN, allow_missing=True),
        modules=modules("theory/plot_score_maps"),
    output:
        pdf=f"{FIGURES}/score_maps_{{dataset}}.pdf",
        png=report(
            f"{FIGURES}/score_maps_{{dataset}}.png",
            caption="../report/score_maps.rst",
            category="Theory",
            labels={"result": "anomaly maps by score", "dataset": "{dataset}"},
        ),
    log:
        f"{LOGS}/plot_score_maps/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_score_maps/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name=lookup(dpath="registry/{dataset}/name", within=config),
    message:
        "Plotting anomaly maps of {wildcards.dataset} by score"
    script:
        "../../scripts/theory/plot_score_maps.py"
