# The entropy of the latent vector: measured, coded, and set beside the metrics.

TRAINED_ON_ALL = [setting for setting in SETTINGS if setting.training_set == "all"]
ENTROPY_RESULTS = []
ALL_ENTROPY = []
if config["entropy"]["enabled"]:
    ALL_ENTROPY = [
        *(ENTROPY.format(**vars(s)) for s in TRAINED_ON_ALL),
        *(
            CODED.format(**vars(s))
            for s in TRAINED_ON_ALL
            if METHODS[s.method].module == "entropy_ae"
        ),
        *expand(IMAGE_DIMENSION, dataset=config["datasets"]),
    ]
    ENTROPY_RESULTS = [
        *expand(
            f"{TABLES}/{{name}}.{{end}}",
            name=["entropy"] + ["estimators"] * config["entropy"]["check_estimators"],
            end=["md", "tsv", "html"],
        ),
        *expand(
            f"{FIGURES}/{{name}}.{{end}}",
            name=["entropy", "entropy_metrics"],
            end=["pdf", "png"],
        ),
    ]

# The paper's claim, where the truth is known: datasets that were generated from so many scalars.
FACTORS_KNOWN = {
    key: config["registry"][key]["factors_known"]
    for key in config["datasets"]
    if "factors_known" in config["registry"][key]
}
if config["entropy"]["enabled"] and len(set(FACTORS_KNOWN.values())) > 1:
    ENTROPY_RESULTS += [
        *expand(f"{TABLES}/factors.{{end}}", end=["md", "tsv"]),
        *expand(f"{FIGURES}/factors.{{end}}", end=["pdf", "png"]),
    ]


rule probe_latents:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        training_rows=training_rows,
        checkpoints=expand(
            f"{MODEL}/checkpoint.safetensors", seed=config["seeds"], allow_missing=True
        ),
        modules=method_modules("theory/probe_latents"),
    output:
        probes=expand(f"{SCORES}/probe.h5", seed=config["seeds"], allow_missing=True),
    log:
        f"{LOGS}/probe_latents/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/probe_latents/{SETTING}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: config["training"]["torch_threads"]
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        batch_size=config["scoring"]["batch_size"],
        device=config["training"]["device"],
        torch_threads=config["training"]["torch_threads"],
        metric_images=config["entropy"]["metric_images"],
        seeds=config["seeds"],
        levels=24,
    message:
        "Probing the latent vector of {wildcards.method}, d = {wildcards.latent_dim}, on {wildcards.dataset}"
    script:
        "../../scripts/theory/probe_latents.py"


rule measure_entropy:
    input:
        probes=expand(f"{SCORES}/probe.h5", seed=config["seeds"], allow_missing=True),
        modules=modules("theory/measure_entropy"),
    output:
        table=ENTROPY,
    log:
        f"{LOGS}/measure_entropy/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/measure_entropy/{SETTING}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        seeds=config["seeds"],
        rise=config["entropy"]["rise"],
    message:
        "Measuring the entropy of {wildcards.method}, d = {wildcards.latent_dim}, on {wildcards.dataset}"
    script:
        "../../scripts/theory/measure_entropy.py"


rule measure_image_dimension:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        modules=modules("theory/measure_image_dimension"),
    output:
        table=IMAGE_DIMENSION,
    log:
        f"{LOGS}/measure_image_dimension/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_image_dimension/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "Measuring the intrinsic dimension of the images of {wildcards.dataset}"
    script:
        "../../scripts/theory/measure_image_dimension.py"


rule code_latents:
    input:
        packed=PACKED,
        checkpoints=expand(
            f"{MODEL}/checkpoint.safetensors", seed=config["seeds"], allow_missing=True
        ),
        modules=method_modules("theory/code_latents"),
    output:
        table=CODED,
    log:
        f"{LOGS}/code_latents/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/code_latents/{SETTING}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: config["training"]["torch_threads"]
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        batch_size=config["scoring"]["batch_size"],
        device=config["training"]["device"],
        torch_threads=config["training"]["torch_threads"],
        seeds=config["seeds"],
    message:
        "Coding the latent vectors of {wildcards.method} on {wildcards.dataset}"
    script:
        "../../scripts/theory/code_latents.py"


rule check_estimators:
    input:
        modules=modules("theory/check_estimators"),
    output:
        markdown=f"{TABLES}/estimators.md",
        table=f"{TABLES}/estimators.tsv",
        html=report(
            f"{TABLES}/estimators.html",
            caption="../report/estimators.rst",
            category="Theory",
            labels={"result": "estimators against known answers"},
        ),
    log:
        f"{LOGS}/check_estimators.log",
    benchmark:
        f"{BENCHMARKS}/check_estimators.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    message:
        "Checking the estimators of entropy against known answers"
    script:
        "../../scripts/theory/check_estimators.py"


rule tabulate_entropy:
    input:
        entropy=ALL_ENTROPY,
        metrics=METRICS,
        modules=modules("theory/tabulate_entropy"),
    output:
        markdown=f"{TABLES}/entropy.md",
        table=f"{TABLES}/entropy.tsv",
        html=report(
            f"{TABLES}/entropy.html",
            caption="../report/entropy_table.rst",
            category="Theory",
            labels={"result": "entropy of the latent vector (table)"},
        ),
    log:
        f"{LOGS}/tabulate_entropy.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_entropy.tsv"
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
        "Tabulating the entropy of the latent vectors"
    script:
        "../../scripts/theory/tabulate_entropy.py"


rule plot_entropy:
    input:
        entropy=ALL_ENTROPY,
        metrics=METRICS,
        modules=modules("theory/plot_entropy"),
    output:
        entropy_pdf=f"{FIGURES}/entropy.pdf",
        entropy_png=report(
            f"{FIGURES}/entropy.png",
            caption="../report/entropy_figure.rst",
            category="Theory",
            labels={"result": "entropy against d"},
        ),
        metrics_pdf=f"{FIGURES}/entropy_metrics.pdf",
        metrics_png=report(
            f"{FIGURES}/entropy_metrics.png",
            caption="../report/entropy_metrics.rst",
            category="Theory",
            labels={"result": "metrics against entropy"},
        ),
    log:
        f"{LOGS}/plot_entropy.log",
    benchmark:
        f"{BENCHMARKS}/plot_entropy.tsv"
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
        "Plotting the entropy of the latent vectors"
    script:
        "../../scripts/theory/plot_entropy.py"


rule plot_factors:
    input:
        entropy=ALL_ENTROPY,
        metrics=METRICS,
        intervals=expand(INTERVALS, dataset=FACTORS_KNOWN),
        modules=modules("theory/plot_factors"),
    output:
        table=f"{TABLES}/factors.tsv",
        markdown=f"{TABLES}/factors.md",
        pdf=f"{FIGURES}/factors.pdf",
        png=report(
            f"{FIGURES}/factors.png",
            caption="../report/factors.rst",
            category="Theory",
            labels={"result": "known number of factors"},
        ),
    log:
        f"{LOGS}/plot_factors.log",
    benchmark:
        f"{BENCHMARKS}/plot_factors.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        factors=FACTORS_KNOWN,
        names=NAMES,
    message:
        "Plotting entropy and the best d against the number of factors"
    script:
        "../../scripts/theory/plot_factors.py"
