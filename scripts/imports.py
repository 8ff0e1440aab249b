"""Picture of the imports between the folders of both packages, for docs/design/imports.md.

``python -m scripts.imports`` prints the page's part for the checkout, ``--at COMMIT`` for an
earlier state. An edge that follows from others is left out; edges of a cycle are drawn dotted.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grimp import ImportGraph, build_graph

REPOSITORY: Final = Path(__file__).parents[1]
PACKAGES: Final = ("rbln_supervisor", "rbln_worker")

Graph = Mapping[str, set[str]]


def import_graph(commit: str) -> ImportGraph:
    """Return the imports of the checkout, or of an earlier commit."""
    if not commit:
        return build_graph(*PACKAGES, cache_dir=None)
    git = ("git", "archive", commit, *PACKAGES)
    packed = subprocess.run(git, cwd=REPOSITORY, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(folder, filter="data")
        sys.path.insert(0, folder)  # it is read, not imported
        try:
            return build_graph(*PACKAGES, cache_dir=None)
        finally:
            sys.path.remove(folder)


def folder_of(module: str) -> str:
    """Return the folder of a dotted module; a module of the package's root is its own folder."""
    package, *rest = module.split(".")
    return f"{package}/{rest[0]}" if len(rest) > 1 else f"{module.replace('.', '/')}.py"


def folder_graph(modules: ImportGraph) -> tuple[Graph, Counter[str]]:
    """Return the imports of each folder from others, and the number of its modules."""
    graph: dict[str, set[str]] = defaultdict(set)
    packages = {one for one in modules.modules if modules.find_children(one)}
    home = {one: folder_of(f"{one}.*" if one in packages else one) for one in modules.modules}
    for name in modules.modules:
        imported = {home[one] for one in modules.find_modules_directly_imported_by(name)}
        graph[home[name]] |= imported - {home[name]}
    return graph, Counter(home[one] for one in modules.modules - packages)


def reachable(graph: Graph, start: str) -> set[str]:
    """Return the folders that ``start`` imports, directly or not."""
    found: set[str] = set()
    pending = list(graph.get(start, ()))
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending.extend(graph.get(one, ()))
    return found


def picture(graph: Graph, sizes: Mapping[str, int]) -> str:
    """Return the graph in Mermaid's language, and a line of figures."""
    reach = {folder: reachable(graph, folder) for folder in sizes}
    lines = ["```mermaid", "flowchart TD"]
    for one in sorted(sizes):
        label = one if one.endswith(".py") else f"{one} ({sizes[one]} modules)"
        lines.append(f'    {_id(one)}["{label}"]')
    edges = cycles = 0
    for folder in sorted(graph):
        for other in sorted(graph[folder]):
            edges += 1
            if folder in reach[other]:
                cycles += 1
                lines.append(f"    {_id(folder)} -.-> {_id(other)}")
            elif not any(
                other in reach[middle] and other not in reach[folder] - reach[middle]
                for middle in graph[folder] - {other}
                if folder not in reach[middle]
            ):
                lines.append(f"    {_id(folder)} --> {_id(other)}")
    lines.append("```")
    loose = sum(one.endswith(".py") for one in sizes)
    figures = (
        f"{sum(sizes.values())} modules: {loose} in the packages' roots, the others in "
        f"{len(sizes) - loose} folders; {edges} pairs of which one imports the other, {cycles} of "
        "them in a cycle"
    )
    return "\n".join((*lines, "", figures + "."))


def _id(folder: str) -> str:
    return folder.replace("/", "_").replace(".", "_")


def main() -> None:
    """Print the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="", metavar="COMMIT")
    print(picture(*folder_graph(import_graph(parser.parse_args().at))))


if __name__ == "__main__":
    main()
