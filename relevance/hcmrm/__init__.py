"""HCMRM, the multimodal relevance model.

Importing this package imports torch; nothing else of the project does.
"""

from .checkpoint import SHIPPED, Checkpoint
from .config import HCMRMConfig
from .model import HCMRM
from .scorer import HcmrmScorer

__all__ = ["HCMRM", "SHIPPED", "Checkpoint", "HCMRMConfig", "HcmrmScorer"]
