"""Sphinx settings of the documentation.

Build it with ``sphinx-build -W --keep-going -n docs docs/_build/html``; the examples of
all pages run with ``sphinx-build -b doctest docs docs/_build/doctest``.
"""

import doctest
import re
import sys
from pathlib import Path

from docutils import nodes
from numpydoc.docscrape_sphinx import SphinxDocString
from sklearn.base import BaseEstimator
from sphinx_gallery.sorting import ExplicitOrder

import sklearn_ckn

# The extension of this folder.
sys.path.insert(0, str(Path(__file__).parent))

project = "sklearn-ckn"
author = "The sklearn-ckn developers"
copyright = f"2026, {author}"
version = release = sklearn_ckn.__version__

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples", "auto_examples/*.ipynb", "**.md5"]
templates_path = ["_templates"]
default_role = "literal"
# Strings in types and tables are code: their quotes stay straight.
smartquotes = False
myst_heading_anchors = 3
html_math_renderer = "mathml"
# Prompts are not copied, nor what the code prints after them.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

numpydoc_show_class_members = False
autosummary_generate = True
# The docstrings say what the annotations say, and more.
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
autodoc_member_order = "groupwise"

doctest_default_flags = (
    doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL | doctest.DONT_ACCEPT_TRUE_FOR_1
)
doctest_global_setup = """
import matplotlib
matplotlib.use("agg")
"""

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn-ckn {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "sklearn-ckn"},
    "icon_links": [
        {
            "name": "Paper: Mairal, NIPS 2016",
            "url": "https://arxiv.org/abs/1605.06265",
            "icon": "fa-solid fa-book",
        }
    ],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"]},
}
# Pages that stand alone have no section to navigate.
ALONE = (
    "benchmarks",
    "changelog",
    "glossary",
    "index",
    "install",
    "quickstart",
    "contributing",
    "cpu_engine",
    "gpu",
)
html_sidebars = {page: [] for page in ALONE}

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": ExplicitOrder(
        [
            "plot_digits.py",
            "plot_files.py",
            "plot_grid.py",
            "plot_few_labels.py",
            "plot_anchors.py",
            "plot_feature_maps.py",
            "plot_explaining.py",
            "plot_exact_kernel.py",
            "plot_whitening.py",
            "plot_signals.py",
            "plot_for_signals.py",
            "plot_serving.py",
            "*",
        ]
    ),
    "doc_module": ("sklearn_ckn",),
    "backreferences_dir": "generated/backreferences",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    # The pages of times would load scripts from other sites.
    "write_computation_times": False,
    "min_reported_time": 1e6,
    "plot_gallery": "True",
}

SCIKIT_LEARN = "https://scikit-learn.org/stable/"
# Labels that the docstrings of inherited methods refer to.
SCIKIT_LEARN_LABELS = {
    "accuracy_score": "modules/model_evaluation.html#accuracy-score",
    "df_output_transform": "auto_examples/miscellaneous/plot_set_output.html",
    "metadata_routing": "metadata_routing.html",
    "r2_score": "modules/model_evaluation.html#regression-metrics",
}


process_parameter = SphinxDocString._process_param


def describe_attribute(self, name, description, fake_autosummary):
    """Describe an attribute by its class's docstring, even where it is a property.

    numpydoc would take the shorter docstring of the property.
    """
    return process_parameter(self, name, description, False)


SphinxDocString._process_param = describe_attribute


def link_scikit_learn(app, env, node, content):
    """Link names and labels of scikit-learn to its site, without fetching its index."""
    target = node.get("reftarget", "")
    gallery = re.fullmatch(r"sphx_glr_(auto_examples_\w+?)_(plot_\w+)\.py", target)
    if target.startswith("sklearn."):
        page = f"modules/generated/{target}.html"
    elif target in SCIKIT_LEARN_LABELS:
        page = SCIKIT_LEARN_LABELS[target]
    elif gallery:
        folder = gallery[1].replace("auto_examples_", "auto_examples/")
        page = f"{folder}/{gallery[2]}.html"
    else:
        return None
    return nodes.reference("", "", content, internal=False, refuri=SCIKIT_LEARN + page)


def find_source_module(app, module, name):
    """Keep methods that scikit-learn defines without pages of its source.

    The extension viewcode would write a page for each module that they come from.
    """
    source = getattr(sklearn_ckn, name.partition(".")[0], None)
    for part in name.split(".")[1:]:
        source = getattr(source, part, None)
    ours = getattr(source, "__module__", "").startswith("sklearn_ckn.")
    return None if ours else module


def link_diagrams_to_reference():
    """Link the diagrams of estimators in the gallery to the pages of their classes."""
    for name in sklearn_ckn.__all__:
        item = getattr(sklearn_ckn, name)
        if isinstance(item, type) and issubclass(item, BaseEstimator):
            item._doc_link_module = "sklearn_ckn"
            item._doc_link_template = f"../generated/sklearn_ckn.{name}.html"


def check_reference_is_complete(app):
    """Raise unless the API page lists every public name."""
    page = (Path(app.srcdir) / "api.rst").read_text()
    missing = [name for name in sklearn_ckn.__all__ if name not in page.split()]
    if missing:
        raise ValueError(f"docs/api.rst lacks {', '.join(missing)}.")


def setup(app):
    """Connect what this file defines."""
    link_diagrams_to_reference()
    app.connect("missing-reference", link_scikit_learn)
    app.connect("viewcode-follow-imported", find_source_module)
    app.connect("builder-inited", check_reference_is_complete)
