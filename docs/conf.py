"""The site of the documentation: ``python3 dev.py docs`` builds it, and fails for any warning."""

from __future__ import annotations

import ibal

project, author = "ibal", "the authors of ibal"
release = version = ibal.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"ibal {release}"
html_show_copyright = html_show_sphinx = False
highlight_language = "none"  # most blocks are commands, which are no Python
_archive = "results/archive-2026-11"
exclude_patterns = [f"{_archive}/ibal/policies", f"{_archive}/matrix/table-*.md"]  # tables of matrix.md
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # every docstring says what is taken; the signature shows the types
autodoc_preserve_defaults = True
napoleon_use_param = False
