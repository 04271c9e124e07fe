"""Locks the process that opens an uploader's bytes into what decoding needs, and no more.

Three layers, each told by `confine` so that `ListEngines` can tell it too:

* limits on CPU seconds, address space, open files, file sizes and processes;
* a seccomp filter: reading and writing what is open already, memory, time; no files, no
  sockets, no processes, no new executable memory (Linux on x86-64 and arm64);
* a network namespace of its own, where the kernel lets us make one.

Without seccomp (another system or processor) the limits hold alone, and it is said.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct
from dataclasses import dataclass

# Linux ABI, <linux/seccomp.h>, <linux/bpf_common.h>, <linux/audit.h>, <linux/prctl.h>.
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2
RET_KILL, RET_DENY, RET_ALLOW = 0x80000000, 0x00050000 | 1, 0x7FFF0000  # deny: EPERM
LOAD, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
OFFSET_NUMBER, OFFSET_ARCHITECTURE, OFFSET_THIRD_ARGUMENT = 0, 4, 32
PROT_EXEC = 4
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIGKILL = 9

NOBODY = 65534


@dataclass(frozen=True)
class Architecture:
    """Numbers of one processor's system calls."""

    audit: int
    allowed: str
    """read write close fstat lseek munmap brk rt_sigaction rt_sigprocmask rt_sigreturn readv
    writev sched_yield mremap madvise nanosleep getpid exit gettid futex clock_gettime
    clock_nanosleep exit_group tgkill getrandom sigaltstack restart_syscall clock_getres
    getrusage times gettimeofday"""
    allowed_not_executable: str
    """mmap mprotect, unless they ask for executable memory."""


ARCHITECTURES = {
    "x86_64": Architecture(
        0xC000003E,
        "0 1 3 5 8 11 12 13 14 15 19 20 24 25 28 35 39 60 186 202 228"
        " 230 231 234 318 131 219 229 98 100 96",
        "9 10",
    ),
    "aarch64": Architecture(
        0xC00000B7,
        "63 64 57 80 62 215 214 134 135 139 65 66 124 216 233 101 172 93 178 98 113"
        " 115 94 131 278 132 128 114 165 153 169",
        "222 226",
    ),
}


@dataclass(frozen=True)
class Limits:
    """What one decoding may use."""

    cpu_seconds: int
    memory_bytes: int
    """Address space beyond what the process has when it starts."""
    duration_seconds: float
    """Of the sound that comes out."""


@dataclass(frozen=True)
class Confinement:
    """What holds the process."""

    seccomp: bool
    network_namespace: bool


def leave_network() -> bool:
    """Move into a network namespace that has nothing in it; False where that is not allowed."""
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    try:
        return bool(_libc().unshare(flags) == 0)
    except AttributeError:
        return False


def confine(limits: Limits) -> None:
    """Lock this process in, for good: everything it needs must be open and imported."""
    _drop_user()
    _libc().prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    _limit(limits)
    if seccomp_available():
        _filter_calls(ARCHITECTURES[platform.machine()])


def seccomp_available() -> bool:
    """Whether the filter can be installed here."""
    return platform.system() == "Linux" and platform.machine() in ARCHITECTURES


def _drop_user() -> None:
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # a user namespace may not know the user
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)


def _limit(limits: Limits) -> None:
    space = _address_space_bytes() + limits.memory_bytes
    bounds = {
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_AS: space,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 0,  # what is open stays open, nothing more can be opened
    }
    for what, most in bounds.items():
        with contextlib.suppress(ValueError, OSError):  # never above what we were given
            resource.setrlimit(what, (most, most))


def _address_space_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 30


def _filter_calls(architecture: Architecture) -> None:
    libc = _libc()
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS was refused")
    code = ctypes.create_string_buffer(_program(architecture))
    program = struct.pack("HxxxxxxP", (len(code) - 1) // 8, ctypes.addressof(code))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the seccomp filter was refused")


def _program(architecture: Architecture) -> bytes:
    """Assemble the filter: straight down, so that no jump is longer than three steps."""
    steps = [
        _step(LOAD, OFFSET_ARCHITECTURE),
        _step(JUMP_EQUAL, architecture.audit, 1, 0),
        _step(RETURN, RET_KILL),
        _step(LOAD, OFFSET_NUMBER),
    ]
    for number in architecture.allowed.split():
        steps += [_step(JUMP_EQUAL, int(number), 0, 1), _step(RETURN, RET_ALLOW)]
    for number in architecture.allowed_not_executable.split():
        steps += [
            _step(JUMP_EQUAL, int(number), 0, 4),
            _step(LOAD, OFFSET_THIRD_ARGUMENT),
            _step(JUMP_ANY_BIT, PROT_EXEC, 0, 1),
            _step(RETURN, RET_DENY),
            _step(RETURN, RET_ALLOW),
        ]
    return b"".join([*steps, _step(RETURN, RET_DENY)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
