"""The proof that somebody may do something: whatever is done on somebody's behalf needs one.

It does not know policies or calls. Rules: only the membrane makes an `Authorized` (it alone names `SEAL`; a test reads
all the code for others); a proof is for one principal, one action and one object, and whoever performs the action
checks that it fits.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import Final, final

from llmos.kernel.core.principal import Principal
from llmos.syscalls.abi.words import Pid


class Seal:
    """What an `Authorized` cannot be made without; only one counts."""


SEAL: Final = Seal()
"""The membrane's. Nobody else may name it."""


class NotAuthorized(Exception):
    """Something was about to be performed without the proof that it needs: a bug of the kernel."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Authorized:
    """Proof that the membrane let a principal do `action` to `object`, which belongs to `tenant`.

    `pid` is the process that the object is; None when it is none, or all processes of the principal. `owner` is whose
    process it is, when it is not the principal's own; `attributes` is what the call asked for, in words.
    """

    principal: Principal
    object: str
    action: str
    tenant: str
    pid: Pid | None
    owner: str
    attributes: str
    seal: InitVar[Seal]

    def __post_init__(self, seal: Seal) -> None:
        if seal is not SEAL:
            raise NotAuthorized("only the membrane makes an Authorized")
