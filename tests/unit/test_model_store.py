"""The model store without conversions: references, directories, records, removal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmos.drivers.models.catalogue import DEFAULT_MODEL
from llmos.drivers.models.digests import fingerprint
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.locks import try_lock
from llmos.drivers.models.progress import SilentReporter
from llmos.drivers.models.pull import pull
from llmos.drivers.models.records import Entry, Kind
from llmos.drivers.models.references import NAME, name_for
from llmos.drivers.models.store import ModelStore
from llmos.syscalls.abi.errors import AlreadyExists, Busy, DeviceError, Error, InvalidArgument, NotFound
from tests.models.small_directory import write_small_directory

SILENT = SilentReporter()
PULL_DEFAULT = f"llmosctl model pull {DEFAULT_MODEL}"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty store."""
    return ModelStore(tmp_path / "store")


def test_a_model_that_was_not_pulled_comes_with_the_command_that_pulls_it(store: ModelStore) -> None:
    with pytest.raises(NotFound) as caught:
        store.resolve(DEFAULT_MODEL)
    assert caught.value.hint == PULL_DEFAULT


@pytest.mark.parametrize("reference", ["nobody", "nobody:7b", "./nowhere", "/no/such/model", "gone.gguf"])
def test_an_unknown_model_hints_at_the_default(store: ModelStore, reference: str) -> None:
    with pytest.raises(NotFound) as caught:
        store.resolve(reference)
    assert PULL_DEFAULT in caught.value.hint


@pytest.mark.parametrize(
    "reference",
    ["", "\0", "a\0b", "a\nb", "x" * 5000, "./" + "y" * 300, "-rf", ".hidden", "a:b:c", "a b", "..:x", "é", "a\ud800"],
)
def test_a_reference_that_can_be_neither_name_nor_path_is_refused(store: ModelStore, reference: str) -> None:
    for use in (store.resolve, store.remove, lambda name: pull(store, name, SILENT)):
        with pytest.raises(InvalidArgument):
            use(reference)


@pytest.mark.parametrize("reference", ["../outside", "smollm2/../../outside", "entries/../../outside:1"])
def test_a_path_that_leads_out_of_the_store_is_only_a_path(store: ModelStore, reference: str) -> None:
    with pytest.raises(NotFound):
        store.resolve(reference)
    assert not store.root.exists()


def test_a_directory_is_used_in_place(store: ModelStore, tmp_path: Path) -> None:
    directory = write_small_directory(tmp_path / "My model (1)")
    model = store.resolve(str(directory))
    assert (model.name, model.directory, model.kind) == ("My-model-1-", directory, Kind.DIRECTORY)
    assert model.fingerprint == fingerprint(directory)


def test_a_pulled_directory_has_a_name_is_listed_and_survives_its_removal(store: ModelStore, tmp_path: Path) -> None:
    directory = write_small_directory(tmp_path / "mine")
    pulled = pull(store, str(directory), SILENT)
    assert store.resolve("mine") == pulled
    assert store.models() == (pulled,)
    store.remove("mine")
    assert store.models() == ()
    assert store.resolve(str(directory)).directory == directory


def test_a_directory_can_be_removed_by_its_path_and_pulled_by_its_name_again(store: ModelStore, tmp_path: Path) -> None:
    directory = write_small_directory(tmp_path / "mine")
    pulled = pull(store, str(directory), SILENT)
    assert pull(store, "mine", SILENT) == pulled
    assert store.remove(str(directory)).name == "mine"


def test_a_name_is_not_taken_from_another_directory(store: ModelStore, tmp_path: Path) -> None:
    pull(store, str(write_small_directory(tmp_path / "a" / "mine")), SILENT)
    with pytest.raises(AlreadyExists) as caught:
        pull(store, str(write_small_directory(tmp_path / "b" / "mine")), SILENT)
    assert caught.value.hint == "llmosctl model remove mine"


def test_a_pulled_directory_that_went_away_is_not_listed(store: ModelStore, tmp_path: Path) -> None:
    directory = write_small_directory(tmp_path / "mine")
    pull(store, str(directory), SILENT)
    directory.rename(tmp_path / "elsewhere")
    assert store.models() == ()
    with pytest.raises(NotFound, match="mine"):
        store.resolve("mine")


def test_one_damaged_directory_does_not_hide_the_others(store: ModelStore, tmp_path: Path) -> None:
    pulled = pull(store, str(write_small_directory(tmp_path / "good")), SILENT)
    pull(store, str(write_small_directory(tmp_path / "bad")), SILENT)
    (tmp_path / "bad" / "config.json").write_text("{")
    assert store.models() == (pulled,)


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first = fingerprint(write_small_directory(tmp_path / "a"))
    assert first == fingerprint(write_small_directory(tmp_path / "b"))
    assert first != fingerprint(write_small_directory(tmp_path / "c", seed=1))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_directory_that_lacks_a_file_is_refused_by_the_files_name(
    store: ModelStore, tmp_path: Path, name: str
) -> None:
    directory = write_small_directory(tmp_path / "mine")
    (directory / name).unlink()
    with pytest.raises(InvalidArgument, match=name) as caught:
        store.resolve(str(directory))
    assert "save_pretrained" in caught.value.hint


@pytest.mark.parametrize("keep", [0, 4, 8, 20, -1])
def test_cut_off_weights_are_noticed(store: ModelStore, tmp_path: Path, keep: int) -> None:
    directory = write_small_directory(tmp_path / "mine")
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(InvalidArgument, match=r"model\.safetensors"):
        store.resolve(str(directory))


def test_garbage_for_weights_is_noticed(store: ModelStore, tmp_path: Path) -> None:
    directory = write_small_directory(tmp_path / "mine")
    (directory / "model.safetensors").write_bytes((8).to_bytes(8, "little") + b"garbage!" * 9)
    with pytest.raises(InvalidArgument, match="header is broken"):
        store.resolve(str(directory))


@pytest.mark.parametrize("shard", ["missing.safetensors", "../../outside.safetensors"])
def test_an_index_must_name_files_that_are_there(store: ModelStore, tmp_path: Path, shard: str) -> None:
    directory = write_small_directory(tmp_path / "mine")
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"w": "{shard}"}}}}')
    with pytest.raises(InvalidArgument):
        store.resolve(str(directory))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model", b"GGUF" + b"\xff" * 60])
def test_a_file_that_is_no_model_is_refused_before_anything_is_done(
    store: ModelStore, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(InvalidArgument, match="bad"):
        pull(store, str(tmp_path / "bad.gguf"), SILENT)
    assert not (store.root / "work").exists()


def test_a_model_that_another_process_works_on_is_busy(store: ModelStore, tmp_path: Path) -> None:
    model = pull(store, str(write_small_directory(tmp_path / "mine")), SILENT)
    with try_lock(store.root, model.sha256), pytest.raises(Busy):
        store.remove("mine")
    store.remove("mine")


def test_a_damaged_record_is_named(store: ModelStore, tmp_path: Path) -> None:
    pull(store, str(write_small_directory(tmp_path / "mine")), SILENT)
    (store.root / "entries" / "mine.json").write_text("{")
    with pytest.raises(DeviceError, match=r"mine\.json"):
        store.resolve("mine")


def test_a_record_cannot_lead_removal_out_of_the_store(store: ModelStore, tmp_path: Path) -> None:
    outside = write_small_directory(tmp_path / "outside")
    store.entries.put(Entry("evil", Kind.GGUF, "x", "0" * 64, "../outside"))
    with pytest.raises(Error):
        store.resolve("evil")
    store.remove("evil")
    assert (outside / "config.json").is_file()


@pytest.mark.parametrize("path", ["a.gguf", "..gguf", "My Model!", "---", "\u00e9.GGUF", "x" * 200, ":", "CON"])
def test_every_path_gives_a_name_that_is_one(path: str) -> None:
    assert NAME.fullmatch(name_for(Path("/models") / path))


def test_homes_share_a_store_unless_told_otherwise(tmp_path: Path) -> None:
    data = {"XDG_DATA_HOME": str(tmp_path / "data")}
    shared = tmp_path / "data" / "llmos" / "models"
    home = tmp_path / "home"
    assert models_directory(None, data) == models_directory(home, data) == shared
    (home / "models").mkdir(parents=True)
    assert models_directory(home, data) == home / "models"
    assert models_directory(home, {"LLMOS_MODELS": str(tmp_path / "named")}) == tmp_path / "named"


def test_finding_a_model_imports_no_torch(tmp_path: Path) -> None:
    directory = write_small_directory(tmp_path / "mine")
    program = (
        "import sys; from pathlib import Path; from llmos.drivers.models.store import ModelStore;"
        "import llmos.drivers.models.pull, llmos.drivers.text.codec;"
        f"ModelStore(Path({str(tmp_path)!r})).resolve({str(directory)!r});"
        "sys.exit(int('torch' in sys.modules or 'transformers' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], env=os.environ, check=False).returncode == 0
