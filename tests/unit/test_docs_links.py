"""What the documents point to is there, and what they say to type is understood."""

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from rbln_supervisor import cli
from rbln_supervisor.ctl import main as ctl
from rbln_supervisor.exporter import main as exporter
from tests.unit.pages import PAGES, REPOSITORY, blocks, prose, spans

LINKED: Final = (*PAGES, REPOSITORY / "CHANGELOG.md")
FOLDERS: Final = "rbln_supervisor|rbln_worker|deployments|scripts|tests|conf|docs"
MODULES: Final = ("rbln_supervisor", "rbln_worker", "tests", "scripts")
INVENTED: Final = frozenset({"acme.py", "nvme.py"})
"""Files that a page has the reader write."""

_LINK: Final = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_PATH: Final = re.compile(rf"(?:\./)?((?:{FOLDERS})(?:/[\w.*-]+)+)/?")
_MODULE: Final = re.compile(r"(?:\w+/)*\w+\.py")
_PROGRAM: Final = re.compile(r"(?:/opt/rbln/bin/)?(rbln-(?:ctl|supervisor|exporter))(?=\s)(.*)")


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    found = set()
    for heading in _HEADING.findall(prose(page.read_text())):
        kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_are_there(page: Path) -> None:
    code = "\n".join(body for _, body in blocks(page.read_text()))
    for word in (*spans(prose(page.read_text())), *code.split()):
        found = _PATH.fullmatch(word)
        if found and Path(found[1]).name not in INVENTED:
            assert [*REPOSITORY.glob(found[1])], f"{word}: no such file"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_modules_that_are_named_by_the_end_of_their_path_are_there(page: Path) -> None:
    for word in spans(prose(page.read_text())):
        if _MODULE.fullmatch(word) and Path(word).name not in INVENTED:
            found = (path for top in MODULES for path in (REPOSITORY / top).glob(f"**/{word}"))
            assert word.startswith(MODULES) or next(found, None), f"{word}: no such module"


def typed(page: Path) -> Iterator[str]:
    """Every line that a reader may type, and every span that is such a line."""
    for _, body in blocks(page.read_text()):
        for line in body.replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ").rpartition(" -- ")[2]
    yield from spans(prose(page.read_text()))


def commands() -> Iterator[tuple[str, str, list[str]]]:
    """Our programs' command lines, each with its page."""
    for page in PAGES:
        for line in typed(page):
            if found := _PROGRAM.match(line):
                words = shlex.split(found[2].partition("  ")[0], comments=True)
                for end in (">", "|"):
                    words = words[: words.index(end)] if end in words else words
                if words:  # the program's name alone is no command
                    yield name(page), found[1], words


def understood(program: str, words: list[str]) -> None:
    """SystemExit where they are not."""
    match program:
        case "rbln-ctl":
            ctl.build_parser().parse_args(words)
        case "rbln-exporter":
            exporter._build_parser().parse_args(words)
        case _:
            cli.parse_arguments(words, in_container=False)


COMMANDS: Final = tuple(commands())


@pytest.mark.parametrize(("page", "program", "words"), COMMANDS, ids=lambda part: str(part)[:60])
def test_commands_are_understood(page: str, program: str, words: list[str]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            understood(program, words)
            code: object = 0
        except SystemExit as ended:  # --help and --version end with 0
            code = ended.code
    assert code == 0, f"{page}: {program} {' '.join(words)}: {said.getvalue()}"


def test_what_is_wrong_is_found() -> None:
    assert len(COMMANDS) > 40
    for program, wrong in (
        ("rbln-ctl", ["status", "--no-such-flag"]),
        ("rbln-exporter", ["--listen"]),
        ("rbln-supervisor", ["--no-such-flag"]),
    ):
        with contextlib.redirect_stderr(io.StringIO()), pytest.raises(SystemExit):
            understood(program, wrong)


def verbs(parser: argparse.ArgumentParser) -> set[str]:
    """Commands that its --help knows."""
    (sub,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return {choice.dest for choice in sub._choices_actions}


def test_every_command_is_in_the_runbook() -> None:
    page = (REPOSITORY / "docs/operate.md").read_text()
    listed = {words[0] for _, program, words in COMMANDS if program == "rbln-ctl"}
    table = page[page.index("## rbln-ctl") :]
    missing = {verb for verb in verbs(ctl.build_parser()) if f"`rbln-ctl {verb}" not in table}
    assert not missing
    assert listed <= verbs(ctl.build_parser())
