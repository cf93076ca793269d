"""The command `recontour`: serve, warm, send, run, demo, phantom.

Exit codes: 0 done; 1 the case was refused or failed; 2 the command line or a setting is wrong; 3 no service answered.
One line on standard error says why.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from imaging.errors import ModelNotFound, RecontouringError
from recontour.client import ClientError, Refused, Unreachable, which_object
from service.problems import Refusal

REFUSED, WRONG, NO_ANSWER, INTERRUPTED = 1, 2, 3, 130
CODES: tuple[tuple[type[BaseException], int], ...] = (
    (Refused, REFUSED),
    (Refusal, REFUSED),
    (RecontouringError, REFUSED),
    (Unreachable, NO_ANSWER),
    (KeyboardInterrupt, INTERRUPTED),
)
DEFAULT_URL = "http://127.0.0.1:8000"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except (RecontouringError, Refusal, ClientError, ValueError, OSError, KeyboardInterrupt) as error:
        print(f"recontour: {_why(error)}", file=sys.stderr)
        return next((code for kind, code in CODES if isinstance(error, kind)), WRONG)
    return 0


def _why(error: BaseException) -> str:
    """One line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if error.title == "Settings" and where:
            where = f"RECONTOUR_{where.replace('.', '__')}".upper()
        return f"{where}: {first['msg']}" if where else first["msg"]
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    told = " ".join(str(error).split()) or "interrupted"
    return told + which_object(error.facts) if isinstance(error, RecontouringError) else told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recontour",
        description="Daily recontouring for online adaptive radiotherapy. Research use; every contour is UNAPPROVED.",
    )
    parser.add_argument("--version", action="version", version=f"recontour {version('recontour')}")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_serve(commands)
    _add_warm(commands)
    _add_send(commands)
    _add_run(commands)
    _add_demo(commands)
    _add_phantom(commands)
    return parser


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser("serve", help="start the service; RECONTOUR_* variables set all that is not given here")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port (default 8000)")
    serve.add_argument("--insecure", action="store_true", default=None, help="allow other addresses without a key")
    _add_model_options(serve)
    serve.set_defaults(command=_serve)


def _add_warm(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    warm = commands.add_parser("warm", help="compile for this processor now, so that the first start need not")
    warm.set_defaults(command=_warm)


def _add_send(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    send = commands.add_parser("send", help="send one case to a service and save its answer")
    _add_case(send)
    _add_connection(send)
    send.add_argument(
        "--accept",
        choices=("all", "related", "recommended", "report"),
        default="all",
        help="what to ask for (default: all RTSTRUCTs and the report)",
    )
    send.set_defaults(command=_send)


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser("run", help="recontour one case without a service: folders in, folder out")
    _add_case(run)
    _add_model_options(run)
    run.set_defaults(command=_run)


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser("demo", help="a virtual patient through a service over HTTP: contours, table, picture")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything (default demo/)")
    demo.add_argument("--url", help="use this service instead of starting one")
    demo.add_argument("--key", default=os.environ.get("RECONTOUR_API_KEY", ""), help="API key of that service")
    _add_patient(demo)
    _add_model_options(demo)
    demo.set_defaults(command=_demo)


def _add_phantom(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    phantom = commands.add_parser(
        "phantom", help="write a virtual patient as DICOM: planning/ with RTSTRUCT, daily/, truth/"
    )
    phantom.add_argument("--out", type=Path, required=True, help="folder for the case")
    _add_patient(phantom)
    phantom.set_defaults(command=_phantom)


def _add_patient(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=int, default=1, help="which virtual patient (default 1)")
    command.add_argument("--clinic", choices=("A", "B"), default="A", help="whose scanner and patients (default A)")
    command.add_argument("--fraction", type=int, default=1, help="which day, from 1 (default 1)")


def _add_case(command: argparse.ArgumentParser) -> None:
    command.add_argument("planning", type=Path, help="folder of the planning CT")
    command.add_argument("structures", type=Path, help="the planning RTSTRUCT, or a folder that holds it alone")
    command.add_argument("daily", type=Path, help="folder of the CT of the day")
    command.add_argument("--out", type=Path, required=True, help="folder for the RTSTRUCTs and report.json")
    command.add_argument(
        "--refine", choices=("auto", "off"), default="auto", help="pull the images together at the end"
    )
    command.add_argument("--roi", action="append", metavar="NAME", help="only this ROI of the plan; may be repeated")
    command.add_argument("--holes", choices=("keyhole", "xor"), default="keyhole", help="how holes are written")


def _add_connection(command: argparse.ArgumentParser) -> None:
    environment = os.environ
    command.add_argument("--url", default=environment.get("RECONTOUR_URL", DEFAULT_URL), help="or RECONTOUR_URL")
    command.add_argument(
        "--key", default=environment.get("RECONTOUR_API_KEY", ""), help="API key; better given as RECONTOUR_API_KEY"
    )


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--models-dir", type=Path, help="folder that holds <name>/<version>/ (default models/)")
    command.add_argument("--model", help="name or name/version; 'none' for the registration alone")
    command.add_argument("--device", choices=("auto", "cuda", "cpu"))
    command.add_argument("--cpu-backend", choices=("auto", "openvino", "onnxruntime"))


def _given(options: argparse.Namespace, *names: str) -> dict[str, object]:
    """The settings that the command line names; the environment decides the others."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _request_options(options: argparse.Namespace) -> dict[str, object]:
    chosen: dict[str, object] = {"refine": options.refine, "holes": options.holes}
    return chosen | ({"rois": options.roi} if options.roi else {})


def _serve(options: argparse.Namespace) -> None:
    from service.pipeline import model_folder
    from service.server import run
    from service.settings import NO_MODEL, Settings

    names = ("host", "port", "insecure", "models_dir", "model", "device", "cpu_backend")
    settings = Settings.from_environment(None, **_given(options, *names))
    try:
        if settings.model != NO_MODEL:
            model_folder(settings.models_dir, settings.model)
    except ModelNotFound:
        folder = settings.models_dir.resolve()
        print(f"recontour: there is no {settings.model} in {folder}: name its folder by --models-dir", file=sys.stderr)

    def say(port: int) -> None:
        print(f"recontour listens on http://{settings.host}:{port}", flush=True)

    run(settings, on_started=say)


def _warm(_: argparse.Namespace) -> None:
    from service.kernels import compile_kernels, kernels_are_compiled

    if kernels_are_compiled():
        print("compiled already")
        return
    print("compiling for this processor (up to a minute) ...", flush=True)
    compile_kernels()


def _send(options: argparse.Namespace) -> None:
    from recontour.client import Client
    from recontour.progress import upload_bar
    from recontour.summary import print_summary

    with Client(options.url, key=options.key) as client, upload_bar() as progress:
        answer = client.recontour(
            planning=options.planning,
            structures=options.structures,
            daily=options.daily,
            options=_request_options(options),
            form=options.accept,
            progress=progress,
        )
    print_summary(answer.report, files=answer.save(options.out), stages_s=answer.stages_s)


def _run(options: argparse.Namespace) -> None:
    from recontour.offline import run_offline
    from recontour.summary import print_summary
    from service.schemas import RequestOptions
    from service.settings import Settings

    done = run_offline(
        Settings.from_environment(None, **_given(options, "models_dir", "model", "device", "cpu_backend")),
        planning=options.planning,
        structures=options.structures,
        daily=options.daily,
        out=options.out,
        options=RequestOptions.model_validate(_request_options(options)),
    )
    print_summary(done.report.model_dump(mode="json"), files=done.files, stages_s=done.stages_s)


def _demo(options: argparse.Namespace) -> None:
    from recontour.demo import run_demo

    run_demo(
        options.out,
        seed=options.seed,
        clinic=options.clinic,
        fraction=options.fraction,
        url=options.url,
        key=options.key,
        service_arguments=[
            part
            for name, value in _given(options, "models_dir", "model", "device", "cpu_backend").items()
            for part in (f"--{name.replace('_', '-')}", str(value))
        ],
    )


def _phantom(options: argparse.Namespace) -> None:
    from recontour.virtual_patient import write_virtual_patient

    _, folders = write_virtual_patient(options.out, seed=options.seed, clinic=options.clinic, fraction=options.fraction)
    print(f"planning CT       {folders.planning}\nplanning RTSTRUCT {folders.structures}")
    print(f"CT of the day     {folders.daily}\ntruth on that day {folders.truth}")
