"""Whether database, Temporal, CA and documents tell the same, and making them so after a loss.

The one place that reads the copies back. It looks before it acts and can run twice; it adds to what
is on record and never takes anything away.
"""

from cardflow.reconcile.findings import Difference, Finding
from cardflow.reconcile.installation import Installation
from cardflow.reconcile.whole import reconcile

__all__ = ["Difference", "Finding", "Installation", "reconcile"]
