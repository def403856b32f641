"""The one table of system calls: name, request, reply, stream event, and what the membrane checks.

The gate dispatches by it, the SDK encodes by it, the documentation's reference is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from llmos.syscalls.abi import apps as a
from llmos.syscalls.abi import encoders as e
from llmos.syscalls.abi import files as f
from llmos.syscalls.abi import mail
from llmos.syscalls.abi import memory as mem
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi import tools as t
from llmos.syscalls.abi.words import ProcessInfo, Record


class Subject(StrEnum):
    """What the object of a call is; the gate makes the object's name from it.

    `PROCESS` is `proc:/OWNER/PID` of the request's pid, `OWN` is `proc:/CALLER/*`, `SYSTEM` is `sys:/`, `SELF` is the
    caller's key `key:/TENANT/CALLER`, `KEY` that of the request's name, `KEYS` is `key:/TENANT/*`, `SERVER_KEY` is
    `key:/system/server`, `POLICY` is `policy:/`, `AUDIT` is `audit:/TENANT`, `MODEL` is `model:/NAME` of the request's
    model, asked about in the caller's tenant.

    `MEMORY` is `mem:/OWNER/NAME` of the request's namespace, `FILE` is `fs:/home/OWNER/...` of its path, `DESCRIPTOR`
    the same of the file that is open under its number, `MAILBOX` is `PROCESS` with a pid and `OWN` without, `TOPIC` is
    `topic:/OWNER/NAME`, `TOOL` is `tool:/OWNER/NAME`, `TOOLS` is `tool:/CALLER/*`.

    `APP` is `app:/NAME` in the tenant of the app, `NEW_APP` the same in the tenant that is asked for, `APPS` is
    `app:/*`.
    """

    PROCESS = "process"
    OWN = "own"
    SYSTEM = "system"
    SELF = "self"
    KEY = "key"
    KEYS = "keys"
    SERVER_KEY = "server key"
    POLICY = "policy"
    AUDIT = "audit"
    MEMORY = "memory"
    FILE = "file"
    DESCRIPTOR = "descriptor"
    MAILBOX = "mailbox"
    TOPIC = "topic"
    TOOL = "tool"
    TOOLS = "tools"
    MODEL = "model"
    APP = "app"
    NEW_APP = "new app"
    APPS = "apps"


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. The action that policies name is the call's name."""

    name: str
    subject: Subject
    request: type[Record]
    reply: type[Record]
    event: type[Record] | None = None
    """What a stream sends before its reply; None for a call that only replies."""
    summary: str = ""
    contents: bool = False
    """The request carries what people wrote; the audit log has its digest."""

    @property
    def group(self) -> str:
        """The part before the dot."""
        return self.name.partition(".")[0]


CALLS: tuple[Call, ...] = (
    Call("proc.spawn", Subject.OWN, m.Spawn, m.Spawned, None, "make a process", True),
    Call("proc.fork", Subject.PROCESS, m.Fork, m.Forked, None, "make copy-on-write children"),
    Call("proc.signal", Subject.PROCESS, m.SendSignal, m.Done, None, "send a signal"),
    Call("proc.wait", Subject.PROCESS, m.Wait, m.ExitStatus, None, "wait for the exit of a process and reap it"),
    Call("proc.info", Subject.PROCESS, m.OnProcess, ProcessInfo, None, "describe a process"),
    Call("proc.list", Subject.OWN, m.ListProcesses, m.Processes, None, "list the processes one may see"),
    Call("proc.renice", Subject.PROCESS, m.Renice, ProcessInfo, None, "change priority class or weight"),
    Call("proc.limits", Subject.PROCESS, m.SetLimits, ProcessInfo, None, "change limits"),
    Call("proc.swap_out", Subject.PROCESS, m.SwapOut, m.Swapped, None, "move pages off the device"),
    Call("proc.swap_in", Subject.PROCESS, m.OnProcess, m.Swapped, None, "bring pages back to the device"),
    Call("proc.why", Subject.PROCESS, m.OnProcess, m.Why, None, "say what a process waits for, and its history"),
    Call("ctx.append", Subject.PROCESS, m.Append, m.Appended, None, "append text, chat messages or tokens", True),
    Call("ctx.read", Subject.PROCESS, m.OnProcess, m.Context, None, "read what the model sees"),
    Call("ctx.truncate", Subject.PROCESS, m.Truncate, m.Appended, None, "keep the first tokens"),
    Call("ctx.rewind", Subject.PROCESS, m.Rewind, m.Appended, None, "drop the last tokens"),
    Call("ctx.advise", Subject.PROCESS, m.Advise, m.Done, None, "say whether the pages will be needed soon"),
    Call("gen.generate", Subject.PROCESS, m.Generate, m.Generated, m.Chunk, "generate tokens", True),
    Call("gen.score", Subject.PROCESS, m.Score, m.Scores, None, "say how likely continuations are", True),
    Call("gen.cancel", Subject.PROCESS, m.OnProcess, m.Done, None, "end the running generation of a process"),
    Call("gen.embed", Subject.MODEL, e.Embed, e.Embedded, None, "make vectors of texts", True),
    Call("gen.classify", Subject.MODEL, e.Classify, e.Classified, None, "say which label fits each text", True),
    Call("mem.put", Subject.MEMORY, mem.MemoryPut, mem.MemoryRecord, None, "write an item", True),
    Call("mem.get", Subject.MEMORY, mem.MemoryGet, mem.MemoryRecord, None, "read an item"),
    Call("mem.search", Subject.MEMORY, mem.MemorySearch, mem.MemoryRecords, None, "find items", True),
    Call("mem.list", Subject.MEMORY, mem.MemoryList, mem.MemoryRecords, None, "list items"),
    Call("mem.forget", Subject.MEMORY, mem.MemoryForget, mem.Forgotten, None, "erase items"),
    Call("mem.history", Subject.MEMORY, mem.MemoryHistory, mem.MemoryVersions, None, "list the versions of an item"),
    Call("mem.rollback", Subject.MEMORY, mem.MemoryRollback, mem.RolledBack, None, "make an older version the latest"),
    Call("fs.open", Subject.FILE, f.FileOpen, f.FileOpened, None, "open a file"),
    Call("fs.read", Subject.DESCRIPTOR, f.FileRead, f.FileData, f.FileData, "read from an open file"),
    Call("fs.write", Subject.DESCRIPTOR, f.FileWrite, f.FilePosition, None, "write to an open file"),
    Call("fs.seek", Subject.DESCRIPTOR, f.FileSeek, f.FilePosition, None, "move in an open file"),
    Call("fs.close", Subject.DESCRIPTOR, f.FileClose, f.FileStat, None, "close an open file"),
    Call("fs.stat", Subject.FILE, f.OnPath, f.FileStat, None, "describe a file"),
    Call("fs.list", Subject.FILE, f.FileList, f.FileEntries, None, "list a directory"),
    Call("fs.mkdir", Subject.FILE, f.FileMakeDirectory, f.FileStat, None, "make a directory"),
    Call("fs.rename", Subject.FILE, f.FileRename, f.FileStat, None, "give a file another path"),
    Call("fs.unlink", Subject.FILE, f.FileUnlink, m.Done, None, "remove a file"),
    Call("fs.watch", Subject.FILE, f.FileWatch, m.Done, f.FileChanged, "tell what changes"),
    Call("fs.versions", Subject.FILE, f.OnPath, f.KeptVersions, None, "list older contents of a file"),
    Call("fs.restore", Subject.FILE, f.FileRestore, f.FileStat, None, "give a file an older content again"),
    Call("ipc.send", Subject.PROCESS, mail.Send, mail.Sent, None, "send a message to a process", True),
    Call("ipc.receive", Subject.MAILBOX, mail.Receive, mail.Received, None, "take messages"),
    Call("ipc.acknowledge", Subject.MAILBOX, mail.Acknowledge, mail.Acknowledged, None, "be done with messages"),
    Call("ipc.publish", Subject.TOPIC, mail.Publish, mail.Published, None, "send to all subscribers", True),
    Call("ipc.subscribe", Subject.TOPIC, mail.Subscribe, m.Done, mail.Mail, "subscribe to a topic"),
    Call("ipc.unsubscribe", Subject.TOPIC, mail.Unsubscribe, m.Done, None, "take a subscription back"),
    Call("ipc.mailbox", Subject.PROCESS, mail.OnMailbox, mail.MailboxInfo, None, "describe a mailbox"),
    Call("tool.register", Subject.TOOL, t.ToolRegister, m.Done, t.ToolCalled, "offer a tool"),
    Call("tool.answer", Subject.TOOL, t.ToolAnswer, m.Done, None, "answer a call of a tool", True),
    Call("tool.list", Subject.TOOLS, t.ToolList, t.Tools, None, "list tools"),
    Call("tool.call", Subject.TOOL, t.ToolCall, t.ToolResult, None, "call a tool", True),
    Call("app.check", Subject.NEW_APP, a.AppCheck, a.AppAsked, None, "say what an app asks for"),
    Call("app.install", Subject.NEW_APP, a.AppInstall, a.AppInfo, a.AppProgress, "install an app, or a new version"),
    Call("app.list", Subject.APPS, a.AppList, a.Apps, None, "list apps and their runs"),
    Call("app.run", Subject.APP, a.AppRun, a.RunInfo, None, "run an app in a container", True),
    Call("app.run_unsandboxed", Subject.APP, a.AppRun, a.RunInfo, None, "run an app without a container", True),
    Call("app.logs", Subject.APP, a.AppLogs, a.RunInfo, a.AppOutput, "read what a run says"),
    Call("app.input", Subject.APP, a.AppInput, m.Done, None, "give a run input", True),
    Call("app.stop", Subject.APP, a.AppStop, a.AppInfo, None, "end runs of an app"),
    Call("app.remove", Subject.APP, a.AppRemove, m.Done, None, "remove an app"),
    Call("sec.whoami", Subject.SELF, m.Nothing, s.WhoAmI, None, "say who the caller is"),
    Call("sec.can", Subject.SELF, s.Can, s.Answer, None, "say whether the caller may do something"),
    Call("sec.why_denied", Subject.SELF, s.WhyDenied, s.Denial, None, "show a denial again"),
    Call("sec.key_create", Subject.KEY, s.CreateKey, s.CreatedKey, None, "register a key"),
    Call("sec.key_list", Subject.KEYS, s.ListKeys, s.Keys, None, "list keys and their holders"),
    Call("sec.key_revoke", Subject.KEY, s.RevokeKey, s.KeyInfo, None, "revoke a key and cut its connections"),
    Call("sec.key_rotate", Subject.SERVER_KEY, s.RotateServerKey, s.ServerKeyRotation, None, "rotate the server key"),
    Call("sec.policy_show", Subject.POLICY, m.Nothing, s.PolicyInForce, None, "show the policy in force"),
    Call("sec.policy_check", Subject.POLICY, s.CheckPolicy, s.Answer, None, "ask what the policy says, and why"),
    Call("sec.policy_apply", Subject.POLICY, s.ApplyPolicy, s.PolicyChange, None, "put a file of rules in force"),
    Call("sec.policy_diff", Subject.POLICY, s.DiffPolicy, s.PolicyDifference, None, "find calls whose answer changes"),
    Call("sec.policy_learn", Subject.POLICY, s.LearnPolicy, s.LearntPolicy, None, "propose the least policy"),
    Call("sec.audit_read", Subject.AUDIT, s.ReadAudit, s.AuditPage, None, "read the audit log"),
    Call("sec.audit_verify", Subject.AUDIT, m.Nothing, s.AuditVerdict, None, "verify the audit log"),
    Call("sys.info", Subject.SYSTEM, m.Nothing, m.SystemInfo, None, "describe the daemon and its engines"),
    Call("sys.metrics", Subject.SYSTEM, m.Nothing, m.Metrics, None, "read counters and gauges"),
    Call("sys.drain", Subject.SYSTEM, m.Drain, m.Done, None, "finish what runs and take nothing new"),
    Call("sys.shutdown", Subject.SYSTEM, m.Nothing, m.Done, None, "end the daemon"),
)

BY_NAME: dict[str, Call] = {call.name: call for call in CALLS}
