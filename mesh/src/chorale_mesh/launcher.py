"""Becomes a child program that dies with its parent.

Run as a script (`python -I -S launcher.py ORDER PROGRAM ARGUMENT...`), so that nothing has
to happen between fork and exec in a parent that may hold threads and locks. It writes down
who it is before it becomes the program, so that there is no moment in which a process runs
that the next start could not find. Imports the standard library only.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Follows the order in the first argument, then becomes the program of the others."""
    order, program = json.loads(sys.argv[1]), sys.argv[2:]
    with open(order["record"] + ".new", "w", encoding="utf-8") as file:
        json.dump({"pid": os.getpid(), "started": start_mark(os.getpid())}, file)
    os.replace(order["record"] + ".new", order["record"])
    # As the parent's user still: the child's own user might not be able to walk there.
    os.chdir(order["directory"])
    if order["user"] is not None:
        uid, gid = order["user"]
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # A change of user clears the wish to die with the parent, so it comes after.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, order["farewell"], 0, 0, 0)
        if os.getppid() != order["parent"]:  # it died before the wish was made
            sys.exit(1)
    # What Python set for itself would otherwise be inherited.
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execv(program[0], program)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.exit(f"{program[0]} cannot be run: {error.strerror}.")


def start_mark(pid: int) -> str:
    """Tells one process from any later one with the same number; empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            started_ticks = file.read().rpartition(")")[2].split()[19]
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}:{started_ticks}"
    except (FileNotFoundError, ProcessLookupError):
        return "" if os.path.isdir("/proc/self") else _start_mark_of_ps(pid)


def _start_mark_of_ps(pid: int) -> str:
    """The same where there is no /proc."""
    asked = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()


if __name__ == "__main__":
    main()
