# Which images are duplicates of others, and which test images were seen in training.


# Audit and baselines come before trainings: what follows from them needs no model.
rule audit_dataset:
    input:
        packed=PACKED,
        modules=modules("duplicates/audit_dataset"),
    output:
        images=f"{AUDIT}/images.tsv",
        pairs=f"{AUDIT}/pairs.tsv",
        thresholds=f"{AUDIT}/thresholds.tsv",
    log:
        f"{LOGS}/audit_dataset/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/audit_dataset/{{dataset}}.tsv"
    priority: 2
    conda:
        "../../envs/environment.yaml"
    params:
        group_pattern=of_dataset("group_pattern"),
        audit=audit_options,
    message:
        "Auditing {wildcards.dataset}"
    script:
        "../../scripts/duplicates/audit_dataset.py"


rule draw_training_set:
    input:
        images=f"{AUDIT}/images.tsv",
        modules=modules("duplicates/draw_training_set"),
    output:
        table=TRAINING_SET,
    log:
        f"{LOGS}/draw_training_set/{{dataset}}/{{training_set}}.log",
    benchmark:
        f"{BENCHMARKS}/draw_training_set/{{dataset}}/{{training_set}}.tsv"
    priority: 2
    conda:
        "../../envs/environment.yaml"
    params:
        seeds=config["seeds"],
        held_out=HELD_OUT_SHARE,
        group_pattern=of_dataset("group_pattern"),
    message:
        "Drawing the training set {wildcards.training_set} of {wildcards.dataset}"
    script:
        "../../scripts/duplicates/draw_training_set.py"
