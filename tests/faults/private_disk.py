"""A disk of a few megabytes, or one that cannot be written to, which only the commands that are run on it see.

It is a tmpfs in a mount namespace of a process of its own, and so gone with that process, however a test ends. In a
user namespace where this is not root: root's answers are asked for here, since it may write where others may not.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_project import REPOSITORY, SHRUNK

from Resnet23.config import load_params
from Resnet23.project import write_params

SERVER = Path(__file__).with_name("command_server.py")
PARAMS = [
    *SHRUNK,
    "data.max_per_class={train: 10, test: 5}",
    "tracking.enabled=false",
    "train.checkpoint_steps=2",
]
STAGES = ("datadownload", "features", "modeling.train", "modeling.predict", "plots")
MEGABYTES = 192  # room for such a project and an encoder
PAGE = 4096  # bytes in which a tmpfs counts
MOST_SECONDS = 300  # for one command, on a busy machine


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The line that says what went wrong; a command that fails prints exactly one, and no traceback."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and "Traceback" not in self.stderr, self.stderr
        return lines[0]


class PrivateDisk:
    """The disk at `mountpoint` and the process that runs commands on it, in the folder `project` by default.

    `seen` gives the path at which this process finds what the commands find at a path.
    """

    def __init__(self, process: subprocess.Popen[str], mountpoint: Path) -> None:
        self._process = process
        self.mountpoint = mountpoint
        self.inside = mountpoint / "project"
        self.project = self.seen(self.inside)

    def seen(self, path: Path) -> Path:
        """A path of the commands' as this process finds it."""
        return Path(f"/proc/{self._process.pid}/root", path.relative_to("/"))

    def run(self, module: str, *arguments: str, **environment: str) -> Done:
        """Run `python -m module arguments` in the project, with these variables added to the environment."""
        request = {"module": module, "arguments": arguments, "cwd": str(self.inside), "environment": environment}
        return Done(**self._ask(request))

    def mount(self, *arguments: str) -> None:
        """Run mount with these arguments."""
        self._run("mount", *arguments)

    @contextmanager
    def read_only(self, *folders: Path) -> Iterator[None]:
        """Make folders read-only, also to root: each is mounted onto itself."""
        for folder in map(str, folders):
            self._run("mount", "--bind", folder, folder)
            self._run("mount", "-o", "remount,bind,ro", folder)
        try:
            yield
        finally:
            for folder in map(str, reversed(folders)):
                self._run("umount", folder)

    @contextmanager
    def smaller_disk(self, folder: Path, megabytes: int) -> Iterator[None]:
        """Put a disk of its own in the place of a folder."""
        self.seen(folder).mkdir()
        self.mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
        try:
            yield
        finally:
            self._run("umount", str(folder))
            self.seen(folder).rmdir()

    @contextmanager
    def leaving(self, free: int, folder: Path | None = None) -> Iterator[None]:
        """Fill the disk, or that which is mounted on a folder, but for `free` bytes."""
        ballast = self.seen((folder or self.mountpoint) / "ballast")
        status = os.statvfs(ballast.parent)
        filling = status.f_bavail * status.f_frsize - free // PAGE * PAGE
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, filling)
        try:
            yield
        finally:
            ballast.unlink()

    def _run(self, *program: str) -> None:
        answer = self._ask({"program": program})
        assert answer["code"] == 0, answer["stderr"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with suppress(BrokenPipeError):  # then it has ended, and there is no answer
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        answered, _, _ = select.select([self._process.stdout], [], [], MOST_SECONDS)
        line = self._process.stdout.readline() if answered else ""
        if not line:
            self.end()
            how = "has ended" if answered else f"gave no answer within {MOST_SECONDS} s"
            pytest.fail(f"{SERVER.name} {how}, exit code {self._process.returncode}, when asked for {request}")
        return json.loads(line)

    def end(self) -> None:
        """End the process, with all that it has started and with the disk."""
        if self._process.returncode is None:  # not waited for, so that its number is still its own
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def private_disk(mountpoint: Path, megabytes: int) -> Iterator[PrivateDisk]:
    """An empty disk of that size at the folder `mountpoint`; skips the test where mounting is not allowed."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        pytest.skip("a private disk needs Linux and its program unshare")
    private = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(mountpoint)]
    if subprocess.run([*private, *mount], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here, not even in a namespace of one's own")
    environment = dict(os.environ, PYTHONPATH=str(REPOSITORY), PYTHONDONTWRITEBYTECODE="1")
    process = subprocess.Popen(
        [*private, sys.executable, str(SERVER)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    disk = PrivateDisk(process, mountpoint)
    try:
        disk.mount(*mount[1:])
        disk.project.mkdir()
        yield disk
    finally:
        disk.end()


@contextmanager
def finished_project(mountpoint: Path) -> Iterator[PrivateDisk]:
    """A disk with a small project on it, in which every stage has run."""
    with private_disk(mountpoint, MEGABYTES) as disk:
        with chdir(REPOSITORY):
            params = load_params(assignments=PARAMS).model_dump()
            write_params(disk.project / "params.yaml", params, "tests/faults/private_disk.py")
        for stage in STAGES:
            succeed(disk.run(f"Resnet23.{stage}"))
        yield disk


def succeed(done: Done) -> None:
    """Fail the test unless the command has succeeded."""
    assert done.code == 0, done.stderr


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder by their names."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
