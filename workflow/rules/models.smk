# Training, scoring and measuring one setting; each job does all seeds.


rule train_autoencoder:
    input:
        packed=PACKED,
        modules=method_modules("train_autoencoder"),
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
    conda:
        "../../envs/environment.yaml"
    threads: config["training"]["torch_threads"]
    resources:
        mem_mb=4000,
        runtime=720,
    params:
        options=lookup(dpath="methods/{method}", within=config),
        seeds=config["seeds"],
        epochs=epochs,
        training={k: v for k, v in config["training"].items() if k != "epochs"},
    message:
        "Training {wildcards.method} with d = {wildcards.latent_dim} on {wildcards.dataset}"
    script:
        "../../scripts/train_autoencoder.py"


rule score_images:
    input:
        packed=PACKED,
        checkpoints=expand(
            f"{MODEL}/checkpoint.safetensors", seed=config["seeds"], allow_missing=True
        ),
        modules=method_modules("score_images"),
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
        "Scoring {wildcards.dataset} with {wildcards.method}, d = {wildcards.latent_dim}"
    script:
        "../../scripts/score_images.py"


rule compute_metrics:
    input:
        packed=PACKED,
        scores=expand(f"{SCORES}/scores.tsv", seed=config["seeds"], allow_missing=True),
        maps=maps_for_metrics,
        modules=modules("compute_metrics"),
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
        "Measuring {wildcards.method} with d = {wildcards.latent_dim} on {wildcards.dataset}"
    script:
        "../../scripts/compute_metrics.py"
