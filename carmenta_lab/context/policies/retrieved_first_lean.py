"""How much of `retrieved_first` is left with a strategy that needs nothing stored for single words?"""

from dataclasses import replace

from carmenta_lab.context.policies.retrieved_first import POLICY as RETRIEVED_FIRST

POLICY = replace(RETRIEVED_FIRST, strategy="evidence_lean")
