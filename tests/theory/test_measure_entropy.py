"""The tables of entropy and of the images' dimension, and the check of the estimators."""

from xml.etree import ElementTree

import numpy as np
import pytest
from check_estimators import CASES, COLUMNS, check_cases, check_estimators, clustered_bits
from measure_entropy import measure_entropy, measure_probe
from measure_image_dimension import measure_image_dimension
from test_audit_dataset import run as audit
from test_audit_dataset import write_packed

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.theory.intrinsic_dimension import intrinsic_dimensions
from medae.theory.probe_files import ENTROPY_COLUMNS, Probe, write_probe


def linear_probe(gains, *, error=0.5, n=400, rates=None):
    """Return the probe of a linear decoder with these gains, by the theory."""
    gains = np.array(gains)
    random = np.random.default_rng(0)
    points = random.standard_normal((n, len(gains)))
    latents = np.linalg.qr(points - points.mean(axis=0))[0] * np.sqrt(n)
    levels = np.append(np.geomspace(1e-4, 100, 60), np.inf)
    rises = (gains / (1 + gains / levels[:, None])).sum(axis=1)
    return Probe(latents, np.diag(gains), levels, error + rises, error, rates, rates)


def test_all_quantities_by_hand():
    # At level 1 directions of gain 15, 3 and 0.01 raise the error by 15/16 + 3/4 + 0.01/1.01.
    rise = 15 / 16 + 3 / 4 + 0.01 / 1.01
    probe = linear_probe([15.0, 3.0, 0.01], error=2.0, rates=np.array([1.0, 4.0]))
    found = measure_probe(probe, rise=rise / 2)
    assert found["level"] == pytest.approx(1, rel=0.01)
    assert found["gaussian_bits"] == pytest.approx(2 + 1 + 0.5 * np.log2(1.01), abs=0.02)
    assert found["knn_bits"] == pytest.approx(found["gaussian_bits"], abs=0.3)
    assert found["rate_bits"] == found["rate_test_bits"] == 2.5
    assert found["dims_in_use"] == 2
    assert found["participation_ratio"] == pytest.approx(18.01**2 / (225 + 9 + 1e-4))
    scaled = intrinsic_dimensions(probe.latents * np.sqrt([15.0, 3.0, 0.01]))
    assert {name: found[name] for name in scaled} == pytest.approx(scaled)
    assert found["reconstruction_error"] == 2.0 and found["n_images"] == 400
    assert list(found) == [
        *("gaussian_bits", "knn_bits", "rate_bits", "rate_test_bits", "effective_rank"),
        *("participation_ratio", "dims_in_use", "twonn", "mle", "level", "reconstruction_error"),
        "n_images",
    ]


def test_finer_precision_costs_more():
    probe = linear_probe([4.0, 1.0])
    coarse, fine = (measure_probe(probe, rise=rise)["gaussian_bits"] for rise in (0.5, 0.05))
    assert fine > coarse + 1


@pytest.mark.parametrize(("n", "measured"), [(6, True), (5, False)])
def test_too_few_images_have_no_entropy(n, measured):
    found = measure_probe(linear_probe([4.0, 2.0, 1.0], n=n), rise=0.1)
    assert np.isfinite(found["gaussian_bits"]) == measured
    assert found["n_images"] == n and np.isfinite(found["effective_rank"])


def test_latents_that_nothing_depends_on_have_no_entropy():
    found = measure_probe(linear_probe([1e-9, 1e-12]), rise=0.1)
    assert found["level"] == np.inf
    assert found["gaussian_bits"] == found["knn_bits"] == found["dims_in_use"] == 0


def test_the_table(tmp_path):
    for seed, gains in ((0, [4.0, 1.0]), (3, [1e-9, 1e-9])):
        write_probe(tmp_path / f"{seed}.h5", linear_probe(gains))
    arguments = {"dataset": "toy", "method": "ae", "latent_dim": 2, "seeds": [0, 3], "rise": 0.1}
    arguments |= {"probes": [tmp_path / "0.h5", tmp_path / "3.h5"]}
    measure_entropy(**arguments, output=tmp_path / "entropy.tsv")
    table = read_table(tmp_path / "entropy.tsv")
    assert list(table.columns) == ENTROPY_COLUMNS
    assert set(table["dataset"]) == {"toy"} and set(table["latent_dim"]) == {2}
    bits = table[table["quantity"] == "gaussian_bits"].set_index("seed")["value"]
    expected = measure_probe(linear_probe([4.0, 1.0]), rise=0.1)["gaussian_bits"]
    assert bits[0] == pytest.approx(expected, rel=1e-4) and bits[3] == 0
    assert np.isinf(table.set_index(["seed", "quantity"]).loc[(3, "level"), "value"])
    assert not (set(table["quantity"]) & {"rate_bits", "rate_test_bits"})
    first = (tmp_path / "entropy.tsv").read_bytes()
    measure_entropy(**arguments, output=tmp_path / "entropy.tsv")
    assert (tmp_path / "entropy.tsv").read_bytes() == first
    with pytest.raises(InputError, match="not those of 4"):
        measure_entropy(**arguments | {"latent_dim": 4}, output=tmp_path / "entropy.tsv")


def test_the_dimension_of_images(tmp_path):
    # Images of three factors, and ten of them a second time.
    random = np.random.default_rng(0)
    waves = np.sin(
        random.random((80, 3)) @ random.standard_normal((3, 256)) + 7 * random.random(256)
    )
    train = np.round(127.5 + 127 * waves).astype(np.uint8).reshape(80, 1, 16, 16)
    train = np.concatenate([train, train[:10]])
    packed = write_packed(tmp_path / "toy.h5", train, 255 - train[:4], [0, 0, 1, 1])
    audit(packed, tmp_path, threshold=0.99999, moved=False)
    output = tmp_path / "dimension.tsv"
    measure_image_dimension(
        packed=packed, audit=tmp_path / "images.tsv", dataset="toy", output=output
    )
    table = read_table(output)
    assert list(table.columns) == ENTROPY_COLUMNS
    assert set(table["method"]) == {"images"} and set(table["latent_dim"]) == {0}
    values = dict(zip(table["quantity"], table["value"], strict=True))
    assert values["n_images"] == 80
    expected = intrinsic_dimensions(train[:80].reshape(80, -1))
    assert [values["twonn"], values["mle"]] == pytest.approx(list(expected.values()))
    assert 2 < values["mle"] < 4


def test_the_check_of_the_estimators(tmp_path):
    arguments = {"images": [300], "dims": [1, 4], "manifold_dims": [2], "draws": 2}
    paths = {name: tmp_path / f"check.{name}" for name in ("markdown", "html", "table")}
    check_estimators(**arguments, **paths)
    table = read_table(paths["table"])
    assert list(table.columns) == COLUMNS
    assert set(table["case"]) == set(CASES)
    found = table.set_index(["case", "estimate", "dim"])
    for estimate in ("gaussian_bits", "knn_bits"):
        assert abs(found.loc[("gaussian", estimate, 4), "error"]) < 0.4
    assert found.loc[("gaussian", "gaussian_bits", 1), "truth"] == pytest.approx(np.log2(101) / 2)
    assert found.loc[("two clusters", "gaussian_bits", 4), "percent"] > 10  # an upper bound
    assert abs(found.loc[("two clusters", "knn_bits", 1), "percent"]) < 5
    assert np.isnan(found.loc[("uniform cube", "knn_entropy", 1), "percent"])
    error = table["mean"] - table["truth"]
    assert table["error"].to_numpy() == pytest.approx(error.to_numpy(), abs=1e-6)
    markdown = paths["markdown"].read_text()
    assert "## Manifold, copies" in markdown and markdown.count("| knn_bits | 300 |") == 6
    ElementTree.fromstring(
        paths["html"].read_text().partition("\n")[2].replace('<meta charset="utf-8">', "")
    )
    assert check_cases(**arguments).equals(check_cases(**arguments))


def test_the_truth_of_two_clusters():
    # Far apart against noise and width each cluster adds a bit to what one carries; without signal
    # nothing is carried.
    one = 0.5 * np.log2(1 + 0.1 * 1e6)
    assert clustered_bits(1e6) == pytest.approx(1 + one, abs=0.02)
    assert clustered_bits(1e-9) == pytest.approx(0, abs=1e-6)
