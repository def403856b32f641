"""Images of apps: what they are built on, the SDK, the wheels that an app asks for, and the app.

Rules: nothing of an app runs while its image is built, not even a setup script: wheels are unpacked, and the build has
no step that starts a program. What is built in is readable by everybody in the container and writable by nobody.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, TypedDict

from docker.errors import ImageNotFound, NotFound

from llmos.kernel.ports.sandbox import EngineFacts, Image, ImageId, ImageOrder
from llmos.sandbox import inside
from llmos.sandbox.confinement import NOBODY
from llmos.sandbox.containers import APP, HOME
from llmos.sandbox.engine import Engine, said_plainly
from llmos.sandbox.sdk import PYTHON, compiled, sdk_files
from llmos.sandbox.wheels import wheel_files
from llmos.syscalls.abi import errors as abi

PLACE: Final = "/usr/lib/llmos"
"""Where an image has the SDK, packages and the app."""

_STEPS: Final = """\
FROM {base}
COPY --chown=0:0 llmos {place}
ENV PYTHONPATH={place}/sdk:{place}/packages:{place}/app PYTHONDONTWRITEBYTECODE=1 HOME=/tmp LANG=C.UTF-8
ENTRYPOINT []
CMD []
LABEL {home}={home_value} {app}={app_value}
"""

_LOOK: Final = """
import ctypes, sys
print("%d.%d" % sys.version_info[:2])
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name)
"""


def usual_base() -> str:
    """The image on which others are built where a registry can be reached."""
    return f"python:{PYTHON}-slim"


class _Aux(TypedDict, total=False):
    ID: str


class _Step(TypedDict, total=False):
    """What the engine says of a step of a build."""

    stream: str
    error: str
    aux: _Aux


class Images:
    """Of one home."""

    def __init__(self, engine: Engine, home: str) -> None:
        self._engine = engine
        self._home = home

    def probe(self) -> EngineFacts:
        return self._engine.facts()

    def build(self, order: ImageOrder, say: Callable[[str], None]) -> Image:
        base = order.base or usual_base()
        with said_plainly(f"the image of {order.app}"):
            self._have(base, say)
            self._check_base(base, order.libraries)
            files = {f"llmos/sdk/{path}": data for path, data in sdk_files().items()}
            files |= {f"llmos/packages/{path}": data for path, data in wheel_files(order.packages, say).items()}
            own = {f"{order.app}/{path}": data for path, data in order.files.items()}
            files |= {f"llmos/app/{path}": data for path, data in (own | compiled(own)).items()}
            files["llmos/inside.py"] = _source(inside)
            files["Dockerfile"] = self._steps(base, order.app)
            return self._built(order, base, files, say)

    def discard_image(self, image: ImageId) -> None:
        client = self._engine.client
        with said_plainly("the image"):
            try:
                client.remove_image(image, force=True)
            except (ImageNotFound, NotFound):
                return

    def _have(self, base: str, say: Callable[[str], None]) -> None:
        client = self._engine.client
        try:
            client.inspect_image(base)
        except ImageNotFound:
            say(f"fetching {base}")
            for step in client.pull(base, stream=True, decode=True):
                if "error" in step:
                    raise abi.NotFound(
                        f"the image {base}, on which apps are built, cannot be had: {step['error']}",
                        "sandbox.base names another, such as one made with `docker import`",
                    ) from None

    def _check_base(self, base: str, libraries: Sequence[str]) -> None:
        """The SDK's compiled parts are of this Python, and wheels may need libraries that they do not bring."""
        client = self._engine.client
        made = client.create_container(
            base, ["python3", "-c", _LOOK, *libraries], entrypoint=[], network_disabled=True, user=str(NOBODY)
        )
        try:
            client.start(made["Id"])
            client.wait(made["Id"])
            found, *missing = client.logs(made["Id"], stderr=False).decode("utf-8", "replace").split() or ["none"]
        finally:
            client.remove_container(made["Id"], force=True)
        if found != PYTHON:
            raise abi.InvalidArgument(
                f"the image {base} has Python {found[:80]}, and this daemon runs on {PYTHON}",
                f"sandbox.base must name an image with python3 {PYTHON}",
            )
        if missing:
            raise abi.InvalidArgument(
                f"the image {base} lacks {', '.join(missing)}, which the app needs",
                "make an image with it, and name that with sandbox.base (docs/apps.md)",
            )

    def _steps(self, base: str, app: str) -> bytes:
        return _STEPS.format(
            base=base, place=PLACE, home=HOME, home_value=json.dumps(self._home), app=APP, app_value=json.dumps(app)
        ).encode()

    def _built(self, order: ImageOrder, base: str, files: Mapping[str, bytes], say: Callable[[str], None]) -> Image:
        client = self._engine.client
        with _packed(files) as context:
            steps = client.build(fileobj=context, custom_context=True, decode=True, rm=True, pull=False)
            built = _follow(steps, say)
        size = client.inspect_image(built)["Size"]
        return Image(ImageId(built), size, size - client.inspect_image(base)["Size"])


def _follow(steps: Iterator[_Step], say: Callable[[str], None]) -> str:
    """Tell the steps; the id of what was built. Raises `DeviceError`."""
    built = ""
    for step in steps:
        if "error" in step:
            raise abi.DeviceError(f"the image cannot be built: {step['error'].strip()}")
        if said := step.get("stream", "").strip():
            say(said)
        built = step.get("aux", {}).get("ID", built)
    if not built:
        raise abi.DeviceError("the engine did not say what it has built")
    return built


def _packed(files: Mapping[str, bytes]) -> io.BytesIO:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    context.seek(0)
    return context


def _source(module: ModuleType) -> bytes:
    return Path(str(module.__file__)).read_bytes()
