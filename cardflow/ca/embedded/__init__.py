"""A certificate authority of our own: the default, so that nothing else is needed to begin."""

from cardflow.ca.embedded.authority import EmbeddedCA, IssuedCertificate
from cardflow.ca.embedded.keys import open_issuing_key
from cardflow.ca.embedded.requests import DecisionFacts, RequestFacts
from cardflow.ca.embedded.setup import CaNames, Secrets, init_ca, renew_root_crl

__all__ = [
    "CaNames",
    "DecisionFacts",
    "EmbeddedCA",
    "IssuedCertificate",
    "RequestFacts",
    "Secrets",
    "init_ca",
    "open_issuing_key",
    "renew_root_crl",
]
