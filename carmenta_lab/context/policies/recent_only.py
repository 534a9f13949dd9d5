"""Is the conversation at hand enough? What a chat does that remembers nothing."""

from carmenta_lab.context.policy import MAX_MESSAGES, Policy, Share, Tier

POLICY = Policy(
    strategy=None,
    tiers=(Tier(MAX_MESSAGES),),
    profile=Share(0.0, 0.1),
    conversation=Share(0.9, 1.0),
    retrieved=Share(0.0, 0.0),
)
