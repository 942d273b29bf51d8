"""A small network, as it stands in somebody's repository."""

from their_net.net import KeywordNet

__all__ = ["KeywordNet"]
