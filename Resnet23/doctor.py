"""Look for what is missing or wrong with the machine, the installation and the project, and say how to mend it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Annotated

import typer

from Resnet23.command import DebugOption, run_command
from Resnet23.doctoring import folder, machine, network, packages, programs, pytorch, runs, storage
from Resnet23.doctoring.findings import Finding, problem

Check = Callable[[], Finding | None]  # None: there is nothing to say here

CHECKS: dict[str, Check] = {
    "Python": machine.check_python,
    "packages": packages.check_packages,
    "PyTorch": pytorch.check_pytorch,
    "CUDA": pytorch.check_cuda,
    "precision": pytorch.check_precision,
    "processor": machine.check_processor,
    "memory": machine.check_memory,
    "disk": machine.check_disk,
    "params.yaml": folder.check_params,
    "package folder": packages.check_package_folder,
    "dvc.yaml": folder.check_pipeline,
    "DVC": folder.check_dvc,
    "DVC remote": storage.check_remotes,
    "outputs": folder.check_outputs,
    "git": folder.check_git,
    "data": folder.check_data,
    "tracked runs": runs.check_store,
    "tracking server": runs.check_remote,
    "extras": packages.check_extras,
    "Node.js": programs.check_node,
    "Chromium": programs.check_browser,
    "package index": network.check_package_index,
    "npm registry": network.check_npm_registry,
    "CIFAR's host": network.check_public_host,
}
COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}

JsonOption = Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")]


def examine(checks: dict[str, Check]) -> Iterator[tuple[str, Finding]]:
    """What the checks find, in their order; they run at the same time, as most of them wait for something."""
    with ThreadPoolExecutor(len(checks)) as pool:
        answers = {name: pool.submit(_guarded, name, check) for name, check in checks.items()}
        for name, answer in answers.items():
            if (finding := answer.result()) is not None:
                yield name, finding


def _guarded(name: str, check: Check) -> Finding | None:
    """What a check finds; that it crashed, when it does."""
    try:
        return check()
    except Exception as error:
        return problem(f"the check itself failed: {type(error).__name__}: {error}", f"look at {name} by hand")


def print_lines(findings: Iterator[tuple[str, Finding]], names: Sequence[str]) -> list[Finding]:
    """Print each finding as soon as it is known, what to do about it below, and at the end how many there were."""
    width, all_findings = max(map(len, names)), []
    for name, finding in findings:
        status = typer.style(f"{finding.status:<7}", fg=COLORS[finding.status])
        typer.echo(f"{status}  {name:<{width}}  {finding.found}")
        if finding.mend:
            typer.echo(f"{'':7}  {'':<{width}}  -> {finding.mend}")
        all_findings.append(finding)
    typer.echo(_summary(all_findings))
    return all_findings


def _summary(findings: Sequence[Finding]) -> str:
    """How many findings of each kind there are."""
    counts = Counter(finding.status for finding in findings)
    kinds = {"ok": "ok", "warning": "warnings", "problem": "problems"}
    named = (f"{counts[status]} {status if counts[status] == 1 else plural}" for status, plural in kinds.items())
    return f"{len(findings)} checks: {', '.join(named)}"


def as_json(findings: Iterator[tuple[str, Finding]]) -> tuple[str, list[Finding]]:
    """The findings as a JSON text, and as they are."""
    named = dict(findings)
    checks = [{"check": name, **asdict(finding)} for name, finding in named.items()]
    return json.dumps({"problems": _count_problems(named.values()), "checks": checks}, indent=2), list(named.values())


def _count_problems(findings: Sequence[Finding]) -> int:
    return sum(finding.status == "problem" for finding in findings)


def main(as_json_text: JsonOption = False, debug: DebugOption = False) -> None:
    """Look at the machine, the installation and the project in the current directory; exit code 1 for a problem."""
    findings = examine(CHECKS)
    if as_json_text:
        text, found = as_json(findings)
        typer.echo(text)
    else:
        found = print_lines(findings, list(CHECKS))
    if _count_problems(found):
        raise typer.Exit(1)


if __name__ == "__main__":
    run_command(main)
