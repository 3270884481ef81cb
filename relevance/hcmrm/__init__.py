"""HCMRM, the multimodal relevance model.

Importing this package imports torch; nothing else of the project does. It also makes the model known to
transformers' AutoConfig and AutoModel.
"""

import os

from relevance.extras import require

# MKL computes torch's products on a processor, and reads this once, at the first of them. Without it, a
# product of a few rows (on some processors up to 15) is computed otherwise than one of many, and the last
# bits of a score would depend on its batch. It costs a few percent of the speed.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

require("torch", "transformers", "safetensors", extra="hcmrm", needed_by="HCMRM")

from transformers import AutoConfig, AutoModel

from relevance.hcmrm.checkpoint import SHIPPED, Checkpoint
from relevance.hcmrm.model import HCMRM
from relevance.hcmrm.model_config import HCMRMConfig
from relevance.hcmrm.scorer import HcmrmScorer

__all__ = ["HCMRM", "SHIPPED", "Checkpoint", "HCMRMConfig", "HcmrmScorer"]

AutoConfig.register(HCMRMConfig.model_type, HCMRMConfig)
AutoModel.register(HCMRMConfig, HCMRM)
