"""python -m training cohort | prepare | train | evaluate | export | reproduce; see README.md."""

import argparse
import importlib

COMMANDS = {
    "cohort": ("training.cohort_command", "a virtual clinic as a folder of DICOM"),
    "prepare": ("training.prepare_command", "a folder of DICOM becomes a dataset; what cannot be used is listed"),
    "train": ("training.train_command", "train a system, or go on with the run in a folder"),
    "evaluate": ("training.evaluation.command", "score runs, models and baselines on held-out cases"),
    "export": ("training.export_command", "a run becomes a model folder, refused where it differs from torch"),
    "reproduce": ("training.reproduce", "the papers' comparison on the virtual clinics, from nothing to tables"),
}


def main() -> None:
    """Read the command line and do one step; only what that step needs is imported."""
    parser = argparse.ArgumentParser(
        prog="python -m training",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="\n".join(f"{name:10} {summary}" for name, (_, summary) in COMMANDS.items()),
        epilog="python -m training COMMAND --help names what a command takes; README.md has the way in five commands",
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    module, summary = COMMANDS[chosen.command]
    command = importlib.import_module(module)
    step = argparse.ArgumentParser(prog=f"python -m training {chosen.command}", description=summary)
    command.add_arguments(step)
    command.run(step.parse_args(chosen.rest))


if __name__ == "__main__":
    main()
