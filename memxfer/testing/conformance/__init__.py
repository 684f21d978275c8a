"""The conformance suite: what a provider claims, tried out."""

from memxfer.testing.conformance.basis import Oracle, Seed, StoredDocument, SuiteConfig, requires
from memxfer.testing.conformance.driver import ProviderFactory
from memxfer.testing.conformance.suite import ProviderConformance

__all__ = [
    "Oracle",
    "ProviderConformance",
    "ProviderFactory",
    "Seed",
    "StoredDocument",
    "SuiteConfig",
    "requires",
]
