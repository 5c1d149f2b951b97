# From raw images to one HDF5 file per dataset and size.


# Downloads run where Snakemake was started: nodes of a cluster seldom reach the network.
localrules:
    download_dataset,


def is_generated(entry):
    return "generator" in entry and "path" not in entry


def is_downloaded(wildcards):
    """Whether the folder is ours to fetch: not generated, not named by `path`, not there before."""
    entry = config["registry"][wildcards.dataset]
    if is_generated(entry) or "path" in entry:
        return False
    folder = dataset_folder(config, wildcards.dataset)
    return Path(f"{folder}.verified.json").exists() or not folder.exists()


def images_source(wildcards):
    """What the images of a dataset are made by; nothing for a folder of the user's."""
    entry = config["registry"][wildcards.dataset]
    if is_generated(entry):
        return RAW
    return MARKER.format(**entry) if is_downloaded(wildcards) else []


def images_folder(wildcards):
    if is_generated(config["registry"][wildcards.dataset]):
        return RAW.format(dataset=wildcards.dataset)
    return str(dataset_folder(config, wildcards.dataset))


def images_fingerprint(wildcards):
    """Changes when the files of a user's folder do, so that the dataset is packed again."""
    return (
        "made by a rule"
        if images_source(wildcards)
        else fingerprint(images_folder(wildcards))
    )


def packing_options(wildcards):
    """The keys of a registry entry that packing depends on."""
    keys = [
        "layout",
        "channels",
        "masks",
        "modality",
        "expected",
        "intensity_range",
        "url",
    ]
    entry = config["registry"][wildcards.dataset]
    return {key: entry[key] for key in keys if key in entry}


def download_entry(wildcards):
    """The registry entry whose data lie in the wildcard `folder`, and its key."""
    for key, entry in config["registry"].items():
        if entry.get("folder") == wildcards.folder:
            return {"key": key, **entry}


rule download_dataset:
    input:
        modules=modules("data/download_dataset"),
    output:
        marker=MARKER,
    log:
        f"{LOGS}/download_dataset/{{folder}}.log",
    benchmark:
        f"{BENCHMARKS}/download_dataset/{{folder}}.tsv"
    conda:
        "../../envs/environment.yaml"
    params:
        entry=download_entry,
        mirror=config["downloads"]["mirror"],
        retries=config["downloads"]["retries"],
        api=config["downloads"]["api"],
    message:
        "Downloading {wildcards.folder}"
    script:
        "../../scripts/data/download_dataset.py"


rule generate_phantom:
    input:
        modules=modules("data/generate_phantom"),
    output:
        images=directory(RAW),
    log:
        f"{LOGS}/generate_phantom/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/generate_phantom/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    params:
        image_size=config["image_size"],
        parameters=of_dataset("generator"),
    message:
        "Generating the demonstration set {wildcards.dataset}"
    script:
        "../../scripts/data/generate_phantom.py"


rule pack_dataset:
    input:
        images=images_source,
        modules=modules("data/pack_dataset"),
    output:
        packed=PACKED,
    log:
        f"{LOGS}/pack_dataset/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/pack_dataset/{{dataset}}.tsv"
    wildcard_constraints:
        dataset="|".join(config["datasets"]),
    conda:
        "../../envs/environment.yaml"
    threads: 2
    params:
        root=images_folder,
        fingerprint=images_fingerprint,
        image_size=config["image_size"],
        entry=packing_options,
    message:
        "Packing {wildcards.dataset}"
    script:
        "../../scripts/data/pack_dataset.py"
