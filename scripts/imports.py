"""Picture of the imports between the folders of both packages, for docs/design/imports.md.

``python -m scripts.imports`` prints the page's part for the checkout, ``--at COMMIT`` for an
earlier state. An edge that follows from others is left out; edges of a cycle are drawn dotted.
"""

import argparse
import ast
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[1]
PACKAGES: Final = ("rbln_supervisor", "rbln_worker")

Graph = Mapping[str, set[str]]


def sources(commit: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each module that is not generated."""
    if not commit:
        for package in PACKAGES:
            for path in sorted((REPOSITORY / package).rglob("*.py")):
                yield str(path.relative_to(REPOSITORY)), path.read_text()
        return
    listed = _git("ls-tree", "-r", "--name-only", commit, *PACKAGES)
    for name in listed.splitlines():
        if name.endswith(".py"):
            yield name, _git("show", f"{commit}:{name}")


def _git(*words: str) -> str:
    return subprocess.run(
        ("git", *words),  # noqa: S607 - found as a shell finds it
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def folder_of(module: str) -> str:
    """Return the folder of a dotted module; a module of the package's root is its own folder."""
    package, *rest = module.split(".")
    return f"{package}/{rest[0]}" if len(rest) > 1 else f"{module.replace('.', '/')}.py"


def folder_graph(texts: Mapping[str, str]) -> tuple[Graph, Counter[str]]:
    """Return the imports of each folder from others, and the number of its modules."""
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in texts
        if "_pb2" not in path
    }
    packages = {name for name, path in modules.items() if path.endswith("__init__.py")}

    def home(name: str) -> str:
        return folder_of(f"{name}.__init__" if name in packages else name)

    graph: dict[str, set[str]] = defaultdict(set)
    sizes = Counter(home(name) for name in modules if name not in packages)
    for name, path in modules.items():
        for node in ast.walk(ast.parse(texts[path])):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                imported = [one if one in modules else node.module for one in inside]
            else:
                continue
            for one in imported:
                if one in modules and home(one) != home(name):
                    graph[home(name)].add(home(one))
    return graph, sizes


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
    print(picture(*folder_graph(dict(sources(parser.parse_args().at)))))


if __name__ == "__main__":
    main()
