"""Check the estimators of entropy and dimension against distributions whose truth is known.

No inputs. Outputs: a table as Markdown, as an HTML page and as a TSV with the columns COLUMNS: the
estimates' mean and standard deviation over the draws, the truth, and the mean's error, in the unit
of the estimate and in percent of the truth.

- gaussian: normal latents, mixed by a random matrix, through the channel of medae.theory.entropy; gains
  fall from 100 to 1 times the level. Truth: Σ ½ log2(1 + μ / s).
- two clusters: the same, but u has two clusters in each direction, at ±√0.9 with variance 0.1.
- copies: the Gaussian case of which every image is there three times.
- uniform cube: the plain nearest-neighbour entropy of the unit cube. Truth: 0 bits.
- manifold: sines of random mixtures of uniform factors, in 64 dimensions; the truth is the number
  of factors. With copies: every tenth point again, moved by 0.1 % of the spread.

Draws are seeded, so that equal libraries give equal tables.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.integrate import quad
from scipy.stats import norm

from medae.base.files import write_table, write_text
from medae.report.tables import MISSING, Section, html_page, html_sections, markdown_sections
from medae.theory.entropy import Channel, gaussian_bits, knn_bits, knn_entropy
from medae.theory.intrinsic_dimension import intrinsic_dimensions

COLUMNS = ["case", "estimate", "n_images", "dim", "truth", "mean", "std", "error", "percent"]
TITLE = "Estimators of entropy and dimension, on known distributions"
ABOUT = (
    "Mean ± standard deviation over draws, the truth, and the error of the mean. Entropies are in "
    "bits per image."
)
CASES = {
    "gaussian": "Normal latents, mixed by a random matrix; signal to noise from 100 down to 1.",
    "two clusters": "Two clusters in each direction, else the same. The Gaussian estimate is an "
    "upper bound here, and the nearest-neighbour one sees the clusters in few dimensions only.",
    "copies": "The normal latents with every image three times, as if copies were not left out. "
    "The nearest neighbours are copies then, and the estimate from them falls.",
    "uniform cube": "The nearest-neighbour entropy by itself, without the correction of its bias.",
    "manifold": "Sines of random mixtures of uniform factors, in 64 dimensions.",
    "manifold, copies": "With near copies of a tenth of the points, which bias both.",
}
IMAGES = [500, 1000, 4000]  # the sizes of the training sets without copies
DIMS = [1, 4, 16, 64, 128]  # latent dimensions
MANIFOLD_DIMS = [2, 4, 8, 16]
DRAWS = 5
EMBEDDING = 64  # dimensions that manifolds lie in
CLUSTER = 0.9  # share of the variance that lies between the two clusters


def check_estimators(
    *,
    images: Sequence[int],
    dims: Sequence[int],
    manifold_dims: Sequence[int],
    draws: int,
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the three forms of the table: `dims` are of entropies, `draws` those of a case."""
    checked = check_cases(images=images, dims=dims, manifold_dims=manifold_dims, draws=draws)
    sections = [case_section(checked, case) for case in CASES]
    write_text(f"# {TITLE}\n\n{ABOUT}\n\n{markdown_sections(sections)}", markdown)
    write_text(html_page(TITLE, ABOUT, html_sections(sections)), html)
    write_table(checked, table)


def check_cases(
    *, images: Sequence[int], dims: Sequence[int], manifold_dims: Sequence[int], draws: int
) -> pd.DataFrame:
    """Return the table of all cases, with the columns COLUMNS."""
    keys = COLUMNS[:5]
    rows = [
        (case, estimate, count, dim, truth, value)
        for count in images
        for case in CASES
        for dim in (manifold_dims if case.startswith("manifold") else dims)
        for draw in range(draws)
        for estimate, truth, value in one_draw(case, count=count, dim=dim, draw=draw)
    ]
    found = pd.DataFrame(rows, columns=[*keys, "value"])
    found = found.groupby(keys, sort=False)["value"].agg(["mean", "std"]).reset_index()
    found["error"] = found["mean"] - found["truth"]
    found["percent"] = 100 * found["error"] / found["truth"].where(found["truth"] != 0)
    return found[COLUMNS]


def one_draw(case: str, *, count: int, dim: int, draw: int) -> Iterator[tuple[str, float, float]]:
    """Yield the estimates of one draw of a case: name, truth, value."""
    random = np.random.default_rng((draw, count, dim, list(CASES).index(case)))
    match case:
        case "uniform cube":
            yield "knn_entropy", 0.0, knn_entropy(random.random((count, dim)))
        case "manifold" | "manifold, copies":
            points = manifold(random, count=count, dim=dim)
            if case != "manifold":
                near = points[::10] + 1e-3 * random.standard_normal(points[::10].shape)
                points = np.concatenate([points, near])
            for name, value in intrinsic_dimensions(points).items():
                yield name, float(dim), value
        case _:
            gains = np.geomspace(100, 1, dim)
            truth = gaussian_bits(gains, 1.0)
            u = random.standard_normal((count, dim))
            if case == "two clusters":
                truth = sum(clustered_bits(gain) for gain in gains)
                sides = random.choice([-1.0, 1.0], u.shape)
                u = np.sqrt(CLUSTER) * sides + np.sqrt(1 - CLUSTER) * u
            elif case == "copies":
                u = u[np.arange(count) // 3]
            mixing = random.standard_normal((dim, dim))
            unmixing = np.linalg.inv(mixing)
            latents = u @ mixing
            channel = Channel.fit(latents, unmixing @ np.diag(gains) @ unmixing.T)
            yield "gaussian_bits", truth, gaussian_bits(channel.gains, 1.0)
            yield "knn_bits", truth, knn_bits(channel, latents, level=1.0, seed=draw)


def manifold(random: np.random.Generator, *, count: int, dim: int) -> np.ndarray:
    """Return points on a curved manifold of `dim` dimensions, shape (count, EMBEDDING)."""
    factors = random.random((count, dim))
    mixing = 2 * random.standard_normal((dim, EMBEDDING)) / np.sqrt(dim)
    return np.sin(factors @ mixing + 2 * np.pi * random.random(EMBEDDING))


def clustered_bits(gain: float) -> float:
    """Return the information of one direction with two clusters at level 1, by integration."""
    middle, width = np.sqrt(CLUSTER * gain), np.sqrt((1 - CLUSTER) * gain + 1)

    def integrand(y: float) -> float:
        density = (norm.pdf(y, middle, width) + norm.pdf(y, -middle, width)) / 2
        return -density * np.log2(density)

    entropy, _ = quad(integrand, -middle - 9 * width, middle + 9 * width, limit=200)
    return entropy - 0.5 * np.log2(2 * np.pi * np.e)


def case_section(checked: pd.DataFrame, case: str) -> Section:
    """Return the section of one case: a row per number of points, dimension and estimate."""
    rows = []
    for row in checked[checked["case"] == case].itertuples(index=False):
        percent = MISSING if np.isnan(row.percent) else f"{row.percent:+.1f}"
        numbers = [f"{row.truth:.2f}", f"{row.mean:.2f} ± {row.std:.2f}", f"{row.error:+.2f}"]
        rows.append([row.estimate, str(row.n_images), str(row.dim), *numbers, percent])
    header = ["Estimate", "Points", "Dimensions", "Truth", "Estimated", "Error", "Error in %"]
    heading = case.capitalize()
    return Section(heading, CASES[case], header, rows, align="lrrrrrr")


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        check_estimators(
            images=IMAGES,
            dims=DIMS,
            manifold_dims=MANIFOLD_DIMS,
            draws=DRAWS,
            markdown=Path(snakemake.output.markdown),
            html=Path(snakemake.output.html),
            table=Path(snakemake.output.table),
        )
