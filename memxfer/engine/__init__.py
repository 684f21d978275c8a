"""Listing, batching, writing and settling: what runs between a source and a target."""
