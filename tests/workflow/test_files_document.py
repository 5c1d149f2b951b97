"""docs/files.md against the Snakefile, the files that runs plan, and those that a run leaves."""

import importlib
import re

import h5py
import numpy as np
import pytest

from medae.base.files import read_table
from medae.data.packed import ATTRIBUTES, read_packed
from medae.models.score_files import write_maps
from medae.theory.probe_files import Probe, write_probe

pytestmark = pytest.mark.workflow

CONFIGURATIONS = ["config", "demo", "theory"]
NOT_OF_RULES = {"MODEL/resume.safetensors", "RUN/report.html", "RUN/.configuration"}


@pytest.fixture(scope="module")
def text(root) -> str:
    return (root / "docs/files.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def snakefile(root) -> str:
    return (root / "workflow/Snakefile").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of any level."""
    return re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)[1]


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of the Markdown tables in a text, without their headers."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.M)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]
        for block in blocks
    ]


def in_code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def grammar(text: str) -> dict[str, str]:
    """Return the documented variables of the Snakefile: their paths."""
    return {
        in_code(name)[0]: in_code(path)[0] for name, path, _ in tables(section(text, "Paths"))[0]
    }


def pattern(path: str, variables: dict[str, str]) -> re.Pattern:
    """Return what matches the files that a documented path stands for."""
    names = r"\b(?:" + "|".join(sorted(variables, key=len, reverse=True)) + r")\b"
    path = re.escape(re.sub(names, lambda found: variables[found[0]], path))
    path = re.sub(r"<\w+>", "[^/]+", path)
    path = re.sub(r"\\\{(.*?)\\\}", lambda found: f"(?:{found[1].replace(',', '|')})", path)
    return re.compile(path)


def documented(text: str) -> dict[str, re.Pattern]:
    """Return the documented files: what matches them. Folders and parts of paths are left out."""
    variables = grammar(text)
    files = [in_code(cells[0])[0] for cells in tables(section(text, "Files"))[0]]
    files += [name for name, path in variables.items() if "." in path or name == "RAW"]
    return {name: pattern(name, variables) for name in files}


def test_every_path_of_the_snakefile_is_documented_as_it_is(text, snakefile):
    lines = re.findall(r"^[A-Z_]+ = f?\".*\"$", snakefile, re.M)
    assert len(lines) > 20
    known = {"config": {name: f"<{name}>" for name in ("run", "data_dir", "image_size")}}
    exec("\n".join(lines), {}, known)
    written = {name: known[name] for name in known.keys() - {"config"}}
    assert grammar(text) == {
        name: re.sub(r"\{(\w+)\}", r"<\1>", path) for name, path in written.items()
    }


def test_every_wildcard_is_documented(text, snakefile):
    block = re.search(r"^wildcard_constraints:\n((?:    .*\n)+)", snakefile, re.M)[1]
    constrained = set(re.findall(r"^    (\w+)=", block, re.M))
    listed = {in_code(cells[0])[0] for cells in tables(section(text, "Paths"))[1]}
    assert listed == constrained
    paths = " ".join(grammar(text).values()) + section(text, "Files")
    settings = {"run", "data_dir", "image_size"}
    assert set(re.findall(r"<(\w+)>", paths)) <= constrained | settings


def test_every_file_of_a_rule_is_documented_and_every_documented_one_is_a_rules(text, fresh):
    found: set[str] = set()
    for name in CONFIGURATIONS:
        done = fresh.snakemake("--summary", config=f"config/{name}.yaml")
        assert done.returncode == 0, done.stderr
        found |= {line.split("\t")[0] for line in done.stdout.splitlines()[1:]}
    assert len(found) > 500
    patterns = documented(text)
    unknown = {f for f in found if not any(p.fullmatch(f) for p in patterns.values())}
    assert not unknown
    unmade = {n for n, p in patterns.items() if not any(p.fullmatch(f) for f in found)}
    assert unmade == NOT_OF_RULES


def test_tables_of_a_run_have_the_documented_columns(text, finished):
    variables = grammar(text)
    rows = {in_code(name)[0]: cell for name, cell in tables(section(text, "Columns"))[0]}
    listed = {
        name: (
            in_code(rows[in_code(cell)[0]] if cell.startswith("as ") else cell),
            ", then" in cell,
        )
        for name, cell in rows.items()
    }
    seen = set()
    for path in finished.results.rglob("*.tsv"):
        parts = path.relative_to(finished.results).parts
        if parts[0] in ("tables", "benchmarks", "raw"):
            continue
        name = next(
            name
            for name in listed
            if pattern(name, variables).fullmatch(str(path.relative_to(finished.folder)))
        )
        seen.add(name)
        columns = list(read_table(path).columns)
        expected, continued = listed[name]
        expected = [column for column in expected if "<" not in column and column != "scores"]
        assert columns[: len(expected)] == expected, path
        assert continued or len(columns) == len(expected), path
    assert len(seen) >= 8


@pytest.mark.parametrize(
    ("module", "constant", "name"),
    [
        ("medae.theory.probe_files", "ENTROPY_COLUMNS", "ENTROPY"),
        ("medae.theory.score_metrics", "SCORE_METRIC_COLUMNS", "SCORE_METRICS"),
        ("select_settings", "SELECTION_COLUMNS", "SELECTION"),
        ("select_settings", "CURVE_COLUMNS", "SELECTION_CURVES"),
    ],
)
def test_columns_are_those_of_the_code(text, module, constant, name):
    """Of tables that the small run doesn't make."""
    rows = {
        in_code(cells[0])[0]: in_code(cells[1]) for cells in tables(section(text, "Columns"))[0]
    }
    assert rows[name] == getattr(importlib.import_module(module), constant)


def test_metrics_are_documented(text, finished):
    columns, metrics = tables(section(text, "metrics.tsv"))
    table = read_table(finished.results / "metrics.tsv")
    assert [name for cells in columns for name in in_code(cells[0])] == list(table.columns)
    assert {in_code(cells[0])[0] for cells in metrics} == set(table["metric"])


def test_arrays_and_attributes_are_documented(text, finished, tmp_path):
    results = finished.results
    data = read_packed(results / "packed/phantom_64px.h5")
    shape = (len(data.test_ids), *data.test_images.shape[1:])
    maps = np.zeros((shape[0], *shape[2:]))
    write_maps(tmp_path / "maps.h5", data, maps=maps, reconstructions=np.zeros(shape))
    images = np.zeros((3, 2), np.float32)
    numbers = np.zeros(3)
    write_probe(
        tmp_path / "probe.h5",
        Probe(images, np.zeros((2, 2)), numbers, numbers, 0.0, numbers, numbers),
    )
    for name, path in {
        "packed": results / "packed/phantom_64px.h5",
        "latents": results / "scores/phantom/all/ae/d2/seed0/latents.h5",
        "maps": tmp_path / "maps.h5",
        "probe": tmp_path / "probe.h5",
        "examples": results / "examples/phantom.h5",
    }.items():
        arrays, *attributes = tables(section(text, name))
        said = {in_code(c[0])[0]: (c[1], len(c[2].split("×"))) for c in arrays}
        said_attributes = {in_code(cells[0])[0] for block in attributes for cells in block}
        found, found_attributes = contents(path)
        assert found == said, name
        assert found_attributes == said_attributes, name
    assert set(ATTRIBUTES) == {in_code(c[0])[0] for c in tables(section(text, "packed"))[1]}


def contents(path) -> tuple[dict[str, tuple[str, int]], set[str]]:
    """Return the arrays of an HDF5 file with type and number of axes, and all attributes."""
    arrays: dict[str, tuple[str, int]] = {}
    with h5py.File(path) as file:
        attributes = set(file.attrs)

        def visit(name: str, node) -> None:
            attributes.update(node.attrs)
            if isinstance(node, h5py.Dataset):
                kind = "text" if h5py.check_string_dtype(node.dtype) else str(node.dtype)
                name = re.sub(r"^\w+/d\d+/", "<method>/d<latent_dim>/", name)
                arrays[name] = (kind, node.ndim)

        file.visititems(visit)
    return arrays, attributes
