"""Unit files as a test sees them: their settings, and a process confined as one of them says.

    units.py UNIT COMMAND ...    become COMMAND under UNIT's system call filter and MemoryDenyWriteExecute

systemd installs the same filters through the same library; this way they are tried without being process 1.
"""
import ctypes
import errno
import os
import pathlib
import subprocess
import sys

UNITS = pathlib.Path(__file__).resolve().parents[2] / "systemd"

SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_ACT_ERRNO = 0x00050000 | errno.EPERM
SCMP_CMP_MASKED_EQ = 7
PROT_WRITE, PROT_EXEC = 2, 4


def settings(path):
    """[(name, value)] of a unit file, in order; comments and sections left out."""
    lines = (line.strip() for line in pathlib.Path(path).read_text().splitlines())
    return [tuple(line.split("=", 1)) for line in lines if "=" in line and line[0] not in "#;"]


def system_calls(group):
    """The names in @group, groups inside it expanded."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True, timeout=20)
    names = set()
    for word in (line.strip() for line in listed.stdout.splitlines()[1:]):
        if word.startswith("@"):
            names |= system_calls(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return names


class Argument(ctypes.Structure):
    """struct scmp_arg_cmp"""
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def confine(unit):
    """Put the calling process under the unit's filters; they hold over exec."""
    given = settings(unit)
    allowed = {name for key, value in given if key == "SystemCallFilter" for group in value.split() for name in system_calls(group)}
    assert allowed and ("MemoryDenyWriteExecute", "yes") in given
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p

    def load(default, rules):
        """One filter: (action, system call, arguments)..."""
        context = ctypes.c_void_p(library.seccomp_init(default))
        for action, name, arguments in rules:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number < 0:  # not on this architecture
                continue
            status = library.seccomp_rule_add_array(context, action, number, len(arguments), (Argument * len(arguments))(*arguments))
            assert status == 0, (name, status)
        assert library.seccomp_load(context) == 0, "the kernel took no filter"
        library.seccomp_release(context)

    # The second filter first: loading one is a system call the allow list need not have.
    write_exec = Argument(2, SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, PROT_WRITE | PROT_EXEC)
    becomes_exec = Argument(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)
    denied = [(SCMP_ACT_ERRNO, "mmap", [write_exec]), (SCMP_ACT_ERRNO, "mprotect", [becomes_exec]),
              (SCMP_ACT_ERRNO, "pkey_mprotect", [becomes_exec])]
    load(SCMP_ACT_ALLOW, denied)
    load(SCMP_ACT_ERRNO, [(SCMP_ACT_ALLOW, name, []) for name in sorted(allowed | {"seccomp", "prctl"})])


if __name__ == "__main__":
    confine(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])
