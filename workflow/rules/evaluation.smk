# From scores to metrics and their intervals; the baselines of a dataset are scored and measured at once.

ALL_METRICS = RUNS.query("network")["metrics"].drop_duplicates().to_list()
if config["baselines"]["methods"]:
    ALL_METRICS += expand(BASELINE_METRICS, dataset=config["datasets"])

MASKS = of_dataset("masks")

BASELINE_RUNS = baseline_runs(config)
# Those whose anomaly maps are drawn and measured, and those scored by information too; the same on
# every dataset.
MAPPED_RUNS, INFORMED_RUNS = (
    RUNS.query(f"~network & {chosen}")[["training_set", "method", "latent_dim", "seed"]]
    .drop_duplicates()
    .to_dict("records")
    for chosen in ("compared & has_maps", "informed")
)
DRAWN_TRAINING_SETS = [s for s in config["baselines"]["training_sets"] if s != "all"]
DRAWN_TRAINING_SETS += ["all"] if HELD_OUT_SHARE else []
ROWS_OF_ALL = TRAINING_SET.replace("{training_set}", "all") if HELD_OUT_SHARE else []
# What is shown, and PCA at every d, against which networks are tested.
BOOTSTRAPPED = "dataset == '{dataset}' & (shown | (informed & ~network))"


rule score_baselines:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        training_sets=expand(
            TRAINING_SET, training_set=DRAWN_TRAINING_SETS, allow_missing=True
        ),
        modules=modules("evaluation/score_baselines"),
    output:
        scores=of_runs(f"{SCORES}/scores.tsv", BASELINE_RUNS),
        others=of_runs(f"{SCORES}/others.tsv", INFORMED_RUNS),
        maps=kept_or_temporary(of_runs(f"{SCORES}/maps.h5", MAPPED_RUNS)),
        metrics=BASELINE_METRICS,
    log:
        f"{LOGS}/score_baselines/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/score_baselines/{{dataset}}.tsv"
    priority: 2
    conda:
        "../../envs/environment.yaml"
    params:
        runs=BASELINE_RUNS,
        mapped=MAPPED_RUNS,
        share=published_share,
        informed=INFORMED_RUNS,
        training_sets=DRAWN_TRAINING_SETS,
    message:
        "Scoring {wildcards.dataset} with the baselines"
    script:
        "../../scripts/evaluation/score_baselines.py"


rule compute_metrics:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        training_rows=training_rows,
        scores=of_seeds(f"{SCORES}/scores.tsv"),
        maps=of_seeds(f"{SCORES}/maps.h5"),
        decisions=of_seeds(f"{MODEL}/decision.tsv") if HELD_OUT_SHARE else [],
        modules=modules("evaluation/compute_metrics"),
    output:
        metrics=SETTING_METRICS,
        others=of_seeds(f"{SCORES}/others.tsv"),
    log:
        f"{LOGS}/compute_metrics/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/compute_metrics/{SETTING}.tsv"
    conda:
        "../../envs/environment.yaml"
    params:
        seeds=config["seeds"],
        score_names=config["scoring"]["scores"],
        share=published_share,
    message:
        "Measuring {wildcards.method}, d = {wildcards.latent_dim}, {wildcards.training_set}, on {wildcards.dataset}"
    script:
        "../../scripts/evaluation/compute_metrics.py"


rule collect_metrics:
    input:
        metrics=ALL_METRICS,
        modules=modules("evaluation/collect_metrics"),
    output:
        collected=report(
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
    message:
        "Collecting the metrics of all settings"
    script:
        "../../scripts/evaluation/collect_metrics.py"


rule bootstrap_metrics:
    input:
        packed=PACKED,
        scores=lookup(BOOTSTRAPPED, within=RUNS, cols="scores"),
        others=lookup(f"{BOOTSTRAPPED} & informed", within=RUNS, cols="others"),
        maps=branch(
            MASKS,
            then=lookup(
                "dataset == '{dataset}' & shown & has_maps", within=RUNS, cols="maps"
            ),
            otherwise=[],
        ),
        audit=f"{AUDIT}/images.tsv",
        training_rows=ROWS_OF_ALL,
        modules=modules("evaluation/bootstrap_metrics"),
    output:
        intervals=INTERVALS,
        tests=TESTS,
    log:
        f"{LOGS}/bootstrap_metrics/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/bootstrap_metrics/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    params:
        settings=runs(BOOTSTRAPPED),
        reference=REFERENCE,
        group_pattern=of_dataset("group_pattern"),
        share=published_share,
        replicates=config["bootstrap"]["replicates"],
        seed=config["bootstrap"]["seed"],
    message:
        "Bootstrapping the metrics of {wildcards.dataset}"
    script:
        "../../scripts/evaluation/bootstrap_metrics.py"
