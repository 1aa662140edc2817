"""How well two tokenizers align on a text, in figures and to look at. Importing this imports neither torch nor numpy.

``texts`` and ``sides`` find what to compare, ``tables`` encodes and aligns it, ``figures`` counts, ``excerpts`` and ``page``
show it.
"""
