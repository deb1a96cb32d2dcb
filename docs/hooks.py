"""What the site shows of files outside docs/; mkdocs.yml names this file under `hooks`."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add CONTRIBUTING.md and CHANGELOG.md, whose links to docs/ become links inside the site, results and examples."""
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        text = re.sub(r"\]\(docs/", "](", (ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, name.lower(), content=text))
    for path in (*ROOT.glob("results/**/*.svg"), *ROOT.glob("results/*.json"), *ROOT.glob("examples/*.py")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to results and examples, which are right in the repository, lead to their copies in the site."""
    return re.sub(r"\.\./(results|examples)/", r"\1/", markdown)
