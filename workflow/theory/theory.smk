# Beyond the paper: entropy of the latent vector, d without labels, and datasets with a known number of factors. See docs/theory.md.
from medae.theory.plan import (
    SUFFIX,
    anomaly_kinds,
    candidates,
    check_theory,
    held_out_entries,
)
from medae.models.information import CONTROL, PLAIN_SCORE
from medae.workflow.configuration import check_schema, raise_faults

THEORY = config["theory"]
or_workflow_error(check_schema, THEORY, read_yaml("theory/schema.yaml"), "theory")
or_workflow_error(lambda: raise_faults(check_theory(config)))

ENTROPY = f"{RUN}/entropy/{SETTING}.tsv"
SELECTION = f"{RUN}/selection/{{dataset}}.tsv"
SELECTION_CURVES = f"{RUN}/selection/{{dataset}}_curves.tsv"

# A held-out dataset is one of the registry; the core's rules audit it, train and score on it.
HELD_OUT = held_out_entries(config)
config["registry"].update(HELD_OUT)

SELECTED = THEORY["selection"]["datasets"]
SELECTIONS += expand(SELECTION, dataset=SELECTED)
ADDITIONS += expand(SELECTION_CURVES, dataset=SELECTED)
SELECTOR["selector"] = THEORY["selection"]["recommended"]
MODELS_OF_ALL = RUNS.query("network & training_set == 'all'")
MODELS_OF_ALL = MODELS_OF_ALL.drop_duplicates(["dataset", "method", "latent_dim"])


# By what is compared: the inputs and parameters of scripts/theory/compare_<what>.py.
COMPARED = {
    "entropy": (
        {"entropy": expand(ENTROPY, zip, **MODELS_OF_ALL), "metrics": METRICS},
        NAMED,
    ),
}
if SELECTED:
    COMPARED["selection"] = (
        {"selections": SELECTIONS, "metrics": METRICS},
        {"names": NAMES, "recommended": THEORY["selection"]["recommended"]},
    )
if FACTORS := THEORY["factors"]:
    COMPARED["factors"] = (
        {
            "entropy": f"{TABLES}/entropy.tsv",
            "metrics": METRICS,
            "intervals": expand(INTERVALS, dataset=FACTORS),
        },
        {"factors": FACTORS},
    )


rule measure_entropy:
    input:
        packed=PACKED,
        audit=f"{AUDIT}/images.tsv",
        checkpoints=of_seeds(CHECKPOINT),
        modules=method_modules("theory/measure_entropy"),
    output:
        table=ENTROPY,
    log:
        f"{LOGS}/measure_entropy/{SETTING}.log",
    benchmark:
        f"{BENCHMARKS}/measure_entropy/{SETTING}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: config["training"]["torch_threads"]
    params:
        seeds=config["seeds"],
        device=config["training"]["device"],
        torch_threads=config["training"]["torch_threads"],
        batch_size=config["scoring"]["batch_size"],
        metric_images=THEORY["entropy"]["metric_images"],
        rise=THEORY["entropy"]["rise"],
    message:
        "Measuring the entropy of {wildcards.method}, d = {wildcards.latent_dim}, on {wildcards.dataset}"
    script:
        "../../scripts/theory/measure_entropy.py"


rule make_validation_set:
    input:
        source=PACKED,
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
    params:
        group_pattern=of_dataset("group_pattern"),
        share=THEORY["selection"]["share"],
        seed=THEORY["selection"]["seed"],
        kinds=lambda wildcards: anomaly_kinds(config, wildcards.dataset),
    message:
        "Holding out a part of the training images of {wildcards.dataset}"
    script:
        "../../scripts/theory/make_validation_set.py"


def of_candidates(pattern):
    """The files of each d to choose among, trained on the held-out dataset, at the first seed."""
    model = {"training_set": "all", "method": "ae", "seed": config["seeds"][0]}
    return lambda wildcards: expand(
        pattern,
        dataset=f"{wildcards.dataset}{SUFFIX}",
        latent_dim=candidates(RUNS, wildcards.dataset),
        **model,
    )


rule select_latent_dim:
    input:
        scores=of_candidates(f"{SCORES}/scores.tsv"),
        others=of_candidates(f"{SCORES}/others.tsv"),
        packed=PACKED.replace("{dataset}", f"{{dataset}}{SUFFIX}"),
        audit=f"{AUDIT}/images.tsv".replace("{dataset}", f"{{dataset}}{SUFFIX}"),
        source_packed=PACKED,
        source_audit=f"{AUDIT}/images.tsv",
        modules=modules("theory/select_latent_dim"),
    output:
        selection=SELECTION,
        curves=SELECTION_CURVES,
    log:
        f"{LOGS}/select_latent_dim/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/select_latent_dim/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    params:
        latent_dims=lambda wildcards: candidates(RUNS, wildcards.dataset),
        score_names=[
            PLAIN_SCORE,
            *(s for s in config["scoring"]["scores"] if not s.startswith(CONTROL)),
        ],
        group_pattern=of_dataset("group_pattern"),
        replicates=config["bootstrap"]["replicates"],
        seed=config["bootstrap"]["seed"],
    message:
        "Choosing among the models of {wildcards.dataset} without labels"
    script:
        "../../scripts/theory/select_latent_dim.py"


for compared, (files, values) in COMPARED.items():
    about = (compared, f"../theory/report/{compared}", compared)
    drawn = table(*about, category="Theory")
    if compared == "entropy":
        drawn |= figure(*about, category="Theory")
    ADDITIONS += drawn.values()

    rule:
        name:
            f"compare_{compared}"
        input:
            **files,
            modules=modules(f"theory/compare_{compared}"),
        output:
            **drawn,
        log:
            f"{LOGS}/compare_{compared}.log",
        benchmark:
            f"{BENCHMARKS}/compare_{compared}.tsv"
        conda:
            "../../envs/environment.yaml"
        params:
            **values,
            script=f"compare_{compared}",
        message:
            f"Comparing {compared}"
        script:
            "../../scripts/theory/{params.script}.py"
