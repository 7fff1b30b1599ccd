"""One update with a lane for every mode and stage: what ends an update meets them all at once."""

from cardflow.model import DocumentKind, LaneStage, Mode, PolicyProfile, Verdict
from tests.build import a_policy, an_entry
from tests.workflows.conftest import World
from tests.workflows.stages import WAYS

REQUEST, CERTIFICATE = DocumentKind.REQUEST_FORM, DocumentKind.CERTIFICATE_FORM
FORMS = {LaneStage.CHECKING_REQUEST_FORM: REQUEST, LaneStage.CHECKING_CERTIFICATE_FORM: CERTIFICATE}
REJECTED = "rejected"  # a lane to which the CA may say no
Crowd = dict[str, tuple[Mode, LaneStage]]

EVERYWHERE: Crowd = {
    f"{mode}-{stage}": (mode, stage) for mode, way in WAYS.items() for stage in way[1:-1]
}


def an_entry_for(name: str, mode: Mode) -> PolicyProfile:
    """Return a lane whose request form, if it has one, is checked."""
    return an_entry(name, mode, precheck=mode in (Mode.REQUEST_FORM, Mode.BOTH))


async def spread_out(world: World, **changes: object) -> None:
    """Open an update whose lanes stand at every stage between the card's two visits."""
    entries = [an_entry_for(name, mode) for name, (mode, _) in EVERYWHERE.items()]
    officers = [name for name, (_, stage) in EVERYWHERE.items() if stage is LaneStage.AT_CA]
    policy = a_policy(*entries, an_entry(REJECTED), **changes)
    await world.open(policy, officers=(*officers, REJECTED))
    await world.visit()
    for name, (mode, stage) in EVERYWHERE.items():
        await _lead(world, name, WAYS[mode][1 : WAYS[mode].index(stage) + 1])


async def _lead(world: World, name: str, way: tuple[LaneStage, ...]) -> None:
    """Take the lane along the way by what people do; the CA issues by itself."""
    for stage, after in zip(way, (*way[1:], None), strict=True):
        if form := FORMS.get(stage):
            await world.hand_in(form, name)
            if after:
                await world.decide(Verdict.APPROVE, name)
        elif stage is not LaneStage.AT_CA or after is None:
            await world.until_lane(name, stage)
