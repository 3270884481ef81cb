"""Scenarios as validated data, and the runs, comparisons and sweeps made of them.

The public names are listed in `__init__.pyi`. Each is imported on first use, so that `import scenarios` costs
nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
