"""The tail of a script: from Snakemake's names to the arguments of one function."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from medae.base.errors import InputError
from medae.base.scripts import run_script


def rule(folder, **params):
    return SimpleNamespace(
        input={"table": "a.tsv", "scores": ["b.tsv"], "selections": [], "modules": ["x.py"]},
        output={"page": "c.html"},
        params=params,
        log=[str(folder / "logs" / "a.log")],
    )


def test_names_become_arguments(tmp_path):
    found = {}
    run_script(found.update, rule(tmp_path, name="Toy", settings=[{"d": 4}]))
    assert found == {
        "table": Path("a.tsv"),
        "scores": [Path("b.tsv")],
        "selections": [],
        "page": Path("c.html"),
        "name": "Toy",
        "settings": [{"d": 4}],
    }


def test_other_names_than_the_functions_are_refused(tmp_path):
    def script(*, table, scores, selections, page):
        raise AssertionError

    with pytest.raises(TypeError, match="name"):
        run_script(script, rule(tmp_path, name="Toy"))


def test_bad_input_is_a_paragraph_in_the_log(tmp_path):
    def script(**_):
        raise InputError("The table a.tsv is empty.")

    with pytest.raises(SystemExit) as stopped:
        run_script(script, rule(tmp_path))
    assert stopped.value.code == 1
    log = (tmp_path / "logs" / "a.log").read_text()
    assert "The table a.tsv is empty." in log
    assert "Traceback" not in log
