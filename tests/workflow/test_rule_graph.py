"""docs/rulegraph.md against the rules that it is drawn from."""

import networkx as nx
import pytest
from rule_graph import COLLECTORS, document, make, rule_files

pytestmark = pytest.mark.workflow

# pack → audit ⇄ hold, audit → train → metrics → table; hold is in the file of select.
GRAPH = nx.DiGraph(
    [
        ("pack", "audit"),
        ("audit", "hold"),
        ("hold", "audit"),
        ("pack", "train"),
        ("audit", "train"),
        ("train", "select"),
        ("train", "table"),
        ("select", "table"),
    ]
)
FILES = {
    "pack": "data",
    "audit": "audit",
    "train": "models",
    "table": "models",
    "hold": "choice",
    "select": "choice",
}


def test_the_drawing_is_the_one_that_the_rules_give(root, fresh):
    page = (root / "docs/rulegraph.md").read_text(encoding="utf-8")
    assert page == make(fresh.folder), "run: make dag"


def test_every_rule_is_drawn(root):
    page = (root / "docs/rulegraph.md").read_text(encoding="utf-8")
    rules = rule_files(root).keys()
    assert len(rules) > 40
    assert {rule for rule in rules if f"<br/>{rule}" not in page} <= COLLECTORS


def test_stages_have_their_rules_and_no_arrow_that_others_imply():
    lines = [line.strip() for line in document(GRAPH, FILES).splitlines()]
    drawn = lines[lines.index("flowchart LR") + 1 : lines.index("```", lines.index("flowchart LR"))]
    assert drawn[:9] == [
        'data["<b>data</b><br/>pack"]',
        'audit["<b>audit</b><br/>audit<br/>hold"]',  # a circle is of the stage included first
        'models["<b>models</b><br/>train"]',
        'choice["<b>choice</b><br/>select"]',
        'models_report["<b>models: report</b><br/>table"]',
        "data --> audit",
        "audit --> models",
        "models --> choice",
        "choice --> models_report",
    ]


def test_a_rule_without_a_file_and_a_circle_of_stages_fail():
    with pytest.raises(ValueError, match="select"):
        document(GRAPH, {rule: name for rule, name in FILES.items() if rule != "select"})
    with pytest.raises(nx.NetworkXError):
        document(GRAPH, FILES | {"select": "audit"})
