"""Makes system calls by their numbers and prints for each how it ended: `ok`, or the name of the error.

Each is made in a process of its own, so that one that kills its caller is `killed by N`. Numbers are of x86-64.
"""

import ctypes
import errno
import json
import os
import socket
import sys

NUMBERS = {
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "swapon": 167,
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438,
    "process_madvise": 440, "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "userfaultfd": 323, "kexec_load": 246,
    "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176, "mknod": 133,
    "mknodat": 259, "open_by_handle_at": 304, "name_to_handle_at": 303, "fanotify_init": 300, "acct": 163,
    "quotactl": 179, "reboot": 169, "syslog": 103, "iopl": 172, "ioperm": 173, "modify_ldt": 154, "personality": 135,
    "sethostname": 170, "setdomainname": 171, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159,
    "clock_adjtime": 305, "vhangup": 153, "lookup_dcookie": 212, "mbind": 237, "set_mempolicy": 238,
    "migrate_pages": 256, "move_pages": 279, "memfd_create": 319, "openat2": 437, "copy_file_range": 326,
    "memfd_secret": 447, "vmsplice": 278, "mlock2": 325,
    "io_setup": 206, "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "seccomp": 317,
    "landlock_create_ruleset": 444, "execveat": 322, "clone3": 435,
}  # fmt: skip
NAMESPACES = {
    "mounts": 0x00020000, "cgroups": 0x02000000, "host names": 0x04000000, "ipc": 0x08000000, "users": 0x10000000,
    "processes": 0x20000000, "networks": 0x40000000,
}  # fmt: skip
CLONE = 56
GETPID = 39
X32 = 0x40000000
SIGNAL_OF_CHILD = 17
OF_32_BITS = bytes.fromhex("53 b8 14 00 00 00 cd 80 5b c3")
"""push rbx; mov eax, 20 (getpid of 32 bits); int 0x80; pop rbx; ret"""

libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> str:
    """How a system call ended."""
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    if result >= 0:
        return "ok"
    return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def clone(flags: int) -> str:
    """A child in namespaces of its own; the child ends at once."""
    result = libc.syscall(ctypes.c_long(CLONE), ctypes.c_long(flags | SIGNAL_OF_CHILD), 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    return "ok" if result > 0 else errno.errorcode[ctypes.get_errno()]


def of_32_bits() -> str:
    """The second way into the kernel of a processor with 64 bits."""
    import mmap

    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(OF_32_BITS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return "ok" if result > 0 else errno.errorcode.get(-result, str(result))


def opened(family: int, kind: int, protocol: int = 0) -> str:
    """A socket."""
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "ok"


def apart(work, *arguments) -> str:  # type: ignore[no-untyped-def]
    """In a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, work(*arguments).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    said = os.read(reader, 100).decode()
    os.close(reader)
    return said or f"killed by {os.WTERMSIG(status)}"


answers = {name: apart(call, number, 0, 0, 0, 0, 0) for name, number in NUMBERS.items()}
answers |= {f"unshare {name}": apart(call, NUMBERS["unshare"], flag) for name, flag in NAMESPACES.items()}
answers |= {f"clone {name}": apart(clone, flag) for name, flag in NAMESPACES.items()}
answers |= {
    "raw socket": apart(opened, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "raw socket of version 6": apart(opened, socket.AF_INET6, socket.SOCK_RAW, 58),
    "packet socket": apart(opened, socket.AF_PACKET, socket.SOCK_RAW),
    "netlink socket": apart(opened, socket.AF_NETLINK, socket.SOCK_RAW),
    "vsock": apart(opened, 40, socket.SOCK_STREAM),
    "crypto socket": apart(opened, 38, 5),
    "bluetooth socket": apart(opened, 31, 3),
}
if "other ways in" in sys.argv:
    answers = {"getpid of 32 bits": apart(of_32_bits), "getpid of x32": apart(call, GETPID | X32)}
json.dump(answers, sys.stdout)
