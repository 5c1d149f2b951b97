# Training and scoring one setting, all seeds in one job.


# Long jobs with much after them come first, so that no core idles while the last training ends.
rule train_autoencoder:
    input:
        packed=PACKED,
        training_rows=training_rows,
        modules=method_modules("models/train_autoencoder"),
    output:
        checkpoints=of_seeds(CHECKPOINT),
        histories=of_seeds(HISTORY),
        snapshots=of_seeds(SNAPSHOTS),
    log:
        f"{LOGS}/train_autoencoder/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/train_autoencoder/{SETTING}.tsv"
    wildcard_constraints:
        method="|".join(key for key in NETWORKS if key not in SHARED_WEIGHTS),
    priority: 1
    conda:
        "../../envs/environment.yaml"
    threads: config["training"]["torch_threads"]
    params:
        module=lambda wildcards: METHODS[wildcards.method].module,
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
                "snapshots",
                "torch_threads",
            )
        },
    message:
        "Training {wildcards.method}, d = {wildcards.latent_dim}, on {wildcards.dataset}, {wildcards.training_set}"
    script:
        "../../scripts/models/train_autoencoder.py"


if SHARED_WEIGHTS:

    # A method that is another score of weights which the grid trains anyway.
    rule copy_weights:
        input:
            trained=of_partner(CHECKPOINT),
            trained_histories=of_partner(HISTORY),
            trained_snapshots=of_partner(SNAPSHOTS),
            modules=modules("models/copy_weights"),
        output:
            checkpoints=of_seeds(CHECKPOINT),
            histories=of_seeds(HISTORY),
            snapshots=of_seeds(SNAPSHOTS),
        log:
            f"{LOGS}/copy_weights/{SETTING}.log",
        benchmark:
            f"{BENCHMARKS}/copy_weights/{SETTING}.tsv"
        wildcard_constraints:
            method="|".join(SHARED_WEIGHTS),
        conda:
            "../../envs/environment.yaml"
        params:
            module=lambda wildcards: METHODS[wildcards.method].module,
        message:
            "Copying weights for {wildcards.method}, d = {wildcards.latent_dim}, on {wildcards.dataset}, {wildcards.training_set}"
        script:
            "../../scripts/models/copy_weights.py"


rule score_images:
    input:
        packed=PACKED,
        checkpoints=of_seeds(CHECKPOINT),
        training_rows=training_rows if HELD_OUT_SHARE else [],
        modules=method_modules("models/score_images"),
    output:
        scores=of_seeds(f"{SCORES}/scores.tsv"),
        latents=of_seeds(f"{SCORES}/latents.h5"),
        maps=kept_or_temporary(of_seeds(f"{SCORES}/maps.h5")),
        decisions=of_seeds(f"{MODEL}/decision.tsv") if HELD_OUT_SHARE else [],
    log:
        f"{LOGS}/score_images/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/score_images/{SETTING}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: config["training"]["torch_threads"]
    params:
        batch_size=config["scoring"]["batch_size"],
        score_names=[s for s in config["scoring"]["scores"] if s == INFORMATION],
        false_positive_rate=config["decision"]["false_positive_rate"],
        device=config["training"]["device"],
        torch_threads=config["training"]["torch_threads"],
    message:
        "Scoring {wildcards.dataset} with {wildcards.method}, d = {wildcards.latent_dim}, {wildcards.training_set}"
    script:
        "../../scripts/models/score_images.py"
