# What a dataset's numbers can mean: copies of images, and test images that were seen in training.

AUDIT_RESULTS = [
    *expand(
        f"{TABLES}/{{name}}.{{end}}",
        name=["audit", "training_sets"],
        end=["md", "tsv", "html"],
    ),
    *expand(
        f"{FIGURES}/{{name}}_{{dataset}}.{{end}}",
        name=["audit", "copies"],
        dataset=config["datasets"],
        end=["pdf", "png"],
    ),
    *expand(f"{FIGURES}/training_sets.{{end}}", end=["pdf", "png"]),
]


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
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        group_pattern=group_pattern,
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
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        seeds=config["seeds"],
    message:
        "Drawing the training set {wildcards.training_set} of {wildcards.dataset}"
    script:
        "../../scripts/duplicates/draw_training_set.py"


rule tabulate_audit:
    input:
        images=expand(f"{AUDIT}/images.tsv", dataset=config["datasets"]),
        thresholds=expand(f"{AUDIT}/thresholds.tsv", dataset=config["datasets"]),
        modules=modules("report/tabulate_audit"),
    output:
        markdown=f"{TABLES}/audit.md",
        table=f"{TABLES}/audit.tsv",
        html=report(
            f"{TABLES}/audit.html",
            caption="../report/audit_table.rst",
            category="Audit",
            labels={"result": "audit of the datasets"},
        ),
    log:
        f"{LOGS}/tabulate_audit.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_audit.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
        group_patterns=[config["registry"][key].get("group_pattern") for key in NAMES],
        moved=config["audit"]["moved"],
    message:
        "Tabulating the audits"
    script:
        "../../scripts/report/tabulate_audit.py"


rule plot_audit:
    input:
        images=f"{AUDIT}/images.tsv",
        thresholds=f"{AUDIT}/thresholds.tsv",
        modules=modules("report/plot_audit"),
    output:
        pdf=f"{FIGURES}/audit_{{dataset}}.pdf",
        png=report(
            f"{FIGURES}/audit_{{dataset}}.png",
            caption="../report/audit_figure.rst",
            category="Audit",
            labels={"result": "similarity to training", "dataset": "{dataset}"},
        ),
    log:
        f"{LOGS}/plot_audit/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_audit/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name=lookup(dpath="registry/{dataset}/name", within=config),
        moved=config["audit"]["moved"],
    message:
        "Plotting the audit of {wildcards.dataset}"
    script:
        "../../scripts/report/plot_audit.py"


rule plot_copies:
    input:
        packed=PACKED,
        images=f"{AUDIT}/images.tsv",
        thresholds=f"{AUDIT}/thresholds.tsv",
        modules=modules("report/plot_copies"),
    output:
        pdf=f"{FIGURES}/copies_{{dataset}}.pdf",
        png=report(
            f"{FIGURES}/copies_{{dataset}}.png",
            caption="../report/copies.rst",
            category="Audit",
            labels={"result": "copies of test images", "dataset": "{dataset}"},
        ),
    log:
        f"{LOGS}/plot_copies/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_copies/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name=lookup(dpath="registry/{dataset}/name", within=config),
    message:
        "Plotting copies in {wildcards.dataset}"
    script:
        "../../scripts/report/plot_copies.py"


rule tabulate_training_sets:
    input:
        metrics=METRICS,
        modules=modules("report/tabulate_training_sets"),
    output:
        markdown=f"{TABLES}/training_sets.md",
        table=f"{TABLES}/training_sets.tsv",
        html=report(
            f"{TABLES}/training_sets.html",
            caption="../report/training_sets_table.rst",
            category="Audit",
            labels={"result": "retraining control (table)"},
        ),
    log:
        f"{LOGS}/tabulate_training_sets.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_training_sets.tsv"
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
        "Tabulating the training sets"
    script:
        "../../scripts/report/tabulate_training_sets.py"


rule plot_training_sets:
    input:
        metrics=METRICS,
        modules=modules("report/plot_training_sets"),
    output:
        pdf=f"{FIGURES}/training_sets.pdf",
        png=report(
            f"{FIGURES}/training_sets.png",
            caption="../report/training_sets_figure.rst",
            category="Audit",
            labels={"result": "retraining control (figure)"},
        ),
    log:
        f"{LOGS}/plot_training_sets.log",
    benchmark:
        f"{BENCHMARKS}/plot_training_sets.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=NAMES,
    message:
        "Plotting the training sets"
    script:
        "../../scripts/report/plot_training_sets.py"
