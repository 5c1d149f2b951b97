import itertools
import runpy
import time
from types import SimpleNamespace

import h5py
import matplotlib
import numpy as np
import pandas as pd
import plot_examples
import plot_latent_dimension
import plot_reconstruction_error
import plot_score_histograms
import pytest
from matplotlib.axis import Axis
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection
from matplotlib.colors import same_color
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.report import figures

NAMES = {"rsna": "RSNA", "vindr": "VinDr-CXR", "brain_tumor": "Brain Tumor", "brats": "BraTS2021"}
SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
ERRORS = ["error_train_normal", "error_test_normal", "error_test_abnormal"]
MASKED = {"brats"}
PAPER = pd.DataFrame(
    [
        ("table1", "rsna", "ae", 4, "auc", 72.9, 2.1),
        ("table1", "rsna", "ae", 128, "auc", 60.5, 0.6),
        ("table1", "rsna", "ae", 4, "ap", 70.3, 0.9),
        ("table1", "brats", "ae", 4, "ap_pix", 33.4, 5.4),
        ("table2", "rsna", "vae", 16, "auc", 67.9, 0.8),
    ],
    columns=["table", "dataset", "method", "latent_dim", "metric", "mean", "std"],
)


def value(*, dataset, method, d, seed, metric):
    """A made-up value in which every key shows."""
    jitter = 0.001 * seed * (1 + d % 3) + 0.01 * len(dataset) + 0.002 * len(method)
    if metric in ERRORS:
        return (0.1 + jitter) * d**-0.5 * (1 + 0.2 * ERRORS.index(metric))
    return 0.5 + jitter + 0.01 * len(metric)


def make_metrics(
    *, datasets=tuple(NAMES), grid=None, seeds=(0, 1, 2), masked=MASKED, twins=(), baselines=False
):
    """Metrics of all settings; of the datasets `twins` also leak-free ones, half as high.

    With `baselines` there are PCA, the nearest training image and contrast, of the first seed.
    """
    grid = {key: (sizes, seeds) for key, sizes in (grid or {"ae": SIZES}).items()}
    if baselines:
        grid |= {key: ([0], seeds[:1]) for key in ("nearest", "contrast")}
        grid["pca"] = ([1, 16, 256], seeds[:1])
    rows = []
    for dataset in datasets:
        metrics = ["auc", "ap", *ERRORS]
        metrics += ["ap_pix", "dice_max", "dice_max_threshold"] if dataset in masked else []
        for method, (sizes, own_seeds) in grid.items():
            for d, seed, metric in itertools.product(sizes, own_seeds, metrics):
                v = value(dataset=dataset, method=method, d=max(d, 1), seed=seed, metric=metric)
                start = (dataset, "all", method, d, seed)
                rows.append((*start, "published", metric, v, 4000, 1000, 1948))
                if dataset in twins:
                    rows.append((*start, "leak_free", metric, v / 2, 4000, 100, 1948))
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


@pytest.fixture(autouse=True)
def style():
    with figures.house_style():
        yield


def draw_latent(metrics, paper=PAPER, names=NAMES):
    return plot_latent_dimension.draw(metrics, paper, names)


def panel(figure, label):
    (found,) = [axes for axes in figure.axes if axes.get_label() == label]
    return found


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
    """No text is small, cut off by the page's edge, or upon another text."""
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


# medae.report.figures


def test_equal_figures_have_equal_bytes(tmp_path):
    metrics = make_metrics(datasets=["rsna"], grid={"ae": [1, 16]}, seeds=[0, 1])
    for name in ("a", "b"):
        figure = draw_latent(metrics)
        figures.save_figure(figure, pdf=tmp_path / f"{name}.pdf", png=tmp_path / f"{name}.png")
        time.sleep(1.1)  # times in PDF files count whole seconds
    for suffix in (".pdf", ".png"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_png_has_300_dots_per_inch_and_the_figures_size(tmp_path):
    figures.save_figure(Figure(figsize=(2, 1)), pdf=tmp_path / "a.pdf", png=tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (600, 300)
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert "Software" not in picture.info


def test_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.save_figure(Figure(), pdf=tmp_path / "a.pdf", png=tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


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
    published = table[table["split"] == "published"]
    path = tmp_path / "metrics.tsv"
    write_table(pd.concat([table, same, others, published.assign(split="validation")]), path)
    assert len(figures.read_metrics(path)) == len(published)
    both = figures.read_metrics(path, leak_free=True)
    assert len(both) == len(table)
    assert set(both.loc[both["split"] == "leak_free", "dataset"]) == {"rsna"}


BAD_TABLES = [
    make_metrics().assign(split="x"),
    make_metrics().assign(training_set="without_twins"),
    pd.DataFrame({"a": [1]}),
]


@pytest.mark.parametrize("table", BAD_TABLES)
def test_read_metrics_names_a_table_without_metrics(tmp_path, table):
    write_table(table, tmp_path / "metrics.tsv")
    with pytest.raises(InputError, match=r"metrics\.tsv"):
        figures.read_metrics(tmp_path / "metrics.tsv")


def test_swept_methods():
    assert figures.swept_methods(make_metrics(grid={"vae": [16], "ae": [1, 2]})) == ["ae"]
    assert figures.swept_methods(make_metrics(grid={"vae": [16], "ae": [16]})) == ["vae", "ae"]
    beside = make_metrics(grid={"vae": [16], "ae": [1, 2]}, baselines=True)
    assert figures.swept_methods(beside) == ["ae", "pca"]
    beside = make_metrics(grid={"ae": [16]}, baselines=True)
    assert figures.swept_methods(beside) == ["ae", "pca"]


def test_image_counts_of_both_test_sets():
    metrics = make_metrics(datasets=["rsna"])
    assert figures.image_counts(metrics) == "1000 + 1948 images"
    metrics = make_metrics(datasets=["rsna"], twins=["rsna"])
    assert figures.image_counts(metrics) == "1000 + 1948 images\nleak-free: 100 + 1948"


def test_chance_levels():
    metrics = make_metrics(datasets=["rsna"], twins=["rsna"])
    assert figures.chance_levels(metrics, "auc") == {"published": 0.5}
    levels = {"published": 1948 / 2948, "leak_free": 1948 / 2048}
    assert figures.chance_levels(metrics, "ap") == pytest.approx(levels)
    assert figures.chance_levels(metrics, "ap_pix") == {}


def test_dollars_in_names_are_no_formula():
    metrics = make_metrics(datasets=["rsna"])
    figure = draw_latent(metrics, names={"rsna": "A $x$ set"})
    figure.draw_without_rendering()
    (title,) = {axes.title for axes in figure.axes if axes.get_label() == "rsna auc"}
    text, is_math = title._preprocess_math(title.get_text())
    assert (text, is_math) == ("A $x$ set", False)


def test_over_seeds_takes_the_standard_deviation_of_a_sample():
    metrics = make_metrics(datasets=["rsna"], grid={"ae": [8, 2]}, seeds=[0, 1])
    metrics = metrics[metrics["metric"] == "auc"]
    metrics["value"] = [0.6, 0.8, 0.5, 0.5]
    summary = figures.over_seeds(metrics)
    assert list(summary.index) == [2, 8]
    assert summary["mean"].to_numpy() == pytest.approx([0.5, 0.7])
    assert summary["std"].to_numpy() == pytest.approx([0, 0.02**0.5])
    assert figures.over_seeds(metrics[metrics["seed"] == 0])["std"].isna().all()


@pytest.mark.parametrize(
    ("sizes", "inches", "shown"),
    [
        ([16, 1, 4], 3, ["1", "4", "16"]),
        ([1, 2, 4, 8, 16, 32, 64, 128], 3, ["1", "2", "4", "8", "16", "32", "64", "128"]),
        ([100, 101, 1000], 1, ["", "101", "1000"]),
        ([7], 1, ["7"]),
    ],
)
def test_latent_axis_labels_the_sizes_that_fit(sizes, inches, shown):
    axes = Figure().add_subplot()
    figures.latent_axis(axes, sizes, inches=inches)
    assert [text.get_text() for text in axes.get_xticklabels()] == shown
    assert list(axes.get_xticks()) == sorted(sizes)
    assert axes.xaxis.get_scale() == "log"


@pytest.mark.parametrize(
    ("panels", "shape"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (8, (2, 4)), (9, (3, 3))]
)
def test_grid_shape(panels, shape):
    assert figures.grid_shape(panels, columns=4) == shape


def test_as_picture():
    grey = figures.as_picture(np.array([[[-1.0, 0.0, 1.0, 7.0]]]))
    assert grey.shape == (1, 4, 3)
    assert grey[0, :, 0] == pytest.approx([0, 0.5, 1, 1])
    colour = figures.as_picture(np.array([-1.0, 0.0, 1.0]).reshape(3, 1, 1))
    assert colour[0, 0] == pytest.approx([0, 0.5, 1])


# plot_latent_dimension


def test_latent_dimension_draws_means_bands_seeds_and_published_points():
    metrics = make_metrics()
    axes = panel(draw_latent(metrics), "rsna auc")
    rows = metrics[(metrics["dataset"] == "rsna") & (metrics["metric"] == "auc")]
    by_size = rows.groupby("latent_dim")["value"]

    ours = line(axes, "AE, this run (mean ± std of 3 seeds)")
    assert list(ours.get_xdata()) == SIZES
    assert ours.get_ydata() == pytest.approx(100 * by_size.mean().to_numpy())

    (band,) = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    top = band.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(100 * (by_size.mean() + by_size.std(ddof=1)).max())

    (dots,) = [c for c in axes.collections if isinstance(c, PathCollection)]
    expected = np.column_stack([rows["latent_dim"], 100 * rows["value"]])
    assert np.asarray(dots.get_offsets()) == pytest.approx(expected)

    theirs = line(axes, "AE, paper")
    assert list(theirs.get_xdata()) == [4, 128]
    assert list(theirs.get_ydata()) == [72.9, 60.5]
    assert theirs.get_marker() != ours.get_marker()
    assert not same_color(theirs.get_color(), ours.get_color())
    (bars,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    ends = sorted(y for segment in bars.get_segments() for y in segment[:, 1])
    assert ends == pytest.approx([59.9, 61.1, 70.8, 75.0])
    low, high = axes.get_ylim()
    assert low < 59.9 and high > 75


def test_the_papers_points_stand_beside_ours():
    figure = draw_latent(make_metrics(datasets=["rsna"]))
    figure.draw_without_rendering()
    axes = panel(figure, "rsna auc")
    ours, theirs = line(axes, "this run"), line(axes, "paper")
    x_ours = ours.get_transform().transform((4, 70))[0]
    x_theirs = theirs.get_transform().transform((4, 70))[0]
    assert 2 < (x_theirs - x_ours) / figure.dpi * 72 < 6  # points


def test_latent_dimension_names_axes_and_counts_images():
    figure = draw_latent(make_metrics())
    assert panel(figure, "rsna auc").get_ylabel() == "AUC (%)"
    assert panel(figure, "rsna ap").get_ylabel() == "AP (%)"
    assert panel(figure, "rsna ap").get_xlabel() == "latent dimension $d$"
    texts = [text.get_text() for text in visible_texts(figure)]
    assert texts.count("1000 + 1948 images") == 6  # of four datasets and two pixel panels
    assert "⌈Dice⌉ (%)" in texts and r"AP$_{\mathrm{pix}}$ (%)" in texts
    assert set(NAMES.values()) <= set(texts)


def test_latent_dimension_has_pixel_panels_only_where_there_are_masks():
    figure = draw_latent(make_metrics())
    images = [f"{key} {metric}" for metric in ("auc", "ap") for key in NAMES]
    assert labels(figure) == [*images, "brats ap_pix", "brats dice_max"]
    assert labels(draw_latent(make_metrics(masked={}))) == images
    theirs = line(panel(figure, "brats ap_pix"), "paper")
    assert list(theirs.get_ydata()) == [33.4]


def test_latent_dimension_orders_datasets_as_named():
    figure = draw_latent(make_metrics(datasets=["vindr", "rsna"]), names=NAMES)
    assert labels(figure)[:2] == ["rsna auc", "vindr auc"]


def test_latent_dimension_has_one_legend_that_counts_the_seeds():
    figure = draw_latent(make_metrics())
    assert legend_texts(figure) == [
        "AE, this run (mean ± std of 3 seeds)",
        "chance",
        "published test set",
        "AE, paper (mean ± std)",
    ]
    assert len(figure.legends) == 1 and not any(axes.get_legend() for axes in figure.axes)
    assert legend_texts(draw_latent(make_metrics(datasets=["vindr"], seeds=[5]))) == [
        "AE, this run (1 seed)",
        "chance",
        "published test set",
    ]


def test_single_seed_has_no_band():
    axes = panel(draw_latent(make_metrics(datasets=["rsna"], seeds=[0])), "rsna auc")
    (band,) = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    assert not any(len(path.vertices) for path in band.get_paths())
    assert len(line(axes, "1 seed").get_xdata()) == len(SIZES)


def test_latent_dimension_leaves_out_methods_of_one_size():
    figure = draw_latent(make_metrics(grid={"vae": [16], "ae": SIZES, "memae": [4, 16]}))
    assert legend_texts(figure) == [
        "AE, this run (mean ± std of 3 seeds)",
        "MemAE, this run (mean ± std of 3 seeds)",
        "chance",
        "published test set",
        "AE, paper (mean ± std)",
    ]
    assert list(line(panel(figure, "rsna auc"), "MemAE").get_xdata()) == [4, 16]


def test_methods_keep_their_colours_in_all_panels():
    metrics = make_metrics(grid={"ae": [1, 4], "memae": [4, 16]})
    metrics = metrics[(metrics["dataset"] != "brats") | (metrics["method"] == "memae")]
    figure = draw_latent(metrics)
    lines = [line(panel(figure, f"{key} auc"), "MemAE") for key in ("rsna", "brats")]
    assert lines[0].get_color() == lines[1].get_color()


@pytest.mark.parametrize(
    ("datasets", "masked", "rows"),
    [
        ("a", "", ["a1a2"]),
        ("a", "a", ["a1a2", "a3a4"]),
        ("ab", "b", ["a1b1", "a2b2", "b3b4"]),
        ("abc", "c", ["a1b1c1", "a2b2c2", "c3c4.."]),
        ("abc", "bc", ["a1b1c1", "a2b2c2", "b3b4c3", "c4...."]),
        ("abcd", "ad", ["a1b1c1d1", "a2b2c2d2", "a3a4d3d4"]),
        ("abcde", "e", ["a1b1c1", "a2b2c2", "d1e1..", "d2e2..", "e3e4.."]),
    ],
)
def test_arrangement_of_the_panels(datasets, masked, rows):
    number = {"auc": "1", "ap": "2", "ap_pix": "3", "dice_max": "4"}
    table = [(key, "ap_pix" if key in masked else "auc") for key in datasets]
    table = pd.DataFrame(table, columns=["dataset", "metric"])
    arranged = figures.arrange_metrics(table, {key: key for key in "abcde"})
    assert rows == [
        "".join(cell[0] + number[cell[1]] if cell else ".." for cell in row) for row in arranged
    ]


def test_titles_stand_above_each_dataset():
    metrics = make_metrics(datasets=["rsna", "brats"])
    figure = draw_latent(metrics)
    titles = {axes.get_label(): axes.get_title() for axes in figure.axes}
    assert titles == {
        "rsna auc": "RSNA",
        "brats auc": "BraTS2021",
        "rsna ap": "",
        "brats ap": "",
        "brats ap_pix": "BraTS2021",
        "brats dice_max": "",
    }
    ylabels = {axes.get_label(): axes.get_ylabel() for axes in figure.axes}
    assert ylabels["rsna ap"] == "AP (%)" and ylabels["brats ap"] == ""
    assert ylabels["brats dice_max"] == "⌈Dice⌉ (%)"


def test_both_test_sets_have_one_colour_and_two_lines():
    metrics = make_metrics(datasets=["rsna", "vindr"], twins=["rsna"], baselines=True)
    figure = draw_latent(metrics)
    axes = panel(figure, "rsna auc")
    curves = [x for x in axes.lines if len(x.get_xdata()) == len(SIZES)]
    published, leak_free = curves
    assert published.get_ydata() == pytest.approx(2 * leak_free.get_ydata())
    assert same_color(published.get_color(), leak_free.get_color())
    assert (published.get_linestyle(), leak_free.get_linestyle()) == ("-", "--")
    other = panel(figure, "vindr auc")
    assert len([x for x in other.lines if len(x.get_xdata()) == len(SIZES)]) == 1
    assert {"published test set", "leak-free test set", "chance"} <= set(legend_texts(figure))
    assert "leak-free test set" not in legend_texts(draw_latent(make_metrics()))


def test_pca_has_a_curve_and_the_nearest_image_a_level():
    metrics = make_metrics(datasets=["rsna"], twins=["rsna"], baselines=True)
    axes = panel(draw_latent(metrics), "rsna auc")
    assert list(line(axes, "PCA").get_xdata()) == [1, 16, 256]
    rows = metrics.query("method == 'nearest' and metric == 'auc'").set_index("split")["value"]
    colour = line(axes, "Nearest training image").get_color()
    levels = [x for x in axes.lines if same_color(x.get_color(), colour)]
    expected = [100 * rows["published"], 100 * rows["leak_free"]]
    assert [level.get_ydata()[0] for level in levels] == pytest.approx(expected)
    assert 0 not in axes.get_xticks()
    assert not [x for x in axes.lines if "contrast" in x.get_label()]


CASES = {
    "paper": {},
    "large": {"grid": {"ae": [*SIZES, 256, 512, 1024]}},
    "demo": {"datasets": ["brats"], "grid": {"ae": [1, 4, 16, 64]}, "seeds": [0, 1]},
    "one seed": {"datasets": ["brain_tumor"], "grid": {"ae": [4, 16, 64, 128]}, "seeds": [0]},
    "three": {"datasets": ["rsna", "vindr", "brats"]},
    "both test sets": {"twins": ["rsna", "brats"], "baselines": True},
    "one dataset": {"datasets": ["brats"], "twins": ["brats"], "baselines": True},
}


@pytest.mark.parametrize("case", CASES)
def test_latent_dimension_is_legible(case):
    check_page(draw_latent(make_metrics(**CASES[case])))


# plot_reconstruction_error


def draw_error(**options):
    return plot_reconstruction_error.draw(make_metrics(**options), NAMES)


def test_reconstruction_error_draws_the_mean_of_each_kind_of_image():
    figure = draw_error()
    metrics = make_metrics()
    for metric, label in zip(
        ERRORS, ("normal, training", "normal, test", "abnormal, test"), strict=True
    ):
        rows = metrics[(metrics["dataset"] == "vindr") & (metrics["metric"] == metric)]
        drawn = next(x for x in panel(figure, "vindr ae").get_lines() if x.get_label() == label)
        mean = rows.groupby("latent_dim")["value"].mean()
        assert list(drawn.get_xdata()) == SIZES
        assert drawn.get_ydata() == pytest.approx(mean.to_numpy())
    title = figure.legends[0].get_title().get_text()
    assert title.startswith("published test set, this run (mean ± std of 3 seeds)")
    assert title.endswith("numbers: normal + abnormal test images")
    axes = panel(figure, "vindr ae")
    assert axes.get_ylabel() == "mean squared error\n(intensities in [−1, 1])"
    assert axes.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("sizes", "inset"),
    [
        (SIZES, [32, 64, 128]),
        ([1, 32, 64], [32, 64]),
        ([4, 16, 64], None),
        ([1, 4, 16], None),
        ([32, 64], None),  # it would repeat the whole panel
    ],
)
def test_inset_shows_two_or_more_sizes_from_32_on(sizes, inset):
    figure = draw_error(datasets=["rsna"], grid={"ae": sizes})
    children = panel(figure, "rsna ae").child_axes
    if inset is None:
        assert children == []
    else:
        (child,) = children
        drawn = child.get_lines()[0]
        assert list(drawn.get_xdata()) == inset
        full = next(
            x for x in panel(figure, "rsna ae").get_lines() if x.get_label() == drawn.get_label()
        )
        assert list(drawn.get_ydata()) == list(full.get_ydata())[-len(inset) :]


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.3])
@pytest.mark.parametrize("sizes", [SIZES, [1, 512, 1024], [31, 32, 33]])
def test_inset_hides_no_curve(power, sizes):
    metrics = make_metrics(datasets=["rsna"], grid={"ae": sizes})
    metrics["value"] = metrics["latent_dim"] ** power * (1 + 0.1 * metrics["seed"])
    figure = plot_reconstruction_error.draw(metrics, NAMES)
    figure.draw_without_rendering()
    axes = panel(figure, "rsna ae")
    box = axes.child_axes[0].get_tightbbox()
    assert axes.bbox.x0 < box.x0 and box.y1 < axes.bbox.y1 + 4
    fine = 2 ** np.linspace(0, 10, 2000)
    for drawn in axes.get_lines():
        x, y = drawn.get_data()
        inside = fine[(fine >= x.min()) & (fine <= x.max())]
        heights = np.interp(
            np.log2(inside), np.log2(x), 1.2 / 1.1 * y
        )  # the highest seed is 1.2 / 1.1 times the mean
        path = axes.transData.transform(np.column_stack([inside, heights]))
        hidden = (path[:, 0] > box.x0) & (path[:, 1] > box.y0)
        assert not hidden.any()


def test_reconstruction_error_has_a_panel_per_swept_method():
    figure = draw_error(datasets=["rsna"], grid={"ae": SIZES, "vae": [16], "memae": [4, 16]})
    assert labels(figure) == ["rsna ae", "rsna memae"]
    assert panel(figure, "rsna memae").get_title() == "RSNA, MemAE"
    assert panel(draw_error(datasets=["rsna"]), "rsna ae").get_title() == "RSNA"


def test_reconstruction_error_of_networks_and_pca():
    figure = draw_error(datasets=["rsna"], baselines=True)
    assert labels(figure) == ["rsna ae", "rsna pca"]
    assert panel(figure, "rsna pca").get_title() == "RSNA, PCA"


@pytest.mark.parametrize("case", ["large", "demo", "one seed"])
def test_reconstruction_error_is_legible(case):
    check_page(draw_error(**CASES[case]))


# plot_score_histograms


def make_scores(*, n_normal=60, n_abnormal=40, seed=0):
    rng = np.random.default_rng(seed)
    n = 10 + n_normal + n_abnormal
    score = rng.uniform(0.01, 0.02, n)
    score[:10] = 9.0  # training images are not shown
    label = np.r_[np.zeros(10 + n_normal, int), np.ones(n_abnormal, int)]
    split = np.r_[["train"] * 10, ["test"] * (n_normal + n_abnormal)]
    table = {"split": split, "id": [f"{i}.png" for i in range(n)], "label": label, "score": score}
    return pd.DataFrame(table).assign(reconstruction_error=score)


def draw_histograms(settings, tables=None, leak_free=False):
    aucs = {(*s.values(), "published"): 0.7 + i / 100 for i, s in enumerate(settings)}
    if leak_free:
        aucs |= {(*s.values(), "leak_free"): 0.4 for s in settings}
    aucs = pd.Series(aucs).sort_index()
    tables = tables or [make_scores(seed=i) for i in range(len(settings))]
    tables = [table[table["split"] == "test"] for table in tables]
    tables = [{"twin": 0} | dict(table) for table in tables]
    tables = [pd.DataFrame(table) for table in tables]
    return plot_score_histograms.draw(tables=tables, aucs=aucs, name="RSNA", settings=settings)


def setting(d, method="ae"):
    return {"method": method, "latent_dim": d, "seed": 0}


def test_histograms_share_bins_and_have_unit_area():
    axes = panel(draw_histograms([setting(4)]), "ae d4")
    edges, areas = [], []
    for area in axes.collections:
        x, y = area.get_paths()[0].vertices.T
        edges.append(np.unique(x))
        areas.append(abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2)
    assert list(edges[0]) == list(edges[1])
    assert areas == pytest.approx([1, 1])
    assert edges[0].max() < 0.03  # no training image
    normal, abnormal = (area.get_edgecolor()[0] for area in axes.collections)
    assert same_color(normal, figures.NORMAL) and same_color(abnormal, figures.ABNORMAL)


def test_histogram_puts_outliers_in_the_last_bin():
    table = make_scores()
    table.loc[table.index[-1], "score"] = 50.0
    axes = panel(draw_histograms([setting(4)], [table]), "ae d4")
    assert max(area.get_paths()[0].vertices[:, 0].max() for area in axes.collections) < 1


def test_histogram_titles_have_size_and_auc():
    settings = [setting(1), setting(128)]
    figure = draw_histograms(settings)
    texts = [text.get_text() for text in visible_texts(figure)]
    assert [panel(figure, f"ae d{d}").get_title() for d in (1, 128)] == ["d = 1", "d = 128"]
    assert "AUC 70.0 %" in texts and "AUC 71.0 %" in texts
    assert legend_texts(figure) == ["normal (n = 60)", "abnormal (n = 40)"]
    assert figure.legends[0].get_title().get_text() == "RSNA, published test set"
    assert "anomaly score (the highest 1 % in the last bin)" in texts
    assert panel(figure, "ae d1").get_ylabel() == "density"
    figure = draw_histograms([setting(16), setting(16, "vae")])
    assert panel(figure, "vae d16").get_title() == "VAE, d = 16"


def test_histograms_part_normal_images_with_a_twin_from_the_others():
    table = make_scores()
    table["twin"] = 0
    table.loc[10:59, "twin"] = 1  # 50 of 60 normal test images
    table.loc[table.index[-5:], "twin"] = 1  # an abnormal one stays with its class
    figure = draw_histograms([setting(4)], [table], leak_free=True)
    assert legend_texts(figure) == [
        "normal with a copy in training (n = 50)",
        "normal without one (n = 10)",
        "abnormal (n = 40)",
    ]
    texts = [text.get_text() for text in visible_texts(figure)]
    assert "AUC 70.0 %, leak-free 40.0 %" in texts
    axes = panel(figure, "ae d4")
    assert len(axes.collections) == 2
    (outline,) = axes.lines
    x, y = outline.get_data()
    assert outline.get_drawstyle() == "steps-post"
    assert sum(np.diff(x) * y[:-1]) == pytest.approx(1)


def test_histogram_titles_of_baselines():
    figure = draw_histograms([setting(16), setting(0, "nearest"), setting(16, "pca")])
    assert panel(figure, "nearest d0").get_title() == "Nearest training image"
    assert panel(figure, "pca d16").get_title() == "PCA, d = 16"


def test_histograms_want_a_table_per_setting():
    with pytest.raises(ValueError, match="zip"):
        draw_histograms([setting(1), setting(2)], [make_scores()])


@pytest.mark.parametrize("count", [1, 4, 8, 11])
def test_histograms_are_legible(count):
    check_page(draw_histograms([setting(2**i) for i in range(count)]))


def test_histograms_with_baselines_and_twins_are_legible():
    learnt = [setting(2**i) for i in range(8)] + [setting(0, "nearest"), setting(16, "pca")]
    statistics = [setting(0, key) for key in ("mean_intensity", "contrast", "total_variation")]
    tables = [make_scores(n_normal=600, n_abnormal=600).assign(twin=0) for _ in range(13)]
    for table in tables:
        table.loc[10:499, "twin"] = 1
        table["score"] *= -1e5
    check_page(draw_histograms(learnt + statistics, tables, leak_free=True))


# plot_examples

ROLES = [f"{c} {r}" for c in ("normal", "abnormal") for r in ("lowest", "median", "highest")]


def make_examples(path, *, settings=(("ae", 4), ("ae", 16)), channels=1, masks=True, seed=0):
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.attrs["reference"] = "ae/d4"
        file.create_dataset("ids", data=[f"{i}.png" for i in range(6)], dtype=h5py.string_dtype())
        file.create_dataset("roles", data=ROLES, dtype=h5py.string_dtype())
        file["labels"] = np.array([0, 0, 0, 1, 1, 1], np.uint8)
        file["scores"] = np.array([0.0101, 0.02, 0.031, 0.04, 0.05, 0.06])
        file["images"] = rng.uniform(-1, 1, (6, channels, 16, 16)).astype(np.float32)
        if masks:
            file["masks"] = np.zeros((6, 16, 16), np.uint8)
            file["masks"][3:, 4:9, 5:11] = 1
        for method, d in settings:
            group = file.create_group(f"{method}/d{d}")
            group["reconstructions"] = rng.uniform(-1, 1, (6, channels, 16, 16)).astype("f4")
            group["maps"] = rng.uniform(0, 1 / max(d, 1), (6, 16, 16)).astype(np.float32)
            group.attrs["scores"] = np.arange(6.0)
    return path


def draw_examples(path, settings=(("ae", 4), ("ae", 16))):
    with h5py.File(path) as file:
        chosen = [{"method": method, "latent_dim": d} for method, d in settings]
        return plot_examples.draw(file, "BraTS2021", chosen)


def drawn_image(figure, label):
    (image,) = panel(figure, label).get_images()
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_show_inputs_reconstructions_and_maps(tmp_path, channels):
    path = make_examples(tmp_path / "e.h5", channels=channels)
    figure = draw_examples(path)
    with h5py.File(path) as file:
        for i in range(6):
            picture = drawn_image(figure, f"input {i}").get_array()
            assert np.allclose(picture, figures.as_picture(file["images"][i]))
            for d in (4, 16):
                group = file[f"ae/d{d}"]
                picture = drawn_image(figure, f"ae d{d} reconstruction {i}").get_array()
                assert np.allclose(picture, figures.as_picture(group["reconstructions"][i]))
                assert np.array_equal(
                    drawn_image(figure, f"ae d{d} map {i}").get_array(), group["maps"][i]
                )


def test_maps_share_one_scale_up_to_their_percentile(tmp_path):
    path = make_examples(tmp_path / "e.h5")
    figure = draw_examples(path)
    with h5py.File(path) as file:
        maps = np.concatenate([file[f"ae/d{d}/maps"][()].ravel() for d in (4, 16)])
    top = np.percentile(maps, 99.5)
    scales = {drawn_image(figure, f"ae d{d} map {i}").get_clim() for d in (4, 16) for i in range(6)}
    assert len(scales) == 1 and scales.pop() == pytest.approx((0, top))
    assert panel(figure, "colour bar").get_xlabel() == "squared error (intensities in [−1, 1])"


def test_example_titles_say_role_and_score(tmp_path):
    figure = draw_examples(make_examples(tmp_path / "e.h5"))
    titles = [panel(figure, f"input {i}").get_title() for i in range(6)]
    assert titles[0] == "normal\nlowest\n0.0101"
    assert titles[4] == "abnormal\nmedian\n0.0500"
    title = "BraTS2021: examples of the published test set by the score of AE, d = 4"
    assert figure.get_suptitle() == title


def test_masks_are_outlined_where_there_are_any(tmp_path):
    def outlined(figure):
        return [
            i
            for i in range(6)
            if any(isinstance(c, QuadContourSet) for c in panel(figure, f"input {i}").collections)
        ]

    figure = draw_examples(make_examples(tmp_path / "e.h5"))
    assert outlined(figure) == [3, 4, 5]
    assert any("orange outline: mask" in text.get_text() for text in visible_texts(figure))
    figure = draw_examples(make_examples(tmp_path / "f.h5", masks=False))
    assert outlined(figure) == []
    assert not any("outline" in text.get_text() for text in visible_texts(figure))


def test_settings_come_in_the_order_given_and_no_others(tmp_path):
    settings = [("vae", 16), ("ae", 128), ("ae", 16), ("ae", 2)]
    path = make_examples(tmp_path / "e.h5", settings=settings)
    order = [("ae", 2), ("ae", 128), ("vae", 16)]
    figure = draw_examples(path, order)
    assert not any(axes.get_label().startswith("ae d16") for axes in figure.axes)
    tops = [panel(figure, f"{m} d{d} map 0").get_position().y0 for m, d in order]
    assert tops == sorted(tops, reverse=True)
    assert panel(figure, "ae d128 reconstruction 0").get_ylabel() == "AE\nd = 128"


def test_examples_of_baselines_have_a_label_without_d(tmp_path):
    settings = [("ae", 4), ("nearest", 0), ("pca", 4)]
    figure = draw_examples(make_examples(tmp_path / "e.h5", settings=settings), settings)
    label = panel(figure, "nearest d0 reconstruction 0").get_ylabel()
    assert label == "Nearest\ntraining\nimage"
    assert panel(figure, "pca d4 reconstruction 0").get_ylabel() == "PCA\nd = 4"
    check_page(figure)


@pytest.mark.parametrize("count", [1, 4, 8])
def test_examples_are_legible_and_do_not_overlap(tmp_path, count):
    settings = [("memae", 2**i) for i in range(count)]
    figure = draw_examples(make_examples(tmp_path / "e.h5", settings=settings), settings)
    check_page(figure)
    boxes = [axes.get_window_extent().padded(-0.5) for axes in figure.axes]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert figure.get_size_inches()[0] == figures.PAGE_WIDTH
    assert figure.get_size_inches()[1] < 9.5


# the scripts as Snakemake runs them


@pytest.mark.parametrize(
    ("script", "parameter"),
    [
        ("plot_latent_dimension", {"names": NAMES}),
        ("plot_reconstruction_error", {"names": NAMES}),
        ("plot_score_histograms", {"name": "RSNA", "settings": [setting(4), setting(16)]}),
        ("plot_examples", {"name": "BraTS2021", "settings": [setting(4), setting(16)]}),
    ],
)
def test_script_maps_snakemake_to_files(tmp_path, root, script, parameter):
    write_table(make_metrics(datasets=["rsna"], grid={"ae": [4, 16]}), tmp_path / "metrics.tsv")
    write_table(PAPER, tmp_path / "paper.tsv")
    for d in (4, 16):
        write_table(make_scores(seed=d), tmp_path / f"{d}.tsv")
    audit = make_scores()[["split", "id"]].assign(twin=0)
    write_table(audit, tmp_path / "images.tsv")
    make_examples(tmp_path / "examples.h5")
    outputs = {"pdf": tmp_path / "figures" / "a.pdf", "png": tmp_path / "figures" / "a.png"}
    snakemake = SimpleNamespace(
        input=SimpleNamespace(
            metrics=str(tmp_path / "metrics.tsv"),
            paper=str(tmp_path / "paper.tsv"),
            scores=[str(tmp_path / f"{d}.tsv") for d in (4, 16)],
            audit=str(tmp_path / "images.tsv"),
            examples=str(tmp_path / "examples.h5"),
        ),
        params=SimpleNamespace(**parameter),
        wildcards=SimpleNamespace(dataset="rsna"),
        output=SimpleNamespace(**{key: str(path) for key, path in outputs.items()}),
        log=[str(tmp_path / "a.log")],
    )
    path = root / "scripts/report" / f"{script}.py"
    runpy.run_path(str(path), {"snakemake": snakemake}, run_name="__main__")
    assert outputs["pdf"].read_bytes().startswith(b"%PDF")
    assert outputs["png"].read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["a.pdf", "a.png"]


def test_published_values_fit_the_figure(root):
    """All of the paper's table 1 is drawn beside a run of the same grid."""
    paper = read_table(root / "workflow" / "resources" / "paper_values.tsv")
    figure = draw_latent(make_metrics(), paper)
    for axes in figure.axes:
        dataset, metric = axes.get_label().rsplit(" ", 1)
        rows = paper[(paper["dataset"] == dataset) & (paper["metric"] == metric)]
        rows = rows[rows["method"] == "ae"]
        drawn = dict(zip(*line(axes, "paper").get_data(), strict=True))
        assert drawn == dict(zip(rows["latent_dim"], rows["mean"], strict=True))
    assert len(figure.axes) == 10
