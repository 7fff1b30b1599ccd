"""Changes of what a workflow does, while updates that began before them are open."""

from temporalio import workflow


def goes_new_way(change: str, *, announced: bool = False) -> bool:
    """Tell whether this run goes the way that the change brought; a run keeps to its way.

    A change that is only ``announced`` is followed where a history has it and begun nowhere. Two
    releases that run at once understand each other's updates if the older announces what the newer
    begins; else the older fails tasks of runs that the newer has touched, until it is gone.
    """
    if announced and not workflow.unsafe.is_replaying():
        return False
    return workflow.patched(change)  # noqa: TID251 here alone
