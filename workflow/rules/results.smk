# From the metrics of all settings to tables, figures and the record of how they were made.

FIGURE_NAMES = [
    "methods",
    "latent_dimension",
    "reconstruction_error",
    *expand("score_histograms_{dataset}", dataset=config["datasets"]),
    *expand(
        "examples_{view}_{dataset}", view=EXAMPLE_VIEWS, dataset=config["datasets"]
    ),
]
# Table 1 is the autoencoder's.
if "ae" in {setting.method for setting in SETTINGS}:
    TABLE_NAMES = ["latent_dimension", "methods"]
else:
    TABLE_NAMES = ["methods"]
RESULTS = [
    METRICS,
    *expand(
        f"{TABLES}/{{name}}.{{end}}", name=TABLE_NAMES, end=["md", "tex", "tsv", "html"]
    ),
    *expand(f"{TABLES}/paper_comparison.{{end}}", end=["md", "tsv", "html"]),
    *expand(f"{FIGURES}/{{name}}.{{end}}", name=FIGURE_NAMES, end=["pdf", "png"]),
    *AUDIT_RESULTS,
    *ENTROPY_RESULTS,
    *SCORE_RESULTS,
    *SELECTION_RESULTS,
    *GALLERIES,
]
ALL_METRICS = [f"{RUN}/metrics/{SETTING}.tsv".format(**vars(s)) for s in SETTINGS]
if BASELINE_RUNS:
    ALL_METRICS += expand(BASELINE_METRICS, dataset=config["datasets"])
CHECKPOINTS = [
    f"{MODEL}/checkpoint.safetensors".format(seed=seed, **vars(s))
    for s in SETTINGS
    for seed in config["seeds"]
]
# Targets too, though results need them anyway: a failed training loses its checkpoints, and the
# results of the one before would count as up to date.
# Baselines' scores are named since an output that a rule did not have before has no record, and hides
# from Snakemake that the rule's parameters have changed.
MODELS = [
    *expand(PACKED, dataset=config["datasets"]),
    *CHECKPOINTS,
    *(
        f"{SCORES}/scores.tsv".format(seed=seed, **vars(s))
        for s in SETTINGS
        for seed in config["seeds"]
    ),
    *ALL_METRICS,
    *(
        f"{SCORES}/scores.tsv".format(dataset=dataset, **run)
        for dataset in config["datasets"]
        for run in BASELINE_RUNS
    ),
]


rule collect_metrics:
    input:
        metrics=ALL_METRICS,
        modules=modules("evaluation/collect_metrics"),
    output:
        metrics=report(
            METRICS,
            caption="../report/metrics.rst",
            category="Tables",
            labels={"table": "all metrics", "format": "tsv"},
        ),
    log:
        f"{LOGS}/collect_metrics.log",
    benchmark:
        f"{BENCHMARKS}/collect_metrics.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Collecting the metrics of all settings"
    script:
        "../../scripts/evaluation/collect_metrics.py"


rule tabulate_latent_dimension:
    input:
        metrics=METRICS,
        modules=modules("report/tabulate_latent_dimension"),
    output:
        markdown=f"{TABLES}/latent_dimension.md",
        latex=f"{TABLES}/latent_dimension.tex",
        table=f"{TABLES}/latent_dimension.tsv",
        html=report(
            f"{TABLES}/latent_dimension.html",
            caption="../report/latent_dimension_table.rst",
            category="Tables",
            labels={"table": "latent dimension (Table 1)", "format": "html"},
        ),
    log:
        f"{LOGS}/tabulate_latent_dimension.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_latent_dimension.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
        methods=METHOD_NAMES,
    message:
        "Tabulating the latent dimensions"
    script:
        "../../scripts/report/tabulate_latent_dimension.py"


rule bootstrap_metrics:
    input:
        packed=PACKED,
        scores=files_of(dataset_runs, f"{SCORES}/scores.tsv"),
        maps=maps_for_bootstrap,
        audit=f"{AUDIT}/images.tsv",
        modules=modules("evaluation/bootstrap_metrics"),
    output:
        intervals=INTERVALS,
    log:
        f"{LOGS}/bootstrap_metrics/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/bootstrap_metrics/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        settings=dataset_runs,
        reference=config["figures"]["reference"],
        group_pattern=group_pattern,
        replicates=config["bootstrap"]["replicates"],
        seed=config["bootstrap"]["seed"],
    message:
        "Bootstrapping the metrics of {wildcards.dataset}"
    script:
        "../../scripts/evaluation/bootstrap_metrics.py"


rule tabulate_methods:
    input:
        metrics=METRICS,
        intervals=expand(INTERVALS, dataset=config["datasets"]),
        selections=SELECTIONS,
        modules=modules("report/tabulate_methods"),
    output:
        markdown=f"{TABLES}/methods.md",
        latex=f"{TABLES}/methods.tex",
        table=f"{TABLES}/methods.tsv",
        html=report(
            f"{TABLES}/methods.html",
            caption="../report/methods_table.rst",
            category="Tables",
            labels={"table": "methods (Table 2)", "format": "html"},
        ),
    log:
        f"{LOGS}/tabulate_methods.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_methods.tsv"
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
        selector=config["selection"]["recommended"],
        notes=method_notes(),
    message:
        "Tabulating the methods"
    script:
        "../../scripts/report/tabulate_methods.py"


rule plot_methods:
    input:
        metrics=METRICS,
        intervals=expand(INTERVALS, dataset=config["datasets"]),
        paper=PAPER_VALUES,
        modules=modules("report/plot_methods"),
    output:
        pdf=f"{FIGURES}/methods.pdf",
        png=report(
            f"{FIGURES}/methods.png",
            caption="../report/methods_figure.rst",
            category="Figures",
            labels={"figure": "methods with intervals"},
        ),
    log:
        f"{LOGS}/plot_methods.log",
    benchmark:
        f"{BENCHMARKS}/plot_methods.tsv"
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
        "Plotting the methods"
    script:
        "../../scripts/report/plot_methods.py"


rule compare_with_paper:
    input:
        metrics=METRICS,
        paper=PAPER_VALUES,
        modules=modules("report/compare_with_paper"),
    output:
        table=f"{TABLES}/paper_comparison.tsv",
        markdown=f"{TABLES}/paper_comparison.md",
        html=report(
            f"{TABLES}/paper_comparison.html",
            caption="../report/paper_comparison.rst",
            category="Tables",
            labels={"table": "comparison with the paper", "format": "html"},
        ),
    log:
        f"{LOGS}/compare_with_paper.log",
    benchmark:
        f"{BENCHMARKS}/compare_with_paper.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
    message:
        "Comparing with the paper's tables"
    script:
        "../../scripts/report/compare_with_paper.py"


rule plot_latent_dimension:
    input:
        metrics=METRICS,
        paper=PAPER_VALUES,
        modules=modules("report/plot_latent_dimension"),
    output:
        pdf=f"{FIGURES}/latent_dimension.pdf",
        png=report(
            f"{FIGURES}/latent_dimension.png",
            caption="../report/latent_dimension_figure.rst",
            category="Figures",
            labels={"figure": "metrics against d"},
        ),
    log:
        f"{LOGS}/plot_latent_dimension.log",
    benchmark:
        f"{BENCHMARKS}/plot_latent_dimension.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
    message:
        "Plotting the metrics against the latent dimension"
    script:
        "../../scripts/report/plot_latent_dimension.py"


rule plot_reconstruction_error:
    input:
        metrics=METRICS,
        modules=modules("report/plot_reconstruction_error"),
    output:
        pdf=f"{FIGURES}/reconstruction_error.pdf",
        png=report(
            f"{FIGURES}/reconstruction_error.png",
            caption="../report/reconstruction_error.rst",
            category="Figures",
            labels={"figure": "reconstruction error against d"},
        ),
    log:
        f"{LOGS}/plot_reconstruction_error.log",
    benchmark:
        f"{BENCHMARKS}/plot_reconstruction_error.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
    message:
        "Plotting the reconstruction error against the latent dimension"
    script:
        "../../scripts/report/plot_reconstruction_error.py"


rule plot_score_histograms:
    input:
        scores=files_of(scoring_settings, f"{SCORES}/scores.tsv"),
        metrics=METRICS,
        audit=f"{AUDIT}/images.tsv",
        modules=modules("report/plot_score_histograms"),
    output:
        pdf=f"{FIGURES}/score_histograms_{{dataset}}.pdf",
        png=report(
            f"{FIGURES}/score_histograms_{{dataset}}.png",
            caption="../report/score_histograms.rst",
            category="Figures",
            labels={"figure": "score histograms", "dataset": "{dataset}"},
        ),
    log:
        f"{LOGS}/plot_score_histograms/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_score_histograms/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name=lookup(dpath="registry/{dataset}/name", within=config),
        settings=scoring_settings,
    message:
        "Plotting the scores of {wildcards.dataset}"
    script:
        "../../scripts/report/plot_score_histograms.py"


rule select_examples:
    input:
        packed=PACKED,
        scores=files_of(reconstructing_settings, f"{SCORES}/scores.tsv"),
        maps=files_of(reconstructing_settings, f"{SCORES}/maps.h5"),
        modules=modules("report/select_examples"),
    output:
        examples=EXAMPLES,
    log:
        f"{LOGS}/select_examples/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/select_examples/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=reconstructing_settings,
        reference=config["figures"]["reference"],
    message:
        "Selecting example images of {wildcards.dataset}"
    script:
        "../../scripts/report/select_examples.py"


rule plot_examples:
    input:
        examples=EXAMPLES,
        modules=modules("report/plot_examples"),
    output:
        pdf=f"{FIGURES}/examples_{{view}}_{{dataset}}.pdf",
        png=report(
            f"{FIGURES}/examples_{{view}}_{{dataset}}.png",
            caption="../report/examples.rst",
            category="Figures",
            labels={"figure": "examples by {view}", "dataset": "{dataset}"},
        ),
    log:
        f"{LOGS}/plot_examples/{{view}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_examples/{{view}}/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name=lookup(dpath="registry/{dataset}/name", within=config),
        settings=example_settings,
    message:
        "Plotting example images of {wildcards.dataset}"
    script:
        "../../scripts/report/plot_examples.py"


rule record_provenance:
    input:
        results=RESULTS,
        checkpoints=CHECKPOINTS,
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
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        benchmarks=BENCHMARKS,
        configuration=used_configuration(config),
        configfiles=OWNER,
    message:
        "Recording how the results were made"
    script:
        "../../scripts/report/record_provenance.py"
