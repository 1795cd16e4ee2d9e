"""Storage of all kinds under one kind of path: disks, object stores, memory; copies on this machine; leases for locks.

What holds where: docs/remote-storage.md.
"""

from tc3net.common.storage.copies import local_copy, written_remotely
from tc3net.common.storage.paths import RemotePath, is_remote, matching, path_of, remove_tree, walk

__all__ = ["RemotePath", "is_remote", "local_copy", "matching", "path_of", "remove_tree", "walk", "written_remotely"]
