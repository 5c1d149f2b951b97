"""The workflow on the three real datasets, one epoch each: results, pixel metrics, panels."""

import pytest
from small_project import ONE_MODEL

from medae.base.files import read_table
from medae.data.packed import read_packed

pytestmark = [pytest.mark.real_data, pytest.mark.workflow]

DATASETS = ["brain_tumor", "lgg", "pediatric_cxr"]
# Of this tumour slice so few pixels are marked that none is left at 64 × 64.
VANISHED = "test/tumor/TCGA_FG_7643_20021104_32_flair.png"


def test_real_datasets_end_in_tables_and_panels(fresh, real_data):
    fresh.configure(
        data_dir=str(real_data),
        datasets=DATASETS,
        training={"epochs": 1, "device": "cpu"},
        **ONE_MODEL,
    )
    fresh.run()
    metrics = read_table(fresh.results / "metrics.tsv")
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
    lgg = read_packed(fresh.results / "packed/lgg_64px.h5")
    empty = ~lgg.test_masks.any(axis=(1, 2))
    assert empty[lgg.test_labels == 0].all()
    assert [lgg.test_ids[i] for i in (empty & (lgg.test_labels == 1)).nonzero()[0]] == [VANISHED]
    for dataset in DATASETS:
        assert list((fresh.results / "figures").glob(f"examples*_{dataset}.png"))
    compared = read_table(fresh.results / "tables/paper_comparison.tsv")
    assert set(compared["dataset"]) == {"brain_tumor"}
    assert set(compared["paper_verdict"]) == {"one seed"}
