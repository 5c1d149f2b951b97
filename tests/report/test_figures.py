"""What figures share; metrics against the latent dimension, histograms and examples."""

import itertools

import h5py
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axis import Axis
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection
from matplotlib.colors import same_color
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text
from metric_frames import drawn, panel, paper_table
from PIL import Image
from plot_examples import plot_examples
from plot_latent_dimension import plot_latent_dimension
from plot_reconstruction_error import plot_reconstruction_error
from plot_score_histograms import plot_score_histograms

from medae.base.files import write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.models.decision import DECISION_COLUMNS
from medae.report import figures, rows

NAMES = {"rsna": "RSNA", "vindr": "VinDr-CXR", "brain_tumor": "Brain Tumor", "brats": "BraTS2021"}
METHODS = {"ae": "AE", "vae": "V $x$", "memae": "MemAE"}
METHODS |= {"nearest": "Nearest training image", "pca": "PCA", "contrast": "Low contrast"}
SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
ERRORS = ["error_train_normal", "error_test_normal", "error_test_abnormal"]
PAPER = paper_table(
    ("table1", "rsna", "ae", 4, "auc", 72.9, 2.1),
    ("table1", "rsna", "ae", 128, "auc", 60.5, 0.6),
    ("table1", "rsna", "ae", 4, "ap", 70.3, 0.9),
    ("table1", "brats", "ae", 4, "ap_pix", 33.4, 5.4),
    ("table2", "rsna", "vae", 16, "auc", 67.9, 0.8),
)


def make_metrics(*, datasets=tuple(NAMES), grid=None, seeds=(0, 1, 2), twins=(), baselines=False):
    """Metrics of all settings; of the datasets `twins` also leak-free ones, half as high.

    With `baselines` there are PCA, the nearest training image and contrast, of the first seed.
    """
    grid = {key: (sizes, seeds) for key, sizes in (grid or {"ae": SIZES}).items()}
    if baselines:
        grid |= {key: ([0], seeds[:1]) for key in ("nearest", "contrast")}
        grid["pca"] = ([1, 16, 256], seeds[:1])
    random = np.random.default_rng(0)
    found = []
    for dataset, (method, (sizes, own_seeds)) in itertools.product(datasets, grid.items()):
        metrics = ["auc", "ap", *ERRORS, *["ap_pix", "dice_max"] * (dataset == "brats")]
        for d, seed, metric in itertools.product(sizes, own_seeds, metrics):
            v = random.uniform(0.5, 0.7)
            start = (dataset, "all", method, d, "squared_error", seed)
            found.append((*start, "published", metric, v, 4000, 1000, 1948))
            if dataset in twins:
                found.append((*start, "leak_free", metric, v / 2, 4000, 100, 1948))
    return pd.DataFrame(found, columns=METRIC_COLUMNS)


@pytest.fixture(autouse=True)
def style():
    with figures.house_style():
        yield


def draw_latent(metrics, *, names=NAMES, methods=METHODS, notes=None):
    options = {"names": names, "methods": methods, "dataset_notes": notes or {}}
    options["papers"] = dict(zip(names, names, strict=True))
    return drawn(plot_latent_dimension, {"metrics": metrics, "paper": PAPER}, **options)


def labels(figure):
    return [axes.get_label() for axes in figure.axes]


def line(axes, label):
    """The line whose legend text contains `label`."""
    handles, texts = axes.get_legend_handles_labels()
    (handle,) = [h for h, text in zip(handles, texts, strict=True) if label in text]
    return handle[0] if isinstance(handle, tuple) else handle


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def visible_texts(figure):
    """All texts but the labels of ticks that lie outside their axis."""
    hidden = []
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        ticks = zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=True)
        hidden += [tick.label1 for tick, place in ticks if not low <= place <= high]
    texts = (text for text in figure.findobj(Text) if text not in hidden)
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def check_page(figure):
    """No text is small, cut off by the page's edge, or overlaps another text."""
    figure.draw_without_rendering()
    page = figure.bbox.padded(1)
    shown = []
    for text in visible_texts(figure):
        assert text.get_fontsize() >= 7, text
        box = text.get_window_extent()
        if box.width and box.height:
            assert page.x0 <= box.x0 and box.x1 <= page.x1, text
            assert page.y0 <= box.y0 and box.y1 <= page.y1, text
            shown.append((text, box.padded(-0.5)))
    for (one, a), (other, b) in itertools.combinations(shown, 2):
        assert not a.overlaps(b), (one, other)


# medae.report.figures and medae.report.rows


def test_equal_figures_have_equal_bytes(tmp_path):
    metrics = make_metrics(datasets=["rsna"], grid={"ae": [1, 16]}, seeds=[0, 1])
    for name in ("a", "b"):
        figure = draw_latent(metrics)
        figures.save_figure(figure, pdf=tmp_path / f"{name}.pdf", png=tmp_path / f"{name}.png")
    for suffix in (".pdf", ".png"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert "Software" not in picture.info


def test_a_figure_with_nothing_to_show_is_a_legible_sentence(tmp_path, monkeypatch):
    def draw() -> Figure:
        raise rows.NothingToShowError("No model was trained on sets that differ, " * 4)

    drawn_figures = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, **_: drawn_figures.append(figure))
    figures.saved(draw)(pdf=tmp_path / "a.pdf", png=tmp_path / "a.png")
    check_page(drawn_figures[0])


def test_style_ignores_the_users_settings_and_restores_them():
    with matplotlib.rc_context({"font.size": 3, "axes.facecolor": "red"}):
        with figures.house_style():
            assert matplotlib.rcParams["font.size"] == 7
            assert matplotlib.rcParams["axes.facecolor"] == "white"
        assert matplotlib.rcParams["font.size"] == 3


def test_read_metrics_takes_all_training_images_and_distinct_test_sets(tmp_path):
    table = make_metrics(datasets=["rsna", "vindr"], twins=["rsna"])
    same = make_metrics(datasets=["vindr"]).assign(split="leak_free")
    others = table.assign(training_set="without_twins")
    validation = table[table["split"] == "published"].assign(split="validation")
    path = tmp_path / "metrics.tsv"
    write_table(pd.concat([table, same, others, validation]), path)
    both = rows.read_metrics(path)
    assert len(both) == len(table)
    assert set(both.loc[both["split"] == "leak_free", "dataset"]) == {"rsna"}


def test_image_counts_and_chance_levels_of_both_test_sets():
    metrics = make_metrics(datasets=["rsna"])
    assert figures.image_counts(metrics) == "1000 + 1948 images"
    metrics = make_metrics(datasets=["rsna"], twins=["rsna"])
    assert figures.image_counts(metrics) == "1000 + 1948 images\nleak-free: 100 + 1948"
    levels = {"auc": [50], "ap": [100 * 1948 / 2948, 100 * 1948 / 2048], "ap_pix": []}
    for metric, expected in levels.items():
        axes = Figure().add_subplot()
        figures.draw_chance(axes, metrics.assign(at_share=False), metric)
        assert [line.get_ydata()[0] for line in axes.lines] == pytest.approx(expected)
        axes = Figure().add_subplot()
        figures.draw_chance(axes, metrics.assign(at_share=False), metric, across="y")
        assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sizes", "inches", "shown"),
    [
        ([16, 1, 4], 3, ["1", "4", "16"]),
        ([100, 101, 1000], 1, ["", "101", "1000"]),
        ([], 1, []),
    ],
)
def test_latent_axis_labels_the_sizes_that_fit(sizes, inches, shown):
    axes = Figure().add_subplot()
    figures.latent_axis(axes, sizes, inches=inches)
    if sizes:
        assert [text.get_text() for text in axes.get_xticklabels()] == shown
        assert list(axes.get_xticks()) == sorted(sizes)
    assert axes.xaxis.get_scale() == ("log" if sizes else "linear")


@pytest.mark.parametrize(
    ("datasets", "masked", "arranged"),
    [
        ("a", "a", ["a1a2", "a3a4"]),
        ("abc", "bc", ["a1b1c1", "a2b2c2", "b3b4c3", "c4...."]),
        ("abcde", "e", ["a1b1c1", "a2b2c2", "d1e1..", "d2e2..", "e3e4.."]),
    ],
)
def test_arrangement_of_the_panels(datasets, masked, arranged):
    number = {"auc": "1", "ap": "2", "ap_pix": "3", "dice_max": "4"}
    table = [(key, "ap_pix" if key in masked else "auc") for key in datasets]
    table = pd.DataFrame(table, columns=["dataset", "metric"])
    found = figures.arrange_metrics(table, {key: key for key in "abcde"})
    assert arranged == [
        "".join(cell[0] + number[cell[1]] if cell else ".." for cell in row) for row in found
    ]


# plot_latent_dimension


def test_latent_dimension_draws_means_bands_seeds_and_published_points():
    metrics = make_metrics()
    axes = panel(draw_latent(metrics), "rsna auc")
    own = metrics[(metrics["dataset"] == "rsna") & (metrics["metric"] == "auc")]
    by_size = own.groupby("latent_dim")["value"]

    ours = line(axes, "AE, this run (mean ± std of 3 seeds)")
    assert list(ours.get_xdata()) == SIZES
    assert ours.get_ydata() == pytest.approx(100 * by_size.mean().to_numpy())

    (band,) = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    top = band.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(100 * (by_size.mean() + by_size.std(ddof=1)).max())

    (dots,) = [c for c in axes.collections if isinstance(c, PathCollection)]
    expected = np.column_stack([own["latent_dim"], 100 * own["value"]])
    assert np.asarray(dots.get_offsets()) == pytest.approx(expected)

    theirs = line(axes, "AE, paper")
    assert list(theirs.get_xdata()) == pytest.approx([1.12 * 4, 1.12 * 128])
    assert list(theirs.get_ydata()) == [72.9, 60.5]
    (bars,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    ends = sorted(y for segment in bars.get_segments() for y in segment[:, 1])
    assert ends == pytest.approx([59.9, 61.1, 70.8, 75.0])
    low, high = axes.get_ylim()
    assert low < 59.9 and high > 75


def test_latent_dimension_names_panels_axes_and_images():
    figure = draw_latent(make_metrics(datasets=["brats", "rsna"]), names=NAMES | {"rsna": "A $x$"})
    images = [f"{key} {metric}" for metric in ("auc", "ap") for key in ("rsna", "brats")]
    assert labels(figure) == [*images, "brats ap_pix", "brats dice_max"]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [r"A \$x\$", "BraTS2021", "", "", "BraTS2021", ""]  # dollars start no formula
    ylabels = [axes.get_ylabel() for axes in figure.axes]
    assert ylabels[:4] == ["AUC (%)", "", "AP (%)", ""]
    texts = [text.get_text() for text in visible_texts(figure)]
    assert texts.count("1000 + 1948 images") == 3


def test_the_legend_has_configured_names_and_the_notes_stand_below():
    grid = {"ae": SIZES, "vae": [4, 16]}
    notes = {"rsna": "One head varies nearly linearly, " * 4}
    figure = draw_latent(make_metrics(grid=grid, seeds=[5]), notes=notes)
    assert legend_texts(figure) == [
        *("AE, this run (1 seed)", r"V \$x\$, this run (1 seed)", "chance", "full test set"),
        *("AE, paper (mean ± std)", r"V \$x\$, paper (mean ± std)"),
    ]
    assert "One head varies" in figure.legends[0].get_title().get_text()
    check_page(figure)


def test_both_test_sets_have_one_colour_and_two_lines():
    metrics = make_metrics(datasets=["rsna", "vindr"], twins=["rsna"], baselines=True)
    figure = draw_latent(metrics)
    axes = panel(figure, "rsna auc")
    published, leak_free = [x for x in axes.lines if len(x.get_xdata()) == len(SIZES)]
    assert published.get_ydata() == pytest.approx(2 * leak_free.get_ydata())
    assert same_color(published.get_color(), leak_free.get_color())
    assert (published.get_linestyle(), leak_free.get_linestyle()) == ("-", "--")
    other = panel(figure, "vindr auc")
    assert len([x for x in other.lines if len(x.get_xdata()) == len(SIZES)]) == 1
    assert {"full test set", "leak-free test set", "chance"} <= set(legend_texts(figure))
    assert "leak-free test set" not in legend_texts(draw_latent(make_metrics()))
    assert list(line(axes, "PCA").get_xdata()) == [1, 16, 256]
    own = metrics.query("dataset == 'rsna' and method == 'nearest' and metric == 'auc'")["value"]
    colour = line(axes, "Nearest training image").get_color()
    levels = [x.get_ydata()[0] for x in axes.lines if same_color(x.get_color(), colour)]
    assert levels == pytest.approx(list(100 * own))
    assert 0 not in axes.get_xticks()


@pytest.mark.parametrize("datasets", [["brats"], NAMES])
def test_latent_dimension_is_legible(datasets):
    grid = {"ae": [*SIZES, 256, 512, 1024]}
    options = {"twins": ["rsna", "brats"], "baselines": True}
    check_page(draw_latent(make_metrics(datasets=datasets, grid=grid, **options)))


# plot_reconstruction_error


def draw_error(metrics):
    return drawn(plot_reconstruction_error, {"metrics": metrics}, names=NAMES, methods=METHODS)


def test_reconstruction_error_draws_the_mean_of_each_kind_of_image():
    metrics = make_metrics(twins=["vindr"])
    figure = draw_error(metrics)
    axes = panel(figure, "vindr ae")
    names = ("normal, training", "normal, test", "abnormal, test", "normal, leak-free test set")
    splits = ["published"] * 3 + ["leak_free"]
    for metric, label, split in zip([*ERRORS, ERRORS[1]], names, splits, strict=True):
        own = metrics[(metrics["dataset"] == "vindr") & (metrics["metric"] == metric)]
        own = own[own["split"] == split]
        curve = next(x for x in axes.get_lines() if x.get_label() == label)
        assert list(curve.get_xdata()) == SIZES
        mean = own.groupby("latent_dim")["value"].mean()
        assert curve.get_ydata() == pytest.approx(mean.to_numpy())
    title = figure.legends[0].get_title().get_text()
    assert title.startswith("this run (mean ± std of 3 seeds)")
    assert len(axes.get_lines()) == 4 and len(panel(figure, "rsna ae").get_lines()) == 3
    assert axes.get_yscale() == "log"


def test_reconstruction_error_has_a_panel_per_swept_method():
    grid = {"ae": SIZES, "memae": [16], "vae": [4, 16]}
    figure = draw_error(make_metrics(datasets=["rsna"], grid=grid, baselines=True))
    titles = {axes.get_label(): axes.get_title() for axes in figure.axes}
    assert titles == {"rsna ae": "RSNA, AE", "rsna vae": r"RSNA, V \$x\$", "rsna pca": "RSNA, PCA"}
    assert draw_error(make_metrics(datasets=["rsna"])).axes[0].get_title() == "RSNA"
    assert rows.swept_methods(make_metrics(grid={"vae": [16], "ae": [16]})) == ["vae", "ae"]
    check_page(figure)


# plot_score_histograms


def make_scores(*, n_normal=60, n_abnormal=40, seed=0, twins=()):
    """Test scores; normal images first. `twins` are positions of images with a copy in training."""
    n = n_normal + n_abnormal
    score = np.random.default_rng(seed).uniform(0.01, 0.02, n)
    ids = [f"{i}.png" for i in range(n)]
    label, twin = np.repeat([0, 1], [n_normal, n_abnormal]), np.isin(range(n), list(twins))
    columns = {"split": "test", "id": ids, "label": label, "score": score, "twin": twin.astype(int)}
    return pd.DataFrame(columns)


def draw_histograms(settings, tables=None, leak_free=False, decision=None):
    settings = [
        {"dataset": "rsna", "method": method, "latent_dim": d, "seed": 0} for method, d in settings
    ]
    grid = {}
    for s in settings:
        grid.setdefault(s["method"], []).append(s["latent_dim"])
    twins = ["rsna"] if leak_free else []
    metrics = make_metrics(datasets=["rsna"], grid=grid, seeds=[0], twins=twins)
    auc = metrics["metric"] == "auc"
    metrics.loc[auc, "value"] = 0.7
    metrics.loc[auc & (metrics["split"] == "leak_free"), "value"] = 0.4
    tables = tables or [make_scores(seed=i) for i in range(len(settings))]
    frames = {"metrics": metrics, "audit": tables[0][["split", "id", "twin"]]}
    frames["scores"] = [table.drop(columns="twin") for table in tables]
    options = {"name": "RSNA", "settings": settings, "methods": METHODS}
    frames |= {} if decision is None else {"decisions": [decision]}
    return drawn(plot_score_histograms, frames, **options)


def test_histograms_share_bins_have_unit_area_and_keep_outliers_in_the_last_bin():
    table = make_scores()
    table.loc[table.index[-1], "score"] = 50.0
    axes = panel(draw_histograms([("ae", 4)], [table]), "ae d4")
    edges, areas = [], []
    for area in axes.collections:
        x, y = area.get_paths()[0].vertices.T
        edges.append(np.unique(x))
        areas.append(abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2)
    assert list(edges[0]) == list(edges[1])
    assert areas == pytest.approx([1, 1])
    assert edges[0].max() < 1
    normal, abnormal = (area.get_edgecolor()[0] for area in axes.collections)
    assert same_color(normal, figures.NORMAL) and same_color(abnormal, figures.ABNORMAL)


def test_histogram_titles_have_name_size_and_auc():
    figure = draw_histograms([("ae", 1), ("vae", 128), ("nearest", 0)])
    assert [axes.get_title() for axes in figure.axes] == [
        "AE, d = 1",
        r"V \$x\$, d = 128",
        "Nearest training image",
    ]
    texts = [text.get_text() for text in visible_texts(figure)]
    assert texts.count("AUC 70.0 %") == 3
    assert legend_texts(figure) == ["normal (n = 60)", "abnormal (n = 40)"]
    assert draw_histograms([("ae", 1)]).axes[0].get_title() == "d = 1"


def test_histograms_separate_normal_images_with_a_copy_from_the_others():
    table = make_scores(twins=[*range(50), 99])  # an abnormal one stays with its class
    figure = draw_histograms([("ae", 4)], [table], leak_free=True)
    assert legend_texts(figure) == [
        "normal with a copy in training (n = 50)",
        "normal without one (n = 10)",
        "abnormal (n = 40)",
    ]
    assert "AUC 70.0 %, leak-free 40.0 %" in [t.get_text() for t in visible_texts(figure)]
    axes = panel(figure, "ae d4")
    assert (len(axes.lines), len(axes.collections)) == (1, 2)  # an outline above two areas
    few = draw_histograms([("ae", 4)], [make_scores(twins=range(19))], leak_free=True)
    assert legend_texts(few) == ["normal (n = 60)", "abnormal (n = 40)"]


def test_histograms_show_the_threshold_of_networks_with_its_interval():
    row = ("squared_error", 0.0175, 0.017, 0.0185, 0.05, 40, 40, 0.01)
    decision = pd.DataFrame([row], columns=DECISION_COLUMNS)
    figure = draw_histograms([("ae", 4), ("nearest", 0)], decision=decision)
    network, baseline = figure.axes
    assert list(network.lines[0].get_xdata()) == [0.0175, 0.0175]
    band = network.patches[0]
    assert (band.get_x(), band.get_width()) == pytest.approx((0.017, 0.0015))
    assert "threshold for 5 % false positives" in legend_texts(figure)
    assert not baseline.lines


def test_histograms_are_legible():
    check_page(draw_histograms([("ae", 1)]))
    settings = [("ae", 2**i) for i in range(8)] + [("nearest", 0), ("pca", 16), ("contrast", 0)]
    tables = [make_scores(n_normal=600, n_abnormal=600, twins=range(490)) for _ in settings]
    for table in tables:
        table["score"] *= -1e5
    check_page(draw_histograms(settings, tables, leak_free=True))


# plot_examples

KINDS = ("reconstructions", "maps")
EXAMPLES = [("vae", 16), ("ae", 16), ("ae", 4), ("nearest", 0)]  # in the file


def make_examples(path, *, settings=EXAMPLES, channels=1, masks=True):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["reference"] = "ae/d4"
        roles = ("lowest", "median", "highest")
        roles = [f"{name} {role}" for name in ("normal", "abnormal") for role in roles]
        file.create_dataset("roles", data=roles, dtype=h5py.string_dtype())
        file["labels"] = np.array([0, 0, 0, 1, 1, 1], np.uint8)
        file["scores"] = np.array([0.0101, 0.02, 0.031, 0.04, 0.05, 0.06])
        file["images"] = rng.uniform(-1, 1, (6, channels, 16, 16)).astype(np.float32)
        if masks:
            file["masks"] = np.zeros((6, 16, 16), np.uint8)
            file["masks"][3:, 4:9, 5:11] = 1
        for method, d in settings:
            group = file.create_group(f"{method}/d{d}")
            again = rng.uniform(-2, 2, (6, channels, 16, 16)) / max(d, 1)  # some beyond the images
            group["reconstructions"] = again.astype(np.float32)
            group["maps"] = ((file["images"] - again) ** 2).mean(axis=1).astype(np.float32)
    return path


def draw_examples(path, settings, own_maps=()):
    chosen = [{"method": method, "latent_dim": d} for method, d in settings]
    names = {"name": "BraTS2021", "methods": METHODS}
    return plot_examples(examples=path, settings=chosen, own_maps=own_maps, **names)


def drawn_image(figure, label):
    (image,) = panel(figure, label).get_images()
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_show_inputs_reconstructions_and_maps_on_one_scale(tmp_path, channels, caplog):
    path = make_examples(tmp_path / "e.h5", channels=channels)
    order = [("ae", 4), ("ae", 16), ("nearest", 0)]
    figure = draw_examples(path, order)
    with h5py.File(path) as file:
        groups = {(m, d): {key: file[f"{m}/d{d}/{key}"][()] for key in KINDS} for m, d in order}
        images = file["images"][()]
    top = np.percentile([group["maps"] for group in groups.values()], 99.5)
    for i, ((method, d), group) in itertools.product(range(6), groups.items()):
        for label, image in (
            (f"input {i}", images[i]),
            (f"{method} d{d} reconstruction {i}", group["reconstructions"][i]),
        ):
            picture = drawn_image(figure, label).get_array()
            assert picture.shape == (16, 16, 3)  # with one channel it would have a colour map
            assert np.allclose(picture, np.clip(np.moveaxis(image, 0, -1) / 2 + 0.5, 0, 1))
            assert not caplog.records  # matplotlib would clip too, and complain
        shown = drawn_image(figure, f"{method} d{d} map {i}")
        assert np.array_equal(shown.get_array(), group["maps"][i])
        assert shown.get_clim() == pytest.approx((0, top))
        assert shown.norm(top / 4) == pytest.approx(0.5)  # by the root
    assert not any(axes.get_label().startswith("vae") for axes in figure.axes)
    first = [panel(figure, f"{method} d{d} reconstruction 0") for method, d in order]
    tops = [axes.get_position().y0 for axes in first]
    assert tops == sorted(tops, reverse=True)
    names = ["AE\nd = 4", "AE\nd = 16", "Nearest\ntraining\nimage"]
    assert [axes.get_ylabel() for axes in first] == names


def test_maps_of_another_kind_have_a_scale_of_their_own(tmp_path):
    path = make_examples(tmp_path / "e.h5")
    with h5py.File(path, "r+") as file:
        file["vae/d16/maps"][...] *= 1e-6  # as a gradient's
        maps = {name: file[f"{name}/d16/maps"][()] for name in ("ae", "vae")}
    figure = draw_examples(path, [("ae", 16), ("vae", 16)], own_maps=["vae"])
    for name, found in maps.items():
        limits = drawn_image(figure, f"{name} d16 map 0").get_clim()
        assert limits == pytest.approx((0, np.percentile(found, 99.5)))
    bar = panel(figure, "colour bar")
    assert bar.get_xlim()[1] == pytest.approx(np.percentile(maps["ae"], 99.5))
    assert bar.get_xlabel() == "squared error"
    notes = "\n".join(text.get_text() for text in figure.texts)
    assert "scales of their own" in notes
    alone = draw_examples(path, [("vae", 16)], own_maps=["vae"])
    assert "colour bar" not in labels(alone)


def test_the_map_by_information_stands_below_that_of_the_squared_error(tmp_path):
    path = make_examples(tmp_path / "e.h5")
    with h5py.File(path, "r+") as file:
        found = file["ae/d16/maps"][()] - 3
        file["ae/d16/information"] = found
    figure = draw_examples(path, [("ae", 16), ("ae", 4)])
    shown = drawn_image(figure, "ae d16 information map 2")
    assert np.array_equal(shown.get_array(), found[2])
    assert shown.get_clim() == pytest.approx(tuple(np.percentile(found, [0.5, 99.5])))
    labels = ["ae d16", "ae d16 information", "ae d4"]
    tops = [panel(figure, f"{label} map 0").get_position().y0 for label in labels]
    assert tops == sorted(tops, reverse=True)


@pytest.mark.parametrize("masks", [True, False])
def test_examples_have_titles_and_outlines_of_masks(tmp_path, masks):
    figure = draw_examples(make_examples(tmp_path / "e.h5", masks=masks), [("ae", 4)])
    titles = [panel(figure, f"input {i}").get_title() for i in (0, 4)]
    assert titles == ["normal\nlowest\n0.0101", "abnormal\nmedian\n0.0500"]
    texts = [text.get_text() for text in figure.texts]
    assert "BraTS2021: examples of the full test set by the score of AE, d = 4" in texts
    outlined = [
        i
        for i in range(6)
        if any(isinstance(c, QuadContourSet) for c in panel(figure, f"input {i}").collections)
    ]
    assert outlined == ([3, 4, 5] if masks else [])
    assert any("orange outline: mask" in text for text in texts) == masks


@pytest.mark.parametrize("count", [1, 8])
def test_examples_are_legible_and_do_not_overlap(tmp_path, count):
    settings = [("memae", 2**i) for i in range(count)]
    figure = draw_examples(make_examples(tmp_path / "e.h5", settings=settings), settings)
    check_page(figure)
    boxes = [axes.get_window_extent().padded(-0.5) for axes in figure.axes]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert figure.get_size_inches()[1] < 9.5
