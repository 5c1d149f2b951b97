# Training, scoring and measuring one setting; each job does all seeds.
import signal

# A batch system announces the end of a job's time to all its processes by SIGUSR1, which a training
# answers by saving its state. Unless Snakemake ignores it, it dies at once, and the job with it.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)


# Priorities: what takes long and has much after it comes first, so that no core is without work
# while a training that began last ends. What the audit gives comes before all trainings.
rule train_autoencoder:
    input:
        packed=PACKED,
        training_rows=training_rows,
        modules=method_modules("models/train_autoencoder"),
    output:
        checkpoints=expand(
            f"{MODEL}/checkpoint.safetensors", seed=config["seeds"], allow_missing=True
        ),
        histories=expand(
            f"{MODEL}/history.tsv", seed=config["seeds"], allow_missing=True
        ),
    log:
        f"{LOGS}/train_autoencoder/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/train_autoencoder/{SETTING}.tsv"
    priority: 1
    conda:
        "../../envs/environment.yaml"
    threads: config["training"]["torch_threads"]
    resources:
        mem_mb=4000,
        runtime=720,
    params:
        method=lambda wildcards: METHODS[wildcards.method].module,
        options=lambda wildcards: METHODS[wildcards.method].options,
        seeds=config["seeds"],
        epochs=epochs,
        training={
            key: config["training"][key]
            for key in (
                "batch_size",
                "device",
                "learning_rate",
                "precision",
                "seeds_together",
                "torch_threads",
            )
        },
    message:
        "Training {wildcards.method}, d = {wildcards.latent_dim}, on {wildcards.dataset}, {wildcards.training_set}"
    script:
        "../../scripts/models/train_autoencoder.py"


rule score_images:
    input:
        packed=PACKED,
        checkpoints=expand(
            f"{MODEL}/checkpoint.safetensors", seed=config["seeds"], allow_missing=True
        ),
        modules=method_modules("models/score_images"),
    output:
        scores=expand(f"{SCORES}/scores.tsv", seed=config["seeds"], allow_missing=True),
        latents=expand(f"{SCORES}/latents.h5", seed=config["seeds"], allow_missing=True),
        maps=[
            path if config["scoring"]["keep_maps"] else temp(path)
            for path in expand(
                f"{SCORES}/maps.h5", seed=config["seeds"], allow_missing=True
            )
        ],
    log:
        f"{LOGS}/score_images/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/score_images/{SETTING}.tsv"
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
    message:
        "Scoring {wildcards.dataset} with {wildcards.method}, d = {wildcards.latent_dim}, {wildcards.training_set}"
    script:
        "../../scripts/models/score_images.py"


rule score_baselines:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        training_sets=expand(
            TRAINING_SET, training_set=DRAWN_TRAINING_SETS, allow_missing=True
        ),
        modules=modules("models/score_baselines"),
    output:
        scores=[
            expand(f"{SCORES}/scores.tsv", **run, allow_missing=True)
            for run in BASELINE_RUNS
        ],
        maps=[
            path if config["scoring"]["keep_maps"] else temp(path)
            for run in MAPPED_RUNS
            for path in expand(f"{SCORES}/maps.h5", **run, allow_missing=True)
        ],
        metrics=BASELINE_METRICS,
    log:
        f"{LOGS}/score_baselines/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/score_baselines/{{dataset}}.tsv"
    priority: 2
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        runs=BASELINE_RUNS,
        mapped=MAPPED_RUNS,
        training_sets=DRAWN_TRAINING_SETS,
    message:
        "Scoring {wildcards.dataset} with the baselines"
    script:
        "../../scripts/models/score_baselines.py"


rule compute_metrics:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        training_rows=training_rows,
        scores=expand(f"{SCORES}/scores.tsv", seed=config["seeds"], allow_missing=True),
        maps=maps_for_metrics,
        modules=modules("evaluation/compute_metrics"),
    output:
        metrics=f"{RUN}/metrics/{SETTING}.tsv",
    log:
        f"{LOGS}/compute_metrics/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/compute_metrics/{SETTING}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        seeds=config["seeds"],
    message:
        "Measuring {wildcards.method}, d = {wildcards.latent_dim}, {wildcards.training_set}, on {wildcards.dataset}"
    script:
        "../../scripts/evaluation/compute_metrics.py"
