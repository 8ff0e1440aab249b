"""The command line of rbln-ctl: requests, output, exit codes."""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.events.query import Query
from rbln_supervisor.ctl import completion, output, probe, validate, wording
from rbln_supervisor.ctl.exits import Exit
from rbln_supervisor.ctl.output import print_errors, write_json, write_text
from rbln_supervisor.ctl.parser import RUN_DIR, build_parser
from rbln_supervisor.ctl.request import ANOTHER, print_refusal, reply_text, request_reply
from rbln_supervisor.ctl.status_filter import StatusFilter, filter_status, unknown_pool_error


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    output.prepare_streams()
    try:
        return _run_command(build_parser().parse_args(argv))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last frame of this process
        print_errors(f"{type(error).__name__}: {error}")
        return Exit.REFUSED
    finally:
        output.flush_streams()


def _run_command(options: argparse.Namespace) -> Exit:
    as_json: bool = getattr(options, "json", False)
    run_dir: Path = getattr(options, "run_dir", RUN_DIR)
    match options.verb:
        case "completion":
            write_text(completion.completion_script(options.shell))
            return Exit.DONE
        case "complete":
            return _run_completion(options.words, run_dir)
        case "doctor" | "support-bundle":
            return _run_examination(options, run_dir, as_json=as_json)
        case "validate":
            return validate.run_validation(options, run_dir, as_json=as_json)
        case _:
            return _run_with_supervisor(options, run_dir, as_json=as_json)


def _run_with_supervisor(options: argparse.Namespace, run_dir: Path, *, as_json: bool) -> Exit:
    """Run a command that needs a supervisor."""
    match options.verb:
        case "status":
            return _run_status(options, run_dir, as_json=as_json)
        case "events":
            return _run_events(options, run_dir, as_json=as_json)
        case "reload":
            return _print_reply(run_dir, protocol.Reload(force=options.force), as_json=as_json)
        case "upgrade":
            from rbln_supervisor.ctl import upgrade_command  # noqa: PLC0415

            return upgrade_command.run_upgrade(run_dir, as_json=as_json)
        case "explain":
            return _request_explanation(run_dir, options.device, as_json=as_json)
        case "probe":
            return _run_probe(run_dir, until_ready=options.question == "ready")
        case _:
            return _print_reply(run_dir, protocol.Rescan(), as_json=as_json)


def _run_status(options: argparse.Namespace, run_dir: Path, *, as_json: bool) -> Exit:
    choice = StatusFilter(options.pool, options.unhealthy)
    if options.watch:
        # rich is loaded for output to people only
        from rbln_supervisor.ctl import status_watch  # noqa: PLC0415

        interval_s: float = options.interval
        return status_watch.watch_status(run_dir, choice, as_json=as_json, interval_s=interval_s)
    reply = request_reply(run_dir, protocol.Status())
    match reply:
        case Exit():
            return reply
        case protocol.StatusReply(status=status) if none := unknown_pool_error(status, choice):
            print_errors(none)
            return Exit.REFUSED
        case protocol.StatusReply(status=status) if as_json:
            write_json(filter_status(status, choice))
        case protocol.StatusReply(status=status):
            write_text(reply_text(filter_status(status, choice), whole=status))
        case protocol.ErrorReply():
            return print_refusal(reply, as_json=as_json)
        case _:
            print_errors(ANOTHER)
            return Exit.REFUSED
    return Exit.DONE


def _run_probe(run_dir: Path, *, until_ready: bool) -> Exit:
    """Answer a kubelet's probe. Print only errors, which the kubelet shows."""
    within_s = probe.READY_TIMEOUT_S if until_ready else None
    reply = request_reply(run_dir, protocol.Status(), timeout_s=within_s)
    match reply:
        case Exit():
            return reply
        case protocol.StatusReply(status=status):
            missing = probe.unready_reasons(status) if until_ready else ()
            print_errors(*missing)
            return Exit.REFUSED if missing else Exit.DONE
        case _:
            print_errors(ANOTHER)
            return Exit.REFUSED


def _run_events(options: argparse.Namespace, run_dir: Path, *, as_json: bool) -> Exit:
    from rbln_supervisor.ctl import events_command  # noqa: PLC0415

    query = Query(options.most, options.pool, options.device, options.since)
    if options.follow:
        return events_command.follow_events(run_dir, query, as_json=as_json)
    return events_command.print_once(run_dir, query, as_json=as_json)


def _run_examination(options: argparse.Namespace, run_dir: Path, *, as_json: bool) -> Exit:
    from rbln_supervisor.ctl import doctor_command, support_bundle  # noqa: PLC0415
    from rbln_supervisor.ctl.doctor import Overrides  # noqa: PLC0415

    where = Overrides(
        run_dir,
        options.config_file,
        options.kubelet_dir,
        options.device_plugins_dir,
        options.host_root,
    )
    if options.verb == "doctor":
        return doctor_command.run_doctor(where, as_json=as_json)
    return support_bundle.write_bundle(where, options.file)


def _run_completion(line: Sequence[str], run_dir: Path) -> Exit:
    """Print completions of a line; print no errors into the shell where a person types."""
    from rbln_supervisor.ctl import client  # noqa: PLC0415

    status = None
    with contextlib.suppress(client.UnreachableError, client.UnreadableAnswerError):
        reply = client.send_request(
            completion.run_dir(line) or run_dir, protocol.Status(), timeout_s=1.0
        )
        status = reply.status if isinstance(reply, protocol.StatusReply) else None
    write_text("".join(f"{word}\n" for word in completion.complete_line(line, status)))
    return Exit.DONE


def _request_explanation(run_dir: Path, name: str, *, as_json: bool) -> Exit:
    """Request the explanation; if the name is unknown, that of a device which local files name."""
    name = name if name.isprintable() else ascii(name)[1:-1]  # bytes that are no text can't be sent
    reply = request_reply(run_dir, protocol.Explain(name))
    if isinstance(reply, protocol.ErrorReply):
        from rbln_supervisor.ctl import name_lookup  # noqa: PLC0415 - for names that are not of a device

        reply = name_lookup.explain_owner(run_dir, name, reply)
    return _show_reply(reply, as_json=as_json)


def _print_reply(run_dir: Path, request: protocol.Request, *, as_json: bool) -> Exit:
    """Send a request, and print the reply."""
    return _show_reply(request_reply(run_dir, request), as_json=as_json)


def _show_reply(reply: protocol.Reply | Exit, *, as_json: bool) -> Exit:
    match reply:
        case Exit():
            return reply
        case protocol.ErrorReply():
            return print_refusal(reply, as_json=as_json)
        case (
            protocol.StatusReply()
            | protocol.DryRunReply()
            | protocol.MetricsReply()
            | protocol.UpgradeReply()
        ):  # not a reply to these requests
            print_errors(ANOTHER)
            return Exit.REFUSED
        case protocol.ExplainReply(explanation=explanation) if as_json:
            write_json(explanation)
        case _ if as_json:
            write_json(reply)
        case protocol.ReloadReply():
            _print_reload(reply)
        case protocol.RescanReply(problems=problems):
            write_text(f"{wording.rescan_sentence(reply)}\n")
            print_errors(*problems, said="warning")
        case protocol.ExplainReply(explanation=explanation):
            write_text(reply_text(explanation))
    return Exit.DONE


def _print_reload(reply: protocol.ReloadReply) -> None:
    write_text(f"{wording.reload_sentence(reply)}\n")
    if reply.plan and wording.is_a_change(reply):
        write_text(reply_text(reply.plan, done=True))
    print_errors(*reply.forced, said="forced")
    print_errors(*reply.warnings, said="warning")
