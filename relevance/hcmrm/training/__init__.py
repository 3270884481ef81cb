"""The training of HCMRM: its stages, losses, pseudo-queries and state files."""
