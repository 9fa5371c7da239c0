"""Sphinx's settings for the site that ``./run docs`` builds; its pages are laid out by prompt_keda/lab/docs_site.py."""

project = "prompt-keda"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3
html_theme = "furo"
html_title = "prompt-keda"
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["site.css"]
html_css_files = ["site.css"]
