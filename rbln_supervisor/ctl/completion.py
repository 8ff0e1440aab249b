"""Shell completion: commands and options from the parser, pools and devices from the node.

Own code, because both libraries for it have limits: shtab makes static scripts (no pools, no
devices, no fish), argcomplete has to be installed into the shell and is imported at every start.
The three scripts pass the line to ``rbln-ctl complete``.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.parser import VERBS, build_parser

_BASH: Final = """\
# rbln-ctl in bash: source <(rbln-ctl completion bash)
_rbln_ctl() {
    local IFS=$'\\n'
    # A colon ends a word for bash, but not in a PCI address.
    local line="${COMP_LINE:0:COMP_POINT}" words
    read -ra words <<< "${line//[[:space:]]/$'\\n'}" -d ''
    [[ $line == *[[:space:]] ]] && words+=("")
    local last="${words[*]: -1}" found
    found=$(rbln-ctl complete -- "${words[@]:1}" 2>/dev/null) || return
    COMPREPLY=($(compgen -W "$found" -- "$last"))
    [[ $last == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${last%:*}:"}")
    ((${#COMPREPLY[@]})) || compopt -o default
}
complete -F _rbln_ctl rbln-ctl
"""
_ZSH: Final = """\
#compdef rbln-ctl
# rbln-ctl in zsh: rbln-ctl completion zsh > "${fpath[1]}/_rbln-ctl"
_rbln_ctl() {
    local -a found
    found=("${(@f)$(rbln-ctl complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n ${found[1]} ]]; then
        compadd -a found
    else
        _files
    fi
}
if [[ ${funcstack[1]} == _rbln_ctl || ${funcstack[1]} == _rbln-ctl ]]; then
    _rbln_ctl "$@"
else
    compdef _rbln_ctl rbln-ctl
fi
"""
_FISH: Final = """\
# rbln-ctl in fish: rbln-ctl completion fish > ~/.config/fish/completions/rbln-ctl.fish
function __rbln_ctl
    set -l words (commandline -opc) (commandline -ct)
    rbln-ctl complete -- $words[2..-1] 2>/dev/null
end
complete -c rbln-ctl -a '(__rbln_ctl)'
"""
_SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion_script(shell: str) -> str:
    """Return the completion script of a shell."""
    return _SCRIPTS[shell]


def run_dir(line: Sequence[str]) -> Path | None:
    """Return the run directory that a line contains; None without one."""
    for word, after in zip(line, [*line[1:], ""], strict=True):
        if word == "--run-dir" and after:
            return Path(after)
        if word.startswith("--run-dir="):
            return Path(word.partition("=")[2])
    return None


def complete_line(line: Sequence[str], status: NodeStatus | None) -> list[str]:
    """Return completions of the last word of a line; empty where any file is allowed.

    Args:
        line: the words after ``rbln-ctl``; the last one is incomplete, and may be empty.
        status: the node's, if a supervisor replied.
    """
    *before, typed = line or [""]
    verb = next((word for word in before if word in VERBS), None)
    last = before[-1] if before else ""
    if last == "--pool":
        words: Iterable[str] = _pool_names(status)
    elif last == "--device":
        words = _device_names(status)
    elif last in _VALUES:
        words = _VALUES[last]
    elif typed.startswith("-"):
        words = _option_names(verb)
    elif verb is None:
        words = VERBS
    else:
        words = _argument_candidates(verb, status)
    return [word for word in words if word.startswith(typed)]


_FOLDER_FLAGS: Final = (
    *("--run-dir", "--config-file", "--kubelet-dir", "--device-plugins-dir", "--host-root"),
)
_VALUES: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(_FOLDER_FLAGS, ()),
    **dict.fromkeys(("-n", "--interval", "--resource-prefix"), ()),
    "--since": ("10m", "1h", "1d"),
}
"""By option with a value: the possible values; empty for a file, or for values that only people
know."""


def _argument_candidates(verb: str, status: NodeStatus | None) -> Iterable[str]:
    match verb:
        case "explain":
            return _device_names(status)
        case "completion":
            return _SCRIPTS
        case _:
            return ()


def _pool_names(status: NodeStatus | None) -> Iterator[str]:
    yield from status.pools if status else ()


def _device_names(status: NodeStatus | None) -> Iterator[str]:
    for pool in status.pools.values() if status else ():
        yield from pool.devices


def _option_names(verb: str | None) -> Iterator[str]:
    """Return all options of a command, from its parser."""
    chosen = build_parser()
    for action in chosen._actions if verb is not None else ():  # noqa: SLF001 - argparse has no public access
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            chosen = action.choices[verb or ""]
    for action in chosen._actions:  # noqa: SLF001
        yield from (name for name in action.option_strings if name.startswith("--"))
