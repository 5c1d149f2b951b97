"""The figures of scores: what they draw."""

import h5py
import numpy as np
import pandas as pd
import pytest
from plot_score_maps import SHOWN, choose, plot_score_maps
from plot_score_maps import draw as draw_maps
from plot_scores import draw, plot_scores, shown_scores

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import ATTRIBUTES, packed_writer, read_packed
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.models.score_files import score_table
from medae.theory.score_metrics import SCORE_METRIC_COLUMNS, read_score_metrics

NAMES = {"scans": "Scans $", "xray": "X-ray"}
OPTIONS = {"names": NAMES, "latent_dim": 16}
SCORES = ["information", "mse", "relative", "information_w9", "information_w17", "ncc"]


@pytest.fixture
def tables(tmp_path):
    """Two datasets, of which the second has one test set; a table of scores per latent size."""
    paths = []
    for dim in (16, 4):
        rows = [
            (dataset, "ae", dim, 0, score, split, metric, value, np.nan, np.nan, n, 9)
            for dataset, normal in (("scans", (5, 8)), ("xray", (7, 7)))
            for place, score in enumerate(SCORES)
            for split, n in zip(("leak_free", "published"), normal, strict=True)
            for metric, value in (("auc", 0.5 + place / 100 + n / 1000 + dim / 1000), ("ap", 0.1))
        ]
        paths.append(tmp_path / f"d{dim}.tsv")
        write_table(pd.DataFrame(rows, columns=SCORE_METRIC_COLUMNS), paths[-1])
    rows = [
        (dataset, training_set, method, dim, 0, split, "auc", value, 90, 5, 9)
        for dataset in NAMES
        for method, dim, value in (("contrast", 0, 0.6), ("nearest", 0, 0.55), ("pca", 4, 0.9))
        for split in ("leak_free", "published")
        for training_set in ("all", "without_twins")
    ]
    write_table(pd.DataFrame(rows, columns=METRIC_COLUMNS), tmp_path / "metrics.tsv")
    chosen = pd.DataFrame({"dataset": "scans", "score": ["mse", "ncc"]})
    write_table(chosen, tmp_path / "selection.tsv")
    return tmp_path, paths


def test_what_is_drawn(tables):
    folder, paths = tables
    metrics = pd.read_csv(folder / "metrics.tsv", sep="\t").query("training_set == 'all'")
    figure = draw(read_score_metrics(paths), metrics, chosen={"scans": "ncc"}, **OPTIONS)
    scans, xray = figure.axes
    assert (scans.get_label(), xray.get_label()) == ("scans", "xray")

    def curves(axes):
        return {
            (line.get_label(), line.get_linestyle()): np.array(line.get_ydata())
            for line in axes.lines
            if len(line.get_xdata()) == 2 and not line.get_label().startswith("_")
        }

    found = curves(scans)
    expected = ["squared error", "relative error", "information, 9 × 9", "chosen without labels"]
    levels = ["best baseline without a network"]
    assert set(found) == {(name, line) for name in expected + levels for line in ("-", "--")}
    assert found["squared error", "-"].tolist() == pytest.approx([51.9, 53.1])  # d = 4, 16
    assert found["chosen without labels", "--"].tolist() == pytest.approx([56.2, 57.4])
    assert found[levels[0], "-"].tolist() == [60, 60]
    assert set(curves(xray)) == {(name, "-") for name in expected[:3] + levels}
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["chosen: 1 − correlation\nbaseline: low contrast", "baseline: low contrast"]


def test_the_windowed_information_of_the_first_in_the_tables():
    assert shown_scores(SCORES) == ["mse", "relative", "information_w9"]
    assert shown_scores(["information", "ncc_w9", "mse"]) == ["mse"]


def test_without_the_autoencoder_nothing_is_drawn(tables):
    scores = read_score_metrics(tables[1]).assign(method="vae")
    with pytest.raises(InputError, match="No table of scores is of the autoencoder"):
        draw(scores, pd.DataFrame(), chosen={}, **OPTIONS)


def test_the_files_of_the_figure(tables):
    folder, paths = tables
    made = []
    for run in ("one", "two"):
        outputs = {end: folder / f"{run}.{end}" for end in ("pdf", "png")}
        plot_scores(
            scores=paths,
            metrics=folder / "metrics.tsv",
            selections=[folder / "selection.tsv"],
            **OPTIONS,
            **outputs,
        )
        made.append([path.read_bytes() for path in outputs.values()])
    assert made[0] == made[1]


# --- the maps ---


def test_images_are_chosen_by_rank():
    labels = np.repeat([1, 0], [9, 3])
    scores = np.append(np.arange(9.0)[::-1], [0.3, 0.1, 0.2])
    chosen = choose(ids=[str(i) for i in range(12)], labels=labels, scores=scores)
    assert chosen == {
        "abnormal\n1/8": 7,
        "abnormal\n3/8": 5,
        "abnormal\n5/8": 3,
        "abnormal\n7/8": 1,
        "normal\n4/8": 11,
    }
    tied = choose(ids=["b", "a", "c"], labels=np.array([1, 1, 0]), scores=np.zeros(3))
    assert set(tied.values()) == {1, 2}
    with pytest.raises(InputError, match="no normal test image"):
        choose(ids=["a"], labels=np.array([1]), scores=np.zeros(1))


def test_pictures_and_scales():
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (2, 1, 8, 8))
    masks = np.zeros((2, 8, 8), dtype=np.uint8)
    masks[0, 2:4, 2:4] = 1
    maps = {name: random.normal(place, 1, (2, 8, 8)) for place, name in enumerate(SHOWN)}
    rows = ["abnormal\n1/8", "normal\n4/8"]
    pair = {"images": images, "reconstructions": images / 2}
    figure = draw_maps(rows=rows, **pair, masks=masks, maps=maps, name="Toy $")
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert len(panels) == 2 * (2 + len(SHOWN)) + len(SHOWN)
    for name in SHOWN:
        for i in range(2):
            np.testing.assert_array_equal(
                panels[f"{name} {i}"].images[0].get_array(), maps[name][i]
            )
        limits = [panels[f"{name} {i}"].images[0].get_clim() for i in range(2)]
        assert limits[0] == limits[1] == tuple(np.percentile(maps[name], [0.5, 99.5]))
    assert len(panels["input 0"].collections) == 1
    assert not panels["input 1"].collections
    figure.draw_without_rendering()
    assert min(axes.get_tightbbox().y0 for axes in figure.axes) >= 0


def test_the_files_of_the_maps(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, 1, 16, 16), dtype=np.uint8)
    with packed_writer(
        tmp_path / "packed.h5",
        channels=1,
        image_size=16,
        train_ids=["t"],
        test_ids=list("abcdefg"),
        test_labels=[0, 1, 0, 1, 1, 0, 1],
        masks=False,
    ) as writer:
        writer.append("train", images[:1])
        writer.append("test", images[1:])
        writer.attributes = {name: kind() for name, kind in ATTRIBUTES.items()}
    data = read_packed(tmp_path / "packed.h5")
    errors = np.linspace(0.01, 0.2, 8)
    write_table(score_table(data, scores=errors, errors=errors), tmp_path / "scores.tsv")
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        file["reconstructions"] = random.uniform(-1, 1, (7, 1, 16, 16))
        file.create_dataset("ids", data=data.test_ids, dtype=h5py.string_dtype())
    made = []
    for run in ("one", "two"):
        outputs = {end: tmp_path / f"{run}.{end}" for end in ("pdf", "png")}
        plot_score_maps(
            packed=tmp_path / "packed.h5",
            scores=tmp_path / "scores.tsv",
            maps=tmp_path / "maps.h5",
            name="Toy",
            **outputs,
        )
        made.append([path.read_bytes() for path in outputs.values()])
    assert made[0] == made[1]
