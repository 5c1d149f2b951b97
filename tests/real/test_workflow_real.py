"""The workflow on the three real datasets, one epoch each: results, pixel metrics, panels."""

import subprocess
import sys

import pandas as pd
import pytest
import yaml

from medae.data.packed import read_packed

pytestmark = [pytest.mark.real_data, pytest.mark.workflow]

CONFIG = {
    "run": "real",
    "datasets": ["brain_tumor", "lgg", "pediatric_cxr"],
    "grid": [{"methods": ["ae"], "latent_dims": [4]}],
    "seeds": [0],
    "training": {"epochs": 1, "device": "cpu"},
    "figures": {"reference": {"method": "ae", "latent_dim": 4}},
}
# Of this tumour slice so few pixels are marked that none is left at 64 × 64.
VANISHED = "test/tumor/TCGA_FG_7643_20021104_32_flair.png"


def test_real_datasets_end_in_tables_and_panels(root, real_data, tmp_path):
    for name in ("workflow", "scripts", "config", "envs"):
        (tmp_path / name).symlink_to(root / name)
    configuration = tmp_path / "real.yaml"
    configuration.write_text(yaml.safe_dump(CONFIG | {"data_dir": str(real_data)}))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", str(configuration)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = pd.read_csv(tmp_path / "results/real/metrics.tsv", sep="\t")
    splits = metrics.groupby(["split", "dataset"])[["n_normal", "n_abnormal"]].first()
    counts = splits.loc["published"]
    assert counts.loc["brain_tumor"].tolist() == [600, 600]
    assert counts.loc["lgg"].tolist() == [932, 605]
    assert counts.loc["pediatric_cxr"].tolist() == [234, 390]
    assert splits.loc["leak_free", "brain_tumor"].tolist() == [74, 600]
    assert splits.loc["leak_free", "lgg"].tolist() == [931, 605]
    assert splits.loc["leak_free", "pediatric_cxr"].tolist() == [234, 390]
    pixel = metrics[metrics["metric"].isin(["ap_pix", "dice_max", "auc_pix"])]
    assert set(pixel["dataset"]) == {"lgg"}
    assert pixel["value"].between(0, 1).all()
    lgg = read_packed(tmp_path / "results/real/packed/lgg_64px.h5")
    empty = ~lgg.test_masks.any(axis=(1, 2))
    assert empty[lgg.test_labels == 0].all()
    assert [lgg.test_ids[i] for i in (empty & (lgg.test_labels == 1)).nonzero()[0]] == [VANISHED]
    for dataset in CONFIG["datasets"]:
        assert list((tmp_path / "results/real/figures").glob(f"examples*_{dataset}.png"))
    compared = pd.read_csv(tmp_path / "results/real/tables/paper_comparison.tsv", sep="\t")
    assert set(compared["dataset"]) == {"brain_tumor"}
    assert set(compared["paper_verdict"]) == {"one seed"}
