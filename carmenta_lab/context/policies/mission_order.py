"""Is it enough to show the profile, the last 50 messages (10 of them in full) and what is remembered, in that order?"""

from carmenta_lab.context.policy import Policy

POLICY = Policy(strategy="hybrid_rrf", k=400)
