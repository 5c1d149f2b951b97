"""The generated demonstration set: anatomy, factors, lesions and files."""

import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from generate_phantom import generate_phantom
from nilearn import datasets
from PIL import Image

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.data import phantom
from medae.data.layouts import check_counts, read_layout
from medae.data.phantom import (
    FACTOR_MEAN,
    FACTOR_SPREAD,
    FACTORS,
    GROUPS,
    PhantomOptions,
    draw_factors,
    make_image,
    render_normal,
    render_tissues,
)

SIZE = 64
SMALL = {"train_normal": 3, "test_normal": 2, "test_abnormal": 3}
NO_NOISE = PhantomOptions(noise_sigma=0.0)


def render(factors: np.ndarray, size: int = SIZE) -> np.ndarray:
    tissues = render_tissues(factors=factors, image_size=size)
    return render_normal(factors=factors, tissues=tissues)


def at(name: str, offset: float) -> np.ndarray:
    """Return the mean factors with one moved by `offset` spreads."""
    factors = FACTOR_MEAN.copy()
    factors[FACTORS.index(name)] += offset * FACTOR_SPREAD[FACTORS.index(name)]
    return factors


def all_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "raw" / "phantom"
    generate_phantom(images=folder, image_size=SIZE, parameters=SMALL)
    return folder


@pytest.fixture(scope="module")
def abnormal() -> list[tuple]:
    """Forty abnormal images without noise, their pixels without lesions, and the white matter."""
    found = []
    for index in range(40):
        key = {"group": "test/abnormal", "index": index, "image_size": SIZE}
        image = make_image(options=NO_NOISE, **key)
        tissues = render_tissues(factors=image.factors, image_size=SIZE)
        healthy = phantom.to_pixels(render_normal(factors=image.factors, tissues=tissues))
        found.append((image, healthy, tissues[2]))
    return found


# The template


def test_template_comes_from_the_installed_package_and_lies_where_the_code_says(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("network access")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    phantom.load_tissues.cache_clear()
    volume, first = phantom.load_tissues()
    affine = datasets.load_mni152_template(resolution=1).affine
    x, y, z = phantom._ORIGIN
    assert np.array_equal(affine @ [x, y, z, 1], [0, 0, 0, 1])
    assert np.array_equal(affine[:3, :3], np.eye(3))
    height = phantom.FACTOR_TABLE["slice_height"]
    assert first <= height.mean - height.spread
    assert first + len(volume) - 1 >= height.mean + height.spread
    white = np.asarray(datasets.load_mni152_wm_template(resolution=1).dataobj)
    expected = white[:, :, first + 5 + z].T * volume[5, 0]
    assert expected.max() > 0.9
    assert np.allclose(volume[5, 2], expected)
    assert volume.min() >= 0
    assert volume.max() <= 1


@pytest.mark.parametrize("size", [64, 96])
def test_no_brain_is_cut_off_nor_saturated_even_at_the_extremes(size):
    rng = np.random.default_rng(0)
    for _ in range(20):
        factors = FACTOR_MEAN + FACTOR_SPREAD * rng.choice([-1, 1], len(FACTORS))
        image = render(factors, size)
        assert image.shape == (size, size)
        assert max(image[0].max(), image[-1].max(), image[:, 0].max(), image[:, -1].max()) == 0
        assert image.min() >= 0
        assert image.max() < 0.9


# The factors


@pytest.mark.parametrize("name", FACTORS)
def test_each_factor_changes_the_image_steadily_and_visibly(name):
    images = np.array([render(at(name, offset)) for offset in np.linspace(-1, 1, 5)])
    distance = np.sqrt(((images - images[0]) ** 2).mean(axis=(1, 2))) * 255
    assert (np.diff(distance) > 0.1).all()
    assert distance[-1] > 5  # grey levels, root mean square over the whole image
    steps = np.sqrt((np.diff(images, axis=0) ** 2).mean(axis=(1, 2)))
    assert steps.max() < 2 * steps.min()


@pytest.mark.parametrize("place", range(3))
def test_factors_are_as_many_as_the_dimensions_of_the_images(place):
    rng = np.random.default_rng(place)
    factors = FACTOR_MEAN + FACTOR_SPREAD * rng.uniform(-0.9, 0.9, len(FACTORS)) * (place > 0)
    columns = []
    for unit in np.eye(len(FACTORS)) * 0.05 * FACTOR_SPREAD:
        columns.append((render(factors + unit) - render(factors - unit)).ravel() / 0.1)
    jacobian = np.stack(columns, axis=1)
    directions = jacobian / np.linalg.norm(jacobian, axis=0)
    assert np.linalg.svd(directions, compute_uv=False)[-1] > 0.15
    singular = np.linalg.svd(jacobian, compute_uv=False)
    assert singular[-1] > 0.02 * singular[0]


def brain(factors: np.ndarray) -> np.ndarray:
    return render_tissues(factors=factors, image_size=SIZE)[0]


def test_inactive_factors_stay_at_their_mean_and_leave_the_others():
    active = ("rotation", "contrast")
    some = PhantomOptions(factors=active)
    for index in range(3):
        every = draw_factors(options=NO_NOISE, group="train/normal", index=index)
        drawn = draw_factors(options=some, group="train/normal", index=index)
        chosen = np.isin(FACTORS, active)
        assert np.array_equal(drawn[~chosen], FACTOR_MEAN[~chosen])
        assert np.array_equal(drawn[chosen], every[chosen])
        assert (every != FACTOR_MEAN).all()


def test_factors_fill_their_ranges():
    drawn = [draw_factors(options=NO_NOISE, group="train/normal", index=i) for i in range(300)]
    unit = (np.array(drawn) - FACTOR_MEAN) / FACTOR_SPREAD
    assert (np.abs(unit) <= 1).all()
    assert (unit.max(axis=0) > 0.95).all()
    assert (unit.min(axis=0) < -0.95).all()
    assert np.abs(unit.mean(axis=0)).max() < 0.15
    assert np.abs(np.corrcoef(unit.T) - np.eye(len(FACTORS))).max() < 0.25


# The lesions


def test_mask_is_exactly_what_the_lesions_change(abnormal):
    for image, healthy, _ in abnormal:
        change = image.pixels.astype(int) - healthy
        assert np.array_equal(change != 0, image.mask == 1)
        assert change[image.mask == 1].min() >= 6  # grey levels
        assert image.mask.any()
        assert image.pixels.max() < 255


def test_lesions_lie_in_white_matter_and_differ(abnormal):
    for image, _, white in abnormal:
        assert white[image.mask == 1].min() > 0.5
        assert 1 <= image.lesions <= 3
    assert {image.lesions for image, _, _ in abnormal} == {1, 2, 3}
    sizes = [int(image.mask.sum()) for image, _, _ in abnormal]
    assert max(sizes) > 8 * min(sizes)
    peaks = [int((i.pixels.astype(int) - h).max()) for i, h, _ in abnormal]
    assert max(peaks) > 2 * min(peaks)


def test_lesions_do_not_depend_on_noise_nor_noise_on_lesions(monkeypatch):
    key = {"group": "test/abnormal", "index": 0, "image_size": SIZE}
    noisy, clean = make_image(options=PhantomOptions(), **key), make_image(options=NO_NOISE, **key)
    monkeypatch.setattr(phantom, "draw_lesions", lambda white, rng: (np.zeros(white.shape), 0))
    healthy = make_image(options=PhantomOptions(), **key)
    assert np.array_equal(noisy.mask, clean.mask)
    outside = noisy.mask == 0
    assert np.array_equal(noisy.pixels[outside], healthy.pixels[outside])
    assert (noisy.pixels != clean.pixels).any()


def test_noise_has_the_stated_deviation_and_spares_the_background():
    options = PhantomOptions(noise_sigma=0.02)
    key = {"group": "test/normal", "index": 1, "image_size": SIZE}
    noisy, clean = make_image(options=options, **key), make_image(options=NO_NOISE, **key)
    change = noisy.pixels.astype(int) - clean.pixels
    inside = (clean.pixels > 40) & (brain(clean.factors) == 1)
    assert change[inside].std() == pytest.approx(0.02 * 255, rel=0.06)
    assert (noisy.pixels[brain(clean.factors) == 0] == 0).all()


def test_no_image_occurs_twice():
    images = Counter(
        make_image(options=NO_NOISE, group=group, index=index, image_size=32).pixels.tobytes()
        for group in GROUPS
        for index in range(4)
    )
    assert set(images.values()) == {1}


# The files


def test_files_are_those_of_the_layout(small):
    records = read_layout(small, "folder")
    check_counts(small, "folder", records, {"train": 3, "test_normal": 2, "test_abnormal": 3})
    assert [record.id for record in records if record.label] == [
        f"test/abnormal/{index:05d}.png" for index in range(3)
    ]
    for record in records:
        with Image.open(record.image) as image:
            assert (image.mode, image.size) == ("L", (SIZE, SIZE))
        if record.label:
            mask = np.asarray(Image.open(record.mask))
            assert record.mask.name == record.image.name
            assert set(np.unique(mask)) == {0, 255}
    assert len(all_files(small)) == 3 + 2 + 2 * 3 + 2
    assert "Permission to use, copy, modify" in (small / "SOURCE.md").read_text(encoding="utf-8")


def test_table_describes_every_image(small):
    table = read_table(small / "factors.tsv")
    assert list(table.columns) == ["id", *FACTORS, "lesions", "lesion_pixels"]
    assert set(table["id"]) == {record.id for record in read_layout(small, "folder")}
    for row in table.to_dict("records"):
        assert (row["lesions"] > 0) == ("/abnormal/" in row["id"])
        if row["lesions"]:
            mask = np.asarray(Image.open(small / row["id"].replace("abnormal", "mask")))
            assert row["lesion_pixels"] == (mask > 0).sum()
    group, index = "test/abnormal", 1
    expected = draw_factors(options=PhantomOptions(), group=group, index=index)
    row = table.set_index("id").loc[f"{group}/{index:05d}.png"]
    assert row[list(FACTORS)].to_numpy(dtype=float) == pytest.approx(expected, rel=1e-8)


def test_same_parameters_give_the_same_bytes_in_another_process(small, tmp_path):
    code = (
        "from pathlib import Path; import sys; from generate_phantom import generate_phantom; "
        f"generate_phantom(images=Path(sys.argv[1]), image_size={SIZE}, parameters={SMALL})"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "again")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert all_files(tmp_path / "again") == all_files(small)


def test_images_depend_on_the_seed_and_not_on_the_numbers_of_images(small, tmp_path):
    parameters = {"train_normal": 5, "test_normal": 1, "test_abnormal": 4}
    generate_phantom(images=tmp_path / "more", image_size=SIZE, parameters=parameters)
    generate_phantom(images=tmp_path / "seed", image_size=SIZE, parameters=SMALL | {"seed": 1})
    first, more, seed = map(all_files, (small, tmp_path / "more", tmp_path / "seed"))
    common = {name for name in first if name in more and name.endswith(".png")}
    assert len(common) == 3 + 1 + 2 * 3
    assert all(first[name] == more[name] for name in common)
    assert all(first[name] != seed[name] for name in first if name.endswith(".png"))


def test_images_are_not_too_small_for_white_matter(tmp_path):
    with pytest.raises(InputError, match="image_size 31: use 32 or more"):
        generate_phantom(images=tmp_path / "set", image_size=31, parameters=SMALL)
    assert not list(tmp_path.iterdir())
