"""An engine whose first event defines things, and what the tests of counting and clearing ask of it."""

from __future__ import annotations

from typing import Any

from opentec.rules.effects import Effects
from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import Kit


class DefinedKit(Kit):
    """Runs `configure` on a TEC_Start at second 0, and `body` on every Disk and Link."""

    def __init__(self, configure: str, body: str, **settings: Any) -> None:
        super().__init__(
            f"""rule: configure: ( event: _event of_class within ['TEC_Start', 'TEC_Rulebase_Loaded'] where [ ],
              action: ( {configure} ) ).""",
            f"""rule: hit: ( event: _event of_class within ['Disk', 'Link'] where [ hostname: _hostname ],
              action: ( {body}, bo_set_slotval(_event, sub_source, hit) ) ).""",
            **settings,
        )
        self.event(0, "TEC_Start")

    def hit(self, at: float, class_name: str, **slots: Any) -> bool:
        """Whether the body has a solution for this event."""
        return self.fired(self.event(at, class_name, **slots))

    @staticmethod
    def fired(effects: Effects) -> bool:
        assert effects.outcome is not None
        assert effects.outcome.event is not None
        failed = [did for one in effects.outcome.fired for did in one.did if did.startswith("failed")]
        assert not failed, failed
        return bool(effects.outcome.event.get("sub_source") == "hit")

    def errors(self) -> list[str]:
        """What went wrong when rules ran."""
        return [str(message).split(": ", 2)[2] for message in self.values("msg", "TEC_Error")]

    def messages(self) -> list[str]:
        return self.values("msg", "TEC_Notice")

    def restart(self) -> None:
        """Go on with an engine that is primed from the repository, which must be in the same state."""
        engine = self.repository.prime(Engine(self.base, IndexedSelector()))
        assert engine.state_hash() == self.engine.state_hash()
        self.engine = engine


def error_of(configure: str) -> str:
    """The one error of a configure rule."""
    (message,) = DefinedKit(configure, "fail").errors()
    return message


TELL = "generate_event('TEC_Notice', [msg=_text])"
