"""A Python in which the modules that ABSENT names, separated by commas, are not installed: set ABSENT and put this
folder on PYTHONPATH. Worker processes are the same, since both are handed down."""

import os
import sys
from importlib.machinery import PathFinder

NAMES = frozenset(os.environ.get("ABSENT", "").split(","))


class Without(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in NAMES else PathFinder.find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Without
