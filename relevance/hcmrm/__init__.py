"""HCMRM, the multimodal relevance model.

Importing this package imports torch; nothing else of the project does. It also makes the model known to
transformers' AutoConfig and AutoModel.
"""

from relevance.extras import require

require("torch", "transformers", "safetensors", extra="hcmrm", needed_by="HCMRM")

from transformers import AutoConfig, AutoModel

from relevance.hcmrm.checkpoint import SHIPPED, Checkpoint
from relevance.hcmrm.model import HCMRM
from relevance.hcmrm.model_config import HCMRMConfig
from relevance.hcmrm.scorer import HcmrmScorer

__all__ = ["HCMRM", "SHIPPED", "Checkpoint", "HCMRMConfig", "HcmrmScorer"]

AutoConfig.register(HCMRMConfig.model_type, HCMRMConfig)
AutoModel.register(HCMRMConfig, HCMRM)
