"""What the container hands over to supervisord."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.entrypoint import environment_of, main
from rbln_supervisor.options import Options
from rbln_worker.contract.exits import Exit
from tests.sim.stack import REPOSITORY

OPTIONS = Options(run_dir=Path("/r"), log_format="json")

words = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))


@given(words)
def test_every_word_arrives_as_it_was(arguments: list[str]) -> None:
    given = environment_of(OPTIONS, arguments, {})
    assert shlex.split(given["RBLN_ARGUMENTS"]) == arguments


def test_the_run_directory_is_where_temporary_files_go() -> None:
    given = environment_of(OPTIONS, (), {"RBLN_RUN_DIR": "/old", "PATH": "/bin"})
    assert given == {
        "TMPDIR": "/r",
        "RBLN_LOG_FORMAT": "json",
        "RBLN_EVENTS": "false",
        "RBLN_RUN_DIR": "/r",
        "RBLN_ARGUMENTS": "",
        "PATH": "/bin",
    }
    assert environment_of(OPTIONS, (), {"TMPDIR": "/t"})["TMPDIR"] == "/t"


def test_a_file_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.json").write_text("{")
    arguments = (f"--config-file={tmp_path}/c.json", f"--run-dir={tmp_path}/r")
    assert main(arguments) == Exit.UNUSABLE
    assert capsys.readouterr().err.startswith(f"rbln-supervisor: {tmp_path}/c.json: line 1")
    assert not (tmp_path / "r").exists()


def test_an_option_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(("--log-level=10", "--usecdi"))
    assert ended.value.code == Exit.USAGE
    assert "unknown option --usecdi" in capsys.readouterr().err


def test_a_run_directory_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.json").write_bytes((REPOSITORY / "conf/atom.json").read_bytes())
    for place in ("c.json", "c.json/r"):
        run_dir = tmp_path / place
        assert main((f"--config-file={tmp_path}/c.json", f"--run-dir={run_dir}")) == Exit.UNUSABLE
        assert f"rbln-supervisor: {run_dir}: " in capsys.readouterr().err
