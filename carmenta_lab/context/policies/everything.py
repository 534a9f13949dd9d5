"""Is it enough to show all messages, newest first, as many as fit? Nothing beats it while the history is short."""

from carmenta_lab.context.policy import MAX_MESSAGES, Policy, Share, Tier

POLICY = Policy(
    strategy=None,
    tiers=(Tier(MAX_MESSAGES),),
    span="history",
    profile=Share(0.0, 0.1),
    conversation=Share(0.9, 1.0),
    retrieved=Share(0.0, 0.0),
)
