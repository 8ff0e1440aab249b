"""The command line: ours, and what the reference's binary and entrypoint are given."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from rbln_supervisor.cli import parse_arguments
from rbln_supervisor.options import Options
from rbln_worker.spec import KubeletDirs

NODE = "npu-7"


def options(*argv: str) -> Options:
    return parse_arguments(argv, in_container=False, environment={"NODE_NAME": NODE})


def test_nothing_given() -> None:
    assert options() == Options(node_name=NODE)


@pytest.mark.parametrize(
    ("argv", "environment", "node", "kubeconfig"),
    [
        ((), {"NODE_NAME": "n1", "KUBECONFIG": "/k"}, "n1", Path("/k")),
        (("--node-name", "n2", "--kubeconfig=/c"), {"NODE_NAME": "n1"}, "n2", Path("/c")),
        ((), {"NODE_NAME": "", "KUBECONFIG": ""}, os.uname().nodename.lower(), None),
        (("--kubeconfig", "k"), {"NODE_NAME": NODE}, NODE, Path.cwd() / "k"),
    ],
)
def test_dra_pools_get_the_node_and_access_from_flags_or_the_environment(
    argv: Sequence[str], environment: Mapping[str, str], node: str, kubeconfig: Path | None
) -> None:
    found = parse_arguments(argv, in_container=False, environment=environment)
    assert (found.node_name, found.kubeconfig) == (node, kubeconfig)


def test_everything_given() -> None:
    assert options(
        *("--config-file", "/c.json", "--resource-prefix", "rebellions.ai", "--use-cdi"),
        *("--registration", "plugin-watcher", "--kubelet-dir", "/k", "--run-dir", "/r"),
        *("--device-plugins-dir", "/dp", "--pod-resources-dir", "/pr"),
        *("--plugins-registry-dir", "/reg"),
        *("--host-root", "/h", "--gone-grace", "1.5", "--rescan-interval", "7"),
        "--watch-config=false",
        *("--log-level", "debug", "--log-format", "json"),
    ) == Options(
        node_name=NODE,
        config_file=Path("/c.json"),
        resource_prefix="rebellions.ai",
        use_cdi=True,
        registration="plugin-watcher",
        kubelet_dir=Path("/k"),
        device_plugins_dir=Path("/dp"),
        pod_resources_dir=Path("/pr"),
        plugins_registry_dir=Path("/reg"),
        run_dir=Path("/r"),
        host_root=Path("/h"),
        watch_config=False,
        gone_grace_s=1.5,
        rescan_s=7.0,
        log_level=logging.DEBUG,
        log_format="json",
    )


@pytest.mark.parametrize(
    "argv",
    [
        ("-config-file", "/c", "-resource-prefix", "amd.com"),
        ("-config-file=/c", "-resource-prefix=amd.com"),
        ("--config-file=/c", "-resource-prefix", "amd.com", "-v=10", "--logtostderr"),
        ("-config-file=/c", "-resource-prefix=amd.com", "-use-cdi=false", "-alsologtostderr=true"),
        ("-config-file=/c", "-resource-prefix=amd.com", "--log-dir=d", "--log-level=10"),
        ("-config-file=/c", "-resource-prefix=amd.com", "-log_dir", "d", "-stderrthreshold", "2"),
        ("-config-file=/c", "-resource-prefix=amd.com", "-vmodule=a=1", "-log_backtrace_at=a:1"),
    ],
)
def test_the_references_way_of_writing(argv: Sequence[str]) -> None:
    assert options(*argv) == Options(
        node_name=NODE, config_file=Path("/c"), resource_prefix="amd.com"
    )


@pytest.mark.parametrize(
    ("word", "use"),
    [
        *((word, True) for word in ("-use-cdi", "--use-cdi", "-use-cdi=1", "--use-cdi=T")),
        *((word, True) for word in ("-use-cdi=TRUE", "-use-cdi=true", "-use-cdi=True")),
        *((word, False) for word in ("-use-cdi=0", "--use-cdi=false", "-use-cdi=F")),
    ],
)
def test_switches(word: str, *, use: bool) -> None:
    assert options(word).use_cdi is use


@pytest.mark.parametrize(
    ("word", "size"),
    [
        ("none", 0),
        ("268435456", 1 << 28),
        ("262144KiB", 1 << 28),
        ("300MiB", 300 << 20),
        ("2GiB", 2 << 30),
    ],
)
def test_sizes(word: str, size: int) -> None:
    assert options("--worker-memory-max", word).worker_memory_max == size
    assert options().worker_memory_max == 1 << 30


def test_words_at_the_end_are_ignored_and_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert options("-use-cdi", "false") == Options(node_name=NODE, use_cdi=True)  # as Go reads it
    assert capsys.readouterr().err == "rbln-supervisor: ignored: false\n"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (("--nonsense",), "unknown option --nonsense"),
        (("-nonsense=7",), "unknown option --nonsense=7"),
        (("--conf", "x"), "unknown option --conf"),
        (("--use-cdi=perhaps",), "expected true or false, got 'perhaps'"),
        (("--registration=x",), "invalid choice: 'x'"),
        (("--kubelet-dir=k",), "expected an absolute path, got 'k'"),
        (("--device-plugins-dir=k",), "expected an absolute path, got 'k'"),
        (("--pod-resources-dir=",), "expected an absolute path, got ''"),
        (("--plugins-registry-dir=../k",), "expected an absolute path, got '../k'"),
        (("--gone-grace=0",), "expected seconds above 0, got '0'"),
        (("--gone-grace=nan",), "expected seconds above 0, got 'nan'"),
        (("--rescan-interval=inf",), "expected seconds above 0, got 'inf'"),
        (("--rescan-interval=soon",), "expected seconds above 0, got 'soon'"),
        (("--log-level=loud",), "expected debug, info, warning, error or a number"),
        (("--log-format=xml",), "invalid choice: 'xml'"),
        (("--config-file",), "expected one argument"),
        *(
            ((f"--worker-memory-max={word}",), "expected none, or at least 256MiB (a number of")
            for word in ("", "0", "255MiB", "-1", "1e9", "1TiB", "512 MiB", "9" * 19 + "GiB", "all")
        ),
    ],
)
def test_wrong_usage_ends_with_two_and_says_why(
    argv: Sequence[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        options(*argv)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: rbln-supervisor")
    assert complaint in said


def test_help_names_what_people_need_and_not_what_is_ignored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        options("-h")
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "--config-file FILE" in said
    assert "logtostderr" not in said


def test_the_kubelets_folder_lies_below_the_hosts_root() -> None:
    assert options().kubelet_dirs == KubeletDirs(
        device_plugins=Path("/var/lib/kubelet/device-plugins"),
        plugins_registry=Path("/var/lib/kubelet/plugins_registry"),
        pod_resources=Path("/var/lib/kubelet/pod-resources"),
        pods_api=Path("/var/lib/kubelet/pods-api"),
    )
    given = options("--host-root", "/h", "--kubelet-dir", "/data/k")
    assert given.kubelet_dirs == KubeletDirs(
        device_plugins=Path("/h/var/lib/kubelet/device-plugins"),
        plugins_registry=Path("/h/data/k/plugins_registry"),
        pod_resources=Path("/h/data/k/pod-resources"),
        pods_api=Path("/h/data/k/pods-api"),
        plugins=Path("/h/data/k/plugins"),
    )
    assert options("--run-dir", "r").run_dir == Path.cwd() / "r"


def test_a_containers_own_root_shows_nothing_of_the_host() -> None:
    assert options().host_visible
    assert not parse_arguments([], in_container=True).host_visible
    assert parse_arguments(["--host-root", "/h"], in_container=True).host_visible
