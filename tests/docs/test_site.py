"""The site: it builds without a warning, asks nobody for anything, its links lead somewhere, its pages read well."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from sot_filter.cli.commands import cli
from sot_filter.config import Pipeline
from tests.docs.blocks import ROOT

pytest.importorskip("mkdocs")

#: Attributes that a browser fetches without being asked, where the element is not a plain link.
FETCHED = ("src", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href")
#: What the theme's script would fetch if a page had a diagram of Mermaid's or the browser were some ten years old.
ONLY_IF_ASKED = {
    "https://unpkg.com/mermaid@11/dist/mermaid.min.js",
    "https://unpkg.com/resize-observer-polyfill",
}


class Page(HTMLParser):
    """What a page links to, what it makes a browser fetch, the names in it, and its paragraphs.

    Args:
        text: the page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.names: set[str] = set()
        self.classes: set[str] = set()
        self.components: set[str] = set()
        self.paragraphs: list[str] = []
        self.scripts = self.styles = ""
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside.append(tag)
        if tag in ("p", "li"):
            self.paragraphs.append("")
        self.names |= {given[name] for name in ("id", "name") if name in given}
        self.classes |= set(given.get("class", "").split())
        self.components |= {given.get("data-md-component", "")}
        if "href" in given:
            (self.links if tag == "a" else self.fetched).append(given["href"])
        self.fetched += [given[name] for name in FETCHED if name in given]
        self.styles += given.get("style", "")

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["script"]:
            self.scripts += data
        elif self._inside[-1:] == ["style"]:
            self.styles += data
        elif self.paragraphs and "article" in self._inside and not {"code", "pre", "table"} & set(self._inside):
            self.paragraphs[-1] += data


def is_external(address: str) -> bool:
    """Whether a browser would ask another machine for it."""
    return bool(re.match(r"\s*(\w[\w+.-]*:)?//", address)) or urlsplit(address).scheme not in ("", "data")


def external_in(page: Page) -> list[str]:
    """All that a page would fetch from elsewhere."""
    found = [address for address in page.fetched if is_external(address)]
    return found + external_in_styles(page.styles) + re.findall(r"(?:https?:)?//[\w.-]+\.\w+", page.scripts)


def external_in_styles(text: str) -> list[str]:
    """Addresses elsewhere in ``url()`` and ``@import``."""
    given = re.findall(r"url\(\s*[\"']?([^\"')]+)", text) + re.findall(r"@import\s*[\"']([^\"']+)", text)
    return [address for address in given if is_external(address)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: strictly, so that a warning is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        config.plugins.on_shutdown()
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Its pages; 404.html has absolute links, for it is shown at any address."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}


def test_no_page_fetches_anything_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) >= 20
    for path, page in pages.items():
        assert not external_in(page), path.name
        # Nothing asks the theme's script for what it would fetch.
        assert "mermaid" not in page.classes
        assert not {"source", "consent"} & page.components
    for path in site.rglob("*.css"):
        assert not external_in_styles(path.read_text(encoding="utf-8")), path.name
    for path in site.rglob("*.svg"):
        assert not re.findall(r"(?:href|src)=\"(?!#|data:)[^\"]*", path.read_text(encoding="utf-8")), path.name
    scripts = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.js"))
    assert set(re.findall(r"https?://[\w./@-]*(?:unpkg|jsdelivr|cdnjs|googleapis)[\w./@-]*", scripts)) == ONLY_IF_ASKED


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/x.css">',
        '<img src="http://example.org/x.png">',
        '<p style="background: url(https://example.org/x.png)">',
        "<style>@import 'https://example.org/x.css'</style>",
        "<script>fetch('https://example.org/x')</script>",
    ],
)
def test_what_is_fetched_from_elsewhere_is_seen(text: str) -> None:
    assert external_in(Page(text))
    assert not external_in(Page('<a href="https://example.org">x</a><img src="x.png"><img src="data:image/png,">'))


def test_all_links_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for address in (*page.links, *page.fetched):
            if is_external(address) or address.startswith("mailto:"):
                continue
            where = urlsplit(address)
            target = (path.parent / unquote(where.path)).resolve() if where.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.name}: {address}"
            if where.fragment and target in pages:
                assert unquote(where.fragment) in pages[target].names, f"{path.name}: {address}"


def unread(page: Page) -> list[str]:
    """Paragraphs with signs of a list, a table, a heading or code, which a site reads more strictly than others do."""
    return [text for text in page.paragraphs if re.search(r"(^|\n)\s*([-*] |\d+\. |\||#+ |```)", text)]


def test_lists_tables_and_code_have_become_such(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert not unread(page), path.name
    assert unread(Page("<article><p>one\n- two</p></article>"))
    assert unread(Page("<article><ul><li>one\n  | two |</li></ul></article>"))


def test_the_first_page_of_the_repository_links_to_files_that_are_there() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    local = [link.partition("#")[0] for link in links if not is_external(link)]
    assert local
    assert not [link for link in local if not (ROOT / link).exists()]


def test_every_command_and_setting_has_its_place(site: Path) -> None:
    commands = (site / "commands.html").read_text(encoding="utf-8")
    for name, command in cli.commands.items():
        for inner in command.commands.values() if isinstance(command, click.Group) else [command]:
            assert f"sot-filter {name}" in commands
            for option in inner.params:
                assert all(one in commands for one in option.opts if one.startswith("--")), (name, option.name)
    settings = (site / "settings.html").read_text(encoding="utf-8")
    for name, field in Pipeline.model_fields.items():
        assert f"<code>{name}</code>" in settings, name
        for inner in getattr(field.annotation, "model_fields", {}):
            assert f"<code>{name}.{inner}</code>" in settings, inner


def test_a_reader_of_the_site_finds_every_picture(site: Path) -> None:
    drawn = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    names = ("miniature-h30", "push-pull", "retention-curve", "score-histogram", "stages")
    assert drawn == {f"{name}.svg" for name in names}
    assert drawn == {path.name for path in (site / "pictures").iterdir()}
    assert all((ROOT / "docs" / "pictures" / name).stat().st_size < 100_000 for name in drawn)
