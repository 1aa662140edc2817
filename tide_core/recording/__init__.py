"""From a run to a teacher cache, and from a cache to a teacher of a run. Importing this imports no torch.

``needs``: what a run reads of its teacher, and what a cache cannot give it. ``identity``: which cache serves a run.
``building``: ``tide cache build``. ``reading``: the ``RecordedTeacher`` that a run learns from.
"""
