# From raw images to one HDF5 file per dataset and size.

PACKED_CONTENT = {dataset: packed_content(dataset) for dataset in config["datasets"]}


# Downloads run where Snakemake was started: nodes of a cluster seldom reach the network.
localrules:
    download_dataset,


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
    # Before trainings: a faulty dataset is noticed at once, and beside a training two cores have no
    # room for these threads.
    priority: 3
    conda:
        "../../envs/environment.yaml"
    threads: 2
    params:
        root=images_folder,
        image_size=config["image_size"],
        entry=packing_options,
        content=lookup("{dataset}", within=PACKED_CONTENT),
    message:
        "Packing {wildcards.dataset}"
    script:
        "../../scripts/data/pack_dataset.py"
