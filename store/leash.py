"""Run a command that must not outlive its parent: `python -I -S leash.py PARENT_PID SIGNAL COMMAND...`.

The kernel's parent-death signal is set by the child itself just before it becomes the command, because code
that runs between fork and exec in the parent's image is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def leashed(command: list[str], signal_number: int) -> list[str]:
    """Return the command line that runs `command` and sends it `signal_number` when this process dies.

    The signal is tied to the thread that starts the child, so start it from a thread that lives as long as
    the child should. Elsewhere than on Linux the command runs without that tie.
    """
    wrapper = str(Path(__file__).resolve())
    return [sys.executable, "-I", "-S", wrapper, str(os.getpid()), str(signal_number), *command]


def _main() -> None:
    parent_pid, signal_number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The parent may have died before the signal was armed.
    if os.getppid() == parent_pid:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _main()
