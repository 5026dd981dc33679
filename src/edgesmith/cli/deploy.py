"""``edgesmith deploy``: an artifact goes to a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesmith.cli.arguments import ArtifactArgument, refuse_unused
from edgesmith.cli.console import console, figures, print_json
from edgesmith.cli.progress import stages
from edgesmith.deploy import connect, deploy, roll_back
from edgesmith.device import load
from edgesmith.release import check_signature
from edgesmith.report.units import nbytes
from edgesmith.target import parse


def command(
    context: typer.Context,
    artifact: ArtifactArgument,
    to: Annotated[
        str,
        typer.Option(
            help="ssh://user@host, adb://serial, qemu:cpu or local: (with :port and /folder where needed).",
            show_default=False,
        ),
    ],
    key: Annotated[Path | None, typer.Option(help="Send only what this public key's owner signed.")] = None,
    back: Annotated[
        bool, typer.Option("--rollback", help="Make the version before the current one current again.")
    ] = False,
    benchmark: Annotated[
        bool,
        typer.Option("--bench/--no-bench", help="Time it on the device afterwards; never on an emulator."),
    ] = True,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the benchmark.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Install an artifact's executable and library on a device and make them the current version there.

    Only files that the device lacks are sent. The new version becomes current in one step, after all its files have
    arrived whole and its self-test has passed on the device; the one before stays, for --rollback. After a lost
    connection, a full disk or Ctrl-C the old version is still current, and the same command goes on.

    The program is then FOLDER/NAME/current/NAME on the device. ssh uses your client's settings, keys and agent.

    \b
    Examples:
      edgesmith deploy out/ --to ssh://pi@raspberrypi
      edgesmith deploy out/ --to ssh://pi@raspberrypi:2222/opt/models --key release.pub
      edgesmith deploy out/ --to adb://emulator-5554
      edgesmith deploy out/ --to qemu:cortex-a72
      edgesmith deploy out/ --to ssh://pi@raspberrypi --rollback
    """
    if back:
        refuse_unused(context, ("key", "benchmark", "threads"), "with --rollback, which sends nothing")
    if not benchmark:
        refuse_unused(context, ["threads"], "with --no-bench")
    program = load(artifact)
    signed = check_signature(artifact, key).manifest if key else ""
    with connect(to, parse(str(program.manifest["target"]))) as device:
        if back:
            current, left = roll_back(program.name, device)
            rows = [("current", current), ("before", left)]
            data: dict[str, object] = dict(rows)
        else:
            if not device.tells_time:
                why = "on an emulator, whose times say nothing about any processor"
                refuse_unused(context, ["threads", *(["benchmark"] if benchmark else [])], why)
            with stages() as report:
                done = deploy(program, device, benchmark=benchmark, threads=threads, manifest=signed, progress=report)
            rows = [
                ("device", device.name),
                ("current", f"{device.root}/{program.name}/current/{program.name}, version {done.version}"),
                ("previous", done.previous or "none"),
                ("sent", f"{nbytes(done.sent_bytes)}; the device had {nbytes(done.kept_bytes)}"),
            ]
            if done.times_ms:
                median, least, high = done.times_ms
                rows.append(("time", f"median {median:.3f} ms, minimum {least:.3f}, 95 % below {high:.3f}"))
            data = {**vars(done), "device": device.name}
    if as_json:
        print_json(data)
    else:
        console().print(figures(rows))
