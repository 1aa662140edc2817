"""A frozen teacher's answers on disk: computed once, read by any number of runs. Importing this imports no torch.

A cache is a directory: ``cache.json`` (what it was built from), ``tokenizer/`` (the teacher's tokenizer), shards
``shard-<writer>-<n>.bin`` with an index ``.idx`` each, and, once it is finished, ``index.npy`` and ``sealed.json``.

``create`` makes the directory, any number of ``CacheWriter`` fill it at the same time, ``seal`` finishes it,
``TeacherCache`` reads it. Whoever is killed at whatever moment is started again with the same arguments and goes on.
"""

from .directory import create
from .identity import CacheIdentity
from .reader import TeacherCache
from .records import Record, mask_digest
from .sealing import seal
from .writer import CacheWriter

__all__ = ["CacheIdentity", "CacheWriter", "Record", "TeacherCache", "create", "mask_digest", "seal"]
