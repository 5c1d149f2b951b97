"""Write docs/rulegraph.md: the rules of the workflow by stage, and which stage uses which.

Input: what `snakemake --rulegraph` says of the widest configuration where nothing has been
downloaded yet, and the files in workflow/rules/. Output: docs/rulegraph.md with a Mermaid drawing,
which GitHub shows. A test compares it with what this gives; after a change of the rules, run

    make dag

Fails with CalledProcessError when Snakemake does, with ValueError when a rule is in no file that
the Snakefile includes, and with NetworkXError when stages use each other in a circle.
"""

import re
import subprocess
import sys
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/rulegraph.md"
CONFIGURATION = "config/theory.yaml"
COLLECTORS = {"all", "record_provenance"}  # they read all that there is, and would hide the rest
HEAD = f"""\
# The workflow by stage

Drawn from `snakemake --rulegraph --configfile {CONFIGURATION}`, the configuration that uses
all rules, by `make dag`; a test keeps it in step.

A box is a file in [workflow/rules](../workflow/rules) with its rules; those whose output no other
rule uses, the tables, figures and pages of the report, have a box of their own. An arrow: the one
stage reads what the other wrote. Arrows that follow from others are left out, as are `all` and
`record_provenance`, which read everything. The held-out part of a dataset is audited as a dataset
is, so `make_validation_set` stands beside the audit. [files.md](files.md) says what lies where.
"""


def rule_graph(project: Path) -> nx.DiGraph:
    """Return the rules, edges going from a rule to those that use its output.

    Neither data nor results that are there already change it.
    """
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js"]
    command += ["--configfile", CONFIGURATION, "--config", "run=rulegraph", "data_dir=rulegraph"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]", done.stdout, re.M))
    edges = re.findall(r"^\s*(id\d+) --> (id\d+)", done.stdout, re.M)
    graph = nx.DiGraph((names[start], names[end]) for start, end in edges)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    graph.remove_nodes_from(COLLECTORS)
    return graph


def rule_files(project: Path) -> dict[str, str]:
    """Return each rule's file, without its ending, in the order in which they are included."""
    snakefile = (project / "workflow/Snakefile").read_text(encoding="utf-8")
    return {
        rule: name
        for name in re.findall(r'^include: "rules/(\w+)\.smk"', snakefile, re.M)
        for rule in re.findall(
            r"^(?:rule|checkpoint) (\w+):",
            (project / f"workflow/rules/{name}.smk").read_text(encoding="utf-8"),
            re.M,
        )
    }


def stages(graph: nx.DiGraph, files: dict[str, str]) -> dict[tuple[str, bool], list[str]]:
    """Return the rules of each stage: of a file, those that others use and those that none does.

    Rules that use each other in a circle are of one stage, that of the file included first.
    """
    order = list(files)
    found: dict[tuple[str, bool], list[str]] = {}
    home = {
        rule: files[min(circle, key=order.index)]
        for circle in nx.strongly_connected_components(graph)
        for rule in circle
    }
    # Stages stand in the order of the files, those that others use before what the report shows.
    for is_last in (False, True):
        for name in dict.fromkeys(files.values()):
            rules = [
                r for r in order if home.get(r) == name and (not graph.out_degree(r)) == is_last
            ]
            if rules:
                found[name, is_last] = rules
    return found


def document(graph: nx.DiGraph, files: dict[str, str]) -> str:
    """Return the page in Markdown."""
    found = stages(graph, files)
    stage_of = {rule: stage for stage, rules in found.items() for rule in rules}
    joined = nx.DiGraph()
    joined.add_nodes_from(found)
    joined.add_edges_from((stage_of[a], stage_of[b]) for a, b in graph.edges)
    joined.remove_edges_from(list(nx.selfloop_edges(joined)))
    drawn = sorted(
        nx.transitive_reduction(joined).edges, key=lambda e: [*map(list(found).index, e)]
    )
    lines = ["flowchart LR"]
    for stage, rules in found.items():
        lines.append(f'    {identifier(stage)}["{"<br/>".join([title(stage), *rules])}"]')
    # A stage stands as far right as can be, so that what the report shows is in the last column.
    layers = nx.topological_generations(joined.reverse())
    column = {stage: -number for number, layer in enumerate(layers) for stage in layer}
    for start, end in drawn:
        arrow = "-" * (column[end] - column[start]) + "->"
        lines.append(f"    {identifier(start)} {arrow} {identifier(end)}")
    report = ",".join(identifier(stage) for stage in found if stage[1])
    lines += [
        "    classDef report fill:#e8eef7,stroke:#5b7db1,color:#1f2d3d",
        f"    class {report} report",
    ]
    return "\n".join([HEAD, "```mermaid", *lines, "```", ""])


def identifier(stage: tuple[str, bool]) -> str:
    """Return a stage's name in the drawing."""
    return f"{stage[0]}_report" if stage[1] else stage[0]


def title(stage: tuple[str, bool]) -> str:
    """Return the first line of a stage's box."""
    return f"<b>{stage[0]}: report</b>" if stage[1] else f"<b>{stage[0]}</b>"


def make(project: Path = ROOT) -> str:
    """Return the page for the rules of a project."""
    return document(rule_graph(project), rule_files(project))


if __name__ == "__main__":
    DOCUMENT.write_text(make(), encoding="utf-8", newline="\n")
