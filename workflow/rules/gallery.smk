# A page per dataset to look at: test images, reconstructions and anomaly maps of every method and d.

GALLERY_TEMPLATE = os.path.relpath(Path(workflow.basedir, "resources/gallery.html"))
GALLERIES = expand(GALLERY, dataset=config["datasets"] if config["gallery"] else [])


rule write_gallery:
    input:
        packed=PACKED,
        scores=files_of(reconstructing_settings, f"{SCORES}/scores.tsv"),
        maps=files_of(reconstructing_settings, f"{SCORES}/maps.h5"),
        audit=f"{AUDIT}/images.tsv",
        template=GALLERY_TEMPLATE,
        modules=modules("report/write_gallery"),
    output:
        page=report(
            GALLERY,
            caption="../report/gallery.rst",
            category="Gallery",
            labels={"result": "images, maps and d", "dataset": "{dataset}"},
        ),
    log:
        f"{LOGS}/write_gallery/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/write_gallery/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name=lookup(dpath="registry/{dataset}/name", within=config),
        settings=reconstructing_settings,
        reference=config["figures"]["reference"],
        methods=METHOD_NAMES,
    message:
        "Writing the gallery of {wildcards.dataset}"
    script:
        "../../scripts/report/write_gallery.py"
