"""The site that ``make docs`` builds: whole, reachable, with nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import unquote, urldefrag

import pytest

import styleclip
from styleclip import checkpoints

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OUTSIDE = re.compile(r"(?:[a-z]+:)?//|[a-z]+:")  # an address with a host or a scheme
IN_CSS = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """What a page of HTML loads, where it links to, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a":
            self.links += [values["href"]] if "href" in values else []
            return
        self.links += [values["action"]] if tag == "form" else []
        self.loads += [values[n] for n in ("src", "data", "poster") if values.get(n)]
        self.loads += [values["href"]] if tag == "link" else []
        self.loads += [each.split()[0] for each in values.get("srcset", "").split(",") if each]
        self.loads += in_css(values.get("style", ""))


def in_css(text: str) -> list[str]:
    return [url or sheet for url, sheet in IN_CSS.findall(text)]


def module(name: str) -> ModuleType:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


# What needs no building


def test_the_page_of_the_command_line_is_fresh() -> None:
    assert module("commands").main(["--check"]) == 0, "run python docs/commands.py"


def test_a_stale_page_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = module("commands")
    monkeypatch.setattr(commands, "PAGE", tmp_path / "commands.md")
    assert commands.main(["--check"]) == 1
    assert commands.main([]) == 0 and commands.main(["--check"]) == 0
    (tmp_path / "commands.md").write_text(commands.page() + "| `--old` | |\n")
    assert (
        commands.main(["--check"]) == 1 and "run python docs/commands.py" in capsys.readouterr()[1]
    )


def test_every_public_name_is_in_the_api() -> None:
    found, here = set(), ""
    for line in (DOCS / "api.md").read_text("utf-8").splitlines():
        if directive := re.match(r"\.\. (currentmodule|auto\w+):: (\S+)", line):
            if directive[1] == "currentmodule":
                here = directive[2]
            else:
                name = directive[2]
                found.add(name if name.startswith("styleclip.") else f"{here}.{name}")
    public = {f"styleclip.{name}" for name in styleclip.__all__ if name != "__version__"}
    rest = set(checkpoints.__all__) - set(styleclip.__all__)
    assert public | {f"styleclip.checkpoints.{name}" for name in rest} <= found
    for name in sorted(found):
        parent, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(parent), last), name


def test_a_page_that_no_list_names_is_in_the_site() -> None:
    conf = module("conf")
    source = ["```{toctree}\nmethods\n(every other page)\n```\n"]
    env = SimpleNamespace(found_docs={"index", "methods", "page", "many"})
    conf._list_the_rest(SimpleNamespace(env=env), "index", source)
    assert source == ["```{toctree}\nmethods\nmany\npage\n```\n"]


def test_no_equation_is_left_unread() -> None:
    mathml = module("mathml")
    assert "<msub>" in mathml._mathml("w_s", block=False)
    with pytest.raises(Exception, match="cannot be read"):
        mathml._mathml(r"\nonsense{w}", block=False)


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make docs`` does it."""
    pytest.importorskip("furo")
    folder = tmp_path_factory.mktemp("site")
    recipe = (ROOT / "Makefile").read_text("utf-8")
    found = re.search(r"-m sphinx (.+) docs out/docs\n", recipe)
    assert found and "-W" in found[1].split() and "-n" in found[1].split()
    options = found[1].replace("out/doctrees", str(folder / "doctrees")).split()
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {str(path.relative_to(site)): Page(path) for path in sorted(site.rglob("*.html"))}


@pytest.mark.slow
def test_every_page_is_there_and_reachable(pages: dict[str, Page]) -> None:
    assert {f"{path.stem}.html" for path in DOCS.glob("*.md")} <= set(pages)
    seen, waiting = set[str](), ["index.html"]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in pages:
            seen.add(name)
            waiting += [urldefrag(link)[0] for link in pages[name].links]
    assert set(pages) - seen == set()


@pytest.mark.slow
def test_no_link_is_broken(site: Path, pages: dict[str, Page]) -> None:
    broken = []
    for name, page in pages.items():
        for link in page.links:
            if OUTSIDE.match(link):
                continue
            path, anchor = urldefrag(link)
            target = os.path.normpath(Path(name).parent / unquote(path)) if path else name
            if not (site / target).is_file() or (
                anchor and target in pages and unquote(anchor) not in pages[target].anchors
            ):
                broken.append((name, link))
    assert broken == []


@pytest.mark.slow
def test_nothing_comes_from_elsewhere_and_nothing_is_missing(
    site: Path, pages: dict[str, Page]
) -> None:
    loaded = [(site / name, each) for name, page in pages.items() for each in page.loads]
    for sheet in site.rglob("*.css"):
        loaded += [(sheet, each) for each in in_css(sheet.read_text("utf-8"))]
    assert len(loaded) > 100
    for origin, address in loaded:
        if address.startswith(("data:", "#")):
            continue
        assert not OUTSIDE.match(address), (origin.name, address)
        file = origin.parent / unquote(re.split(r"[?#]", address)[0])
        assert file.exists(), (origin.name, address)
    assert {path.name for path in (DOCS / "images").iterdir()} <= {
        Path(address).name for _, address in loaded
    }


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium")
    if found is None and not os.environ.get("CI"):
        pytest.skip("chromium is not installed")
    assert found, "CI looks at the site in chromium: install it"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_every_page(
    site: Path, pages: dict[str, Page], browser: str, width: int
) -> None:
    """Nothing is asked of a network, nothing sticks out, and equations are drawn."""
    playwright = pytest.importorskip("playwright.sync_api")
    asked, complaints = list[str](), list[str]()
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": width, "height": 900})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        for name in pages:
            tab.goto((site / name).as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
        tab.goto((site / "methods.html").as_uri())
        heights = tab.eval_on_selector_all(
            "div.math math", "all => all.map(each => each.getBoundingClientRect().height)"
        )
        chromium.close()
    assert len(heights) >= 8 and min(heights) > 10
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert complaints == []
