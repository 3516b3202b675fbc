"""How Sphinx makes pages of these documents: `scripts/docs` runs it."""

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

import reminder

project = 'event-reminder'
author = 'the authors of event-reminder'
version = release = reminder.__version__

exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'event-reminder {version}'
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
nitpicky = True
linkcheck_ignore = ['https?://']  # only what points into these documents, as that needs no internet


def link_pages(app: Sphinx, document: nodes.document) -> None:
    """Makes links to `page.rst`, which work where somebody reads the files themselves, links to pages here."""
    for reference in list(document.findall(nodes.reference)):
        target, _, section = reference.get('refuri', '').partition('#')
        if not target.endswith('.rst') or '://' in target:
            continue
        page = target.removesuffix('.rst')
        if section:  # of which the check of links knows nothing
            reference['refuri'] = f'{page}.html#{section}' if app.builder.format == 'html' else target
        else:
            link = pending_xref(
                '', refdomain='std', reftype='doc', refexplicit=True, reftarget=page, refdoc=app.env.docname
            )
            link += nodes.inline('', reference.astext())
            reference.replace_self(link)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect('doctree-read', link_pages)
