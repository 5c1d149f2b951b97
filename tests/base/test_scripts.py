"""The tail of a script: from Snakemake's names to the arguments of one function."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from medae.base.scripts import run_script


def job(folder, **params):
    return SimpleNamespace(
        input=SimpleNamespace(table="a.tsv", scores=["b.tsv"], rows=[], modules=["x.py"]),
        output=SimpleNamespace(page="c.html"),
        params=SimpleNamespace(**params),
        wildcards=SimpleNamespace(dataset="toy", latent_dim="16"),
        log=[str(folder / "logs" / "a.log")],
    )


def test_names_become_arguments_of_their_types(tmp_path):
    found = {}

    def script(
        *,
        table: Path,
        scores: Sequence[Path],
        rows: Path | None,
        page: Path,
        latent_dim: int,
        settings: list[dict],
        missing: str = "default",
        given: int,
    ):
        found.update(locals())

    run_script(script, job(tmp_path, settings=[{"d": 4}], unused=1), given=3)
    del found["found"]
    assert found == {
        "table": Path("a.tsv"),
        "scores": [Path("b.tsv")],
        "rows": None,
        "page": Path("c.html"),
        "latent_dim": 16,
        "settings": [{"d": 4}],
        "missing": "default",
        "given": 3,
    }


@pytest.mark.parametrize(("name", "count"), [("none", 0), ("table", 2)])
def test_a_name_stands_in_one_part_of_the_job(name, count, tmp_path):
    space = {}
    exec(f"def script(*, {name}): pass", space)
    with pytest.raises(TypeError, match=f"script: {name} stands in {count} parts"):
        run_script(space["script"], job(tmp_path, table=1))
