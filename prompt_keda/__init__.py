"""prompt-keda: disaster recovery and redeploy of Prompt KEDA at Rubin Observatory."""

__version__ = "0.1.0"
