"""CLIPs by name: told apart from paths, found in the cache, fetched from a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from styleclip.checkpoints import load_clip, load_image_encoder
from styleclip.checkpoints.hub import find_model, hub_name, weights_of
from styleclip.errors import CheckpointError
from tests.checkpoints.test_clip_openai import write_tokenizer
from tests.checkpoints.test_clip_openclip import check_equal, new_clip, settings, write

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny-clip"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a hub has of a CLIP, with things that nobody here asked for."""
    folder = tmp_path_factory.mktemp("repository")
    write_tokenizer(folder, 100)
    new_clip().model.save_pretrained(folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit('run')")
    (folder / "pytorch_model.bin").write_bytes(b"not wanted")
    (folder / "README.md").write_text("a card")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's, which reads its place when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def keep(cache: Path, repository: Path, name: str = NAME) -> Path:
    """``repository`` as the hub's cache has it."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copytree(repository, place / "snapshots" / COMMIT)
    return place / "snapshots" / COMMIT


def test_names_are_told_apart_from_paths(place: Path) -> None:
    for text in ("openai/clip-vit-base-patch32", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"):
        assert hub_name(text) == text == hub_name(f"hf:{text}") == hub_name(Path(text))
    assert hub_name("a/b@v1.0") == "a/b@v1.0"
    for path in ("clip", "./clip/b", "../a/b", "/a/b", "~/clip", "a/b/c", "a/b.pt", r"a\b", "",
                 "a/", "a/B.SAFETENSORS", "weights/b.bin"):  # fmt: skip
        assert hub_name(path) is None, path
    Path("openai").mkdir()  # a folder here: what is not in it is a mistyped path
    assert hub_name("openai/clip-vit-base-patch32") is None
    with pytest.raises(CheckpointError, match=r"no file or folder openai/clip.*check the path"):
        load_clip("openai/clip-vit-base-patch32")
    assert hub_name("hf:openai/clip-vit-base-patch32") == "openai/clip-vit-base-patch32"
    Path("openai/there").write_text("")
    assert hub_name("openai/there") is None
    for text in ("hf:", "hf:clip", "hf:a/b/c", "hf:../x"):
        with pytest.raises(CheckpointError, match="write hf:OWNER/NAME"):
            hub_name(text)


@pytest.mark.usefixtures("offline")
def test_a_kept_clip_needs_no_network(cache: Path, repository: Path, place: Path) -> None:
    folder = keep(cache, repository)
    found = load_clip(NAME)
    check_equal(found, new_clip())
    assert found.embed_texts(["ab"]).shape == (1, 24)
    check_equal(load_clip(f"hf:{NAME}@{COMMIT}"), new_clip())
    # one that is there in part only is not taken for it
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match="cannot be fetched"):
        load_clip(NAME)


@pytest.mark.usefixtures("offline")
def test_a_kept_clip_of_open_clip(cache: Path, tmp_path: Path, place: Path) -> None:
    from styleclip.checkpoints import clip_openclip, keymap

    original = new_clip()
    table = clip_openclip.rules(original.model.config, clip_openclip.TEXT)
    folder = tmp_path / "there"
    folder.mkdir()
    write(folder, keymap.invert(table, original.model.state_dict()), settings())
    keep(cache, folder, "laion/x")
    check_equal(load_clip("laion/x"), original)


@pytest.mark.usefixtures("offline", "cache")
def test_offline_says_so_in_one_sentence(place: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        load_clip("openai/clip-vit-base-patch32")
    message = str(error.value)
    assert "no file or folder openai/clip-vit-base-patch32" in message
    assert "(HF_HUB_OFFLINE forbids it)" in message and "fetch it once with a network" in message
    assert "\n" not in message


def test_an_image_encoder_by_name(
    cache: Path, offline: None, tmp_path: Path, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import Dinov2Config, Dinov2Model

    name = "facebook/dinov2-small"
    with pytest.raises(CheckpointError, match=r"no DINOv2 of that name .* fetch it once") as error:
        load_image_encoder(name)
    assert "\n" not in str(error.value) and capfd.readouterr() == ("", "")
    small = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    Dinov2Model(small).save_pretrained(tmp_path / "dino")
    keep(cache, tmp_path / "dino", name)
    assert load_image_encoder(name).size == load_image_encoder(f"hf:{name}").size == 28


@pytest.mark.usefixtures("cache")
def test_a_hub_that_is_not_there_is_not_waited_for(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it tries again and again"))
    for load in (load_clip, load_image_encoder):
        with pytest.raises(CheckpointError, match=r"cannot be fetched \(.*refused"):
            load("someone/model")
    assert capfd.readouterr().err == ""


def test_one_set_of_weights_is_fetched() -> None:
    safe, old = "model.safetensors", "pytorch_model.bin"
    assert weights_of(["config.json", safe, old]) == [safe]
    assert weights_of(["config.json", old, "tf_model.h5"]) == [old]
    theirs = "open_clip_model.safetensors"
    assert weights_of([theirs, "open_clip_pytorch_model.bin"]) == [theirs]
    assert weights_of(["config.json", safe, theirs]) == [safe]
    pieces = ["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"]
    assert weights_of(pieces) == [pieces[1], "model-*-of-*.safetensors"]
    with pytest.raises(CheckpointError, match="the model a/b of the hub has no weights of a CLIP"):
        weights_of(["config.json", "tf_model.h5"], "a/b")


def test_code_in_a_folder_is_never_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unasked, transformers would ask on the terminal whether it may run it."""
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    folder = tmp_path / "clip"
    shutil.copytree(repository, folder)
    evil = "modeling_evil.Evil"
    changes: dict[str, dict[str, Any]] = {
        "config.json": {"auto_map": {"AutoModel": evil, "AutoConfig": evil}},
        "tokenizer_config.json": {
            "auto_map": {"AutoTokenizer": [evil, evil]}, "tokenizer_class": "Evil"
        },
    }  # fmt: skip
    for name, change in changes.items():
        stated = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(stated | change))
    check_equal(load_clip(folder), new_clip())  # its own classes do
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stated | {"model_type": "evil"}))
    with pytest.raises(CheckpointError, match=r"not the folder of a CLIP .* of a evil"):
        load_clip(folder)
    assert not asked


def test_the_end_token_that_openai_s_published_configs_name(
    repository: Path, tmp_path: Path
) -> None:
    """They say 2, which is a word; the end is the last token, as everywhere."""
    folder = tmp_path / "clip"
    shutil.copytree(repository, folder)
    texts = ["c", "abc", "cc cc"]
    wanted = load_clip(folder).embed_texts(texts)
    stated = json.loads((folder / "config.json").read_text())
    stated["text_config"] |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps(stated))
    found = load_clip(folder)
    assert found.model.config.text_config.eos_token_id == 2
    torch.testing.assert_close(found.embed_texts(texts), wanted, rtol=0.0, atol=1e-6)  # float32


# --- a hub on this machine ----------------------------------------------------


class Hub(ThreadingHTTPServer):
    """As much of the hub as one model needs; ``asked`` are the files that were fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder, self.asked = folder, list[str]()


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        files = sorted(self.server.folder.iterdir())
        name = path.rsplit("/", 1)[-1]
        if path.startswith((f"/api/models/{NAME}/tree/", f"/api/models/{NAME}/paths-info")):
            self.answer([{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": oid(f)}
                         for f in files])  # fmt: skip
        elif path.startswith("/api/models/someone/closed"):
            self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": file.name} for file in files]
            self.answer({"id": NAME, "sha": COMMIT, "siblings": siblings})
        elif path.startswith(f"/{NAME}/resolve/") and (self.server.folder / name).exists():
            content = (self.server.folder / name).read_bytes()
            if self.command == "GET":
                self.server.asked.append(name)
            self.send(200, content, {"ETag": f'"{oid(self.server.folder / name)}"'})
        else:
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def answer(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {"X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


def oid(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def hub(repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    server = Hub(repository)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        address + "/{repo_id}/resolve/{revision}/{filename}")  # fmt: skip
    disable_progress_bars()
    yield server
    enable_progress_bars()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_clip_is_fetched_once(hub: Hub, cache: Path, place: Path) -> None:
    check_equal(load_clip(NAME), new_clip())
    assert "model.safetensors" in hub.asked and "tokenizer.json" in hub.asked
    assert not {"modeling_evil.py", "pytorch_model.bin", "README.md"} & set(hub.asked)
    before = len(hub.asked)
    check_equal(load_clip(NAME), new_clip())
    assert len(hub.asked) == before
    assert torch.isfinite(load_clip(f"hf:{NAME}").embed_texts(["ab"])).all()


def test_a_name_that_nobody_has_is_a_spelling_mistake(hub: Hub, place: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model of that name.*check the spelling"):
        find_model("someone/tiny-clap")


def test_terms_have_to_be_accepted_first(hub: Hub, place: Path) -> None:
    with pytest.raises(CheckpointError, match=r"accepted its terms.*hf auth login"):
        find_model("someone/closed")
